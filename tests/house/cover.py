"""Branch coverage of the pure rooms by unit and property tests: `python -m tests.house.cover`.

A room is pure unless pyproject.toml names it among those that may touch the world (the ignored
imports of the last contract). Exit status 2: some pure room is below 100 %. Arguments go to pytest.
"""

import os
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ("tests/unit", "tests/property", "tests/vectors")


def shells() -> list[str]:
    """File patterns of the rooms that may touch the world."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = next(
        contract
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["name"].startswith("Pure rooms")
    )
    rooms = [line.split(" -> ")[0] for line in contract["ignore_imports"] if line.endswith("-> *")]
    return [room.replace(".", "/").replace("/**", "/*") + ".py" for room in rooms]


def main(arguments: list[str]) -> int:
    """Run the tests under coverage in one process and report what is not whole."""
    with tempfile.TemporaryDirectory() as folder:
        settings = {**os.environ, "COVERAGE_FILE": str(Path(folder) / "data")}

        def coverage(*words: str) -> int:
            command = [sys.executable, "-m", "coverage", *words]
            return subprocess.run(command, cwd=ROOT, env=settings, check=False).returncode

        tests = [*TESTS, "-q", *arguments]
        failed = coverage("run", "-m", "pytest", *tests)
        omit = ",".join([*shells(), "*/__init__.py"])
        short = coverage(
            "report", f"--omit={omit}", "--skip-covered", "--show-missing", "--fail-under=100"
        )
    return failed or short


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
