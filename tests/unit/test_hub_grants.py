"""Pins what may go out as a capability, and by which code the rest is refused."""

from dataclasses import replace
from typing import Any

import pytest

from certs.capability import CTI_BYTES, Action, Capability
from certs.trust import NUMBER_MAX
from sync import codes, facts
from sync.book import Book
from sync.entry import Lane
from sync.fact import Fact
from sync.hub import grants, issue
from sync.hub.grants import EARLY_MS, LASTS_MS, Asked, Granted
from sync.hub.issue import Desk, No, Say
from tests.unit.test_hub_issue import DESK, KEY, NOW_MS, PARCEL, Stage

HOUR_MS = 3_600_000
CTI = bytes(range(8))
UNKNOWN = "e1-00000000:hc7"
ASKED = {
    Action.COLLECT: {"object": "here"},
    Action.DEPOSIT: {"tenant": "acme", "room": "M cold"},
    Action.RETURN: {"tenant": "acme"},
    Action.COURIER: {"tenant": "acme"},
    Action.SERVICE: {},
    Action.INSTALL: {},
    Action.RESERVATION: {"object": "promise"},
}


class Shelf(Stage):
    """A stage with a parcel that is there, one that is expected, and a promise."""

    def __init__(self) -> None:
        super().__init__(M=2)
        self.here = self.site.deposits(PARCEL, 1)
        self.fold()
        self.awaited = self.say(issue.expect(self.book, DESK, identity="acme/X1/1", size=None))
        self.promise = self.say(reserve(self.book, "acme/X2/1"))

    def asked(self, action: Action, **other: Any) -> Asked:
        given = {"until_ms": NOW_MS + HOUR_MS, "label": "route 7"} | ASKED[action] | other
        if isinstance(given.get("object"), str):
            given["object"] = getattr(self, str(given["object"]), given["object"])
        return Asked(action=action, **given)  # type: ignore[arg-type]  # as somebody may ask

    def ask(self, action: Action, *, cti: bytes = CTI, desk: Desk = DESK, **o: Any) -> object:
        return grants.granted(self.book, desk, self.asked(action, **o), cti=cti)

    def give(self, action: Action, number: int = 0, **other: Any) -> str:
        found = given(self.ask(action, cti=number.to_bytes(CTI_BYTES), **other))
        return self.say(found.say)

    def writes(self, fact: Fact) -> str:
        ref = self.site.write(fact)
        self.fold()
        return ref


def reserve(
    book: Book, identity: str, until_ms: int | None = None, band: str = ""
) -> issue.Decision:
    return issue.reserve(book, DESK, identity=identity, size="M", band=band, until_ms=until_ms)


def given(found: object) -> Granted:
    assert isinstance(found, Granted), found
    return found


def fact_of(say: Say) -> facts.GrantIssued:
    [statement] = say.statements
    assert isinstance(statement.fact, facts.GrantIssued)
    assert (say.lane, statement.annex) == (Lane.CUSTODY, None)
    return statement.fact


def refused(found: object, code: str) -> No:
    assert isinstance(found, No), found
    assert (found.code, bool(found.remedy)) == (code, True)
    return found


# --- what is given ------------------------------------------------------------------------------


@pytest.mark.parametrize("action", Action)
def test_entry_and_capability_say_the_same(action: Action) -> None:
    shelf = Shelf()
    found = given(shelf.ask(action))
    fact, made = fact_of(found.say), found.capability
    asked = shelf.asked(action)
    room = {Action.DEPOSIT: "M cold", Action.RESERVATION: "M"}.get(action)
    assert made == Capability(
        audience="lockers.example/site/0042", action=action, cti=CTI,
        not_before_s=(NOW_MS - EARLY_MS) // 1_000, expires_s=(NOW_MS + HOUR_MS) // 1_000,
        object=asked.object, subject=asked.tenant, room=room,
    )  # fmt: skip
    tenant = (
        "acme" if action in {Action.COLLECT, Action.DEPOSIT, Action.RETURN, Action.COURIER} else ""
    )
    assert fact == facts.GrantIssued(
        grant=action.name.lower(), tenant=tenant, label="route 7", tag="", key_version=1,
        of=asked.object, until_ms=NOW_MS + HOUR_MS, cti=CTI.hex(),
    )  # fmt: skip
    ref = shelf.say(found.say)
    [known] = shelf.book.rights.of_cti(CTI.hex())
    assert (known.ref, known.grant, known.revoked) == (ref, fact.grant, False)
    refused(shelf.ask(action), "grant.cti_taken")


