"""What the wheel depends on, from requirements.lock alone: a bill of materials, and what is known.

    sbom.py FILE      write a CycloneDX 1.6 document; the same lock gives the same bytes
    sbom.py --audit   ask OSV about every locked version: 0 nothing known, or nobody to ask; 1 found

No package is fetched or imported for it. `OSV_URL` names another service of the same kind.
"""
# ruff: noqa: INP001  # a script: nothing imports it

import hashlib
import json
import os
import re
import sys
import tomllib
import urllib.error
import urllib.request
import uuid
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OSV = "https://api.osv.dev/v1/querybatch"
WAIT_S = 20
_PIN = re.compile(r"([a-z0-9][a-z0-9.-]*)==([^\s;]+)")
_VIA = re.compile(r"^    #(?: via)? +(\S.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """One locked package: its name, its version, and who asks for it (`via` of the lock)."""

    name: str
    version: str
    via: frozenset[str]

    @property
    def purl(self) -> str:
        """Return the package URL: one name in every tool."""
        return f"pkg:pypi/{self.name}@{self.version}"


def locked(lock: str) -> dict[str, Package]:
    """Return the packages of a lock file by name."""
    found = {}
    for block in re.split(r"^(?=[a-z0-9])", lock, flags=re.MULTILINE):
        pin = _PIN.match(block)
        if pin:
            found[pin[1]] = Package(pin[1], pin[2], frozenset(_VIA.findall(block)))
    return found


def shipped(packages: dict[str, Package], project: str) -> set[str]:
    """Return the names that an installed wheel brings along: asked for by it, or by one of them."""
    names = {one.name for one in packages.values() if f"{project} (pyproject.toml)" in one.via}
    while more := {one.name for one in packages.values() if one.via & names} - names:
        names |= more
    return names


def document(lock: str, project: dict[str, object]) -> dict[str, object]:
    """Return the bill of materials; packages of an extra are marked optional."""
    name, version = str(project["name"]), str(project["version"])
    packages = locked(lock)
    needed = shipped(packages, name)
    extras = project.get("optional-dependencies", {})
    assert isinstance(extras, dict)
    extra = {re.split(r"[^a-z0-9.-]", line)[0] for lines in extras.values() for line in lines}
    listed = [packages[one] for one in sorted(needed | extra)]
    own = f"pkg:pypi/{name}@{version}"
    digest = hashlib.sha256(lock.encode()).hexdigest()
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, f'{own}#{digest}')}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application", "bom-ref": own, "name": name, "version": version,
                "purl": own, "licenses": [{"expression": str(project["license"])}],
            },
            "properties": [{"name": "requirements.lock:sha256", "value": digest}],
        },
        "components": [
            {
                "type": "library", "bom-ref": one.purl, "name": one.name, "version": one.version,
                "purl": one.purl, "scope": "required" if one.name in needed else "optional",
            }
            for one in listed
        ],
        "dependencies": [
            {
                "ref": own,
                "dependsOn": [
                    one.purl
                    for one in listed
                    if f"{name} (pyproject.toml)" in one.via or one.name in extra
                ],
            },
            *(
                {"ref": one.purl, "dependsOn": [o.purl for o in listed if one.name in o.via]}
                for one in listed
            ),
        ],
    }  # fmt: skip


def audit(packages: list[Package], url: str) -> tuple[list[str], str]:
    """Return (what is known about them, why nobody could be asked or "")."""
    queries = [
        {"package": {"ecosystem": "PyPI", "name": one.name}, "version": one.version}
        for one in packages
    ]
    request = urllib.request.Request(  # noqa: S310  # a fixed address, or the caller's own
        url, json.dumps({"queries": queries}).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=WAIT_S) as answer:  # noqa: S310
            results = json.load(answer)["results"]
        told = [[str(hit["id"]) for hit in one.get("vulns", [])] for one in results]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return [], f"{url}: {type(error).__name__}: {error}"
    if len(told) != len(packages):
        return [], f"{url}: {len(told)} answers to {len(packages)} questions"
    pairs = zip(packages, told, strict=True)
    return [f"{one.name} {one.version}: {', '.join(ids)}" for one, ids in pairs if ids], ""


def main(arguments: list[str]) -> int:
    """Do what the module's text says."""
    lock = (ROOT / "requirements.lock").read_text()
    if arguments == ["--audit"]:
        packages = sorted(locked(lock).values(), key=lambda one: one.name)
        known, reason = audit(packages, os.environ.get("OSV_URL", OSV))
        for line in known:
            sys.stdout.write(f"{line}\n")
        said = f"not asked: {reason}" if reason else f"{len(known)} of {len(packages)} packages"
        sys.stdout.write(f"known weaknesses: {said}\n")
        return 1 if known else 0
    if len(arguments) != 1 or arguments[0].startswith("-"):
        sys.stderr.write(f"{__doc__}\n")
        return 2
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    target = Path(arguments[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(document(lock, project), indent=1) + "\n")
    sys.stdout.write(f"{target} written\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
