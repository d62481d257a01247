"""Accounts: who calls the hub's API, what proves it, and what a role may. Pure: values in and out.

A token is `<name>.<secret>`: 192 random bits, of which the hub keeps the SHA-256 (of so many bits a
plain hash is right). An operator shows a second factor too: TOTP (RFC 6238), each step once. The
TOTP key is derived from a key of the hub's and stands in no database.

A wrong name and a wrong secret are one refusal (`access.unknown`). What else is wrong is told only
to whoever has the secret: `access.expired`, `access.role`, `access.scope`, `access.second_factor`.
"""

import base64
import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal, get_args
from urllib.parse import quote

import msgspec
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP
from typing_extensions import override

from sync.errors import SyncError, TheirsInvalid

Role = Literal["operator", "support", "auditor", "dispatch"]
"""As in SECURITY.md 1; `dispatch` is ours: the backend of one tenant."""
ROLES: Final[tuple[Role, ...]] = get_args(Role)
LOCAL: Final = "local"
"""The account of the commands on the hub's own machine: what operator and support may."""
LOCAL_ROLES: Final = frozenset({"operator", "support"})
SECRET_BYTES: Final = 24
DAY_MS: Final = 86_400_000
DAYS: Final = 90
DAYS_MAX: Final = 400
SITES_MAX: Final = 1_000
STEP_S: Final = 30
DIGITS: Final = 6
_STEPS_ASIDE: Final = 1
_TOTP_BYTES: Final = 20
WRONG_MAX: Final = 10
"""Wrong second factors that an account has in store; one comes back a day.

Whoever stole a token tries at most 375 times in its year, each with 3 of 10^6: about 1e-3.
"""
_NAMES_KEPT: Final = frozenset({LOCAL, "development"})
_DEAD: Final = hashlib.sha256(b"no account has this secret").hexdigest()

_name = re.compile(r"[a-z0-9-]{1,32}").fullmatch
_tenant = re.compile(r"[a-z0-9-]{1,32}").fullmatch
_site = re.compile(r"[a-z0-9-]{1,32}").fullmatch
_token = re.compile(
    r"([a-z0-9-]{1,32}|local:[A-Za-z0-9_.-]{1,32})\.([A-Za-z0-9_-]{32,64})"
).fullmatch
_digits = re.compile(r"[0-9]{6}").fullmatch
_unix = re.compile(r"[^A-Za-z0-9_.-]")


class Barred(SyncError):  # noqa: N818  # the name says what happened
    """A caller may not do this; every one of them is written down."""


class Account(msgspec.Struct, frozen=True, kw_only=True):
    """An account as it is kept. `secret` is a hash in hex; `sites` empty: all of them.

    `ended_ms` is 0 while nobody ended it; `step` is the last TOTP step that was used, `debt_ms`
    up to when the wrong second factors are paid back. `nonce` is another at each try: of two that
    use one step in one millisecond the storage must not take the second for the first.
    """

    name: str
    role: Role
    secret: str
    made_ms: int
    ends_ms: int
    by: str
    sites: tuple[str, ...] = ()
    tenant: str = ""
    ended_ms: int = 0
    step: int = 0
    debt_ms: int = 0
    nonce: str = ""

    @override
    def __repr__(self) -> str:
        """Without the hash: nobody needs it."""
        return f"Account({self.name!r}, {self.role!r})"

    def encoded(self) -> bytes:
        """Return the bytes of its record."""
        return msgspec.json.encode(self)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, once proved. `name` goes on record; `account` is whose secret it was.

    `sites` None: all. `tenant` empty: all. Only the development mode's caller is `anybody`: it may
    everything, and whoever its request names (`by`) counts as its account. `session` is the id of
    the short session that it came by, if it did.
    """

    name: str
    roles: frozenset[str]
    account: str = ""
    sites: frozenset[str] | None = None
    tenant: str = ""
    anybody: bool = False
    session: str = ""

    def need(self, *roles: str) -> None:
        """Refuse (`access.role`) unless the caller has one of these roles."""
        if self.roles.isdisjoint(roles):
            raise Barred(
                "access.role", "Ask with an account of a role that may do this.",
                roles=" ".join(sorted(roles)) or "none",
            )  # fmt: skip

    def need_site(self, site_id: str) -> None:
        """Refuse (`access.scope`) a site that is none of the caller's."""
        if not self.sees(site_id):
            raise Barred("access.scope", "Ask with an account of this site.", site=site_id[:32])

    def need_all_sites(self) -> None:
        """Refuse (`access.scope`) an account of single sites what concerns the whole hub."""
        if self.sites is not None:
            raise Barred("access.scope", "Ask with an account of all sites.")

    def need_tenant(self, tenant: str | None) -> None:
        """Refuse (`access.scope`) what is not the caller's tenant's; None is nobody's."""
        if self.tenant and tenant != self.tenant:
            raise Barred("access.scope", "Ask for what is your tenant's.", tenant=self.tenant)

    def sees(self, site_id: str) -> bool:
        """Say whether a site is one of the caller's."""
        return self.sites is None or site_id in self.sites

    def names(self, tenant: str) -> bool:
        """Say whether the caller may read who a parcel of this tenant is.

        Support may, and a tenant of its own ones; operators and auditors may not (SECURITY.md 1).
        """
        return "support" in self.roles or (bool(self.tenant) and tenant == self.tenant)

    def signs(self, by: str) -> bool:
        """Say whether the caller may have `by` on record: its name, or `<name>.<who>`."""
        return self.anybody or by == self.name or by.startswith(f"{self.name}.")


