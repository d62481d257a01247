"""The hub's HTTP side: the routes of the table, what surrounds each of them, and the plain pull.

It listens on loopback unless told otherwise. A page in a browser on this machine must not reach it
by a name of its own (DNS rebinding) or by a form: the Host must be loopback or a name of this hub's
certificate, an Origin header is refused, and a body is `application/json`. Answers are JSON; from
400 on always `{"code", "remedy", "evidence"}`.
Nothing that was sent is in a log line or in an error.
"""

import asyncio
import ipaddress
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from certs.errors import CertsError
from sync import places
from sync.errors import OursBroken, StoreFailed, SyncError, TheirsInvalid
from sync.hub import (
    api_accounts,
    api_erase,
    api_grants,
    api_openings,
    api_read,
    api_sessions,
    api_trust,
    api_write,
    logs,
)
from sync.hub.accounts import Barred, Caller
from sync.hub.api_routes import ANY, BASE, Call, Param, Route
from sync.hub.api_types import Answer, Made
from sync.hub.doorman import Door, Everybody, doorman
from sync.hub.openapi import KEY_HEADER, describe
from sync.hub.rooms import Hub
from sync.pull import make_routes
from sync.shelf import Item, Shelf

ROUTES: Final[tuple[Route, ...]] = (
    *api_read.ROUTES,
    *api_write.ROUTES,
    *api_erase.ROUTES,
    *api_grants.ROUTES,
    *api_openings.ROUTES,
    *api_accounts.ROUTES,
    *api_sessions.ROUTES,
    *api_trust.ROUTES,
)
PULL: Final = "/sites/{site}/sync/v1"
BODY_S: Final = 10.0
REQUESTS_MAX: Final = 64
CONNECTIONS_MAX: Final = 64
"""Connections of one account."""

_STATUS: Final = {
    "access.unknown": 401,
    "access.slow": 429,
    "request.host": 403,
    "request.origin": 403,
    "request.path": 404,
    "request.method": 405,
    "request.slow": 408,
    "request.too_large": 413,
    "request.media_type": 415,
    "request.key_reused": 409,
    "request.key_unsure": 409,
    "request.busy": 503,
    "request.often": 429,
    "claim.refused": 403,
    "claim.other_site": 403,
    "claim.site_ended": 409,
    "device.unknown": 403,
    "device.revoked": 403,
    "device.other_site": 403,
    "backend.unknown": 403,
    "backend.scope": 403,
    "backend.read_only": 403,
    "certificate.name": 403,
    "hub.busy": 503,
    "hub.fenced": 409,
    "hub.lane_stopped": 409,
    "hub.site_exists": 409,
    "hub.beyond": 409,
    "hub.pruned": 410,
    "capacity.none": 409,
    "parcel.here": 409,
    "parcel.was_here": 409,
    "parcel.no_identity": 409,
    "annex.live": 409,
    "site.no_map": 409,
    "reservation.other_class": 409,
    "reservation.over": 409,
    "open.asked": 409,
    "open.second_person": 409,
    "approval.own": 403,
    "approval.under_way": 409,
    "account.exists": 409,
    "relay.fork": 409,
    "relay.too_many": 409,
    "store.busy": 503,
    "store.full": 507,
}
_BY_HTTP: Final = {
    404: ("request.path", "Ask for a path of GET /api/v1/openapi.json."),
    405: ("request.method", "Use the method of this path."),
    413: ("request.too_large", "Send a smaller body."),
}
_LATER: Final = {429: "60", 503: "2"}
"""Seconds of Retry-After."""
# SPEC: RFC 3986 3.2.2: an IPv6 address stands in brackets, and nothing else we answer to does.
_host = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+))(?::[0-9]{1,5})?").fullmatch
_sent = re.compile(r"Invalid enum value .*?(?= - at|$)", re.DOTALL)
_HUB: Final = web.AppKey("hub", Hub)
_log = logs.get("api")


def make_app(hub: Hub, door: Door | None = None) -> web.Application:
    """Return the application over a hub: the API and its description.

    `door` is asked before anything is done: the doorman, or, where the configuration says
    `[development] plain`, everybody's. What is added to the application asks for no account.
    Without an authority (development) the plain pull of each site is in it too. Routes that are
    added to it are guarded as all others.
    """
    door = door or (Everybody() if hub.config.development.plain else doorman(hub))
    app = surrounded(hub, _guard)
    gate = asyncio.Semaphore(REQUESTS_MAX)
    app.add_routes([_served(hub, route, gate, door) for route in ROUTES])
    described = msgspec.json.encode(describe(ROUTES))

    async def openapi(request: web.Request) -> web.Response:
        await door.admit(request, "describe", ANY, None)
        return _json(described)

    app.add_routes([web.get(f"{BASE}/openapi.json", openapi, allow_head=False)])

    if hub.authority is None:
        app.add_routes(pull_routes(hub))
    return app


