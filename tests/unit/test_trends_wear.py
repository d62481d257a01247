"""Pins what a log says of wear: openings, coils, times, retries, lines; and when it warns."""

from typing import Any

import msgspec
import pytest

from gateway import wear
from gateway.bundle import TREND_DOORS
from gateway.health import LINES_BYTES_MAX, lines
from gateway.trends import (
    DAY_SAMPLES,
    INTENTS_MAX,
    LINES_MAX,
    LOCKS_MAX,
    SERIES_MAX,
    TRIES_MAX,
    WHYS_MAX,
    WINDOW,
    Trends,
)
from sync.canonical import BYTES_MAX
from sync.entry import compose
from sync.moment import Moment
from sync.sitemap import BoardItem, DoorItem, SiteMap

EPOCH = "e1-9f2c01ab"
CUSTODY, TELEMETRY, URGENT = (f"{EPOCH}:s{letter}" for letter in "ctu")


def bank(doors: int = 3) -> SiteMap:
    board = BoardItem(name="locks", line="bus", profile="waveshare-rtu-relay-8", unit=1)
    return SiteMap(
        boards={"locks": board},
        doors={
            n: DoorItem(number=n, size="M", lock=f"locks:{n}", switch=f"eyes:{n}", rail="a")
            for n in range(1, doors + 1)
        },
    )


class Log:
    """Entries as a site writes them, given to the trends one by one."""

    def __init__(self, site: SiteMap | None = None) -> None:
        self.site = bank() if site is None else site
        self.trends = Trends()
        self.at = Moment(1, 0)
        self.entries: list[tuple[str, int, bytes]] = []
        self.sizes: dict[str, int] = {}

    def say(self, kind: str, log: str = CUSTODY, **more: object) -> str:
        index = self.sizes.get(log, 0)
        self.sizes[log] = index + 1
        self.at = Moment(self.at.boot, self.at.mono_ms + 1000)
        data = compose({"kind": kind, **more}, at=self.at)
        self.entries.append((log, index, data))
        self.trends.take(log, index, data, self.site)
        return f"{log}{index}"

    def intend(self, door: int = 1, attempt: int = 1) -> str:
        return self.say("open.intended", door=door, attempt=attempt, purpose="collect", by="code")

    def end(self, of: str, outcome: str = "opened", door: int = 1, **more: object) -> None:
        self.say("open.ended", CUSTODY, of=of, outcome=outcome, door=door, **more)

    def open(self, took_ms: int = 300, door: int = 1) -> None:
        self.end(self.intend(door), door=door, took_ms=took_ms)

    def sample(self, **values: int) -> None:
        self.say("health.sampled", TELEMETRY, values=values)

    def line(self, answered: int, timeouts: int = 0, nonsense: int = 0, losses: int = 0) -> None:
        self.sample(
            line_bus_answered=answered, line_bus_timeouts=timeouts,
            line_bus_nonsense=nonsense, line_bus_link_losses=losses, log_kb=7,
        )  # fmt: skip

    def report(self, **more: Any) -> dict[str, Any]:
        return wear.report(self.trends, self.site, **more)

    def door(self, number: int = 1) -> dict[str, Any]:
        row: dict[str, Any] = self.report(only=number)["doors"][0]
        return row

    def warnings(self) -> list[tuple[str, str]]:
        return [(one["code"], one["about"]) for one in self.report()["warnings"]]


def test_nothing_happened_yet() -> None:
    told = Log().report()
    assert told["since"] == {"ref": "", "utc_ms": None, "upto": "", "whole": True}
    assert [row["door"] for row in told["doors"]] == [1, 2, 3]
    row = told["doors"][0]
    assert (row["first"], row["last"], row["trend"], row["cycles"]) == (None, None, "unknown", 0)
    assert (told["warnings"], told["commissioned"], told["lines"]) == ([], None, [])
    board = told["boards"][0]
    assert (board["board"], board["doors"], board["cycles"]) == ("locks", 0, 0)


