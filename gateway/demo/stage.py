"""The stage of the demo: a folder, a simulated bank and a gateway, from the real command line."""

import asyncio
import fcntl
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import aiohttp
import msgspec

from certs import claim as claims
from gateway import identity, site, trust
from gateway.core import policy
from gateway.demo.cloud import TENANT, Cloud
from gateway.demo.hands import Hands, Kiosk, Screen
from gateway.demo.process import DemoFailed, Process, free_port
from sync.book import Book
from sync.custody import Custody

SITE: Final = "0042"
READY_S: Final = 60.0
COMMAND_S: Final = 60.0
GUESSES_MIN: Final = 2
_LOOK_S: Final = 0.1
_TEMPLATES: Final = Path(__file__).parent
_HOLDING: Final = frozenset({Custody.HELD, Custody.COLLECTING})

Invoke = Callable[[list[str]], str]
"""Runs a command line of `locker-gateway` and returns what it printed. Called in a thread."""


class Stage:
    """One site in `data`. Enter it: everything runs; leave it: nothing does."""

    def __init__(self, data: Path, *, shell: Callable[[str], None], invoke: Invoke) -> None:
        self.data = data.absolute()
        self.folder = self.data / "demo"
        self.database = identity.database_of(self.data)
        self.kiosk_url = ""
        self.courier = ""
        self.cloud: Cloud
        self.hands: Hands
        self.session: aiohttp.ClientSession
        self._shell = shell
        self._invoke = invoke
        self._bank: Process | None = None
        self._gateway: Process | None = None
        self._lock: int | None = None

    # --- beginning and end ----------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """Start everything; when that fails, stop what runs already."""
        self.session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10.0))
        self.cloud = Cloud(self.folder / "hub", self.session, self._shell)
        try:
            await self._begin()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything."""
        await self.close()

    async def close(self) -> None:
        """Stop the gateway, then hub and bank. May be called twice."""
        try:
            await self.stop_gateway()
            await self.session.close()
            await self.cloud.stop()
            if self._bank is not None:
                await self._bank.stop()
        finally:
            self.cloud.kill()
            for process in (self._gateway, self._bank):
                if process is not None:
                    process.kill()
            if self._lock is not None:
                os.close(self._lock)
                self._lock = None

    async def _begin(self) -> None:
        self._claim()
        self.kiosk_url = f"http://127.0.0.1:{free_port()}/"
        known = (self.data / "identity.json").exists()
        book = self._continued() if known else Book()
        self._copy("bank.toml", lambda text: _with_parcels(text, book))
        self._copy("site.toml", lambda text: text)
        _, places = await asyncio.gather(self._make(book), self._start_bank())
        self._copy("gateway.toml", lambda text: self._filled(text, places))
        await self.start_gateway()
        said = await self.command(
            "courier", "add", "--tenant", TENANT, "--label", "demo route", "--json"
        )
        self.courier = json.loads(said)["secret"]
        await self._all_seen()

    async def _all_seen(self) -> None:
        """Return when the gateway has looked at every door once."""
        try:
            async with asyncio.timeout(READY_S):
                while True:
                    self.check()
                    status = json.loads(await self._quietly("status", "--json"))
                    doors = status.get("doors", ())
                    if doors and all(None not in (one["open"], one["occupied"]) for one in doors):
                        return
                    await asyncio.sleep(_LOOK_S)
        except TimeoutError:
            raise DemoFailed("demo.boards_silent", f"Read the logs in {self.folder}") from None

    def _claim(self) -> None:
        """Take the folder, if it is empty or a demo's, and nobody else works there."""
        if self.data.is_dir() and any(self.data.iterdir()) and not self.folder.is_dir():
            raise DemoFailed("demo.foreign_data", "Give an empty folder", data=self.data)
        # Each by itself: `parents` would leave the data folder open to others, and doctor objects.
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.mkdir(mode=0o700, exist_ok=True)
        self._lock = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with site.locked(self.data):
                pass
        except OSError as error:
            raise DemoFailed(
                "demo.busy", "Stop the other demo, or give another folder", data=self.data
            ) from error

    def _continued(self) -> Book:
        """Read the book of an earlier demo; refuse where a day cannot be played any more."""
        book = site.read_book(self.data)
        if book.map.doors and policy.tokens(book, book.last_at) < GUESSES_MIN:
            raise DemoFailed(
                "demo.no_guesses",
                "Earlier wrong codes have used up the guesses of this site, as they should: "
                "give a new folder",
                data=self.data,
            )
        return book

    async def _make(self, book: Book) -> None:
        """Have a hub, enrol the site there by a claim, give it its map. What is there stays."""
        known = trust.load(self.data) if book.sizes else None
        await self.cloud.start(SITE)
        if known is None:
            await self.command("enrol", await self.cloud.claim())
        else:
            # The relay has another port each time; what it leads to is the same hub.
            link_url = f"https://127.0.0.1:{self.cloud.link.port}"
            trust.save(self.data, msgspec.structs.replace(known, link_url=link_url))
        if not book.map.doors:
            await self.command("site", "import", str(self.folder / "site.toml"))

    async def _start_bank(self) -> dict[str, str]:
        self._shell("locker-bank run --bank bank.toml --page 127.0.0.1:0")
        self._bank = await Process.start(
            "locker-bank", "run", "--bank", "bank.toml", "--page", "127.0.0.1:0", "--json",
            cwd=self.folder, log=self.folder / "bank.log", piped=True,
        )  # fmt: skip
        said = await self._bank.ready(READY_S)
        self.hands = Hands(self.session, said["page"])
        places: dict[str, str] = said["lines"]
        return places

    def _copy(self, name: str, change: Callable[[str], str]) -> None:
        text = (_TEMPLATES / name).read_text(encoding="utf-8")
        (self.folder / name).write_text(change(text), encoding="utf-8")

    def _filled(self, text: str, places: dict[str, str]) -> str:
        values = {
            **places,
            "rs485": str(self.folder / "rs485"),
            "data": str(self.data),
            "kiosk": self.kiosk_url.removeprefix("http://").rstrip("/"),
        }
        for name, value in values.items():
            # A JSON string is a TOML string too.
            text = text.replace(f"{{{name}}}", json.dumps(value))
        return text

    # --- the gateway ----------------------------------------------------------------------------

    async def start_gateway(self) -> None:
        """Start the gateway, and return when its page is served and people are let in."""
        self._shell("locker-gateway run --config gateway.toml")
        self._gateway = await Process.start(
            "locker-gateway", "run", "--config", "gateway.toml",
            cwd=self.folder, log=self.folder / "gateway.log",
        )  # fmt: skip
        kiosk = Kiosk(self.session, self.kiosk_url, _ignore)
        try:
            await kiosk.page(READY_S, lambda: self.gateway_runs)
        except DemoFailed:
            raise self._gateway.failed("demo.no_page") from None

    @property
    def gateway_runs(self) -> bool:
        """Whether the gateway's process is alive."""
        return self._gateway is not None and self._gateway.status is None

    def check(self) -> None:
        """Raise DemoFailed when the bank or the gateway has ended by itself."""
        for process in (self._bank, self._gateway, self.cloud.process):
            if process is not None and process.status is not None:
                raise process.failed("demo.ended")

    async def kill_gateway(self) -> None:
        """SIGKILL, as a power cut would."""
        assert self._gateway is not None
        await self._gateway.killed()

    async def stop_gateway(self) -> int | None:
        """SIGTERM; return the exit status."""
        return None if self._gateway is None else await self._gateway.stop()

    async def command(self, *words: str) -> str:
        """Run a command of `locker-gateway` on this site's data; return what it printed."""
        said = "locker-gateway " + " ".join(_short(word) for word in words)
        self._shell(said)
        try:
            async with asyncio.timeout(COMMAND_S):
                return await self._quietly(*words)
        except TimeoutError:
            raise DemoFailed("demo.command_slow", "Try again", command=said) from None

    async def _quietly(self, *words: str) -> str:
        return await asyncio.to_thread(self._invoke, [*words, "--data", str(self.data)])


def _ignore(screen: Screen) -> None:
    """Hear nothing."""


def _short(word: str) -> str:
    if word.startswith(claims.PREFIX):
        return f"{claims.PREFIX}..."  # good once, and used up when it can be read here
    name = Path(word).name if "/" in word and word.startswith("/") else word
    return f'"{name}"' if " " in name else name


def _with_parcels(text: str, book: Book) -> str:
    """Lay into the bank's file what an earlier day left in the compartments."""
    for door, compartment in book.compartments.items():
        if compartment.custody in _HOLDING:
            line = f"\nnumber = {door}\n"
            text = text.replace(line, f"{line}parcel = true\n", 1)
    return text
