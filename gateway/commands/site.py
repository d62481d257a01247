"""`locker-gateway site`: the bank's map, into the log and out of it."""

from pathlib import Path

import click

from gateway import files, local, mapfile
from gateway import site as sites
from gateway.bank import known
from gateway.commands import _shared as shared
from gateway.core.inputs import MapImported
from gateway.errors import GatewayError


@click.group()
def command() -> None:
    """Import and export the map of boards and doors."""


@command.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@shared.data()
@click.option("--by", default=local.whoami, metavar="WHO", help="Default: this account.")
@shared.as_json
def import_map(file: Path, data: Path, by: str, *, as_json: bool) -> None:
    """Import a whole map of the bank from FILE (TOML); a running gateway takes it at once."""
    read = files.read_map(file, known)
    answer = local.ask(data, MapImported(now=local.nobody(), token="", by=by, map=read))
    told = {"boards": len(read.boards), "doors": len(read.doors), "entry": answer.ref}
    text = f"{len(read.boards)} boards and {len(read.doors)} doors, from {answer.ref} on"
    shared.tell(told, text, as_json=as_json)


@command.command("export")
@shared.data()
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Default: standard output.",
)
def export_map(data: Path, out: Path | None) -> None:
    """Write the map as it stands in the log, as TOML for `site import`."""
    book = sites.read_book(data)
    if not book.map.doors:
        raise GatewayError("map.none", "Import a map first: locker-gateway site import FILE")
    text = mapfile.write(book.map)
    if out is None:
        click.echo(text, nl=False)
    else:
        out.write_text(text, encoding="utf-8")
