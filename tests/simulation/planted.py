"""Errors planted on purpose: each is a small change of the engine or its shell (`planting`)."""

from dataclasses import replace
from typing import Any

from typing_extensions import override

from certs import capability
from gateway.core import (
    access,
    choice,
    clocks,
    doors,
    grants,
    pickup,
    policy,
    recovery,
    technician,
)
from gateway.core.inputs import Input, Now, PulseResult, Recovered
from gateway.core.outputs import Answer, Output, Pulse, Show
from gateway.core.policy import Settings
from gateway.core.screen import Screen
from gateway.core.state import Opening, Phase, State
from sync import facts
from sync.book import Book
from sync.records import Grant
from sync.rights import Rights
from tests.simulation.planted_installing import INSTALLING
from tests.simulation.planting import Planted
from tests.simulation.shell import Shell
from tests.simulation.site import Heart, Plan

# --- the order of things ------------------------------------------------------------------------


def _pulse_at_once(state: State) -> Output | None:
    for place, (_, effect) in enumerate(state.gated):
        if isinstance(effect, Pulse):
            del state.gated[place]
            return effect
    return _NEXT_DURABLE(state)


_NEXT_DURABLE = State.next_durable


def _do_at_once(state: State, effect: Pulse | Show | Answer) -> None:
    if isinstance(effect, Answer):
        state.at_once(effect)
    else:
        _DO(state, effect)


_DO = State.do


# --- at a start -----------------------------------------------------------------------------------


class _PulseAgain(Plan):
    @override
    def recover(
        self, entries: list[Recovered], settings: Settings, now: Now
    ) -> tuple[Heart, list[Output]]:
        engine, asked = recovery.recover(entries, settings, now)
        for opening in engine.state.openings.values():
            known = engine.state.book.compartments[opening.door].intent
            if known is not None and known.outcome is None:
                asked.append(Pulse(known.ref, opening.door, 400, known.deadline))
        return engine, asked


class _NoDeadline(Plan):
    @override
    def recover(
        self, entries: list[Recovered], settings: Settings, now: Now
    ) -> tuple[Heart, list[Output]]:
        engine, asked = recovery.recover(entries, settings, now)
        for door, known in engine.state.book.compartments.items():
            if known.intent is not None and known.intent.outcome is None:
                engine.state.openings.pop(door, None)
                engine.state.timers.pop(("door", door), None)
        return engine, asked


class _OtherSettings(Plan):
    def __init__(self, **other: int) -> None:
        self.other = other

    @override
    def recover(
        self, entries: list[Recovered], settings: Settings, now: Now
    ) -> tuple[Heart, list[Output]]:
        wrong: dict[str, Any] = dict(self.other)
        return recovery.recover(entries, replace(settings, **wrong), now)


# --- the shell ------------------------------------------------------------------------------


class _Stubborn(Shell):
    """Repeats a pulse that nobody answered."""

    @override
    def end(self, pulse: Pulse, delay: int, result: PulseResult, why: str = "") -> None:
        if result == "unanswered":
            self.soon(2_500, self.energise, pulse)
        super().end(pulse, delay, result, why)


class _StubbornPlan(Plan):
    shell = _Stubborn


class _WrongDoor:
    """Every seventh pulse goes to the next door."""

    def __init__(self, heart: Heart) -> None:
        self.heart = heart
        self.pulses = 0
        self.state = heart.state  # type: ignore[attr-defined]  # the engine's

    def handle(self, given: Input) -> list[Output]:
        return [self._bend(output) for output in self.heart.handle(given)]

    def _bend(self, output: Output) -> Output:
        if not isinstance(output, Pulse):
            return output
        self.pulses += 1
        return replace(output, door=1 + output.door % 3) if self.pulses % 7 == 0 else output


class _WrongDoorPlan(Plan):
    @override
    def recover(
        self, entries: list[Recovered], settings: Settings, now: Now
    ) -> tuple[Heart, list[Output]]:
        engine, asked = recovery.recover(entries, settings, now)
        return _WrongDoor(engine), asked


# --- decisions ------------------------------------------------------------------------------


def _consume_at_accept(state: State, opening: Opening, why: str = "asked") -> None:
    _START(state, opening, why)
    if opening.purpose == "collect":
        state.write(
            facts.ParcelCollected(of=opening.of, door=opening.door, by="code", basis="sensor")
        )


_START = doors.start


def _rail_always_free(state: State, opening: Opening, why: str) -> None:
    rail = state.rails.get(state.item(opening.door).rail)
    if rail is not None:
        rail.busy = None
    _COMMAND(state, opening, why)


_COMMAND = doors._command


def _forced_unrecorded(state: State, door: int, *, found: bool) -> None:
    state.openings[door] = Opening(door, "none", Phase.OPEN)


def _left_is_gone(state: State, opening: Opening) -> None:
    opening.occupied = False
    _CLOSED(state, opening)


_CLOSED = pickup.closed


def _assignable_when_disabled(state: State, door: int) -> bool:
    known = state.compartment(door)
    was, known.disabled = known.disabled, ""
    try:
        return _ASSIGNABLE(state, door)
    finally:
        known.disabled = was


_ASSIGNABLE = choice.assignable


def _never_revoked(state: State, ref: str | None) -> bool:
    return False


def _refilled_by_starts(book: Book, at: tuple[int, int]) -> int:
    return _WITNESSED(book, at) + (at[0] - 1) * policy.FULL_MS


_WITNESSED = policy.witnessed_ms


