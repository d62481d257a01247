"""`locker-hub code-key`: K_site of a site, to be carried there by hand."""

from pathlib import Path

import click

from sync.hub.commands import _shared as shared
from sync.hub.keys import Keys, write_secret
from sync.hub.registry import check_site_id


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
    default=1,
    show_default=True,
    help="Which of the site's code keys.",
)
def command(site: str, file: Path, out: Path, key_version: int) -> None:
    """Write a site's code key to a file.

    The file is JSON with site, key_version and key, as locker-gateway key import reads it. It is
    as secret as every parcel of SITE: carry it safely, and delete it. Nothing of it is printed.
    """
    chosen = shared.read(file)
    check_site_id(site)
    keys = Keys.load(Path(chosen.data_dir), chosen.operator)
    write_secret(out, keys.code_key_file(site, key_version))
    click.echo(f"{out}: code key {key_version} of {keys.site_name(site)}; delete it when imported")
