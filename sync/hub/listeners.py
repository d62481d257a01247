"""The sockets that a hub listens at, and their TLS: contexts that change while connections stay.

api    certificate of the hub, none of the client     tokens, enrolment
link   certificate of the client demanded             links, plain pull, renewal
renew  the same, but its dates do not count           renewal alone
"""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from certs import authority, tls
from sync import places
from sync.errors import TheirsInvalid
from sync.hub import ca, logs
from sync.hub.authority import HubAuthority, digest, read
from sync.hub.config import Listener
from sync.hub.gate import watched
from sync.hub.rooms import Hub

STRANGERS_MAX: Final = 256
"""Connections of a listener over which nobody has been let in yet."""
LOOK_S: Final = 2.0
"""How often a hub looks whether its authority or somebody's right to connect has changed."""
SEEN_S: Final = 300.0
RENEW_AGAIN_S: Final = 3_600.0

_log = logs.get("listeners")


@asynccontextmanager
async def listening(
    app: web.Application, where: Listener, context: ssl.SSLContext | None
) -> AsyncIterator[tuple[str, int, list[asyncio.Task[None]]]]:
    """Serve an application; yield (host, port, tasks that end by a bug alone).

    Raises `TheirsInvalid` `hub.unavailable`.
    """
    listener = _listener(where)
    host, port = listener.getsockname()[:2]
    async with places.serving(app, listener, context, strangers_max=STRANGERS_MAX) as accepts:
        yield host, port, [] if accepts is None else [accepts]


def _listener(where: Listener) -> socket.socket:
    try:
        return places.listen(where.host, where.port)
    except OSError as error:
        raise TheirsInvalid(
            "hub.unavailable",
            "Stop what listens there, or choose another port.",
            listen=where.listen,
            errno=error.errno,
        ) from error


class Contexts:
    """The TLS contexts of one hub's listeners, all showing its newest certificate."""

    def __init__(self, hub: Hub) -> None:
        assert hub.authority is not None, "a hub without an authority listens plainly"
        own, roots = hub.authority.credentials(), hub.authority.roots
        self._hub = hub
        self.api = tls.server(own)
        self.link = watched(hub, tls.server(own, roots, clients="required"), "link")
        self.renew = watched(hub, tls.server(own, roots, clients="required", dates=False), "renew")

    async def watch(self) -> None:
        """Until cancelled: renew our certificate, follow a rotation, end who may not connect."""
        loop = asyncio.get_running_loop()
        seen_at, tried_at = loop.time(), loop.time() - RENEW_AGAIN_S
        changes = await self._hub.devices.changes()
        await self._hub.cut()  # what ended while nobody looked: this begins again after trouble
        while True:
            if self._is_due() and loop.time() - tried_at >= RENEW_AGAIN_S:
                tried_at = loop.time()
                await self._renew()
            await self._follow()
            now = await self._hub.devices.changes()
            if now != changes:
                changes = now
                await self._hub.cut()
            if loop.time() - seen_at >= SEEN_S:
                seen_at = loop.time()
                await self._hub.heard()
            await asyncio.sleep(LOOK_S)

    def take(self, known: HubAuthority) -> None:
        """Show another certificate and believe new roots too, from the next handshake on."""
        own = known.credentials()
        for context in (self.api, self.link, self.renew):
            tls.use(context, own)
        for context in (self.link, self.renew):
            context.load_verify_locations(cadata=authority.pem(*known.roots))
        self._hub.authority = known

    def _is_due(self) -> bool:
        assert self._hub.authority is not None
        leaf = self._hub.authority.credentials().leaf
        now_s = self._hub.clock.utc_ms() // 1_000
        # One that begins later was made by a clock that was wrong.
        return now_s >= authority.renews_s(leaf) or now_s < authority.begins_s(leaf)

    async def _renew(self) -> None:
        try:
            await asyncio.to_thread(ca.renew, self._hub.data, self._hub.clock.utc_ms() // 1_000)
            _log.warning("hub.certificate_renewed")
        except Exception as error:  # noqa: BLE001  # two thirds of its life are left to mend it
            _log.error("hub.certificate_not_renewed", error=type(error).__name__)

    async def _follow(self) -> None:
        assert self._hub.authority is not None
        try:
            state = await asyncio.to_thread(read, self._hub.data)
            if state is None or digest(state) == digest(self._hub.authority.state):
                return
            known = await asyncio.to_thread(HubAuthority.load, self._hub.data)
            if known is not None:
                self.take(known)
                _log.warning("hub.authority_changed", anchors=known.state.number)
        except Exception as error:  # noqa: BLE001  # what is shown now is good still
            _log.error("hub.authority_unread", error=type(error).__name__)
