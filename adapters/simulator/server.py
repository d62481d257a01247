"""Simulated boards behind TCP: Modbus TCP, or RTU frames inside TCP as the siblings speak."""

import asyncio
import contextlib
from collections.abc import Iterable
from types import TracebackType
from typing import Literal, Self

from adapters.simulator import frames
from adapters.simulator.boards import Board
from adapters.simulator.faults import Answer, Station
from adapters.simulator.line import guard_of, stations_of
from adapters.simulator.live import Guard
from adapters.simulator.wire import Counters

Framing = Literal["rtu", "tcp"]
_READ_MAX = 4096
_PENDING_MAX = 64
"""Requests of one client under way at once; the next one waits."""
TCP_FAULTS = {
    "half_open": "connections open now go silent for ever, without a word; new ones work",
    "hang": "nothing is answered on any connection",
    "one_client": "a second connection is closed at once",
    "refuse": "every connection is closed at once, the open ones too",
}


class TcpServer:
    """Boards behind one TCP port. `async with TcpServer(boards) as server:` then `server.port`.

    `port` 0 takes a free one. `guard` is shared when the boards belong to a bank.
    """

    def __init__(
        self,
        boards: Iterable[Board | Station],
        *,
        framing: Framing = "tcp",
        host: str = "127.0.0.1",
        port: int = 0,
        turnaround_ms: int = 0,
        name: str = "line",
        guard: Guard | None = None,
    ) -> None:
        self.stations = stations_of(boards)
        self.name = name
        self.framing: Framing = framing
        self.host = host
        self.port = port
        self.turnaround_ms = turnaround_ms
        self.guard = guard or guard_of(self.stations)
        self.counters = Counters()
        self.faults: set[str] = set()
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.StreamWriter, bool] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def plugged(self) -> bool:
        """Say whether the port listens now."""
        return self._server is not None

    async def start(self) -> None:
        """Listen; `port` tells where. Raises OSError when the address is taken."""
        self._server = await asyncio.start_server(self._serve, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Close the port and every connection."""
        if self._server is None:
            return
        server, self._server = self._server, None
        server.close()
        self._drop_clients()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

    async def unplug(self) -> None:
        """Pull the network cable's far end out: closed, and refused until `replug`."""
        await self.stop()

    async def replug(self) -> None:
        """Listen again, on the same port."""
        if self._server is None:
            await self.start()

    def set_fault(self, fault: str, *, on: bool = True) -> None:
        """Turn a fault of TCP_FAULTS on or off; KeyError for another name."""
        if fault not in TCP_FAULTS:
            raise KeyError(fault)
        (self.faults.add if on else self.faults.discard)(fault)
        if fault == "half_open" and on:
            # These clients are talking to nobody from now on; only they do not know.
            self._clients = dict.fromkeys(self._clients, False)
        if fault == "refuse" and on:
            self._drop_clients()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()

    def _drop_clients(self) -> None:
        for writer in self._clients:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if "refuse" in self.faults or ("one_client" in self.faults and self._clients):
            writer.close()
            return
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._clients[writer] = True
        try:
            await self._talk(reader, writer)
        except (ConnectionError, asyncio.CancelledError):
            pass  # the client left, or we stop
        finally:
            self._tasks.discard(task)
            del self._clients[writer]
            writer.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        buffer = b""
        room = asyncio.Semaphore(_PENDING_MAX)
        while data := await reader.read(_READ_MAX):
            self.counters.bytes_in += len(data)
            buffer += data
            while (length := self._length(buffer)) is not None and len(buffer) >= length:
                frame, buffer = buffer[:length], buffer[length:]
                if not self._clients[writer] or "hang" in self.faults:
                    continue
                for wait_ms, reply in self._answers(frame):
                    await room.acquire()
                    self._later(wait_ms, reply, writer, room)
            if self._length_is_wrong(buffer):
                return

    def _length(self, buffer: bytes) -> int | None:
        if self.framing == "rtu":
            return frames.request_length(buffer)
        with contextlib.suppress(ValueError):
            return frames.mbap_length(buffer)
        return None

    def _length_is_wrong(self, buffer: bytes) -> bool:
        if self.framing == "rtu":
            return len(buffer) > frames.RTU_MAX
        try:
            frames.mbap_length(buffer)
        except ValueError:
            return True
        return False

    def _answers(self, frame: bytes) -> list[tuple[int, bytes]]:
        transaction = 0
        self.counters.requests += 1
        if self.framing == "tcp":
            transaction, unit, pdu = frames.open_mbap(frame)
        elif (opened := frames.open_rtu(frame)) is not None:
            unit, pdu = opened
        else:
            self.counters.garbled += 1
            return []
        replies = []
        with self.guard() as now_ms:
            for station in self.stations:
                answer = station.answer(unit, pdu, now_ms)
                if answer is not None:
                    wait_ms = self.turnaround_ms + answer.after_ms
                    replies.append((wait_ms, self._framed(transaction, answer)))
        self.counters.replies += len(replies)
        return replies

    def _framed(self, transaction: int, answer: Answer) -> bytes:
        if self.framing == "tcp":
            return answer.damage.apply(frames.mbap(transaction, answer.unit, answer.pdu))
        return answer.damage.apply(frames.rtu(answer.unit, answer.pdu))

    def _later(
        self, wait_ms: int, reply: bytes, writer: asyncio.StreamWriter, room: asyncio.Semaphore
    ) -> None:
        task = asyncio.create_task(self._send(wait_ms, reply, writer, room))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _send(
        self, wait_ms: int, reply: bytes, writer: asyncio.StreamWriter, room: asyncio.Semaphore
    ) -> None:
        try:
            if wait_ms:
                await asyncio.sleep(wait_ms / 1000)
            if self._clients.get(writer) and "hang" not in self.faults:
                writer.write(reply)
                self.counters.bytes_out += len(reply)
                await writer.drain()
        except ConnectionError:
            pass  # the client left before the answer
        finally:
            room.release()
