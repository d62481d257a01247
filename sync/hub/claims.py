"""One-time claims: what lets a gateway that nobody knows yet enrol as one site, once, within a day.

A record of kind `claim` holds the claim itself: whoever checks its HMAC needs it. So the database
is as secret as its claims while they are open; one that is ended is forgotten at once, a used one
after an hour. Nothing of it ever is in a log line, an audit line or a list.

A claim is *burnt* by compare-and-set before anything is made for it. The burnt record remembers for
which two keys: the same gateway that lost the answer, or a hub that lost power after burning, is
answered again for an hour, and nobody else ever.
"""

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from certs import claim as claims
from sync.errors import TheirsInvalid
from sync.hub.clock import Clock
from sync.hub.registry import check_site_id
from sync.hub.storage import Moved, Record, Site, Storage

KIND: Final = "claim"
HOURS_MAX: Final = 24
OPEN_MAX: Final = 1_000
"""Claims kept at once, used ones of the last day included."""
AGAIN_MS: Final = 3_600_000
"""So long a burnt claim answers the very gateway that burnt it."""
KEPT_MS: Final = 86_400_000
"""So long a used or expired claim is still listed."""
_id = re.compile(r"[0-9a-f]{16}").fullmatch
_HOUR_MS: Final = 3_600_000

