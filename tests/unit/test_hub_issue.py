"""Pins what the hub may write for a site, and by which code it refuses the rest."""

import base64
from dataclasses import replace

import pytest

from sync import codes, facts
from sync.book import FOLD, Book
from sync.codes import CodeKey
from sync.entry import Lane
from sync.fact import Fact
from sync.hub import issue, parcels
from sync.hub.issue import Decision, Desk, Known, No, Say
from sync.records import Expected
from tests.hub_site import FakeSite

KEY = CodeKey("lockers.example/site/0042", 1, bytes(32))
NOW_MS = 1_800_000_000_000
DESK = Desk("ops", NOW_MS, KEY)
PARCEL = "acme/JD0146/1"
HUB_LOG = "e1-0000000b:h"


class Stage:
    """A book with a site's entries, and whatever the hub says folded in."""

    def __init__(self, **rights: int) -> None:
        self.site = FakeSite(KEY)
        self.site.opens()
        for size, count in rights.items():
            self.site.gives(size, count)  # type: ignore[arg-type]  # S, M, L
        self.book = Book()
        self.sizes = {Lane.URGENT: 0, Lane.CUSTODY: 0}
        self.fold()

    def fold(self) -> None:
        self.site.fold(self.book)

    def say(self, decision: Decision) -> str:
        """Fold what the hub decided to say; return the first entry's reference."""
        assert isinstance(decision, Say), decision
        first = self.sizes[decision.lane]
        log = f"{HUB_LOG}{decision.lane.letter}"
        for statement in decision.statements:
            index = self.sizes[decision.lane]
            seen = dict(self.book.sizes) if statement.seen else None
            annex = None if statement.annex is None else (statement.annex, bytes(16))
            self.book.take(log, index, (1, index), statement.fact, annex, None, seen)  # type: ignore[arg-type]  # a fact of the vocabulary
            self.sizes[decision.lane] += 1
        assert not self.book.stopped
        return f"{log}{first}"


def fact_of(decision: Decision) -> Fact:
    assert isinstance(decision, Say), decision
    [statement] = decision.statements
    return statement.fact


def refused(decision: Decision, code: str) -> No:
    assert isinstance(decision, No), decision
    assert (decision.code, bool(decision.remedy)) == (code, True)
    return decision


# --- grants -----------------------------------------------------------------------------------


def give(book: Book, desk: Desk = DESK, **other: object) -> Decision:
    given = {"tenant": "acme", "label": "route 7", "secret_tag": b"t" * 12, "until_ms": None}
    return issue.courier(book, desk, **(given | other))  # type: ignore[arg-type]  # as a client may


def test_a_courier_gets_a_right_by_the_tag_of_a_secret() -> None:
    stage = Stage()
    decision = give(stage.book, until_ms=NOW_MS + 1)
    assert fact_of(decision) == facts.GrantIssued(
        grant="courier", tenant="acme", label="route 7",
        tag=base64.b64encode(b"t" * 12).decode(), key_version=1, until_ms=NOW_MS + 1,
    )  # fmt: skip
    stage.say(decision)
    refused(give(stage.book), "grant.secret_taken")


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"tenant": "Acme"}, "grant.tenant"),
        ({"tenant": ""}, "grant.tenant"),
        ({"label": ""}, "request.text"),
        ({"label": "x" * 65}, "request.text"),
        ({"label": "a\nb"}, "request.text"),
        ({"label": "a\u2028b"}, "request.text"),
        ({"until_ms": NOW_MS}, "request.until"),
        ({"until_ms": 2**53}, "request.until"),
    ],
)
def test_a_courier_grant_that_says_nonsense_is_refused(other: dict[str, object], code: str) -> None:
    refused(give(Stage().book, DESK, **other), code)


def test_a_secret_in_a_text_is_refused_and_another_number_is_not() -> None:
    """Entries hold no codes, ever: a long code of this site is known by its check digit."""
    book, secret = Stage().book, codes.staff_secret(bytes(range(16)), KEY.site)
    for text in (secret, f"try {secret}, please"):
        refused(give(book, DESK, label=text), "request.secret")
        refused(ask(book, case=text), "request.secret")
    wrong = secret[:-1] + str((int(secret[-1]) + 1) % 10)
    for text in (wrong, secret[:-1], f"{secret}0", "case 1234567890"):
        assert isinstance(give(book, DESK, label=text), Say)


