"""Pins what a board never does to a lock: cap, rest, one coil a rail, off however a pulse ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from adapters import board as rooms
from adapters.board import Board, Rail
from adapters.bus import Line, TcpSpec
from adapters.errors import (
    BusError,
    CapExceeded,
    Late,
    Mismatch,
    NoSuchChannel,
    NotReady,
    RailBusy,
    Refused,
    Resting,
    StuckOn,
    Unanswered,
)
from adapters.profiles import load

HANG_S = 8.0
HEADER = 7


class Bank:
    """A Modbus TCP peer with coils, inputs and registers, and hooks to misbehave."""

    def __init__(self) -> None:
        self.coils = [0] * 0x2000
        self.registers = [0] * 0x2000
        self.history: list[tuple[int, int, int]] = []
        self.read_as: Callable[[int, int], int] = lambda _, value: value
        self.silent: Callable[[int, int, int], bool] = lambda *_: False
        self.keeps: set[int] = set()  # registers that take no value
        self.refuses: set[int] = set()  # coils that answer an exception
        self.writers: list[asyncio.StreamWriter] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while head := await reader.readexactly(HEADER):
                pdu = await reader.readexactly(int.from_bytes(head[4:6], "big") - 1)
                answer = self.answer(pdu)
                if answer is not None:
                    size = (len(answer) + 1).to_bytes(2, "big")
                    writer.write(head[:4] + size + head[6:7] + answer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def answer(self, pdu: bytes) -> bytes | None:
        function = pdu[0]
        address, value = int.from_bytes(pdu[1:3], "big"), int.from_bytes(pdu[3:5], "big")
        self.history.append((function, address, value))
        silent = self.silent(function, address, value)
        if function in {1, 2}:
            bits = [self.read_as(address + n, self.coils[address + n]) for n in range(value)]
            packed = sum(bit << n for n, bit in enumerate(bits))
            data = packed.to_bytes((value + 7) // 8, "little")
            answer = bytes((function, len(data))) + data
        elif function == 3:
            words = self.registers[address : address + value]
            answer = bytes((3, 2 * value)) + b"".join(w.to_bytes(2, "big") for w in words)
        elif function == 5 and address in self.refuses:
            answer = bytes((0x85, 4))
        elif function == 5:
            self.coils[address] = int(value == 0xFF00)
            answer = pdu
        else:
            if address not in self.keeps:
                self.registers[address] = value
            answer = pdu
        return None if silent else answer

    def written(self, channel: int) -> list[int]:
        return [v for f, a, v in self.history if (f, a) == (5, channel)]


@pytest.fixture
async def bank() -> AsyncIterator[Bank]:
    made = Bank()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    yield made
    server.close()
    for writer in made.writers:
        writer.close()
    await asyncio.sleep(0)


@pytest.fixture
async def line(bank: Bank) -> AsyncIterator[Line]:
    made = Line(TcpSpec("127.0.0.1", bank.port))
    assert await made.open()
    yield made
    await made.close()


@pytest.fixture
async def moxa(line: Line) -> AsyncIterator[Board]:
    made = Board(line, load("moxa-e1211"), rail=Rail("a", stagger_ms=0))
    yield made
    await made.settle()


def soon(seconds: float = 2.0) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_start_switches_everything_off_and_proves_it(bank: Bank, moxa: Board) -> None:
    bank.coils[3] = bank.coils[15] = 1
    await moxa.start()
    assert not any(bank.coils)
    assert bank.history[-1] == (1, 0, 16)
    assert (await moxa.read()).outputs == (False,) * 16


async def test_a_pulse_is_on_seen_on_off_and_seen_off(bank: Bank, moxa: Board) -> None:
    done = await moxa.pulse(4, 50, deadline=soon())
    assert (done.channel, done.on_ms, done.off_seen) == (4, 50, True)
    assert bank.written(4)[-2:] == [0xFF00, 0]
    assert bank.written(4).count(0xFF00) == 1


async def test_caps_are_refused_before_anything_is_sent(bank: Bank, moxa: Board) -> None:
    for channel, ms, kind in ((0, 701, CapExceeded), (0, 0, CapExceeded), (16, 50, NoSuchChannel)):
        with pytest.raises(kind):
            await moxa.pulse(channel, ms, deadline=soon())
    assert bank.history == []


async def test_a_coil_rests_and_another_may_go(bank: Bank, moxa: Board) -> None:
    await moxa.pulse(4, 20, deadline=soon())
    with pytest.raises(Resting) as caught:
        await moxa.pulse(4, 20, deadline=soon())
    assert 0 < int(str(caught.value.evidence["wait_ms"])) <= 2000
    await moxa.pulse(5, 20, deadline=soon())


async def test_two_pulses_of_one_coil_at_once_are_one(bank: Bank, moxa: Board) -> None:
    results = await asyncio.gather(
        *(moxa.pulse(4, 20, deadline=soon()) for _ in range(3)), return_exceptions=True
    )
    assert [type(result) for result in results].count(Resting) == 2
    assert bank.written(4).count(0xFF00) == 1


async def test_one_coil_a_rail_over_several_boards(bank: Bank, line: Line) -> None:
    rail = Rail("shared", stagger_ms=10)
    boards = [Board(line, load("moxa-e1211"), rail=rail) for _ in range(2)]
    for each in boards:
        await each.start()
    at = len(bank.history)
    await asyncio.gather(*(boards[n % 2].pulse(n, 30, deadline=soon(HANG_S)) for n in range(4)))
    on = 0
    for function, _, value in bank.history[at:]:
        if function == 5:
            on += 1 if value else -1
        assert 0 <= on <= 1


async def test_a_rail_that_stays_busy_is_refused_by_the_deadline(bank: Bank, line: Line) -> None:
    rail = Rail("shared")
    one = Board(line, load("moxa-e1211"), rail=rail)
    await one.start()
    first = asyncio.create_task(one.pulse(0, 300, deadline=soon()))
    await asyncio.sleep(0)
    with pytest.raises(RailBusy):
        await one.pulse(1, 100, deadline=soon(0.05))
    await first
    with pytest.raises(RailBusy):  # the supply still recovers
        await one.pulse(2, 100, deadline=soon(0.01))
    assert bank.written(1).count(0xFF00) == bank.written(2).count(0xFF00) == 0
    await one.pulse(2, 20, deadline=soon())


async def test_a_deadline_that_has_passed_sends_nothing(bank: Bank, moxa: Board) -> None:
    await moxa.start()
    with pytest.raises(Late) as caught:
        await moxa.pulse(0, 50, deadline=soon(0) - 0.001)
    assert not caught.value.sent
    assert bank.written(0).count(0xFF00) == 0


async def test_a_cancelled_caller_still_has_its_coil_switched_off(bank: Bank, moxa: Board) -> None:
    await moxa.start()
    task = asyncio.create_task(moxa.pulse(4, 100, deadline=soon()))
    async with asyncio.timeout(HANG_S):
        while not bank.coils[4]:  # noqa: ASYNC110  # the owner is a thread
            await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await moxa.settle()
    assert not bank.coils[4]
    assert bank.written(4)[-1] == 0


async def test_an_unanswered_on_is_doubt_and_is_switched_off(bank: Bank, moxa: Board) -> None:
    await moxa.start()
    bank.silent = lambda function, _, value: function == 5 and value == 0xFF00
    with pytest.raises(Unanswered) as caught:
        await moxa.pulse(4, 50, deadline=soon())
    assert caught.value.sent
    await moxa.settle()
    assert not bank.coils[4]
    assert bank.written(4).count(0xFF00) == 1
    with pytest.raises(Resting):
        await moxa.pulse(4, 50, deadline=soon())


async def test_a_refused_on_is_no_doubt_and_may_be_tried_again(bank: Bank, moxa: Board) -> None:
    await moxa.start()
    bank.refuses = {4}
    with pytest.raises(Refused) as caught:
        await moxa.pulse(4, 50, deadline=soon())
    assert not caught.value.sent
    bank.refuses = set()
    await moxa.pulse(4, 20, deadline=soon())


async def test_a_coil_that_never_comes_on_is_a_mismatch(bank: Bank, moxa: Board) -> None:
    bank.read_as = lambda _, __: 0
    with pytest.raises(Mismatch) as caught:
        await moxa.pulse(4, 200, deadline=soon())
    assert caught.value.sent


async def test_a_welded_coil_is_tried_for_long_and_then_told_as_stuck_on(
    bank: Bank, moxa: Board, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rooms, "RELEASE_LIMIT_MS", 400)
    await moxa.start()
    bank.read_as = lambda address, value: 1 if bank.written(4).count(0xFF00) else value
    with pytest.raises(StuckOn):
        await moxa.pulse(4, 20, deadline=soon())
    assert moxa.stuck == {4}
    assert bank.written(4).count(0) > 3
    with pytest.raises(StuckOn):
        await moxa.pulse(4, 20, deadline=soon())
    bank.read_as = lambda _, value: value
    await moxa.start()
    assert moxa.stuck == set()


async def test_after_a_lost_link_everything_is_off_before_anything_else(
    bank: Bank, line: Line, moxa: Board
) -> None:
    await moxa.start()
    bank.coils[9] = 1
    before = line.counters.connects
    bank.writers[-1].close()
    async with asyncio.timeout(HANG_S):
        while line.counters.connects == before:  # noqa: ASYNC110  # the owner is a thread
            await asyncio.sleep(0.002)
    at = len(bank.history)
    await moxa.pulse(4, 20, deadline=soon())
    first_on = next(n for n, (f, _, v) in enumerate(bank.history[at:]) if (f, v) == (5, 0xFF00))
    assert first_on == 17  # sixteen coils off, one read-back
    assert not bank.coils[9]


async def test_close_switches_off_and_never_fails(bank: Bank, line: Line, moxa: Board) -> None:
    bank.coils[7] = 1
    await moxa.close()
    assert not any(bank.coils)
    await line.close()
    await moxa.close()


async def test_a_dead_board_cannot_be_started_and_says_so(bank: Bank, moxa: Board) -> None:
    bank.silent = lambda *_: True
    with pytest.raises(BusError):
        await moxa.start()
    with pytest.raises(BusError) as caught:
        await moxa.pulse(0, 50, deadline=soon())
    assert not caught.value.sent  # the pulse itself was not


async def test_linkage_mode_is_put_right_at_start_and_named(bank: Bank, line: Line) -> None:
    bank.registers[0x1003] = 1
    board = Board(line, load("waveshare-rtu-io-8ch"))
    await board.start()
    assert list(board.corrected) == ["output_mode"]
    assert bank.registers[0x1003] == 0
    await board.start()
    assert list(board.corrected) == []


async def test_a_setting_that_does_not_hold_makes_the_board_unusable(
    bank: Bank, line: Line
) -> None:
    bank.registers[0x1003] = 1
    bank.keeps = {0x1003}
    board = Board(line, load("waveshare-rtu-io-8ch"))
    with pytest.raises(NotReady) as caught:
        await board.pulse(0, 100, deadline=soon())
    assert caught.value.evidence["setting"] == "output_mode"
    assert not any(address == 0x0200 for _, address, _ in bank.history)


async def test_a_board_that_times_its_pulse_late_is_switched_off_by_us(
    bank: Bank, line: Line
) -> None:
    board = Board(line, load("waveshare-rtu-io-8ch"))
    await board.start()
    off: list[int] = []

    def reads(address: int, value: int) -> int:
        flashed = any(a == 0x0200 for _, a, _ in bank.history)
        off.extend(bank.written(0))
        return int(flashed and not bank.written(0) and address == 0)

    bank.read_as = reads
    done = await board.pulse(0, 100, deadline=soon())
    assert done.off_seen
    assert bank.written(0) == [0]


async def test_a_board_that_dies_in_its_own_pulse_is_told_as_not_seen_off(
    bank: Bank, line: Line
) -> None:
    board = Board(line, load("waveshare-rtu-io-8ch"))
    await board.start()
    bank.silent = lambda function, _, __: function == 1
    done = await board.pulse(0, 100, deadline=soon())
    assert (done.on_seen, done.off_seen) == (None, False)


@pytest.mark.parametrize("turns", range(5))
async def test_a_caller_cancelled_as_the_rail_comes_free_does_not_get_it(turns: int) -> None:
    rail = Rail("a", stagger_ms=20)
    await rail.take(soon())
    waiting = asyncio.create_task(rail.take(soon()))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    rail.give()
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await rail.take(soon())


async def test_a_line_closes_only_after_the_coil_is_off(
    bank: Bank, line: Line, moxa: Board
) -> None:
    await moxa.start()
    pulse = asyncio.create_task(moxa.pulse(4, 300, deadline=soon()))
    async with asyncio.timeout(HANG_S):
        while not bank.coils[4]:  # noqa: ASYNC110  # the peer is not ours to await
            await asyncio.sleep(0.001)
    waits = asyncio.create_task(moxa.pulse(5, 300, deadline=soon()))
    await asyncio.sleep(0)
    pulse.cancel()  # the caller's end changes nothing
    await line.close()
    assert not bank.coils[4]
    with pytest.raises(BusError):
        await waits
    assert 0xFF00 not in bank.written(5)


async def test_a_late_answer_does_not_show_that_a_coil_is_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rooms, "RELEASE_LIMIT_MS", 300)
    reads = 0
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal reads
        writers.append(writer)
        loop = asyncio.get_running_loop()
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while frame := await reader.readexactly(8):
                if frame[1] != 1:
                    writer.write(frame)
                    continue
                reads += 1
                # Slow and sequential: the first answer, all off, comes after its time-out.
                wait_s = 0.35 if reads == 1 else 0.18
                coil_4_on = 0x10 >> frame[3] if reads > 1 else 0
                said = crc(bytes((frame[0], 1, 1, coil_4_on)))
                loop.call_later(wait_s, writer.write, said)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line = Line(TcpSpec("127.0.0.1", port, "rtu_over_tcp", 115200))
    await line.open()
    board = Board(line, load("waveshare-rtu-relay-8"))
    with pytest.raises(BusError):
        await board.look()
    with pytest.raises(StuckOn):
        await board.all_off()
    await line.close()
    server.close()
    for writer in writers:
        writer.close()
    await asyncio.sleep(0)


def crc(body: bytes) -> bytes:
    value = 0xFFFF
    for byte in body:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0xA001 if value & 1 else 0)
    return body + value.to_bytes(2, "little")
