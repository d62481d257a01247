"""Local commands: who may deliver, support opening doors, service, the map, and erasure."""

import pytest

from gateway.core.inputs import (
    AnnexEraseAsked,
    BoardSilent,
    Button,
    Command,
    CourierAdded,
    CourierRemoved,
    EpochBegun,
    MapImported,
    ServiceSet,
    SupportChecked,
    SupportOpens,
    Trouble,
)
from gateway.core.outputs import Answer, Erase, Persist, Pulse
from sync import facts
from sync.custody import Custody
from sync.sitemap import DoorItem, SiteMap
from tests.stage import Stage, small_map


def held() -> tuple[Stage, int]:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    stage.outputs.clear()
    stage.facts.clear()
    return stage, door


def ask(stage: Stage, kind: type[Command], **more: object) -> Answer:
    asked = kind(now=stage.now, token="t", by="ada", **more)
    stage.send(asked)
    answer: Answer = stage.last(Answer)
    return answer


def support(stage: Stage, door: int) -> None:
    stage.send(
        SupportOpens(now=stage.now, token="s", by="ada", door=door, reason="stuck", case="C7")
    )


# --- the beginning ----------------------------------------------------------------------------


def test_a_log_begins_once() -> None:
    stage = Stage()
    assert ask(stage, EpochBegun, site="site/0042").code == "site.exists"
    assert len(stage.recorded(facts.EpochOpened)) == 1


def test_without_a_map_the_kiosk_says_so() -> None:
    stage = Stage(map=SiteMap())
    stage.enter("123")
    assert stage.screen().why == "site.no_map"


def test_an_unknown_kiosk_is_nobody() -> None:
    assert Stage().enter("123", kiosk="elsewhere") == []


def test_a_map_needs_doors() -> None:
    assert ask(Stage(), MapImported, map=SiteMap()).code == "map.size"


def test_a_door_that_holds_something_stays_in_the_map() -> None:
    stage, door = held()
    doors = {number: item for number, item in stage.map.doors.items() if number != door}
    answer = ask(stage, MapImported, map=replace_doors(stage.map, doors))
    assert (answer.code, dict(answer.evidence)) == ("map.in_use", {"door": door})
    doors = {number: item for number, item in stage.map.doors.items() if number != 4}
    assert ask(stage, MapImported, map=replace_doors(stage.map, doors)).code == ""
    assert set(stage.engine.state.book.map.doors) == {1, 2, 3}


def replace_doors(site: SiteMap, doors: dict[int, DoorItem]) -> SiteMap:
    return SiteMap(boards=site.boards, doors=doors)


@pytest.mark.parametrize(
    "broken",
    [
        {"number": 9},
        {"rail": "x" * 5000},
        {"rail": "x" * 3000},
        {"pulse_ms": 2**60},
    ],
)
def test_a_map_that_no_entry_can_hold_is_refused(broken: dict[str, object]) -> None:
    stage = Stage()
    site = small_map()
    raw = {name: getattr(site.doors[1], name) for name in site.doors[1].__struct_fields__}
    door = type(site.doors[1])(**(raw | broken))
    before = len(stage.facts)
    asked = replace_doors(site, dict(site.doors) | {1: door})
    assert ask(stage, MapImported, map=asked).code == "map.malformed"
    assert len(stage.facts) == before


@pytest.mark.parametrize("reason", ["x" * 201, "bell\a", "\ud800", "two\nlines"])
def test_text_that_no_entry_should_hold_is_refused_and_nothing_opens(reason: str) -> None:
    stage, door = held()
    answer = ask(stage, SupportOpens, door=door, reason=reason, case="C7")
    assert (answer.code, dict(answer.evidence)) == ("command.malformed", {"field": "reason"})
    assert not stage.pulses()


def test_the_longest_texts_fit_an_entry() -> None:
    stage, door = held()
    stage.send(
        SupportOpens(
            now=stage.now, token="t", by="ж" * 200, door=door, reason="ж" * 200, case="ж" * 200
        )
    )
    assert stage.last(Pulse).door == door


def test_a_command_of_another_version_is_answered() -> None:
    assert ask(Stage(), Command).code == "command.unknown"


# --- couriers ---------------------------------------------------------------------------------


def test_two_couriers_never_share_a_secret() -> None:
    stage = Stage()
    tag = stage.engine.state.book.couriers[stage.courier].tag
    assert ask(stage, CourierAdded, tenant="b", label="v", tag=tag).code == "courier.secret_taken"


def test_a_tenant_that_could_name_no_parcel_is_refused() -> None:
    answer = ask(Stage(), CourierAdded, tenant="Acme Ltd", label="v", tag="x")
    assert answer.code == "courier.tenant"


