"""What the hub writes takes effect when it is heard: requests, rights to deliver and to collect."""

from base64 import b64encode
from dataclasses import replace

import pytest

from gateway.core import cloud
from gateway.core.inputs import (
    Button,
    EntriesArrived,
    LinkDown,
    LinkUp,
    ServiceSet,
    SnapshotAsked,
    StaffCodeEntered,
    Trust,
)
from gateway.core.outputs import Persist, Pulse
from gateway.core.policy import Settings
from gateway.core.quota import HUB
from sync import facts
from sync.book import Book
from sync.codes import CodeKey, staff_secret, staff_tag
from sync.custody import Custody
from sync.entry import parse
from sync.errors import OursBroken
from sync.facts import ParcelCollected
from sync.sitemap import SiteMap
from tests.stage import KEY, SETTINGS, TRACKING, Stage, small_map

OTHER = staff_secret(bytes(range(16, 32)), KEY.site)
HOUR = 3_600_000


def stage_with_clock(settings: Settings = SETTINGS) -> Stage:
    return Stage(settings=settings, trust=Trust.SYNCED, error_ms=50)


def secret_of(version_key: CodeKey = KEY) -> str:
    return b64encode(staff_tag(version_key.key, version_key.site, OTHER)).decode()


def asks(stage: Stage, door: int = 3, *, within: int = HOUR, by: str = "ada") -> str:
    """Support asks for a door at the hub."""
    until = stage.now.wall_ms + within
    wish = facts.OpenRequested(door=door, by=by, why="stuck", case="C-1", until_ms=until)
    return stage.hub(wish)[0]


def declined(stage: Stage) -> list[str]:
    return [fact.why for fact in stage.recorded(facts.RequestDeclined)]


# --- what was read is said --------------------------------------------------------------------


def entries(stage: Stage) -> list[dict[str, object]]:
    written = [output for output in stage.outputs if isinstance(output, Persist)]
    return [dict(parse(draft.entry).body) for persist in written for draft in persist.drafts]


def test_decisions_say_what_they_had_read_of_the_hub_and_nothing_else_does() -> None:
    stage = stage_with_clock()
    stage.deposit("AB1")
    assert not [body for body in entries(stage) if "seen" in body]
    stage.hub(facts.GrantRevoked(of="e1-0000000b:hc9", by="x"))
    stage.outputs.clear()
    stage.deposit("AB2")
    with_seen = {str(body["kind"]) for body in entries(stage) if "seen" in body}
    assert with_seen == {"open.intended", "parcel.deposited"}
    seen = [body["seen"] for body in entries(stage) if "seen" in body]
    assert seen == [{"e1-0000000b:hu": 1}] * 2


def test_a_map_says_nothing_of_the_hub_and_a_service_flag_does() -> None:
    stage = stage_with_clock()
    stage.hub(facts.GrantRevoked(of="e1-0000000b:hc9", by="x"))
    stage.outputs.clear()
    wish = ServiceSet(now=stage.now, token="v", by="ada", door=1, enabled=False, reason="r")
    stage.send(wish)
    assert [body["seen"] for body in entries(stage)] == [{"e1-0000000b:hu": 1}]


def test_the_link_is_nobodys_business_at_the_kiosk() -> None:
    stage = Stage()
    stage.outputs.clear()
    stage.send(LinkUp(now=stage.now))
    up = stage.engine.state.linked
    stage.send(LinkDown(now=stage.now))
    assert (up, stage.engine.state.linked) == (True, False)
    assert not stage.outputs


# --- requests ---------------------------------------------------------------------------------


def test_a_request_becomes_this_sites_own_intent() -> None:
    stage = stage_with_clock()
    ref = asks(stage)
    intent = stage.recorded(facts.OpenIntended)[0]
    assert (intent.purpose, intent.by, intent.asked) == ("support", "support:ada", ref)
    assert (intent.door, intent.case) == (3, "C-1: stuck")
    assert stage.last(Pulse).door == 3
    stage.opens()
    stage.shut(3, occupied=False)
    assert stage.box(3).custody is Custody.FREE
    assert len(stage.recorded(facts.OpenIntended)) == 1


def test_a_request_for_a_held_door_is_about_its_parcel() -> None:
    stage = stage_with_clock()
    door = stage.deposit()
    asks(stage, door)
    stage.opens()
    stage.shut(door, occupied=False)
    assert stage.recorded(ParcelCollected)[0].by == "support:ada"


