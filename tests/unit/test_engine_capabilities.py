"""A capability this site never heard of: who gave it, is it in time and unused, what it does."""

import hashlib
from base64 import b64encode
from dataclasses import replace

import pytest

from certs.base45 import encode
from certs.capability import Action
from certs.keys import SigningKey
from gateway.core.inputs import (
    BoardSilent,
    Button,
    CourierRemoved,
    FenceRaised,
    SupportOpens,
    Trust,
)
from gateway.core.outputs import Answer, PairingOpened, Pulse
from gateway.core.policy import Settings
from sync import facts
from sync.codes import CodeKey, parcel_tag
from tests.stage import GRANTS, HUB, KEY, SETTINGS, TRACKING, Stage, qr, small_map

OTHER = SigningKey("lockers.example/grants", bytes(32))
DAY = 86_400_000
UNHEARD = f"{HUB}:hc7"


def synced(settings: Settings = SETTINGS, error_ms: int = 50) -> Stage:
    stage = Stage(settings=settings, trust=Trust.SYNCED, error_ms=error_ms)
    stage.trusts()
    return stage


def refusal(stage: Stage) -> str:
    screen = stage.screen()
    assert screen.name == "capability.refused", screen
    return screen.why


def accepted(stage: Stage) -> list[facts.CapabilityAccepted]:
    return stage.recorded(facts.CapabilityAccepted)


def parcel_of(stage: Stage) -> str:
    return next(iter(stage.engine.book.parcels))


def ref_of(stage: Stage, kind: type[facts.AnyFact], place: int = -1) -> str:
    found = [f"{log}{index}" for log, index, _, fact, *_ in stage.log if isinstance(fact, kind)]
    return found[place]


# --- who gave it ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (qr(Action.COURIER, subject="acme", key=OTHER), "capability.signer"),
        (qr(Action.COURIER, subject="acme", audience="lockers.example/site/7"),
         "capability.audience"),
        (qr(Action.COURIER, subject="acme", audience="x.example/site/0042"), "capability.audience"),
        (qr(Action.COURIER, subject="acme")[:-4] + "0000", "capability.signature"),
        ("PLG1:" + encode(b"x" * 20), "capability.malformed"),
        ("PLG1:", "capability.malformed"), ("PLG1B:a", "capability.malformed"),
        ("PLG1:lower", "capability.malformed"), ("nothing", "capability.malformed"),
        ("PLG1:" + "A" * 4_395, "capability.malformed"),
        (qr(Action.COURIER), "capability.malformed"),
        (qr(Action.DEPOSIT), "capability.malformed"),
        (qr(Action.COURIER, subject="acme", object="e0-00000001:hc1"), "capability.malformed"),
        (qr(Action.RESERVATION, room="S"), "capability.malformed"),
        (qr(Action.RESERVATION, object="e1-0000000b:sc1", room="S"), "capability.malformed"),
        (qr(Action.RESERVATION, object=UNHEARD), "capability.malformed"),
    ],
)  # fmt: skip
def test_what_nobody_we_believe_said_for_this_site_opens_nothing(text: str, why: str) -> None:
    stage = synced()
    stage.shows(text)
    if why == "capability.signature" and refusal(stage) == "capability.malformed":
        why = "capability.malformed"
    assert refusal(stage) == why
    assert stage.pulses() == []
    assert accepted(stage) == []
    assert [fact.why for fact in stage.recorded(facts.CapabilityRefused)] == [why]
    assert stage.engine.state.sessions["main"].courier is None
    assert not stage.recorded(facts.CodeRefused)


def test_until_the_shell_says_who_may_sign_nobody_may() -> None:
    stage = Stage(trust=Trust.SYNCED)
    stage.shows(qr(Action.COURIER, subject="acme"))
    assert refusal(stage) == "capability.signer"


def test_no_text_stands_in_a_record_or_a_repr() -> None:
    stage = synced()
    text = qr(Action.COURIER, subject="acme")
    stage.shows(text)
    assert text not in repr(stage.outputs)
    kept = repr(stage.facts)
    assert text[6:30] not in kept
    (fact,) = accepted(stage)
    kid = hashlib.sha256(GRANTS.verifier.public).digest()[:4].hex()
    assert (fact.cti, fact.action, fact.kid, fact.clock) == (
        "0000000000000001", "courier", kid, "synced",
    )  # fmt: skip
    assert (fact.tenant, fact.until_ms) == ("acme", 1_790_086_400_000)


