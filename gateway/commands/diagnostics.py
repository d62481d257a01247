"""`locker-gateway diagnostics`: one file for whoever helps from afar, without a secret."""

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from gateway import bundle, control, files, identity, local, site
from gateway.commands import _shared as shared
from gateway.config import Config
from gateway.control import SOCKET, NotRunning
from gateway.errors import GatewayError
from gateway.upkeep import Upkeep
from gateway.web.installer.service import public
from gateway.wired import Known


@click.command()
@shared.data()
@click.option(
    "--out",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the bundle (JSON) goes.",
)
@click.option(
    "--config",
    "file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The site's configuration: then its settings and what `doctor` finds are in it too.",
)
@shared.as_json
def command(data: Path, out: Path, file: Path | None, *, as_json: bool) -> None:
    """Write one file for whoever helps, without a secret.

    No parcels either, and at most 1 MiB; what has no room is named in it. Works beside a running
    gateway and without one; then, with --config, boards are brought into their safe state as by
    `doctor`.
    """
    local.quiet()
    identity.load_names(data)
    config = None if file is None else files.read_config(file)
    if config is not None and Path(config.data_dir).resolve() != data.resolve():
        raise GatewayError("diagnostics.config", "Give the configuration of this very data folder")
    told = asyncio.run(_made(data, config))
    try:
        out.write_bytes(msgspec.json.encode(told) + b"\n")
    except OSError as error:
        raise click.FileError(str(out), hint=str(error)) from error
    said = {"file": str(out), "left_out": told["left_out"]}
    shared.tell(said, f"wrote {out}", as_json=as_json)


async def _made(data: Path, config: Config | None) -> dict[str, Any]:
    parts: list[tuple[str, Any]] = []
    try:
        status = await control.status(data / SOCKET)
        parts += [("running", True), *public(status).items()]
    except NotRunning:
        parts += [("running", False)]
    known = Known.of(await asyncio.to_thread(site.read_book, data))
    return bundle.fit([*parts, *await Upkeep(config, data, lambda: known).parts()])
