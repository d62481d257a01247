"""What the person at the kiosk sees while a door is being opened for them.

A screen is changed only while it still shows this opening: whoever walked away and pressed Home, or
came next, is not disturbed by a door that somebody else left open.
"""

from gateway.core.screen import Screen
from gateway.core.state import Opening, Phase, State

ROOM = {
    "collect": "collect", "deposit": "deliver", "take_back": "deliver", "support": "service",
}  # fmt: skip
PLAIN = {"pull": "opening", "ajar": "open", "fault": "door"}
"""A technician's screens are fewer."""
PULL_AT = 3
"""The attempt before which a person is asked to pull: two pulses did not do it."""


def tell(state: State, opening: Opening, name: str, *, first: bool = False, **more: object) -> None:
    """Show a screen about an opening to whoever asked for it, if they still look."""
    session = state.sessions.get(opening.kiosk) if opening.kiosk is not None else None
    room = ROOM.get(opening.purpose)
    if session is None or room is None:
        return
    name = PLAIN.get(name, name) if room == "service" else name
    here = session.screen.door == opening.door and session.screen.name.startswith(room)
    if not (first or here):
        return
    settings = state.settings
    ends = settings.screen_ms if room == "collect" else settings.courier_ms
    if opening.phase is Phase.OPEN:
        ends += settings.ajar_ms  # the screen of an open door outlasts the reminder to close it
    more.setdefault("ends_ms", ends)
    state.show(session.kiosk, Screen(f"{room}.{name}", door=opening.door, **more))  # type: ignore[arg-type]  # Screen's own fields


def progress(state: State, opening: Opening) -> None:
    """A pulse is on its way."""
    name = "pull" if opening.attempt >= PULL_AT else "opening"
    tell(state, opening, name, first=opening.attempt == 1, count=opening.attempt)


def opened(state: State, opening: Opening) -> None:
    """The door is open: for a parcel to go in or, when it is taken back, out."""
    why = "parcel.take_out" if opening.purpose == "take_back" else ""
    tell(state, opening, "check" if opening.unconfirmed else "open", why=why)


def ajar(state: State, opening: Opening) -> None:
    """The door stays open."""
    tell(state, opening, "ajar")


def gave_up(state: State, opening: Opening, why: str) -> None:
    """The door did not open."""
    tell(state, opening, "fault", why=why)