# --- making one -------------------------------------------------------------------------------


def new(
    name: str,
    role: str,
    *,
    secret: str,
    by: str,
    now_ms: int,
    days: int = DAYS,
    sites: Collection[str] = (),
    tenant: str = "",
) -> Account:
    """Return an account. `secret` is the token's second half.

    Raises `TheirsInvalid` `account.name`, `account.role`, `account.days`, `account.sites`,
    `account.tenant`.
    """
    if not _name(name) or name in _NAMES_KEPT:
        raise TheirsInvalid("account.name", "A name is 1 to 32 of a-z, 0-9, dash; not local.")
    known: dict[str, Role] = {one: one for one in ROLES}
    if role not in known:
        raise TheirsInvalid("account.role", f"A role is one of {', '.join(ROLES)}.")
    if not 1 <= days <= DAYS_MAX:
        raise TheirsInvalid("account.days", f"An account lives 1 to {DAYS_MAX} days.")
    if len(sites) > SITES_MAX or not all(_site(one) for one in sites):
        raise TheirsInvalid("account.sites", "A site is 1 to 32 of a-z, 0-9 and dash.")
    if bool(tenant) != (role == "dispatch") or (tenant and not _tenant(tenant)):
        raise TheirsInvalid("account.tenant", "A dispatch account has one tenant, others none.")
    return Account(
        name=name,
        role=known[role],
        secret=hash_of(secret),
        made_ms=now_ms,
        ends_ms=now_ms + days * DAY_MS,
        by=by,
        sites=tuple(sorted(set(sites))),
        tenant=tenant,
    )


def hash_of(secret: str) -> str:
    """Return what is kept of a secret."""
    return hashlib.sha256(secret.encode()).hexdigest()


def secret_of(random: bytes) -> str:
    """Return random bytes as the second half of a token."""
    return base64.urlsafe_b64encode(random).decode().rstrip("=")


def read(data: bytes) -> Account:
    """Return the account of a record."""
    return msgspec.json.decode(data, type=Account)


def otpauth(account: Account, key: bytes, operator: str) -> str:
    """Return the URI that an authenticator takes in. It is a secret."""
    secret = base64.b32encode(totp_key(account, key)).decode()
    label = quote(f"{operator}:{account.name}")
    return f"otpauth://totp/{label}?secret={secret}&issuer={quote(operator)}"


def ended(account: Account, now_ms: int) -> Account:
    """Return the account as it is once somebody ended it."""
    return msgspec.structs.replace(account, ended_ms=now_ms)


# --- letting one in ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Token:
    """What a caller showed: a name and a secret. Its `repr` has neither."""

    name: str
    secret: str

    @override
    def __repr__(self) -> str:
        """Without what was shown: it may be anybody's secret, in the wrong place."""
        return "Token()"


