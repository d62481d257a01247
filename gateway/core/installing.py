"""An installer at the boards: locks tried by their place, and the sign-off. By `Command`s only.

Nothing is pulsed from here: the bench pulses when the answer says that the intent is durable. While
somebody commissions this engine has no boards, so it knows of no door whether it is open.
"""

from gateway.core import fence, service
from gateway.core.inputs import BenchAsked, LockTold, LockTried, SiteSigned
from gateway.core.state import Phase, State
from sync import facts
from sync.custody import Custody
from sync.sitemap import DoorItem

PULSE_MS_MAX = 1_000
"""Cap of every lock coil (HARDWARE.md 2.1, rule 1)."""
TRIALS_MAX = 16
"""Intents without an outcome: one at a time, and what failed to be told; a restart ends them."""
AGAIN_MS = 1_000
_SETTLED = frozenset({Phase.GRACE, Phase.LATE})
_POINTS = ("lock", "switch", "occupancy")


def asked(state: State, wish: BenchAsked) -> None:
    """Say whether the boards can be taken away: not while anybody is at a door."""
    busy = _busy(state)
    if busy:
        state.answer(wish.token, "site.busy", door=busy)
        return
    state.answer(wish.token)


def tried(state: State, wish: LockTried) -> None:
    """Put on record that a lock is about to be pulsed."""
    door = next((one.number for one in _doors(state) if one.lock == wish.lock), None)
    busy = _busy(state)
    if not 1 <= wish.ms <= PULSE_MS_MAX:
        state.answer(wish.token, "lock.pulse", most_ms=PULSE_MS_MAX)
    elif busy:
        state.answer(wish.token, "site.busy", door=busy)
    elif wish.lock in state.book.trials.values() or len(state.book.trials) >= TRIALS_MAX:
        state.answer(wish.token, "lock.busy", lock=wish.lock)
    elif door is not None and (service.may_hold(state, door) or fence.holds(state, door)):
        state.answer(wish.token, "door.occupied", door=door)
    else:
        deadline = state.mono + state.settings.command_ms
        ref = state.write(
            facts.LockIntended(
                lock=wish.lock, line=wish.line, unit=wish.unit, by=wish.by, ms=wish.ms,
                deadline=deadline, door=door,
            )
        )  # fmt: skip
        state.answer(wish.token, ref=ref, deadline=deadline)


def told(state: State, wish: LockTold) -> None:
    """Put on record what came of it."""
    if wish.of not in state.book.trials:
        state.answer(wish.token, "lock.unknown", of=wish.of)
        return
    ref = state.write(
        facts.LockEnded(of=wish.of, outcome=wish.outcome, why=wish.why, took_ms=wish.took_ms)
    )
    state.answer(wish.token, ref=ref)


def take_up(state: State) -> None:
    """End every intent of before a restart: nobody knows whether its coil was on."""
    if not state.begun:  # a new epoch names its parents first
        state.timers["trials", 0] = state.mono + AGAIN_MS
        return
    for ref in list(state.book.trials):
        state.write(facts.LockEnded(of=ref, outcome="doubt", why="restart"))


def signed(state: State, wish: SiteSigned) -> None:
    """Make the map the site's and sign it off, in one turn; or leave all as it is."""
    code, evidence = service.map_refusal(state, wish.map)
    if code:
        state.answer(wish.token, code, "", **evidence)
        return
    moved = _moved(state, wish)
    if moved:
        state.answer(wish.token, "map.in_use", door=moved)
        return
    if wish.map != state.book.map:
        service.write_map(state, wish.map)
    ref = state.write(
        facts.SiteCommissioned(
            by=wish.by, boards=len(wish.map.boards), doors=len(wish.map.doors),
            passed=wish.passed, failed=wish.failed, report=wish.report, audit=wish.audit,
        )
    )  # fmt: skip
    state.answer(wish.token, ref=ref, doors=len(wish.map.doors))


def _moved(state: State, wish: SiteSigned) -> int:
    """Return a door that is not empty and would be somewhere else; 0 where there is none.

    A parcel is behind the door that its points are wired to. Where they change under it, its
    recipient would be let to another compartment.
    """
    for door in _doors(state):
        if state.compartment(door.number).custody is Custody.FREE:
            continue
        there = wish.map.doors[door.number]  # it does not vanish: see `service.map_refusal`
        if any(getattr(there, point) != getattr(door, point) for point in _POINTS):
            return door.number
    return 0


def _doors(state: State) -> list[DoorItem]:
    return [state.book.map.doors[number] for number in sorted(state.book.map.doors)]


def _busy(state: State) -> int:
    """Return the first door at which somebody is; 0 where there is none."""
    busy = [door for door, opening in state.openings.items() if opening.phase not in _SETTLED]
    return min(busy, default=0)
