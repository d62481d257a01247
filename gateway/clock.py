"""The one room with a clock: what time it is here, how far that can be believed, and which boot.

- *Boot* counts starts of a process that writes this log; it is kept in `clock.json` beside the
  database, replaced atomically, and never falls behind what the log itself has seen.
- *Floor*: the latest moment that is surely past: the build, the last anchored entry, the clock as
  saved while it was trusted. `now()` never runs before it (ARCHITECTURE: Time).
- *Trust* comes from the kernel (adjtimex(2)): `synced` when somebody disciplines the clock and it
  stands above the floor; `drifting` for as long as it was synced before in this process, or the
  hub's signed time was learned in it, with an error that grows; else `floor`.
- *Signed time* (SECURITY.md 2) is the word of a key that the pinned root endorses, for a nonce of
  ours. It outweighs the kernel: a disciplined clock that contradicts a fresh one is *disputed* and
  not believed, and a floor that such a clock had raised comes down again, to the last signed time
  at most. What was learned is kept as an offset, so that a restart starts near.
"""

import ctypes
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Protocol

import msgspec

from gateway.core.inputs import Now, Trust
from gateway.errors import GatewayError

BUILT_MS: Final = 1_793_491_200_000
"""2026-11-01T00:00:00Z. No gateway of this version ran before; raised at each release."""

UNKNOWN_ERROR_MS: Final = 10 * 365 * 86_400_000
"""Ten years: what `error_ms` says when nothing tells how wrong the clock is."""

DRIFT_PPM: Final = 200
"""A bad quartz in a cold cabinet: how fast an undisciplined clock may go wrong."""

DISPUTE_MS: Final = 300_000
"""A disciplined clock and a signed time that differ by more than this and both errors disagree."""
FRESH_MS: Final = 2 * 86_400_000
"""So old may a signed time be that overrules the kernel. It is asked for anew each day."""

LEAP_MS: Final = 30 * 86_400_000
SETTLES_MS: Final = 86_400_000
"""A signed time so far ahead of the last one binds later ones only once it is said again a day on.

It is believed at once: a site may have been off for years. But a hub whose own clock was wrong for
an hour must not have set all its sites' clocks ahead for good.
"""
_STA_UNSYNC: Final = 0x0040  # SPEC: linux/timex.h
_TIME_ERROR: Final = 5
_BOOT_MAX: Final = 1 << 40
_ALWAYS: Final = frozenset({"boot", "saved_ms"})


class ClockBroken(GatewayError):  # noqa: N818  # the name says what is wrong
    """The boot counter cannot be kept (`clock.unwritable`)."""


class Source(Protocol):
    """What the machine says: wall and monotonic milliseconds, and the kernel's discipline."""

    def wall_ms(self) -> int:
        """Return the wall clock."""
        ...

    def mono_ms(self) -> int:
        """Return the monotonic clock."""
        ...

    def kernel_error_ms(self) -> int | None:
        """Return the kernel's estimate when its clock is disciplined, else None."""


class _Timex(ctypes.Structure):
    """SPEC: struct timex of adjtimex(2), up to the fields read here, then room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 256),
    )


class Machine:
    """The real clocks. `mono_ms` is that of the event loop, so deadlines convert by division."""

    def wall_ms(self) -> int:
        """Return the wall clock."""
        return time.time_ns() // 1_000_000

    def mono_ms(self) -> int:
        """Return the monotonic clock."""
        return time.monotonic_ns() // 1_000_000

    def ticks_us(self) -> int:
        """Return the monotonic clock in microseconds, to measure short things with."""
        return time.monotonic_ns() // 1_000

    def kernel_error_ms(self) -> int | None:
        """Return the kernel's maximum error, rounded up, or None where nobody disciplines it."""
        asked = _Timex()
        try:
            state = ctypes.CDLL(None, use_errno=True).adjtimex(ctypes.byref(asked))
        except (OSError, AttributeError):
            return None
        if state in {-1, _TIME_ERROR} or asked.status & _STA_UNSYNC:
            return None
        return int(asked.maxerror) // 1000 + 1