def token_in(headers: Collection[str]) -> Token | None:
    """Return the token of the `Authorization` headers; None unless it is exactly one."""
    if len(headers) != 1:
        return None
    scheme, _, text = next(iter(headers)).partition(" ")
    found = _token(text.strip()) if scheme.lower() == "bearer" else None
    return Token(found[1], found[2]) if found else None


def fits(kept: str | None, secret: str) -> bool:
    """Say whether a secret has the kept hash, in constant time; with no account too."""
    return hmac.compare_digest(kept or _DEAD, hash_of(secret)) and kept is not None


def local_secret(key: bytes) -> str:
    """Return the second half of the local account's token."""
    return secret_of(key)


def local_name(user: str) -> str:
    """Return the local account's name for a user of the machine."""
    return f"{LOCAL}:{_unix.sub('_', user)[:32] or '_'}"


def caller_of(account: Account) -> Caller:
    """Return the caller that an account is."""
    return Caller(
        account.name,
        frozenset({account.role}),
        account.name,
        frozenset(account.sites) or None,
        account.tenant,
    )


def local_caller(name: str) -> Caller:
    """Return the caller that the commands of this machine are, whoever runs them."""
    return Caller(name, LOCAL_ROLES, LOCAL)


def check_alive(account: Account, now_ms: int) -> None:
    """Refuse (`access.expired`) an account that somebody or time has ended."""
    if account.ended_ms or now_ms >= account.ends_ms:
        raise Barred("access.expired", "Have an operator make a new account.")


# --- the second factor ------------------------------------------------------------------------


def totp_key(account: Account, key: bytes) -> bytes:
    """Return the TOTP key of an account: its own, and new where the account is made anew."""
    said = f"locker-hub-totp/v1\0{account.name}\0{account.secret}".encode()
    return hmac.digest(key, said, "sha256")[:_TOTP_BYTES]


def second_factor(
    account: Account, key: bytes, given: Collection[str], now_ms: int
) -> tuple[Account, bool]:
    """Return the account as it is after this try, and whether it was right.

    `given` are the headers. The step of now, the one before and the one after are right, each once
    and none before a used one. A wrong one costs the account one of its tries; a used one nothing,
    because whoever sends it has seen a right one. Raises `Barred` where no try is left.
    """
    if account.debt_ms - now_ms > (WRONG_MAX - 1) * DAY_MS:
        raise Barred(
            "access.second_factor", "Too many were wrong: wait a day, or make a new account."
        )
    digits = next(iter(given)) if len(given) == 1 else ""
    if not _digits(digits):
        return account, False  # none, or no try at all
    totp = TOTP(totp_key(account, key), DIGITS, SHA1(), STEP_S)  # noqa: S303  # SPEC: RFC 6238
    now = now_ms // 1_000 // STEP_S
    steps = range(max(now - _STEPS_ASIDE, 0), now + _STEPS_ASIDE + 1)
    right = [
        step for step in steps if hmac.compare_digest(totp.generate(step * STEP_S), digits.encode())
    ]
    new_ones = [step for step in right if step > account.step]
    if new_ones:
        return msgspec.structs.replace(account, step=new_ones[0]), True
    if right:
        return account, False
    debt = max(account.debt_ms, now_ms) + DAY_MS
    return msgspec.structs.replace(account, debt_ms=debt), False


# --- how much is said -------------------------------------------------------------------------


class Budget:
    """So many of each name, and so many of all, in a time; the names that it remembers are bounded.

    Somebody who is refused as fast as possible must not fill the disk of all the others.
    """

    NAMES_MAX: Final = 1_000

    def __init__(self, each: int, of_all: int, window_ms: int) -> None:
        self._each, self._all, self._window_ms = each, of_all, window_ms
        self._began_ms, self._total = 0, 0
        self._counts: OrderedDict[str, int] = OrderedDict()

    def take(self, name: str, now_ms: int) -> bool:
        """Say whether there is one more; a clock that steps back begins a new time."""
        if not 0 <= now_ms - self._began_ms < self._window_ms:
            self._began_ms, self._total = now_ms, 0
            self._counts.clear()
        count = self._counts.get(name, 0)
        if count >= self._each or self._total >= self._all:
            return False
        self._counts[name] = count + 1
        self._total += 1
        while len(self._counts) > self.NAMES_MAX:
            self._counts.popitem(last=False)
        return True
