"""`locker-gateway fence`: what stands in the way of trusting the doors, and the end of it."""

from pathlib import Path

import click

from gateway import continuity, local
from gateway import site as sites
from gateway.commands import _shared as shared
from gateway.core.inputs import FenceLiftAsked
from sync.custody import Custody


@click.group()
def command() -> None:
    """Show and lift the fence after a restore."""


@command.command()
@shared.data()
@shared.as_json
def show(data: Path, *, as_json: bool) -> None:
    """Show why a fence stands, and the doors that nothing proves yet."""
    local.quiet()
    book = sites.read_book(data)
    doors = [
        door
        for door in sorted(book.map.doors)
        if book.fenced_door(door) and book.compartments[door].custody is not Custody.FREE
    ]
    coming = "" if book.fenced else continuity.broken(data)
    told = {
        "fenced": book.fenced, "why": sorted(book.fences.values()), "unproved": doors,
        "next_start": coming,
    }  # fmt: skip
    if coming:
        text = f"the next start begins behind a fence: {coming}"
    elif not book.fenced:
        text = "no fence: every door is trusted"
    else:
        text = (
            f"fenced: {', '.join(sorted(set(book.fences.values())))}\n"
            f"not proved: {', '.join(map(str, doors)) or 'none'}\n"
            "Look behind each of them: locker-gateway support open, then support check."
        )
    shared.tell(told, text, as_json=as_json)


@command.command()
@shared.data()
@click.option("--by", required=True, metavar="WHO", help="Who answers for this.")
@click.option(
    "--trust-history",
    is_flag=True,
    help="Nobody looked behind some doors, and you know that nothing happened there.",
)
@shared.as_json
def lift(data: Path, by: str, *, trust_history: bool, as_json: bool) -> None:
    """End the fence: codes open again, parcels are taken. It goes on record."""
    asked = FenceLiftAsked(now=local.nobody(), token="", by=by, trust_history=trust_history)
    answer = local.ask(data, asked)
    shared.tell({"entry": answer.ref}, f"lifted, {answer.ref}", as_json=as_json)
