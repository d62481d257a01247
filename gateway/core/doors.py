"""Opening a door, and what a moving door means: the truth table of HARDWARE.md 2.1.

`start` writes an intent; its pulse leaves when the intent is durable, its deadline has not passed
and its power rail is free. An opening inside the command window is that intent's; afterwards, for
`late_ms`, it is *late*; any other opening is *forced*. A door is closed when it has been closed for
`stable_ms`; what that means is judged by whoever opened it (`JUDGES`, filled by the engine).
"""

from collections.abc import Callable
from typing import assert_never

from gateway.core import fence, grants, views
from gateway.core.inputs import PulseDone
from gateway.core.outputs import Pulse
from gateway.core.state import Opening, Phase, Rail, State
from sync import facts
from sync.custody import Custody

Judge = Callable[[State, Opening], None]
JUDGES: dict[str, Judge] = {}
"""By purpose: what a door that was opened for it and is now closed means."""

UNDECIDED = frozenset({Phase.WAITING, Phase.PULSING, Phase.WATCHING})
"""Phases in which the intent has no outcome yet."""


def refusal(state: State, door: int) -> tuple[str, int]:
    """Return why this door cannot be commanded now, with a number that helps; ("", 0) if it can."""
    known = state.openings.get(door)
    in_use = known is not None and known.phase not in {Phase.GRACE, Phase.LATE}
    if in_use or state.look(door).open:
        return "door.busy", 0
    if state.book.standing("disk.low", None):
        return "log.full", 0  # the last of the disk is for how things end: begin nothing
    if not state.reachable(door):
        return "door.silent", 0
    rest = state.resting.get(door, 0) - state.mono
    if rest > 0:
        return "door.resting", -(-rest // 1000)
    return "", 0


def start(state: State, opening: Opening, why: str = "asked") -> None:
    """Command a door to open. The caller has asked `refusal` and holds the authority."""
    before = state.openings.get(opening.door)
    if before is not None:
        opening.occupied = before.occupied  # a re-opening that fails ends the grace as it stood
        opening.earlier = before.intent if before.phase is Phase.LATE else None
    state.openings[opening.door] = opening
    opening.attempt = 1
    opening.started_ms = state.mono
    opening.root = None
    _command(state, opening, why)


def _command(state: State, opening: Opening, why: str) -> None:
    """Write one intent and ask for its pulse."""
    settings, item = state.settings, state.item(opening.door)
    rail = state.rails.setdefault(item.rail, Rail())
    wait = settings.rail_wait_ms if rail.busy is not None else 0
    opening.deadline = state.mono + settings.command_ms + wait
    assert opening.purpose != "none"
    if opening.attempt > 1:
        opening.earlier = opening.intent
    opening.intent = state.write(
        facts.OpenIntended(
            of=opening.of,
            door=opening.door,
            purpose=opening.purpose,
            by=opening.by,
            attempt=opening.attempt,
            deadline=opening.deadline,
            again=opening.intent,
            why=why,
            case=opening.case,
            size=opening.size,
            asked=opening.asked,
            reservation=opening.reservation,
        ),
        opening.annex,
    )
    opening.root = opening.root or opening.intent
    opening.phase = Phase.WAITING
    opening.unanswered = False
    pulse = Pulse(opening.intent, opening.door, item.pulse_ms, opening.deadline)
    _arm(state, opening, opening.deadline + item.pulse_ms + settings.answer_ms)
    state.poll(opening.door, opening.deadline - state.mono + item.pulse_ms + settings.window_ms)
    if rail.busy is None:
        rail.busy = opening.intent
        state.do(pulse)
    else:
        rail.queue.append(pulse)
    views.progress(state, opening)


def _arm(state: State, opening: Opening, when: int) -> None:
    state.timers["door", opening.door] = when


def may_leave(state: State, pulse: Pulse) -> bool:
    """Decide, at the moment a durable pulse could leave, whether it still may."""
    opening = state.openings.get(pulse.door)
    if opening is None or opening.intent != pulse.intent or opening.phase is not Phase.WAITING:
        _free_rail(state, pulse.intent, pulse.door)
        return False
    why = _barred(state, opening) or ("door.late" if state.mono > pulse.deadline else "")
    if why:
        pulse_done(
            state,
            PulseDone(
                now=state.now, intent=pulse.intent, door=pulse.door, result="not_sent", why=why
            ),
        )
        return False
    opening.phase = Phase.PULSING
    # Whether or not anybody ever says how the pulse ended, the rail serves the next one.
    state.timers["rail", state.item(pulse.door).rail] = (
        pulse.deadline + pulse.ms + state.settings.answer_ms
    )
    return True


def _barred(state: State, opening: Opening) -> str:
    """Return why this door is not commanded any more: its grant has ended, or a fence stands."""
    if grants.ended(state, opening.by):
        return "code.revoked" if opening.by in state.book.rights.collects else "staff.revoked"
    return fence.bars(state, opening)


def pulse_done(state: State, done: PulseDone) -> None:
    """Take the end of a pulse: start the command window, or give the intent its outcome."""
    _free_rail(state, done.intent, done.door)
    opening = state.openings.get(done.door)
    if opening is None or opening.intent != done.intent:
        return
    if done.result == "not_sent":
        if opening.phase in UNDECIDED:
            _end(state, opening, "failed", done.why)
            _give_up(state, opening, done.why)
        return
    opening.unanswered = done.result == "unanswered"
    if opening.phase in UNDECIDED:
        opening.phase = Phase.WATCHING
        _arm(state, opening, state.mono + state.settings.window_ms)


def _free_rail(state: State, intent: str, door: int) -> None:
    """Let the rail rest a moment, then serve who waits."""
    if door not in state.book.map.doors:
        return
    name = state.item(door).rail
    rail = state.rails.setdefault(name, Rail())
    if rail.busy == intent:
        rail.busy = f"gap after {intent}"
        state.timers["rail", name] = state.mono + state.settings.rail_gap_ms


def rail_free(state: State, name: str) -> None:
    """Serve the next pulse that waits for this rail, if it may still leave."""
    rail = state.rails[name]
    rail.busy = None
    state.timers.pop(("rail", name), None)  # it was for whoever had the rail until now
    if rail.queue:
        pulse = rail.queue.pop(0)
        rail.busy = pulse.intent
        state.do(pulse)


def _end(state: State, opening: Opening, outcome: facts.Outcome, why: str) -> None:
    """Give the current intent its outcome."""
    look = state.look(opening.door)
    opened = outcome in {"opened", "late"} and opening.phase is not Phase.RECOVERING
    state.write(
        facts.OpenEnded(
            of=opening.intent,
            door=opening.door,
            outcome=outcome,
            why=why,
            took_ms=state.mono - opening.started_ms if opened else None,
            occupied=look.occupied if outcome == "doubt" else None,
        )
    )


def _give_up(state: State, opening: Opening, why: str) -> None:
    """No more pulses for this request; watch a while for a door that gives way late."""
    opening.phase = Phase.LATE
    _arm(state, opening, state.mono + state.settings.late_ms)
    state.poll(opening.door, state.settings.late_ms)
    if why == "door.no_opening":
        state.resting[opening.door] = state.mono + state.settings.rest_ms
        state.raise_alarm("door.stuck", opening.door)
        if not state.compartment(opening.door).disabled:
            state.write(facts.CompartmentDisabled(door=opening.door, by="site", why="door.stuck"))
    views.gave_up(state, opening, why)
    state.answer(opening.token, why, opening.root or "", door=opening.door)
    opening.token = None
    judge_at_rest(state, opening.door)


def window_over(state: State, opening: Opening) -> None:
    """The command window has ended with the door not seen open: again, or give up."""
    certain = not opening.unanswered and state.look(opening.door).open is False
    if opening.phase is Phase.WAITING:
        _end(state, opening, "failed", "door.late")
        _give_up(state, opening, "door.late")
        return
    if opening.phase is Phase.PULSING:
        # Nobody ever said how the pulse ended: it may have acted.
        certain = False
        _free_rail(state, opening.intent or "", opening.door)
    _end(state, opening, "failed" if certain else "doubt", "door.no_opening")
    custody = state.compartment(opening.door).custody
    if opening.purpose == "deposit" and custody is Custody.DEPOSITING:
        # Unseen but full: the courier's parcel is inside (custody.py, ended.doubt.occupied).
        opening.occupied = state.look(opening.door).occupied
        JUDGES["deposit"](state, opening)
        return
    why = _no_more(state, opening, custody)
    if why:
        _give_up(state, opening, why)
        return
    opening.attempt += 1
    _command(state, opening, "no_opening")


def _no_more(state: State, opening: Opening, custody: Custody) -> str:
    """Return why a door that did not open is not tried again, or nothing if it is."""
    if not state.reachable(opening.door):
        return "door.silent"  # the lock is not to blame
    if barred := _barred(state, opening):
        return barred
    if opening.purpose == "deposit" and state.compartment(opening.door).disabled:
        return "door.busy"  # taken out of service meanwhile: nothing is given away there
    last = opening.attempt >= state.settings.attempts
    if last or (opening.purpose == "deposit" and custody is Custody.DOUBT):
        return "door.no_opening"
    return ""


def door_seen(state: State, door: int, *, is_open: bool) -> None:
    """Take what the switch says."""
    look = state.look(door)
    before, look.open = look.open, is_open
    opening = state.openings.get(door)
    if opening is None:
        if is_open:
            _forced(state, door, found=before is None)
        else:
            judge_at_rest(state, door)
        return
    if is_open:
        _seen_open(state, opening)
    elif opening.phase in {Phase.OPEN, Phase.RECOVERING}:
        opening.phase = Phase.SETTLING
        _arm(state, opening, state.mono + state.settings.stable_ms)
        state.poll(door, state.settings.stable_ms)


def _seen_open(state: State, opening: Opening) -> None:
    match opening.phase:
        case Phase.PULSING | Phase.WATCHING:
            opened(state, opening, "opened", "")
        case Phase.LATE:
            opened(state, opening, "late", "")
        case Phase.SETTLING if state.compartment(opening.door).door_open:
            opening.phase = Phase.OPEN
            state.timers.pop(("door", opening.door), None)
        case Phase.SETTLING | Phase.RECOVERING:
            _found_open(state, opening)
        case Phase.WAITING if opening.earlier is not None:
            _end(state, opening, "failed", "door.opened_before")
            opening.intent = opening.earlier
            opened(state, opening, "late", "")
        case Phase.WAITING:
            _end(state, opening, "failed", "door.forced")
            views.gave_up(state, opening, "door.forced")
            state.answer(opening.token, "door.forced", door=opening.door)
            _forced(state, opening.door, found=False)
        case Phase.ASKING | Phase.GRACE:
            _forced(state, opening.door, found=False)
        case Phase.OPEN:
            pass
        case _:
            assert_never(opening.phase)


def opened(state: State, opening: Opening, outcome: facts.Outcome, why: str) -> None:
    """The door is open by this command."""
    door = opening.door
    _end(state, opening, outcome, why)
    state.write(facts.DoorOpened(of=opening.intent, door=door))
    state.clear_alarm("door.stuck", door)
    _is_open(state, opening)
    views.opened(state, opening)
    state.answer(opening.token, "", opening.root or "", door=door)
    opening.token = None


def _is_open(state: State, opening: Opening) -> None:
    opening.phase = Phase.OPEN
    opening.opened_ms = state.mono
    opening.ajar = 0
    state.timers.pop(("door", opening.door), None)
    state.timers["ajar", opening.door] = state.mono + state.settings.ajar_ms
    state.poll(opening.door, state.settings.ajar_ms)


def _found_open(state: State, opening: Opening) -> None:
    """After a restart a door with unfinished business is open."""
    compartment = state.compartment(opening.door)
    if compartment.door_open:
        _is_open(state, opening)
    elif compartment.intent is not None and compartment.intent.outcome is None:
        opened(state, opening, "opened", "door.found_open")
    else:
        _forced(state, opening.door, found=True)


def _forced(state: State, door: int, *, found: bool) -> None:
    """Nobody commanded this: put it on record, and watch for its end."""
    state.write(facts.DoorForced(door=door, found=found))
    state.raise_alarm("door.forced", door)
    opening = Opening(door, "none", Phase.OPEN)
    state.openings[door] = opening
    _is_open(state, opening)


def ajar(state: State, door: int) -> None:
    """A door stays open: remind, then raise an alarm."""
    opening = state.openings.get(door)
    if opening is None or opening.phase not in {Phase.OPEN, Phase.SETTLING}:
        return
    opening.ajar += 1
    open_ms = state.mono - opening.opened_ms
    state.write(facts.DoorAjar(door=door, of=opening.intent, open_ms=open_ms))
    if opening.ajar == 1:
        state.timers["ajar", door] = opening.opened_ms + state.settings.ajar_alarm_ms
        state.poll(door, state.settings.ajar_alarm_ms - state.settings.ajar_ms)
        views.ajar(state, opening)
    else:
        state.raise_alarm("door.ajar", door)


def settled(state: State, opening: Opening) -> None:
    """The door has been closed for `stable_ms`: write it down and judge what it means."""
    door = opening.door
    if state.look(door).open is None:
        _unseen(state, opening)
        return
    opening.occupied = state.look(door).occupied
    state.timers.pop(("ajar", door), None)
    compartment = state.compartment(door)
    if compartment.intent is not None and compartment.intent.outcome is None:
        _end(state, opening, "doubt", "door.unseen")
    if compartment.door_open:
        state.write(facts.DoorClosed(of=opening.intent, door=door, occupied=opening.occupied))
        state.clear_alarm("door.ajar", door)
    if opening.purpose == "none":
        drop(state, opening)
        return
    JUDGES[opening.purpose](state, opening)


def _unseen(state: State, opening: Opening) -> None:
    """Its board fell silent before the door counted as closed: never infer closed."""
    opening.phase = Phase.OPEN
    if not state.compartment(opening.door).door_open:
        opening.phase = Phase.RECOVERING
        _arm(state, opening, state.mono + state.settings.recover_ms)


def drop(state: State, opening: Opening) -> None:
    """This opening is judged; what the door does now is judged afresh."""
    door = opening.door
    del state.openings[door]
    state.changed = True
    state.timers.pop(("door", door), None)
    state.timers.pop(("ajar", door), None)
    judge_at_rest(state, door)


def judge_at_rest(state: State, door: int) -> None:
    """A closed door nobody is using: what the sensor says must fit what the book says."""
    look, compartment = state.look(door), state.compartment(door)
    opening = state.openings.get(door)
    idle = opening is None or opening.phase in {Phase.LATE, Phase.GRACE}
    if not idle or look.open is not False or look.occupied is None:
        return
    why = ""
    if look.occupied and compartment.custody in {Custody.FREE, Custody.CLAIMED}:
        why = "occupancy.appeared"
    elif look.occupied and opening is not None and opening.phase is Phase.GRACE:
        why = "occupancy.appeared" if opening.occupied is False else ""
    elif not look.occupied and compartment.custody is Custody.HELD:
        why = "occupancy.vanished"
    if why:
        state.write(facts.CompartmentDoubted(door=door, why=why, occupied=look.occupied))
        state.raise_alarm("occupancy.changed", door)
        if opening is not None:
            drop(state, opening)


def occupancy_seen(state: State, door: int, *, occupied: bool) -> None:
    """Take what the occupancy sensor says."""
    state.look(door).occupied = occupied
    judge_at_rest(state, door)


def door_timer(state: State, door: int) -> None:
    """The timer of an opening has come: what that means depends on its phase."""
    opening = state.openings.get(door)
    if opening is None:
        return
    match opening.phase:
        case Phase.WAITING | Phase.PULSING | Phase.WATCHING:
            window_over(state, opening)
        case Phase.SETTLING:
            settled(state, opening)
        case Phase.LATE if state.compartment(door).custody is Custody.COLLECTING:
            JUDGES["grace"](state, opening)  # it was a re-opening, and the grace is over
        case Phase.LATE:
            drop(state, opening)
        case Phase.RECOVERING:
            _never_seen(state, opening)
        case Phase.ASKING:
            why = "person.silent"
            state.write(facts.CompartmentDoubted(door=door, why=why, occupied=opening.occupied))
            drop(state, opening)
        case Phase.GRACE:
            JUDGES["grace"](state, opening)
        case Phase.OPEN:
            pass
        case _:
            assert_never(opening.phase)


def _never_seen(state: State, opening: Opening) -> None:
    """After a restart the door's board stays silent: the intent must still get its outcome."""
    compartment = state.compartment(opening.door)
    if compartment.intent is not None and compartment.intent.outcome is None:
        _end(state, opening, "doubt", "door.silent")
    waits = compartment.custody in {Custody.DEPOSITING, Custody.COLLECTING}
    if not waits and not compartment.door_open:  # open on record: its closing is still owed
        drop(state, opening)
