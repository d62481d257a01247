"""Pins the session over links that are cut anywhere: in the end both hold the same, cheaply."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sync.exchange import Memory
from tests.pair import HUB, SITE, End, Way, both, log_of, meet
from tests.shelf_memory import entry, private

LINK_BYTES = 1_400
"""What a link costs beside segments: two hellos, two wants, acknowledgements."""
UNDER_WAY_BYTES = 3 * 1024 + 4_200
"""What a cut can lose: the window, and one message above it."""

_lane = st.sampled_from(["urgent", "custody", "telemetry"])
_write = st.tuples(st.sampled_from([SITE, HUB]), _lane, st.integers(1, 40), st.booleans())
_cut = st.one_of(st.none(), st.integers(0, 6_000))


@st.composite
def _links(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "writes": draw(st.lists(_write, max_size=3)),
        "cuts": (draw(_cut), draw(_cut)),
        "copies": draw(st.sampled_from([1, 1, 2])),
        "half_open": draw(st.booleans()),
        "forgets": draw(st.booleans()),
    }


def _write_all(ends: tuple[End, End], writes: list[Any], start: int) -> int:
    number = start
    for writer, lane, count, personal in writes:
        end = ends[0] if writer == SITE else ends[1]
        for _ in range(count):
            number += 1
            one = private(b"%d" % number, number) if personal else entry(number)
            end.shelf.write(log_of(writer, lane), one)
    return number


@given(st.lists(_links(), max_size=6), st.sampled_from([(0,), (0, 1)]))
def test_after_any_links_one_good_one_makes_both_ends_equal(
    links: list[dict[str, Any]], codecs: tuple[int, ...]
) -> None:
    site, hub = ends = both(codecs=codecs)
    number = 0
    for link in links:
        number = _write_all(ends, link["writes"], number)
        there, back = (Way(cut, link["copies"]) for cut in link["cuts"])
        meet(site, hub, there, back, half_open=link["half_open"], quiet_ms=500)
        for end, other in ((site, hub), (hub, site)):
            assert not end.closes
            # What was acknowledged is held, by the very root.
            for origin, size in end.acknowledged.items():
                assert len(other.shelf.held[origin].entries) >= size
        if link["forgets"]:
            site.memory, hub.memory = Memory(), Memory()
    meet(site, hub)
    assert site.holds() == hub.holds()
    assert not site.closes + hub.closes
    assert not site.found + hub.found
    for end, other in ((site, hub), (hub, site)):
        for log in end.shelf.held.values():
            if log.key is not None and log.entries:
                assert end.acknowledged[log.origin] == len(log.entries)
                assert other.shelf.held[log.origin].annexes == log.annexes


@given(st.lists(st.tuples(_cut, _cut), min_size=1, max_size=8))
def test_a_cut_wastes_no_more_than_was_under_way(cuts: list[tuple[int | None, int | None]]) -> None:
    clean, cut = both(codecs=(0,)), both(codecs=(0,))
    for site, _ in (clean, cut):
        site.shelf.write(log_of(SITE, "custody"), *[entry(n, door=n) for n in range(150)])
    whole = meet(*clean)
    wasted = sum(meet(*cut, Way(there), Way(back)) for there, back in cuts) + meet(*cut) - whole
    assert cut[0].holds() == cut[1].holds()
    assert wasted <= (LINK_BYTES + UNDER_WAY_BYTES) * len(cuts)


@given(st.integers(2_000, 4_000))
def test_contacts_shorter_than_a_segment_finish_it(contact_bytes: int) -> None:
    site, hub = both(codecs=(0,), segment_bytes=64 * 1024)
    site.shelf.write(log_of(SITE, "custody"), *[entry(n, door=n) for n in range(200)])
    contacts = 0
    while site.holds() != hub.holds():
        contacts += 1
        assert contacts < 80
        meet(site, hub, Way(contact_bytes))
    assert len(hub.stores) == 1


@given(st.lists(st.integers(0, 3), max_size=400), st.booleans())
def test_two_bearers_at_once_in_any_order(turns: list[int], told: bool) -> None:
    site, hub = both(codecs=(0,))
    other = both(codecs=(0,))
    other[0].shelf, other[1].shelf = site.shelf, hub.shelf
    site.shelf.write(log_of(SITE, "custody"), *[entry(n) for n in range(120)])
    site.shelf.write(log_of(SITE, "telemetry"), *[entry(n) for n in range(60)])
    hub.shelf.write(log_of(HUB, "custody"), *[entry(n) for n in range(30)])
    ends = [site, hub, *other]
    for end in ends:
        end.begin()
    for turn in [*turns, *([0, 1, 2, 3] * 60)]:
        end, peer = ends[turn], ends[turn ^ 1]
        outbox, end.outbox = end.outbox[:1], end.outbox[1:]
        for data in outbox:
            peer.receive(data)
        if told:
            for log in peer.shelf.held.values():
                ends[turn ^ 3].do(ends[turn ^ 3].session.appended(log.log(), 0))
    for _ in range(100):
        for place, end in enumerate(ends):
            outbox, end.outbox = end.outbox, []
            for data in outbox:
                ends[place ^ 1].receive(data)
            end.tick(end.now_ms + 50)
    assert site.holds() == hub.holds()
    assert not [close for end in ends for close in end.closes]
    assert not [found for end in ends for found in end.found]


@given(st.lists(st.binary(max_size=80), max_size=6), st.binary(max_size=200))
def test_any_bytes_are_an_answer_or_a_code(before: list[bytes], last: bytes) -> None:
    site, hub = both()
    site.begin()
    hub.begin()
    hello = hub.outbox[0]
    site.receive(hello)
    for data in [*before, last]:
        site.receive(data)
    assert all(close.code.startswith("exchange.") for close in site.closes)
    assert len(site.closes) <= 1