def test_couriers_have_a_bound_and_revoked_ones_do_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(issue, "COURIERS_MAX", 1)
    stage = Stage()
    ref = stage.say(give(stage.book))
    refused(give(stage.book, secret_tag=b"u" * 12), "grant.too_many")
    stage.say(issue.revoke(stage.book, DESK, grant=ref))
    assert isinstance(give(stage.book, secret_tag=b"u" * 12), Say)


def delegate(book: Book, parcel: str, tag: bytes = b"d" * 12, **other: object) -> Decision:
    given = {"parcel": parcel, "label": "neighbour", "secret_tag": tag, "until_ms": None}
    return issue.collect(book, DESK, **(given | other))  # type: ignore[arg-type]  # as a client may


def test_somebody_else_may_collect_a_parcel_that_is_there() -> None:
    stage = Stage()
    courier = stage.say(give(stage.book))
    mine = stage.site.deposits(PARCEL, 1, by=courier)
    other = stage.site.deposits("other/JD2/1", 2)
    stage.fold()
    fact = fact_of(delegate(stage.book, mine))
    assert isinstance(fact, facts.GrantIssued)
    assert (fact.grant, fact.of, fact.tenant) == ("collect", mine, "acme")
    fact = fact_of(delegate(stage.book, other))
    assert isinstance(fact, facts.GrantIssued)
    assert fact.tenant == "other", "nobody here gave the courier's grant: the parcel's own tenant"
    refused(delegate(stage.book, "e1-0000abcd:sc0"), "parcel.unknown")
    refused(delegate(stage.book, mine, label=""), "request.text")
    refused(delegate(stage.book, mine, b"t" * 12), "grant.secret_taken")
    for place in range(issue.COLLECTS_MAX):
        stage.say(delegate(stage.book, mine, bytes([place]) * 12))
    refused(delegate(stage.book, mine, b"e" * 12), "grant.too_many")
    stage.say(issue.revoke(stage.book, DESK, grant=f"{HUB_LOG}c1"))
    assert isinstance(delegate(stage.book, mine, b"e" * 12), Say)


def test_what_is_expected_no_more_can_be_forgotten_and_expected_again() -> None:
    stage = Stage()
    asked = {"identity": PARCEL, "size": None}
    ref = stage.say(issue.expect(stage.book, DESK, **asked))  # type: ignore[arg-type]  # as a client
    ended = issue.unexpect(stage.book, DESK, expected=ref)
    assert fact_of(ended) == facts.ExpectationEnded(of=ref, by="ops")
    stage.say(ended)
    refused(issue.unexpect(stage.book, DESK, expected=ref), "expected.unknown")
    named = issue.Expectation(ref, parcels.parcel_tag(KEY, PARCEL), PARCEL, None)
    assert fact_of(issue.erase(stage.book, DESK, named=named)) == facts.AnnexErased(
        of=ref, by="ops"
    )
    assert isinstance(issue.expect(stage.book, DESK, **asked), Say)  # type: ignore[arg-type]  # same


def test_a_revocation_is_written_once() -> None:
    stage = Stage()
    ref = stage.say(give(stage.book))
    decision = issue.revoke(stage.book, DESK, grant=ref)
    assert fact_of(decision) == facts.GrantRevoked(of=ref, by="ops")
    assert isinstance(decision, Say)
    assert decision.lane is Lane.URGENT
    revocation = stage.say(decision)
    assert issue.revoke(stage.book, DESK, grant=ref) == Known(revocation)
    refused(issue.revoke(stage.book, DESK, grant=f"{HUB_LOG}c9"), "grant.unknown")


# --- parcels and promises ---------------------------------------------------------------------


