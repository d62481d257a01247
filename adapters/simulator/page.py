"""A page and a JSON interface to the bank, for people, the demo and tests. Loopback only.

What it takes is bounded and typed. A browser cannot be made to act by a foreign page: changes need
`Content-Type: application/json` (which a foreign form cannot send) and a Host header that names
the address served here (which a rebound name does not).
"""

import asyncio
import ipaddress
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import msgspec
from aiohttp import web
from msgspec import Meta

from adapters.simulator.errors import ActionRefused, BankRefused
from adapters.simulator.site import Site, fault_list

_STATIC = Path(__file__).parent / "static"
_BODY_MAX = 4096
_TICK_S = 0.05
_WATCHERS_MAX = 32
_OPENINGS_SHOWN = 5
_KEEP_ALIVE_TICKS = 200
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    """A request without anything to say."""


class ParcelBody(_Body):
    """POST /api/doors/N/parcel."""

    inside: bool


class PullBody(_Body):
    """POST /api/doors/N/open_by_hand: pull, for so long."""

    hold_ms: Annotated[int, Meta(ge=0, le=60_000)] = 0


class RebootBody(_Body):
    """POST /api/boards/NAME/reboot and /revive."""

    boot_ms: Annotated[int, Meta(ge=0, le=600_000)] = 0
    keep_outputs: bool = False


class InputBody(_Body):
    """POST /api/boards/NAME/input."""

    channel: int
    active: bool


class LineBody(_Body):
    """POST /api/lines/NAME/FAULT."""

    on: bool = True


class FaultBody(_Body):
    """POST /api/faults: whose, which, and whether it comes or goes."""

    fault: str
    board: str | None = None
    compartment: int | None = None
    line: str | None = None
    value: Annotated[int, Meta(ge=0, le=3_600_000)] | None = None
    count: Annotated[int, Meta(ge=1, le=1_000_000)] | None = None
    on: bool = True


Body = TypeVar("Body", bound=_Body)


async def _body(request: web.Request, kind: type[Body]) -> Body:
    try:
        return msgspec.json.decode(await request.read() or b"{}", type=kind)
    except (
        msgspec.DecodeError,
        RecursionError,
        UnicodeDecodeError,
        web.RequestPayloadError,  # chunks or a compression that are none
    ) as error:
        raise ActionRefused("bank.body", "correct the JSON", reason=str(error)) from None


def _json(value: Any, status: int = 200) -> web.Response:
    return web.json_response(value, status=status, headers=_HEADERS)


