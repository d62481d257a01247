"""Promises of the hub and rights to compartments: who gets what, what ends when, what goes over."""

from dataclasses import replace
from unittest.mock import patch

import msgspec
import pytest

from gateway.core import promises
from gateway.core.inputs import Button, ServiceSet, Trouble, Trust
from sync import facts
from sync.codes import CodeKey
from sync.custody import Custody
from sync.sitemap import SiteMap
from tests.stage import KEY, SETTINGS, TRACKING, Stage, small_map

NEWER = CodeKey(KEY.site, 2, bytes(range(1, 33)))
HOUR = 3_600_000


def banded() -> SiteMap:
    """The small map, with a chilled S (door 2) and a fifth door: another M."""
    site = small_map()
    doors = dict(site.doors)
    doors[2] = msgspec.structs.replace(doors[2], band="chilled")
    doors[5] = msgspec.structs.replace(
        doors[3], number=5, lock="relays:5", switch="doors:5", occupancy="sensors:5"
    )
    return SiteMap(boards=site.boards, doors=doors)


def stage_with(share: int | None = None, floor: int = 1, **more: object) -> Stage:
    """A site with a hub that has said how much it wants."""
    stage = Stage(trust=Trust.SYNCED, **more)  # type: ignore[arg-type]
    wishes = [facts.ConfigSet(item="setting", value={"key": "capacity.floor", "value": floor})]
    if share is not None:
        wishes.append(
            facts.ConfigSet(item="setting", value={"key": "capacity.share", "value": share})
        )
    stage.hub(*wishes)
    return stage


def transfers(stage: Stage) -> list[tuple[str, int]]:
    return [(fact.size, fact.count) for fact in stage.recorded(facts.CapacityTransferred)]


def closed(stage: Stage) -> list[str]:
    return [fact.outcome for fact in stage.recorded(facts.ReservationClosed)]


def sizes(stage: Stage, tracking: str = TRACKING) -> dict[str, int]:
    """Scan, and return what the size screen offers."""
    if stage.engine.state.sessions["main"].courier is None:
        stage.login()
    stage.scan(tracking)
    return dict(stage.screen().sizes)


def rights(stage: Stage, kind: str = "S") -> int:
    return stage.engine.book.rights.escrow.hub_rights(kind)


# --- transfers --------------------------------------------------------------------------------


def test_without_a_hub_nothing_goes_over() -> None:
    stage = Stage()
    stage.deposit()
    assert not transfers(stage)


def test_half_of_what_is_above_the_floor_goes_to_the_hub() -> None:
    stage = stage_with()
    assert transfers(stage) == [("S", 1)]  # M and L have one each: that is the floor


def test_a_share_and_a_floor_are_settings_for_all_or_for_a_class() -> None:
    stage = stage_with(share=9, floor=0)
    assert transfers(stage) == [("L", 1), ("M", 1), ("S", 2)]
    other = Stage(trust=Trust.SYNCED)
    other.hub(
        facts.ConfigSet(item="setting", value={"key": "capacity.floor.S", "value": 0}),
        facts.ConfigSet(item="setting", value={"key": "capacity.share.S", "value": 2}),
        facts.ConfigSet(item="setting", value={"key": "capacity.share", "value": 0}),
    )
    assert transfers(other) == [("S", 2)]


@pytest.mark.parametrize("value", [-1, "many", True])
def test_a_setting_that_is_no_number_is_as_if_not_set(value: int | str) -> None:
    stage = Stage(trust=Trust.SYNCED)
    stage.hub(facts.ConfigSet(item="setting", value={"key": "capacity.share", "value": value}))
    assert transfers(stage) == [("S", 1)]


def test_deposits_and_pickups_do_not_write_a_transfer_each() -> None:
    stage = stage_with()
    count = len(transfers(stage))
    for number in range(4):
        door = stage.deposit(f"AB{number}", "M")
        stage.home()
        stage.enter(stage.code(f"AB{number}"))
        stage.opens()
        stage.shut(door, occupied=False)
        stage.after(SETTINGS.grace_ms)
    assert len(transfers(stage)) == count


def test_what_the_hub_hands_back_counts_and_a_full_disk_begins_nothing() -> None:
    stage = stage_with(share=2, floor=0)
    stage.send(Trouble(now=stage.now, alarm="disk.low"))
    count = len(transfers(stage))
    stage.hub(facts.CapacityTransferred(size="S", count=2))
    assert rights(stage) == 0
    assert len(transfers(stage)) == count


def test_no_right_is_spent_that_the_hub_holds() -> None:
    stage = stage_with(share=2, floor=0)
    assert sizes(stage)["S"] == 0
    stage.press(Button.SIZE, "S")
    assert stage.screen().why == "size.none_free"
    assert not stage.pulses()  # M and L went over too


