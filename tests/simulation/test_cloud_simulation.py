"""No invariant between sites and hub breaks in 1,000 histories; each planted error breaks one.

A failure names its seed: `python -m tests.simulation.cloud SEED` tells its story. `CLOUD_SEEDS`
plays more (`make night` does).
"""

import os
from collections import Counter
from collections.abc import Callable

import pytest

from tests.simulation.cloud import CloudReport, run
from tests.simulation.cloud_planted import PLANTED, CloudPlanted

SEEDS = int(os.environ.get("CLOUD_SEEDS", "1000"))
NIGHT_SEEDS = 20_000
CHUNK = 50
PLANTED_SEEDS = 400
KNOWN = (11, 58, 136, 217, 224, 228, 614, 716, 1035, 1121)
"""Seeds that once failed."""
CHECKERS = """
    04_only_its_own 05_revoked_wins 06_given_once 06_out_of_service 08_ack_lasts 09_all_came
    09_same_book 10_clone_noticed 10_epoch_begins 10_fenced_gives_nothing 10_first_contact
    10_fork_known 10_new_epoch 10_noticed 10_one_history 07_refused 11_charged 11_fits
"""
FAULTS = """
    clock clone crash.hub crash.site gone hub.fork hub.healed hub.moved link.cut newer
    noticed.rolled_back restore.hub restore.marked restore.unmarked rights.collect rights.courier
    rights.denied rights.heard rights.reservation rights.return rights.revoked rights.unheard
"""
Record = Callable[[str, object], None]


def held(report: CloudReport) -> CloudReport:
    assert not report.violation, f"seed {report.seed}: {report.violation}"
    return report


def _play(seeds: range, record: Record) -> None:
    checks: Counter[str] = Counter()
    struck: Counter[str] = Counter()
    for seed in seeds:
        report = held(run(seed))
        checks += report.checks
        struck += report.struck
    record("cloud", [len(seeds), dict(checks), dict(struck)])


@pytest.mark.parametrize("seed", KNOWN)
def test_history_that_once_failed(seed: int) -> None:
    held(run(seed))


@pytest.mark.parametrize("first", range(0, SEEDS, CHUNK))
def test_sites_and_hub_agree(first: int, record_property: Record) -> None:
    _play(range(first, min(first + CHUNK, SEEDS)), record_property)


@pytest.mark.night
@pytest.mark.parametrize("first", range(SEEDS, SEEDS + NIGHT_SEEDS, 10 * CHUNK))
def test_sites_and_hub_agree_at_night(first: int, record_property: Record) -> None:
    _play(range(first, first + 10 * CHUNK), record_property)


def test_every_checker_has_something_to_check_and_every_fault_strikes() -> None:
    checks: Counter[str] = Counter()
    struck: Counter[str] = Counter()
    for seed in range(SEEDS, SEEDS + 120):
        report = held(run(seed))
        checks += report.checks
        struck += report.struck
    assert checks.keys() >= set(CHECKERS.split())
    assert struck.keys() >= set(FAULTS.split())


def test_same_seed_tells_the_same_story() -> None:
    first, second = run(7), run(7)
    assert (first.story, first.checks, first.struck, first.entries, first.messages) == (
        second.story, second.checks, second.struck, second.entries, second.messages,
    )  # fmt: skip


@pytest.mark.parametrize("planted", PLANTED, ids=[planted.name for planted in PLANTED])
def test_planted_error_between_sites_and_hub_is_found(planted: CloudPlanted) -> None:
    with planted.growing() as plan:
        for seed in range(PLANTED_SEEDS):
            report = run(seed, plan=plan)
            if report.violation:
                assert report.checker in planted.caught_by, report.violation
                return
    pytest.fail(f"{planted.name}: not found in {PLANTED_SEEDS} seeds")
