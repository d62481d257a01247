"""The list that denies capabilities: one for all sites, signed, with a number that only rises.

A revocation is an entry in the hub's lane for its site. This list says the same to a site that does
not hear that lane: any visitor's device may carry it in. So it comes second in importance, and
first in time: a capability is on the list before its revocation is in the log, and asking again
puts right what a crash between the two left.

The list is one record, changed by compare-and-set: two processes never make two lists of one
number. The number is the last one and one more, but never less than the time in seconds: a hub
that came out of a backup makes none twice, though it has forgotten the last ones.

A signed list holds 400 (`trust.DENIED_MAX`). Where more are revoked, those that end latest are on
it: an entry protects until its end, so the ones that are left out are the ones that the site would
soonest refuse by itself. They are kept, come back when there is room, and are counted
(`Current.left_out`): until then their revocation stands in their site's log alone. Refusing to
revoke would be worse, as the log needs no room here.
"""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import msgspec

from certs import base45, trust
from sync.hub import grants, issue, logs
from sync.hub.signers import signing_key
from sync.hub.storage import Moved, Site
from sync.hub.voice import Busy, Done

if TYPE_CHECKING:
    from sync.hub.rooms import Hub  # which restores this list

KIND: Final = "denials"
NAME: Final = "current"
KEPT_S: Final = 30 * 86_400
"""So long after its end one stays: a site whose clock stood still may still take it as good."""
WANTED_MAX: Final = 1_200
"""Remembered in all: a record has 64 KiB."""
_TRIES: Final = 50
_BACKOFF_S: Final = 0.01

_log = logs.get("denials")


class Current(msgspec.Struct, frozen=True):
    """What is on record. `wanted`: every capability to be denied, by cti (hex), and its end (s)."""

    number: int = 0
    made_s: int = 0
    signers: tuple[str, ...] = ()
    wanted: dict[str, int] = {}

    @property
    def denied(self) -> dict[str, int]:
        """What the signed list holds: those that end latest."""
        return _latest(self.wanted, trust.DENIED_MAX)

    @property
    def left_out(self) -> int:
        """How many are revoked in their site's log alone."""
        return len(self.wanted) - len(self.denied)

    def renewed(
        self, more: Mapping[str, int], *, signers: tuple[str, ...], now_s: int, rise: bool = False
    ) -> "Current":
        """Return the list with `more` on it; itself where that changes nothing.

        What ended long ago goes when something comes. `rise`: another number in any case.
        """
        news = {
            cti: end
            for cti, end in more.items()
            if end + KEPT_S > now_s and self.wanted.get(cti, -1) < end
        }
        if not news and not rise and self.number and self.signers == signers:
            return self
        kept = {cti: end for cti, end in self.wanted.items() if end + KEPT_S > now_s}
        wanted = _latest(kept | news, WANTED_MAX)
        if wanted == self.wanted and not rise and self.number and self.signers == signers:
            return self
        return Current(max(self.number + 1, now_s), now_s, signers, wanted)


async def note(hub: "Hub") -> str:
    """Return the list of now as a signed note (`certs.trust.Denials`). Raises StoreFailed."""
    return signed(hub, await current(hub))


async def current(hub: "Hub") -> Current:
    """Return the list of now; the first one is made here, and one that names another signer."""
    return await _changed(hub, {})


def signed(hub: "Hub", known: Current) -> str:
    """Return a list as a signed note."""
    document = trust.Denials(
        hub.config.operator, known.number, known.made_s, known.signers, known.denied
    )
    return trust.sign(document, signing_key(hub.config, "trust"))


def carried(text: str) -> str:
    """Return a note as a visitor's device shows it: `PLG1D:` and Base45."""
    return trust.PREFIX_DENIALS + base45.encode(text.encode())


async def revoked(
    hub: "Hub", site: Site, by: str, ref: str, *, what: str, key: str = "", body: bytes = b""
) -> Done:
    """Have a grant revoked; where it is a capability, denied first. Raises as `Voice.say`."""

    async def decide() -> Done:
        await deny(hub, site.site_id, ref)
        return await hub.voice.say(site, by, lambda book, desk: issue.revoke(book, desk, grant=ref))

    return await hub.auditor.decided(site.site_id, what, by, decide, key=key, body=body)


async def deny(hub: "Hub", site_id: str, ref: str = "") -> None:
    """Put the capability of `ref` on the list, and whatever else this site's book has as revoked.

    So one that a restored hub forgot is denied again as soon as its log is back.
    """
    book = (await hub.book(site_id)).book
    more = grants.denied(book.rights, ref)
    if more:
        await _changed(hub, more)


async def again(hub: "Hub") -> Current:
    """Give the list another number: this store may have forgotten the last ones."""
    return await _changed(hub, {}, rise=True)


async def _changed(hub: "Hub", more: Mapping[str, int], *, rise: bool = False) -> Current:
    signers = (signing_key(hub.config, "grants").vkey,)
    now_s = hub.clock.utc_ms() // 1_000
    for attempt in range(_TRIES):
        record = await hub.storage.record("", KIND, NAME)
        known = Current() if record is None else msgspec.json.decode(record.data, type=Current)
        after = known.renewed(more, signers=signers, now_s=now_s, rise=rise)
        if after is known:
            return known
        data = msgspec.json.encode(after)
        try:
            if record is not None:
                await hub.storage.change_record("", record, data)
            elif not await hub.storage.add_record("", KIND, NAME, data):
                continue
        except Moved:
            await asyncio.sleep(_BACKOFF_S * attempt)
            continue
        if after.left_out > known.left_out:
            _log.warning("denials.full", number=after.number, left_out=after.left_out)
        return after
    raise Busy("hub.busy", "Ask again in a moment.", attempts=_TRIES)


def _latest(wanted: Mapping[str, int], count: int) -> dict[str, int]:
    """Return those `count` that end latest; of two that end together the first by id."""
    ranked = sorted(wanted.items(), key=lambda one: (-one[1], one[0]))
    return dict(ranked[:count])