# --- is it in time ----------------------------------------------------------------------------

STAFF = (
    qr(Action.COURIER, subject="acme"), qr(Action.SERVICE), qr(Action.INSTALL),
    qr(Action.DEPOSIT, subject="acme"),
)  # fmt: skip


@pytest.mark.parametrize("text", STAFF, ids=["courier", "service", "install", "deposit"])
def test_staff_end_when_they_may_be_over_and_without_a_clock_at_the_floor(text: str) -> None:
    end = 1_790_086_400_000
    for trust, error_ms, wall, floor_ms, good in (
        (Trust.SYNCED, 50, end - 60_000, 0, True),
        (Trust.DRIFTING, 60_000, end - 60_000, 0, False),
        (Trust.SYNCED, 50, end, 0, False),
        (Trust.FLOOR, 10 * 365 * DAY, end + 9 * DAY, end - 1, True),
        (Trust.FLOOR, 10 * 365 * DAY, end - 9 * DAY, end, False),
    ):
        stage = synced()
        stage.trust, stage.error_ms, stage.floor_ms = trust, error_ms, floor_ms
        stage.wall = wall - stage.mono
        stage.shows(text)
        assert bool(accepted(stage)) is good, (trust, error_ms, wall - end)
        if not good:
            assert refusal(stage) == "capability.expired"


def test_a_recipient_ends_only_when_it_surely_is_over() -> None:
    end = 1_790_086_400_000
    for trust, error_ms, wall, floor_ms, good in (
        (Trust.DRIFTING, 60_000, end + 59_000, 0, True),
        (Trust.DRIFTING, 60_000, end + 60_000, 0, False),
        (Trust.FLOOR, 0, end + 99 * DAY, end - 1, True),
        (Trust.FLOOR, 0, end - DAY, end, False),
    ):
        stage = synced()
        stage.deposit()
        stage.home()
        stage.trust, stage.error_ms, stage.floor_ms = trust, error_ms, floor_ms
        stage.wall = wall - stage.mono
        before = len(stage.pulses())
        stage.shows(qr(Action.COLLECT, object=parcel_of(stage)))
        assert (len(stage.pulses()) > before) is good, (trust, wall - end)


def test_not_before_counts_by_a_clock_that_is_sure_and_not_without_one() -> None:
    stage = synced()
    stage.shows(qr(Action.SERVICE, since_s=3_600))
    assert refusal(stage) == "capability.early"
    stage.trust = Trust.FLOOR
    stage.shows(qr(Action.SERVICE, since_s=3_600))
    assert stage.screen().name == "service.menu"


def test_the_longest_end_of_all_is_a_number_an_entry_can_hold() -> None:
    stage = synced()
    stage.shows(qr(Action.SERVICE, within_s=2**53 - 1 - 1_790_000_000))
    assert accepted(stage)[0].until_ms == 2**53 - 1


# --- denied, revoked, used --------------------------------------------------------------------


def test_a_denied_one_opens_nothing_and_ends_a_session_and_a_pulse_that_waits() -> None:
    text = qr(Action.COURIER, subject="acme")
    stage = synced()
    stage.trusts("0000000000000001")
    stage.shows(text)
    assert refusal(stage) == "capability.denied"
    stage.trusts()
    stage.shows(text)
    assert stage.screen().name == "deliver.scan"
    stage.scan()
    stage.slow_disk = True
    stage.press(Button.SIZE, "S")
    assert stage.pulses() == []
    stage.trusts("0000000000000001")
    assert stage.engine.state.sessions["main"].courier is None
    stage.flush()
    assert stage.pulses() == []
    assert stage.recorded(facts.OpenEnded)[-1].why == "staff.revoked"


def test_a_revocation_counts_before_the_grant_was_heard_after_it_and_before_the_use() -> None:
    grant = facts.GrantIssued(
        grant="courier", tenant="acme", label="", tag="", key_version=0, cti="0000000000000001"
    )
    text = qr(Action.COURIER, subject="acme")
    stage = synced()
    stage.hub(grant, facts.GrantRevoked(of=f"{HUB}:hc0", by="ada"))
    stage.shows(text)
    assert refusal(stage) == "capability.revoked"

    stage = synced()
    stage.shows(text)
    assert stage.screen().name == "deliver.scan"
    stage.hub(facts.GrantRevoked(of=f"{HUB}:hc0", by="ada"))
    assert stage.screen().name == "deliver.scan"  # whose it is nobody knows yet
    stage.hub(grant)
    assert stage.screen().why == "staff.revoked"
    stage.shows(text)
    assert refusal(stage) == "capability.revoked"


