"""Local control: commands of this machine's people, as JSON over a Unix socket in the data folder.

Whoever may open the socket (mode 0600, in a folder of the gateway's own) is the operator of this
machine; there is no other login. Paths: `POST /v1/command` with `{"name": ..., "by": ..., ...}`,
`POST /v1/pairing`, `GET /v1/status`, `GET` and `POST /v1/commission`, `GET /v1/report`. No lasting
secret passes here: a courier's secret is made, and shown, by the command that asks, and only its
keyed tag is sent. Pairing answers with two codes that are good for ten minutes, once.
"""

import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlencode

import aiohttp
import msgspec
from aiohttp import web

from certs.errors import CertsError
from gateway import mapfile
from gateway.core import inputs
from gateway.core.inputs import Command, Now
from gateway.core.outputs import Answer
from gateway.errors import GatewayError
from gateway.ports import BenchPort
from gateway.web.installer import commissioning

T = TypeVar("T")

SOCKET: Final = "control.sock"
BODY_BYTES_MAX: Final = 1024 * 1024
"""A map of the largest bank is about 600 kB of JSON."""
CLIENT_S: Final = 35.0
CONNECT_S: Final = 2.0
_PATH_BYTES_MAX: Final = 100  # SPEC: sun_path of unix(7) has 108

COMMANDS: Final[dict[str, type[Command]]] = {
    "map.import": inputs.MapImported,
    "courier.add": inputs.CourierAdded,
    "courier.remove": inputs.CourierRemoved,
    "support.open": inputs.SupportOpens,
    "support.check": inputs.SupportChecked,
    "service.set": inputs.ServiceSet,
    "annex.erase": inputs.AnnexEraseAsked,
    "fence.lift": inputs.FenceLiftAsked,
    "key.rotate": inputs.KeyRotates,
    "site.decommission": inputs.Decommissions,
}
"""What can be asked over the socket. `EpochBegun` is not here: it belongs to `init`."""
_NAMES: Final = {kind: name for name, kind in COMMANDS.items()}
_OURS: Final = frozenset({"now", "token"})

Ask = Callable[[Command], Awaitable[Answer]]
Pair = Callable[[bytes], dict[str, Any]]


class NotRunning(GatewayError):  # noqa: N818  # the name says what is wrong
    """Nobody listens on the socket."""


# --- the words on the socket (pure) ---------------------------------------------------------------


def encode(command: Command) -> dict[str, Any]:
    """Return a command as JSON types, without `now` and `token`: the gateway sets both."""
    body: dict[str, Any] = msgspec.to_builtins(command, str_keys=True)
    return {"name": _NAMES[type(command)]} | {
        key: value for key, value in body.items() if key not in _OURS
    }


def decode(body: bytes, now: Now) -> Command:
    """Return the command that `body` asks for.

    Raises GatewayError `command.unknown`, `command.malformed`, `map.invalid`.
    """
    try:
        asked = msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError) as error:
        raise _malformed(str(error)) from None
    name = asked.pop("name", "")
    kind = COMMANDS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise GatewayError("command.unknown", f"Use one of: {', '.join(COMMANDS)}")
    unknown = asked.keys() - {field.name for field in fields(kind)} | asked.keys() & _OURS
    if unknown:
        raise _malformed(f"unknown key {min(unknown)[:32]!a}")
    complete = asked | {"now": msgspec.to_builtins(now), "token": ""}
    try:
        command = msgspec.convert(complete, kind, str_keys=True)
        if isinstance(command, inputs.MapImported):
            # What a file may not say, nobody may: a map is in the log for good.
            mapfile.check(command.map)
    except msgspec.ValidationError as error:
        raise _malformed(str(error)) from None
    return command


def _malformed(reason: str) -> GatewayError:
    return GatewayError("command.malformed", "Correct the request", reason=reason[:200])


# --- the listener ---------------------------------------------------------------------------------


def _no_pairing(_: bytes) -> dict[str, Any]:
    raise GatewayError("installer.off", "Start the gateway with [installer] listen")