def test_an_expected_parcel_is_named_in_its_annex_alone() -> None:
    stage = Stage()
    decision = issue.expect(stage.book, DESK, identity=PARCEL, size="M")
    assert isinstance(decision, Say)
    [statement] = decision.statements
    assert statement.annex == b'{"piece":1,"tenant":"acme","tracking":"JD0146"}'
    assert isinstance(statement.fact, facts.ParcelExpected)
    assert statement.fact.tag == stage.site.tag(PARCEL)
    ref = stage.say(decision)
    assert issue.expect(stage.book, DESK, identity=PARCEL, size=None) == Known(ref)


def test_a_parcel_that_is_or_was_there_is_not_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    parcel = stage.site.deposits(PARCEL, 1)
    stage.fold()
    refused(issue.expect(stage.book, DESK, identity=PARCEL, size=None), "parcel.here")
    refused(reserve(stage.book), "parcel.here")
    intent = stage.site.write(
        facts.OpenIntended(
            door=1, of=parcel, purpose="collect", by="code", attempt=1, deadline=9_000
        )
    )
    stage.site.write(facts.OpenEnded(door=1, of=intent, outcome="opened"))
    stage.site.write(facts.DoorClosed(door=1, occupied=False))
    stage.site.write(facts.ParcelCollected(door=1, of=parcel, by="code", basis="sensor"))
    stage.fold()
    refused(issue.expect(stage.book, DESK, identity=PARCEL, size=None), "parcel.was_here")
    monkeypatch.setattr(issue, "EXPECTED_MAX", 0)
    refused(issue.expect(stage.book, DESK, identity="acme/N1/1", size=None), "parcel.too_many")


def reserve(book: Book, desk: Desk = DESK, **other: object) -> Decision:
    given = {"identity": PARCEL, "size": "M", "band": "", "until_ms": None}
    return issue.reserve(book, desk, **(given | other))  # type: ignore[arg-type]  # as a client may


def test_a_promise_spends_a_right_and_no_right_is_spent_twice() -> None:
    stage = Stage(M=1)
    ref = stage.say(reserve(stage.book))
    assert reserve(stage.book) == Known(ref)
    no = refused(reserve(stage.book, identity="acme/N1/1"), "capacity.none")
    assert no.evidence == {"kind": "M", "rights": 1, "unspent": 0}
    refused(reserve(stage.book, size="S"), "reservation.other_class")
    refused(reserve(stage.book, identity="acme/N1/1", size="S"), "capacity.none")
    refused(reserve(stage.book, identity="acme/N1/1", band="chilled"), "capacity.none")


def test_without_any_right_nothing_is_promised() -> None:
    """Plant: a hub that counts compartments instead of rights would say yes here."""
    stage = Stage()
    assert stage.book.free()["M"] == 2
    refused(reserve(stage.book), "capacity.none")
    refused(reserve(stage.book, band="Bad Band"), "request.band")
    refused(reserve(stage.book, until_ms=NOW_MS), "request.until")


def test_a_cancelled_promise_keeps_its_right_until_the_site_releases_it() -> None:
    """Plant: cancel gives the right back to the hub: the second promise would be made twice."""
    stage = Stage(M=1)
    ref = stage.say(reserve(stage.book))
    stage.say(issue.cancel(stage.book, DESK, reservation=ref))
    assert issue.cancel(stage.book, DESK, reservation=ref) == Known(ref)
    refused(reserve(stage.book, identity="acme/N1/1"), "capacity.none")
    refused(reserve(stage.book), "capacity.none")
    refused(issue.hand_back(stage.book, DESK, size="M", band="", count=1), "capacity.none")
    stage.site.write(facts.CapacityReleased(of=ref, size="M"))
    stage.fold()
    refused(reserve(stage.book), "capacity.none")
    refused(issue.cancel(stage.book, DESK, reservation=ref), "reservation.unknown")
    stage.site.gives("M", 1)
    stage.fold()
    assert isinstance(reserve(stage.book), Say)


