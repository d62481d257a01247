"""Pins the rules of a session one by one: what it says, what it refuses, what it never does."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from certs.keys import SigningKey
from sync import exchange as ex
from sync import message, segment
from sync.entry import Writer
from sync.errors import StoreFailed, TheirsInvalid
from sync.exchange import Memory
from sync.frontier import EMPTY
from sync.message import (
    Annexed,
    Frame,
    Have,
    Hello,
    Message,
    Piece,
    Receipt,
    Seal,
    Trouble,
    Want,
    Wanted,
)
from sync.session import COSIGN_MS, Session
from sync.terms import Options
from tests.pair import (
    EPOCH,
    HUB,
    HUB_SEED,
    SITE,
    SITE_SEED,
    End,
    Way,
    both,
    log_of,
    meet,
    now,
    run,
    shelf_of,
)
from tests.shelf_memory import entry, private

CUSTODY, URGENT, TELEMETRY = (log_of(SITE, lane) for lane in ("custody", "urgent", "telemetry"))
HUB_CUSTODY = log_of(HUB, "custody")
HUB_URGENT = log_of(HUB, "urgent")


def said(end: End) -> list[Message]:
    """Return what an end has to say, decoded."""
    return [one for data in end.outbox if (one := message.decode(data).message) is not None]


def kinds(end: End) -> list[str]:
    return [type(one).__name__ for one in said(end)]


def found(end: End) -> list[tuple[str, str]]:
    return [(one.what, one.origin.rpartition("/")[2]) for one in end.found]


def tell(end: End, *messages: Message) -> None:
    for one in messages:
        end.receive(message.encode(one))


def hub_hello(*logs: tuple[str, int, bytes], **more: Any) -> Hello:
    """Return a hello of a hub that is played by the test."""
    rows, before = [], ""
    for origin, size, tag in logs:
        rows.append(message.row(before, origin, size, tag))
        before = origin
    hello = Hello(major=1, instance=b"the hub!", nonce=bytes(8), codecs=[0, 1], table=rows)
    return msgspec.structs.replace(hello, **more)


def want_of(hello: Hello, *origins: str, **more: Any) -> Want:
    """Return a want of everything in these logs, by the site's own table."""
    names = message.table(hello.table)
    logs = [Wanted(names.index(origin), 0, EMPTY.tag, 0) for origin in origins]
    return msgspec.structs.replace(Want(logs=logs, credit=256 * 1024), **more)


def played(site: End, *logs: tuple[str, int, bytes], **more: Any) -> Hello:
    """Begin a site's session against a hub that is played; return the site's hello."""
    site.begin()
    hello = said(site)[0]
    assert isinstance(hello, Hello)
    site.outbox.clear()
    tell(site, hub_hello(*logs, **more))
    return hello


def segment_of(end: End, origin: str, first: int = 0, codec: int = 0) -> tuple[Frame, Seal]:
    """Return a whole segment, and the seal, of a log as its writer would send it."""
    held = end.shelf.held[origin]
    data = segment.encode(codec, held.entries[first:])
    frame = Frame(origin=0, data=data, first=first, count=len(held.entries) - first, codec=codec)
    note = held.sign(len(held.entries))
    signature = next(iter(message_signatures(note)))
    return frame, Seal(
        origin=0, size=len(held.entries), key_id=signature.key_id, signature=signature.value
    )


def message_signatures(note: str) -> Any:
    from certs.note import parse_note  # noqa: PLC0415  # one use

    return parse_note(note)[1]


# --- what is told and wanted --------------------------------------------------------------------


def test_each_end_wants_what_the_other_has_and_never_its_own_logs() -> None:
    site, hub = both()
    site.begin()
    hub.begin()
    hub.receive(site.outbox[0])
    want = said(hub)[1]
    assert isinstance(want, Want)
    names = message.table(said(site)[0].table)  # type: ignore[union-attr]
    assert sorted(names[one.origin] for one in want.logs) == sorted([CUSTODY, URGENT, TELEMETRY])
    again = said(site)[0]
    assert isinstance(again, Hello)
    assert again.time_ms == 0
    assert again.instance.hex() == site.shelf.instance


