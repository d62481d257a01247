"""Pins that a pairing opened at a kiosk is shown there and there alone, while its screen stands."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from certs import lan
from gateway.core.outputs import PairingOpened
from gateway.core.screen import Screen
from tests.lan_stage import LanStand, lan_stand


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[LanStand]:
    async with lan_stand(tmp_path / "data") as stage:
        yield stage


async def get(stage: LanStand, path: str) -> tuple[int, bytes]:
    async with stage.web.get(f"{stage.app.kiosk_url}api/{path}") as answer:
        return answer.status, await answer.read()


async def test_the_kiosk_shows_what_was_opened_at_it(stage: LanStand) -> None:
    assert (await get(stage, "pairing"))[0] == 404
    stage.app._desk.pairing(PairingOpened("main", "e1-00000001:su5"))
    assert (await get(stage, "pairing"))[0] == 404  # another screen stands
    stage.app._desk.show("main", Screen("service.pairing", count=10))
    status, body = await get(stage, "pairing")
    shown = await stage.command("show")
    assert status == 200
    assert shown["typed"].encode() in body
    assert " ".join(lan.words_of(stage.office.lan.pin)).split()[0].encode() in body
    assert b"PLG1P" not in body
    status, picture = await get(stage, "pairing.svg")
    assert status == 200
    assert picture.startswith(b"<?xml")
    assert (await get(stage, "pairing?kiosk=other"))[0] == 404


async def test_a_window_opened_elsewhere_is_not_shown_at_a_kiosk(stage: LanStand) -> None:
    stage.app._desk.pairing(PairingOpened("main", "e1-00000001:su5"))
    stage.app._desk.show("main", Screen("service.pairing", count=10))
    await stage.command("open", "ben")
    assert (await get(stage, "pairing"))[0] == 404
    assert (await get(stage, "pairing.svg"))[0] == 404


async def test_a_used_qr_is_shown_no_more(stage: LanStand, tmp_path: Path) -> None:
    stage.app._desk.pairing(PairingOpened("main", "e1-00000001:su5"))
    stage.app._desk.show("main", Screen("service.pairing", count=10))
    now_ms = stage.office.site.now().mono_ms
    window = stage.office.pairing.current(now_ms)
    pin = stage.office.lan.pin
    stage.office.pairing.prove(now_ms, pin, "ab" * 32, lan.proof(window.secret, pin, "ab" * 32))
    assert (await get(stage, "pairing.svg"))[0] == 404
    assert (await get(stage, "pairing"))[0] == 200