def test_a_local_end_of_an_accepted_right_counts_too() -> None:
    stage = synced()
    stage.shows(qr(Action.COURIER, subject="acme"))
    ref = ref_of(stage, facts.CapabilityAccepted)
    stage.send(CourierRemoved(now=stage.now, token="r", by="ada", grant=ref))
    stage.home()
    stage.shows(qr(Action.COURIER, subject="acme"))
    assert refusal(stage) == "capability.revoked"


def test_what_a_newer_version_restricts_is_held_back() -> None:
    stage = synced()
    stage.shows(qr(Action.COURIER, subject="acme"))
    ref = ref_of(stage, facts.CapabilityAccepted)
    stage.hub(facts.GrantRevoked(of=ref, by="x"), critical=True, send=True)
    stage.engine.book.rights.find(ref).revoked = False  # type: ignore[union-attr]  # only cautious
    stage.home()
    stage.shows(qr(Action.COURIER, subject="acme"))
    assert refusal(stage) == "capability.cautious"


def test_a_second_content_under_the_same_id_is_refused() -> None:
    stage = synced()
    stage.shows(qr(Action.SERVICE, cti=5))
    stage.shows(qr(Action.INSTALL, cti=5))
    assert refusal(stage) == "capability.malformed"


def test_what_was_forgotten_because_it_was_over_is_never_taken_again() -> None:
    stage = synced()
    stage.shows(qr(Action.SERVICE))
    rights = stage.engine.book.rights
    rights.forget(1_790_086_400_000 + 31 * DAY)
    assert rights.others == {}
    stage.trust = Trust.FLOOR  # a disk, a battery, a wrong clock: whatever made it 1970
    stage.home()
    stage.shows(qr(Action.SERVICE))
    assert refusal(stage) == "capability.expired"


def test_a_flood_is_told_to_wait_and_written_together() -> None:
    stage = synced()
    for _ in range(20):
        stage.shows("PLG1:")
    stage.shows(qr(Action.SERVICE))
    assert (refusal(stage), stage.screen().count) == ("capability.wait", 60)
    assert not accepted(stage)
    assert len(stage.recorded(facts.CapabilityRefused)) == 1
    stage.after(60_000)
    assert [fact.count for fact in stage.recorded(facts.CapabilityRefused)] == [1, 20]
    stage.shows(qr(Action.SERVICE))
    assert stage.screen().name == "service.menu"
    stage.after(60_000)
    assert len(stage.recorded(facts.CapabilityRefused)) == 2


def test_an_empty_bucket_stops_no_capability() -> None:
    stage = synced()
    stage.deposit()
    stage.home()
    for number in range(8):
        code = KEY.code(f"acme/NOT{number}/1", 0).short(8)
        stage.press(Button.COLLECT)
        stage.enter(code)
    stage.press(Button.COLLECT)
    stage.enter(stage.code())
    assert stage.screen().why == "code.long_needed"
    stage.shows(qr(Action.COLLECT, object=parcel_of(stage)))
    assert stage.screen().name == "collect.opening"


# --- collecting -------------------------------------------------------------------------------


def test_a_recipient_collects_by_capability_once() -> None:
    stage = synced()
    door = stage.deposit()
    stage.home()
    text = qr(Action.COLLECT, object=parcel_of(stage))
    stage.shows(text)
    stage.opens()
    assert stage.screen().name == "collect.open"
    stage.shut(door, occupied=False)
    stage.press(Button.OPEN_AGAIN)  # the grace
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(stage.settings.grace_ms)
    (fact,) = stage.recorded(facts.ParcelCollected)
    assert fact.by == ref_of(stage, facts.CapabilityAccepted)
    stage.shows(text)
    assert refusal(stage) == "capability.used"
    stage.deposit()
    stage.home()
    stage.shows(text)
    assert refusal(stage) == "capability.used"
    assert len(accepted(stage)) == 1


