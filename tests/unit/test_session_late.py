"""Pins what a session makes of answers that come late, twice, or when nobody waits any more."""

from collections.abc import Sequence

import msgspec
import pytest

from sync import exchange as ex
from sync import message
from sync.entry import Writer
from sync.frontier import Head
from sync.message import Annexed, Have, Want, Wanted
from tests.pair import (
    HUB,
    SITE,
    End,
    both,
    found,
    hub_hello,
    kinds,
    log_of,
    now,
    played,
    run,
    said,
    segment_of,
    tell,
    want_of,
)
from tests.shelf_memory import entry, private

CUSTODY, TELEMETRY = log_of(SITE, "custody"), log_of(SITE, "telemetry")
HUB_CUSTODY = log_of(HUB, "custody")


def asked(end: End, *messages: message.Message) -> list[ex.Output]:
    """Let an end take in messages, and return what it asks its carrier, undone."""
    outputs = [output for one in messages for output in end.session.receive(message.encode(one), 0)]
    end.do([output for output in outputs if isinstance(output, ex.Send)])
    return [output for output in outputs if not isinstance(output, ex.Send | ex.Wake)]


def head_at(end: End, origin: str, size: int) -> Head:
    root = now(end.shelf.root(origin, size))
    assert root is not None
    return Head.of(size, root)


def undone(site: End) -> tuple[message.Hello, list[ex.Output]]:
    """Begin with ten custody entries, of which the peer says it holds four."""
    site.shelf.write(CUSTODY, *[entry(n) for n in range(10)])
    theirs = head_at(site, CUSTODY, 4)
    site.begin()
    hello = said(site)[0]
    assert isinstance(hello, message.Hello)
    site.outbox.clear()
    return hello, asked(site, hub_hello((CUSTODY, theirs.size, theirs.tag)))


def want_at(hello: message.Hello, head: Head) -> Want:
    place = message.table(hello.table).index(CUSTODY)
    return Want(logs=[Wanted(place, head.size, head.tag, head.size)], credit=8192)


@pytest.mark.parametrize("agree", [True, False])
def test_a_want_that_comes_before_the_comparison_waits_for_it(agree: bool) -> None:
    site, _ = both()
    hello, waiting = undone(site)
    assert waiting == [ex.Compare(CUSTODY, 4)]
    assert asked(site, want_at(hello, head_at(site, CUSTODY, 4))) == []
    root = now(site.shelf.root(CUSTODY, 4)) if agree else bytes(32)
    site.do(site.session.compared(CUSTODY, 4, root, 0))
    assert [load.first for load in site.loads] == ([4] if agree else [])
    assert found(site) == ([] if agree else [("unproved", "custody")])
    assert site.acknowledged == ({CUSTODY: 4} if agree else {})


def test_a_want_of_another_head_than_the_hellos_is_compared_anew() -> None:
    site, _ = both()
    hello, waiting = undone(site)
    site.do(waiting)
    again = asked(site, want_at(hello, head_at(site, CUSTODY, 7)))
    assert again == [ex.Compare(CUSTODY, 7)]
    site.do(again)
    assert [load.first for load in site.loads] == [7]
    forked = End(Writer.SITE, site.shelf)
    hello = played(forked)
    tell(forked, want_at(hello, Head(10, b"another!")))
    assert found(forked) == [("unproved", "custody")]
    tell(forked, want_at(hello, head_at(site, CUSTODY, 10)))
    assert forked.loads == []


def test_a_log_that_is_wanted_no_more_stops_in_the_middle() -> None:
    site, _ = both(codecs=(0,), segment_bytes=64 * 1024)
    site.shelf.write(CUSTODY, *[entry(n) for n in range(400)])
    site.shelf.write(TELEMETRY, *[entry(n) for n in range(400)])
    hello = played(site)
    tell(site, want_of(hello, CUSTODY, segment_bytes=64 * 1024))
    loads = asked(site, want_of(hello, TELEMETRY, segment_bytes=64 * 1024))
    site.outbox.clear()
    assert [load.origin for load in loads if isinstance(load, ex.Load)] == [TELEMETRY]
    tell(site, want_of(hello))
    site.do(loads)
    tell(site, Have(received=4_000))
    assert kinds(site) == []


