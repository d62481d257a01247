"""`locker-gateway doctor`: is this machine fit for a site?"""

import sys
from dataclasses import asdict
from pathlib import Path

import click

from gateway import doctor, files, local
from gateway.commands import _shared as shared


@click.command()
@click.option(
    "--config",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The site's configuration (TOML).",
)
@shared.as_json
def command(file: Path, *, as_json: bool) -> None:
    """Is this machine fit for a site?

    Examines names, keys, disk, clock, network and boards. Exit status 1 if anything is bad.
    """
    local.quiet()
    findings = doctor.examine(files.read_config(file))
    text = "\n".join(f"{one.level:<5} {one.check:<16} {one.text}" for one in findings)
    shared.tell([asdict(one) for one in findings], text, as_json=as_json)
    if any(one.level == "bad" for one in findings):
        sys.exit(1)
