"""Pins a gateway in the place of a lost one, and two gateways from one disk: both are surfaced."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway import replacing, site
from gateway.cli import main as gateway_cli
from sync.errors import TheirsInvalid
from sync.hub.cli import main as hub_cli
from tests.exchange_stage import Site, staged, vkey_of

OLD, NEW = "JD014600006281230704", "JD014600006281230705"


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async with staged(tmp_path, monkeypatch) as made:
        yield made


async def run(cli: Any, *words: str, code: int = 0) -> Any:
    done = await asyncio.to_thread(CliRunner().invoke, cli, [*words, "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout) if not code else done.stderr


async def with_the_hub_s_code_key(stage: Site, tmp_path: Path) -> str:
    """The hub's code key, imported at the site; returns the file."""
    out = tmp_path / "code-key"
    words = ["code-key", "0042", "--config", str(stage.cloud.data), "--out", str(out)]
    done = await asyncio.to_thread(CliRunner().invoke, hub_cli, words)
    assert done.exit_code == 0, done.output
    await run(gateway_cli, "key", "import", str(out), "--data", str(stage.data))
    return str(out)


async def test_a_lost_disk_is_replaced_out_of_the_hub_s_copy(stage: Site, tmp_path: Path) -> None:
    key_file = await with_the_hub_s_code_key(stage, tmp_path)
    await stage.begin()
    door = await stage.deposit(OLD, await stage.courier())
    code = stage.code(OLD)
    await stage.agrees()
    assert await stage.stop() == 0
    before = stage.epoch
    shutil.rmtree(stage.data)

    writer, cosigner = stage.cloud.hub_keys
    words = [
        "replace", "--data", str(stage.data), "--site", "0042", "--hub", stage.cloud.url,
        "--writer", writer, "--cosigner", cosigner, "--code-key", key_file,
    ]  # fmt: skip
    made = await run(gateway_cli, *words)
    assert made["vkey"] == vkey_of(stage.data)
    assert made["epoch"] == stage.epoch > before
    assert made["entries"] > 10
    again = await run(gateway_cli, *words, code=1)
    assert "site.exists" in again

    # Before the hub knows the new key it takes nothing; that does no lasting harm.
    await stage.begin()
    assert stage.book.fenced
    await stage.has(lambda: "link.stuck" in stage.alarms)
    assert (await stage.type_code(code))["name"] == "collect.fault"
    await stage.post("button", button="home")
    hub = str(stage.cloud.data)
    told = await run(hub_cli, "site", "rekey", "0042", "--config", hub, "--vkey", made["vkey"])
    assert len(told["vkey"].split()) == 2
    assert (await run(hub_cli, "site", "rekey", "0042", "--config", hub, "--vkey", made["vkey"]))[
        "vkey"
    ] == told["vkey"]
    await stage.agrees()
    await stage.has(lambda: "link.stuck" not in stage.alarms)
    assert (await stage.check(door, occupied=True)).code == ""
    await stage.has(lambda: not stage.book.fenced)
    await stage.pick_up(code, door)
    await stage.agrees()


