"""Pins the simulated TCP boards: both framings, torn and glued frames, and each TCP fault."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from adapters.simulator import frames
from adapters.simulator.faults import Station
from adapters.simulator.models import make_board
from adapters.simulator.server import Framing, TcpServer

READ = bytes.fromhex("0400300001")
REPLY = bytes.fromhex("04020000")


@contextlib.asynccontextmanager
async def client(
    server: TcpServer,
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


def request(framing: Framing, number: int = 1, unit: int = 1) -> bytes:
    return frames.mbap(number, unit, READ) if framing == "tcp" else frames.rtu(unit, READ)


def reply(framing: Framing, number: int = 1) -> bytes:
    return frames.mbap(number, 1, REPLY) if framing == "tcp" else frames.rtu(1, REPLY)


async def silent(reader: asyncio.StreamReader, seconds: float = 0.15) -> bool:
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), seconds)
    return True


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
async def test_answers_byte_by_byte_and_glued(framing: Framing) -> None:
    async with (
        TcpServer([make_board("moxa-e1210")], framing=framing) as server,
        client(server) as (reader, writer),
    ):
        for byte in request(framing, 7):
            writer.write(bytes((byte,)))
            await writer.drain()
            await asyncio.sleep(0)
        assert await reader.readexactly(len(reply(framing))) == reply(framing, 7)
        writer.write(request(framing, 8) + request(framing, 9))
        expected = reply(framing, 8) + reply(framing, 9)
        assert await reader.readexactly(len(expected)) == expected


@pytest.mark.parametrize("framing", ["tcp", "rtu"])
async def test_other_units_are_silent(framing: Framing) -> None:
    async with (
        TcpServer([make_board("moxa-e1210")], framing=framing) as server,
        client(server) as (reader, writer),
    ):
        writer.write(request(framing, unit=5))
        assert await silent(reader)


async def test_nonsense_closes_a_modbus_tcp_connection() -> None:
    async with TcpServer([make_board("moxa-e1210")]) as server, client(server) as (reader, writer):
        writer.write(b"GET / HTTP/1.1\r\n\r\n")
        assert await asyncio.wait_for(reader.read(), 5) == b""


async def test_nonsense_inside_rtu_is_dropped() -> None:
    async with (
        TcpServer([make_board("moxa-e1210")], framing="rtu") as server,
        client(server) as (reader, writer),
    ):
        writer.write(frames.corrupted(request("rtu")))
        assert await silent(reader)
        writer.write(request("rtu"))
        assert await reader.readexactly(7) == reply("rtu")
        assert server.counters.garbled == 1
        writer.write(b"\x01\x10" + b"\xff" * 4)
        assert await silent(reader)


async def test_late_reply_keeps_its_transaction_number() -> None:
    station = Station(make_board("moxa-e1210"))
    station.inject("late", 0, value=100, count=1)
    async with TcpServer([station]) as server, client(server) as (reader, writer):
        writer.write(request("tcp", 1) + request("tcp", 2))
        got = await reader.readexactly(22)
        assert got == reply("tcp", 2) + reply("tcp", 1)


async def test_hanging_board_takes_and_gives_nothing() -> None:
    async with TcpServer([make_board("moxa-e1210")]) as server, client(server) as (reader, writer):
        server.set_fault("hang")
        writer.write(request("tcp"))
        assert await silent(reader)
        server.set_fault("hang", on=False)
        writer.write(request("tcp", 2))
        assert await reader.readexactly(11) == reply("tcp", 2)


async def test_half_open_connection_is_silent_and_a_new_one_works() -> None:
    async with TcpServer([make_board("moxa-e1210")]) as server, client(server) as (reader, writer):
        writer.write(request("tcp"))
        await reader.readexactly(11)
        server.set_fault("half_open")
        writer.write(request("tcp"))
        assert await silent(reader)
        async with client(server) as (second, to_second):
            to_second.write(request("tcp"))
            assert await second.readexactly(11) == reply("tcp")


async def test_board_for_one_client_closes_the_second() -> None:
    async with TcpServer([make_board("moxa-e1210")]) as server, client(server) as (reader, writer):
        server.set_fault("one_client")
        writer.write(request("tcp"))
        await reader.readexactly(11)
        async with client(server) as (second, _):
            assert await asyncio.wait_for(second.read(), 5) == b""
        writer.write(request("tcp", 2))
        assert await reader.readexactly(11) == reply("tcp", 2)


async def test_refusing_board_closes_everybody() -> None:
    async with TcpServer([make_board("moxa-e1210")]) as server, client(server) as (reader, writer):
        writer.write(request("tcp"))
        await reader.readexactly(11)
        server.set_fault("refuse")
        assert await asyncio.wait_for(reader.read(), 5) == b""
        async with client(server) as (second, _):
            assert await asyncio.wait_for(second.read(), 5) == b""
        with pytest.raises(KeyError):
            server.set_fault("nonsense")


async def test_unplugged_server_refuses_and_returns_on_its_port() -> None:
    async with TcpServer([make_board("moxa-e1210")], turnaround_ms=1) as server:
        async with client(server) as (reader, _):
            await server.unplug()
            await server.unplug()
            assert not server.plugged
            with contextlib.suppress(ConnectionError):
                assert await asyncio.wait_for(reader.read(), 5) == b""
        with pytest.raises(OSError, match="onnect"):
            await asyncio.open_connection("127.0.0.1", server.port)
        await server.replug()
        await server.replug()
        async with client(server) as (reader, writer):
            writer.write(request("tcp"))
            assert await reader.readexactly(11) == reply("tcp")


async def test_client_that_leaves_before_the_answer_harms_nobody() -> None:
    station = Station(make_board("moxa-e1210"))
    station.inject("slow", 0, value=50)
    async with TcpServer([station]) as server:
        async with client(server) as (_, writer):
            writer.write(request("tcp"))
            await writer.drain()
        async with client(server) as (reader, writer):
            writer.write(request("tcp", 2))
            assert await reader.readexactly(11) == reply("tcp", 2)
