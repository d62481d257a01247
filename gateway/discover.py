"""Who announces themselves on this network: gateways, and boards on Modbus TCP that speak mDNS.

Asks for so many seconds, then looks closer at so many names. Strangers answer here too: what the
library makes of their records is judged by `nearby`, and costs at most that one answer.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from zeroconf import IPVersion, ServiceStateChange
from zeroconf.asyncio import AsyncServiceBrowser, AsyncServiceInfo, AsyncZeroconf

from gateway import interfaces, nearby
from gateway.errors import GatewayError
from gateway.nearby import Board, Gateway, Interface, Records

SECONDS: Final = 3.0
RESOLVE_MS: Final = 1500
NAMES_MAX: Final = 4096
"""So many names are remembered: a crowd of invented ones is to hide nobody."""
ASKED_MAX: Final = 64
"""Of those whose records did not come by themselves, so many are asked for them."""
LISTED_MAX: Final = 256
ANY: Final = "::"
"""Where to ask: on each interface but loopback."""


@dataclass(frozen=True, slots=True)
class Found:
    """Gateways by site and name. `left_out` counts answers that made no sense or were too many."""

    gateways: tuple[Gateway, ...]
    left_out: int


async def browse(seconds: float = SECONDS, on: str = ANY) -> Found:
    """Return the gateways that are announced where `on` is an address of this computer.

    Raises GatewayError `discover.no_network`, `discover.unavailable`.
    """
    loopback = nearby.is_loopback(on)
    here = await asyncio.to_thread(interfaces.here)
    heard, more = await _heard(nearby.SERVICE, seconds, on, here)
    known = [nearby.gateway(one, here, loopback=loopback) for one in heard]
    found = {one for one in known if one is not None}
    gateways = sorted(found, key=lambda one: (one.site, one.name, one.address))
    more += known.count(None) + max(0, len(gateways) - LISTED_MAX)
    return Found(tuple(gateways[:LISTED_MAX]), more)


async def browse_modbus(seconds: float = SECONDS, on: str = ANY) -> tuple[Board, ...]:
    """Return the boards that announce `_modbus._tcp`. Raises as `browse`."""
    loopback = nearby.is_loopback(on)
    here = await asyncio.to_thread(interfaces.here)
    heard, _ = await _heard(nearby.BOARDS, seconds, on, here)
    known = {nearby.board(one, here, loopback=loopback) for one in heard}
    found = [one for one in known if one is not None]
    return tuple(sorted(found, key=lambda one: (one.host, one.port, one.name))[:LISTED_MAX])


async def _heard(
    kind: str, seconds: float, on: str, here: tuple[Interface, ...]
) -> tuple[list[Records], int]:
    """Return what was heard, and how much was too much to look at."""
    speak = nearby.places(on, here)
    if not speak.speak:
        raise GatewayError(
            "discover.no_network", "Connect this computer to the gateway's network", on=on
        )
    version = IPVersion.All if speak.both else IPVersion.V4Only
    try:
        zc = AsyncZeroconf(interfaces=list(speak.speak), ip_version=version)
    except OSError as error:
        raise GatewayError(
            "discover.unavailable",
            "Another program keeps UDP port 5353 to itself: stop it, or type the address",
            errno=error.errno,
        ) from error
    try:
        names, more = await _names(zc, kind, seconds)
        infos = [info for name in names if (info := _known(zc, kind, name)) is not None]
        vague = [info for info in infos if not info.addresses_by_version(IPVersion.All)]
        await asyncio.gather(*(_ask(zc, info) for info in vague[:ASKED_MAX]))
        return [_records(info) for info in infos], more + len(names) - len(infos)
    finally:
        await zc.async_close()


async def _names(zc: AsyncZeroconf, kind: str, seconds: float) -> tuple[list[str], int]:
    """Return the instances that are announced in that time, and how many more there were."""
    names: dict[str, None] = {}
    more = 0

    def heard(*, name: str, state_change: ServiceStateChange, **_: Any) -> None:
        nonlocal more
        if state_change is ServiceStateChange.Removed:
            names.pop(name, None)
        elif len(names) < NAMES_MAX:
            names[name] = None
        elif name not in names:
            more += 1

    async with AsyncServiceBrowser(zc.zeroconf, kind, handlers=[heard]):
        await asyncio.sleep(seconds)
    return list(names), more


# What a stranger's record does inside the library costs that record, and nobody else's.


def _known(zc: AsyncZeroconf, kind: str, name: str) -> AsyncServiceInfo | None:
    """Return one instance with what was heard of it; None where its name is none."""
    try:
        info = AsyncServiceInfo(kind, name)
        info.load_from_cache(zc.zeroconf)
    except Exception:  # noqa: BLE001
        return None
    return info


async def _ask(zc: AsyncZeroconf, info: AsyncServiceInfo) -> None:
    """Ask for the records that are missing."""
    with suppress(Exception):
        await info.async_request(zc.zeroconf, RESOLVE_MS)


def _records(info: AsyncServiceInfo) -> Records:
    try:
        return Records(info.name, info.port, info.text or b"", info.parsed_scoped_addresses())
    except Exception:  # noqa: BLE001
        return Records(info.name, None, b"", ())
