"""The kiosk's HTTP side: one page, its screens as server-sent events, five things a person can do.

It decides nothing and keeps nothing: what is typed goes to the site's queue, what the site shows
goes to the page. It has no clock and no dice (the runtime stamps `now` and `salt`). What a person
types is personal or secret: it is never logged, never echoed, and no error holds it.

It listens on loopback, and a browser's page from elsewhere must not reach it by a name of its own
(DNS rebinding) or by a form: the Host must be loopback with our port, the origin our own.

| Request                | Answer                                                              |
| ---------------------- | ------------------------------------------------------------------- |
| GET /                  | the page                                                            |
| GET /static/...        | its parts                                                           |
| GET /api/screen        | the current screen, JSON                                            |
| GET /api/events        | the current screen, then each new one: event `screen`, data JSON    |
| POST /api/code         | `{"digits"}`: a pick-up code                                        |
| POST /api/staff-code   | `{"digits"}`: a courier's secret                                    |
| POST /api/parcel       | `{"tracking"}`: a tracking number                                   |
| POST /api/scan         | `{"text"}`: a QR code of ours (`PLG1:`, `PLG1B:`, `PLG1D:`)         |
| POST /api/button       | `{"button", "argument"?}`: a button of the screen                   |
| GET /healthz           | what the site says of its health; 503 where `ok` is false           |

A POST is answered 202 when it stands in the queue. `?kiosk=NAME` chooses the kiosk (`main`). Errors
are JSON `{"code", "remedy"}`.
"""

import asyncio
import ipaddress
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Final, Protocol, TypeVar

import msgspec
from aiohttp import hdrs, web

from gateway.core.inputs import Button
from gateway.core.screen import Screen

STATIC: Final = Path(__file__).parent / "static"
BODY_BYTES_MAX: Final = 1024
TYPED_CHARACTERS_MAX: Final = 64
TEXT_CHARACTERS_MAX: Final = 4_400  # SPEC: ISO/IEC 18004: a QR code has at most 4,296 of Base45
SCAN_BYTES_MAX: Final = 5_120
DENIALS: Final = "PLG1D:"
"""What a visitor's device carries in: no right of theirs, and nothing for the site to decide."""
STREAMS_MAX: Final = 16  # a site has a few kiosks; a page that is reloaded leaves its old stream
HEARTBEAT_S: Final = 5.0  # the page gives the gateway up after three of these
BODY_S: Final = 5.0  # a kilobyte over loopback takes no longer
WRITE_S: Final = 5.0  # a page that does not read for so long has gone

SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


# --- the port: what the kiosk needs of the site ------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeTyped:
    """Somebody typed a pick-up code, as typed."""

    kiosk: str
    digits: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class StaffCodeTyped:
    """Somebody typed a courier's secret, as typed."""

    kiosk: str
    digits: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scanned:
    """Somebody scanned or typed a tracking number, as it came."""

    kiosk: str
    tracking: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """Somebody showed a capability, as it came: it may open a door."""

    kiosk: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pressed:
    """Somebody pressed a button; `argument` as `gateway.core.inputs.Button` says."""

    kiosk: str
    button: Button
    argument: str = ""


KioskInput = CodeTyped | StaffCodeTyped | Scanned | Shown | Pressed


class KioskRefused(Exception):  # noqa: N818  # a refusal is an answer, not an error of ours
    """Something the kiosk cannot take. `status` is its HTTP status."""

    def __init__(self, code: str, remedy: str, *, status: int = 400, **evidence: object) -> None:
        self.code = code
        self.remedy = remedy
        self.status = status
        self.evidence = evidence
        told = ", ".join(f"{key}={value}" for key, value in evidence.items())
        super().__init__(f"{code}: {remedy}" + (f" ({told})" if told else ""))


class Overloaded(KioskRefused):
    """The site's queue is full."""

    def __init__(
        self,
        code: str = "site.overloaded",
        remedy: str = "Try again in a moment",
        **evidence: object,
    ) -> None:
        super().__init__(code, remedy, status=503, **evidence)


class UnknownKiosk(KioskRefused):
    """This site has no kiosk of that name."""

    def __init__(self, kiosk: str) -> None:
        super().__init__(
            "kiosk.unknown", "Use a kiosk of this site's configuration", status=404, kiosk=kiosk
        )


class KioskPort(Protocol):
    """What the kiosk needs of the site. All is called on the event loop."""

    def submit(self, inp: KioskInput) -> None:
        """Queue it and return at once. Raises `Overloaded`, `UnknownKiosk`."""

    def carry(self, text: str) -> None:
        """Take a list of denials that somebody carried in, and return at once; nobody is told."""

    def watch(self, kiosk: str) -> AsyncIterator[Screen]:
        """Yield the current screen, then each new one; whoever is slow gets the latest only.

        Raises `UnknownKiosk`. It is closed (`aclose`, where it has one) when the page has gone.
        """

    def health(self) -> Mapping[str, object]:
        """Return what JSON can carry; `ok` false makes `/healthz` answer 503."""


# --- the application ---------------------------------------------------------------------------

