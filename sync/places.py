"""Who holds a connection to a TLS listener, and who goes first when there are too many.

Connections are counted before the handshake. A *stranger* (nobody has been let in over it yet) must
ask within `IDLE_S` and take its answer within `BUSY_S`; where strangers fill all their places, the
oldest connection of the address that holds most of them goes. So one hostile address only ever
pushes out itself, and many that share one (a carrier's NAT) may use every place that is free.
Who was let in (`known`) is counted by name instead, with a bound of its own, and may stay.
"""

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from ipaddress import IPv6Address, ip_address
from typing import Any, Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler, Middleware
from aiohttp.web_protocol import RequestHandler
from typing_extensions import override

from certs import tls

HANDSHAKE_S: Final = 10.0
IDLE_S: Final = 15.0
BUSY_S: Final = 60.0
SWEEP_S: Final = 1.0
_FREEBIND: Final = socket.IPPROTO_IP, 15  # SPEC: ip(7)
_FREEBIND6: Final = socket.IPPROTO_IPV6, 78  # SPEC: linux/in6.h
BACKLOG: Final = 256
KEEPALIVE_S: Final = 75.0
OPTIONS: Final[dict[str, Any]] = {
    "access_log": None,
    "keepalive_timeout": KEEPALIVE_S,
    # What is refused unread would be unpacked to its end, in this very loop.
    "lingering_time": 0.0,
}
"""How each connection is served."""
SERVER: Final = "locker"
"""What answers call this program: a stranger learns no version."""
SHUTDOWN_S: Final = 0.5
"""How long requests under way may take once a process is to stop."""
PAUSE_S: Final = 0.1
"""After an accept that failed: there are no descriptors left."""
_PREFIX_BITS: Final = 64


@dataclass(slots=True, eq=False)
class _Place:
    """One connection: whose (an address, or who was let in), since when idle or busy (loop s)."""

    key: str
    since: float
    stranger: bool = True
    task: asyncio.Task[None] | None = None
    transport: asyncio.Transport | None = None
    requests: int = 0

    def end(self) -> None:
        """Cut it off."""
        if self.transport is not None:
            tls.cut(self.transport)
        elif self.task is not None:
            self.task.cancel()


@dataclass(slots=True)
class _Row:
    """The connections of one key, the oldest first."""

    places: dict[_Place, None] = field(default_factory=dict)


_PLACE: Final = web.RequestKey("place", _Place)
_PLACES: Final = web.RequestKey("places", object)


