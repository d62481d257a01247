"""Pins the stick: a whole exchange by commands, receipts included, without any link at all."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway import continuity, site
from gateway.cli import main as gateway_cli
from sync.hub.cli import main as hub_cli
from tests.exchange_stage import Site, staged

TRACKING = "JD014600006281230704"


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async with staged(tmp_path, monkeypatch) as made:
        made.dial = ""
        yield made


async def run(cli: Any, *words: str, code: int = 0) -> Any:
    """Run a command in a thread, as it has an event loop of its own; return its JSON."""
    done = await asyncio.to_thread(CliRunner().invoke, cli, [*words, "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout) if not code else done.stderr


async def test_a_stick_carries_everything_there_and_receipts_back(
    stage: Site, tmp_path: Path
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(stage.config_text(), encoding="utf-8")
    hub, stick = str(stage.cloud.data), str(tmp_path / "stick")
    await stage.begin()
    door = await stage.deposit(TRACKING, await stage.courier())
    refused = await run(gateway_cli, "sync", "export", stick, "--config", str(config), code=1)
    assert "site.busy" in refused
    assert await stage.stop() == 0

    # There: all entries, annexes and all. The hub folds the same book, and has a say.
    out = await run(gateway_cli, "sync", "export", stick, "--config", str(config))
    busy = await run(hub_cli, "sync", "import", "0042", stick, "--config", hub, code=1)
    assert "store.busy" in busy
    await stage.cloud.stop()
    come = await run(hub_cli, "sync", "import", "0042", stick, "--config", hub)
    assert come == {"entries": out["entries"], "refused": [], "fenced": False}
    again = await run(hub_cli, "sync", "import", "0042", stick, "--config", hub)
    assert again["entries"] == 0
    await stage.cloud.start()
    grant = await stage.cloud.tell("/grants", grant="courier", tenant="acme", label="van")
    assert grant["new"]
    await stage.cloud.stop()

    # Back: the hub's entries, and receipts for every log of the site.
    back = await run(hub_cli, "sync", "export", "0042", stick, "--config", hub)
    assert back["receipts"] == 2
    come = await run(gateway_cli, "sync", "import", stick, "--config", str(config))
    assert come["entries"] >= 2, "the hub's first entry and the grant"
    assert not come["refused"]
    # A site that knows no hub says in words which logs it took no receipt of.
    alone = tmp_path / "alone.toml"
    text = config.read_text(encoding="utf-8")
    alone.write_text(re.sub(r"(?m)^(url|writer|cosigner) = .*$", "", text), encoding="utf-8")
    words = ["sync", "import", stick, "--config", str(alone)]
    done = await asyncio.to_thread(CliRunner().invoke, gateway_cli, words)
    first = f"refused lockers.example/site/0042/{stage.epoch}/custody: exchange.receipt"
    assert first in done.output.splitlines(), done.output
    shown = await run(gateway_cli, "sync", "status", "--data", str(stage.data))
    ours = [row for row in shown["logs"] if row["own"] and row["size"]]
    assert all(row["cosigned"] == row["size"] for row in ours)
    assert not continuity.broken(stage.data)
    await stage.cloud.start()
    await stage.agrees()
    await stage.begin()
    assert grant["ref"] in stage.book.couriers
    await stage.pick_up(stage.code(TRACKING), door)


async def test_a_stick_that_knows_more_of_us_than_we_do_marks_the_site(
    stage: Site, tmp_path: Path
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(stage.config_text(), encoding="utf-8")
    stick = str(tmp_path / "stick")
    stage.save(tmp_path / "backup")
    await stage.begin()
    door = await stage.deposit(TRACKING, await stage.courier())
    assert await stage.stop() == 0
    before = stage.epoch
    await run(gateway_cli, "sync", "export", stick, "--config", str(config))
    stage.restore(tmp_path / "backup")
    told = await run(gateway_cli, "sync", "import", stick, "--config", str(config))
    assert told["entries"] == 0
    assert continuity.broken(stage.data) == "rolled_back"
    await stage.begin()
    assert stage.epoch != before
    assert stage.book.fenced
    assert await stage.stop() == 0
    told = await run(gateway_cli, "sync", "import", stick, "--config", str(config))
    assert told["entries"] > 0, "what was lost of the older epoch is back"
    assert site.parcel_of(site.read_book(stage.data), f"acme/{TRACKING}/1") is not None
    await stage.begin()
    assert (await stage.check(door, occupied=True)).code == ""
    assert (await stage.lift()).code == ""
    await stage.pick_up(stage.code(TRACKING), door)


async def test_a_hub_that_a_stick_knows_more_of_begins_an_epoch_behind_a_fence(
    stage: Site, tmp_path: Path
) -> None:
    config = tmp_path / "gateway.toml"
    config.write_text(stage.config_text(), encoding="utf-8")
    hub, stick = str(stage.cloud.data), str(tmp_path / "stick")
    await stage.cloud.stop()
    stage.cloud.save(tmp_path / "hub-backup")
    await stage.cloud.start()
    grant = await stage.cloud.tell("/grants", grant="courier", tenant="acme", label="van")
    await stage.cloud.stop()
    await run(hub_cli, "sync", "export", "0042", stick, "--config", hub)
    await run(gateway_cli, "sync", "import", stick, "--config", str(config))
    await run(gateway_cli, "sync", "export", stick, "--config", str(config))
    stage.cloud.restore(tmp_path / "hub-backup")
    first = await run(hub_cli, "sync", "import", "0042", stick, "--config", hub)
    assert first["fenced"]
    second = await run(hub_cli, "sync", "import", "0042", stick, "--config", hub)
    assert second["entries"], "what was lost is back"
    await stage.cloud.start()
    assert grant["ref"] in {row["ref"] for row in (await stage.cloud.book())["grants"]}
    assert "log.rolled_back" in await stage.cloud.audit()
