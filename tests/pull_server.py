"""A shelf behind real HTTP, for the tests of plain pull: what the gateway and the hub mount."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from aiohttp import web

from certs.keys import KIND_COSIGNATURE, SigningKey, Verifier
from certs.note import cosign
from sync.origin import Ring
from sync.pull import Arrived, Bounds, Snapshot, make_routes
from sync.pullclient import Limits
from sync.shelf import Log, Shelf
from tests.shelf_memory import MemoryShelf

SITE: Final = "lockers.example/site/0042/e1-9f2c01ab"
HUB: Final = "lockers.example/hub/0042/e1-0000000a"
CUSTODY: Final = f"{SITE}/custody"
URGENT: Final = f"{SITE}/urgent"
ORDERS: Final = f"{HUB}/custody"
SITE_SEED: Final = bytes(range(32))
HUB_SEED: Final = bytes(range(32, 64))
COSIGNER: Final = SigningKey.from_seed(
    "lockers.example/hub/0042/cosigner", bytes(range(64, 96)), KIND_COSIGNATURE
)
NOW_S: Final = 1_800_000_000
QUICK: Final = Limits(connect_s=2, request_s=5, attempts=3, pause_s_max=0.01)


def ring() -> Ring:
    """Return the keys of both writers."""
    seeds = {"site": SITE_SEED, "hub": HUB_SEED}
    return Ring(
        *(
            SigningKey.from_seed(f"lockers.example/{voice}/0042", seed).vkey
            for voice, seed in seeds.items()
        )
    )


def site_shelf(*origins: str) -> MemoryShelf:
    """Return a site's shelf: it writes its own logs and knows the hub and its cosigner."""
    shelf = MemoryShelf(ring=ring(), cosigners=[COSIGNER.verifier])
    for origin in origins or (CUSTODY,):
        shelf.begin(origin, SITE_SEED)
    return shelf


def hub_shelf(*origins: str) -> MemoryShelf:
    """Return the hub's shelf for that site."""
    shelf = MemoryShelf(ring=ring(), instance="00000000000000bb")
    for origin in origins:
        shelf.begin(origin, HUB_SEED)
    return shelf


async def sign_receipt(log: Log) -> str:
    """Return a log's checkpoint with the hub's cosignature."""
    return log.note + cosign(log.note, COSIGNER, NOW_S)


def verifier(shelf: MemoryShelf, origin: str) -> Verifier:
    """Return the key that a log is checked with."""
    return shelf.held[origin].verifier


@asynccontextmanager
async def served(routes: list[web.RouteDef]) -> AsyncIterator[str]:
    """Lend the address of an application with these routes, on a port of its own."""
    app = web.Application()
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serving(
    shelf: Shelf,
    snapshot: Snapshot | None = None,
    arrived: Arrived | None = None,
    bounds: Bounds | None = None,
) -> AsyncIterator[str]:
    """Lend the base address of one shelf's plain pull."""

    async def the_one(_: web.Request) -> Shelf:
        return shelf

    routes = make_routes(the_one, snapshot=snapshot, arrived=arrived, bounds=bounds)
    async with served(routes) as address:
        yield f"{address}/sync/v1"


@dataclass
class Got:
    """An answer, read to its end and not unpacked."""

    status: int
    headers: Any
    body: bytes


Ask = Callable[..., Awaitable[Got]]


@asynccontextmanager
async def asking(base: str) -> AsyncIterator[Ask]:
    """Lend a function that asks below `base`: `ask("GET", "/logs", headers={...}, data=b"")`."""
    async with aiohttp.ClientSession(
        auto_decompress=False, skip_auto_headers=["Accept-Encoding", "Content-Type"]
    ) as session:

        async def ask(method: str, path: str, **more: Any) -> Got:
            async with session.request(method, f"{base}{path}", **more) as answer:
                return Got(answer.status, answer.headers, await answer.read())

        yield ask
