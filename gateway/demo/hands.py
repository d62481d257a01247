"""What people have: the kiosk's screen and buttons, and hands at the doors of the bank.

`Kiosk` hears every screen by server-sent events, as the page does, and reconnects like it.
`Hands` moves parcels and doors of the simulated bank. Both only speak HTTP.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

import aiohttp

from gateway.demo.process import DemoFailed

WITHIN_S: Final = 30.0
"""How long a step may take; a busy machine is slow, a broken one never gets there."""
_LOOK_S: Final = 0.03
_AGAIN_S: Final = 0.05
_REQUEST_S: Final = 10.0
_BAD: Final = 400

Screen = dict[str, Any]


class Kiosk:
    """One kiosk, seen from outside. `heard` is called with each new screen."""

    def __init__(
        self, session: aiohttp.ClientSession, url: str, heard: Callable[[Screen], None]
    ) -> None:
        self.url = url
        self._session = session
        self._heard = heard
        self._screens: list[Screen] = []
        self._from = 0
        self._news = asyncio.Event()

    async def watch(self) -> None:
        """Hear screens until cancelled; while the gateway is away, ask again and again."""
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=2.0)
        while True:
            try:
                async with self._session.get(f"{self.url}api/events", timeout=timeout) as answer:
                    async for line in answer.content:
                        if line.startswith(b"data: "):
                            self._hear(json.loads(line[6:]))
            except (aiohttp.ClientError, TimeoutError):
                pass
            await asyncio.sleep(_AGAIN_S)

    def _hear(self, screen: Screen) -> None:
        if not self._screens or self._screens[-1] != screen:
            self._heard(screen)
        self._screens.append(screen)
        self._news.set()

    async def page(self, within_s: float, alive: Callable[[], bool]) -> None:
        """Return when the page is served and the site lets people in."""
        try:
            async with asyncio.timeout(within_s):
                while alive():
                    if await self._open():
                        return
                    await asyncio.sleep(_AGAIN_S)
        except TimeoutError:
            pass
        raise DemoFailed("demo.no_page", "Read the gateway's log", url=self.url)

    async def _open(self) -> bool:
        try:
            async with self._session.get(self.url) as page:
                if page.status >= _BAD:
                    return False
            async with self._session.get(f"{self.url}api/screen") as screen:
                shown = await screen.json()
        except (aiohttp.ClientError, TimeoutError):
            return False
        return bool(shown["name"] != "out_of_service")

    async def press(self, button: str, argument: str = "") -> None:
        """Press a button of the screen."""
        await self._post("button", {"button": button, "argument": argument})

    async def code(self, digits: str) -> None:
        """Type a pick-up code."""
        await self._post("code", {"digits": digits})

    async def secret(self, digits: str) -> None:
        """Type a courier's secret."""
        await self._post("staff-code", {"digits": digits})

    async def scan(self, tracking: str) -> None:
        """Hold a label in front of the scanner."""
        await self._post("parcel", {"tracking": tracking})

    async def show(self, text: str) -> None:
        """Hold a QR code in front of the scanner."""
        await self._post("scan", {"text": text})

    def turn(self) -> None:
        """Begin to wait for what is shown from now on."""
        self._from = len(self._screens)

    async def _post(self, path: str, body: dict[str, str]) -> None:
        self.turn()
        await post(self._session, f"{self.url}api/{path}", body)

    async def until(self, name: str, *, why: str = "", within_s: float = WITHIN_S) -> Screen:
        """Return the first screen of this name (and reason) since the last thing done."""
        try:
            async with asyncio.timeout(within_s):
                while True:
                    self._news.clear()
                    for screen in self._screens[self._from :]:
                        if screen["name"] == name and why in {"", screen["why"]}:
                            return screen
                        self._object(screen, name)
                    await self._news.wait()
        except TimeoutError:
            raise self._unexpected(name, "") from None

    def _object(self, screen: Screen, wanted: str) -> None:
        fault = screen["name"].endswith(".fault") or screen["name"] == "out_of_service"
        if fault:
            raise self._unexpected(wanted, f"{screen['name']} {screen['why']}")

    def _unexpected(self, wanted: str, instead: str) -> DemoFailed:
        shown = instead or (self._screens[-1]["name"] if self._screens else "nothing")
        return DemoFailed("demo.other_screen", "Read the gateway's log", wanted=wanted, shown=shown)


class Hands:
    """Hands at the bank. Door numbers as on the doors."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self.url = url
        self._session = session

    async def state(self) -> dict[str, Any]:
        """Return all doors, boards and lines."""
        async with self._session.get(f"{self.url}api/state") as answer:
            state: dict[str, Any] = await answer.json()
        return state

    async def door(self, number: int) -> dict[str, Any]:
        """Return one door as it really is."""
        doors = (await self.state())["doors"]
        found: dict[str, Any] = next(door for door in doors if door["number"] == number)
        return found

    async def see(self, number: int, what: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the door as soon as it is so."""
        try:
            async with asyncio.timeout(WITHIN_S):
                # The bank has no bell for a single door.
                while not what(door := await self.door(number)):  # noqa: ASYNC110  # HTTP
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise DemoFailed("demo.door", "Read the gateway's log", door=number) from None
        return door

    async def put(self, number: int) -> None:
        """Lay a parcel into an open compartment."""
        await self._act(number, "parcel", inside=True)

    async def take(self, number: int) -> None:
        """Take the parcel out of an open compartment."""
        await self._act(number, "parcel", inside=False)

    async def close(self, number: int) -> None:
        """Push the door shut."""
        await self._act(number, "close")

    async def jam(self, number: int) -> None:
        """Wedge a door, so that it does not open whatever its lock does."""
        await self._act(number, "jam")

    async def unjam(self, number: int) -> None:
        """Take the wedge away."""
        await self._act(number, "unjam")

    async def force(self, number: int) -> None:
        """Lever a door open."""
        await self._act(number, "force")

    async def _act(self, number: int, action: str, **body: bool) -> None:
        await post(self._session, f"{self.url}api/doors/{number}/{action}", body)


async def post(session: aiohttp.ClientSession, url: str, body: object) -> None:
    """POST JSON; DemoFailed when it is refused or nobody answers."""
    timeout = aiohttp.ClientTimeout(total=_REQUEST_S)
    try:
        async with session.post(url, json=body, timeout=timeout) as answer:
            said = await answer.text()
            if answer.status >= _BAD:
                raise DemoFailed("demo.refused", said[:200], url=url, status=answer.status)
    except (aiohttp.ClientError, TimeoutError) as error:
        raise DemoFailed(
            "demo.unanswered", "Read the logs", url=url, cause=type(error).__name__
        ) from error
