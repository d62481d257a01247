"""Who asked for what, and what came of it: a line for every decision and every refusal.

The same lines make a repeated request harmless. A client that does not know whether its request
arrived sends it again with the same `Idempotency-Key`: the answer is the first one's entry. The
line `api.asked` is durable *before* the entry, `api.done` after it; where only the first is found,
nobody can tell, and the hub says so (`request.key_unsure`) and does nothing.

No secret, name, tracking number or URL is in any line: keys are kept as hashes, bodies as
digests that the key salts.
"""

import asyncio
import hashlib
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sync.errors import SyncError
from sync.hub.storage import Audit, Storage
from sync.hub.voice import Busy, Done, Refused

KEYS_MAX: Final = 1_000
"""Keys remembered for a site: the latest."""
SITES_MAX: Final = 1_000
PAGE: Final = 500

_key = re.compile(r"[A-Za-z0-9._~-]{1,64}").fullmatch


@dataclass(slots=True)
class _Asked:
    digest: str
    ref: str | None = None


@dataclass(slots=True)
class _Site:
    """The keys of one site, and how far its audit was read."""

    next: int
    keys: OrderedDict[str, _Asked] = field(default_factory=OrderedDict)
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Auditor:
    """Writes the audit of all sites, and reads keys out of it."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._sites: OrderedDict[str, _Site] = OrderedDict()

    async def decided(
        self,
        site_id: str,
        what: str,
        by: str,
        decide: Callable[[], Awaitable[Done]],
        *,
        key: str = "",
        body: bytes = b"",
    ) -> Done:
        """Have something decided once, and write down who asked and what came of it.

        Raises `Refused` `request.key` (malformed), `request.key_reused` (another body),
        `request.key_unsure`, and what `decide` raises, written down too where it is a refusal.
        """
        if not key:
            return await self._told(site_id, what, by, decide, {})
        if not _key(key):
            raise Refused("request.key", "Use 1 to 64 of A-Z, a-z, 0-9, dot, dash, underscore.")
        named = {
            "key": hashlib.sha256(key.encode()).hexdigest()[:32],
            # The client's key salts it: a tracking number cannot be guessed out of a digest.
            "digest": hashlib.sha256(f"{key}\0{what}\0".encode() + body).hexdigest()[:32],
        }
        site = await self._site(site_id)
        async with site.lock:
            await self._catch_up(site_id, site)
            known = site.keys.get(named["key"])
            if known is None:
                await self._storage.audit(site_id, "api.asked", {"what": what, "by": by} | named)
                return await self._told(site_id, what, by, decide, named)
        if known.digest != named["digest"]:
            raise Refused("request.key_reused", "Use another key for another request.")
        if known.ref is None:
            raise Refused(
                "request.key_unsure",
                "It began and its end is unknown: look in the book before asking with another key.",
            )
        return Done(known.ref, new=False)

    async def refused(self, site_id: str, what: str, by: str, refusal: SyncError) -> None:
        """Write a refusal down."""
        seen = {name: str(value)[:80] for name, value in refusal.evidence.items()}
        await self._storage.audit(site_id, refusal.code, {"what": what, "by": by} | seen)

    async def did(self, site_id: str, what: str, by: str, about: Mapping[str, str]) -> None:
        """Write down what was done or told where no entry says it."""
        await self._storage.audit(site_id, "api.did", {"what": what, "by": by, **about})

    async def lines(self, site_id: str, start: int, count: int) -> tuple[Audit, ...]:
        """Return lines of a site's audit."""
        return await self._storage.audited(site_id, start, count)

    async def _told(
        self,
        site_id: str,
        what: str,
        by: str,
        decide: Callable[[], Awaitable[Done]],
        named: Mapping[str, str],
    ) -> Done:
        try:
            done = await decide()
        except (Refused, Busy) as refusal:
            await self.refused(site_id, what, by, refusal)
            if named:  # decided, and nothing was written: the key is free again
                await self._storage.audit(site_id, "api.freed", dict(named))
            raise
        told = {"what": what, "by": by, "ref": done.ref, **named}
        await self._storage.audit(site_id, "api.done", told)
        return done

    async def _site(self, site_id: str) -> _Site:
        site = self._sites.get(site_id)
        if site is None:
            end = await self._end(site_id)
            # Lines beside those with keys are in between: four a key is more than there can be.
            site = self._sites.setdefault(site_id, _Site(max(end - 4 * KEYS_MAX, 0)))
        self._sites.move_to_end(site_id)
        while len(self._sites) > SITES_MAX:
            self._sites.popitem(last=False)
        return site

    async def _catch_up(self, site_id: str, site: _Site) -> None:
        """Read what was written since, by this process or another."""
        while lines := await self._storage.audited(site_id, site.next, PAGE):
            for line in lines:
                _take(site.keys, line)
            site.next = lines[-1].seq + 1
        while len(site.keys) > KEYS_MAX:
            site.keys.popitem(last=False)

    async def _end(self, site_id: str) -> int:
        """Return how many lines there are: numbers have no gap, so this is a search."""
        low, high = 0, 1
        while await self._storage.audited(site_id, high - 1, 1):
            low, high = high, high * 2
        while high - low > 1:
            middle = (low + high) // 2
            if await self._storage.audited(site_id, middle - 1, 1):
                low = middle
            else:
                high = middle
        return low


def _take(keys: OrderedDict[str, _Asked], line: Audit) -> None:
    key, digest = line.evidence.get("key"), line.evidence.get("digest")
    if not isinstance(key, str) or not isinstance(digest, str):
        return
    match line.code:
        case "api.asked":
            keys[key] = _Asked(digest)
        case "api.done" if key in keys:
            keys[key].ref = str(line.evidence.get("ref", ""))
        case "api.freed":
            keys.pop(key, None)
        case _:
            pass
