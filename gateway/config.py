"""What the machine must be told about this site, as typed TOML. Pure: text in, values out.

The bank's map is not here: it lives in the signed log (`site import`). Units are in the names.
Unknown keys are refused with their line, code `config.invalid`. The example file in `deploy/config`
shows every key; a test holds it to this file.
"""

import ipaddress
from dataclasses import fields
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from certs.errors import KeyInvalid
from certs.keys import KIND_COSIGNATURE, KIND_NOTE, Verifier
from gateway import tomlfile
from gateway.core.policy import Settings

_Ms = Annotated[int, Meta(ge=10, le=3_600_000)]
_Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9-]{0,31}$")]
_Host = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]{0,252}$")]

LINES_MAX = 16
PORT_MAX = 65535


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all tables."""


class Kiosk(_Table, frozen=True, kw_only=True):
    """Where the kiosk page is served, loopback only, and the screens there are."""

    listen: str = "127.0.0.1:8600"
    kiosks: Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=8)] = ("main",)

    @property
    def host(self) -> str:
        """The address alone."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port alone; 0 lets the kernel choose."""
        return int(self.listen.rpartition(":")[2])


class Hub(_Table, frozen=True, kw_only=True):
    """A hub for development: where to dial it, and its keys (`locker-hub vkey`).

    An enrolled site knows its hub from its trust folder, and needs nothing here.
    """

    url: str = ""
    writer: str = ""
    cosigner: str = ""


class Sync(_Table, frozen=True, kw_only=True):
    """Where the hub or a backend that can reach this site pulls from; nowhere when empty.

    Over mutual TLS on any address; plain on loopback only, in development. `backends` names who
    may come beside the hub: what a hub ended since, a site that it cannot reach would not know.
    """

    listen: str = ""
    backends: Annotated[tuple[_Name, ...], Meta(max_length=16)] = ()
    keep_days: Annotated[int, Meta(ge=30, le=3650)] = 90

    @property
    def host(self) -> str:
        """The address alone."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port alone; 0 lets the kernel choose."""
        return int(self.listen.rpartition(":")[2])


class Development(_Table, frozen=True, kw_only=True):
    """`plain`: the hub is dialled, and pulls, over plain http, and nobody is authenticated.

    Only for programs under test. It is warned of wherever the gateway speaks of itself.
    """

    plain: bool = False


class Installer(_Table, frozen=True, kw_only=True):
    """Where installers on the LAN reach this gateway over TLS; nowhere when empty.

    `names` are put into its certificate beside the machine's own; the first is shown in the QR.
    `announce`: it says there by zeroconf where it is, for `locker-gateway discover`.
    """

    listen: str = ""
    names: Annotated[tuple[_Host, ...], Meta(max_length=8)] = ()
    announce: bool = True

    @property
    def host(self) -> str:
        """The address alone."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port alone; 0 lets the kernel choose."""
        return int(self.listen.rpartition(":")[2])


class Line(_Table, frozen=True, kw_only=True):
    """One line to boards: either `serial` (with its settings) or `tcp` (with its framing)."""

    serial: str = ""
    tcp: str = ""
    framing: Literal["tcp", "rtu"] = "tcp"
    baud: Annotated[int, Meta(ge=1200, le=256_000)] = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    local_echo: bool | None = None


class Timing(_Table, frozen=True, kw_only=True):
    """How often boards are looked at (HARDWARE.md 2.1, 7), and the engine's times.

    Those of the engine (None here) keep the defaults of `gateway.core.policy`.
    """

    poll_idle_ms: Annotated[int, Meta(ge=50, le=5_000)] = 400
    poll_watched_ms: Annotated[int, Meta(ge=50, le=1_000)] = 120
    poll_relays_ms: Annotated[int, Meta(ge=250, le=5_000)] = 1_000
    confirm_ms: Annotated[int, Meta(ge=0, le=100)] = 15
    lost_ms: Annotated[int, Meta(ge=500, le=60_000)] = 3_000

    command_ms: _Ms | None = None
    window_ms: _Ms | None = None
    rest_ms: _Ms | None = None
    rail_gap_ms: _Ms | None = None
    stable_ms: _Ms | None = None
    grace_ms: _Ms | None = None
    claimed_ms: _Ms | None = None
    ajar_ms: _Ms | None = None
    ajar_alarm_ms: _Ms | None = None
    ask_ms: _Ms | None = None
    screen_ms: _Ms | None = None
    courier_ms: _Ms | None = None
    result_ms: _Ms | None = None

    def chosen(self) -> dict[str, int]:
        """Return what was set of the engine's times, by the name each has in `Settings`."""
        known = {field.name for field in fields(Settings)}
        set_here = {name: getattr(self, name) for name in self.__struct_fields__ if name in known}
        return {name: value for name, value in set_here.items() if value is not None}


