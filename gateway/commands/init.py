"""`locker-gateway init`: keys, names, epoch and first entry of a new site."""

import asyncio
from pathlib import Path

import click

from gateway import local, site
from gateway.commands import _shared as shared


@click.command()
@shared.data(exists=False)
@click.option(
    "--operator",
    default="lockers.example",
    show_default=True,
    metavar="NAME",
    help="Who operates the sites: a name like a host's.",
)
@click.option(
    "--site",
    "name",
    default="0042",
    show_default=True,
    metavar="ID",
    help="Which of its sites: a-z, 0-9, dash.",
)
@shared.as_json
def command(data: Path, operator: str, name: str, *, as_json: bool) -> None:
    """Make a new site: its keys, its log.

    Keys of its own, an epoch and the first entry; an existing site is refused.
    """
    local.quiet()
    who = site.make(data, operator=operator, site=name)
    answer = asyncio.run(local.offline(data, None))
    told = {"site": who.name, "epoch": who.identity.epoch, "entry": answer.ref}
    shared.tell(told, f"{who.name} begins with {answer.ref}", as_json=as_json)