async def test_a_replace_that_failed_leaves_no_site_and_one_that_was_killed_a_fenced_one(
    stage: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_file = await with_the_hub_s_code_key(stage, tmp_path)
    await stage.begin()
    door = await stage.deposit(OLD, await stage.courier())
    code = stage.code(OLD)
    await stage.agrees()
    assert await stage.stop() == 0
    shutil.rmtree(stage.data)
    writer, cosigner = stage.cloud.hub_keys
    words = [
        "replace", "--data", str(stage.data), "--site", "0042", "--hub", stage.cloud.url,
        "--cosigner", cosigner, "--code-key", key_file, "--writer",
    ]  # fmt: skip
    assert "key.vkey" in await run(gateway_cli, *words, "mistyped", code=1)
    assert not stage.data.exists()

    with monkeypatch.context() as patched:
        patched.setattr(replacing, "_pull", gone)
        assert "exchange.unreachable" in await run(gateway_cli, *words, writer, code=1)
        assert not (stage.data / site.IDENTITY).exists()
        # Killed at this point nothing takes it back: it is a site, and behind a fence.
        patched.setattr(replacing, "_unmake", lambda data: None)
        assert "exchange.unreachable" in await run(gateway_cli, *words, writer, code=1)
    await stage.begin()
    await stage.has(lambda: stage.book.fenced and any(stage.book.parcels))
    assert (await stage.type_code(code))["name"] == "collect.fault"
    await stage.post("button", button="home")
    assert await stage.stop() == 0
    shutil.rmtree(stage.data)

    # What failed can be given again, over what it left.
    with monkeypatch.context() as patched:
        patched.setattr(replacing, "_pull", gone)
        await run(gateway_cli, *words, writer, code=1)
    made = await run(gateway_cli, *words, writer)
    assert made["entries"] > 10
    await stage.begin()
    assert stage.book.fenced
    assert stage.book.fenced_door(door)
    assert await stage.stop() == 0


async def gone(*_: object) -> None:
    raise TheirsInvalid("exchange.unreachable", "Check the peer's address and that it runs.")


async def test_rekey_refuses_what_is_no_key_of_this_site(stage: Site) -> None:
    hub = str(stage.cloud.data)
    other = vkey_of(stage.data).replace("site/0042", "site/0043")
    for vkey in ("nonsense", other, stage.cloud.hub_keys[0]):
        said = await run(hub_cli, "site", "rekey", "0042", "--config", hub, "--vkey", vkey, code=1)
        assert "site.vkey" in said
    unknown = await run(hub_cli, "site", "rekey", "0077", "--config", hub, "--vkey", other, code=1)
    assert "hub.unknown_site" in unknown or "site.vkey" in unknown


class Twin:
    """A second gateway from a copy of the disk; its doors are the same ones."""

    def __init__(self, stage: Site, data: Path) -> None:
        self.site = Site(data, stage.bank, stage.web)
        self.site.cloud, self.site.dial = stage.cloud, stage.dial


async def test_a_cloned_card_one_after_the_other_is_surfaced_and_ends_behind_a_fence(
    stage: Site, tmp_path: Path
) -> None:
    await stage.begin()
    secret = await stage.courier()
    door = await stage.deposit(OLD, secret)
    used = stage.code(OLD)
    await stage.agrees()
    assert await stage.stop() == 0
    stage.save(tmp_path / "twin")
    await stage.begin()
    await stage.pick_up(used, door)
    await stage.deposit(NEW, secret)
    await stage.agrees()
    assert await stage.stop() == 0
    epochs = [stage.epoch]

    # The copy: it notices that somebody went on, and begins an epoch behind a fence.
    twin = Twin(stage, tmp_path / "twin").site
    await twin.begin()
    await twin.has(lambda: twin.book.fenced)
    assert (await twin.type_code(used))["name"] != "collect.open"
    await twin.post("button", button="home")
    await twin.agrees()
    assert await twin.stop() == 0
    epochs.append(twin.epoch)

    # The first one again: overtaken, so it begins one more, behind a fence too.
    await stage.begin()
    await stage.has(lambda: stage.book.fenced and stage.epoch not in epochs)
    epochs.append(stage.epoch)
    assert await stage.stop() == 0

    # And the copy again: it was overtaken twice; now a person has to find out.
    await twin.begin()
    await twin.has(lambda: "site.cloned" in twin.alarms or twin.epoch not in epochs)
    assert await twin.stop() == 0
    assert len({*epochs, twin.epoch}) <= 4


async def test_two_gateways_from_one_disk_at_once_do_not_chase_each_other(
    stage: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.begin()
    secret = await stage.courier()
    door = await stage.deposit(OLD, secret)
    used = stage.code(OLD)
    await stage.agrees()
    assert await stage.stop() == 0
    stage.save(tmp_path / "twin")
    begun: list[str] = []
    begin_log = site.begin_log

    async def counted(*args: Any) -> Any:
        begun.append(str(args[3]))
        return await begin_log(*args)

    monkeypatch.setattr(site, "begin_log", counted)
    twin = Twin(stage, tmp_path / "twin").site
    await stage.begin()
    await twin.begin()
    cloned = {"site.cloned", "log.forked"}

    def surfaced() -> bool:
        return any(one.lives() and one.alarms & cloned for one in (stage, twin))

    await stage.until(surfaced)
    count = len(begun)
    connects = stage.app._exchange.kept.stand.connects + twin.app._exchange.kept.stand.connects
    await stage.until(
        lambda: (
            stage.app._exchange.kept.stand.connects + twin.app._exchange.kept.stand.connects
            > connects + 12
        )
    )
    assert len(begun) <= max(count, 3), begun
    for one in (stage, twin):
        if one.lives() and one.book.fenced:
            await one.in_service()
            assert (await one.type_code(used))["name"] != "collect.open"
            await one.post("button", button="home")
    assert stage.bank.state()["doors"][door - 1]["parcel"]
    assert await twin.stop() == 0
    audit = await stage.cloud.audit()
    assert any(code.startswith("log.") for code in audit), audit
