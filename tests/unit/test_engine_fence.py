"""Behind a fence a restored book gives nobody a stranger's parcel; how it is lifted again."""

from dataclasses import replace
from unittest.mock import patch

import pytest

from gateway.core import fence, pickup
from gateway.core.inputs import (
    Button,
    DoorsWitnessed,
    EpochBegun,
    FenceLiftAsked,
    FenceRaised,
    HistorySettled,
    SnapshotAsked,
    SupportChecked,
    SupportOpens,
    Trust,
)
from gateway.core.outputs import Answer
from sync import facts, fold
from sync.custody import Custody
from tests.stage import SETTINGS, Stage, small_map

E2 = "e2-00000001"


def reused() -> tuple[Stage, int]:
    """The book of a backup: a parcel of AB1 at door 1. Since then it went, and AB2 lies there."""
    stage = Stage(trust=Trust.SYNCED)
    door = stage.deposit("AB1")
    stage.home()
    keep = len(stage.log)
    stage.enter(stage.code("AB1"))
    stage.shut(stage.opens(), occupied=False)
    stage.after(SETTINGS.grace_ms)
    assert stage.deposit("AB2") == door
    stage.home()
    stage.facts.clear()
    stage.next_epoch(fence="restored", keep=keep)
    stage.outputs.clear()
    return stage, door


def restored(*, sensors: bool = True, keep: int | None = None) -> Stage:
    """A site with a parcel at door 1, started again behind a fence, its doors seen."""
    stage = Stage(map=small_map(sensors=sensors), trust=Trust.SYNCED)
    stage.deposit("AB1")
    stage.home()
    stage.next_epoch(fence="restored", keep=keep)
    stage.see_all(occupied=(1,))
    stage.outputs.clear()
    return stage


def fenced(stage: Stage) -> bool:
    return stage.engine.book.fenced


def checks(stage: Stage, door: int, *, occupied: bool) -> str:
    stage.send(SupportChecked(now=stage.now, token="k", by="a", door=door, occupied=occupied))
    return str(stage.last(Answer).code)


def lifts(stage: Stage, *, trust_history: bool = False) -> Answer:
    asked = FenceLiftAsked(now=stage.now, token="l", by="ada", trust_history=trust_history)
    stage.send(asked)
    answer: Answer = stage.last(Answer)
    return answer


def opens_for_support(stage: Stage, door: int) -> None:
    stage.send(SupportOpens(now=stage.now, token="s", by="ada", door=door, reason="r", case="c"))


# --- what it is for ---------------------------------------------------------------------------


def test_a_revived_code_does_not_open_the_door_of_a_strangers_parcel() -> None:
    stage, door = reused()
    stage.see_all(occupied=(door,))
    stage.enter(stage.code("AB1"))
    assert (stage.screen().name, stage.screen().why) == ("collect.fault", "door.fenced")
    assert not stage.pulses()
    assert not stage.recorded(facts.CodeRefused)  # the code is good: no guess is charged


def test_planted_without_a_fence_a_strangers_parcel_is_given_away() -> None:
    stage, door = reused()
    stage.see_all(occupied=(door,))
    with patch.object(fence, "holds", lambda *_: False):
        stage.enter(stage.code("AB1"))
        assert [pulse.door for pulse in stage.pulses()] == [door]


def test_planted_where_the_keypad_alone_forgot_the_fence_no_pulse_leaves() -> None:
    stage, door = reused()
    stage.see_all(occupied=(door,))
    with patch.object(pickup, "_held_back", lambda *_: ""):
        stage.enter(stage.code("AB1"))
    assert not stage.pulses()
    assert stage.recorded(facts.OpenEnded)[-1].why == "door.fenced"


def test_a_proved_door_opens_for_its_code() -> None:
    stage = restored()
    stage.send(DoorsWitnessed(now=stage.now, unopened=(1, 99), why="relay.counter"))
    proof = [(fact.door, fact.why) for fact in stage.recorded(facts.DoorProved)]
    assert (1, "relay.counter") in proof
    stage.enter(stage.code("AB1"))
    assert [pulse.door for pulse in stage.pulses()] == [1]


# --- nothing is given away --------------------------------------------------------------------


def test_a_fenced_site_takes_no_parcels() -> None:
    stage = restored()
    stage.press(Button.DELIVER)
    assert (stage.screen().name, stage.screen().why) == ("deliver.enter", "site.fenced")
    stage.login()
    assert (stage.screen().name, stage.screen().why) == ("deliver.enter", "site.fenced")
    assert stage.engine.state.sessions["main"].courier is None


