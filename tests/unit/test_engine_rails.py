"""One pulse a rail, what the sensor says of closed doors, and what the screen says of open ones."""

from gateway.core.inputs import BoardSilent, Button
from gateway.core.outputs import Poll
from sync import facts
from sync.custody import Custody
from tests.stage import SETTINGS, Stage, small_map

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


# --- the rails --------------------------------------------------------------------------------


def two_held() -> tuple[Stage, int, int]:
    stage = Stage()
    doors = stage.deposit(), stage.deposit("AB1")
    stage.home()
    stage.outputs.clear()
    stage.facts.clear()
    return stage, *doors


def test_a_rail_whose_pulse_never_ends_serves_the_next_one() -> None:
    stage, first, second = two_held()
    stage.enter(stage.code())
    stage.door(first, is_open=True)  # it opened, and nobody ever says how the pulse ended
    stage.after(2_000 + 400 + 1_500)
    stage.enter(stage.code("AB1"))
    assert [pulse.door for pulse in stage.pulses()] == [first, second]


def test_a_pulse_that_waits_for_its_rail_too_long_is_not_sent() -> None:
    stage, first, second = two_held()
    stage.settings = SETTINGS
    stage.enter(stage.code())
    rail = stage.engine.state.rails["left"]
    stage.enter(stage.code("AB1"))
    stage.engine.state.timers.pop(("rail", "left"))  # as if the rail never came free
    stage.engine.state.openings.pop(first)
    stage.engine.state.timers.pop(("door", first))
    stage.after(2_000 + 6_000 + 400 + 1_500)
    assert stage.recorded(facts.OpenEnded)[-1].why == "door.late"
    assert [pulse.door for pulse in stage.pulses()] == [first]
    assert rail.queue[0].door == second


def test_a_forced_door_gives_its_place_at_the_rail_away() -> None:
    stage, first, second = two_held()
    stage.enter(stage.code())
    stage.enter(stage.code("AB1"))
    stage.door(second, is_open=True)
    stage.pulse_done()
    stage.after(200)
    assert [pulse.door for pulse in stage.pulses()] == [first]
    assert stage.engine.state.rails["left"].busy is None


def test_other_rails_do_not_wait() -> None:
    stage = Stage()
    stage.deposit()
    third = stage.deposit("AB1", "M")
    stage.home()
    stage.outputs.clear()
    stage.enter(stage.code())
    stage.enter(stage.code("AB1"))
    assert [pulse.door for pulse in stage.pulses()] == [1, third]


# --- what the sensor says of a closed door ----------------------------------------------------


def test_what_vanishes_or_appears_behind_a_closed_door_is_doubt_with_an_alarm() -> None:
    stage, door = held()
    stage.occupancy(door, occupied=False)
    stage.occupancy(3, occupied=True)
    doubted = stage.recorded(facts.CompartmentDoubted)
    assert [(fact.door, fact.why) for fact in doubted] == [
        (door, "occupancy.vanished"),
        (3, "occupancy.appeared"),
    ]
    assert alarms(stage, "occupancy.changed", door) == 1
    assert stage.box(3).custody is Custody.DOUBT


def test_what_appears_inside_the_grace_is_doubt_and_not_collected() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    stage.shut(door, occupied=False)
    stage.occupancy(door, occupied=True)
    assert stage.recorded(facts.CompartmentDoubted)[0].why == "occupancy.appeared"
    stage.after(60_000)
    assert not stage.recorded(facts.ParcelCollected)
    assert not stage.engine.state.openings


def test_a_sensor_that_comes_back_inside_the_grace_is_judged_when_the_grace_is_over() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    stage.send(BoardSilent(now=stage.now, board="sensors", doors=(door,)))
    stage.shut(door, occupied=None)
    stage.occupancy(door, occupied=True)
    assert not stage.recorded(facts.CompartmentDoubted)
    stage.after(60_000)
    assert stage.recorded(facts.ParcelClaimed)
    assert stage.recorded(facts.CompartmentDoubted)[0].why == "occupancy.appeared"


def test_a_sensor_that_gives_way_after_a_failed_opening_ends_the_wait_for_a_late_one() -> None:
    stage, door = commanded()
    stage.pulse_done("not_sent", "bus.down")
    stage.occupancy(door, occupied=False)
    assert stage.recorded(facts.CompartmentDoubted)[0].why == "occupancy.vanished"
    assert not stage.engine.state.openings


def test_a_door_is_watched_closely_while_it_may_move() -> None:
    stage, door = held()
    outputs = stage.enter(stage.code())
    poll = next(output for output in outputs if isinstance(output, Poll))
    assert (poll.door, poll.until) == (door, stage.mono + 2_000 + C_MS)


# --- the screen -------------------------------------------------------------------------------


def test_a_code_typed_at_a_forced_door_shows_that_it_is_open() -> None:
    stage, door = held()
    stage.door(door, is_open=True)
    stage.enter(stage.code())
    assert (stage.screen().name, stage.screen().door) == ("collect.open", door)
    assert not stage.pulses()


def test_open_again_is_nothing_without_a_parcel_to_open_for() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    stage.shut(door, occupied=False)
    stage.engine.state.sessions["main"].parcel = None
    assert stage.press(Button.OPEN_AGAIN) == []


def test_a_doubted_pickup_is_not_collected_by_an_empty_look() -> None:
    stage, door = commanded()
    stage.door(door, is_open=True)
    stage.box(door).custody = Custody.DOUBT  # as another room may find
    stage.shut(door, occupied=False)
    assert not stage.recorded(facts.ParcelCollected)
    assert not stage.engine.state.openings


def test_timers_of_doors_that_are_done_are_nothing() -> None:
    stage, door = held()
    for key in (("door", door), ("ajar", door)):
        stage.engine.state.timers[key] = stage.mono
    stage.after(1)
    assert not stage.facts
    stage.enter(stage.code())
    stage.opens()
    stage.engine.state.timers["door", door] = stage.mono
    count = len(stage.facts)
    stage.after(1)
    assert len(stage.facts) == count
    assert small_map().doors[door].pulse_ms == 400


def test_a_door_seen_closed_while_it_is_commanded_is_no_news() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.door(door, is_open=False)
    assert kinds(stage) == ["open.intended"]
