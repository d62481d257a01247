"""Typed digits: what is charged, what is not, the step-up, and secrets of couriers."""

from base64 import b64encode
from dataclasses import replace

import pytest

from gateway.core import keypad, policy
from gateway.core.inputs import Button, CourierRemoved, StaffCodeEntered
from gateway.core.outputs import Pulse
from sync import facts
from sync.codes import CodeKey, check_digit_fits, staff_secret, staff_tag
from sync.custody import Custody
from sync.sitemap import DoorItem, SiteMap
from tests.stage import KEY, SECRET, SETTINGS, TRACKING, Stage, small_map


def held() -> tuple[Stage, int]:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    stage.outputs.clear()
    stage.facts.clear()
    return stage, door


def wrong(number: int, digits: int = 8) -> str:
    """A well-formed code of this site that matches nothing."""
    body = f"{number:0{digits}d}"
    return next(
        body + str(last) for last in range(10) if check_digit_fits(body + str(last), KEY.site)
    )


def tokens(stage: Stage) -> int:
    return policy.tokens(stage.engine.state.book, stage.now.at)


def empty_the_bucket(stage: Stage) -> None:
    number = 0
    while tokens(stage):
        stage.enter(wrong(number))
        number += 1
    assert number == policy.TOKENS


# --- charged and not --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "typed", ["", "1", "12345678", "1234567890", "12345678a", "١٢٣٤٥٦٧٨٩", "1" * 65, "-- --"]
)
def test_what_cannot_be_a_code_costs_nothing(typed: str) -> None:
    stage, _ = held()
    stage.enter(typed)
    assert stage.screen().why == "code.length"
    assert tokens(stage) == policy.TOKENS


def test_a_wrong_check_digit_costs_nothing() -> None:
    stage, _ = held()
    for code in (stage.code(), stage.code(long=True)):
        stage.enter(code[:-1] + str((int(code[-1]) + 1) % 10))
        assert stage.screen().why == "code.check_digit"
    assert tokens(stage) == policy.TOKENS


def test_a_well_formed_miss_costs_a_token_before_its_answer_is_shown() -> None:
    stage, _ = held()
    stage.slow_disk = True
    stage.enter(wrong(1))
    assert stage.screen().name == "collect.checking"
    assert tokens(stage) == policy.TOKENS - 1
    stage.flush()
    assert stage.screen().why == "code.unknown"
    refused = stage.recorded(facts.CodeRefused)[0]
    assert (refused.charged, refused.form, refused.level_ms) == (
        True, "short", policy.FULL_MS - policy.REFILL_MS,
    )  # fmt: skip


def test_a_right_code_refills_nothing() -> None:
    stage, _ = held()
    stage.enter(wrong(1))
    stage.enter(stage.code())
    assert tokens(stage) == policy.TOKENS - 1


def test_a_used_code_costs_nothing() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(60_000)
    stage.enter(stage.code())
    assert stage.screen().why == "code.retired"
    assert tokens(stage) == policy.TOKENS


def test_refusals_that_cost_nothing_are_counted_together() -> None:
    stage, _ = held()
    for _ in range(5):
        stage.enter("1")
    assert [fact.count for fact in stage.recorded(facts.CodeRefused)] == [1]
    stage.after(60_000)
    assert [fact.count for fact in stage.recorded(facts.CodeRefused)] == [1, 4]
    stage.after(120_000)
    stage.enter("1")
    stage.after(120_000)
    assert [fact.count for fact in stage.recorded(facts.CodeRefused)] == [1, 4, 1]


# --- the bucket -------------------------------------------------------------------------------


def test_with_an_empty_bucket_short_codes_are_not_looked_at() -> None:
    stage, _ = held()
    empty_the_bucket(stage)
    stage.enter(stage.code())
    assert stage.screen().why == "code.long_needed"
    assert not stage.pulses()


def test_with_an_empty_bucket_the_long_form_opens() -> None:
    stage, door = held()
    empty_the_bucket(stage)
    stage.after(10_000)
    stage.enter(stage.code(long=True))
    assert stage.last(Pulse).door == door


