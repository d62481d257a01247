"""Pins `locker-gateway board scan | show | act | teach | test`: commissioning at a terminal."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.bench_stage import TCP, BenchStand, bench_stand, wiring


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[BenchStand]:
    async with bench_stand(tmp_path / "data", wiring(1, line=TCP)) as made:
        await made.running()
        yield made


async def typed(stage: BenchStand, *words: str) -> tuple[int | None, str, str]:
    """Type a command; return its status, what it printed, and what it complained of."""
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "from gateway.cli import main; main()", "board", *words,
        "--data", str(stage.data),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await child.communicate()
    return child.returncode, out.decode(), err.decode()


async def told(stage: BenchStand, *words: str) -> dict[str, Any]:
    status, out, err = await typed(stage, *words, "--json")
    assert status == 0, (words, out, err)
    view: dict[str, Any] = json.loads(out)
    return view


async def test_a_door_is_found_taught_proved_and_signed_by_commands(stage: BenchStand) -> None:
    view = await told(stage, "scan", "--tcp", stage.place, "--adopt")
    assert [row["unit"] for row in view["found"]] == [1, 11, 21]
    for row in view["found"]:
        if not row["board"]:  # two makes look alike: a person chooses
            await told(stage, "act", "adopt", f"key={row['key']}", "profile=waveshare-rtu-io-8ch")

    async def asked() -> None:  # whoever is at the door waits until its number was said
        await stage.until_view(lambda seen: (seen["lesson"] or {}).get("number"))
        await stage.person(1)

    person = asyncio.create_task(asked())
    view = await told(stage, "teach", "--lock", "locks-1:0", "--number", "1", "--size", "L")
    await person
    assert [(door["number"], door["size"]) for door in view["doors"]] == [(1, "L")]
    status, out, _ = await typed(stage, "show")
    assert (status, "locks-1:0" in out) == (0, True)
    person = asyncio.create_task(stage.person(1, hand=False))
    status, out, err = await typed(stage, "test", "--sign", "--json")
    await person
    assert status in {0, 1}, err
    assert json.loads(out)["signed"]["passed"] == 1
    await stage.in_service()


async def test_what_is_refused_is_one_line_and_a_status(stage: BenchStand) -> None:
    status, out, err = await typed(stage, "act", "sign")
    assert (status, out) == (1, "")
    assert err.startswith("Error: commission.none")
    status, _, err = await typed(stage, "act", "dance")
    assert (status, "commission.unknown_act" in err) == (1, True)
