"""Escrow: both ends decide alone, and promises and parcels never exceed compartments.

Then the same histories with an error planted in the book: each must break the law somewhere.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from random import Random
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import facts, join
from sync.book import Book
from sync.capacity import Escrow, Reservation, name_of
from sync.join import Register
from sync.rights import Rights
from tests.property.histories import CLASSES, ESCROW, Pair, bank, steps, whole

Sums = st.dictionaries(st.sampled_from(["S", "M", "S/cold"]), st.integers(0, 5), max_size=3)


def never_negative(stage: Pair) -> None:
    """What either end spends it has: in its own view, and in everybody's."""
    for kind in CLASSES:
        assert stage.hub.book.rights.escrow.hub_free(kind) >= 0
        assert stage.hub.book.rights.escrow.hub_rights(kind) >= 0


@given(history=steps(ESCROW, 60), floor=st.integers(0, 1), small=st.booleans())
def test_promises_and_parcels_never_exceed_compartments(
    history: list[tuple[str, int]], floor: int, small: bool
) -> None:
    stage = Pair(map=bank("S", "M") if small else bank("S", "S", "M", "L"), floor=floor)
    for name, arg in history:
        stage.act(name, arg)
        assert stage.fits()
        never_negative(stage)


@given(history=steps(ESCROW, 60))
def test_the_site_keeps_its_floor_of_what_is_free(history: list[tuple[str, int]]) -> None:
    """What it gives away by itself leaves the floor, and never falls below nought by its doing."""
    stage = Pair(floor=1)
    for name, arg in history:
        before = {kind: stage.spare(kind) for kind in CLASSES}
        stage.act(name, arg)
        if name in {"walk_in", "transfer"} and not stage.site.book.fenced:
            for kind in CLASSES:
                assert stage.spare(kind) >= min(before[kind], 0)


@given(history=steps(ESCROW, 60))
def test_a_right_comes_back_only_by_the_sites_own_release(history: list[tuple[str, int]]) -> None:
    """Cancelling changes neither end's sums: only closing and releasing do."""
    stage = Pair()
    for name, arg in history:
        before = {kind: stage.hub.book.rights.escrow.hub_free(kind) for kind in CLASSES}
        stage.act(name, arg)
        if name == "cancel":
            after = {kind: stage.hub.book.rights.escrow.hub_free(kind) for kind in CLASSES}
            assert after == before
        if name == "end_promise":
            assert all(stage.hub.book.rights.escrow.hub_free(k) <= before[k] for k in CLASSES)


@given(
    sums=st.tuples(Sums, Sums, Sums),
    promised=st.lists(st.integers(0, 2), max_size=6),
    free=st.integers(0, 9),
    filling=st.integers(0, 3),
)
def test_the_sums_add_up(sums: Any, promised: list[int], free: int, filling: int) -> None:
    to_hub, back, ended = sums
    escrow = Escrow(dict(to_hub), dict(back), dict(ended))
    kinds = [("S", ""), ("M", ""), ("S", "cold")]
    for number, which in enumerate(promised):
        size, band = kinds[which]
        ref = f"e1-0000000b:hc{number}"
        escrow.promises[ref] = Reservation(ref, size, band, "t", 1, None)  # type: ignore[arg-type]
    for size, band in kinds:
        kind = name_of(size, band)  # type: ignore[arg-type]
        rights = to_hub.get(kind, 0) - back.get(kind, 0) - ended.get(kind, 0)
        standing = sum(one.kind == kind for one in escrow.promises.values())
        assert escrow.hub_rights(kind) == rights
        assert escrow.hub_free(kind) == rights - standing
        assert escrow.site_free(kind, free, filling) + rights == free + filling
        for deficit in escrow.deficits({kind: free}, {kind: filling}):
            if deficit.kind == kind:
                assert deficit.rights == max(rights - free - filling, 0)
                keep = [one.ref for one in escrow.oldest_first(kind)]
                assert deficit.reroute == tuple(keep[free + filling :])


# --- planted ------------------------------------------------------------------------------------


