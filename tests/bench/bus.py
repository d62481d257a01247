"""Figures of the bus (`bus.*`): against the wire's own limit, and against bare pymodbus.

The far end is always another process: `locker-bank` with real wire time on a pty, or the few lines
of Modbus TCP at the end of this file (`python tests/bench/bus.py serve`).
"""

import asyncio
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from pathlib import Path

from pymodbus.client import AsyncModbusTcpClient

from adapters.bus import Line, Priority, SerialSpec, TcpSpec, Unit
from adapters.errors import BusError, Late
from adapters.pace import character_us, silence_us
from adapters.profiles import load
from adapters.reading import Read, Write

PROFILE = load("waveshare-rtu-io-8ch")
TURNAROUND_US = 2000  # the bank's own
MODES = Read(3, 0x1000, 8)
COILS, INPUTS = Read(1, 0, 24), Read(2, 0, 24)
INPUTS_8 = Read(2, 0, 8)
DEADLINE_MS = 2000
WARM_CYCLES = 10
Row = dict[str, object]
Found = tuple[float, list[float], int]  # rate, door latencies in ms, commands refused as late


def row(  # noqa: PLR0917  # the columns of the table, in its order
    name: str, ours: float, limit: float, unit: str, goal: str, how: str
) -> Row:
    ratio = round(ours / limit, 4) if limit else 0.0
    return {
        "name": name,
        "ours": round(ours, 3),
        "limit": round(limit, 3),
        "ratio": ratio,
        "unit": unit,
        "goal": goal,
        "how": how,
    }


def transaction_us(baud: int, request: int, answer: int) -> int:
    """What the wire itself needs: request, two silences, turn-around, answer."""
    characters = character_us(baud, 10) * (request + answer)
    return characters + 2 * silence_us(baud, 10) + TURNAROUND_US


