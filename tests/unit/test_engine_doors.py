"""The door truth table of HARDWARE.md 2.1, every row in and out of the window; the rails."""

import pytest

from gateway.core.inputs import BoardBack, BoardSilent, Button, PulseDone, SupportOpens
from gateway.core.outputs import Answer, Pulse, Show
from sync import facts
from sync.custody import Custody
from tests.stage import SETTINGS, Stage

C_MS = 400 + SETTINGS.window_ms
"""The command window of the table: pulse and three seconds."""


def held() -> tuple[Stage, int]:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    stage.outputs.clear()
    stage.facts.clear()
    return stage, door


def commanded() -> tuple[Stage, int]:
    """The pulse has just ended; the command window runs."""
    stage, door = held()
    stage.enter(stage.code())
    stage.after(400)
    stage.pulse_done()
    return stage, door


def kinds(stage: Stage) -> list[str]:
    return [facts.kind_of(fact) for fact in stage.facts if not isinstance(fact, facts.AlarmRaised)]


def alarms(stage: Stage, alarm: str, door: int | None = None, about: str = "") -> int:
    return len(stage.engine.state.book.standing(alarm, door, about))


# --- closed -> open ---------------------------------------------------------------------------


@pytest.mark.parametrize("at_ms", [0, 1, SETTINGS.window_ms - 1])
def test_closed_to_open_inside_the_window_is_opened_by_its_authority(at_ms: int) -> None:
    stage, door = commanded()
    stage.after(at_ms)
    stage.door(door, is_open=True)
    ended, opened = stage.facts[-2:]
    assert (ended.outcome, ended.took_ms) == ("opened", 400 + at_ms)
    assert opened == facts.DoorOpened(of=ended.of, door=door)
    assert not stage.recorded(facts.DoorForced)


def test_closed_to_open_before_the_pulse_has_ended_is_opened_too() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.after(100)
    stage.door(door, is_open=True)
    stage.pulse_done()
    assert [fact.outcome for fact in stage.recorded(facts.OpenEnded)] == ["opened"]


def test_closed_to_open_outside_every_window_is_forced() -> None:
    stage, door = held()
    stage.door(door, is_open=True)
    assert kinds(stage) == ["door.forced"]
    assert not stage.facts[0].found
    assert alarms(stage, "door.forced", door) == 1


def test_a_neighbour_opening_inside_the_window_is_forced() -> None:
    stage, _ = commanded()
    stage.door(2, is_open=True)
    assert stage.recorded(facts.DoorForced)[0].door == 2
    assert not stage.recorded(facts.DoorOpened)


def test_closed_to_open_before_its_pulse_left_is_forced_and_the_pulse_is_dropped() -> None:
    stage, door = held()
    stage.slow_disk = True
    stage.enter(stage.code())
    stage.door(door, is_open=True)
    stage.flush()
    assert not stage.pulses()
    assert kinds(stage) == ["open.intended", "open.ended", "door.forced"]
    assert stage.recorded(facts.OpenEnded)[0].why == "door.forced"
    assert stage.screen().why == "door.forced"


def test_a_forced_door_before_the_pulse_is_said_to_whoever_asked_for_it() -> None:
    stage, door = held()
    stage.slow_disk = True
    stage.send(
        SupportOpens(now=stage.now, token="s", by="ada", door=door, reason="stuck", case="C7")
    )
    stage.door(door, is_open=True)
    stage.flush()
    assert stage.last(Answer).code == "door.forced"


def test_open_again_inside_the_grace_with_nobodys_code_is_forced() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    stage.shut(door, occupied=False)
    stage.door(door, is_open=True)
    assert stage.recorded(facts.DoorForced)
    assert stage.box(door).custody is Custody.DOUBT
    stage.shut(door, occupied=False)
    stage.after(60_000)
    assert not stage.recorded(facts.ParcelCollected)


# --- open -> closed ---------------------------------------------------------------------------


def test_open_to_closed_is_closed_after_a_commanded_opening() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    stage.shut(door, occupied=False)
    closed = stage.recorded(facts.DoorClosed)[0]
    assert (closed.door, closed.occupied) == (door, False)
    assert closed.of == stage.recorded(facts.DoorOpened)[0].of


def test_open_to_closed_is_closed_after_a_forced_opening() -> None:
    stage, door = held()
    stage.door(door, is_open=True)
    stage.shut(door, occupied=True)
    assert kinds(stage) == ["door.forced", "door.closed"]
    assert not stage.engine.state.openings


def test_closed_counts_after_a_second_and_not_before() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    stage.door(door, is_open=False)
    stage.after(SETTINGS.stable_ms - 1)
    assert not stage.recorded(facts.DoorClosed)
    stage.after(1)
    assert stage.recorded(facts.DoorClosed)


def test_the_same_news_twice_changes_nothing() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    count = len(stage.facts)
    stage.door(door, is_open=True)
    stage.door(2, is_open=False)
    assert len(stage.facts) == count


# --- stays closed at the end of C -------------------------------------------------------------


def test_stays_closed_is_one_more_pulse_then_a_request_to_pull_then_a_third_then_a_fault() -> None:
    stage, door = commanded()
    seen = []
    for _ in range(3):
        stage.after(SETTINGS.window_ms - 1)
        seen.append((len(stage.pulses()), stage.screen().name))
        stage.after(1)
        if len(stage.pulses()) < 3 or stage.screen().name == "collect.pull":
            stage.after(400)
            stage.pulse_done()
    assert seen == [(1, "collect.opening"), (2, "collect.opening"), (3, "collect.pull")]
    intents = stage.recorded(facts.OpenIntended)
    assert [intent.why for intent in intents] == ["asked", "no_opening", "no_opening"]
    assert [intent.attempt for intent in intents] == [1, 2, 3]
    assert intents[0].again is None
    assert len({intent.again for intent in intents[1:]}) == 2
    assert stage.screen().name == "collect.fault"
    assert alarms(stage, "door.stuck", door) == 1
    assert stage.box(door).custody is Custody.HELD


