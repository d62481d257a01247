"""The door of the listeners that demand a certificate: whose it is, and whether it may do this.

The handshake has proved possession and chain. Here, at each request: the certificate's name, the
registry's word on its pin, and that a device asks for its own site alone. A backend reads the plain
pull of its sites and nothing else. Every refusal is answered with its code, and audited.
"""

import asyncio
import re
import ssl
from typing import Final, Literal

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware
from typing_extensions import override

from certs import authority, tls
from certs.errors import CertsError
from sync import places
from sync.errors import SyncError, TheirsInvalid
from sync.hub import logs
from sync.hub.est import DEVICE, refused
from sync.hub.rooms import Hub

CONNECTIONS_MAX: Final = 8
BACKEND_MAX: Final = 32
"""Connections of one device, and of one backend."""
_READS: Final = frozenset({"GET", "HEAD"})
_PULL: Final = re.compile(r"/sites/[^/]+/sync/v1(?:/.*)?")
_site_uri = re.compile(r"locker://(?P<operator>[^/]+)/site/(?P<site>[a-z0-9-]{1,32})").fullmatch
_backend_uri = re.compile(r"locker://(?P<operator>[^/]+)/backend/[a-z0-9-]{1,32}").fullmatch
Kind = Literal["link", "renew"]
_log = logs.get("gate")


def gate(hub: Hub, kind: Kind) -> Middleware:
    """Return what stands before every handler of a listener that demands a certificate."""

    @web.middleware
    async def enter(request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            pin, site_id = await _let_in(hub, request, kind)
        except (SyncError, CertsError) as error:
            await refused(hub, kind, error, address=request.remote or "")
            raise
        places.known(request, f"pin {pin}", CONNECTIONS_MAX if site_id else BACKEND_MAX)
        with hub.peers.asking(pin, site_id, request.transport):
            return await handler(request)

    return enter


async def _let_in(hub: Hub, request: web.Request, kind: Kind) -> tuple[str, str]:
    """Return pin and site of who asks; a backend has no site."""
    transport = request.transport
    shown = None if transport is None else transport.get_extra_info("ssl_object")
    leaf = tls.peer_of(shown)
    if leaf is None:
        raise TheirsInvalid("device.unknown", "Connect with this gateway's certificate.")
    pin = authority.pin_of(authority.public_key(leaf))
    uri = authority.uri_of(leaf)
    asked = request.match_info.get("site", "")
    named = _site_uri(uri)
    if named and named["operator"] == hub.keys.operator:
        site_id = named["site"]
        device = await hub.devices.known(site_id, pin)
        if asked and asked != site_id:
            raise TheirsInvalid(
                "device.other_site",
                "Ask for this gateway's own site.",
                site=site_id,
                asked=asked[:40],
            )
        request[DEVICE] = await hub.devices.seen(device)
        return pin, site_id
    backend = _backend_uri(uri)
    if kind == "link" and backend and backend["operator"] == hub.keys.operator:
        known = await hub.devices.backend(pin)
        if request.method not in _READS or not _PULL.fullmatch(request.path):
            raise TheirsInvalid("backend.read_only", "A backend reads /sites/SITE/sync/v1.")
        if asked not in known.sites:
            raise TheirsInvalid(
                "backend.scope", "Ask the hub's operator for this site.", asked=asked[:40]
            )
        await hub.devices.backend_seen(known)
        return pin, ""
    raise TheirsInvalid("device.unknown", "Connect with this gateway's certificate.")


def watched(hub: Hub, context: ssl.SSLContext, listener: str) -> ssl.SSLContext:
    """Have every handshake that a client's certificate failed written down, bounded."""
    under_way: set[asyncio.Task[None]] = set()

    def tell(error: ssl.SSLError) -> None:
        why = getattr(error, "verify_message", "") or error.reason or type(error).__name__
        told = TheirsInvalid("handshake.refused", "Renew, or enrol again.", why=str(why)[:80])
        task = asyncio.get_running_loop().create_task(refused(hub, listener, told))
        under_way.add(task)
        task.add_done_callback(under_way.discard)

    # What a context makes of a connection; tls.judge uses the same place, on other contexts.
    class Watched(context.sslobject_class):  # type: ignore[misc,name-defined]  # a type at run time
        @override
        def do_handshake(self) -> None:
            try:
                super().do_handshake()
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise
            except ssl.SSLError as error:
                tell(error)
                raise

    context.sslobject_class = Watched
    return context
