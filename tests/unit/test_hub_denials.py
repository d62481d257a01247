"""Pins the list of denials as values: what is on it, when its number rises, who is left out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs import trust
from certs.keys import SigningKey
from sync.hub import denials
from sync.hub.denials import KEPT_S, Current

NOW_S = 1_800_000_000
SIGNERS = (SigningKey.from_seed("lockers.example/grants", bytes(32)).vkey,)
NONE = Current()


def cti(number: int) -> str:
    return number.to_bytes(8).hex()


def renewed(known: Current, *, now_s: int = NOW_S, **more: int) -> Current:
    return known.renewed(
        {cti(int(name[1:])): end for name, end in more.items()}, signers=SIGNERS, now_s=now_s
    )


def test_the_first_list_denies_nothing_and_has_a_number() -> None:
    first = renewed(NONE)
    assert (first.number, first.made_s, first.signers, first.denied) == (NOW_S, NOW_S, SIGNERS, {})
    assert renewed(first, now_s=NOW_S + 9) is first


def test_a_number_rises_with_each_change_and_with_no_other_thing() -> None:
    first = renewed(NONE)
    second = renewed(first, c1=NOW_S + 60)
    assert (second.number, second.denied) == (first.number + 1, {cti(1): NOW_S + 60})
    assert renewed(second, c1=NOW_S + 60) is second
    assert renewed(second, c1=NOW_S + 59) is second  # the later end holds
    later = renewed(second, c1=NOW_S + 61)
    assert (later.number, later.denied) == (second.number + 1, {cti(1): NOW_S + 61})
    other = later.renewed({}, signers=("another",), now_s=NOW_S)
    assert (other.number, other.signers, other.denied) == (
        later.number + 1, ("another",), later.denied,
    )  # fmt: skip
    again = other.renewed({}, signers=("another",), now_s=NOW_S, rise=True)
    assert (again.number, again.denied) == (other.number + 1, other.denied)


def test_a_hub_that_forgot_its_last_numbers_makes_none_of_them_twice() -> None:
    """Plant: after a restore the number goes on from where the backup was."""
    backup = renewed(NONE)
    lost = backup
    for number in range(50):
        lost = renewed(lost, now_s=NOW_S + number, **{f"c{number}": NOW_S + 999})
    assert renewed(backup, now_s=NOW_S + 3_600, c99=NOW_S + 9_999).number > lost.number


def test_one_that_ended_stays_for_a_clock_that_stood_still_and_then_goes() -> None:
    first = renewed(NONE, c1=NOW_S + 60)
    end = NOW_S + 60 + KEPT_S
    assert cti(1) in renewed(first, now_s=end - 1, c2=end).denied
    assert renewed(first, now_s=end, c2=end).denied == {cti(2): end}
    assert renewed(first, now_s=end) is first  # nothing comes: nothing changes
    assert renewed(first, now_s=NOW_S, c3=NOW_S - KEPT_S) is first  # it ended long ago


def test_of_too_many_those_that_end_latest_are_on_it_and_the_others_wait() -> None:
    many = {cti(one): NOW_S + one for one in range(1, trust.DENIED_MAX + 4)}
    full = NONE.renewed(many, signers=SIGNERS, now_s=NOW_S)
    assert (len(full.denied), full.left_out) == (trust.DENIED_MAX, 3)
    assert not {cti(1), cti(2), cti(3)} & full.denied.keys()
    short = renewed(full, c9999=NOW_S + 1)
    assert (short.denied, short.left_out) == (full.denied, 4)  # itself left out, and counted
    now_s = NOW_S + 3 + KEPT_S + 200
    room = renewed(short, now_s=now_s, c5000=now_s + 1)
    assert room.left_out == 0
    assert cti(203) not in room.denied
    assert cti(204) in room.denied


def test_a_record_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials, "WANTED_MAX", 2)
    full = renewed(NONE, c1=NOW_S + 1, c2=NOW_S + 2, c3=NOW_S + 3)
    assert full.wanted == {cti(2): NOW_S + 2, cti(3): NOW_S + 3}
    assert renewed(full, c1=NOW_S + 1) is full


ctis = st.integers(0, 20).map(cti)
ends = st.integers(NOW_S - KEPT_S, NOW_S + 100)


@given(st.lists(st.tuples(st.dictionaries(ctis, ends), st.integers(0, 50)), max_size=12))
def test_lists_of_one_number_are_one_list_and_each_takes_the_place_of_the_last(
    steps: list[tuple[dict[str, int], int]],
) -> None:
    known, now_s = renewed(NONE), NOW_S
    key = SigningKey.from_seed("lockers.example/trust", bytes(range(32)))
    for more, passed in steps:
        now_s += passed
        after = known.renewed(more, signers=SIGNERS, now_s=now_s)
        texts = [
            trust.sign(
                trust.Denials("lockers.example", one.number, one.made_s, one.signers, one.denied),
                key,
            )
            for one in (known, after)
        ]
        assert trust.newer(texts[0], texts[1]) == (after is not known)
        shown = trust.open_denials(texts[1], key.verifier, "lockers.example")
        assert (shown.number, dict(shown.denied)) == (after.number, after.denied)
        alive = {one for one, end in more.items() if end + KEPT_S > now_s}
        assert alive <= after.denied.keys()
        known = after
