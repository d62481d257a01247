"""A causal register: what nobody read stands, what was read is over, and clocks say nothing."""

import pytest

from sync.errors import TheirsInvalid
from sync.join import Register, Write, has_seen, is_ref, log_order, ref_order, split

SITE, HUB = "e1-0000000a:sc", "e1-0000000b:hc"


def put(register: Register[str], log: str, index: int, value: str, **seen: int) -> None:
    read = {SITE if name == "site" else HUB: size for name, size in seen.items()}
    register.put(Write(log, index, value, read))


def test_two_writes_that_know_nothing_of_each_other_both_stand() -> None:
    register = Register[str]()
    put(register, SITE, 4, "mine")
    put(register, HUB, 9, "theirs")
    assert register.standing() == {"s": "mine", "h": "theirs"}


def test_a_write_that_the_other_had_read_is_over() -> None:
    register = Register[str]()
    put(register, SITE, 4, "mine")
    put(register, HUB, 9, "theirs", site=5)
    assert register.standing() == {"h": "theirs"}
    put(register, SITE, 6, "mine again", hub=9)
    assert register.standing() == {"s": "mine again", "h": "theirs"}
    put(register, SITE, 7, "mine at last", hub=10)
    assert register.standing() == {"s": "mine at last"}


def test_an_older_write_of_the_same_writer_changes_nothing() -> None:
    register = Register[str]()
    put(register, SITE, 6, "later")
    put(register, SITE, 4, "earlier")
    put(register, "e2-0000000a:sc", 0, "next epoch")
    put(register, SITE, 900, "lost suffix of the epoch before")
    assert register.standing() == {"s": "next epoch"}


def test_what_somebody_says_of_a_log_counts_even_beside_a_later_epoch() -> None:
    """The lost entries of a restored site come after its next epoch has begun."""
    seen = {SITE: 60, "e2-0000000a:sc": 5}
    assert has_seen(seen, SITE, 59)
    assert not has_seen(seen, SITE, 60)


def test_whoever_read_a_later_epoch_has_read_the_end_of_a_log_not_named() -> None:
    assert has_seen({"e2-0000000a:sc": 1}, SITE, 999)
    assert not has_seen({"e2-0000000a:sc": 0}, SITE, 0)
    assert not has_seen({"e2-0000000a:su": 1}, SITE, 0)
    assert not has_seen({}, SITE, 0)


def test_references_sort_by_epoch_counter_not_by_text() -> None:
    refs = [f"{SITE}10", f"{SITE}9", "e10-00000000:sc0", "e2-00000000:sc0"]
    assert sorted(refs, key=ref_order) == [f"{SITE}9", f"{SITE}10", refs[3], refs[2]]
    assert log_order("e10-00000000:sc") == (10, "e10-00000000")


def test_no_two_references_sort_alike() -> None:
    """One writer's custody 5 is not its urgent 5, nor the other's."""
    places = {ref_order(f"e1-0000000a:{voice}5") for voice in ("sc", "su", "st", "hc", "hu")}
    assert len(places) == 5


def test_what_is_a_reference() -> None:
    assert split(f"{SITE}117") == (SITE, 117)
    assert is_ref(f"{HUB}0")
    for text in ("", "code", SITE, f"{SITE}01", "support:ada", f"{SITE}-1"):
        assert not is_ref(text)
        with pytest.raises(TheirsInvalid) as refused:
            split(text)
        assert refused.value.code == "entry.bad_reference"
