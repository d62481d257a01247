"""`locker-gateway replace`: a new gateway in the place of one that is lost."""

from pathlib import Path

import click

from gateway import local, replacing
from gateway.commands import _shared as shared
from gateway.commands.key import read_code_key


@click.command()
@shared.data(exists=False)
@click.option(
    "--operator", default="lockers.example", show_default=True, metavar="NAME", help="Whose site."
)
@click.option("--site", "name", required=True, metavar="ID", help="The site, as 0042.")
@click.option("--hub", "url", required=True, metavar="URL", help="As http://127.0.0.1:8700.")
@click.option("--writer", required=True, metavar="VKEY", help="First line of locker-hub vkey.")
@click.option("--cosigner", required=True, metavar="VKEY", help="Its second line.")
@click.option(
    "--code-key",
    "key_file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="What locker-hub code-key wrote.",
)
@shared.as_json
def command(  # noqa: PLR0917  # the options, in their order
    data: Path, operator: str, name: str, url: str, writer: str, cosigner: str, key_file: Path,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Make a new gateway in the place of one that is lost.

    New keys, and the logs of the site out of the hub's copy. Make the printed key known at the hub
    (locker-hub site rekey) and start the gateway: it begins a new epoch behind a fence.
    """
    local.quiet()
    version, key = read_code_key(key_file, f"{operator}/site/{name}")
    made = replacing.replace(data, operator, name, url, writer, cosigner, version, key)
    told = {
        "site": made.site, "epoch": made.epoch, "vkey": made.vkey, "entries": made.entries,
    }  # fmt: skip
    text = (
        f"{made.site} begins {made.epoch} with {made.entries} entries of the hub\n"
        f"now at the hub: locker-hub site rekey {name} --vkey '{made.vkey}'"
    )
    shared.tell(told, text, as_json=as_json)
