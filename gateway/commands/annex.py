"""`locker-gateway annex`: forget what names a parcel."""

from pathlib import Path

import click

from gateway import local
from gateway.commands import _shared as shared
from gateway.core.inputs import AnnexEraseAsked


@click.group()
def command() -> None:
    """Erase personal data; the log still verifies."""


@command.command()
@click.argument("ref")
@shared.data()
@click.option("--by", required=True, metavar="WHO", help="Who answers for this.")
def erase(ref: str, data: Path, by: str) -> None:
    """Erase the annex of REF and its copies in other entries; not while the parcel is here."""
    answer = local.ask(data, AnnexEraseAsked(now=local.nobody(), token="", by=by, ref=ref))
    click.echo(f"{ref} erased in {dict(answer.evidence).get('entries', 1)} entries")
