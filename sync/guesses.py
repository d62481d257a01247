"""What both ends of the columnar codec guess from, and change alike (`sync.columns`)."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Final

from sync.shapes import AT, BLOB, NUMBER, REF, WORD, Shape, shape

RECENT: Final = 12
"""References remembered at a door: an opening with two repeated pulses names ten."""
DOORS: Final = 12
"""Doors remembered: couriers and recipients at one site at one time."""
_NEAR_MS: Final = 120_000
"""Within this time a door's entries belong together: the grace for opening again, and twice."""

_AHEAD: Final = {"deadline", "utc_ms", "until_ms"}
_SINCE: Final = {"took_ms", "open_ms"}
"""Labels of numbers that go with time; of others, the difference to the number before is said."""

Said = list[Any]
"""What the latest entry of a shape said, value by value: see `_BEGIN` for each mark's own."""
_BEGIN: Final[dict[str, Any]] = {WORD: '""', REF: (0, ""), BLOB: (0, 0), NUMBER: 0, AT: 0}
"""What was said before anything was: a word, (code, reference), (code, length), a number."""


class Model:
    """What both ends guess from, and change alike."""

    def __init__(self, learned: "Model | None", logs: list[str], index: int) -> None:
        self.shapes: list[Shape] = learned.shapes.copy() if learned else []
        self.shape_of: dict[str, int] = learned.shape_of.copy() if learned else {}
        self.words: list[str] = learned.words.copy() if learned else []
        self.word_of: dict[str, int] = learned.word_of.copy() if learned else {}
        self.follows: dict[int, int] = learned.follows.copy() if learned else {}
        self.pauses: list[int] = learned.pauses.copy() if learned else []
        self.said: list[Said] = [said.copy() for said in learned.said] if learned else []
        self.logs = logs
        self.index = index
        self.ends: dict[int, int] = {}
        self.boot = self.mono = 0
        self.doors: list[int | None] = [None]
        self.shape_at: dict[int | None, int] = {}
        self.mono_at: dict[int, int] = {}
        self.named: dict[int | None, list[str]] = {}
        self.times: dict[str, int] = {}

    def add_word(self, word: str) -> int:
        """Learn a word as JSON writes it; return its number."""
        self.word_of[word] = number = len(self.words)
        self.words.append(word)
        return number

    def add_shape(self, text: str) -> int:
        """Learn a shape; return its number."""
        self.shape_of[text] = number = len(self.shapes)
        self.shapes.append(shape(text))
        self.said.append([_BEGIN[mark] for mark, _ in self.shapes[number].slots])
        self.pauses.append(0)
        return number

    def take_row(self, door: int | None, number: int) -> None:
        """Note whose turn it was, and what followed what at that door."""
        if door in self.doors:
            self.doors.remove(door)
        self.doors.insert(0, door)
        del self.doors[DOORS:]
        self.follows[self.shape_at.get(door, -1)] = self.shape_at[door] = number

    def guess_shape(self, door: int | None) -> int:
        """Return what may follow at a door, or -1."""
        return self.follows.get(self.shape_at.get(door, -1), -1)

    def guess_mono(self, door: int | None, number: int) -> int | None:
        """Return when an entry of this shape may have been written, if its door tells."""
        near = self.mono_at.get(door) if door is not None else None
        if near is None or self.mono - near > _NEAR_MS:
            return None
        return near + self.pauses[number]

    def take_at(self, door: int | None, number: int, boot: int, mono: int) -> None:
        """Note when the entry was written."""
        if door is not None:
            near = self.mono_at.get(door)
            if near is not None and boot == self.boot and self.mono - near <= _NEAR_MS:
                # Half way: a steady pause is learned, a person's does no harm.
                self.pauses[number] += (mono - near - self.pauses[number]) // 2
            self.mono_at[door] = mono
        self.boot, self.mono = boot, mono

    def end_row(self, recent: list[str]) -> None:
        """Give the entry its own reference."""
        if self.logs:
            own = f"{self.logs[0]}{self.index}"
            self.times[own] = self.mono
            recent.insert(0, own)
            del recent[RECENT:]
        self.index += 1

    def guess_index(self, log: int) -> int:
        """Return near which index a far reference to a log may lie."""
        return self.ends.get(log, 0) if log else self.index


def put_first(recent: list[str], ref: str) -> None:
    """Put a reference in front of those that were named at a door."""
    if ref in recent:
        recent.remove(ref)
    recent.insert(0, ref)
    del recent[RECENT:]


def guesses(
    label: str,
    count: int,
    ats: Sequence[tuple[int, int]] | None,
    ofs: Sequence[str] | None,
    times: Mapping[str, int],
) -> Iterable[int]:
    """Return what a column's numbers may be by its label, from the times and `of` of its rows."""
    if ats is not None and label in _AHEAD:
        return [mono for _, mono in ats]
    if ats is not None and ofs is not None and label in _SINCE:
        return [mono - times.get(of, mono) for (_, mono), of in zip(ats, ofs, strict=True)]
    return repeat(0, count)