def test_an_entry_of_the_hub_names_the_parcel_and_a_name_of_nothing_names_none() -> None:
    stage = synced()
    named = stage.promise()
    text = qr(Action.COLLECT, object=named)
    stage.shows(text)
    assert refusal(stage) == "capability.no_parcel"
    stage.deposit()
    stage.home()
    stage.shows(text)
    assert stage.screen().name == "collect.opening"
    for wrong in (f"{HUB}:hc99", None):
        stage.shows(qr(Action.COLLECT, cti=9, object=wrong))
        assert refusal(stage) == "capability.no_parcel"


def test_a_parcel_that_was_collected_otherwise_is_gone_for_the_capability_too() -> None:
    stage = synced()
    door = stage.deposit()
    stage.home()
    text = qr(Action.COLLECT, object=parcel_of(stage))
    stage.shows(text)
    stage.opens()
    stage.shut(door, occupied=True)
    stage.press(Button.COLLECT)
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(stage.settings.grace_ms)
    stage.shows(text)
    assert refusal(stage) == "capability.used"


def test_a_delegate_ends_at_the_end_though_the_parcel_is_here() -> None:
    stage = synced()
    stage.deposit()
    stage.home()
    stage.wall += DAY
    stage.shows(qr(Action.COLLECT, object=parcel_of(stage)))
    assert refusal(stage) == "capability.expired"


def test_doors_opened_by_capability_count_as_the_hubs() -> None:
    stage = synced(replace(SETTINGS, occupied_per_hour=1))
    stage.deposit("AB1")
    stage.deposit("AB2")
    stage.home()
    first, second = stage.engine.book.parcels
    stage.shows(qr(Action.COLLECT, cti=1, object=first))
    stage.opens()
    stage.home()
    stage.shows(qr(Action.COLLECT, cti=2, object=second))
    assert refusal(stage) == "support.occupied"


def test_behind_a_fence_it_opens_no_door_that_nothing_proves_and_brings_nothing() -> None:
    stage = synced()
    stage.deposit()
    stage.next_epoch(fence="restored")
    stage.trusts()
    stage.see_all(occupied=(1,))
    stage.shows(qr(Action.COLLECT, object=parcel_of(stage)))
    assert (stage.screen().name, stage.screen().why) == ("collect.fault", "door.fenced")
    stage.shows(qr(Action.COURIER, cti=2, subject="acme"))
    assert refusal(stage) == "site.fenced"


# --- bringing ---------------------------------------------------------------------------------


def test_a_courier_delivers_until_the_end_and_comes_back_to_what_they_brought() -> None:
    stage = synced()
    text = qr(Action.COURIER, subject="acme")
    stage.shows(text)
    first = stage.deposit("AB1")
    stage.shows(text)
    stage.deposit("AB2")
    assert len(accepted(stage)) == 1
    by = {fact.by for fact in stage.recorded(facts.ParcelDeposited)}
    assert by == {ref_of(stage, facts.CapabilityAccepted)}
    stage.press(Button.MINE)
    assert first in stage.screen().doors
    stage.press(Button.NEXT)
    stage.shows("PLG1:")  # a slip of the scanner ends no round
    stage.press(Button.HOME)
    assert stage.screen().name == "deliver.scan"
    stage.wall += DAY
    stage.scan("AB3")
    assert (stage.screen().name, stage.screen().why) == ("deliver.enter", "staff.expired")


def test_a_return_needs_no_number_goes_in_once_and_can_be_taken_back() -> None:
    stage = synced()
    text = qr(Action.RETURN, cti=0xAB, subject="acme")
    stage.shows(text)
    assert stage.screen().name == "deliver.size"
    stage.press(Button.SIZE, "S")
    stage.shows(text, "main")  # shown again while its door is being opened
    assert refusal(stage) == "capability.in_use"
    door = stage.opens()
    stage.shut(door, occupied=True)
    (parcel,) = stage.engine.book.live()
    assert parcel.identity == "acme/R00000000000000AB/1"
    stage.home()
    stage.shows(text)
    assert refusal(stage) == "capability.used"


def test_after_one_parcel_it_is_done_or_taken_back() -> None:
    stage = synced()
    stage.shows(qr(Action.RETURN, subject="acme"))
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.shut(door, occupied=True)
    assert (stage.screen().name, stage.screen().door) == ("deliver.done", door)
    stage.press(Button.MINE)
    stage.press(Button.NEXT)
    assert (stage.screen().name, stage.screen().door) == ("deliver.done", None)
    stage.press(Button.MINE)
    stage.press(Button.TAKE_BACK, str(door))
    stage.opens()
    stage.shut(door, occupied=False)
    assert stage.screen().name == "deliver.took"
    stage.press(Button.NEXT)
    assert stage.screen().name == "welcome"
    stage.shows(qr(Action.RETURN, subject="acme"))
    assert refusal(stage) == "capability.used"