def test_a_beginning_that_is_named_is_kept() -> None:
    made = given(Shelf().ask(Action.SERVICE, from_ms=NOW_MS + 1_999)).capability
    assert made.not_before_s == NOW_MS // 1_000 + 1


def test_a_parcel_goes_by_every_entry_that_names_it() -> None:
    shelf = Shelf()
    assert fact_of(given(shelf.ask(Action.COLLECT, object="awaited")).say).tenant == "acme"
    shelf.site.deposits("acme/X1/1", 2)
    shelf.fold()
    assert shelf.awaited not in shelf.book.rights.expected
    for number in range(issue.COLLECTS_MAX):
        shelf.give(Action.COLLECT, number, object="awaited")
    deposit = next(one.ref for one in shelf.book.live() if one.identity == "acme/X1/1")
    refused(shelf.ask(Action.COLLECT, cti=b"12345678", object=deposit), "grant.too_many")


def test_whose_an_expected_parcel_is_is_not_known_once_its_name_is_gone() -> None:
    shelf = Shelf()
    shelf.book.rights.expected[shelf.awaited].identity = None
    assert fact_of(given(shelf.ask(Action.COLLECT, object="awaited")).say).tenant == ""


def test_a_return_may_name_a_parcel_that_was_here() -> None:
    shelf = Shelf()
    for ref in ("here", "awaited"):
        assert given(shelf.ask(Action.RETURN, object=ref)).capability.object == getattr(shelf, ref)
    intent = shelf.site.write(
        facts.OpenIntended(
            door=1, purpose="collect", by="code", attempt=1, deadline=shelf.site.mono_ms + 500,
            of=shelf.here,
        )
    )  # fmt: skip
    shelf.site.write(facts.DoorOpened(door=1, of=intent))
    shelf.site.write(facts.OpenEnded(door=1, of=intent, outcome="opened"))
    shelf.site.write(facts.DoorClosed(door=1, occupied=False))
    shelf.writes(facts.ParcelCollected(door=1, of=shelf.here, by="code", basis="sensor"))
    assert shelf.here not in shelf.book.parcels
    assert not shelf.book.stopped
    given(shelf.ask(Action.RETURN, object="here"))
    refused(shelf.ask(Action.COLLECT), "parcel.unknown")


def test_the_class_of_a_promise_goes_with_it() -> None:
    stage = Shelf()
    stage.site.gives("M", 1, band="cold")
    stage.fold()
    cold = stage.say(reserve(stage.book, "acme/X3/1", band="cold"))
    assert given(stage.ask(Action.RESERVATION, object=cold)).capability.room == "M cold"
    stage.site.gives("M", 1, band="b" * 17)
    stage.fold()
    long = stage.say(reserve(stage.book, "acme/X4/1", band="b" * 17))
    found = refused(stage.ask(Action.RESERVATION, object=long), "capability.malformed")
    assert found.evidence == {"what": "room"}


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "other", "missing", "stray"),
    [
        (Action.COLLECT, {"object": None}, "object", ""),
        (Action.COLLECT, {"tenant": "acme"}, "", "tenant"),
        (Action.DEPOSIT, {"tenant": None}, "tenant", ""),
        (Action.DEPOSIT, {"object": "here"}, "", "object"),
        (Action.RETURN, {"tenant": None, "room": "M"}, "tenant", "room"),
        (Action.COURIER, {"tenant": None}, "tenant", ""),
        (Action.COURIER, {"object": "here", "room": "M"}, "", "object, room"),
        (Action.SERVICE, {"tenant": "acme"}, "", "tenant"),
        (Action.INSTALL, {"object": "here"}, "", "object"),
        (Action.RESERVATION, {"object": None}, "object", ""),
        (Action.RESERVATION, {"room": "M"}, "", "room"),
    ],
)
def test_each_action_has_its_own_fields(
    action: Action, other: dict[str, Any], missing: str, stray: str
) -> None:
    found = refused(Shelf().ask(action, **other), "grant.fields")
    assert (found.evidence["missing"], found.evidence["stray"]) == (missing, stray)


