"""Which compartment a parcel gets: by size, reach and wear; and whose right gives it away."""

from dataclasses import dataclass

from gateway.core import doors, grants, promises
from gateway.core.state import Session, State
from sync import facts
from sync.capacity import Reservation
from sync.custody import Custody


@dataclass(frozen=True, slots=True)
class Choice:
    """What there is for this parcel: compartments, best first, and whose rights they need.

    `kept`: its promise is among those that its class has room for.
    """

    doors: list[int]
    promise: Reservation | None
    kept: bool
    room: promises.Room

    def may(self, state: State, door: int) -> bool:
        """Return whether a compartment may be given to this parcel.

        A claimed one is not among the free that rights are counted by: it takes nobody's.
        """
        kind, claimed = state.book.kind_of(door), _is_claimed(state, door)
        promised = self.promise is not None and self.promise.kind == kind
        if promised and (claimed or self.kept):
            return True
        return self.room.own(kind) >= (0 if claimed else 1)


def _is_claimed(state: State, door: int) -> bool:
    return state.compartment(door).custody is Custody.CLAIMED


def rank(state: State, door: int) -> int:
    """Return how large a compartment is, to compare."""
    return facts.SIZES.index(state.item(door).size)


def find(state: State, session: Session) -> Choice:
    """Find what can be given, best first: size, reach, wear, number.

    What is claimed comes last: there the courier must look first.
    """
    promise = _promise(state, session)
    band, found = promise.band if promise else session.room.partition(" ")[2], []
    for door, item in state.book.map.doors.items():
        if item.band == band and door not in session.tried and assignable(state, door):
            reach = 0 if (item.reach == "low") == session.low else 1
            wear = state.compartment(door).openings
            found.append((_is_claimed(state, door), rank(state, door), reach, wear, door))
    room = promises.room(state)
    kept = promise is not None and room.keeps(promise)
    return Choice([door for *_, door in sorted(found)], promise, kept, room)


def _promise(state: State, session: Session) -> Reservation | None:
    """Return the promise that this parcel comes for: its own, or the one that its right names."""
    right = grants.find(state, session.courier)
    if right is not None and right.grant == "reservation":
        return promises.given(state, right.of or "")
    return promises.match(state, session.identity) if session.identity is not None else None


def count(state: State, choice: Choice, size: facts.Size) -> int:
    """Return how many compartments of exactly this size can be given one after the other."""
    there = [door for door in choice.doors if state.item(door).size == size]
    given = [door for door in there if choice.may(state, door)]
    claimed = sum(_is_claimed(state, door) for door in given)
    own = choice.room.own(state.book.kind_of(there[0])) if there else 0
    return min(len(given), max(own, 0) + claimed) or min(len(given), 1)


def assignable(state: State, door: int) -> bool:
    """Return whether a compartment can be given to a parcel now (ARCHITECTURE, invariant 6)."""
    compartment, look = state.compartment(door), state.look(door)
    if compartment.custody is Custody.CLAIMED:
        boot, mono = compartment.claimed_at or state.now.at
        since = mono if boot == state.now.boot else state.started_ms
        if state.mono - since <= state.settings.claimed_ms:
            return False
    elif compartment.custody is not Custody.FREE:
        return False
    if state.book.fenced or state.book.cautious(door):
        return False
    has_sensor = state.item(door).occupancy != ""
    return (
        not compartment.disabled
        and compartment.door_open is not True
        and look.open is False
        and (look.occupied is False if has_sensor else True)
        and doors.refusal(state, door)[0] == ""
        and door not in state.openings
    )
