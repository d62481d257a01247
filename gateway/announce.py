"""The gateway says on its network where it is: `_locker-gateway._tcp`, beside its LAN listener.

    no network -> probing for the name -> announced -> goodbye
                          ^                   | another has the name; addresses or state are others
                          +-------------------+

It speaks on the interfaces that are listened on, and on no other. It is a convenience: whatever
goes wrong here is told once in the log and tried again, and nothing waits for it. What is said, and
why none of it is secret, stands in `nearby`.

| Bound | Figure | Against |
| --- | --- | --- |
| `LOOK_S` | 2 | flapping: a change counts when two looks, one after the other, see the same |
| `REGISTER_S` | 15 | somebody on the LAN who answers to every name that is tried |
| `RETRY_S` | 30 | a network that refuses, tried for ever |
| `CLASH_S` | 30 | two who change names because of each other |
| `GOODBYE_S` | 0.8 | a stop that takes longer than two seconds |
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from zeroconf import DNSService, IPVersion, ServiceInfo  # type: ignore[attr-defined]  # it is there
from zeroconf.asyncio import AsyncZeroconf

from gateway import interfaces, logs, nearby
from gateway.nearby import Places, Said

LOOK_S: Final = 2.0
REGISTER_S: Final = 15.0
RETRY_S: Final = 30.0
CLASH_S: Final = 30.0
GOODBYE_S: Final = 0.8
_SRV: Final = 33  # SPEC: RFC 2782
_IN: Final = 1
_log = logs.get("announce")


@dataclass(frozen=True, slots=True)
class _Look:
    """What there is to say, and where."""

    said: Said
    places: Places


class Announcer:
    """Announces what `said` returns, for who listens on `host`. `run` until cancelled."""

    def __init__(self, said: Callable[[], Said], host: str, look_s: float = LOOK_S) -> None:
        self._said, self._host, self._look_s = said, host.strip("[]"), look_s
        self._trouble = ""
        self.name = ""
        """The instance name under which it is announced now; nothing while it is not."""

    async def run(self) -> None:
        """Announce until cancelled, then say goodbye. Never raises anything else."""
        while True:
            try:
                await self._while_there_is_a_network()
            except Exception as error:  # noqa: BLE001  # doors do not depend on being found
                self._tell(error)
                await asyncio.sleep(RETRY_S)

    async def _while_there_is_a_network(self) -> None:
        """Announce until no interface is left; return at once where there is none."""
        await asyncio.sleep(self._look_s / 2)  # a site that starts is in service by then
        seen = await self._look()
        if not seen.places.speak:
            return
        zc = AsyncZeroconf(interfaces=list(seen.places.speak), ip_version=_version(seen.places))
        try:
            await self._announce(zc, seen)
        finally:
            self.name = ""
            await _goodbye(zc)

    async def _look(self) -> _Look:
        here = await asyncio.to_thread(interfaces.here)
        return _Look(self._said(), nearby.places(self._host, here))

    async def _announce(self, zc: AsyncZeroconf, seen: _Look) -> None:
        info = await self._register(zc, seen, seen.said.name)
        told = before = seen
        settled_at = 0.0
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._look_s)
            now = await self._look()
            if now == before and not now.places.speak:
                return
            if now == before and now != told:
                info = await self._say_anew(zc, told, now, info.name)
                told = now
            before = now
            other = _other_of_this_name(zc, info)
            if other is not None and loop.time() >= settled_at:
                settled_at = loop.time() + CLASH_S
                info = await self._settle(zc, told, info, other)

    async def _register(self, zc: AsyncZeroconf, seen: _Look, name: str) -> ServiceInfo:
        """Find a name that nobody has, from this one on, and announce it."""
        info = _info(seen, name)
        async with asyncio.timeout(REGISTER_S):
            await (await zc.async_register_service(info, allow_name_change=True))
        self.name, self._trouble = nearby.instance(info.name, nearby.SERVICE), ""
        _log.info("announced", name=self.name, addresses=",".join(seen.places.addresses))
        return info

    async def _say_anew(self, zc: AsyncZeroconf, told: _Look, now: _Look, name: str) -> ServiceInfo:
        """Say something else under the same name, perhaps on other interfaces."""
        info = _info(now, name)
        zc.zeroconf.registry.async_update(info)  # before a new interface hears the old addresses
        if now.places.speak != told.places.speak:
            await zc.async_update_interfaces(list(now.places.speak), _version(now.places))
        await (await zc.async_update_service(info))
        addresses = ",".join(now.places.addresses)
        _log.info("announced", name=self.name, addresses=addresses, state=now.said.state)
        return info

    async def _settle(
        self, zc: AsyncZeroconf, seen: _Look, info: ServiceInfo, other: DNSService
    ) -> ServiceInfo:
        """Keep the name or leave it to another gateway: both decide alike, by what both announce.

        SPEC: RFC 6762 8.2: the lexicographically later one wins; 9: the other takes a new name.
        Without goodbye: that would take the name from the one who keeps it.
        """
        _log.info("announce.clash", name=self.name)
        if _ours(info) > _end(other):
            await (await zc.async_update_service(info))
            return info
        zc.zeroconf.registry.async_remove(info)
        return await self._register(zc, seen, seen.said.name)

    def _tell(self, error: Exception) -> None:
        kind = type(error).__name__
        log = _log.debug if kind == self._trouble else _log.warning
        log("announce.failed", error=kind, errno=getattr(error, "errno", None))
        self._trouble = kind


def _info(seen: _Look, name: str) -> ServiceInfo:
    return ServiceInfo(
        nearby.SERVICE,
        name,
        port=seen.said.port,
        properties=seen.said.text,
        server=seen.said.host,
        parsed_addresses=list(seen.places.addresses),
    )


def _version(places: Places) -> IPVersion:
    return IPVersion.All if places.both else IPVersion.V4Only


def _end(record: DNSService) -> tuple[str, int]:
    return record.server.lower(), record.port


def _other_of_this_name(zc: AsyncZeroconf, info: ServiceInfo) -> DNSService | None:
    """Return what another host announces under our name: the last in order, where several do."""
    records = zc.zeroconf.cache.get_all_by_details(info.name, _SRV, _IN)
    others = [one for one in records if isinstance(one, DNSService) and one.ttl > 1]
    return max((one for one in others if _end(one) != _ours(info)), key=_end, default=None)


def _ours(info: ServiceInfo) -> tuple[str, int]:
    return (info.server or "").lower(), info.port or 0


async def _goodbye(zc: AsyncZeroconf) -> None:
    """Take back what was announced, and close every socket, whatever happens meanwhile."""
    try:
        async with asyncio.timeout(GOODBYE_S):
            await zc.async_close()
    except Exception as error:  # noqa: BLE001  # it ends in any case
        _log.debug("announce.goodbye", error=type(error).__name__)
    finally:
        zc.zeroconf.done = True
        zc.zeroconf.engine.close()
