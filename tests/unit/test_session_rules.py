"""Pins the rules of a session one by one: what it says, what it refuses, what it never does."""

import hashlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from certs.keys import SigningKey
from sync import exchange as ex
from sync import message
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
    fill,
    found,
    hub_hello,
    kinds,
    log_of,
    meet,
    now,
    played,
    run,
    said,
    segment_of,
    shelf_of,
    tell,
    want_of,
)
from tests.shelf_memory import entry, private

CUSTODY, URGENT, TELEMETRY = (log_of(SITE, lane) for lane in ("custody", "urgent", "telemetry"))
HUB_CUSTODY = log_of(HUB, "custody")
HUB_URGENT = log_of(HUB, "urgent")


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
    named = message.table(hello.table)
    assert log_of(SITE, "custody", "e101-00000002") in named, "the newest epochs are told"
    assert log_of(SITE, "custody", "e11-00000002") not in named
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
    assert found(site) == [("unproved", "custody")], "a played hub shows no signature"
    assert site.found[0].evidence == {"claims": "rolled_back", "mine": 1, "theirs": 5}
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
    assert hello.can == ["annex", "checkpoint"]


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
    site.shelf.write(CUSTODY, *[private(b"%900d" % n, n) for n in range(20)])
    contacts = 0
    while hub.holds() != site.holds():
        contacts += 1
        assert contacts < 20, "a contact shorter than a segment with its annexes never ends"
        meet(site, hub, Way(4_500))
    assert len(hub.shelf.held[CUSTODY].annexes) == 20


def test_an_annex_of_two_entries_goes_over_once_wherever_the_link_is_cut() -> None:
    whose = [0, 1, 2, 0, 3, 1, 4, 3, 2, 4]
    for left in range(700, 3_500, 111):
        site, hub = both(codecs=(0,))
        names = [b"%300d" % number for number in whose]
        site.shelf.write(CUSTODY, *[private(name, n) for n, name in enumerate(names)])
        carried = meet(site, hub, Way(left)) + meet(site, hub)
        assert [annex.data for _, annex in sorted(hub.shelf.held[CUSTODY].annexes.items())] == names
        assert carried < 5_900, "twice as many annexes would be 1.5 kB more"


def test_an_annex_is_for_entries_that_were_sent_all_of_them() -> None:
    site, hub = both()
    fill(site, 3, 0)
    meet(site, hub)
    site.begin(site.now_ms)
    hub.begin(hub.now_ms)
    run(site, hub)
    origin = sorted(site.shelf.held).index(CUSTODY)
    tell(hub, Annexed(origin=origin, index=2, salt=bytes(16), data=b"x", also=[1, 9]))
    assert [close.code for close in hub.closes] == ["exchange.annex"]


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


# --- small print --------------------------------------------------------------------------------


def test_parts_of_a_link_that_died_before_the_hello_are_kept_and_bounded() -> None:
    site, _ = both()
    part = ex.Part(HUB_CUSTODY, 0, 5, 0, 9_000, b"12345678", bytes(10))
    large = msgspec.structs.replace(part, origin=HUB_URGENT, data=bytes(ex.PART_BYTES_MAX + 1))
    site.memory = Memory((part, large))
    site.begin()
    site.end()
    assert site.memory.parts == (part,)
    played(site, (HUB_CUSTODY, 5, b"12345678"))
    want = said(site)[0]
    assert isinstance(want, Want)
    assert [(one.first, one.count, one.held) for one in want.parts] == [(0, 5, 10)]


def test_a_part_that_no_longer_fits_is_dropped() -> None:
    site, _ = both()
    site.memory = Memory((ex.Part(HUB_CUSTODY, 3, 5, 0, 90, b"12345678", bytes(10)),))
    played(site, (HUB_CUSTODY, 5, b"12345678"))
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


def test_no_message_is_longer_than_the_credit_that_is_left() -> None:
    data = bytes(9_000)
    site, _ = both(codecs=(0,))
    site.options["serves_snapshot"] = True
    site.snapshot = hashlib.sha256(data).digest(), data
    site.shelf.write(CUSTODY, private(b"x" * 4_000, 1))
    hello = played(site)
    site.outbox.clear()
    tell(site, want_of(hello, CUSTODY, annexes=True, snapshot=True, credit=8192))
    sent = sum(map(len, site.outbox))
    assert sent <= 8192
    for credit in (60, 100, 300, 3_000, 4_000, 5_000, 100, 1_000, 9_000, 9_000, 9_000):
        site.outbox.clear()
        tell(site, Have(received=sent, credit=credit))
        went = sum(map(len, site.outbox))
        assert went <= credit
        sent += went
    assert sent > 13_000, "entry, annex, seal and snapshot, each when it fitted"
    assert site.closes == []


def test_what_follows_a_refused_segment_is_refused_in_silence() -> None:
    site, writer = both()
    writer.shelf.write(HUB_CUSTODY, entry(1))
    played(site, (HUB_CUSTODY, 2, b"12345678"))
    messages: list[Message] = [*segment_of(writer, HUB_CUSTODY)]
    writer.shelf.write(HUB_CUSTODY, entry(2))
    messages += segment_of(writer, HUB_CUSTODY, 1)
    stores = [
        output
        for one in messages
        for output in site.session.receive(message.encode(one), 0)
        if isinstance(output, ex.Store)
    ]
    site.shelf.fail_next("extend", TheirsInvalid("exchange.root"))
    site.do(stores)
    assert [one.evidence["code"] for one in site.found] == ["exchange.root"]
    assert site.session.memory().fruitless == {HUB_CUSTODY: (0, 1)}


def test_a_log_with_two_signers_is_sealed_by_its_own() -> None:
    site, hub = both()
    site.shelf.write(CUSTODY, entry(1))
    _, signed = site.shelf.held[CUSTODY].sign(1).split("\n\n")
    other = hub.shelf.held[HUB_CUSTODY].sign(0).partition("\n\n")[2]
    for lines, sent in ((other + signed, True), (other, False)):
        site, hub = both()
        log = site.shelf.write(CUSTODY, entry(1))
        outputs = _load_by_hand(site, log.note.partition("\n\n")[0] + "\n\n" + lines)
        assert ("Seal" in outputs) is sent
        assert (found(site) == []) is sent


def _load_by_hand(site: End, note: str) -> list[str]:
    """Let the site be asked for its custody log, and answer with this note."""
    site.begin()
    hello = said(site)[0]
    assert isinstance(hello, Hello)
    tell(site, hub_hello())
    site.outbox.clear()
    site.session.receive(message.encode(want_of(hello, CUSTODY)), 0)
    items = now(site.shelf.read(CUSTODY, 0, 1))
    site.do(site.session.loaded(CUSTODY, 0, items, note, 0))
    return kinds(site)
