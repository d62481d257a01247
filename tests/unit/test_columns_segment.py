"""Segments: each refusal by its code, and what the columns are good at."""

import sys
import tracemalloc
from collections.abc import Callable

import pytest

from sync import canonical, columns, segment
from sync.errors import TheirsInvalid
from sync.numbers import Sink, Source, unzigzag, zigzag
from tests.bench import workload

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

ENTRY = canonical.encode({"kind": "door.opened", "at": [1, 5]})
LINE = ENTRY + b"\n"
SIZELESS = zstd.compress(
    LINE, options={zstd.CompressionParameter.content_size_flag: 0}
)  # a frame that keeps its size to itself
FRAME = zstd.compress(LINE)
SYMBOLS, RAW = columns.pack([ENTRY])


def _columns(symbols: bytes, raw: bytes = b"") -> bytes:
    return bytes([len(raw)]) + raw + zstd.compress(symbols)


@pytest.mark.parametrize(
    ("codec", "data", "code"),
    [
        (3, LINE, "exchange.codec"),
        (-1, LINE, "exchange.codec"),
        (0, b"", "exchange.segment"),
        (0, ENTRY, "exchange.segment"),
        (0, LINE + LINE, "exchange.segment"),
        (0, b"{}\r\n", "exchange.segment"),
        (0, b'{"a":1.0}\n', "exchange.segment"),
        (0, b'{"a":null}\n', "exchange.segment"),
        (0, b'{"b":1,"a":1}\n', "exchange.segment"),
        (0, b"{}\n" * 400, "exchange.bomb"),
        (1, b"", "exchange.segment"),
        (1, LINE, "exchange.segment"),
        (1, FRAME[:-1], "exchange.segment"),
        (1, FRAME + b"\0", "exchange.segment"),
        (1, FRAME + FRAME, "exchange.segment"),
        (1, SIZELESS, "exchange.segment"),
        (1, zstd.compress(bytes(1001)), "exchange.bomb"),
        (2, b"", "exchange.segment"),
        (2, b"\xff\xff\xff\xff\1", "exchange.segment"),
        (2, b"\x7f" + FRAME, "exchange.segment"),
        (2, b"\0" + zstd.compress(bytes(1001)), "exchange.bomb"),
        (2, _columns(SYMBOLS + b"\0", RAW), "exchange.segment"),
        (2, _columns(SYMBOLS[:-1], RAW), "exchange.segment"),
        (2, _columns(SYMBOLS, RAW + b"\0"), "exchange.segment"),
        (2, _columns(SYMBOLS, RAW) + b"\0", "exchange.segment"),
        (2, _columns(b""), "exchange.segment"),
    ],
)
def test_what_is_wrong_has_its_code(codec: int, data: bytes, code: str) -> None:
    """Unknown codecs, bombs, and whatever does not give the entries that were stored."""
    with pytest.raises(TheirsInvalid) as refusal:
        segment.decode(codec, data, 1, limit=1000)
    assert refusal.value.code == code


@pytest.mark.parametrize("count", [-1, segment.SEGMENT_ENTRIES + 1])
def test_a_count_out_of_bounds_is_refused(count: int) -> None:
    """No more entries than a chunk of the log may have."""
    with pytest.raises(TheirsInvalid, match=r"exchange\.segment"):
        segment.decode(0, LINE * max(count, 0), count)


def test_an_unknown_codec_is_not_written() -> None:
    """Whoever asks for one has not looked at what both ends can."""
    with pytest.raises(TheirsInvalid, match=r"exchange\.codec"):
        segment.encode(9, [ENTRY])


def _said(write: Callable[[Sink], None]) -> tuple[bytes, bytes]:
    sink = Sink()
    write(sink)
    return sink.finish()


def test_columns_that_repeat_a_long_word_end_at_the_limit() -> None:
    """A word of 4,000 bytes, sixty times in each of 512 entries: a bomb that is never made."""

    def write(sink: Sink) -> None:
        sink.numbers([0, 1, 1, 0])
        sink.number(0)
        sink.text(b'"' + b"x" * 4000 + b'"')
        sink.text(b'{"a":[' + b"\1," * 59 + b'\1],"kind":"x.y"}')
        shape, word = len(columns.PRIMED.shapes), len(columns.PRIMED.words)
        sink.columns([[0] * 512, [shape + 1] * 512])
        sink.columns([[], *([[word + 1, *[0] * 511]] * 60)])

    packed = _said(write)
    tracemalloc.start()
    with pytest.raises(TheirsInvalid, match=r"exchange\.bomb"):
        columns.unpack(*packed, 512, segment.LIMIT)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 << 20


def test_columns_of_many_values_end_at_the_limit() -> None:
    """Two thousand values of one digit in each of 512 entries, all of them zero."""

    def write(sink: Sink) -> None:
        sink.numbers([0, 0, 1, 0])
        sink.number(0)
        sink.text(b'{"a":[' + b"\4," * 2000 + b"\4]}")
        sink.columns([[0] * 512, [len(columns.PRIMED.shapes) + 1] * 512])

    with pytest.raises(TheirsInvalid, match=r"exchange\.bomb"):
        columns.unpack(*_said(write), 512, segment.LIMIT)