def test_a_fence_in_the_middle_of_a_round_ends_it() -> None:
    stage = Stage()
    stage.login()
    stage.send(FenceRaised(now=stage.now, why="peer.ahead"))
    stage.scan()
    assert stage.screen().why == "site.fenced"
    other = Stage()
    other.login()
    other.scan()
    other.send(FenceRaised(now=other.now, why="peer.ahead"))
    other.press(Button.SIZE, "S")
    assert (other.screen().name, other.screen().why) == ("deliver.scan", "site.fenced")
    assert not other.pulses()


def test_a_deposit_whose_pulse_waits_for_the_disk_ends_with_the_fence() -> None:
    stage = Stage()
    stage.login()
    stage.scan()
    stage.slow_disk = True
    stage.press(Button.SIZE, "S")
    stage.send(FenceRaised(now=stage.now, why="peer.ahead"))
    stage.slow_disk = False
    stage.flush()
    assert not stage.pulses()
    assert stage.recorded(facts.OpenEnded)[-1].why == "site.fenced"


def test_what_a_courier_puts_in_as_the_fence_comes_is_on_record() -> None:
    stage = Stage()
    stage.login()
    stage.scan()
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.send(FenceRaised(now=stage.now, why="peer.ahead"))
    stage.shut(door, occupied=True)
    assert stage.box(door).custody is Custody.HELD
    stage.home()
    stage.enter(stage.code())
    assert stage.screen().why == "door.fenced"  # a proof of this epoch is none any more


def test_own_deposits_are_not_taken_back_behind_a_fence() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.press(Button.MINE)
    stage.send(FenceRaised(now=stage.now, why="peer.ahead"))
    count = len(stage.pulses())
    stage.press(Button.TAKE_BACK, str(door))
    assert (stage.screen().why, len(stage.pulses())) == ("door.fenced", count)


def test_a_fence_spends_and_returns_no_rights() -> None:
    stage = restored()
    ref = stage.promise(tracking="AB1")
    stage.hub(
        facts.ReservationCancelled(of=ref, by="x"),
        facts.ConfigSet(item="setting", value={"key": "capacity.share", "value": 9}),
    )
    for kind in (facts.CapacityReleased, facts.CapacityTransferred, facts.ReservationClosed):
        assert not stage.recorded(kind)


def test_a_remote_request_opens_no_unproved_door() -> None:
    stage = restored()
    until = stage.now.wall_ms + 60_000
    wish = facts.OpenRequested(door=1, by="a", why="w", case="c", until_ms=until)
    stage.hub(wish)
    assert [fact.why for fact in stage.recorded(facts.RequestDeclined)] == ["door.fenced"]


# --- taking stock -----------------------------------------------------------------------------


def test_what_is_free_on_record_and_seen_empty_is_proved_by_its_sensor() -> None:
    stage = restored()
    proofs = [(fact.door, fact.why) for fact in stage.recorded(facts.DoorProved)]
    assert proofs == [(2, "empty"), (3, "empty"), (4, "empty")]
    blind = restored(sensors=False)
    assert not blind.recorded(facts.DoorProved)


def test_a_door_that_support_opened_is_doubted_until_the_person_says_what_is_inside() -> None:
    stage = restored()
    opens_for_support(stage, 1)
    stage.opens()
    stage.shut(1, occupied=True)
    doubted = stage.recorded(facts.CompartmentDoubted)[-1]
    assert (doubted.why, doubted.occupied) == ("fence.opened", True)
    stage.send(DoorsWitnessed(now=stage.now, unopened=(1,), why="relay.counter"))
    assert fence.holds(stage.engine.state, 1)  # it was touched since
    assert checks(stage, 1, occupied=True) == ""
    assert not fence.holds(stage.engine.state, 1)
    stage.enter(stage.code("AB1"))
    assert [pulse.door for pulse in stage.pulses()] == [1, 1]


def test_a_free_door_that_support_opened_is_doubted_too() -> None:
    stage = restored(sensors=False)
    opens_for_support(stage, 2)
    stage.opens()
    stage.shut(2, occupied=None)
    assert stage.box(2).custody is Custody.DOUBT
    checks(stage, 2, occupied=False)
    assert stage.box(2).custody is Custody.FREE
    assert not fence.holds(stage.engine.state, 2)