def test_an_opening_is_a_cycle_of_its_coil_and_a_time() -> None:
    log = Log()
    log.open(312)
    log.open(330)
    row = log.door()
    assert (row["asked"], row["opened"], row["pulses"], row["cycles"]) == (2, 2, 2, 2)
    assert row["first"] == row["last"] == {"n": 2, "median_ms": 312, "p90_ms": 330}
    assert log.report()["boards"][0] == {
        "board": "locks", "line": "bus", "doors": 1, "cycles": 2, "opened": 2, "retries": 0,
        "failed": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("outcome", "why", "sent"),
    [
        ("failed", "door.no_opening", True),
        ("doubt", "door.no_opening", True),
        ("doubt", "door.unseen", True),
        ("failed", "door.late", False),
        ("failed", "board.not_ready", False),
        ("failed", "code.revoked", False),
    ],
)
def test_a_cycle_is_counted_where_the_coil_may_have_moved(
    outcome: str, why: str, sent: bool
) -> None:
    log = Log()
    log.end(log.intend(), outcome, why=why)
    row = log.door()
    assert (row["cycles"], row["pulses"], row["opened"]) == (int(sent), int(sent), 0)
    assert row["failed"] == ({why: 1} if outcome == "failed" else {})
    assert row["doubts"] == int(outcome == "doubt")


def test_a_late_opening_moved_its_coil_once() -> None:
    log = Log()
    first = log.intend()
    log.end(first, "failed", why="door.no_opening")
    log.end(first, "late", took_ms=4000)
    row = log.door()
    assert (row["opened"], row["cycles"], row["failed"]) == (1, 1, {"door.no_opening": 1})
    assert row["first"] is None, "how long it took says nothing of the lock's habit"


def test_of_a_retried_opening_only_the_retry_is_told_and_no_time() -> None:
    log = Log()
    log.end(log.intend(), "failed", why="door.no_opening")
    log.end(log.intend(attempt=2), took_ms=3300)
    row = log.door()
    assert (row["asked"], row["retries"], row["opened"], row["cycles"]) == (1, 1, 1, 2)
    assert row["first"] is None


def test_an_opening_found_after_a_restart_has_no_time() -> None:
    log = Log()
    log.end(log.intend(), why="door.found_open", took_ms=90_000)
    log.end(log.intend())
    assert log.door()["first"] is None


def test_an_outcome_whose_intent_was_pruned_still_counts_its_cycle() -> None:
    log = Log()
    log.end(f"{CUSTODY}7", took_ms=300)
    log.intend(attempt=2)
    row = log.door()
    assert (row["cycles"], row["first"], row["retries"], row["asked"]) == (1, None, 1, 0)


def test_an_outcome_that_comes_after_many_intents_is_not_forgotten_but_untimed() -> None:
    log = Log()
    first = log.intend()
    for _ in range(INTENTS_MAX):
        log.intend()
    log.end(first, took_ms=300)
    assert (log.door()["opened"], log.door()["first"]) == (1, None)


# --- slowing -----------------------------------------------------------------------------------


def habit(first_ms: int, last_ms: int, count: int = 2 * WINDOW) -> Log:
    log = Log()
    for number in range(count):
        log.open(first_ms if number < WINDOW else last_ms)
    return log


@pytest.mark.parametrize(
    ("first_ms", "last_ms", "trend"),
    [
        (400, 400, "steady"),
        (400, 649, "steady"),  # 249 ms: two looks at the door
        (500, 750, "rising"),
        (400, 650, "rising"),
        (600, 899, "steady"),  # not half again
        (600, 900, "rising"),
        (900, 400, "steady"),
    ],
)
def test_a_lock_slows_down_by_half_and_by_two_looks(
    first_ms: int, last_ms: int, trend: str
) -> None:
    log = habit(first_ms, last_ms)
    assert log.door()["trend"] == trend
    rising = [("lock.slowing", "door 1")] if trend == "rising" else []
    assert log.warnings() == rising


def test_a_trend_is_told_from_two_whole_windows_on() -> None:
    early = habit(400, 900, 2 * WINDOW - 1)
    assert (early.door()["trend"], early.warnings()) == ("unknown", [])
    told = habit(400, 900).report()["warnings"][0]
    assert told["evidence"] == {"first_ms": 400, "last_ms": 900}


def test_a_few_slow_openings_are_no_trend_but_show_in_the_ninth_decile() -> None:
    log = habit(400, 400)
    for took_ms in (2000, 2000, 2000):
        log.open(took_ms)
    row = log.door()
    assert (row["trend"], row["last"]["p90_ms"]) == ("steady", 2000)


