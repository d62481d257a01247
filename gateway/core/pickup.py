"""A recipient collects: a code is entered, the door opens, closes, and is judged.

A code is consumed by `parcel.collected` alone: opened, closed, empty by evidence, and the grace for
re-opening over. Whatever else happens leaves it good.
"""

from gateway.core import doors, fence, grants, keypad, quota, views
from gateway.core.inputs import ButtonPressed, CodeEntered
from gateway.core.screen import Screen
from gateway.core.state import Opening, Phase, State
from sync import facts
from sync.custody import Custody
from sync.records import Parcel

REOPENABLE = frozenset({"collect.thanks", "collect.left", "collect.unsure"})


def enter(state: State, kiosk: str, why: str = "", count: int = 0) -> None:
    """Ask for the code; `why` the last try was refused, `count` seconds to wait."""
    ends = state.settings.screen_ms
    state.show(kiosk, Screen("collect.enter", why=why, count=count, ends_ms=ends))


def code_entered(state: State, entered: CodeEntered) -> None:
    """Take what was typed: open the door it is for, or say why not."""
    session = state.sessions[entered.kiosk]
    if session.courier is not None:
        return
    state.show(entered.kiosk, Screen("collect.checking"), at_once=True)
    found = keypad.collector(state, entered.digits)
    if isinstance(found, keypad.Refused):
        enter(state, entered.kiosk, found.why, found.wait_s)
        return
    session.parcel = found.parcel.ref
    session.grant = None if found.by == "code" else found.by
    open_for(state, entered.kiosk, found.parcel, "asked")


def open_again(state: State, pressed: ButtonPressed) -> None:
    """Open once more in the unbroken session of the person who just had it open."""
    session = state.sessions[pressed.kiosk]
    parcel = state.book.parcels.get(session.parcel or "")
    if session.screen.name not in REOPENABLE or parcel is None:
        return
    grant = state.book.rights.collects.get(session.grant or "")
    why = keypad.grant_refusal(state, grant) if grant is not None else ""
    if why:
        enter(state, pressed.kiosk, why)
        return
    open_for(state, pressed.kiosk, parcel, "reopen")


def open_for(state: State, kiosk: str, parcel: Parcel, why: str) -> None:
    """Open the parcel's door for whoever is at the kiosk, by the session's grant or the code."""
    door = parcel.door
    held = _held_back(state, door)
    if held:
        ends = state.settings.result_ms
        state.show(kiosk, Screen("collect.fault", door=door, why=held, ends_ms=ends))
        return
    going_on = state.openings.get(door)
    if going_on is not None and going_on.purpose == "collect" and _join(state, going_on, kiosk):
        return
    if state.look(door).open and (going_on is None or going_on.purpose == "none"):
        ends = state.settings.screen_ms
        state.show(kiosk, Screen("collect.open", door=door, ends_ms=ends))
        return
    refused, count = doors.refusal(state, door)
    if refused:
        ends = state.settings.result_ms
        screen = Screen("collect.fault", door=door, why=refused, count=count, ends_ms=ends)
        state.show(kiosk, screen)
        return
    by = state.sessions[kiosk].grant or "code"
    if grants.is_hubs(by, grants.find(state, by)) and going_on is None:
        quota.count_occupied(state, quota.HUB)
    opening = Opening(door, "collect", Phase.WAITING, by=by, of=parcel.ref, kiosk=kiosk)
    doors.start(state, opening, why)


def _held_back(state: State, door: int) -> str:
    """Return why a good code opens nothing: it stays good, and costs nobody a guess."""
    if state.book.cautious(door):
        return "door.cautious"
    return "door.fenced" if fence.holds(state, door) else ""


def _join(state: State, opening: Opening, kiosk: str) -> bool:
    """The own door is being opened or open already: show that, pulse nothing."""
    if opening.phase in doors.UNDECIDED:
        opening.kiosk = kiosk
        views.tell(state, opening, "opening", first=True, count=opening.attempt)
        return True
    if opening.phase in {Phase.OPEN, Phase.SETTLING}:
        opening.kiosk = kiosk
        views.tell(state, opening, "open", first=True)
        return True
    return False


def closed(state: State, opening: Opening) -> None:
    """The door is closed again: left behind, or gone once the grace is over."""
    compartment = state.compartment(opening.door)
    if compartment.custody is not Custody.COLLECTING:
        doors.drop(state, opening)
        return
    if opening.occupied:
        state.write(facts.ParcelLeft(of=opening.of, door=opening.door))
        views.tell(state, opening, "left", ends_ms=state.settings.result_ms)
        doors.drop(state, opening)
        return
    opening.phase = Phase.GRACE
    state.timers["door", opening.door] = state.mono + state.settings.grace_ms
    name = "thanks" if opening.occupied is False else "unsure"
    views.tell(state, opening, name, ends_ms=state.settings.result_ms)


def grace_over(state: State, opening: Opening) -> None:
    """Nobody opened again: collected by evidence, or claimed where nothing tells."""
    fact: facts.AnyFact = facts.ParcelClaimed(of=opening.of, door=opening.door, by=opening.by)
    if opening.occupied is False:
        fact = facts.ParcelCollected(
            of=opening.of, door=opening.door, by=opening.by, basis="sensor"
        )
    state.write(fact)
    state.clear_alarm("occupancy.changed", opening.door)
    doors.drop(state, opening)
