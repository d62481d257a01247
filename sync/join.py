"""Joins that need no order between two writers.

A *causal register* keeps, of each writer, its latest write with what that writer had then read of
the other (`seen`). A write that the other writer's latest had read is over. What is left is
concurrent, and whoever reads the register decides between concurrent values by meaning, never by a
clock: two clocks decide unsafely in one history of twelve (FORMATS.md 5).

Why it joins: each writer's log is one order, so its latest write is a maximum, and what it had seen
only grows. The pair of maxima is a lattice; folding any entries in any order gives the same pair.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from sync.entry import LaneRef, Ref

_match_ref = re.compile(r"(e[1-9][0-9]{0,9}-[0-9a-f]{8}:[sh][uct])(0|[1-9][0-9]{0,14})").fullmatch

T = TypeVar("T")
Seen = Mapping[str, int]
"""Sizes read of the other writer's logs: {"<epoch>:<s|h><u|c|t>": size}."""


def log_order(log: str) -> tuple[int, str]:
    """Return the key that sorts the logs of one writer by epoch: counter, then name."""
    epoch = log.partition(":")[0]
    return int(epoch[1:].partition("-")[0]), epoch


def ref_order(ref: str) -> tuple[int, str, int, str]:
    """Return the key that sorts references by epoch, then by index; no two have the same."""
    log, index = split(ref)
    return *log_order(log), index, log


def split(ref: str) -> tuple[str, int]:
    """Return (log, index) of a reference; `TheirsInvalid` `entry.bad_reference`."""
    found = _match_ref(ref)
    if found is None:
        Ref.parse(ref)  # which refuses it
    assert found is not None
    return found[1], int(found[2])


def is_ref(text: str) -> bool:
    """Say whether a text is a reference: `<epoch>:<s|h><u|c|t><index>`."""
    return _match_ref(text) is not None


def has_seen(seen: Seen, log: str, index: int) -> bool:
    """Say whether somebody who had read `seen` had read entry `index` of `log`.

    What it says of that very log counts: a restored site's lost entries come after it has begun a
    later epoch. Of a log that it does not name, whoever has read an entry of a later epoch of the
    same writer and lane has read the end.
    """
    if log in seen:
        return seen[log] > index
    voice = log.partition(":")[2]
    later = (other for other, size in seen.items() if size and other.partition(":")[2] == voice)
    return any(log_order(other) > log_order(log) for other in later)


@dataclass(slots=True, frozen=True)
class Write(Generic[T]):
    """One write to a register: where it stands, what it says, what its writer had seen."""

    log: str
    index: int
    value: T
    seen: dict[str, int]


@dataclass(slots=True)
class Register(Generic[T]):
    """A causal register of two writers: `s` the site, `h` the hub."""

    latest: dict[str, Write[T]] = field(default_factory=dict)

    def put(self, write: Write[T]) -> None:
        """Take a write in; an older one of the same writer changes nothing."""
        voice = LaneRef.parse(write.log).writer.value
        known = self.latest.get(voice)
        order = (log_order(write.log), write.index)
        if known is None or (log_order(known.log), known.index) < order:
            self.latest[voice] = write

    def standing(self) -> dict[str, T]:
        """Return the values that no later write had read, by writer."""
        found = {}
        for voice, write in self.latest.items():
            others = (other for name, other in self.latest.items() if name != voice)
            if not any(has_seen(other.seen, write.log, write.index) for other in others):
                found[voice] = write.value
        return found
