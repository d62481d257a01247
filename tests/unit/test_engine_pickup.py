"""A pick-up, from the typed code to the consumed code, and every way in which it goes wrong."""

from gateway.core.inputs import BoardBack, BoardSilent, Button, CodeEntered, PersistFailed
from gateway.core.outputs import AllOff, Persist, Poll, Pulse, Show
from sync import facts
from sync.custody import Custody
from tests.stage import TRACKING, Stage, small_map


def held() -> tuple[Stage, int]:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    stage.outputs.clear()
    stage.facts.clear()
    return stage, door


def test_the_life_of_a_pickup() -> None:
    stage, door = held()
    stage.slow_disk = True
    first = stage.enter(stage.code())
    assert [type(output) for output in first[:3]] == [Show, Poll, Persist]
    assert not stage.pulses()  # not durable: nothing is pulsed, and the door is not named yet
    assert stage.screen().name == "collect.checking"
    stage.flush()
    assert [pulse.door for pulse in stage.pulses()] == [door]
    assert stage.screen().name == "collect.opening"
    stage.slow_disk = False
    stage.opens()
    assert stage.screen().name == "collect.open"
    assert stage.box(door).custody is Custody.COLLECTING
    stage.shut(door, occupied=False)
    assert stage.screen().name == "collect.thanks"
    assert not stage.recorded(facts.ParcelCollected)
    stage.after(60_000)
    assert [fact.basis for fact in stage.recorded(facts.ParcelCollected)] == ["sensor"]
    assert stage.box(door).custody is Custody.FREE
    assert not stage.engine.state.openings


def test_a_used_code_opens_nothing() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(60_000)
    stage.outputs.clear()
    stage.enter(stage.code())
    stage.enter(stage.code(long=True))
    assert not stage.pulses()
    assert stage.screen().why == "code.retired"


def test_the_long_form_opens_too_and_spaces_do_not_matter() -> None:
    stage, door = held()
    stage.enter(" ".join(stage.code(long=True)))
    assert stage.last(Pulse).door == door


def test_a_reissued_code_the_site_has_not_heard_of_opens() -> None:
    stage, door = held()
    stage.enter(stage.code(counter=1))
    assert stage.last(Pulse).door == door


def test_reopening_inside_the_grace_is_a_new_intent_and_starts_the_grace_anew() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(10_000)
    stage.press(Button.OPEN_AGAIN)
    assert [fact.why for fact in stage.recorded(facts.OpenIntended)] == ["asked", "reopen"]
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(55_000)
    assert not stage.recorded(facts.ParcelCollected)
    stage.after(5_000)
    assert len(stage.recorded(facts.ParcelCollected)) == 1


def test_the_same_code_reopens_inside_the_grace_after_somebody_else_was_here() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.home()
    stage.press(Button.OPEN_AGAIN)  # the session is over: the button alone opens nothing
    assert len(stage.recorded(facts.OpenIntended)) == 1
    stage.press(Button.COLLECT)
    stage.enter(stage.code())
    assert len(stage.recorded(facts.OpenIntended)) == 2


def test_a_reopening_that_fails_ends_the_grace_as_it_stood() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.press(Button.OPEN_AGAIN)
    for _ in range(3):
        stage.after(400)
        stage.pulse_done()
        stage.after(3_000)
    assert stage.box(door).custody is Custody.COLLECTING
    stage.after(60_000)
    assert stage.recorded(facts.ParcelCollected)
    assert stage.box(door).custody is Custody.FREE


def test_a_parcel_left_behind_stays_collectable() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=True)
    assert stage.recorded(facts.ParcelLeft)
    assert stage.screen().name == "collect.left"
    assert stage.box(door).custody is Custody.HELD
    stage.press(Button.OPEN_AGAIN)
    assert len(stage.pulses()) == 2


