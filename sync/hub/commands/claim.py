"""`locker-hub claim`: the one-time claims by which gateways enrol."""

import io
import time
from pathlib import Path
from typing import Any

import click
import msgspec
import segno

from sync.hub import api_trust, claims
from sync.hub.authority import grouped
from sync.hub.commands import _shared as shared
from sync.hub.rooms import Hub


@click.group()
def command() -> None:
    """Make, list and end the claims by which gateways enrol."""


@command.command("create")
@click.argument("site")
@click.option(
    "--hours", default=claims.HOURS_MAX, show_default=True,
    type=click.IntRange(1, claims.HOURS_MAX), help="How long it is good.",
)  # fmt: skip
@click.option("--again", is_flag=True, help="SITE was decommissioned: let it begin again.")
@shared.config
@shared.as_json
def create(site: str, hours: int, file: Path, *, again: bool, as_json: bool) -> None:
    """Let one gateway enrol as SITE, once. SITE may be new: it is added when the gateway enrols.

    Prints 26 letters, and a QR code with them, the root's fingerprint and the hub's address.
    Whoever has them enrols: show them to the installer alone.
    """

    async def here(hub: Hub) -> dict[str, Any]:
        return _plain(await api_trust.invite(hub, site, hours, shared.me(), again=again))

    chosen = shared.read(file)
    body = {"site": site, "hours": hours} | ({"again": True} if again else {})
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", "/invitations", body))
    shared.tell(told, _invitation(told), as_json=as_json)


@command.command("list")
@shared.config
@shared.as_json
def list_claims(file: Path, *, as_json: bool) -> None:
    """List the claims of the last day; never the claims themselves."""

    async def here(hub: Hub) -> dict[str, Any]:
        return _plain(await api_trust.invitations(hub))

    chosen = shared.read(file)
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "GET", "/invitations"))
    lines = [
        f"{one['id']}  {one['site']}  {one['state']}  until {_when(one['ends_ms'])}"
        for one in told["invitations"]
    ]
    shared.tell(told, "\n".join(lines) or "no claims", as_json=as_json)


@command.command("end")
@click.argument("name", metavar="ID")
@shared.config
@shared.as_json
def end(name: str, file: Path, *, as_json: bool) -> None:
    """End a claim, so that nobody enrols by it."""

    async def here(hub: Hub) -> dict[str, Any]:
        return _plain(await api_trust.uninvite(hub, name, shared.me()))

    chosen = shared.read(file)
    path = f"/invitations/{name}/end"
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", path, {}))
    shared.tell(told, f"{told['id']}  {told['site']}  {told['state']}", as_json=as_json)


def _invitation(told: dict[str, Any]) -> str:
    letters = told["letters"]
    groups = " ".join(letters[at : at + 4] for at in range(0, len(letters), 4))
    drawn = io.StringIO()
    segno.make(told["text"], micro=False).terminal(drawn, compact=True)
    return "\n".join(
        [
            f"claim {told['id']} for site {told['site']}, once, until {_when(told['ends_ms'])}",
            "",
            f"    {groups}",
            "",
            drawn.getvalue().rstrip("\n"),
            "",
            f"root {told['root']}",
            f"     {grouped(told['root'])}",
            "",
            "At the gateway; it asks for the letters, so that no list of processes shows them:",
            f"    locker-gateway enrol - --hub {told['url']} --root {told['root']}",
        ]
    )


def _when(utc_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(utc_ms // 1_000))


def _plain(answer: msgspec.Struct) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(answer)
    return built
