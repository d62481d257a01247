"""After a crash at any point: nothing pulses, every intent ends, evidence judges what is inside."""

import pytest

from gateway.core.inputs import BoardSilent, Button, SupportOpens
from gateway.core.outputs import AllOff, Pulse
from sync import facts
from sync.custody import Custody
from tests.stage import Stage, small_map


def held(*, sensors: bool = True) -> tuple[Stage, int]:
    stage = Stage(map=small_map(sensors=sensors))
    door = stage.deposit()
    stage.home()
    stage.outputs.clear()
    stage.facts.clear()
    return stage, door


def outcomes(stage: Stage) -> list[tuple[str, str]]:
    return [(fact.outcome, fact.why) for fact in stage.recorded(facts.OpenEnded)]


def restarted(stage: Stage) -> None:
    stage.outputs.clear()
    first = stage.restart()
    assert isinstance(first[0], AllOff)
    assert not [output for output in first if isinstance(output, Pulse)]


def test_a_start_switches_all_off_and_shows_the_first_screen() -> None:
    stage, _ = held()
    restarted(stage)
    assert stage.screen().name == "welcome"
    assert not stage.engine.state.openings


def test_a_crash_before_the_pulse_is_doubt_and_never_pulses_by_itself() -> None:
    stage, door = held()
    stage.slow_disk = True
    stage.enter(stage.code())
    stage._store(stage.unwritten.pop())  # durable, and the crash comes before anybody is told
    stage.slow_disk = False
    restarted(stage)
    stage.see_all(occupied=(door,))
    stage.after(300_000)
    assert not stage.pulses()
    assert outcomes(stage) == [("doubt", "door.unseen")]
    assert stage.box(door).custody is Custody.HELD
    stage.enter(stage.code())
    assert stage.last(Pulse).door == door


def test_what_was_never_durable_has_never_happened() -> None:
    stage, door = held()
    stage.slow_disk = True
    stage.enter(stage.code())
    stage.slow_disk = False
    restarted(stage)
    stage.see_all(occupied=(door,))
    stage.after(300_000)
    assert not stage.recorded(facts.OpenIntended)
    assert stage.box(door).custody is Custody.HELD


def test_found_open_after_the_crash_is_opened_by_its_intent() -> None:
    stage, door = held()
    stage.enter(stage.code())
    restarted(stage)
    stage.see_all(is_open=(door,), occupied=(door,))
    assert outcomes(stage) == [("opened", "door.found_open")]
    assert stage.recorded(facts.OpenEnded)[0].took_ms is None  # nobody timed it
    assert not stage.recorded(facts.DoorForced)
    stage.shut(door, occupied=False)
    stage.after(60_000)
    assert stage.recorded(facts.ParcelCollected)


def test_found_closed_and_empty_is_doubt_and_the_code_still_opens() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.pulse_done()
    restarted(stage)
    stage.occupancy(door, occupied=False)
    stage.see_all()
    stage.after(1_000)
    assert outcomes(stage) == [("doubt", "door.unseen")]
    assert stage.box(door).custody is Custody.DOUBT
    stage.enter(stage.code())
    assert stage.last(Pulse).door == door


def test_closed_during_the_outage_is_judged_by_the_sensor() -> None:
    stage, _ = held()
    stage.enter(stage.code())
    stage.opens()
    restarted(stage)
    stage.see_all()
    stage.after(1_000)
    assert stage.recorded(facts.DoorClosed)[0].occupied is False
    stage.after(60_000)
    assert stage.recorded(facts.ParcelCollected)


def test_still_open_after_the_outage_is_the_same_opening() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    restarted(stage)
    stage.see_all(is_open=(door,))
    stage.shut(door, occupied=True)
    assert stage.recorded(facts.ParcelLeft)
    assert len(stage.recorded(facts.OpenEnded)) == 1


def test_the_grace_begins_again_after_an_outage() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    restarted(stage)
    stage.see_all()
    stage.after(59_000)
    assert not stage.recorded(facts.ParcelCollected)
    stage.after(2_000)
    assert stage.recorded(facts.ParcelCollected)


def test_open_after_the_outage_though_it_was_closed_before_is_forced() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    restarted(stage)
    stage.see_all(is_open=(door,))
    assert stage.recorded(facts.DoorForced)[0].found
    assert stage.box(door).custody is Custody.DOUBT


def test_a_door_that_stays_unseen_ends_its_intent_in_doubt_in_time() -> None:
    stage, door = held()
    stage.enter(stage.code())
    restarted(stage)
    stage.send(BoardSilent(now=stage.now, board="doors", doors=(1, 2, 3, 4)))
    stage.after(120_000)
    assert outcomes(stage) == [("doubt", "door.silent")]
    assert stage.box(door).custody is Custody.DOUBT
    assert not stage.engine.state.openings


