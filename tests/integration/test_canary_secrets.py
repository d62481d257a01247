"""Pins requirement 11: no secret that a site lives with shows in anything it says or keeps."""

import asyncio
import base64
import io
import logging
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from click.testing import CliRunner

from gateway import files, identity, local, logs, site
from gateway.cli import main
from gateway.errors import FileRefused
from sync.reader import LogFile
from tests.contract.site_stage import Stand, stand

TRACKING = "JDCANARY0146281230"


def deposit_words(secret: str) -> list[tuple[str, dict[str, str]]]:
    """Wrong things first: each is refused, and none may be repeated."""
    return [
        ("staff-code", {"digits": secret[:-1] + str((int(secret[-1]) + 1) % 10)}),
        ("staff-code", {"tracking": secret}),
        ("parcel", {"tracking": TRACKING, "digits": secret}),
        ("nowhere", {"digits": secret}),
        ("staff-code", {"digits": secret * 100}),
    ]


async def raw(stage: Stand, data: bytes) -> bytes:
    port = int(stage.app.kiosk_url.rpartition(":")[2].strip("/"))
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Every line that this process logs, from debug on, as a service writes it."""
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    # The commands run in this process too, and must not lead the log elsewhere.
    monkeypatch.setattr(local, "quiet", lambda: None)
    yield stream
    logging.getLogger("aiohttp.server").handlers.clear()
    structlog.reset_defaults()


async def say(stage: Stand, path: str, body: dict[str, str], told: list[str]) -> None:
    async with stage.web.post(f"{stage.app.kiosk_url}api/{path}", json=body) as answer:
        told += [await answer.text(), str(answer.headers)]


async def look(stage: Stand, told: list[str]) -> None:
    for path in ("api/screen", "healthz"):
        async with stage.web.get(f"{stage.app.kiosk_url}{path}") as answer:
            told += [await answer.text(), str(answer.headers)]
    told.append(repr(stage.app.status()))


async def test_no_secret_shows_anywhere_in_a_sites_life(
    tmp_path: Path, lines: io.StringIO, capfd: pytest.CaptureFixture[str]
) -> None:
    told: list[str] = []
    async with stand(tmp_path / "data") as stage:
        stage.start()
        await stage.in_service()
        secret = await stage.courier()
        who = site.load(stage.data)
        await stage.post("button", button="deliver")
        for path, body in deposit_words(secret):
            await say(stage, path, body, told)
            await look(stage, told)
        await stage.shows("deliver.enter")
        await say(stage, "staff-code", {"digits": secret}, told)
        await stage.shows("deliver.scan")
        await say(stage, "parcel", {"tracking": TRACKING}, told)
        await stage.shows("deliver.size")
        await look(stage, told)
        await stage.post("button", button="size", argument="M")
        door = int((await stage.shows("deliver.open"))["door"])
        await stage.hands(door, parcel=True)
        await stage.shows("deliver.scan")
        await stage.post("button", button="home")
        parcel = site.parcel_of(site.read_book(stage.data), f"acme/{TRACKING}/1")
        assert parcel is not None
        code = site.code_key(who).code(str(parcel.identity), parcel.counter)
        short = code.short(parcel.digits)
        # What is no request at all: the server's own complaint must not repeat it either.
        for bad in (f"GET /api/{secret} {short}\0\r\n\r\n", f"{TRACKING}\r\n\r\n"):
            await raw(stage, bad.encode())
        told += await said_by_commands(stage.data, tmp_path, parcel.ref, short)
        await stage.post("button", button="collect")
        await say(stage, "code", {"digits": short[:-1] + str((int(short[-1]) + 1) % 10)}, told)
        await look(stage, told)
        await say(stage, "code", {"digits": short}, told)
        await stage.shows("collect.open")
        await look(stage, told)
        await stage.hands(door, parcel=False)
        await stage.shows("collect.thanks")
        assert await stage.stop() == 0
    logged = lines.getvalue()
    assert "site.ready" in logged
    assert "http.malformed" in logged
    told += [logged, *capfd.readouterr()]
    canaries = {"secret": secret, "code": short, "long code": code.long, "tracking": TRACKING}
    keys = {"log key": who.identity.seed, "code key": who.code_key}
    everything = "\n".join(told)
    shown = [name for name, word in canaries.items() if word in everything]
    shown += [name for name, key in keys.items() if any(form in everything for form in forms(key))]
    assert shown == []
    assert kept(stage.data, canaries, keys) == []


def forms(key: bytes) -> tuple[str, ...]:
    """How a key could be written."""
    return key.hex(), base64.b64encode(key).decode(), base64.urlsafe_b64encode(key).decode()


def kept(data: Path, canaries: dict[str, str], keys: dict[str, bytes]) -> list[str]:
    """Return what is on the disk in a place where it must not be.

    Entries hold none of it. The tracking number is in annexes, which can be erased; so the database
    is searched as a file for all the rest. Keys are in their own files only.
    """
    with LogFile.open(identity.database_of(data)) as log:
        entries = b"".join(one.entry for head in log.heads() for one in log.records(head))
    found = [f"{name} in entries" for name, word in canaries.items() if word.encode() in entries]
    for file in (file for file in data.rglob("*") if file.is_file()):
        content = file.read_bytes()
        words = [name for name in canaries if name != "tracking"]
        found += [f"{name} in {file.name}" for name in words if canaries[name].encode() in content]
        if file.parent.name != "keys":
            found += [f"{name} in {file.name}" for name, key in keys.items() if key in content]
    return found


async def said_by_commands(data: Path, tmp_path: Path, ref: str, short: str) -> list[str]:
    """Run the commands whose purpose is not to show a secret, well and badly; return all output."""
    bad = tmp_path / "bad.toml"
    bad.write_text(f'data_dir = "{data}"\ndigits = 1\n')
    good = tmp_path / "good.toml"
    good.write_text(f'data_dir = "{data}"\n')
    asked = [
        ["status"], ["status", "--json"], ["courier", "list", "--json"], ["site", "export"],
        ["log", "verify", "--json"], ["log", "show", "--json"], ["log", "vkey"],
        ["trends", "--json"], ["diagnostics", "--config", str(good), "--out", f"{good}.bundle"],
        ["log", "prove", "--lane", "custody", "--index", "1", "--out", str(tmp_path / "proof")],
        ["annex", "erase", ref, "--by", "eva"], ["courier", "remove", "nobody"],
        ["support", "check", "99", "--empty", "--by", "eva"], ["code", "show", "acme/NONE/1"],
    ]  # fmt: skip
    said = []
    for words in asked:
        done = await asyncio.to_thread(CliRunner().invoke, main, [*words, "--data", str(data)])
        said.append(done.output + repr(done.exception))
    # The command whose purpose it is shows it: so the search below would find one.
    shown = await asyncio.to_thread(
        CliRunner().invoke, main, ["code", "show", ref, "--data", str(data)]
    )
    assert short in shown.output
    with pytest.raises(FileRefused) as refused:
        files.read_config(bad)
    said += [str(refused.value), (tmp_path / "proof").read_text()]
    bundle = good.with_name(f"{good.name}.bundle").read_text(encoding="utf-8")
    assert '"custody":"held"' in bundle, "it is a bundle of the site as it stands"
    said.append(bundle)
    ps = await asyncio.to_thread(
        subprocess.run, ["ps", "axww", "-o", "args"], capture_output=True, text=True, check=False
    )
    return [*said, ps.stdout]
