"""`locker-gateway run`: be the site, until SIGTERM."""

import sys
from pathlib import Path

import click

from gateway import app, files, logs


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
    sys.exit(app.run(read))
