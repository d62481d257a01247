"""Pins a site whose keys are wrapped, with real processes: from claim to wipe, and without it."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from certs import authority
from gateway import control, identity, trust
from gateway.control import SOCKET
from gateway.demo.process import Process
from tests.integration.test_enrol_cli import Console, linked, ran

CREDENTIALS = ("locker-gateway.keystore", "locker-hub.keystore")


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the service manager would give to each process, children included."""
    folder = tmp_path / "credentials"
    folder.mkdir(mode=0o700)
    for name in CREDENTIALS:
        (folder / name).write_bytes(secrets.token_bytes(32))
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    return folder


@pytest.fixture
async def console(tmp_path: Path, credentials: Path) -> AsyncIterator[Console]:
    assert credentials.is_absolute()
    made = Console(tmp_path)
    try:
        await made.start()
        yield made
    finally:
        if made.process is not None:
            await made.process.killed()


def plain_keys(data: Path) -> list[str]:
    """Return which key files are not wrapped, or not closed to others."""
    files = sorted((data / "keys").iterdir())
    assert files
    return [
        one.name for one in files
        if not one.read_bytes().startswith(b"PLGK1") or one.stat().st_mode & 0o777 != 0o600
    ]  # fmt: skip


def digest(data: Path) -> dict[str, str]:
    """What every file of a folder holds."""
    files = [one for one in data.rglob("*") if one.is_file()]
    return {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in files}


class Place:
    """A site's folder and how its gateway is started."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.data = folder, folder / "site"
        self.file = folder / "gateway.toml"
        self.file.write_text(
            f'data_dir = {json.dumps(str(self.data))}\n[kiosk]\nlisten = "127.0.0.1:0"\n'
            '[installer]\nlisten = "127.0.0.1:0"\n'
        )

    async def start(self) -> Process:
        return await Process.start(
            "locker-gateway", "run", "--config", str(self.file),
            cwd=self.folder, log=self.folder / "gateway.log",
        )  # fmt: skip

    async def told(self, *said: str) -> str:
        status, out, err = await ran("locker-gateway", *said, "--data", str(self.data))
        assert status == 0, (said, err)
        return out


async def test_a_life_with_wrapped_keys(
    console: Console, tmp_path: Path, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert plain_keys(console.data) == []
    place = Place(tmp_path)
    data = place.data
    given = (await console.claim("0042"))["text"]
    status, _, err = await ran(
        "locker-gateway", "enrol", "-", "--data", str(data), given=given + "\n"
    )
    assert status == 0, err
    gateway = await place.start()
    try:
        await linked(data, gateway)
        await place.told("key", "rotate", "log")
        assert identity.NEXT_LOG_KEY in identity.keys_of(data).names()
        shown = await control.pairing(data / SOCKET, do="open", by="eva")
        assert shown["qr"].startswith("PLG1P:")
    finally:
        await gateway.stop()
    assert plain_keys(data) == []
    # A renewal's key, and what takes its place.
    asked = trust.next_key(data)
    assert authority.pin_of(trust.next_key(data).public_key()) == authority.pin_of(
        asked.public_key()
    )
    assert "plain" not in await place.told("key", "check")
    assert plain_keys(data) == []

    # Without the credential, or with another machine's: a clear word, and nothing is touched.
    before = digest(data)
    for code in ("keystore.sealed", "keystore.wrapping"):
        folder = tmp_path / code
        folder.mkdir()
        if code == "keystore.wrapping":
            (folder / CREDENTIALS[0]).write_bytes(secrets.token_bytes(32))
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
        for said in (("run", "--config", str(place.file)), ("key", "check", "--data", str(data))):
            status, out, err = await ran("locker-gateway", *said)
            assert (status, code in out + err, "Traceback" in err) == (1, True, False), (said, err)
        status, _, err = await ran("locker-gateway", "log", "vkey", "--writer", "--data", str(data))
        assert (status, code in err) == (1, True), err
        status, _, err = await ran(
            "locker-gateway",
            "decommission",
            "--why",
            "w",
            "--yes",
            "--data",
            str(data),
            "--export",
            str(tmp_path / code / "log"),
        )
        assert (status, code in err) == (1, True), err
    after = digest(data)
    assert {one for one in before if after.get(one) != before[one]} <= {
        str(data / "clock.json"), str(data / "gateway.lock"),
    }  # fmt: skip

    # Out of a backup: a new epoch, with the same keys.
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    epoch = identity.load_names(data).epoch
    await place.told("restored")
    gateway = await place.start()
    try:
        await linked(data, gateway)
        assert identity.load_names(data).epoch != epoch
        assert plain_keys(data) == []
        status, _, err = await ran(
            "locker-gateway", "decommission", "--why", "moved", "--yes", "--data", str(data)
        )
        assert status == 0, err
    finally:
        await gateway.stop()
    assert [one.name for one in data.iterdir()] == ["decommissioned.json"]
    status, _, err = await ran("locker-gateway", "run", "--config", str(place.file))
    assert (status, "site.decommissioned" in err) == (78, True), err


async def test_keys_of_before_are_sealed_before_the_service_starts(
    tmp_path: Path, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    place = Place(tmp_path)
    await place.told("init", "--operator", "lockers.example", "--site", "0042")
    assert "log" in plain_keys(place.data)
    status, _, err = await ran("locker-gateway", "key", "seal", "--data", str(place.data))
    assert (status, "keystore.sealed" in err) == (1, True), err
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
    assert "sealed:" in await place.told("key", "seal")
    assert plain_keys(place.data) == []
    assert "all were" in await place.told("key", "seal")
    gateway = await place.start()
    try:
        for _ in range(600):
            assert gateway.status is None, gateway.failed("test.gateway_ended")
            if (place.data / SOCKET).exists():
                break
            await asyncio.sleep(0.05)
        assert (place.data / SOCKET).stat().st_mode & 0o777 == 0o600
        assert place.data.stat().st_mode & 0o777 == 0o700
    finally:
        await gateway.stop()
