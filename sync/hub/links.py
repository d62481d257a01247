"""How each site is connected right now: a small table in memory, which the puller fills.

It is no part of the book: it is gone after a restart, and a site that was never heard of since
then has an empty row. Times are UTC milliseconds, as the hub's clock says.
"""

import asyncio
from typing import Final, Literal

import msgspec

Bearer = Literal["session", "pull", "file", "none"]


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """One site's link.

    `since_ms`: connected since (None while it is not). `lag`: by origin, how many entries the site
    has announced and this hub does not hold yet. `trouble` is the code of the last refusal.
    """

    bearer: Bearer = "none"
    since_ms: int | None = None
    heard_ms: int | None = None
    bytes_in: int = 0
    bytes_out: int = 0
    connects: int = 0
    lag: dict[str, int] = {}  # msgspec copies it
    trouble: str = ""

    @property
    def up(self) -> bool:
        """Whether the site is connected."""
        return self.since_ms is not None


SAID_MAX: Final = 256
SAID_MS: Final = 3_600_000
LOST_MS: Final = 3_600_000
_NEVER = Link()


class Links:
    """The links by site. All methods are called on the event loop."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self.stops: dict[str, asyncio.Event] = {}
        """Set one to end a site's link politely; the site dials again."""
        self._said: dict[str, tuple[int, int]] = {}
        self._lost: dict[str, int] = {}

    def may_begin(self, site_id: str, utc_ms: int) -> bool:
        """Say whether an epoch of the hub may begin because a link says that the last one is lost.

        Our own signature is shown for it, but a site has room for 64 logs, and what it shows it can
        show again: one an hour. This is memory of one process, so a database that was put back
        under another process is always heard.
        """
        last = self._lost.get(site_id)
        if last is not None and 0 <= utc_ms - last < LOST_MS:
            return False
        self._lost[site_id] = utc_ms
        return True

    def may_say(self, site_id: str, utc_ms: int) -> bool:
        """Say whether one more line may be written of a site's link: so many an hour.

        A site that breaks every rule as fast as it can must not fill the disk of all the others.
        """
        began, count = self._said.get(site_id, (utc_ms, 0))
        if not 0 <= utc_ms - began < SAID_MS:
            began, count = utc_ms, 0
        self._said[site_id] = (began, count + 1)
        return count < SAID_MAX

    def of(self, site_id: str) -> Link:
        """Return the link of a site; an empty one if it was never heard of."""
        return self._links.get(site_id, _NEVER)

    def up(self, site_id: str, bearer: Bearer, utc_ms: int) -> None:
        """A site connected."""
        was = self.of(site_id)
        self._links[site_id] = msgspec.structs.replace(
            was, bearer=bearer, since_ms=utc_ms, heard_ms=utc_ms, connects=was.connects + 1,
            trouble="",
        )  # fmt: skip

    def heard(self, site_id: str, utc_ms: int, *, bytes_in: int = 0, bytes_out: int = 0) -> None:
        """Something came from a site, or went to it."""
        was = self.of(site_id)
        self._links[site_id] = msgspec.structs.replace(
            was, heard_ms=utc_ms, bytes_in=was.bytes_in + bytes_in,
            bytes_out=was.bytes_out + bytes_out,
        )  # fmt: skip

    def behind(self, site_id: str, lag: dict[str, int]) -> None:
        """What the site has announced and this hub does not hold yet, by origin."""
        self._links[site_id] = msgspec.structs.replace(self.of(site_id), lag=dict(lag))

    def down(self, site_id: str, trouble: str = "") -> None:
        """A site's link ended, because of `trouble` (a stable code) or by itself."""
        self._links[site_id] = msgspec.structs.replace(
            self.of(site_id), since_ms=None, trouble=trouble
        )
