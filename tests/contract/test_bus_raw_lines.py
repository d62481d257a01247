"""Pins the bus against lines that answer late, wrong, twice, garbled, echoing or never."""

import asyncio
import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest

from adapters import owner
from adapters.bus import Frames, Line, Priority, SerialSpec, TcpSpec, Unit
from adapters.errors import (
    AdapterError,
    BusError,
    Closed,
    Forbidden,
    Late,
    LinkDown,
    Nonsense,
    OtherQuestion,
    Overloaded,
    Refused,
    TimedOut,
    Unanswered,
)
from adapters.owner import DOOR_PLACES, PLACES
from adapters.profiles import load
from adapters.reading import Read, Write

RELAY = load("waveshare-rtu-relay-8")
PULSE = Write(5, 0x0200, (4,))
COILS = Read(1, 0, 8)
HANG_S = 5.0  # far above anything here: only a hang takes so long

Answers = list[tuple[float, bytes]]
Say = Callable[[bytes], Answers]


async def until(true: Callable[[], object]) -> None:
    """Wait for what another thread or peer brings about."""
    async with asyncio.timeout(HANG_S):
        while not true():  # noqa: ASYNC110  # the other side is a thread or a peer
            await asyncio.sleep(0.002)


def crc(body: bytes) -> bytes:
    """A checksum of our own, so that pymodbus does not check itself."""
    value = 0xFFFF
    for byte in body:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0xA001 if value & 1 else 0)
    return body + value.to_bytes(2, "little")


def honest(frame: bytes) -> bytes:
    """What a good relay board says; every coil of unit n reads as bit pattern n."""
    if frame[1] == 1:
        return crc(bytes((frame[0], 1, 1, frame[0])))
    return frame


class RawLine:
    """A pty whose far end calls `say(frame)` for each 8 bytes and sends what it returns."""

    def __init__(self, folder: Path) -> None:
        self.say: Say = lambda frame: [(0, honest(frame))]
        self.seen: list[bytes] = []
        self.link = str(folder / "line")
        self._master = -1
        self._stop = threading.Event()

    def plug(self) -> None:
        self._master, slave = os.openpty()
        tty.setraw(slave)
        with contextlib.suppress(FileNotFoundError):
            Path(self.link).unlink()
        Path(self.link).symlink_to(os.ttyname(slave))
        self._slave = slave
        self._stop.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def unplug(self) -> None:
        self._stop.set()
        self._thread.join()
        Path(self.link).unlink()
        os.close(self._slave)
        os.close(self._master)

    def put(self, data: bytes) -> None:
        os.write(self._master, data)

    def _run(self) -> None:
        buffer = b""
        due: list[tuple[float, bytes]] = []
        while not self._stop.is_set():
            now = time.monotonic()
            for item in [item for item in due if item[0] <= now]:
                due.remove(item)
                os.write(self._master, item[1])
            wait = min([0.02, *(at - now for at, _ in due)])
            if select.select([self._master], [], [], max(0, wait))[0]:
                buffer += os.read(self._master, 4096)
            while len(buffer) >= 8:
                frame, buffer = buffer[:8], buffer[8:]
                self.seen.append(frame)
                due += [(time.monotonic() + wait, data) for wait, data in self.say(frame)]


@pytest.fixture
def raw(tmp_path: Path) -> Iterator[RawLine]:
    line = RawLine(tmp_path)
    line.plug()
    yield line
    with contextlib.suppress(OSError):
        line.unplug()


@pytest.fixture
async def line(raw: RawLine) -> AsyncIterator[Line]:
    made = Line(SerialSpec(raw.link, 115200, local_echo=False))
    assert await made.open()
    yield made
    await made.close()


@pytest.fixture
def one(line: Line) -> Unit:
    return line.unit(1, RELAY)


async def trouble(unit: Unit, request: Read | Write, **how: int) -> AdapterError:
    """The error of an ask that must fail, within the second the house allows."""
    start = time.monotonic()
    with pytest.raises(BusError) as caught:
        await asyncio.wait_for(unit.ask(request, Priority.POLL, **how), HANG_S)
    assert time.monotonic() - start < HANG_S
    return caught.value


async def test_values_come_back_and_a_timed_pulse_is_a_raw_value(raw: RawLine, one: Unit) -> None:
    assert await one.ask(COILS) == (1, 0, 0, 0, 0, 0, 0, 0)
    assert await one.ask(PULSE, Priority.ACTUATE) == ()
    assert raw.seen[1].hex(" ") == "01 05 02 00 00 04 cd b1"


