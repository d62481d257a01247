"""A technician at work by a capability: look, take out of service, try a door that holds nothing.

Small on purpose: whatever opens a compartment with a parcel needs the local commands or the hub.
"""

from gateway.core import doors, fence, grants, keypad, service
from gateway.core.inputs import Button, ButtonPressed
from gateway.core.screen import Screen
from gateway.core.state import Opening, Phase, Session, State
from sync.custody import Custody
from sync.records import Grant

DOOR_SCREENS = ("service.door",)
REASON = "service.asked"
DIGITS_MAX = 5


def menu(state: State, session: Session, why: str = "") -> None:
    """Ask for a compartment."""
    ends = state.settings.courier_ms
    state.show(session.kiosk, Screen("service.menu", why=why, ends_ms=ends))


def _at_door(state: State, session: Session, door: int, why: str = "") -> None:
    ends = state.settings.courier_ms
    state.show(session.kiosk, Screen("service.door", door=door, why=why, ends_ms=ends))


def pressed(state: State, button: ButtonPressed) -> None:
    """Do what a technician asks; each time their right is looked at again."""
    session = state.sessions[button.kiosk]
    right = grants.find(state, session.service)
    if right is None:
        return
    why = keypad.courier_refusal(state, right)
    if why:
        session.clear()
        ends = state.settings.result_ms
        state.show(session.kiosk, Screen("capability.refused", why=why, ends_ms=ends))
        return
    state.on_site_ms = state.mono
    if button.button is Button.DOOR:
        _choose(state, session, button.argument)
    elif session.screen.name in DOOR_SCREENS and session.screen.door is not None:
        _do(state, session, right, session.screen.door, button.button)


def _choose(state: State, session: Session, typed: str) -> None:
    if session.screen.name != "service.menu":
        return
    number = int(typed) if typed.isascii() and typed.isdecimal() and len(typed) <= DIGITS_MAX else 0
    if number in state.book.map.doors:
        _at_door(state, session, number)
    else:
        menu(state, session, "door.unknown")


def _do(state: State, session: Session, right: Grant, door: int, button: Button) -> None:
    if button is Button.TEST:
        _test(state, session, right, door)
    elif button in {Button.EMPTY, Button.OCCUPIED}:
        why = _unsayable(state, door)
        if not why:
            why, _ = service.check(state, door, occupied=button is Button.OCCUPIED, by=right.ref)
        _at_door(state, session, door, why or "service.checked")
    else:
        enabled = button is Button.ENABLE
        service.flag(state, door, right.ref, "" if enabled else REASON)
        _at_door(state, session, door, "service.enabled" if enabled else "service.disabled")


def _test(state: State, session: Session, right: Grant, door: int) -> None:
    why = _untestable(state, door) or doors.refusal(state, door)[0]
    if why:
        _at_door(state, session, door, why)
        return
    opening = Opening(
        door, "support", Phase.WAITING, by=right.ref, kiosk=session.kiosk, case="service.test",
    )  # fmt: skip
    doors.start(state, opening)


def _unsayable(state: State, door: int) -> str:
    """Return why a technician's word about a compartment does not count: a parcel's is not theirs.

    It would end the parcel on record, and then its door opens for a test.
    """
    return "service.occupied" if state.compartment(door).parcel is not None else ""


def _untestable(state: State, door: int) -> str:
    """Return why a door is not opened for a test: never one that may hide a parcel."""
    compartment = state.compartment(door)
    known_empty = compartment.custody is Custody.FREE or bool(compartment.disabled)
    if compartment.parcel is not None or not known_empty or state.look(door).occupied:
        return "service.occupied"
    if state.book.cautious(door):
        return "door.cautious"
    return "door.fenced" if fence.holds(state, door) else ""