def test_what_the_peer_got_another_way_is_not_sent() -> None:
    site, _ = both(codecs=(0,))
    site.shelf.write(CUSTODY, *[entry(n) for n in range(5)])
    hello = played(site)
    tell(site, want_of(hello, CUSTODY))
    place = message.table(hello.table).index(CUSTODY)
    site.shelf.write(CUSTODY, *[entry(n) for n in range(5)])
    # Our end has not told the session yet that its log has ten, and the peer has eight of them.
    tell(site, Have(received=0, sizes=[(place, 8)]))
    log = now(site.shelf.log(CUSTODY))
    assert log is not None
    site.do(site.session.appended(log, 0))
    assert [load.first for load in site.loads] == [0, 8]
    tell(site, Have(received=0, sizes=[(place, 10)]))
    assert site.acknowledged == {CUSTODY: 10}


def test_entries_of_a_third_are_not_sent_back_to_whom_they_came_from() -> None:
    site, hub = both()
    third = "lockers.example/hub/0042/e9-00000009/custody"
    for end, count in ((site, 2), (hub, 6)):
        end.shelf.begin(third, bytes([2]) * 32)
        end.shelf.write(third, *[entry(n) for n in range(2)])
        end.shelf.write(third, *[entry(n) for n in range(2, count)])
    key, site.shelf.held[third].key = site.shelf.held[third].key, None
    hub.shelf.held[third].key = None
    site.begin()
    hub.begin()
    run(site, hub)
    assert site.holds()[third][0] == 6
    # The hub gets more of it by another bearer, and passes it on.
    hub.shelf.held[third].key = key
    log = hub.shelf.write(third, entry(6), entry(7))
    hub.shelf.held[third].key = None
    hub.do(hub.session.appended(msgspec.structs.replace(log, own=False), hub.now_ms))
    run(site, hub)
    assert site.holds()[third][0] == 8
    assert [load.origin for load in site.loads if load.origin == third] == []


def test_answers_for_a_log_that_was_stopped_meanwhile_change_nothing() -> None:
    site, writer = both()
    writer.shelf.write(HUB_CUSTODY, private(b"annex", 1))
    played(site, (HUB_CUSTODY, 2, b"12345678"))
    store = asked(site, *segment_of(writer, HUB_CUSTODY))
    late = Annexed(origin=0, index=0, salt=bytes(range(16)), data=b"annex")
    assert asked(site, late) == []
    assert site.session.counters.repeats == 1
    tell(site, message.Trouble(code="exchange.fork", origin=HUB_CUSTODY))
    site.outbox.clear()
    site.do(store)
    assert [one.sizes for one in said(site) if isinstance(one, Have)] in ([], [[]])
    assert site.holds()[HUB_CUSTODY][0] == 1


def test_a_segment_that_was_pruned_while_it_was_asked_for_is_not_sent() -> None:
    site, _ = both()
    site.shelf.write(CUSTODY, *[entry(n) for n in range(9)])
    hello = played(site)
    loads = asked(site, want_of(hello, CUSTODY))
    site.shelf.prune(CUSTODY, 3)
    site.do(loads)
    assert site.found[0].evidence["code"] == "exchange.unsigned"


def test_the_clerk_leaves_the_carriers_work() -> None:
    site, _ = both()
    site.begin()
    deeds: Sequence[ex.Output] = [ex.Send(b""), ex.Wake(1), ex.Close("exchange.flood")]
    assert [now(site.clerk.act(deed)) for deed in deeds] == [(), (), ()]


def test_segments_of_two_lanes_may_be_read_in_any_order() -> None:
    site, _ = both()
    site.shelf.write(CUSTODY, entry(1))
    site.shelf.write(TELEMETRY, entry(1))
    hello = played(site)
    loads = asked(site, want_of(hello, CUSTODY, TELEMETRY))
    assert len(loads) == 2
    site.do(loads[::-1])
    assert kinds(site).count("Seal") == 2


def test_an_acknowledgement_that_comes_twice_is_told_once() -> None:
    site, _ = both()
    site.shelf.write(CUSTODY, entry(1))
    hello = played(site)
    tell(site, want_of(hello, CUSTODY))
    place = message.table(hello.table).index(CUSTODY)
    have = message.encode(Have(received=0, sizes=[(place, 1)]))
    told = [one for _ in range(2) for one in site.session.receive(have, 0)]
    assert [one for one in told if isinstance(one, ex.PeerHolds)] == [
        ex.PeerHolds(CUSTODY, 1, b"the hub!".hex())
    ]


def test_the_same_hello_again_asks_for_nothing_again() -> None:
    site, _ = both()
    played(site, (HUB_CUSTODY, 2, b"12345678"))
    assert kinds(site) == ["Want"]
    tell(site, hub_hello((HUB_CUSTODY, 2, b"12345678")))
    assert kinds(site) == ["Want"]
