"""When something happens to this site: a moment, and how far its clock can be believed."""

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Input", "Now", "Trust"]


class Trust(StrEnum):
    """How far the wall clock can be believed (ARCHITECTURE: Time)."""

    SYNCED = "synced"
    DRIFTING = "drifting"
    FLOOR = "floor"


@dataclass(frozen=True, slots=True)
class Now:
    """A moment as this site knows it. `mono_ms` never steps; `boot` counts process starts.

    `floor_ms` is surely past, whatever the wall clock says.
    """

    wall_ms: int
    mono_ms: int
    boot: int
    trust: Trust = Trust.FLOOR
    error_ms: int = 0
    floor_ms: int = 0

    @property
    def at(self) -> tuple[int, int]:
        """Return the entry key `at`."""
        return self.boot, self.mono_ms


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """The common part: when."""

    now: Now
