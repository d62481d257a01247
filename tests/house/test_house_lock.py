"""Pins requirements.lock: all of pyproject.toml, every version with hashes, no address."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parents[2]
LOCK = (ROOT / "requirements.lock").read_text()
PIN = re.compile(r"^([a-z0-9][a-z0-9.-]*)==(\S+)(?: ; (.*?))? \\$")


def pins() -> dict[NormalizedName, Version]:
    return {
        canonicalize_name(found[1]): Version(found[2])
        for line in LOCK.splitlines()
        if (found := PIN.match(line))
    }


def wanted() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    lines = project["project"]["dependencies"] + project["dependency-groups"]["dev"]
    return [Requirement(line) for line in lines]


def test_each_requirement_is_locked_to_a_version_it_allows() -> None:
    locked = pins()
    for requirement in wanted():
        assert locked[canonicalize_name(requirement.name)] in requirement.specifier, requirement


def test_each_locked_package_has_hashes() -> None:
    blocks = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)
    for block in filter(str.strip, blocks):
        head, *rest = block.splitlines()
        assert PIN.match(head), head
        assert rest[0].strip().startswith("--hash=sha256:"), head


def test_the_lock_names_no_address() -> None:
    # Where packages come from is the business of whoever installs.
    assert "://" not in LOCK
    assert " @ " not in LOCK


def test_what_the_locked_packages_need_is_locked_too() -> None:
    locked = pins()
    for name in locked:
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another platform only
        for need in map(Requirement, needs):
            if need.marker is None or need.marker.evaluate({"extra": ""}):
                assert canonicalize_name(need.name) in locked, f"{name} needs {need}"
                assert locked[canonicalize_name(need.name)] in need.specifier, f"{name}: {need}"


def test_what_is_installed_here_is_what_is_locked() -> None:
    installed = {
        canonicalize_name(dist.name): Version(dist.version)
        for dist in importlib.metadata.distributions()
    }
    assert {n: v for n, v in pins().items() if installed.get(n, v) != v} == {}