def test_a_removed_courier_is_out_at_once_and_stays_out() -> None:
    stage = Stage()
    stage.login()
    stage.scan()
    assert ask(stage, CourierRemoved, grant=stage.courier).code == ""
    stage.press(Button.SIZE, "S")
    assert not stage.pulses()
    stage.login()
    assert stage.screen().why == "staff.revoked"
    assert ask(stage, CourierRemoved, grant=stage.courier).code == "courier.unknown"
    assert ask(stage, CourierRemoved, grant="e1-00000001:sc999").code == "courier.unknown"


def test_a_session_of_another_courier_goes_on() -> None:
    stage = Stage()
    other = ask(stage, CourierAdded, tenant="b", label="v", tag="other").ref
    stage.login()
    ask(stage, CourierRemoved, grant=other)
    assert stage.engine.state.sessions["main"].courier == stage.courier


def test_a_right_that_ends_before_its_pulse_left_opens_nothing() -> None:
    stage = Stage()
    stage.login()
    stage.scan()
    stage.slow_disk = True
    stage.press(Button.SIZE, "S")
    stage.send(CourierRemoved(now=stage.now, token="t", by="ada", grant=stage.courier))
    stage.flush()
    stage.flush()
    assert not stage.pulses()
    assert stage.recorded(facts.OpenEnded)[0].why == "staff.revoked"
    assert stage.box(1).custody is Custody.FREE


def test_a_right_that_ends_between_two_pulses_gets_no_second() -> None:
    stage = Stage()
    stage.login()
    stage.scan()
    stage.press(Button.SIZE, "S")
    stage.pulse_done()
    ask(stage, CourierRemoved, grant=stage.courier)
    stage.after(3_000)
    assert len(stage.pulses()) == 1
    assert not stage.box(1).disabled


# --- support ----------------------------------------------------------------------------------


def test_support_opens_a_door_for_a_reason_and_is_told_when_it_is_open() -> None:
    stage, door = held()
    support(stage, door)
    assert not [output for output in stage.outputs if isinstance(output, Answer)]
    stage.opens()
    assert stage.last(Answer).code == ""
    intent = stage.recorded(facts.OpenIntended)[0]
    assert (intent.by, intent.case) == ("support:ada", "C7: stuck")


@pytest.mark.parametrize(
    ("occupied", "custody", "kind"),
    [
        (True, Custody.HELD, facts.ParcelLeft),
        (False, Custody.FREE, facts.ParcelCollected),
        (None, Custody.DOUBT, facts.CompartmentDoubted),
    ],
)
def test_what_support_leaves_behind_is_judged_by_the_sensor(
    occupied: bool | None, custody: Custody, kind: type[facts.Fact]
) -> None:
    stage = Stage(map=small_map(sensors=occupied is not None))
    door = stage.deposit()
    stage.home()
    stage.facts.clear()
    support(stage, door)
    stage.opens()
    stage.shut(door, occupied=occupied)
    assert stage.recorded(kind)
    assert stage.box(door).custody is custody


def test_support_in_an_empty_compartment_leaves_it_free() -> None:
    stage = Stage()
    support(stage, 3)
    stage.opens()
    stage.shut(3, occupied=False)
    assert stage.box(3).custody is Custody.FREE
    assert not stage.engine.state.openings


def test_support_opens_few_doors_a_minute() -> None:
    stage = Stage()
    for door in (1, 2, 3):
        support(stage, door)
    support(stage, 4)
    assert stage.last(Answer).code == "support.rate"
    stage.after(60_000)
    support(stage, 4)
    assert stage.last(Pulse).door == 4


def test_support_cannot_open_what_is_not_there_busy_or_silent() -> None:
    stage = Stage()
    support(stage, 77)
    assert stage.last(Answer).code == "door.unknown"
    support(stage, 1)
    support(stage, 1)
    assert stage.last(Answer).code == "door.busy"
    stage.send(BoardSilent(now=stage.now, board="doors", doors=(3,)))
    support(stage, 3)
    assert stage.last(Answer).code == "door.silent"
    assert len(stage.pulses()) == 1


def test_support_waits_while_a_courier_is_asked_about_a_compartment() -> None:
    stage = Stage(map=small_map(sensors=False))
    stage.login()
    stage.scan()
    stage.press(Button.SIZE, "S")
    door = stage.opens()
    stage.shut(door, occupied=None)
    support(stage, door)
    assert stage.last(Answer).code == "door.busy"


def test_support_is_told_when_a_door_does_not_open() -> None:
    stage, door = held()
    support(stage, door)
    stage.pulse_done("not_sent", "bus.down")
    assert stage.last(Answer).code == "bus.down"


