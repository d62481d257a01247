"""The codecs: whatever canonical entries say comes out byte for byte, whatever bytes come in."""

import string
import sys
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync import canonical, columns, segment
from sync.errors import TheirsInvalid
from tests.bench import workload
from tests.property.mutations import spoilt

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODES = {"exchange.segment", "exchange.bomb", "exchange.codec"}

_NUMBERS = st.one_of(st.integers(0, 20), st.integers(-canonical.NUMBER_MAX, canonical.NUMBER_MAX))
_LOGS = st.sampled_from(["e1-9f2c01ab:sc", "e2-00000000:hu", "e9999999999-ffffffff:ht"])
_REFS = st.builds(lambda log, index: f"{log}{index}", _LOGS, st.integers(0, 10**15))
_TEXTS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    st.sampled_from(["code", "S", "true", "%s%d", "\n", "\1", '"', "\\", "A" * 16, "A" * 15 + "B=",
                     "AAAAAAAAAAAAAAAAAB==", "AAAAAAAAAAAAAAAA" * 4, "e1-9f2c01ab:sc007"]),
    _REFS,
)  # fmt: skip
_KEYS = st.one_of(
    st.sampled_from(["at", "by", "deadline", "door", "kind", "of", "prev", "private", "took_ms",
                     "utc_ms", "!new", "seen", "a%b", 'a"b', "a:b", "a{b", "\1"]),
    st.text(string.ascii_letters + string.punctuation, max_size=6),
    _LOGS,
)  # fmt: skip
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(_NUMBERS, st.booleans(), _TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(_KEYS, inner, max_size=3)),
    max_leaves=6,
)
_ANYTHING = st.dictionaries(_KEYS, _VALUES, max_size=6)
_LIKELY = st.fixed_dictionaries(
    {"kind": st.sampled_from(["door.opened", "new.kind"]),
     "at": st.tuples(st.integers(0, 2), st.integers(0, 400_000))},
    optional={
        "door": st.integers(0, 3), "of": _REFS, "prev": _REFS, "by": _TEXTS, "took_ms": _NUMBERS,
        "deadline": _NUMBERS, "private": st.sampled_from(
            ["A" * 43 + "=", "B" * 43 + "=", "C" * 16]
        ),
        "seen": st.dictionaries(_LOGS, st.integers(0, 9), max_size=2), "raises": st.lists(_REFS),
        "!must": _VALUES,
    },
)  # fmt: skip


def _written(obj: dict[str, Any]) -> bytes | None:
    try:
        return canonical.encode(obj)
    except TheirsInvalid:
        return None


_ENTRIES = st.lists(
    st.one_of(_LIKELY, _ANYTHING).map(_written).filter(lambda data: data is not None), max_size=12
)
_REAL = [item.entry for item in workload.written(facts_max=2_000)]
_FRAMES = [
    segment.encode(codec, _REAL[start : start + count])
    for codec in segment.CODECS
    for start, count in ((0, 3), (103, 40), (800, 1))
]


@given(_ENTRIES, st.sampled_from(segment.CODECS))
def test_entries_come_out_byte_for_byte(entries: list[bytes], codec: int) -> None:
    """Unknown kinds and keys, critical keys, any text: exactly; and the same bytes every time."""
    data = segment.encode(codec, entries)
    assert segment.decode(codec, data, len(entries)) == entries
    assert segment.encode(codec, list(entries)) == data


@given(st.integers(0, 1_900), st.integers(0, 100), st.sampled_from(segment.CODECS))
def test_any_stretch_of_a_log_is_a_segment(start: int, count: int, codec: int) -> None:
    """Whatever went before is not needed: every segment stands alone."""
    entries = _REAL[start : start + count]
    assert segment.decode(codec, segment.encode(codec, entries), len(entries)) == entries


@given(spoilt(_FRAMES), st.sampled_from(segment.CODECS), st.sampled_from([0, 1, 3, 40, 512]))
def test_any_bytes_are_taken_or_refused(data: bytes, codec: int, count: int) -> None:
    """A spoilt segment gives canonical entries of that count, or a stable code."""
    try:
        entries = segment.decode(codec, data, count)
    except TheirsInvalid as refusal:
        assert refusal.code in CODES  # noqa: PT017  # either way is right
    else:
        assert len(entries) == count
        assert canonical.decode_many(entries) is not None


_PACKED = [columns.pack(_REAL[start : start + count]) for start, count in ((0, 3), (103, 40))]


@given(
    spoilt([symbols for symbols, _ in _PACKED]),
    spoilt([raw for _, raw in _PACKED]),
    st.sampled_from([0, 1, 3, 40, 512]),
)
def test_any_columns_are_taken_or_refused(symbols: bytes, raw: bytes, count: int) -> None:
    """Behind the frame: what does not fit together is refused, and stays small."""
    try:
        entries = columns.unpack(symbols, raw, count, 1 << 16)
    except TheirsInvalid as refusal:
        assert refusal.code in CODES  # noqa: PT017  # either way is right
    else:
        assert sum(map(len, entries)) <= 1 << 16


@given(st.binary(max_size=200), st.integers(0, 60))
def test_columns_of_noise_are_taken_or_refused(symbols: bytes, count: int) -> None:
    """Nothing else than a refusal comes of noise."""
    try:
        columns.unpack(symbols, symbols, count, 1 << 16)
    except TheirsInvalid as refusal:
        assert refusal.code in CODES  # noqa: PT017  # either way is right


@pytest.mark.parametrize("codec", [1, 2])
def test_a_bomb_stays_small(codec: int) -> None:
    """What inflates to 256 MiB is refused before it is inflated."""
    frame = zstd.compress(bytes(1 << 28), level=3)
    data = frame if codec == 1 else b"\0" + frame
    tracemalloc.start()
    with pytest.raises(TheirsInvalid, match=r"exchange\.bomb"):
        segment.decode(codec, data, 1)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1 << 20
