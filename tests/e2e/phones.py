"""Phones at a site's LAN listener, and what is wrong with a page that they show."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from playwright.async_api import Browser, Page, Request, async_playwright

from tests.e2e.test_installer_browser import FAULTS
from tests.e2e.test_kiosk_browser import BROWSER, FLAGS
from tests.lan_stage import LanStand

PHONE = (360, 740)
SMALL = (320, 568)
LYING = (740, 360)
ENLARGED = (180, 370)
"""A phone of 360 px with its text enlarged twice."""

# With gloves and in the sun: 56 px instead of 44, and 7:1 instead of 4.5:1.
HARD = (
    FAULTS.replace("< 44", "< 55.5")
    .replace('["BUTTON", "INPUT"]', '["BUTTON", "INPUT", "SELECT", "SUMMARY"]')
    .replace("ratio < 4.5", "ratio < 7")
    .replace(
        "if (!box.width ||",
        'if (e.closest(".unseen, .by-keys, .bank, option")) continue;\n    if (!box.width ||',
    )
)
LARGE = HARD.replace("< 55.5", "< 44")
"""Text that is enlarged makes keys large by itself."""
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
RULES = {"rules": {"color-contrast-enhanced": {"enabled": True}, "target-size": {"enabled": True}}}


class Phone:
    """One phone: its page, whatever it asked the network for, and what its console told."""

    def __init__(self, page: Page, address: str) -> None:
        self.page, self.address = page, address
        self.wide = page.viewport_size is not None and page.viewport_size["width"] >= SMALL[0]
        self.asked: list[str] = []
        self.troubles: list[str] = []
        page.on("request", self._requested)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda line: self._told(line.type, line.text))

    def _requested(self, request: Request) -> None:
        self.asked.append(request.url)

    def _told(self, kind: str, text: str) -> None:
        if kind == "error" and "Failed to load resource" not in text:
            self.troubles.append(text)

    async def pair(self, stage: LanStand, name: str) -> None:
        """Sign in by the typed code."""
        typed = (await stage.command("open", name))["typed"]
        await self.page.goto(f"https://{self.address}/")
        await self.page.locator("#code").fill(typed)
        await self.page.get_by_role("button").tap()
        await self.page.wait_for_selector("h2")

    def elsewhere(self) -> list[str]:
        """Return what was asked of anybody but the gateway."""
        ours = (f"https://{self.address}/", "data:", "blob:")
        return [url for url in self.asked if not url.startswith(ours)]

    async def faults(self) -> list[str]:
        """Return what is wrong with the page as it stands, by our rules and by axe's."""
        told: list[str] = await self.page.evaluate(HARD if self.wide else LARGE)
        await self.page.evaluate(AXE)
        found: dict[str, Any] = await self.page.evaluate("(o) => axe.run(document, o)", RULES)
        assert found["passes"]
        return told + [
            f"axe {one['id']}: {node['html'][:120]} {node['failureSummary']}"
            for one in found["violations"]
            for node in one["nodes"]
        ]


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Lend a browser."""
    async with async_playwright() as driver:
        lent = await driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        try:
            yield lent
        finally:
            await lent.close()


@asynccontextmanager
async def phone(
    lent: Browser,
    stage: LanStand,
    *,
    size: tuple[int, int] = PHONE,
    lang: str = "en-GB",
    dark: bool = False,
    name: str = "anna",
) -> AsyncIterator[Phone]:
    """Lend a paired phone; afterwards it has asked nobody else and complained of nothing."""
    context = await lent.new_context(
        viewport={"width": size[0], "height": size[1]}, has_touch=True, is_mobile=True, locale=lang,
        ignore_https_errors=True, color_scheme="dark" if dark else "light",
        reduced_motion="reduce",
    )  # fmt: skip
    made = Phone(await context.new_page(), stage.address)
    try:
        await made.pair(stage, name)
        yield made
    finally:
        await context.close()
    assert made.troubles == []
    assert made.elsewhere() == []