def test_a_hub_restored_from_a_backup_is_healed_by_the_site() -> None:
    site, hub = both()
    hub.shelf.write(HUB_CUSTODY, *[entry(n) for n in range(9)])
    meet(site, hub)
    assert site.holds() == hub.holds()
    # The restored hub begins a new epoch; its old log is somebody's that it may be given.
    restored = shelf_of(HUB)
    restored.instance = "00000000000000cc"
    for lane in ("urgent", "custody", "telemetry"):
        held = restored.held.pop(log_of(HUB, lane))
        restored.begin(held.origin.replace(EPOCH, "e2-00000002"), HUB_SEED)
    hub = End(Writer.HUB, restored)
    meet(site, hub)
    assert len(restored.held[HUB_CUSTODY].entries) == 9
    assert not site.closes + hub.closes


def test_a_log_that_begins_during_a_link_is_told_and_goes_over() -> None:
    site, hub = both()
    site.begin()
    hub.begin()
    run(site, hub)
    later = log_of(SITE, "custody", "e2-00000002")
    site.shelf.begin(later, SITE_SEED)
    site.write(later, entry(1))
    run(site, hub)
    assert hub.holds()[later][0] == 1
    assert site.acknowledged[later] == 1


def test_a_table_has_an_end() -> None:
    site, _ = both()
    for number in range(100):
        site.shelf.begin(log_of(SITE, "custody", f"e{number + 2}-00000002"), SITE_SEED)
    hello = played(site)
    assert len(hello.table) == message.ORIGINS_MAX
    site.write(log_of(SITE, "custody", "e99-00000002"), entry(1))
    log = site.shelf.begin(log_of(SITE, "custody", "e200-00000002"), SITE_SEED)
    site.do(site.session.appended(log, 0))
    assert "Hello" not in kinds(site)
    assert site.session.counters.foreign > 0


def test_what_is_not_for_this_site_is_not_wanted() -> None:
    site, _ = both()
    foreign = "lockers.example/hub/0099/e1-00000001/custody"
    played(site, (foreign, 3, b"12345678"), ("no origin at all", 3, b"12345678"))
    want = said(site)[0]
    assert isinstance(want, Want)
    assert want.logs == []
    assert site.session.counters.foreign == 2


def test_only_what_is_signed_here_is_sent_and_what_was_not_asked_for_is_not() -> None:
    site, _ = both()
    site.shelf.write(CUSTODY, entry(1))
    site.shelf.write(TELEMETRY, entry(2))
    hello = played(site)
    tell(site, want_of(hello, CUSTODY))
    assert [load.origin for load in site.loads] == [CUSTODY]
    tell(site, want_of(hello))
    site.write(CUSTODY, entry(3))
    assert len(site.loads) == 1


def test_a_want_of_more_than_is_held_waits_or_was_a_rollback() -> None:
    site, _ = both()
    site.shelf.write(CUSTODY, entry(1))
    hello = played(site, (CUSTODY, 5, b"12345678"))
    names = message.table(hello.table)
    want = Want(logs=[Wanted(names.index(CUSTODY), 5, b"12345678", 5)], credit=8192)
    tell(site, want)
    assert found(site) == [("rolled_back", "custody")]
    assert site.found[0].evidence == {"mine": 1, "theirs": 5}
    site.write(CUSTODY, *[entry(n) for n in range(9)])
    assert not site.loads, "what follows a rollback is not theirs to append to"


# --- forks, rollbacks, receipts -----------------------------------------------------------------


def test_a_fork_is_seen_by_both_and_stops_that_log_only() -> None:
    for sizes in ((4, 4), (6, 4), (4, 6)):
        site, hub = both()
        twin = shelf_of(SITE)
        for number in range(sizes[1]):
            twin.write(CUSTODY, entry(1000 + number))
        hub.shelf.held[CUSTODY] = msgspec_copy(twin.held[CUSTODY])
        site.shelf.write(CUSTODY, *[entry(n) for n in range(sizes[0])])
        site.shelf.write(URGENT, entry(1))
        hub.shelf.write(HUB_CUSTODY, entry(2))
        meet(site, hub)
        if sizes == (4, 6):
            # Only the longer end can compare, and ours is its writer: what it hears is worse.
            assert ("rolled_back", "custody") in found(site)
        assert ("fork", "custody") in found(hub) or sizes == (4, 6)
        assert ("fork", "custody") in found(site) or sizes == (4, 6)
        assert hub.holds()[URGENT][0] == 1
        assert site.holds()[HUB_CUSTODY][0] == 1
        assert not site.closes + hub.closes


