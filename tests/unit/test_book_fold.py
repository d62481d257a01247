"""Folding: order by index, what is refused and stays put, rights, alarms, erasure, vocabulary."""

import hashlib
from base64 import b64encode
from typing import Any

import pytest

from sync import canonical, entry, facts, sitemap
from sync.book import Book
from sync.custody import Custody
from sync.entry import Lane
from sync.errors import TheirsInvalid
from sync.holdings import identity_of
from tests.stage import Stage, small_map

CUSTODY = "e1-00000001:sc"
URGENT = "e1-00000001:su"
TELEMETRY = "e1-00000001:st"


class Writer:
    """Puts facts into a book, each at the end of its lane."""

    def __init__(self, *, with_map: bool = True) -> None:
        self.book = Book()
        self.mono = 0
        if with_map:
            for item, value in sitemap.items(small_map()):
                self.put(facts.ConfigSet(item=item, value=value))

    def put(self, fact: facts.AnyFact | None, log: str = "", **beside: Any) -> str:
        if not log:
            assert fact is not None
            log = f"e1-00000001:s{facts.lane_of(fact).letter}"
        index = self.book.sizes.get(log, 0)
        self.mono += 10
        self.book.take(log, index, (1, self.mono), fact, **beside)
        return f"{log}{index}"


def intended(door: int = 1, purpose: facts.Purpose = "deposit") -> facts.OpenIntended:
    return facts.OpenIntended(door=door, purpose=purpose, by="g", attempt=1, deadline=1)


def deposited(door: int = 1, tag: str = "t", counter: int = 0) -> facts.ParcelDeposited:
    return facts.ParcelDeposited(
        door=door, by="g", size="S", digits=8, counter=counter, key_version=1, tag=tag,
        basis="sensor",
    )  # fmt: skip


def courier() -> facts.GrantIssued:
    return facts.GrantIssued(grant="courier", tenant="a", label="v", tag="x", key_version=1)


def stop_of(writer: Writer, log: str = CUSTODY) -> tuple[int, str]:
    """Where the fold of a log stopped, and why."""
    stop = writer.book.stopped[log]
    return stop.index, stop.code


# --- order ------------------------------------------------------------------------------------


def test_an_early_entry_waits_for_its_turn_and_a_known_one_is_ignored() -> None:
    book = Book()
    alarm = facts.AlarmRaised(alarm="disk.low")
    book.take(URGENT, 1, (1, 2), alarm)
    assert (book.sizes.get(URGENT, 0), book.alarms) == (0, {})
    book.take(URGENT, 0, (1, 1), alarm)
    assert list(book.alarms) == [f"{URGENT}0", f"{URGENT}1"]
    book.take(URGENT, 0, (9, 9), facts.AlarmRaised(alarm="other"))
    assert book.alarms[f"{URGENT}0"].alarm == "disk.low"


def test_an_unknown_kind_has_its_place_and_changes_nothing_else() -> None:
    writer = Writer()
    before = writer.book.canonical()
    writer.put(None, TELEMETRY)
    assert writer.book.sizes[TELEMETRY] == 1
    del writer.book.sizes[TELEMETRY]
    assert writer.book.canonical() == before


def test_a_kind_the_book_does_not_hold_is_only_counted() -> None:
    writer = Writer()
    writer.put(facts.HealthSampled(values={"cpu_c": 40}, door=1))
    writer.put(facts.EpochOpened(site="site/0042", version=1))
    writer.put(facts.GrantRevoked(by="x"))
    assert writer.book.compartments[1].last is None


# --- refused ----------------------------------------------------------------------------------


def test_a_fact_about_a_door_nobody_knows_is_refused_and_the_log_stays_there() -> None:
    writer = Writer(with_map=False)
    for _ in range(2):
        writer.put(facts.DoorForced(door=1))
        assert stop_of(writer) == (0, "book.unknown")
        assert CUSTODY not in writer.book.sizes


def test_what_cannot_follow_is_refused_and_changes_no_compartment() -> None:
    writer = Writer()
    writer.put(facts.ParcelCollected(door=1, by="c", basis="sensor"))
    assert stop_of(writer) == (writer.book.sizes[CUSTODY], "custody.impossible")
    assert writer.book.compartments[1].custody is Custody.FREE
    assert writer.book.compartments[1].last is None


