"""Accounts over the API, and the hub's own audit: an operator's, of all sites.

A token is in one answer and nowhere else, and so is an operator's TOTP key.
"""

import secrets
from pathlib import Path
from typing import Annotated, Final

from msgspec import Meta

from sync.errors import TheirsInvalid
from sync.hub import accounts
from sync.hub import api_types as t
from sync.hub.accounts import Account
from sync.hub.api_read import AUDIT_PAGE, audit_page
from sync.hub.api_routes import Call, Param, Route, may
from sync.hub.doorman import KIND, own_key
from sync.hub.keys import FACTOR
from sync.hub.rooms import Hub
from sync.hub.storage import Moved

_TRIES: Final = 8


async def list_accounts(call: Call) -> t.AccountsShown:
    """Return all accounts."""
    call.caller.need_all_sites()
    return t.AccountsShown(accounts=[shown(one) for one in await known(call.hub)])


async def add_account(call: Call) -> t.AccountMade:
    """Make an account."""
    call.caller.need_all_sites()
    return await add(call.hub, call.body, by=call.by)


async def end_account(call: Call) -> t.AccountShown:
    """End an account, now."""
    call.caller.need_all_sites()
    return shown(await end(call.hub, call.path["name"]))


async def list_audit(call: Call) -> t.AuditPage:
    """Return lines of the hub's own audit: what is no site's."""
    call.caller.need_all_sites()
    return await audit_page(call, "")


async def known(hub: Hub) -> tuple[Account, ...]:
    """Return all accounts, by name; those that ended too."""
    return tuple(accounts.read(one.data) for one in await hub.storage.records("", KIND))


async def add(hub: Hub, asked: t.AccountAsked, *, by: str) -> t.AccountMade:
    """Make an account, and tell its token this once.

    Raises `TheirsInvalid` as `accounts.new`, and `account.exists`: names are not used again, so
    that the audit names one account.
    """
    secret = accounts.secret_of(secrets.token_bytes(accounts.SECRET_BYTES))
    account = accounts.new(
        asked.name, asked.role, secret=secret, by=by, now_ms=hub.clock.utc_ms(), days=asked.days,
        sites=asked.sites, tenant=asked.tenant,
    )  # fmt: skip
    if not await hub.storage.add_record("", KIND, account.name, account.encoded()):
        raise TheirsInvalid("account.exists", "Choose a name that no account ever had.")
    uri = ""
    if account.role == "operator":
        key = own_key(Path(hub.config.data_dir), FACTOR)
        uri = accounts.otpauth(account, key, hub.config.operator)
    return t.AccountMade(account=shown(account), token=f"{account.name}.{secret}", otpauth=uri)


async def end(hub: Hub, name: str) -> Account:
    """End an account at once, for ever. Raises `TheirsInvalid` `account.unknown`."""
    for _ in range(_TRIES):
        record = await hub.storage.record("", KIND, name)
        if record is None:
            break
        account = accounts.read(record.data)
        if account.ended_ms:
            return account
        ended = accounts.ended(account, hub.clock.utc_ms())
        try:
            await hub.storage.change_record("", record, ended.encoded())
        except Moved:
            continue
        return ended
    raise TheirsInvalid("account.unknown", "Take a name from account list.", name=name[:32])


def shown(account: Account) -> t.AccountShown:
    """Return an account without its secret."""
    return t.AccountShown(
        name=account.name, role=account.role, sites=list(account.sites), tenant=account.tenant,
        by=account.by, made_ms=account.made_ms, ends_ms=account.ends_ms,
        ended_ms=account.ended_ms or None,
    )  # fmt: skip


_NAME: Final = Param("name", Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")], "Whose.", "path")

ROUTES: Final = (
    Route(
        "GET", "/accounts", "listAccounts", "Who may ask this hub, and until when.",
        list_accounts, t.AccountsShown, roles=may("operator"),
    ),
    Route(
        "POST", "/accounts", "addAccount",
        "Make an account. Its token, and an operator's second factor, are told once.",
        add_account, t.AccountMade, t.AccountAsked, roles=may("operator"), noted=True,
        refusals=("account.name", "account.role", "account.days", "account.sites",
                  "account.tenant", "account.exists"),
    ),
    Route(
        "POST", "/accounts/{name}/end", "endAccount", "End an account at once, for ever.",
        end_account, t.AccountShown, t.ByAsked, (_NAME,), roles=may("operator"), noted=True,
        refusals=("account.unknown",),
    ),
    Route(
        "GET", "/audit", "listHubAudit",
        "What is no site's: accounts, and who was turned away at the door.", list_audit,
        t.AuditPage, params=AUDIT_PAGE, roles=may("auditor", "operator"),
    ),
)  # fmt: skip
