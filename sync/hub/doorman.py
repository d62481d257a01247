"""Who stands before the API: token, role, site and second factor, looked up at each request.

Nothing is remembered of an account between two requests, so what ends here ends at once, at every
process of this hub. `Everybody` is for development alone: one caller who may everything.

Every refusal is a line of the audit, with who, what, and from where; of strangers so many an hour
and no more, and never what they showed. Guessing is not what keeps an honest caller out: a right
token is heard however many wrong ones came from its address.
"""

import ipaddress
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import msgspec
from aiohttp import hdrs, web

from certs.errors import KeyStoreBroken
from certs.keystore import SECRET_BYTES
from sync.hub import accounts
from sync.hub.accounts import LOCAL, ROLES, Account, Barred, Budget, Caller, Token
from sync.hub.config import Config
from sync.hub.keys import CLI, FACTOR, keys_of
from sync.hub.rooms import Hub
from sync.hub.sessions import Sessions
from sync.hub.storage import Moved, Record
from sync.hub.voice import Busy

KIND: Final = "account"
FACTOR_HEADER: Final = "Second-Factor"
FRESH: Final = frozenset({"openSession", "addAccount"})
"""What needs a second factor in a session too: what would outlive it."""
HOUR_MS: Final = 3_600_000
MINUTE_MS: Final = 60_000
_TRIES: Final = 8
_Named = tuple[Caller, Account | None, Record | None]


class Door(Protocol):
    """What the API asks before it does anything."""

    @property
    def plain(self) -> bool:
        """Whether nobody is asked who they are: then only loopback names are answered."""

    async def admit(
        self, request: web.Request, what: str, roles: frozenset[str], site_id: str | None
    ) -> Caller:
        """Return who asks, if they may. Raises `Barred`, which is written down already."""

    async def note(
        self, request: web.Request, what: str, caller: Caller, site_id: str, refusal: Barred
    ) -> None:
        """Write down what a handler refused to this caller."""


class Everybody:
    """The door of the development mode: it stands open."""

    plain = True

    async def admit(
        self, _request: web.Request, _what: str, _roles: frozenset[str], _site_id: str | None
    ) -> Caller:
        """As in `Door`; refuses nobody."""
        return Caller("development", frozenset(ROLES), anybody=True)

    async def note(
        self, _request: web.Request, _what: str, _caller: Caller, _site_id: str, _refusal: Barred
    ) -> None:
        """As in `Door`; there is nothing to write."""