def test_with_an_empty_bucket_long_forms_come_one_in_ten_seconds_all_keypads_together() -> None:
    stage = Stage(settings=replace(SETTINGS, kiosks=("main", "left")))
    stage.deposit()
    stage.home()
    stage.outputs.clear()
    empty_the_bucket(stage)
    stage.after(10_000)
    stage.enter(wrong(7, 15))
    assert stage.screen().why == "code.unknown"
    assert tokens(stage) == 0
    stage.after(9_000)
    stage.enter(stage.code(long=True), kiosk="left")
    assert (stage.screen("left").why, stage.screen("left").count) == ("code.wait", 1)
    stage.after(1_000)
    stage.enter(stage.code(long=True), kiosk="left")
    assert len(stage.pulses()) == 1


def test_a_wrong_long_form_spends_a_token_while_there_is_one() -> None:
    stage, _ = held()
    stage.enter(wrong(7, 15))
    assert tokens(stage) == policy.TOKENS - 1
    assert stage.recorded(facts.CodeRefused)[0].form == "long"


def test_after_a_start_the_long_form_waits_ten_seconds_too() -> None:
    stage, _ = held()
    empty_the_bucket(stage)
    stage.restart()
    stage.see_all(occupied=(1,))
    stage.enter(stage.code(long=True))
    assert stage.screen().why == "code.wait"


def test_one_token_comes_back_in_72_hours_of_witnessed_time() -> None:
    stage, _ = held()
    empty_the_bucket(stage)
    stage.mono += policy.REFILL_MS - 1
    assert tokens(stage) == 0
    stage.mono += 1
    assert tokens(stage) == 1
    stage.mono += 100 * policy.REFILL_MS
    assert tokens(stage) == policy.TOKENS


def test_time_that_no_entry_witnessed_before_a_crash_is_lost() -> None:
    stage, _ = held()
    empty_the_bucket(stage)
    stage.mono += policy.REFILL_MS
    stage.restart(off_ms=100 * policy.REFILL_MS)  # the wall clock says that a year has passed
    assert tokens(stage) == 0
    stage.enter("1")
    stage.mono += policy.REFILL_MS
    stage.enter("1")
    stage.after(60_000)
    stage.restart()
    assert tokens(stage) == 1


# --- which parcel -----------------------------------------------------------------------------


def test_live_beats_retired_and_the_own_count_beats_the_reissue() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(60_000)
    again = stage.deposit()
    stage.home()
    stage.enter(stage.code(counter=1))
    assert stage.last(Pulse).door == again
    stage.outputs.clear()
    stage.enter(stage.code(counter=0))
    assert stage.screen().why == "code.retired"


def test_a_code_of_another_key_version_is_unknown() -> None:
    stage, _ = held()
    stage.settings = replace(SETTINGS, code_key=CodeKey(KEY.site, 2, KEY.key))
    stage.restart()
    stage.see_all(occupied=(1,))
    stage.enter(stage.code())
    assert stage.screen().why == "code.unknown"


def test_a_retired_code_is_known_again_after_a_restart_and_forgotten_with_its_record() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(60_000)
    stage.restart()
    stage.see_all()
    for code in (stage.code(), stage.code(long=True)):
        stage.enter(code)
        assert stage.screen().why == "code.retired"
    stage.engine.state.book.retired.clear()
    stage.enter(stage.code())
    assert stage.screen().why == "code.unknown"
    assert stage.engine.state.retired_tags == {}


def test_a_claimed_parcel_of_an_earlier_boot_can_be_asked_for_from_the_start() -> None:
    stage = Stage(map=small_map(sensors=False))
    door = stage.deposit()
    stage.home()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=None)
    stage.after(60_000)
    assert stage.box(door).custody is Custody.CLAIMED
    stage.restart()
    stage.see_all()
    stage.after(899_000)
    stage.enter(stage.code())
    assert stage.last(Pulse).door == door


def test_lengths_of_parcels_from_before_the_bank_grew_are_still_accepted() -> None:
    stage, door = held()
    many = {
        number: DoorItem(number=number, size="S", rail="r", lock="relays:1", switch="doors:1")
        for number in range(5, 40)
    }
    site = small_map()
    stage.engine.state.book.holdings.map = SiteMap(
        boards=site.boards, doors=dict(site.doors) | many
    )
    assert keypad.digits(stage.engine.state) == 9
    stage.enter(stage.code())
    assert stage.last(Pulse).door == door
    stage.enter(wrong(1, 9))
    assert stage.screen().why == "code.unknown"


