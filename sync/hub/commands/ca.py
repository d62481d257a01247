"""`locker-hub ca`: the hub's authority: made once, shown, renewed, rotated."""

import time
from pathlib import Path
from typing import Any

import click

from certs import authority
from sync.hub import ca
from sync.hub.authority import HubAuthority, grouped
from sync.hub.clock import Clock
from sync.hub.commands import _shared as shared
from sync.hub.config import Config


@click.group()
def command() -> None:
    """Make, show, renew and rotate what the gateways of this operator trust."""


@command.command("init")
@click.option(
    "--host", "hosts", required=True, multiple=True, metavar="NAME",
    help="A name or address that gateways dial. May be said again; the first one is told to them.",
)  # fmt: skip
@shared.config
@shared.as_json
def init(hosts: tuple[str, ...], file: Path, *, as_json: bool) -> None:
    """Make root, issuing authority, the hub's certificate and its signing keys.

    It is done once. Compare the root's fingerprint with what a gateway shows. Back up DATA/keys
    and DATA/ca, and take the root's key away: locker-hub ca take-root.
    """
    chosen = shared.read(file)
    made = ca.init(Path(chosen.data_dir), chosen.operator, hosts, _now_s())
    _tell(chosen, made, as_json=as_json)


@command.command("show")
@shared.config
@shared.as_json
def show(file: Path, *, as_json: bool) -> None:
    """Show the root's fingerprint, and until when each certificate is."""
    chosen = shared.read(file)
    _tell(chosen, _known(chosen), as_json=as_json)


@command.command("renew")
@click.option(
    "--host", "hosts", multiple=True, metavar="NAME",
    help="Names or addresses in the place of those that it has.",
)  # fmt: skip
@shared.config
@shared.as_json
def renew(hosts: tuple[str, ...], file: Path, *, as_json: bool) -> None:
    """Give the hub's certificate a new key and another year.

    A running hub does so by itself after a third of its life, and shows a new one within seconds.
    """
    chosen = shared.read(file)
    _tell(chosen, ca.renew(Path(chosen.data_dir), _now_s(), hosts), as_json=as_json)


@command.command("rotate")
@click.option("--root", is_flag=True, help="Make another root too; the old one vouches for it.")
@click.option(
    "--root-key", metavar="FILE", type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The newest root's key, where take-root took it away.",
)  # fmt: skip
@shared.config
@shared.as_json
def rotate(root_key: Path | None, file: Path, *, root: bool, as_json: bool) -> None:
    """Make another issuing authority, and the hub's certificate under it.

    Who enrolled before still chains, and who knows only the old root does too.
    """
    chosen = shared.read(file)
    key = None if root_key is None else ca.read_key(root_key)
    how = ca.rotate_root if root else ca.rotate
    _tell(chosen, how(Path(chosen.data_dir), _now_s(), root_key=key), as_json=as_json)


@command.command("take-root")
@click.argument("key", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path))
@shared.config
@shared.as_json
def take_root(key: Path, file: Path, *, as_json: bool) -> None:
    """Write the root's key to FILE (mode 0600), and remove it from this machine.

    FILE must lie on what you take away: nobody can make another issuing authority without it.
    """
    chosen = shared.read(file)
    ca.take_root(Path(chosen.data_dir), key)
    shared.tell({"file": str(key)}, f"the root's key is in {key} alone", as_json=as_json)


def _known(chosen: Config) -> HubAuthority:
    known = HubAuthority.load(Path(chosen.data_dir))
    if known is None:
        raise ca.no_authority(Path(chosen.data_dir))
    return known


def _tell(chosen: Config, known: HubAuthority, *, as_json: bool) -> None:
    here = ca.has_root(Path(chosen.data_dir))
    ends = {
        "root": authority.ends_s(known.root),
        "issuing": authority.ends_s(known.issuing.certificate),
        "tls": authority.ends_s(known.credentials().leaf),
    }
    told: dict[str, Any] = {
        "operator": known.operator,
        "root": known.fingerprint,
        "roots": [authority.fingerprint_of(one) for one in known.roots],
        "root_key_here": here,
        "anchors": known.state.number,
        "hosts": list(known.state.hosts),
        "ends_s": ends,
    }
    lines = [
        f"root {known.fingerprint}",
        f"     {grouped(known.fingerprint)}",
        f"anchors {known.state.number}, {len(known.roots)} root{'s' * (len(known.roots) > 1)}",
        f"hosts {' '.join(known.state.hosts)}",
        *(f"{what} ends {_day(end_s)}" for what, end_s in ends.items()),
        "the root's key is on this machine" if here else "the root's key is elsewhere",
    ]
    shared.tell(told, "\n".join(lines), as_json=as_json)


def _day(end_s: int) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(end_s))


def _now_s() -> int:
    return Clock().utc_ms() // 1_000
