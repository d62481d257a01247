"""TOML text to typed values, or a refusal that names the line, the key and the reason.

Python's TOML reader keeps no line numbers, so keys are looked up again in the text. Where a file
writes a key in an unusual way (a quoted key with a dot in it), the line of the table around it is
named instead: the reason is exact in any case.
"""

import re
import tomllib
from typing import TypeVar

import msgspec

from gateway.errors import FileRefused

T = TypeVar("T")

CHARACTERS_MAX = 512 * 1024
"""Four times the largest bank there is; a bound on what a bad file can cost."""

DOTS_MAX = 64
"""In one line. The library's work grows with the square of a dotted key's parts: 0.5 MB of them
would keep it busy for an hour."""

_UNKNOWN = re.compile(r"unknown field `([^`]+)`")
# No two neighbours can match the same character: a long line costs its length, not its square.
_HEADER = re.compile(r"\s*(\[\[?)([A-Za-z0-9_.\"' \t-]+)\]")
_KEY = re.compile(r"\s*[\"']?([A-Za-z0-9_.-]+)[\"']?\s*=")


def read(text: str, kind: type[T], *, code: str, file: str) -> tuple[T, dict[str, int]]:
    """Return the value of type `kind` that `text` writes, and the line of each dotted key.

    Elements of arrays of tables are keyed by their place: `door.3.lock`. Raises FileRefused(code).
    """
    if len(text) > CHARACTERS_MAX:
        raise refusal(code, file, {}, "", f"longer than {CHARACTERS_MAX} characters")
    dotted = line_of_dots(text, DOTS_MAX)
    if dotted:
        raise refusal(code, file, {"": dotted}, "", f"more than {DOTS_MAX} dots in one line")
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line (\d+)", str(error))
        line = int(found.group(1)) if found else text.count("\n") + 1
        raise refusal(code, file, {"": line}, "", str(error)) from None
    except (RecursionError, ValueError) as error:
        # ValueError: a number of more digits than Python converts.
        raise refusal(code, file, {}, "", ascii(error)[:120]) from None
    lines = lines_of_keys(text)
    try:
        return msgspec.convert(raw, kind), lines
    except msgspec.ValidationError as error:
        reason, key = _where(raw, kind, str(error))
        raise refusal(code, file, lines, key, reason) from None


def _where(raw: dict[str, object], kind: type[object], message: str) -> tuple[str, str]:
    """Return msgspec's reason, and the dotted key that it means."""
    reason, _, path = message.partition(" - at ")
    path = path.strip("`").removeprefix("key` in `").removeprefix("$").strip(".")
    table, named, rest = path.partition("[...]")
    if named:
        # The library does not say which entry of a table it was: the first that fails alone.
        path = f"{table}.{_culprit(raw, kind, table)}{rest}"
    key = re.sub(r"\[(\d+)\]", r".\1", path)
    unknown = _UNKNOWN.search(reason)
    return reason, f"{key}.{unknown.group(1)}".strip(".") if unknown else key


def _culprit(raw: dict[str, object], kind: type[object], table: str) -> str:
    entries = raw.get(table)
    for name, value in entries.items() if isinstance(entries, dict) else ():
        try:
            msgspec.convert(raw | {table: {name: value}}, kind)
        except msgspec.ValidationError as error:
            if f"$.{table}[...]" in str(error):
                return str(name)
    return ""


def refusal(code: str, file: str, lines: dict[str, int], key: str, reason: str) -> FileRefused:
    """Return the refusal of `key`, with the line of the key or of what is nearest around it."""
    where = key
    while where and where not in lines:
        where = where.rpartition(".")[0]
    return FileRefused(
        code,
        "Correct the file at this line",
        file=file,
        line=lines.get(where, 1),
        key=key,
        reason=reason,
    )


def line_of_dots(text: str, dots_max: int) -> int:
    """Return the first line with more dots than that, 0 if none; comments may have any."""
    for number, line in enumerate(text.split("\n"), start=1):
        # A line that begins so is a comment, or inside a text, where dots cost nothing.
        if line.count(".") > dots_max and not line.lstrip().startswith("#"):
            return number
    return 0


def lines_of_keys(text: str) -> dict[str, int]:
    """Return the line on which each dotted key is first written."""
    lines: dict[str, int] = {}
    places: dict[str, int] = {}
    table = ""
    # TOML's lines end at 0A; str.splitlines would also break at U+2028 and lose count.
    for number, line in enumerate(text.split("\n"), start=1):
        header = _HEADER.match(line)
        if header:
            table = re.sub(r"[\"' \t]", "", header.group(2))
            if header.group(1) == "[[":
                places[table] = places.get(table, -1) + 1
                table = f"{table}.{places[table]}"
            lines.setdefault(table, number)
            continue
        key = _KEY.match(line)
        if key:
            lines.setdefault(f"{table}.{key.group(1)}".strip("."), number)
    return lines
