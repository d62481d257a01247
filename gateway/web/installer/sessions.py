"""Browsers that are signed in: who, until when, by which window. Pure; tokens come from outside.

A token is 256 random bits in a cookie. Only its SHA-256 is kept, so that memory that leaks signs
nobody in. Nothing outlives the process.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

SESSION_MS: Final = 8 * 3_600_000
SESSIONS_MAX: Final = 16
"""More than a site has installers; the oldest makes room."""


@dataclass(frozen=True, slots=True)
class Session:
    """A browser of an installer. `csrf` is what its own page sends with each act."""

    name: str
    window: int
    ends_ms: int
    csrf: str = field(repr=False)

    def meant(self, token: str) -> bool:
        """Say whether an act comes with this session's own token."""
        return hmac.compare_digest(self.csrf.encode(), token.encode(errors="replace"))


class Sessions:
    """All sessions of this process. Times are monotonic milliseconds."""

    def __init__(self) -> None:
        self._known: dict[bytes, Session] = {}

    def begin(self, now_ms: int, *, name: str, window: int, token: str, csrf: str) -> Session:
        """Sign a browser in."""
        self._forget(now_ms)
        while len(self._known) >= SESSIONS_MAX:
            del self._known[next(iter(self._known))]
        session = Session(name, window, now_ms + SESSION_MS, csrf)
        self._known[_hash(token)] = session
        return session

    def find(self, now_ms: int, token: str) -> Session | None:
        """Return the session of a token, or None."""
        session = self._known.get(_hash(token))
        return session if session is not None and now_ms < session.ends_ms else None

    def end(self, token: str) -> None:
        """Sign a browser out."""
        self._known.pop(_hash(token), None)

    def end_all(self, name: str) -> int:
        """Sign out every browser of an installer; return how many there were."""
        theirs = [key for key, session in self._known.items() if session.name == name]
        for key in theirs:
            del self._known[key]
        return len(theirs)

    def count(self, now_ms: int) -> dict[str, int]:
        """Return how many browsers of each installer are signed in."""
        self._forget(now_ms)
        names = [session.name for session in self._known.values()]
        return {name: names.count(name) for name in sorted(set(names))}

    def _forget(self, now_ms: int) -> None:
        self._known = {key: one for key, one in self._known.items() if now_ms < one.ends_ms}


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode(errors="replace")).digest()