@dataclass(frozen=True, slots=True)
class Saved:
    """What `clock.json` keeps: the floor, the last signed time, and how far off the machine was."""

    boot: int = 0
    saved_ms: int = 0
    signed_ms: int = 0
    offset_ms: int = 0


@dataclass(frozen=True, slots=True)
class _Signed:
    """A signed time, and when it was learned by the monotonic clock."""

    utc_ms: int
    error_ms: int
    mono_ms: int

    def at(self, mono_ms: int) -> tuple[int, int]:
        """Return (UTC, its error) at a later moment."""
        since_ms = mono_ms - self.mono_ms
        return self.utc_ms + since_ms, self.error_ms + since_ms * DRIFT_PPM // 1_000_000 + 1


class Clock:
    """This process's clock. Made by `start`; `now()` is the only way to the time."""

    def __init__(self, path: Path, source: Source, saved: Saved, boot: int, build_ms: int) -> None:
        self.boot = boot
        self.disputed = False
        self._path = path
        self._source = source
        self._floor_ms = max(build_ms, saved.saved_ms, saved.signed_ms)
        self._floor_mono_ms = source.mono_ms()
        self._lowest_ms = max(build_ms, saved.signed_ms)
        self._signed_ms, self._offset_ms = saved.signed_ms, saved.offset_ms
        self._synced: tuple[int, int] | None = None
        self._signed: _Signed | None = None
        self._leapt: _Signed | None = None

    @classmethod
    def start(
        cls,
        path: Path,
        *,
        last_boot: int = 0,
        source: Source | None = None,
        build_ms: int = BUILT_MS,
    ) -> "Clock":
        """Count a boot durably and return its clock.

        `last_boot` is the highest boot in the log; the UTC that the log proves comes by
        `raise_floor`. A missing or torn file costs nothing but its saved clock. Raises ClockBroken.
        """
        saved = read(path)
        boot = max(saved.boot, last_boot) + 1
        clock = cls(path, source or Machine(), saved, boot, build_ms)
        clock.save()
        return clock

    def now(self) -> Now:
        """Return this moment; its wall clock is never before the floor."""
        wall_ms, mono_ms = self._source.wall_ms(), self._source.mono_ms()
        least_ms = self._least(mono_ms)
        error_ms = self._source.kernel_error_ms()
        above = wall_ms >= self._floor_ms
        self.disputed = error_ms is not None and self._disputes(wall_ms, error_ms, mono_ms)
        if self.disputed:
            self._synced = None
        elif above and error_ms is not None:
            self._synced = (mono_ms, error_ms)
            return Now(wall_ms, mono_ms, self.boot, Trust.SYNCED, error_ms, least_ms)
        known = [self._signed.at(mono_ms)] if self._signed is not None else []
        if above and self._synced is not None:
            since_ms, had_ms = self._synced
            drift_ms = had_ms + (mono_ms - since_ms) * DRIFT_PPM // 1_000_000 + 1
            known.append((wall_ms, drift_ms))
        if known:
            utc_ms, drift_ms = min(known, key=lambda one: one[1])
            utc_ms = max(utc_ms, self._floor_ms)
            return Now(utc_ms, mono_ms, self.boot, Trust.DRIFTING, drift_ms, least_ms)
        guess_ms = wall_ms + self._offset_ms
        wall_ms = guess_ms if guess_ms >= self._floor_ms else least_ms
        return Now(wall_ms, mono_ms, self.boot, Trust.FLOOR, UNKNOWN_ERROR_MS, least_ms)

    def learn(self, utc_ms: int, error_ms: int) -> bool:
        """Take the hub's signed time for this moment; keep it. Raises ClockBroken.

        False, and nothing is learned, where it is before an earlier signed time or the build: time
        does not run back. A floor above it came from a clock that was wrong, and comes down.
        """
        if utc_ms + error_ms < self._lowest_ms:
            return False
        mono_ms = self._source.mono_ms()
        past_ms = max(self._lowest_ms, utc_ms - error_ms)
        if utc_ms + error_ms < self._least(mono_ms) or past_ms > self._least(mono_ms):
            self._floor_ms, self._floor_mono_ms = past_ms, mono_ms
        self._signed = _Signed(utc_ms, error_ms, mono_ms)
        if self._settled(utc_ms, error_ms, past_ms, mono_ms):
            self._signed_ms = self._lowest_ms = past_ms
            self._leapt = None
        self.save()
        return True

    def raise_floor(self, utc_ms: int) -> None:
        """Learn that `utc_ms` is past: from now on this clock is not before it.

        What contradicts a fresh signed time is of a clock that was wrong, and says nothing.
        """
        mono_ms = self._source.mono_ms()
        fresh = self._fresh(mono_ms)
        if fresh is not None and utc_ms > sum(fresh):
            return
        if utc_ms > self._least(mono_ms):
            self._floor_ms, self._floor_mono_ms = utc_ms, mono_ms

    def save(self) -> None:
        """Keep boot and clock. Only a trusted clock raises the floor: a wrong one would stay."""
        now = self.now()
        if now.trust is Trust.SYNCED:
            self._floor_ms, self._floor_mono_ms = now.wall_ms - now.error_ms, now.mono_ms
            self._offset_ms = 0
        elif self._signed is not None:
            utc_ms, error_ms = self._signed.at(now.mono_ms)
            self.raise_floor(utc_ms - error_ms)
            self._offset_ms = utc_ms - self._source.wall_ms()
        least_ms = self._least(now.mono_ms)
        write(self._path, Saved(self.boot, least_ms, self._signed_ms, self._offset_ms))

    def _least(self, mono_ms: int) -> int:
        return self._floor_ms + mono_ms - self._floor_mono_ms

    def _fresh(self, mono_ms: int) -> tuple[int, int] | None:
        """Return (UTC, its error) by a signed time that is fresh."""
        signed = self._signed
        if signed is None or mono_ms - signed.mono_ms > FRESH_MS:
            return None
        return signed.at(mono_ms)

    def _settled(self, utc_ms: int, error_ms: int, past_ms: int, mono_ms: int) -> bool:
        """Say whether no later signed time may be before this one."""
        if past_ms - self._lowest_ms <= LEAP_MS:
            return True
        leapt = self._leapt
        if leapt is None or abs(leapt.at(mono_ms)[0] - utc_ms) > DISPUTE_MS + error_ms:
            self._leapt = _Signed(utc_ms, error_ms, mono_ms)
            return False
        return mono_ms - leapt.mono_ms >= SETTLES_MS

    def _disputes(self, wall_ms: int, error_ms: int, mono_ms: int) -> bool:
        """Say whether a signed time contradicts the kernel. An old one only keeps what it said."""
        if self._signed is None:
            return False
        utc_ms, drift_ms = self._signed.at(mono_ms)
        differs = abs(wall_ms - utc_ms) > DISPUTE_MS + error_ms + drift_ms
        return differs and (self.disputed or self._fresh(mono_ms) is not None)


