"""The same entries give the same book, byte for byte, whatever the order, duplication or delay."""

import types
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.inputs import Recovered
from gateway.core.outputs import Persist
from sync import canonical, entry, facts, fold
from sync.book import Book
from sync.entry import Lane
from sync.errors import TheirsInvalid
from sync.moment import Moment
from tests.crowd import Action, everybody, play

dice = st.randoms(use_true_random=False)


def room(refused: TheirsInvalid) -> str:
    return refused.code.partition(".")[0]


def folded(entries: Sequence[Recovered]) -> Book:
    return fold.fold(entries)


@given(actions=everybody, chance=dice)
def test_order_and_duplication_change_no_byte(actions: list[Action], chance: Any) -> None:
    log = play(actions).log
    shuffled = log + chance.sample(log, len(log) // 2)
    chance.shuffle(shuffled)
    assert folded(shuffled).canonical() == folded(log).canonical()


@given(actions=everybody, chance=dice)
def test_delay_changes_no_byte(actions: list[Action], chance: Any) -> None:
    log = play(actions).log
    late = [known for known in log if chance.random() < 0.3]
    book = folded([known for known in log if known not in late])
    for known in late:
        book.take(*known)
    assert book.canonical() == folded(log).canonical()


@given(actions=everybody)
def test_annexes_change_no_byte_but_their_erasure_has_its_entry(actions: list[Action]) -> None:
    log = play(actions).log
    bare: list[Recovered] = [(*known[:4], None, None, *known[6:]) for known in log]
    assert folded(bare).canonical() == folded(log).canonical()


@given(actions=everybody)
def test_what_is_in_the_bytes_is_what_was_decided(actions: list[Action]) -> None:
    stage = play(actions)
    for persist in stage.outputs:
        if not isinstance(persist, Persist):
            continue
        for draft in persist.drafts:
            known = entry.parse(draft.entry)
            fact = facts.from_entry(known)
            assert fact is not None
            again = entry.compose(
                facts.to_object(fact), at=known.at, prev=known.prev, private=known.private
            )
            assert again == draft.entry
            if known.private is not None and draft.annex and draft.salt:
                assert entry.private_hash(draft.salt, draft.annex) == known.private


# --- any fact at all --------------------------------------------------------------------------

_REFS = st.builds(
    "e{}-{:08x}:{}{}{}".format,
    st.integers(1, 99), st.integers(0, 2**32 - 1), st.sampled_from("sh"), st.sampled_from("uct"),
    st.integers(0, 10**6),
)  # fmt: skip
_NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1)
_TEXTS = st.text(max_size=30)
_KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=12)


def values(hint: Any) -> st.SearchStrategy[Any]:
    """A strategy for a type that facts use."""
    origin, inside = get_origin(hint), get_args(hint)
    if origin in {Union, types.UnionType}:
        return st.one_of(*(values(one) for one in inside))
    if origin is Literal:
        return st.sampled_from(inside)
    if origin is dict:
        return st.dictionaries(_KEYS, values(inside[1]), max_size=4)
    if origin is tuple and inside[-1] is Ellipsis:
        return st.lists(values(inside[0]), max_size=4).map(tuple)
    if origin is tuple:
        return st.tuples(*(values(one) for one in inside))
    plain = {bool: st.booleans(), int: _NUMBERS, str: _TEXTS, type(None): st.none()}
    return plain[hint]


def any_fact(kind: type[facts.Fact]) -> st.SearchStrategy[facts.Fact]:
    hints = {name: values(hint) for name, hint in get_type_hints(kind).items()}
    hints |= {"of": st.none() | _REFS, "door": st.none() | st.integers(0, 3084)}
    return st.builds(kind, **{name: hints[name] for name in kind.__struct_fields__})


any_of_any_kind = st.sampled_from(sorted(facts.KINDS)).flatmap(
    lambda name: any_fact(facts.KINDS[name])
)


@given(fact=any_of_any_kind, boot=st.integers(0, 10**6), mono=st.integers(0, 2**53 - 1))
def test_bytes_to_fact_to_bytes(fact: facts.Fact, boot: int, mono: int) -> None:
    data = entry.compose(facts.to_object(fact), at=Moment(boot, mono))
    known = facts.from_entry(entry.parse(data))
    assert known == fact
    assert known is not None
    assert entry.compose(facts.to_object(known), at=Moment(boot, mono)) == data


@given(stream=st.lists(st.tuples(any_of_any_kind, st.integers(0, 9)), max_size=12), chance=dice)
def test_any_entries_at_all_give_one_book_or_one_refusal(
    stream: list[tuple[Any, int]], chance: Any
) -> None:
    sizes = dict.fromkeys(Lane, 0)
    log: list[Recovered] = []
    for fact, mono in stream:
        lane = facts.lane_of(fact)
        place = (f"e1-00000001:s{lane.letter}", sizes[lane], (1, mono))
        log.append((*place, fact, None, None, None, None, None))
        sizes[lane] += 1

    def outcome(entries: list[Recovered]) -> bytes:
        book = Book()
        for known in entries:
            book.take(*known)
        refusals.update(stop.code.partition(".")[0] for stop in book.stopped.values())
        return book.canonical()

    refusals = set[str]()

    shuffled = list(log)
    chance.shuffle(shuffled)
    assert outcome(shuffled) == outcome(log)
    assert refusals <= {"book", "custody", "entry"}


def read(data: bytes) -> str:
    """The room that refused these bytes, or nothing."""
    try:
        facts.from_entry(entry.parse(data))
    except TheirsInvalid as refused:
        return room(refused)
    return ""


@given(data=st.binary(max_size=200))
def test_any_bytes_are_a_fact_or_refused(data: bytes) -> None:
    assert read(data) in {"", "canonical", "entry", "fact"}


@pytest.mark.parametrize("kind", sorted(facts.KINDS))
@given(body=st.dictionaries(_KEYS, st.one_of(_NUMBERS, _TEXTS, st.booleans()), max_size=5))
def test_any_keys_under_a_known_kind_are_a_fact_or_refused(kind: str, body: dict[str, Any]) -> None:
    data = canonical.encode(body | {"kind": kind, "at": [1, 2]})
    assert read(data) in {"", "entry", "fact"}


def test_a_private_hash_is_base64() -> None:
    stage = play([])
    stage.deposit()
    named = [known[5] for known in stage.log if known[5]]
    assert len(named) == 2
    assert all(len(b64decode(private)) == 32 for private in named)
