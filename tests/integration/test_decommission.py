"""Pins requirement 18: keys and data are wiped, the last entry is known, no cut undoes it."""

import asyncio
import base64
import json
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner

from certs.keys import Verifier
from certs.note import open_checkpoint
from gateway import identity, site, wiping
from gateway.cli import main
from gateway.errors import GatewayError
from gateway.wiping import Last
from sync import entry, files, session
from sync.commit import Identity
from sync.origin import Origin, Ring
from sync.store import Store
from tests.contract.site_stage import Stand, stand
from tests.exchange_stage import staged, vkey_of

TRACKING = "JDCANARY0146281230"


def run(*words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout) if not code else done.stderr


def ends(data: Path, *words: str, code: int = 0) -> Any:
    return run("decommission", "--data", str(data), "--why", "closed", "--yes", *words, code=code)


def secrets_of(data: Path) -> dict[str, bytes]:
    """Everything that must be found nowhere afterwards; and that is found before."""
    keys = identity.keys_of(data)
    found = {name: keys.read(name, size=None) for name in keys.names()}
    found["tracking"] = TRACKING.encode()
    return found


def left(folder: Path, wanted: dict[str, bytes]) -> list[str]:
    """Return which of them stand in any file of the folder, in any usual form."""
    found = []
    for file in (one for one in folder.rglob("*") if one.is_file()):
        content = file.read_bytes() + file.name.encode()
        for name, secret in wanted.items():
            forms = (secret, secret.hex().encode(), base64.b64encode(secret))
            found += [f"{name} in {file.name}"] if any(form in content for form in forms) else []
    return found


async def with_parcel(stage: Stand) -> int:
    """A parcel lies behind a door, and its name is on the disk; returns the door."""
    secret = await stage.courier()
    await stage.post("button", button="deliver")
    await stage.post("staff-code", digits=secret)
    await stage.shows("deliver.scan")
    await stage.post("parcel", tracking=TRACKING)
    await stage.shows("deliver.size")
    await stage.post("button", button="size", argument="M")
    door = int((await stage.shows("deliver.open"))["door"])
    await stage.hands(door, parcel=True)
    await stage.shows("deliver.scan")
    await stage.post("button", button="home")
    return door


async def test_nothing_is_left_and_the_last_entry_is_in_the_file(tmp_path: Path) -> None:
    data, kept = tmp_path / "data", tmp_path / "site.export"
    async with stand(data) as stage:
        stage.start()
        await stage.in_service()
        await with_parcel(stage)
        said = await asyncio.to_thread(ends, data, code=1)
        assert "decommission.export" in said
        said = await asyncio.to_thread(ends, data, "--export", str(kept), code=1)
        assert "site.busy" in said
        assert await stage.stop() == 0
        # Something of an earlier life, and of trust.
        (data / "trust").mkdir()
        (data / "trust" / "device.pem").write_bytes(b"certificate")
        identity.keys_of(data).create("tls", bytes(range(100, 221)))
        who, wanted = site.load(data), secrets_of(data)
        assert len(left(data, wanted)) >= len(wanted)
        said = await asyncio.to_thread(ends, data, "--export", str(data / "in.export"), code=1)
        assert "decommission.inside" in said
        said = await asyncio.to_thread(ends, data, "--export", str(kept), code=1)
        assert "site.holds" in said
        vkey = vkey_of(data)
        told = await asyncio.to_thread(ends, data, "--export", str(kept), "--force")

        assert [one.name for one in data.iterdir()] == ["decommissioned.json"]
        assert left(data, wanted) == []
        last = msgspec.json.decode((data / "decommissioned.json").read_bytes(), type=Last)
        assert (last.site, last.entry) == (who.name, told["entry"])
        for command in (["init"], ["key", "check"], ["status"], ["site", "export"]):
            done = await asyncio.to_thread(
                CliRunner().invoke, main, [*command, "--data", str(data)]
            )
            assert done.exit_code == 1, command
        with pytest.raises(GatewayError) as caught:
            stage.start()
        assert caught.value.code == "site.decommissioned"
        await the_file_says_so(tmp_path, kept, vkey, last)


