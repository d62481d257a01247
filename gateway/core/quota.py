"""How many doors one authority may open: a bound on what a stolen account or hub can do.

Counted in memory: a restart forgets, and takes longer than what could be gained by it.
"""

from collections import deque

from gateway.core.state import State

MINUTE_MS = 60_000
HOUR_MS = 3_600_000
HUB = "hub"
"""All rights to collect that the hub gave out count as one authority."""


def rate_reached(state: State) -> bool:
    """Return whether support has opened as many doors as it may in a minute."""
    times = state.support_times
    return len(times) == times.maxlen and state.mono - times[0] < MINUTE_MS


def occupied_reached(state: State, authority: str) -> bool:
    """Return whether an authority has opened as many doors with a parcel as it may in an hour."""
    times = state.occupied_times.get(authority)
    return times is not None and len(times) == times.maxlen and state.mono - times[0] < HOUR_MS


def count_occupied(state: State, authority: str) -> None:
    """An authority of the hub opens a door with a parcel."""
    most = state.settings.occupied_per_hour
    state.occupied_times.setdefault(authority, deque(maxlen=most)).append(state.mono)