def test_a_new_code_never_equals_a_live_one(monkeypatch: pytest.MonkeyPatch) -> None:
    stage, _ = held()
    state = stage.engine.state
    live = stage.code()

    class Colliding:
        def __init__(self, counter: int) -> None:
            self.counter = counter

        def short(self, digits: int) -> str:
            return live if self.counter < 2 else f"other{digits}"

    monkeypatch.setattr(CodeKey, "code", lambda _, __, counter: Colliding(counter))
    assert keypad.next_counter(state, "acme/AB1/1", "tag") == 2
    for parcel in state.book.parcels.values():
        parcel.identity = None
    assert keypad.next_counter(state, "acme/AB1/1", "tag") == 0


def test_an_erased_parcel_cannot_be_asked_for() -> None:
    stage, _ = held()
    for parcel in stage.engine.state.book.parcels.values():
        parcel.identity = None
    stage.enter(stage.code())
    assert stage.screen().why == "code.unknown"


# --- couriers ---------------------------------------------------------------------------------


def staff(stage: Stage, digits: str) -> None:
    stage.send(StaffCodeEntered(now=stage.now, kiosk="main", digits=digits))


def test_a_secret_with_dashes_is_a_secret() -> None:
    stage = Stage()
    staff(stage, "-".join(SECRET[place : place + 4] for place in range(0, 16, 4)))
    assert stage.screen().name == "deliver.scan"


def test_a_mistyped_secret_costs_no_time() -> None:
    stage = Stage()
    staff(stage, "12")
    assert (stage.screen().name, stage.screen().why) == ("deliver.enter", "staff.length")
    staff(stage, SECRET[:-1] + str((int(SECRET[-1]) + 1) % 10))
    assert stage.screen().why == "staff.check_digit"
    staff(stage, SECRET)
    assert stage.screen().name == "deliver.scan"


def test_a_wrong_secret_makes_everybody_wait_ten_seconds() -> None:
    stage = Stage()
    staff(stage, staff_secret(bytes(16), KEY.site))
    assert stage.screen().why == "staff.unknown"
    staff(stage, SECRET)
    assert (stage.screen().why, stage.screen().count) == ("staff.wait", 10)
    stage.after(10_000)
    staff(stage, SECRET)
    assert stage.screen().name == "deliver.scan"


def test_a_revoked_secret_is_told_so() -> None:
    stage = Stage()
    stage.send(CourierRemoved(now=stage.now, token="t", by="ada", grant=stage.courier))
    staff(stage, SECRET)
    assert stage.screen().why == "staff.revoked"


def test_the_secret_itself_is_kept_nowhere() -> None:
    stage = Stage()
    tag = b64encode(staff_tag(KEY.key, KEY.site, SECRET)).decode()
    assert [known.tag for known in stage.engine.state.book.couriers.values()] == [tag]
    staff(stage, SECRET)
    stage.enter(stage.code())
    shown = repr(stage.outputs) + repr(stage.engine.state.sessions)
    for secret in (SECRET, stage.code(), TRACKING):
        assert secret not in shown


def test_a_claimed_code_opens_nothing_while_another_parcel_may_be_there() -> None:
    """Between a courier's look and the record of what is inside (simulation, seed 42360)."""
    stage = Stage(map=small_map(sensors=False))
    doors = [stage.deposit(f"AB{number}", "S") for number in range(4)]
    stage.home()
    stage.enter(stage.code("AB0"))
    stage.opens()
    stage.shut(doors[0], occupied=None)
    stage.after(60_000 + 900_001)
    stage.login()
    stage.scan("NEXT1")
    stage.press(Button.SIZE, "S")
    stage.opens()
    stage.press(Button.YES)
    stage.shut(doors[0], occupied=None)
    stage.home()  # the courier does not say whether the parcel is in
    pulses = len(stage.pulses())
    stage.enter(stage.code("AB0"))
    assert stage.box(doors[0]).custody is Custody.DEPOSITING
    assert stage.screen().why == "code.retired"
    stage.after(stage.settings.ask_ms)
    assert stage.box(doors[0]).custody is Custody.DOUBT
    stage.enter(stage.code("AB0"))
    assert stage.screen().why == "code.retired"
    assert len(stage.pulses()) == pulses


def test_a_retired_code_of_an_older_key_is_a_code_of_nobody() -> None:
    stage, door = held()
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(60_000)
    gone = stage.engine.state.book.retired[0]
    stage.engine.state.book.retired[0] = replace(gone, key_version=2)
    stage.enter(stage.code())
    assert stage.screen().why == "code.unknown"
