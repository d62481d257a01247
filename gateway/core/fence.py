"""Behind a fence: continuity is not proved, so what the book says of a door proves nothing.

A restored book revives used codes, whose doors now hold a stranger's parcel. So until every door is
taken stock of: nothing is given away, no right is spent, and a code opens only a door that is
*proved*. What proves a door, in the epoch that began with the fence:

- a person looked inside (`compartment.checked`), or a courier put a parcel in;
- a witness outside the disk shows that it was not opened since the restored head;
- the book says it is free and its sensor sees nothing behind its closed door.

A fence that was raised in the middle of an epoch is another matter: what proved a door before it
looks the same in the book as what would after it, so it holds every door, until a new epoch.
"""

from gateway.core.inputs import DoorsWitnessed, FenceLiftAsked
from gateway.core.state import Opening, State
from sync import facts
from sync.custody import Custody

NAMED_MAX = 20
"""Doors named in the evidence of a refusal."""


def holds(state: State, door: int) -> bool:
    """Return whether a fence stands and nothing proves what is behind this door."""
    return state.book.fenced_door(door)


def bars(state: State, opening: Opening) -> str:
    """Return why a fence keeps this door from being commanded, or nothing."""
    if opening.purpose == "deposit" and state.book.fenced:
        return "site.fenced"
    if opening.purpose in {"collect", "take_back"} and holds(state, opening.door):
        return "door.fenced"
    return ""


# --- setting and lifting ----------------------------------------------------------------------


def begin(state: State, why: str) -> None:
    """The epoch begins fenced. Its first urgent entry is written already."""
    state.write(facts.FenceSet(why=why))
    state.raise_alarm("site.fenced")


def raised(state: State, why: str) -> None:
    """Continuity broke in the middle of the epoch."""
    own = f"{state.settings.epoch}:su"
    if not state.begun or any(ref.startswith(own) for ref in state.book.fences):
        return
    state.write(facts.AlarmRaised(alarm="site.fenced"))  # first: not as an epoch begins
    state.write(facts.FenceSet(why=why))


def lift_asked(state: State, asked: FenceLiftAsked) -> None:
    """End the fence, if every compartment that is not free is proved, or somebody answers for it.

    A hub must have said that it holds no more of us than we do: what is lost here may have been
    given away there, rights as well as compartments (cloud simulation, seed 614). What is free on
    record and not proved is asked of the next courier (`deliver.check`).
    """
    if not state.book.fenced:
        state.answer(asked.token, "fence.none")
        return
    unproved = [
        door for door in _unproved(state) if state.compartment(door).custody is not Custody.FREE
    ]
    if unproved and not asked.trust_history:
        named = ",".join(str(door) for door in unproved[:NAMED_MAX])
        state.answer(asked.token, "fence.unproved", doors=named, count=len(unproved))
        return
    governed = state.settings.governed or state.hub
    if governed and not state.settled_by and not asked.trust_history:
        state.answer(asked.token, "fence.unheard")
        return
    by = f"trust:{asked.by}" if asked.trust_history else f"support:{asked.by}"
    state.answer(asked.token, ref=_lift(state, by))


def _lift(state: State, by: str) -> str:
    refs = [state.write(facts.FenceLifted(of=of, by=by)) for of in sorted(state.book.fences)]
    state.clear_alarm("site.fenced")
    return refs[0]


def _unproved(state: State) -> list[int]:
    return [door for door in sorted(state.book.map.doors) if holds(state, door)]


# --- taking stock -----------------------------------------------------------------------------


def witnessed(state: State, told: DoorsWitnessed) -> None:
    """Take a witness's word for doors that nothing has happened to in this epoch."""
    if not state.begun:
        return
    for door in sorted(set(told.unopened) & set(state.book.map.doors)):
        touched = (state.compartment(door).last or "").startswith(f"{state.settings.epoch}:")
        if _helps(state, door) and not touched and _is_shut(state, door):
            state.write(facts.DoorProved(door=door, why=told.why))


def _helps(state: State, door: int) -> bool:
    """Return whether a proof would count, or has not been tried: behind some fences none does."""
    return holds(state, door) and state.compartment(door).proved != state.settings.epoch


def _is_shut(state: State, door: int) -> bool:
    return state.look(door).open is not True and door not in state.openings


def step(state: State) -> None:
    """Prove what the sensors prove; end the fence when nothing is left to prove or to hear of."""
    if not state.book.fenced:
        return
    state.raise_alarm("site.fenced")
    left = []
    for door in _unproved(state):
        look, is_free = state.look(door), state.compartment(door).custody is Custody.FREE
        seen_empty = look.open is False and look.occupied is False and door not in state.openings
        if is_free and seen_empty and _helps(state, door):
            state.write(facts.DoorProved(door=door, why="empty"))
        if holds(state, door):
            left.append(door)
    if not left and state.settled_by and not state.book.stale:
        _lift(state, state.settled_by)


def opened(state: State, opening: Opening) -> bool:
    """A door behind the fence was opened and is closed again: whatever it seems, a person checks.

    Return whether that is so, and said.
    """
    if not holds(state, opening.door):
        return False
    occupied = opening.occupied
    state.write(facts.CompartmentDoubted(door=opening.door, why="fence.opened", occupied=occupied))
    return True
