"""The installer's HTTP side: what may be asked, by whom. Only over TLS 1.3, behind `gate`.

| Request                | nobody | session | certificate | Answer                               |
| ---------------------- | ------ | ------- | ----------- | ------------------------------------ |
| GET /                  | yes    | yes     | yes         | six words and a form, or the doors   |
| GET /commission        | yes    | yes     | yes         | as `/`; in a session, that page      |
| GET /service           | yes    | yes     | yes         | as `/`; in a session, that page      |
| GET /static/...        | yes    | yes     | yes         | the pages' parts                     |
| POST /pair/certificate | yes    | yes     | yes         | CSR and proof -> a certificate       |
| POST /pair/session     | yes    | yes     | yes         | the typed code -> a cookie           |
| POST /pair/end         | -      | yes     | -           | signs this browser out               |
| GET /api/me            | -      | yes     | yes         | who asks, and may do what            |
| GET /api/status        | -      | yes     | yes         | doors and health, no parcels         |
| POST /api/doors/N/test | -      | yes     | yes         | opens an empty compartment once      |
| POST .../N/service     | -      | yes     | yes         | out of service, or back              |
| GET /api/trends        | -      | yes     | yes         | what wears out, as the log tells     |
| GET /api/diagnostics   | -      | -       | yes         | a bundle for whoever helps from afar |
| GET /api/commission    | -      | yes     | yes         | how commissioning stands (long poll) |
| POST /api/commission   | -      | yes     | yes         | one act of it; the view after it     |
| GET /api/report        | -      | yes     | yes         | the last signed report, its bytes    |
| GET /report            | -      | yes     | yes         | the same as one HTML file            |
| GET /map.toml          | -      | yes     | yes         | the site's map for `site import`     |

Anything else, and everything else before pairing, is one and the same 401. A POST must come from
this page (Origin, Sec-Fetch-Site) and, in a session, with the token that the page got. What is
typed is a secret: never logged, never echoed.
"""

import asyncio
import base64
import binascii
import re
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Annotated, Final

import msgspec
from aiohttp import hdrs, web

from certs import authority, lan, tls
from certs.errors import CertsError
from gateway.core.inputs import DoorTested
from gateway.errors import GatewayError, Overloaded
from gateway.web.installer import commissioning, page, service
from gateway.web.installer.answers import (
    FORM,
    as_json,
    decoded,
    form,
    host_is_ours,
    html,
    read,
    see_other,
)  # fmt: skip
from gateway.web.installer.gate import Gate
from gateway.web.installer.office import NOBODY, AccessRefused, Caller, Office
from gateway.web.installer.service import ServiceBody, public
from gateway.web.installer.sessions import SESSION_MS
from gateway.web.installer.window import PairRefused
from sync.places import SERVER

COOKIE: Final = "__Host-installer"
BODY_BYTES_MAX: Final = 8 * 1024
STRANGER_S: Final = 0.05
REFUSED_S: Final = 0.25
"""A stranger's request waits so long: eight connections ask no more than this often."""
TESTS_PER_MINUTE: Final = 30
MINUTE_MS: Final = 60_000

ALL: Final = frozenset({"nobody", "session", "certificate"})
PAIRED: Final = frozenset({"session", "certificate"})
RIGHTS: Final[dict[tuple[str, str], frozenset[str]]] = {
    ("GET", "/"): ALL,
    ("GET", "/commission"): ALL,
    ("GET", "/service"): ALL,
    ("GET", "/static/{name}"): ALL,
    ("POST", "/pair/certificate"): ALL,
    ("POST", "/pair/session"): ALL,
    ("POST", "/pair/end"): frozenset({"session"}),
    ("GET", "/api/me"): PAIRED,
    ("GET", "/api/status"): PAIRED,
    ("POST", "/api/doors/{door}/test"): PAIRED,
    ("POST", "/api/doors/{door}/service"): PAIRED,
    ("GET", "/api/trends"): PAIRED,
    ("GET", "/api/diagnostics"): frozenset({"certificate"}),
    ("GET", "/api/commission"): PAIRED,
    ("POST", "/api/commission"): PAIRED,
    ("GET", "/api/report"): PAIRED,
    ("GET", "/report"): PAIRED,
    ("GET", "/map.toml"): PAIRED,
}
SECURITY_HEADERS: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'; object-src 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # `no-referrer` would have browsers send `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Server": SERVER,
    "X-Content-Type-Options": "nosniff",
}
ACTS: Final = {"/test": "door.test", "/service": "door.service"}
"""What is on record of a refusal, by the end of the path."""
COMMISSIONING: Final = frozenset({"/api/commission", "/api/report", "/report", "/map.toml"})
UNKNOWN: Final = AccessRefused("access.unknown", "Pair this device first", status=401)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_CALLER: Final = web.RequestKey("installer_caller", Caller)
_code = re.compile(r"[a-z_.]{1,40}").fullmatch
_number = re.compile(r"[1-9][0-9]{0,3}").fullmatch