def test_a_class_that_was_given_is_opened_without_a_question() -> None:
    stage = synced()
    stage.shows(qr(Action.RETURN, subject="acme", room="M"))
    assert stage.last(Pulse).door == 3
    stage.opens()
    stage.shut(3, occupied=True)
    stage.home()
    stage.shows(qr(Action.RETURN, cti=2, subject="acme", room="M cold"))
    assert refusal(stage) == "capability.no_room"
    stage.shows(qr(Action.RETURN, cti=3, subject="acme"))
    stage.press(Button.NEXT)
    assert stage.screen().name == "welcome"


def test_a_deposit_asks_for_the_number_unless_the_hub_said_it() -> None:
    stage = synced()
    stage.shows(qr(Action.DEPOSIT, subject="acme"))
    assert stage.screen().name == "deliver.scan"
    stage.deposit()
    assert stage.screen().name == "deliver.done"
    stage.scan("AB9")
    assert stage.screen().name == "deliver.done"

    stage = synced()
    log, index = f"{HUB}:hc", 0
    fact = facts.ParcelExpected(tag="t", key_version=1)
    stage.hub(fact)
    expected = stage.engine.book.rights.expected[f"{log}{index}"]
    stage.engine.book.rights.expected[f"{log}{index}"] = type(expected)(
        expected.ref, "t", 1, None, "acme/AB7/1"
    )
    stage.shows(qr(Action.DEPOSIT, subject="acme", object=f"{log}{index}"))
    stage.press(Button.SIZE, "S")
    stage.shut(stage.opens(), occupied=True)
    assert stage.engine.book.live()[0].identity == "acme/AB7/1"


def test_a_parcel_that_is_here_already_is_not_brought_again() -> None:
    stage = synced()
    stage.deposit("R0000000000000002")
    stage.home()
    stage.shows(qr(Action.RETURN, cti=2, subject="acme"))
    assert refusal(stage) == "parcel.already_here"


def test_one_parcel_one_screen_and_a_crash_in_between_is_judged_first() -> None:
    stage = Stage(
        settings=replace(SETTINGS, kiosks=("main", "left")),
        trust=Trust.SYNCED,
    )
    stage.trusts()
    text = qr(Action.RETURN, subject="acme")
    stage.shows(text)
    stage.shows(text, "left")
    assert stage.engine.state.sessions["main"].courier is None
    stage.press(Button.SIZE, "S")
    assert stage.pulses() == []
    stage.press(Button.SIZE, "S", "left")
    stage.opens()
    stage.restart()
    stage.trusts()
    stage.shows(text)
    assert refusal(stage) == "capability.in_use"
    stage.see_all(is_open=(1,))
    stage.shut(1, occupied=True)
    stage.shows(text)
    assert refusal(stage) == "capability.used"


def test_an_empty_one_can_be_tried_again_and_a_right_that_ended_cannot() -> None:
    stage = synced()
    stage.shows(qr(Action.RETURN, subject="acme"))
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.shut(door, occupied=False)
    assert stage.screen().name == "deliver.empty"
    stage.press(Button.RETRY)
    stage.shut(stage.opens(), occupied=False)
    stage.wall += 2 * DAY
    before = len(stage.pulses())
    stage.press(Button.RETRY)
    assert len(stage.pulses()) == before
    stage.press(Button.TOO_SMALL)
    assert refusal(stage) == "staff.expired"


def test_a_late_door_that_took_the_parcel_leaves_nothing_to_try_again() -> None:
    stage = synced()
    stage.shows(qr(Action.RETURN, subject="acme"))
    stage.press(Button.SIZE, "S")
    stage.shut(stage.opens(), occupied=False)
    right = ref_of(stage, facts.CapabilityAccepted)
    stage.engine.book.rights.use(right, "e1-00000001:sc99")  # by a door that gave way late
    before = len(stage.pulses())
    stage.press(Button.RETRY)
    assert stage.screen().name == "welcome"
    assert len(stage.pulses()) == before


# --- reservations -----------------------------------------------------------------------------


