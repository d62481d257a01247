"""Spoilt examples: what a bad disk, a bad cable or a bad person makes of something valid.

`spoilt(examples)` draws one example and a few edits of it; `plainly_refused` says what
every command owes to whoever gives it such a thing.
"""

import re
from collections.abc import Sequence

from click.testing import Result
from hypothesis import strategies as st

CODE = re.compile(r"\b[a-z][a-z0-9_]*(\.[a-z0-9_]+)+: |^WRONG fsck(\.[a-z_]+)+ ", re.MULTILINE)
"""A stable dotted code before its remedy, or a finding of `log verify`."""

_WHERE = st.floats(0, 1)
_NOISE = st.one_of(st.binary(min_size=1, max_size=4), st.sampled_from([b"\0", b"\xff", b"\n"]))


def spoilt(examples: Sequence[bytes], tokens: Sequence[bytes] = (b"",)) -> st.SearchStrategy[bytes]:
    """Draw an example with one to six edits: bytes changed, cut, doubled, or tokens put in."""
    edit = st.tuples(
        st.sampled_from(["change", "insert", "token", "cut", "end", "double"]),
        _WHERE,
        _WHERE,
        _NOISE,
        st.sampled_from(tokens),
    )
    return st.builds(_edited, st.sampled_from(examples), st.lists(edit, min_size=1, max_size=6))


def _edited(data: bytes, edits: list[tuple[str, float, float, bytes, bytes]]) -> bytes:
    for kind, place, much, noise, token in edits:
        at = int(place * len(data))
        upto = min(len(data), at + 1 + int(much * 40))
        match kind:
            case "change":
                data = data[:at] + noise + data[at + len(noise) :]
            case "insert":
                data = data[:at] + noise + data[at:]
            case "token":
                data = data[:at] + token + data[at:]
            case "cut":
                data = data[:at] + data[upto:]
            case "end":
                data = data[: max(at, len(data) // 2)]
            case _:
                data = data[:upto] + data[at:]
    return data


def plainly_refused(done: Result) -> None:
    """Assert that a command ended with 0, or with 1 or 2 and a reason that can be looked up."""
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exc_info
    assert done.exit_code in {0, 1, 2}, done.output
    assert "Traceback" not in done.output
    if done.exit_code == 1:
        assert CODE.search(done.output), done.output
    if done.exit_code == 2:
        assert "Error: " in done.output, done.output