def read(path: Path) -> Saved:
    """Return what was saved; zeros when there is nothing, or nothing sound."""
    try:
        saved = msgspec.json.decode(path.read_bytes()[:4096], type=Saved)
    except (OSError, msgspec.MsgspecError):
        return Saved()
    times = (saved.saved_ms, saved.signed_ms, abs(saved.offset_ms))
    sound = 0 <= saved.boot < _BOOT_MAX and all(0 <= one < _BOOT_MAX << 12 for one in times)
    return saved if sound else Saved()


def write(path: Path, saved: Saved) -> None:
    """Replace the file as a whole, durably. Raises ClockBroken."""
    kept = {key: value for key, value in asdict(saved).items() if value or key in _ALWAYS}
    replace_durably(path, json.dumps(kept).encode() + b"\n", _unwritable)


def _unwritable(path: Path, error: OSError) -> GatewayError:
    return ClockBroken(
        "clock.unwritable",
        "Check the disk, its free space and the owner of the data folder",
        path=path,
        errno=error.errno,
    )


def replace_durably(
    path: Path, data: bytes, refusal: Callable[[Path, OSError], GatewayError]
) -> None:
    """Write beside, fsync, rename, fsync the folder; an OSError becomes `refusal`."""
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("wb") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        raise refusal(path, error) from error
