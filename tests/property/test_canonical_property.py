"""Pins for any object: one writing, read back alike; any other bytes are refused, never a crash."""

import json
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from sync import canonical
from sync.errors import TheirsInvalid

texts = st.text(st.characters(codec="utf-8"), max_size=12)
keys = st.text(st.characters(codec="ascii"), max_size=8)
numbers = st.integers(-canonical.NUMBER_MAX, canonical.NUMBER_MAX)
scalars = texts | st.booleans() | numbers
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(keys, values, max_size=5)


def depth(value: object) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(objects)
def test_round_trip_and_agreement_with_another_writer(obj: dict[str, Any]) -> None:
    data = canonical.encode(obj)
    assert canonical.decode(data) == obj
    assert depth(obj) <= canonical.DEPTH_MAX
    other = json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert data == other.encode()


@given(st.binary(max_size=60))
@example(b'{"a":1}')
def test_any_bytes_are_read_exactly_or_refused(data: bytes) -> None:
    try:
        obj = canonical.decode(data)
    except TheirsInvalid:
        return
    assert canonical.encode(obj) == data


@given(objects, st.data())
def test_one_changed_byte_is_refused_or_says_something_else(obj: dict[str, Any], data: Any) -> None:
    good = canonical.encode(obj)
    place = data.draw(st.integers(0, len(good) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != good[place]))
    bad = good[:place] + bytes([byte]) + good[place + 1 :]
    try:
        read = canonical.decode(bad)
    except TheirsInvalid:
        return
    assert json.dumps(read, sort_keys=True) != json.dumps(obj, sort_keys=True)


@given(objects)
def test_every_cut_of_an_object_is_refused(obj: dict[str, Any]) -> None:
    good = canonical.encode(obj)
    for end in range(len(good)):
        try:
            canonical.decode(good[:end])
        except TheirsInvalid:
            continue
        raise AssertionError(good[:end])


loose = st.recursive(
    scalars | st.none() | st.floats() | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(texts, loose, max_size=3), st.booleans())
def test_the_quick_reading_and_the_full_check_agree(obj: dict[str, Any], ascii_only: bool) -> None:
    """The typed decoder accepts exactly what walking the plain object accepts."""
    data = json.dumps(obj, sort_keys=True, separators=(",", ":"), ensure_ascii=ascii_only).encode()
    try:
        walked = canonical.encode(obj) == data
    except TheirsInvalid:
        walked = False
    try:
        canonical.decode(data)
        quick = True
    except TheirsInvalid:
        quick = False
    assert quick == walked
