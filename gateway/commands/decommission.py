"""`locker-gateway decommission`: the end of a site, its keys and its data."""

from pathlib import Path

import click

from gateway import decommission, local
from gateway.commands import _shared as shared


@click.command()
@shared.data()
@click.option("--why", required=True, metavar="TEXT", help="Why this site ends; it is in the log.")
@click.option(
    "--export",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the whole log in FILE: needed where no hub has it. The gateway is stopped.",
)
@click.option("--force", is_flag=True, help="Even while compartments hold something.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--by", default=local.whoami, metavar="WHO", help="Who does this.")
@shared.as_json
def command(
    data: Path, why: str, export: Path | None, by: str, *, force: bool, yes: bool, as_json: bool
) -> None:
    """End this site for good: a last entry, then the wipe.

    The hub must have that entry, or FILE. What is left is `decommissioned.json`: the final
    checkpoints. A power cut in the middle is no harm: the next command goes on with it.
    """
    if not yes:
        click.confirm(f"Wipe every key and all data in {data}?", abort=True, err=True)
    done = decommission.decommission(data, why=why, by=by, force=force, export=export)
    told = {"site": done.site, "entry": done.entry, "kept_by": done.kept_by}
    text = f"{done.site} ended with {done.entry}; its log is kept by {done.kept_by}"
    shared.tell(told, text, as_json=as_json)