_PORT: Final = web.AppKey("kiosk_port", KioskPort)
_STOPPING: Final = web.AppKey("kiosk_stopping", asyncio.Event)
_STREAMS: Final = web.AppKey("kiosk_streams", set[object])

_Typed = Annotated[str, msgspec.Meta(min_length=1, max_length=TYPED_CHARACTERS_MAX)]
_Text = Annotated[str, msgspec.Meta(pattern=r"\APLG1[ -~]*\Z", max_length=TEXT_CHARACTERS_MAX)]
_Argument = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9 ]{0,16}\Z")]
_KIOSK = re.compile(r"[a-z0-9-]{1,16}")
_HTTP_PORT = 80
# SPEC: RFC 3986 3.2.2: an IPv6 address stands in brackets, and nothing else we answer to does.
_HOST = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:]+))(?::(?P<port>[0-9]{1,5}))?")
_Body = TypeVar("_Body")


class _DigitsBody(msgspec.Struct, forbid_unknown_fields=True):
    digits: _Typed


class _TrackingBody(msgspec.Struct, forbid_unknown_fields=True):
    tracking: _Typed


class _ScanBody(msgspec.Struct, forbid_unknown_fields=True):
    text: _Text


class _ButtonBody(msgspec.Struct, forbid_unknown_fields=True):
    button: Button
    argument: _Argument = ""


def make_app(port: KioskPort) -> web.Application:
    """Return the kiosk's application over a site. Its shutdown ends the open event streams."""
    app = web.Application(middlewares=[_errors, _guard], client_max_size=SCAN_BYTES_MAX)
    app[_PORT] = port
    app[_STOPPING] = asyncio.Event()
    app[_STREAMS] = set()
    app.on_response_prepare.append(_add_headers)
    app.on_shutdown.append(_stop_streams)
    app.add_routes(
        [
            web.get("/", _page),
            web.get("/api/screen", _screen),
            web.get("/api/events", _events),
            web.post("/api/code", _code),
            web.post("/api/staff-code", _staff_code),
            web.post("/api/parcel", _parcel),
            web.post("/api/scan", _scan),
            web.post("/api/button", _button),
            web.get("/healthz", _health),
            web.static("/static", STATIC),
        ]
    )
    return app


async def _stop_streams(app: web.Application) -> None:
    app[_STOPPING].set()


# --- what surrounds every request ---------------------------------------------------------------

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_BY_STATUS = {
    404: ("kiosk.path", "Ask for a path of this kiosk"),
    405: ("kiosk.method", "Use the method of this path"),
    413: ("kiosk.too_long", f"Send at most {BODY_BYTES_MAX} bytes, or a QR code"),
}


@web.middleware
async def _errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer every refusal in one shape. Anything else is a bug, and the server logs it."""
    try:
        return await handler(request)
    except KioskRefused as refused:
        return _json({"code": refused.code, "remedy": refused.remedy}, status=refused.status)
    except web.HTTPException as error:
        if error.status < 400:  # noqa: PLR2004  # redirects and "not modified" are no errors
            raise
        code, remedy = _BY_STATUS.get(error.status, ("kiosk.request", "Send another request"))
        allow = {"Allow": error.headers[hdrs.ALLOW]} if hdrs.ALLOW in error.headers else None
        return _json({"code": code, "remedy": remedy}, status=error.status, headers=allow)


@web.middleware
async def _guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Let in only who asks this kiosk by a loopback name, and only its own page."""
    if not _host_is_ours(request):
        raise KioskRefused("kiosk.host", "Open http://127.0.0.1:PORT on this machine", status=403)
    origin = request.headers.get(hdrs.ORIGIN)
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    api = request.path.startswith("/api/")
    if (origin is not None and origin != f"http://{request.headers[hdrs.HOST]}") or (
        api and site not in ("same-origin", "none")
    ):
        raise KioskRefused("kiosk.origin", "Use the kiosk's own page", status=403)
    return await handler(request)


def _host_is_ours(request: web.Request) -> bool:
    """Whether the one Host header is a loopback name or address with the port it came in by."""
    hosts = request.headers.getall(hdrs.HOST, [])
    transport = request.transport
    if len(hosts) != 1 or transport is None:
        return False
    host = _HOST.fullmatch(hosts[0])
    own = transport.get_extra_info("sockname")
    if host is None or not isinstance(own, tuple) or int(host["port"] or _HTTP_PORT) != own[1]:
        return False
    name = host["v6"] or host["name"]
    if name.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


