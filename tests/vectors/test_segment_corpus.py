"""The golden corpus: segments recorded once in every codec, which every later version must read.

`corpus/<name>.ndjson` are the entries (and codec 0), `<name>.1` and `.2` the segments. Run as a
program, this file records what is not there yet; what is recorded is never written again. Of
columns, what stands under zstd is compared too: another primer or another guess is another codec.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from sync import canonical, columns, segment
from sync.entry import Lane
from sync.primer import PRIMER
from tests.bench import workload

CORPUS = Path(__file__).parent / "corpus"
NAMES = sorted(path.stem for path in CORPUS.glob("*.ndjson"))
PRIMER_SHA256 = "d4a5ff4c5f54facd726e48a1ff0494df2ff65b16fd61f5d013c4809cb224ad44"


def _stories() -> Iterator[tuple[str, list[bytes]]]:
    """The logs that are kept, as they were recorded with version 1."""
    lanes = workload.by_lane(workload.written(facts_max=2_000))
    custody = [item.entry for item in lanes[Lane.CUSTODY]]
    yield "begin", custody[:24]
    yield "custody", custody[900:980]
    yield "one", custody[1000:1001]
    yield "none", []
    yield "urgent", [item.entry for item in lanes[Lane.URGENT]]
    yield "telemetry", [item.entry for item in lanes[Lane.TELEMETRY]][:12]
    yield "later", [canonical.encode(obj) for obj in _later()]
    yield "installing", [canonical.encode(obj) for obj in _installing()]


def _later() -> Iterator[dict[str, object]]:
    """What a later version may write: kinds, keys and critical keys that nobody knows today."""
    door = {"at": [2, 5], "door": 7, "kind": "door.opened", "of": "e2-0a0b0c0d:sc41"}
    yield {**door, "!only": {"until": [1, 2]}, "hinge": "left"}
    yield {**door, "prev": "e2-0a0b0c0d:sc42", "seen": {"e7-00000001:hc": 9, "e7-00000001:hu": 0}}
    yield {
        "at": [2, 9],
        "kind": "drone.landed",
        "pad": -3,
        "name": "Zoë \u2028 \U0001f426",
        "%": "%d",
    }
    yield {"at": [3, 0], "kind": "drone.landed", "pad": 2**53 - 1, "name": 'a"b\\\n', "%": ""}
    yield {"at": [3, 1], "kind": "parcel.weighed", "grams": [[1, [2, [3, [4]]]], []], "of": "it"}
    yield {"at": [3, 1], "kind": "parcel.sealed", "seal": "AAAAAAAAAAAAAAAAAAAAAA==", "by": True}
    yield {"at": [3, 1], "kind": "parcel.sealed", "seal": "AAAAAAAAAAAAAAAAAAAAAB==", "by": "true"}


def _installing() -> Iterator[dict[str, object]]:
    """An installer's hour: locks tried, a map with lines and places, and its sign-off."""
    lock = {"kind": "lock.intended", "line": "bus", "unit": 1, "by": "installer:anna", "ms": 400}
    for at in range(8):
        ref = {"of": f"e1-9f2c01ab:sc{40 + 2 * at}"}
        door = {"door": at, "prev": f"e1-9f2c01ab:sc{at}"} if at % 3 == 2 else {}
        mono = 5_000 + 9_000 * at
        yield {**lock, **door, "lock": f"locks-1:{at}", "at": [4, mono], "deadline": mono + 2_000}
        opened = {"outcome": "opened", "took_ms": 180 + at}
        doubt = {"outcome": "doubt", "why": "restart"}
        yield {"kind": "lock.ended", "at": [4, mono + 900], **ref, **(doubt if at == 5 else opened)}
    config = {"kind": "config.set", "at": [4, 99_000]}
    yield {**config, "item": "map", "value": {"boards": 1, "doors": 3, "lines": 2}}
    yield {**config, "item": "line", "value": {"name": "bus", "serial": "/dev/serial/by-id/usb-0"}}
    yield {
        **config,
        "item": "line",
        "value": {"name": "hall", "tcp": "10.0.0.7", "framing": "rtu", "baud": 19_200},
    }
    board = {"name": "locks-1", "line": "bus", "profile": "waveshare-rtu-relay-8", "unit": 1}
    yield {**config, "item": "board", "value": board}
    for number in range(1, 4):
        door = {"number": number, "size": "M", "lock": f"locks-1:{number}", "rail": "12v"}
        place = {"column": 1, "row": number, "open_ms": 180, "heated": number == 2}
        value = {**door, "switch": f"locks-1:{number}", **place}
        yield {**config, "item": "door", "value": value}
    yield {
        "kind": "site.commissioned", "at": [4, 99_000], "by": "installer:anna", "boards": 1,
        "doors": 3, "passed": 3, "failed": 0, "report": "A" * 43 + "=",
    }  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("codec", segment.CODECS)
def test_a_recorded_segment_is_read(name: str, codec: int) -> None:
    """Byte for byte, whatever wrote it."""
    entries = (CORPUS / f"{name}.ndjson").read_bytes().split(b"\n")[:-1]
    data = (CORPUS / f"{name}.{codec or 'ndjson'}").read_bytes()
    assert segment.decode(codec, data, len(entries)) == entries


@pytest.mark.parametrize("name", NAMES)
def test_columns_are_written_as_ever(name: str) -> None:
    """Two versions that write one segment differently could not go on with each other's bytes."""
    entries = (CORPUS / f"{name}.ndjson").read_bytes().split(b"\n")[:-1]
    data = (CORPUS / f"{name}.2").read_bytes()
    assert segment.split(data, segment.LIMIT) == columns.pack(entries)


def test_the_corpus_holds_what_it_should() -> None:
    """Every story, and what a later version may write."""
    assert sorted(name for name, _ in _stories()) == NAMES
    assert dict(_stories())["later"] == (CORPUS / "later.ndjson").read_bytes().split(b"\n")[:-1]


def test_the_primer_is_frozen() -> None:
    """Whoever changes it begins a new codec."""
    assert hashlib.sha256(b"\n".join(PRIMER)).hexdigest() == PRIMER_SHA256


if __name__ == "__main__":
    for story, told in _stories():
        for codec in segment.CODECS:
            file = CORPUS / f"{story}.{codec or 'ndjson'}"
            if not file.exists():
                file.write_bytes(segment.encode(codec, told))