async def test_silence_is_a_time_out_for_a_read_and_doubt_for_a_write(
    raw: RawLine, line: Line, one: Unit
) -> None:
    raw.say = lambda _: []
    error = await trouble(one, COILS)
    assert (type(error), error.sent) == (TimedOut, False)
    other = line.unit(2, RELAY)
    error = await trouble(other, PULSE)
    assert (error.code, error.sent) == ("bus.unanswered", True)
    assert len(raw.seen) == 2  # nothing was repeated


async def test_exception_of_the_board_is_not_doubt(raw: RawLine, one: Unit) -> None:
    raw.say = lambda _: [(0, bytes.fromhex("01 85 03 02 91"))]
    error = await trouble(one, PULSE)
    assert isinstance(error, Refused)
    assert (error.evidence["exception"], error.sent) == (3, False)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (b"\x00", Nonsense),
        (b"\x01\x01\x01", Nonsense),  # truncated
        (bytes.fromhex("01 01 01 00 51 89"), Nonsense),  # checksum
        (bytes(range(64)) * 20, Nonsense),
        (b"\x01\x81", Nonsense),
        (crc(b"\x01\x02\x01\x00"), OtherQuestion),  # other function
        (crc(b"\x01\x01\x02\x00\x00"), OtherQuestion),  # other length
        (crc(b"\x09\x01\x01\x00"), OtherQuestion),  # other unit
        (crc(b"\x01\x2b\x0e\x01"), Nonsense),  # a function we never ask
    ],
)
async def test_what_is_no_answer_is_an_error_and_the_line_lives_on(
    raw: RawLine, line: Line, one: Unit, answer: bytes, kind: type[BusError]
) -> None:
    raw.say = lambda _: [(0, answer)]
    assert isinstance(await trouble(one, COILS), kind)
    raw.say = lambda frame: [(0, honest(frame))]
    assert await line.unit(2).ask(COILS) == (0, 1, 0, 0, 0, 0, 0, 0)


@pytest.mark.parametrize("answer", [b"\x01\x05\x02\x01\x00\x04", b"\x01\x05\x02\x00\x00\x05"])
async def test_an_echo_of_another_address_or_value_confirms_nothing(
    raw: RawLine, one: Unit, answer: bytes
) -> None:
    raw.say = lambda _: [(0, crc(answer))]
    error = await trouble(one, PULSE)
    assert isinstance(error, OtherQuestion)
    assert error.sent


async def test_frame_of_another_unit_before_ours_is_passed_over(raw: RawLine, one: Unit) -> None:
    raw.say = lambda frame: [(0, crc(b"\x09\x01\x01\xff")), (0.02, honest(frame))]
    assert await one.ask(COILS) == (1, 0, 0, 0, 0, 0, 0, 0)


async def test_babbling_line_is_an_error_not_a_hang(raw: RawLine, one: Unit) -> None:
    raw.say = lambda _: []
    stop = threading.Event()

    def babble() -> None:
        while not stop.wait(0.0005):
            with contextlib.suppress(OSError):
                raw.put(b"\x55")

    noise = threading.Thread(target=babble)
    noise.start()
    try:
        assert isinstance(await trouble(one, COILS), Nonsense)
    finally:
        stop.set()
        noise.join()


async def test_echoing_adapter_never_confirms_a_command_to_a_board_that_is_not_there(
    raw: RawLine,
) -> None:
    raw.say = lambda frame: [(0, frame)]
    line = Line(SerialSpec(raw.link, 115200))  # nobody told it that the adapter echoes
    await line.open()
    try:
        error = await trouble(line.unit(1, RELAY), PULSE)
        assert isinstance(error, Unanswered)
        assert line.health()["local_echo"] is True
        raw.say = lambda frame: [(0, frame), (0, honest(frame))]
        assert await line.unit(2).ask(COILS) == (0, 1, 0, 0, 0, 0, 0, 0)
    finally:
        await line.close()


async def test_absent_echo_is_found_out_too(raw: RawLine) -> None:
    line = Line(SerialSpec(raw.link, 115200))
    await line.open()
    try:
        assert await line.unit(1, RELAY).ask(PULSE) == ()
        assert line.health()["local_echo"] is False
    finally:
        await line.close()


