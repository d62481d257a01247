"""Where no sensor tells, the courier is asked; and what was delivered can be taken back."""

import pytest

from gateway.core.deposit import MINE_MAX
from gateway.core.inputs import (
    BoardSilent,
    Button,
    ParcelScanned,
)
from gateway.core.outputs import Pulse
from gateway.core.policy import Settings
from sync import facts
from sync.custody import Custody
from tests.stage import KEY, SETTINGS, Stage, small_map


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


def kiosks(*names: str) -> Settings:
    return Settings(
        operator="lockers.example", writer="site/0042", epoch="e1-00000001", code_key=KEY,
        kiosks=names,
    )  # fmt: skip


# --- where nothing tells ----------------------------------------------------------------------


def test_without_a_sensor_the_courier_is_asked() -> None:
    stage, door = opened(Stage(map=small_map(sensors=False)))
    stage.shut(door, occupied=None)
    assert stage.screen().name == "deliver.confirm"
    stage.press(Button.YES)
    assert stage.recorded(facts.ParcelDeposited)[0].basis == "person"


def test_no_is_not_inside_and_the_compartment_is_free() -> None:
    stage, door = opened(Stage(map=small_map(sensors=False)))
    stage.shut(door, occupied=None)
    stage.press(Button.NO)
    assert stage.recorded(facts.CompartmentChecked)
    assert stage.box(door).custody is Custody.FREE
    assert stage.screen().name == "deliver.empty"


def test_a_question_nobody_answers_ends_in_doubt() -> None:
    stage, door = opened(Stage(map=small_map(sensors=False)))
    stage.shut(door, occupied=None)
    stage.after(120_000)
    assert stage.recorded(facts.CompartmentDoubted)[0].why == "person.silent"
    assert stage.box(door).custody is Custody.DOUBT


def test_only_the_screen_that_was_asked_may_answer() -> None:
    stage, door = opened(Stage(map=small_map(sensors=False), settings=kiosks("main", "left")))
    stage.shut(door, occupied=None)
    stage.press(Button.YES, kiosk="left")
    stage.press(Button.HELP)
    stage.press(Button.YES)
    assert not stage.recorded(facts.ParcelDeposited)


def test_yes_to_no_question_is_nothing() -> None:
    stage, door = opened()
    before = len(stage.facts)
    stage.press(Button.YES)
    stage.shut(door, occupied=True)
    assert len(stage.recorded(facts.ParcelDeposited)) == 1
    stage.press(Button.YES)
    assert len(stage.facts) == before + 2


def claimed() -> tuple[Stage, int]:
    """A compartment that its recipient may have emptied, all others full."""
    stage = Stage(map=small_map(sensors=False))
    doors = [stage.deposit(f"AB{number}", "S") for number in range(4)]
    stage.home()
    stage.enter(stage.code("AB0"))
    stage.opens()
    stage.shut(doors[0], occupied=None)
    stage.after(60_000)
    assert stage.box(doors[0]).custody is Custody.CLAIMED
    return stage, doors[0]


def test_a_claimed_compartment_is_given_after_its_time_and_the_courier_looks_first() -> None:
    stage, door = claimed()
    ready(stage)
    assert [count for _, count in stage.screen().sizes] == [0, 0, 0]
    stage.home()
    stage.after(900_001)
    ready(stage)
    stage.press(Button.SIZE, "S")
    assert stage.opens() == door
    assert stage.screen().name == "deliver.check"
    stage.press(Button.YES)
    assert stage.screen().name == "deliver.open"
    stage.shut(door, occupied=None)
    stage.press(Button.YES)
    assert stage.box(door).custody is Custody.HELD


def test_a_claimed_compartment_that_is_not_empty_is_doubt_and_another_is_found() -> None:
    stage, door = claimed()
    stage.enter(stage.code("AB1"))
    stage.opens()
    stage.shut(2, occupied=None)
    stage.after(60_000 + 900_001)
    ready(stage)
    stage.press(Button.SIZE, "S")
    assert stage.opens() == door
    stage.press(Button.NO)
    assert stage.box(door).custody is Custody.DOUBT
    assert stage.last(Pulse).door == 2
    stage.shut(door, occupied=None)
    assert stage.box(door).custody is Custody.DOUBT
    assert not stage.recorded(facts.ParcelDeposited)[4:]
    stage.after(60_000)
    stage.home()
    stage.enter(stage.code("AB0"))  # it is still its recipient's
    assert stage.last(Pulse).door == door


def test_not_empty_after_the_courier_went_home_opens_nothing_more() -> None:
    stage, door = claimed()
    stage.after(900_001)
    ready(stage)
    stage.press(Button.SIZE, "S")
    stage.opens()
    stage.engine.state.sessions["main"].size = None
    stage.press(Button.NO)
    assert stage.last(Pulse).door == door


