"""`locker-hub restored`: to be run once after the database came out of a backup."""

from pathlib import Path

import click

from sync.hub.commands import _shared as shared
from sync.hub.rooms import Hub


@click.command()
@shared.config
@shared.as_json
def command(file: Path, *, as_json: bool) -> None:
    """Say that the database came out of a backup.

    Run it once, before the hub runs again. The store gets another name, so that receipts of the
    lost one count no more; for each site an epoch begins, and nothing that spends a right is
    written until the site's gateway has brought back what was lost.
    """

    async def here(hub: Hub) -> dict[str, object]:
        sites = await hub.restored()
        told = {"instance": hub.storage.instance, "sites": str(len(sites))}
        await hub.auditor.did("", "markRestored", shared.me(), told)
        epochs = {one.site_id: one.epoch for one in sites}
        return {"instance": hub.storage.instance, "fenced": epochs}

    told = shared.with_hub(shared.read(file), here)
    fenced = told["fenced"]
    assert isinstance(fenced, dict)
    lines = [f"store {told['instance']}", *(f"{site} fenced, {e}" for site, e in fenced.items())]
    shared.tell(told, "\n".join(lines), as_json=as_json)
