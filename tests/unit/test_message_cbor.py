"""Pins the bytes of each message, and what is refused: by its code, never by an accident."""

import cbor2
import msgspec
import pytest

from sync import message
from sync.errors import TheirsInvalid
from sync.message import (
    MESSAGE_BYTES_MAX,
    Annexed,
    Frame,
    Have,
    Hello,
    Message,
    Part,
    Piece,
    Receipt,
    Row,
    Seal,
    Trouble,
    Want,
    Wanted,
)

TAG = b"12345678"
EXAMPLES: list[Message] = [
    Hello(
        major=1,
        instance=TAG,
        nonce=TAG,
        time_ms=1_800_000_000_000,
        codecs=[0, 1, 2],
        can=["annex"],
        table=[Row(0, "a.example/site/1/e1-00000000/custody", 7, TAG), Row(29, "urgent", 0, TAG)],
    ),
    Want(logs=[Wanted(0, 7, TAG, 7)], credit=8192, parts=[Part(0, 7, 3, TAG, 100, 0)]),
    Frame(origin=1, data=b"x", first=3, count=2, codec=2, total=9, digest=TAG),
    Seal(origin=1, size=5, key_id=b"1234", signature=bytes(64)),
    Annexed(origin=1, index=3, salt=bytes(16), data=b"who"),
    Have(received=100, credit=0, sizes=[(1, 5)]),
    Receipt(origin=0, size=5, lines="\u2014 x y\n", instance=TAG),
    Trouble(code="exchange.fork", text="", origin="a"),
    Piece(sha256=bytes(32), total=1, data=b"x"),
]


def refused(data: bytes) -> str:
    with pytest.raises(TheirsInvalid) as caught:
        message.decode(data)
    return f"{caught.value.code} {caught.value.evidence.get('what')}"


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: type(one).__name__)
def test_every_message_comes_back_and_every_cut_of_it_is_refused(example: Message) -> None:
    data = message.encode(example)
    assert message.decode(data) == (example, 0)
    for end in range(len(data)):
        assert refused(data[:end]).startswith("exchange.message")
    assert refused(data + b"\0") == "exchange.message not deterministic"


def test_the_bytes_of_one_small_frame_are_these() -> None:
    frame = Frame(origin=0, data=b"{}\n", first=7, count=1)
    assert message.encode(frame).hex() == "a5000201000343" + "7b7d0a" + "04070501"


def test_what_a_newer_peer_adds_is_ignored_and_counted() -> None:
    frame = cbor2.loads(message.encode(EXAMPLES[2]))
    assert message.decode(cbor2.dumps({**frame, 22: "new", 23: [1]}, canonical=True)) == (
        EXAMPLES[2],
        2,
    )
    assert message.decode(cbor2.dumps({0: 99, 1: b""}, canonical=True)) == (None, 1)
    want = cbor2.loads(message.encode(EXAMPLES[1]))
    want[1] = [[0, 7, TAG, 7, "more"]]
    assert message.decode(cbor2.dumps(want, canonical=True)).message == EXAMPLES[1]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes(MESSAGE_BYTES_MAX + 1), "exchange.message_size None"),
        (b"", "exchange.message map"),
        (b"\xa0", "exchange.message map"),
        (b"\x80", "exchange.message map"),
        (b"\xbf\x00\x02\xff", "exchange.message map"),
        (cbor2.dumps({1: 1}), "exchange.message type"),
        (cbor2.dumps({0: "2"}), "exchange.message type"),
        (cbor2.dumps({0: True}), "exchange.message type"),
        (cbor2.dumps({0: -1}), "exchange.message type"),
        (cbor2.dumps({0: 99, 24: 1}), "exchange.message key"),
        (cbor2.dumps({0: 99, "a": 1}), "exchange.message key"),
        (cbor2.dumps({0: 99, True: 1}), "exchange.message key"),
        (bytes.fromhex("a200020002"), "exchange.message CBORDecodeError"),
        (bytes.fromhex("a2010000186300"[:10] + "00"), "exchange.message not deterministic"),
        (bytes.fromhex("a200186301f93c00"), "exchange.message kind"),
        (bytes.fromhex("a200186301c11a00000000"), "exchange.message kind"),
        (bytes.fromhex("a2001863019f01ff"), "exchange.message kind"),
        (cbor2.dumps({0: 99, 1: [[[[1]]]]}), "exchange.message ValueError"),
        (cbor2.dumps({0: 99, 1: None}), "exchange.message kind"),
        (bytes.fromhex("a2001863810001"), "exchange.message ValueError"),
        (bytes.fromhex("a2001863a1000101"), "exchange.message ValueError"),
        # A regular expression (tag 35) that takes minutes to compile.
        (
            b"\xa1\x00\xd8\x23" + cbor2.dumps("(?i)" + "[\0-\U0010ffff]" * 8_000),
            "exchange.message kind",
        ),
        # A list that names one long text a thousand times by reference (tags 28 and 29).
        (
            bytes.fromhex("a2001863019903e8d81c78fa") + b"x" * 250 + bytes.fromhex("d81d00") * 999,
            "exchange.message kind",
        ),
    ],
)
def test_what_is_no_message_is_refused(data: bytes, code: str) -> None:
    assert refused(data) == code


def test_fields_are_bounded() -> None:
    frame = cbor2.loads(message.encode(EXAMPLES[2]))
    for key, value in ((1, 64), (1, -1), (1, "1"), (3, "eA=="), (3, b""), (5, 513), (2, 2**53)):
        assert refused(cbor2.dumps({**frame, key: value}, canonical=True)).startswith(
            "exchange.message Expected"
        )
    del frame[1]
    assert "missing required field" in refused(cbor2.dumps(frame, canonical=True))


def test_a_table_is_written_short_and_read_whole() -> None:
    names = ["a/b/c", "a/b/d", "z"]
    rows, before = [], ""
    for name in names:
        rows.append(message.row(before, name, 1, TAG))
        before = name
    assert [row.rest for row in rows] == ["a/b/c", "d", "z"]
    assert message.table(rows) == names


def test_a_table_that_names_nothing_or_one_log_twice_is_refused() -> None:
    for rows in (
        [Row(1, "a", 0, TAG)],
        [Row(0, "a", 0, TAG), Row(1, "", 0, TAG)],
        [Row(0, "a" * 200, 0, TAG), Row(200, "b" * 100, 0, TAG)],
    ):
        with pytest.raises(TheirsInvalid, match=r"exchange\.message"):
            message.table(rows)


def test_what_is_written_is_what_is_read_for_lists_too() -> None:
    want = msgspec.structs.replace(EXAMPLES[1], logs=[], parts=[])
    assert message.decode(message.encode(want)).message == want