@pytest.mark.parametrize(
    ("door", "shape", "raw"),
    [(0, 9999, b""), (0, 1, b""), (14, 1, b"")],
    ids=["no such shape", "a door is missing", "a door too many"],
)
def test_turns_that_cannot_be_are_refused(door: int, shape: int, raw: bytes) -> None:
    """A shape that nobody learned; a door for an entry without one, and the other way round."""
    numbers = [number for number, one in enumerate(columns.PRIMED.shapes) if one.door >= 0]
    without = next(number for number in range(99) if number not in numbers)

    def write(sink: Sink) -> None:
        sink.numbers([0, 0, 0, 0, 0])
        known = without + 1 if door else numbers[0] + 1
        sink.columns([[door], [known if shape == 1 else shape]])

    with pytest.raises(TheirsInvalid, match=r"exchange\.segment"):
        columns.unpack(*_said(write), 1, segment.LIMIT)


@pytest.mark.parametrize(
    "objects",
    [
        [{"at": [1, 5], "by": on, "kind": "a.b"} for on in (True, "true", False, "x")],
        [{"at": [1, 5], "door": 1, "kind": "a.b", "prev": "e1-9f2c01ab:sc7"}] * 2,
        [{"at": [1, 5], "door": 1, "kind": "a.b", "prev": odd} for odd in ("none", 7, True)],
        [{"at": at, "kind": "a.b"} for at in ([1, 9], [0, 5], [0, 1], [-1, -1])],
        [{"door": -7, "kind": "a.b"}, {"door": 10**15, "kind": 5}, {"kind": "a.b", "x": {}}, {}],
        [{"a": [], "door": {"door": 1}, "of": ["e1-9f2c01ab:sc7", "e1-9f2c01ab:hu7"]}] * 2,
        [{"at": [True, 5], "kind": "a.b"}, {"at": [1], "kind": "a.b"}, {"at": "now"}],
        [{"kind": "a.b", "of": "e1-9f2c01ab:sc7", "took_ms": 5}, {"deadline": 5, "took_ms": 6}],
    ],
)  # fmt: skip
def test_odd_entries_come_back(objects: list[dict[str, object]]) -> None:
    """Text and booleans in one place, time that goes back, doors that are none, `at` otherwise."""
    entries = [canonical.encode(obj) for obj in objects]
    assert segment.decode(2, segment.encode(2, entries), len(entries)) == entries


@pytest.mark.parametrize("codec", segment.CODECS)
def test_the_limit_is_the_callers(codec: int) -> None:
    """What fits is given, and one byte less is a bomb."""
    entries = [item.entry for item in workload.backlog(40)]
    data = segment.encode(codec, entries)
    room = sum(map(len, entries)) + (len(entries) if codec != 2 else 0)
    assert segment.decode(codec, data, 40, limit=room) == entries
    with pytest.raises(TheirsInvalid, match=r"exchange\.bomb"):
        segment.decode(codec, data, 40, limit=room - 1)


def test_one_entry_is_short() -> None:
    """What the primer taught need not be said: most of this is its hash, its tag and its log."""
    for item in workload.backlog(40):
        size = len(segment.encode(2, [item.entry]))
        assert size < 0.8 * len(item.entry)


def test_columns_are_a_fraction_of_lines() -> None:
    """A hundred entries: what nobody can guess (hashes, tags), and a few bytes for each."""
    entries = [item.entry for item in workload.backlog(100)]
    symbols, raw = columns.pack(entries)
    assert len(segment.encode(2, entries)) < len(segment.encode(1, entries)) / 2
    assert len(zstd.compress(symbols, level=19)) < 6 * len(entries)
    assert len(raw) < 10 * len(entries)


@pytest.mark.parametrize("number", [0, -1, 1, 15, 16, -(2**53), 2**53, 2**60])
def test_numbers_come_back(number: int) -> None:
    """Symbols and bits give the number, alone and in a column full of zeros."""
    code = zigzag(number)
    column = [0] * 40 + [code]
    sink = Sink()
    sink.number(code)
    sink.columns([column, [code] * 3, [0, 0]])
    source = Source(*sink.finish())
    assert unzigzag(source.number()) == number
    assert [found or [0] * 2 for found in source.columns([41, 3, 2])] == [
        column if code else [0, 0],
        [code] * 3 if code else [0, 0],
        [0, 0],
    ]
    source.end()


def test_a_number_that_ends_early_is_refused() -> None:
    """A symbol that wants more bits than there are, or more than a number has."""
    for symbols in (b"\x20", b"\xff"):
        with pytest.raises(ValueError, match="bits"):
            Source(symbols, b"").number()


def test_a_form_of_a_column_that_is_none_is_refused() -> None:
    """There are three ways to write a column."""
    with pytest.raises(ValueError, match="form"):
        Source(b"\3", b"").columns([1])
