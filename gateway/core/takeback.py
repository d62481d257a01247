"""A courier takes back what they brought in this very session, before anybody had it open."""

from gateway.core import doors, fence, views
from gateway.core.inputs import ButtonPressed
from gateway.core.screen import Screen
from gateway.core.state import Opening, Phase, Session, State
from sync import facts
from sync.custody import Custody
from sync.records import Parcel

MINE_FROM = ("deliver.scan", "deliver.took", "deliver.done")
"""Screens from which own deposits can be looked at."""


def mine(state: State, pressed: ButtonPressed) -> None:
    """Show the own deposits of this session that are still here."""
    session = state.sessions[pressed.kiosk]
    if session.courier is not None and session.screen.name in MINE_FROM:
        _show_mine(state, session)


def _show_mine(state: State, session: Session, why: str = "") -> None:
    here = tuple(parcel.door for parcel in own(state, session))
    ends = state.settings.courier_ms
    state.show(session.kiosk, Screen("deliver.mine", doors=here, why=why, ends_ms=ends))


def own(state: State, session: Session) -> list[Parcel]:
    """Return the own deposits of this session that no recipient has had open."""
    found = [state.book.parcels[ref] for ref in session.mine if ref in state.book.parcels]
    claimed = Custody.CLAIMED
    return [parcel for parcel in found if state.compartment(parcel.door).custody is not claimed]


def take_back(state: State, pressed: ButtonPressed) -> None:
    """Open the compartment of an own deposit of this session."""
    session = state.sessions[pressed.kiosk]
    if session.courier is None or session.screen.name != "deliver.mine":
        return
    here = {str(parcel.door): parcel for parcel in own(state, session)}
    parcel = here.get(pressed.argument)
    if parcel is None or parcel.by != session.courier:
        return
    refused = "door.fenced" if fence.holds(state, parcel.door) else ""
    refused = refused or doors.refusal(state, parcel.door)[0]
    if not refused and parcel.door in state.openings:
        refused = "door.busy"
    if refused:
        _show_mine(state, session, refused)
        return
    opening = Opening(
        parcel.door, "take_back", Phase.WAITING, by=session.courier, of=parcel.ref,
        kiosk=session.kiosk,
    )  # fmt: skip
    doors.start(state, opening)


def closed(state: State, opening: Opening) -> None:
    """The door is closed again: is the parcel out?"""
    if state.compartment(opening.door).custody is not Custody.COLLECTING:
        doors.drop(state, opening)
    elif opening.occupied is None:
        opening.phase = Phase.ASKING
        state.timers["door", opening.door] = state.mono + state.settings.ask_ms
        views.tell(state, opening, "confirm")
    else:
        judge(state, opening, inside=opening.occupied, basis="sensor")


def judge(state: State, opening: Opening, *, inside: bool, basis: facts.Basis) -> None:
    """Put on record whether the parcel is out."""
    if inside:
        state.write(facts.ParcelLeft(of=opening.of, door=opening.door))
        views.tell(state, opening, "fault", why="parcel.left")
    else:
        state.write(
            facts.ParcelTakenBack(of=opening.of, door=opening.door, by=opening.by, basis=basis)
        )
        views.tell(state, opening, "took")
    doors.drop(state, opening)
