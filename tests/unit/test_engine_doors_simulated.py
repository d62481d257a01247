"""Pins what the simulation found wrong with doors, one test a finding, told by hand."""

from dataclasses import replace

from gateway.core.inputs import (
    BoardBack,
    BoardSilent,
    Button,
    CourierRemoved,
    ServiceSet,
    SupportOpens,
)
from gateway.core.outputs import Pulse
from gateway.core.state import Phase
from sync import facts
from sync.book import Book
from sync.custody import Custody
from tests.stage import SETTINGS, Stage, small_map


def test_a_stale_timer_of_a_rail_lets_no_second_coil_on() -> None:
    """Nobody says how a pulse ended; its window and its rail's timer fall due together."""
    stage = Stage()
    stage.login()
    stage.scan()
    stage.press(Button.SIZE, "S")
    first = stage.last(Pulse)
    rail = stage.engine.state.rails["left"]
    stage.slow_disk = True
    stage.after(first.deadline + first.ms + stage.settings.answer_ms - stage.mono)
    second = stage.engine.state.openings[1].intent
    assert second != first.intent
    stage.after(2 * stage.settings.rail_gap_ms)
    assert rail.busy == second


def _waits_for_the_rail_after_a_failed_attempt() -> Stage:
    """Door 1 did not open; its second attempt waits while door 2 has the rail."""
    stage = Stage()
    stage.login()
    stage.scan()
    stage.press(Button.SIZE, "S")
    stage.after(400)
    stage.pulse_done()
    stage.after(stage.settings.window_ms - 10)
    stage.send(SupportOpens(now=stage.now, token="t", by="ada", door=2, reason="r", case="c"))
    stage.after(20)
    assert stage.last(Pulse).door == 2
    assert stage.engine.state.openings[1].phase is Phase.WAITING
    return stage


def test_what_an_earlier_pulse_opens_while_the_next_waits_is_late_and_not_forced() -> None:
    stage = _waits_for_the_rail_after_a_failed_attempt()
    _, second = [fact for fact in stage.recorded(facts.OpenIntended) if fact.door == 1]
    assert second.again is not None
    stage.door(1, is_open=True)
    ended = [fact for fact in stage.recorded(facts.OpenEnded) if fact.door == 1]
    assert [fact.outcome for fact in ended] == ["failed", "failed", "late"]
    assert ended[1].why == "door.opened_before"
    assert ended[2].of == second.again == ended[0].of
    assert not stage.recorded(facts.DoorForced)
    stage.shut(1, occupied=True)
    assert stage.box(1).custody is Custody.HELD
    assert sum(pulse.door == 1 for pulse in stage.pulses()) == 1


def test_who_comes_after_a_door_was_given_up_still_finds_it_late() -> None:
    """Another request waits for the disk when the door gives way to the pulses before it."""
    stage = Stage()
    door = stage.deposit()
    stage.home()
    stage.enter(stage.code())
    stage.pulse_done("not_sent", "board.silent")
    assert stage.engine.state.openings[door].phase is Phase.LATE
    stage.slow_disk = True
    stage.enter(stage.code())
    stage.door(door, is_open=True)
    stage.flush()
    ended = [fact for fact in stage.recorded(facts.OpenEnded) if fact.door == door]
    assert [fact.outcome for fact in ended[1:]] == ["failed", "failed", "late"]
    assert stage.box(door).custody is Custody.COLLECTING


