"""Pins the floors: who may import whom, that the heart is pure, one door to pymodbus, one clock."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("certs", "sync", "adapters", "gateway")
IO_MODULES = {
    "asyncio",
    "socket",
    "sqlite3",
    "ssl",
    "select",
    "selectors",
    "subprocess",
    "logging",
    "aiohttp",
    "aiosqlite",
    "pymodbus",
    "serial",
    "structlog",
    "tenacity",
}
MAY_READ_CLOCKS = re.compile(
    r"gateway/clock\.py|sync/hub/clock\.py|adapters/(bus|owner|wire|scan)\.py|adapters/simulator/(line|live|server)\.py"
)
MAY_IMPORT_PYMODBUS = re.compile(r"adapters/frames\.py|adapters/simulator/\w+\.py")
# Reading a clock; sleeping and formatting are the business of ruff and of the reader.
CLOCKS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}


def sources() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def imports(tree: ast.AST) -> set[str]:
    """The dotted names a module imports; `from a import b` gives `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def clock_reads(tree: ast.AST) -> set[str]:
    """`time.X` and `datetime.now`, `utcnow`, `today` as a module says them."""
    found = {f"time.{name}" for name in CLOCKS if f"time.{name}" in imports(tree)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "time" and node.attr in CLOCKS:
                found.add(f"time.{node.attr}")
            if node.value.id in {"datetime", "date"} and node.attr in {"now", "utcnow", "today"}:
                found.add(f"{node.value.id}.{node.attr}")
    return found


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    program = "from importlinter.cli import lint_imports_command as run; run()"
    return subprocess.run(
        [sys.executable, "-c", program, "--no-logo", "--no-cache"],
        cwd=folder,
        env={"PYTHONPATH": str(folder), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_every_import_goes_down_the_street() -> None:
    result = lint(ROOT)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize(
    ("file", "line", "contract"),
    [
        ("sync/merkle.py", "import time", "Pure rooms"),
        ("gateway/core/engine.py", "import adapters.bus", "The heart knows no shell"),
        ("adapters/plan.py", "import sync.errors", "The boards know nothing of ours"),
        ("certs/note.py", "import sync.errors", "The street"),
        ("sync/new_room.py", "", "Floors of sync"),
        ("gateway/ports.py", "import pymodbus", "One door to pymodbus"),
    ],
)
def test_a_wrong_import_is_found(tmp_path: Path, file: str, line: str, contract: str) -> None:
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    with (tmp_path / file).open("a") as out:
        out.write(f"\n{line}\n")
    result = lint(tmp_path)
    broken = [row for row in result.stdout.splitlines() if "BROKEN" in row]
    assert result.returncode == 1, result.stdout + result.stderr
    assert any(row.startswith(contract) for row in broken), broken


def test_the_heart_loads_no_wire_disk_or_loop() -> None:
    program = "import sys, gateway.core.engine; print('\\n'.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    loaded = {name.partition(".")[0] for name in result.stdout.split()}
    assert not loaded & IO_MODULES


def test_only_the_frames_and_the_simulated_bank_import_pymodbus() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in sources()
        if any(name.split(".")[0] == "pymodbus" for name in imports(ast.parse(path.read_text())))
    }
    assert [user for user in sorted(users) if not MAY_IMPORT_PYMODBUS.fullmatch(user)] == []


def test_clocks_are_read_in_the_rooms_that_own_them() -> None:
    reads = {
        str(path.relative_to(ROOT)): found
        for path in sources()
        if (found := clock_reads(ast.parse(path.read_text())))
    }
    assert {
        file: found for file, found in reads.items() if not MAY_READ_CLOCKS.fullmatch(file)
    } == {}


def test_nobody_throws_dice_where_a_seed_or_a_secret_is_due() -> None:
    users = {
        str(path.relative_to(ROOT))
        for path in sources()
        if imports(ast.parse(path.read_text())) & {"random", "uuid"}
    }
    assert users == set()
