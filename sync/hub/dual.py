"""Dual control: how many doors a minute one person may ask for, and what waits for a second. Pure.

Against mass opening (SECURITY.md 2): beyond so many requests in a minute by one account, at one
site, or in all, a request is kept and not written; another account of support approves it within
five minutes. Nothing here asks for more than one door.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

MINUTE_MS: Final = 60_000
WAITS_MS: Final = 5 * MINUTE_MS
"""How long a request waits for its second person."""
WAITING_MAX: Final = 16
"""Requests of one site that wait: as many as the site may have open (`issue.REQUESTS_MAX`)."""
KEPT_MAX: Final = 128
"""Requests remembered: more than `per_minute_all` may ever be."""

Over = Literal["account", "site", "all"]
State = Literal["waiting", "asking", "asked"]


class Limits(msgspec.Struct, frozen=True):
    """Requests a minute: of one account and at one site; of all accounts at all sites."""

    per_minute: int
    per_minute_all: int


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A door was asked for. `nonce` makes two of one millisecond two."""

    at_ms: int
    account: str
    site: str
    nonce: str = ""


class Opening(msgspec.Struct, frozen=True, kw_only=True):
    """A request that waits for a second person.

    `account` is whose secret asked, `by` who is on record; `lasts_ms` is how long the door may be
    opened once it is approved. `asking`: an approval is under way (`second` gave it, `nonce` makes
    it another than that of the same millisecond); `asked`: the entry `ref` says so.
    """

    id: str
    door: int
    account: str
    by: str
    why: str
    case: str
    asked_ms: int
    lasts_ms: int
    over: Over
    state: State = "waiting"
    second: str = ""
    nonce: str = ""
    ref: str = ""

    @property
    def ends_ms(self) -> int:
        """When it is forgotten."""
        return self.asked_ms + WAITS_MS

    def ended(self, now_ms: int) -> bool:
        """Say whether it is over; a clock that stepped back ends it too."""
        return not 0 <= now_ms - self.asked_ms < WAITS_MS

    def encoded(self) -> bytes:
        """Return the bytes of its record."""
        return msgspec.json.encode(self)


def read(data: bytes) -> Opening:
    """Return the request of a record."""
    return msgspec.json.decode(data, type=Opening)


def read_recent(data: bytes) -> tuple[Asked, ...]:
    """Return what was asked lately, of its record."""
    return msgspec.json.decode(data, type=tuple[Asked, ...])


def over(
    recent: Sequence[Asked], *, account: str, site: str, now_ms: int, limits: Limits
) -> Over | None:
    """Say which limit one more request would break, or None."""
    counted = [one for one in recent if _counts(one, now_ms)]
    if sum(one.account == account for one in counted) >= limits.per_minute:
        return "account"
    if sum(one.site == site for one in counted) >= limits.per_minute:
        return "site"
    return "all" if len(counted) >= limits.per_minute_all else None


def with_one(recent: Sequence[Asked], one: Asked) -> bytes:
    """Return the record with one more request, and without those that count no more."""
    kept = [known for known in recent if _counts(known, one.at_ms)]
    return msgspec.json.encode([*kept, one][-KEPT_MAX:])


def opening_id(account: str, site: str, door: int, why: str, case: str) -> str:
    """Return the id of a request: said again while it waits, it is the same one."""
    said = msgspec.json.encode([account, site, door, why, case])
    return hashlib.sha256(said).hexdigest()[:16]


def _counts(one: Asked, now_ms: int) -> bool:
    """Count a minute, and what a clock that stepped back makes a time to come."""
    return abs(now_ms - one.at_ms) < MINUTE_MS