@pytest.mark.parametrize(
    ("fact", "log"),
    [
        (facts.DoorForced(door=1), URGENT),
        (facts.DoorForced(door=1), TELEMETRY),
        (facts.AlarmRaised(alarm="x"), CUSTODY),
        (facts.HealthSampled(values={}), CUSTODY),
    ],
)
def test_a_fact_in_another_lane_than_its_own_is_refused(fact: facts.AnyFact, log: str) -> None:
    writer = Writer()
    writer.put(fact, log)
    assert stop_of(writer, log)[1] == "book.wrong_lane"


def test_a_malformed_item_of_the_map_is_refused() -> None:
    writer = Writer()
    writer.put(facts.ConfigSet(item="door", value={"number": 1}))
    assert stop_of(writer)[1] == "book.map_malformed"


# --- what it holds ----------------------------------------------------------------------------


def test_a_door_that_left_the_map_keeps_its_compartment() -> None:
    writer = Writer()
    site = small_map()
    smaller = sitemap.SiteMap(boards=site.boards, doors={1: site.doors[1]})
    for item, value in sitemap.items(smaller):
        writer.put(facts.ConfigSet(item=item, value=value))
    assert set(writer.book.map.doors) == {1}
    assert set(writer.book.compartments) == {1, 2, 3, 4}


def test_a_deposit_is_a_parcel_until_it_is_gone_and_its_code_is_retired_then() -> None:
    writer = Writer()
    book = writer.book
    writer.put(intended())
    ref = writer.put(deposited())
    assert [parcel.ref for parcel in book.live()] == [ref]
    assert book.parcel_in(1) is book.parcels[ref]
    assert book.compartments[1].last == ref
    writer.put(facts.CompartmentChecked(door=1, by="x", occupied=False))
    assert (book.live(), book.parcel_in(1)) == ([], None)
    assert [gone.ref for gone in book.retired] == [ref]


def test_the_highest_counter_of_an_identity_is_remembered() -> None:
    writer = Writer()
    for counter in (4, 2):
        writer.put(intended())
        writer.put(deposited(counter=counter))
        writer.put(facts.CompartmentChecked(door=1, by="x", occupied=False))
    assert writer.book.counters == {"t": 4}


def test_the_end_of_another_intent_does_not_end_this_one() -> None:
    writer = Writer()
    ref = writer.put(intended())
    writer.put(facts.OpenEnded(of=f"{CUSTODY}0", door=1, outcome="opened"))
    intent = writer.book.compartments[1].intent
    assert intent is not None
    assert (intent.ref, intent.outcome) == (ref, None)


def test_out_of_service_and_back() -> None:
    writer = Writer()
    writer.put(facts.CompartmentDisabled(door=1, by="x", why="hinge"))
    assert writer.book.compartments[1].disabled == "hinge"
    writer.put(facts.CompartmentEnabled(door=1, by="x"))
    assert writer.book.compartments[1].disabled == ""


def test_openings_are_counted_and_the_door_is_as_last_written() -> None:
    writer = Writer()
    seen = []
    for fact in (facts.DoorForced(door=1), facts.DoorClosed(door=1, occupied=False)):
        writer.put(fact)
        seen.append((writer.book.compartments[1].door_open, writer.book.compartments[1].openings))
    assert seen == [(True, 1), (False, 1)]


@pytest.mark.parametrize("revoked_first", [True, False])
def test_a_revocation_wins_whichever_lane_is_heard_first(revoked_first: bool) -> None:
    writer = Writer()
    grant = f"{CUSTODY}{writer.book.sizes[CUSTODY]}"
    revocation = facts.GrantRevoked(of=grant, by="x")
    for fact in (revocation, courier()) if revoked_first else (courier(), revocation):
        writer.put(fact)
    assert writer.book.couriers[grant].revoked


def test_a_right_this_version_does_not_know_gives_nothing() -> None:
    writer = Writer()
    fact = facts.GrantIssued(grant="roof", tenant="a", label="v", tag="x", key_version=1)
    writer.put(fact)
    assert writer.book.couriers == {}


def test_a_clear_ends_the_raises_it_names_and_no_other() -> None:
    writer = Writer()
    first = writer.put(facts.AlarmRaised(alarm="door.ajar", door=1))
    second = writer.put(facts.AlarmRaised(alarm="door.ajar", door=1))
    writer.put(facts.AlarmCleared(raises=(first, "e1-00000001:su99")))
    assert writer.book.standing("door.ajar", 1) == (second,)
    assert writer.book.standing("door.ajar", 2) == ()