def test_planted_a_site_that_gives_away_all_that_is_free_breaks_a_promise() -> None:
    stage = stage_with(share=2, floor=0)
    stage.promise("S", "AB1")
    stage.promise("S", "AB2")
    with patch.object(promises.Room, "own", lambda room, kind: room.free[kind]):
        stage.deposit()
    assert stage.engine.book.deficits()
    honest = stage_with(share=2, floor=0)
    honest.promise("S", "AB1")
    honest.promise("S", "AB2")
    assert sizes(honest)["S"] == 0
    assert not honest.engine.book.deficits()


def test_planted_a_release_before_the_courier_is_done_gives_one_compartment_twice() -> None:
    stage = stage_with(share=2, floor=0)
    ref = stage.promise()
    sizes(stage)
    stage.press(Button.SIZE, "S")
    stage.opens()
    with patch.object(promises, "_stands", lambda *_: False):
        stage.hub(facts.ReservationCancelled(of=ref, by="x"))
    assert stage.recorded(facts.CapacityReleased)  # while the parcel goes in


# --- a promised parcel ------------------------------------------------------------------------


def test_a_promised_parcel_gets_its_compartment_and_closes_its_promise_in_one_commit() -> None:
    stage = stage_with(share=2, floor=0)
    ref = stage.promise()
    assert sizes(stage)["S"] == 1
    stage.press(Button.SIZE, "S")
    assert stage.recorded(facts.OpenIntended)[0].reservation == ref
    assert stage.engine.book.being_filled()["S"] == 1
    door = stage.opens()
    stage.shut(door, occupied=True)
    kinds = [facts.kind_of(fact) for fact in stage.facts]
    at = kinds.index("parcel.deposited")
    assert kinds[at + 1] == "reservation.closed"
    gone = stage.recorded(facts.ReservationClosed)[0]
    assert (gone.of, gone.outcome, gone.size) == (ref, "used", "S")
    assert gone.parcel == stage.box(door).parcel
    assert rights(stage) == 1
    assert sizes(stage, "AB1")["S"] == 0


def test_another_class_than_promised_needs_the_sites_own_right() -> None:
    stage = stage_with(share=2, floor=0)
    stage.promise()
    sizes(stage)
    stage.press(Button.SIZE, "M")
    assert stage.screen().why == "size.none_free"
    other = stage_with(share=0)
    stage_rights = rights(other, "M")
    ref = other.promise()  # a hub out of a backup: beyond its rights
    sizes(other)
    other.press(Button.SIZE, "M")
    door = other.opens()
    other.shut(door, occupied=True)
    assert (other.map.doors[door].size, closed(other)) == ("M", ["used"])
    assert other.recorded(facts.ReservationClosed)[0].of == ref
    assert rights(other, "M") == stage_rights


def test_a_promise_is_for_its_own_parcel_and_not_after_it_was_taken_back() -> None:
    stage = stage_with(share=2, floor=0)
    ref = stage.promise()
    assert sizes(stage, "AB1")["S"] == 0
    stage.home()
    stage.hub(facts.ReservationCancelled(of=ref, by="x"))
    assert [fact.of for fact in stage.recorded(facts.CapacityReleased)] == [ref]
    # The released right is the site's again, and goes over again where that is wanted.
    assert not stage.engine.book.rights.escrow.promises


def test_a_promise_taken_back_while_its_courier_is_at_the_door_keeps_its_right_until_then() -> None:
    stage = stage_with(share=2, floor=0)
    ref = stage.promise()
    sizes(stage)
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.hub(facts.ReservationCancelled(of=ref, by="x"))
    assert not stage.recorded(facts.CapacityReleased)
    stage.shut(door, occupied=True)
    assert closed(stage) == ["used"]
    assert not stage.recorded(facts.CapacityReleased)


def test_a_courier_who_leaves_it_lets_the_right_go() -> None:
    stage = stage_with(share=2, floor=0)
    ref = stage.promise()
    sizes(stage)
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.hub(facts.ReservationCancelled(of=ref, by="x"))
    stage.shut(door, occupied=False)
    assert [fact.of for fact in stage.recorded(facts.CapacityReleased)] == [ref]


def test_a_deposit_that_failed_lets_go_only_when_its_door_cannot_open_late_any_more() -> None:
    stage = stage_with(share=2, floor=0)
    ref = stage.promise()
    sizes(stage)
    stage.press(Button.SIZE, "S")
    stage.pulse_done("not_sent", "bus.down")
    stage.hub(facts.ReservationCancelled(of=ref, by="x"))
    assert not stage.recorded(facts.CapacityReleased)
    stage.after(SETTINGS.late_ms)
    assert stage.recorded(facts.CapacityReleased)