class Doorman:
    """The door of a hub. `cli` and `factor` are its two keys, 32 bytes each."""

    plain = False

    def __init__(self, hub: Hub, cli: bytes, factor: bytes) -> None:
        self._hub = hub
        self._local, self._factor = accounts.hash_of(accounts.local_secret(cli)), factor
        self._sessions = Sessions(hub.storage, hub.clock)
        self._heard = Budget(30, 600, MINUTE_MS)
        self._strangers = Budget(10, 60, HOUR_MS)
        self._known_ones = Budget(60, 1_000, HOUR_MS)

    async def admit(
        self, request: web.Request, what: str, roles: frozenset[str], site_id: str | None
    ) -> Caller:
        """As in `Door`.

        Codes: `access.unknown` (401), `access.slow` (429), and 403 `access.expired`, `access.role`,
        `access.scope`, `access.second_factor`. Raises `Busy` where the account changes too often.
        """
        caller, account, record = await self._known(request, what)
        try:
            if account is not None:
                accounts.check_alive(account, self._now_ms())
            caller.need(*roles)
            if site_id is not None:
                caller.need_site(site_id)
            operator = account is not None and account.role == "operator"
            if operator and (not caller.session or what in FRESH):
                assert record is not None, "an account was read from a record"
                await self._second_factor(request, record)
        except Barred as refusal:
            await self.note(request, what, caller, site_id or "", refusal)
            raise
        return caller

    async def note(
        self, request: web.Request, what: str, caller: Caller, site_id: str, refusal: Barred
    ) -> None:
        """As in `Door`; so many lines an hour of one account."""
        if self._known_ones.take(caller.account, self._now_ms()):
            # A site that is none of the caller's may be none at all: that line is the hub's own.
            site = site_id if caller.sees(site_id) and await self._is_site(site_id) else ""
            await self._hub.auditor.refused(
                site, what, caller.name, Barred(refusal.code, peer=_peer(request))
            )

    async def _is_site(self, site_id: str) -> bool:
        return bool(site_id) and await self._hub.storage.site(site_id) is not None

    # --- the token ----------------------------------------------------------------------------

    async def _known(self, request: web.Request, what: str) -> _Named:
        token = accounts.token_in(request.headers.getall(hdrs.AUTHORIZATION, []))
        if token is not None:
            found = await self._found(request, token)
            if found is not None:
                return found
        peer, now_ms = _peer(request), self._now_ms()
        refusal = Barred("access.unknown", "Send Authorization: Bearer with the account's token.")
        if not self._heard.take(peer, now_ms):
            raise Barred("access.slow", "Wait a minute: too many unknown tokens came from here.")
        if self._strangers.take(peer, now_ms):
            await self._hub.auditor.refused("", what, "", Barred(refusal.code, peer=peer))
        raise refusal

    async def _found(self, request: web.Request, token: Token) -> _Named | None:
        if token.name.startswith(f"{LOCAL}:"):
            known = accounts.fits(self._local, token.secret) and _on_this_machine(request)
            return (accounts.local_caller(token.name), None, None) if known else None
        record = await self._hub.storage.record("", KIND, token.name)
        account = accounts.read(record.data) if record else None
        fits = accounts.fits(account.secret if account else None, token.secret)
        session = "" if fits else await self._sessions.find(token)
        if account is None or not (fits or session):
            return None
        return replace(accounts.caller_of(account), session=session), account, record

    # --- the second factor --------------------------------------------------------------------

    async def _second_factor(self, request: web.Request, record: Record) -> None:
        """Use a step up, by compare-and-set: at all processes of this hub it is used."""
        given = request.headers.getall(FACTOR_HEADER, [])
        for _ in range(_TRIES):
            account = accounts.read(record.data)
            after, right = accounts.second_factor(account, self._factor, given, self._now_ms())
            try:
                if after != account:
                    after = msgspec.structs.replace(after, nonce=secrets.token_hex(8))
                    await self._hub.storage.change_record("", record, after.encoded())
            except Moved:
                again = await self._hub.storage.record("", KIND, record.id)
                if again is None:
                    break
                record = again
                accounts.check_alive(accounts.read(record.data), self._now_ms())
                continue
            if right:
                return
            raise Barred(
                "access.second_factor", f"Send {FACTOR_HEADER}: six digits, not used before."
            )
        raise Busy("hub.busy", "Ask again in a moment.", attempts=_TRIES)

    def _now_ms(self) -> int:
        return self._hub.clock.utc_ms()


def doorman(hub: Hub) -> Doorman:
    """Return the doorman of a hub, over the two keys in its folder; they are made where missing.

    Raises KeyStoreBroken.
    """
    data = Path(hub.config.data_dir)
    return Doorman(hub, own_key(data, CLI), own_key(data, FACTOR))


def own_key(data: Path, name: str) -> bytes:
    """Return a key of 32 bytes of a hub's folder, made if there is none. Raises KeyStoreBroken."""
    store = keys_of(data)
    try:
        return store.read(name)
    except KeyStoreBroken as error:
        if error.code != "keystore.missing":
            raise
    try:
        store.create(name, secrets.token_bytes(SECRET_BYTES))
    except KeyStoreBroken as error:
        if error.code != "keystore.exists":  # another process of this hub made it just now
            raise
    return store.read(name)


def local_token(config: Config, name: str) -> str:
    """Return the token of the commands on this machine; `name` is that of `accounts.local_name`.

    Raises KeyStoreBroken.
    """
    key = own_key(Path(config.data_dir), CLI)
    return f"{name}.{accounts.local_secret(key)}"


def _peer(request: web.Request) -> str:
    return (request.remote or "")[:45]


def _on_this_machine(request: web.Request) -> bool:
    """Say whether a request comes from here: a copy of the key is of no use elsewhere."""
    transport = request.transport
    if transport is None:
        return False
    ends = [transport.get_extra_info(name) for name in ("peername", "sockname")]
    hosts = [end[0] if isinstance(end, tuple) and end else "" for end in ends]
    try:
        return ipaddress.ip_address(hosts[0]).is_loopback or hosts[0] == hosts[1]
    except ValueError:
        return False
