"""What the hub must be told about its machine: `hub.toml`, as typed values. Pure: text in.

Unknown keys are refused (`config.invalid`, with the key and the reason). The example file in
`deploy/config` shows every key; a test holds it to this file.
"""

import ipaddress
import re
import tomllib
from typing import Annotated, Final, Literal
from urllib.parse import quote

import msgspec
from msgspec import Meta

from sync.errors import TheirsInvalid

CHARACTERS_MAX: Final = 64 * 1024
PORT_MAX: Final = 65535
_DOTS_MAX: Final = 64  # in one line: the library's work grows with the square of a dotted key
_OPERATOR = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,62}[a-z0-9])?")
_URL = re.compile(r"https://[A-Za-z0-9.\[\]:-]{1,255}")
_STORAGE = re.compile(r"(?:sqlite|postgres(?:ql)?)://[^\s]{1,1024}")


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all tables."""


class Listener(_Table, frozen=True, kw_only=True):
    """An address to listen at, and the URL by which gateways reach it from outside.

    `url` empty: `https://` with the first name in the hub's certificate, and this port.
    """

    listen: str = ""
    url: str = ""

    @property
    def host(self) -> str:
        """The address alone."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port alone; 0 lets the kernel choose."""
        return int(self.listen.rpartition(":")[2])


class Api(Listener, frozen=True, kw_only=True):
    """Where the API and the enrolment of gateways are served; TLS with no client certificate."""

    listen: str = "127.0.0.1:8700"
    page_max: Annotated[int, Meta(ge=1, le=10_000)] = 1_000
    body_bytes_max: Annotated[int, Meta(ge=4_096, le=16 << 20)] = 1 << 20


class Development(_Table, frozen=True, kw_only=True):
    """`plain`: everything on one listener on loopback, unencrypted, and nobody authenticated.

    Only for programs under test. It is warned of wherever the hub speaks of itself.
    """

    plain: bool = False


class Books(_Table, frozen=True, kw_only=True):
    """How many sites' books stay in memory, and how often a decision is taken again."""

    held_max: Annotated[int, Meta(ge=1, le=100_000)] = 256
    attempts_max: Annotated[int, Meta(ge=1, le=100)] = 8


class Safety(_Table, frozen=True, kw_only=True):
    """How many doors may be asked for in a minute before a second person has to approve each.

    `opens_per_minute`: of one account, and at one site; `opens_per_minute_all`: in all.
    """

    opens_per_minute: Annotated[int, Meta(ge=1, le=60)] = 3
    opens_per_minute_all: Annotated[int, Meta(ge=1, le=100)] = 10


class Log(_Table, frozen=True, kw_only=True):
    """How log lines look, and from which level on they are written."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(_Table, frozen=True, kw_only=True):
    """The whole file. `data_dir` is absolute; `storage` is empty for `DATA/hub.db`.

    `link` is where gateways and backends dial with their certificates, `renew` where a gateway
    renews one that is over. Left out, they have the API's address and the next ports after its own.
    """

    data_dir: str
    operator: str
    storage: str = ""
    api: Api = Api()
    link: Listener = Listener()
    renew: Listener = Listener()
    development: Development = Development()
    books: Books = Books()
    safety: Safety = Safety()
    log: Log = Log()

    @property
    def storage_url(self) -> str:
        """The one URL that chooses the storage."""
        return self.storage or f"sqlite://{quote(self.data_dir)}/hub.db"

    @property
    def link_at(self) -> Listener:
        """Where links are served."""
        return self._after(self.link, 1)

    @property
    def renew_at(self) -> Listener:
        """Where certificates that are over are renewed."""
        return self._after(self.renew, 2)

    def _after(self, given: Listener, step: int) -> Listener:
        if given.listen:
            return given
        host, _, port = self.api.listen.rpartition(":")
        return Listener(listen=f"{host}:{int(port) + step if int(port) else 0}", url=given.url)


def parse(text: str, file: str = "hub.toml") -> Config:
    """Return the configuration that `text` writes; TheirsInvalid `config.invalid`."""
    if len(text) > CHARACTERS_MAX:
        raise _refusal(file, "", f"longer than {CHARACTERS_MAX} characters")
    if any(line.count(".") > _DOTS_MAX for line in text.split("\n") if line[:1] != "#"):
        raise _refusal(file, "", f"more than {_DOTS_MAX} dots in one line")
    try:
        config = msgspec.convert(tomllib.loads(text), Config)
    except msgspec.ValidationError as error:
        reason, _, key = str(error).partition(" - at ")
        raise _refusal(file, key.strip("`").removeprefix("$").strip("."), reason) from None
    except (tomllib.TOMLDecodeError, RecursionError, ValueError) as error:
        raise _refusal(file, "", str(error)[:120]) from None
    for key, reason in _objections(config):
        raise _refusal(file, key, reason)
    return config


def loopback(listen: str) -> bool:
    """Say whether `listen` is a loopback address with a port, `127.0.0.1:8700` or `[::1]:8700`."""
    address = _address(listen)
    return address is not None and address.is_loopback


def is_address(listen: str) -> bool:
    """Say whether `listen` is an address of this machine with a port, `0.0.0.0:8700`."""
    return _address(listen) is not None


def _address(listen: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    host, _, port = listen.rpartition(":")
    if not port.isascii() or not port.isdigit() or len(port) > len(str(PORT_MAX)):
        return None
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return address if int(port) <= PORT_MAX else None


def is_operator(text: str) -> bool:
    """Say whether an operator may be called so: a name like a host's."""
    return _OPERATOR.fullmatch(text) is not None


def _objections(config: Config) -> list[tuple[str, str]]:
    """(key, reason) of everything the types alone cannot say."""
    found = []
    if not config.data_dir.startswith("/"):
        found.append(("data_dir", "must be an absolute path"))
    if not is_operator(config.operator):
        found.append(("operator", "must be a name like lockers.example"))
    if config.storage and not _STORAGE.fullmatch(config.storage):
        found.append(("storage", "must be a URL, sqlite:///PATH or postgresql://..."))
    if config.development.plain and not loopback(config.api.listen):
        found.append(("api.listen", "must be a loopback address and a port, 127.0.0.1:8700"))
    elif not is_address(config.api.listen):
        found.append(("api.listen", "must be an address and a port, 0.0.0.0:8700"))
    if any(key == "api.listen" for key, _ in found):
        return found
    named = (("api", config.api), ("link", config.link_at), ("renew", config.renew_at))
    for name, one in named:
        if not is_address(one.listen):
            found.append((f"{name}.listen", "must be an address and a port, 0.0.0.0:8701"))
        if one.url and not _URL.fullmatch(one.url):
            found.append((f"{name}.url", "must be https://HOST:PORT"))
    return found


def _refusal(file: str, key: str, reason: str) -> TheirsInvalid:
    code = "hub.not_loopback" if "loopback" in reason else "config.invalid"
    remedy = "Correct the file: every key is in deploy/config/hub.example.toml."
    return TheirsInvalid(code, remedy, file=file, key=key, reason=reason)
