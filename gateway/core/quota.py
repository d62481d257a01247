"""How many doors one authority may open: a bound on what a stolen account or hub can do.

Counted in memory: a restart forgets, and takes longer than what could be gained by it.
"""

from collections import deque

from gateway.core.state import State

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
HUB = "hub"
"""All rights to collect that the hub gave out count as one authority, capabilities among them."""
SUPPORT = "support"
ACCOUNTS = 2
"""All openings that the hub asks for count together too: whose they are is the hub's word alone.
So many times what one account may is what all may: a stolen hub has as many names as it wants."""
ON_SITE_MS = 5 * MINUTE_MS
SCANS_MAX = 20
"""Capabilities that one kiosk looks at in a minute: each costs a signature to check."""


def rate_reached(state: State) -> bool:
    """Return whether support has opened as many doors as it may in a minute."""
    times = state.support_times
    return len(times) == times.maxlen and state.mono - times[0] < MINUTE_MS


def on_site(state: State) -> bool:
    """Return whether somebody with the right to be at this machine has just shown it."""
    seen = state.on_site_ms
    return seen is not None and state.mono - seen <= ON_SITE_MS


def scan_wait_s(state: State, kiosk: str) -> int:
    """Count a capability shown at a kiosk; return the seconds to wait where they are too many."""
    times = state.scans.setdefault(kiosk, deque(maxlen=SCANS_MAX))
    since = state.mono - times[0] if len(times) == SCANS_MAX else MINUTE_MS
    if since < MINUTE_MS:
        return -(-(MINUTE_MS - since) // 1000)
    times.append(state.mono)
    return 0


def occupied_reached(state: State, authority: str) -> bool:
    """Return whether an authority has opened as many doors with a parcel as it may in an hour."""
    times = state.occupied_times.get(authority)
    return times is not None and len(times) == times.maxlen and state.mono - times[0] < HOUR_MS


def count_occupied(state: State, authority: str) -> None:
    """An authority of the hub opens a door with a parcel; what is over an hour ago is forgotten."""
    most, known = state.settings.occupied_per_hour, state.occupied_times
    most *= ACCOUNTS if authority == SUPPORT else 1
    for name in [one for one, times in known.items() if state.mono - times[-1] >= HOUR_MS]:
        del known[name]
    state.occupied_times.setdefault(authority, deque(maxlen=most)).append(state.mono)