def test_a_restart_continues_a_deposit_for_its_promise() -> None:
    stage = stage_with(share=2, floor=0)
    ref = stage.promise()
    sizes(stage)
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.restart()
    stage.hub(facts.ReservationCancelled(of=ref, by="x"))
    assert not stage.recorded(facts.CapacityReleased)
    stage.see_all(occupied=(door,))
    stage.after(SETTINGS.stable_ms)
    assert closed(stage) == ["used"]


def test_a_parcel_that_came_before_its_promise_closes_it() -> None:
    stage = stage_with(share=1)
    door = stage.deposit()
    ref = stage.promise()
    gone = stage.recorded(facts.ReservationClosed)[0]
    assert (gone.of, gone.outcome, gone.parcel) == (ref, "used", stage.box(door).parcel)


def test_a_parcel_that_came_under_an_older_key_is_known_by_its_name() -> None:
    stage = stage_with(share=1)
    stage.settings = replace(SETTINGS, code_key=NEWER, older_keys=(KEY,))
    stage.restart()
    stage.see_all()
    door = stage.deposit()
    assert stage.recorded(facts.ParcelDeposited)[-1].key_version == 2
    stage.hub(facts.ReservationMade(size="S", tag="x", key_version=9))  # of no key we have
    refs = [stage.promise(), stage.promise(tracking="AB1")]  # by the older key
    gone = stage.recorded(facts.ReservationClosed)
    assert [(fact.of, fact.parcel) for fact in gone] == [(refs[0], stage.box(door).parcel)]


def test_a_promise_runs_out_by_a_trusted_clock_only() -> None:
    stage = stage_with(share=2, floor=0)
    stage.error_ms = 500
    stage.promise(until_ms=stage.now.wall_ms + 10_000)
    stage.after(10_400)
    assert not closed(stage)
    stage.after(1_200)
    assert closed(stage) == ["expired"]
    other = stage_with(share=2, floor=0)
    other.trust = Trust.FLOOR
    other.promise(until_ms=other.now.wall_ms + 10_000)
    other.after(HOUR)
    assert not closed(other)


def test_a_promise_does_not_run_out_while_it_is_being_filled() -> None:
    stage = stage_with(share=2, floor=0)
    stage.promise(until_ms=stage.now.wall_ms + 1_000)
    sizes(stage)
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.after(20_000)
    assert not closed(stage)
    stage.shut(door, occupied=False)
    assert closed(stage) == ["expired"]


def test_two_kiosks_do_not_fill_one_promise_twice() -> None:
    stage = stage_with(share=2, floor=0, settings=replace(SETTINGS, kiosks=("main", "side")))
    stage.promise()
    sizes(stage)
    stage.press(Button.SIZE, "S")
    stage.opens()
    stage.home()
    stage.login()
    stage.scan()
    assert stage.screen().why == "parcel.already_here"
    stage.press(Button.ANOTHER_PIECE)  # a piece that nobody promised anything to
    assert dict(stage.screen().sizes)["S"] == 0


def test_a_promise_made_with_an_unknown_key_is_nobodys_and_stands() -> None:
    stage = stage_with(share=2, floor=0)
    made = facts.ReservationMade(size="S", tag="x", key_version=9)
    ref = stage.hub(made)[0]
    assert sizes(stage)["S"] == 0
    assert ref in stage.engine.book.rights.escrow.promises


def test_a_promise_that_has_ended_is_not_closed_again() -> None:
    stage = stage_with(share=0)
    promises.used(stage.engine.state, "e1-0000000b:hc7", "e1-00000001:sc3")
    assert not stage.engine.state.pending


# --- deficits ---------------------------------------------------------------------------------


def out_of_service(stage: Stage, door: int, *, enabled: bool = False) -> None:
    stage.send(ServiceSet(now=stage.now, token="v", by="a", door=door, enabled=enabled, reason="r"))


def test_in_a_deficit_the_oldest_promise_is_kept_and_the_youngest_sent_on() -> None:
    stage = stage_with(share=2, floor=0)
    stage.promise("S", "AB1")
    stage.promise("S", "AB2")
    assert not stage.engine.book.deficits()
    out_of_service(stage, 1)
    assert stage.engine.book.standing("capacity.deficit", None, "S 1")
    stage.login()
    stage.scan("AB2")
    assert (stage.screen().name, stage.screen().why) == ("deliver.scan", "reservation.rerouted")
    assert sizes(stage, "AB1")["S"] == 1
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.shut(door, occupied=True)
    assert closed(stage) == ["used"]
    out_of_service(stage, 1, enabled=True)
    assert not stage.engine.book.standing("capacity.deficit", None, "S 1")


