"""Pins an installer at the boards: a durable intent before a pulse, one outcome, one sign-off."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway.core.inputs import (
    BenchAsked,
    Command,
    EpochBegun,
    FenceRaised,
    LockTold,
    LockTried,
    SiteSigned,
    SupportOpens,
    TimePassed,
)
from gateway.core.installing import UNTOLD_MS
from gateway.core.outputs import Answer, Persist, Pulse
from sync import facts
from sync.book import Book
from sync.sitemap import DoorItem, LineItem, SiteMap
from tests.stage import Stage, small_map

REPORT = "A" * 43 + "="


def ask(stage: Stage, kind: type[Command], **more: Any) -> Answer:
    stage.outputs.clear()
    stage.send(kind(now=stage.now, token="t", by="installer:anna", **more))
    answer: Answer = stage.last(Answer)
    return answer


def tried(stage: Stage, lock: str = "new:0", ms: int = 400) -> Answer:
    return ask(stage, LockTried, lock=lock, line="rs485-1", unit=7, ms=ms)


def signed(stage: Stage, wanted: SiteMap, **more: Any) -> Answer:
    numbers = {"passed": len(wanted.doors), "failed": 0} | more
    return ask(stage, SiteSigned, map=wanted, report=REPORT, **numbers)


def larger(**more: Any) -> SiteMap:
    """The small map with a fifth door, and a line of its own."""
    site = small_map()
    door = DoorItem(number=5, size="M", lock="relays:5", switch="doors:5", rail="left", **more)
    lines = {"bus": LineItem(name="bus", serial="/dev/ttyS1")}
    return SiteMap(boards=site.boards, doors=site.doors | {5: door}, lines=lines)


# --- locks ------------------------------------------------------------------------------------


def test_a_lock_is_tried_only_when_the_intent_is_on_the_disk() -> None:
    stage = Stage()
    stage.slow_disk = True
    stage.outputs.clear()
    stage.send(
        LockTried(
            now=stage.now, token="t", by="installer:anna", lock="new:3", line="rs485-1", unit=7,
            ms=400,
        )
    )  # fmt: skip
    assert not [one for one in stage.outputs if isinstance(one, Answer)]
    assert [one for one in stage.outputs if isinstance(one, Persist)]
    stage.flush()
    answer = stage.last(Answer)
    intent = stage.recorded(facts.LockIntended)[-1]
    assert (intent.lock, intent.unit, intent.ms, intent.by) == ("new:3", 7, 400, "installer:anna")
    assert dict(answer.evidence)["deadline"] == intent.deadline > stage.mono
    assert not [one for one in stage.outputs if isinstance(one, Pulse)]
    assert stage.engine.book.trials == {answer.ref: "new:3"}


def test_an_intent_has_one_outcome() -> None:
    stage = Stage()
    ref = tried(stage).ref
    told = ask(stage, LockTold, of=ref, outcome="opened", took_ms=180)
    assert not told.code
    ended = stage.recorded(facts.LockEnded)[-1]
    assert (ended.of, ended.outcome, ended.took_ms) == (ref, "opened", 180)
    assert ask(stage, LockTold, of=ref, outcome="failed").code == "lock.unknown"
    assert stage.engine.book.trials == {}


def test_one_lock_has_one_intent_at_a_time_and_there_are_few() -> None:
    stage = Stage()
    tried(stage)
    assert tried(stage).code == "lock.busy"
    for channel in range(1, 16):
        assert not tried(stage, f"new:{channel}").code
    assert tried(stage, "new:16").code == "lock.busy"


@pytest.mark.parametrize("ms", [0, -1, 1_001])
def test_no_pulse_is_longer_than_the_cap(ms: int) -> None:
    assert tried(Stage(), ms=ms).code == "lock.pulse"


def test_a_lock_with_a_parcel_behind_its_door_is_never_tried() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    lock = stage.engine.book.map.doors[door].lock
    answer = tried(stage, lock)
    assert (answer.code, dict(answer.evidence)["door"]) == ("door.occupied", door)
    assert stage.recorded(facts.LockIntended) == []


@pytest.mark.parametrize("line", ["bus", "rs485-1"])
def test_another_name_for_its_lock_does_not_open_a_door_with_a_parcel(line: str) -> None:
    """A draft names boards and lines as it likes: what counts is where a lock answers."""
    stage = Stage()
    door = stage.deposit()
    stage.home()
    more = {"line": line, "unit": 1, "ms": 400}
    answer = ask(stage, LockTried, lock=f"new:{door}", **more)
    assert (answer.code, dict(answer.evidence)["door"]) == ("door.occupied", door)
    assert not ask(stage, LockTried, lock="new:9", **more).code
    assert not ask(stage, LockTried, lock=f"new:{door}", **more | {"unit": 9}).code


def test_a_lock_at_another_line_of_the_map_is_another_lock() -> None:
    stage = Stage()
    signed(stage, larger(), audit=False)
    door = stage.deposit()
    stage.home()
    site = larger()
    lines = site.lines | {"hall": LineItem(name="hall", tcp="10.0.0.7")}
    signed(stage, SiteMap(boards=site.boards, doors=site.doors, lines=lines))
    assert not ask(stage, LockTried, lock=f"new:{door}", line="hall", unit=1, ms=400).code


def test_an_empty_door_of_the_map_is_named_in_its_intent() -> None:
    stage = Stage()
    ref = tried(stage, "relays:3").ref
    intent = stage.recorded(facts.LockIntended)[-1]
    assert intent.door == 3
    assert stage.engine.book.compartments[3].last == ref


def test_behind_a_fence_an_unproved_door_is_not_tried() -> None:
    stage = Stage()
    stage.send(FenceRaised(now=stage.now, why="test"))
    assert tried(stage, "relays:3").code == "door.occupied"
    assert not tried(stage, "new:1").code


def test_whoever_is_at_a_door_keeps_the_boards() -> None:
    stage = Stage()
    assert not ask(stage, BenchAsked).code
    door = stage.deposit()
    stage.home()
    stage.enter(stage.code())
    assert ask(stage, BenchAsked).code == "site.busy"
    assert dict(stage.last(Answer).evidence)["door"] == door
    assert tried(stage).code == "site.busy"


def test_what_was_unfinished_when_the_boards_went_away_keeps_no_lock_from_being_tried() -> None:
    """Seconds after a pick-up its grace still runs; without boards it would run for ever."""
    stage = Stage()
    door = stage.deposit()
    stage.home()
    stage.enter(stage.code())
    stage.shut(stage.opens(), occupied=False)
    stage.after(2_000)
    assert not ask(stage, BenchAsked).code
    stage.restart()
    assert not tried(stage).code
    lock = stage.engine.book.map.doors[door].lock
    assert tried(stage, lock).code == "door.occupied"


def test_a_door_that_says_open_for_ever_keeps_nobody_from_mending_it() -> None:
    stage = Stage()
    stage.door(1, is_open=True)  # forced, or a broken switch
    assert not ask(stage, BenchAsked).code
    stage.restart()
    assert not tried(stage).code


def test_a_door_that_its_owner_left_open_keeps_the_boards_until_its_alarm() -> None:
    stage = Stage()
    stage.deposit()
    stage.home()
    stage.enter(stage.code())
    stage.opens()
    stage.after(200_000)
    assert ask(stage, BenchAsked).code == "site.busy"
    stage.after(200_000)
    assert not ask(stage, BenchAsked).code


def test_a_door_whose_board_stays_silent_after_a_start_keeps_the_boards_for_two_minutes() -> None:
    stage = Stage()
    stage.deposit()
    stage.home()
    stage.enter(stage.code())
    stage.opens()
    stage.restart()
    assert ask(stage, BenchAsked).code == "site.busy"
    stage.after(stage.settings.recover_ms + 1)
    assert not ask(stage, BenchAsked).code


def test_an_intent_that_nobody_tells_of_ends_in_doubt() -> None:
    stage = Stage()
    ref = tried(stage).ref
    intent = stage.recorded(facts.LockIntended)[-1]
    stage.after(intent.deadline - stage.mono + UNTOLD_MS - 1)
    assert stage.recorded(facts.LockEnded) == []
    stage.after(1)
    [ended] = stage.recorded(facts.LockEnded)
    assert (ended.of, ended.outcome, ended.why) == (ref, "doubt", "lock.untold")
    assert ask(stage, LockTold, of=ref, outcome="pulsed").code == "lock.unknown"


def test_an_intent_that_was_told_of_has_no_other_end() -> None:
    stage = Stage()
    ref = tried(stage).ref
    ask(stage, LockTold, of=ref, outcome="pulsed")
    assert not tried(stage).code
    stage.after(10 * UNTOLD_MS)
    ends = [(one.of, one.outcome) for one in stage.recorded(facts.LockEnded)]
    assert ends[0] == (ref, "pulsed")
    assert len(ends) == 2


def test_after_a_restart_nobody_knows_whether_the_coil_was_on() -> None:
    stage = Stage()
    ref = tried(stage).ref
    stage.restart()
    assert stage.recorded(facts.LockEnded) == []  # a start writes nothing
    stage.send(TimePassed(now=stage.now))
    ended = stage.recorded(facts.LockEnded)[-1]
    assert (ended.of, ended.outcome, ended.why) == (ref, "doubt", "restart")
    assert stage.engine.book.trials == {}


def test_a_new_epoch_names_its_parents_before_it_ends_an_old_intent() -> None:
    stage = Stage()
    ref = tried(stage).ref
    stage.settings = replace(stage.settings, epoch="e2-00000002")
    stage.restart()
    stage.send(TimePassed(now=stage.now))
    assert stage.recorded(facts.LockEnded) == []
    parents = {
        f"lockers.example/site/0042/e1-00000001/{lane}": (size, "")
        for lane, size in (("custody", stage.engine.book.sizes["e1-00000001:sc"]),)
    }
    stage.send(
        EpochBegun(
            now=stage.now, token="t", by="init", site="site/0042", parents=parents, why="restored"
        )
    )
    stage.mono += 2_000
    stage.send(TimePassed(now=stage.now))
    assert stage.recorded(facts.LockEnded)[-1].of == ref


# --- the sign-off -----------------------------------------------------------------------------


def test_a_map_and_its_sign_off_are_one_commit() -> None:
    stage = Stage()
    answer = signed(stage, larger(heated=True, column=1, row=2))
    assert not answer.code
    [persist] = [one for one in stage.outputs if isinstance(one, Persist)]
    kinds = [msgspec.json.decode(draft.entry)["kind"] for draft in persist.drafts]
    assert kinds == ["config.set"] * (1 + 1 + 3 + 5) + ["site.commissioned"]
    book = stage.engine.book
    assert book.map == larger(heated=True, column=1, row=2)
    assert book.commissioned is not None
    assert (book.commissioned.ref, book.commissioned.by) == (answer.ref, "installer:anna")
    assert (book.commissioned.doors, book.commissioned.boards) == (5, 3)


def test_nothing_is_signed_while_somebody_is_at_a_door() -> None:
    """A rail that changed its name under a pulse would not be freed again."""
    stage = Stage()
    stage.slow_disk = True
    stage.send(SupportOpens(now=stage.now, token="s", by="ada", door=3, reason="r", case="c"))
    site = small_map()
    door = msgspec.structs.replace(site.doors[3], rail="new")
    wanted = SiteMap(boards=site.boards, doors=site.doors | {3: door})
    stage.send(
        SiteSigned(
            now=stage.now, token="t", by="installer:anna", map=wanted, report=REPORT, passed=4,
            failed=0,
        )
    )  # fmt: skip
    stage.slow_disk = False
    stage.flush()
    stage.after(10_000)  # the pulse goes on as it was begun
    answers = {one.token: one.code for one in stage.outputs if isinstance(one, Answer)}
    assert answers["t"] == "site.busy"
    assert stage.engine.book.map == site


def test_the_same_map_again_is_signed_without_being_written() -> None:
    stage = Stage()
    stage.facts.clear()
    assert not signed(stage, small_map(), audit=True).code
    assert stage.recorded(facts.ConfigSet) == []
    assert stage.recorded(facts.SiteCommissioned)[-1].audit


def test_a_refused_map_leaves_the_old_one_and_no_sign_off() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    site = small_map()
    gone = SiteMap(boards=site.boards, doors={n: one for n, one in site.doors.items() if n != door})
    assert signed(stage, gone).code == "map.in_use"
    assert signed(stage, SiteMap(boards=site.boards)).code == "map.in_use"
    assert signed(Stage(map=SiteMap()), SiteMap()).code == "map.size"
    assert stage.recorded(facts.SiteCommissioned) == []
    assert stage.engine.book.map == site


@pytest.mark.parametrize("point", ["lock", "switch", "occupancy"])
def test_a_door_with_a_parcel_stays_where_it_is_wired(point: str) -> None:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    site = small_map()
    moved = msgspec.structs.replace(site.doors[door], **{point: "relays:7"})
    wanted = SiteMap(boards=site.boards, doors=site.doors | {door: moved})
    answer = signed(stage, wanted)
    assert (answer.code, dict(answer.evidence)["door"]) == ("map.in_use", door)


@pytest.mark.parametrize("point", ["lock", "switch", "occupancy"])
def test_no_other_door_gets_the_points_of_a_door_with_a_parcel(point: str) -> None:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    site = small_map()
    taken = getattr(site.doors[door], point)
    other = msgspec.structs.replace(site.doors[door % 4 + 1], **{point: taken})
    wanted = SiteMap(boards=site.boards, doors=site.doors | {other.number: other})
    answer = signed(stage, wanted)
    assert (answer.code, dict(answer.evidence)["door"]) == ("map.in_use", door)


def test_a_door_with_a_parcel_gets_no_sensor_that_it_did_not_have() -> None:
    stage = Stage(map=small_map(sensors=False))
    door = stage.deposit()
    stage.home()
    assert signed(stage, small_map()).code == "map.in_use"
    assert dict(stage.last(Answer).evidence)["door"] == door


def test_two_boards_do_not_change_places_under_a_parcel() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    site = small_map()
    one, two = site.boards["relays"], site.boards["doors"]
    swapped = {
        "relays": msgspec.structs.replace(one, unit=two.unit),
        "doors": msgspec.structs.replace(two, unit=one.unit),
    }
    answer = signed(stage, SiteMap(boards=site.boards | swapped, doors=site.doors))
    assert (answer.code, dict(answer.evidence)["door"]) == ("map.in_use", door)


def test_a_board_may_be_replaced_under_a_parcel() -> None:
    stage = Stage()
    stage.deposit()
    stage.home()
    site = small_map()
    new = {"relays": msgspec.structs.replace(site.boards["relays"], unit=7)}
    assert not signed(stage, SiteMap(boards=site.boards | new, doors=site.doors)).code


def test_what_is_not_its_wiring_may_change_under_a_parcel() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    site = small_map()
    other = msgspec.structs.replace(site.doors[door], reach="low", column=2, row=1)
    assert not signed(stage, SiteMap(boards=site.boards, doors=site.doors | {door: other})).code


# --- the book's bytes -------------------------------------------------------------------------


def test_a_book_without_all_this_has_the_bytes_it_always_had() -> None:
    page = msgspec.json.decode(Stage().engine.book.canonical())
    assert page.keys() >= {"map", "compartments"}
    assert not page.keys() & {"trials", "commissioned"}
    assert page["map"].keys() == {"boards", "doors"}
    assert "lines" not in page["reading"]


def test_a_book_with_it_comes_back_from_its_bytes() -> None:
    stage = Stage()
    signed(stage, larger(cooled=True, occupied_below=90_000, occupancy="sensors:0"))
    tried(stage)
    book = stage.engine.book
    again = Book.restored(book.canonical())
    assert again.canonical() == book.canonical()
    assert (again.map, again.trials, again.commissioned) == (
        book.map, book.trials, book.commissioned,
    )  # fmt: skip
