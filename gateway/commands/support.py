"""`locker-gateway support`: help at one door, with a reason on record."""

from pathlib import Path

import click

from gateway import local
from gateway.commands import _shared as shared
from gateway.core.inputs import ServiceSet, SupportChecked, SupportOpens


@click.group()
def command() -> None:
    """Help at one door, with a reason on record."""


_door = click.argument("door", type=click.IntRange(1, 9999))
_by = click.option("--by", required=True, metavar="WHO", help="Who answers for this.")
_reason = click.option("--reason", required=True, metavar="TEXT", help="Why; no names.")


@command.command("open")
@_door
@shared.data()
@_reason
@click.option("--case", required=True, metavar="ID", help="Number of the case or call.")
@_by
def open_door(door: int, data: Path, reason: str, case: str, by: str) -> None:
    """Open DOOR once; returns when it has opened. The gateway must be running."""
    asked = SupportOpens(now=local.nobody(), token="", by=by, door=door, reason=reason, case=case)
    answer = local.ask(data, asked)
    click.echo(f"door {door} opened, {answer.ref}")


@command.command()
@_door
@shared.data()
@click.option("--empty/--occupied", "empty", required=True, default=None, help="What you saw.")
@_by
def check(door: int, data: Path, by: str, *, empty: bool) -> None:
    """Say what is inside DOOR after looking: ends a doubt. The gateway must be running."""
    asked = SupportChecked(now=local.nobody(), token="", by=by, door=door, occupied=not empty)
    answer = local.ask(data, asked)
    click.echo(f"door {door} is {'empty' if empty else 'occupied'}, {answer.ref}")


@command.command()
@_door
@shared.data()
@_reason
@_by
def disable(door: int, data: Path, reason: str, by: str) -> None:
    """Take the compartment DOOR out of service; a parcel inside stays collectable."""
    asked = ServiceSet(now=local.nobody(), token="", by=by, door=door, enabled=False, reason=reason)
    answer = local.ask(data, asked)
    click.echo(f"door {door} out of service, {answer.ref}")


@command.command()
@_door
@shared.data()
@_by
def enable(door: int, data: Path, by: str) -> None:
    """Put the compartment DOOR back into service."""
    asked = ServiceSet(now=local.nobody(), token="", by=by, door=door, enabled=True, reason="")
    answer = local.ask(data, asked)
    click.echo(f"door {door} in service, {answer.ref}")