def shared(stage: Stage, size: str = "S", count: int = 2) -> None:
    """Give every compartment of a class to the hub."""
    for key, value in (("capacity.floor", 0), (f"capacity.share.{size}", count)):
        stage.hub(facts.ConfigSet(item="setting", value={"key": key, "value": value}))
    assert stage.engine.book.rights.escrow.hub_rights(size) == count


def brings(stage: Stage) -> None:
    stage.shut(stage.opens(), occupied=True)


def test_a_promise_never_heard_of_is_kept_and_charged_to_the_hub() -> None:
    stage = synced()
    shared(stage)
    stage.login()
    stage.scan("AB1")
    assert dict(stage.screen().sizes)["S"] == 0  # all are the hub's: a walk-in gets none
    stage.home()
    escrow = stage.engine.book.rights.escrow
    stage.shows(qr(Action.RESERVATION, object=UNHEARD, room="S"))
    assert stage.last(Pulse).door in {1, 2}
    assert not stage.engine.book.deficits()
    brings(stage)
    assert stage.recorded(facts.OpenIntended)[-1].reservation == UNHEARD
    (closed,) = stage.recorded(facts.ReservationClosed)
    assert (closed.of, closed.outcome, closed.size) == (UNHEARD, "used", "S")
    assert escrow.hub_rights("S") == 1
    assert not stage.engine.book.deficits()
    assert not stage.engine.book.unheard()
    assert stage.engine.book.live()[-1].identity == "reserved/R0000000000000001/1"
    for _ in range(7):
        stage.hub(facts.GrantRevoked(of="e1-0000000b:hc9", by="x"))
    stage.hub(*[facts.ClaimMade(tag="t", says="lost", by="x")] * (7 - stage.told[f"{HUB}:hc"]))
    assert stage.promise() == UNHEARD
    assert escrow.hub_rights("S") == 1
    assert not escrow.unheard
    assert not escrow.promises
    stage.shows(qr(Action.RESERVATION, cti=2, object=UNHEARD, room="S"))
    assert refusal(stage) == "capability.used"


def test_a_promise_shown_and_not_kept_holds_its_place_until_it_is_over() -> None:
    stage = synced()
    stage.shows(qr(Action.RESERVATION, object=UNHEARD, room="M", subject="acme"))
    assert stage.screen().name == "deliver.scan"
    assert set(stage.engine.book.unheard()) == {UNHEARD}
    stage.home()
    stage.login()
    stage.scan("AB1")
    assert dict(stage.screen().sizes)["M"] == 0
    stage.wall += 2 * DAY
    stage.press(Button.NEXT)
    stage.scan("AB1")
    assert dict(stage.screen().sizes)["M"] == 1


def test_a_promise_that_was_heard_is_kept_by_whoever_shows_it() -> None:
    stage = synced()
    shared(stage)
    made = stage.promise("S", "AB1")
    text = qr(Action.RESERVATION, object=made, room="S")
    stage.shows(text)
    brings(stage)
    assert [fact.of for fact in stage.recorded(facts.ReservationClosed)] == [made]
    assert stage.engine.book.rights.escrow.hub_rights("S") == 1


def test_a_promise_taken_back_or_over_is_none() -> None:
    stage = synced()
    shared(stage)
    made = stage.promise("S", "AB1")
    stage.engine.book.rights.escrow.promises[made].cancelled = True
    stage.shows(qr(Action.RESERVATION, object=made, room="S"))
    assert refusal(stage) == "capability.revoked"
    stage.hub(facts.ReservationCancelled(of=made, by="ada"))
    stage.shows(qr(Action.RESERVATION, object=made, room="S"))
    assert refusal(stage) == "capability.used"


# --- a technician, an installer ---------------------------------------------------------------


def technician(stage: Stage, door: str = "2") -> None:
    stage.shows(qr(Action.SERVICE))
    stage.press(Button.DOOR, door)