def test_another_lock_is_compared_with_itself() -> None:
    log = habit(400, 900)
    log.say("config.set", item="door", value={"number": 1, "lock": "locks:7", "size": "M"})
    row = log.door()
    assert (row["lock"], row["cycles"], row["trend"]) == ("locks:7", 0, "unknown")
    assert row["opened"] == 2 * WINDOW, "the door is the same"
    log.open(900)
    assert log.door()["cycles"] == 1
    assert log.trends.cycles["locks:1"] == 2 * WINDOW
    log.say("config.set", item="door", value={"number": 1, "lock": "locks:7", "size": "M"})
    assert log.door()["first"]["n"] == 1, "the same lock again begins nothing anew"


def test_items_that_are_no_door_change_no_lock() -> None:
    log = habit(400, 900)
    log.say("config.set", item="setting", value={"number": 1, "lock": "locks:7"})
    log.say("config.set", item="door", value={"number": 1, "lock": True})
    log.say("config.set", item="door", value={"number": "1", "lock": "locks:7"})
    assert log.door()["lock"] == "locks:1"


# --- retries, wear ------------------------------------------------------------------------------


def test_five_of_twenty_that_needed_a_second_pulse_are_a_warning() -> None:
    log = Log()
    for number in range(WINDOW):
        intent = log.intend()
        if number < wear.RETRIED:
            log.end(intent, "failed", why="door.no_opening")
            intent = log.intend(attempt=2)
        log.end(intent, took_ms=300)
        warned = [("lock.retries", "door 1")] if number >= wear.RETRIED - 1 else []
        assert log.warnings() == warned
    assert log.report()["warnings"][0]["evidence"] == {"retried": 5, "of": 20}
    log.open()  # the oldest of the twenty goes
    assert log.warnings() == []


def test_a_coil_wears_out_by_all_its_pulses() -> None:
    log = Log()
    log.trends.cycles["locks:1"] = wear.WORN_CYCLES - 1
    assert log.warnings() == []
    tried = log.say(
        "lock.intended", lock="locks:1", line="bus", unit=1, by="installer:anna", ms=400
    )
    log.say("lock.ended", of=tried, outcome="pulsed")
    assert log.warnings() == [("lock.worn", "door 1")]
    assert log.report()["warnings"][0]["evidence"] == {"cycles": 80_000, "limit": 80_000}


@pytest.mark.parametrize(
    ("outcome", "why", "cycles"),
    [
        ("pulsed", "", 1), ("opened", "", 1), ("doubt", "", 1), ("failed", "bus.link_down", 0),
        ("failed", "lock.no_effect", 1),
    ],
)  # fmt: skip
def test_what_an_installer_tried_on_the_bench_counts(outcome: str, why: str, cycles: int) -> None:
    log = Log()
    tried = log.say("lock.intended", lock="new:3")
    log.say("lock.ended", of=tried, outcome=outcome, why=why)
    log.say("lock.ended", of=tried, outcome=outcome, why=why)  # it has one end
    assert log.report()["other_locks"] == ({"new:3": 1} if cycles else {})


def test_tries_without_an_end_are_forgotten() -> None:
    log = Log()
    tried = [log.say("lock.intended", lock=f"new:{n}") for n in range(TRIES_MAX + 1)]
    log.say("lock.ended", of=tried[0], outcome="pulsed")
    log.say("lock.ended", of=tried[1], outcome="pulsed")
    assert log.report()["other_locks"] == {"new:1": 1}


# --- lines --------------------------------------------------------------------------------------


def test_the_counters_of_a_line_add_up_over_lives() -> None:
    log = Log()
    log.line(100, 2, 1, 0)
    log.line(150, 2, 1, 1)
    log.line(30, 1)  # another life began
    row = log.report()["lines"][0]
    assert {key: row[key] for key in ("line", "answered", "timeouts", "nonsense")} == {
        "line": "bus", "answered": 180, "timeouts": 3, "nonsense": 1,
    }  # fmt: skip
    assert row["link_losses"] == 1
    assert (row["asked_over_time"], row["errors_over_time"]) == ([103, 50, 31], [3, 0, 1])
    assert row["each_minutes"] == 10


def test_a_life_that_has_asked_more_than_the_one_before_is_known_by_any_counter() -> None:
    log = Log()
    log.line(100, timeouts=50)
    log.line(120, timeouts=0)
    row = log.report()["lines"][0]
    assert (row["answered"], row["timeouts"]) == (220, 50)


