"""What a capability cannot do for long: flood the log, outlast its end, end a parcel."""

from dataclasses import replace

from certs.capability import Action
from gateway.core.inputs import Button, ClockAnchored, Trust
from sync import facts
from tests.stage import SETTINGS, Stage, qr, small_map

DAY = 86_400_000


def synced(*, sensors: bool = True) -> Stage:
    stage = Stage(trust=Trust.SYNCED, error_ms=50, map=small_map(sensors=sensors))
    stage.trusts()
    return stage


def test_a_flood_for_hours_is_one_entry_a_minute() -> None:
    stage = synced()
    for _ in range(600):
        stage.shows("PLG1:A")
        stage.after(12_000)
    written = stage.recorded(facts.CapabilityRefused)
    assert len(written) <= 121
    assert sum(fact.count for fact in written) + stage.engine.state.unscanned == 600


def test_a_courier_whose_time_is_over_at_a_kept_screen_opens_nothing_more() -> None:
    stage = synced()
    stage.shows(qr(Action.COURIER, subject="acme", within_s=120))
    stage.scan()
    for _ in range(3):
        stage.after(60_000)
        stage.press(Button.STAY)
    assert stage.screen().name == "deliver.size"
    stage.press(Button.SIZE, "S")
    assert stage.pulses() == []
    assert (stage.screen().name, stage.screen().why) == ("deliver.scan", "staff.expired")


def test_a_clock_that_is_wrong_for_a_moment_locks_nobody_out() -> None:
    """One anchor ten years ahead forgot a courier's right, and every other that ends before it."""
    stage = synced()
    stage.send(ClockAnchored(now=stage.now, source="clock.synced"))
    stage.shows(qr(Action.COURIER, subject="acme", within_s=300 * 86_400))
    stage.home()
    stage.wall += 3_650 * DAY
    stage.send(ClockAnchored(now=stage.now, source="clock.synced"))
    stage.wall -= 3_650 * DAY
    stage.send(ClockAnchored(now=stage.now, source="clock.synced"))
    stage.shows(qr(Action.COURIER, cti=2, subject="acme"))
    assert stage.screen().name == "deliver.scan"


def test_a_right_that_was_forgotten_in_the_middle_gives_nothing() -> None:
    stage = synced()
    stage.shows(qr(Action.COURIER, subject="acme"))
    stage.scan()
    stage.wall += 60 * DAY
    for _ in range(2):
        stage.send(ClockAnchored(now=stage.now, source="clock.synced"))
    stage.wall -= 60 * DAY
    stage.press(Button.SIZE, "S")
    assert stage.pulses() == []
    assert stage.screen().why == "staff.revoked"


def test_a_technicians_word_ends_no_parcel() -> None:
    """With no sensor to object, *empty* would free the door of a parcel, and a test open it."""
    stage = synced(sensors=False)
    door = stage.deposit()
    stage.home()
    before = len(stage.pulses())
    stage.shows(qr(Action.SERVICE))
    stage.press(Button.DOOR, str(door))
    for button in (Button.EMPTY, Button.TEST, Button.DISABLE, Button.EMPTY, Button.TEST):
        stage.press(button)
    assert stage.screen().why == "service.occupied"
    assert stage.engine.book.parcels
    assert len(stage.pulses()) == before
    assert not stage.recorded(facts.CompartmentChecked)
    stage.home()
    stage.press(Button.COLLECT)
    stage.enter(stage.code())
    assert stage.screen().name == "collect.opening"


def test_a_hub_that_names_another_account_each_time_opens_no_more_parcels() -> None:
    """Who asks, and who agrees, is the hub's word: a stolen one has as many names as it wants."""
    stage = Stage(trust=Trust.SYNCED, error_ms=50, settings=replace(SETTINGS, occupied_per_hour=1))
    for number in range(3):
        stage.deposit(f"AB{number}")
    for door in stage.engine.book.compartments:
        until = stage.now.wall_ms + 3_600_000
        stage.hub(
            facts.OpenRequested(
                door=door, by=f"a{door}", why="w", case="c", until_ms=until, second=f"b{door}"
            )
        )
    (declined,) = stage.recorded(facts.RequestDeclined)
    assert declined.why == "support.occupied"
    stage.after(3_600_000)
    stage.hub(
        facts.OpenRequested(
            door=stage.engine.book.live()[2].door, by="ada", why="w", case="c",
            until_ms=stage.now.wall_ms + 3_600_000,
        )
    )  # fmt: skip
    assert len(stage.recorded(facts.RequestDeclined)) == 1
    assert sorted(stage.engine.state.occupied_times) == ["support", "support:ada"]
