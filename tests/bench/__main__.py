"""Run the figures: `python -m tests.bench [NAME...]`, one JSON line each.

Every other module of this folder that has `FIGURES: dict[str, Callable[[], Iterable[dict]]]` takes
part. A figure yields dicts with `name`, `ours`, `limit`, `ratio`, `unit`, `goal` and `how`: a
figure counts as a ratio to a limit or a peer measured beside it, in the same run. NAME is a figure
(`log.verify`) or the first part of several (`log`). Exit status 1: a figure could not be taken;
2: no such figure.
"""

import importlib
import json
import sys
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path

Figure = Callable[[], Iterable[dict[str, object]]]
KEYS = ("name", "ours", "limit", "ratio", "unit", "goal", "how")


def collect(folder: Path) -> dict[str, Figure]:
    """Every figure of the modules in `folder`, sorted; two of one name are refused."""
    found: dict[str, Figure] = {}
    for path in sorted(folder.glob("*.py")):
        if path.stem.startswith("_"):
            continue
        module = importlib.import_module(f"tests.bench.{path.stem}")
        figures: dict[str, Figure] = getattr(module, "FIGURES", {})
        twice = found.keys() & figures.keys()
        if twice:
            msg = f"bench.figure_twice: {', '.join(sorted(twice))} in {path.name}"
            raise SystemExit(msg)
        found.update(figures)
    return dict(sorted(found.items()))


def wanted(names: list[str], figures: dict[str, Figure]) -> list[str]:
    """The figures asked for by name or first part, all of them when nothing is asked for."""
    if not names:
        return list(figures)
    for name in names:
        if not any(figure == name or figure.startswith(f"{name}.") for figure in figures):
            print(f"bench.unknown: {name} (known: {', '.join(figures)})", file=sys.stderr)
            raise SystemExit(2)
    return [f for f in figures if any(f == n or f.startswith(f"{n}.") for n in names)]


def line(name: str, row: dict[str, object]) -> str:
    """One figure as it is printed; a figure without its limit or its how is none."""
    missing = [key for key in KEYS if key not in row]
    if missing:
        msg = f"{name} lacks {', '.join(missing)}"
        raise ValueError(msg)
    return json.dumps(row)


def main(names: list[str]) -> int:
    """Print one line a figure as it comes; trouble in one leaves the others standing."""
    figures = collect(Path(__file__).parent)
    failed = 0
    for name in wanted(names, figures):
        try:
            for row in figures[name]():
                print(line(name, row), flush=True)
        except Exception:  # noqa: BLE001  # one broken figure must not hide the others
            failed = 1
            print(f"bench.failed: {name}", file=sys.stderr)
            traceback.print_exc()
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
