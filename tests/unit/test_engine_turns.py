"""What only goes on record, a log that fails, screens that end, and inputs nobody knows."""

from dataclasses import replace

import pytest

from gateway.core.inputs import (
    BoardBack,
    BoardSilent,
    Button,
    ClockAnchored,
    CodeEntered,
    CourierRemoved,
    DoorSeen,
    HealthMeasured,
    Input,
    LanesMeasured,
    OccupancySeen,
    PersistFailed,
    PulseDone,
    ServiceSet,
    StaffCodeEntered,
    TimePassed,
    Trouble,
)
from gateway.core.outputs import Answer, Pulse, Show, WakeAt
from sync import facts
from tests.stage import KEY, SECRET, Stage


def held() -> tuple[Stage, int]:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    stage.outputs.clear()
    stage.facts.clear()
    return stage, door


# --- what only goes on record -----------------------------------------------------------------


def test_time_lanes_and_health_go_on_record() -> None:
    stage = Stage()
    stage.send(ClockAnchored(now=stage.now, source="ntp"))
    stage.send(LanesMeasured(now=stage.now, lanes={"urgent": (1, "AAAA")}))
    stage.send(HealthMeasured(now=stage.now, values={"cpu_c": 41}))
    anchored, tied, sampled = stage.facts[-3:]
    assert (anchored.utc_ms, anchored.source) == (stage.now.wall_ms, "ntp")
    assert tied.lanes == {"urgent": (1, "AAAA")}
    assert sampled.values == {"cpu_c": 41}
    assert stage.engine.state.book.anchor is not None


def test_trouble_is_one_alarm_until_it_ends() -> None:
    stage = Stage()
    for _ in range(2):
        stage.send(Trouble(now=stage.now, alarm="disk.low", about="/data"))
    assert len(stage.recorded(facts.AlarmRaised)) == 1
    for _ in range(2):
        stage.send(Trouble(now=stage.now, alarm="disk.low", about="/data", standing=False))
    assert len(stage.recorded(facts.AlarmCleared)) == 1


def test_doors_that_are_not_in_the_map_are_nobodys() -> None:
    stage = Stage()
    before = len(stage.facts)
    stage.door(77, is_open=True)
    stage.occupancy(77, occupied=True)
    stage.send(PulseDone(now=stage.now, intent="e1-00000001:sc1", door=77, result="done"))
    stage.send(BoardSilent(now=stage.now, board="doors", doors=(77,)))
    assert len(stage.facts) == before + 1  # the alarm of the silent board


def test_a_silent_sensor_board_leaves_the_doors_in_use() -> None:
    stage, door = held()
    stage.send(BoardSilent(now=stage.now, board="sensors", doors=(1, 2, 3, 4)))
    assert stage.engine.state.look(door).occupied is None
    stage.enter(stage.code())
    assert stage.last(Pulse).door == door


def test_an_input_that_nobody_knows_is_a_bug() -> None:
    stage = Stage()
    with pytest.raises(AssertionError):
        stage.engine.handle(Input(now=stage.now))


def test_a_timer_that_nobody_knows_is_a_bug() -> None:
    stage = Stage()
    stage.engine.state.timers["nobody", ""] = 0
    with pytest.raises(AssertionError):
        stage.engine.handle(TimePassed(now=stage.now))


# --- the log fails ----------------------------------------------------------------------------


def test_after_the_log_failed_everybody_is_told_and_no_door_opens() -> None:
    stage, door = held()
    stage.slow_disk = True
    stage.send(ServiceSet(now=stage.now, token="w", by="ada", door=door, enabled=True, reason=""))
    outputs = stage.engine.handle(PersistFailed(now=stage.now, reason="io"))
    assert Answer("w", "log.failed") in outputs
    now = stage.now
    told = stage.engine.handle(CourierRemoved(now=now, token="x", by="ada", grant="g"))
    assert told == [Answer("x", "log.failed")]
    told = stage.engine.handle(StaffCodeEntered(now=now, kiosk="main", digits=SECRET))
    assert [type(output) for output in told] == [Show]
    assert stage.engine.handle(DoorSeen(now=now, door=door, open=True)) == []
    assert stage.engine.handle(CodeEntered(now=now, kiosk="main", digits=stage.code()))
    assert not stage.pulses()


# --- screens in time --------------------------------------------------------------------------


def test_a_forgotten_screen_warns_and_then_goes_home() -> None:
    stage = Stage()
    stage.press(Button.COLLECT)
    stage.after(40_000)
    assert (stage.screen().name, stage.screen().warn) == ("collect.enter", True)
    stage.after(20_000)
    assert stage.screen().name == "welcome"


def test_whoever_asks_for_more_time_gets_it() -> None:
    stage = Stage()
    assert stage.press(Button.STAY) == []  # the first screen never ends
    stage.press(Button.COLLECT)
    stage.after(45_000)
    stage.press(Button.STAY)
    assert not stage.screen().warn
    stage.after(59_000)
    assert stage.screen().name == "collect.enter"


def test_a_screen_too_short_to_warn_just_ends() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(20_000)
    assert stage.screen().name == "welcome"


def test_help_is_one_button_away() -> None:
    stage = Stage()
    stage.press(Button.HELP)
    assert stage.screen().name == "help"


def test_a_timer_that_came_too_early_is_asked_for_again() -> None:
    stage = Stage()
    stage.press(Button.COLLECT)
    wake = stage.last(WakeAt)
    stage.mono = wake.mono_ms - 1
    assert stage.send(TimePassed(now=stage.now)) == [wake]


def test_a_board_that_comes_back_ends_its_alarm() -> None:
    stage = Stage()
    stage.send(BoardSilent(now=stage.now, board="relays", doors=(1,)))
    assert stage.engine.state.book.standing("board.silent", None, "relays")
    stage.send(BoardBack(now=stage.now, board="relays", doors=(1,)))
    assert not stage.engine.state.book.standing("board.silent", None, "relays")


def test_occupancy_of_an_open_door_says_nothing_yet() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.send(OccupancySeen(now=stage.now, door=door, occupied=False))
    assert not stage.recorded(facts.CompartmentDoubted)


def test_settings_and_annexes_show_no_secret() -> None:
    stage, _ = held()
    shown = repr(stage.settings) + repr(stage.engine.state.openings)
    assert KEY.key.hex() not in shown
    assert repr(KEY.key) not in shown
    assert replace(stage.settings, grace_ms=1).grace_ms == 1


def test_home_from_help_goes_on_with_the_couriers_round() -> None:
    stage = Stage()
    stage.login()
    stage.press(Button.HELP)
    stage.press(Button.HOME)
    assert stage.screen().name == "deliver.scan"