def broken(seed: int, names: tuple[str, ...]) -> bool:
    """Play a history of this seed; say whether a law does not hold."""
    chance = Random(seed)
    stage = Pair()
    for _ in range(60):
        name = chance.choice(names)
        try:
            stage.act(name, chance.randrange(60))
        except AssertionError:
            return True
        if not stage.fits():
            return True
    entries = stage.everything()
    if whole(entries).stopped:
        return True
    late = list(entries)
    chance.shuffle(late)
    if heard(late).canonical() != whole(entries).canonical():
        return True
    clears = {
        ref for one in entries if isinstance(one[3], facts.AlarmCleared) for ref in one[3].raises
    }
    return bool(clears & whole(entries).alarms.keys()) or in_service(stage, entries)


def heard(entries: list[Any]) -> Book:
    book = Book()
    for number, entry in enumerate(entries):
        book.take(*entry)
        if book.stale:
            book = whole(entries[: number + 1])
    return book


def in_service(stage: Pair, entries: list[Any]) -> bool:
    """Say whether a door is back in service though nobody who enabled it had seen a disable."""
    book = whole(entries)
    for door in stage.map.doors:
        writes = [e for e in entries if e[3] is not None and e[3].door == door]
        offs = [e for e in writes if isinstance(e[3], facts.CompartmentDisabled)]
        ons = [e for e in writes if isinstance(e[3], facts.CompartmentEnabled)]
        for off in offs:
            own = any(on[0][-2] == off[0][-2] and later(on, off) for on in [*ons, *offs])
            seen = any(join.has_seen(on[6] or {}, off[0], off[1]) for on in [*ons, *offs])
            if not own and not seen and not book.compartments[door].disabled:
                return True
    return False


def later(one: Any, other: Any) -> bool:
    return (join.log_order(one[0]), one[1]) > (join.log_order(other[0]), other[1])


def _cancel_returns_it(self: Rights, of: str, *, known: bool) -> None:
    if of in self.escrow.promises:
        del self.escrow.promises[of]


def _no_one_waits(self: Rights, what: str, of: str) -> None:
    """Forget an end that comes before its beginning."""


def _latest_clock_wins(self: Register[str]) -> dict[str, str]:
    latest = max(self.latest.values(), key=lambda write: (write.index, write.log))
    return {"s": latest.value}


def _forgets_early_revocations(self: Rights, ref: str, grant: str, *, known: bool) -> None:
    if grant in self.couriers or grant in self.collects:
        _REVOKE(self, ref, grant, known=known)


_REVOKE = Rights.revoke


def _parents_ignored(self: Book, log: str) -> bool:
    if self._newest and join.log_order(self._newest) > join.log_order(log):
        return False
    self._newest = log
    return True


def _ends_twice(self: Rights, of: str, kind: str, *, known: bool) -> None:
    self.escrow.add(self.escrow.ended, "S")
    self.escrow.promises.pop(of, None)


PLANTED: dict[str, Callable[[], AbstractContextManager[Any]]] = {
    "a cancelled promise gives its right back to the hub": lambda: patch.object(
        Rights, "cancel", _cancel_returns_it
    ),
    "an end before its beginning is forgotten": lambda: patch.object(
        Rights, "_wait", _no_one_waits
    ),
    "flags by the last writer": lambda: patch.object(Register, "standing", _latest_clock_wins),
    "a revocation before its grant is forgotten": lambda: patch.object(
        Rights, "revoke", _forgets_early_revocations
    ),
    "sizes of the parents ignored": lambda: patch.object(Book, "_may_begin", _parents_ignored),
    "a promise ends as often as it is said": lambda: patch.object(
        Rights, "end_promise", _ends_twice
    ),
}


@pytest.mark.parametrize("name", sorted(PLANTED))
def test_a_planted_error_breaks_a_law(name: str) -> None:
    names = (*ESCROW, "alarm", "clear", "grant", "revoke", "ask", "answer")
    assert not any(broken(seed, names) for seed in range(20)), "sound before it is planted"
    with PLANTED[name]():
        assert any(broken(seed, names) for seed in range(400))
