"""Pins the clock room: boots count up, time never runs before the floor, trust says what it is."""

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import (
    BUILT_MS,
    UNKNOWN_ERROR_MS,
    Clock,
    ClockBroken,
    Machine,
    Saved,
    read,
    write,
)
from gateway.core.inputs import Trust

BUILD = 1_000_000
LATER = 5_000_000


class Fake:
    """A machine whose clocks are set by hand."""

    def __init__(self, wall: Any = LATER, mono: Any = 100, error: Any = None) -> None:
        self.wall, self.mono, self.error = wall, mono, error

    def wall_ms(self) -> Any:
        return self.wall

    def mono_ms(self) -> Any:
        return self.mono

    def kernel_error_ms(self) -> Any:
        return self.error

    def pass_ms(self, ms: Any) -> None:
        self.wall += ms
        self.mono += ms


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "clock.json"


def start(path: Any, machine: Any, **more: Any) -> Any:
    return Clock.start(path, source=machine, build_ms=BUILD, **more)


def test_boots_count_up_and_never_fall_behind_the_log(path: Any) -> None:
    assert start(path, Fake()).boot == 1
    assert start(path, Fake()).boot == 2
    assert start(path, Fake(), last_boot=9).boot == 10
    path.unlink()
    assert start(path, Fake(), last_boot=10).boot == 11
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"boot": -1}', '{"boot": "x"}', '{"boot": 9e9}', "\udcff"]
)
def test_torn_file_costs_only_the_saved_clock(path: Any, text: Any) -> None:
    path.write_text(text, errors="surrogateescape")
    assert read(path) == Saved()
    assert start(path, Fake(), last_boot=3).boot == 4


def test_1970_runs_on_from_the_floor(path: Any) -> None:
    machine = Fake(wall=0)
    clock = start(path, machine)
    clock.raise_floor(2_000_000)
    clock.raise_floor(1_500_000)
    machine.pass_ms(500)
    now = clock.now()
    assert (now.wall_ms, now.trust, now.error_ms) == (2_000_500, Trust.FLOOR, UNKNOWN_ERROR_MS)


def test_undisciplined_clock_above_the_floor_is_told_but_not_trusted(path: Any) -> None:
    now = start(path, Fake()).now()
    assert (now.wall_ms, now.trust) == (LATER, Trust.FLOOR)


def test_synced_then_drifting_with_a_growing_error(path: Any) -> None:
    machine = Fake(error=20)
    clock = start(path, machine)
    assert clock.now().trust is Trust.SYNCED
    machine.error = None
    machine.pass_ms(10_000_000)
    now = clock.now()
    assert (now.trust, now.error_ms) == (Trust.DRIFTING, 20 + 2_000 + 1)


def test_synced_below_the_floor_is_not_believed(path: Any) -> None:
    now = start(path, Fake(wall=BUILD - 1, error=1)).now()
    assert now.trust is Trust.FLOOR
    assert now.wall_ms >= BUILD


def test_only_a_trusted_clock_raises_the_saved_floor(path: Any) -> None:
    start(path, Fake(wall=10 * LATER))
    assert read(path).saved_ms == BUILD
    machine = Fake(error=5)
    clock = start(path, machine)
    machine.pass_ms(1_000)
    clock.save()
    assert read(path) == Saved(2, LATER + 1_000 - 5)
    assert start(path, Fake(wall=0)).now().wall_ms == LATER + 995


def test_wall_clock_stepping_back_never_goes_below_the_floor(path: Any) -> None:
    machine = Fake(error=5)
    clock = start(path, machine)
    machine.wall = 0
    machine.mono += 50
    assert clock.now().wall_ms == LATER - 5 + 50


def test_unwritable_folder_is_refused_with_a_code(tmp_path: Any) -> None:
    with pytest.raises(ClockBroken) as caught:
        write(tmp_path / "nowhere" / "clock.json", Saved())
    assert caught.value.code == "clock.unwritable"


def test_torn_new_file_is_no_harm(path: Any) -> None:
    path.with_name(".clock.json.new").write_text("torn")
    assert start(path, Fake()).boot == 1
    assert json.loads(path.read_text())["boot"] == 1


def test_the_machine_itself() -> None:
    machine = Machine()
    assert machine.wall_ms() > BUILT_MS
    assert machine.mono_ms() <= machine.mono_ms()
    error = machine.kernel_error_ms()
    assert error is None or error > 0


