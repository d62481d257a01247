"""`locker-hub approve`: be the second person for a door that an account asked for."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from sync.hub import api_openings, openings
from sync.hub.accounts import LOCAL
from sync.hub.commands import _shared as shared
from sync.hub.config import Config
from sync.hub.rooms import Hub
from sync.hub.voice import Done


@click.command()
@click.argument("site")
@click.argument("opening", metavar="[ID]", required=False, default="")
@shared.config
@shared.as_json
def command(site: str, opening: str, file: Path, *, as_json: bool) -> None:
    """Approve the request ID at SITE; without ID, list what waits there.

    The commands of this machine are one account, whoever runs them: what locker-hub open asked for
    is for another account to approve.
    """
    chosen = shared.read(file)
    if not opening:
        waiting = _waiting(chosen, site)
        lines = [_line(one) for one in waiting]
        shared.tell(waiting, "\n".join(lines) or "nothing waits", as_json=as_json)
        return

    async def here(hub: Hub) -> dict[str, Any]:
        found = await hub.registry.get(site)

        async def decide() -> Done:
            return await openings.approve(
                hub, found, account=LOCAL, by=shared.me(), opening_id=opening
            )

        done = await hub.auditor.decided(site, "approveOpening", shared.me(), decide)
        return {"ref": done.ref, "new": done.new}

    path = f"/sites/{site}/openings/{opening}/approve"
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", path, {}))
    shared.tell(told, f"asked: {told['ref']}", as_json=as_json)


def _waiting(chosen: Config, site: str) -> list[dict[str, Any]]:
    async def here(hub: Hub) -> list[dict[str, Any]]:
        await hub.registry.get(site)
        return [_plain(api_openings.shown(one)) for one in await openings.waiting(hub, site)]

    path = f"/sites/{site}/openings"
    return shared.either(chosen, here, lambda: list(shared.asked(chosen, "GET", path)["openings"]))


def _line(told: dict[str, Any]) -> str:
    when = datetime.fromtimestamp(told["ends_ms"] / 1_000, UTC).time().isoformat("seconds")
    return f"{told['id']}  door {told['door']}  by {told['by']}  until {when}  {told['why']}"


def _plain(answer: msgspec.Struct) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(answer)
    return built