class Control:
    """The listener. `ask` queues a command and awaits its answer; `status` says what there is."""

    def __init__(
        self,
        ask: Ask,
        status: Callable[[], Mapping[str, object]],
        now: Callable[[], Now],
        pairing: Pair | None = None,
        bench: BenchPort | None = None,
    ) -> None:
        self._ask, self._status, self._now = ask, status, now
        self._bench = bench
        self._pairing = pairing or _no_pairing
        self._runner: web.AppRunner | None = None
        self._path: Path | None = None

    async def start(self, path: Path) -> None:
        """Listen at `path`, with mode 0600. What a dead process left there is removed."""
        app = web.Application(client_max_size=BODY_BYTES_MAX)
        app.add_routes([web.post("/v1/command", self._command), web.get("/v1/status", self._tell)])
        app.add_routes([web.post("/v1/pairing", self._pair)])
        app.add_routes([web.get("/v1/commission", self._commission)])
        app.add_routes([web.post("/v1/commission", self._commission)])
        app.add_routes([web.get("/v1/report", self._report)])
        listener = _listen(path)
        self._path = path
        self._runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.5
        )
        await self._runner.setup()
        await web.SockSite(self._runner, listener, backlog=16).start()

    async def close(self) -> None:
        """Stop listening and remove the socket."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    async def _command(self, request: web.Request) -> web.StreamResponse:
        try:
            try:
                body = await request.read()
            except web.RequestPayloadError as error:  # chunks or a compression that are none
                raise _malformed(type(error).__name__) from None
            command = decode(body, self._now())
            return _json(msgspec.to_builtins(await self._ask(command)))
        except GatewayError as error:
            return _json(_refusal(error), status=409)

    async def _pair(self, request: web.Request) -> web.StreamResponse:
        try:
            body = await request.read()
            return _json(self._pairing(body))
        except web.RequestPayloadError as error:  # chunks or a compression that are none
            return _json(_refusal(_malformed(type(error).__name__)), status=409)
        except (CertsError, GatewayError) as error:
            return _json(_refusal(error), status=409)

    async def _commission(self, request: web.Request) -> web.StreamResponse:
        try:
            bench, by = self._benched(), f"support:{request.query.get('by', '')[:64]}"
            if request.method == "GET":
                return _json(await commissioning.view(bench, by, request.query))
            return _json(dict(await bench.act(by, await request.read())))
        except web.RequestPayloadError as error:  # chunks or a compression that are none
            return _json(_refusal(_malformed(type(error).__name__)), status=409)
        except GatewayError as error:
            return _json(_refusal(error), status=409)

    async def _report(self, _: web.Request) -> web.StreamResponse:
        try:
            return commissioning.report(self._benched())
        except GatewayError as error:
            return _json(_refusal(error), status=409)

    def _benched(self) -> BenchPort:
        if self._bench is None:
            raise GatewayError("commission.off", "Ask a gateway that runs")
        return self._bench

    async def _tell(self, _: web.Request) -> web.StreamResponse:
        return _json(dict(self._status()))


def _json(body: dict[str, Any], status: int = 200) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(body), status=status, content_type="application/json"
    )


def _refusal(error: CertsError | GatewayError) -> dict[str, object]:
    plain = {
        key: value if isinstance(value, int) else str(value)
        for key, value in error.evidence.items()
    }
    return {"code": error.code, "remedy": error.remedy, "evidence": plain}


def _listen(path: Path) -> socket.socket:
    with _reachable(path) as name:
        with suppress(FileNotFoundError):
            if stat.S_ISSOCK(path.lstat().st_mode):
                path.unlink()
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # The mode has to be right from the first moment, not a moment later.
        before = os.umask(0o177)
        try:
            listener.bind(name)
        except OSError as error:
            listener.close()
            raise GatewayError(
                "control.unavailable", "Check the data folder", path=path, errno=error.errno
            ) from error
        finally:
            os.umask(before)
    listener.setblocking(False)
    return listener


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """Lend a name of `path` that fits a socket address, however deep the folder lies."""
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{folder}/{path.name}"
    finally:
        os.close(folder)


# --- the other side -------------------------------------------------------------------------------


async def send(path: Path, command: Command) -> Answer:
    """Ask the gateway that listens at `path`. Raises NotRunning, GatewayError with its code."""
    body = await _request(path, "POST", "/v1/command", msgspec.json.encode(encode(command)))
    return _as(body, Answer)


async def status(path: Path) -> dict[str, Any]:
    """Return what the running gateway says of itself. Raises NotRunning."""
    return await _request(path, "GET", "/v1/status", None)


async def pairing(path: Path, **asked: str) -> dict[str, Any]:
    """Ask for pairing with installers: `do`, `by`, `name`. Raises NotRunning, GatewayError."""
    return await _request(path, "POST", "/v1/pairing", msgspec.json.encode(asked))


async def commission(
    path: Path, *, by: str, body: bytes | None = None, after: int | None = None, wait_s: int = 0
) -> dict[str, Any]:
    """Return the view of commissioning: after an act (`body`), or when tick `after` is past.

    Raises NotRunning, GatewayError.
    """
    query = {"by": by, "wait": str(wait_s)} | ({} if after is None else {"after": str(after)})
    url = f"/v1/commission?{urlencode(query)}"
    return await _request(path, "GET" if body is None else "POST", url, body)


async def report(path: Path) -> dict[str, Any]:
    """Return the last signed report. Raises NotRunning, GatewayError."""
    return await _request(path, "GET", "/v1/report", None)


async def _request(path: Path, method: str, url: str, body: bytes | None) -> dict[str, Any]:
    timeout = aiohttp.ClientTimeout(total=CLIENT_S, sock_connect=CONNECT_S)
    with _present(path) as name:
        async with aiohttp.ClientSession(
            connector=aiohttp.UnixConnector(name), timeout=timeout
        ) as session:
            try:
                async with session.request(method, f"http://gateway{url}", data=body) as answer:
                    told = msgspec.json.decode(await answer.read(), type=dict[str, Any])
                    refused = answer.status != 200  # noqa: PLR2004  # HTTP's word for yes
            except (aiohttp.ClientConnectorError, ConnectionError) as error:
                raise _not_running(path) from error
            except (TimeoutError, aiohttp.ClientError, msgspec.MsgspecError) as error:
                raise _unanswered(error) from error
    if refused:
        no = _as(told, _No)
        raise GatewayError(no.code, no.remedy, **no.evidence)
    return told


class _No(msgspec.Struct):
    """A refusal as the gateway writes it."""

    code: str
    remedy: str
    evidence: dict[str, Any]


def _as(told: dict[str, Any], kind: type[T]) -> T:
    """Read an answer; what listens there need not be a gateway."""
    try:
        return msgspec.convert(told, kind)
    except msgspec.ValidationError as error:
        raise _unanswered(error) from error


def _unanswered(error: Exception) -> GatewayError:
    return GatewayError(
        "control.unanswered",
        "Look at the gateway's log; the command may still be done",
        cause=type(error).__name__,
    )


@contextmanager
def _present(path: Path) -> Iterator[str]:
    if not path.parent.is_dir() or not path.exists():
        raise _not_running(path)
    with _reachable(path) as name:
        yield name


def _not_running(path: Path) -> NotRunning:
    return NotRunning(
        "gateway.not_running", "Start it: locker-gateway run --config FILE", socket=path
    )