def _show_what_was_typed(state: State, kiosk: str, why: str = "", count: int = 0) -> None:
    typed = next(iter(state.book.parcels.values()), None)
    if why and typed is not None and typed.identity is not None:
        why = state.settings.code_key.code(typed.identity, typed.counter).short(typed.digits)
    state.show(kiosk, Screen("collect.enter", why=why, count=count))


def _fold_by_arrival(book: Book, log: str, index: int, item: Any) -> None:
    _FOLD(book, log, index, item)
    if log.endswith(":su"):
        book._witness(item.at)


_FOLD = Book._fold


def _keeps_everything(state: State) -> list[Output]:
    state.__dict__.setdefault("everything", []).append(state.now)
    return _HAND_OVER(state)


_HAND_OVER = State.hand_over


def _ended_twice(state: State, opening: Opening, outcome: facts.Outcome, why: str) -> None:
    _END(state, opening, outcome, why)
    if outcome == "opened":
        _END(state, opening, outcome, why)


_END = doors._end


def _late_is_forced(state: State, opening: Opening) -> None:
    if opening.phase is Phase.LATE:
        doors._forced(state, opening.door, found=False)
    else:
        _SEEN_OPEN(state, opening)


_SEEN_OPEN = doors._seen_open


def _is_used_never(rights: Rights, grant: Grant) -> bool:
    return False


def _for_any_site(data: bytes, signers: Any, audience: str) -> Any:
    found = capability._read_claims(capability._load(capability._opened(data)[1]))
    return _VERIFY(data, signers, found.audience)


_VERIFY = capability.verify


def _never_over(now: Now, until_ms: int) -> bool:
    return False


def _trust_without_denials(state: State, told: Any) -> None:
    state.signers = told.signers


def _technician_says_all(state: State, door: int) -> str:
    return ""


def _doubt_is_free(state: State, door: int) -> None:
    """A sensor that contradicts the book is not listened to."""


PLANTED: tuple[Planted, ...] = (
    Planted(
        "pulse before durable",
        ("01_intent_first",),
        patches=((State, "next_durable", _pulse_at_once),),
    ),
    Planted("pulse again at boot", ("02_one_pulse", "17_deadline_kept"), _PulseAgain),
    Planted("no deadline at boot", ("03_every_intent_ends", "02_one_pulse"), _NoDeadline),
    Planted(
        "code consumed at accept",
        ("04_opens_only_its_own",),
        patches=((doors, "start", _consume_at_accept),),
    ),
    Planted(
        "bucket refilled at restart",
        ("12_guessing_bounded",),
        patches=((policy, "witnessed_ms", _refilled_by_starts),),
    ),
    Planted("grace skipped", ("04_opens_only_its_own",), lambda: _OtherSettings(grace_ms=10)),
    Planted(
        "disabled compartment given away",
        ("06_given_once",),
        patches=((choice, "assignable", _assignable_when_disabled),),
    ),
    Planted(
        "two coils on one rail",
        ("13_coil_rests",),
        patches=((doors, "_command", _rail_always_free),),
    ),
    Planted("unanswered pulse repeated", ("02_one_pulse",), _StubbornPlan),
    Planted(
        "forced door not recorded",
        ("07_every_opening_logged",),
        patches=((doors, "_forced", _forced_unrecorded),),
    ),
    Planted(
        "parcel left behind taken for gone",
        ("04_opens_only_its_own",),
        patches=((doors.JUDGES, "collect", _left_is_gone),),
    ),
    Planted("pulse at the wrong door", ("01_intent_first",), _WrongDoorPlan),
    Planted("answer before durable", ("08_ack_lasts",), patches=((State, "do", _do_at_once),)),
    Planted(
        "revocation unheard while a door is being opened",
        ("05_revoked_wins",),
        patches=((grants, "ended", _never_revoked),),
    ),
    Planted(
        "late opening called forced",
        ("17_deadline_kept",),
        patches=((doors, "_seen_open", _late_is_forced),),
    ),
    Planted(
        "code on the screen",
        ("14_no_secrets",),
        patches=((pickup, "enter", _show_what_was_typed),),
    ),
    Planted(
        "book folded by arrival",
        ("09_same_book",),
        patches=((Book, "_fold", _fold_by_arrival),),
    ),
    Planted(
        "memory without a bound",
        ("16_bounded",),
        patches=((State, "hand_over", _keeps_everything),),
    ),
    Planted(
        "outcome written twice",
        ("03_every_intent_ends",),
        patches=((doors, "_end", _ended_twice),),
    ),
    Planted(
        "a capability works twice",
        ("04_cards_hold",),
        patches=((Rights, "is_used", _is_used_never),),
    ),
    Planted(
        "a capability of another site works",
        ("04_cards_hold",),
        patches=((capability, "verify", _for_any_site),),
    ),
    Planted(
        "a capability that is over works",
        ("04_cards_hold",),
        patches=((clocks, "perhaps_over", _never_over), (clocks, "surely_over", _never_over)),
    ),
    Planted(
        "a denied capability works",
        ("05_revoked_wins",),
        patches=((access, "trust_told", _trust_without_denials),),
    ),
    Planted(
        "a technician's word frees a compartment",
        ("04_cards_hold",),
        patches=((technician, "_unsayable", _technician_says_all),),
    ),
    Planted(
        "sensor not listened to",
        ("07_book_is_true",),
        patches=((doors, "judge_at_rest", _doubt_is_free),),
    ),
    *INSTALLING,
)
