"""What a site's own log says of its keys and of its end, and what the hub does about it.

`key.rotated` of the log key: the new key goes to those that may write as this site, beside the
older ones. Who may say so is settled before: the entry stands in a custody log that a known key
signed. `site.decommissioned`: the site is switched off; its devices follow when its link ends, for
the receipt of that very entry must still reach it.

Each entry is looked at once a process, and after a restart from where the last one was noted; to
look twice changes nothing.
"""

from typing import Final

import msgspec

from sync import entry as entries
from sync import facts
from sync.entry import Lane, Writer
from sync.errors import TheirsInvalid
from sync.hub import logs
from sync.hub.registry import Registry
from sync.hub.storage import HubShelf, Moved, Record, Site, Storage
from sync.origin import Origin
from sync.shelf import Log

KIND: Final = "followed"
NOTE_EVERY: Final = 512
"""After so many entries the place is noted durably, so that a restart reads no more than these."""
READ_ENTRIES: Final = 512
_MARKS: Final = (b'"kind":"key.rotated"', b'"kind":"site.decommissioned"')

_log = logs.get("rotation")


class Follower:
    """One a process. `follow` is called whenever entries of a site have arrived."""

    def __init__(self, storage: Storage, registry: Registry) -> None:
        self._storage, self._registry = storage, registry
        self._at: dict[str, int] = {}

    async def follow(self, site_id: str) -> Site:
        """Look at the custody entries that are new; return the site as it is after them."""
        site = await self._registry.get(site_id)
        shelf = self._registry.shelf_of(site)
        for log in await shelf.logs():
            named = Origin.parse(log.origin)
            if named.voice is Writer.SITE and named.lane is Lane.CUSTODY:
                site = await self._log(site, shelf, log)
        return site

    async def _log(self, site: Site, shelf: HubShelf, log: Log) -> Site:
        first = self._at.get(log.origin)
        noted = None
        if first is None or log.size // NOTE_EVERY != first // NOTE_EVERY:
            noted = await self._storage.record(site.site_id, KIND, _name(log))
            first = _noted(noted) if first is None else first
        for at in range(max(first, log.oldest), log.size, READ_ENTRIES):
            for item in await shelf.read(log.origin, at, min(at + READ_ENTRIES, log.size)):
                if any(mark in item.entry for mark in _MARKS):
                    site = await self._heard(site, log.origin, item.index, item.entry)
        self._at[log.origin] = log.size
        if log.size - _noted(noted) >= NOTE_EVERY and log.size // NOTE_EVERY != first // NOTE_EVERY:
            await self._note(site.site_id, _name(log), noted, log.size)
        return site

    async def _heard(self, site: Site, origin: str, index: int, data: bytes) -> Site:
        ref = f"{Origin.parse(origin).log}{index}"
        try:
            fact = facts.from_entry(entries.parse(data))
        except TheirsInvalid:
            return site  # another version's: what it says is for a later hub
        if isinstance(fact, facts.KeyRotated) and fact.use == "log":
            return await self._another_key(site, ref, fact.vkey)
        ends = isinstance(fact, facts.SiteDecommissioned) and site.enabled
        if ends and await self._registry.ended(site.site_id, origin, index):
            site = await self._registry.end(site.site_id)
            await self._storage.audit(site.site_id, "site.decommissioned", {"entry": ref})
            _log.warning("site.decommissioned", site=site.site_id, entry=ref)
        return site

    async def _another_key(self, site: Site, ref: str, vkey: str) -> Site:
        if vkey in site.vkeys:
            return site
        try:
            site = await self._registry.rekey(site.site_id, vkey)
        except TheirsInvalid as error:
            await self._storage.audit(
                site.site_id, "key.refused", {"entry": ref, "cause": error.code}
            )
            _log.error("key.refused", site=site.site_id, entry=ref, code=error.code)
            return site
        await self._storage.audit(site.site_id, "key.rotated", {"entry": ref, "vkey": vkey})
        _log.warning("key.rotated", site=site.site_id, entry=ref)
        return site

    async def _note(self, site_id: str, name: str, noted: Record | None, size: int) -> None:
        data = msgspec.json.encode(size)
        if noted is None:
            await self._storage.add_record(site_id, KIND, name, data)
            return
        try:
            await self._storage.change_record(site_id, noted, data)
        except Moved:
            return  # another process noted it just now


def _name(log: Log) -> str:
    """Return the log as a record's name: its epoch tells it from the site's other custody logs."""
    return Origin.parse(log.origin).epoch


def _noted(record: Record | None) -> int:
    return 0 if record is None else msgspec.json.decode(record.data, type=int)