def msgspec_copy(held: Any) -> Any:
    """Return a log as somebody else holds it: not its writer."""
    held.key = None
    return held


def test_a_frontier_of_numbers_only_would_take_two_histories_for_one() -> None:
    site, hub = both()
    meet(site, hub)
    site.shelf.write(CUSTODY, *[entry(n) for n in range(5)])
    meet(site, hub)
    site.shelf.forget_to(3, CUSTODY)
    site.shelf.write(CUSTODY, entry(77), entry(78))
    meet(site, hub)
    assert ("fork", "custody") in found(site)
    assert ("fork", "custody") in found(hub)


def test_a_site_that_was_rolled_back_hears_of_it_and_its_peer_says_so() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, *[entry(n) for n in range(5)])
    meet(site, hub)
    site.shelf.forget_to(3, CUSTODY)
    meet(site, hub)
    assert found(site) == [("rolled_back", "custody")]
    assert found(hub) == [("peer_rolled_back", "custody")]


def test_a_log_that_is_gone_altogether_is_a_rollback_of_the_peer() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, entry(1))
    meet(site, hub)
    site.shelf.forget_to(0, CUSTODY)
    meet(site, hub)
    assert ("peer_rolled_back", "custody") in found(hub)


def test_a_receipt_names_the_store_and_another_stores_is_refused() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, entry(1))
    meet(site, hub)
    assert [(origin, instance) for origin, _, instance in site.shelf.receipts] == [
        (CUSTODY, hub.shelf.instance)
    ]
    hello = played(site)
    receipt = Receipt(origin=0, size=1, lines="\u2014 x y\n", instance=b"restored")
    tell(site, receipt)
    assert site.closes[0].code == "exchange.instance"
    assert hello.can == ["annex"]


def test_a_bad_receipt_is_told_and_stops_nothing() -> None:
    site, _ = both()
    site.shelf.write(CUSTODY, entry(1))
    hello = played(site)
    place = message.table(hello.table).index(CUSTODY)
    tell(
        site,
        Receipt(origin=place, size=1, lines="\u2014 a.b AAAAAAAA\n", instance=b"the hub!"),
        Receipt(origin=place, size=9, lines="\u2014 a.b AAAAAAAA\n", instance=b"the hub!"),
        want_of(hello, CUSTODY),
    )
    assert [one.evidence["code"] for one in site.found] == ["exchange.receipt", "exchange.ahead"]
    assert "Seal" in kinds(site)
    tell(site, Receipt(origin=60, size=1, lines="x", instance=b"the hub!"))
    assert site.closes[0].code == "exchange.place"


def test_a_hub_cosigns_once_for_a_while_of_growing() -> None:
    site, hub = both()
    site.begin()
    hub.begin()
    run(site, hub)
    for number in range(10):
        site.write(CUSTODY, entry(number))
        run(site, hub, quiet_ms=100)
    run(site, hub, quiet_ms=COSIGN_MS + 200)
    assert 1 <= len(site.shelf.receipts) <= 2
    assert site.shelf.held[CUSTODY].cosigned == 10


def test_without_a_cosigner_there_is_no_receipt_and_a_bad_note_is_none() -> None:
    site, hub = both()
    hub.cosigns = False
    site.shelf.write(CUSTODY, entry(1))
    meet(site, hub)
    assert site.shelf.receipts == []
    hub.begin()
    hub.outbox.clear()
    hub.do(hub.session.cosigned(CUSTODY, "no note", 0))
    tell(hub, hub_hello((CUSTODY, 0, EMPTY.tag), instance=b"the site"))
    hub.outbox.clear()
    hub.do(hub.session.cosigned(CUSTODY, "no note", 0))
    assert hub.outbox == []


# --- durable, then acknowledged -----------------------------------------------------------------


def test_nothing_is_acknowledged_before_it_is_stored() -> None:
    site, writer = both()
    writer.shelf.write(HUB_CUSTODY, entry(1))
    played(site, (HUB_CUSTODY, 1, b"12345678"))
    site.outbox.clear()
    stores: list[ex.Output] = []
    frame, seal = segment_of(writer, HUB_CUSTODY)
    for one in (frame, seal):
        outputs = site.session.receive(message.encode(one), 0)
        stores += [output for output in outputs if isinstance(output, ex.Store)]
        site.do([output for output in outputs if isinstance(output, ex.Send)])
    site.tick(1_000)
    assert [have.sizes for have in said(site) if isinstance(have, Have)] == [[]]
    site.outbox.clear()
    site.do(stores)
    assert [have.sizes for have in said(site) if isinstance(have, Have)] == [[(0, 1)]]
    assert site.arrived == [(HUB_CUSTODY, 0, 1)]
    assert len(site.shelf.held[HUB_CUSTODY].entries) == 1


