"""The figures sync.codec: CPU and bytes of the columnar codec on 10,000 entries of the workload.

Peers in the same run, on the same segments: msgspec JSON lines under zstd-3 for the CPU; for the
bytes JSON lines under zstd-19, and the best column coder: all 10,000 entries at once, a column for
each key of each kind, numbers and references also as differences, base64 decoded, each column by
whichever is shortest of zstd-19, xz and (where it is installed) brotli.
"""

import importlib.util
import lzma
import re
import sys
import time
from base64 import b64decode
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import msgspec

from sync import columns, segment
from tests.bench import workload

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Figure = dict[str, Any]
ENTRIES = 10_000
LINK = 8_000
"""Bytes a second of the thin link that a codec must not be slower than."""
_ref = re.compile(r"(e\d+-[0-9a-f]{8}:[sh][uct])(\d+)").fullmatch
_base64 = re.compile(r"(?:[A-Za-z0-9+/]{4}){4,}(?:[A-Za-z0-9+/]{3}=)?").fullmatch


def segments(count: int = ENTRIES, bytes_max: int = segment.SEGMENT_BYTES) -> list[list[bytes]]:
    """Return the backlog cut into segments, lane by lane."""
    found: list[list[bytes]] = []
    for items in workload.by_lane(workload.backlog(count)).values():
        cut: list[bytes] = []
        size = 0
        for item in items:
            size += len(item.entry) + 1
            if cut and (size > bytes_max or len(cut) == segment.SEGMENT_ENTRIES):
                found.append(cut)
                cut, size = [], len(item.entry) + 1
            cut.append(item.entry)
        if cut:
            found.append(cut)
    return found


def cpu_ms(work: Callable[[], object]) -> float:
    """Return the CPU time of the quickest of five runs."""
    best = float("inf")
    for _ in range(5):
        before = time.process_time()
        work()
        best = min(best, time.process_time() - before)
    return best * 1000


def by_columns(cut: Sequence[Sequence[bytes]]) -> None:
    """Encode and decode, checked, as a session does."""
    for entries in cut:
        segment.decode(2, segment.encode(2, entries), len(entries))


def by_lines(objects: Sequence[Sequence[object]]) -> None:
    """The peer: JSON lines under zstd-3, there and back, unchecked."""
    encoder, decoder = msgspec.json.Encoder(order="sorted"), msgspec.json.Decoder()
    for some in objects:
        frame = zstd.compress(encoder.encode_lines(some), level=3)
        decoder.decode_lines(zstd.decompress(frame))


def codec() -> Iterator[Figure]:
    """Measure CPU at the sender's cut, and at one four times as large."""
    for kib in (16, 64):
        cut = segments(bytes_max=kib * 1024)
        objects = [[msgspec.json.decode(entry) for entry in entries] for entries in cut]
        ours, peer = cpu_ms(partial(by_columns, cut)), cpu_ms(partial(by_lines, objects))
        size = sum(len(segment.encode(2, entries)) for entries in cut)
        yield {
            "name": "sync.codec", "ours": round(ours, 1), "limit": round(peer, 1),
            "ratio": round(ours / peer, 2), "unit": "ms CPU", "goal": "<= 5, later 3",
            "how": f"{ENTRIES} entries in {len(cut)} segments of {kib} KiB, columns there and back,"
            " checked; limit: msgspec JSON lines + zstd-3 of the same segments, unchecked;"
            f" {ours / 1000 / (size / LINK):.3f} of a core while it fills a link of 8 kB/s",
        }  # fmt: skip


