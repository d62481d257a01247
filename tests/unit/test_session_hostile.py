"""Pins what ends a link: every broken rule by its code, floods, silence, and their bounds."""

from typing import Any

import msgspec
import pytest

from sync import exchange as ex
from sync import message
from sync.frontier import EMPTY
from sync.message import (
    Annexed,
    Frame,
    Have,
    Message,
    Piece,
    Seal,
    Trouble,
    Want,
    Wanted,
)
from tests.pair import (
    HUB,
    SITE,
    SITE_SEED,
    both,
    fill,
    hub_hello,
    log_of,
    played,
    said,
    tell,
    want_of,
)
from tests.shelf_memory import entry, private

CUSTODY, URGENT, TELEMETRY = (log_of(SITE, lane) for lane in ("custody", "urgent", "telemetry"))
HUB_CUSTODY = log_of(HUB, "custody")
HUB_URGENT = log_of(HUB, "urgent")


def _bad(data: bytes = b"x", **more: Any) -> Frame:
    return msgspec.structs.replace(Frame(origin=0, data=data, first=0, count=1), **more)


HELD = (HUB_CUSTODY, 5, b"12345678")
VIOLATIONS: list[tuple[str, list[Message]]] = [
    ("exchange.place", [_bad(origin=9)]),
    ("exchange.unwanted", [_bad(origin=1)]),
    ("exchange.gap", [_bad(first=1)]),
    ("exchange.codec", [_bad(codec=7)]),
    ("exchange.total", [_bad(total=3 << 20, digest=b"12345678")]),
    ("exchange.total", [_bad(total=5, digest=b"short")]),
    ("exchange.total", [_bad(data=b"xyz", total=2, digest=b"12345678")]),
    ("exchange.total", [_bad(total=2, digest=b"12345678"), _bad(count=0, offset=1, data=b"yz")]),
    ("exchange.offset", [_bad(count=0)]),
    ("exchange.offset", [_bad(total=9, digest=b"12345678"), _bad(count=0, offset=5)]),
    ("exchange.offset", [_bad(total=9, digest=b"12345678"), _bad(count=0, data=b"y")]),
    ("exchange.seal", [Seal(origin=0, size=5, key_id=b"1234", signature=bytes(64))]),
    ("exchange.seal", [_bad(), Seal(origin=0, size=2, key_id=b"1234", signature=bytes(64))]),
    (
        "exchange.digest",
        [
            _bad(total=2, digest=b"12345678"),
            _bad(count=0, offset=1),
            Seal(origin=0, size=1, key_id=b"1234", signature=bytes(64)),
        ],
    ),
    ("exchange.segment", [_bad(), Seal(origin=0, size=1, key_id=b"1234", signature=bytes(64))]),
    ("exchange.annex", [Annexed(origin=0, index=3, salt=bytes(16), data=b"x")]),
    ("exchange.have", [Have(received=0, credit=0, sizes=[(0, 1)])]),
    ("exchange.have", [Have(received=0, credit=0, sizes=[(63, 1)])]),
    ("exchange.snapshot", [Piece(sha256=bytes(32), total=1, data=b"x")]),
    ("exchange.table", [hub_hello((HUB_URGENT, 5, b"12345678"))]),
    ("exchange.version", [hub_hello(HELD, major=2)]),
    ("exchange.same_store", [hub_hello(HELD, instance=bytes.fromhex("000000000000000a"))]),
    ("exchange.place", [Want(logs=[Wanted(60, 0, EMPTY.tag, 0)], credit=8192)]),
    ("exchange.peer_error", [Trouble(code="exchange.flood", text="too much")]),
]


@pytest.mark.parametrize(("code", "messages"), VIOLATIONS)
def test_a_broken_rule_ends_the_link_with_its_code(code: str, messages: list[Message]) -> None:
    site, _ = both()
    played(site, HELD, ("lockers.example/hub/0099/e1-00000001/custody", 5, b"12345678"))
    site.outbox.clear()
    tell(site, *messages)
    assert [close.code for close in site.closes] == [code]
    if code != "exchange.peer_error":
        trouble = said(site)[-1]
        assert isinstance(trouble, Trouble)
        assert trouble.code == code
    assert HUB_CUSTODY not in site.holds()


def test_before_hello_nothing_else_is_heard() -> None:
    site, _ = both()
    site.begin()
    tell(site, Have(received=0, credit=0))
    assert site.closes[0].code == "exchange.no_hello"


def test_unfinished_segments_are_bounded() -> None:
    site, _ = both()
    logs = [(log_of(HUB, "custody", f"e{n}-00000001"), 9, b"12345678") for n in range(1, 20)]
    played(site, *logs)
    for number in range(ex.OPEN_MAX + 1):
        tell(site, _bad(origin=number, total=100, digest=b"12345678"))
    assert site.closes[0].code == "exchange.open"
    played(site, *logs)
    for number in range(3):
        tell(site, _bad(origin=number, total=1 << 20, digest=b"12345678"))
    assert site.closes[1].code == "exchange.open"


PIECE = Piece(sha256=bytes(32), total=4, data=b"x")