def test_a_door_that_was_never_commanded_may_stay_closed() -> None:
    stage, _ = held()
    stage.after(60_000)
    assert not stage.facts


def test_a_compartment_already_out_of_service_is_not_disabled_twice() -> None:
    stage, door = commanded()
    for _ in range(2):
        for _ in range(3):
            stage.after(3_000)
            stage.after(400)
            stage.pulse_done()
        stage.after(20_000)
        stage.enter(stage.code())
        stage.pulse_done()
    assert len(stage.recorded(facts.CompartmentDisabled)) == 1
    assert alarms(stage, "door.stuck", door) == 1


# --- open too long ----------------------------------------------------------------------------


@pytest.mark.parametrize("forced", [True, False])
def test_open_longer_than_a_minute_reminds_and_than_five_alarms(forced: bool) -> None:
    stage, door = held() if forced else commanded()
    stage.door(door, is_open=True)
    stage.after(59_999)
    assert not stage.recorded(facts.DoorAjar)
    stage.after(1)
    assert [fact.open_ms for fact in stage.recorded(facts.DoorAjar)] == [60_000]
    assert not alarms(stage, "door.ajar", door)
    stage.after(240_000)
    assert alarms(stage, "door.ajar", door) == 1
    stage.shut(door, occupied=True)
    assert not alarms(stage, "door.ajar", door)


def test_the_reminder_does_not_disturb_who_came_next() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    stage.press(Button.COLLECT)
    stage.after(59_000)
    stage.press(Button.STAY)
    stage.outputs.clear()
    stage.after(2_000)
    assert not [out for out in stage.outputs if isinstance(out, Show) and out.screen.door]


def test_an_open_door_is_not_given_away() -> None:
    stage = Stage()
    stage.door(3, is_open=True)
    stage.login()
    stage.scan()
    assert dict(stage.screen().sizes)["M"] == 0


# --- no reply: unknown, never closed ----------------------------------------------------------


def test_a_silent_board_closes_no_door() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    stage.send(BoardSilent(now=stage.now, board="doors", doors=(door,)))
    stage.after(30_000)
    assert not stage.recorded(facts.DoorClosed)
    stage.send(BoardBack(now=stage.now, board="doors", doors=(door,)))
    stage.shut(door, occupied=False)
    assert stage.recorded(facts.DoorClosed)


def test_a_board_that_falls_silent_while_the_door_settles_closes_no_door() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    stage.door(door, is_open=False)
    stage.send(BoardSilent(now=stage.now, board="doors", doors=(door,)))
    stage.after(5_000)
    assert not stage.recorded(facts.DoorClosed)
    stage.door(door, is_open=False)
    stage.after(1_000)
    assert stage.recorded(facts.DoorClosed)


def test_a_silent_board_makes_the_outcome_doubt_and_the_lock_is_not_to_blame() -> None:
    stage, door = commanded()
    stage.send(BoardSilent(now=stage.now, board="doors", doors=(door,)))
    stage.after(3_000)
    ended = stage.recorded(facts.OpenEnded)[0]
    assert (ended.outcome, ended.occupied) == ("doubt", True)
    assert stage.screen().why == "door.silent"
    assert not stage.box(door).disabled
    assert len(stage.pulses()) == 1


def test_a_door_found_open_when_its_board_returns_is_forced() -> None:
    stage, door = held()
    stage.send(BoardSilent(now=stage.now, board="doors", doors=(door,)))
    stage.send(BoardBack(now=stage.now, board="doors", doors=(door,)))
    stage.door(door, is_open=True)
    assert stage.recorded(facts.DoorForced)[0].found


# --- late -------------------------------------------------------------------------------------


def test_a_late_end_of_a_pulse_changes_nothing() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    count = len(stage.facts)
    for result in ("done", "not_sent", "unanswered"):
        stage.pulse_done(result, "bus.down")
    stage.send(PulseDone(now=stage.now, intent="e1-00000001:sc0", door=door, result="done"))
    assert len(stage.facts) == count
    assert stage.screen().name == "collect.open"


def test_a_pulse_that_waits_for_the_disk_too_long_is_late_and_never_sent() -> None:
    stage, door = held()
    stage.slow_disk = True
    stage.enter(stage.code())
    stage.after(2_000 + 400 + 1_500)
    stage.flush()
    assert not stage.pulses()
    assert [fact.why for fact in stage.recorded(facts.OpenEnded)] == ["door.late"]
    stage.slow_disk = False
    stage.after(200)
    stage.enter(stage.code())
    assert stage.last(Pulse).door == door


def test_a_late_opening_that_nobody_answers_for_any_more_is_judged_all_the_same() -> None:
    stage, door = commanded()
    stage.pulse_done("not_sent", "bus.down")
    stage.enter(stage.code())
    stage.pulse_done("not_sent", "bus.down")
    stage.door(door, is_open=True)
    assert stage.recorded(facts.OpenEnded)[-1].outcome == "late"
    stage.shut(door, occupied=False)
    stage.after(60_000)
    assert stage.recorded(facts.ParcelCollected)