@web.middleware
async def _only_ours(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what a foreign page could have sent; answer refusals as JSON with their code."""
    try:
        host = request.host.rpartition(":")[0] or request.host
        if not _is_loopback(host):
            return _refused(ActionRefused("bank.host", "use the loopback address", host=host), 403)
        if request.method == "POST" and request.content_type != "application/json":
            sent = request.content_type
            return _refused(ActionRefused("bank.content_type", "send JSON", sent=sent), 415)
        return await handler(request)
    except ActionRefused as refusal:
        unknown = refusal.code.startswith("bank.no_")
        bad = refusal.code == "bank.body"
        return _refused(refusal, 404 if unknown else 400 if bad else 409)
    except web.HTTPException as error:
        return _refused(ActionRefused("bank.http", error.reason, path=request.path), error.status)


def _refused(refusal: BankRefused, status: int) -> web.Response:
    body = {"code": refusal.code, "remedy": refusal.remedy, "evidence": refusal.evidence}
    return _json(body, status)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


class Page:
    """Serves a site at HOST:PORT. `await start()` gives the URL; refuses any but loopback hosts."""

    def __init__(self, site: Site, host: str, port: int) -> None:
        if not _is_loopback(host):
            raise BankRefused("bank.page_host", "the page is for loopback only", host=host)
        self.site = site
        self.host = host
        self.port = port
        self._stopping = asyncio.Event()
        self._watchers = 0
        self._runner: web.AppRunner | None = None

    async def start(self) -> str:
        """Listen and return the URL. Raises OSError when the address is taken."""
        self._runner = web.AppRunner(self.app(), access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        listener = web.TCPSite(self._runner, self.host, self.port)
        await listener.start()
        self.port = self._runner.addresses[0][1]
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/"

    async def stop(self) -> None:
        """End every watcher and close the port."""
        self._stopping.set()
        if self._runner is not None:
            await self._runner.cleanup()

    def app(self) -> web.Application:
        """Return the application, as `start` serves it."""
        app = web.Application(middlewares=[_only_ours], client_max_size=_BODY_MAX)
        app.add_routes(
            [
                web.get("/", self._index),
                web.get("/api/state", self._state),
                web.get("/api/events", self._events),
                web.get("/api/faults", self._fault_list),
                web.post("/api/faults", self._fault),
                web.post("/api/doors/{number:\\d{1,5}}/{action}", self._door),
                web.post("/api/boards/{name}/{action}", self._board),
                web.post("/api/lines/{name}/{action}", self._line),
                web.static("/static", _STATIC),
            ]
        )
        return app

    async def _index(self, _request: web.Request) -> web.StreamResponse:
        return web.FileResponse(_STATIC / "index.html", headers=_HEADERS)

    async def _state(self, _request: web.Request) -> web.Response:
        return _json(self.site.state())

    async def _fault_list(self, _request: web.Request) -> web.Response:
        return _json(fault_list())

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the whole state at once, then again whenever it has changed."""
        if self._watchers >= _WATCHERS_MAX:
            return _refused(ActionRefused("bank.watchers", "close a page"), 503)
        self._watchers += 1
        response = web.StreamResponse(headers={**_HEADERS, "Content-Type": "text/event-stream"})
        try:
            await response.prepare(request)
            await self._watch(response)
        except ConnectionError:
            pass  # the watcher left
        finally:
            self._watchers -= 1
        return response

    async def _watch(self, response: web.StreamResponse) -> None:
        seen, quiet = -1, 0
        while not self._stopping.is_set():
            if (version := self.site.version) != seen:
                seen, quiet = version, 0
                data = json.dumps(self.site.state(openings=_OPENINGS_SHOWN), separators=(",", ":"))
                await response.write(f"event: state\ndata: {data}\n\n".encode())
            elif (quiet := quiet + 1) >= _KEEP_ALIVE_TICKS:
                quiet = 0
                await response.write(b": still here\n\n")
            # The doors have no bell: the page looks twenty times a second.
            await asyncio.sleep(_TICK_S)

    async def _door(self, request: web.Request) -> web.Response:
        number, action = int(request.match_info["number"]), request.match_info["action"]
        bank, person = self.site.bank, self.site.bank.person
        if action == "open_by_hand":
            pull = await _body(request, PullBody)
            with self.site.guard():
                opened = person.pull(number, pull.hold_ms)
            return _json({"done": opened, "pulling": not opened and pull.hold_ms > 0})
        if action == "parcel":
            parcel = await _body(request, ParcelBody)
            with self.site.guard():
                (person.put if parcel.inside else person.take)(number)
            return _json({"done": True})
        await _body(request, _Body)
        hands: dict[str, Callable[[], None]] = {
            "close": lambda: person.close(number),
            "slam": lambda: person.slam(number),
            "force": lambda: person.force(number),
            "jam": lambda: bank.inject_door(number, "jam"),
            "unjam": lambda: bank.clear_door(number, "jam"),
        }
        if action not in hands:
            raise ActionRefused("bank.no_action", f"known: {', '.join(hands)}", action=action)
        with self.site.guard():
            hands[action]()
        return _json({"done": True})

    async def _board(self, request: web.Request) -> web.Response:
        name, action = request.match_info["name"], request.match_info["action"]
        bank = self.site.bank
        if action == "kill":
            await _body(request, _Body)
            with self.site.guard():
                bank.kill(name)
        elif action in ("revive", "reboot"):
            how = await _body(request, RebootBody)
            with self.site.guard():
                bank.revive(name, boot_ms=how.boot_ms, keep_outputs=how.keep_outputs)
        elif action == "input":
            level = await _body(request, InputBody)
            with self.site.guard():
                bank.set_input(name, level.channel, active=level.active)
        else:
            known = "kill, revive, reboot, input"
            raise ActionRefused("bank.no_action", f"known: {known}", action=action)
        return _json({"done": True})

    async def _line(self, request: web.Request) -> web.Response:
        body = await _body(request, LineBody)
        await self.site.line_action(
            request.match_info["name"], request.match_info["action"], on=body.on
        )
        return _json({"done": True})

    async def _fault(self, request: web.Request) -> web.Response:
        body = await _body(request, FaultBody)
        bank = self.site.bank
        if sum(whose is not None for whose in (body.board, body.compartment, body.line)) != 1:
            raise ActionRefused("bank.body", "name one board, one compartment or one line")
        if body.line is not None:
            await self.site.line_action(body.line, body.fault, on=body.on)
            return _json({"done": True})
        with self.site.guard():
            if body.board is not None and body.on:
                bank.inject_board(body.board, body.fault, value=body.value, count=body.count)
            elif body.board is not None:
                bank.clear_board(body.board, body.fault)
            elif body.compartment is not None and body.on:
                bank.inject_door(body.compartment, body.fault, value=body.value)
            elif body.compartment is not None:
                bank.clear_door(body.compartment, body.fault)
        return _json({"done": True})
