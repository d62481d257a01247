"""`locker-hub open`: ask a site for one door."""

from pathlib import Path
from typing import Any

import click

from sync.hub import issue, openings
from sync.hub.accounts import LOCAL
from sync.hub.clock import Clock
from sync.hub.commands import _shared as shared
from sync.hub.rooms import Hub
from sync.hub.voice import Done

_LASTS_MS = issue.OPEN_MS_MAX - 5_000
"""A little less than the most: two clocks look at it."""


@click.command()
@click.argument("site")
@click.argument("door", type=click.IntRange(0, 2**31 - 1))
@shared.config
@click.option("--why", required=True, metavar="TEXT", help="The reason. No names, no codes.")
@click.option("--case", required=True, metavar="TEXT", help="Which record of yours has the rest.")
@shared.as_json
def command(site: str, door: int, file: Path, why: str, case: str, *, as_json: bool) -> None:
    """Ask SITE to open DOOR within five minutes; the site decides.

    Too many in a minute are kept for a second person (open.second_person, with an id): an account
    of support approves what was asked for here; locker-hub approve is for what an account asked.
    """
    until_ms = Clock().utc_ms() + _LASTS_MS

    async def here(hub: Hub) -> dict[str, Any]:
        found = await hub.registry.get(site)

        async def decide() -> Done:
            return await openings.ask(
                hub, found, account=LOCAL, by=shared.me(), door=door, why=why, case=case,
                until_ms=until_ms,
            )  # fmt: skip

        done = await hub.auditor.decided(site, "askOpen", shared.me(), decide)
        return {"ref": done.ref, "new": done.new}

    chosen = shared.read(file)
    body = {"why": why, "case": case, "until_ms": until_ms}
    path = f"/sites/{site}/compartments/{door}/open"
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", path, body))
    shared.tell(told, f"asked: {told['ref']}", as_json=as_json)
