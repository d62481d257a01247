"""A stream of bytes to a line: a serial port or a TCP connection, with time limits.

Used only by the owner of the line (`adapters.owner`). Every trouble is an `OSError`. Where pauses
count (RTU frames) waiting blocks a thread of the line's own, and an `await` never gives way. Modbus
TCP has no pauses to keep: there the same owner waits on the event loop and switches no threads.
"""

import asyncio
import concurrent.futures
import contextlib
import os
import select
import socket
import struct
import termios
import time
import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass
from typing import Any, Final, Literal, Protocol

import serial  # type: ignore[import-untyped]  # pyserial ships no types

from adapters.pace import character_us, silence_us

SEND_LIMIT_MS: Final = 500  # a frame has at most 260 bytes; a port that cannot take it is broken
CONNECT_LIMIT_S: Final = 1.0
NAP_US: Final = 20_000  # an exception is shorter than the answer: look again after so long
_GONE: Final = select.POLLHUP | select.POLLERR | select.POLLNVAL
_CHUNK: Final = 4096


@dataclass(frozen=True, slots=True)
class SerialSpec:
    """A serial port. `local_echo`: the adapter repeats what we send; None: find out by itself."""

    device: str
    baud: int = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop: Literal[1, 2] = 1
    local_echo: bool | None = None

    @property
    def name(self) -> str:
        """Name for people."""
        return self.device

    @property
    def rtu(self) -> bool:
        """Whether frames carry a checksum and no transaction number."""
        return True

    @property
    def bits(self) -> int:
        """Bits of one character on the line."""
        return 9 + self.stop + (self.parity != "N")


@dataclass(frozen=True, slots=True)
class TcpSpec:
    """A TCP peer. `baud` is that of the line behind it, for RTU frames inside TCP."""

    host: str
    port: int = 502
    framing: Literal["tcp", "rtu_over_tcp"] = "tcp"
    baud: int = 9600

    @property
    def name(self) -> str:
        """Name for people."""
        return f"{self.host}:{self.port}"

    @property
    def rtu(self) -> bool:
        """Whether frames carry a checksum and no transaction number."""
        return self.framing == "rtu_over_tcp"


class Wire(Protocol):
    """What the owner of a line needs of it."""

    gap_us: int
    character_us: int

    def drive(self, loop: asyncio.AbstractEventLoop, talk: Coroutine[Any, Any, None]) -> None:
        """Run `talk`, which alone uses this wire, to its end; call it in the line's thread."""
        ...

    def send(self, data: bytes, limit_ms: int) -> None:
        """Send all, or raise OSError. What is not delivered within `limit_ms` never will be."""
        ...

    def arrived(self) -> bytes:
        """Return what has arrived, without waiting; b"": nothing."""
        ...

    async def receive(self, wait_us: int) -> bytes:
        """Return what has arrived, waiting at most `wait_us` for the first byte; b"": nothing."""
        ...

    async def rest(self, wait_us: int | None) -> bytes:
        """Wait as `receive` does, or until `wake`; None: for ever."""
        ...

    def nap(self, characters: int) -> None:
        """Let that many characters come first: waking for each would cost most of the CPU."""
        ...

    def wake(self) -> None:
        """End a `rest`; from any thread, before `close`."""
        ...

    def forget(self) -> None:
        """Throw away what was sent and has not left yet."""
        ...

    def close(self) -> None:
        """Close at once; nothing more is delivered."""
        ...


def open_wire(spec: SerialSpec | TcpSpec) -> Wire:
    """Open the stream, or raise OSError."""
    if isinstance(spec, SerialSpec):
        return SerialWire(spec)
    return RtuTcpWire(spec) if spec.rtu else LoopWire(spec)


def on_loop(loop: asyncio.AbstractEventLoop, call: Callable[[], object]) -> None:
    """Call at once when this is the loop's own thread, soon when it is another."""
    try:
        here = asyncio.get_running_loop() is loop
    except RuntimeError:
        here = False
    if here:
        call()
        return
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        loop.call_soon_threadsafe(call)


def _poller(descriptor: int, events: int = select.POLLIN) -> select.poll:
    poller = select.poll()
    poller.register(descriptor, events)
    return poller


