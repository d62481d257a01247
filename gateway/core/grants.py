"""Rights as the rooms use them: whose they are, and whether they hold at this moment.

A right is known by its reference: the hub's grant, a local courier's, or the entry by which a
capability was accepted here. What has ended, by a revocation that was heard or by the list of
denials, wins at every step, up to the moment a pulse could leave.
"""

from gateway.core import clocks
from gateway.core.state import State
from sync.records import Grant

STAFF = frozenset({"courier", "service", "install", "deposit"})
"""Their rights end when they may be over; those of recipients only when they surely are."""


def find(state: State, ref: str | None) -> Grant | None:
    """Return the right that somebody at a screen acts by."""
    return None if ref is None else state.book.rights.find(ref)


def ended(state: State, ref: str | None) -> bool:
    """Return whether the right was revoked or denied, as far as this site has heard."""
    if ref is None or ref in state.book.rights.revoked:
        return ref is not None
    grant = find(state, ref)
    return grant is not None and (grant.revoked or grant.cti in state.denied)


def is_hubs(ref: str, grant: Grant | None) -> bool:
    """Return whether the hub gave this right, heard of or not."""
    return ":h" in ref or (grant is not None and grant.cti != "")


def late(state: State, grant: Grant) -> str:
    """Return why the time of a right is over: `untrusted`, `late`, or nothing.

    A typed secret needs a clock. A capability also works without one: staff's ends when it may be
    over by a trusted clock, or surely is by the floor; a recipient's only when it surely is.
    """
    if not grant.cti:
        return clocks.refusal(state.now, grant.until_ms)
    over = clocks.perhaps_over if grant.grant in STAFF else clocks.surely_over
    return "late" if over(state.now, grant.until_ms or 0) else ""