class _PairBody(msgspec.Struct, forbid_unknown_fields=True):
    csr: Annotated[str, msgspec.Meta(max_length=4096)]
    proof: Annotated[str, msgspec.Meta(max_length=64)]


class Listener:
    """The application over an office."""

    def __init__(self, office: Office) -> None:
        self.office = office
        self.gate: Gate | None = None
        self._tests: deque[int] = deque(maxlen=TESTS_PER_MINUTE)
        handlers: dict[str, _Handler] = {
            "/api/commission": self._commission,
            "/api/report": self._report,
            "/report": self._report_page,
            "/map.toml": self._map_file,
            "/": self._page,
            "/commission": self._shell,
            "/service": self._shell,
            "/static/{name}": self._static,
            "/pair/certificate": self._certificate,
            "/pair/session": self._session,
            "/pair/end": self._end,
            "/api/me": self._me,
            "/api/status": self._status,
            "/api/doors/{door}/test": self._test,
            "/api/doors/{door}/service": self._service,
            "/api/trends": self._trends,
            "/api/diagnostics": self._diagnostics,
        }
        self.app = web.Application(middlewares=[self._surround], client_max_size=BODY_BYTES_MAX)
        self.app.on_response_prepare.append(_add_headers)
        for (method, path), roles in RIGHTS.items():
            route = self.app.router.add_route(method, path, handlers[path])
            assert route.resource is not None, roles

    # --- what surrounds every request -------------------------------------------------------------

    @web.middleware
    async def _surround(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Know who asks, refuse what they may not; answer every refusal in one shape."""
        if self.gate is not None:
            self.gate.begun(request)
        caller = NOBODY
        try:
            caller = self._who(request)
            self._admit(request, caller)
            request[_CALLER] = caller
            if caller is NOBODY:
                await asyncio.sleep(STRANGER_S)
            return await handler(request)
        except (AccessRefused, PairRefused, CertsError, GatewayError) as error:
            await asyncio.sleep(REFUSED_S)
            return await self._no(request, caller, error)
        except web.HTTPException as error:
            if error.status < 400:  # noqa: PLR2004  # HTTP's own border of errors
                raise
            no = GatewayError("installer.request", "Send what this path takes")
            return as_json({"code": no.code, "remedy": no.remedy}, status=error.status)
        finally:
            if self.gate is not None:
                self.gate.done(request)

    def _who(self, request: web.Request) -> Caller:
        transport = request.transport
        shown = None if transport is None else transport.get_extra_info("ssl_object")
        return self.office.who(tls.peer_of(shown), request.cookies.get(COOKIE, ""))

    def _admit(self, request: web.Request, caller: Caller) -> None:
        resource = request.match_info.route.resource
        path = resource.canonical if resource is not None else ""
        method = "GET" if request.method == "HEAD" else request.method
        roles = RIGHTS.get((method, path), frozenset())
        if caller.role == "nobody" and "nobody" not in roles:
            raise UNKNOWN
        if not host_is_ours(request, self.office.lan.hosts):
            raise AccessRefused("access.host", "Open this gateway by its address", status=403)
        if request.method == "POST":
            self._check_origin(request, caller)
        if roles and caller.role not in roles:
            raise AccessRefused("access.role", "Pair with locker-gateway pair", status=403)

    def _check_origin(self, request: web.Request, caller: Caller) -> None:
        """Let only this page act for a browser: by what browsers say themselves."""
        origin = request.headers.get(hdrs.ORIGIN)
        site = request.headers.get("Sec-Fetch-Site", "same-origin")
        ours = f"https://{request.headers[hdrs.HOST]}"
        missing = origin is None and caller.session is not None
        if missing or origin not in {None, ours} or site not in {"same-origin", "none"}:
            raise AccessRefused("access.origin", "Use the gateway's own page", status=403)

    async def _no(
        self, request: web.Request, caller: Caller, error: CertsError | GatewayError
    ) -> web.StreamResponse:
        """Answer a refusal, and put it on record where nobody did yet."""
        code, remedy = error.code, error.remedy
        if isinstance(error, AccessRefused):
            self.office.refused("access", caller, code)
            return as_json({"code": code, "remedy": remedy}, status=error.status)
        status = 503 if isinstance(error, Overloaded) else 403
        if request.path == "/pair/session":
            return self._stranger(request, why=code, status=403)
        for path, what in ACTS.items():
            if request.path.endswith(path):
                self.office.refused(what, caller, code)
                status = 409
        if request.path in COMMISSIONING:
            status = 409
        plain = {key: str(value) for key, value in error.evidence.items() if key != "cause"}
        return as_json({"code": code, "remedy": remedy, "evidence": plain}, status=status)

    # --- the page ---------------------------------------------------------------------------------

    async def _page(self, request: web.Request) -> web.StreamResponse:
        caller: Caller = request[_CALLER]
        if caller.session is None:
            return self._stranger(request)
        lang, told, code = _lang(request), "", request.query.get("code", "")
        door = request.query.get("door", "")
        if _number(door) and (not code or _code(code)):
            told = page.tested(lang, int(door), code)
        status = public(self.office.site.status())
        return html(page.home(lang, caller.session, status, told, bad=bool(code)))

    async def _shell(self, request: web.Request) -> web.StreamResponse:
        """Answer with a page that a script fills; who is no browser of ours may pair first."""
        caller: Caller = request[_CALLER]
        if caller.session is None:
            return self._stranger(request)
        made = page.service if request.path == "/service" else page.commission
        return html(made(_lang(request), caller.session, public(self.office.site.status())))

    def _stranger(
        self, request: web.Request, why: str = "", status: int = 200
    ) -> web.StreamResponse:
        words = lan.words_of(self.office.lan.pin)
        return html(page.pairing(_lang(request), words, why), status=status)

    async def _static(self, request: web.Request) -> web.StreamResponse:
        part = page.PARTS.get(request.match_info["name"])
        if part is None:
            raise UNKNOWN
        kind, text = part
        return web.Response(text=text, content_type=kind, charset="utf-8")

    # --- pairing ----------------------------------------------------------------------------------

    async def _certificate(self, request: web.Request) -> web.StreamResponse:
        body = await decoded(request, _PairBody)
        try:
            csr = base64.b64decode(body.csr, validate=True)
            proof = base64.b64decode(body.proof, validate=True)
        except (binascii.Error, ValueError):
            raise GatewayError("pair.malformed", "Send csr and proof as base64") from None
        name, leaf = self.office.pair(csr, proof)
        return as_json(
            {
                "name": name,
                "site": self.office.lan.uri.removeprefix(authority.SCHEME),
                "certificate": authority.pem(leaf),
                "ends_s": authority.ends_s(leaf),
            }
        )

    async def _session(self, request: web.Request) -> web.StreamResponse:
        fields = await form(request)
        token = self.office.sign_in(fields.get("code", ""))
        answer = see_other("/")
        answer.set_cookie(
            COOKIE, token, max_age=SESSION_MS // 1000, path="/", secure=True, httponly=True,
            samesite="Strict",
        )  # fmt: skip
        return answer

    async def _end(self, request: web.Request) -> web.StreamResponse:
        await self._check_token(request)
        self.office.sign_out(request[_CALLER], request.cookies.get(COOKIE, ""))
        answer = see_other("/")
        answer.del_cookie(COOKIE, path="/", secure=True, httponly=True, samesite="Strict")
        return answer

    async def _check_token(self, request: web.Request) -> bool:
        """Refuse an act without this session's own token; say whether it came as a form."""
        caller: Caller = request[_CALLER]
        is_form = request.content_type == FORM
        token = request.headers.get("X-Csrf-Token", "")
        if is_form:
            token = token or (await form(request)).get("csrf", "")
        if caller.session is not None and not caller.session.meant(token):
            raise AccessRefused("access.token", "Load the page again", status=403)
        return is_form

    # --- what an installer may do -----------------------------------------------------------------

    async def _me(self, request: web.Request) -> web.StreamResponse:
        caller: Caller = request[_CALLER]
        may = [f"{method} {path}" for (method, path), who in RIGHTS.items() if caller.role in who]
        told: dict[str, object] = {"name": caller.name, "role": caller.role, "may": may}
        if caller.session is not None:
            told["csrf"] = caller.session.csrf
        return as_json(told)

    async def _status(self, _request: web.Request) -> web.StreamResponse:
        return as_json(public(self.office.site.status()))

    async def _test(self, request: web.Request) -> web.StreamResponse:
        caller: Caller = request[_CALLER]
        is_form = await self._check_token(request)
        door, code = service.number(request.match_info["door"]), ""
        try:
            await self._tried(caller, door)
        except GatewayError as error:
            if not is_form:
                raise
            self.office.refused("door.test", caller, error.code)
            code = error.code
        if is_form:
            return see_other(f"/?door={door}" + (f"&code={code}" if code else ""))
        return as_json({"door": door})

    async def _tried(self, caller: Caller, door: int) -> None:
        """Have the site open a door; raises GatewayError with its reason."""
        self._pace()
        asked = DoorTested(now=self.office.site.now(), token="", by=caller.name, door=door)
        answer = await self.office.site.ask(asked)
        if answer.code:
            raise GatewayError(answer.code, "See the status of this door", **dict(answer.evidence))

    def _pace(self) -> None:
        """Let so many acts on doors through in a minute; GatewayError `door.rate`."""
        now_ms, times = self.office.site.now().mono_ms, self._tests
        if len(times) == times.maxlen and now_ms - times[0] < MINUTE_MS:
            raise GatewayError("door.rate", "Wait a minute", doors=TESTS_PER_MINUTE)
        times.append(now_ms)

    async def _service(self, request: web.Request) -> web.StreamResponse:
        caller: Caller = request[_CALLER]
        body = await decoded(request, ServiceBody)
        await self._check_token(request)
        door = service.number(request.match_info["door"])
        self._pace()
        return as_json(await service.set_service(self.office, caller, door, body))

    async def _trends(self, request: web.Request) -> web.StreamResponse:
        return as_json(await service.trends(self.office, request.query))

    # --- commissioning ----------------------------------------------------------------------------

    async def _commission(self, request: web.Request) -> web.StreamResponse:
        caller: Caller = request[_CALLER]
        bench, by = self.office.site.bench, f"installer:{caller.name}"
        if request.method != "POST":
            return as_json(await commissioning.view(bench, by, request.query))
        if request.content_type != "application/json":
            raise GatewayError("installer.media_type", "Send application/json")
        await self._check_token(request)
        return as_json(await bench.act(by, await read(request)))

    async def _report(self, _request: web.Request) -> web.StreamResponse:
        return commissioning.report(self.office.site.bench)

    async def _report_page(self, request: web.Request) -> web.StreamResponse:
        download = "download" in request.query
        return commissioning.report_page(self.office.site.bench, _lang(request), download=download)

    async def _map_file(self, _request: web.Request) -> web.StreamResponse:
        return commissioning.map_file(self.office.site.bench)

    async def _diagnostics(self, request: web.Request) -> web.StreamResponse:
        counters = {} if self.gate is None else self.gate.counters
        told = await service.diagnostics(self.office, counters)
        self.office.did("diagnostics", request[_CALLER])
        return as_json(told)


def _lang(request: web.Request) -> str:
    return page.language(request.headers.get(hdrs.ACCEPT_LANGUAGE, ""))


async def _add_headers(_request: web.Request, response: web.StreamResponse) -> None:
    own = response.headers.get("Content-Security-Policy")  # of a page that brings its style inside
    response.headers.update(SECURITY_HEADERS)
    if own is not None:
        response.headers["Content-Security-Policy"] = own
    response.headers[hdrs.CACHE_CONTROL] = "no-store"