def test_a_walk_in_gets_nothing_of_a_class_that_owes_more_than_it_has() -> None:
    stage = stage_with(share=1)
    out_of_service(stage, 1)
    assert sizes(stage)["S"] == 0
    assert stage.screen().name == "deliver.size"


# --- claimed compartments, bands, news --------------------------------------------------------


def claimed() -> Stage:
    """Without sensors: door 1 was opened by its recipient, and nobody knows what is inside."""
    stage = Stage(trust=Trust.SYNCED, map=small_map(sensors=False))
    stage.deposit()
    stage.home()
    stage.enter(stage.code())
    door = stage.opens()
    stage.shut(door, occupied=None)
    stage.after(SETTINGS.grace_ms + SETTINGS.claimed_ms + 1)
    assert stage.box(door).custody is Custody.CLAIMED
    return stage


def test_a_claimed_compartment_takes_nobodys_right() -> None:
    stage = claimed()
    stage.hub(
        facts.ConfigSet(item="setting", value={"key": "capacity.floor", "value": 0}),
        facts.ConfigSet(item="setting", value={"key": "capacity.share", "value": 5}),
    )
    assert rights(stage) == 1  # door 2 alone: what is claimed is not among the free
    assert sizes(stage, "AB1")["S"] == 1
    stage.press(Button.SIZE, "S")
    assert stage.recorded(facts.OpenIntended)[-1].door == 1
    stage.opens()
    assert stage.screen().name == "deliver.check"


def test_a_claimed_compartment_kept_for_a_promise_frees_no_other_for_a_walk_in() -> None:
    stage = claimed()
    stage.hub(
        facts.ConfigSet(item="setting", value={"key": "capacity.floor", "value": 0}),
        facts.ConfigSet(item="setting", value={"key": "capacity.share", "value": 5}),
    )
    stage.promise("S", "AB1")
    out = facts.CompartmentDisabled(door=2, by="x", why="y")
    stage.hub(out)
    assert sizes(stage, "AB1")["S"] == 1
    stage.press(Button.SIZE, "S")
    stage.hub(facts.CompartmentEnabled(door=2, by="x"))
    stage.home()
    assert sizes(stage, "AB2")["S"] == 0


def test_a_compartment_with_a_band_is_for_promises_of_that_band() -> None:
    stage = stage_with(share=1, floor=0, map=banded())
    assert sizes(stage, "AB1") == {"S": 0, "M": 1, "L": 0}
    stage.home()
    stage.promise("S", band="chilled")
    assert sizes(stage) == {"S": 1}
    stage.press(Button.SIZE, "S")
    assert stage.recorded(facts.OpenIntended)[-1].door == 2
    stage.shut(stage.opens(), occupied=True)
    assert stage.recorded(facts.ReservationClosed)[-1].band == "chilled"


def test_a_band_that_no_entry_of_ours_could_hold_ends_like_any_other() -> None:
    stage = stage_with(share=0)
    ref = stage.promise(band="b" * 3_000)
    stage.hub(facts.ReservationCancelled(of=ref, by="x"))
    assert len(stage.recorded(facts.CapacityReleased)[-1].band) == 64
    assert ref not in stage.engine.book.rights.escrow.promises


def test_again_into_the_same_compartment_is_for_the_same_promise() -> None:
    stage = stage_with(share=2, floor=0)
    ref = stage.promise()
    sizes(stage)
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.shut(door, occupied=False)
    assert stage.screen().name == "deliver.empty"
    stage.after(2_000)
    stage.press(Button.RETRY)
    intents = stage.recorded(facts.OpenIntended)
    assert [(fact.door, fact.reservation) for fact in intents] == [(door, ref)] * 2


def test_a_class_that_has_one_free_again_is_news_for_the_hub() -> None:
    stage = stage_with(share=0)
    door = stage.deposit("AB1", "M")
    assert not stage.recorded(facts.CompartmentFreed)
    stage.home()
    stage.restart()
    stage.see_all(occupied=(door,))
    stage.enter(stage.code("AB1"))
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(SETTINGS.grace_ms)
    assert [fact.size for fact in stage.recorded(facts.CompartmentFreed)] == ["M"]
    alone = Stage()
    alone.deposit("AB1", "M")
    alone.home()
    alone.enter(alone.code("AB1"))
    alone.shut(alone.opens(), occupied=False)
    alone.after(SETTINGS.grace_ms)
    assert not alone.recorded(facts.CompartmentFreed)
