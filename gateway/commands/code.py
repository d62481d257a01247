"""`locker-gateway code`: what the operator of a stand-alone site tells the recipient."""

from pathlib import Path

import click

from gateway import site as sites
from gateway.commands import _shared as shared
from gateway.errors import GatewayError
from sync.codes import Code, parcel_identity
from sync.errors import TheirsInvalid


@click.group()
def command() -> None:
    """Show the pick-up code of a parcel that is here."""


@command.command()
@click.argument("parcel")
@shared.data()
@shared.as_json
def show(parcel: str, data: Path, *, as_json: bool) -> None:
    """Print the code of PARCEL: tenant/TRACKING/piece, or the reference of its deposit."""
    who = sites.load(data)
    try:
        name = parcel_identity(parcel)
    except TheirsInvalid:
        name = parcel
    found = sites.parcel_of(sites.read_book(data), name)
    if found is None or found.identity is None:
        raise GatewayError(
            "parcel.unknown", "Name a parcel that is here: tenant/TRACKING/piece, or its reference"
        )
    keys = {key.version: key for key in (sites.code_key(who), *sites.older_keys(who))}
    if found.key_version not in keys:
        raise GatewayError(
            "code.key_version", "Import the code key of this version", has=found.key_version
        )
    code: Code = keys[found.key_version].code(found.identity, found.counter)
    short = code.short(found.digits)
    told = {"parcel": found.ref, "door": found.door, "short": short, "long": code.long}
    shared.tell(told, f"{short}\n{code.long}", as_json=as_json)