@pytest.mark.parametrize(
    ("answered", "timeouts", "nonsense", "bad"),
    [
        (1980, 10, 10, True),
        (1981, 10, 9, False),
        (198, 2, 0, True),
        (195, 4, 0, False),  # too few to say anything
        (0, 400, 0, True),
    ],
)
def test_one_in_a_hundred_questions_of_a_day(
    answered: int, timeouts: int, nonsense: int, bad: bool
) -> None:
    log = Log()
    log.line(answered, timeouts, nonsense)
    assert log.warnings() == ([("bus.errors", "line bus")] if bad else [])
    if bad:
        told = log.report()["warnings"][0]["evidence"]
        assert (told["errors"], told["asked"]) == (
            timeouts + nonsense, answered + timeouts + nonsense,
        )  # fmt: skip


def test_a_bad_day_is_over_after_a_good_one() -> None:
    log = Log()
    log.line(1000, 500)
    for number in range(DAY_SAMPLES):
        log.line(1000 + 100 * (number + 1), 500)
    assert log.warnings() == []
    assert log.report()["lines"][0]["timeouts"] == 500


def test_a_year_of_a_line_has_as_many_figures_as_a_day() -> None:
    log = Log()
    for number in range(1, 52_561):
        log.trends._sampled(
            {"line_bus_answered": number * 10, "line_bus_timeouts": number, "memory_kb": 1}
        )
    row = log.report()["lines"][0]
    assert SERIES_MAX // 2 < len(row["asked_over_time"]) <= SERIES_MAX
    assert sum(row["asked_over_time"]) == 52_560 * 11
    assert sum(row["errors_over_time"]) == row["timeouts"] == 52_560
    assert row["each_minutes"] == 10_240


# --- where it begins, and what is bounded ---------------------------------------------------------


def test_a_pruned_log_says_since_when() -> None:
    log = Log()
    log.sizes[CUSTODY] = 5000
    log.say("time.anchored", utc_ms=1_790_000_000_000, error_ms=20, source="ntp")
    log.open()
    log.open()
    assert log.report()["since"] == {
        "ref": f"{CUSTODY}5001", "utc_ms": 1_790_000_001_000, "upto": f"{CUSTODY}5004",
        "whole": False,
    }  # fmt: skip


def test_a_later_anchor_of_the_same_boot_tells_when_it_began() -> None:
    log = Log()
    log.at = Moment(3, 0)
    log.open()  # at 1 and 2 s
    assert log.report()["since"]["utc_ms"] is None
    log.at = Moment(4, 0)
    log.say("time.anchored", utc_ms=1_790_000_000_000, error_ms=20, source="ntp")
    assert log.report()["since"]["utc_ms"] is None, "another boot cannot tell"
    log.at = Moment(3, 8000)
    for utc_ms in (1_790_000_000_000, 1_999_000_000_000):
        log.say("time.anchored", utc_ms=utc_ms, error_ms=20, source="ntp")
    told = log.report()["since"]
    assert (told["utc_ms"], told["whole"]) == (1_789_999_992_000, True)


def test_the_last_sign_off_is_told() -> None:
    log = Log()
    for passed in (15, 16):
        log.say("time.anchored", utc_ms=1_790_000_000_000, error_ms=20, source="ntp")
        log.say(
            "site.commissioned", by="installer:anna", doors=16, boards=3, passed=passed,
            failed=16 - passed, report="cmVwb3J0", audit=False,
        )  # fmt: skip
    told = log.report()["commissioned"]
    assert told == {
        "ref": f"{CUSTODY}3", "utc_ms": 1_790_000_001_000, "by": "installer:anna", "doors": 16,
        "boards": 3, "passed": 16, "failed": 0, "report": "cmVwb3J0", "audit": False,
    }  # fmt: skip


def test_alarms_are_counted_by_code_and_many_codes_are_others() -> None:
    log = Log()
    for number in range(WHYS_MAX + 2):
        log.say("alarm.raised", URGENT, alarm=f"alarm.a{number:02}")
    log.say("alarm.raised", URGENT, alarm="alarm.a00")
    told = log.report()["alarms"]
    assert (told["alarm.a00"], told["other"], len(told)) == (2, 2, WHYS_MAX + 1)