async def test_cancelled_caller_never_touches_the_wire(raw: RawLine, one: Unit) -> None:
    raw.say = lambda frame: [(0.05, honest(frame))]
    first = asyncio.create_task(one.ask(PULSE, Priority.ACTUATE))
    await until(lambda: raw.seen)
    waiting = asyncio.create_task(one.ask(Write(5, 0x0201, (4,)), Priority.ACTUATE))
    await asyncio.sleep(0)
    first.cancel()
    waiting.cancel()
    assert await one.ask(COILS) == (1, 0, 0, 0, 0, 0, 0, 0)
    # The first ran to its end, the second was dropped before it was sent.
    assert [frame[1] for frame in raw.seen] == [5, 1]


async def test_a_door_command_after_its_deadline_is_refused_and_never_sent(
    raw: RawLine, line: Line, one: Unit
) -> None:
    raw.say = lambda _: []
    blocked = asyncio.create_task(trouble(line.unit(2), COILS))
    await until(lambda: raw.seen)
    error = await trouble(one, PULSE, deadline_ms=50)
    assert isinstance(error, Late)
    assert not error.sent
    await blocked
    assert [frame[0] for frame in raw.seen] == [2]
    assert line.counters.refused_late == 1


async def test_a_door_command_overtakes_all_polling(raw: RawLine, line: Line, one: Unit) -> None:
    raw.say = lambda frame: [(0.01, honest(frame))]
    polls = [asyncio.create_task(line.unit(n).ask(COILS)) for n in range(2, 22)]
    await until(lambda: raw.seen)
    await one.ask(PULSE, Priority.ACTUATE)
    assert [frame[0] for frame in raw.seen].index(1) <= 2
    await asyncio.gather(*polls)


async def test_overload_is_refused_and_keeps_places_for_doors(raw: RawLine, line: Line) -> None:
    raw.say = lambda _: []
    unit, door = line.unit(2), line.unit(3, RELAY)
    asked = [asyncio.create_task(unit.ask(COILS)) for _ in range(PLACES + 5)]
    await asyncio.sleep(0)
    doors = [asyncio.create_task(door.ask(PULSE, Priority.ACTUATE)) for _ in range(DOOR_PLACES)]
    await asyncio.sleep(0)
    await line.close()
    errors = await asyncio.gather(*asked, return_exceptions=True)
    assert 1 <= sum(isinstance(error, Overloaded) for error in errors) <= 5
    refused = await asyncio.gather(*doors, return_exceptions=True)
    assert not any(isinstance(error, Overloaded) for error in refused)


async def test_closing_refuses_what_waits(line: Line, one: Unit) -> None:
    await line.close()
    with pytest.raises(Closed):
        await one.ask(COILS)
    await line.close()


async def test_unplugged_adapter_is_an_error_at_once_and_comes_back_by_itself(
    raw: RawLine, line: Line, one: Unit
) -> None:
    await one.ask(COILS)
    before = one.epoch
    raw.unplug()
    await until(lambda: not line.up)
    assert isinstance(await trouble(one, PULSE), LinkDown)
    raw.plug()
    await until(lambda: line.up)
    assert await one.ask(COILS) == (1, 0, 0, 0, 0, 0, 0, 0)
    assert one.epoch != before


async def test_port_that_is_not_there_is_told_by_name(tmp_path: Path) -> None:
    line = Line(SerialSpec(str(tmp_path / "nothing")))
    assert not await line.open()
    error = await trouble(line.unit(1), COILS)
    assert isinstance(error, LinkDown)
    assert "nothing" in str(error)
    await line.close()


async def test_a_port_belongs_to_one_master(raw: RawLine, line: Line) -> None:
    second = Line(SerialSpec(raw.link, 115200))
    assert not await second.open()
    assert "lock" in second.down_reason
    await second.close()


async def test_unit_numbers_are_lent_once_and_unit_0_never(line: Line, one: Unit) -> None:
    for number in (-1, 0, 256):
        with pytest.raises(Forbidden):
            line.unit(number, RELAY)
    assert line.unit(1).number == line.unit(1, RELAY).number == 1
    with pytest.raises(Forbidden) as caught:
        line.unit(1, load("eletechsup-r421"))
    assert caught.value.code == "bus.unit_taken"


async def test_lines_say_how_they_are(line: Line, one: Unit) -> None:
    await one.ask(COILS)
    health = line.health()
    assert (health["up"], health["sent"], health["answered"], health["waiting"]) == (True, 1, 1, 0)
    assert health["units_lost"] == []
    assert not one.lost


