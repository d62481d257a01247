"""`locker-gateway run`: be the site, until SIGTERM."""

import sys
from pathlib import Path
from typing import Final

import click

from gateway import app, files, logs
from gateway.errors import GatewayError

ENDED: Final = 78
"""Exit status of a site that was decommissioned (EX_CONFIG of sysexits.h): the service manager does
not start it again."""


@click.command()
@click.option(
    "--config",
    "file",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="The site's configuration (TOML).",
)
def command(file: Path) -> None:
    """Run the site in the foreground. SIGTERM ends it: all coils off, log closed."""
    read = files.read_config(file)
    logs.configure(read.log.format, read.log.level)
    try:
        status = app.run(read)
    except GatewayError as error:
        if error.code != "site.decommissioned":
            raise
        click.echo(f"Error: {error}", err=True)
        status = ENDED
    sys.exit(status)
