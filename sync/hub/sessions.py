"""An operator's short session: one second factor, then a quarter of an hour of requests.

A console asks many things in a minute, and a step of the second factor is good once. So an operator
who showed token and second factor is given another bearer, of the same name: it ends by itself,
with its account, or when it is ended. It makes no account and no further session: whoever stole it
has what is left of its quarter of an hour, and nothing after that.
"""

import secrets
from typing import Final

import msgspec

from sync.hub import accounts
from sync.hub.accounts import Token
from sync.hub.clock import Clock
from sync.hub.storage import Storage

KIND: Final = "session"
LASTS_MS: Final = 15 * 60_000
PREFIX: Final = "s-"
"""What the second half of a session's token begins with."""
_ID_DIGITS: Final = 32


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A record's content: whose it is, and until when. Its id is the secret's hash, cut."""

    account: str
    secret: str
    made_ms: int
    ends_ms: int


class Sessions:
    """The sessions of one hub."""

    def __init__(self, storage: Storage, clock: Clock) -> None:
        self._storage, self._clock = storage, clock

    async def open(self, account: str) -> tuple[str, int]:
        """Return a new token, told this once, and its end (UTC ms). Old ones are forgotten."""
        now_ms = self._clock.utc_ms()
        for record in await self._storage.records("", KIND):
            if msgspec.json.decode(record.data, type=Session).ends_ms <= now_ms:
                await self._storage.drop_record("", KIND, record.id)
        secret = PREFIX + accounts.secret_of(secrets.token_bytes(accounts.SECRET_BYTES))
        kept = Session(
            account=account, secret=accounts.hash_of(secret), made_ms=now_ms,
            ends_ms=now_ms + LASTS_MS,
        )  # fmt: skip
        await self._storage.add_record("", KIND, _id(kept.secret), msgspec.json.encode(kept))
        return f"{account}.{secret}", kept.ends_ms

    async def find(self, token: Token) -> str:
        """Return the id of the session that a token is of; nothing where it is of none, or over."""
        if not token.secret.startswith(PREFIX):
            return ""
        name = _id(accounts.hash_of(token.secret))
        record = await self._storage.record("", KIND, name)
        kept = msgspec.json.decode(record.data, type=Session) if record else None
        fits = accounts.fits(kept.secret if kept else None, token.secret)
        if kept is None or not fits or kept.account != token.name:
            return ""
        # A clock that was stepped back must not make it longer.
        return name if kept.made_ms <= self._clock.utc_ms() < kept.ends_ms else ""

    async def end(self, name: str) -> None:
        """End a session, by its id."""
        await self._storage.drop_record("", KIND, name)


def _id(secret_hash: str) -> str:
    return secret_hash[:_ID_DIGITS]
