"""Pins the installer's commands as people type them: open, pair, ask, end."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from certs import lan
from tests.contract.site_stage import Stand, stand
from tests.lan_stage import LanStand, lan_stand

PROGRAM = "import sys; from gateway.cli import main; sys.argv[0] = 'locker-gateway'; main()"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[LanStand]:
    async with lan_stand(tmp_path / "data") as stage:
        yield stage


async def run(folder: Path, *arguments: str, typed: str = "") -> tuple[int, str, str]:
    """Run a command as another process; return status, stdout, stderr."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=dict(os.environ) | {"XDG_CONFIG_HOME": str(folder), "PYTHONIOENCODING": "utf-8"},
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate(typed.encode())
    finally:
        if process.returncode is None:
            process.kill()
    return process.returncode or 0, out.decode(), err.decode()


async def good(folder: Path, *arguments: str, typed: str = "") -> str:
    status, out, err = await run(folder, *arguments, typed=typed)
    assert status == 0, err
    return out


async def test_the_whole_round_by_qr(stage: LanStand, tmp_path: Path) -> None:
    data = ("--data", str(stage.data))
    shown = await good(tmp_path, "pairing", "open", *data, "--name", "anna", "--by", "eva")
    offer = next(line for line in shown.splitlines() if line.startswith("PLG1P:"))
    words = " ".join(lan.words_of(stage.office.lan.pin))
    assert words in shown
    assert "█" in shown or "▄" in shown
    said = await good(tmp_path, "pair", "-", typed=offer + "\n")
    assert "paired with lockers.example/site/0042 as anna" in said
    told: dict[str, Any] = json.loads(
        await good(tmp_path, "remote", "status", "--site", "0042", "--json")
    )
    assert [row["door"] for row in told["doors"]] == [1, 2, 3, 4]
    assert "door 2 opened" in await good(tmp_path, "remote", "test", "2", "--site", "0042")
    assert "open" in await good(tmp_path, "remote", "status", "--site", "0042")
    shown = await good(tmp_path, "remote", "trends", "--site", "0042")
    assert "locks:1 " in shown
    one = await good(tmp_path, "remote", "trends", "--site", "0042", "--door", "2", "--json")
    assert [row["opened"] for row in json.loads(one)["doors"]] == [1]
    service = ("remote", "service", "4", "--site", "0042")
    assert "door 4 out of service" in await good(tmp_path, *service, "--out", "bent hinge")
    assert "out of service" in await good(tmp_path, "remote", "status", "--site", "0042")
    assert "door 4 in service" in await good(tmp_path, *service, "--back")
    assert "as it was" in await good(tmp_path, *service, "--back")
    for both in ((), ("--back", "--out", "x")):
        status, _, err = await run(tmp_path, *service, *both)
        assert (status, "--back" in err) == (2, True)
    out = tmp_path / "bundle.json"
    await good(tmp_path, "remote", "diagnostics", "--site", "0042", "--out", str(out))
    assert json.loads(out.read_text())["installers"][0]["name"] == "anna"
    assert "anna" in await good(tmp_path, "pairing", "list", *data)
    await good(tmp_path, "pairing", "end", "anna", *data)
    assert "nobody is paired" in await good(tmp_path, "pairing", "list", *data)
    status, _, err = await run(tmp_path, "remote", "status", "--site", "0042")
    assert (status, "access.ended" in err) == (1, True)


async def test_pairing_by_a_typed_code_and_the_pin(stage: LanStand, tmp_path: Path) -> None:
    told = await stage.command("open", "ben")
    again = await good(tmp_path, "pairing", "show", "--data", str(stage.data))
    assert told["typed"] in again
    where = ("--address", told["address"], "--pin", told["pin"].upper())
    said = await good(tmp_path, "pair", *where, "--as", "yard", "--json", typed=told["typed"])
    assert json.loads(said)["name"] == "ben"
    assert (tmp_path / "locker-gateway/yard/gateway.json").exists()
    status, _, err = await run(
        tmp_path, "pair", "--address", told["address"], "--pin", "00" * 32, typed=told["typed"]
    )
    assert (status, "pair.other_key" in err) == (1, True)
    assert "closed" in await good(tmp_path, "pairing", "close", "--data", str(stage.data))


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("pair", "PLG1P:x"), "pairing.malformed"),
        (("pair", "-"), "pairing.malformed"),
        (("pair", "--address", "10.0.0.1:8443"), "pair.usage"),
        (("pair", "--as", "../x"), "pair.name"),
        (("remote", "status", "--site", "../.."), "pair.name"),
        (("remote", "status", "--site", "nobody"), "pair.unknown"),
    ],
)
async def test_a_mistake_is_told_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: str
) -> None:
    status, _, err = await run(tmp_path, *arguments)
    assert status == 1
    assert code in err
    assert len(err.splitlines()) == 1


async def test_without_a_listener_pairing_says_what_to_do(tmp_path: Path) -> None:
    async with stand(tmp_path / "data", made=Stand) as plain:
        plain.start()
        await plain.in_service()
        status, _, err = await run(tmp_path, "pairing", "open", "--data", str(plain.data))
        assert (status, "installer.off" in err) == (1, True)
        assert not (plain.data / "trust/lan.pem").exists()


async def test_pairing_by_the_sticker_and_by_the_address_alone(
    stage: LanStand, tmp_path: Path
) -> None:
    data = ("--data", str(stage.data))
    told = json.loads(await good(tmp_path, "pairing", "sticker", *data, "--json"))
    pin, words = stage.office.lan.pin, list(lan.words_of(stage.office.lan.pin))
    assert (told["address"], told["pin"], told["words"]) == (stage.address, pin, words)
    shown = await good(tmp_path, "pairing", "sticker", *data)
    assert told["qr"] in shown
    assert " ".join(words) in shown
    out = tmp_path / "sticker.svg"
    await good(
        tmp_path, "pairing", "sticker", *data, "--address", "locker.example:8443", "--out", str(out)
    )
    assert "locker.example:8443" in out.read_text()
    for number, meant in enumerate((told["qr"], stage.address)):
        typed = (await stage.command("open", f"ben-{number}"))["typed"]
        status, _, err = await run(tmp_path, "pair", meant, "--as", f"yard-{number}", typed=typed)
        assert status == 0, err
        assert " ".join(words) in err
        assert ("compare" in err) == (meant == stage.address)
        await good(tmp_path, "remote", "status", "--site", f"yard-{number}")


async def test_a_sticker_of_another_gateway_is_told_and_nothing_is_sent(
    stage: LanStand, tmp_path: Path
) -> None:
    typed = (await stage.command("open", "ben"))["typed"]
    other = lan.Sticker(stage.address, "00" * 32).text()
    status, _, err = await run(tmp_path, "pair", other, typed=typed)
    assert (status, "pair.other_key" in err) == (1, True)
    status, _, err = await run(tmp_path, "pair", "127.0.0.1:1", typed=typed)
    assert (status, "pair.unreachable" in err) == (1, True)
