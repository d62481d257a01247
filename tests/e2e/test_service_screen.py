"""Pins the service page: a door out of service and back with its reason, and what has worn."""

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route

from gateway.web.installer import page as made
from tests.e2e.phones import PHONE, SMALL, browser, phone
from tests.e2e.test_kiosk_browser import BROWSER
from tests.lan_stage import lan_stand

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser: install chromium, or set BROWSER_BIN to one"
)
TIMES = {"n": 20, "median_ms": 38, "p90_ms": 44}
TRENDS: dict[str, Any] = {
    "doors": [
        {"door": 1, "lock": "locks:0", "cycles": 80_123, "opened": 79_000, "retries": 7,
         "failed": {"door.no_opening": 2}, "trend": "rising", "first": TIMES,
         "last": TIMES | {"median_ms": 390}, "warnings": ["lock.slowing"]},
        {"door": 2, "lock": "locks:1", "cycles": 12, "opened": 12, "retries": 0, "failed": {},
         "trend": "unknown", "first": None, "last": None, "warnings": []},
    ],
    "lines": [{"line": "bank", "recent": {"asked": 9000, "errors": 120}}],
    "warnings": [
        {"code": "lock.slowing", "about": "door 1", "evidence": {"first_ms": 38, "last_ms": 390}},
        {"code": "bus.errors", "about": "line bank", "evidence": {"asked": 9000, "errors": 120}},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("size", "lang", "dark"), [(PHONE, "en-GB", False), (SMALL, "de-DE", True)]
)
async def test_service_tells_what_wears_and_takes_a_door_out(
    tmp_path: Path, size: tuple[int, int], lang: str, *, dark: bool
) -> None:
    words = json.loads(made.PARTS[f"words-{lang[:2]}.json"][1])
    say = words["texts"]
    acts: list[Any] = []

    async def trends(route: Route) -> None:
        await route.fulfill(json=TRENDS)

    async def serve(route: Route) -> None:
        acts.append((route.request.url.rpartition("/api")[2], route.request.post_data_json))
        if len(acts) == 2:  # the second one
            no = {"code": "service.others", "remedy": "Ask support", "evidence": {}}
            await route.fulfill(status=409, json=no)
        else:
            await route.fulfill(json={"door": 2})

    async with (
        lan_stand(tmp_path / "data") as stage,
        browser() as lent,
        phone(lent, stage, size=size, lang=lang, dark=dark) as seen,
    ):
        page = seen.page
        await page.route("**/api/trends", trends)
        await page.route("**/api/doors/*/service", serve)
        await page.get_by_role("link", name=made.TEXTS[lang[:2]]["home.service"]).tap()
        await page.get_by_text(words["findings"]["lock.slowing"][0]).wait_for()
        folds = page.locator(".fold > summary", has_text=say["service.take_out"])
        await folds.nth(1).tap()
        assert await seen.faults() == []
        await page.screenshot(path=tmp_path / "service.png", full_page=True)
        await page.locator("#reason-2").fill("hinge")
        press = page.get_by_role("button", name=say["service.take_out.do"].replace("{door}", "2"))
        await press.tap()
        done = say["service.out.done"].replace("{door}", "2")
        await page.locator("#live", has_text=done).wait_for(state="attached")
        assert acts == [("/doors/2/service", {"enabled": False, "reason": "hinge"})]
        await press.tap()
        refused = page.locator("#refusal")
        await refused.wait_for()
        assert await refused.evaluate("e => e === document.activeElement")
        assert await seen.faults() == []


async def test_a_door_goes_out_of_service_and_back_at_the_site_itself(tmp_path: Path) -> None:
    say = json.loads(made.PARTS["words-en.json"][1])["texts"]
    async with (
        lan_stand(tmp_path / "data") as stage,
        browser() as lent,
        phone(lent, stage) as seen,
    ):
        page = seen.page

        def out(door: int) -> bool:
            rows: Any = stage.app.status()["doors"]
            return any(row["door"] == door and row["disabled"] for row in rows)

        await page.goto(f"https://{stage.address}/service")
        await page.locator(".fold > summary", has_text=say["service.take_out"]).nth(2).tap()
        await page.locator("#reason-3").fill("hinge")
        name = say["service.take_out.do"].replace("{door}", "3")
        await page.get_by_role("button", name=name).tap()
        back = page.get_by_role("button", name=f"Door 3: {say['service.back']}")
        await back.wait_for()
        assert out(3)
        assert await seen.faults() == []
        await back.tap()
        await back.wait_for(state="detached")
        assert not out(3)
