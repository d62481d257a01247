"""The arithmetic of an RS485 wire: what is on it when, what overlaps, what came too early.

Times are seconds on one monotonic scale, given by the caller (line.py owns the real clock). The
line is half duplex: what overlaps is a collision, and both sides of it are spoilt.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from adapters.simulator import frames

BITS_PER_CHARACTER = 10
_FAST_BAUD = 19200
_FAST_GAP_S = 0.00175
_TOLERANCE = 0.95
"""A gap this near to 3.5 characters still counts: receivers time with their own crystal."""


def character_s(baud: int) -> float:
    """Return the wire time of one byte, 8N1."""
    return BITS_PER_CHARACTER / baud


def gap_s(baud: int) -> float:
    """Return the silence that ends a frame: 3.5 characters, fixed 1.75 ms above 19200 baud.

    SPEC: Modbus over serial line V1.02, 2.5.1.1.
    """
    return _FAST_GAP_S if baud > _FAST_BAUD else 3.5 * character_s(baud)


@dataclass(slots=True)
class Counters:
    """What a line has seen since it was made."""

    requests: int = 0
    replies: int = 0
    early: int = 0
    collisions: int = 0
    garbled: int = 0
    wrong_baud: int = 0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass(slots=True)
class Sending:
    """A frame on its way from a board (or an echo of ours) to the gateway."""

    start: float
    data: bytes
    character: float
    chunk: int
    echo: bool = False
    sent: int = 0
    started: bool = False

    @property
    def due(self) -> float:
        """Return when the next piece has fully passed the wire."""
        return self.start + min(self.sent + self.chunk, len(self.data)) * self.character


@dataclass(slots=True)
class Request:
    """Bytes from the gateway that may still grow."""

    start: float
    baud: int
    end: float
    data: bytearray = field(default_factory=bytearray)
    spoilt: bool = False


Answerer = Callable[[bytes, int], list[tuple[float, bytes]]]
"""Takes a whole frame and the baud; gives replies as (seconds after the frame's end, bytes)."""


class Wire:
    """One RS485 pair. `strict` boards take a request that comes too early for part of the last."""

    def __init__(self, answerer: Answerer, *, strict: bool = True, chunk_s: float = 0.0007) -> None:
        self.counters = Counters()
        self.strict = strict
        self.echo = False
        self.in_step = False
        self._answerer = answerer
        self._chunk_s = chunk_s
        self._request: Request | None = None
        self._sendings: list[Sending] = []
        self._quiet_since = float("-inf")

    def heard(self, data: bytes, now: float, baud: int) -> None:
        """Take bytes that the gateway put on the wire at `now`; each takes its time from then."""
        self.counters.bytes_in += len(data)
        character = character_s(baud)
        request = self._request
        if request is None:
            early = now < self._quiet_since + gap_s(baud) * _TOLERANCE
            request = self._request = Request(now, baud, now, spoilt=early and self.strict)
            self.counters.early += early
        begins = max(now, request.end)
        request.end = begins + len(data) * character
        request.data += data
        for sending in self._sendings:
            if sending.started and not sending.echo:
                request.spoilt = True
                self._collide(sending)
        if self.echo:
            chunk = self._chunk(character)
            self._sendings.append(Sending(begins, data, character, chunk, echo=True))

    def next_due(self) -> float | None:
        """Return when `pieces` has something to do next, or None."""
        times = [s.due if s.started else s.start for s in self._sendings]
        if self._request is not None:
            times.append(self._request.end + gap_s(self._request.baud))
        return min(times, default=None)

    def pieces(self, now: float) -> list[bytes]:
        """Return what the gateway receives by `now`, in order."""
        received: list[bytes] = []
        while (due := self.next_due()) is not None and due <= now:
            request = self._request
            if request is not None and request.end + gap_s(request.baud) <= due:
                self._end_request(request)
            else:
                sending = min(self._sendings, key=lambda s: s.due if s.started else s.start)
                received += self._step(sending, now)
        return received

    def reset(self) -> None:
        """Forget everything under way: the adapter was pulled out."""
        self._request = None
        self._sendings.clear()

    def _chunk(self, character: float) -> int:
        # A UART hands bytes over in pieces (its FIFO); one system call each would cost too much.
        return max(1, int(self._chunk_s / character))

    def _step(self, sending: Sending, now: float) -> list[bytes]:
        if not sending.started:
            sending.started = True
            others = [s for s in self._sendings if s.started and s is not sending and not s.echo]
            if others and not sending.echo:
                if self.in_step and others[0].data == sending.data and not others[0].sent:
                    self._sendings.remove(sending)  # bit for bit over each other: one frame
                    return []
                self._collide(others[0], sending)
                return []
            if self._request is not None and not sending.echo:
                self._request.spoilt = True
                self._collide(sending)
            return []
        piece = sending.data[sending.sent : sending.sent + sending.chunk]
        sending.sent += len(piece)
        self.counters.bytes_out += len(piece)
        if sending.sent >= len(sending.data):
            self._sendings.remove(sending)
            # The gateway cannot have seen the end before now: count its silence from here.
            self._quiet_since = max(self._quiet_since, now)
        return [piece]

    def _collide(self, sending: Sending, other: Sending | None = None) -> None:
        self.counters.collisions += 1
        whole = frames.collided(sending.data, b"\x55" if other is None else other.data)
        sending.data = sending.data[: sending.sent] + whole[sending.sent :]
        if other is not None:
            other.data = b""
            self._sendings.remove(other)

    def _end_request(self, request: Request) -> None:
        self._request = None
        self._quiet_since = max(self._quiet_since, request.end)
        self.counters.requests += 1
        if request.spoilt:
            self.counters.garbled += 1
            return
        character = character_s(request.baud)
        ended = request.end + gap_s(request.baud)
        for after, data in self._answerer(bytes(request.data), request.baud):
            self.counters.replies += 1
            self._sendings.append(Sending(ended + after, data, character, self._chunk(character)))