def test_what_is_no_entry_of_ours_is_passed_over() -> None:
    log = Log()
    log.say("door.opened", door=1)
    log.trends.take(CUSTODY, 1, b'{"kind":"open.ended","door":"x"}', log.site)
    log.trends.take(CUSTODY, 2, b'"kind":"open.ended"', log.site)
    assert (log.report()["entries"], log.door()["opened"]) == (3, 0)


def test_names_from_nowhere_take_no_room() -> None:
    log = Log()
    log.sample(**{f"line_x{n}_answered": 1 for n in range(60)})
    log.sample(**{f"line_y{n}_answered": 1 for n in range(60)})
    assert len(log.report()["lines"]) == LINES_MAX
    for number in range(LOCKS_MAX + 2):
        log.trends._pulsed(f"b:{number}")
    log.trends._pulsed("b:0")
    assert (len(log.trends.cycles), log.trends.cycles["b:0"]) == (LOCKS_MAX, 2)


def test_of_many_doors_those_with_warnings_come_first_and_the_rest_is_counted() -> None:
    log = Log(bank(6))
    for door in (2, 4):
        log.open(door=door)
    log.trends.cycles["locks:5"] = wear.WORN_CYCLES
    told = log.report(rows_max=3)
    assert [row["door"] for row in told["doors"]] == [2, 4, 5]
    assert told["left_out"] == 3
    assert told["warnings"][0]["about"] == "door 5"
    assert "evidence" not in told["doors"][0]


def test_one_door_alone() -> None:
    log = Log()
    log.open(door=2)
    told = log.report(only=2)
    assert ([row["door"] for row in told["doors"]], told["left_out"]) == ([2], 2)
    assert log.report(only=9)["doors"] == []


def test_a_door_or_lock_outside_the_map_is_no_row() -> None:
    log = Log()
    log.open(door=9)
    log.trends.cycles["gone:1"] = 4
    told = log.report()
    assert [row["door"] for row in told["doors"]] == [1, 2, 3]
    assert told["other_locks"] == {"gone:1": 4}
    lone = SiteMap(doors=bank().doors)  # a map whose boards are not known
    assert wear.report(log.trends, lone)["boards"] == []


# --- what health samples of lines -----------------------------------------------------------------


def told_of(name: str, number: int = 4_000_000_000) -> dict[str, object]:
    counters = ("answered", "timeouts", "nonsense", "link_losses", "sent")
    return {"line": name, "up": True} | dict.fromkeys(counters, number)


def test_a_line_is_sampled_by_four_counters() -> None:
    assert lines({"bus": told_of("bus", 7)}) == {
        "line_bus_answered": 7, "line_bus_timeouts": 7, "line_bus_nonsense": 7,
        "line_bus_link_losses": 7,
    }  # fmt: skip
    assert lines({}) == {}


@pytest.mark.parametrize(("length", "left_out"), [(7, 0), (32, 6)])
def test_sixteen_lines_fit_an_entry_with_everything_else(length: int, left_out: int) -> None:
    names = [f"l{number:02}".ljust(length, "x") for number in range(16)]
    values = lines({name: told_of(name) for name in names})
    assert values.get("lines_left_out", 0) == left_out
    assert len(values) == (16 - left_out) * 4 + bool(left_out)
    others = {f"boards_a_longer_name_{n:02}": 1_000_000_000 for n in range(28)}
    data = compose({"kind": "health.sampled", "values": values | others}, at=Moment(9, 10**10))
    assert len(data) <= BYTES_MAX
    assert len(str(values)) < LINES_BYTES_MAX * 1.2


def test_the_largest_bank_fits_an_answer() -> None:
    site = bank(3084)
    log = Log(site)
    for number in range(1, 3085):
        for _ in range(2):
            log.trends._door(number, site).ended("x", "failed", "door.no_opening", None)
        log.trends.cycles[f"locks:{number}"] = 100_000
    for number in range(16):
        log.sample(**{f"line_rs485-{number}_answered": 10**9})
    whole = log.report()
    assert (len(whole["doors"]), whole["left_out"]) == (wear.ROWS_MAX, 3084 - wear.ROWS_MAX)
    assert len(whole["warnings"]) == wear.ROWS_MAX
    assert len(msgspec.json.encode(whole)) < 512 * 1024
    assert len(msgspec.json.encode(log.report(rows_max=TREND_DOORS))) < 64 * 1024