def test_a_witness_says_nothing_of_an_open_door_nor_before_the_epoch() -> None:
    stage = restored()
    stage.door(1, is_open=True)
    stage.send(DoorsWitnessed(now=stage.now, unopened=(1,), why="relay.counter"))
    assert fence.holds(stage.engine.state, 1)
    early = Stage()
    early.settings = type(SETTINGS)(
        operator="lockers.example", writer="site/0042", epoch=E2, code_key=SETTINGS.code_key
    )
    early.restart()
    early.facts.clear()
    early.send(DoorsWitnessed(now=early.now, unopened=(1,), why="relay.counter"))
    early.send(FenceRaised(now=early.now, why="x"))
    assert not early.facts


def test_a_deposit_from_before_the_restore_is_not_put_on_record_by_what_lies_there_now() -> None:
    stage = Stage()
    stage.login()
    stage.scan("AB1")
    stage.press(Button.SIZE, "S")
    door = stage.opens()  # the backup was taken here
    stage.next_epoch(fence="restored")
    stage.see_all(occupied=(door,))
    stage.after(SETTINGS.stable_ms)
    assert not stage.recorded(facts.ParcelDeposited)
    assert stage.box(door).custody is Custody.DOUBT
    assert fence.holds(stage.engine.state, door)


# --- lifting ----------------------------------------------------------------------------------


def test_the_fence_is_not_lifted_before_every_compartment_in_use_is_proved() -> None:
    stage = restored()
    answer = lifts(stage)
    assert (answer.code, dict(answer.evidence)) == ("fence.unproved", {"count": 1, "doors": "1"})
    checks(stage, 1, occupied=True)
    assert lifts(stage).code == ""
    assert not fenced(stage)
    assert [fact.by for fact in stage.recorded(facts.FenceLifted)] == ["support:ada"]
    assert not stage.engine.book.standing("site.fenced", None)
    assert lifts(stage).code == "fence.none"
    stage.enter(stage.code("AB1"))
    assert stage.pulses()


def test_an_operator_may_answer_for_the_history_and_that_is_on_record() -> None:
    stage = restored()
    assert lifts(stage, trust_history=True).code == ""
    assert [fact.by for fact in stage.recorded(facts.FenceLifted)] == ["trust:ada"]


def test_the_fence_lifts_itself_when_all_is_proved_and_nothing_more_is_to_come() -> None:
    stage = restored()
    checks(stage, 1, occupied=True)
    assert fenced(stage)
    stage.send(HistorySettled(now=stage.now, by="hub/0042"))
    assert not fenced(stage)
    assert stage.recorded(facts.FenceLifted)[0].by == "hub/0042"
    other = restored()
    other.send(HistorySettled(now=other.now, by="hub/0042"))
    assert fenced(other)
    checks(other, 1, occupied=True)
    assert not fenced(other)


def test_with_a_hub_the_fence_is_lifted_only_once_it_was_heard() -> None:
    """What was given away in the lost entries would be given again (cloud simulation, seed 614)."""
    stage = restored()
    stage.hub(facts.AlarmCleared(raises=("e1-00000001:su99",)))
    checks(stage, 1, occupied=True)
    assert lifts(stage).code == "fence.unheard"
    assert fenced(stage)
    assert lifts(stage, trust_history=True).code == ""


def test_a_stale_book_lifts_nothing() -> None:
    stage = restored()
    stage.engine.book.stale = True
    checks(stage, 1, occupied=True)
    stage.send(HistorySettled(now=stage.now, by="hub/0042"))
    assert fenced(stage)


def test_a_restart_does_not_lift_the_fence() -> None:
    stage = restored()
    stage.restart()
    stage.see_all(occupied=(1,))
    assert fenced(stage)
    assert len(stage.recorded(facts.FenceSet)) == 1
    assert len(stage.recorded(facts.DoorProved)) == 3


def test_after_the_lift_the_courier_looks_into_what_no_sensor_proved() -> None:
    stage = restored(sensors=False)
    checks(stage, 1, occupied=True)
    assert lifts(stage).code == ""  # the free ones are not proved, and no code opens them
    stage.login()
    stage.scan("AB2")
    stage.press(Button.SIZE, "S")
    stage.opens()
    assert stage.screen().name == "deliver.check"
    stage.press(Button.NO)
    assert stage.recorded(facts.CompartmentDoubted)[-1].why == "courier.not_empty"