State = Literal["open", "used", "ended"]


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A record's content. `pin` and `log_key`: who burnt it, at `used_ms`.

    `revives`: a site that has ended may begin again by it.
    """

    site_id: str
    state: State
    made_ms: int
    ends_ms: int
    by: str = ""
    claim: str = ""
    pin: str = ""
    log_key: str = ""
    used_ms: int = 0
    revives: bool = False


class Shown(msgspec.Struct, frozen=True, kw_only=True):
    """A claim as it is listed: never the claim itself."""

    id: str
    site: str
    state: Literal["open", "used", "ended", "expired"]
    made_ms: int
    ends_ms: int
    by: str
    used_ms: int


@dataclass(frozen=True, slots=True)
class Made:
    """A new claim, told once."""

    id: str
    site: str
    ends_ms: int
    claim: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Burnt:
    """A claim that was burnt for these keys, now or within the last hour (`again`)."""

    id: str
    site: str
    by: str
    again: bool


class Claims:
    """The claims of one hub. `random` gives that many random bytes."""

    def __init__(self, storage: Storage, clock: Clock, random: Callable[[int], bytes]) -> None:
        self._storage, self._clock, self._random = storage, clock, random

    async def create(
        self, site_id: str, *, hours: int = HOURS_MAX, by: str = "", revives: bool = False
    ) -> Made:
        """Make a claim for a site, known or not; one that has ended only where it `revives`.

        Raises `site.id`, `claim.site_ended`, `claim.hours`, `claim.many`.
        """
        check_site_id(site_id)
        check_ended(await self._storage.site(site_id), revives=revives)
        if not 1 <= hours <= HOURS_MAX:
            raise TheirsInvalid("claim.hours", f"A claim is good for 1 to {HOURS_MAX} hours.")
        if await self._sweep() >= OPEN_MAX:
            raise TheirsInvalid("claim.many", "End claims that nobody needs.", limit=OPEN_MAX)
        secret, now = self._random(claims.CLAIM_BYTES), self._clock.utc_ms()
        kept = Kept(
            site_id=site_id, state="open", made_ms=now, ends_ms=now + hours * _HOUR_MS,
            by=by, claim=base64.b64encode(secret).decode(), revives=revives,
        )  # fmt: skip
        name = claims.claim_id(secret)
        await self._storage.add_record("", KIND, name, msgspec.json.encode(kept))
        return Made(name, site_id, kept.ends_ms, secret)

    async def shown(self) -> tuple[Shown, ...]:
        """Return the claims of the last day, the newest last."""
        await self._sweep()
        found = await self._storage.records("", KIND)
        listed = [self._shown(one.id, _kept(one)) for one in found]
        return tuple(sorted(listed, key=lambda one: (one.made_ms, one.id)))

    async def end(self, name: str) -> Shown:
        """End a claim, so that nobody enrols by it. Raises `claim.unknown`."""
        record = await self._storage.record("", KIND, name) if _id(name) else None
        if record is None:
            raise TheirsInvalid("claim.unknown", "Take an id from locker-hub claim list.")
        kept = _kept(record)
        if kept.claim:
            # A used one too: then its gateway is not answered again.
            state: State = "ended" if kept.state == "open" else kept.state
            kept = msgspec.structs.replace(kept, state=state, claim="")
            await self._change(record, kept)
        return self._shown(name, kept)

    async def end_all(self, site_id: str = "") -> tuple[Shown, ...]:
        """End every claim that somebody might enrol by (of one site), and return which.

        After a restore: one that was burnt since the backup is open again, and in other hands.
        """
        found = [(one.id, _kept(one)) for one in await self._storage.records("", KIND)]
        return tuple(
            [
                await self.end(name)
                for name, kept in found
                if kept.claim and site_id in {"", kept.site_id}
            ]
        )

    async def check(self, name: str, csr: bytes, log_key: bytes, proof: bytes, pin: str) -> Record:
        """Return the claim that this proves and that may be burnt for these keys.

        One answer for an unknown claim, a wrong proof, another's, one that is over:
        `TheirsInvalid` `claim.refused`, with `why` as evidence for the audit alone.
        """
        record = await self._storage.record("", KIND, name) if _id(name) else None
        # The same work for all of them: how long it takes says nothing.
        kept = None if record is None else _kept(record)
        secret = base64.b64decode(kept.claim) if kept is not None and kept.claim else b""
        proved = claims.proves(secret or bytes(claims.CLAIM_BYTES), csr, log_key, proof)
        if record is None or kept is None:
            raise _refused("unknown", "")
        if not secret or not proved:
            raise _refused("proof" if kept.state == "open" else kept.state, kept.site_id)
        now = self._clock.utc_ms()
        if kept.state == "used":
            mine = (kept.pin, kept.log_key) == (pin, log_key.hex())
            if not mine or not 0 <= now - kept.used_ms < AGAIN_MS:
                raise _refused("used", kept.site_id)
        elif not kept.made_ms - _HOUR_MS <= now < kept.ends_ms:
            raise _refused("expired", kept.site_id)
        return record

    def site_of(self, record: Record) -> str:
        """Return which site a checked claim is for."""
        return _kept(record).site_id

    def revives(self, record: Record) -> bool:
        """Return whether a site that has ended may begin again by a checked claim."""
        return _kept(record).revives

    async def burn(self, record: Record, pin: str, log_key: bytes) -> Burnt:
        """Burn a claim that was checked; who comes second is refused (`claim.refused`)."""
        kept = _kept(record)
        if kept.state == "used":
            return Burnt(record.id, kept.site_id, kept.by, again=True)
        burnt = msgspec.structs.replace(
            kept, state="used", pin=pin, log_key=log_key.hex(), used_ms=self._clock.utc_ms()
        )
        try:
            await self._change(record, burnt)
        except Moved:
            raise _refused("used", kept.site_id) from None
        return Burnt(record.id, kept.site_id, kept.by, again=False)

    async def _change(self, record: Record, kept: Kept) -> None:
        await self._storage.change_record("", record, msgspec.json.encode(kept))

    async def _sweep(self) -> int:
        """Forget what is over: the claim itself at once, its line after a day; count the rest."""
        now, left = self._clock.utc_ms(), 0
        for record in await self._storage.records("", KIND):
            kept = _kept(record)
            over_ms = min(kept.ends_ms, kept.used_ms or kept.ends_ms)
            if now - over_ms >= KEPT_MS:
                await self._storage.drop_record("", KIND, record.id)
                continue
            left += 1
            needed = now < kept.used_ms + AGAIN_MS if kept.state == "used" else now < kept.ends_ms
            if kept.claim and not needed:
                try:
                    await self._change(record, msgspec.structs.replace(kept, claim=""))
                except Moved:
                    continue  # somebody else did, or used it: the next sweep sees
        return left

    def _shown(self, name: str, kept: Kept) -> Shown:
        over = kept.state == "open" and self._clock.utc_ms() >= kept.ends_ms
        return Shown(
            id=name,
            site=kept.site_id,
            state="expired" if over else kept.state,
            made_ms=kept.made_ms,
            ends_ms=kept.ends_ms,
            by=kept.by,
            used_ms=kept.used_ms,
        )


def check_ended(site: Site | None, *, revives: bool) -> None:
    """Refuse (`claim.site_ended`) a site whose log says that it has ended, unless that is meant."""
    if site is not None and not site.enabled and not revives:
        raise TheirsInvalid(
            "claim.site_ended",
            "Its log has ended. To let it begin again: locker-hub claim create SITE --again.",
            site=site.site_id,
        )


def _kept(record: Record) -> Kept:
    return msgspec.json.decode(record.data, type=Kept)


def _refused(why: str, site_id: str) -> TheirsInvalid:
    return TheirsInvalid(
        "claim.refused", "Ask for another claim: locker-hub claim create.", why=why, site=site_id
    )