def test_a_technician_looks_tries_and_takes_out_of_service() -> None:
    stage = synced()
    for wrong in ("99", "", "x", "٣", "999999"):
        technician(stage, wrong)
        assert (stage.screen().name, stage.screen().why) == ("service.menu", "door.unknown")
    technician(stage)
    assert (stage.screen().name, stage.screen().door) == ("service.door", 2)
    stage.press(Button.DOOR, "1")  # not from here
    assert stage.screen().door == 2
    stage.press(Button.DISABLE)
    assert stage.box(2).disabled == "service.asked"
    assert stage.screen().why == "service.disabled"
    stage.press(Button.TEST)
    assert stage.screen().name == "service.opening"
    door = stage.opens()
    assert (door, stage.screen().name) == (2, "service.open")
    stage.shut(door, occupied=False)
    assert (stage.screen().name, stage.screen().why) == ("service.door", "service.tested")
    stage.press(Button.EMPTY)
    assert stage.screen().why == "service.checked"
    stage.press(Button.OCCUPIED)
    assert stage.screen().why == "check.contradicted"
    stage.press(Button.ENABLE)
    assert (stage.box(2).disabled, stage.screen().why) == ("", "service.enabled")
    by = ref_of(stage, facts.CapabilityAccepted)
    for kind in (facts.CompartmentChecked, facts.CompartmentDisabled, facts.CompartmentEnabled):
        assert stage.recorded(kind)[-1].by == by
    assert stage.recorded(facts.OpenIntended)[-1].by == by
    stage.press(Button.HELP)
    stage.press(Button.HOME)
    assert stage.screen().name == "service.menu"
    stage.press(Button.HOME)
    stage.press(Button.EMPTY)
    assert stage.screen().name == "welcome"


def test_a_technician_never_opens_a_compartment_with_a_parcel() -> None:
    stage = synced()
    door = stage.deposit()
    stage.home()
    before = len(stage.pulses())
    technician(stage, str(door))
    for button in (Button.TEST, Button.DISABLE, Button.TEST):
        stage.press(button)
    assert stage.screen().why == "service.occupied"
    stage.occupancy(4, occupied=True)
    stage.press(Button.NEXT)
    stage.press(Button.DOOR, "4")
    stage.press(Button.TEST)
    assert stage.screen().why == "service.occupied"
    assert len(stage.pulses()) == before


def test_a_technician_waits_for_a_fence_a_board_and_their_own_end() -> None:
    stage = synced()
    technician(stage)
    stage.send(BoardSilent(now=stage.now, board="relays", doors=(2,)))
    stage.press(Button.TEST)
    assert stage.screen().why == "door.silent"
    stage.door(2, is_open=True)
    stage.press(Button.EMPTY)
    assert stage.screen().why == "door.busy"
    stage.wall += DAY
    stage.press(Button.TEST)
    assert refusal(stage) == "staff.expired"

    stage = synced()
    stage.next_epoch(fence="restored")
    stage.trusts()
    for door in (1, 2, 3, 4):
        stage.door(door, is_open=False)
    technician(stage)
    stage.press(Button.TEST)
    assert stage.screen().why == "door.fenced"

    stage = synced()
    technician(stage)
    stage.hub(facts.CompartmentDisabled(door=2, by="x", why="w"), critical=True)
    stage.press(Button.TEST)
    assert stage.screen().why == "door.cautious"


def test_a_technicians_session_ends_when_they_are_denied() -> None:
    stage = synced()
    technician(stage)
    stage.trusts("0000000000000001")
    assert refusal(stage) == "capability.revoked"
    stage.press(Button.TEST)
    assert stage.pulses() == []


def test_an_installer_opens_the_window_each_time_it_is_durable() -> None:
    stage = synced()
    stage.slow_disk = True
    stage.shows(qr(Action.INSTALL))
    assert not [one for one in stage.outputs if isinstance(one, PairingOpened)]
    stage.flush()
    stage.slow_disk = False
    stage.shows(qr(Action.INSTALL))
    by = ref_of(stage, facts.CapabilityAccepted)
    assert [one for one in stage.outputs if isinstance(one, PairingOpened)] == [
        PairingOpened("main", by)
    ] * 2
    assert stage.screen().name == "service.pairing"


def test_whoever_pairs_has_time_to_compare_six_words_and_type_seventeen_letters() -> None:
    stage = synced()
    stage.shows(qr(Action.INSTALL))
    stage.after(4 * 60_000)
    assert stage.screen().name == "service.pairing", "a phone is slower than a keypad"
    stage.after(2 * 60_000)
    assert stage.screen().name == "welcome", "the code is nobody's who comes later"


# --- dual control -----------------------------------------------------------------------------


def wishes(stage: Stage, second: str = "", count: int = 4) -> list[str]:
    until = stage.now.wall_ms + 3_600_000
    before = len(stage.recorded(facts.RequestDeclined))
    for door in range(1, count + 1):
        stage.hub(
            facts.OpenRequested(
                door=door, by="ada", why="w", case="c", until_ms=until, second=second
            )
        )
    return [fact.why for fact in stage.recorded(facts.RequestDeclined)[before:]]


