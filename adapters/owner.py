"""The owner of one line: the one sequence of steps that alone touches the wire.

It picks the most urgent request that may go, sends it once, waits, has the answer judged, and hands
the result back. Nothing is ever repeated: a door command that is sent twice opens a door twice.
A plain sequence has no moment in which a cancelled caller could leave half an exchange behind.
A thread connects, and runs it where pauses must be finer than an event loop gives; Modbus TCP needs
none, and is run on the event loop (`adapters.wire`).
"""

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, assert_never

import tenacity

from adapters.errors import (
    BusError,
    Closed,
    Late,
    LinkDown,
    Nonsense,
    OtherQuestion,
    Overloaded,
    Refused,
    TimedOut,
    Unanswered,
    UnitLost,
)
from adapters.pace import Pace, Priority, Queue, Turn
from adapters.reading import (
    Codec,
    Counters,
    Judgement,
    Read,
    Request,
    Verdict,
    Write,
    answer_pdu_bytes,
)
from adapters.wire import SerialSpec, TcpSpec, Wire, on_loop, open_wire

PLACES: Final = 96
DOOR_PLACES: Final = 32
RAW_BYTES_MAX: Final = 1024  # four frames: more than that in one answer is a babbling line
BABBLE_US: Final = 300_000
STALE_SILENCES: Final = 4  # in a row, from anybody: then the port is opened anew
STALE_US: Final = 5_000_000
STALE_EVERY_US: Final = 30_000_000
RECONNECT_MAX_S: Final = 1.0
_FRAME_BYTES: Final = 3  # address and checksum


@dataclass(slots=True, eq=False)
class _Job:
    """One request on its way through the owner."""

    request: Request
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[tuple[int, ...]]


def now_us() -> int:
    """Monotonic microseconds: this room owns a wire, and with it a clock."""
    return time.monotonic_ns() // 1000


