"""A bank of sixteen doors that nobody has commissioned yet, and a person who closes its doors."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

from tests.bench_stage import BenchStand, bench_stand

DOORS: Final = 16
SENSING: Final = 2
"""So many doors have a parcel sensor."""
_BOARDS: Final = (
    ("relays", "waveshare-rtu-relay-16", 1),
    ("switches", "wellpro-wp8026", 2),
    ("sensors", "wellpro-wp8026", 3),
)


def wiring() -> str:
    """Return the bank file: relays to locks in turn, but doors 3 and 4 are swapped."""
    text = '[[line]]\nname = "bus"\ntcp = "127.0.0.1:0"\nframing = "rtu"\n'
    for name, profile, unit in _BOARDS:
        text += f'[[board]]\nname = "{name}"\nline = "bus"\nprofile = "{profile}"\nunit = {unit}\n'
    for number in range(1, DOORS + 1):
        at = {3: 4, 4: 3}.get(number, number) - 1
        text += (
            f'[[compartment]]\nnumber = {number}\nlock = "relays:{at}"\ndoor = "switches:{at}"\n'
            'door_open_is = "inactive"\noccupied_is = "active"\n'
        )
        if number <= SENSING:
            text += f'occupancy = "sensors:{at}"\n'
    return text


class Bank(BenchStand):
    """The stage of that site, with hands."""

    def standing_open(self) -> list[int]:
        """Return the doors that stand open, in truth."""
        return [row["number"] for row in self.bank.state()["doors"] if row["door"] == "open"]

    async def popped(self) -> int:
        """Return the one door that stands open, once its coil is off."""
        await self.until(lambda: self.standing_open() and not self.coils_on())
        (number,) = self.standing_open()
        return number

    async def hand(self, number: int) -> None:
        """Put something in and take it out, each until the lesson has seen it."""
        for inside, away in ((True, 2), (False, 1)):
            with self.bank.guard():
                person = self.bank.bank.person
                (person.put if inside else person.take)(number)
            await self.until(partial(self._are_away, away))

    def _are_away(self, count: int) -> bool:
        """Say whether so many inputs are other than at rest, by the lesson that goes on."""
        lesson = self.app._bench._hold.lesson
        assert lesson is not None
        return sum(track.now != track.rest for track in lesson.tracks.values()) == count

    def shut(self, number: int) -> None:
        """Close a door."""
        with self.bank.guard():
            self.bank.bank.person.close(number)

    async def keep_shutting(self) -> None:
        """Close every door that stands open, whenever its coil is off."""
        while True:
            on = {row["number"] for row in self.coils_on()}
            for number in self.standing_open():
                if number not in on:
                    self.shut(number)
            await asyncio.sleep(0.05)


@asynccontextmanager
async def bank(data: Path) -> AsyncIterator[Bank]:
    """Lend a running site that has no map yet, beside the bank that it could have."""
    async with bench_stand(data, wiring(), Bank) as stage:
        assert isinstance(stage, Bank)
        await stage.running()
        await stage.until(lambda: stage.app._installers.url)
        yield stage