@pytest.mark.parametrize("action", Action)
def test_each_action_has_its_longest_life(action: Action) -> None:
    latest = NOW_MS + LASTS_MS[action]
    given(Shelf().ask(action, until_ms=latest))
    refused(Shelf().ask(action, until_ms=latest + 1), "grant.too_long")


@pytest.mark.parametrize(
    ("other", "code"),
    [
        ({"label": ""}, "request.text"),
        ({"label": "x" * 65}, "request.text"),
        ({"label": codes.staff_secret(bytes(range(16)), KEY.site)}, "request.secret"),
        ({"until_ms": NOW_MS}, "request.until"),
        ({"until_ms": 2**53}, "request.until"),
        ({"from_ms": NOW_MS + HOUR_MS}, "request.until"),
        ({"from_ms": NOW_MS + HOUR_MS - 1, "until_ms": NOW_MS + HOUR_MS}, "capability"),
        ({"tenant": "Acme"}, "capability.malformed"),
    ],
)
def test_nonsense_is_refused(other: dict[str, Any], code: str) -> None:
    """The last but one begins and ends: in different seconds, as seconds are what it says."""
    found = Shelf().ask(Action.COURIER, **other)
    if code == "capability":
        assert given(found).capability.expires_s - given(found).capability.not_before_s == 1
    else:
        refused(found, code)


def test_one_that_begins_and_ends_in_one_second_is_none() -> None:
    found = Shelf().ask(Action.SERVICE, from_ms=NOW_MS + 1, until_ms=NOW_MS + 2)
    assert refused(found, "capability.malformed").evidence == {"what": "time"}


def test_an_object_must_be_known_at_this_site() -> None:
    shelf = Shelf()
    for action in (Action.COLLECT, Action.RETURN):
        refused(shelf.ask(action, object=UNKNOWN), "parcel.unknown")
        refused(shelf.ask(action, object="promise"), "parcel.unknown")  # nothing came for it yet
    refused(shelf.ask(Action.RESERVATION, object=UNKNOWN), "reservation.unknown")
    refused(shelf.ask(Action.RESERVATION, object="here"), "reservation.unknown")


def test_a_promise_must_stand() -> None:
    shelf = Shelf()
    ends = shelf.say(reserve(shelf.book, "acme/X3/1", NOW_MS + 1))
    given(shelf.ask(Action.RESERVATION, object=ends))
    late = replace(DESK, now_ms=NOW_MS + 1)
    refused(shelf.ask(Action.RESERVATION, object=ends, desk=late), "reservation.over")
    shelf.say(issue.cancel(shelf.book, DESK, reservation=shelf.promise))
    refused(shelf.ask(Action.RESERVATION), "reservation.over")


def test_those_that_stand_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grants, "STANDING_MAX", 2)
    shelf = Shelf()
    first = shelf.give(Action.SERVICE, 1)
    shelf.give(Action.COURIER, 2, until_ms=NOW_MS + 2 * HOUR_MS)
    refused(shelf.ask(Action.SERVICE), "grant.too_many")
    over = replace(DESK, now_ms=NOW_MS + HOUR_MS)
    given(shelf.ask(Action.SERVICE, desk=over, until_ms=NOW_MS + 2 * HOUR_MS))
    shelf.say(issue.revoke(shelf.book, DESK, grant=first))
    given(shelf.ask(Action.SERVICE))


def test_a_capability_counts_as_one_delegate_though_the_site_took_it_in() -> None:
    shelf = Shelf()
    for number in range(issue.COLLECTS_MAX - 1):
        shelf.give(Action.COLLECT, number)
    accepts(shelf, "collect", (0).to_bytes(CTI_BYTES), of=shelf.here)
    tag = {"parcel": shelf.here, "label": "a", "until_ms": None}
    shelf.say(issue.collect(shelf.book, DESK, secret_tag=b"t" * 12, **tag))  # type: ignore[arg-type]  # as above
    refused(shelf.ask(Action.COLLECT), "grant.too_many")
    refused(issue.collect(shelf.book, DESK, secret_tag=b"u" * 12, **tag), "grant.too_many")  # type: ignore[arg-type]  # as above