def test_without_a_sensor_it_is_claimed_and_the_code_reopens_for_a_while() -> None:
    stage = Stage(map=small_map(sensors=False))
    door = stage.deposit()
    stage.home()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=None)
    assert stage.screen().name == "collect.unsure"
    stage.after(60_000)
    assert stage.box(door).custody is Custody.CLAIMED
    stage.outputs.clear()
    stage.after(800_000)
    stage.enter(stage.code())
    assert stage.last(Pulse).door == door
    stage.opens()
    stage.shut(door, occupied=None)
    stage.after(60_000 + 900_001)
    stage.outputs.clear()
    stage.enter(stage.code())
    assert not stage.pulses()
    assert stage.screen().why == "code.retired"


def test_code_still_good_when_door_does_not_open() -> None:
    stage, door = held()
    stage.enter(stage.code())
    for attempt in (1, 2, 3):
        assert len(stage.pulses()) == attempt
        stage.after(400)
        stage.pulse_done()
        stage.after(3_000)
    names = [out.screen.name for out in stage.outputs if isinstance(out, Show)]
    assert "collect.pull" in names
    assert stage.screen().name == "collect.fault"
    assert [fact.outcome for fact in stage.recorded(facts.OpenEnded)] == ["failed"] * 3
    assert [fact.attempt for fact in stage.recorded(facts.OpenIntended)] == [1, 2, 3]
    assert stage.box(door).custody is Custody.HELD
    assert stage.box(door).disabled == "door.stuck"
    assert stage.engine.state.book.standing("door.stuck", door)
    stage.enter(stage.code())
    assert stage.screen().why == "door.resting"
    stage.after(10_000)
    stage.enter(stage.code())
    assert len(stage.pulses()) == 4


def test_a_door_that_gives_way_late_is_late_and_not_forced() -> None:
    stage, door = held()
    stage.enter(stage.code())
    for _ in range(3):
        stage.after(400)
        stage.pulse_done()
        stage.after(3_000)
    stage.after(30_000)
    stage.door(door, is_open=True)
    assert stage.recorded(facts.OpenEnded)[-1].outcome == "late"
    assert not stage.recorded(facts.DoorForced)
    assert not stage.engine.state.book.standing("door.stuck", door)
    stage.shut(door, occupied=False)
    stage.after(60_000)
    assert stage.recorded(facts.ParcelCollected)


def test_after_a_minute_an_opening_is_forced_again() -> None:
    stage, door = held()
    stage.enter(stage.code())
    for _ in range(3):
        stage.after(400)
        stage.pulse_done()
        stage.after(3_000)
    stage.after(60_001)
    stage.door(door, is_open=True)
    assert stage.recorded(facts.DoorForced)
    assert stage.box(door).custody is Custody.DOUBT


def test_a_pulse_that_was_not_sent_fails_at_once_and_says_why() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.pulse_done("not_sent", "bus.down")
    assert [fact.why for fact in stage.recorded(facts.OpenEnded)] == ["bus.down"]
    assert stage.screen().why == "bus.down"
    assert stage.box(door).custody is Custody.HELD
    assert not stage.box(door).disabled


def test_an_unanswered_pulse_is_doubt_and_the_sensor_settles_custody() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.pulse_done("unanswered")
    stage.after(3_000)
    ended = stage.recorded(facts.OpenEnded)[0]
    assert (ended.outcome, ended.occupied) == ("doubt", True)
    assert len(stage.pulses()) == 2  # the person is still there: a new intent, with its reason
    assert stage.box(door).custody is Custody.COLLECTING


def test_a_pulse_whose_end_nobody_tells_is_doubt_and_frees_the_rail() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.after(2_000 + 400 + 1_500)
    assert stage.recorded(facts.OpenEnded)[0].outcome == "doubt"
    stage.after(200)
    assert len(stage.pulses()) == 2
    assert stage.last(Pulse).door == door


def test_a_disk_slower_than_the_deadline_sends_nothing() -> None:
    stage, door = held()
    stage.slow_disk = True
    stage.enter(stage.code())
    stage.mono += 2_001
    stage.flush()
    assert not stage.pulses()
    assert stage.recorded(facts.OpenEnded)[0].why == "door.late"
    assert stage.box(door).custody is Custody.HELD


