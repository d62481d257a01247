"""Which addresses of a network listen on the ports of boards? Asked for, bounded, and polite.

A connection is opened and closed; nothing is said over it. Networks that a board has no business
to be on are refused by their size: at most a /22.
"""

import asyncio
import contextlib
import ipaddress
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from adapters.errors import AdapterError
from adapters.profiles import load, names

AT_ONCE: Final = 64
WAIT_S: Final = 0.4
PREFIX_MIN: Final = 22
USUAL_PORTS: Final = (502, 4196)


@dataclass(frozen=True, slots=True)
class Swept:
    """How far a sweep is."""

    done: int
    total: int
    about: str


def ports_of_boards() -> tuple[int, ...]:
    """Return the ports a board may listen on: the usual ones, and those of the profiles."""
    tcp = (load(name).link for name in names())
    named = {link.port for link in tcp if {"tcp", "rtu_over_tcp"} & set(link.framings)}
    return tuple(dict.fromkeys((*USUAL_PORTS, *sorted(named))))


async def sweep(
    network: str,
    *,
    progress: Callable[[Swept], None],
    stop: asyncio.Event,
    ports: Iterable[int] = (),
) -> tuple[tuple[str, int], ...]:
    """Return the (host, port) that listen, sorted; what was found so far when `stop` is set.

    Raises `AdapterError` (`scan.network`, `scan.too_wide`) for what is no network of boards.
    """
    hosts = _hosts(network)
    places = [(host, port) for host in hosts for port in tuple(ports) or ports_of_boards()]
    room = asyncio.Semaphore(AT_ONCE)
    found: list[tuple[str, int]] = []
    done = 0

    async def knock(host: str, port: int) -> None:
        nonlocal done
        async with room:
            if stop.is_set():
                return
            if await _listens(host, port):
                found.append((host, port))
            done += 1
            progress(Swept(done, len(places), f"{host}:{port}"))

    await asyncio.gather(*(knock(*place) for place in places))
    return tuple(sorted(found, key=lambda place: (ipaddress.ip_address(place[0]), place[1])))


def _hosts(network: str) -> list[str]:
    try:
        told = ipaddress.IPv4Network(network, strict=False)
    except ValueError as error:
        remedy = "Write a network as 192.168.1.0/24"
        raise AdapterError("scan.network", remedy, network=network, why=str(error)) from None
    if told.prefixlen < PREFIX_MIN:
        remedy = "Name a smaller network: boards are few, and strangers must not be knocked at"
        raise AdapterError("scan.too_wide", remedy, network=network, most=f"/{PREFIX_MIN}")
    return [str(host) for host in told.hosts()]


async def _listens(host: str, port: int) -> bool:
    try:
        async with asyncio.timeout(WAIT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True
