"""One hub, put together: storage, keys, sites, books, voice. What the API and the puller are given.

    async with opened(config) as hub: ...

Whoever pulls a site uses `shelf`, `links`, `registry.heal` and `arrived`; it needs nothing else.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from sync.errors import StoreFailed
from sync.hub import logs
from sync.hub.audit import Auditor
from sync.hub.clock import Clock
from sync.hub.config import Config
from sync.hub.keys import Keys
from sync.hub.links import Links
from sync.hub.opening import open_storage
from sync.hub.projections import Projection, Projections
from sync.hub.registry import Registry
from sync.hub.relay import Relay
from sync.hub.storage import HubShelf, Site, Storage
from sync.hub.voice import Voice

_log = logs.get("hub")


@dataclass(slots=True)
class Hub:
    """The rooms of one process. `random` gives that many random bytes: secrets, salts, epochs."""

    config: Config
    keys: Keys = field(repr=False)
    storage: Storage = field(repr=False)
    clock: Clock
    links: Links
    registry: Registry = field(repr=False)
    projections: Projections = field(repr=False)
    voice: Voice = field(repr=False)
    auditor: Auditor = field(repr=False)
    relay: Relay = field(repr=False)
    broken: asyncio.Future[StoreFailed] = field(repr=False)
    """Set once the storage is dead: the process ends, and a new one opens what is durable."""

    def failed(self, error: StoreFailed) -> None:
        """Hear of a refusal of the storage; after `io` and `torn` it will not come back."""
        if error.reason in {"io", "torn"} and not self.broken.done():
            self.broken.set_result(error)

    async def add_site(self, site_id: str, vkey: str, *, url: str = "", label: str = "") -> Site:
        """Add a site and begin the hub's lanes for it. Raises as `Registry.add`."""
        site = await self.registry.add(site_id, vkey, url=url, label=label)
        await self.voice.open(site)
        return site

    async def shelf(self, site_id: str) -> HubShelf:
        """Return a site's shelf; `TheirsInvalid` `hub.unknown_site`."""
        return await self.registry.shelf(site_id)

    async def book(self, site_id: str) -> Projection:
        """Return a site's projection, up to date with what is stored."""
        return await self.projections.of(site_id)

    async def arrived(self, site_id: str) -> None:
        """Entries of a site were stored: confirm its news by them."""
        await self.relay.settle(await self.registry.get(site_id))

    async def rekey(self, site_id: str, vkey: str) -> Site:
        """Take in the key of a site's new gateway; its link begins anew. As `Registry.rekey`."""
        site = await self.registry.rekey(site_id, vkey)
        stop = self.links.stops.get(site_id)
        if stop is not None:
            stop.set()
        return site

    async def restored(self) -> tuple[Site, ...]:
        """Mark this database as restored: another instance, every site fenced, epochs begun."""
        sites = await self.registry.restored()
        for site in sites:
            await self._begins(site)
        return sites

    async def lost(self, site_id: str) -> Site:
        """A gateway holds more of our present lanes than we do, or another history of them.

        So this store was put back, whether somebody said so or not: for this site it is as after
        `restored`, and the store gets another name. Without proof the other sites are not fenced:
        each of them tells us of itself, and hears the name when its next link begins.

        Said again within an hour it raises the fence, and begins nothing (`Links.may_begin`).
        """
        if not self.links.may_begin(site_id, self.clock.utc_ms()):
            _log.warning("hub.lost_again", site=site_id)
            return await self.registry.hold(site_id)
        await self.storage.renew_instance()
        site = await self.registry.fence(await self.registry.get(site_id))
        await self._begins(site)
        return site

    async def _begins(self, site: Site) -> None:
        self.projections.forget(site.site_id)
        await self.voice.open(site)
        _log.warning("hub.fenced", site=site.site_id, epoch=site.epoch)

    async def heal(self, site_id: str) -> Site:
        """Lift a site's fence: what its gateway held of this hub is here again."""
        site = await self.registry.heal(site_id)
        _log.info("hub.healed", site=site_id)
        return site


@asynccontextmanager
async def opened(config: Config, clock: Clock | None = None) -> AsyncIterator[Hub]:
    """Open a hub's storage and put its rooms together; all is closed behind it.

    Raises `CertsError` (keys), `StoreFailed`, `TheirsInvalid` (`hub.bad_url`, `hub.no_driver`).
    """
    clock = clock or Clock()
    keys = Keys.load(Path(config.data_dir), config.operator)
    storage = await open_storage(config.storage_url, clock.utc_ms)
    try:
        yield assembled(config, keys, storage, clock)
    finally:
        await storage.close()


def assembled(config: Config, keys: Keys, storage: Storage, clock: Clock) -> Hub:
    """Return a hub over a storage that is open; called on the event loop that it lives on."""
    registry = Registry(storage, keys, clock, secrets.token_bytes)
    projections = Projections(storage, registry.shelf, clock.utc_ms, held_max=config.books.held_max)
    voice = Voice(
        storage, keys, clock, projections, secrets.token_bytes,
        attempts_max=config.books.attempts_max,
    )  # fmt: skip
    return Hub(
        config=config,
        keys=keys,
        storage=storage,
        clock=clock,
        links=Links(),
        registry=registry,
        projections=projections,
        voice=voice,
        auditor=Auditor(storage),
        relay=Relay(storage, registry, keys),
        broken=asyncio.get_running_loop().create_future(),
    )
