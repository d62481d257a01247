"""An installer at the boards: locks tried by their place, and the sign-off. By `Command`s only.

Nothing is pulsed from here: the bench pulses when the answer says that the intent is durable. While
somebody commissions this engine has no boards, so it knows of no door whether it is open, and what
was unfinished before stays so: such a door is never tried, and keeps no other from being tried.
"""

from typing import assert_never

from gateway.core import fence, service
from gateway.core.inputs import BenchAsked, LockTold, LockTried, SiteSigned
from gateway.core.state import Opening, Phase, State
from sync import facts
from sync.custody import Custody
from sync.sitemap import BoardItem, DoorItem, SiteMap

Wish = BenchAsked | LockTried | LockTold | SiteSigned
PULSE_MS_MAX = 1_000
"""Cap of every lock coil (HARDWARE.md 2.1, rule 1)."""
TRIALS_MAX = 16
"""Intents without an outcome: one at a time, and what failed to be told; a restart ends them."""
UNTOLD_MS = 60_000
"""Beyond its deadline: an intent that nobody has told of by then ends in doubt."""
AGAIN_MS = 1_000
_ALARMED = 2
"""Reminders of a door that stands open, until it is an alarm: nobody is at it any more."""
_POINTS = ("lock", "switch", "occupancy")


def decide(state: State, wish: Wish) -> None:
    """Decide on what an installer asks for, or tells."""
    match wish:
        case BenchAsked():
            asked(state, wish)
        case LockTried():
            tried(state, wish)
        case LockTold():
            told(state, wish)
        case SiteSigned():
            signed(state, wish)
        case _:
            assert_never(wish)


def asked(state: State, wish: BenchAsked) -> None:
    """Say whether the boards can be taken away: not while anybody is at a door."""
    busy = _busy(state)
    if busy:
        state.answer(wish.token, "site.busy", door=busy)
        return
    state.answer(wish.token)


def tried(state: State, wish: LockTried) -> None:
    """Put on record that a lock is about to be pulsed."""
    named = next((one.number for one in _doors(state) if one.lock == wish.lock), None)
    behind = [one.number for one in _doors(state) if _may_be(state, wish, one)]
    holds = [one for one in behind if service.may_hold(state, one) or fence.holds(state, one)]
    busy = _busy(state, without=(Phase.RECOVERING,))  # no board tells how that went on
    if not 1 <= wish.ms <= PULSE_MS_MAX:
        state.answer(wish.token, "lock.pulse", most_ms=PULSE_MS_MAX)
    elif busy:
        state.answer(wish.token, "site.busy", door=busy)
    elif wish.lock in state.book.trials.values() or len(state.book.trials) >= TRIALS_MAX:
        state.answer(wish.token, "lock.busy", lock=wish.lock)
    elif holds:
        state.answer(wish.token, "door.occupied", door=holds[0])
    else:
        deadline = state.mono + state.settings.command_ms
        ref = state.write(
            facts.LockIntended(
                lock=wish.lock, line=wish.line, unit=wish.unit, by=wish.by, ms=wish.ms,
                deadline=deadline, door=named,
            )
        )  # fmt: skip
        state.timers["trial", ref] = deadline + UNTOLD_MS
        state.answer(wish.token, ref=ref, deadline=deadline)


def told(state: State, wish: LockTold) -> None:
    """Put on record what came of it."""
    if wish.of not in state.book.trials:
        state.answer(wish.token, "lock.unknown", of=wish.of)
        return
    state.timers.pop(("trial", wish.of), None)
    ref = state.write(
        facts.LockEnded(of=wish.of, outcome=wish.outcome, why=wish.why, took_ms=wish.took_ms)
    )
    state.answer(wish.token, ref=ref)


def untold(state: State, ref: str) -> None:
    """End an intent that nobody told of in time (`told` takes its timer away)."""
    state.write(facts.LockEnded(of=ref, outcome="doubt", why="lock.untold"))


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
    busy = _busy(state, without=(Phase.RECOVERING,))  # a rail keeps its name under a pulse
    if busy:
        state.answer(wish.token, "site.busy", door=busy)
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

    A parcel is behind the door that its points are wired to. Where they change under it, or become
    another door's, its recipient would be let to another compartment, or somebody else to theirs.
    A board that is replaced keeps its name; two that change places do not keep their doors.
    """
    held = [one for one in _doors(state) if state.compartment(one.number).custody != Custody.FREE]
    for door in held:
        for point in _POINTS:
            where = getattr(door, point)
            now = {one.number for one in wish.map.doors.values() if getattr(one, point) == where}
            if where and (now != {door.number} or _elsewhere(state.book.map, wish.map, where)):
                return door.number
            if not where and getattr(wish.map.doors[door.number], point):
                return door.number  # it does not vanish: see `service.map_refusal`
    return 0


def _elsewhere(before: SiteMap, after: SiteMap, point: str) -> bool:
    """Return whether a point is at another board's place, or its own board's place is another's."""
    name = point.partition(":")[0]
    was = before.boards.get(name)
    there = [one.name for one in after.boards.values() if was and _place(one) == _place(was)]
    return bool(there) and there != [name]


def _may_be(state: State, wish: LockTried, door: DoorItem) -> bool:
    """Return whether this may be the lock of a door: by its name, or by where it answers.

    A draft may have other names than the map. A line that the map does not know may be any of its
    lines.
    """
    site, (name, _, channel) = state.book.map, door.lock.partition(":")
    board = site.boards.get(name)
    if door.lock == wish.lock or board is None:
        return door.lock == wish.lock
    known = {one.line for one in site.boards.values()} | site.lines.keys()
    there = board.unit == wish.unit and channel == wish.lock.partition(":")[2]
    return there and (board.line == wish.line or wish.line not in known)


def _doors(state: State) -> list[DoorItem]:
    return [state.book.map.doors[number] for number in sorted(state.book.map.doors)]


def _busy(state: State, without: tuple[Phase, ...] = ()) -> int:
    """Return the first door at which somebody is; 0 where there is none.

    Nobody is at a door that was forced, that stands open since its alarm, or whose board has been
    silent since a start: an installer comes to mend just these.
    """
    busy = [
        door for door, opening in state.openings.items()
        if opening.phase not in without and _somebody(state, opening)
    ]  # fmt: skip
    return min(busy, default=0)


def _somebody(state: State, opening: Opening) -> bool:
    match opening.phase:
        case Phase.GRACE | Phase.LATE:
            return False
        case Phase.RECOVERING:
            return ("door", opening.door) in state.timers
        case _:
            return opening.purpose != "none" and opening.ajar < _ALARMED


def _place(board: BoardItem) -> tuple[str, int]:
    return board.line, board.unit
