"""`locker-hub device`: which gateways may connect."""

import time
from pathlib import Path
from typing import Any

import click
import msgspec

from sync.hub import api_trust
from sync.hub.commands import _shared as shared
from sync.hub.rooms import Hub


@click.group()
def command() -> None:
    """List the gateways of a site; switch one off, now, or let it in again."""


@command.command("list")
@click.argument("site")
@shared.config
@shared.as_json
def list_devices(site: str, file: Path, *, as_json: bool) -> None:
    """List the keys that speak for SITE, and when each was heard last."""

    async def here(hub: Hub) -> dict[str, Any]:
        return _plain(await api_trust.of_site(hub, site))

    chosen = shared.read(file)
    told = shared.either(
        chosen, here, lambda: shared.asked(chosen, "GET", f"/sites/{site}/devices")
    )
    _tell(told, as_json=as_json)


@command.command("revoke")
@click.argument("site")
@click.argument("pin", default="")
@shared.config
@shared.as_json
def revoke(site: str, pin: str, file: Path, *, as_json: bool) -> None:
    """Switch off the gateway of SITE with this PIN (at least 8 of its digits), or all of SITE.

    Its link ends now, and the next is refused. The running hub is asked to do it.
    """

    async def here(hub: Hub) -> dict[str, Any]:
        return _plain(await api_trust.revoke(hub, site, pin, shared.me()))

    chosen = shared.read(file)
    path, body = f"/sites/{site}/devices/revoke", {"pin": pin} if pin else {}
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", path, body))
    _tell(told, as_json=as_json)


@command.command("enable")
@click.argument("site")
@click.argument("pin")
@shared.config
@shared.as_json
def enable(site: str, pin: str, file: Path, *, as_json: bool) -> None:
    """Let the gateway of SITE with this PIN (at least 8 of its digits) in again."""

    async def here(hub: Hub) -> dict[str, Any]:
        return _plain(await api_trust.enable(hub, site, pin, shared.me()))

    chosen = shared.read(file)
    path = f"/sites/{site}/devices/enable"
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", path, {"pin": pin}))
    _tell(told, as_json=as_json)


def _tell(told: dict[str, Any], *, as_json: bool) -> None:
    lines = [_line(one) for one in told["devices"]]
    shared.tell(told, "\n".join(lines) or "no devices", as_json=as_json)


def _line(one: dict[str, Any]) -> str:
    off = one["why"] or "revoked"
    state = "retired" if one["retired"] else "enabled" if one["enabled"] else off
    seen = one["last_seen_ms"]
    heard = "connected" if one["connected"] else f"heard {_when(seen)}" if seen else "never heard"
    return f"{one['pin'][:16]}  {state}  {heard}  until {_when(one['ends_ms'])}"


def _when(utc_ms: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%MZ", time.gmtime(utc_ms // 1_000))


def _plain(answer: msgspec.Struct) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(answer)
    return built