def test_a_failing_disk_ends_the_link_with_our_code_and_nothing_is_acknowledged() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, entry(1))
    hub.shelf.fail_next("extend", StoreFailed("full"))
    meet(site, hub)
    assert hub.closes == [ex.Close("exchange.store", {"cause": "store.full"}, theirs=False)]
    assert site.closes[0].code == "exchange.peer_error"
    assert site.acknowledged == {}
    assert hub.session.tick(10**9) == hub.session.receive(b"", 0) == []
    assert hub.session.refused(CUSTODY, "store.full", {}, 0) == []


def test_an_annex_goes_with_its_entry_and_one_lost_in_a_crash_is_asked_for() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, *[private(b"parcel %d" % n, n) for n in range(3)])
    site.shelf.erase(CUSTODY, 1)
    meet(site, hub)
    assert sorted(hub.shelf.held[CUSTODY].annexes) == [0, 2]
    del hub.shelf.held[CUSTODY].annexes[2]
    meet(site, hub)
    assert sorted(hub.shelf.held[CUSTODY].annexes) == [0, 2]
    hub.shelf.erase(CUSTODY, 0)
    hub.shelf.erase(CUSTODY, 1)
    before = hub.shelf.calls.count("put_annexes")
    meet(site, hub)
    assert hub.shelf.calls.count("put_annexes") == before


def test_an_end_that_wants_no_annexes_gets_none() -> None:
    site, hub = both()
    hub.options["annexes"] = False
    site.shelf.write(CUSTODY, private(b"parcel", 1))
    meet(site, hub)
    assert hub.holds()[CUSTODY][0] == 1
    assert hub.shelf.held[CUSTODY].annexes == {}


def test_annexes_that_came_before_a_cut_are_not_sent_again() -> None:
    site, hub = both(codecs=(0,))
    site.shelf.write(CUSTODY, *[private(b"x" * 900, n) for n in range(20)])
    contacts = 0
    while hub.holds() != site.holds():
        contacts += 1
        assert contacts < 20, "a contact shorter than a segment with its annexes never ends"
        meet(site, hub, Way(4_500))
    assert len(hub.shelf.held[CUSTODY].annexes) == 20


# --- one lane never waits -----------------------------------------------------------------------


@pytest.mark.parametrize("spoilt", ["seal", "entry", "unknown"])
def test_what_is_wrong_with_one_log_stops_that_log_only(spoilt: str) -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, *[entry(n) for n in range(30)])
    site.shelf.write(TELEMETRY, *[entry(n) for n in range(30)])
    if spoilt == "seal":
        site.shelf.held[CUSTODY].key = SigningKey.from_seed(CUSTODY, bytes([9]) * 32)
    elif spoilt == "entry":
        hub.shelf.fail_next("extend", TheirsInvalid("exchange.entry", index=3))
    else:
        hub.shelf.fail_next("extend", TheirsInvalid("exchange.unknown_origin"))
    site.begin()
    hub.begin()
    run(site, hub)
    assert len(hub.found) == 1
    assert hub.found[0].what == "refused"
    stopped = hub.found[0].origin
    assert site.found[0].what == "refused_by_peer"
    other = {CUSTODY: TELEMETRY, TELEMETRY: CUSTODY}[stopped]
    assert hub.holds()[other][0] == 30
    site.write(other, entry(99))
    site.write(stopped, entry(99))
    run(site, hub)
    assert hub.holds()[other][0] == 31
    assert stopped not in hub.holds()
    assert not site.closes + hub.closes


def test_the_same_request_refused_twice_is_told_and_asked_less_and_less() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, entry(1))
    site.shelf.held[CUSTODY].key = SigningKey.from_seed(CUSTODY, bytes([9]) * 32)
    asked = []
    for _ in range(20):
        meet(site, hub)
        asked.append(len(hub.stores))
    assert ("stuck", "custody") in found(hub)
    assert hub.stores[-1].origin == CUSTODY
    assert asked == [1, 2, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6, 6, 6]


