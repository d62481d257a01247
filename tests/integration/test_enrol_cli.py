"""Pins `locker-gateway enrol` with real processes: a claim of the hub's console makes a site."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway import control, identity, site, trust
from gateway.control import SOCKET
from gateway.demo.process import Process, free_port, words
from gateway.errors import GatewayError
from sync.reader import LogFile

READY_S = 60.0


async def ran(program: str, *said: str, given: str = "") -> tuple[int, str, str]:
    """Run a command to its end: status, stdout, stderr."""
    child = await asyncio.create_subprocess_exec(
        *words(program, said),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(READY_S):
            out, err = await child.communicate(given.encode())
    finally:
        if child.returncode is None:
            child.kill()
    return child.returncode or 0, out.decode(), err.decode()


class Console:
    """A hub as a process, and its operator's commands."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "hub"
        self.process: Process | None = None

    async def told(self, *said: str) -> str:
        status, out, err = await ran("locker-hub", *said)
        assert status == 0, (said, err)
        return out

    async def start(self) -> None:
        await self.told("init", str(self.data), "--operator", "lockers.example")
        config = self.data / "hub.toml"
        made = config.read_text("utf-8").partition("\n[api]")[0]
        ports = "".join(
            f'[{name}]\nlisten = "127.0.0.1:{free_port()}"\n' for name in ("api", "link", "renew")
        )
        config.write_text(f"{made}\n{ports}", "utf-8")
        await self.told("ca", "init", "--host", "127.0.0.1", "--config", str(self.data))
        self.process = await Process.start(
            "locker-hub", "run", str(self.data),
            cwd=self.folder, log=self.folder / "hub.log", piped=True,
        )  # fmt: skip
        assert (await self.process.said(READY_S)).startswith("hub https")

    async def claim(self, name: str) -> dict[str, Any]:
        out = await self.told("claim", "create", name, "--config", str(self.data), "--json")
        told: dict[str, Any] = json.loads(out)
        return told


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    made = Console(tmp_path)
    try:
        await made.start()
        yield made
    finally:
        if made.process is not None:
            await made.process.killed()


def judged(data: Path) -> list[tuple[str, str]]:
    """What the log says of attempts: (what, why)."""
    found = []
    with LogFile.open(identity.database_of(data)) as log:
        for head in log.heads():
            for record in log.records(head):
                entry = json.loads(record.entry)
                if entry["kind"] == "access.judged":
                    found.append((entry["what"], entry.get("why", "")))
    return found


async def test_a_claim_makes_a_site_that_links(console: Console, tmp_path: Path) -> None:
    data = tmp_path / "site"
    given = await console.claim("0042")
    text = given["text"]
    assert text.startswith("PLG1E:")
    letters = text.split(":")[1]
    # The claim comes by standard input: nothing of it is in a list of processes.
    status, out, err = await ran(
        "locker-gateway", "enrol", "-", "--data", str(data), "--json", given=text + "\n"
    )
    assert status == 0, err
    told = json.loads(out)
    assert (told["site"], told["made"]) == ("lockers.example/site/0042", True)
    assert err.splitlines()[0] == "asking whom to trust"
    assert letters not in out + err
    who = site.load(data)
    assert (who.name, who.key_version) == ("lockers.example/site/0042", told["key_version"])
    assert judged(data) == [("enrol", "")]
    secret = [path for path in data.rglob("*") if path.is_file() and path.parent.name == "keys"]
    assert {path.name for path in secret} >= {"log", "tls"}
    for path in secret:
        assert path.stat().st_mode & 0o777 == 0o600
    (tmp_path / "gateway.toml").write_text(
        f'data_dir = {json.dumps(str(data))}\n[kiosk]\nlisten = "127.0.0.1:0"\n'
    )
    gateway = await Process.start(
        "locker-gateway", "run", "--config", str(tmp_path / "gateway.toml"),
        cwd=tmp_path, log=tmp_path / "gateway.log",
    )  # fmt: skip
    try:
        told = await linked(data, gateway)
        assert told["hub"]["url"].startswith("https://")
        assert told["certificate"]["failed"] == 0
        status, out, err = await ran("locker-gateway", "status", "--data", str(data))
        assert status == 0, err
        assert "linked" in out
        assert "certificate until" in out
        status, out, err = await ran("locker-gateway", "enrol", letters, "--data", str(data))
        assert (status, "--hub" in err) == (1, True)
        status, _, err = await ran("locker-gateway", "enrol", text, "--data", str(data))
        assert (status, "site.busy" in err) == (1, True)
    finally:
        await gateway.killed()
    log = (tmp_path / "gateway.log").read_text() + (tmp_path / "hub.log").read_text()
    assert letters not in log


async def linked(data: Path, gateway: Process) -> dict[str, Any]:
    async with asyncio.timeout(READY_S):
        while True:
            assert gateway.status is None, gateway.failed("test.gateway_ended")
            try:
                told = await control.status(data / SOCKET)
            except GatewayError:
                told = {}
            if told.get("hub", {}).get("up"):
                return told
            await asyncio.sleep(0.05)


async def test_what_is_refused_says_what_to_do_and_goes_on_record(
    console: Console, tmp_path: Path
) -> None:
    data = tmp_path / "site"
    status, _, err = await ran(
        "locker-gateway", "init", "--data", str(data), "--operator", "lockers.example",
        "--site", "0042",
    )  # fmt: skip
    assert status == 0, err
    given, other = await console.claim("0042"), await console.claim("0043")
    letters, root, url = given["text"].removeprefix("PLG1E:").split(":", 2)
    colons = ":".join(root[at : at + 2] for at in range(0, 64, 2)).upper()
    cases = [
        ((letters, "--hub", url, "--root", "00" * 32), "trust.pin", "fingerprint"),
        (("A" * 26, "--hub", url, "--root", root), "claim.refused", "another claim"),
        ((other["text"],), "claim.other_site", "claim"),
        ((letters, "--hub", "https://127.0.0.1:1", "--root", root), "link.unreachable", "address"),
        ((letters, "--hub", "http://127.0.0.1:1", "--root", root), "enrol.hub", "https://"),
        ((letters, "--hub", url), "enrol.root", "--root"),
        (("1", "--hub", url, "--root", root), "claim.malformed", "26 letters"),
    ]
    for said, code, remedy in cases:
        status, _, err = await ran("locker-gateway", "enrol", *said, "--data", str(data))
        assert (status, code in err, remedy in err) == (1, True, True), err
        assert letters not in err
    assert trust.load(data) is None
    seen = ["trust.pin", "claim.refused", "claim.other_site", "link.unreachable"]
    assert judged(data) == [("enrol", why) for why in seen]
    # Typed as people type, with the fingerprint as people read it.
    typed = " ".join(letters[at : at + 5] for at in range(0, 26, 5)).lower()
    status, _, err = await ran(
        "locker-gateway", "enrol", typed, "--hub", url, "--root", colons, "--data", str(data)
    )
    assert status == 0, err
    assert judged(data)[-1] == ("enrol", "")