def test_a_parcel_is_the_same_under_a_later_key() -> None:
    """The key's version went up: what is there, expected or promised is not said a second time."""
    stage = Stage(M=2)
    later = replace(DESK, key=CodeKey(KEY.site, 2, bytes([9]) * 32), earlier=(KEY,))
    expected = stage.say(issue.expect(stage.book, DESK, identity=PARCEL, size=None))
    promised = stage.say(reserve(stage.book))
    claimed = stage.say(issue.claim(stage.book, DESK, identity=PARCEL, says="lost"))
    assert issue.expect(stage.book, later, identity=PARCEL, size=None) == Known(expected)
    assert reserve(stage.book, later) == Known(promised)
    assert issue.claim(stage.book, later, identity=PARCEL, says="lost") == Known(claimed)
    stage.site.deposits("acme/N9/1", 2)
    stage.fold()
    refused(reserve(stage.book, later, identity="acme/N9/1"), "parcel.here")
    refused(issue.expect(stage.book, later, identity="acme/N9/1", size=None), "parcel.here")
    fact = fact_of(issue.claim(stage.book, later, identity="acme/N9/1", says="lost"))
    assert isinstance(fact, facts.ClaimMade)
    assert fact.tag == stage.site.tag("acme/N9/1"), "the tag that the site knows it by"
    fact = fact_of(issue.expect(stage.book, later, identity="acme/NEW/1", size=None))
    assert isinstance(fact, facts.ParcelExpected)
    assert fact.key_version == 2


def test_promises_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(issue, "PROMISES_MAX", 1)
    stage = Stage(M=2)
    stage.say(reserve(stage.book))
    refused(reserve(stage.book, identity="acme/N1/1"), "capacity.none")


def test_only_unspent_rights_are_handed_back() -> None:
    stage = Stage(M=2)
    stage.say(reserve(stage.book))
    refused(issue.hand_back(stage.book, DESK, size="M", band="", count=2), "capacity.none")
    refused(issue.hand_back(stage.book, DESK, size="M", band="", count=0), "capacity.none")
    refused(issue.hand_back(stage.book, DESK, size="M", band="A", count=1), "request.band")
    stage.say(issue.hand_back(stage.book, DESK, size="M", band="", count=1))
    assert stage.book.rights.escrow.hub_free("M") == 0


def test_a_fenced_hub_spends_no_right_and_still_revokes() -> None:
    stage = Stage(M=2)
    fenced = replace(DESK, fenced=True)
    ref = stage.say(give(stage.book))
    refused(reserve(stage.book, fenced), "hub.fenced")
    refused(issue.hand_back(stage.book, fenced, size="M", band="", count=1), "hub.fenced")
    assert isinstance(issue.revoke(stage.book, fenced, grant=ref), Say)


def test_a_stopped_lane_of_the_hub_itself_spends_no_right() -> None:
    stage = Stage(M=2)
    stage.book.take(f"{HUB_LOG}c", 0, (1, 0), facts.DoorOpened(door=1))
    no = refused(reserve(stage.book), "hub.lane_stopped")
    assert no.evidence["cause"] == "book.wrong_writer"


def test_a_stopped_lane_of_the_site_does_not_hinder() -> None:
    stage = Stage(M=2)
    stage.site.write(facts.DoorOpened(door=99))
    stage.fold()
    assert stage.book.stopped
    assert isinstance(reserve(stage.book), Say)


# --- compartments -----------------------------------------------------------------------------


def test_out_of_service_and_back_say_what_was_read() -> None:
    stage = Stage()
    assert issue.service(stage.book, DESK, door=1, out=False, why="") == Known("")
    decision = issue.service(stage.book, DESK, door=1, out=True, why="broken hinge")
    assert isinstance(decision, Say)
    assert decision.statements[0].seen
    ref = stage.say(decision)
    assert stage.book.compartments[1].disabled == "broken hinge"
    assert issue.service(stage.book, DESK, door=1, out=True, why="broken hinge") == Known(ref)
    stage.say(issue.service(stage.book, DESK, door=1, out=True, why="lock"))
    stage.say(issue.service(stage.book, DESK, door=1, out=False, why=""))
    assert stage.book.compartments[1].disabled == ""
    assert isinstance(issue.service(stage.book, DESK, door=1, out=False, why=""), Known)
    refused(issue.service(stage.book, DESK, door=9, out=True, why="x"), "door.unknown")
    refused(issue.service(stage.book, DESK, door=1, out=True, why=""), "request.text")


