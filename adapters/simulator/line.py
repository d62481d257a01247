"""A serial line with the time of a real one: a pty whose far end is a row of simulated boards.

A thread of its own holds the master side: an event loop waits in steps of a millisecond, which is
too coarse. The rate is read from the terminal settings of the gateway's side, so a wrong one shows.
A pty has no parity errors and no break: these stay unmodelled.
"""

import contextlib
import errno
import fcntl
import os
import select
import struct
import threading
import time
import tty
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

from adapters.simulator import frames
from adapters.simulator.boards import Board
from adapters.simulator.faults import Reflections, Station
from adapters.simulator.live import Guard, new_guard
from adapters.simulator.wire import Counters, Wire

_TCGETS2 = 0x802C542A
_TERMIOS2 = struct.Struct("4IB19B2I")
_CLOSED_POLL_S = 0.003
_READ_MAX = 4096
_STOP_S = 5.0
_LATENCY_S = 0.016
_UNDERSTOOD_NOT = frozenset({"swapped", "swapped_biased"})
LINE_FAULTS = {
    "echo": "the adapter gives back what is sent",
    "swapped": "A and B are swapped: nobody understands anybody",
    "swapped_biased": "the same on a line with bias: each turn of it reads as a zero byte",
    "unterminated": "no 120 ohm at the ends: long and fast answers break, the more the longer",
    "latency": "the adapter hands bytes over every 16 ms only",
    "in_step": "boards of one number answer in step: what they say alike arrives clean",
    "stale": "the port takes bytes and gives none, until it is opened again",
}
"""Faults of a serial line; unplugging is `unplug` and `replug`."""


def stations_of(boards: Iterable[Board | Station]) -> list[Station]:
    """Return the boards as stations; a station stays what it is."""
    return [board if isinstance(board, Station) else Station(board) for board in boards]


def guard_of(stations: list[Station]) -> Guard:
    """Return a guard that lets the boards of these stations keep time."""

    def advance(now_ms: int) -> None:
        for station in stations:
            station.board.advance(now_ms)

    return new_guard(advance)


