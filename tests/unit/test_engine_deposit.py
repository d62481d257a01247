"""A courier delivers with no network: secret, number, size, door, evidence, and taking back."""

from base64 import b64encode

import pytest

from gateway.core.inputs import (
    BoardSilent,
    Button,
    CourierAdded,
    ServiceSet,
    StaffCodeEntered,
)
from gateway.core.outputs import Answer, Pulse
from sync import facts
from sync.codes import staff_secret, staff_tag
from sync.custody import Custody
from tests.stage import KEY, SECRET, TRACKING, Stage, small_map


def ready(stage: Stage | None = None) -> Stage:
    """A courier who has scanned a parcel and is asked for its size."""
    stage = stage or Stage()
    stage.login()
    stage.scan()
    return stage


def opened(stage: Stage | None = None, size: str = "S") -> tuple[Stage, int]:
    stage = ready(stage)
    stage.press(Button.SIZE, size)
    return stage, stage.opens()


def fail(stage: Stage) -> None:
    """Three pulses, and the door stays shut."""
    for _ in range(3):
        stage.after(400)
        stage.pulse_done()
        stage.after(3_000)
    assert stage.screen().name == "deliver.fault"


def test_a_number_whose_door_is_being_opened_is_no_second_parcel() -> None:
    """Found by `test_engine_property`: scanned twice while its door opened, it got two."""
    stage = ready()
    stage.press(Button.SIZE, "S")
    stage.press(Button.DELIVER)
    stage.scan()
    assert (stage.screen().name, stage.screen().why) == ("deliver.again", "parcel.already_here")
    stage.press(Button.ANOTHER_PIECE)
    assert stage.screen().name == "deliver.size"


# --- the life of a deposit --------------------------------------------------------------------


def test_the_life_of_a_deposit() -> None:
    stage, door = opened()
    assert stage.screen().name == "deliver.open"
    assert stage.box(door).custody is Custody.DEPOSITING
    stage.shut(door, occupied=True)
    fact = stage.recorded(facts.ParcelDeposited)[0]
    assert (fact.by, fact.size, fact.digits, fact.counter, fact.basis) == (
        stage.courier, "S", 8, 0, "sensor",
    )  # fmt: skip
    assert (stage.screen().name, stage.screen().door) == ("deliver.scan", door)
    assert stage.box(door).custody is Custody.HELD
    parcel = stage.engine.state.book.parcel_in(door)
    assert parcel is not None
    assert parcel.identity == f"acme/{TRACKING}/1"


def test_the_next_parcel_needs_no_second_login() -> None:
    stage = Stage()
    first = stage.deposit()
    stage.press(Button.NEXT)
    second = stage.deposit("AB1")
    assert {first, second} == {1, 2}
    stage.press(Button.DELIVER)
    assert stage.screen().name == "deliver.scan"


def test_next_without_a_courier_is_nothing() -> None:
    stage = Stage()
    assert stage.press(Button.NEXT) == []


def test_another_courier_at_the_same_screen_takes_over() -> None:
    stage = Stage()
    secret = staff_secret(bytes(16), KEY.site)
    tag = b64encode(staff_tag(KEY.key, KEY.site, secret)).decode()
    stage.send(CourierAdded(now=stage.now, token="c", by="x", tenant="b", label="v", tag=tag))
    other = stage.last(Answer).ref
    stage.deposit()
    session = stage.engine.state.sessions["main"]
    assert session.mine
    stage.send(StaffCodeEntered(now=stage.now, kiosk="main", digits=SECRET))
    assert session.mine  # the same person again
    stage.send(StaffCodeEntered(now=stage.now, kiosk="main", digits=secret))
    assert (session.courier, session.mine) == (other, [])


def test_a_recipient_cannot_use_a_couriers_session() -> None:
    stage = Stage()
    stage.deposit()
    before = len(stage.pulses())
    stage.enter(stage.code())
    assert len(stage.pulses()) == before


# --- the parcel's number ----------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "a/b", "ä1", "x" * 65, "two words", "JD-1"])
def test_what_is_no_tracking_number_is_refused(text: str) -> None:
    stage = Stage()
    stage.login()
    stage.scan(text)
    assert (stage.screen().name, stage.screen().why) == ("deliver.scan", "parcel.malformed")


