"""The gate of the LAN listener: who may connect, how many, how fast, for how long.

A site's pick-ups run in the same loop as this listener, so whatever a stranger on the LAN sends has
a bound before it costs anything: connections are accepted at a pace, counted by address before the
handshake, cut off when they dawdle; and TLS, requests and bodies have ends of their own.

| Bound | Figure | Against |
| --- | --- | --- |
| `ACCEPTS_PER_S` | 25 | floods of connections and handshakes (each costs us a millisecond or two) |
| `PER_ADDRESS` | 8 | one machine that takes every place (a browser opens six) |
| `CONNECTIONS_MAX` | 32 | memory |
| `HANDSHAKE_S` | 5 | handshakes that are never finished |
| `IDLE_S` | 15 | requests that never come, or come letter by letter |
| `BUSY_S` | 60 | answers that nobody reads; a test of a door takes 30 s at most |
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from certs import tls
from gateway import logs
from sync.places import Reticent

ACCEPTS_PER_S: Final = 25
PER_ADDRESS: Final = 8
CONNECTIONS_MAX: Final = 32
HANDSHAKE_S: Final = 5.0
IDLE_S: Final = 15.0
BUSY_S: Final = 60.0
SWEEP_S: Final = 1.0
BACKLOG: Final = 16
SHUTDOWN_S: Final = 1.0
_FREEBIND: Final = socket.IPPROTO_IP, 15  # SPEC: ip(7)
_FREEBIND6: Final = socket.IPPROTO_IPV6, 78  # SPEC: linux/in6.h
TURNS_TO_CLOSE: Final = 3
"""Turns of the loop in which an aborted connection of TLS is closed."""


_log = logs.get("installer")


@dataclass(slots=True)
class _Peer:
    """One connection: where from, and since when it has been idle or busy (loop seconds)."""

    address: str
    since: float
    transport: asyncio.Transport | None = None
    requests: int = 0


class Gate:
    """Accepts for a server of aiohttp, within bounds. `run` until cancelled.

    `options` are those of each connection (`aiohttp.web.Server` would pass them on).
    """

    def __init__(
        self,
        listener: socket.socket,
        context: ssl.SSLContext,
        server: web.Server,
        options: Mapping[str, Any],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._listener, self._context = listener, context
        self._server, self._options = server, options
        self._peers: dict[RequestHandler, _Peer] = {}
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Accept at a pace, and cut off who dawdles."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sweep())
                await self._accept(group)
        finally:
            for peer in self._peers.values():
                if peer.transport is not None:
                    tls.cut(peer.transport)
            for _ in range(TURNS_TO_CLOSE):
                await asyncio.sleep(0)

    async def _accept(self, group: asyncio.TaskGroup) -> None:
        while True:
            try:
                connection, told = await self._loop.sock_accept(self._listener)
            except OSError:  # whoever knocked has gone, or there are no descriptors left
                self.counters["failed"] += 1
                await asyncio.sleep(1 / ACCEPTS_PER_S)
                continue
            address = str(told[0])
            self._forget_closed()
            theirs = sum(peer.address == address for peer in self._peers.values())
            if len(self._peers) >= CONNECTIONS_MAX or theirs >= PER_ADDRESS:
                self.counters["refused"] += 1
                connection.close()
            else:
                self.counters["accepted"] += 1
                handler = Reticent(self._server, loop=self._loop, **self._options)
                self._peers[handler] = _Peer(address, self._loop.time())
                group.create_task(self._admit(handler, connection))
            await asyncio.sleep(1 / ACCEPTS_PER_S)

    async def _admit(self, handler: RequestHandler, connection: socket.socket) -> None:
        """Shake hands; then the server's handler has the connection."""
        peer = self._peers[handler]
        try:
            peer.transport, _ = await self._loop.connect_accepted_socket(
                lambda: handler,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_S,
                ssl_shutdown_timeout=SHUTDOWN_S,
            )
        except (OSError, TimeoutError):
            self.counters["unshaken"] += 1
            connection.close()
            del self._peers[handler]
            return
        peer.since = self._loop.time()

    # --- what the application tells ---------------------------------------------------------------

    def begun(self, request: web.Request) -> None:
        """A request's headers are here."""
        peer = self._peers.get(request.protocol)
        if peer is not None:
            peer.requests += 1
            peer.since = self._loop.time()

    def done(self, request: web.Request) -> None:
        """Its answer is given."""
        peer = self._peers.get(request.protocol)
        if peer is not None:
            peer.requests -= 1
            peer.since = self._loop.time()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._forget_closed()
            now = self._loop.time()
            for peer in self._peers.values():
                late = now - peer.since > (BUSY_S if peer.requests else IDLE_S)
                if late and peer.transport is not None:  # the handshake has an end of its own
                    self.counters["cut_off"] += 1
                    tls.cut(peer.transport)

    def _forget_closed(self) -> None:
        for handler, peer in list(self._peers.items()):
            if peer.transport is not None and handler.transport is None:  # closed to the end
                del self._peers[handler]


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; OSError where the address is taken.

    The address need not be there yet: a gateway starts before its network does, or without one.
    """
    six = ":" in host
    listener = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(*(_FREEBIND6 if six else _FREEBIND), 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener
