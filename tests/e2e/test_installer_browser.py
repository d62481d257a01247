"""Pins the installer's page on a phone: words and code, a door, signing out; with no script too."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright

from certs import lan
from gateway.web.installer import page as made
from tests.e2e.test_kiosk_browser import BROWSER, FLAGS
from tests.lan_stage import LanStand, lan_stand

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser: install chromium, or set BROWSER_BIN to one"
)
TOLD = "(text) => document.querySelector('#told').innerText === text"

FAULTS = """() => {
  const faults = [];
  const name = (e) => `${e.tagName}.${e.className} "${e.textContent.slice(0, 30)}"`;
  const rgb = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b]
    .map((v) => v / 255)
    .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const ground = (e) => {
    for (let at = e; at; at = at.parentElement) {
      const colour = rgb(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  if (document.documentElement.scrollWidth > innerWidth) faults.push("the page is too wide");
  if (!document.documentElement.lang) faults.push("no language");
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  let level = 0;
  for (const e of document.querySelectorAll("h1, h2, h3")) {
    const own = Number(e.tagName[1]);
    if (own > level + 1) faults.push(`a heading is skipped: ${name(e)}`);
    level = own;
  }
  for (const e of document.querySelectorAll("input:not([type=hidden])")) {
    if (!e.labels.length) faults.push(`no label: ${name(e)}`);
    for (const id of (e.getAttribute("aria-describedby") ?? "").split(" ").filter(Boolean)) {
      if (!document.getElementById(id)) faults.push(`describes nothing: ${id}`);
    }
  }
  for (const e of document.querySelectorAll("main *")) {
    const box = e.getBoundingClientRect();
    if (!box.width || e.closest("[type=hidden]")) continue;
    if (box.left < -1 || box.right > innerWidth + 1) faults.push(`outside: ${name(e)}`);
    if (["BUTTON", "INPUT"].includes(e.tagName)) {
      if (Math.min(box.width, box.height) < 44) faults.push(`too small to touch: ${name(e)}`);
    }
    const words = [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
    if (words && e.scrollWidth > e.clientWidth + 1 && getComputedStyle(e).display !== "inline") {
      faults.push(`cut off: ${name(e)}`);
    }
    if (words) {
      const pair = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((a, b) => b - a);
      const ratio = (pair[0] + 0.05) / (pair[1] + 0.05);
      if (ratio < 4.5) faults.push(`contrast ${ratio.toFixed(2)}: ${name(e)}`);
    }
  }
  return faults;
}"""
"""What is wrong with the page as it stands: too wide, unlabelled, too small, too pale."""


@asynccontextmanager
async def phone(
    folder: Path, *, script: bool = True, lang: str = "en-GB", dark: bool = False
) -> AsyncIterator[tuple[LanStand, Page]]:
    """Open the page of a whole running site on a phone."""
    async with lan_stand(folder / "data") as stage, async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        page = await browser.new_page(
            viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True, locale=lang,
            ignore_https_errors=True,
            java_script_enabled=script, color_scheme="dark" if dark else "light",
        )  # fmt: skip
        troubles: list[str] = []
        page.on("pageerror", lambda error: troubles.append(str(error)))
        page.on(
            "console",
            lambda line: (
                troubles.append(line.text)
                if line.type == "error" and "Failed to load resource" not in line.text
                else None
            ),
        )
        try:
            await page.goto(f"https://{stage.address}/")
            yield stage, page
        finally:
            await browser.close()
        assert troubles == []


@pytest.mark.parametrize(("lang", "dark"), [("en-GB", False), ("de-DE", True)])
async def test_an_installer_pairs_tests_a_door_and_signs_out(
    tmp_path: Path, lang: str, *, dark: bool
) -> None:
    say = made.TEXTS[lang[:2]]
    async with phone(tmp_path, lang=lang, dark=dark) as (stage, page):
        shown = await page.locator(".words li").all_inner_texts()
        assert tuple(shown) == lan.words_of(stage.office.lan.pin)
        assert await page.evaluate(FAULTS) == []
        await page.screenshot(path=tmp_path / "pair.png", full_page=True)
        typed = (await stage.command("open", "anna"))["typed"]
        await page.get_by_label(say["pair.code"]).fill("AAAA")
        await page.get_by_role("button").tap()
        assert await page.get_by_role("alert").inner_text() == say["pairing.typed"]
        await page.wait_for_load_state()  # the style sheet too
        assert await page.get_by_label(say["pair.code"]).evaluate(
            "e => e === document.activeElement"
        )
        assert await page.evaluate(FAULTS) == []
        await page.screenshot(path=tmp_path / "wrong.png", full_page=True)
        await page.get_by_label(say["pair.code"]).fill(typed.lower())
        await page.get_by_role("button").tap()
        await page.wait_for_selector(".doors")
        assert await page.evaluate(FAULTS) == []
        button = page.get_by_role("button", name=f"{say['door']} 2: {say['door.test']}")
        await button.tap()
        done = say["door.done"].replace("{door}", "2")
        await page.wait_for_function(TOLD, arg=done)
        await page.locator('[data-seen="2"]', has_text=say["door.open"]).wait_for()
        await button.tap()
        failed = say["door.failed"].replace("{door}", "2").replace("{why}", say["why.door.busy"])
        await page.wait_for_function(TOLD, arg=failed)
        assert await page.evaluate(FAULTS) == []
        await page.screenshot(path=tmp_path / "home.png", full_page=True)
        assert await page.evaluate("() => document.cookie") == ""
        await page.get_by_role("button", name=say["home.out"]).tap()
        await page.wait_for_selector(".words")
        assert await page.context.cookies() == []


async def test_by_keyboard_alone(tmp_path: Path) -> None:
    async with phone(tmp_path) as (stage, page):
        typed = (await stage.command("open", "anna"))["typed"]
        await page.keyboard.press("Tab")
        await page.keyboard.type(typed)
        await page.keyboard.press("Enter")
        await page.wait_for_selector(".doors")
        for key in ("home.commission", "home.service"):
            await page.keyboard.press("Tab")
            focused = await page.evaluate("() => document.activeElement.textContent")
            assert focused == made.TEXTS["en"][key]
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        done = made.TEXTS["en"]["door.done"].replace("{door}", "1")
        await page.wait_for_function(TOLD, arg=done)
        focused = await page.evaluate("() => document.activeElement.ariaLabel")
        assert focused == "Door 1: Open for a test"


async def test_the_pairing_page_fits_a_phone_enlarged_twice(tmp_path: Path) -> None:
    async with phone(tmp_path, lang="de-DE") as (_, page):
        await page.set_viewport_size({"width": 180, "height": 370})
        assert await page.evaluate(FAULTS) == []


async def test_without_a_script(tmp_path: Path) -> None:
    async with phone(tmp_path, script=False) as (stage, page):
        typed = (await stage.command("open", "anna"))["typed"]
        await page.get_by_label("Code that the gateway shows").fill(typed)
        await page.get_by_role("button").tap()
        await page.get_by_role("button", name="Door 3: Open for a test").tap()
        told = page.get_by_role("status")
        await told.filter(has_text="Door 3 has opened").wait_for()
        await page.get_by_role("button", name="Sign out").tap()
        await page.get_by_role("heading", name="Pair this device").wait_for()


async def test_a_page_from_before_the_end_goes_back_to_pairing(tmp_path: Path) -> None:
    async with phone(tmp_path) as (stage, page):
        typed = (await stage.command("open", "anna"))["typed"]
        await page.get_by_label("Code that the gateway shows").fill(typed)
        await page.get_by_role("button").tap()
        await page.wait_for_selector(".doors")
        await stage.command("end", "anna")
        await page.get_by_role("button", name="Door 1: Open for a test").tap()
        await page.wait_for_selector(".words")
