"""An installer between anybody's inputs: locks only by a durable intent, maps whole or not at all.

`tests.crowd.Watched` looks at every answer that lets the bench pulse, at the moment it leaves.
"""

from hypothesis import given

from gateway.core.installing import TRIALS_MAX
from gateway.core.recovery import recover
from sync import facts
from sync.book import Book
from sync.custody import Custody
from sync.sitemap import SiteMap
from tests.crowd import Action, Watched, installers, play


def points(site: SiteMap, number: int) -> tuple[str, ...]:
    """Where a door is wired."""
    door = site.doors[number]
    return door.lock, door.switch, door.occupancy


@given(actions=installers)
def test_every_lock_that_was_tried_gets_one_outcome(actions: list[Action]) -> None:
    stage = play(actions)
    stage.after(10 * 60_000)
    ends: dict[str, int] = {}
    for log, index, _, fact, *_ in stage.log:
        if isinstance(fact, facts.LockIntended):
            ends[f"{log}{index}"] = 0
        elif isinstance(fact, facts.LockEnded):
            ends[str(fact.of)] += 1
    assert all(count == 1 for count in ends.values())
    assert stage.engine.book.trials == {}


@given(actions=installers)
def test_trials_are_few_and_of_different_locks(actions: list[Action]) -> None:
    stage = Watched()
    for action in actions:
        action(stage)
        locks = list(stage.engine.book.trials.values())
        assert len(locks) == len(set(locks)) <= TRIALS_MAX


@given(actions=installers)
def test_a_power_cut_anywhere_leaves_a_whole_map_that_moved_no_parcel(
    actions: list[Action],
) -> None:
    stage = play(actions)
    book = Book()
    before: SiteMap = book.map
    for entry in stage.log:
        full = {one.number for one in book.compartments.values() if one.parcel is not None}
        book.take(*entry)
        fact = entry[3]
        if isinstance(fact, facts.SiteCommissioned):
            assert book.holdings.reader.head is None
            for number in full & before.doors.keys():
                assert points(before, number) == points(book.map, number)
        if not isinstance(fact, facts.ConfigSet):
            before = book.map
    assert book.map == stage.engine.book.map


@given(actions=installers)
def test_a_restart_finds_the_book_that_was_and_ends_what_was_tried(actions: list[Action]) -> None:
    stage = play(actions)
    engine, _ = recover(stage.log, stage.settings, stage.now)
    assert engine.book.canonical() == stage.engine.book.canonical()
    stage.restart()
    stage.after(0)
    assert stage.engine.book.trials == {}


@given(actions=installers)
def test_every_parcel_on_record_is_behind_a_door_of_the_map(actions: list[Action]) -> None:
    book = play(actions).engine.book
    for parcel in book.live():
        assert parcel.door in book.map.doors
        assert book.compartments[parcel.door].custody is not Custody.FREE


@given(actions=installers)
def test_the_same_inputs_give_the_same_outputs(actions: list[Action]) -> None:
    assert play(actions).outputs == play(actions).outputs