def test_a_peer_that_exceeds_its_credit_or_floods_is_closed() -> None:
    site, _ = both()
    played(site, (HUB_CUSTODY, 9_000, b"12345678"))
    header = Frame(
        origin=0, data=bytes(30_000), first=0, count=9, total=1_000_000, digest=b"12345678"
    )
    tell(site, header)
    for number in range(1, 12):
        outputs = site.session.receive(
            message.encode(Frame(origin=0, offset=30_000 * number, data=bytes(30_000))), 0
        )
        del outputs
    assert site.closes == []  # every answer said how much had come
    played(site, (HUB_CUSTODY, 9_000, b"12345678"))
    site.session._receiver.have = lambda _: None  # type: ignore[method-assign,assignment]
    for number in range(12):
        tell(site, msgspec.structs.replace(header, offset=0) if not number else header)
    assert site.closes[0].code == "exchange.credit"
    for noise in (b"\xa1\x00\x18\x63", message.encode(Trouble(code="x", origin="y"))):
        played(site)
        for _ in range(ex.IDLE_TOKENS + 1):
            site.receive(noise)
        assert site.closes[-1].code == "exchange.flood"


def test_tokens_come_back_with_time() -> None:
    site, _ = both()
    played(site)
    for _ in range(20):
        for _ in range(ex.IDLE_TOKENS // 2):
            site.receive(b"\xa1\x00\x18\x63")
        site.tick(site.now_ms + 60_000)
    assert site.closes == []
    assert site.session.counters.ignored == 10 * ex.IDLE_TOKENS


def test_a_peer_that_never_takes_or_never_keeps_is_closed_by_the_clock() -> None:
    site, _ = both()
    site.begin()
    assert site.wake_at == ex.HELLO_MS
    site.tick(ex.HELLO_MS)
    assert site.closes[-1].code == "exchange.no_hello"
    site, _ = both(codecs=(0,))
    fill(site, 3, 0)
    hello = played(site)
    tell(site, want_of(hello, CUSTODY))
    assert site.wake_at == ex.SILENCE_MS
    sent = sum(len(data) for data in site.outbox if data[2] in {2, 3})
    site.tick(ex.SILENCE_MS - 1)
    assert site.closes == []
    tell(site, Have(received=sent, credit=8192))
    site.tick(ex.DURABLE_MS - 1)
    assert site.closes == []
    site.tick(ex.DURABLE_MS)
    assert site.closes[-1].code == "exchange.not_kept"
    site, _ = both(codecs=(0,))
    fill(site, 3, 0)
    tell(site, want_of(played(site), CUSTODY))
    site.tick(ex.SILENCE_MS)
    assert site.closes[-1].code == "exchange.silent"


def test_a_peer_that_gives_no_credit_is_closed_by_the_clock() -> None:
    site, _ = both(codecs=(0,))
    fill(site, 9, 0)
    hello = played(site)
    tell(site, want_of(hello, CUSTODY))
    sent = sum(len(data) for data in site.outbox if data[2] in {2, 3})
    tell(
        site, Have(received=sent, credit=0, sizes=[(message.table(hello.table).index(CUSTODY), 9)])
    )
    assert site.acknowledged == {CUSTODY: 9}
    site.now_ms = 5_000
    site.write(CUSTODY, private(b"x", 1))
    assert site.wake_at == 5_000 + ex.SILENCE_MS
    site.tick(5_000 + ex.SILENCE_MS)
    assert site.closes[0].code == "exchange.silent"


def test_annexes_of_an_unfinished_segment_are_bounded() -> None:
    site, _ = both()
    played(site, HELD)
    tell(site, _bad(total=9, digest=b"12345678", count=5))
    annexed = Annexed(origin=0, index=1, salt=bytes(16), data=bytes(4_096))
    for _ in range(ex.OPEN_BYTES_MAX // 4_096 + 1):
        tell(site, annexed)
    assert site.closes[0].code == "exchange.open"


def test_once_closed_nothing_more_is_said() -> None:
    site, _ = both()
    site.shelf.write(CUSTODY, entry(1))
    played(site)
    tell(site, Trouble(code="exchange.flood"))
    site.outbox.clear()
    site.write(CUSTODY, entry(2))
    site.do(
        site.session.appended(
            site.shelf.begin(log_of(SITE, "custody", "e2-00000002"), SITE_SEED), 0
        )
    )
    tell(site, Have(received=0, credit=0))
    assert site.outbox == []
    assert len(site.closes) == 1


@pytest.mark.parametrize(
    "pieces",
    [
        [Piece(sha256=bytes(32), offset=1, total=4, data=b"x")],
        [
            Piece(sha256=bytes(32), total=4, data=b"x"),
            Piece(sha256=bytes(32), total=5, offset=1, data=b"x"),
        ],
        [
            Piece(sha256=bytes(32), total=4, data=b"x"),
            Piece(sha256=bytes(32), total=4, offset=2, data=b"x"),
        ],
        [Piece(sha256=bytes(32), total=1, data=b"xy")],
        [Piece(sha256=bytes(32), total=1, data=b"x")],
        [Piece(sha256=bytes(32), total=1 << 40, data=b"x")],
    ],
)
def test_a_snapshot_that_is_not_what_it_says_ends_the_link(pieces: list[Piece]) -> None:
    site, _ = both(snapshot=True)
    played(site, can=["snapshot"])
    tell(site, *pieces)
    assert site.closes[0].code == "exchange.snapshot"
    assert site.snapshots == []