def test_a_door_unseen_while_a_parcel_may_be_going_waits_until_it_is_seen() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    restarted(stage)
    stage.after(600_000)
    assert stage.box(door).custody is Custody.COLLECTING
    stage.see_all()
    stage.after(61_000)
    assert stage.recorded(facts.ParcelCollected)


def test_a_door_that_settles_and_falls_silent_after_a_start_still_ends_its_intent() -> None:
    stage, door = held()
    stage.enter(stage.code())
    restarted(stage)
    stage.door(door, is_open=False)
    stage.send(BoardSilent(now=stage.now, board="doors", doors=(1, 2, 3, 4)))
    stage.after(1_000)
    assert not outcomes(stage)
    stage.after(120_000)
    assert outcomes(stage) == [("doubt", "door.silent")]


def test_a_forced_door_that_is_still_open_is_not_forced_twice() -> None:
    stage, door = held()
    stage.door(door, is_open=True)
    restarted(stage)
    stage.see_all(is_open=(door,))
    assert len(stage.recorded(facts.DoorForced)) == 1
    stage.shut(door, occupied=True)
    assert stage.recorded(facts.DoorClosed)


@pytest.mark.parametrize(
    ("occupied", "custody"), [(True, Custody.HELD), (False, Custody.FREE), (None, Custody.DOUBT)]
)
def test_a_deposit_is_finished_by_evidence(occupied: bool | None, custody: Custody) -> None:
    stage = Stage(map=small_map(sensors=occupied is not None))
    stage.login()
    stage.scan()
    stage.press(Button.SIZE, "S")
    stage.opens()
    restarted(stage)
    stage.see_all(occupied=(1,) if occupied else ())
    stage.after(1_000 + 120_000)
    assert stage.box(1).custody is custody
    if occupied:
        stage.enter(stage.code())
        assert stage.last(Pulse).door == 1


def test_a_deposit_whose_door_never_opened_leaves_it_free() -> None:
    stage = Stage()
    stage.login()
    stage.scan()
    stage.press(Button.SIZE, "S")
    restarted(stage)
    stage.see_all()
    stage.after(1_000)
    assert outcomes(stage) == [("doubt", "door.unseen")]
    assert stage.box(1).custody is Custody.FREE


def test_a_take_back_is_finished_by_evidence() -> None:
    stage = Stage()
    stage.deposit()
    stage.press(Button.MINE)
    stage.press(Button.TAKE_BACK, "1")
    stage.opens()
    restarted(stage)
    stage.see_all()
    stage.after(1_000)
    assert stage.recorded(facts.ParcelTakenBack)


def test_what_support_had_open_is_judged_after_the_outage() -> None:
    stage, door = held()
    stage.send(SupportOpens(now=stage.now, token="s", by="ada", door=door, reason="r", case="C7"))
    stage.opens()
    restarted(stage)
    stage.see_all(occupied=(door,))
    stage.after(1_000)
    assert stage.recorded(facts.ParcelLeft)
    assert stage.box(door).custody is Custody.HELD


def test_support_at_an_empty_compartment_is_taken_up_while_open_and_not_afterwards() -> None:
    stage = Stage()
    stage.send(SupportOpens(now=stage.now, token="s", by="ada", door=3, reason="r", case="C7"))
    stage.opens()
    restarted(stage)
    assert stage.engine.state.openings[3].purpose == "support"
    stage.see_all()
    stage.after(1_000)
    assert stage.box(3).custody is Custody.FREE
    restarted(stage)
    assert not stage.engine.state.openings


def test_a_failed_opening_is_not_taken_up_again() -> None:
    stage, _ = held()
    stage.enter(stage.code())
    stage.pulse_done("not_sent", "bus.down")
    restarted(stage)
    assert not stage.engine.state.openings


def test_a_door_opened_after_its_intent_had_ended_is_watched_but_judged_by_nobody() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.pulse_done("not_sent", "bus.down")
    stage.after(60_000)
    stage.door(door, is_open=True)
    restarted(stage)
    assert stage.engine.state.openings[door].purpose == "none"
    stage.see_all(occupied=(door,))
    stage.after(1_000)
    assert stage.box(door).custody is Custody.DOUBT
    assert not stage.box(door).door_open


def test_the_same_log_gives_the_same_book_again() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(60_000)
    before = stage.engine.book.canonical()
    restarted(stage)
    assert stage.engine.state.book.canonical() == before