def test_a_number_scanned_by_nobody_is_nothing() -> None:
    assert Stage().scan() == []


def test_a_number_scanned_when_not_asked_for_is_nothing() -> None:
    stage = ready()
    assert stage.scan("AB1") == []
    assert stage.press(Button.ANOTHER_PIECE) == []


def test_a_number_that_is_here_can_be_one_more_piece() -> None:
    stage = Stage()
    stage.deposit()
    stage.scan(TRACKING.lower())
    assert stage.screen().why == "parcel.already_here"
    stage.press(Button.ANOTHER_PIECE)
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.shut(door, occupied=True)
    parcel = stage.engine.state.book.parcel_in(door)
    assert parcel is not None
    assert parcel.identity == f"acme/{TRACKING}/2"


def test_a_parcel_that_comes_again_gets_another_code() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(60_000)
    stage.deposit()
    assert [fact.counter for fact in stage.recorded(facts.ParcelDeposited)] == [0, 1]


# --- the compartment --------------------------------------------------------------------------


def test_the_sizes_shown_are_those_of_the_bank_with_what_is_free() -> None:
    stage = ready()
    assert stage.screen().sizes == (("S", 2), ("M", 1), ("L", 1))


@pytest.mark.parametrize("argument", ["", "XXL", "S high", "s"])
def test_a_size_that_is_none_is_nothing(argument: str) -> None:
    assert ready().press(Button.SIZE, argument) == []


def test_a_size_pressed_when_not_asked_for_is_nothing() -> None:
    stage = Stage()
    stage.login()
    assert stage.press(Button.SIZE, "S") == []


def test_whoever_needs_a_low_compartment_gets_the_low_one() -> None:
    stage = ready()
    stage.press(Button.SIZE, "S low")
    assert stage.last(Pulse).door == 2


def test_the_less_worn_of_two_equals_is_taken() -> None:
    stage, door = opened()
    stage.shut(door, occupied=False)
    stage.press(Button.NEXT)
    stage.scan()
    stage.press(Button.SIZE, "M")
    assert stage.last(Pulse).door == 3


def test_a_full_size_gives_the_next_larger_and_a_full_bank_says_so() -> None:
    stage = Stage()
    doors = [stage.deposit(f"AB{number}", "S") for number in range(4)]
    assert doors == [1, 2, 3, 4]
    stage.scan()
    stage.press(Button.SIZE, "S")
    assert stage.screen().why == "size.none_free"


def test_what_is_in_doubt_open_disabled_silent_or_occupied_is_not_given() -> None:
    stage = Stage()
    stage.door(1, is_open=True)
    stage.shut(1, occupied=True)
    stage.send(
        ServiceSet(now=stage.now, token="t", by="ada", door=2, enabled=False, reason="hinge")
    )
    stage.door(3, is_open=True)
    stage.send(BoardSilent(now=stage.now, board="sensors", doors=(4,)))
    stage.login()
    stage.scan()
    assert [count for _, count in stage.screen().sizes] == [0, 0, 0]


# --- it does not fit, it stays empty, it does not open ----------------------------------------


def test_does_not_fit_gives_a_larger_one_once_the_door_is_closed() -> None:
    stage, door = opened()
    stage.press(Button.TOO_SMALL)
    assert stage.screen().why == "parcel.too_small"
    assert len(stage.pulses()) == 1
    stage.shut(door, occupied=False)
    assert [pulse.door for pulse in stage.pulses()] == [door, 3]
    assert stage.box(door).custody is Custody.FREE


def test_does_not_fit_after_the_door_was_closed_empty() -> None:
    stage, door = opened()
    stage.shut(door, occupied=False)
    assert stage.screen().name == "deliver.empty"
    stage.press(Button.TOO_SMALL)
    assert stage.last(Pulse).door == 3


def test_nothing_is_larger_than_the_largest() -> None:
    stage, door = opened(size="L")
    stage.shut(door, occupied=False)
    stage.press(Button.TOO_SMALL)
    assert stage.screen().why == "size.none_free"


