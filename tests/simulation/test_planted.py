"""Every planted error is found by the checker that is there for it, within 300 seeds."""

import pytest

from tests.simulation.planted import PLANTED
from tests.simulation.planting import Planted
from tests.simulation.run import run

SEEDS = 300


@pytest.mark.parametrize("planted", PLANTED, ids=[planted.name for planted in PLANTED])
def test_planted_error_is_found(planted: Planted) -> None:
    with planted.growing() as plan:
        for seed in range(SEEDS):
            report = run(seed, plan=plan)
            if report.violation:
                assert report.checker in planted.caught_by, report.violation
                return
    pytest.fail(f"{planted.name}: not found in {SEEDS} seeds")
