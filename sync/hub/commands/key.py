"""`locker-hub key`: how the hub's keys are kept on its disk."""

import sys
from pathlib import Path
from typing import Any

import click

from certs.errors import KeyStoreBroken
from sync.hub.commands import _shared as shared
from sync.hub.keys import keys_of


@click.group()
def command() -> None:
    """Wrap the hub's keys with its credential; check them."""


@command.command()
@shared.config
@shared.as_json
def seal(file: Path, *, as_json: bool) -> None:
    """Wrap the keys on the disk with the service's credential (`locker-hub.keystore`).

    Run it as the service does, where systemd provides the credential. Twice is as good as once.
    """
    done = keys_of(Path(shared.read(file).data_dir)).seal()
    shared.tell({"sealed": list(done)}, f"sealed: {', '.join(done) or 'all were'}", as_json=as_json)


@command.command()
@shared.config
@shared.as_json
def check(file: Path, *, as_json: bool) -> None:
    """Check owner and mode of every key file, and say which are wrapped; exit 1 on trouble."""
    keys = keys_of(Path(shared.read(file).data_dir))
    rows: list[dict[str, Any]] = []
    for name in keys.names():
        try:
            wrapped = keys.is_wrapped(name)
            keys.read(name, size=None)
            rows.append({"name": name, "wrapped": wrapped, "code": ""})
        except KeyStoreBroken as error:
            rows.append({"name": name, "wrapped": None, "code": error.code})
    lines = [
        f"{row['name']:<12} {row['code'] or ('wrapped' if row['wrapped'] else 'plain, 0600')}"
        for row in rows
    ]
    shared.tell({"keys": rows}, "\n".join(lines), as_json=as_json)
    if any(row["code"] for row in rows):
        sys.exit(1)
