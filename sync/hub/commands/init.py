"""`locker-hub init`: keys and configuration of a new hub."""

from pathlib import Path

import click

from sync.hub import ca, folder
from sync.hub.authority import grouped
from sync.hub.clock import Clock
from sync.hub.commands import _shared as shared


@click.command()
@click.argument("data", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--operator", required=True, metavar="NAME", help="Who operates the sites: lockers.example."
)
@click.option(
    "--storage",
    default="",
    metavar="URL",
    help="postgresql://USER@HOST/NAME; left out: SQLite in DATA.",
)
@click.option(
    "--ca",
    "hosts",
    multiple=True,
    metavar="HOST",
    help="Make the authority too, as ca init --host HOST does, and listen for gateways.",
)
@shared.as_json
def command(
    data: Path, operator: str, storage: str, hosts: tuple[str, ...], *, as_json: bool
) -> None:
    """Make a new hub: its keys, its configuration.

    DATA/hub.toml and DATA/keys are new; an existing hub is refused. Back up DATA/keys apart from
    the database: whoever has the master key knows every pick-up code.
    """
    made = folder.make(data, operator, storage, hosts)
    file = Path(made.data_dir) / folder.FILE
    told = {"operator": operator, "config": str(file)}
    lines = [f"hub of {operator}: {file}"]
    if hosts:
        known = ca.init(Path(made.data_dir), operator, hosts, Clock().utc_ms() // 1_000)
        told["root"] = known.fingerprint
        lines += [f"root {known.fingerprint}", f"     {grouped(known.fingerprint)}"]
    shared.tell(told, "\n".join(lines), as_json=as_json)