def test_only_the_time_of_one_boot_is_witnessed() -> None:
    book = Book()
    moments = ((1, 100), (1, 400), (2, 50), (2, 70), (2, 60), (2, 90))
    for index, at in enumerate(moments):
        book.take(CUSTODY, index, at, None)
    assert book.witnessed_ms == 300 + 20 + 30
    book.take(URGENT, 0, (2, 10_000), None)
    assert book.witnessed_ms == 350


def test_uncharged_refusals_leave_the_bucket_alone() -> None:
    writer = Writer()
    levels = []
    for fact in (
        facts.CodeRefused(form="short", why="code.length"),
        facts.CodeRefused(form="short", why="code.unknown", charged=True, level_ms=7),
    ):
        writer.put(fact)
        levels.append(writer.book.guard_level_ms)
    assert levels == [None, 7]


# --- annexes ----------------------------------------------------------------------------------

ANNEX = canonical.encode({"tenant": "acme", "tracking": "AB1", "piece": 2})
SALT = bytes(16)
PRIVATE = b64encode(hashlib.sha256(SALT + ANNEX).digest()).decode()


def stored() -> tuple[Writer, str]:
    writer = Writer()
    writer.put(intended(), annex=(ANNEX, SALT), private=PRIVATE)
    return writer, writer.put(deposited(), annex=(ANNEX, SALT), private=PRIVATE)


def test_the_identity_of_a_parcel_stands_beside_the_book() -> None:
    writer, ref = stored()
    assert writer.book.parcels[ref].identity == identity_of((ANNEX, SALT)) == "acme/AB1/2"
    assert b"AB1" not in writer.book.canonical()


def test_an_erased_annex_changes_no_byte_that_is_compared() -> None:
    writer, ref = stored()
    same, _ = stored()
    writer.put(facts.AnnexErased(of=ref, by="x"))
    same.put(facts.AnnexErased(of=f"{CUSTODY}0", by="x"))
    assert writer.book.parcels[ref].identity is None
    assert writer.book.canonical() == same.book.canonical()


def test_what_is_erased_is_forgotten_of_retired_parcels_too() -> None:
    writer, ref = stored()
    writer.put(facts.CompartmentChecked(door=1, by="x", occupied=False))
    writer.put(facts.AnnexErased(of="e1-00000001:sc999", by="x"))
    named = [writer.book.retired[0].identity]
    for gone in (ref, writer.book.holders[PRIVATE][0]):
        writer.put(facts.AnnexErased(of=gone, by="x"))
        named.append(writer.book.retired[0].identity)
    assert named == ["acme/AB1/2", None, None]
    assert writer.book.holders == {}


# --- the vocabulary ---------------------------------------------------------------------------


def test_every_kind_has_one_lane_and_says_its_name() -> None:
    assert {kind: known.__name__ for kind, known in facts.KINDS.items()}["door.forced"] == (
        "DoorForced"
    )
    assert facts.lane_of(facts.AlarmRaised(alarm="x")) is Lane.URGENT
    assert facts.lane_of(facts.HealthSampled(values={})) is Lane.TELEMETRY
    assert facts.lane_of(facts.DoorAjar(open_ms=1)) is Lane.CUSTODY
    assert facts.kind_of(facts.DoorAjar(open_ms=1)) == "door.ajar"


def test_a_kind_of_a_later_version_is_carried() -> None:
    assert facts.from_entry(entry.parse(b'{"at":[1,2],"kind":"drone.landed"}')) is None


def test_keys_of_a_later_version_are_carried() -> None:
    known = entry.parse(b'{"at":[1,2],"door":4,"kind":"door.forced","mood":"bad"}')
    assert facts.from_entry(known) == facts.DoorForced(door=4)


def test_a_known_kind_that_lacks_a_key_is_refused() -> None:
    with pytest.raises(TheirsInvalid) as refused:
        facts.from_entry(entry.parse(b'{"at":[1,2],"kind":"alarm.raised"}'))
    assert refused.value.code == "fact.malformed"


def test_the_book_of_a_whole_day_is_that_of_its_log() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(60_000)
    book = Book()
    for taken in reversed(stage.log):
        book.take(*taken)
    assert book.canonical() == stage.engine.book.canonical()
