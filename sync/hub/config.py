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
_STORAGE = re.compile(r"(?:sqlite|postgres(?:ql)?)://[^\s]{1,1024}")


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all tables."""


class Api(_Table, frozen=True, kw_only=True):
    """Where the API and the plain pull are served: loopback only, until peers are authenticated."""

    listen: str = "127.0.0.1:8700"
    page_max: Annotated[int, Meta(ge=1, le=10_000)] = 1_000
    body_bytes_max: Annotated[int, Meta(ge=4_096, le=16 << 20)] = 1 << 20

    @property
    def host(self) -> str:
        """The address alone."""
        return self.listen.rpartition(":")[0].strip("[]")

    @property
    def port(self) -> int:
        """The port alone; 0 lets the kernel choose."""
        return int(self.listen.rpartition(":")[2])


class Books(_Table, frozen=True, kw_only=True):
    """How many sites' books stay in memory, and how often a decision is taken again."""

    held_max: Annotated[int, Meta(ge=1, le=100_000)] = 256
    attempts_max: Annotated[int, Meta(ge=1, le=100)] = 8


class Log(_Table, frozen=True, kw_only=True):
    """How log lines look, and from which level on they are written."""

    format: Literal["text", "json"] = "text"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Config(_Table, frozen=True, kw_only=True):
    """The whole file. `data_dir` is absolute; `storage` is empty for `DATA/hub.db`."""

    data_dir: str
    operator: str
    storage: str = ""
    api: Api = Api()
    books: Books = Books()
    log: Log = Log()

    @property
    def storage_url(self) -> str:
        """The one URL that chooses the storage."""
        return self.storage or f"sqlite://{quote(self.data_dir)}/hub.db"


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
    host, _, port = listen.rpartition(":")
    if not port.isascii() or not port.isdigit() or len(port) > len(str(PORT_MAX)):
        return False
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return address.is_loopback and int(port) <= PORT_MAX


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
    if not loopback(config.api.listen):
        found.append(("api.listen", "must be a loopback address and a port, 127.0.0.1:8700"))
    return found


def _refusal(file: str, key: str, reason: str) -> TheirsInvalid:
    code = "hub.not_loopback" if key == "api.listen" else "config.invalid"
    remedy = "Correct the file: every key is in deploy/config/hub.example.toml."
    return TheirsInvalid(code, remedy, file=file, key=key, reason=reason)
