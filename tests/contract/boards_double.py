"""A board made of memory: the double of `gateway.ports.BoardPort`, for tests of the shell."""

import asyncio

from adapters.errors import Late, LinkDown, TimedOut, Unanswered
from adapters.reading import Reading


class BoardDouble:
    """Inputs are set by the test; `calls` tells what was asked; `trouble` is raised instead."""

    def __init__(self, inputs: int = 8, outputs: int = 8) -> None:
        self.inputs = [False] * inputs
        self.outputs = [False] * outputs
        self.values: list[int | None] = []
        self.calls: list[str] = []
        self.pulses: list[tuple[int, int]] = []
        self.trouble: Exception | None = None
        self.pulse_trouble: Exception | None = None
        self.off_trouble: Exception | None = None
        self.next_reads: list[list[bool]] = []
        self.began: list[float] = []
        self.on = 0
        self.on_most = 0
        self.looked = asyncio.Event()

    async def start(self) -> None:
        self.calls.append("start")
        if self.trouble:
            raise self.trouble

    async def pulse(self, channel: int, ms: int, *, deadline: float) -> None:
        self.calls.append("pulse")
        if asyncio.get_running_loop().time() >= deadline:
            raise Late(channel=channel)
        if self.pulse_trouble:
            self.began.append(asyncio.get_running_loop().time())
            raise self.pulse_trouble
        self.pulses.append((channel, ms))
        self.began.append(asyncio.get_running_loop().time())
        self.on += 1
        self.on_most = max(self.on, self.on_most)
        await asyncio.sleep(ms / 1000)
        self.on -= 1

    async def read(self, *, urgent: bool = False, measures: bool = False) -> Reading:
        self.calls.append("read!" if urgent else "read")
        await asyncio.sleep(0)
        self.looked.set()
        if self.trouble:
            raise self.trouble
        bits = self.next_reads.pop(0) if self.next_reads else self.inputs
        values = tuple(self.values) if measures else ()
        return Reading(inputs=tuple(bits), outputs=tuple(self.outputs), values=values)

    async def all_off(self) -> None:
        self.calls.append("all_off")
        if self.off_trouble:
            raise self.off_trouble


def silent() -> Exception:
    return TimedOut(unit=1)


def unplugged() -> Exception:
    return LinkDown(line="x")


def doubtful() -> Exception:
    return Unanswered("bus.unanswered", sent=True, unit=1)
