"""Pins a whole commissioning on a phone: sixteen doors found, taught, placed, proved, signed."""

import asyncio
import json
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gateway.meanings import TABLE
from gateway.web.installer import page as made
from tests.e2e.bank import DOORS, SENSING, Bank, bank
from tests.e2e.phones import Phone, browser, phone
from tests.e2e.test_kiosk_browser import BROWSER

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser: install chromium, or set BROWSER_BIN to one"
)
JOB_MS = 120_000


class Installer:
    """Somebody with a phone, who presses what the page says."""

    def __init__(self, seen: Phone, lang: str = "en") -> None:
        self.phone, self.page = seen, seen.page
        self._texts = json.loads(made.PARTS[f"words-{lang}.json"][1])["texts"]

    def say(self, key: str, **values: object) -> str:
        """Return a text of the page."""
        text = str(self._texts[key])
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    async def press(self, key: str, **values: object) -> None:
        """Touch the button of this text."""
        await self.page.get_by_role("button", name=self.say(key, **values), exact=True).tap()

    async def sees(self, key: str, **values: object) -> None:
        """Wait for the heading of this text."""
        heading = self.page.get_by_role("heading", name=self.say(key, **values), exact=True)
        await heading.wait_for(timeout=JOB_MS)

    async def agrees(self, key: str) -> None:
        """Say yes in the dialog."""
        await self.page.get_by_role("dialog").get_by_role("button", name=self.say(key)).tap()

    async def checked(self, folder: Path, name: str) -> None:
        """Find no fault with the screen, and keep its picture."""
        assert await self.phone.faults() == [], name
        await self.page.screenshot(path=folder / f"{name}.png", full_page=True)

    async def begins(self) -> None:
        """From the first page into the work."""
        link = made.TEXTS["en"]["home.commission"]
        await self.page.goto(f"https://{self.phone.address}/")
        await self.page.get_by_role("link", name=link).tap()
        await self.press("start.begin")
        await self.sees("step.boards.title")

    async def finds_the_boards(self, place: str) -> None:
        """Look at the address of the line, and use what is found."""
        await self.page.locator("summary", has_text=self.say("network")).tap()
        await self.page.get_by_label(self.say("look.at")).fill(place)
        await self.press("look")
        adopt = self.page.get_by_role("button", name=self.say("boards.adopt_all", count=3))
        await adopt.wait_for(timeout=JOB_MS)
        await adopt.tap()
        await self.sees("boards.ours", count=3)

    async def is_refused(self) -> None:
        """Give a board the name of another: nothing happens, and the cure is on the screen."""
        await self.page.locator("summary", has_text=self.say("board.change")).first.tap()
        await self.page.get_by_label(self.say("board.name")).first.fill("locks-1")
        await self.page.get_by_role("button", name=self.say("board.rename")).first.tap()
        for text in TABLE["en"]["board.exists"]:
            await self.page.locator("#refusal").get_by_text(text).wait_for()
        await self.press("understood")

    async def teaches(self, stage: Bank, *, dies: bool = False) -> int:
        """Teach the next lock, on a phone that dies meanwhile; return the number of its door."""
        await self.press("doors.next")
        number = await stage.popped()
        await self.sees("phase.which")
        suggested = self.page.get_by_role("button", name=self.say("lesson.suggest", door=number))
        if await suggested.count() == 0:
            for digit in str(number):
                await self.page.get_by_role("button", name=digit, exact=True).tap()
        await suggested.last.tap()
        await self.sees("phase.closing", door=number)
        if dies:
            await self.page.reload()
            await self.sees("phase.closing", door=number)
        if number <= SENSING:
            await stage.hand(number)
        stage.shut(number)
        await self.sees("phase.done", door=number)
        return number


@asynccontextmanager
async def installer(folder: Path) -> AsyncIterator[tuple[Bank, Installer, Any]]:
    """Lend a bank and somebody with a paired phone, and the browser for another phone."""
    async with (
        bank(folder / "data") as stage,
        browser() as lent,
        phone(lent, stage) as seen,
    ):
        yield stage, Installer(seen), lent


async def test_sixteen_doors_are_commissioned_on_a_phone(tmp_path: Path) -> None:
    async with installer(tmp_path) as (stage, anna, lent):
        page = anna.page
        await anna.begins()
        await anna.checked(tmp_path, "begun")
        await anna.finds_the_boards(stage.place)
        await anna.checked(tmp_path, "boards")
        await anna.is_refused()
        await anna.press("boards.go_on")
        taught = [await anna.teaches(stage, dies=number == 0) for number in range(5)]
        await anna.checked(tmp_path, "taught")
        await page.reload()
        await anna.sees("doors.taught", count=5)
        async with phone(lent, stage, name="bernd") as other:
            bernd = Installer(other)
            await other.page.goto(f"https://{stage.address}/commission")
            await bernd.sees("taken.title", by="anna")
            await bernd.checked(tmp_path, "taken")
            await bernd.press("taken.take")
            await bernd.agrees("taken.yes")
            await bernd.sees("doors.taught", count=5)
            await anna.sees("taken.title", by="bernd")
            taught.append(await bernd.teaches(stage))
        await anna.press("taken.take")
        await anna.agrees("taken.yes")
        taught += [await anna.teaches(stage) for _ in range(DOORS - 6)]
        assert taught == [1, 2, 4, 3, *range(5, DOORS + 1)]
        await anna.press("doors.go_on")
        await page.locator("summary", has_text=anna.say("arrange")).tap()
        await anna.press("arrange.do")
        await page.get_by_text(anna.say("place.all")).wait_for()
        await anna.checked(tmp_path, "placed")
        await anna.press("place.go_on")
        hands = asyncio.create_task(stage.keep_shutting())
        await anna.press("prove")
        await anna.agrees("prove.yes")
        await anna.sees("proof.passed")
        told = anna.say("proof.result", passed=DOORS, failed=0)
        assert told in await page.locator("#page").inner_text()
        assert await page.locator("#live").inner_text() == told
        hands.cancel()
        await anna.checked(tmp_path, "proved")
        await anna.press("proof.go_on")
        await anna.press("sign")
        await anna.agrees("sign.yes")
        await anna.sees("signed")
        await anna.checked(tmp_path, "signed")
        async with page.expect_download() as kept:
            await page.get_by_role("link", name=anna.say("map.save")).tap()
        text = (await (await kept.value).path()).read_text()
        assert [door["number"] for door in tomllib.loads(text)["door"]] == [*range(1, DOORS + 1)]
        await page.get_by_role("link", name=anna.say("report.look")).tap()
        await page.get_by_text("0042").first.wait_for()
        await page.screenshot(path=tmp_path / "report.png", full_page=True)
        await stage.in_service()
        rows: Any = stage.app.status()["doors"]
        assert len(rows) == DOORS