def test_typing_the_code_again_while_the_door_opens_pulses_nothing() -> None:
    stage, _ = held()
    stage.enter(stage.code())
    stage.enter(stage.code())
    assert len(stage.pulses()) == 1
    stage.opens()
    stage.enter(stage.code())
    assert len(stage.pulses()) == 1
    assert stage.screen().name == "collect.open"


def test_a_silent_board_refuses_kindly_and_its_return_helps() -> None:
    stage, door = held()
    stage.send(BoardSilent(now=stage.now, board="doors", doors=(1, 2, 3, 4)))
    stage.send(BoardSilent(now=stage.now, board="sensors", doors=(1, 2, 3, 4)))
    stage.enter(stage.code())
    assert stage.screen().why == "door.silent"
    assert stage.engine.state.book.standing("board.silent", None, "doors")
    stage.send(BoardBack(now=stage.now, board="doors", doors=(1, 2, 3, 4)))
    assert not stage.engine.state.book.standing("board.silent", None, "doors")
    stage.door(door, is_open=False)
    stage.enter(stage.code())
    assert len(stage.pulses()) == 1


def test_two_doors_on_one_rail_are_pulsed_one_after_the_other() -> None:
    stage = Stage()
    first = stage.deposit()
    second = stage.deposit("AB1")
    stage.home()
    stage.outputs.clear()
    stage.enter(stage.code())
    stage.enter(stage.code("AB1"))
    assert [pulse.door for pulse in stage.pulses()] == [first]
    stage.after(400)
    stage.pulse_done()
    assert len(stage.pulses()) == 1
    stage.after(100)
    assert [pulse.door for pulse in stage.pulses()] == [first, second]


def test_the_owner_opens_a_doubted_compartment_and_that_settles_it() -> None:
    stage, door = held()
    stage.door(door, is_open=True)
    assert stage.box(door).custody is Custody.DOUBT
    stage.shut(door, occupied=True)
    assert stage.box(door).custody is Custody.DOUBT
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(60_000)
    assert stage.box(door).custody is Custody.FREE


def test_a_log_that_fails_opens_nothing_and_says_so() -> None:
    stage, _ = held()
    stage.slow_disk = True
    stage.enter(stage.code())
    outputs = stage.engine.handle(PersistFailed(now=stage.now, reason="full"))
    assert isinstance(outputs[0], AllOff)
    assert isinstance(outputs[1], Show)
    assert outputs[1].screen.why == "log.full"
    assert not stage.pulses()
    again = stage.engine.handle(CodeEntered(now=stage.now, kiosk="main", digits=stage.code()))
    assert [type(output) for output in again] == [Show]


def test_ajar_reminds_then_alarms_and_closing_ends_it() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.after(60_000)
    assert len(stage.recorded(facts.DoorAjar)) == 1
    stage.after(240_000)
    assert len(stage.recorded(facts.DoorAjar)) == 2
    assert stage.engine.state.book.standing("door.ajar", door)
    stage.shut(door, occupied=False)
    assert not stage.engine.state.book.standing("door.ajar", door)


def test_a_door_that_rebounds_is_not_closed() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.door(door, is_open=False)
    stage.after(900)
    stage.door(door, is_open=True)
    stage.after(5_000)
    assert not stage.recorded(facts.DoorClosed)
    stage.shut(door, occupied=False)
    assert len(stage.recorded(facts.DoorClosed)) == 1


def test_nothing_names_the_parcel_in_an_entry() -> None:
    stage = Stage()
    stage.deposit()
    for persist in stage.outputs:
        if isinstance(persist, Persist):
            for draft in persist.drafts:
                assert TRACKING.encode() not in draft.entry


def test_who_left_the_door_open_still_sees_the_reminder() -> None:
    stage, _ = held()
    stage.enter(stage.code())
    stage.opens()
    stage.after(stage.settings.ajar_ms)
    assert stage.screen().name == "collect.ajar"
    stage.after(stage.settings.ajar_ms + stage.settings.screen_ms)
    assert stage.screen().name == "welcome"