class RawTcp:
    """A TCP peer that calls `say(frame)` for each chunk; empty answer list: silence."""

    def __init__(self) -> None:
        self.say: Say = lambda _: []
        self.seen: list[bytes] = []
        self.ends: list[str] = []
        self.writers: list[asyncio.StreamWriter] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while data := await reader.read(260):
                self.seen.append(data)
                for wait, answer in self.say(data):
                    asyncio.get_running_loop().call_later(wait, writer.write, answer)
            self.ends.append("closed")
        except ConnectionResetError:
            self.ends.append("reset")
        finally:
            writer.close()


@pytest.fixture
async def tcp() -> AsyncIterator[tuple[RawTcp, int]]:
    peer = RawTcp()
    server = await asyncio.start_server(peer.serve, "127.0.0.1", 0)
    yield peer, server.sockets[0].getsockname()[1]
    server.close()
    for writer in peer.writers:
        writer.close()
    await until(lambda: len(peer.ends) == len(peer.writers))


def tcp_answer(frame: bytes, bits: int = 1) -> bytes:
    if frame[7] == 1:
        return frame[:4] + b"\x00\x04" + frame[6:8] + bytes((1, bits))
    return frame


async def test_unanswered_write_on_tcp_is_doubt_and_cuts_the_connection(
    tcp: tuple[RawTcp, int],
) -> None:
    peer, port = tcp
    line = Line(TcpSpec("127.0.0.1", port))
    await line.open()
    unit = line.unit(1, load("moxa-e1211"))
    error = await trouble(unit, Write(5, 0, (0xFF00,)))
    assert (error.code, error.sent) == ("bus.unanswered", True)
    await until(lambda: peer.ends and line.counters.connects == 2)
    assert peer.ends == ["reset"]
    assert len(peer.seen) == 1
    await line.close()


async def test_late_answer_on_tcp_is_known_by_its_number(tcp: tuple[RawTcp, int]) -> None:
    peer, port = tcp
    line = Line(TcpSpec("127.0.0.1", port))
    await line.open()
    unit = line.unit(1, load("moxa-e1210"))
    held: list[bytes] = []

    def say(frame: bytes) -> Answers:
        held.append(tcp_answer(frame, bits=0xFF if not held else 1))
        return [(0, held[0] + held[1])] if len(held) == 2 else []

    peer.say = say
    assert isinstance(await trouble(unit, COILS), TimedOut)
    assert await unit.ask(COILS) == (1, 0, 0, 0, 0, 0, 0, 0)
    await line.close()


@pytest.mark.parametrize("answer", [b"\x00" * 64, bytes(range(200)), b"HTTP/1.1 400\r\n\r\n"])
async def test_garbage_on_tcp_is_nonsense_and_the_link_is_made_anew(
    tcp: tuple[RawTcp, int], answer: bytes
) -> None:
    peer, port = tcp
    line = Line(TcpSpec("127.0.0.1", port))
    await line.open()
    peer.say = lambda _: [(0, answer)]
    error = await trouble(line.unit(1), COILS)
    assert isinstance(error, Nonsense | OtherQuestion | TimedOut)
    peer.say = lambda frame: [(0, tcp_answer(frame))]
    await until(lambda: line.counters.connects == 2)
    assert await line.unit(2).ask(COILS) == (1, 0, 0, 0, 0, 0, 0, 0)
    await line.close()


async def test_peer_that_hangs_up_is_link_down_and_is_connected_again(
    tcp: tuple[RawTcp, int],
) -> None:
    peer, port = tcp
    peer.say = lambda frame: [(0, tcp_answer(frame))]
    line = Line(TcpSpec("127.0.0.1", port))
    await line.open()
    unit = line.unit(1)
    assert await unit.ask(COILS) == (1, 0, 0, 0, 0, 0, 0, 0)
    peer.writers[0].close()
    await until(lambda: line.counters.connects == 2)
    assert await unit.ask(COILS) == (1, 0, 0, 0, 0, 0, 0, 0)
    assert line.counters.link_losses == 1
    await line.close()


async def test_rtu_frames_inside_tcp_keep_the_rules_of_rtu(tcp: tuple[RawTcp, int]) -> None:
    peer, port = tcp
    line = Line(TcpSpec("127.0.0.1", port, "rtu_over_tcp", 115200))
    await line.open()
    unit = line.unit(1, RELAY)
    late = crc(b"\x01\x01\x01\xff")
    peer.say = lambda frame: [(0.4, late)] if len(peer.seen) == 1 else [(0, honest(frame))]
    assert isinstance(await trouble(unit, COILS), TimedOut)
    assert await unit.ask(COILS) == (1, 0, 0, 0, 0, 0, 0, 0)
    assert line.counters.strays == 1
    await line.close()