@pytest.mark.parametrize("within", [50, 49, 0, -1])
def test_a_request_that_may_be_too_late_is_declined(within: int) -> None:
    stage = stage_with_clock()
    asks(stage, within=within)
    assert declined(stage) == ([] if within == 50 else ["request.late"])


def test_without_a_trusted_clock_no_request_is_done() -> None:
    stage = Stage()
    asks(stage)
    assert declined(stage) == ["clock.untrusted"]
    assert not stage.pulses()


def test_a_request_is_declined_with_the_reason_of_the_door() -> None:
    stage = stage_with_clock()
    asks(stage, 99)
    stage.door(2, is_open=True)
    asks(stage, 2)
    assert declined(stage) == ["door.unknown", "door.busy"]


def test_requests_open_three_doors_a_minute_local_ones_counted() -> None:
    stage = stage_with_clock()
    for door in (1, 2, 3, 4):
        asks(stage, door)
    assert declined(stage) == ["support.rate"]


def test_occupied_doors_are_capped_for_each_account() -> None:
    stage = stage_with_clock(replace(SETTINGS, occupied_per_hour=1))
    doors = [stage.deposit("AB1"), stage.deposit("AB2")]
    asks(stage, doors[0])
    asks(stage, doors[1])
    assert declined(stage) == ["support.occupied"]
    asks(stage, doors[1], by="bob")
    assert declined(stage) == ["support.occupied"]
    stage.after(HOUR)
    assert not stage.engine.state.book.rights.requests


def test_a_request_waits_after_a_start_until_its_door_was_seen() -> None:
    stage = stage_with_clock()
    stage.restart()
    asks(stage)
    assert not stage.recorded(facts.OpenIntended)
    assert not declined(stage)
    stage.see_all()
    assert stage.recorded(facts.OpenIntended)


def test_a_request_for_a_door_that_is_never_seen_is_declined() -> None:
    stage = stage_with_clock()
    stage.restart()
    asks(stage)
    stage.after(SETTINGS.recover_ms)
    assert declined(stage) == ["door.silent"]


def test_a_request_heard_before_a_crash_is_done_after_it_and_once() -> None:
    stage = stage_with_clock()
    until = stage.now.wall_ms + HOUR
    wish = facts.OpenRequested(door=3, by="ada", why="w", case="c", until_ms=until)
    stage.hub(wish, send=False)  # stored; the process died before the engine was told
    stage.restart()
    stage.see_all()
    assert len(stage.recorded(facts.OpenIntended)) == 1
    stage.restart()
    stage.see_all()
    assert len(stage.recorded(facts.OpenIntended)) == 1


def test_long_texts_of_the_hub_fit_this_sites_entry() -> None:
    stage = stage_with_clock()
    until = stage.now.wall_ms + HOUR
    wish = facts.OpenRequested(
        door=3, by="ä" * 600, why="\n" + "𝄞" * 200, case="x" * 800, until_ms=until
    )
    stage.hub(wish)
    intent = stage.recorded(facts.OpenIntended)[0]
    assert intent.by == f"support:{'ä' * cloud.TEXT_MAX}"
    assert intent.case.isprintable()


# --- couriers of the hub ----------------------------------------------------------------------


def hub_courier(stage: Stage, **more: object) -> str:
    grant = facts.GrantIssued(
        grant="courier",
        tenant="acme",
        label="x",
        tag=secret_of(),
        key_version=1,
        **more,  # type: ignore[arg-type]
    )
    return stage.hub(grant)[0]


def test_a_courier_of_the_hub_delivers_like_any_other() -> None:
    stage = Stage()
    ref = hub_courier(stage)
    stage.login(OTHER)
    door = stage.deposit()
    assert stage.box(door).custody is Custody.HELD
    assert stage.recorded(facts.ParcelDeposited)[0].by == ref


@pytest.mark.parametrize(
    ("trust", "within", "why"),
    [
        (Trust.FLOOR, HOUR, "clock.untrusted"),
        (Trust.SYNCED, -1, "staff.expired"),
        (Trust.DRIFTING, HOUR, ""),
    ],
)
def test_a_courier_with_an_end_needs_a_clock(trust: Trust, within: int, why: str) -> None:
    stage = Stage(trust=trust)
    hub_courier(stage, until_ms=stage.now.wall_ms + within)
    stage.login(OTHER)
    assert stage.screen().why == why
    assert stage.screen().name == ("deliver.enter" if why else "deliver.scan")


