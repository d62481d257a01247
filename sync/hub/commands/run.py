"""`locker-hub run`: be the hub, until SIGTERM."""

from pathlib import Path

import click

from sync.hub import app, folder, logs


@click.command()
@click.argument("config", type=click.Path(exists=True, path_type=Path))
def command(config: Path) -> None:
    """Run the hub in the foreground.

    CONFIG is hub.toml, or the folder with it. It listens on loopback unless the file says otherwise
    ([api], [link] and [renew] listen). SIGTERM ends it.
    """
    read = folder.read(config)
    logs.configure(read.log.format, read.log.level)
    app.run(read, ready=lambda running: click.echo(f"hub {running.url}/api/v1"))