async def the_file_says_so(folder: Path, kept: Path, vkey: str, last: Last) -> None:
    """Somebody who knows only the site's writer key takes the file in."""
    who = Identity("lockers.example", "hub/0042", "e1-0000000a", bytes(32))
    ring = Ring(vkey)
    async with await Store.open(folder / "other.db", who, ring=ring) as store:
        # The other store is a hub's: it takes in the site's logs by the keys of its ring.
        told = await files.load(store, kept)
        assert told.entries > 5
        for origin, note in last.checkpoints.items():
            verifier = Verifier(origin, Verifier.from_vkey(vkey).public)
            checkpoint = open_checkpoint(note, verifier)
            log = await store.log(origin)
            assert log is not None
            assert log.size == checkpoint.size
            if origin.endswith("/custody"):
                (item,) = await store.read(origin, log.size - 1, log.size)
                assert entry.parse(item.entry).kind == "site.decommissioned"
                assert last.entry == f"{Origin.parse(origin).log}{log.size - 1}"


async def test_a_linked_site_ends_with_the_hubs_receipt_and_its_own_process_wipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "COSIGN_MS", 100)
    async with staged(tmp_path, monkeypatch) as stage:
        await stage.begin()
        await stage.has(lambda: stage.cloud_logs()["up"])
        wanted = secrets_of(stage.data)
        told = await asyncio.to_thread(ends, stage.data)
        assert told["kept_by"] == "the hub"
        async with asyncio.timeout(30):
            assert await stage.task == 0
        assert [one.name for one in stage.data.iterdir()] == ["decommissioned.json"]
        assert left(stage.data, wanted) == []
        last = msgspec.json.decode((stage.data / "decommissioned.json").read_bytes(), type=Last)

        async def switched_off() -> bool:
            return not (await stage.cloud.hub.registry.get("0042")).enabled

        await stage.comes(switched_off)
        assert "site.decommissioned" in await stage.cloud.audit()
        shelf = await stage.cloud.hub.shelf("0042")
        for origin, note in last.checkpoints.items():
            log = await shelf.log(origin)
            assert log is not None
            assert log.note == note
            if origin.endswith("/custody"):
                (item,) = await shelf.read(origin, log.size - 1, log.size)
                assert entry.parse(item.entry).kind == "site.decommissioned"


async def test_no_receipt_no_wipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub goes away at that moment: the end is written, and everything is still here."""
    monkeypatch.setattr("gateway.decommission.RECEIPT_S", 0.5)
    monkeypatch.setattr("gateway.decommission._hub", lambda _: (False, True))
    data = tmp_path / "data"
    await asyncio.to_thread(run, "init", "--data", str(data))
    said = await asyncio.to_thread(ends, data, code=1)
    assert "decommission.receipt" in said
    assert not wiping.is_under_way(data)
    assert identity.keys_of(data).names() == ("code", "log")
    # The engine writes nothing any more; the command goes on where it was.
    monkeypatch.undo()
    kept = tmp_path / "kept"
    told = await asyncio.to_thread(ends, data, "--export", str(kept))
    assert told["entry"].endswith(":sc0")
    assert wiping.is_over(data)


class Cut(BaseException):
    """Power is gone."""


def cut_at(number: int, patched: pytest.MonkeyPatch) -> None:
    """End everything at the n-th durable step."""
    count = 0

    def stop_or(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count >= number:
                raise Cut
            return real(*words, **more)

        return call

    for name in ("fsync", "unlink", "replace", "rmdir"):
        patched.setattr(os, name, stop_or(getattr(os, name)))


def test_cut_at_each_step_it_is_a_whole_site_or_the_wipe_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = tmp_path / "origin"
    run("init", "--data", str(origin))
    (origin / "trust").mkdir()
    (origin / "trust" / "hub.json").write_text("{}", encoding="utf-8")
    wanted = secrets_of(origin)
    wanted.pop("tracking")
    last, number, done = Last("site", "e1-0000000a:sc0", {}), 0, False
    while not done:
        number += 1
        data = tmp_path / f"cut{number}"
        shutil.copytree(origin, data)
        with monkeypatch.context() as patched:
            cut_at(number, patched)
            with suppress(Cut):
                wiping.begin(data, last)
                wiping.finish(data)
                done = True
        if wiping.is_under_way(data) or wiping.is_over(data):
            with pytest.raises(GatewayError) as caught:
                site.load(data)
            assert caught.value.code == "site.decommissioned"
            assert [one.name for one in data.iterdir()] == ["decommissioned.json"]
            assert left(data, wanted) == []
        else:
            assert site.load(data).identity == site.load(origin).identity
    assert number > 10