class _ThreadWire:
    """Waiting that blocks the calling thread."""

    character_us: int

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._wake_read, self._wake_write = os.pipe()
        os.set_blocking(self._wake_write, False)
        self._readable = _poller(descriptor)
        self._any = _poller(descriptor)
        self._any.register(self._wake_read, select.POLLIN)

    def drive(self, loop: asyncio.AbstractEventLoop, talk: Coroutine[Any, Any, None]) -> None:
        """Run `talk` here: nothing it awaits gives way."""
        del loop
        with contextlib.suppress(StopIteration):
            talk.send(None)

    def arrived(self) -> bytes:
        """Return what has arrived; b"": nothing."""
        return self._read() if self._ready(self._readable, 0) else b""

    async def receive(self, wait_us: int) -> bytes:
        """Return what has arrived; b"": nothing in time."""
        return self._read() if self._ready(self._readable, wait_us) else b""

    async def rest(self, wait_us: int | None) -> bytes:
        """Return what has arrived; b"": woken, or nothing in time."""
        return self._read() if self._ready(self._any, wait_us) else b""

    def nap(self, characters: int) -> None:
        """Sleep; an answer may be shorter than expected, so never for long."""
        time.sleep(min(max(0, characters) * self.character_us, NAP_US) / 1_000_000)

    def wake(self) -> None:
        """End a `rest`."""
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes as well
            os.write(self._wake_write, b"\0")

    def _forget_waking(self) -> None:
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _ready(self, poller: select.poll, wait_us: int | None) -> bool:
        """Wait for bytes; raises OSError when the other end is gone."""
        events = dict(poller.poll(None if wait_us is None else max(0, wait_us) / 1000))
        if self._wake_read in events:
            os.read(self._wake_read, 4096)
        got = events.get(self._descriptor, 0)
        if got & _GONE and not got & select.POLLIN:
            raise OSError("the other end is gone")
        return bool(got)

    def _read(self) -> bytes:
        data = os.read(self._descriptor, _CHUNK)
        if not data:
            raise OSError("the other end is gone")
        return data


class SerialWire(_ThreadWire):
    """A serial port, opened for us alone."""

    def __init__(self, spec: SerialSpec) -> None:
        self.gap_us = silence_us(spec.baud, spec.bits)
        self.character_us = character_us(spec.baud, spec.bits)
        # exclusive: two masters on one line would take each other's answers.
        self._port = serial.Serial(
            spec.device,
            baudrate=spec.baud,
            parity=spec.parity,
            stopbits=spec.stop,
            timeout=0,
            exclusive=True,
        )
        super().__init__(self._port.fileno())
        os.set_blocking(self._descriptor, False)
        # A USB adapter waits 16 ms before it hands over bytes, which halves the line; not every
        # driver knows this switch, and a line without it still works.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._port.set_low_latency_mode(True)

    def send(self, data: bytes, limit_ms: int) -> None:
        """Send all, or raise OSError."""
        limit_ms = min(limit_ms, SEND_LIMIT_MS)
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                if not _poller(self._descriptor, select.POLLOUT).poll(limit_ms):
                    raise OSError("the port takes no bytes") from None

    def forget(self) -> None:
        """Throw away what was sent and has not left yet."""
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(self._descriptor, termios.TCOFLUSH)

    def close(self) -> None:
        """Close at once."""
        self.forget()
        with contextlib.suppress(OSError, termios.error):
            self._port.close()
        self._forget_waking()


class _Tcp:
    """A TCP connection that is cut, never closed politely: nothing of ours arrives later."""

    def __init__(self, spec: TcpSpec) -> None:
        self._socket = socket.create_connection((spec.host, spec.port), CONNECT_LIMIT_S)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._user_timeout_ms = 0

    def send(self, data: bytes, limit_ms: int) -> None:
        """Send all, or raise OSError; the kernel gives up on delivery after `limit_ms`."""
        limit_ms = max(1, limit_ms)
        # Set again only when it shrinks or could be much longer: one call less a request.
        if not limit_ms // 2 <= self._user_timeout_ms <= limit_ms:
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, limit_ms)
            self._user_timeout_ms = limit_ms
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        if sent != len(data):
            # The peer has taken nothing for a whole send buffer: it hangs.
            raise OSError("the peer takes no bytes")

    def forget(self) -> None:
        """Do nothing: only cutting the connection takes bytes back."""


