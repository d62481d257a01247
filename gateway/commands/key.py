"""`locker-gateway key`: the keys of this site: what they are, another one, how they are kept."""

import asyncio
import base64
import binascii
import sys
from pathlib import Path
from typing import Annotated, Any

import click
import msgspec

from certs.errors import KeyStoreBroken
from gateway import identity, local, rotating
from gateway import site as sites
from gateway.commands import _shared as shared
from gateway.control import NotRunning
from gateway.core.inputs import KeyRotates
from gateway.errors import GatewayError

_FILE_BYTES_MAX = 4096
_KEY_BYTES = 32


class CodeKeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `locker-hub code-key SITE --out FILE` writes: the site's name, a version, the key."""

    site: str
    key_version: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    key: str


@click.group()
def command() -> None:
    """Look after the keys of this site: import, rotate, seal, check."""


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@shared.data()
@shared.as_json
def import_key(file: Path, data: Path, *, as_json: bool) -> None:
    """Import the code key in FILE, made by `locker-hub code-key SITE --out FILE`.

    New parcels get codes that the hub can tell too; parcels that are here keep theirs. Restart a
    running gateway afterwards. The file is a secret: remove it when this has succeeded.
    """
    who = sites.load(data)
    version, key = read_code_key(file, who.name)
    with sites.locked(data):
        sites.import_code_key(data, version, key)
    if version != 1:
        rotated(data, version)
    told = {"site": who.name, "key_version": version}
    shared.tell(told, f"{who.name} derives codes by key {version}", as_json=as_json)


@command.group()
def rotate() -> None:
    """Begin the use of another key."""


@rotate.command("log")
@shared.data()
@click.option(
    "--now",
    "at_once",
    is_flag=True,
    help="No overlap: for a site without a hub; the gateway is stopped.",
)
@click.option("--by", default=local.whoami, metavar="WHO", help="Who does this.")
@shared.as_json
def rotate_log(data: Path, by: str, *, at_once: bool, as_json: bool) -> None:
    """Give this site another log key; the old one keeps signing beside it for seven days.

    The hub learns the new key from the entry that says so. The overlap ends by itself, when the hub
    has that entry and the seven days are over: an epoch begins that the new key alone signs.
    """
    local.quiet()
    sites.check_alive(data)
    if at_once and rotating.is_governed(data):
        raise GatewayError("key.governed", "Leave out --now: a hub has to hear of the key first")
    vkey = ""
    if at_once or not _runs(data):
        with sites.locked(data):
            vkey = rotating.prepare(data)
    # A running gateway makes the key itself: the key store is its own.
    asked = KeyRotates(now=local.nobody(), token="", by=by, use="log", vkey=vkey)
    answer = local.ask(data, asked)
    if vkey:
        _settle(data, answer.ref, at_once=at_once)
    found = rotating.standing(data)
    told = {"entry": answer.ref, "vkey": vkey if found is None else found.vkey, "over": at_once}
    word = "the new key signs alone" if at_once else "both keys sign for seven days"
    shared.tell(told, f"{answer.ref}: {word}\n{told['vkey']}", as_json=as_json)


@command.command()
@shared.data()
@shared.as_json
def seal(data: Path, *, as_json: bool) -> None:
    """Wrap the keys on the disk with the service's credential (`locker-gateway.keystore`).

    Run it as the service does, where systemd provides the credential. Twice is as good as once.
    """
    with sites.locked(data):
        done = identity.keys_of(data).seal()
    shared.tell({"sealed": list(done)}, f"sealed: {', '.join(done) or 'all were'}", as_json=as_json)


@command.command()
@shared.data()
@shared.as_json
def check(data: Path, *, as_json: bool) -> None:
    """Check owner and mode of every key file, and say which are wrapped; exit 1 on trouble."""
    keys = identity.keys_of(data)
    rows: list[dict[str, Any]] = []
    for name in keys.names():
        try:
            wrapped = keys.is_wrapped(name)
            keys.read(name, size=None)
            rows.append({"name": name, "wrapped": wrapped, "code": ""})
        except KeyStoreBroken as error:
            rows.append({"name": name, "wrapped": None, "code": error.code})
    lines = [
        f"{row['name']:<12} {row['code'] or ('wrapped' if row['wrapped'] else 'plain, 0600')}"
        for row in rows
    ]
    shared.tell({"keys": rows}, "\n".join(lines), as_json=as_json)
    if any(row["code"] for row in rows):
        sys.exit(1)


def rotated(data: Path, version: int) -> str:
    """Say in the log that codes are derived by this version from now on; return the entry, or "".

    Nothing where the log says so already, or where nothing can be written before the gateway's next
    start (its epoch is over): the key is in use all the same. The gateway is stopped.
    """
    database = identity.database_of(data)
    if any(fact.key_version == version for _, _, fact in rotating.named_keys(database, "code")):
        return ""
    asked = KeyRotates(
        now=local.nobody(), token="", by=local.whoami(), use="code", key_version=version
    )
    try:
        return local.ask(data, asked).ref
    except GatewayError as error:
        if error.code != "site.epoch_over":
            raise
        return ""


def _runs(data: Path) -> bool:
    try:
        local.status(data)
    except NotRunning:
        return False
    return True


def _settle(data: Path, ref: str, *, at_once: bool) -> None:
    with sites.locked(data):
        rotating.begun(data, ref, sites.start_clock(data).now(), at_once=at_once)
        if at_once:
            rotating.end(data)
    if at_once:
        asyncio.run(local.offline(data, None))


def read_code_key(file: Path, site: str) -> tuple[int, bytes]:
    """Return (version, key) of the file for this site.

    Raises GatewayError `key.file`, `key.other_site`.
    """
    found = _read(file)
    if found.site != site:
        raise GatewayError("key.other_site", "Ask the hub for this site's key", site=found.site)
    try:
        key = base64.b64decode(found.key, validate=True)
    except (ValueError, binascii.Error):
        key = b""
    if len(key) != _KEY_BYTES:
        raise GatewayError("key.file", "Have the hub write the file again", bytes=len(key))
    return found.key_version, key


def _read(file: Path) -> CodeKeyFile:
    try:
        with file.open("rb") as handle:
            data = handle.read(_FILE_BYTES_MAX)
        return msgspec.json.decode(data, type=CodeKeyFile)
    except (OSError, msgspec.MsgspecError, RecursionError) as error:
        raise GatewayError(
            "key.file", "Name the file that `locker-hub code-key` wrote", reason=str(error)
        ) from error
