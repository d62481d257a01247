"""A whole site and a real hub on one stage: simulated boards, real logs, a link over loopback.

The bank stands still while gateways come and go over it: what a backup takes back is the disk, not
the parcels behind the doors.
"""

import asyncio
import base64
import hashlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from typing_extensions import override

from certs.keys import SigningKey
from gateway import config as gateway_config
from gateway import local, site, uplink
from gateway.core.inputs import FenceLiftAsked, SupportChecked, SupportOpens
from gateway.demo.process import free_port
from gateway.errors import GatewayError
from sync.hub import app as hub_app
from sync.hub import config as hub_config
from sync.hub import folder as hub_folder
from sync.hub.keys import Keys
from sync.hub.rooms import Hub
from sync.hub.storage import Audit
from sync.redial import Redial
from tests.contract.site_stage import LIMIT_S, Stand, stand

BY = {"by": "ops"}
LEFT_OUT = shutil.ignore_patterns("*.sock", "*.lock")


class Quick(Redial):
    """Dials again at once: a test has no quarter of an hour."""

    @override
    def wait_ms(self, now_ms: int, *, urgent: bool = False) -> int:
        return 50


class Cloud:
    """A hub in this process, on a port that it keeps over its lives."""

    def __init__(self, data: Path, web: aiohttp.ClientSession) -> None:
        self.data, self.web, self.port = data, web, free_port()
        self.app: hub_app.App
        self.task: asyncio.Task[None] | None = None
        hub_folder.make(data, "lockers.example")
        with (data / "hub.toml").open("a", encoding="utf-8") as file:
            file.write(f'[api]\nlisten = "127.0.0.1:{self.port}"\n[development]\nplain = true\n')

    @property
    def hub_keys(self) -> tuple[str, str]:
        """The writer's and the cosigner's vkey for the site."""
        keys = Keys.load(self.data, "lockers.example")
        return keys.writer("0042").vkey, keys.cosigner("0042").vkey

    @property
    def config(self) -> hub_config.Config:
        return hub_folder.read(self.data)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def hub(self) -> Hub:
        assert self.app.hub is not None
        return self.app.hub

    async def start(self) -> None:
        ready = asyncio.Event()
        self.app = hub_app.App(self.config)
        self.task = asyncio.create_task(self.app.run(lambda _: ready.set()))
        waiting = asyncio.create_task(ready.wait())
        done, _ = await asyncio.wait({self.task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.task in done:
            self.task.result()

    async def stop(self) -> None:
        if self.task is not None:
            self.app.stop()
            async with asyncio.timeout(LIMIT_S):
                await self.task
            self.task = None

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        url = f"{self.url}/api/v1{path}"
        async with self.web.request(method, url, json=body) as answer:
            told = await answer.json()
            assert answer.status < 400, told
            return told

    async def tell(self, path: str, **body: Any) -> Any:
        return await self.ask("POST", f"/sites/0042{path}", BY | body)

    async def refused(self, path: str, **body: Any) -> Any:
        url = f"{self.url}/api/v1/sites/0042{path}"
        async with self.web.post(url, json=BY | body) as answer:
            assert answer.status >= 400
            return await answer.json()

    async def book(self) -> Any:
        return await self.ask("GET", "/sites/0042/book")

    async def audit(self) -> list[str]:
        """The codes on record for the site."""
        return [row.code for row in await self.audited()]

    async def audited(self) -> tuple[Audit, ...]:
        """What is on record for the site."""
        return await self.hub.storage.audited("0042", 0, 1000)

    def save(self, to: Path) -> None:
        """What a backup program takes; the hub is stopped."""
        assert self.task is None
        shutil.copytree(self.data, to, ignore=LEFT_OUT)

    def restore(self, backup: Path) -> None:
        assert self.task is None
        shutil.rmtree(self.data)
        shutil.copytree(backup, self.data)


class Site(Stand):
    """The gateway of that bank, told of a hub."""

    cloud: Cloud
    dial = ""
    listen = ""

    @override
    def config(self) -> gateway_config.Config:
        return gateway_config.parse(self.config_text())

    def config_text(self) -> str:
        """The configuration as a file has it."""
        keys = self.cloud.hub_keys
        text = (
            f'data_dir = "{self.data}"\n[kiosk]\nlisten = "127.0.0.1:0"\n'
            f'[lines.bank]\ntcp = "{self.bank.where()["bank"]}"\nframing = "rtu"\n'
            "[timing]\npoll_idle_ms = 60\npoll_watched_ms = 60\ngrace_ms = 150\nstable_ms = 150\n"
            "rest_ms = 300\nresult_ms = 500\n"
            f'[hub]\nwriter = "{keys[0]}"\ncosigner = "{keys[1]}"\n'
        )
        text += f'url = "{self.dial}"\n' if self.dial else ""
        text += "[development]\nplain = true\n"
        return text + (f'[sync]\nlisten = "{self.listen}"\n' if self.listen else "")

    # --- what people do -------------------------------------------------------------------------

    async def begin(self) -> None:
        self.start()
        await self.in_service()

    async def deposit(self, tracking: str, secret: str) -> int:
        await self.post("button", button="deliver")
        await self.post("staff-code", digits=secret)
        await self.shows("deliver.scan")
        await self.post("parcel", tracking=tracking)
        await self.shows("deliver.size")
        await self.post("button", button="size", argument="M")
        door = int((await self.shows("deliver.open"))["door"])
        await self.hands(door, parcel=True)
        await self.shows("deliver.scan")
        await self.post("button", button="home")
        await self.shows("welcome")
        return door

    def code(self, tracking: str) -> str:
        book = site.read_book(self.data)
        parcel = site.parcel_of(book, f"acme/{tracking}/1")
        assert parcel is not None
        key = site.code_key(site.load(self.data))
        return key.code(str(parcel.identity), parcel.counter).short(parcel.digits)

    async def type_code(self, digits: str) -> dict[str, Any]:
        """Type a pick-up code and return the screen that follows."""
        await self.shows("welcome")
        await self.post("button", button="collect")
        await self.post("code", digits=digits)
        waits = {"welcome", "collect.checking", "collect.opening"}
        async with asyncio.timeout(LIMIT_S):
            shown = await self.screen()
            while shown["name"] in waits or (shown["name"] == "collect.enter" and not shown["why"]):
                await asyncio.sleep(0.03)
                shown = await self.screen()
        return shown

    async def pick_up(self, digits: str, door: int) -> None:
        await self.type_code(digits)
        await self.shows("collect.open")
        await self.hands(door, parcel=False)
        await self.shows("collect.thanks")
        await self.shows("welcome")

    async def check(self, door: int, *, occupied: bool) -> Any:
        now = local.nobody()
        return await self.send(
            SupportChecked(now=now, token="", by="eva", door=door, occupied=occupied)
        )

    async def open_by_support(self, door: int) -> Any:
        now = local.nobody()
        return await self.send(
            SupportOpens(now=now, token="", by="eva", door=door, reason="stock", case="1")
        )

    async def lift(self, *, trust_history: bool = False) -> Any:
        now = local.nobody()
        return await self.send(
            FenceLiftAsked(now=now, token="", by="eva", trust_history=trust_history)
        )

    async def refusal(self, asked: Awaitable[Any]) -> str:
        """The code with which a command is refused."""
        try:
            answer = await asked
        except GatewayError as error:
            return error.code
        return str(answer.code)

    # --- what the disk does ---------------------------------------------------------------------

    def save(self, to: Path) -> None:
        """What a backup program takes; the gateway is stopped."""
        shutil.copytree(self.data, to, ignore=LEFT_OUT)

    def restore(self, backup: Path) -> None:
        shutil.rmtree(self.data)
        shutil.copytree(backup, self.data)

    # --- what can be seen -----------------------------------------------------------------------

    @property
    def epoch(self) -> str:
        return site.load(self.data).identity.epoch

    @property
    def book(self) -> Any:
        """The book of the running life."""
        assert self.app._life is not None
        return self.app._life.engine.state.book

    @property
    def alarms(self) -> set[str]:
        return {one.alarm for one in self.book.alarms.values()}

    def lives(self) -> bool:
        return self.app._life is not None

    async def has(self, true: Callable[[], Any]) -> None:
        """Wait until something holds of a life."""
        await self.until(lambda: self.lives() and true())

    async def comes(self, true: Callable[[], Awaitable[Any]]) -> None:
        """Wait until asking finds that something holds."""
        for _ in range(400):
            if await true():
                return
            await asyncio.sleep(0.05)
        pytest.fail("it did not come")

    async def agrees(self) -> None:
        """Wait until both books are equal, byte for byte."""
        ours = theirs = b""
        for _ in range(300):
            ours = hashlib.sha256(site.read_book(self.data).canonical()).digest()
            theirs = base64.b64decode((await self.cloud.book())["sha256"])
            if ours == theirs:
                return
            await asyncio.sleep(0.05)
        assert ours == theirs, (self.cloud_logs(), (await self.cloud.ask("GET", "/sites/0042")))

    def cloud_logs(self) -> Any:
        return self.app.status().get("hub")


@asynccontextmanager
async def staged(
    folder: Path, monkeypatch: pytest.MonkeyPatch, doors: int = 1
) -> AsyncIterator[Site]:
    """Lend a site with its hub, which runs; the gateway is not started.

    One door by default: then the next parcel comes where the last one was, and the hub holds no
    rights.
    """
    monkeypatch.setattr(uplink, "Redial", Quick)
    async with stand(folder / "data", doors, made=Site) as made:
        assert isinstance(made, Site)
        made.cloud = Cloud(folder / "hub", made.web)
        made.dial = made.cloud.url
        await made.cloud.start()
        try:
            await made.cloud.hub.add_site("0042", vkey_of(made.data))
            yield made
        finally:
            await made.cloud.stop()


def vkey_of(data: Path) -> str:
    """The writer key of the site in a data folder."""
    who = site.load(data)
    return SigningKey.from_seed(who.name, who.identity.seed).vkey