@contextlib.contextmanager
def bank(units: Iterable[int]) -> Iterator[str]:
    """`locker-bank` on a pty with boards at these unit numbers; yields the device."""
    program = shutil.which("locker-bank", path=str(Path(sys.executable).parent)) or "locker-bank"
    with tempfile.TemporaryDirectory() as folder:
        link = f"{folder}/line"
        numbers = [word for unit in units for word in ("--unit", str(unit))]
        profile = ["--profile", PROFILE.profile, *numbers, "--serial-pty", link, "--json"]
        with subprocess.Popen(
            [program, "run", *profile], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            process.stdout.readline()
            try:
                yield link
            finally:
                process.terminate()


@contextlib.contextmanager
def tcp_boards() -> Iterator[int]:
    """The Modbus TCP boards at the end of this file; yields the port."""
    with subprocess.Popen(
        [sys.executable, __file__, "serve"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        try:
            yield port
        finally:
            process.terminate()


async def poll(unit: Unit, request: Read, until: float) -> int:
    done = 0
    while time.monotonic() < until:
        try:
            await unit.ask(request, deadline_ms=DEADLINE_MS)
            done += 1
        except BusError:
            await asyncio.sleep(0.02)
    return done


def utilisation() -> Iterator[Row]:
    """`bus.utilisation`: transactions a second of four boards, flat out."""

    async def measure(device: str, baud: int) -> tuple[float, int]:
        line = Line(SerialSpec(device, baud, local_echo=False))
        await line.open()
        units = [line.unit(number, PROFILE) for number in (1, 2, 3, 4)]
        await poll(units[0], MODES, time.monotonic() + 0.2)
        start = time.monotonic()
        done = sum(await asyncio.gather(*(poll(unit, MODES, start + 5) for unit in units)))
        rate = done / (time.monotonic() - start)
        await line.close()
        return rate, line.counters.timeouts + line.counters.nonsense

    for baud, goal in ((9600, 0.97), (19200, 0.95), (115200, 0.88)):
        with bank((1, 2, 3, 4)) as device:
            rate, lost = asyncio.run(measure(device, baud))
        limit = 1e6 / transaction_us(baud, 8, 21)
        how = f"4 boards, 8 registers each, 5 s, strict bank in its own process; {lost} lost"
        yield row(f"bus.utilisation.{baud}", rate, limit, "1/s", f">= {goal}, 0 lost", how)


@contextlib.asynccontextmanager
async def polling(units: list[Unit], request: Read) -> AsyncIterator[None]:
    """Poll all of them flat out while the body runs."""
    forever = time.monotonic() + 3600
    tasks = [asyncio.create_task(poll(unit, request, forever)) for unit in units]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Stopwatch:
    """Moments at which a door command went onto a wire, from the line's trace."""

    def __init__(self) -> None:
        self.sent_at = 0.0

    def __call__(self, direction: str, data: bytes) -> None:
        if direction == "tx" and b"\x05\x00" in (data[1:3], data[7:9]):
            self.sent_at = time.monotonic()


async def door_latencies(unit: Unit, watch: Stopwatch, count: int) -> tuple[list[float], int]:
    """Milliseconds from decision to wire, of `count` door commands; and how many came late."""
    # Switching a coil off is a door command as any other on the wire, and wears no relay.
    off = Write(5, 0, (0,))
    found, late = [], 0
    for number in range(count):
        await asyncio.sleep(0.02 + 0.0037 * (number % 17))
        began = time.monotonic()
        try:
            await unit.ask(off, Priority.ACTUATE, 1000)
        except BusError as error:
            late += isinstance(error, Late)
            continue
        found.append((watch.sent_at - began) * 1000)
    return sorted(found), late


def share(values: list[float], part: float) -> float:
    return values[min(len(values) - 1, int(part * len(values)))]


def unlock_latency() -> Iterator[Row]:
    """`bus.unlock_latency`: decision to wire on an RTU line polled flat out, 3 of 8 boards dead."""
    baud = 115200

    async def measure(device: str) -> list[float]:
        watch = Stopwatch()
        line = Line(SerialSpec(device, baud, local_echo=False), trace=watch)
        await line.open()
        units = [line.unit(number, PROFILE) for number in range(1, 9)]
        async with polling(units, INPUTS_8):
            await asyncio.sleep(4.5)
            found, _ = await door_latencies(units[0], watch, 300)
        await line.close()
        return found

    with bank(range(1, 6)) as device:
        found = asyncio.run(measure(device))
    own_us = silence_us(baud, 10) + 8 * character_us(baud, 10)
    one_ms = (transaction_us(baud, 8, 6) + own_us) / 1000
    probe_ms = PROFILE.timing.probe_timeout_ms + one_ms
    how = f"115200 RTU, 8 boards polled flat out, 3 dead, {len(found)} commands; limit: one "
    yield row(
        "bus.unlock_latency.p50", share(found, 0.5), one_ms, "ms", "<= 1.3",
        how + "answered transaction in flight, and one own",
    )  # fmt: skip
    yield row(
        "bus.unlock_latency.p99", share(found, 0.99), probe_ms, "ms", "<= 1.3",
        how + "transaction in flight, which may be the probe of a dead board, and one own",
    )  # fmt: skip


async def cadence(units: list[Unit], period_s: float, seconds: float) -> int:
    """Poll each unit once a period; return how many answers came."""
    good = 0

    async def one(unit: Unit) -> None:
        nonlocal good
        end = time.monotonic() + seconds
        following = time.monotonic()
        while time.monotonic() < end:
            with contextlib.suppress(BusError):
                await unit.ask(INPUTS_8, deadline_ms=DEADLINE_MS)
                good += 1
            following += period_s
            await asyncio.sleep(max(0.0, following - time.monotonic()))

    await asyncio.gather(*(one(unit) for unit in units))
    return good


def dead_board() -> Iterator[Row]:
    """`bus.dead_board`: what dead boards cost the healthy ones, on RTU and on TCP."""
    watch = Stopwatch()

    async def measure(lines: list[Line], numbers: list[int], dead: int) -> Found:
        for line in lines:
            await line.open()
        units = [lines[at % len(lines)].unit(n, PROFILE) for at, n in enumerate(numbers)]
        healthy = units[: 8 - dead]
        failing = asyncio.create_task(cadence(units[8 - dead :], 0.1, 9))
        await cadence(healthy, 0.1, 4)  # until the dead ones are known to be dead
        start = time.monotonic()
        good = await cadence(healthy, 0.1, 4)
        rate = good / (time.monotonic() - start) / len(healthy)
        await failing
        async with polling(units[1:], INPUTS_8):
            await asyncio.sleep(0.2)
            found, late = await door_latencies(units[0], watch, 60)
        for line in lines:
            await line.close()
        return rate, found, late

    def rows(kind: str, run: Callable[[int], Found]) -> Iterator[Row]:
        base, _, _ = run(0)
        timeout_ms = float(PROFILE.timing.response_timeout_ms)
        for dead, goal in ((1, 0.99), (3, 0.95)):
            rate, found, late = run(dead)
            how = f"{kind}: 8 boards, one poll each 100 ms, {dead} dead, default settings, 4 s"
            name = f"bus.dead_board.{kind}.{dead}"
            yield row(f"{name}.rate", rate, base, "1/s a board", f">= {goal}", how)
            how = f"{kind}: p99 of {len(found)} commands to a healthy board, others flat out"
            limit = 50.0 if kind == "tcp" else timeout_ms
            yield row(f"{name}.unlock", share(found, 0.99), limit, "ms", "<= 1", how)
            yield row(f"{name}.late", late, 0, "commands", "0", f"{how}: refused as late")

    def on_rtu(dead: int) -> Found:
        with bank(range(1, 9 - dead)) as device:
            line = Line(SerialSpec(device, 115200, local_echo=False), trace=watch)
            return asyncio.run(measure([line], list(range(1, 9)), dead))

    def on_tcp(dead: int) -> Found:
        numbers = [n if n <= 8 - dead else 100 + n for n in range(1, 9)]
        with tcp_boards() as port:
            lines = [Line(TcpSpec("127.0.0.1", port), trace=watch) for _ in numbers]
            return asyncio.run(measure(lines, numbers, dead))

    yield from rows("rtu", on_rtu)
    yield from rows("tcp", on_tcp)


def cpu() -> Iterator[Row]:
    """`bus.cpu`: CPU of a poll cycle, ours against the bare requests of pymodbus."""
    cycles = 150

    async def ours(port: int) -> float:
        lines = [Line(TcpSpec("127.0.0.1", port)) for _ in range(8)]
        for line in lines:
            await line.open()
        units = [line.unit(1) for line in lines]

        async def board(unit: Unit) -> None:
            await unit.ask(COILS)
            await unit.ask(INPUTS)

        async def cycle() -> None:
            await asyncio.gather(*(board(unit) for unit in units))

        used = await measured(cycle)
        for line in lines:
            await line.close()
            assert line.counters.answered == line.counters.sent == 2 * (WARM_CYCLES + cycles)
        return used

    async def bare(port: int) -> float:
        clients = [AsyncModbusTcpClient("127.0.0.1", port=port, retries=0) for _ in range(8)]
        for client in clients:
            await client.connect()

        async def board(client: AsyncModbusTcpClient) -> None:
            assert not (await client.read_coils(0, count=24, device_id=1)).isError()
            assert not (await client.read_discrete_inputs(0, count=24, device_id=1)).isError()

        async def cycle() -> None:
            await asyncio.gather(*(board(client) for client in clients))

        used = await measured(cycle)
        for client in clients:
            client.close()
        return used

    async def measured(cycle: Callable[[], Awaitable[None]]) -> float:
        for _ in range(WARM_CYCLES):
            await cycle()
        began = time.process_time()
        for _ in range(cycles):
            await cycle()
        return (time.process_time() - began) / cycles * 1000

    with tcp_boards() as port:
        limits, found = [], []
        for _ in range(2):
            limits.append(asyncio.run(bare(port)))
            found.append(asyncio.run(ours(port)))
    how = f"8 TCP connections, 24 coils + 24 inputs each, {cycles} cycles, best of 2; peer pymodbus"
    yield row("bus.cpu", min(found), min(limits), "CPU ms a cycle", "<= 1.5, and <= 8 ms", how)


FIGURES: dict[str, Callable[[], Iterable[Row]]] = {
    "bus.utilisation": utilisation,
    "bus.unlock_latency": unlock_latency,
    "bus.dead_board": dead_board,
    "bus.cpu": cpu,
}


async def serve() -> None:
    """Modbus TCP boards: unit numbers below 100 answer, all points off; the others are dead."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(7)
                pdu = await reader.readexactly(int.from_bytes(head[4:6], "big") - 1)
                answer = pdu
                if pdu[0] in {1, 2}:
                    size = (int.from_bytes(pdu[3:5], "big") + 7) // 8
                    answer = bytes((pdu[0], size)) + bytes(size)
                if head[6] < 100:
                    length = (len(answer) + 1).to_bytes(2, "big")
                    writer.write(head[:4] + length + head[6:7] + answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        asyncio.run(serve())
    else:
        for figure in FIGURES.values():
            for found in figure():
                print(json.dumps(found), flush=True)