def test_couriers_that_type_and_those_that_show_have_each_their_bound(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(issue, "COURIERS_MAX", 1)
    shelf = Shelf()
    shelf.give(Action.COURIER)
    typed = issue.courier(
        shelf.book, DESK, tenant="acme", label="a", secret_tag=b"t" * 12, until_ms=None
    )
    assert isinstance(typed, Say)


# --- afterwards ---------------------------------------------------------------------------------


def accepts(shelf: Shelf, action: str, cti: bytes, of: str | None = None) -> str:
    """The site is shown a capability."""
    return shelf.writes(
        facts.CapabilityAccepted(
            cti=cti.hex(), action=action, kid="00000000", until_ms=NOW_MS + HOUR_MS,
            clock="trusted", tenant="acme", of=of,
        )
    )  # fmt: skip


@pytest.mark.parametrize("action", Action)
def test_each_kind_can_be_revoked_by_both_its_names(action: Action) -> None:
    for by_site in (False, True):
        shelf = Shelf()
        ref = shelf.give(action, 1)
        known = accepts(shelf, action.name.lower(), (1).to_bytes(CTI_BYTES))
        assert grants.denied(shelf.book.rights) == {}
        shelf.say(issue.revoke(shelf.book, DESK, grant=known if by_site else ref))
        end = (NOW_MS + HOUR_MS) // 1_000
        assert grants.denied(shelf.book.rights) == {"0000000000000001": end}


def test_what_is_to_be_revoked_is_denied_before_it_is() -> None:
    shelf = Shelf()
    ref = shelf.give(Action.SERVICE, 1)
    shelf.give(Action.SERVICE, 2)
    assert list(grants.denied(shelf.book.rights, ref)) == ["0000000000000001"]
    assert grants.denied(shelf.book.rights, UNKNOWN) == {}


def test_one_without_an_end_is_denied_for_ever() -> None:
    """Ours have an end; another backend may have written it."""
    shelf = Shelf()
    fact = facts.GrantIssued(
        grant="service", tenant="", label="a", tag="", key_version=1, cti="00" * 8
    )
    ref = shelf.say(Say((issue.Statement(fact),)))
    assert grants.denied(shelf.book.rights, ref) == {"00" * 8: NUMBER_MAX}


def test_each_right_is_shown_once_with_what_it_did() -> None:
    shelf = Shelf()
    ref = shelf.give(Action.COLLECT, 1)
    typed = shelf.say(
        issue.courier(
            shelf.book, DESK, tenant="acme", label="a", secret_tag=b"t" * 12, until_ms=None
        )
    )
    rights = shelf.book.rights
    known = accepts(shelf, "collect", (1).to_bytes(CTI_BYTES), of=shelf.here)
    foreign = accepts(shelf, "service", b"12345678")  # another hub's, or of entries that are lost
    assert {one.ref for one in grants.issued(rights)} == {ref, typed, foreign}
    shown = next(one for one in grants.issued(rights) if one.ref == ref)
    assert grants.state_of(rights, shown) == "active"
    rights.attempt(known, "e1-0000abcd:sc99", {})
    assert grants.state_of(rights, shown) == "attempted"
    rights.use(known, "e1-0000abcd:sc99")
    assert grants.state_of(rights, shown) == "used"
    courier = next(one for one in grants.issued(rights) if one.ref == typed)
    shelf.say(issue.revoke(shelf.book, DESK, grant=typed))
    assert grants.state_of(rights, courier) == "revoked"
    second = shelf.give(Action.SERVICE, 2)
    accepts(shelf, "service", (2).to_bytes(CTI_BYTES))
    shelf.say(issue.revoke(shelf.book, DESK, grant=second))
    assert grants.state_of(rights, rights.others[second]) == "revoked"