class Places:
    """Accepts for a server of aiohttp. `run` until cancelled; `middleware` stands outermost."""

    def __init__(
        self, listener: socket.socket, context: ssl.SSLContext, *, strangers_max: int
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._listener, self._context, self._max = listener, context, strangers_max
        self._rows: dict[str, _Row] = {}
        self._by_handler: dict[RequestHandler, _Place] = {}
        self._strangers = 0

    @property
    def middleware(self) -> Middleware:
        """Return what tells this room when a request begins and ends."""

        @web.middleware
        async def counted(request: web.Request, handler: Handler) -> web.StreamResponse:
            place = self._by_handler.get(request.protocol)
            if place is None:
                return await handler(request)
            request[_PLACE], request[_PLACES] = place, self
            now = asyncio.get_running_loop().time
            place.requests, place.since = place.requests + 1, now()
            try:
                return await handler(request)
            finally:
                place.requests, place.since = place.requests - 1, now()

        return counted

    async def run(self, server: web.Server) -> None:
        """Accept, and cut off who dawdles."""
        loop = asyncio.get_running_loop()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            while True:
                try:
                    connection, told = await loop.sock_accept(self._listener)
                except OSError:  # whoever knocked has gone, or there are no descriptors left
                    self.counters["failed"] += 1
                    await asyncio.sleep(PAUSE_S)
                    continue
                handler = Reticent(server, loop=loop, **OPTIONS)
                place = _Place(network_of(str(told[0])), loop.time())
                self._add(handler, place)
                place.task = group.create_task(self._admit(handler, place, connection))
                self._make_room()
                await asyncio.sleep(0)  # an accept that need not wait does not let others run

    def know(self, place: _Place, key: str, most: int) -> None:
        """Count a connection by who was let in over it; beyond `most` of theirs the oldest goes.

        Those that are idle go before those that wait for an answer.
        """
        if place.stranger:
            self._take_out(place)
            place.key, place.stranger = f"known {key}", False
            self._rows.setdefault(place.key, _Row()).places[place] = None
        row = self._rows.get(place.key)
        if row is not None and len(row.places) > most:
            self._forget_closed()
            ranked = sorted(row.places, key=lambda one: one.requests > 0)
            for one in ranked[:-most]:
                self.counters["crowded"] += 1
                one.end()

    # --- parts ----------------------------------------------------------------------------------

    async def _admit(
        self, handler: RequestHandler, place: _Place, connection: socket.socket
    ) -> None:
        """Shake hands; then the server's handler has the connection."""
        loop = asyncio.get_running_loop()
        try:
            place.transport, _ = await loop.connect_accepted_socket(
                lambda: handler,
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_S,
            )
        except BaseException as error:
            connection.close()
            self._drop(handler)
            if not isinstance(error, OSError | TimeoutError):
                raise
            self.counters["unshaken"] += 1
            return
        place.since = loop.time()

    def _add(self, handler: RequestHandler, place: _Place) -> None:
        self._by_handler[handler] = place
        self._rows.setdefault(place.key, _Row()).places[place] = None
        self._strangers += 1

    def _drop(self, handler: RequestHandler) -> None:
        place = self._by_handler.pop(handler, None)
        if place is not None:
            self._take_out(place)

    def _take_out(self, place: _Place) -> None:
        row = self._rows[place.key]
        del row.places[place]
        if not row.places:
            del self._rows[place.key]
        self._strangers -= place.stranger

    def _make_room(self) -> None:
        if self._strangers > self._max:
            self._forget_closed()
        if self._strangers > self._max:
            rows = (row for key, row in self._rows.items() if not key.startswith("known "))
            fullest = max(rows, key=lambda row: len(row.places))
            self.counters["pushed_out"] += 1
            place = next(iter(fullest.places))
            place.end()
            for handler, one in list(self._by_handler.items()):
                if one is place:
                    self._drop(handler)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            self._forget_closed()
            now = asyncio.get_running_loop().time()
            for place in self._by_handler.values():
                late = now - place.since > (BUSY_S if place.requests else IDLE_S)
                if place.stranger and late and place.transport is not None:
                    self.counters["cut_off"] += 1
                    tls.cut(place.transport)

    def _forget_closed(self) -> None:
        for handler, place in list(self._by_handler.items()):
            if place.transport is not None and handler.transport is None:
                self._drop(handler)


class Reticent(RequestHandler):
    """A connection on which a request that is none is answered with its status and nothing more.

    Left alone the library repeats what it could not read, and names itself with its version.
    """

    __slots__ = ()

    @override
    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Log it as the library does; raises ConnectionError where an answer had begun."""
        super().handle_error(request, status, exc, message)
        answer = web.Response(status=status, headers={hdrs.SERVER: SERVER})
        answer.force_close()
        return answer


async def _name(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers[hdrs.SERVER] = SERVER


@asynccontextmanager
async def serving(
    app: web.Application,
    listener: socket.socket,
    context: ssl.SSLContext | None,
    *,
    strangers_max: int,
) -> AsyncIterator[asyncio.Task[None] | None]:
    """Serve an application; yield the task that accepts, which ends by a bug alone.

    Without TLS (development) nobody is let in and nobody is a stranger: then it yields None.
    """
    gate = None
    if context is not None:
        gate = Places(listener, context, strangers_max=strangers_max)
        app.middlewares.insert(0, gate.middleware)
    app.on_response_prepare.append(_name)
    runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=SHUTDOWN_S, **OPTIONS)
    try:
        await runner.setup()
        assert runner.server is not None, "it was set up"
        if gate is None:
            await web.SockSite(runner, listener).start()
            yield None
            return
        accepts = asyncio.create_task(gate.run(runner.server), name="accepts")
        try:
            yield accepts
        finally:
            accepts.cancel()
            await asyncio.gather(accepts, return_exceptions=True)
    finally:
        await runner.cleanup()
        listener.close()


def known(request: web.Request, key: str, most: int) -> None:
    """Say who was let in over a request's connection, and how many connections they may have."""
    place, places = request.get(_PLACE), request.get(_PLACES)
    if place is not None and isinstance(places, Places):
        places.know(place, key, most)


def listen(host: str, port: int, *, absent: bool = False) -> socket.socket:
    """Return a listening socket; OSError where the address is taken.

    `absent`: the address need not be there yet. A gateway starts before its network does.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if absent:
            listener.setsockopt(*(_FREEBIND6 if family == socket.AF_INET6 else _FREEBIND), 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    listener.setblocking(False)
    return listener


def network_of(address: str) -> str:
    """Return what counts as one address: of IPv6 the network that one household has."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if not isinstance(parsed, IPv6Address):
        return address
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else f"{int(parsed) >> _PREFIX_BITS:016x}"
