"""`locker-hub code-key`: K_site of a site, to be carried there by hand."""

from pathlib import Path

import click

from sync.hub.commands import _shared as shared
from sync.hub.config import Config
from sync.hub.keys import Keys, write_secret
from sync.hub.rooms import Hub


@click.command()
@click.argument("site")
@shared.config
@click.option(
    "--out",
    required=True,
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A new file, made with mode 0600.",
)
@click.option(
    "--key-version",
    type=click.IntRange(1, 65_535),
    help="Which of the site's code keys; a higher one than now is used from now on.",
)
@shared.as_json
def command(site: str, file: Path, out: Path, key_version: int | None, *, as_json: bool) -> None:
    """Write a site's code key to a file.

    The file is JSON with site, key_version and key, as locker-gateway key import reads it. It is
    as secret as every parcel of SITE: carry it safely, and delete it. Nothing of it is printed.
    A higher version needs the hub stopped where it runs on SQLite.
    """
    chosen = shared.read(file)
    version = _version(chosen, site, key_version)
    keys = Keys.load(Path(chosen.data_dir), chosen.operator)
    write_secret(out, keys.code_key_file(site, version))
    name = keys.site_name(site)
    shared.tell(
        {"site": name, "key_version": version, "file": str(out)},
        f"{out}: code key {version} of {name}; delete it when imported",
        as_json=as_json,
    )


def _version(chosen: Config, site: str, asked: int | None) -> int:
    async def here(hub: Hub) -> int:
        return (await hub.registry.get(site)).key_version

    async def raised(hub: Hub) -> None:
        await hub.registry.use_key_version(site, asked or 0)

    now = shared.either(
        chosen, here, lambda: int(shared.asked(chosen, "GET", f"/sites/{site}")["key_version"])
    )
    if asked is not None and asked > now:
        shared.with_hub(chosen, raised)
    return now if asked is None else asked