def test_the_claim_of_an_earlier_boot_counts_from_the_start() -> None:
    stage, _ = claimed()
    stage.restart()
    stage.see_all()
    ready(stage)
    assert [count for _, count in stage.screen().sizes] == [0, 0, 0]
    stage.home()
    stage.after(900_001)
    ready(stage)
    assert stage.screen().sizes[0] == ("S", 1)


# --- taking back ------------------------------------------------------------------------------


def test_a_courier_takes_the_own_deposit_back() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.press(Button.MINE)
    assert stage.screen().doors == (door,)
    stage.press(Button.TAKE_BACK, str(door))
    stage.opens()
    assert (stage.screen().name, stage.screen().why) == ("deliver.open", "parcel.take_out")
    stage.shut(door, occupied=False)
    assert stage.recorded(facts.ParcelTakenBack)[0].basis == "sensor"
    assert stage.screen().name == "deliver.took"
    assert stage.box(door).custody is Custody.FREE
    stage.press(Button.MINE)
    assert stage.screen().doors == ()
    stage.home()
    stage.enter(stage.code())
    assert stage.screen().why == "code.retired"


def test_left_inside_it_is_still_the_recipients() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.press(Button.MINE)
    stage.press(Button.TAKE_BACK, str(door))
    stage.opens()
    stage.shut(door, occupied=True)
    assert stage.screen().why == "parcel.left"
    assert stage.box(door).custody is Custody.HELD


@pytest.mark.parametrize(
    ("button", "custody"), [(Button.YES, Custody.HELD), (Button.NO, Custody.FREE)]
)
def test_without_a_sensor_the_courier_says_whether_it_is_out(
    button: Button, custody: Custody
) -> None:
    stage = Stage(map=small_map(sensors=False))
    door = stage.deposit()
    stage.press(Button.MINE)
    stage.press(Button.TAKE_BACK, str(door))
    stage.opens()
    stage.shut(door, occupied=None)
    assert stage.screen().name == "deliver.confirm"
    stage.press(button)
    assert stage.box(door).custody is custody


def test_only_own_deposits_of_this_session_can_be_taken_back() -> None:
    stage = Stage()
    door = stage.deposit()
    assert stage.press(Button.TAKE_BACK, str(door)) == []  # not from the list
    stage.home()
    assert stage.press(Button.MINE) == []
    stage.login()
    stage.press(Button.MINE)
    assert stage.screen().doors == ()
    assert stage.press(Button.TAKE_BACK, str(door)) == []
    assert len(stage.pulses()) == 1


def test_a_door_that_cannot_open_now_is_said_in_the_list() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.press(Button.MINE)
    stage.send(BoardSilent(now=stage.now, board="relays", doors=(door,)))
    stage.press(Button.TAKE_BACK, str(door))
    assert (stage.screen().name, stage.screen().why) == ("deliver.mine", "door.silent")


def test_what_its_recipient_just_opened_cannot_be_taken_back() -> None:
    stage = Stage(settings=kiosks("main", "left"))
    door = stage.deposit()
    stage.enter(stage.code(), kiosk="left")
    stage.opens()
    stage.shut(door, occupied=False)
    stage.press(Button.MINE)
    stage.press(Button.TAKE_BACK, str(door))
    assert stage.screen().why == "door.busy"


def test_taking_back_a_parcel_that_someone_doubts_decides_nothing() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.press(Button.MINE)
    stage.press(Button.TAKE_BACK, str(door))
    stage.opens()
    stage.box(door).custody = Custody.DOUBT  # as another room may find
    stage.shut(door, occupied=False)
    assert not stage.recorded(facts.ParcelTakenBack)


def test_a_session_remembers_a_bounded_number_of_own_deposits() -> None:
    stage = Stage()
    session = stage.engine.state.sessions["main"]
    stage.login()
    session.mine = [f"e1-00000001:sc{number}" for number in range(5_000, 5_000 + MINE_MAX)]
    stage.deposit()
    assert len(session.mine) == MINE_MAX
    assert session.mine[-1] in stage.engine.state.book.parcels


def test_a_scan_at_another_kiosk_does_not_disturb_this_one() -> None:
    stage, door = opened(Stage(settings=kiosks("main", "left")))
    stage.send(ParcelScanned(now=stage.now, kiosk="left", tracking="AB1", salt=bytes(16)))
    stage.shut(door, occupied=True)
    assert stage.box(door).custody is Custody.HELD
    assert SETTINGS.kiosks == ("main",)