def test_more_doors_than_one_may_open_need_a_second_account_that_is_another() -> None:
    assert wishes(synced()) == ["support.rate"]
    assert wishes(synced(), "ada") == ["support.rate"]
    assert wishes(synced(), "eve") == []


@pytest.mark.parametrize("action", [Action.SERVICE, Action.INSTALL])
def test_somebody_on_site_is_a_second_person_for_five_minutes(action: Action) -> None:
    stage = synced()
    stage.shows(qr(action))
    assert wishes(stage) == []
    stage = synced()
    stage.shows(qr(action))
    stage.after(300_001)
    assert wishes(stage) == ["support.rate"]


def test_who_opens_a_door_at_this_machine_is_on_site() -> None:
    stage = synced()
    asked = SupportOpens(now=stage.now, token="s", by="eve", door=4, reason="r", case="c")
    stage.send(asked)
    assert wishes(stage, count=3) == []
    assert isinstance(stage.last(Answer), Answer)


def test_occupied_doors_stay_capped_whoever_agrees() -> None:
    stage = synced(replace(SETTINGS, occupied_per_hour=1))
    stage.deposit("AB1")
    stage.deposit("AB2")
    assert wishes(stage, "eve", 2) == ["support.occupied"]


# --- in between -------------------------------------------------------------------------------


def test_of_two_signers_the_one_who_signed_is_on_record() -> None:
    stage = synced()
    stage.trusts(signers=(OTHER.verifier, GRANTS.verifier))
    stage.shows(qr(Action.SERVICE))
    kid = hashlib.sha256(GRANTS.verifier.public).digest()[:4].hex()
    assert accepted(stage)[0].kid == kid


def test_one_refusal_alone_is_written_once() -> None:
    stage = synced()
    stage.shows("PLG1:")
    stage.after(60_000)
    assert [fact.count for fact in stage.recorded(facts.CapabilityRefused)] == [1]


def test_a_fence_in_the_middle_of_a_delivery_gives_nothing() -> None:
    stage = synced()
    stage.shows(qr(Action.COURIER, subject="acme"))
    stage.scan()
    stage.send(FenceRaised(now=stage.now, why="peer.ahead"))
    stage.press(Button.SIZE, "S")
    assert (stage.screen().name, stage.screen().why) == ("deliver.scan", "site.fenced")
    assert stage.pulses() == []


def test_a_promise_taken_back_in_the_middle_leaves_what_the_site_may_give() -> None:
    stage = synced()
    shared(stage)
    made = stage.promise("S", "AB1")
    stage.shows(qr(Action.RESERVATION, object=made, room="S", subject="acme"))
    stage.hub(facts.ReservationCancelled(of=made, by="ada"))
    stage.scan("AB1")
    assert refusal(stage) == "capability.no_room"  # its right is the hub's again
    assert stage.pulses() == []


def test_an_older_key_names_a_parcel_as_well() -> None:
    older = CodeKey(KEY.site, 0, bytes(range(32, 64)))
    stage = synced(replace(SETTINGS, older_keys=(older,)))
    tag = b64encode(parcel_tag(older.key, older.site, "acme/AB1/1")).decode()
    named = stage.hub(facts.ParcelExpected(tag=tag, key_version=0))[0]
    stage.deposit("AB1")
    stage.home()
    stage.shows(qr(Action.COLLECT, object=named))
    assert stage.screen().name == "collect.opening"


def test_a_technician_who_is_denied_may_still_close_the_door_they_have_open() -> None:
    stage = synced()
    technician(stage)
    stage.press(Button.HELP)
    stage.press(Button.EMPTY)  # nothing to say it of on this screen
    assert not stage.recorded(facts.CompartmentChecked)
    stage.press(Button.HOME)
    stage.press(Button.DOOR, "2")
    stage.press(Button.TEST)
    door = stage.opens()
    stage.trusts("0000000000000001")
    assert stage.screen().name == "service.open"
    stage.shut(door, occupied=False)
    stage.press(Button.TEST)
    assert len(stage.pulses()) == 1


def test_the_map_of_the_stage_is_what_these_tests_think() -> None:
    assert {number: door.size for number, door in small_map().doors.items()} == {
        1: "S", 2: "S", 3: "M", 4: "L",
    }  # fmt: skip
    assert TRACKING
