"""`locker-hub account`: who may ask the hub, and as what."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
import msgspec

from sync.hub import accounts, api_accounts, qr
from sync.hub import api_types as t
from sync.hub.commands import _shared as shared
from sync.hub.rooms import Hub


@click.group()
def command() -> None:
    """Make, list and end the accounts of the API."""


@command.command()
@click.argument("name")
@shared.config
@click.option("--role", required=True, type=click.Choice(accounts.ROLES), help="What it may do.")
@click.option("--site", "sites", multiple=True, metavar="ID", help="Only this site; repeatable.")
@click.option("--tenant", default="", metavar="NAME", help="Of dispatch: whose backend it is.")
@click.option(
    "--days", default=accounts.DAYS, show_default=True, metavar="N",
    type=click.IntRange(1, accounts.DAYS_MAX), help="How long it lives.",
)  # fmt: skip
@shared.as_json
def add(  # noqa: PLR0917  # one a word of the command
    name: str, file: Path, role: accounts.Role, sites: tuple[str, ...], tenant: str, days: int,
    *, as_json: bool,
) -> None:  # fmt: skip
    """Make the account NAME and print its token, this once.

    Roles: operator (sites, keys, accounts, erasure; no doors), support (one door at a time, codes,
    alarms), auditor (logs and proofs, no names), dispatch (the backend of one tenant). For an
    operator a QR code follows: scan it with an authenticator; its digits go with each request.
    """
    body: dict[str, Any] = {
        "name": name, "role": role, "sites": list(sites), "tenant": tenant, "days": days,
    }  # fmt: skip

    async def here(hub: Hub) -> dict[str, Any]:
        asked = t.AccountAsked(name=name, role=role, sites=list(sites), tenant=tenant, days=days)
        made = await api_accounts.add(hub, asked, by=shared.me())
        await hub.auditor.did("", "addAccount", shared.me(), {"name": name})
        return _plain(made)

    chosen = shared.read(file)
    if not tenant:
        del body["tenant"]
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", "/accounts", body))
    lines = [told["token"]]
    if told["otpauth"]:
        lines += [qr.terminal(told["otpauth"]), told["otpauth"]]
    shared.tell(told, "\n".join(lines), as_json=as_json)


@command.command("list")
@shared.config
@shared.as_json
def list_accounts(file: Path, *, as_json: bool) -> None:
    """List the accounts: name, role, end, sites and tenant."""

    async def here(hub: Hub) -> list[dict[str, Any]]:
        return [_plain(api_accounts.shown(one)) for one in await api_accounts.known(hub)]

    chosen = shared.read(file)
    told = shared.either(
        chosen, here, lambda: list(shared.asked(chosen, "GET", "/accounts")["accounts"])
    )
    shared.tell(told, "\n".join(_line(one) for one in told) or "no accounts", as_json=as_json)


@command.command()
@click.argument("name")
@shared.config
@shared.as_json
def end(name: str, file: Path, *, as_json: bool) -> None:
    """End the account NAME at once, for ever. Its name is not used again."""

    async def here(hub: Hub) -> dict[str, Any]:
        ended = await api_accounts.end(hub, name)
        await hub.auditor.did("", "endAccount", shared.me(), {"name": name})
        return _plain(api_accounts.shown(ended))

    chosen = shared.read(file)
    path = f"/accounts/{name}/end"
    told = shared.either(chosen, here, lambda: shared.asked(chosen, "POST", path, {}))
    shared.tell(told, _line(told), as_json=as_json)


def _line(told: dict[str, Any]) -> str:
    end_ms = told["ended_ms"] or told["ends_ms"]
    when = datetime.fromtimestamp(end_ms / 1_000, UTC).date()
    state = f"ended {when}" if told["ended_ms"] else f"until {when}"
    parts = [told["name"], told["role"], state, told["tenant"], " ".join(told["sites"])]
    return "  ".join(part for part in parts if part)


def _plain(answer: msgspec.Struct) -> dict[str, Any]:
    built: dict[str, Any] = msgspec.to_builtins(answer)
    return built