class Log(_Table, frozen=True, kw_only=True):
    """How log lines look, and from which level on they are written."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(_Table, frozen=True, kw_only=True):
    """The whole file. `data_dir` is absolute."""

    data_dir: str
    kiosk: Kiosk = Kiosk()
    hub: Hub = Hub()
    sync: Sync = Sync()
    development: Development = Development()
    installer: Installer = Installer()
    lines: dict[_Name, Line] = {}
    timing: Timing = Timing()
    log: Log = Log()


def parse(text: str, file: str = "config") -> Config:
    """Return the configuration that `text` writes; FileRefused (`config.invalid`) with the line."""
    config, lines = tomlfile.read(text, Config, code="config.invalid", file=file)
    for key, reason in _objections(config):
        raise tomlfile.refusal("config.invalid", file, lines, key, reason)
    return config


def _objections(config: Config) -> list[tuple[str, str]]:
    """(key, reason) of everything the types alone cannot say."""
    found = []
    if not config.data_dir.startswith("/"):
        found.append(("data_dir", "must be an absolute path"))
    if not loopback(config.kiosk.listen):
        found.append(("kiosk.listen", "must be a loopback address and a port, 127.0.0.1:8600"))
    found += _hub_objections(config.hub, plain=config.development.plain)
    if config.sync.listen and config.development.plain and not loopback(config.sync.listen):
        found.append(("sync.listen", "must be a loopback address and a port while plain = true"))
    elif config.sync.listen and not is_address(config.sync.listen):
        found.append(("sync.listen", "must be an address and a port, 0.0.0.0:8601"))
    if config.installer.listen and not is_address(config.installer.listen):
        found.append(
            ("installer.listen", "must be an address and a port, 0.0.0.0:8443 or [::]:8443")
        )
    if len(set(config.kiosk.kiosks)) != len(config.kiosk.kiosks):
        found.append(("kiosk.kiosks", "a kiosk is named twice"))
    if len(config.lines) > LINES_MAX:
        found.append(("lines", f"more than {LINES_MAX} lines"))
    for name in sorted(config.lines):
        found += [(f"lines.{name}{key}", why) for key, why in _line_objections(config.lines[name])]
    ends = [line.serial or line.tcp for line in config.lines.values()]
    if len(set(ends)) != len(ends):
        found.append(("lines", "one device or address is named by two lines: a line has one owner"))
    return found


def _hub_objections(hub: Hub, *, plain: bool) -> list[tuple[str, str]]:
    found = []
    if hub.url and not plain:
        found.append(("hub.url", "enrol this site instead (or, under test, [development] plain)"))
    elif hub.url and not (_url(hub.url) and hub.writer and hub.cosigner):
        found.append(("hub.url", "must be http://host[:port]; writer and cosigner belong to it"))
    kinds = (("writer", hub.writer, KIND_NOTE), ("cosigner", hub.cosigner, KIND_COSIGNATURE))
    for name, text, kind in kinds:
        try:
            fits = not text or Verifier.from_vkey(text).kind == kind
        except KeyInvalid:
            fits = False
        if not fits:
            found.append((f"hub.{name}", f"must be the {name}'s line of `locker-hub vkey`"))
    return found


def _url(text: str) -> bool:
    scheme, _, rest = text.partition("://")
    host = rest.partition("/")[0]
    return scheme == "http" and bool(host) and text.isprintable() and " " not in text


def _line_objections(line: Line) -> list[tuple[str, str]]:
    if bool(line.serial) == bool(line.tcp):
        return [("", "needs either serial or tcp")]
    if line.serial:
        if not line.serial.startswith("/"):
            return [(".serial", "must be the absolute path of a device")]
        if line.framing != "tcp":
            return [(".framing", "belongs to tcp")]
        return []
    if split_address(line.tcp) is None:
        return [(".tcp", "must be host:port")]
    return []


def split_address(text: str) -> tuple[str, int] | None:
    """Return (host, port) of `host:port` or `[v6]:port`; None when it is neither."""
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    digits = port.isascii() and port.isdigit() and len(port) <= len(str(PORT_MAX))
    if not host or not digits or int(port) > PORT_MAX:
        return None
    return host, int(port)


def loopback(listen: str) -> bool:
    """Say whether `listen` is a loopback address with a port."""
    address = _address(listen)
    return address is not None and address.is_loopback


def is_address(listen: str) -> bool:
    """Say whether `listen` is an address with a port.

    A link-local one of IPv6 is none: nobody listens on it without an interface. `[::]` hears it.
    """
    address = _address(listen)
    return address is not None and not (address.version > 4 and address.is_link_local)  # noqa: PLR2004


def _address(listen: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    address = split_address(listen)
    if address is None:
        return None
    try:
        return ipaddress.ip_address(address[0])
    except ValueError:
        return None
