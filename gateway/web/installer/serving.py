"""The installer's listener as a whole: certificate, gate, application, and who commands it here.

Off unless `[installer] listen` says where. Addresses and certificate are looked at every half a
minute, for a gateway starts before there is a network; another certificate is shown without a
restart, and connections that are open stay.
"""

import asyncio
import importlib.metadata
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, assert_never

import msgspec
from aiohttp import web

from certs import tls
from gateway import config, logs, nearby
from gateway.announce import Announcer
from gateway.errors import GatewayError
from gateway.web.installer.gate import Gate, listen
from gateway.web.installer.lan import hosts_here
from gateway.web.installer.listener import Listener
from gateway.web.installer.office import Office, Site
from gateway.web.installer.window import Window

LOOK_S: Final = 30.0
MAX_LINE: Final = 4096
OPTIONS: Final[Mapping[str, Any]] = {
    "access_log": None, "keepalive_timeout": 10.0, "lingering_time": 0.0,
    "max_line_size": MAX_LINE, "max_field_size": MAX_LINE,
}  # fmt: skip
VERSION: Final = importlib.metadata.version("parcel-locker-gateway")
_log = logs.get("installer")


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a command at this machine asks (`locker-gateway pairing`)."""

    do: Literal["open", "close", "show", "list", "end", "where"]
    by: str
    name: str = ""


@dataclass(slots=True)
class _Open:
    """What stands while the listener does."""

    office: Office
    port: int
    hosts: list[str]
    context: ssl.SSLContext
    gate: Gate

    @property
    def address(self) -> str:
        """Where installers find it now, host and port."""
        host = self.hosts[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


class Serving:
    """The listener of one process."""

    def __init__(self, chosen: config.Config, data: Path, site: Site) -> None:
        self._config, self._data, self._site = chosen, data, site
        self._open: _Open | None = None
        self._announcer: Announcer | None = None
        self._at = ("", 0)  # the kiosk at which a window was opened, and its number

    @property
    def url(self) -> str:
        """Where it is now; nothing where it does not listen."""
        return "" if self._open is None else f"https://{self._open.address}/"

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listen, where the configuration says so. A bug in here ends the process, as any does."""
        where = self._config.installer
        if not where.listen:
            yield
            return
        office = await asyncio.to_thread(Office, self._data, self._site)
        hosts = await self._look(office)
        context = tls.server(office.lan.own, [office.lan.ca.certificate], clients="optional",
                             dates=False)  # fmt: skip
        listener = Listener(office)
        runner = web.AppRunner(
            listener.app, handle_signals=False, shutdown_timeout=0.5, handler_cancellation=True
        )
        await runner.setup()
        try:
            socket = listen(where.host, where.port)
        except OSError as error:
            await runner.cleanup()
            raise GatewayError(
                "installer.unavailable",
                "Stop what listens there, or choose another port",
                listen=where.listen,
                errno=error.errno,
            ) from error
        port = socket.getsockname()[1]
        assert runner.server is not None
        gate = listener.gate = Gate(socket, context, runner.server, OPTIONS)
        self._open = _Open(office, port, hosts, context, gate)
        _log.info("installer.listening", url=self.url, pin=office.lan.pin)
        beside = [gate.run(), self._keep_fresh()]
        if where.announce:
            self._announcer = Announcer(lambda: self._said(office, port), where.host)
            beside.append(self._announcer.run())
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one) for one in beside]
                try:
                    yield
                finally:
                    for task in tasks:
                        task.cancel()
        finally:
            self._open = None
            socket.close()
            await runner.cleanup()

    def _said(self, office: Office, port: int) -> nearby.Said:
        """Return what is announced on the network: nothing secret, see `nearby`."""
        state = nearby.state_of(self._site.status())
        return nearby.Said(office.lan.site_id, VERSION, state, office.lan.pin, port)

    async def _look(self, office: Office) -> list[str]:
        """See to a certificate for what this machine is called now; return that."""
        where = self._config.installer
        now_s = self._site.now().wall_ms // 1000
        hosts = await asyncio.to_thread(hosts_here, where.host, where.names)
        if await asyncio.to_thread(office.lan.renew, hosts, now_s):
            _log.info("installer.certificate", hosts=",".join(hosts))
        return hosts

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(LOOK_S)
            await self.refresh()

    async def refresh(self) -> None:
        """Renew the certificate if it is due, and show it from the next connection on.

        What cannot be renewed now (a full disk) stays as it is: pick-ups go on beside it.
        """
        if self._open is None:
            return
        try:
            self._open.hosts = await self._look(self._open.office)
        except GatewayError as error:
            _log.warning("installer.stale", code=error.code)
            return
        tls.use(self._open.context, self._open.office.lan.own)

    def status(self) -> dict[str, object]:
        """Return what `locker-gateway status` shows of it."""
        if self._open is None:
            return {}
        announced = "" if self._announcer is None else self._announcer.name
        counters = dict(self._open.gate.counters)
        return {"installer": {"url": self.url, "announced": announced, "connections": counters}}

    # --- whoever is at the gateway ----------------------------------------------------------------

    def open_window(self, by: str, name: str = "") -> Window | None:
        """Open pairing for somebody with a capability (`by`); None where nothing listens."""
        return None if self._open is None else self._open.office.open_window(by, name)

    def open_at(self, kiosk: str, by: str) -> None:
        """Open pairing for somebody at a kiosk, which may then show it (`shown_at`)."""
        window = self.open_window(by)
        self._at = (kiosk, 0 if window is None else window.number)

    def shown_at(self, kiosk: str) -> dict[str, Any]:
        """Return what this kiosk may show of the window opened at it.

        Raises GatewayError `installer.off`, `pair.closed`.
        """
        if self._open is None:
            raise GatewayError("installer.off", "Set [installer] listen")
        shown = self._open.office.shown(self._open.address)
        if (kiosk, shown["number"]) != self._at:
            raise GatewayError("pair.closed", "Open pairing at this kiosk")
        return shown

    def command(self, body: bytes) -> dict[str, Any]:
        """Do what `locker-gateway pairing` asks over the control socket.

        Raises GatewayError `command.malformed`, `installer.off`, and those of `Office`.
        """
        try:
            asked = msgspec.json.decode(body, type=Asked)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            raise GatewayError("command.malformed", "Correct the request") from None
        if self._open is None:
            raise GatewayError("installer.off", "Set [installer] listen, and start the gateway")
        office, by = self._open.office, f"support:{asked.by}"
        match asked.do:
            case "open":
                office.open_window(by, asked.name)
                return office.shown(self._open.address)
            case "show":
                return office.shown(self._open.address)
            case "close":
                return {"closed": office.close_window(by)}
            case "list":
                return {"installers": office.paired()}
            case "end":
                office.end(asked.name, by)
                return {"ended": asked.name}
            case "where":
                return office.where(self._open.address)
            case _:
                assert_never(asked.do)
