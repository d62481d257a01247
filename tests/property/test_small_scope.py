"""Every interleaving of up to ten acts of a site and its hub, with three rights and one restore.

Exhaustive, not random: three compartments of one size, the rights to two of them with the hub.
Two ways to the same state are followed once and counted both.
"""

from collections import Counter
from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple
from unittest.mock import patch

from sync import facts, fold, sitemap
from sync.book import Book
from sync.custody import Custody
from sync.rights import Rights
from tests.property.histories import bank, taken

ACTS = 10
HUB, URGENT, OLD, NEW = "e1-0000000b:hc", "e2-0000000a:su", "e1-0000000a:sc", "e2-0000000a:sc"
MAP = bank("S", "S", "S")
BEGIN = (
    *(facts.ConfigSet(item=item, value=value) for item, value in sitemap.items(MAP)),
    facts.CapacityTransferred(size="S", count=2),
)


class State(NamedTuple):
    """Two holders, as facts: what each wrote, what each heard, and what is really inside.

    `old` and `new` are the site's custody logs of its two epochs. `lost` were written before the
    restore and are not on its disk; `hub_old` is what the hub holds of the old log.
    """

    old: tuple[Any, ...] = ()
    new: tuple[Any, ...] = ()
    hub: tuple[Any, ...] = ()
    site_heard: int = 0
    hub_old: tuple[Any, ...] = ()
    hub_new: int = 0
    restored: bool = False
    fenced: bool = False
    inside: frozenset[int] = frozenset()
    ended: frozenset[str] = frozenset()


@cache
def book_of(old: tuple[Any, ...], new: tuple[Any, ...], hub: tuple[Any, ...], cut: int) -> Book:
    """The book of these facts; `cut` is where the second epoch began, or less than nought."""
    entries = [taken(OLD, index, index, fact) for index, fact in enumerate((*BEGIN, *old))]
    entries += [taken(HUB, index, index, fact) for index, fact in enumerate(hub)]
    if cut >= 0:
        parents = {"o/site/1/e1-0000000a/custody": (cut, "")}
        opened = facts.EpochOpened(site="site/1", version=1, parents=parents, why="restored")
        entries.append(taken(URGENT, 0, 0, opened))
        entries += [taken(NEW, index, index, fact) for index, fact in enumerate(new)]
    book = fold.fold(sorted(entries, key=lambda one: (fold.turn(one[0]), one[1])))
    assert not book.stopped
    return book


def site_book(state: State) -> Book:
    cut = len(BEGIN) if state.restored else -1
    return book_of(state.old, state.new, state.hub[: state.site_heard], cut)


def hub_book(state: State) -> Book:
    cut = len(BEGIN) if state.hub_new else -1
    return book_of(state.hub_old, state.new[: state.hub_new], state.hub, cut)


def wrote(state: State, *more: facts.AnyFact) -> State:
    if state.restored:
        return state._replace(new=(*state.new, *more))
    return state._replace(old=(*state.old, *more))


def free_door(book: Book, state: State) -> int | None:
    free = (d for d in MAP.doors if book.compartments[d].custody is Custody.FREE)
    return next((door for door in free if door not in state.inside), None)


def put_in(state: State, door: int, promise: str | None) -> State:
    intent = facts.OpenIntended(
        door=door, purpose="deposit", by="g", attempt=1, deadline=1, reservation=promise
    )
    done = facts.ParcelDeposited(
        door=door, by="g", size="S", digits=8, counter=1, key_version=1, tag=f"t{door}",
        basis="sensor",
    )  # fmt: skip
    more: list[facts.AnyFact] = [intent, done]
    if promise is not None:
        more.append(facts.ReservationClosed(of=promise, outcome="used", size="S"))
        state = state._replace(ended=state.ended | {promise})
    return wrote(state, *more)._replace(inside=state.inside | {door})


def walk_in(state: State) -> State | None:
    book = site_book(state)
    door = free_door(book, state)
    if state.fenced or door is None or book.site_free("S") < 1:
        return None
    return put_in(state, door, None)


def keep_promise(state: State) -> State | None:
    """The parcel of the oldest promise that nothing ended comes, heard of or not."""
    book = site_book(state)
    door = free_door(book, state)
    heard = book.rights.escrow.promises
    open_ones = (
        ref
        for index, fact in enumerate(state.hub)
        if isinstance(fact, facts.ReservationMade) and (ref := f"{HUB}{index}") not in state.ended
        and (index >= state.site_heard or (ref in heard and not heard[ref].cancelled))
    )  # fmt: skip
    promise = next(open_ones, None)
    if state.fenced or door is None or promise is None:
        return None
    return put_in(state, door, promise)


def transfer(state: State) -> State | None:
    if state.fenced or site_book(state).site_free("S") < 1:
        return None
    return wrote(state, facts.CapacityTransferred(size="S", count=1))


