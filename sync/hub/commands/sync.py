"""`locker-hub sync`: the exchange with a site that no link reaches, on a stick."""

import asyncio
from pathlib import Path

import click

from sync import files
from sync.exchange import Found
from sync.hub.commands import _shared as shared
from sync.hub.puller import Visit
from sync.hub.rooms import Hub


@click.group()
def command() -> None:
    """Carry the exchange with a site on a stick. Stop the hub first where it runs on SQLite."""


@command.command("export")
@click.argument("site")
@click.argument("stick", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@shared.config
@shared.as_json
def export_file(site: str, stick: Path, file: Path, *, as_json: bool) -> None:
    """Write what the hub holds of SITE into FILE, with receipts for what the site wrote.

    It holds personal data of the parcels: treat it like the database.
    """

    async def here(hub: Hub) -> dict[str, object]:
        shelf = await hub.shelf(site)
        visit = await _visit(hub, site)
        told = await files.export(shelf, stick, cosign=visit.cosign)
        about = {"entries": str(told.entries), "receipts": str(told.receipts)}
        await hub.auditor.did(site, "exportStick", shared.me(), about)
        return {"entries": told.entries, "receipts": told.receipts, "file": str(stick)}

    told = shared.with_hub(shared.read(file), here)
    text = f"{told['entries']} entries and {told['receipts']} receipts in {stick}"
    shared.tell(told, text, as_json=as_json)


@command.command("import")
@click.argument("site")
@click.argument(
    "stick", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@shared.config
@shared.as_json
def import_file(site: str, stick: Path, file: Path, *, as_json: bool) -> None:
    """Take in what FILE holds of SITE. Twice is as good as once.

    A file that knows more of the hub's own lanes than the hub shows that the hub was restored: it
    begins a new epoch behind a fence, as after locker-hub restored; import the file once more then.
    """

    async def here(hub: Hub) -> dict[str, object]:
        visit = await _visit(hub, site)
        told = await files.load(await hub.shelf(site), stick)
        about = {"entries": str(told.entries), "refused": str(len(told.refused))}
        await hub.auditor.did(site, "importStick", shared.me(), about)
        for found in told.found:
            await visit.found(Found(found.verdict.value, found.origin, {"peer": found.theirs}))
        for one in told.refused:
            await hub.storage.audit(site, one.error.code, {"origin": one.origin})
        await hub.arrived(site)
        refused = [{"origin": one.origin, "code": one.error.code} for one in told.refused]
        fenced = (await hub.registry.get(site)).fenced
        return {"entries": told.entries, "refused": refused, "fenced": fenced}

    told = shared.with_hub(shared.read(file), here)
    text = f"{told['entries']} entries" + (", fenced" if told["fenced"] else "")
    refused = told["refused"]
    assert isinstance(refused, list)
    lines = [f"refused {one['origin']}: {one['code']}" for one in refused]
    shared.tell(told, "\n".join([text, *lines]), as_json=as_json)


async def _visit(hub: Hub, site: str) -> Visit:
    return Visit(hub, await hub.registry.get(site), asyncio.Event())