# --- the hub's signed time ------------------------------------------------------------------------

DAY = 86_400_000
TEN_YEARS = 3_650 * DAY


def test_a_signed_time_is_believed_with_an_error_that_grows(path: Any) -> None:
    machine = Fake(wall=0)
    clock = start(path, machine)
    assert clock.learn(LATER, 1_000)
    machine.pass_ms(10_000_000)
    now = clock.now()
    assert (now.wall_ms, now.trust) == (LATER + 10_000_000, Trust.DRIFTING)
    assert now.error_ms == 1_000 + 2_000 + 1
    assert now.floor_ms == LATER - 1_000 + 10_000_000
    assert not clock.disputed


def test_a_restart_starts_near(path: Any) -> None:
    for wrong in (-LATER, TEN_YEARS):
        machine = Fake(wall=LATER + wrong)
        assert start(path, machine).learn(LATER, 10)
        machine.pass_ms(3_600_000)
        later = start(path, machine).now()
        assert (later.wall_ms, later.trust) == (LATER + 3_600_000, Trust.FLOOR)


def test_a_disciplined_clock_that_contradicts_a_fresh_signed_time_is_not_believed(
    path: Any,
) -> None:
    machine = Fake(wall=LATER + TEN_YEARS, error=5)
    clock = start(path, machine)
    clock.save()
    assert clock.now().trust is Trust.SYNCED
    assert read(path).saved_ms > TEN_YEARS  # the lie is a floor by now
    assert clock.learn(LATER, 1_000)
    now = clock.now()
    assert (now.wall_ms, now.trust, clock.disputed) == (LATER, Trust.DRIFTING, True)
    clock.raise_floor(LATER + TEN_YEARS)  # as an anchor of that clock in the log says
    clock.save()
    assert read(path).saved_ms == LATER - 1_000
    # It stays so however old the signed time gets, until the clock is right again.
    machine.pass_ms(3 * DAY)
    assert (clock.now().trust, clock.disputed) == (Trust.DRIFTING, True)
    machine.wall -= TEN_YEARS
    assert (clock.now().trust, clock.disputed) == (Trust.SYNCED, False)
    assert start(path, machine).now().trust is Trust.SYNCED


def test_an_old_signed_time_begins_no_dispute(path: Any) -> None:
    machine = Fake(error=5)
    clock = start(path, machine)
    assert clock.learn(LATER, 1_000)
    machine.pass_ms(3 * DAY)
    machine.wall += DAY
    assert (clock.now().trust, clock.disputed) == (Trust.SYNCED, False)


def test_a_small_difference_is_none(path: Any) -> None:
    machine = Fake(wall=LATER + 250_000, error=5)
    clock = start(path, machine)
    assert clock.learn(LATER, 1_000)
    assert (clock.now().trust, clock.disputed) == (Trust.SYNCED, False)


def test_signed_time_does_not_run_back(path: Any) -> None:
    machine = Fake(wall=0)
    clock = start(path, machine)
    assert clock.learn(2 * LATER, 10)
    assert not clock.learn(LATER, 10)
    assert clock.now().wall_ms == 2 * LATER
    again = start(path, machine)  # nor over a restart
    assert not again.learn(LATER, 10)
    assert not start(path.with_name("new"), machine).learn(BUILD - 1_000, 10)


def test_a_leap_of_the_signed_time_is_believed_and_binds_only_when_it_is_said_again(
    path: Any,
) -> None:
    year, day = 365 * 86_400_000, 86_400_000
    machine = Fake(wall=LATER, error=None)
    clock = start(path, machine)
    assert clock.learn(LATER, 10)
    assert clock.learn(LATER + 3 * year, 10), "off for years, or a hub whose clock is wrong"
    assert clock.now().wall_ms == LATER + 3 * year
    machine.pass_ms(day // 2)
    assert clock.learn(LATER + 3 * year + day // 2, 10)
    again = start(path, machine)
    assert again.now().wall_ms >= LATER + 3 * year, "what was surely past then, as far as it knows"
    assert again.learn(LATER + day // 2, 10), "said once: it comes back"
    assert again.now().wall_ms == LATER + day // 2
    assert again.learn(LATER + 3 * year, 10)
    machine.pass_ms(day)
    assert again.learn(LATER + 3 * year + day, 10)
    assert not again.learn(LATER + 2 * day, 10), "said again a day later: time does not run back"
