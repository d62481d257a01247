"""A stage for the kiosk's page: any screen on demand, without a site behind it.

Tests, and whoever writes words or draws, put a `Screen` on it and read what the person did:

    python -m gateway.web.stage --port 8099     # then / plays a round of all screens

`Stage` satisfies `KioskPort` and shows how one is meant: the latest screen wins.
"""

import argparse
import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

from aiohttp import web
from typing_extensions import override

from gateway.core.inputs import Button
from gateway.core.screen import Screen
from gateway.web.kiosk import KioskInput, Overloaded, Pressed, UnknownKiosk, make_app

SIZES = (("S", 6), ("M", 3), ("L", 0), ("XL", 1))

EXAMPLES: tuple[Screen, ...] = (
    Screen("welcome"),
    Screen("collect.enter", ends_ms=60_000),
    Screen("collect.enter", why="code.unknown", ends_ms=60_000),
    Screen("collect.enter", why="code.wait", count=42, ends_ms=60_000),
    Screen("collect.enter", ends_ms=20_000, warn=True),
    Screen("collect.checking"),
    Screen("collect.opening", door=12, count=1),
    Screen("collect.opening", door=12, count=2),
    Screen("collect.pull", door=12, count=3),
    Screen("collect.open", door=12),
    Screen("collect.open", door=3084),
    Screen("collect.ajar", door=12),
    Screen("collect.thanks", door=12, ends_ms=20_000),
    Screen("collect.left", door=12, ends_ms=60_000),
    Screen("collect.unsure", door=12, ends_ms=60_000),
    Screen("collect.fault", door=412, why="door.silent", ends_ms=60_000),
    Screen("deliver.enter", ends_ms=60_000),
    Screen("deliver.scan", ends_ms=120_000),
    Screen("deliver.scan", door=7, ends_ms=120_000),
    Screen("deliver.scan", door=7, why="parcel.malformed", ends_ms=120_000),
    Screen("deliver.again", ends_ms=120_000),
    Screen("deliver.size", sizes=SIZES, ends_ms=120_000),
    Screen("deliver.size", sizes=SIZES, why="size.none_free", size="L", ends_ms=120_000),
    Screen("deliver.opening", door=7, count=1, size="M"),
    Screen("deliver.pull", door=7, count=2, size="M"),
    Screen("deliver.check", door=7, size="M"),
    Screen("deliver.open", door=7, size="M"),
    Screen("deliver.open", door=7, why="parcel.take_out"),
    Screen("deliver.ajar", door=7),
    Screen("deliver.confirm", door=7, size="M", ends_ms=120_000),
    Screen("deliver.empty", door=7, size="M", ends_ms=120_000),
    Screen("deliver.fault", door=7, size="M", why="door.resting", ends_ms=120_000),
    Screen("deliver.mine", doors=(3, 7, 12, 104), ends_ms=120_000),
    Screen("deliver.took", door=7, ends_ms=120_000),
    Screen("deliver.done", door=7, ends_ms=20_000),
    Screen("capability.refused", why="capability.used", ends_ms=20_000),
    Screen("capability.refused", why="capability.wait", count=12, ends_ms=20_000),
    Screen("service.menu", ends_ms=120_000),
    Screen("service.menu", why="door.unknown", ends_ms=120_000),
    Screen("service.door", door=412, ends_ms=120_000),
    Screen("service.door", door=412, why="service.checked", ends_ms=120_000),
    Screen("service.door", door=412, why="service.occupied", ends_ms=120_000),
    Screen("service.door", door=3084, why="service.occupied", ends_ms=120_000),
    Screen("service.opening", door=412, count=1),
    Screen("service.open", door=412),
    Screen("service.pairing", count=10, ends_ms=300_000),
    Screen("support.open", door=23),
    Screen("help", ends_ms=60_000),
    Screen("out_of_service", why="log.full"),
)
"""One or more of every screen, as a site would send it."""


class Stage:
    """A site that shows what it is told and remembers what people did. `full` refuses them."""

    def __init__(self, *kiosks: str, first: Screen = EXAMPLES[0]) -> None:
        self.screens = dict.fromkeys(kiosks or ("main",), first)
        self.heard: list[KioskInput] = []
        self.carried: list[str] = []
        self.watching = 0
        self.full = False
        self.ok = True
        self._turn = 0
        self._changed = asyncio.Event()

    def show(self, screen: Screen, kiosk: str = "main") -> None:
        """Put a screen on a kiosk."""
        self.screens[kiosk] = screen
        self._turn += 1
        self._wake()

    async def heard_count(self, count: int) -> list[KioskInput]:
        """Wait until people did so many things; return them all."""
        while len(self.heard) < count:
            await self._changed.wait()
        return self.heard

    async def carried_count(self, count: int) -> list[str]:
        """Wait until so many lists of denials were carried in; return them all."""
        while len(self.carried) < count:
            await self._changed.wait()
        return self.carried

    async def watched_by(self, count: int) -> None:
        """Wait until so many pages watch."""
        while self.watching != count:
            await self._changed.wait()

    def submit(self, inp: KioskInput) -> None:
        """Remember it."""
        if inp.kiosk not in self.screens:
            raise UnknownKiosk(inp.kiosk)
        if self.full:
            raise Overloaded(waiting=len(self.heard))
        self.heard.append(inp)
        self._wake()

    def carry(self, text: str) -> None:
        """Remember it."""
        self.carried.append(text)
        self._wake()

    async def watch(self, kiosk: str) -> AsyncIterator[Screen]:
        """Yield the current screen, then the latest after each change."""
        if kiosk not in self.screens:
            raise UnknownKiosk(kiosk)
        self.watching += 1
        self._wake()
        try:
            while True:
                turn = self._turn
                yield self.screens[kiosk]
                while turn == self._turn:
                    await self._changed.wait()
        finally:
            self.watching -= 1
            self._wake()

    def health(self) -> Mapping[str, object]:
        """Say what the test wants said."""
        return {"ok": self.ok}

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Round(Stage):
    """A stage that answers by itself: every action shows the next example, `home` the first."""

    def __init__(self) -> None:
        super().__init__()
        self._place = 0

    @override
    def submit(self, inp: KioskInput) -> None:
        super().submit(inp)
        button = inp.button if isinstance(inp, Pressed) else None
        if button is not Button.STAY:
            self._place = 0 if button is Button.HOME else (self._place + 1) % len(EXAMPLES)
        self.show(replace(EXAMPLES[self._place], warn=False))


def main() -> None:
    """Serve the round on loopback."""
    parser = argparse.ArgumentParser(description="Look at every screen of the kiosk.")
    parser.add_argument("--port", type=int, default=8099)
    with contextlib.suppress(KeyboardInterrupt):
        web.run_app(make_app(Round()), host="127.0.0.1", port=parser.parse_args().port)


if __name__ == "__main__":
    main()