def test_a_codec_never_trips_over_short_input() -> None:
    for rtu in (True, False):
        frames = Frames(rtu=rtu)
        for size in range(12):
            for byte in (0x00, 0x01, 0x81, 0xFF):
                frames.judge(bytes([byte]) * size, b"", 1, COILS, 1)
                frames.at_the_end(bytes([byte]) * size, b"", 1, COILS, 1)


async def test_a_late_answer_over_a_new_link_is_not_the_next_questions(
    tcp: tuple[RawTcp, int],
) -> None:
    peer, port = tcp
    line = Line(TcpSpec("127.0.0.1", port, "rtu_over_tcp", 115200))
    await line.open()
    unit = line.unit(1, RELAY)

    def hang_up(_: bytes) -> Answers:
        peer.writers[0].close()  # the converter starts anew, with an answer still on its line
        return []

    peer.say = hang_up
    assert isinstance(await trouble(unit, COILS), LinkDown)
    peer.say = lambda frame: [(0.1, honest(frame))]
    await until(lambda: len(peer.writers) == 2 and line.up)
    asked = asyncio.create_task(unit.ask(COILS))
    await asyncio.sleep(0.02)
    peer.writers[1].write(crc(b"\x01\x01\x01\xff"))
    assert await asked == (1, 0, 0, 0, 0, 0, 0, 0)
    await line.close()


@pytest.mark.parametrize("framing", ["tcp", "rtu_over_tcp"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_bug_in_the_owner_leaves_no_caller_waiting(
    tcp: tuple[RawTcp, int], framing: Literal["tcp", "rtu_over_tcp"]
) -> None:
    _, port = tcp

    def broken(direction: str, data: bytes) -> None:
        raise RuntimeError(direction, data)

    line = Line(TcpSpec("127.0.0.1", port, framing, 115200), trace=broken)
    await line.open()
    error = await trouble(line.unit(1, RELAY), PULSE)
    assert isinstance(error, LinkDown)
    assert error.sent
    await until(lambda: not line.up)
    await line.close()


async def test_on_a_tcp_line_a_door_command_of_the_same_moment_goes_first(
    tcp: tuple[RawTcp, int],
) -> None:
    peer, port = tcp
    peer.say = lambda frame: [(0, tcp_answer(frame))]
    line = Line(TcpSpec("127.0.0.1", port))
    await line.open()
    await line.unit(2).ask(COILS)
    unit = line.unit(1, load("moxa-e1211"))
    polls = [unit.ask(COILS), line.unit(2).ask(COILS)]
    door = unit.ask(Write(5, 0, (0xFF00,)), Priority.ACTUATE)
    await asyncio.gather(*polls, door)
    assert [frame[7] for frame in peer.seen] == [1, 5, 1, 1]
    await line.close()


async def test_a_tcp_door_command_held_up_by_a_busy_program_is_late_not_sent(
    tcp: tuple[RawTcp, int],
) -> None:
    peer, port = tcp
    line = Line(TcpSpec("127.0.0.1", port))
    await line.open()
    unit = line.unit(1, load("moxa-e1211"))
    asked = asyncio.create_task(unit.ask(Write(5, 0, (0xFF00,)), Priority.ACTUATE, 20))
    asyncio.get_running_loop().call_soon(time.sleep, 0.05)  # after it is queued
    with pytest.raises(Late):
        await asked
    assert peer.seen == []
    await line.close()


async def test_a_unit_with_a_profile_keeps_its_own_pauses() -> None:
    line = Line(TcpSpec("127.0.0.1", 1))
    line.unit(1, RELAY)
    own = line._owner.pace.unit(1).timing
    line.hurry(1, 10)
    line.hurry(2, 10)
    assert line._owner.pace.unit(1).timing == own
    assert line._owner.pace.unit(2).timing.response_us == 10_000


@pytest.mark.parametrize(("searching", "connects"), [(False, 2), (True, 1)])
async def test_a_port_is_opened_anew_for_silence_only_where_somebody_is_expected(
    raw: RawLine, monkeypatch: pytest.MonkeyPatch, searching: bool, connects: int
) -> None:
    monkeypatch.setattr(owner, "STALE_US", 0)
    raw.say = lambda _: []
    line = Line(SerialSpec(raw.link, 115200, local_echo=False), searching=searching)
    await line.open()
    for unit in range(1, 6):
        line.hurry(unit, 10)
        with contextlib.suppress(BusError):
            await line.unit(unit).ask(COILS)
    if not searching:
        await until(lambda: line.counters.connects == connects)
    assert line.counters.connects == connects
    await line.close()
