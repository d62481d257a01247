"""Pins the wheel: installed alone with the locked packages it asks for, it is complete and runs."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("certs", "sync", "adapters", "gateway")
DISTRIBUTION = "parcel-locker-gateway"


def run(*command: str | Path, cwd: Path, env: dict[str, str] | None = None) -> str:
    result = subprocess.run(
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}{result.stderr}"
    return result.stdout


def locked_for_running() -> str:
    """The part of requirements.lock that the wheel itself asks for, directly or not."""
    text = (ROOT / "requirements.lock").read_text()
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)
    by_name = {canonicalize_name(block.partition("==")[0]): block for block in blocks if block}
    open_, done = [Requirement(DISTRIBUTION)], set[str]()
    while open_:
        need = open_.pop()
        name = canonicalize_name(need.name)
        wanted = [Requirement(line) for line in importlib.metadata.requires(name) or []]
        for extra in ["", *need.extras]:
            open_ += [
                deeper
                for deeper in wanted
                if (deeper.marker is None or deeper.marker.evaluate({"extra": extra}))
                and canonicalize_name(deeper.name) not in done
            ]
        done.add(name)
    return "".join(block for name, block in sorted(by_name.items()) if name in done)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir"]
    run(*build, out, ROOT, cwd=out)
    [built] = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def alone(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bin` of an environment that holds the wheel and what it asks for, and nothing else."""
    folder = tmp_path_factory.mktemp("alone")
    lock = folder / "lock.txt"
    lock.write_text(locked_for_running())
    venv = folder / "venv"
    uv = Path(sys.executable).with_name("uv")
    if uv.exists():
        settings = {"UV_SYSTEM_CERTS": "1", **os.environ}
        run(uv, "venv", "--quiet", "--python", sys.executable, venv, cwd=folder, env=settings)
        install: list[str | Path] = [
            uv,
            "pip",
            "install",
            "--quiet",
            "--python",
            venv / "bin/python",
        ]
    else:
        settings = dict(os.environ)
        run(sys.executable, "-m", "venv", venv, cwd=folder)
        install = [venv / "bin/pip", "install", "--quiet"]
    run(*install, "--require-hashes", "-r", lock, cwd=folder, env=settings)
    run(*install, "--no-deps", wheel, cwd=folder, env=settings)
    return venv / "bin"


def shipped(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def test_the_wheel_holds_every_file_of_the_four_packages_and_nothing_else(wheel: Path) -> None:
    names = shipped(wheel)
    here = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not re.search(r"/(__pycache__|\.\w+)/", str(path.relative_to(ROOT)))
    }
    assert {name for name in names if ".dist-info/" not in name} == here
    kinds = {Path(name).suffix for name in names}
    assert {".py", ".toml", ".sql", ".js", ".css", ".html", ".typed"} <= kinds


def test_the_wheel_carries_its_licence(wheel: Path) -> None:
    assert any(name.endswith("/licenses/LICENSE") for name in shipped(wheel))


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("locker-gateway --version", "locker-gateway, version "),
        ("locker-gateway --help", "Commands:"),
        ("locker-bank --help", "Usage: locker-bank"),
        ("locker-hub --version", "locker-hub, version "),
        ("locker-hub --help", "the cloud end"),
    ],
)
def test_the_installed_commands_start(alone: Path, tmp_path: Path, line: str, says: str) -> None:
    name, option = line.split()
    # Neither this checkout nor a stray sync.py in the current folder may be what is imported.
    (tmp_path / "sync.py").write_text("raise SystemExit('a stray sync.py was imported')\n")
    assert says in run(alone / name, option, cwd=tmp_path, env={"PATH": "/usr/bin:/bin"})


def test_every_module_of_the_wheel_imports_with_the_packages_it_asks_for(
    alone: Path, tmp_path: Path
) -> None:
    program = (
        "import importlib, pkgutil, sys\n"
        "EXTRA = ['sync.hub.postgres']  # needs the extra of that name\n"
        f"for name in {PACKAGES!r}:\n"
        "    package = importlib.import_module(name)\n"
        "    assert package.__file__.startswith(sys.prefix), package.__file__\n"
        "    for module in pkgutil.walk_packages(package.__path__, name + '.'):\n"
        "        if not module.name.endswith('__main__') and module.name not in EXTRA:\n"
        "            importlib.import_module(module.name)\n"
    )
    run(alone / "python", "-c", program, cwd=tmp_path)


def test_each_of_the_four_names_is_ours_alone(alone: Path, tmp_path: Path) -> None:
    program = "import importlib.metadata as m, json; print(json.dumps(m.packages_distributions()))"
    owners = json.loads(run(alone / "python", "-c", program, cwd=tmp_path))
    assert {name: owners[name] for name in PACKAGES} == {name: [DISTRIBUTION] for name in PACKAGES}


def test_no_test_or_development_tool_is_asked_for(alone: Path, tmp_path: Path) -> None:
    program = "import importlib.metadata as m; print(*(d.name for d in m.distributions()))"
    installed = set(run(alone / "python", "-c", program, cwd=tmp_path).lower().split())
    assert installed & {"pytest", "hypothesis", "mypy", "ruff", "apsw", "playwright"} == set()
