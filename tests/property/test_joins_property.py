"""Two writers, one book: the same entries in any order, twice or late, give the same bytes."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import facts, fold
from sync.book import Book
from sync.errors import TheirsInvalid
from sync.fold import Taken
from tests.property.histories import Pair, any_logs, played, steps, whole

dice = st.randoms(use_true_random=False)


def heard(entries: Sequence[Taken]) -> Book:
    """The book of a holder that hears these one after another, and folds anew where it must."""
    book, known = Book(), []
    for entry in entries:
        known.append(entry)
        book.take(*entry)
        if book.stale:
            book = whole(known)
    return book


def shuffled(entries: Sequence[Taken], chance: Any) -> list[Taken]:
    """These entries in another order, some of them twice."""
    found = [*entries, *chance.sample(list(entries), len(entries) // 3)]
    chance.shuffle(found)
    return found


def interleaved(entries: Sequence[Taken], chance: Any) -> list[Taken]:
    """These entries log by log in order, the logs in turns."""
    logs: dict[str, list[Taken]] = {}
    for entry in sorted(entries, key=lambda one: one[1]):
        logs.setdefault(entry[0], []).append(entry)
    found = []
    while logs:
        log = chance.choice(sorted(logs))
        found.append(logs[log].pop(0))
        logs = {name: left for name, left in logs.items() if left}
    return found


@given(history=steps(), chance=dice)
def test_order_and_repetition_change_no_byte(history: list[Any], chance: Any) -> None:
    entries = played(history).everything()
    book = whole(entries)
    assert heard(shuffled(entries, chance)).canonical() == book.canonical()
    assert heard(interleaved(entries, chance)).canonical() == book.canonical()


@given(entries=any_logs(), chance=dice)
def test_any_entries_at_all_join(entries: list[Taken], chance: Any) -> None:
    book = whole(entries)
    assert heard(shuffled(entries, chance)).canonical() == book.canonical()
    assert heard(interleaved(entries, chance)).canonical() == book.canonical()


@given(history=steps())
def test_no_log_of_honest_writers_ever_stops(history: list[Any]) -> None:
    stage = played(history)
    assert whole(stage.everything()).stopped == {}
    assert stage.site.book.stopped == stage.hub.book.stopped == {}


@given(history=steps(), chance=dice)
def test_both_ends_have_one_book_once_both_heard_everything(
    history: list[Any], chance: Any
) -> None:
    stage = played(history)
    for _ in range(2):
        stage.hub.hear(stage.site)
        stage.site.hear(stage.hub)
    assert stage.hub.book.canonical() == stage.site.book.canonical()
    assert whole(stage.site.entries()).canonical() == stage.site.book.canonical()


@given(entries=st.one_of(any_logs(), steps().map(lambda one: played(one).everything())),
       chance=dice)  # fmt: skip
def test_a_restored_book_and_the_rest_is_the_whole_book(entries: list[Taken], chance: Any) -> None:
    order = interleaved(entries, chance)
    cut = chance.randrange(len(order) + 1)
    before = heard(order[:cut])
    again = Book.restored(before.canonical())
    assert again.canonical() == before.canonical()
    rest = [one for one in order if one[1] >= again.sizes.get(one[0], 0)]
    for entry in rest:
        again.take(*entry)
    if again.stale:
        again = whole(order)
    assert again.canonical() == heard(order).canonical()


POISONS = (
    facts.ConfigSet(item="door", value={"number": 1}),
    facts.ParcelCollected(door=1, by="c", basis="sensor", of="e1-0000000a:sc0"),
    facts.DoorForced(door=99),
    facts.AlarmCleared(raises=("nothing",)),
    facts.FoldSwitched(version=2, lanes={}),
)


@given(history=steps(), where=st.integers(0, 10**6), poison=st.sampled_from(POISONS), chance=dice)
def test_a_bad_entry_stops_its_own_log_in_any_order(
    history: list[Any], where: int, poison: Any, chance: Any
) -> None:
    entries = played(history).everything()
    bad = sorted(entries, key=lambda one: (one[0], one[1]))[where % len(entries)]
    entries[entries.index(bad)] = (*bad[:3], poison, *bad[4:])
    book = whole(entries)
    if facts.lane_of(poison).letter != bad[0][-1]:
        assert book.stopped[bad[0]].code == "book.wrong_lane"
        assert book.sizes.get(bad[0], 0) == bad[1] == book.stopped[bad[0]].index
    assert heard(shuffled(entries, chance)).canonical() == book.canonical()
    whole_logs = {one[0] for one in entries} - set(book.stopped)
    for log in whole_logs:
        if not log.endswith(":sc"):  # a later custody log waits for the one before it
            assert book.sizes[log] == sum(one[0] == log for one in entries)


@given(data=st.lists(st.binary(max_size=60), max_size=6))
def test_no_bytes_at_all_raise_in_the_fold(data: list[bytes]) -> None:
    book = fold.fold(
        fold.read(log, index, one)
        for log in ("e1-0000000a:sc", "e1-0000000b:hu")
        for index, one in enumerate(data)
    )
    assert all(stop.code for stop in book.stopped.values())


@given(data=st.binary(max_size=200))
def test_bytes_that_no_book_wrote_are_refused(data: bytes) -> None:
    with pytest.raises(TheirsInvalid) as refused:
        Book.restored(data)
    assert refused.value.code == "book.bad_snapshot"


def test_what_the_histories_reach() -> None:
    """The generators really come to promises kept, taken back, doubled epochs and conflicts."""
    stage = Pair()
    for name, arg in (
        ("transfer", 3), ("to_hub", 50), ("promise", 0), ("promise", 0), ("keep_promise", 0),
        ("to_site", 9), ("finish", 0), ("cancel", 1), ("to_site", 9), ("end_promise", 1),
        ("to_hub", 50), ("grant", 1), ("grant", 4), ("to_site", 9), ("revoke", 1), ("revoke", 4),
        ("collect", 1), ("restore", 3), ("to_site", 50), ("lift", 0), ("to_hub", 50),
    ):  # fmt: skip
        stage.act(name, arg)
    book = whole(stage.everything())
    assert book.rights.escrow.ended["S"] == 2
    assert len(book.epochs) == 2
    assert not book.fenced
