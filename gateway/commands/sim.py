"""`locker-gateway sim`: play whole-site histories from a seed, and check every invariant.

The simulation lives with the tests and is not in the wheel: it needs a checkout.
"""

import importlib
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import click

from gateway.errors import GatewayError

_INPUTS: Final = 300


class _Seeds(click.ParamType[range]):
    """`A-B`, both ends included."""

    name = "A-B"

    def convert(  # type: ignore[explicit-override]  # typing has override from 3.12
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> range:
        found = re.fullmatch(r"(\d{1,12})-(\d{1,12})", str(value))
        if found is None or int(found[2]) < int(found[1]):
            self.fail("write two seeds, the smaller first, as in 0-1999", param, ctx)
        return range(int(found[1]), int(found[2]) + 1)


@click.command(name="sim")
@click.option("--seed", type=click.IntRange(min=0), metavar="N", help="Play this one history.")
@click.option("--seeds", type=_Seeds(), help="Play all of these, both ends included.")
@click.option(
    "--inputs",
    default=_INPUTS,
    show_default=True,
    type=click.IntRange(1, 1_000_000),
    metavar="N",
    help="Inputs to the engine before everybody goes home.",
)
@click.option("--tell", is_flag=True, help="Tell what happens, line by line.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object of counts, last.")
def command(
    seed: int | None, seeds: range | None, *, inputs: int, tell: bool, as_json: bool
) -> None:
    """Play simulated histories; check every invariant.

    Exit 1 when one breaks: its seed tells it again, the same on every machine.
    """
    if (seed is None) == (seeds is None):
        message = "give either --seed N or --seeds A-B"
        raise click.UsageError(message)
    play = _simulation().run
    chosen = seeds if seeds is not None else range(seed or 0, (seed or 0) + 1)
    violations = _play(play, chosen, inputs, tell=tell, as_json=as_json)
    if violations:
        sys.exit(1)


def _play(play: Any, seeds: Iterable[int], inputs: int, *, tell: bool, as_json: bool) -> int:
    counts: dict[str, Any] = {"seeds": 0, "inputs": 0, "violations": 0}
    checks: Counter[str] = Counter()
    faults: Counter[str] = Counter()
    for seed in seeds:
        report = play(seed, inputs, tell=tell)
        counts["seeds"] += 1
        counts["inputs"] += report.inputs
        checks.update(report.checks)
        faults.update(report.faults)
        for line in report.story:
            click.echo(line)
        if report.violation:
            counts["violations"] += 1
            click.echo(f"seed {seed}: {report.violation}", err=True)
    if as_json:
        counts |= {"checks": dict(sorted(checks.items())), "faults": dict(sorted(faults.items()))}
        click.echo(json.dumps(counts))
    else:
        total = ", ".join(f"{counts[name]:,} {name}" for name in ("seeds", "inputs", "violations"))
        click.echo(f"{total}, {sum(checks.values()):,} checks, {sum(faults.values()):,} faults")
    return int(counts["violations"])


def _simulation() -> ModuleType:
    """Import the simulation from the checkout this program, or the current folder, belongs to."""
    for root in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (root / "tests" / "simulation" / "run.py").is_file():
            # A package of that name elsewhere on the path would otherwise win.
            tests = ModuleType("tests")
            tests.__path__ = [str(root / "tests")]
            sys.modules.setdefault("tests", tests)
            return importlib.import_module("tests.simulation.run")
    raise GatewayError(
        "sim.needs_checkout",
        "Clone the repository and run this there: the simulation lives with its tests.",
    )
