"""A stream of bytes to a line: a serial port or a TCP connection, blocking, with time limits.

Used only by the thread that owns the line (`adapters.bus`). Every trouble is an `OSError`.
"""

import contextlib
import os
import select
import socket
import struct
import termios
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import serial  # type: ignore[import-untyped]  # pyserial ships no types

from adapters.pace import character_us, silence_us

SEND_LIMIT_MS: Final = 500  # a frame has at most 260 bytes; a port that cannot take it is broken
CONNECT_LIMIT_S: Final = 1.0
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

    def fileno(self) -> int:
        """File descriptor to wait on."""
        ...

    def send(self, data: bytes, limit_ms: int) -> None:
        """Send all, or raise OSError. What is not delivered within `limit_ms` never will be."""
        ...

    def receive(self, wait_us: int) -> bytes:
        """Return what has arrived, waiting at most `wait_us` for the first byte; b"": nothing."""
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
    return TcpWire(spec)


def _poller(descriptor: int, events: int = select.POLLIN) -> select.poll:
    poller = select.poll()
    poller.register(descriptor, events)
    return poller


def _poll(poller: select.poll, wait_us: int) -> bool:
    """Wait for the descriptor; raises OSError when it is gone."""
    ready = poller.poll(max(0, wait_us) / 1000)
    if ready and ready[0][1] & _GONE and not ready[0][1] & select.POLLIN:
        raise OSError("the other end is gone")
    return bool(ready)


class SerialWire:
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
        self._descriptor: int = self._port.fileno()
        self._readable = _poller(self._descriptor)
        os.set_blocking(self._descriptor, False)
        # A USB adapter waits 16 ms before it hands over bytes, which halves the line; not every
        # driver knows this switch, and a line without it still works.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._port.set_low_latency_mode(True)

    def fileno(self) -> int:
        """File descriptor to wait on."""
        return self._descriptor

    def send(self, data: bytes, limit_ms: int) -> None:
        """Send all, or raise OSError."""
        limit_us = min(limit_ms, SEND_LIMIT_MS) * 1000
        while data:
            try:
                data = data[os.write(self._descriptor, data) :]
            except BlockingIOError:
                if not _poll(_poller(self._descriptor, select.POLLOUT), limit_us):
                    raise OSError("the port takes no bytes") from None

    def receive(self, wait_us: int) -> bytes:
        """Return what has arrived; b"": nothing in time."""
        if not _poll(self._readable, wait_us):
            return b""
        data = os.read(self._descriptor, _CHUNK)
        if not data:
            raise OSError("the device is gone")
        return data

    def forget(self) -> None:
        """Throw away what was sent and has not left yet."""
        with contextlib.suppress(OSError, termios.error):
            termios.tcflush(self._descriptor, termios.TCOFLUSH)

    def close(self) -> None:
        """Close at once."""
        self.forget()
        with contextlib.suppress(OSError, termios.error):
            self._port.close()


class TcpWire:
    """A TCP connection that is cut, never closed politely: nothing of ours arrives later."""

    def __init__(self, spec: TcpSpec) -> None:
        # Behind RTU frames there is a serial line, whose silence the converter may not keep.
        self.gap_us = silence_us(spec.baud, 10) if spec.rtu else 0
        self.character_us = character_us(spec.baud, 10) if spec.rtu else 0
        self._socket = socket.create_connection((spec.host, spec.port), CONNECT_LIMIT_S)
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        self._user_timeout_ms = 0
        self._readable = _poller(self._socket.fileno())

    def fileno(self) -> int:
        """File descriptor to wait on."""
        return self._socket.fileno()

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

    def receive(self, wait_us: int) -> bytes:
        """Return what has arrived; b"": nothing in time."""
        if not _poll(self._readable, wait_us):
            return b""
        data = self._socket.recv(_CHUNK)
        if not data:
            raise OSError("the peer closed the connection")
        return data

    def forget(self) -> None:
        """Do nothing: only cutting the connection takes bytes back."""

    def close(self) -> None:
        """Cut the connection: undelivered bytes are dropped on both sides."""
        self._socket.close()
