"""Give a board its number and rate: prove that it is alone, write, read back. Never by broadcast.

What can be proved, and what cannot. Two boards with one number answer every question at the same
time. Their answers collide as soon as they differ in a bit or a moment, so short and long answers
are asked for again and again, and any broken byte, any byte after a good answer, any constant that
changes, refuses (`address.several`). Two boards of one make that are in step to the microsecond and
say the same, bit for bit, every time, cannot be told from one by asking: nothing on the wire is
different. So the person connects one new board at a time. The number that is given must be silent
before, and the old one after: a second board that did not take the number is then seen; one that
did is two boards in step again, and shows itself as soon as an input of one of them moves.

Every refusal is an `AddressRefused` with a code of its own; `sent` says that the board may be under
its old or its new number now: `find` looks at both, and so does a scan.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final

from adapters import trouble
from adapters.bus import Line, Priority, SerialSpec, TcpSpec
from adapters.errors import AddressRefused, BusError, LinkDown, Refused
from adapters.identify import PRESENCE
from adapters.look import DEADLINE_MS, Found, Prober, examine, telling_reads
from adapters.profile import Commission, Profile
from adapters.reading import READ_HOLDING, Read, Write
from adapters.rounds import QUICK_UNITS

TIMES: Final = 8  # of each question, to prove that one board answers
TRIES: Final = 5  # for a board that takes a second over its new number
RESTART_S: Final = 120.0

_ONE: Final = "Disconnect all new boards but one, then try again"
_KEPT: Final = "The board kept its number: check its lock or write protection, then try again"
_LOST: Final = "Check its power, then look for it: it is under its old or its new number or rate"


@dataclass(frozen=True, slots=True)
class Alone:
    """The one new board of a line, and what was asked to prove it."""

    unit: int
    evidence: dict[str, str | int]


@dataclass(frozen=True, slots=True)
class Assigned:
    """A board under its new number and rate, as read back there."""

    spec: SerialSpec | TcpSpec
    unit: int
    evidence: dict[str, str | int]


async def alone(
    spec: SerialSpec | TcpSpec, profile: Profile, *, known: Collection[int] = ()
) -> Alone:
    """Find the one board of this profile that is none of the units `known`, and prove it alone.

    Raises `AddressRefused`: address.nobody, address.several, address.taken (a known board has the
    factory number, so that a new one could not be told from it), address.other (another make),
    address.unproved (errors on the line); `LinkDown`.
    """
    low, high = profile.link.units
    candidates = dict.fromkeys((profile.link.unit, *QUICK_UNITS))
    async with _opened(spec) as line:
        prober = Prober(line, profile.timing.probe_timeout_ms)
        there = []
        for unit in candidates:
            mine = low <= unit <= high and unit not in known
            if mine and (await prober.ask(unit, PRESENCE)).kind != "silent":
                there.append(unit)
        if len(there) > 1:
            raise AddressRefused("address.several", _ONE, units=" ".join(map(str, there)))
        if not there:
            raise await _nobody(prober, profile, known)
        return Alone(there[0], await _proved(prober, spec.name, there[0], profile))


async def assign(
    spec: SerialSpec | TcpSpec,
    profile: Profile,
    *,
    unit_from: int,
    unit_to: int,
    baud_to: int | None = None,
    restart: Callable[[], None] | None = None,
    restart_s: float = RESTART_S,
) -> Assigned:
    """Give the one board at `unit_from` the number `unit_to`, and the rate `baud_to` if named.

    A board that takes them only after a restart: `restart` is called when a person must switch it
    off and on, and it is waited for. Raises `AddressRefused`: address.by_hand, address.number,
    address.rate, address.taken, and those of `alone`, before anything is written; address.refused
    (the board said no), address.kept, address.several (a second board still has the old number),
    address.other_rate (it took another than the profile's code says), address.lost,
    address.restart after; `LinkDown`.
    """
    commission, target = _possible(spec, profile, unit_from, unit_to, baud_to)
    writes = _writes(commission, unit_from, unit_to, spec, target)
    evidence: dict[str, str | int] = {"unit_from": unit_from, "unit_to": unit_to}
    async with _opened(spec) as line:
        prober = Prober(line, profile.timing.response_timeout_ms)
        if unit_to != unit_from and (await prober.ask(unit_to, PRESENCE)).kind != "silent":
            remedy = "Another board has this number: choose a free one"
            raise AddressRefused("address.taken", remedy, unit=unit_to)
        evidence |= await _proved(prober, spec.name, unit_from, profile)
        if commission.applies == "after_restart":
            for _, write in writes:
                await _write(prober, unit_from, profile, write)
        else:
            await _renumber(prober, profile, writes, unit_from, unit_to)
    if commission.applies == "after_restart" and writes:
        if restart is not None:
            restart()
        await _restarted(target, profile, unit_to, restart_s)
    elif target != spec:
        await _rerated(spec, target, profile, commission, unit_to)
    evidence |= await _read_back(target, profile, commission, unit_from, unit_to)
    return Assigned(target, unit_to, evidence)


async def find(
    spec: SerialSpec | TcpSpec,
    profile: Profile,
    *,
    units: Iterable[int],
    bauds: Iterable[int] = (),
) -> Assigned:
    """Look for a board that was lost while it was given a number: every unit at every rate.

    Raises `AddressRefused` (`address.lost`), `LinkDown`.
    """
    asked = tuple(dict.fromkeys(units))
    for place in _places(spec, bauds):
        async with _opened(place) as line:
            prober = Prober(line, profile.timing.response_timeout_ms)
            for unit in asked:
                if not (await prober.ask(unit, PRESENCE)).sound:
                    continue
                found, _ = await examine(prober, place.name, unit, (profile,))
                if _is(profile, found):
                    return Assigned(place, unit, {"unit": unit, "rate": place.baud})
    raise AddressRefused("address.lost", _LOST, sent=True, units=" ".join(map(str, asked)))


# -- what must be so before


def _possible(
    spec: SerialSpec | TcpSpec, profile: Profile, unit_from: int, unit_to: int, baud_to: int | None
) -> tuple[Commission, SerialSpec | TcpSpec]:
    commission = profile.commission or Commission()
    renumbered, rerated = unit_to != unit_from, baud_to not in {None, spec.baud}
    if (renumbered and commission.unit is None) or (rerated and commission.rate is None):
        remedy = commission.by_hand or "Set it as the board's manual says, then scan"
        raise AddressRefused("address.by_hand", remedy, profile=profile.profile)
    low, high = profile.link.units
    if not low <= unit_to <= high:
        remedy = f"Choose a number from {low} to {high}"
        raise AddressRefused("address.number", remedy, unit=unit_to)
    if not rerated:
        return commission, spec
    assert commission.rate is not None  # refused above
    assert baud_to is not None
    plain = isinstance(spec, SerialSpec) and spec.parity == "N"
    if not plain or baud_to not in commission.rate.rates:
        rates = " ".join(map(str, commission.rate.rates))
        remedy = "Choose a rate that the board has, on a serial line without parity"
        raise AddressRefused("address.rate", remedy, rate=baud_to, rates=rates)
    return commission, replace(spec, baud=baud_to)


def _writes(
    commission: Commission,
    unit_from: int,
    unit_to: int,
    spec: SerialSpec | TcpSpec,
    target: SerialSpec | TcpSpec,
) -> list[tuple[int, tuple[Write, ...]]]:
    """(unit it goes to, writes that belong together), in order; the number before the rate."""
    unlock: tuple[Write, ...] = ()
    if commission.unlock is not None:
        held = commission.unlock
        unlock = (Write(held.function, held.address, (held.value,)),)
    found = []
    if commission.unit is not None and unit_to != unit_from:
        number = Write(commission.unit.function, commission.unit.address, (unit_to,))
        found.append((unit_from, (*unlock, number)))
    if commission.rate is not None and target.baud != spec.baud:
        rate = commission.rate
        code = rate.codes[rate.rates.index(target.baud)]
        found.append((unit_to, (*unlock, Write(rate.function, rate.address, (code,)))))
    return found


async def _nobody(prober: Prober, profile: Profile, known: Collection[int]) -> AddressRefused:
    factory = profile.link.unit
    if factory in known and (await prober.ask(factory, PRESENCE)).kind != "silent":
        remedy = "A board you know has the factory number: give that one another number first"
        return AddressRefused("address.taken", remedy, unit=factory)
    remedy = "Connect one new board with power, A to A and B to B; then try again"
    return AddressRefused("address.nobody", remedy, profile=profile.profile)


async def _proved(prober: Prober, about: str, unit: int, profile: Profile) -> dict[str, str | int]:
    """Prove that one board of this profile answers at `unit`, as far as asking can."""
    if (await prober.ask(unit, PRESENCE)).kind == "silent":
        raise AddressRefused("address.nobody", "Connect the board, then try again", unit=unit)
    found, answers = await examine(prober, about, unit, (profile,))
    constant = _constant(profile, answers)
    reads = dict.fromkeys((*telling_reads(answers), PRESENCE, *constant))
    pattern = await prober.again(unit, reads, times=TIMES, constant=constant)
    lengths = [tally.length for tally in pattern.tallies if tally.good]
    evidence: dict[str, Any] = {
        "asked": sum(tally.asked for tally in pattern.tallies),
        "broken": sum(tally.broken for tally in pattern.tallies),
        "doubled": pattern.doubled,
        "changed": pattern.changed,
        "lengths": " ".join(map(str, lengths)),
    }
    silent = sum(tally.asked - tally.good - tally.broken for tally in pattern.tallies)
    findings = trouble.patterns(about, {unit: pattern})
    if any(finding.code == "board.same_number" for finding in findings) or pattern.doubled:
        raise AddressRefused("address.several", _ONE, unit=unit, **evidence)
    if findings or silent:
        remedy = "Put the line right first: its answers are broken, so nothing can be proved"
        raise AddressRefused("address.unproved", remedy, unit=unit, silent=silent, **evidence)
    if not _is(profile, found):
        remedy = "This board is of another make: choose its profile"
        raise AddressRefused("address.other", remedy, unit=unit, profile=profile.profile)
    return evidence


def _constant(profile: Profile, asked: Iterable[Read]) -> frozenset[Read]:
    """Return what always says the same: registers that are no point and measure nothing."""
    moving = {
        measure.address + word
        for measure in profile.measures
        if measure.function == READ_HOLDING
        for word in range(measure.words)
    }
    for points in (profile.outputs, profile.inputs):
        moving.update(points.at() if points is not None and points.area == "holding" else ())
    return frozenset(
        read
        for read in asked
        if read.function == READ_HOLDING
        and moving.isdisjoint(range(read.address, read.address + read.count))
    )


def _is(profile: Profile, found: Found) -> bool:
    return any(match.profile == profile.profile for match in found.matches)


# -- writing


async def _renumber(
    prober: Prober,
    profile: Profile,
    writes: list[tuple[int, tuple[Write, ...]]],
    unit_from: int,
    unit_to: int,
) -> None:
    """Write, and see after the number that it took: new one answers, old one is silent."""
    for unit, together in writes:
        await _write(prober, unit, profile, together)
        if unit == unit_from != unit_to:
            await _moved(prober, unit_from, unit_to)


async def _write(prober: Prober, unit: int, profile: Profile, writes: tuple[Write, ...]) -> None:
    """Send the writes once each. What comes back proves nothing: many boards answer oddly here."""
    line = prober.line
    line.hurry(unit, profile.timing.response_timeout_ms)
    with line.commissioning(unit, profile, writes):
        for write in writes:
            try:
                await line.unit(unit).ask(write, Priority.HOUSEKEEPING, DEADLINE_MS)
            except Refused as error:
                remedy = "The board refuses this number or rate: see its manual"
                raise AddressRefused(
                    "address.refused", remedy, unit=unit, exception=error.evidence["exception"]
                ) from None
            except LinkDown:
                raise AddressRefused("address.lost", _LOST, sent=True, unit=unit) from None
            except BusError:
                continue  # its new number or rate tells


async def _moved(prober: Prober, unit_from: int, unit_to: int) -> None:
    there = False
    for _ in range(TRIES):
        there = there or (await prober.ask(unit_to, PRESENCE)).sound
        if there:
            break
    still = (await prober.ask(unit_from, PRESENCE)).kind != "silent"
    units = {"unit_from": unit_from, "unit_to": unit_to}
    if still and there:
        raise AddressRefused("address.several", _ONE, sent=True, **units)
    if still:
        raise AddressRefused("address.kept", _KEPT, sent=True, **units)
    if not there:
        raise AddressRefused("address.lost", _LOST, sent=True, **units)


async def _arrived(target: SerialSpec | TcpSpec, profile: Profile, unit: int) -> None:
    async with _opened(target) as line:
        prober = Prober(line, profile.timing.response_timeout_ms)
        for _ in range(TRIES):
            if (await prober.ask(unit, PRESENCE)).sound:
                return
    raise AddressRefused("address.lost", _LOST, sent=True, unit=unit, rate=target.baud)


async def _rerated(
    spec: SerialSpec | TcpSpec,
    target: SerialSpec | TcpSpec,
    profile: Profile,
    commission: Commission,
    unit: int,
) -> None:
    """See the board at its new rate; where it is not, say at which of its rates it is."""
    try:
        await _arrived(target, profile, unit)
    except AddressRefused:
        rates = commission.rate.rates if commission.rate is not None else ()
        found = await find(spec, profile, units=[unit], bauds=rates)
        remedy = "The board stands at this rate, whatever its profile says: scan, and report it"
        code = "address.kept" if found.spec == spec else "address.other_rate"
        raise AddressRefused(
            code, remedy, sent=True, unit=unit, rate=found.spec.baud, wanted=target.baud
        ) from None


async def _restarted(
    target: SerialSpec | TcpSpec, profile: Profile, unit: int, restart_s: float
) -> None:
    """Wait until a person has switched the board off and on, and it is where it was told to be."""
    until = asyncio.get_running_loop().time() + restart_s
    while asyncio.get_running_loop().time() < until:
        try:
            await _arrived(target, profile, unit)
        except AddressRefused:
            continue
        return
    remedy = "Switch the board off and on, then look for it under its new number"
    raise AddressRefused("address.restart", remedy, sent=True, unit=unit, rate=target.baud)


async def _read_back(
    target: SerialSpec | TcpSpec, profile: Profile, commission: Commission, old: int, unit: int
) -> dict[str, str | int]:
    """Prove the board at its new place, by its own register too; nobody is left at the old one."""
    async with _opened(target) as line:
        prober = Prober(line, profile.timing.response_timeout_ms)
        if old != unit and (await prober.ask(old, PRESENCE)).kind != "silent":
            raise AddressRefused("address.several", _ONE, sent=True, unit_from=old, unit_to=unit)
        try:
            evidence = await _proved(prober, target.name, unit, profile)
        except AddressRefused as error:
            error.sent = True
            raise
        if commission.unit is not None:
            reply = await prober.ask(unit, Read(READ_HOLDING, commission.unit.address, 1))
            if reply.kind == "good" and reply.values != (unit,):
                raise AddressRefused("address.kept", _KEPT, sent=True, unit=unit)
            evidence["register"] = reply.values[0] if reply.values else reply.kind
    return {f"after_{key}": value for key, value in evidence.items()}


@asynccontextmanager
async def _opened(spec: SerialSpec | TcpSpec) -> AsyncIterator[Line]:
    line = Line(spec, searching=True)
    try:
        if not await line.open():
            raise LinkDown(line=spec.name, reason=line.down_reason)
        yield line
    finally:
        await line.close()


def _places(spec: SerialSpec | TcpSpec, bauds: Iterable[int]) -> list[SerialSpec | TcpSpec]:
    if isinstance(spec, TcpSpec):
        return [spec]
    return [replace(spec, baud=baud) for baud in dict.fromkeys((spec.baud, *bauds))]
