"""Pins the commands of restore and exchange: their JSON, their refusals, their exit codes."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway import continuity, doctor, site
from gateway.cli import main as gateway_cli
from gateway.commands import sync
from tests.exchange_stage import Site, staged

TRACKING = "JD014600006281230704"
KEY = base64.b64encode(bytes(range(32))).decode()
GOOD = {"site": "lockers.example/site/0042", "key_version": 2, "key": KEY}


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async with staged(tmp_path, monkeypatch) as made:
        yield made


async def run(*words: str, code: int = 0) -> Any:
    done = await asyncio.to_thread(CliRunner().invoke, gateway_cli, [*words, "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout) if not code else done.stderr


async def test_restored_fence_and_status_tell_json_and_refuse_by_code(stage: Site) -> None:
    data = ("--data", str(stage.data))
    none = {"fenced": False, "why": [], "unproved": [], "next_start": ""}
    assert await run("fence", "show", *data) == none
    assert "fence.none" in await run("fence", "lift", "--by", "eva", *data, code=1)
    await stage.begin()
    assert "site.busy" in await run("restored", *data, code=1)
    door = await stage.deposit(TRACKING, await stage.courier())
    await stage.agrees()
    shown = await run("sync", "status", *data)
    assert shown["hub"]["up"]
    assert {row["log"][-2:] for row in shown["logs"]} >= {"sc", "su", "hu"}
    assert "fence.none" in await run("fence", "lift", "--by", "eva", *data, code=1)
    assert await stage.stop() == 0

    before = stage.epoch
    told = await run("restored", *data)
    assert told == {"site": "lockers.example/site/0042", "epoch": before, "mark": "restored"}
    assert await run("restored", *data) == told, "twice is as good as once"
    assert await run("fence", "show", *data) == none | {"next_start": "restored"}
    assert "site.epoch_over" in await run("fence", "lift", "--by", "eva", *data, code=1)
    marked = {one.check: one for one in doctor.fence(stage.data)}["fence"]
    assert (marked.level, "restored" in marked.text) == ("note", True)
    assert (await run("sync", "status", *data))["hub"] is None

    await stage.begin()
    shown = await run("fence", "show", *data)
    assert shown == none | {"fenced": True, "why": ["restored"], "unproved": [door]}
    stands = {one.check: one for one in doctor.fence(stage.data)}["fence"]
    assert "fenced (restored)" in stands.text
    refused = await run("fence", "lift", "--by", "eva", *data, code=1)
    assert "fence.unproved" in refused or "fence.unheard" in refused
    lifted = await run("fence", "lift", "--by", "eva", "--trust-history", *data)
    assert lifted["entry"].startswith(stage.epoch)
    assert not (await run("fence", "show", *data))["fenced"]
    await stage.pick_up(stage.code(TRACKING), door)
    await stage.agrees()


def test_status_says_in_words_whether_there_is_a_hub_and_which_bytes_it_counts() -> None:
    hub = {"url": "", "up": False, "reason": "", "bytes_out": 2, "bytes_in": 1}
    assert sync.link_line(hub) == "no hub: this site is not enrolled"
    hub["url"] = "http://127.0.0.1:1"
    assert sync.link_line(hub) == (
        "http://127.0.0.1:1  no link (not dialled yet)  links before: 2 bytes out, 1 in"
    )


def test_doctor_asks_for_the_hub_s_keys(stage: Site) -> None:
    (alone,) = doctor.hub(stage.config().__class__(data_dir="/x"))
    assert (alone.check, alone.level) == ("hub", "note")
    plain, known = doctor.hub(stage.config())
    assert (plain.check, plain.level) == ("development", "bad")
    assert known.level == "ok"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"site": "lockers.example/site/0043"}, "key.other_site"),
        ({"key": "no base64!"}, "key.file"),
        ({"key": base64.b64encode(bytes(31)).decode()}, "key.file"),
        ({"key_version": 0}, "key.file"),
        ({"key_version": 65_536}, "key.file"),
        ({"more": 1}, "key.file"),
        ("[" * 3000, "key.file"),
        ("", "key.file"),
    ],
)
async def test_a_code_key_file_that_is_none_of_this_site_s_is_refused(
    stage: Site, tmp_path: Path, change: dict[str, Any] | str, code: str
) -> None:
    file = tmp_path / "key"
    text = change if isinstance(change, str) else json.dumps(GOOD | change)
    file.write_text(text, encoding="utf-8")
    said = await run("key", "import", str(file), "--data", str(stage.data), code=1)
    assert code in said
    assert KEY not in said
    assert site.load(stage.data).key_version == 1


async def test_a_code_key_is_taken_once_and_not_while_the_gateway_runs(
    stage: Site, tmp_path: Path
) -> None:
    file, words = tmp_path / "key", ("--data", str(stage.data))
    file.write_text(json.dumps(GOOD), encoding="utf-8")
    await stage.begin()
    assert "site.busy" in await run("key", "import", str(file), *words, code=1)
    await stage.deposit(TRACKING, await stage.courier())
    assert await stage.stop() == 0
    file.write_text(json.dumps(GOOD | {"key_version": 1}), encoding="utf-8")
    assert "key.version_taken" in await run("key", "import", str(file), *words, code=1)
    file.write_text(json.dumps(GOOD), encoding="utf-8")
    for _ in range(2):
        told = await run("key", "import", str(file), *words)
        assert told == {"site": GOOD["site"], "key_version": 2}
    assert site.load(stage.data).key_version == 2
    assert continuity.broken(stage.data) == ""
