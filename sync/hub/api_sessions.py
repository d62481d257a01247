"""Sessions over the API: an operator's console, for a quarter of an hour (`sync.hub.sessions`)."""

from typing import Final

from sync.hub.api_asked import ByAsked
from sync.hub.api_routes import Call, Route, may
from sync.hub.api_types import Answer
from sync.hub.sessions import Sessions


class SessionMade(Answer, frozen=True, kw_only=True):
    """A bearer for the next quarter of an hour, told this once. It needs no second factor."""

    token: str
    ends_ms: int


class SessionEnded(Answer, frozen=True, kw_only=True):
    """Whether it was a session's bearer that asked: then it is good no more."""

    ended: bool


async def _open(call: Call) -> SessionMade:
    token, ends_ms = await _sessions(call).open(call.account)
    return SessionMade(token=token, ends_ms=ends_ms)


async def _end(call: Call) -> SessionEnded:
    session = call.caller.session
    if session:
        await _sessions(call).end(session)
    return SessionEnded(ended=bool(session))


def _sessions(call: Call) -> Sessions:
    return Sessions(call.hub.storage, call.hub.clock)


ROUTES: Final = (
    Route(
        "POST", "/sessions", "openSession",
        "Begin a session: a bearer without second factor, for a quarter of an hour.",
        _open, SessionMade, ByAsked, roles=may("operator"), noted=True,
    ),
    Route(
        "POST", "/sessions/end", "endSession", "End the session that asks.",
        _end, SessionEnded, ByAsked, roles=may("operator"), noted=True,
    ),
)  # fmt: skip