def test_does_not_fit_is_nothing_where_no_own_door_is_open() -> None:
    stage, door = opened()
    stage.door(door, is_open=False)
    stage.after(1_000)
    stage.press(Button.NEXT)
    assert stage.press(Button.TOO_SMALL) == []
    stage.scan()
    stage.press(Button.SIZE, "S")
    stage.opens()
    stage.engine.state.openings.clear()
    assert stage.press(Button.TOO_SMALL) == []


def test_again_opens_the_same_compartment() -> None:
    stage, door = opened()
    stage.shut(door, occupied=False)
    stage.press(Button.RETRY)
    assert [pulse.door for pulse in stage.pulses()] == [door, door]
    assert stage.recorded(facts.OpenIntended)[-1].why == "again"


def test_again_takes_the_next_one_when_the_same_was_disturbed() -> None:
    stage, door = opened()
    stage.shut(door, occupied=False)
    stage.door(door, is_open=True)
    stage.press(Button.RETRY)
    assert [pulse.door for pulse in stage.pulses()] == [door, 2]


def test_after_a_fault_the_next_compartment_opens_and_the_stuck_one_is_out_of_service() -> None:
    stage = ready()
    stage.press(Button.SIZE, "S")
    fail(stage)
    assert stage.box(1).disabled == "door.stuck"
    assert stage.box(1).custody is Custody.FREE
    stage.press(Button.RETRY)
    assert stage.last(Pulse).door == 2


def test_again_is_nothing_where_no_door_is_on_the_screen() -> None:
    stage = ready()
    assert stage.press(Button.RETRY) == []
    stage.press(Button.SIZE, "S")
    assert stage.press(Button.RETRY) == []


def test_a_courier_who_left_is_not_sent_to_a_next_compartment() -> None:
    stage, door = opened()
    stage.press(Button.TOO_SMALL)
    stage.home()
    stage.shut(door, occupied=False)
    assert len(stage.pulses()) == 1
    assert stage.screen().name == "welcome"


def test_a_deposit_counts_though_its_courier_left() -> None:
    stage, door = opened()
    stage.home()
    stage.shut(door, occupied=True)
    assert stage.box(door).custody is Custody.HELD
    assert stage.screen().name == "welcome"


def test_a_deposit_counts_for_the_courier_who_already_scans_the_next() -> None:
    stage, door = opened()
    stage.press(Button.NEXT)
    stage.scan("AB1")
    stage.shut(door, occupied=True)
    assert stage.screen().name == "deliver.size"
    assert len(stage.engine.state.sessions["main"].mine) == 1


def test_an_unseen_opening_of_a_full_compartment_is_a_deposit() -> None:
    stage = ready()
    stage.press(Button.SIZE, "S")
    stage.pulse_done()
    stage.occupancy(1, occupied=True)
    stage.send(BoardSilent(now=stage.now, board="doors", doors=(1,)))
    stage.after(3_000)
    assert [fact.outcome for fact in stage.recorded(facts.OpenEnded)] == ["doubt"]
    assert stage.recorded(facts.ParcelDeposited)[0].basis == "recovered"
    assert stage.box(1).custody is Custody.HELD


def test_an_unseen_opening_without_a_sensor_is_not_tried_again() -> None:
    stage = ready(Stage(map=small_map(sensors=False)))
    stage.press(Button.SIZE, "S")
    stage.pulse_done("unanswered")
    stage.after(3_000)
    assert len(stage.pulses()) == 1
    assert stage.box(1).custody is Custody.DOUBT
    stage.press(Button.RETRY)
    assert stage.last(Pulse).door == 2


def test_forced_while_being_asked_ends_the_question_in_doubt() -> None:
    stage, door = opened(Stage(map=small_map(sensors=False)))
    stage.shut(door, occupied=None)
    stage.door(door, is_open=True)
    stage.press(Button.YES)
    assert not stage.recorded(facts.ParcelDeposited)
    assert stage.box(door).custody is Custody.DOUBT


def test_a_compartment_doubted_while_open_is_no_deposit() -> None:
    stage, door = opened()
    compartment = stage.box(door)
    compartment.custody = Custody.DOUBT  # as another room may find
    stage.shut(door, occupied=True)
    assert not stage.recorded(facts.ParcelDeposited)