def test_a_log_whose_signature_is_not_there_is_not_sent() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, entry(1))
    site.shelf.write(URGENT, entry(1))
    hello = played(site)
    site.shelf.fail_next("read", TheirsInvalid("exchange.unknown_origin"))
    tell(site, want_of(hello, CUSTODY, URGENT))
    stopped = site.found[0]
    assert stopped.evidence["code"] == "exchange.unsigned"
    assert len([load for load in site.loads if load.origin != stopped.origin]) == 1
    assert hub.closes == []


def test_what_was_pruned_is_refused_with_the_oldest_index() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, *[entry(n) for n in range(9)])
    site.shelf.write(URGENT, entry(1))
    site.shelf.prune(CUSTODY, 4)
    meet(site, hub)
    assert site.found[0].evidence == {"code": "exchange.pruned", "oldest": 4}
    assert ("refused_by_peer", "custody") in found(hub)
    assert hub.holds()[URGENT][0] == 1


# --- order and amount ---------------------------------------------------------------------------


def fill(site: End, custody: int, telemetry: int) -> None:
    site.shelf.write(CUSTODY, *[entry(n, door=n) for n in range(custody)])
    site.shelf.write(TELEMETRY, *[entry(n, door=n) for n in range(telemetry)])


def test_urgent_goes_between_the_frames_of_a_running_segment() -> None:
    site, _ = both(codecs=(0,), segment_bytes=64 * 1024)
    fill(site, 0, 400)
    hello = played(site)
    tell(site, want_of(hello, TELEMETRY, URGENT, segment_bytes=64 * 1024))
    assert kinds(site) == ["Want"] + ["Frame"] * 3
    site.outbox.clear()
    site.write(URGENT, entry(1))
    urgent = message.table(hello.table).index(URGENT)
    assert [one.origin for one in said(site)] == [urgent, urgent]  # type: ignore[union-attr]
    assert kinds(site) == ["Frame", "Seal"], "the window was full, and the alarm left all the same"


def test_custody_and_telemetry_share_sixteen_to_four() -> None:
    site, hub = both(codecs=(0,), segment_bytes=8 * 1024)
    fill(site, 900, 900)
    site.begin()
    hub.begin()
    share = {CUSTODY: 0, TELEMETRY: 0}
    hello = said(site)[0]
    assert isinstance(hello, Hello)
    names = message.table(hello.table)
    while share[CUSTODY] < 30_000:
        data, *site.outbox = site.outbox or [b""]
        one = message.decode(data).message if data else None
        if isinstance(one, Frame | Seal):
            share[names[one.origin]] += len(data)
        if data:
            hub.receive(data)
        else:
            hub.tick(hub.now_ms + 50)
            site.tick(site.now_ms + 50)
        outbox, hub.outbox = hub.outbox, []
        for data in outbox:
            site.receive(data)
    assert 3 <= share[CUSTODY] / share[TELEMETRY] <= 5


def test_no_more_than_the_credit_is_ever_under_way() -> None:
    site, _ = both(codecs=(0,))
    fill(site, 500, 0)
    site.shelf.write(URGENT, *[entry(n) for n in range(500)])
    hello = played(site)
    tell(site, want_of(hello, URGENT, CUSTODY, credit=8192))
    sent = sum(len(data) for data in site.outbox if data[2] in {2, 3})
    assert 4096 < sent <= 8192
    tell(site, Have(received=sent, credit=0))
    site.outbox.clear()
    site.tick(1_000)
    assert site.outbox == []
    tell(site, Have(received=sent, credit=8192))
    assert sum(map(len, site.outbox)) > 4096


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


# --- what closes a link -------------------------------------------------------------------------


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


# --- small print --------------------------------------------------------------------------------


def test_parts_of_a_link_that_died_before_the_hello_are_kept_and_bounded() -> None:
    site, _ = both()
    part = ex.Part(HUB_CUSTODY, 0, 5, 0, 9_000, b"12345678", bytes(10))
    large = msgspec.structs.replace(part, origin=HUB_URGENT, data=bytes(ex.PART_BYTES_MAX + 1))
    site.memory = Memory((part, large))
    site.begin()
    site.end()
    assert site.memory.parts == (part,)
    played(site, HELD)
    want = said(site)[0]
    assert isinstance(want, Want)
    assert [(one.first, one.count, one.held) for one in want.parts] == [(0, 5, 10)]