def test_a_round_that_outlasts_its_right_ends() -> None:
    stage = stage_with_clock()
    hub_courier(stage, until_ms=stage.now.wall_ms + 30_000)
    stage.login(OTHER)
    stage.after(30_000)
    stage.scan()
    assert (stage.screen().name, stage.screen().why) == ("deliver.enter", "staff.expired")


def test_a_revocation_ends_the_round_at_once_and_no_pulse_leaves() -> None:
    stage = Stage()
    ref = hub_courier(stage)
    stage.login(OTHER)
    stage.hub(facts.GrantRevoked(of=ref, by="hub"))
    assert (stage.screen().name, stage.screen().why) == ("deliver.enter", "staff.revoked")
    assert stage.engine.state.sessions["main"].courier is None


def test_a_revocation_that_comes_before_the_disk_stops_the_pulse() -> None:
    stage = Stage()
    ref = hub_courier(stage)
    stage.login(OTHER)
    stage.scan()
    stage.slow_disk = True
    stage.press(Button.SIZE, "S")
    stage.hub(facts.GrantRevoked(of=ref, by="hub"))
    stage.slow_disk = False
    stage.flush()
    assert not stage.pulses()
    assert stage.recorded(facts.OpenEnded)[0].why == "staff.revoked"


def test_a_critical_entry_about_a_courier_keeps_them_out_and_raises_an_alarm() -> None:
    stage = Stage()
    ref = hub_courier(stage)
    named = stage.hub(facts.LanesTied(of=ref, lanes={}), critical=True)
    stage.login(OTHER)
    assert stage.screen().why == "staff.cautious"
    assert stage.engine.book.standing("entry.critical", None, named[0])


# --- rights to collect ------------------------------------------------------------------------


def collects(stage: Stage, parcel: str, **more: object) -> str:
    grant = facts.GrantIssued(
        grant="collect", tenant="acme", label="friend", tag=secret_of(), key_version=1,
        of=parcel, **more,  # type: ignore[arg-type]
    )  # fmt: skip
    return stage.hub(grant)[0]


def held(stage: Stage) -> tuple[int, str]:
    door = stage.deposit()
    stage.home()
    return door, str(stage.box(door).parcel)


def test_a_right_to_collect_opens_its_parcel_once_and_the_own_code_goes_on_until_then() -> None:
    stage = Stage()
    door, parcel = held(stage)
    ref = collects(stage, parcel)
    stage.enter(OTHER)
    assert stage.recorded(facts.OpenIntended)[-1].by == ref
    stage.opens()
    stage.shut(door, occupied=True)  # left behind: both still open it
    stage.after(1_000)
    stage.enter(stage.code())
    assert stage.recorded(facts.OpenIntended)[-1].by == "code"
    stage.opens()
    stage.shut(door, occupied=True)
    stage.home()
    stage.after(1_000)
    stage.enter(OTHER)
    stage.opens()
    stage.shut(door, occupied=False)
    stage.press(Button.OPEN_AGAIN)
    assert stage.recorded(facts.OpenIntended)[-1].by == ref
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(SETTINGS.grace_ms)
    assert stage.recorded(ParcelCollected)[0].by == ref
    assert stage.engine.book.rights.state_of(ref) == "used"
    stage.enter(OTHER)
    assert stage.screen().why == "code.retired"


def test_what_ends_a_right_to_collect() -> None:
    for why, trust, more in (
        ("code.revoked", Trust.SYNCED, {}),
        ("code.expired", Trust.SYNCED, {"until_ms": 1}),
        ("clock.untrusted", Trust.FLOOR, {"until_ms": 1}),
    ):
        stage = Stage(trust=trust)
        _, parcel = held(stage)
        ref = collects(stage, parcel, **more)
        if why == "code.revoked":
            stage.hub(facts.GrantRevoked(of=ref, by="x"))
        stage.enter(OTHER)
        assert stage.screen().why == why
        assert not [fact for fact in stage.recorded(facts.CodeRefused) if fact.charged]