def surrounded(hub: Hub, *middlewares: Middleware) -> web.Application:
    """Return an empty application over a hub, whose refusals all have one shape."""
    app = web.Application(
        middlewares=[_refusals, *middlewares], client_max_size=hub.config.api.body_bytes_max
    )
    app[_HUB] = hub
    return app


def pull_routes(hub: Hub) -> list[web.RouteDef]:
    """Return the plain pull of each site."""

    async def shelf_of(request: web.Request) -> Shelf:
        try:
            return await hub.shelf(request.match_info["site"])
        except TheirsInvalid as error:
            raise TheirsInvalid("exchange.unknown_site", error.remedy, **error.evidence) from error

    async def arrived(
        request: web.Request, _origin: str, _first: int, _items: Sequence[Item]
    ) -> None:
        await hub.arrived(request.match_info["site"])

    return make_routes(shelf_of, prefix=PULL, arrived=arrived)


def status_of(error: SyncError | CertsError) -> int:
    """Return the HTTP status of a refusal."""
    if error.code in _STATUS:
        return _STATUS[error.code]
    if isinstance(error, Barred):
        return 403
    if error.code.startswith("hub.unknown") or error.code.endswith(".unknown"):
        return 404
    if isinstance(error, StoreFailed | OursBroken):
        return 500
    return 400 if error.code.startswith("request.") else 422