def test_a_part_that_no_longer_fits_is_dropped() -> None:
    site, _ = both()
    site.memory = Memory((ex.Part(HUB_CUSTODY, 3, 5, 0, 90, b"12345678", bytes(10)),))
    played(site, HELD)
    want = said(site)[0]
    assert isinstance(want, Want)
    assert want.parts == []


def test_a_segment_that_changed_starts_at_its_beginning() -> None:
    site, _ = both(codecs=(0,))
    fill(site, 9, 0)
    hello = played(site)
    place = message.table(hello.table).index(CUSTODY)
    part = message.Part(place, 0, 9, b"another!", 100, 0)
    tell(site, want_of(hello, CUSTODY, parts=[part]))
    frame = next(one for one in said(site) if isinstance(one, Frame))
    assert frame.offset == 0


def test_messages_that_bring_nothing_new_are_harmless() -> None:
    site, writer = both()
    writer.shelf.write(HUB_CUSTODY, private(b"annex", 1))
    played(site, (HUB_CUSTODY, 1, b"12345678"))
    frame, seal = segment_of(writer, HUB_CUSTODY)
    annexed = Annexed(origin=0, index=0, salt=bytes(range(16)), data=b"annex")
    tell(site, frame, frame, annexed, annexed, seal, seal, frame, seal, annexed)
    assert site.holds()[HUB_CUSTODY][0] == 1
    assert site.shelf.held[HUB_CUSTODY].annexes[0].data == b"annex"
    assert site.closes == []
    assert site.session.counters.repeats == 4


def test_an_annex_that_does_not_match_is_told() -> None:
    site, writer = both()
    writer.shelf.write(HUB_CUSTODY, private(b"annex", 1))
    played(site, (HUB_CUSTODY, 1, b"12345678"))
    tell(site, *segment_of(writer, HUB_CUSTODY))
    tell(site, Annexed(origin=0, index=0, salt=bytes(16), data=b"forged"))
    assert site.found[0].evidence["code"] == "exchange.annex"
    assert site.closes == []


def test_what_is_under_way_when_a_log_stops_is_passed_over() -> None:
    site, writer = both()
    writer.shelf.write(HUB_CUSTODY, entry(1))
    played(site, (HUB_CUSTODY, 1, b"12345678"))
    tell(site, Trouble(code="exchange.fork", origin=HUB_CUSTODY))
    assert found(site) == [("fork", "custody")]
    tell(site, *segment_of(writer, HUB_CUSTODY))
    assert site.stores == []
    tell(site, Trouble(code="exchange.fork", origin="never heard of"))
    assert len(site.found) == 1


def test_a_snapshot_goes_behind_everything_else_and_is_checked() -> None:
    data = bytes(range(256)) * 80
    digest = hashlib.sha256(data).digest()
    site, hub = both()
    site.options["serves_snapshot"], hub.options["snapshot"] = True, True
    site.snapshot = digest, data
    site.shelf.write(CUSTODY, entry(1))
    meet(site, hub)
    assert hub.snapshots == [(digest, data)]
    site.snapshot = None
    meet(site, hub)
    assert len(hub.snapshots) == 1


PIECE = Piece(sha256=bytes(32), total=4, data=b"x")


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


def test_codecs_are_those_that_both_can() -> None:
    for codecs, used in (([0], 0), ([0, 1], 1), ([7], 0)):
        site, _ = both(codecs=(0, 1))
        fill(site, 100, 0)
        hello = played(site, codecs=codecs)
        tell(site, want_of(hello, CUSTODY))
        frame = next(one for one in said(site) if isinstance(one, Frame))
        assert frame.codec == used


def test_answers_nobody_waits_for_change_nothing() -> None:
    site, _ = both()
    played(site)
    session: Session = site.session
    answers: list[Callable[[], list[ex.Output]]] = [
        lambda: session.loaded(CUSTODY, 0, [], None, 0),
        lambda: session.annexes_loaded(CUSTODY, 0, [], 0),
        lambda: session.compared(CUSTODY, 5, None, 0),
    ]
    for answer in answers:
        assert [one for one in answer() if isinstance(one, ex.Send)] == []


def test_options_have_what_a_caller_would_take() -> None:
    options = Options(side=Writer.SITE, instance="0" * 16, nonce=bytes(8), accepts=bool)
    assert options.codecs == (0, 1, 2)
    assert options.annexes
    assert now(shelf_of(SITE).logs())