def test_a_right_that_ended_does_not_open_again() -> None:
    stage = Stage()
    door, parcel = held(stage)
    ref = collects(stage, parcel)
    stage.enter(OTHER)
    stage.opens()
    stage.hub(facts.GrantRevoked(of=ref, by="x"))
    stage.shut(door, occupied=True)
    stage.press(Button.OPEN_AGAIN)
    assert (stage.screen().name, stage.screen().why) == ("collect.enter", "code.revoked")


def test_a_tag_that_is_no_tag_matches_no_secret() -> None:
    """A missing key must not equal an empty tag, and a tag that is not ASCII must not crash."""
    stage = Stage()
    _, parcel = held(stage)
    for kind in ("collect", "courier"):
        for tag, version in (("", 9), ("", 1), ("\u00e4\u00f6", 1)):
            stage.hub(
                facts.GrantIssued(
                    grant=kind, tenant="acme", label="x", tag=tag, key_version=version, of=parcel
                )
            )
    stage.enter(OTHER)
    assert stage.screen().why == "code.unknown"
    stage.login(OTHER)
    assert stage.screen().why == "staff.unknown"


def test_a_right_that_a_newer_version_restricts_is_not_used() -> None:
    stage = Stage()
    _, parcel = held(stage)
    ref = collects(stage, parcel)
    stage.hub(facts.LanesTied(of=ref, lanes={}), critical=True)
    stage.enter(OTHER)
    assert stage.screen().why == "door.cautious"


def test_a_right_opens_a_claimed_parcel_for_as_long_as_its_code_does() -> None:
    stage = Stage(map=small_map(sensors=False))
    door, parcel = held(stage)
    ref = collects(stage, parcel)
    stage.enter(OTHER)
    stage.opens()
    stage.shut(door, occupied=None)
    stage.after(SETTINGS.grace_ms)
    assert stage.recorded(facts.ParcelClaimed)[0].by == ref
    stage.enter(OTHER)
    stage.shut(stage.opens(), occupied=None)
    stage.after(SETTINGS.grace_ms + SETTINGS.claimed_ms + 1)
    stage.enter(OTHER)
    assert stage.screen().why == "code.retired"


def test_a_revocation_while_the_door_is_open_does_not_undo_and_is_surfaced() -> None:
    stage = Stage()
    door, parcel = held(stage)
    ref = collects(stage, parcel)
    stage.enter(OTHER)
    stage.opens()
    stage.hub(facts.GrantRevoked(of=ref, by="x"))
    stage.shut(door, occupied=False)
    stage.after(SETTINGS.grace_ms)
    assert stage.recorded(ParcelCollected)
    conflict = stage.engine.book.conflicts()[0]
    assert (conflict.what, conflict.how) == ("grant.used_revoked", "in_flight")
    assert stage.engine.book.standing("rights.conflict", None, conflict.ref)


def test_a_pulse_for_a_right_that_ends_before_the_disk_is_not_sent() -> None:
    stage = Stage()
    _, parcel = held(stage)
    ref = collects(stage, parcel)
    stage.outputs.clear()
    stage.slow_disk = True
    stage.enter(OTHER)
    stage.hub(facts.GrantRevoked(of=ref, by="x"))
    stage.slow_disk = False
    stage.flush()
    assert not stage.pulses()
    assert (stage.screen().name, stage.screen().why) == ("collect.fault", "code.revoked")


def test_all_rights_of_the_hub_together_open_so_many_doors_an_hour() -> None:
    stage = Stage(settings=replace(SETTINGS, occupied_per_hour=1))
    door, parcel = held(stage)
    collects(stage, parcel)
    stage.enter(OTHER)
    stage.opens()
    stage.shut(door, occupied=True)
    stage.home()
    assert len(stage.engine.state.occupied_times[HUB]) == 1
    stage.enter(OTHER)
    assert stage.screen().why == "support.occupied"
    stage.enter(stage.code())  # the recipient's own code is nobody's grant
    assert stage.recorded(facts.OpenIntended)[-1].by == "code"


def test_a_door_named_by_a_newer_version_opens_for_no_code_and_takes_nothing() -> None:
    stage = stage_with_clock()
    door, _ = held(stage)
    stage.hub(facts.CompartmentDisabled(door=door, by="x", why="y"), critical=True)
    stage.enter(stage.code())
    assert (stage.screen().name, stage.screen().why) == ("collect.fault", "door.cautious")
    assert stage.pulses()[-1].door == door
    assert len(stage.pulses()) == 1  # the deposit's
    asks(stage, door)
    assert declined(stage) == ["door.cautious"]
    stage.hub(facts.CompartmentEnabled(door=door, by="x"))
    stage.hub(facts.CompartmentEnabled(door=2, by="x"), critical=True)
    stage.login()
    stage.scan("AB1")
    assert dict(stage.screen().sizes)["S"] == 0


