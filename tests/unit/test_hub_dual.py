"""Pins dual control: no minute has more doors than the limits, however they are asked for."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.hub import dual
from sync.hub.dual import Asked, Limits, Opening

LIMITS = Limits(3, 5)
ASKED = Opening(
    id="0" * 16, door=1, account="desk", by="desk.anna", why="stuck", case="C-1", asked_ms=1_000,
    lasts_ms=60_000, over="account",
)  # fmt: skip


def recent(*said: tuple[int, str, str]) -> list[Asked]:
    return [Asked(*one) for one in said]


@pytest.mark.parametrize(
    ("said", "limit"),
    [
        ([], None),
        ([(0, "a", "1"), (1, "a", "2")], None),
        ([(0, "a", "1"), (1, "a", "2"), (2, "a", "3")], "account"),
        ([(0, "b", "1"), (1, "c", "1"), (2, "d", "1")], "site"),
        ([(0, "b", "2"), (1, "c", "3"), (2, "d", "4"), (3, "e", "5"), (4, "f", "6")], "all"),
        ([(0, "a", "1")] * 2 + [(-60_000, "a", "1")], None),
        ([(0, "a", "1")] * 2 + [(59_999, "a", "1")], "account"),
        ([(0, "a", "1")] * 2 + [(60_001, "a", "1")], None),
    ],
)
def test_which_limit_is_broken(said: list[tuple[int, str, str]], limit: str | None) -> None:
    assert dual.over(recent(*said), account="a", site="1", now_ms=0, limits=LIMITS) == limit


@given(
    asked=st.lists(
        st.tuples(st.integers(0, 300_000), st.sampled_from("abc"), st.sampled_from("12")),
        max_size=60,
    )
)
def test_no_minute_has_more_than_the_limits(asked: list[tuple[int, str, str]]) -> None:
    data, taken = b"[]", []
    for at_ms, account, site in sorted(asked):
        known = dual.read_recent(data)
        if dual.over(known, account=account, site=site, now_ms=at_ms, limits=LIMITS) is None:
            taken.append((at_ms, account, site))
            data = dual.with_one(known, Asked(at_ms, account, site))
    for began, *_ in taken:
        within = [one for one in taken if began <= one[0] < began + dual.MINUTE_MS]
        assert len(within) <= LIMITS.per_minute_all
        for place in (1, 2):
            for name in {one[place] for one in within}:
                assert sum(one[place] == name for one in within) <= LIMITS.per_minute


def test_what_is_remembered_has_a_bound() -> None:
    data = b"[]"
    for _ in range(dual.KEPT_MAX + 5):
        data = dual.with_one(dual.read_recent(data), Asked(0, "a" * 32, "s" * 32))
    assert len(dual.read_recent(data)) == dual.KEPT_MAX
    assert len(data) < 64 * 1024
    assert (
        len(dual.read_recent(dual.with_one(dual.read_recent(data), Asked(60_000, "a", "1")))) == 1
    )


def test_a_request_waits_five_minutes() -> None:
    assert ASKED.ends_ms == 301_000
    assert not ASKED.ended(1_000)
    assert not ASKED.ended(300_999)
    assert ASKED.ended(301_000)
    assert ASKED.ended(999), "the clock stepped back"
    assert dual.read(ASKED.encoded()) == ASKED
    assert msgspec.json.decode(ASKED.encoded())["state"] == "waiting"


def test_the_same_request_has_the_same_id() -> None:
    first = dual.opening_id("a", "1", 2, "why", "case")
    assert first == dual.opening_id("a", "1", 2, "why", "case")
    others = {
        dual.opening_id("b", "1", 2, "why", "case"), dual.opening_id("a", "2", 2, "why", "case"),
        dual.opening_id("a", "1", 3, "why", "case"), dual.opening_id("a", "1", 2, "whyc", "ase"),
    }  # fmt: skip
    assert len(others | {first}) == 5
