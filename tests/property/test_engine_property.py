"""Any keys, doors, boards, disks and power cuts in any order: no crash, no pulse without authority.

`tests.crowd.Watched` looks at every pulse at the moment it leaves the engine.
"""

import copy

from hypothesis import given
from hypothesis import strategies as st

from gateway.core.inputs import StaffCodeEntered
from gateway.core.outputs import Output, Persist, Show, WakeAt
from gateway.core.recovery import recover
from gateway.core.screen import SCREENS
from sync import facts
from sync.custody import Custody
from tests.crowd import Action, Watched, digits, everybody, play, strangers
from tests.stage import SECRET, TRACKING


@given(actions=strangers)
def test_strangers_at_the_keypad_open_nothing(actions: list[Action]) -> None:
    stage = Watched()
    stage.deposit()
    stage.home()
    stage.outputs.clear()
    play(actions, stage)
    assert not stage.pulses()
    assert stage.engine.book.compartments[1].custody is Custody.HELD


@given(actions=everybody)
def test_anything_in_any_order_keeps_the_promises_of_every_pulse(actions: list[Action]) -> None:
    stage = play(actions)
    names = {output.screen.name for output in stage.outputs if isinstance(output, Show)}
    assert names <= set(SCREENS)


@given(actions=everybody)
def test_every_intent_gets_its_one_outcome_in_time(actions: list[Action]) -> None:
    stage = play(actions)
    stage.after(10 * 60_000)
    ends: dict[str, list[str]] = {}
    for log, index, _, fact, *_ in stage.log:
        if isinstance(fact, facts.OpenIntended):
            ends[f"{log}{index}"] = []
        elif isinstance(fact, facts.OpenEnded):
            ends[str(fact.of)].append(fact.outcome)
    for outcomes in ends.values():
        assert outcomes[1:] in ([], ["late"])
        assert len(outcomes) >= 1


@given(actions=everybody)
def test_a_restart_finds_the_book_that_was(actions: list[Action]) -> None:
    stage = play(actions)
    engine, outputs = recover(stage.log, stage.settings, stage.now)
    assert engine.book.canonical() == stage.engine.book.canonical()
    assert not [output for output in outputs if isinstance(output, Persist)]


@given(actions=everybody)
def test_the_same_inputs_give_the_same_outputs(actions: list[Action]) -> None:
    assert play(actions).outputs == play(actions).outputs


@given(actions=everybody)
def test_two_parcels_never_share_a_compartment_or_a_code(actions: list[Action]) -> None:
    book = play(actions).engine.book
    places = [parcel.door for parcel in book.live()]
    assert len(places) == len(set(places))
    for parcel in book.live():
        assert book.compartments[parcel.door].parcel == parcel.ref
        assert book.compartments[parcel.door].custody not in {Custody.FREE, Custody.DEPOSITING}
    identities = [known.identity for known in book.live() if known.identity is not None]
    assert len(identities) == len(set(identities))


@given(actions=everybody, typed=digits)
def test_nothing_secret_shows_in_entries_screens_or_reprs(
    actions: list[Action], typed: str
) -> None:
    stage = Watched()
    stage.deposit()
    play(actions, stage)
    stage.send(StaffCodeEntered(now=stage.now, kiosk="main", digits=typed))
    shown = repr(stage.outputs) + repr(list(stage.engine.state.sessions.values()))
    shown += repr(list(stage.engine.state.openings.values()))
    for secret in (SECRET, TRACKING, stage.code(), stage.code(long=True)):
        assert (secret in shown) is False  # no diff of a long text when it fails


@given(actions=everybody, early=st.integers(0, 1_000))
def test_somebody_is_always_asked_to_wake_the_engine_while_a_timer_runs(
    actions: list[Action], early: int
) -> None:
    stage = play(actions)
    timers = stage.engine.state.timers
    if timers:
        asked = [output for output in stage.outputs if isinstance(output, WakeAt)][-1]
        assert asked.mono_ms == min(timers.values())
        stage.mono = max(stage.mono, asked.mono_ms - early)
        outputs: list[Output] = stage.after(0)
        if timers and min(timers.values()) == asked.mono_ms:
            assert asked in outputs


@given(actions=everybody)
def test_a_copy_decides_as_the_original(actions: list[Action]) -> None:
    stage = play(actions)
    twin = copy.deepcopy(stage)
    assert twin.after(60_000) == stage.after(60_000)
