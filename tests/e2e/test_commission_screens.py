"""Pins each screen of the commissioning page: sizes, contrast, axe, languages, keys and touch."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Route

from gateway.web.installer import page as made
from tests.e2e.commission_views import PLACED, SCREENS, WORK, View
from tests.e2e.phones import ENLARGED, LYING, PHONE, SMALL, Phone, browser, phone
from tests.e2e.test_kiosk_browser import BROWSER
from tests.lan_stage import lan_stand

pytestmark = pytest.mark.skipif(
    BROWSER is None, reason="no browser: install chromium, or set BROWSER_BIN to one"
)
PHASES = (
    ("which", "which"), ("closing", "closing"), ("untaught", "failed"), ("taught", "done"),
)  # fmt: skip


class Gateway:
    """Answers for the bench: with the view that a test sets, and keeps the acts."""

    def __init__(self, seen: Phone) -> None:
        self.phone, self.page = seen, seen.page
        self.view: View = SCREENS["start"]
        self.acts: list[dict[str, Any]] = []
        self.refusal: dict[str, Any] | None = None
        self.down = False
        self.tick = 5
        self.changed = asyncio.Event()

    def say(self, key: str, **values: object) -> str:
        """Return a text of the page in its language."""
        lang = "de" if "de" in self.lang else "en"
        text = str(json.loads(made.PARTS[f"words-{lang}.json"][1])["texts"][key])
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", str(value))
        return text

    lang = "en-GB"

    async def answer(self, route: Route) -> None:
        """Answer as the listener does."""
        request = route.request
        if self.down:
            await route.abort()
            return
        if request.method == "POST":
            assert request.headers["x-csrf-token"]
            self.acts.append(json.loads(request.post_data or ""))
            if self.refusal:
                await route.fulfill(status=409, json=self.refusal)
                return
        elif f"after={self.tick}&" in request.url:
            self.changed.clear()
            await self.changed.wait()
        await route.fulfill(json=self.view | {"tick": self.tick})

    def show(self, view: View) -> None:
        """Have the gateway tell another view."""
        self.view, self.tick = view, self.tick + 1
        self.changed.set()

    async def open(self, view: View, step: str = "") -> None:
        """Load the page with this view."""
        self.view, self.tick = view, self.tick + 1
        self.changed.set()
        await self.page.goto("about:blank")
        await self.page.goto(f"https://{self.phone.address}/commission{step and f'#{step}'}")
        await self.page.wait_for_selector("#page h2")


@asynccontextmanager
async def gateway(folder: Path, **more: Any) -> AsyncIterator[Gateway]:
    """Lend a phone at a gateway whose bench is ours."""
    async with (
        lan_stand(folder / "data") as stage,
        browser() as lent,
        phone(lent, stage, **more) as seen,
    ):
        ours = Gateway(seen)
        ours.lang = more.get("lang", "en-GB")
        await seen.page.route("**/api/commission*", ours.answer)
        yield ours
        ours.changed.set()
        await seen.page.unroute_all(behavior="ignoreErrors")


@pytest.mark.parametrize(
    ("size", "lang", "dark"),
    [(PHONE, "en-GB", False), (PHONE, "de-DE", True), (SMALL, "de-DE", False),
     (LYING, "en-GB", True), (ENLARGED, "de-DE", False)],
)  # fmt: skip
async def test_every_screen_can_be_read_and_touched(
    tmp_path: Path, size: tuple[int, int], lang: str, *, dark: bool
) -> None:
    async with gateway(tmp_path, size=size, lang=lang, dark=dark) as ours:
        for name, view in SCREENS.items():
            await ours.open(view)
            for fold in await ours.page.locator("summary").all():
                await fold.click()
            assert await ours.phone.faults() == [], name
            await ours.page.screenshot(path=tmp_path / f"{name}.png", full_page=True)


async def test_what_boards_say_is_text_and_never_markup(tmp_path: Path) -> None:
    bad = '<img src=x onerror="document.title=1">'
    board = WORK["boards"][0] | {"name": bad, "title": bad, "by_hand": bad}
    match = {"profile": bad, "title": bad, "confidence": bad, "evidence": [bad]}
    told = {"code": bad, "about": bad, "evidence": {bad: bad}}
    found = {"key": bad, "line": bad, "unit": 1, "board": "", "device_id": {bad: bad},
             "findings": [told, told | {"code": "constructor"}], "matches": [match]}  # fmt: skip
    async with gateway(tmp_path) as ours:
        await ours.open(WORK | {"boards": [board], "found": [found]}, "boards")
        assert await ours.page.locator("img").count() == 0
        assert bad in await ours.page.locator("#page").inner_text()
        await ours.open(SCREENS["taken"] | {"by": f"installer:{bad}"})
        assert bad in await ours.page.locator("h2").inner_text()
        ours.refusal = {"code": bad, "remedy": bad, "evidence": {bad: bad}}
        await ours.open(WORK, "doors")
        await ours.page.get_by_role("button", name=ours.say("doors.next")).tap()
        await ours.page.locator("#refusal").wait_for()
        assert await ours.page.locator("img").count() == 0


async def test_a_refusal_says_what_and_the_cure_and_has_the_focus(tmp_path: Path) -> None:
    async with gateway(tmp_path, lang="de-DE") as ours:
        await ours.open(WORK)
        ours.refusal = {"code": "door.occupied", "remedy": "Take it out", "evidence": {"door": "3"}}
        await ours.page.get_by_role("button", name=ours.say("doors.next")).tap()
        told = ours.page.locator("#refusal")
        await (
            told.filter(has_text="Take it out")
            .or_(told.filter(has_text="door.occupied"))
            .wait_for()
        )
        assert await told.evaluate("e => e === document.activeElement")
        assert await told.get_attribute("role") == "alert"
        assert await ours.phone.faults() == []
        await ours.page.get_by_role("button", name=ours.say("understood")).tap()
        assert await told.count() == 0


async def test_a_broken_link_is_told_and_what_was_typed_outlives_it(tmp_path: Path) -> None:
    async with gateway(tmp_path) as ours:
        await ours.open(WORK, "boards")
        await ours.page.locator("summary", has_text=ours.say("board.change")).first.tap()
        name = ours.page.get_by_label(ours.say("board.name")).first
        await name.fill("left-tower")
        ours.down = True
        await ours.page.get_by_role("button", name=ours.say("scan.quick")).tap()
        banner = ours.page.get_by_text(ours.say("lost"))
        await banner.wait_for()
        assert await ours.phone.faults() == []
        ours.down = False
        ours.show(WORK | {"findings": [{"code": "line.silent", "about": "", "evidence": {}}]})
        await banner.wait_for(state="detached")
        assert await name.input_value() == "left-tower"
        assert ours.say("found_again") in await ours.page.locator("#live").inner_text()


async def test_each_phase_of_a_lesson_is_spoken_and_takes_the_focus(tmp_path: Path) -> None:
    async with gateway(tmp_path) as ours:
        page, live = ours.page, ours.page.locator("#live")
        await ours.open(WORK)
        ours.view = SCREENS["watching"]
        await page.get_by_role("button", name=ours.say("doors.next")).tap()
        assert ours.acts == [{"do": "try", "lock": "locks-1:3"}]
        for name, phase in PHASES:
            ours.show(SCREENS[name])
            told = ours.say(f"phase.{phase}", door=4)
            await page.get_by_role("heading", name=told).wait_for()
            assert told in await live.inner_text()
            held = await page.evaluate("() => document.activeElement.textContent")
            assert held == told, name


async def test_a_door_is_named_by_one_tap_or_by_the_number_pad(tmp_path: Path) -> None:
    async with gateway(tmp_path) as ours:
        page = ours.page
        await ours.open(SCREENS["which"])
        await page.locator("label.key", has_text="XL").tap()
        await page.get_by_role("button", name=ours.say("lesson.suggest", door=4)).tap()
        for key in "19":
            await page.get_by_role("button", name=key, exact=True).tap()
        await page.get_by_role("button", name=ours.say("pad.back")).tap()
        await page.get_by_role("button", name="2", exact=True).tap()
        await page.get_by_role("button", name=ours.say("lesson.this", door=12)).tap()
        await page.get_by_role("button", name=ours.say("lesson.typed")).wait_for()
        await page.get_by_label(ours.say("lesson.other")).fill("77")
        await page.keyboard.press("Enter")
        await page.get_by_role("button", name=ours.say("lesson.nothing")).tap()
        await page.get_by_role("button", name=ours.say("lesson.skip")).tap()
        popped = [{"do": "popped", "number": n, "size": "XL"} for n in (4, 12, 77)]
        ours.show(SCREENS["stopped"])
        await page.locator(".lesson.stopped, .lesson.which").first.wait_for()
        async with asyncio.timeout(5):
            while len(ours.acts) < len(popped) + 3:
                await page.evaluate("() => 0")
        skip = {"do": "skip", "lock": "locks-1:3"}
        assert ours.acts == [*popped, {"do": "nothing"}, {"do": "stop"}, skip]


async def test_a_door_goes_into_the_picture_by_touch_by_mouse_and_by_keys(tmp_path: Path) -> None:
    async with gateway(tmp_path) as ours:
        page = ours.page
        await ours.open(PLACED)
        await page.locator('[data-door="7"]').tap()
        await page.locator('[data-cell="3,2"]').tap()
        one = {"do": "place", "number": 7, "column": 3, "row": 2, "rows": 2}
        assert ours.acts == [one]
        box = await page.locator('[data-door="8"]').bounding_box()
        cell = await page.locator('[data-cell="3,4"]').bounding_box()
        assert box
        assert cell
        await page.mouse.move(box["x"] + 20, box["y"] + 20)
        await page.mouse.down()
        await page.mouse.move(box["x"] + 40, box["y"] + 60)
        await page.mouse.move(cell["x"] + 20, cell["y"] + 20, steps=3)
        assert await page.locator(".ghost").count() == 1
        await page.mouse.up()
        await page.wait_for_function("() => !document.querySelector('.ghost')")
        two = {"do": "place", "number": 8, "column": 3, "row": 4, "rows": 3}
        assert ours.acts == [one, two]
        ours.acts.clear()
        await page.locator('[data-door="8"]').focus()
        await page.keyboard.press("Enter")
        await page.locator('.bank [tabindex="0"]').focus()
        for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowDown"):
            await page.keyboard.press(key)
        held = await page.evaluate("() => document.activeElement.ariaLabel")
        assert held == ours.say("place.cell", column=3, row=3)
        await page.keyboard.press("Enter")
        await page.wait_for_function("() => !document.querySelector('[aria-pressed=true]')")
        assert ours.acts == [two | {"row": 3}]
        told = ours.say("place.placed", door=8, column=3, row=3)
        assert told in await page.locator("#live").inner_text()


async def test_a_finger_that_rests_takes_a_door_along(tmp_path: Path) -> None:
    async with gateway(tmp_path) as ours:
        page = ours.page
        await ours.open(PLACED)
        box = await page.locator('[data-door="7"]').bounding_box()
        cell = await page.locator('[data-cell="3,1"]').bounding_box()
        assert box
        assert cell
        touch = await page.context.new_cdp_session(page)

        async def finger(kind: str, x: float = 0, y: float = 0) -> None:
            points = [] if kind == "touchEnd" else [{"x": x, "y": y}]
            await touch.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        await finger("touchStart", box["x"] + 20, box["y"] + 20)
        await page.locator(".ghost").wait_for()
        await finger("touchMove", box["x"] + 30, box["y"] + 40)
        await finger("touchMove", cell["x"] + 20, cell["y"] + 20)
        await page.locator(".cell.over").wait_for()
        await finger("touchEnd")
        await page.wait_for_function("() => !document.querySelector('.ghost')")
        assert ours.acts == [{"do": "place", "number": 7, "column": 3, "row": 1, "rows": 2}]


async def test_what_cannot_be_taken_back_is_asked_first(tmp_path: Path) -> None:
    async with gateway(tmp_path) as ours:
        page = ours.page

        async def asks(press: str, yes: str, act: dict[str, Any], view: View, step: str) -> None:
            await ours.open(view, step)
            for fold in await page.locator("summary").all():
                await fold.click()
            if act["do"] == "sweep":
                await page.get_by_label(ours.say("sweep.network")).fill("192.168.1.0/24")
            button = page.get_by_role("button", name=press, exact=True).first
            for answer in (ours.say("no"), yes):
                await button.tap()
                dialog = page.get_by_role("dialog")
                await dialog.wait_for()
                assert await ours.phone.faults() == []
                assert ours.acts == []
                await dialog.get_by_role("button", name=answer, exact=True).tap()
                await dialog.wait_for(state="hidden")
            async with asyncio.timeout(5):
                while not ours.acts:
                    await page.evaluate("() => 0")
            assert ours.acts == [act]
            ours.acts.clear()

        say = ours.say
        await asks(say("cancel"), say("cancel.yes"), {"do": "cancel", "revision": 3}, WORK, "doors")
        await asks(say("taken.take"), say("taken.yes"), {"do": "take"}, SCREENS["taken"], "")
        await asks(say("sweep"), say("sweep.yes"), {"do": "sweep", "network": "192.168.1.0/24"},
                   WORK, "boards")  # fmt: skip
        await asks(say("drop", name="locks-1"), say("drop.yes"),
                   {"do": "drop_board", "name": "locks-1"}, WORK, "boards")  # fmt: skip
        await asks(say("prove"), say("prove.yes"), {"do": "prove"}, PLACED, "proof")
        await asks(say("sign"), say("sign.yes"), {"do": "sign", "revision": 3}, SCREENS["sign"],
                   "sign")  # fmt: skip


async def test_many_doors_are_changed_at_once(tmp_path: Path) -> None:
    async with gateway(tmp_path, lang="de-DE") as ours:
        page = ours.page
        await ours.open(WORK)
        await page.get_by_role("button", name=ours.say("many")).tap()
        for number in (1, 3):
            await page.get_by_role("button", name=ours.say("door", door=number)).tap()
        card = page.locator("section", has_text=ours.say("many.title", count=2))
        await (
            card.locator("fieldset", has_text=ours.say("size"))
            .locator(".key", has_text="L")
            .first.tap()
        )
        group = card.get_by_role("group", name=ours.say("cooled"))
        await group.locator(".key", has_text=ours.say("yes")).tap()
        assert await ours.phone.faults() == []
        await page.get_by_role("button", name=ours.say("many.save", count=2)).tap()
        assert ours.acts == [{"do": "doors", "numbers": [1, 3], "size": "L", "cooled": True}]


async def test_back_goes_a_step_back(tmp_path: Path) -> None:
    async with gateway(tmp_path) as ours:
        page = ours.page
        await ours.open(WORK)
        steps = page.get_by_role("navigation", name=ours.say("steps"))
        await steps.get_by_role("link", name=ours.say("step.sign")).tap()
        await page.get_by_role("heading", name=ours.say("step.sign.title")).wait_for()
        assert await page.evaluate("() => document.activeElement.tagName") == "H2"
        await page.go_back()
        await page.get_by_role("heading", name=ours.say("step.doors.title")).wait_for()
