"""A whole site on a stage: simulated boards on TCP, a data folder, the gateway in this process."""

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp

from adapters.simulator.site import Site as SimulatedSite
from adapters.simulator.wiring import parse as parse_wiring
from gateway import config, local, mapfile, site
from gateway.app import App
from gateway.bank import known
from gateway.control import SOCKET, send
from gateway.core.inputs import CourierAdded, MapImported
from sync import codes

DOORS = 4
LIMIT_S = 30.0
BOARDS = """\
[[board]]
name = "locks"
line = "bank"
profile = "waveshare-rtu-relay-8"
unit = 1
[[board]]
name = "eyes"
line = "bank"
profile = "waveshare-rtu-io-8ch"
unit = 2
"""


def wiring() -> str:
    """Return the simulated bank: four compartments with occupancy sensors."""
    boxes = "".join(
        f'[[compartment]]\nnumber = {n + 1}\nlock = "locks:{n}"\ndoor = "eyes:{n}"\n'
        f'occupancy = "eyes:{n + 4}"\ndoor_open_is = "active"\noccupied_is = "active"\n'
        for n in range(DOORS)
    )
    return '[[line]]\nname = "bank"\ntcp = "127.0.0.1:0"\nframing = "rtu"\n' + BOARDS + boxes


def map_text(doors: int = DOORS) -> str:
    """Return the map of that bank, or of its first doors, as `site import` takes it."""
    boards = (
        '[boards.locks]\nline = "bank"\nprofile = "waveshare-rtu-relay-8"\nunit = 1\n'
        '[boards.eyes]\nline = "bank"\nprofile = "waveshare-rtu-io-8ch"\nunit = 2\n'
    )
    return boards + "".join(
        f'[[door]]\nnumber = {n + 1}\nsize = "M"\nlock = "locks:{n}"\nswitch = "eyes:{n}"\n'
        f'occupancy = "eyes:{n + 4}"\nrail = "a"\nopen_when = "active"\n'
        for n in range(doors)
    )


def import_of(doors: int = DOORS) -> MapImported:
    """Return the command that imports it."""
    read = mapfile.parse(map_text(doors), known)
    return MapImported(now=local.nobody(), token="", by="test", map=read)


class Stand:
    """What a test touches: the kiosk, the boards, the data folder, the app."""

    def __init__(self, data: Path, bank: SimulatedSite, web: aiohttp.ClientSession) -> None:
        self.data, self.bank, self.web = data, bank, web
        self.app: App
        self.task: asyncio.Task[int]

    def config(self) -> config.Config:
        """Return a configuration for this stage."""
        return config.parse(
            f'data_dir = "{self.data}"\n[kiosk]\nlisten = "127.0.0.1:0"\n'
            f'[lines.bank]\ntcp = "{self.bank.where()["bank"]}"\nframing = "rtu"\n'
            "[timing]\npoll_idle_ms = 100\ngrace_ms = 500\n"
        )

    def start(self) -> None:
        """Start the gateway as a task."""
        self.app = App(self.config())
        self.task = asyncio.create_task(self.app.run())

    async def stop(self) -> int:
        """Stop it and return its exit status."""
        self.app.stop()
        async with asyncio.timeout(LIMIT_S):
            return await self.task

    async def courier(self) -> str:
        """Give a courier the right to deliver; return the secret."""
        who = site.load(self.data)
        secret = codes.staff_secret(bytes(16), who.name)
        tag = base64.b64encode(codes.staff_tag(who.code_key, who.name, secret)).decode()
        now = local.nobody()
        await self.send(
            CourierAdded(now=now, token="", by="test", tenant="acme", label="van", tag=tag)
        )
        return secret

    async def send(self, command: Any) -> Any:
        """Send a local command over the socket."""
        return await send(self.data / SOCKET, command)

    async def post(self, path: str, **body: str) -> int:
        """Do something at the kiosk; return the status."""
        async with self.web.post(f"{self.app.kiosk_url}api/{path}", json=body) as answer:
            return answer.status

    async def screen(self) -> dict[str, Any]:
        """Return what the kiosk shows."""
        async with self.web.get(f"{self.app.kiosk_url}api/screen") as answer:
            shown: dict[str, Any] = await answer.json()
            return shown

    async def shows(self, name: str) -> dict[str, Any]:
        """Wait until the kiosk shows this screen."""
        async with asyncio.timeout(LIMIT_S):
            while (shown := await self.screen())["name"] != name:
                assert not self.task.done(), self.task
                await asyncio.sleep(0.03)
            return shown

    async def until(self, true: Callable[[], Any]) -> None:
        """Wait until something holds."""
        async with asyncio.timeout(LIMIT_S):
            while not true():
                assert not self.task.done(), self.task
                await asyncio.sleep(0.02)

    async def in_service(self) -> None:
        """Wait until every door of the map is seen."""

        def seen() -> bool:
            if self.app._life is None:
                return False
            rows = self.app.status().get("doors")
            return (
                isinstance(rows, list)
                and bool(rows)
                and all(row["open"] is not None for row in rows)
            )

        await self.until(seen)

    async def hands(self, door: int, *, parcel: bool | None = None, close: bool = True) -> None:
        """Put a parcel in or take it out, and close the door, which latches without current."""
        await self.until(lambda: not self.coils_on())
        with self.bank.guard():
            person = self.bank.bank.person
            if parcel is not None:
                (person.put if parcel else person.take)(door)
            if close:
                person.close(door)

    def coils_on(self) -> list[Any]:
        """Return the doors whose coil is on."""
        return [row for row in self.bank.state()["doors"] if row["coil_on"]]


@asynccontextmanager
async def stand(data: Path, doors: int = DOORS, made: type[Stand] = Stand) -> AsyncIterator[Stand]:
    """Lend a stage with a made site, its map imported; the gateway is not started."""
    bank = SimulatedSite(parse_wiring(wiring()))
    await bank.start()
    site.make(data, operator="lockers.example", site="0042")
    await local.offline(data, import_of(doors) if doors else None)
    async with aiohttp.ClientSession() as web:
        stage = made(data, bank, web)
        try:
            yield stage
        finally:
            if hasattr(stage, "task"):
                stage.app.stop()
                with suppress(Exception):
                    await asyncio.wait_for(stage.task, LIMIT_S)
            await bank.stop()
