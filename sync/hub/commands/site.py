"""`locker-hub site`: the sites that this hub governs."""

from pathlib import Path
from typing import Any

import click
import msgspec

from sync.hub.api_read import show
from sync.hub.commands import _shared as shared
from sync.hub.rooms import Hub


@click.group()
def command() -> None:
    """Add, list and show sites; name a new gateway's key; lift a site's fence."""


@command.command()
@click.argument("site")
@shared.config
@click.option(
    "--vkey", required=True, metavar="VKEY", help="A line of locker-gateway log vkey at the site."
)
@click.option("--url", default="", metavar="URL", help="Where the hub can pull it, if it can.")
@click.option("--label", default="", metavar="TEXT", help="What people call it.")
@shared.as_json
def add(site: str, file: Path, vkey: str, url: str, label: str, *, as_json: bool) -> None:
    """Add SITE, as 0042, and begin the hub's lanes for it. A running hub is asked to do it."""

    async def here(hub: Hub) -> dict[str, Any]:
        return _shown(await show(hub, await hub.add_site(site, vkey, url=url, label=label)))

    body = {"site": site, "vkey": vkey.strip(), "url": url, "label": label}
    chosen = shared.read(file)
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", "/sites", body))
    lines = (told["name"], told["hub_vkey"], told["cosigner_vkey"])
    shared.tell(told, "\n".join(lines), as_json=as_json)


@command.command("list")
@shared.config
@shared.as_json
def list_sites(file: Path, *, as_json: bool) -> None:
    """List the sites."""

    async def here(hub: Hub) -> list[dict[str, Any]]:
        return [_shown(await show(hub, one)) for one in await hub.storage.sites()]

    def there() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        after = ""
        while True:
            page = shared.asked(chosen, "GET", f"/sites?from={after}" if after else "/sites")
            found += page["sites"]
            after = page["next"]
            if not after:
                return found

    chosen = shared.read(file)
    told = shared.either(chosen, here, there)
    shared.tell(told, "\n".join(line(one) for one in told) or "no sites", as_json=as_json)


@command.command("show")
@click.argument("site")
@shared.config
@shared.as_json
def show_site(site: str, file: Path, *, as_json: bool) -> None:
    """Show SITE: its link, its logs, who signed it off, what needs a person."""

    async def here(hub: Hub) -> dict[str, Any]:
        return _shown(await show(hub, await hub.registry.get(site)))

    chosen = shared.read(file)
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "GET", f"/sites/{site}"))
    lines = [line(told), *told["vkey"].split(), told["hub_vkey"], told["cosigner_vkey"]]
    lines += [
        f"{one['origin']}  {one['size']}" + (f"  {one['lag']} behind" if one["lag"] else "")
        for one in told["logs"]
    ]
    signed = told["commissioned"]
    lines.append(
        "not commissioned"
        if signed is None
        else f"commissioned by {signed['by']}: {signed['doors']} doors,"
        f" {signed['boards']} boards,"
        f" {signed['passed']} passed, {signed['failed']} failed  {signed['ref']}"
    )
    lines += [f"{one['log']} stopped at {one['index']}: {one['code']}" for one in told["stopped"]]
    shared.tell(told, "\n".join(lines), as_json=as_json)


@command.command()
@click.argument("site")
@shared.config
@click.option("--vkey", required=True, metavar="VKEY", help="What locker-gateway replace printed.")
@shared.as_json
def rekey(site: str, file: Path, vkey: str, *, as_json: bool) -> None:
    """Take in the key of the gateway that replaces the lost one of SITE.

    What the older keys signed stays good. A running hub is asked to do it.
    """

    async def here(hub: Hub) -> dict[str, Any]:
        return _shown(await show(hub, await hub.rekey(site, vkey)))

    chosen = shared.read(file)
    body = {"vkey": vkey.strip()}
    told = shared.either(
        chosen, here, lambda: shared.asked(chosen, "POST", f"/sites/{site}/rekey", body)
    )
    shared.tell(told, "\n".join(told["vkey"].split()), as_json=as_json)


@command.command()
@click.argument("site")
@shared.config
@shared.as_json
def heal(site: str, file: Path, *, as_json: bool) -> None:
    """Lift the fence of SITE by hand: its gateway is lost, or holds nothing that is missing here.

    The link does this by itself once the gateway has brought back what the restore lost. Stop the
    hub first where it runs on SQLite.
    """

    async def here(hub: Hub) -> None:
        healed = await hub.heal(site)
        await hub.auditor.did(site, "healSite", shared.me(), {"epoch": healed.epoch})

    shared.with_hub(shared.read(file), here)
    shared.tell({"site": site, "fenced": False}, f"{site} is healed", as_json=as_json)


def line(told: dict[str, Any]) -> str:
    """Return one line about a site. One that has ended needs nobody any more."""
    if not told["enabled"]:
        return "  ".join([told["site"], "ended", told["label"]]).rstrip()
    state = "fenced" if told["fenced"] else "linked" if told["link"]["up"] else "no link"
    behind = sum(one["lag"] for one in told["logs"])
    counts = {what: told[f"{what}s"] for what in ("alarm", "conflict", "fork")}
    needs = [f"{n} {what}{'s' * (n > 1)}" for what, n in counts.items() if n]
    needs += [f"{behind} entries behind"] if behind else []
    needs += ["stopped"] if told["stopped"] else []
    return "  ".join([told["site"], state, told["label"], *needs]).rstrip()


def _shown(answer: msgspec.Struct) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(answer)
    return built