class PtyLine:
    """Boards on an RS485 line behind a pty. `with PtyLine(boards) as line:` opens `line.path`.

    `baud` None: every board understands the rate the gateway has set; a number: the boards run at
    that rate and hear nothing at another. A board whose own `baud` is set goes by that.
    `link` is a symbolic link to make (and to remove); without it `path` is the pty's own name.
    `turnaround_ms` is what a board waits after it has seen the end of a request.
    `guard` is shared when the boards belong to a bank.
    """

    def __init__(
        self,
        boards: Iterable[Board | Station],
        *,
        baud: int | None = None,
        link: str | Path | None = None,
        turnaround_ms: int = 2,
        strict: bool = True,
        name: str = "line",
        guard: Guard | None = None,
    ) -> None:
        self.stations = stations_of(boards)
        self.name = name
        self.baud = baud
        self.turnaround_ms = turnaround_ms
        self.wire = Wire(self._answers, strict=strict)
        self.faults: set[str] = set()
        self._reflections = Reflections()
        self._held = b""
        self._hand_over_at = 0.0
        self.guard = guard or guard_of(self.stations)
        self.opened = False
        self._link = None if link is None else Path(link)
        self._path = ""
        self._master = -1
        self._wanted = "plugged"
        self._turned = threading.Condition()
        self._wake_r, self._wake_w = -1, -1
        self._thread: threading.Thread | None = None

    # -- what others call

    @property
    def path(self) -> str:
        """Return the path to open, as the gateway's serial device."""
        return self._path if self._link is None else str(self._link)

    @property
    def plugged(self) -> bool:
        """Say whether the port exists now."""
        return self._master >= 0

    @property
    def counters(self) -> Counters:
        """Return what the line has counted."""
        return self.wire.counters

    def start(self) -> None:
        """Make the pty and its link, and begin to answer."""
        self._wanted = "plugged"
        self._plug()
        self._wake_r, self._wake_w = os.pipe()
        self._thread = threading.Thread(target=self._run, name=f"line {self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, close the pty, remove the link."""
        if self._thread is not None:
            self._ask("stopped")
            self._thread.join(_STOP_S)
            self._thread = None
            os.close(self._wake_r)
            os.close(self._wake_w)

    def unplug(self) -> None:
        """Pull the USB adapter out: the device vanishes, the gateway's port hangs up."""
        self._ask("unplugged")

    def replug(self) -> None:
        """Put the adapter back: a new pty under the same link (without one `path` changes)."""
        self._ask("plugged")

    def set_fault(self, fault: str, *, on: bool = True) -> None:
        """Turn a fault of LINE_FAULTS on or off; KeyError for another name."""
        if fault not in LINE_FAULTS:
            raise KeyError(fault)
        (self.faults.add if on else self.faults.discard)(fault)
        self.wire.echo = "echo" in self.faults
        self.wire.in_step = "in_step" in self.faults

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    # -- the boards

    def _answers(self, frame: bytes, baud: int) -> list[tuple[float, bytes]]:
        if self.faults & _UNDERSTOOD_NOT:
            self.counters.garbled += 1
            # The line comes to rest at the wrong level: a start bit without an end.
            return [(0.0, b"\0")] if "swapped_biased" in self.faults else []
        opened = frames.open_rtu(frame)
        self.counters.garbled += opened is None
        replies = []
        with self.guard() as now_ms:
            for station in self.stations:
                if (station.board.baud or self.baud or baud) != baud:
                    self.counters.wrong_baud += 1
                    continue
                reply = self._reply(station, frame, opened, now_ms)
                if reply is not None:
                    after_ms, data = reply
                    if "unterminated" in self.faults:
                        data = self._reflections.apply(data, baud)
                    replies.append(((self.turnaround_ms + after_ms) / 1000, data))
        return replies

    def _reply(
        self, station: Station, frame: bytes, opened: tuple[int, bytes] | None, now_ms: int
    ) -> tuple[int, bytes] | None:
        """(ms it comes late, bytes) of one board; what is no frame may be text to it."""
        if opened is None:
            text = station.answer_text(frame, now_ms)
            return None if text is None else (0, text)
        answer = station.answer(*opened, now_ms)
        if answer is None:
            return None
        return answer.after_ms, answer.damage.apply(frames.rtu(answer.unit, answer.pdu))

    # -- the thread

    def _run(self) -> None:
        while self._wanted != "stopped":
            if self._wanted == "plugged" and not self.plugged:
                self._plug()
            elif self._wanted == "unplugged" and self.plugged:
                self._unplug()
            with self._turned:
                self._turned.notify_all()
            self._turn()
        self._unplug()
        with self._turned:
            self._turned.notify_all()

    def _turn(self) -> None:
        """Wait for bytes, for the next piece due, or for a wish of another thread."""
        due = self.wire.next_due()
        if self._held:
            due = self._hand_over_at if due is None else min(due, self._hand_over_at)
        now = time.monotonic()  # noqa: TID251  # this room owns the wire's time
        wait = None if due is None else max(0.0, due - now)
        watch = [self._wake_r]
        if self.plugged and self.opened:
            watch.append(self._master)
        elif self.plugged:
            wait = _CLOSED_POLL_S if wait is None else min(wait, _CLOSED_POLL_S)
        ready = select.select(watch, [], [], wait)[0]
        if self._wake_r in ready:
            os.read(self._wake_r, _READ_MAX)
        if self.plugged and (self._master in ready or not self.opened):
            self._read()
        now = time.monotonic()  # noqa: TID251  # same
        for piece in self.wire.pieces(now):
            self._hold(piece, now)
        if self._held and now >= self._hand_over_at:
            piece, self._held = self._held, b""
            self._write(piece)

    def _hold(self, piece: bytes, now: float) -> None:
        """Hand over at once, or with everything else that comes until the adapter's timer ends."""
        if not self._held:
            self._hand_over_at = now + (_LATENCY_S if "latency" in self.faults else 0.0)
        self._held += piece

    def _read(self) -> None:
        try:
            data = os.read(self._master, _READ_MAX)
        except BlockingIOError:
            self._set_opened(opened=True)
            return
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            self._set_opened(opened=False)
            return
        self._set_opened(opened=True)
        self.wire.heard(data, time.monotonic(), self._rate())  # noqa: TID251  # same

    def _set_opened(self, *, opened: bool) -> None:
        if opened and not self.opened:
            # What a real driver does on opening: a stale adapter works again.
            self.faults.discard("stale")
        self.opened = opened

    def _write(self, piece: bytes) -> None:
        if self.plugged and self.opened and "stale" not in self.faults:
            # A reader that does not read loses bytes, as with a real port.
            with contextlib.suppress(BlockingIOError):
                os.write(self._master, piece)

    def _rate(self) -> int:
        raw = fcntl.ioctl(self._master, _TCGETS2, bytes(_TERMIOS2.size))
        return int(_TERMIOS2.unpack(raw)[-1]) or 9600

    def _plug(self) -> None:
        master, slave = os.openpty()
        tty.setraw(slave)
        os.set_blocking(master, False)
        self._path = os.ttyname(slave)
        os.close(slave)
        self.opened = False
        try:
            if self._link is not None:
                _make_link(self._link, self._path)
        except OSError:
            os.close(master)
            raise
        self._master = master

    def _unplug(self) -> None:
        if not self.plugged:
            return
        if self._link is not None and _points_to(self._link, self._path):
            self._link.unlink()
        master, self._master = self._master, -1
        os.close(master)
        self.opened = False
        self._held = b""
        self.wire.reset()

    def _ask(self, wanted: str) -> None:
        """Tell the thread what is wanted and wait until it is so."""
        plugged = wanted == "plugged"
        with self._turned:
            self._wanted = wanted
            os.write(self._wake_w, b"!")
            self._turned.wait_for(lambda: self.plugged == plugged, _STOP_S)


def _points_to(link: Path, target: str) -> bool:
    return link.is_symlink() and str(link.readlink()) == target


def _make_link(link: Path, target: str) -> None:
    """Make or replace a symbolic link; never replace anything that is not one."""
    if link.is_symlink():
        link.unlink()
    elif link.exists():
        raise FileExistsError(errno.EEXIST, "not a link, left alone", str(link))
    link.symlink_to(target)
