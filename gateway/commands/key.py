"""`locker-gateway key`: the key that pick-up codes are derived from."""

import base64
import binascii
from pathlib import Path
from typing import Annotated

import click
import msgspec

from gateway import site as sites
from gateway.commands import _shared as shared
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
    """Take in the code key that the hub derived for this site."""


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
    told = {"site": who.name, "key_version": version}
    shared.tell(told, f"{who.name} derives codes by key {version}", as_json=as_json)


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
