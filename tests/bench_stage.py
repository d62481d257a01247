"""A fresh site with boards wired an hour ago: a simulated bank on a serial line, a gateway, no map.

The person at the doors is here too: who sees a door open puts a hand in, takes it out, closes it.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from typing_extensions import override

from adapters.simulator.site import Site as SimulatedSite
from adapters.simulator.wiring import parse as parse_wiring
from gateway import config, control, local, site
from gateway.control import SOCKET
from gateway.errors import GatewayError
from sync import facts
from sync.entry import parse as parse_entry
from sync.reader import LogFile
from tests.lan_stage import LanStand

LIMIT_S = 60.0
TCP = 'tcp = "127.0.0.1:0"\nframing = "rtu"'


def wiring(
    doors: int = 16, *, line: str = 'serial_pty = ""', eyes: str = "waveshare-rtu-io-8ch"
) -> str:
    """Return a bank: relays on unit 1 and on; every eight doors have a board for their switches.

    Another eight inputs tell whether a compartment is occupied.
    """
    banks = range((doors + 7) // 8)
    boards = "".join(
        f'[[board]]\nname = "relays{n}"\nline = "bus"\nprofile = "waveshare-rtu-relay-8"\n'
        f"unit = {n + 1}\n"
        f'[[board]]\nname = "doors{n}"\nline = "bus"\nprofile = "{eyes}"\nunit = {n + 11}\n'
        f'[[board]]\nname = "parcels{n}"\nline = "bus"\nprofile = "{eyes}"\nunit = {n + 21}\n'
        for n in banks
    )
    boxes = "".join(
        f'[[compartment]]\nnumber = {n + 1}\nlock = "relays{n // 8}:{n % 8}"\n'
        f'door = "doors{n // 8}:{n % 8}"\noccupancy = "parcels{n // 8}:{n % 8}"\n'
        for n in range(doors)
    )
    return f'[[line]]\nname = "bus"\n{line}\n{boards}{boxes}'


class BenchStand(LanStand):
    """The stage: `act` and `view` as an installer's phone does, `person` at the doors."""

    by = "anna"
    steps = 0

    @override
    def config(self) -> config.Config:
        return config.parse(
            f'data_dir = "{self.data}"\n[kiosk]\nlisten = "127.0.0.1:0"\n'
            '[installer]\nlisten = "127.0.0.1:0"\n'
            "[timing]\npoll_idle_ms = 100\ngrace_ms = 500\n"
        )

    @property
    def place(self) -> str:
        """Where the boards' line ends."""
        return self.bank.where()["bus"]

    async def running(self) -> None:
        """Start the gateway and wait until it listens."""
        self.start()
        await self.until(lambda: getattr(self.app, "_life", None) is not None)
        await self.until((self.data / SOCKET).exists)

    async def act(self, do: str, *, by: str = "", **more: Any) -> dict[str, Any]:
        """Do one act over the control socket; return the view after it."""
        self.steps += 1
        body = msgspec.json.encode({"do": do, **more})
        return await control.commission(self.data / SOCKET, by=by or self.by, body=body)

    async def view(self, *, by: str = "", **more: Any) -> dict[str, Any]:
        """Return how it stands."""
        return await control.commission(self.data / SOCKET, by=by or self.by, **more)

    async def until_view(
        self, true: Callable[[dict[str, Any]], Any], *, limit_s: float = LIMIT_S
    ) -> dict[str, Any]:
        """Follow the view by long polls until something holds."""
        async with asyncio.timeout(limit_s):
            seen = await self.view()
            while not true(seen):
                assert not self.task.done(), self.task
                seen = await self.view(after=seen["tick"], wait_s=5)
            return seen

    async def work(self, do: str, **more: Any) -> dict[str, Any]:
        """Do an act that takes a while; return the view when its job is over."""
        await self.act(do, **more)
        return await self.until_view(lambda seen: seen["job"] is None)

    async def person(self, door: int, *, hand: bool = True) -> None:
        """Wait until a door is open; put a hand in and take it out; close it."""
        await self.until(lambda: self.door(door)["door"] == "open")
        await self.until(lambda: not self.coils_on())
        if hand:
            with self.bank.guard():
                self.bank.bank.person.put(door)
            await asyncio.sleep(0.5)  # a hand is there for as long as it takes to be seen
            with self.bank.guard():
                self.bank.bank.person.take(door)
            await asyncio.sleep(0.5)
        with self.bank.guard():
            self.bank.bank.person.close(door)

    def door(self, number: int) -> dict[str, Any]:
        """Return the truth about a door."""
        rows: list[dict[str, Any]] = self.bank.state()["doors"]
        return next(row for row in rows if row["number"] == number)


@asynccontextmanager
async def bench_stand(
    data: Path, text: str = "", made: type[BenchStand] = BenchStand
) -> AsyncIterator[BenchStand]:
    """Lend a stage with a made site and no map; the gateway is not started."""
    bank = SimulatedSite(parse_wiring(text or wiring()))
    await bank.start()
    site.make(data, operator="lockers.example", site="0042")
    await local.offline(data, None)
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


# --- what an installer does, in one go each ------------------------------------------------------


async def told(stage: BenchStand, do: str, **more: Any) -> str:
    """The code of a refusal."""
    with pytest.raises(GatewayError) as caught:
        await stage.act(do, **more)
    return caught.value.code


async def found(stage: BenchStand) -> dict[str, Any]:
    """Look for the bank where it is, and adopt what is there."""
    await stage.act("begin")
    if stage.place.startswith("/"):
        view = await stage.work("scan", ports=[stage.place], units=[1, 22])
    else:
        view = await stage.work("look", tcp=stage.place, framing="rtu", units=[1, 24])
    assert view["last"] == {"job": "scan", "code": "", "remedy": "", "evidence": {}}, view["last"]
    for row in view["found"]:
        view = await stage.act("adopt", key=row["key"], profile=row["matches"][0]["profile"])
    return view


async def taught(stage: BenchStand, lock: str, number: int, **more: Any) -> dict[str, Any]:
    """Teach one door, with the person at it."""
    await stage.act("try", lock=lock)
    await stage.until_view(
        lambda seen: not seen["job"] or (seen["lesson"] or {}).get("phase") == "which"
    )
    await stage.act("popped", number=number, **more)
    person = asyncio.create_task(stage.person(number))
    view = await stage.until_view(lambda seen: seen["job"] is None)
    await person
    assert view["last"]["code"] == "", (lock, number, view["last"], view["lesson"])
    return view


async def proved(stage: BenchStand, doors: int) -> dict[str, Any]:
    """Prove all, with somebody who shuts what stands open."""

    async def shuts() -> None:
        for number in range(1, doors + 1):
            await stage.person(number, hand=False)

    await stage.act("prove")
    shutting = asyncio.create_task(shuts())
    view = await stage.until_view(lambda seen: seen["job"] is None, limit_s=180)
    shutting.cancel()
    await asyncio.gather(shutting, return_exceptions=True)
    return view


def kinds(data: Path) -> list[Any]:
    """Every fact of the custody lane, in its order."""
    with LogFile.open(data / "site.db") as log:
        head = next(one for one in log.heads() if one.own and str(one.log).endswith(":sc"))
        entries = [record.entry for record in log.records(head, 0)]
    return [facts.from_entry(parse_entry(entry)) for entry in entries]