async def _add_headers(request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(SECURITY_HEADERS)
    # The page's parts are asked for again after an update (they carry an ETag); answers never stay.
    static = request.path == "/" or request.path.startswith("/static/")
    static = static and response.status < 400  # noqa: PLR2004  # HTTP's own border of errors
    response.headers[hdrs.CACHE_CONTROL] = "no-cache" if static else "no-store"


def _json(
    value: object, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(value),
        status=status,
        headers=headers,
        content_type="application/json",
    )


# --- the page and what it shows ------------------------------------------------------------------


async def _page(_request: web.Request) -> web.StreamResponse:
    return web.FileResponse(STATIC / "kiosk.html")


async def _health(request: web.Request) -> web.StreamResponse:
    health = request.app[_PORT].health()
    return _json(health, status=503 if health.get("ok") is False else 200)


async def _screen(request: web.Request) -> web.StreamResponse:
    screens = request.app[_PORT].watch(_kiosk(request))
    try:
        return _json(await anext(screens))
    finally:
        await _close(screens)


async def _events(request: web.Request) -> web.StreamResponse:
    kiosk = _kiosk(request)
    streams = request.app[_STREAMS]
    if len(streams) >= STREAMS_MAX:
        raise KioskRefused(
            "kiosk.streams", "Close pages that nobody looks at", status=503, open=len(streams)
        )
    mark = object()
    streams.add(mark)
    screens = request.app[_PORT].watch(kiosk)
    try:
        return await _stream(request, screens)
    finally:
        streams.discard(mark)
        await _close(screens)


async def _stream(request: web.Request, screens: AsyncIterator[Screen]) -> web.StreamResponse:
    """Write screens until the page goes, the site ends the stream, or this server stops."""
    # The first screen before the headers: an unknown kiosk is refused with its status.
    first = await anext(screens)
    response = web.StreamResponse(headers={hdrs.CONTENT_TYPE: "text/event-stream; charset=utf-8"})
    await response.prepare(request)
    stopping = asyncio.ensure_future(request.app[_STOPPING].wait())
    coming = asyncio.ensure_future(anext(screens))
    try:
        await _write(response, _event(first))
        while not stopping.done():
            await asyncio.wait(
                {coming, stopping}, timeout=HEARTBEAT_S, return_when=asyncio.FIRST_COMPLETED
            )
            if coming.done():
                await _write(response, _event(coming.result()))
                coming = asyncio.ensure_future(anext(screens))
            elif not stopping.done():
                await _write(response, b": here\n\n")
    except (ConnectionError, TimeoutError, StopAsyncIteration):
        pass  # the page or the site has gone: the page asks again
    finally:
        stopping.cancel()
        coming.cancel()
        await asyncio.gather(stopping, coming, return_exceptions=True)
    return response


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_S):
        await response.write(data)


def _event(screen: Screen) -> bytes:
    return b"event: screen\ndata: " + msgspec.json.encode(screen) + b"\n\n"


async def _close(screens: AsyncIterator[Screen]) -> None:
    if isinstance(screens, AsyncGenerator):
        await screens.aclose()


# --- what a person does --------------------------------------------------------------------------


async def _code(request: web.Request) -> web.StreamResponse:
    body = await _body(request, _DigitsBody)
    return _queue(request, CodeTyped(kiosk=_kiosk(request), digits=body.digits))


async def _staff_code(request: web.Request) -> web.StreamResponse:
    body = await _body(request, _DigitsBody)
    return _queue(request, StaffCodeTyped(kiosk=_kiosk(request), digits=body.digits))


async def _parcel(request: web.Request) -> web.StreamResponse:
    body = await _body(request, _TrackingBody)
    return _queue(request, Scanned(kiosk=_kiosk(request), tracking=body.tracking))


async def _scan(request: web.Request) -> web.StreamResponse:
    body = await _body(request, _ScanBody, SCAN_BYTES_MAX)
    kiosk = _kiosk(request)
    if not body.text.startswith(DENIALS):
        return _queue(request, Shown(kiosk=kiosk, text=body.text))
    request.app[_PORT].carry(body.text)
    return _json({}, status=202)


async def _button(request: web.Request) -> web.StreamResponse:
    body = await _body(request, _ButtonBody)
    return _queue(
        request, Pressed(kiosk=_kiosk(request), button=body.button, argument=body.argument)
    )


def _queue(request: web.Request, inp: KioskInput) -> web.StreamResponse:
    request.app[_PORT].submit(inp)
    return _json({}, status=202)


def _kiosk(request: web.Request) -> str:
    names = request.query.getall("kiosk", ["main"])
    if len(names) != 1 or not _KIOSK.fullmatch(names[0]):
        raise KioskRefused("kiosk.name", "Name one kiosk: 1 to 16 of a-z, 0-9 and dash")
    return names[0]


async def _body(request: web.Request, kind: type[_Body], most: int = BODY_BYTES_MAX) -> _Body:
    """Read and decode strictly. What was sent is in no error: it may be a code."""
    if request.content_type != "application/json":
        raise KioskRefused("kiosk.media_type", "Send application/json", status=415)
    try:
        async with asyncio.timeout(BODY_S):
            data = await request.read()
    except TimeoutError:
        raise KioskRefused("kiosk.slow", "Send the whole request at once", status=408) from None
    except web.RequestPayloadError:  # chunks or a compression that are none
        raise KioskRefused("kiosk.body", "Send the JSON object of this path") from None
    if len(data) > most:
        raise web.HTTPRequestEntityTooLarge(max_size=most, actual_size=len(data))
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise KioskRefused("kiosk.body", "Send the JSON object of this path") from None