class RtuTcpWire(_Tcp, _ThreadWire):
    """RTU frames inside TCP: behind it is a serial line, whose silence the peer may not keep."""

    def __init__(self, spec: TcpSpec) -> None:
        self.gap_us = silence_us(spec.baud, 10)
        self.character_us = character_us(spec.baud, 10)
        _Tcp.__init__(self, spec)
        _ThreadWire.__init__(self, self._socket.fileno())

    def close(self) -> None:
        """Cut the connection: undelivered bytes are dropped on both sides."""
        self._socket.close()
        self._forget_waking()


@types.coroutine
def _give_way() -> Generator[None, None, None]:
    yield


class LoopWire(_Tcp):
    """Modbus TCP on the event loop."""

    gap_us = 0
    character_us = 0

    def __init__(self, spec: TcpSpec) -> None:
        super().__init__(spec)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._step: Callable[[], None] = lambda: None
        self._timer: asyncio.TimerHandle | None = None
        self._until = 0.0
        self._resting = False

    def drive(self, loop: asyncio.AbstractEventLoop, talk: Coroutine[Any, Any, None]) -> None:
        """Run `talk` on the loop; this thread sleeps until it has ended."""
        over: concurrent.futures.Future[None] = concurrent.futures.Future()

        def step() -> None:
            try:
                talk.send(None)
            except StopIteration:
                over.set_result(None)
            except Exception as error:  # noqa: BLE001  # a bug: raised in the line's thread
                over.set_exception(error)

        def begin() -> None:
            self._loop, self._step = loop, step
            loop.add_reader(self._socket, step)
            step()

        loop.call_soon_threadsafe(begin)
        over.result()

    def arrived(self) -> bytes:
        """Return what has arrived; b"": nothing."""
        try:
            data = self._socket.recv(_CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            raise OSError("the peer closed the connection")
        return data

    async def receive(self, wait_us: int) -> bytes:
        """Return what has arrived; b"": nothing in time."""
        assert self._loop is not None  # drive sets it
        self._set_timer(max(0, wait_us))
        while self._loop.time() < self._until:
            await _give_way()
            if data := self.arrived():
                return data
        return b""

    async def rest(self, wait_us: int | None) -> bytes:
        """Return what has arrived; b"": woken, or nothing in time."""
        self._resting = True
        self._set_timer(wait_us)
        await _give_way()
        woken, self._resting = not self._resting, False
        return b"" if woken else self.arrived()

    def nap(self, characters: int) -> None:
        """Do nothing: bytes come in packets."""

    def wake(self) -> None:
        """End a `rest`, after what else is asked for in this turn of the loop."""
        loop = self._loop
        if loop is not None:
            on_loop(loop, lambda: loop.call_soon(self._woken))

    def close(self) -> None:
        """Cut the connection: undelivered bytes are dropped on both sides."""
        if self._loop is not None:
            self._loop.remove_reader(self._socket)
        if self._timer is not None:
            self._timer.cancel()
        self._step = lambda: None
        self._socket.close()

    def _woken(self) -> None:
        if self._resting:
            self._resting = False
            self._step()

    def _set_timer(self, wait_us: int | None) -> None:
        """One timer for many waits: it is moved only when it would ring too late."""
        assert self._loop is not None  # drive sets it
        if wait_us is None:
            self._until = float("inf")
            return
        self._until = self._loop.time() + wait_us / 1_000_000
        if self._timer is not None:
            if self._timer.when() <= self._until:
                return
            self._timer.cancel()
        self._timer = self._loop.call_at(self._until, self._ring)

    def _ring(self) -> None:
        assert self._loop is not None
        self._timer = None
        if self._loop.time() >= self._until:
            self._step()
        elif self._until != float("inf"):
            self._timer = self._loop.call_at(self._until, self._ring)
