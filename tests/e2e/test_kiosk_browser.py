"""Pins the kiosk's page as a person meets it: touch, keyboard, scanner, all panels, all screens."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from playwright.async_api import Page, async_playwright

from gateway.core.inputs import Button
from gateway.core.screen import Screen
from gateway.web.kiosk import CodeTyped, Pressed, Scanned, Shown, StaffCodeTyped, make_app
from gateway.web.stage import EXAMPLES, Stage

BROWSER = os.environ.get("BROWSER_BIN") or shutil.which("chromium") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser: install chromium, or set BROWSER_BIN to one"
)
PANELS = {"landscape": (1280, 800), "portrait": (1080, 1920), "small": (800, 480)}
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--autoplay-policy=no-user-gesture-required",
]  # fmt: skip
CODE = "483920517"

FAULTS = """() => {
  const faults = [];
  const bottom = document.querySelector("#bar").getBoundingClientRect().top;
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
  if (document.documentElement.scrollHeight > innerHeight) faults.push("the page is too high");
  const number = document.querySelector(".plate strong");
  if (number && number.getBoundingClientRect().width > number.parentElement.clientWidth * 0.95) {
    faults.push("the number does not fit its plate");
  }
  for (const e of document.querySelectorAll("body *")) {
    const box = e.getBoundingClientRect();
    if (!box.width || e.closest("svg, #say, .typed, .beam")) continue;
    const inMain = e.closest(".stage") !== null;
    if (box.left < -1 || box.right > innerWidth + 1 || box.top < -1 ||
        box.bottom > (inMain ? bottom : innerHeight) + 1) {
      faults.push(`outside: ${name(e)}`);
    }
    if (e.tagName === "BUTTON" && Math.min(box.width, box.height) < 44) {
      faults.push(`too small to touch: ${name(e)}`);
    }
    if (e.tagName === "BUTTON" && !(e.getAttribute("aria-label") || e.textContent.trim())) {
      faults.push(`no name: ${name(e)}`);
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
"""What is wrong with the page as it stands: outside the panel, cut off, too small, too pale."""


@dataclass
class Kiosk:
    """A page in a browser over a stage."""

    page: Page
    stage: Stage
    restart: Callable[[], Awaitable[None]]
    stop: Callable[[], Awaitable[None]]
    troubles: list[str]

    async def show(self, screen: Screen) -> None:
        """Put a screen on the page, and wait until it stands there."""
        await self.page.evaluate("() => { document.body.dataset.screen = ''; }")
        self.stage.show(screen)
        await self.page.wait_for_selector(f'body[data-screen="{screen.name}"]')

    async def heard(self, count: int) -> list[Any]:
        """Wait for what the site heard, extra time asked for by typing aside."""
        async with asyncio.timeout(30):
            return list(await self.stage.heard_count(count))

    async def said(self) -> str:
        """All that a screen reader could be told now."""
        told: str = await self.page.evaluate(
            """() => [document.querySelector("#say").textContent,
                ...[...document.querySelectorAll("[aria-label]:not(.key)")].map((e) => e.ariaLabel),
                ...[...document.querySelectorAll("[role=alert]")].map((e) => e.textContent),
              ].join(" | ")"""
        )
        return told


@asynccontextmanager
async def kiosk_page(
    panel: str = "landscape", query: str = "sound=off", first: Screen = EXAMPLES[0]
) -> AsyncIterator[Kiosk]:
    """Open the real application's page in a browser, on a panel of that size."""
    stage = Stage(first=first)
    runners: list[web.AppRunner] = []
    port = 0

    async def restart() -> None:
        nonlocal port
        runner = web.AppRunner(make_app(stage), shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        port = runner.addresses[0][1]
        runners.append(runner)

    async def stop() -> None:
        await runners.pop().cleanup()

    await restart()
    width, height = PANELS[panel]
    troubles: list[str] = []
    try:
        async with async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
            page = await browser.new_page(
                viewport={"width": width, "height": height}, has_touch=True, reduced_motion="reduce"
            )
            page.on("pageerror", lambda error: troubles.append(str(error)))
            page.on(
                "console",
                lambda line: (
                    troubles.append(line.text)
                    if line.type == "error" and "Failed to load resource" not in line.text
                    else None
                ),
            )
            await page.goto(f"http://127.0.0.1:{port}/?{query}")
            await page.wait_for_selector("body[data-screen]")
            yield Kiosk(page, stage, restart, stop, troubles)
            await browser.close()
    finally:
        while runners:
            await stop()
    assert troubles == []


@pytest.mark.parametrize(
    ("panel", "query"),
    [
        ("landscape", "theme=light&lang=en"), ("portrait", "theme=dark&lang=de"),
        ("small", "theme=contrast&lang=de"), ("small", "theme=light&lang=en"),
    ],
)  # fmt: skip
async def test_every_screen_fits_and_can_be_read(panel: str, query: str, tmp_path: Path) -> None:
    async with kiosk_page(panel, f"{query}&sound=off") as kiosk:
        variants = [
            Screen("deliver.open", door=7, why="parcel.too_small"),
            Screen("deliver.fault", door=7, why="parcel.left", ends_ms=9000, warn=True),
            Screen("deliver.again", why="parcel.already_here"),
            Screen("deliver.mine"),
            Screen("deliver.done", ends_ms=9000),
            *(
                Screen("service.door", door=412, why=f"service.{what}", ends_ms=120_000)
                for what in ("tested", "disabled", "enabled")
            ),
            Screen("service.door", door=3084, why="door.fenced", ends_ms=120_000),
            Screen("capability.refused", why="capability.in_use"),
            Screen("collect.fault", door=412, why="door.late"),
            Screen("collect.enter", why="code.long_needed", ends_ms=60_000),
        ]
        for number, screen in enumerate([*EXAMPLES, *variants]):
            await kiosk.show(Screen("collect.ajar", door=99))
            await kiosk.show(screen)
            title = await kiosk.page.inner_text("#title")
            assert title
            assert "{" not in await kiosk.page.inner_text("body")
            assert title in (await kiosk.said()).replace("\n", " ")
            if screen.door is not None and screen.name != "deliver.scan":
                assert str(screen.door) in await kiosk.page.inner_text(".plate strong")
            if screen.name == "deliver.scan" and number % 2:
                await kiosk.page.click("[data-mode]")
            if screen.name.endswith(".enter"):
                await kiosk.page.keyboard.type("4839205170661234")
            faults = await kiosk.page.evaluate(FAULTS)
            assert faults == [], f"{screen.name} {screen.why}"
        picture = await kiosk.page.screenshot(path=tmp_path / "last.png")
        assert len(picture) > 5000


async def test_a_recipient_collects_by_touch_alone() -> None:
    async with kiosk_page() as kiosk:
        await kiosk.page.tap('[data-button="collect"]')
        assert await kiosk.heard(1) == [Pressed(kiosk="main", button=Button.COLLECT)]
        await kiosk.show(Screen("collect.enter"))
        for digit in "48x39":
            await kiosk.page.tap('[data-key="7"]' if digit == "x" else f'[data-key="{digit}"]')
            if digit == "x":
                await kiosk.page.tap('[aria-label="Delete"]')
        for digit in CODE[4:]:
            await kiosk.page.tap(f'[data-key="{digit}"]')
        assert await kiosk.page.locator(".typed .group").all_inner_texts() == ["4839", "2051", "7"]
        await kiosk.page.tap("[data-enter]")
        assert (await kiosk.heard(2))[1] == CodeTyped(kiosk="main", digits=CODE)


async def test_a_recipient_collects_by_keyboard_alone_and_digits_are_never_said() -> None:
    async with kiosk_page() as kiosk:
        await kiosk.page.keyboard.press("Tab")
        await kiosk.page.keyboard.press("Enter")
        assert await kiosk.heard(1) == [Pressed(kiosk="main", button=Button.COLLECT)]
        await kiosk.show(Screen("collect.enter"))
        await kiosk.page.keyboard.type(CODE + "1", delay=90)
        await kiosk.page.keyboard.press("Backspace")
        await kiosk.page.wait_for_function(
            "() => document.querySelector('#say').textContent.includes('9 digits')"
        )
        said = await kiosk.said()
        assert not any(CODE[at : at + 3] in said for at in range(7))
        assert "digits typed" in said
        assert await kiosk.page.locator(".typed").get_attribute("aria-hidden") == "true"
        await kiosk.page.keyboard.press("Enter")
        assert (await kiosk.heard(2))[1] == CodeTyped(kiosk="main", digits=CODE)
        await kiosk.show(Screen("collect.enter", why="code.unknown"))
        assert "We do not know this code here" in await kiosk.said()
        assert (await kiosk.page.inner_text(".typed")).strip() == ""
        await kiosk.page.keyboard.type("12", delay=90)
        await kiosk.page.keyboard.press("Escape")
        assert (await kiosk.page.inner_text(".typed")).strip() == ""
        await kiosk.page.keyboard.press("Escape")
        assert (await kiosk.heard(3))[2] == Pressed(kiosk="main", button=Button.HOME)


async def test_the_same_refusal_twice_is_told_twice_and_the_field_is_empty_again() -> None:
    wrong = Screen("collect.enter", why="code.check_digit")
    async with kiosk_page(first=wrong) as kiosk:
        await kiosk.page.keyboard.type("12345")
        await kiosk.page.evaluate("() => { document.querySelector('#say').textContent = ''; }")
        await kiosk.page.tap("[data-enter]")
        await kiosk.heard(1)
        await kiosk.show(wrong)
        assert "typing mistake" in await kiosk.said()
        assert (await kiosk.page.inner_text(".typed")).strip() == ""


async def test_a_couriers_secret_is_shown_as_dots() -> None:
    async with kiosk_page(first=Screen("deliver.enter")) as kiosk:
        await kiosk.page.keyboard.type("4839205170661234", delay=90)
        assert await kiosk.page.locator(".typed .group").all_inner_texts() == ["••••"] * 4
        assert "4839" not in await kiosk.page.content()
        await kiosk.page.keyboard.press("Enter")
        assert await kiosk.heard(1) == [StaffCodeTyped(kiosk="main", digits="4839205170661234")]


async def test_a_scanner_presses_no_button_and_replaces_what_was_begun() -> None:
    async with kiosk_page(first=Screen("deliver.scan", door=7)) as kiosk:
        await kiosk.page.keyboard.press("9")
        await kiosk.page.focus('[data-button="home"]')
        await kiosk.page.wait_for_timeout(1100)  # a person's pause before the scanner's burst
        await kiosk.page.keyboard.type("jjd0003900078-2")
        await kiosk.page.keyboard.press("Enter")
        assert await kiosk.heard(1) == [Scanned(kiosk="main", tracking="JJD0003900078-2")]
        await kiosk.show(Screen("collect.thanks", door=7))
        await kiosk.page.focus('[data-button="open_again"]')
        await kiosk.page.keyboard.type("JJD0003900078")
        await kiosk.page.keyboard.press("Enter")
        await kiosk.page.tap('[data-button="home"]')
        assert (await kiosk.heard(2))[1:] == [Pressed(kiosk="main", button=Button.HOME)]


async def test_a_scan_that_stalls_within_a_label_is_taken_whole() -> None:
    # The end of a tracking number is a tracking number too: a parcel would be stored under it.
    async with kiosk_page(first=Screen("deliver.scan")) as kiosk:
        for part in ("JJ", "D00039", "00078"):
            await kiosk.page.keyboard.type(part)
            await kiosk.page.wait_for_timeout(100)
        await kiosk.page.keyboard.type("-211")
        await kiosk.page.keyboard.press("Enter")
        assert await kiosk.heard(1) == [Scanned(kiosk="main", tracking="JJD0003900078-211")]


COURIER = "PLG1:6BF$XN+BO 0QB8R3C:/*K.5%A0 1 FP1AB"
COLLECT = "PLG1B:2KCEJIBHAEFEKVCHCKTTQ2LGOZTWK3DPMNXWG"


@pytest.mark.parametrize("text", [COURIER, COLLECT])
@pytest.mark.parametrize(
    "screen",
    [
        Screen("welcome"), Screen("collect.enter"), Screen("deliver.scan", door=7),
        Screen("collect.thanks", door=7),
    ],
    ids=lambda screen: screen.name,
)  # fmt: skip
async def test_a_qr_code_is_taken_on_any_screen_and_never_shown(screen: Screen, text: str) -> None:
    async with kiosk_page(first=screen) as kiosk:
        await kiosk.page.keyboard.press("Tab")  # whatever has the focus
        await kiosk.page.evaluate(
            """() => {
              window.seen = "";
              new MutationObserver(() => { window.seen += document.body.textContent + "|"; })
                .observe(document.body, { subtree: true, childList: true, characterData: true });
            }"""
        )
        await kiosk.page.keyboard.type(text)
        await kiosk.page.keyboard.press("Enter")
        assert await kiosk.heard(1) == [Shown(kiosk="main", text=text)]
        seen = await kiosk.page.evaluate("() => window.seen")
        assert text[:6] not in seen
        assert text[6:14] not in seen
        assert text[6:14] not in await kiosk.page.content()
        assert text[6:14] not in await kiosk.said()


async def test_a_qr_code_without_enter_in_small_letters_and_with_a_stall_is_whole() -> None:
    async with kiosk_page(first=Screen("collect.enter")) as kiosk:
        for part in (COLLECT[:3].lower(), COLLECT[3:20].lower(), COLLECT[20:].lower()):
            await kiosk.page.keyboard.type(part)
            await kiosk.page.wait_for_timeout(200)
        assert await kiosk.heard(1) == [Shown(kiosk="main", text=COLLECT)]
        assert (await kiosk.page.inner_text(".typed")).strip() == ""


# A scanner presses the keys of an American keyboard; a German machine writes other signs for them.
GERMAN = str.maketrans("YZ:", "ZYÖ")
TYPES = """(text) => {
  for (const key of text) dispatchEvent(new KeyboardEvent("keydown", { key, cancelable: true }));
}"""


@pytest.mark.parametrize("text", [COLLECT, "PLG1B:2YZZY7"])
@pytest.mark.parametrize("small", [False, True], ids=["capitals", "small"])
async def test_a_german_keyboard_does_not_spoil_a_qr_code_for_keyboards(
    text: str, *, small: bool
) -> None:
    async with kiosk_page(first=Screen("welcome")) as kiosk:
        keys = text.translate(GERMAN)
        await kiosk.page.evaluate(TYPES, keys.lower() if small else keys)
        assert await kiosk.heard(1) == [Shown(kiosk="main", text=text)]


async def test_denials_are_carried_and_a_code_can_be_typed_afterwards() -> None:
    async with kiosk_page(first=Screen("collect.enter")) as kiosk:
        await kiosk.page.keyboard.type("PLG1D:" + "A" * 300)
        await kiosk.page.keyboard.press("Enter")
        async with asyncio.timeout(30):
            assert await kiosk.stage.carried_count(1) == ["PLG1D:" + "A" * 300]
        await kiosk.page.wait_for_timeout(3100)  # nothing was shown for it: the page lets go
        await kiosk.page.keyboard.type(CODE, delay=90)
        await kiosk.page.keyboard.press("Enter")
        assert (await kiosk.heard(1))[-1] == CodeTyped(kiosk="main", digits=CODE)


async def test_a_technician_types_a_door_and_says_what_is_inside() -> None:
    async with kiosk_page(first=Screen("service.menu")) as kiosk:
        await kiosk.page.keyboard.type("412", delay=90)
        await kiosk.page.keyboard.press("Enter")
        await kiosk.show(Screen("service.door", door=412))
        await kiosk.page.tap('[data-button="empty"]')
        await kiosk.show(Screen("service.door", door=412, why="service.checked"))
        assert "Door 412 is noted" in await kiosk.said()
        await kiosk.page.tap('[data-button="disable"]')
        assert await kiosk.heard(3) == [
            Pressed(kiosk="main", button=Button.DOOR, argument="412"),
            Pressed(kiosk="main", button=Button.EMPTY),
            Pressed(kiosk="main", button=Button.DISABLE),
        ]


async def test_a_tracking_number_can_be_typed_on_the_screen() -> None:
    async with kiosk_page("small", first=Screen("deliver.scan")) as kiosk:
        await kiosk.page.tap("[data-mode]")
        for key in "A7Z-1":
            await kiosk.page.tap(f'[data-key="{key}"]')
        await kiosk.page.tap("[data-enter]")
        assert await kiosk.heard(1) == [Scanned(kiosk="main", tracking="A7Z-1")]


async def test_a_size_and_a_low_door_are_chosen_and_what_is_full_cannot_be() -> None:
    sizes = (("S", 6), ("M", 3), ("L", 0))
    async with kiosk_page(first=Screen("deliver.size", sizes=sizes)) as kiosk:
        assert await kiosk.page.is_disabled('[data-size="L"]')
        await kiosk.page.tap("[role=switch]")
        assert await kiosk.page.get_attribute("[role=switch]", "aria-checked") == "true"
        await kiosk.page.tap('[data-size="M"]')
        await kiosk.show(Screen("deliver.mine", doors=(3, 104)))
        await kiosk.page.tap('[data-door="104"]')
        assert await kiosk.heard(2) == [
            Pressed(kiosk="main", button=Button.SIZE, argument="M low"),
            Pressed(kiosk="main", button=Button.TAKE_BACK, argument="104"),
        ]


async def test_the_end_is_announced_and_more_time_keeps_what_was_typed() -> None:
    screen = Screen("collect.enter", ends_ms=60_000)
    async with kiosk_page(first=screen) as kiosk:
        await kiosk.page.keyboard.type("4839", delay=90)
        await kiosk.heard(1)  # typing keeps the screen
        kiosk.stage.heard.clear()
        kiosk.stage.show(replace(screen, warn=True))
        await kiosk.page.wait_for_selector("#ending:not([hidden])")
        assert "Are you still there?" in await kiosk.said()
        await kiosk.page.wait_for_function(
            "() => /in 5\\d seconds/.test(document.querySelector('.in').textContent)"
        )
        assert await kiosk.page.inner_text(".typed") == "4839"
        await kiosk.page.tap('[data-button="stay"]')
        assert await kiosk.heard(1) == [Pressed(kiosk="main", button=Button.STAY)]
        kiosk.stage.show(screen)
        await kiosk.page.wait_for_selector("#ending", state="hidden")
        assert await kiosk.page.inner_text(".typed") == "4839"


async def test_whoever_types_is_not_sent_home() -> None:
    async with kiosk_page(first=Screen("collect.enter", ends_ms=60_000)) as kiosk:
        await kiosk.page.keyboard.press("4")
        assert await kiosk.heard(1) == [Pressed(kiosk="main", button=Button.STAY)]


async def test_a_lost_gateway_is_covered_and_found_again() -> None:
    async with kiosk_page(first=Screen("collect.open", door=12)) as kiosk:
        await kiosk.stop()
        await kiosk.page.wait_for_selector("#lost:not([hidden])")
        assert "One moment, please" in await kiosk.page.inner_text("#lost")
        kiosk.stage.show(Screen("collect.ajar", door=12))
        await kiosk.restart()
        await kiosk.page.wait_for_selector("#lost", state="hidden")
        assert await kiosk.page.inner_text("#title") == "Please close door 12"


async def test_a_full_queue_is_told_and_the_digits_stay() -> None:
    async with kiosk_page(first=Screen("collect.enter")) as kiosk:
        kiosk.stage.full = True
        await kiosk.page.keyboard.type(CODE, delay=90)
        await kiosk.page.keyboard.press("Enter")
        await kiosk.page.wait_for_selector("#toast:not([hidden])")
        kiosk.stage.full = False
        await kiosk.page.keyboard.press("Enter")
        assert await kiosk.heard(1) == [CodeTyped(kiosk="main", digits=CODE)]


async def test_the_language_is_a_choice_of_one_visit() -> None:
    async with kiosk_page(query="lang=en") as kiosk:
        await kiosk.page.tap('[data-language="de"]')
        assert await kiosk.page.inner_text("#title") == "Willkommen"
        await kiosk.show(Screen("collect.open", door=12))
        assert await kiosk.page.inner_text("#title") == "Fach 12 ist offen"
        assert await kiosk.page.get_attribute("html", "lang") == "de"
        await kiosk.show(Screen("welcome"))
        assert await kiosk.page.inner_text("#title") == "Welcome"
