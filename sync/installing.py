"""How a site begins and ends, as facts: locks that were tried, the sign-off, the last entry.

Part of the vocabulary (`sync.facts`). While somebody commissions, no door of a map is opened by its
number: a lock is named as it is wired, and its coil is on only after the entry that says so.
"""

from typing import Literal

from sync.fact import Fact

__all__ = ["LockEnded", "LockIntended", "SiteCommissioned", "SiteDecommissioned"]


class LockIntended(Fact, frozen=True, kw_only=True, tag="lock.intended"):
    """An installer (`by`) is about to pulse the coil `lock` (`<board>:<channel>`) once, for `ms`.

    It answers at `unit` on `line`, not later than `deadline` (monotonic ms). `door` is left out
    where no map names this lock.
    """

    lock: str
    line: str
    unit: int
    by: str
    ms: int
    deadline: int


class LockEnded(Fact, frozen=True, kw_only=True, tag="lock.ended"):
    """The one outcome of the intent `of`: the coil was `pulsed`, and whether a door moved.

    `opened`: an input moved `took_ms` after it. `failed`: nothing was sent, or nothing moved
    (`why`). `doubt`: nobody knows whether the coil was on.
    """

    outcome: Literal["pulsed", "opened", "failed", "doubt"]
    why: str = ""
    took_ms: int | None = None


class SiteCommissioned(Fact, frozen=True, kw_only=True, tag="site.commissioned"):
    """`by` proved this site and signs it off, with the map that stands now (or stood: `audit`).

    `report` is the base64 SHA-256 of the report's bytes; `passed` and `failed` count doors.
    """

    by: str
    boards: int
    doors: int
    passed: int
    failed: int
    report: str
    audit: bool = False


class SiteDecommissioned(Fact, frozen=True, kw_only=True, tag="site.decommissioned"):
    """The last entry of this site: after it keys and data are wiped."""

    by: str
    why: str