def test_a_fence_on_a_fence_is_lifted_by_what_proves_the_doors_now() -> None:
    stage = restored()
    stage.next_epoch(fence="restored")
    stage.see_all(occupied=(1,))
    assert len(stage.engine.book.fences) == 2
    checks(stage, 1, occupied=True)
    assert not fence.holds(stage.engine.state, 1)
    assert lifts(stage).code == ""
    assert len(stage.recorded(facts.FenceLifted)) == 2


def test_a_fence_in_the_middle_of_an_epoch_ends_with_the_next_epoch_only() -> None:
    stage = Stage()
    door = stage.deposit("AB1")
    stage.home()
    stage.send(FenceRaised(now=stage.now, why="peer.ahead"))
    stage.send(FenceRaised(now=stage.now, why="peer.ahead"))
    assert len(stage.recorded(facts.FenceSet)) == 1
    checks(stage, door, occupied=True)
    stage.enter(stage.code("AB1"))
    assert stage.screen().why == "door.fenced"
    stage.next_epoch(fence="peer.ahead")
    stage.see_all(occupied=(door,))
    assert checks(stage, door, occupied=True) == ""
    stage.enter(stage.code("AB1"))
    assert stage.pulses()[-1].door == door


# --- epochs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("epoch", "parents"),
    [
        (E2, {}),
        (E2, {"lockers.example/site/0042/e1-00000001/custody": (10_000, "")}),
        (E2, {"lockers.example/site/0042/e1-00000001/urgent": (1, "")}),
        ("e1-00000000", {"lockers.example/site/0042/e1-00000001/custody": (1, "")}),
    ],
)
def test_a_later_epoch_follows_what_is_folded_here(
    epoch: str, parents: dict[str, tuple[int, str]]
) -> None:
    stage = Stage()
    stage.settings = type(SETTINGS)(
        operator="lockers.example", writer="site/0042", epoch=epoch, code_key=SETTINGS.code_key
    )
    stage.restart()
    begun = EpochBegun(now=stage.now, token="t", by="x", site="site/0042", parents=parents)
    stage.send(begun)
    assert stage.last(Answer).code == "epoch.parents"
    assert not stage.unwritten


def test_a_later_epoch_says_where_it_comes_from_and_is_begun_once() -> None:
    stage = restored()
    opened = stage.recorded(facts.EpochOpened)[-1]
    assert opened.why == "restored"
    assert list(opened.parents) == ["lockers.example/site/0042/e1-00000001/custody"]
    assert [f"{E2}:su1"] == list(stage.engine.book.fences)
    stage.send(EpochBegun(now=stage.now, token="t", by="x", site="site/0042"))
    assert stage.last(Answer).code == "site.exists"


def test_a_site_whose_own_log_stopped_begins_again_behind_a_fence() -> None:
    """What another version wrote and this one cannot fold is surfaced; the site is not lost."""
    stage = Stage(trust=Trust.SYNCED)
    door = stage.deposit("AB1")
    stage.home()
    log = f"{SETTINGS.epoch}:sc"
    size = stage.engine.book.sizes[log]
    bad = b'{"at":[1,2],"door":1,"kind":"door.closed","occupied":"no"}'
    stage.log += [fold.read(log, size, bad)]
    stage.settings = replace(SETTINGS, epoch=E2)
    stage.restart()
    parents = {f"{SETTINGS.operator}/{SETTINGS.writer}/{SETTINGS.epoch}/custody": (size + 1, "")}
    stage.send(
        EpochBegun(
            now=stage.now, token="e", by="t", site="site/0042", parents=parents, fence="restored"
        )
    )
    assert stage.last(Answer).code == ""
    stage.see_all(occupied=(door,))
    assert fenced(stage)
    assert ("log.poisoned", log) in {
        (one.alarm, one.about) for one in stage.engine.book.alarms.values()
    }
    assert checks(stage, door, occupied=True) == ""
    assert stage.box(door).custody is Custody.HELD
    before = stage.engine.book.canonical()
    stage.restart()
    assert stage.engine.book.canonical() == before


def test_behind_a_fence_no_snapshot_is_taken_for_what_was_lost_may_come_back() -> None:
    stage = restored()
    stage.send(SnapshotAsked(now=stage.now))
    assert not stage.recorded(facts.SnapshotTaken)
    assert lifts(stage, trust_history=True).code == ""
    stage.send(SnapshotAsked(now=stage.now))
    assert stage.recorded(facts.SnapshotTaken)