# --- several code keys ------------------------------------------------------------------------

NEWER = CodeKey(KEY.site, 2, bytes(range(1, 33)))


def test_a_live_parcel_keeps_the_key_that_it_came_with() -> None:
    stage = Stage()
    stage.deposit()
    stage.home()
    stage.settings = replace(SETTINGS, code_key=NEWER, older_keys=(KEY,))
    stage.restart()
    stage.see_all(occupied=(1,))
    stage.enter(stage.code())
    assert stage.recorded(facts.OpenIntended)[-1].by == "code"
    stage.opens()
    stage.shut(1, occupied=False)
    stage.after(SETTINGS.grace_ms)
    stage.enter(stage.code())
    assert stage.screen().why == "code.retired"
    stage.home()
    assert stage.deposit("AB1") == 1  # the courier's secret was tagged with the older key
    assert stage.recorded(facts.ParcelDeposited)[-1].key_version == 2
    stage.home()
    stage.enter(NEWER.code("acme/AB1/1", 0).short(8))
    assert stage.recorded(facts.OpenIntended)[-1].by == "code"


def test_a_key_that_is_missing_is_an_alarm_and_opens_nothing() -> None:
    stage = Stage()
    stage.deposit()
    stage.settings = replace(SETTINGS, code_key=NEWER)
    stage.restart()
    stage.see_all(occupied=(1,))
    stage.enter(stage.code())
    assert stage.screen().why == "code.unknown"
    assert stage.engine.book.standing("code.key_missing", None, "1")
    stage.settings = replace(SETTINGS, code_key=NEWER, older_keys=(KEY,))
    stage.restart()
    stage.see_all(occupied=(1,))
    assert not stage.engine.book.standing("code.key_missing", None, "1")


# --- alarms, snapshots, arrivals --------------------------------------------------------------


def test_a_poisoned_lane_is_an_alarm_once_and_the_others_go_on() -> None:
    stage = Stage()
    stage.hub(facts.AlarmRaised(alarm="x"))  # not the hub's to write
    stage.hub(facts.GrantRevoked(of=stage.courier, by="x"))  # the same lane: not folded any more
    assert stage.engine.book.standing("log.poisoned", None, "e1-0000000b:hu")
    assert len(stage.recorded(facts.AlarmRaised)) == 1
    hub_courier(stage)
    stage.login(OTHER)
    assert stage.screen().name == "deliver.scan"


def test_an_alarm_that_somebody_cleared_is_not_raised_again_while_its_reason_stands() -> None:
    stage = Stage()
    stage.hub(facts.FoldSwitched(version=9, lanes={}))
    raised = stage.engine.book.standing("log.poisoned", None, "e1-0000000b:hc")
    stage.hub(facts.AlarmCleared(raises=raised))
    stage.deposit()
    assert not stage.engine.book.standing("log.poisoned", None, "e1-0000000b:hc")


def test_a_claim_against_the_facts_is_an_alarm_until_they_agree() -> None:
    stage = Stage()
    door, _ = held(stage)
    tag = stage.recorded(facts.ParcelDeposited)[0].tag
    ref = stage.hub(facts.ClaimMade(tag=tag, says="collected", by="shop"))[0]
    assert stage.engine.book.standing("rights.conflict", None, ref)
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(SETTINGS.grace_ms)
    assert not stage.engine.book.standing("rights.conflict", None, ref)


def test_a_stuck_door_that_the_hub_put_back_is_not_stuck_any_more() -> None:
    stage = Stage()
    door, _ = held(stage)
    stage.enter(stage.code())
    for _ in range(3):
        stage.after(400)
        stage.pulse_done()
        stage.after(SETTINGS.window_ms)
    stage.hub(facts.GrantRevoked(of="e1-0000000b:hc9", by="x"))  # other news change nothing
    assert stage.engine.book.standing("door.stuck", door)
    seen = {"e1-00000001:sc": stage.engine.book.sizes["e1-00000001:sc"]}
    stage.hub(facts.CompartmentEnabled(door=door, by="x"), seen=seen)
    assert not stage.box(door).disabled
    assert not stage.engine.book.standing("door.stuck", door)