def test_the_word_of_a_person_settles_doubt_unless_the_sensor_disagrees() -> None:
    stage, door = held()
    stage.door(door, is_open=True)
    assert ask(stage, SupportChecked, door=door, occupied=True).code == "door.busy"
    stage.shut(door, occupied=True)
    assert stage.box(door).custody is Custody.DOUBT
    assert ask(stage, SupportChecked, door=door, occupied=False).code == "check.contradicted"
    assert ask(stage, SupportChecked, door=77, occupied=False).code == "door.unknown"
    assert ask(stage, SupportChecked, door=door, occupied=True).code == ""
    assert stage.box(door).custody is Custody.HELD
    assert not stage.engine.state.book.standing("door.forced", door)
    stage.enter(stage.code())
    assert stage.last(Pulse).door == door


def test_a_compartment_out_of_service_is_given_to_nobody_but_still_gives_back() -> None:
    stage, door = held()
    assert ask(stage, ServiceSet, door=door, enabled=False, reason="hinge").code == ""
    assert ask(stage, ServiceSet, door=2, enabled=False, reason="hinge").code == ""
    assert ask(stage, ServiceSet, door=77, enabled=False, reason="hinge").code == "door.unknown"
    stage.login()
    stage.scan("AB1")
    assert dict(stage.screen().sizes)["S"] == 0
    stage.home()
    stage.enter(stage.code())
    assert stage.last(Pulse).door == door


def test_back_in_service_ends_the_alarm_of_a_stuck_door() -> None:
    stage, door = held()
    stage.enter(stage.code())
    for _ in range(3):
        stage.pulse_done()
        stage.after(3_000)
    assert stage.engine.state.book.standing("door.stuck", door)
    ask(stage, ServiceSet, door=door, enabled=True, reason="mended")
    assert not stage.engine.state.book.standing("door.stuck", door)
    assert stage.box(door).disabled == ""


# --- erasure ----------------------------------------------------------------------------------


def gone() -> tuple[Stage, str, str]:
    """A parcel that was collected, with the references of its intent and of itself."""
    stage, door = held()
    parcel = stage.engine.state.book.parcel_in(door)
    assert parcel is not None
    intent = next(iter(stage.engine.state.book.holders.values()))[0]
    stage.enter(stage.code())
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(60_000)
    return stage, intent, parcel.ref


def test_what_names_a_parcel_is_erased_from_every_entry_that_has_it() -> None:
    stage, intent, parcel = gone()
    answer = ask(stage, AnnexEraseAsked, ref=parcel)
    assert dict(answer.evidence) == {"entries": 2}
    assert [fact.of for fact in stage.recorded(facts.AnnexErased)] == [intent, parcel]
    assert stage.last(Persist).erase == (Erase(intent), Erase(parcel))
    assert ask(stage, AnnexEraseAsked, ref=parcel).code == "annex.unknown"
    stage.outputs.clear()
    stage.enter(stage.code())
    assert not stage.pulses()


def test_an_erased_parcels_code_is_still_known_as_used_and_costs_no_guess() -> None:
    stage, _, parcel = gone()
    ask(stage, AnnexEraseAsked, ref=parcel)
    stage.restart()  # what was derived from its identity is forgotten
    stage.see_all()
    for code in (stage.code(), stage.code(long=True)):
        stage.after(60_000)
        stage.enter(code)
        assert stage.screen().why == "code.retired"
    assert not any(fact.charged for fact in stage.recorded(facts.CodeRefused))


def test_nothing_of_a_live_parcel_is_erased_by_any_of_its_references() -> None:
    stage, door = held()
    for ref in next(iter(stage.engine.state.book.holders.values())):
        assert ask(stage, AnnexEraseAsked, ref=ref).code == "annex.live"
    stage.enter(stage.code())
    assert stage.last(Pulse).door == door


def test_the_annex_of_an_unfinished_deposit_stays() -> None:
    stage = Stage()
    stage.login()
    stage.scan()
    stage.press(Button.SIZE, "S")
    ref = stage.last(Pulse).intent
    assert ask(stage, AnnexEraseAsked, ref=ref).code == "annex.live"
    stage.opens()
    stage.restart()
    stage.see_all(occupied=(1,))
    stage.after(1_000)
    assert stage.box(1).custody is Custody.HELD


def test_with_the_last_of_the_disk_nothing_new_is_begun() -> None:
    stage, door = held()
    stage.send(Trouble(now=stage.now, alarm="disk.low"))
    stage.enter(stage.code())
    assert stage.screen().why == "log.full"
    assert ask(stage, SupportOpens, door=door, reason="r", case="c").code == "log.full"
    assert not stage.pulses()
    stage.send(Trouble(now=stage.now, alarm="disk.low", standing=False))
    stage.enter(stage.code())
    assert stage.last(Pulse).door == door
