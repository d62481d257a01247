"""The tables of sync/README.md are the vocabulary and the custody table of the code.

Run as a program, this file writes them anew.
"""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from sync import facts, message
from sync.custody import TABLE, Custody

README = Path(__file__).resolve().parents[2] / "sync" / "README.md"


def vocabulary() -> str:
    """Every kind: its lane, its own keys, and the first sentence of what it means."""
    rows = ["| Kind | Lane | Keys | Meaning |", "| --- | --- | --- | --- |"]
    common = facts.Fact.__struct_fields__
    for kind, known in facts.KINDS.items():
        lane = facts.lane_of_type(known)
        keys = ", ".join(f"`{key}`" for key in known.__struct_fields__ if key not in common)
        meaning = " ".join((known.__doc__ or "").split("\n\n")[0].split())
        meaning = re.split(r"(?<=[.]) (?=[A-Z`])", meaning)[0]
        rows.append(f"| `{kind}` | {lane} | {keys} | {meaning} |")
    return "\n".join(rows)


def custody() -> str:
    """Every event, like ones together, as a row; every state as a column."""
    rows: dict[str, list[str]] = {}
    events = {event for row in TABLE.values() for event in row}
    for event in sorted(events, key=lambda event: (ORDER.index(event.split(".")[0]), event)):
        cells = " | ".join(cell(state, TABLE[state].get(event)) for state in Custody)
        rows.setdefault(cells, []).append(f"`{event}`")
    head = ["| Event | " + " | ".join(Custody) + " |", "| --- |" + " --- |" * len(Custody)]
    return "\n".join(head + [f"| {', '.join(names)} | {cells} |" for cells, names in rows.items()])


ORDER = (
    "intended", "ended", "late", "closed", "forced", "deposited", "collected", "claimed", "left",
    "taken_back", "doubted", "checked",
)  # fmt: skip
"""From the intent to the judgement."""


def cell(state: Custody, to: str | None) -> str:
    if to is None:
        return ""
    return "=" if to == state else str(to)


def messages() -> str:
    """Every message of a session: its number, its fields by key, its meaning."""
    rows = ["| | Message | Fields, by key from 1 | Meaning |", "| --- | --- | --- | --- |"]
    for number, kind in enumerate(get_args(message.Message)):
        fields = ", ".join(f"`{field.name}`" for field in msgspec.structs.fields(kind))
        meaning = " ".join((kind.__doc__ or "").split("\n\n")[0].split())
        name = NAMES.get(kind.__name__, kind.__name__.lower())
        rows.append(f"| {number} | `{name}` | {fields} | {meaning} |")
    return "\n".join(rows)


NAMES = {"Annexed": "annex", "Trouble": "error", "Piece": "snapshot", "Signed": "checkpoint"}
"""What the format calls these types."""

TABLES = {"vocabulary": vocabulary, "custody": custody, "messages": messages}


def between(text: str, name: str) -> re.Match[str]:
    found = re.search(rf"(<!-- {name}: begin -->\n)(.*?)\n?(<!-- {name}: end -->)", text, re.DOTALL)
    assert found, name
    return found


@pytest.mark.parametrize("name", TABLES)
def test_the_document_says_what_the_code_does(name: str) -> None:
    assert between(README.read_text(encoding="utf-8"), name)[2] == TABLES[name]()


def test_every_state_and_kind_is_in_the_tables() -> None:
    assert all(f"`{kind}`" in vocabulary() for kind in facts.KINDS)
    assert custody().count("\n") > len(Custody)


if __name__ == "__main__":
    document = README.read_text(encoding="utf-8")
    for table, written in TABLES.items():
        place = between(document, table)
        new = f"{place[1]}{written()}\n{place[3]}"
        document = document[: place.start()] + new + document[place.end() :]
    README.write_text(document, encoding="utf-8")
