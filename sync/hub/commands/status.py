"""`locker-hub status`: what a running hub says of itself."""

from pathlib import Path

import click

from sync.hub.commands import _shared as shared
from sync.hub.commands.site import line


@click.command()
@shared.config
@shared.as_json
def command(file: Path, *, as_json: bool) -> None:
    """Show health and sites of the running hub."""
    chosen = shared.read(file)
    health = shared.asked(chosen, "GET", "/health")
    page = shared.asked(chosen, "GET", "/sites")
    lines = [
        f"{health['operator']}  store {health['instance']} ({health['storage']})",
        f"listens on {health['listen']}",
        *(line(one) for one in page["sites"]),
    ]
    lines += ["more sites: see site list"] if page["next"] else []
    shared.tell(health | {"listed": page["sites"]}, "\n".join(lines), as_json=as_json)
