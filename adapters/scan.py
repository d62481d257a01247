"""Find the boards of a line or an address: harmless reads only, with progress, stopped at any time.

Nothing here can write: a scan asks through `adapters.look`, on lines where no unit has a profile.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from adapters import trouble
from adapters.bus import Line, SerialSpec, TcpSpec
from adapters.errors import LinkDown
from adapters.identify import PRESENCE
from adapters.look import (
    PATIENT_MS,
    Found,
    Prober,
    Reply,
    Stopped,
    describe,
    examine,
    telling_reads,
)
from adapters.profile import Profile
from adapters.profiles import load, names
from adapters.reading import Identify
from adapters.rounds import Depth, Round, only, plan
from adapters.sweep import Swept, ports_of_boards, sweep
from adapters.trouble import Finding, Heard, Pattern

__all__ = [
    "Depth",
    "Finding",
    "Found",
    "Outcome",
    "Progress",
    "Round",
    "Swept",
    "device_id",
    "only",
    "plan",
    "ports_of_boards",
    "rtu",
    "shipped",
    "stress",
    "sweep",
    "tcp",
]

TCP_WAIT_MS: Final = 300
TCP_UNITS: Final = tuple(range(1, 33))
FEW: Final = 3
FAR_UNITS: Final = (255, 200)  # who answers to these and to 1 looks at no unit number
RTU_PORTS: Final = frozenset({4196})
SUSPECTS_MAX: Final = 8  # more units than this in nonsense are a matter of the line
_SUSPECT_TIMES: Final = 6


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a scan is, and what it has found."""

    done: int
    total: int
    about: str
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a scan brought. `findings` are those of the line; each board carries its own."""

    found: tuple[Found, ...]
    findings: tuple[Finding, ...]
    asked: int
    cancelled: bool


def shipped() -> tuple[Profile, ...]:
    """Return all profiles we ship."""
    return tuple(load(name) for name in names())


async def rtu(
    where: str | TcpSpec,
    rounds: Iterable[Round],
    *,
    progress: Callable[[Progress], None],
    stop: asyncio.Event,
    known: Mapping[int, int] | None = None,
    profiles: Iterable[Profile] | None = None,
) -> Outcome:
    """Scan a serial device, or RTU frames inside TCP, round by round.

    `known` are the units expected here with the rate they should have. Raises `LinkDown` when the
    port cannot be opened, or goes away for good.
    """
    hunt = _Hunt(where if isinstance(where, str) else where.name, progress, stop, profiles)
    todo = tuple(rounds)
    if isinstance(where, TcpSpec):
        units = tuple(dict.fromkeys(unit for made in todo if not made.names for unit in made.units))
        hunt.total = len(units)
        await hunt.guarded(hunt.units_of(where, units))
        return hunt.outcome({})
    hunt.total = sum(len(made.units) for made in todo)
    for made in todo:
        await hunt.guarded(hunt.round_of(where, made))
    return hunt.outcome(known or {})


async def tcp(
    host: str,
    port: int = 502,
    *,
    framing: Literal["tcp", "rtu_over_tcp"] | None = None,
    units: Iterable[int] = TCP_UNITS,
    progress: Callable[[Progress], None] = lambda _: None,
    stop: asyncio.Event | None = None,
    profiles: Iterable[Profile] | None = None,
) -> Outcome:
    """Look at one address. Without `framing` the usual one of the port is tried, then the other.

    Raises `LinkDown` when nobody listens there.
    """
    order: tuple[Literal["tcp", "rtu_over_tcp"], ...] = ("tcp", "rtu_over_tcp")
    if framing is not None:
        order = (framing,)
    elif port in RTU_PORTS:
        order = ("rtu_over_tcp", "tcp")
    asked = tuple(dict.fromkeys(units))
    hunt = _Hunt(f"{host}:{port}", progress, stop or asyncio.Event(), profiles)
    hunt.total = len(asked) * len(order)
    for part in (asked[:FEW], asked[FEW:]):  # who speaks the other framing is found in a second
        for kind in order:
            await hunt.guarded(hunt.units_of(TcpSpec(host, port, kind), part))
            if hunt.found:
                order = (kind,)
                break
    return hunt.outcome({})


async def device_id(line: Line, unit: int) -> dict[str, str]:
    """Ask a unit who it is (function 43/14); {} when it does not answer that."""
    return await describe(Prober(line, PATIENT_MS), unit)


async def stress(line: Line, unit: int, profile: Profile, *, times: int = 24) -> Pattern:
    """Ask a board its shortest and its longest question so often; `trouble.patterns` judges."""
    prober = Prober(line, profile.timing.response_timeout_ms)
    _, answers = await examine(prober, line.spec.name, unit, (profile,))
    return await prober.again(unit, telling_reads(answers), times=times)


class _Hunt:
    """One scan while it runs."""

    def __init__(
        self,
        about: str,
        progress: Callable[[Progress], None],
        stop: asyncio.Event,
        profiles: Iterable[Profile] | None,
    ) -> None:
        self.total = 0
        self.found: dict[int, Found] = {}
        self.cancelled = False
        self._about = about
        self._profiles = shipped() if profiles is None else tuple(profiles)
        self._progress = progress
        self._stop = stop
        self._done = 0
        self._one_device = False  # behind this address, whatever unit is named
        self._echo: bool | None = None
        self._nonsense: list[bytes] = []
        self._doubts: list[tuple[int, Reply]] = []
        self._patterns: dict[int, Pattern] = {}

    async def guarded(self, part: Coroutine[Any, Any, None]) -> None:
        """Do a part of the scan, or nothing once it was stopped."""
        if self.cancelled:
            part.close()
            return
        try:
            await part
        except Stopped:
            self.cancelled = True

    async def round_of(self, device: str, made: Round) -> None:
        """Ask the units of one round that were not found yet."""
        spec = SerialSpec(device, made.baud, made.parity, made.stop)
        async with self._line(spec, made.names) as line:
            prober = Prober(line, made.wait_ms, self._stop.is_set)
            for unit in made.units:
                if unit not in self.found:
                    await (self._name if made.names else self._meet)(spec, prober, unit)
                self._step(f"{made.baud} {made.parity}{made.stop}, unit {unit}")
            await self._doubtful(spec, prober, len(made.units))

    async def units_of(self, spec: TcpSpec, units: tuple[int, ...]) -> None:
        """Ask the units behind one address."""
        if self._one_device:
            return
        async with self._line(spec) as line:
            prober = Prober(line, TCP_WAIT_MS, self._stop.is_set)
            for unit in units:
                if unit not in self.found:
                    await self._meet(spec, prober, unit)
                self._step(f"{spec.framing}, unit {unit}")
                if len(self.found) == 1 and not spec.rtu and await self._ignores_units(prober):
                    self._one_device = True
                    break
            await self._doubtful(spec, prober, len(units))

    def outcome(self, known: Mapping[int, int]) -> Outcome:
        """Judge what was heard."""
        heard = Heard(self._done, len(self.found), tuple(self._nonsense), self._echo)
        baud = {unit: found.spec.baud for unit, found in self.found.items()}
        of_units = [*trouble.patterns(self._about, self._patterns)]
        of_units += trouble.rates(self._about, baud)
        of_units += [
            finding
            for unit, rate in known.items()
            for finding in trouble.rates(self._about, {unit: baud.get(unit, rate)}, rate)
            if finding not in of_units
        ]
        told = tuple(
            _with(found, [one for one in of_units if one.about == f"{self._about}/{unit}"])
            for unit, found in sorted(self.found.items())
        )
        line = () if self.cancelled and not told else trouble.line(self._about, heard)
        return Outcome(told, line, self._done, self.cancelled)

    @asynccontextmanager
    async def _line(
        self,
        spec: SerialSpec | TcpSpec,
        by_name: bool = False,  # noqa: FBT001, FBT002  # a kind
    ) -> AsyncIterator[Line]:
        told = replace(spec, local_echo=self._echo) if isinstance(spec, SerialSpec) else spec
        line = Line(told, names=by_name, searching=True)
        try:
            if not await line.open():
                raise LinkDown(line=spec.name, reason=line.down_reason)
            yield line
        finally:
            self._echo = line.echo
            await line.close()

    async def _meet(self, spec: SerialSpec | TcpSpec, prober: Prober, unit: int) -> None:
        """Is anybody there? Then find out who."""
        reply = await prober.ask(unit, PRESENCE)
        if reply.sound:
            await self._take(spec, prober, unit)
        elif reply.kind != "silent":
            self._nonsense.append(reply.raw)
            self._doubts.append((unit, reply))

    async def _name(self, spec: SerialSpec | TcpSpec, prober: Prober, unit: int) -> None:
        """Is anybody there who speaks the text protocol?"""
        reply = await prober.ask(unit, Identify())
        if reply.sound:
            name = bytes(reply.values).decode("ascii")
            finding = trouble.text_protocol(self._about, unit, name)
            self.found[unit] = Found(spec, unit, (), {"name": name}, (finding,))

    async def _take(self, spec: SerialSpec | TcpSpec, prober: Prober, unit: int) -> None:
        found, answers = await examine(prober, self._about, unit, self._profiles)
        self.found[unit] = replace(found, spec=spec)
        pattern = prober.pattern(unit)
        if pattern.doubled or any(tally.broken for tally in pattern.tallies):
            pattern = await prober.again(unit, telling_reads(answers) or (PRESENCE,))
        self._patterns[unit] = pattern

    async def _doubtful(self, spec: SerialSpec | TcpSpec, prober: Prober, asked: int) -> None:
        """Ask again where no sound answer came: two boards with one number, or one that is late."""
        doubts = [(unit, reply) for unit, reply in self._doubts if not trouble.resting(reply.raw)]
        self._doubts = []
        everywhere = len(doubts) >= trouble.HEARD_MIN and 2 * len(doubts) >= asked
        if len(doubts) > SUSPECTS_MAX or everywhere:
            return  # a matter of the line
        late = {reply.raw[0] for _, reply in doubts if reply.kind == "other" and reply.raw}
        for unit in late - self.found.keys():
            patient = Prober(prober.line, PATIENT_MS, self._stop.is_set)
            if (await patient.ask(unit, PRESENCE)).sound:
                await self._take(spec, patient, unit)
        for unit, _ in doubts:
            if unit in self.found:
                continue
            pattern = await prober.again(unit, (PRESENCE,), times=_SUSPECT_TIMES)
            if any(tally.good for tally in pattern.tallies):
                await self._take(spec, prober, unit)
            elif sum(tally.broken for tally in pattern.tallies) > 1:
                self.found[unit] = Found(spec, unit)
                self._patterns[unit] = pattern

    async def _ignores_units(self, prober: Prober) -> bool:
        """Whether the one device behind this address answers to every unit number."""
        for unit in FAR_UNITS:
            if unit in self.found or not (await prober.ask(unit, PRESENCE)).sound:
                return False
        return True

    def _step(self, about: str) -> None:
        self._done += 1
        self._progress(Progress(self._done, self.total, about, tuple(self.found.values())))


def _with(found: Found, findings: list[Finding]) -> Found:
    """Add what was found wrong; two boards with one number are no board to be spoken to."""
    several = any(finding.code == "board.same_number" for finding in findings)
    matches = () if several else found.matches
    return replace(found, matches=matches, findings=(*found.findings, *findings))
