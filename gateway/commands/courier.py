"""`locker-gateway courier`: who may deliver here.

The typed secret is made here, printed once on stdout, and never kept: the log holds its keyed tag.
"""

import base64
import re
import secrets
from pathlib import Path

import click

from gateway import local
from gateway import site as sites
from gateway.commands import _shared as shared
from gateway.core.inputs import CourierAdded, CourierRemoved
from gateway.errors import GatewayError
from sync import codes

_TENANT = re.compile(r"[a-z0-9-]{1,32}")
LABEL_CHARACTERS_MAX = 64


@click.group()
def command() -> None:
    """Add, list and remove couriers."""


@command.command()
@shared.data()
@click.option("--tenant", required=True, metavar="NAME", help="a-z, 0-9, dash: whose parcels.")
@click.option("--label", required=True, metavar="TEXT", help="Route or device; no person's name.")
@click.option("--by", default=local.whoami, metavar="WHO", help="Default: this account.")
@shared.as_json
def add(data: Path, tenant: str, label: str, by: str, *, as_json: bool) -> None:
    """Give a courier the right to deliver, and print the typed secret once (16 digits)."""
    if not _TENANT.fullmatch(tenant):
        raise GatewayError("courier.tenant", "Use 1 to 32 of a-z, 0-9 and dash", tenant=tenant[:40])
    if not 0 < len(label) <= LABEL_CHARACTERS_MAX:
        raise GatewayError("courier.label", f"Use 1 to {LABEL_CHARACTERS_MAX} characters")
    who = sites.load(data)
    secret = codes.staff_secret(secrets.token_bytes(codes.SECRET_RANDOM_BYTES), who.name)
    tag = codes.staff_tag(who.code_key, who.name, secret)
    answer = local.ask(
        data,
        CourierAdded(
            now=local.nobody(),
            token="",
            by=by,
            tenant=tenant,
            label=label,
            tag=base64.b64encode(tag).decode("ascii"),
        ),
    )
    told = {"ref": answer.ref, "tenant": tenant, "label": label, "secret": secret}
    shared.tell(told, f"{answer.ref}\n{secret}", as_json=as_json)


@command.command("list")
@shared.data()
@shared.as_json
def list_couriers(data: Path, *, as_json: bool) -> None:
    """List couriers by their references; secrets are not kept and cannot be shown."""
    told = [
        {"ref": known.ref, "tenant": known.tenant, "label": known.label, "removed": known.revoked}
        for known in sites.read_book(data).couriers.values()
    ]
    lines = (
        f"{one['ref']}  {one['tenant']}  {one['label']}{'  removed' if one['removed'] else ''}"
        for one in told
    )
    shared.tell(told, "\n".join(lines) or "no couriers", as_json=as_json)


@command.command()
@click.argument("ref")
@shared.data()
@click.option("--by", default=local.whoami, metavar="WHO", help="Default: this account.")
def remove(ref: str, data: Path, by: str) -> None:
    """End the right of the courier REF now."""
    local.ask(data, CourierRemoved(now=local.nobody(), token="", by=by, grant=ref))
    click.echo(f"{ref} removed")
