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
from typing import Literal

from sync.errors import StoreFailed
from sync.hub import denials, logs
from sync.hub.audit import Auditor
from sync.hub.authority import HubAuthority
from sync.hub.claims import Claims
from sync.hub.clock import Clock
from sync.hub.config import Config, Listener
from sync.hub.devices import Device, Devices
from sync.hub.keys import Keys
from sync.hub.links import Links
from sync.hub.opening import open_storage
from sync.hub.peers import Peers
from sync.hub.projections import Projection, Projections
from sync.hub.registry import Registry
from sync.hub.relay import Relay
from sync.hub.rotation import Follower
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
    devices: Devices = field(repr=False)
    claims: Claims = field(repr=False)
    peers: Peers = field(repr=False)
    authority: HubAuthority | None
    """None in development alone: then nobody is authenticated."""
    follower: Follower = field(repr=False)
    broken: asyncio.Future[StoreFailed] = field(repr=False)
    """Set once the storage is dead: the process ends, and a new one opens what is durable."""
    ports: dict[str, int] = field(default_factory=dict)
    """Where the listeners `api`, `link` and `renew` really are."""

    def url(self, name: Literal["api", "link", "renew"]) -> str:
        """Return the URL by which gateways reach a listener from outside: `https://HOST:PORT`."""
        given: Listener = {
            "api": self.config.api, "link": self.config.link_at, "renew": self.config.renew_at,
        }[name]  # fmt: skip
        host = "127.0.0.1" if self.authority is None else self.authority.host
        return given.url or f"https://{host}:{self.ports.get(name, given.port)}"

    async def revoke(self, site_id: str, pin: str = "", by: str = "") -> tuple[Device, ...]:
        """Switch a device of a site off, or all of them: its link ends now. As `Devices.revoke`."""
        ended = await self.devices.revoke(site_id, pin)
        for one in ended:
            told = {"pin": one.pin[:16], "device": one.device_id, "by": by}
            await self.storage.audit(site_id, "device.revoked", told)
        await self.cut()
        return ended

    @property
    def data(self) -> Path:
        """The data folder."""
        return Path(self.config.data_dir)

    async def heard(self) -> None:
        """Note of everybody whose link stands that it was heard just now."""
        for pin, site_id in self.peers.open():
            device = await self.devices.get(site_id, pin) if site_id else None
            if device is not None:
                await self.devices.seen(device)

    async def cut(self) -> None:
        """End every connection of a peer that may connect no more."""
        for pin, site_id in self.peers.open():
            if site_id:
                device = await self.devices.get(site_id, pin)
                good = device is not None and device.good
            else:
                good = await self.devices.is_backend(pin)
            if not good:
                self.peers.cut(pin, self.links.stops.get(site_id))

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
        """Entries of a site were stored: confirm its news by them, and follow its keys and end."""
        await self.relay.settle(await self.follower.follow(site_id))

    async def rekey(self, site_id: str, vkey: str) -> Site:
        """Take in the key of a site's new gateway; its link begins anew. As `Registry.rekey`."""
        site = await self.registry.rekey(site_id, vkey)
        stop = self.links.stops.get(site_id)
        if stop is not None:
            stop.set()
        return site

    async def restored(self) -> tuple[Site, ...]:
        """Mark this database as restored: another instance, every site fenced, epochs begun.

        Claims end: those that were burnt since the backup would be good again.
        """
        sites = await self.registry.restored()
        await self._end_claims()
        await denials.again(self)
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
        await self._end_claims(site_id)
        await denials.again(self)
        site = await self.registry.fence(await self.registry.get(site_id))
        await self._begins(site)
        return site

    async def _end_claims(self, site_id: str = "") -> None:
        for one in await self.claims.end_all(site_id):
            told = {"claim": one.id, "site": one.site, "by": "restored"}
            await self.storage.audit("", "claim.ended", told)

    async def _begins(self, site: Site) -> None:
        self.projections.forget(site.site_id)
        await self.voice.open(site)
        _log.warning("hub.fenced", site=site.site_id, epoch=site.epoch)

    async def heal(self, site_id: str) -> Site:
        """Lift a site's fence: what its gateway held of this hub is here again.

        The capabilities that it revoked are denied again.
        """
        await denials.deny(self, site_id)
        site = await self.registry.heal(site_id)
        _log.info("hub.healed", site=site_id)
        return site


@asynccontextmanager
async def opened(config: Config, clock: Clock | None = None) -> AsyncIterator[Hub]:
    """Open a hub's storage and put its rooms together; all is closed behind it.

    Raises `CertsError` (keys), `StoreFailed`, `TheirsInvalid` (`hub.bad_url`, `hub.no_driver`).
    """
    clock = clock or Clock()
    authority = None if config.development.plain else HubAuthority.load(Path(config.data_dir))
    keys = Keys.load(Path(config.data_dir), config.operator)
    storage = await open_storage(config.storage_url, clock.utc_ms)
    try:
        yield assembled(config, keys, storage, clock, authority)
    finally:
        await storage.close()


def assembled(
    config: Config,
    keys: Keys,
    storage: Storage,
    clock: Clock,
    authority: HubAuthority | None = None,
) -> Hub:
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
        follower=Follower(storage, registry),
        devices=Devices(storage, clock),
        claims=Claims(storage, clock, secrets.token_bytes),
        peers=Peers(),
        authority=authority,
        broken=asyncio.get_running_loop().create_future(),
    )
