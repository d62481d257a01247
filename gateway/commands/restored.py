"""`locker-gateway restored`: this data folder came out of a backup, or is a copy."""

from pathlib import Path

import click

from gateway import continuity, identity, local
from gateway import site as sites
from gateway.commands import _shared as shared


@click.command()
@shared.data()
@shared.as_json
def command(data: Path, *, as_json: bool) -> None:
    """Say that this data folder came out of a backup.

    The next start begins a new epoch behind a fence: a restored book takes used codes for good
    ones. What the hub holds of the lost days comes back by the link; `fence show` says which doors
    somebody has to look behind. Run it before the first start after a restore.
    """
    local.quiet()
    names = identity.load_names(data)
    with sites.locked(data):
        continuity.mark(data, "restored")
    told = {"site": f"{names.operator}/{names.writer}", "epoch": names.epoch, "mark": "restored"}
    shared.tell(told, "the next start begins a new epoch behind a fence", as_json=as_json)