def test_a_snapshot_signs_the_book_and_hands_its_bytes_out_in_the_same_commit() -> None:
    stage = Stage()
    stage.deposit()
    stage.hub(facts.GrantRevoked(of="e1-0000000b:hc9", by="x"))
    book = stage.engine.book.canonical()
    outputs = stage.send(SnapshotAsked(now=stage.now))
    persist = next(output for output in outputs if isinstance(output, Persist))
    assert persist.snapshot is not None
    digest, data = persist.snapshot
    taken = stage.recorded(facts.SnapshotTaken)[0]
    assert (data, taken.sha256) == (book, b64encode(digest).decode())
    again = Book.restored(data)
    assert (taken.fold, taken.lanes) == (1, again.sizes)
    stage.outputs.clear()
    stage.deposit("AB1")
    assert not [o for o in stage.outputs if isinstance(o, Persist) and o.snapshot]


def test_no_snapshot_of_a_book_without_a_map_or_out_of_order() -> None:
    bare = Stage()
    bare.engine.book.holdings.map = SiteMap()
    bare.send(SnapshotAsked(now=bare.now))
    stale = Stage()
    stale.engine.book.stale = True
    stale.send(SnapshotAsked(now=stale.now))
    for stage in (bare, stale):
        assert not stage.recorded(facts.SnapshotTaken)


def test_somebody_who_knows_more_of_this_epoch_than_we_do_raises_the_fence() -> None:
    stage = Stage()
    own = stage.log[2]
    stage.send(EntriesArrived(now=stage.now, entries=(own,)))  # one of ours that we have
    assert not stage.engine.book.fenced
    for log, index in (("e1-00000001:sc", 900), ("e2-00000007:su", 0), ("e2-00000007:sc", 0)):
        stage = Stage()
        ahead = (log, index, *own[2:])
        stage.send(EntriesArrived(now=stage.now, entries=(ahead,)))
        assert stage.recorded(facts.FenceSet)[0].why == "peer.ahead"
        assert log not in stage.engine.book.sizes or "e1" in log
        assert stage.engine.book.fences
        stage.door(1, is_open=True)  # what happens here is still put on record
        assert stage.recorded(facts.DoorForced)


def test_nothing_is_done_for_the_cloud_before_this_epoch_has_begun() -> None:
    stage = stage_with_clock()
    stage.settings = replace(SETTINGS, epoch="e2-00000001")
    stage.restart()
    asks(stage)
    assert not stage.recorded(facts.OpenIntended)
    assert not stage.unwritten


def test_what_this_site_writes_and_cannot_fold_stops_it() -> None:
    stage = Stage()
    stage.settings = replace(SETTINGS, epoch="e2-00000001")
    stage.restart()
    with pytest.raises(OursBroken, match=r"engine\.not_folded"):
        stage.engine.state.write(facts.LanesTied(lanes={}))
    again = Stage()
    with pytest.raises(OursBroken, match=r"custody\.impossible"):
        again.engine.state.write(
            ParcelCollected(of="e1-00000001:sc1", door=1, by="code", basis="sensor")
        )


def test_a_secret_of_nobody_is_unknown() -> None:
    stage = Stage()
    held(stage)
    stage.enter(OTHER)
    assert stage.screen().why == "code.unknown"
    stage.send(StaffCodeEntered(now=stage.now, kiosk="main", digits=OTHER))
    assert stage.screen().why == "staff.unknown"
    assert TRACKING not in repr(stage.outputs)


@pytest.mark.parametrize("inside", [True, False])
def test_who_lost_the_right_with_a_door_open_is_not_told_that_it_is_open_still(
    inside: bool,  # a drawn flag
) -> None:
    stage = Stage(trust=Trust.SYNCED)
    stage.login()
    stage.scan()
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.hub(facts.GrantRevoked(of=stage.courier, by="x"))
    assert stage.screen().name == "deliver.open"
    stage.shut(door, occupied=inside)
    assert (stage.screen().name, stage.screen().why) == ("deliver.enter", "staff.revoked")
    assert stage.box(door).custody is (Custody.HELD if inside else Custody.FREE)