# --- what surrounds every request ---------------------------------------------------------------

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@web.middleware
async def _refusals(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Answer every refusal in one shape; a bug too, without its traceback to the peer."""
    try:
        return await handler(request)
    except (SyncError, CertsError) as error:
        status = status_of(error)
        if isinstance(error, StoreFailed):
            request.app[_HUB].failed(error)
        if status >= 500:  # noqa: PLR2004  # HTTP's own border of what is ours
            _log.error("api.failed", code=error.code)
        return _refused(error.code, error.remedy, error.evidence, status)
    except web.HTTPException as error:
        if error.status < 400:  # noqa: PLR2004  # redirects are no errors
            raise
        code, remedy = _BY_HTTP.get(error.status, ("request.malformed", "Send another request."))
        return _refused(code, remedy, {}, error.status)


@web.middleware
async def _guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Let in only who asks by a name of ours, and no page of a browser."""
    known = request.app[_HUB].authority
    hosts = frozenset[str]() if known is None else frozenset(known.state.hosts)
    if not _host_is_ours(request.headers.getall(hdrs.HOST, []), hosts):
        raise TheirsInvalid("request.host", "Ask by a name of this hub, or by 127.0.0.1.")
    if hdrs.ORIGIN in request.headers:
        raise TheirsInvalid("request.origin", "The API is for programs, not for web pages.")
    return await handler(request)


def _host_is_ours(asked: list[str], hosts: frozenset[str]) -> bool:
    found = _host(asked[0]) if len(asked) == 1 else None
    if found is None:
        return False
    name = found[1] or found[2]
    if name.lower() in hosts:
        return True
    try:
        return name.lower() == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _served(hub: Hub, route: Route, gate: asyncio.Semaphore, door: Door) -> web.RouteDef:
    """Return the route that asks who it is, reads a request, has it answered, and answers."""

    async def serve(request: web.Request) -> web.Response:
        if gate.locked():
            raise TheirsInvalid("request.busy", "Ask again in a moment.", limit=REQUESTS_MAX)
        async with gate:
            # Before a byte of the body: a stranger is not worth one.
            site_id = request.match_info.get("site")
            caller = await door.admit(request, route.name, route.roles, site_id)
            places.known(request, f"account {caller.account}", CONNECTIONS_MAX)
            raw = await _raw(request) if route.body else b""
            try:
                call = await _call(hub, route, request, raw, caller)
                answer = await (_noted(route, call) if route.noted else route.handler(call))
            except Barred as refusal:
                await door.note(request, route.name, caller, site_id or "", refusal)
                raise
        return _answered(route, answer)

    if route.method == "GET":
        return web.get(route.full, serve, allow_head=False)  # what is described, and no more
    return web.post(route.full, serve)


async def _noted(route: Route, call: Call) -> Answer:
    """Have it answered, and write down who asked and what came of it."""
    site_id = call.site.site_id if call.site_known else ""
    about = {name: str(value) for name, value in call.path.items() if name != "site"}
    try:
        answer = await route.handler(call)
    except Barred:
        raise
    except SyncError as refusal:
        await call.hub.auditor.refused(site_id, route.name, call.by, refusal)
        raise
    await call.hub.auditor.did(site_id, route.name, call.by, about)
    return answer


async def _call(hub: Hub, route: Route, request: web.Request, raw: bytes, caller: Caller) -> Call:
    path = {
        # What cannot be a site's id is no site: one answer for both.
        one.name: request.match_info[one.name]
        if one.name == "site"
        else _value(one, request.match_info[one.name])
        for one in route.params
        if one.where == "path"
    }
    site = await hub.registry.get(path["site"]) if "site" in path else None
    known = {one.name for one in route.params if one.where == "query"}
    stray = sorted(set(request.query) - known)
    if stray:
        raise TheirsInvalid("request.query", "This path has no such value.", name=stray[0][:40])
    query = {
        one.name: _query(one, request.query.getall(one.name, []))
        for one in route.params
        if one.where == "query"
    }
    body = _signed(_body(route, raw), caller)
    keys = request.headers.getall(KEY_HEADER, [])
    if len(keys) > 1 or (keys and not keys[0]):
        raise TheirsInvalid("request.key", "Send one Idempotency-Key.")
    key = keys[0] if keys else ""
    return Call(hub, route.name, path, query, body, raw, key, site, caller=caller)


def _query(param: Param, values: list[str]) -> Any:
    if param.many:
        return tuple(_value(param, one) for one in values)
    if not values:
        if param.default is msgspec.UNSET:
            raise TheirsInvalid("request.query", f"Say {param.name}.", name=param.name)
        return param.default
    if len(values) > 1:
        raise TheirsInvalid("request.query", "Say it once.", name=param.name)
    return _value(param, values[0])


def _value(param: Param, text: str) -> Any:
    try:
        return msgspec.convert(text, param.type, strict=False)
    except msgspec.ValidationError as error:
        raise TheirsInvalid(
            "request.query" if param.where == "query" else "request.value",
            "Write it as the description says.",
            name=param.name,
            reason=_reason(error),
        ) from error


async def _raw(request: web.Request) -> bytes:
    if request.content_type != "application/json":
        raise TheirsInvalid("request.media_type", "Send application/json.")
    try:
        async with asyncio.timeout(BODY_S):
            return await request.read()
    except TimeoutError:
        raise TheirsInvalid("request.slow", "Send the whole request at once.") from None
    except web.RequestPayloadError:  # chunks or a compression that are none
        raise TheirsInvalid("request.body", "Send the JSON object of this path.") from None


def _body(route: Route, raw: bytes) -> Any:
    if route.body is None:
        return None
    try:
        return msgspec.json.decode(raw, type=route.body)
    except msgspec.ValidationError as error:
        raise TheirsInvalid(
            "request.body", "Send the JSON object of this path.", reason=_reason(error)
        ) from None
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise TheirsInvalid("request.body", "Send the JSON object of this path.") from None


def _signed(body: Any, caller: Caller) -> Any:
    """Return the body with who is on record for it in `by`, where it has that."""
    if "by" not in getattr(body, "__struct_fields__", ()):
        return body
    if not body.by:
        return msgspec.structs.replace(body, by=caller.name)
    if not caller.signs(body.by):
        raise Barred(
            "access.by", "Leave `by` out, or write your account's name, a dot, and who asks."
        )
    return body


def _reason(error: msgspec.ValidationError) -> str:
    """Return where it is wrong and what it should be; never what was sent."""
    return _sent.sub("Invalid value", str(error))[:200]


def _answered(route: Route, answer: Answer) -> web.Response:
    new = route.keyed and isinstance(answer, Made) and answer.new
    return _json(msgspec.json.encode(answer), 201 if new else 200)


def _refused(code: str, remedy: str, evidence: Any, status: int) -> web.Response:
    told = {"code": code, "remedy": remedy, "evidence": {k: _plain(v) for k, v in evidence.items()}}
    answer = _json(msgspec.json.encode(told), status)
    if status in _LATER:
        answer.headers[hdrs.RETRY_AFTER] = _LATER[status]
    if status == 401:  # noqa: PLR2004  # SPEC: RFC 9110 15.5.2: it says how to prove oneself
        answer.headers[hdrs.WWW_AUTHENTICATE] = "Bearer"
    return answer


def _plain(value: object) -> object:
    return value if isinstance(value, str | int | bool | None) else str(value)


def _json(body: bytes, status: int = 200) -> web.Response:
    return web.Response(
        body=body,
        status=status,
        content_type="application/json",
        headers={hdrs.CACHE_CONTROL: "no-store", "X-Content-Type-Options": "nosniff"},
    )