class Owner:
    """One line's owner. `guard(unit, write)` raises for a write that must not reach a board."""

    def __init__(
        self,
        spec: SerialSpec | TcpSpec,
        codec: Codec,
        guard: Callable[[int, Write], None],
        trace: Callable[[str, bytes], None] | None,
    ) -> None:
        self.spec = spec
        self.up = False
        self.generation = 0
        self.echo: bool | None = None
        self.reopens = True  # a port from which nobody answers any more
        self.pace = Pace(0)
        self.counters = Counters()
        self._codec = codec
        self._guard = guard
        self.trace = trace
        self._queue: Queue[_Job] = Queue(places=PLACES, door_places=DOOR_PLACES)
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._idle = False
        self._wire: Wire | None = None
        self._silences = 0
        self._heard_us = 0
        self._reopened_us = 0
        self.down_reason = "not opened"

    # On the event loop:

    async def open(self) -> bool:
        """Start; return whether the first connect worked. It goes on trying if not."""
        assert self._thread is None, "a line is opened once"
        loop = asyncio.get_running_loop()
        first: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(
            target=self._own, args=(loop, first), name=f"line {self.spec.name}", daemon=True
        )
        self._thread.start()
        await first
        return self.up

    async def close(self) -> None:
        """Stop after the exchange in flight; what still waits is refused as closed."""
        if self._thread is None or self._closing.is_set():
            return
        self._closing.set()
        self._wake()
        await asyncio.get_running_loop().run_in_executor(None, self._thread.join)

    async def ask(
        self, unit: int, request: Request, priority: Priority, deadline_ms: int
    ) -> tuple[int, ...]:
        """Queue the request and await its result; see `adapters.bus.Line.ask`."""
        loop = asyncio.get_running_loop()
        job = _Job(request, loop, loop.create_future())
        turn = Turn(unit, priority, now_us() + deadline_ms * 1000, job)
        with self._lock:
            if self._closing.is_set() or self._thread is None:
                raise Closed(line=self.spec.name)
            if not self.up:
                raise LinkDown(line=self.spec.name, reason=self.down_reason)
            if not self._queue.add(turn):
                self.counters.overloaded += 1
                raise Overloaded(line=self.spec.name, waiting=len(self._queue))
            idle = self._idle
        if idle:
            self._wake()
        return await job.future

    def waiting(self) -> int:
        """Count what waits."""
        return len(self._queue)

    def _wake(self) -> None:
        with self._lock:
            if self._wire is not None:
                self._wire.wake()

    # In the line's thread:

    def _own(self, loop: asyncio.AbstractEventLoop, first: asyncio.Future[None]) -> None:
        def tell_first() -> None:
            if not first.done():
                first.set_result(None)

        while not self._closing.is_set():
            wire = self._connect(lambda: on_loop(loop, tell_first))
            if wire is None:
                break
            on_loop(loop, tell_first)
            wire.drive(loop, self._serve(wire))
        self._refuse_all(lambda: Closed(line=self.spec.name))
        on_loop(loop, tell_first)

    def _connect(self, tell: Callable[[], None]) -> Wire | None:
        """Open the wire, trying again with bounded jitter until it works or we close (None)."""

        def failed(state: tenacity.RetryCallState) -> None:
            assert state.outcome is not None  # tenacity sets it before it sleeps
            self.down_reason = str(state.outcome.exception())
            tell()

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((OSError, ValueError)),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=RECONNECT_MAX_S),
            sleep=tenacity.sleep_using_event(self._closing),
            stop=tenacity.stop_when_event_set(self._closing),
            before_sleep=failed,
        )
        try:
            wire = retrying(open_wire, self.spec)
        except tenacity.RetryError:
            return None
        at_us = now_us()
        self.echo = self.spec.local_echo if isinstance(self.spec, SerialSpec) else False
        self._silences, self._heard_us = 0, at_us
        self.pace.gap_us = wire.gap_us
        self.pace.occupied_until(at_us)
        with self._lock:
            self.counters.connects += 1
            self.generation += 1
            self._wire = wire
            self.up = True
        return wire

    # Where the wire wants it, in the line's thread or on the loop:

    async def _serve(self, wire: Wire) -> None:
        reason = "closed"
        try:
            await self._talk(wire)
        except OSError as error:
            self.counters.link_losses += 1
            reason = str(error)
        finally:
            self._drop(wire, reason)

    def _drop(self, wire: Wire, reason: str) -> None:
        with self._lock:
            self.up = False
            self.down_reason = reason
            self._wire = None
        wire.close()
        self._refuse_all(lambda: LinkDown(line=self.spec.name, reason=reason))

    def _refuse_all(self, error: Callable[[], BusError]) -> None:
        with self._lock:
            turns = self._queue.take_all()
        for turn in turns:
            _settle(turn.job, error())

    async def _talk(self, wire: Wire) -> None:
        """Serve one turn after the other until we close; OSError: the link is gone."""
        while not self._closing.is_set():
            # With transaction numbers a stray frame is known for what it is; no need to look.
            rested = not self.spec.rtu or self._wait_for_silence(wire)
            turn, wake_us = self._take()
            if turn is None:
                wait_us = None if wake_us is None else wake_us - now_us()
                self._stray(await wire.rest(wait_us))
                self._idle = False
                continue
            try:
                if not rested:
                    raise Nonsense("bus.babble", line=self.spec.name)  # noqa: TRY301  # one way out
                if self.echo is None:
                    await self._find_echo(wire, turn.unit)
                    self._put_back(turn)
                    continue
                values = await self._exchange(wire, turn)
            except BusError as error:
                _settle(turn.job, error)
                self._after_failure(error)
            except Exception as error:  # a bug as well: nobody is left waiting
                maybe = isinstance(turn.job.request, Write) and self.echo is not None
                if self.spec.rtu:  # a converter may still deliver the answer over the next link
                    self.pace.unsure(turn.unit, now_us())
                _settle(turn.job, LinkDown(line=self.spec.name, reason=str(error), sent=maybe))
                raise
            else:
                _settle(turn.job, values)

    def _take(self) -> tuple[Turn[_Job] | None, int | None]:
        """Return the turn to serve now; else when to look again. Refuses what must not wait."""
        at_us = now_us()
        with self._lock:
            late = self._queue.take_late(at_us)
            lost = self._queue.take_lost(self.pace, at_us)
            turn = self._queue.take(self.pace, at_us)
            while turn is not None and turn.job.future.cancelled():
                turn = self._queue.take(self.pace, at_us)
            wake_us = self._queue.wake_us(self.pace)
            self._idle = turn is None
        for other in late:
            self._refuse_late(other)
        for other in lost:
            self.counters.refused_lost += 1
            wait_ms = self.pace.wait_for_probe_us(other.unit, other.priority, at_us) // 1000
            _settle(other.job, UnitLost(unit=other.unit, next_probe_ms=wait_ms))
        return turn, wake_us

    def _refuse_late(self, turn: Turn[_Job]) -> None:
        self.counters.refused_late += 1
        late_ms = (now_us() - turn.deadline_us) // 1000
        _settle(turn.job, Late(unit=turn.unit, late_ms=late_ms))

    def _wait_for_silence(self, wire: Wire) -> bool:
        """Let the line rest, throw away what still comes; False: it never rests."""
        give_up_us = now_us() + BABBLE_US
        while True:
            wait_us = self.pace.free_us - now_us()
            if wait_us > 0:
                time.sleep(wait_us / 1_000_000)
            data = wire.arrived()
            if not data:
                return True
            self._stray(data)
            if now_us() > give_up_us:
                return False

    def _stray(self, data: bytes) -> None:
        if data:
            self.counters.strays += 1
            self._heard(data)
            unit_at = 0 if self.spec.rtu else 6  # in the header of Modbus TCP
            self.pace.stirred(data[unit_at] if len(data) > unit_at else 0)

    def _heard(self, data: bytes) -> None:
        self.pace.occupied_until(now_us())
        if self.trace is not None:
            self.trace("rx", data)

    def _send(self, wire: Wire, frame: bytes, limit_ms: int) -> None:
        # Counted before: once the first byte may have left, the board may act.
        self.counters.sent += 1
        if self.trace is not None:
            self.trace("tx", frame)
        wire.send(frame, limit_ms)
        self.pace.occupied_until(now_us() + len(frame) * wire.character_us)

    async def _find_echo(self, wire: Wire, unit: int) -> None:
        """Learn by a harmless read whether the adapter repeats what we send.

        Must come before the first write: the good answer to a write looks like its echo, so an
        echo would confirm a command to a board that is not there. No answer to this read starts
        as the read itself does: its third byte is a length, which is never 0.
        """
        probe, _ = self._codec.encode(unit, Read(1, 0, 1))
        self._send(wire, probe, 1000)
        raw = b""
        # Long enough for the echo, and for the answer of a board behind it.
        limit_us = self.pace.free_us + self.pace.timeout_us(unit, Priority.POLL)
        while (data := await wire.receive(limit_us - now_us())) != b"":
            self._heard(data)
            raw += data
            complete = len(raw) >= len(probe) * (2 if raw.startswith(probe) else 1) - 3
            if complete or len(raw) > RAW_BYTES_MAX:
                limit_us = min(limit_us, now_us() + 4 * wire.character_us + 5_000)
        self.echo = raw.startswith(probe)
        if not raw.removeprefix(probe):
            self.pace.unsure(unit, now_us())  # its answer may still come

    def _put_back(self, turn: Turn[_Job]) -> None:
        with self._lock:
            taken = self._queue.add(turn)
        if not taken:
            self.counters.overloaded += 1
            _settle(turn.job, Overloaded(line=self.spec.name))

    async def _exchange(self, wire: Wire, turn: Turn[_Job]) -> tuple[int, ...]:
        """One request, one answer, compared; or a `BusError`."""
        request = turn.job.request
        if isinstance(request, Write):
            self._guard(turn.unit, request)
        start_us = now_us()
        if start_us > turn.deadline_us:
            self.counters.refused_late += 1
            raise Late(unit=turn.unit, late_ms=(start_us - turn.deadline_us) // 1000)
        frame, number = self._codec.encode(turn.unit, request)
        timeout_us = self.pace.timeout_us(turn.unit, turn.priority)
        limit_ms = min(turn.deadline_us - start_us, timeout_us) // 1000
        self._send(wire, frame, limit_ms)
        echo, raw = frame if self.echo else b"", b""
        answer_bytes = answer_pdu_bytes(request) + _FRAME_BYTES
        answer_us = (answer_bytes + 1) * wire.character_us  # a slow port may hold a byte back
        limit_us = self.pace.free_us + timeout_us + answer_us
        while len(raw) <= RAW_BYTES_MAX:
            data = await wire.receive(limit_us - now_us())
            if not data:
                break
            self._heard(data)
            raw += data
            judged = self._codec.judge(raw, echo, turn.unit, request, number)
            if judged.verdict is not Verdict.WAIT:
                return self._conclude(judged, turn, raw)
            wire.nap(len(echo) + answer_bytes - len(raw) - 1)
        wire.forget()
        judged = self._codec.at_the_end(raw, echo, turn.unit, request, number)
        return self._conclude(judged, turn, raw)

    def _conclude(self, judged: Judgement, turn: Turn[_Job], raw: bytes) -> tuple[int, ...]:
        """Return the values, or raise what the verdict says; note it in the pace."""
        at_us, counters = now_us(), self.counters
        writes = isinstance(turn.job.request, Write)
        unit, function = turn.unit, turn.job.request.function
        got = raw[:32].hex(" ")
        if raw:
            self._silences, self._heard_us = 0, at_us
        match judged.verdict:
            case Verdict.GOOD:
                counters.answered += 1
                self.pace.answered(unit, turn.priority, at_us)
                return judged.values
            case Verdict.REFUSED:
                counters.refused += 1
                self.pace.answered(unit, turn.priority, at_us)
                raise Refused(unit=unit, function=function, exception=judged.exception)
            case Verdict.NOTHING:
                self._silences += not raw
                self.pace.silent(unit, at_us)
                counters.unanswered += writes
                counters.timeouts += not writes
                raise (Unanswered if writes else TimedOut)(
                    sent=writes, unit=unit, function=function
                )
            case Verdict.OTHER:
                counters.other_question += 1
                self.pace.silent(unit, at_us)
                raise OtherQuestion(sent=writes, unit=unit, function=function, got=got)
            case Verdict.CORRUPT:
                counters.nonsense += 1
                raise Nonsense(sent=writes, unit=unit, function=function, got=got)
            case Verdict.GARBAGE | Verdict.WAIT:
                counters.nonsense += 1
                self.pace.silent(unit, at_us)
                raise Nonsense(sent=writes, unit=unit, function=function, got=got)
            case _:  # pragma: no cover
                assert_never(judged.verdict)

    def _after_failure(self, error: BusError) -> None:
        """Break the link where only that takes a command back, or wakes a stale port."""
        if isinstance(self.spec, TcpSpec):
            if error.sent:
                raise OSError("a write was not answered: cut, so that it cannot act later")
            if isinstance(error, Nonsense | OtherQuestion):
                raise OSError("the peer sent what is no answer")
        at_us = now_us()
        stale = self._silences >= STALE_SILENCES and at_us - self._heard_us >= STALE_US
        if self.reopens and stale and at_us - self._reopened_us >= STALE_EVERY_US:
            self._reopened_us = at_us
            raise OSError("nobody answers any more: opened anew")


def _settle(job: _Job, result: tuple[int, ...] | BusError) -> None:
    def deliver() -> None:
        if job.future.done():
            return
        if isinstance(result, BusError):
            job.future.set_exception(result)
        else:
            job.future.set_result(result)

    on_loop(job.loop, deliver)
