"""No invariant breaks in 2,000 histories of 300 inputs each, nor in one that ever failed.

`SEEDS=20000` plays more (`make night` does); a failure names its seed, and
`locker-gateway sim --seed N --tell` tells its story.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.simulation.run import INPUTS, Report, run

SEEDS = int(os.environ.get("SEEDS", "2000"))
NIGHT_SEEDS = 40_000
CHUNK = 100
Record = Callable[[str, object], None]


def _known() -> list[tuple[int, int]]:
    """Return (seed, inputs) of every failure we ever saw."""
    lines = (Path(__file__).parent / "seeds.txt").read_text().splitlines()
    words = [line.partition("#")[0].split() for line in lines]
    return [(int(w[0]), int(w[1]) if len(w) > 1 else INPUTS) for w in words if w]


def _play(seeds: range, record: Record) -> None:
    reports = [_held(run(seed)) for seed in seeds]
    assert min(report.inputs for report in reports) >= 200
    record("simulation", [(r.inputs, dict(r.checks), dict(r.faults)) for r in reports])


def _held(report: Report) -> Report:
    assert not report.violation, f"seed {report.seed}: {report.violation}"
    return report


@pytest.mark.parametrize(("seed", "inputs"), _known())
def test_history_that_once_failed(seed: int, inputs: int) -> None:
    _held(run(seed, inputs))


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_every_invariant_holds(first: int, record_property: Record) -> None:
    _play(range(first, min(first + CHUNK, SEEDS)), record_property)


@pytest.mark.night
@pytest.mark.parametrize("first", range(SEEDS, SEEDS + NIGHT_SEEDS, 10 * CHUNK))
def test_every_invariant_holds_at_night(first: int, record_property: Record) -> None:
    _play(range(first, first + 10 * CHUNK), record_property)


def test_every_checker_has_something_to_check() -> None:
    """A checker that is never asked, or a fault that never strikes, would prove nothing."""
    reports = [_held(run(seed)) for seed in range(SEEDS, SEEDS + 60)]
    names = reports[0].checks.keys()
    idle = [name for name in names if not sum(report.checks[name] for report in reports)]
    assert not idle


def test_same_seed_tells_the_same_story() -> None:
    """Two plays of a seed are equal, line by line; telling it changes nothing."""
    first, second, silent = run(7, tell=True), run(7, tell=True), run(7)
    assert first.story == second.story
    assert (first.checks, first.faults, first.inputs) == (
        silent.checks,
        silent.faults,
        silent.inputs,
    )
