"""Pins the bill of materials: valid, complete, the same each time; and the audit, offline too."""

import http.server
import importlib.metadata
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from typing_extensions import override

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "deploy/sbom.py"
NAME = "parcel-locker-gateway"


def run(*arguments: object, **env: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "no_proxy": "*", **env},
    )  # fmt: skip


def written(folder: Path) -> dict[str, Any]:
    result = run(folder / "dist/sbom.json")
    assert result.returncode == 0, result.stderr
    found = json.loads((folder / "dist/sbom.json").read_text())
    assert isinstance(found, dict)
    return found


def needed_here() -> set[str]:
    """What an installed wheel asks for on this machine, by what the packages themselves say."""
    open_, done = [NAME], set[str]()
    while open_:
        name = open_.pop()
        done.add(name)
        for line in importlib.metadata.requires(name) or []:
            need = Requirement(line)
            asked = canonicalize_name(need.name)
            extras = {"serial"} if name == "pymodbus" else {""}  # as pyproject.toml asks
            marker = need.marker
            if asked not in done and (
                marker is None or any(marker.evaluate({"extra": one}) for one in extras)
            ):
                open_.append(asked)
    return done - {NAME}


def test_it_has_the_shape_of_cyclonedx_1_6(tmp_path: Path) -> None:
    bom = written(tmp_path)
    assert (bom["bomFormat"], bom["specVersion"], bom["version"]) == ("CycloneDX", "1.6", 1)
    assert re.fullmatch(r"urn:uuid:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", bom["serialNumber"])
    own = bom["metadata"]["component"]
    assert (own["type"], own["name"]) == ("application", NAME)
    refs = [own["bom-ref"], *(one["bom-ref"] for one in bom["components"])]
    assert len(refs) == len(set(refs))
    for one in bom["components"]:
        assert set(one) == {"type", "bom-ref", "name", "version", "purl", "scope"}
        assert (one["type"], one["purl"]) == ("library", one["bom-ref"])
        assert one["purl"] == f"pkg:pypi/{canonicalize_name(one['name'])}@{one['version']}"
        assert one["scope"] in {"required", "optional"}
    assert sorted(one["ref"] for one in bom["dependencies"]) == sorted(refs)
    assert {ref for one in bom["dependencies"] for ref in one["dependsOn"]} <= set(refs)


def test_it_lists_what_the_wheel_brings_and_no_tool_of_ours(tmp_path: Path) -> None:
    listed = {one["name"]: one for one in written(tmp_path)["components"]}
    assert needed_here() <= set(listed)
    assert {name for name, one in listed.items() if one["scope"] == "optional"} == {"asyncpg"}
    assert not {"pytest", "mypy", "ruff", "uv", "hypothesis"} & set(listed)
    lock = (ROOT / "requirements.lock").read_text()
    for name, one in listed.items():
        assert re.search(rf"^{re.escape(name)}=={re.escape(one['version'])}\s", lock, re.MULTILINE)


def test_the_same_lock_gives_the_same_bytes(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    written(first)
    written(second)
    one, other = ((each / "dist/sbom.json").read_bytes() for each in (first, second))
    assert one == other
    assert b"://" not in one.replace(b"pkg://", b"")


def test_it_says_how_it_is_called() -> None:
    assert run().returncode == 2
    assert "--audit" in run("--help").stderr


@contextmanager
def service(answer: Any) -> Iterator[tuple[str, list[Any]]]:
    """A service that answers each question of a batch as `answer(package)` says."""
    heard: list[Any] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the base class's name
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["queries"]
            heard.extend(asked)
            body = json.dumps(answer(asked)).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        @override
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", heard
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_an_audit_asks_about_every_locked_version_and_fails_for_what_is_known() -> None:
    def answer(asked: list[Any]) -> Any:
        return {
            "results": [
                {"vulns": [{"id": "X-1"}]} if one["package"]["name"] == "aiohttp" else {}
                for one in asked
            ]
        }

    with service(answer) as (url, heard):
        result = run("--audit", OSV_URL=url)
    assert result.returncode == 1
    assert re.search(r"^aiohttp \S+: X-1$", result.stdout, re.MULTILINE)
    lock = (ROOT / "requirements.lock").read_text()
    assert len(heard) == len(re.findall(r"^[a-z0-9][^=\s]*==", lock, re.MULTILINE))


def test_an_audit_passes_when_nothing_is_known_and_says_so_when_nobody_answers() -> None:
    with service(lambda asked: {"results": [{} for _ in asked]}) as (url, _):
        clean = run("--audit", OSV_URL=url)
        assert (clean.returncode, "known weaknesses: 0 of" in clean.stdout) == (0, True)
    silent = run("--audit", OSV_URL=url)
    assert (silent.returncode, "not asked: " in silent.stdout) == (0, True)
    odds: list[Any] = [{"results": []}, [], {"results": [3]}]
    for odd in odds:
        with service(lambda _, odd=odd: odd) as (url, _):
            result = run("--audit", OSV_URL=url)
            assert (result.returncode, "not asked: " in result.stdout) == (0, True)


def test_the_front_page_says_where_to_report_and_until_when_there_are_fixes() -> None:
    section = (ROOT / "README.md").read_text().partition("## Security\n")[2].partition("\n## ")[0]
    assert "Report a weakness privately" in section
    assert "never a public" in section
    version = importlib.metadata.version(NAME).rpartition(".")[0]
    row = re.search(rf"^\| {re.escape(version)} \| (.+?) \|$", section, re.MULTILINE)
    assert row, f"no support end date for {version}"
    assert datetime.strptime(row[1], "%d %B %Y").year >= 2027  # noqa: DTZ007  # a day, not a moment
