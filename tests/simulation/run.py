"""Whole-site histories from a seed: `run(seed)` plays one and reports what every checker saw.

The same seed gives the same history, line by line, on every machine.
"""

from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.checkers import Violated
from tests.simulation.site import Plan, Site

INPUTS = 300
SETTLE_MS = 40 * 60_000


@dataclass(slots=True)
class Report:
    """One history: how it ended and what was counted."""

    seed: int
    inputs: int = 0
    entries: int = 0
    violation: str = ""
    checker: str = ""
    checks: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    facts: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)


def run(seed: int, inputs: int = INPUTS, *, plan: Plan | None = None, tell: bool = False) -> Report:
    """Play the history of a seed to its end, or to the first violation."""
    site = Site(seed, plan or Plan(), tell=tell)
    report = Report(seed, story=site.story)
    try:
        _play(site, inputs)
    except Violated as violated:
        report.checker, report.violation = violated.checker, str(violated)
        site.say(f"!!! {violated}")
    report.inputs = site.inputs
    report.entries = len(site.disk.rows)
    report.checks = site.watch.counts()
    report.faults = site.swarm.struck
    report.kinds = site.kinds
    report.facts = Counter(type(row.fact).__name__ for row in site.disk.rows)
    return report


def _play(site: Site, inputs: int) -> None:
    site.boot(power=True)
    site.time.at(2_000, site.arrive)
    site.time.at(5_000, site.mischief)
    while site.inputs < inputs:
        site.time.step()
    site.settle()
    end = site.time.now + SETTLE_MS
    while (moment := site.time.next()) is not None and moment <= end:
        site.time.step()
    site.time.now = end
    site.watch.finish()