def release(state: State) -> State | None:
    promises = site_book(state).rights.escrow.promises.values()
    gone = next((one.ref for one in promises if one.cancelled), None)
    if state.fenced or gone is None:
        return None
    state = state._replace(ended=state.ended | {gone})
    return wrote(state, facts.CapacityReleased(of=gone, size="S"))


def promise(state: State) -> State | None:
    if hub_book(state).rights.escrow.hub_free("S") < 1:
        return None
    made = facts.ReservationMade(size="S", tag="t", key_version=1)
    return state._replace(hub=(*state.hub, made))


def cancel(state: State) -> State | None:
    made = hub_book(state).rights.escrow.promises.values()
    one = next((one.ref for one in made if not one.cancelled), None)
    if one is None:
        return None
    return state._replace(hub=(*state.hub, facts.ReservationCancelled(of=one, by="ada")))


def hand_back(state: State) -> State | None:
    if hub_book(state).rights.escrow.hub_free("S") < 1:
        return None
    return state._replace(hub=(*state.hub, facts.CapacityTransferred(size="S", count=1)))


def site_hears(state: State) -> State | None:
    """The link is up towards the site: it gets what it lacks, its own lost suffix too."""
    old = state.hub_old if state.restored and len(state.hub_old) > len(state.old) else state.old
    after = state._replace(site_heard=len(state.hub), old=old)
    return after if after != state else None


def hub_hears(state: State) -> State | None:
    old = state.old if len(state.old) > len(state.hub_old) else state.hub_old
    after = state._replace(hub_old=old, hub_new=len(state.new))
    return after if after != state else None


def restore(state: State) -> State | None:
    """The site's disk is that of the beginning; it knows, and fences itself."""
    if state.restored or not state.old:
        return None
    return state._replace(old=(), site_heard=0, restored=True, fenced=True)


def lift(state: State) -> State | None:
    """Everything that the hub holds is back, and somebody has looked into every door."""
    if not state.fenced:
        return None
    state = site_hears(state) or state
    looked = (
        facts.CompartmentChecked(door=door, by="ada", occupied=door in state.inside)
        for door in MAP.doors
    )
    return wrote(state, *looked)._replace(fenced=False)


MOVES: dict[str, Callable[[State], State | None]] = {
    move.__name__: move
    for move in (
        walk_in, keep_promise, transfer, release, promise, cancel, hand_back, site_hears, hub_hears,
        restore, lift,
    )
}  # fmt: skip


def holds(state: State) -> bool:
    """Parcels inside and promises that nobody took back or kept never exceed three."""
    gone = {fact.of for fact in state.hub if isinstance(fact, facts.ReservationCancelled)}
    owed = [
        ref
        for index, fact in enumerate(state.hub)
        if isinstance(fact, facts.ReservationMade)
        and (ref := f"{HUB}{index}") not in gone | state.ended
    ]
    return len(owed) + len(state.inside) <= len(MAP.doors)


def search(acts: int) -> tuple[int, int, Counter[str], list[str]]:
    """Return interleavings, states, how often each act was done, and the first way that breaks."""
    ways: dict[State, int] = {State(hub_old=()): 1}
    stories: dict[State, tuple[str, ...]] = {State(hub_old=()): ()}
    interleavings, seen = 0, {State(hub_old=())}
    done: Counter[str] = Counter()
    for _ in range(acts):
        following: Counter[State] = Counter()
        for state, count in ways.items():
            for name, move in MOVES.items():
                after = move(state)
                if after is None:
                    continue
                done[name] += count
                interleavings += count
                following[after] += count
                stories.setdefault(after, (*stories[state], name))
                if not holds(after):
                    return interleavings, len(seen), done, list(stories[after])
        seen |= following.keys()
        ways = dict(following)
    return interleavings, len(seen), done, []


def test_no_interleaving_of_ten_acts_gives_a_compartment_away_twice(
    capsys: Any, record_property: Callable[[str, object], None]
) -> None:
    book_of.cache_clear()
    interleavings, states, done, broken = search(ACTS)
    assert not broken, broken
    assert set(done) == set(MOVES), "every act was possible somewhere"
    assert interleavings > 2_000_000
    record_property("small_scope", (interleavings, states))
    with capsys.disabled():
        print(f"\nsmall scope: {interleavings:,} interleavings, {states:,} states")


def _cancel_returns_it(self: Rights, of: str, *, known: bool) -> None:
    self.escrow.promises.pop(of, None)


def test_the_search_finds_a_cancel_that_returns_the_right_to_the_hub() -> None:
    book_of.cache_clear()
    with patch.object(Rights, "cancel", _cancel_returns_it):
        *_, broken = search(ACTS)
    book_of.cache_clear()
    assert "cancel" in broken


def test_the_search_finds_a_site_that_spends_behind_its_fence() -> None:
    book_of.cache_clear()
    with patch.dict(MOVES, restore=lambda state: _no_fence(restore(state))):
        *_, broken = search(ACTS)
    assert "restore" in broken


def _no_fence(state: State | None) -> State | None:
    return None if state is None else state._replace(fenced=False)