def test_a_door_that_opens_while_a_restart_looks_at_it_is_on_record() -> None:
    stage = Stage()
    stage.login()
    stage.scan()
    stage.press(Button.SIZE, "S")
    stage.restart()
    stage.door(1, is_open=False)
    stage.after(stage.settings.stable_ms // 2)
    stage.door(1, is_open=True)
    assert stage.recorded(facts.OpenEnded)[-1].why == "door.found_open"
    assert stage.box(1).door_open


def _open_on_record_and_silent_after_a_restart() -> Stage:
    stage = Stage()
    stage.door(1, is_open=True)
    stage.restart()
    boards = ("relays", "doors", "sensors")
    for board in boards:
        stage.send(BoardSilent(now=stage.now, board=board, doors=(1, 2, 3, 4)))
    stage.after(stage.settings.recover_ms + 1)
    for board in boards:
        stage.send(BoardBack(now=stage.now, board=board, doors=(1, 2, 3, 4)))
    stage.see_all()
    return stage


def test_a_door_open_on_record_is_closed_on_record_however_late_it_is_seen() -> None:
    stage = _open_on_record_and_silent_after_a_restart()
    assert stage.box(1).door_open
    stage.after(stage.settings.stable_ms)
    assert stage.box(1).door_open is False


def test_an_intent_at_a_door_that_is_open_on_record_gets_its_outcome() -> None:
    stage = Stage()
    stage.send(SupportOpens(now=stage.now, token="t", by="ada", door=1, reason="r", case="c"))
    stage.opens()
    stage.restart()
    book = stage.engine.state.book
    known = book.compartments[1].intent
    assert known is not None
    known.outcome = None  # as a writer that lost its closing would leave it
    stage.door(1, is_open=False)
    stage.after(stage.settings.stable_ms)
    assert stage.recorded(facts.OpenEnded)[-1].why == "door.unseen"
    assert stage.box(1).door_open is False


def test_a_compartment_taken_out_of_service_is_not_tried_again_for_a_deposit() -> None:
    stage = Stage()
    stage.login()
    stage.scan()
    stage.press(Button.SIZE, "S")
    stage.after(400)
    stage.pulse_done()
    stage.send(
        ServiceSet(now=stage.now, token="t", by="ada", door=1, enabled=False, reason="cleaning")
    )
    stage.after(stage.settings.window_ms)
    assert len(stage.pulses()) == 1
    assert stage.screen().why == "door.busy"


def test_a_revocation_folded_before_its_grant_holds() -> None:
    """The two stand in different lanes: which comes first is chance."""
    stage = Stage()
    stage.send(CourierRemoved(now=stage.now, token="t", by="ada", grant=stage.courier))
    urgent_first = sorted(stage.log, key=lambda entry: entry[0], reverse=True)
    book = Book()
    for entry in urgent_first:
        book.take(*entry)
    assert book.couriers[stage.courier].revoked
    assert book.canonical() == stage.engine.state.book.canonical()


def test_a_deposit_that_its_recipient_had_open_is_not_the_couriers_to_take_back() -> None:
    """Claimed: taking it back is no event of the custody table, and stopped the process."""
    settings = replace(SETTINGS, kiosks=("main", "side"))
    stage = Stage(settings=settings, map=small_map(sensors=False))
    door = stage.deposit()
    stage.press(Button.MINE)
    assert stage.screen().doors == (door,)
    stage.enter(stage.code(), kiosk="side")
    stage.opens()
    stage.shut(door, occupied=None)
    stage.after(settings.grace_ms)
    assert stage.box(door).custody is Custody.CLAIMED
    pulses = len(stage.pulses())
    stage.press(Button.TAKE_BACK, str(door))
    assert len(stage.pulses()) == pulses
    stage.press(Button.NEXT)
    stage.press(Button.MINE)
    assert stage.screen().doors == ()


def test_what_a_board_tells_is_heard_before_a_timer_of_the_same_moment_judges() -> None:
    """Seeds 29324, 24248: the window ended in the turn that told that the switch is silent."""
    stage = Stage()
    stage.deposit()
    stage.home()
    stage.facts.clear()
    stage.enter(stage.code())
    stage.after(400)
    stage.pulse_done()
    stage.mono += stage.settings.window_ms
    stage.send(BoardSilent(now=stage.now, board="doors", doors=tuple(stage.map.doors)))
    assert stage.recorded(facts.OpenEnded)[-1].outcome == "doubt"
    assert len(stage.recorded(facts.OpenIntended)) == 1
    assert stage.screen().why == "door.silent"
