"""`locker-hub vkey`: what a site's gateway is told of this hub."""

from pathlib import Path

import click

from sync.hub.commands import _shared as shared
from sync.hub.keys import Keys
from sync.hub.registry import check_site_id


@click.command()
@click.argument("site")
@shared.config
@shared.as_json
def command(site: str, file: Path, *, as_json: bool) -> None:
    """Print the keys that a site's gateway is to know.

    First the hub's writer key for SITE, then its cosigner's: both go into the gateway's
    configuration. Neither is secret.
    """
    chosen = shared.read(file)
    check_site_id(site)
    keys = Keys.load(Path(chosen.data_dir), chosen.operator)
    told = {"writer": keys.writer(site).vkey, "cosigner": keys.cosigner(site).vkey}
    shared.tell(told, "\n".join(told.values()), as_json=as_json)
