"""`locker-gateway sync`: how the exchange with the hub stands, and the same on a stick."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from gateway import continuity, control, exchange, identity, local, trust
from gateway import site as sites
from gateway.commands import _shared as shared
from gateway.config import Config
from gateway.control import SOCKET, NotRunning
from gateway.errors import Busy
from gateway.files import read_config
from sync import files
from sync.frontier import Verdict
from sync.reader import LogFile
from sync.rows import Head
from sync.store import Store

T = TypeVar("T")

_config = click.option(
    "--config",
    "config",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The site's configuration: it names the hub's keys.",
)


@click.group()
def command() -> None:
    """Show how the exchange with the hub stands; carry it on a stick."""


@command.command()
@shared.data()
@shared.as_json
def status(data: Path, *, as_json: bool) -> None:
    """Show every log held here, what of it the hub has signed for, and the link."""
    local.quiet()
    try:
        running = asyncio.run(control.status(data / SOCKET))
    except NotRunning:
        running = {}
    with LogFile.open(identity.database_of(data)) as log:
        rows = [_row(log, head) for head in log.heads()]
    hub = running.get("hub")
    link = "no gateway runs" if not running else "no hub" if hub is None else link_line(hub)
    lines = [f"{row['log']:<20} {row['size']:>9}  receipt {row['cosigned']}" for row in rows]
    shared.tell({"hub": hub, "logs": rows}, "\n".join([link, *lines]), as_json=as_json)


def _row(log: LogFile, head: Head) -> dict[str, Any]:
    receipts = [receipt.size for receipt in log.receipts(head)]
    return {
        "log": str(head.log),
        "origin": head.origin,
        "own": head.own,
        "size": head.size,
        "oldest": head.oldest,
        "cosigned": max(receipts, default=0),
    }


def link_line(hub: dict[str, Any]) -> str:
    """Return one line about the link; bytes are counted when a link ends."""
    if not hub["url"]:
        return "no hub: this site is not enrolled"
    why = hub["reason"] or "not dialled yet"
    if hub.get("words"):
        why = f"{why}: {hub['words']}"
    up = "linked" if hub["up"] else f"no link ({why})"
    return f"{hub['url']}  {up}  links before: {hub['bytes_out']} bytes out, {hub['bytes_in']} in"


@command.command("export")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@_config
@shared.as_json
def export_file(file: Path, config: Path, *, as_json: bool) -> None:
    """Write all logs held here into FILE, for a hub that no link reaches. Stop the gateway first.

    It holds personal data of the parcels: treat it like the data folder.
    """
    told = _with_store(config, lambda store: files.export(store, file))
    count = told.entries
    shared.tell(
        {"entries": count, "file": str(file)}, f"{count} entries in {file}", as_json=as_json
    )


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_config
@shared.as_json
def import_file(file: Path, config: Path, *, as_json: bool) -> None:
    """Take in what FILE holds of the hub's lanes and of this site's older epochs.

    Stop the gateway first. Twice is as good as once.
    """
    told = _with_store(config, lambda store: files.load(store, file))
    for found in told.found:
        if found.verdict is Verdict.ROLLED_BACK:
            continuity.mark(Path(read_config(config).data_dir), "rolled_back")
    refused = [{"origin": one.origin, "code": one.error.code} for one in told.refused]
    text = f"{told.entries} entries" + "".join(
        f"\nrefused {one['origin']}: {one['code']}" for one in refused
    )
    shared.tell({"entries": told.entries, "refused": refused}, text, as_json=as_json)


def _with_store(path: Path, work: Callable[[Store], Awaitable[T]]) -> T:
    local.quiet()
    config: Config = read_config(path)
    data = Path(config.data_dir)
    who = sites.load(data)

    async def run() -> T:
        ring, cosigners = exchange.keys(config, who, data, trust.load(data))
        database = identity.database_of(data)
        async with await Store.open(
            database, who.identity, ring=ring, cosigners=cosigners
        ) as store:
            return await work(store)

    try:
        with sites.locked(data):
            return asyncio.run(run())
    except Busy as error:
        raise Busy("site.busy", "Stop the gateway first", data=data) from error