def bytes_of_codec() -> Iterator[Figure]:
    """Measure bytes of the segments alone, and say what they are."""
    best = best_columns()
    for kib in (16, 64):
        cut = segments(bytes_max=kib * 1024)
        ours = sum(len(segment.encode(2, entries)) for entries in cut)
        lines = sum(len(segment.encode(1, entries)) for entries in cut)
        blobs = len({blob for entries in cut for blob in base64_of(entries)})
        secret = sum(map(len, {blob for entries in cut for blob in base64_of(entries)}))
        packed = [columns.pack(entries) for entries in cut]
        raw = sum(len(raw) for _, raw in packed)
        yield {
            "name": "sync.codec.bytes", "ours": ours, "limit": best,
            "ratio": round(ours / best, 2), "unit": "bytes", "goal": "<= 1.5",
            "how": f"{ENTRIES} entries in {len(cut)} segments of {kib} KiB; of these {secret} are"
            f" {blobs} hashes and keyed tags, {raw - secret} bits of numbers and hashes said again,"
            f" {ours - raw} symbols under zstd; limit: best column coder, one file;"
            f" JSON lines + zstd-19 in the same segments {lines}",
        }  # fmt: skip


def base64_of(entries: Sequence[bytes]) -> Iterator[bytes]:
    """Return every hash and keyed tag, decoded."""
    for entry in entries:
        for text in re.findall(rb'"(?:private|tag)":"([^"]+)"|,"([^"]{43}=)"\]', entry):
            yield b64decode(text[0] or text[1])


# --- the best column coder ----------------------------------------------------------------------


def best_columns(count: int = ENTRIES) -> int:
    """Return the bytes of the best column coder for so many entries at once."""
    columns: dict[str, list[tuple[str, Any]]] = defaultdict(list)
    mono = 0
    for items in workload.by_lane(workload.backlog(count)).values():
        for item in items:
            obj = msgspec.json.decode(item.entry)
            now = obj["at"][1]
            for key, value in _leaves("", obj):
                columns[key].append((obj["kind"], _relative(key, value, now, mono, item.index)))
            mono = now
    total = 0
    for column in columns.values():
        kinds = defaultdict(list)
        for kind, value in column:
            kinds[kind].append(value)
        together = _column([value for _, value in column])
        total += min(together, sum(map(_column, kinds.values())))
    return total


def _relative(key: str, value: Any, now: int, before: int, index: int) -> Any:
    """Say times since the entry before or the entry itself, references from the own index."""
    if key == "at.1":
        return value - before
    if key in {"deadline", "utc_ms"}:
        return value - now
    found = _ref(value) if type(value) is str else None
    return index - int(found[2]) if found is not None else value


def _column(values: Sequence[Any]) -> int:
    """Return the bytes of the shortest form of a column."""
    forms = [b"\n".join(msgspec.json.encode(value) for value in values)]
    if all(type(value) is int for value in values):
        forms.append(_varints(values))
        forms.append(_varints([b - a for a, b in zip([0, *values], values, strict=False)]))
    elif all(type(value) is str and _base64(value) for value in values):
        known = list(dict.fromkeys(values))
        place = {value: number for number, value in enumerate(known)}
        steps = [place[b] - place[a] for a, b in zip([known[0], *values], values, strict=False)]
        return sum(len(b64decode(value)) for value in known) + shortest(_varints(steps))
    return min(map(shortest, forms))


def _leaves(key: str, value: object) -> Iterator[tuple[str, Any]]:
    if type(value) is dict:
        for name, inner in value.items():
            yield from _leaves(f"{key}.{name}".lstrip("."), inner)
    elif type(value) is list:
        for place, inner in enumerate(value):
            yield from _leaves(f"{key}.{place}", inner)
    else:
        yield key, value


def _varints(numbers: Sequence[int]) -> bytes:
    out = bytearray()
    for number in numbers:
        rest = number * 2 if number >= 0 else -number * 2 - 1
        while rest > 127:
            out.append(rest & 127 | 128)
            rest >>= 7
        out.append(rest)
    return bytes(out)


def shortest(data: bytes) -> int:
    """Return the length under the best general coder there is here."""
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "lp": 0}]
    found = [
        len(data),
        len(zstd.compress(data, level=19)),
        len(lzma.compress(data, lzma.FORMAT_RAW, filters=filters)),
    ]
    if importlib.util.find_spec("brotli") is not None:
        found.append(len(importlib.import_module("brotli").compress(data, quality=11)))
    return min(found)


FIGURES: dict[str, Callable[[], Iterator[Figure]]] = {
    "sync.codec": codec,
    "sync.codec.bytes": bytes_of_codec,
}
