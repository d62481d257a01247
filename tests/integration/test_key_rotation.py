"""Pins another log key on real parts: all can verify all along, no cut leaves a site stuck."""

import asyncio
import json
import os
import shutil
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from certs.keys import SigningKey, Verifier
from certs.note import open_checkpoint, parse_note
from gateway import clock, continuity, identity, local, rotating, site
from gateway.cli import main
from gateway.core.inputs import KeyRotates, Now, Trust
from gateway.errors import GatewayError
from sync import facts, session
from sync.entry import Ref
from sync.reader import LogFile
from tests.exchange_stage import Site, staged, vkey_of
from tests.fault.logs import fsck

TRACKING = "JD014600006281230704"
LONG_MS = 8 * 86_400_000


def run(*words: str, code: int = 0) -> Any:
    done = CliRunner().invoke(main, [*words, "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    return json.loads(done.stdout) if not code else done.stderr


def made(folder: Path) -> Path:
    data = folder / "data"
    run("init", "--data", str(data))
    return data


def heads(data: Path) -> dict[str, tuple[int, str, str]]:
    """{log: (size, vkey, note)}."""
    with LogFile.open(identity.database_of(data)) as log:
        return {str(head.log): (head.size, head.vkey, head.note) for head in log.heads()}


def moment(wall_ms: int, trust: Trust = Trust.SYNCED) -> Now:
    return Now(wall_ms, 1, 1, trust=trust, error_ms=5)


# --- without a hub ------------------------------------------------------------------------------


def test_without_a_hub_the_key_changes_at_once_in_an_epoch_of_its_own(tmp_path: Path) -> None:
    data = made(tmp_path)
    before, epoch = vkey_of(data), site.load(data).identity.epoch
    told = run("key", "rotate", "log", "--now", "--data", str(data), "--by", "eva")
    assert told["vkey"] == vkey_of(data) != before
    assert site.load(data).identity.epoch != epoch
    assert site.load(data).identity.next_seed is None
    assert continuity.former_keys(data) == [before]
    assert identity.keys_of(data).names() == ("code", "log")
    assert not site.read_book(data).fenced
    assert fsck(identity.database_of(data)).ok
    assert run("log", "verify", "--data", str(data))["ok"]
    again = run("key", "rotate", "log", "--now", "--data", str(data))
    assert len(continuity.former_keys(data)) == 2
    assert again["vkey"] == vkey_of(data)


def test_who_holds_the_first_key_alone_follows_the_log_to_the_latest(tmp_path: Path) -> None:
    data = made(tmp_path)
    first = vkey_of(data)
    for _ in range(3):
        run("key", "rotate", "log", "--now", "--data", str(data))
    told = run("log", "verify", "--data", str(data), "--vkey", first)
    assert told["ok"]
    assert told["writers"] == 4
    stranger = SigningKey.from_seed("lockers.example/site/0042", bytes(32)).vkey
    told = json.loads(
        CliRunner()
        .invoke(main, ["log", "verify", "--data", str(data), "--json", "--vkey", stranger])
        .stdout
    )
    assert {one["code"] for one in told["findings"]} == {"fsck.checkpoint.writer"}


def test_overlap_waits_for_seven_days_by_a_clock_that_can_tell(tmp_path: Path) -> None:
    data = made(tmp_path)
    assert rotating.waits_for(data, moment(1_800_000_000_000)) == "none"
    told = run("key", "rotate", "log", "--data", str(data))
    found = rotating.standing(data)
    assert found is not None
    assert (found.vkey, found.entry) == (told["vkey"], told["entry"])
    begins = 1_800_000_000_000
    rotating.begun(data, told["entry"], moment(0, Trust.FLOOR))
    assert rotating.waits_for(data, moment(begins, Trust.FLOOR)) == "days"
    assert rotating.waits_for(data, moment(begins)) == "days"
    assert rotating.waits_for(data, moment(begins + rotating.OVERLAP_MS)) == "days"
    assert rotating.waits_for(data, moment(begins + LONG_MS)) == ""
    assert "key.rotating" in run("key", "rotate", "log", "--data", str(data), code=1)
    # Both keys verify what is written meanwhile; the log's own vkey is the first one still.
    local.ask(data, KeyRotates(now=local.nobody(), token="", by="eva", use="lan", pin="00" * 32))
    size, vkey, note = heads(data)[f"{site.load(data).identity.epoch}:sc"]
    assert size == 2
    origin = parse_note(note)[0].partition("\n")[0]
    following = Verifier(origin, Verifier.from_vkey(told["vkey"]).public)
    assert open_checkpoint(note, Verifier.from_vkey(vkey)) == open_checkpoint(note, following)


def test_code_key_that_is_taken_in_is_named_in_the_log_once(tmp_path: Path) -> None:
    data = made(tmp_path)
    file = tmp_path / "key.json"
    told = {"site": "lockers.example/site/0042", "key_version": 3, "key": "QUFB" * 10 + "QUE="}
    file.write_text(json.dumps(told), encoding="utf-8")
    for _ in range(2):
        run("key", "import", str(file), "--data", str(data))
    named = [fact for _, _, fact in rotating.named_keys(identity.database_of(data), "code")]
    assert named == [facts.KeyRotated(use="code", key_version=3)]


# --- cut at each step ---------------------------------------------------------------------------


class Cut(BaseException):
    """Power is gone."""


def cut_at(number: int, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """End everything at the n-th durable step outside the database: flush, rename, link, unlink."""
    count = 0

    def stop_or(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*words: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            if count >= number:
                raise Cut
            return real(*words, **more)

        return call

    for name in ("fsync", "replace", "link", "unlink"):
        monkeypatch.setattr(os, name, stop_or(getattr(os, name)))
    return lambda: count


def test_cut_at_each_step_the_site_goes_on_and_every_log_verifies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = made(tmp_path)
    first, number, steps = vkey_of(origin), 0, 0
    while True:
        number += 1
        data = tmp_path / f"cut{number}"
        shutil.copytree(origin, data)
        with monkeypatch.context() as patched:
            cut_at(number, patched)
            try:
                _rotate(data)
            except Cut:
                pass
            else:
                steps = number
        _goes_on(data, first)
        shutil.rmtree(data)
        if steps:
            break
    assert steps > 15


def _rotate(data: Path) -> None:
    """As the command does it."""
    with site.locked(data):
        vkey = rotating.prepare(data)
    asked = KeyRotates(now=local.nobody(), token="", by="eva", use="log", vkey=vkey)
    answer = local.ask(data, asked)
    with site.locked(data):
        now = site.start_clock(data).now()
        rotating.begun(data, answer.ref, now, at_once=True)
        rotating.end(data)


def _goes_on(data: Path, first: str) -> None:
    """After a cut: the next one who works here writes, and both keys of the site verify it all."""
    with site.locked(data):
        pass
    asked = KeyRotates(now=local.nobody(), token="", by="eva", use="lan", pin="00" * 32)
    assert local.ask(data, asked).ref
    assert fsck(identity.database_of(data)).ok
    named = {fact.vkey for _, _, fact in rotating.named_keys(identity.database_of(data))}
    present, found = vkey_of(data), rotating.standing(data)
    assert present == first or (present in named and continuity.former_keys(data) == [first])
    # A seed that signs, and that the log names, is known to be under way: it ends some day.
    if site.load(data).identity.next_seed is not None and named:
        assert found is not None
    assert run("log", "verify", "--data", str(data), "--vkey", first)["ok"]


# --- with a hub ---------------------------------------------------------------------------------


@pytest.fixture
async def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    async with staged(tmp_path, monkeypatch) as here:
        yield here


async def test_hub_learns_the_key_by_the_link_and_follows_into_the_epoch_it_signs(
    stage: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "COSIGN_MS", 100)
    later_ms = 0
    asked = clock.Clock.now

    def synced(self: clock.Clock) -> Now:
        now = asked(self)
        return replace(now, wall_ms=now.wall_ms + later_ms, trust=Trust.SYNCED, error_ms=5)

    monkeypatch.setattr(clock.Clock, "now", synced)
    await stage.begin()
    secret = await stage.courier()
    first, epoch = vkey_of(stage.data), stage.epoch
    refused = await asyncio.to_thread(
        run, "key", "rotate", "log", "--now", "--data", str(stage.data), code=1
    )
    assert "key.governed" in refused
    told = await asyncio.to_thread(run, "key", "rotate", "log", "--data", str(stage.data))
    door = await stage.deposit(TRACKING, secret)
    code = stage.code(TRACKING)
    await stage.agrees()

    async def knows() -> bool:
        return (await stage.cloud.hub.registry.get("0042")).vkeys == [first, told["vkey"]]

    await stage.comes(knows)
    assert "key.rotated" in await stage.cloud.audit()
    _, _, note = heads(stage.data)[f"{epoch}:sc"]
    assert len(parse_note(note)[1]) == 2
    assert vkey_of(stage.data) == first

    # A week later: the receipt is here, and the next start ends the overlap.
    found = rotating.standing(stage.data)
    assert found is not None
    await stage.until(lambda: rotating.has_receipt(stage.data, Ref.parse(found.entry)))
    assert await stage.stop() == 0
    later_ms = LONG_MS
    await stage.begin()
    assert vkey_of(stage.data) == told["vkey"]
    assert stage.epoch != epoch
    assert not stage.book.fenced
    await stage.agrees()
    await stage.pick_up(code, door)
    await stage.agrees()
    assert not {"link.stuck", "link.refused", "site.fenced"} & stage.alarms
    assert await stage.stop() == 0
    assert (await asyncio.to_thread(run, "log", "verify", "--data", str(stage.data)))["ok"]


async def test_overlap_does_not_end_while_the_hub_has_not_heard_of_the_key(
    tmp_path: Path,
) -> None:
    data = await asyncio.to_thread(made, tmp_path)
    await asyncio.to_thread(run, "key", "rotate", "log", "--data", str(data))
    (data / "trust").mkdir()
    (data / "trust" / "hub.json").write_text("{}", encoding="utf-8")
    wall_ms = site.start_clock(data).now().wall_ms + LONG_MS + rotating.OVERLAP_MS
    begun = rotating.standing(data)
    assert begun is not None
    rotating.begun(data, begun.entry, moment(wall_ms - LONG_MS))
    assert rotating.waits_for(data, moment(wall_ms)) == "hub"
    (data / "rotation.json").write_text("{", encoding="utf-8")
    with pytest.raises(GatewayError) as caught:
        rotating.standing(data)
    assert caught.value.code == "rotation.invalid"