def test_the_hub_brings_back_what_the_site_took_out_and_it_has_seen() -> None:
    stage = Stage()
    stage.site.write(facts.CompartmentDisabled(door=2, by="installer", why="wet"))
    stage.fold()
    stage.say(issue.service(stage.book, DESK, door=2, out=False, why=""))
    assert stage.book.compartments[2].disabled == ""


def ask(book: Book, **other: object) -> Decision:
    given = {"door": 1, "why": "stuck", "case": "C-1", "until_ms": NOW_MS + 60_000}
    return issue.ask_open(book, DESK, **(given | other))  # type: ignore[arg-type]  # as a client may


def test_support_asks_for_one_door_for_a_few_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = Stage()
    ref = stage.say(ask(stage.book))
    assert refused(ask(stage.book), "open.asked").evidence == {"ref": ref}
    refused(ask(stage.book, door=9), "door.unknown")
    refused(ask(stage.book, case=""), "request.text")
    refused(ask(stage.book, door=2, until_ms=NOW_MS), "open.until")
    refused(ask(stage.book, door=2, until_ms=NOW_MS + issue.OPEN_MS_MAX + 1), "open.until")
    monkeypatch.setattr(issue, "REQUESTS_MAX", 1)
    refused(ask(stage.book, door=2), "open.too_many")
    stage.site.write(facts.RequestDeclined(of=ref, why="door.busy"))
    stage.fold()
    assert isinstance(ask(stage.book), Say)


# --- words ------------------------------------------------------------------------------------


def test_a_claim_is_written_once_a_speaker() -> None:
    stage = Stage()
    ref = stage.say(issue.claim(stage.book, DESK, identity=PARCEL, says="collected"))
    assert issue.claim(stage.book, DESK, identity=PARCEL, says="collected") == Known(ref)
    assert isinstance(issue.claim(stage.book, DESK, identity=PARCEL, says="lost"), Say)


def test_only_standing_alarms_are_cleared() -> None:
    stage = Stage()
    raised = stage.site.write(facts.AlarmRaised(alarm="door.forced", door=1))
    stage.fold()
    refused(issue.clear_alarms(stage.book, DESK, raises=()), "alarm.none")
    refused(issue.clear_alarms(stage.book, DESK, raises=(raised,) * 65), "alarm.none")
    refused(issue.clear_alarms(stage.book, DESK, raises=(raised, "x")), "alarm.unknown")
    decision = issue.clear_alarms(stage.book, DESK, raises=(raised, raised))
    assert fact_of(decision) == facts.AlarmCleared(raises=(raised,))
    stage.say(decision)
    assert not stage.book.alarms


def test_a_fold_that_nobody_knows_is_not_switched_to() -> None:
    stage = Stage()
    refused(issue.switch_fold(stage.book, DESK, version=FOLD + 1), "fold.unknown")
    fact = fact_of(issue.switch_fold(stage.book, DESK, version=FOLD))
    assert isinstance(fact, facts.FoldSwitched)
    assert fact.lanes == {log: size for log, size in stage.book.sizes.items() if size}


def test_an_expected_parcels_name_goes_when_it_is_neither_awaited_nor_there() -> None:
    stage = Stage()
    tag = parcels.parcel_tag(DESK.key, "acme/T1/1")

    def asked(**other: str | None) -> Decision:
        told = {"ref": f"{HUB_LOG}c0", "tag": tag, "identity": "acme/T1/1", "erased_by": None}
        named = issue.Expectation(**(told | other))  # type: ignore[arg-type]  # text or None
        return issue.erase(stage.book, DESK, named=named)

    erased = facts.AnnexErased(of=f"{HUB_LOG}c0", by="ops")
    assert fact_of(asked()) == fact_of(asked(identity=None)) == erased
    assert asked(erased_by=f"{HUB_LOG}c7") == Known(f"{HUB_LOG}c7")
    stage.book.rights.expected[f"{HUB_LOG}c0"] = Expected(f"{HUB_LOG}c0", tag, 1, None)
    refused(asked(), "annex.live")
