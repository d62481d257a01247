"""Jobs that find boards: scans, looks, sweeps, and a number for one new board.

Each releases the line it needs, asks what `adapters.scan` and `adapters.address` ask (harmless
reads; the writes that a profile's commission table names), and merges what came into the draft.
"""

import asyncio
import contextlib
import ipaddress
import socket
import stat
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec

from adapters import address, ports, scan, trouble
from adapters.bus import SerialSpec, TcpSpec
from adapters.errors import AdapterError
from adapters.look import Found
from adapters.profiles import load
from adapters.rounds import WAIT_MS_MIN
from gateway import discover, nearby
from gateway.commissioning import convert
from gateway.commissioning import draft as drafts
from gateway.commissioning.draft import Draft, FoundBoard
from gateway.commissioning.hold import Hold, Job
from gateway.commissioning.rig import Rig, as_gateway, place_of
from gateway.errors import GatewayError
from sync.sitemap import LineItem

MDNS_S: Final = 1.5
DEV: Final = Path("/dev")
PTS: Final = DEV / "pts"
ROUTES: Final = Path("/proc/net/route")
PLACES_MAX: Final = 64
"""Addresses looked at after one sweep: a network of boards has few."""


class Finder:
    """One installer's search. `hold` has the draft and the job; `rig` the lines.

    Who asks over the LAN (`strict`) may name the ports that this machine shows, and those of lines
    that are known; whoever is at the machine may name any terminal.
    """

    def __init__(self, hold: Hold, rig: Rig, *, strict: bool) -> None:
        self._hold, self._rig, self._strict = hold, rig, strict

    # --- lines of serial boards -------------------------------------------------------------------

    async def scan(
        self,
        job: Job,
        wanted: tuple[str, ...] | None,
        depth: scan.Depth,
        units: tuple[int, int] | None,
    ) -> None:
        """Scan serial ports: those that were named, or every one there is."""
        known = {port.device: port for port in ports.serial_ports()}
        rounds = scan.plan(depth, scan.shipped())
        if units is not None:
            rounds = scan.only(rounds, *units)
        if wanted is None:
            await self.hear(job)
        if not wanted and not known and not self._draft().found:
            raise GatewayError("scan.no_ports", "Plug the adapter in, or name its device")
        for device in wanted or ():
            self._check(device, known)
        self._hold.ports = []
        trouble_met: GatewayError | None = None
        for device in wanted or tuple(known):
            if job.stop.is_set():
                break
            port = known.get(device)
            shown = self._port(device, port)
            await self._free(device)
            try:
                outcome = await scan.rtu(
                    device, rounds, progress=self._told(device), stop=job.stop,
                    known=self._expected(device),
                )  # fmt: skip
            except AdapterError as error:
                # One port that cannot be opened ends nobody else's scan.
                trouble_met = as_gateway(error)
                shown["findings"].append(_row(trouble.Finding(error.code, device, {})))
                self._hold.touch()
                continue
            await self._merge(SerialSpec(device), outcome.found, outcome.findings)
        if trouble_met is not None and len(wanted or known) == 1:
            raise trouble_met

    def _check(self, device: str, known: Mapping[str, ports.Port]) -> None:
        """Refuse (`scan.no_port`) what is no serial port: opening some devices does something."""
        listed = {*known, *(port.real for port in known.values()), *self._rig.devices()}
        listed |= {one.serial for one in self._draft().lines.values() if one.serial}
        if device in listed or (not self._strict and _is_terminal(device)):
            return
        remedy = "Name a serial port of this machine, or give none and all of them are scanned"
        raise GatewayError("scan.no_port", remedy, device=device)

    def _port(self, device: str, port: ports.Port | None) -> dict[str, Any]:
        """Show a port, its adapter's timer put right where that is allowed."""
        latency = None if port is None else port.latency_ms
        if port is not None and port.latency_settable and latency != ports.LATENCY_MS:
            with contextlib.suppress(AdapterError):
                ports.set_latency(port)
                latency = ports.LATENCY_MS
        shown: dict[str, Any] = {
            "device": device,
            "name": port.kind if port else "",
            "latency_ms": latency,
            "findings": [_row(one) for one in trouble.latency(device, latency)],
        }
        self._hold.ports.append(shown)
        self._hold.touch()
        return shown

    def _expected(self, device: str) -> dict[int, int]:
        """Return the boards that the draft has on this port, each with the rate of its line."""
        draft = self._draft()
        lines = {name: one for name, one in draft.lines.items() if one.serial == device}
        return {
            board.unit: lines[board.line].baud
            for board in draft.boards.values()
            if board.line in lines
        }

    # --- boards behind an address -----------------------------------------------------------------

    async def look(
        self,
        job: Job,
        spec: TcpSpec,
        framing: str | None,
        units: tuple[int, int] | None = None,
    ) -> None:
        """Look at one address, in one framing or in both. Never at one of the internet."""
        await _check_near(spec.host)
        asked = scan.TCP_UNITS if units is None else tuple(range(units[0], units[1] + 1))
        await self._free(spec.name)
        chosen = None if framing is None else spec.framing
        try:
            outcome = await scan.tcp(
                spec.host, spec.port, framing=chosen, units=asked, progress=self._told(spec.name),
                stop=job.stop,
            )  # fmt: skip
        except AdapterError as error:
            raise as_gateway(error) from error
        routed = trouble.routed(spec.host, await asyncio.to_thread(_routes))
        await self._merge(spec, outcome.found, (*outcome.findings, *routed))

    async def sweep(self, job: Job, network: str) -> None:
        """Knock at a subnet, look at who listens; and at who says by mDNS that it is there."""
        told = self._told(network)
        await _check_near(network.partition("/")[0])
        try:
            places = await scan.sweep(
                network,
                progress=lambda one: told(scan.Progress(one.done, one.total, one.about, ())),
                stop=job.stop,
            )
        except AdapterError as error:
            raise as_gateway(error) from error
        for host, port in places[:PLACES_MAX]:
            if job.stop.is_set():
                break
            with contextlib.suppress(GatewayError):  # it listens, and is no board
                await self.look(job, TcpSpec(host, port), None)

    async def hear(self, job: Job) -> None:
        """Look at the boards that announce themselves (`_modbus._tcp`)."""
        heard: tuple[nearby.Board, ...] = ()
        with contextlib.suppress(GatewayError):
            heard = await discover.browse_modbus(MDNS_S)
        for told in heard[:PLACES_MAX]:
            if job.stop.is_set():
                break
            with contextlib.suppress(GatewayError):
                await self.look(job, TcpSpec(told.host, told.port), None)

    # --- one new board ----------------------------------------------------------------------------

    async def address(
        self,
        job: Job,
        line: LineItem,
        profile: str,
        unit: int,
        baud: int | None,
        *,
        held: frozenset[int],
    ) -> None:
        """Prove that one new board is there, give it its number, read back, show it as found.

        The boards `held` keep theirs, whatever the draft knows of them.
        """
        await self._rig.free(line.name)
        spec = self._rig.spec(line)
        draft = self._draft()
        known = held | {one.unit for one in draft.boards.values() if one.line == line.name}
        job.can_stop = False
        try:
            chosen = load(profile)
            spec = _factory(spec, line, known, chosen.link.baud)
            alone = await address.alone(spec, chosen, known=known)
            self._hold.progress(1, 3, f"unit {alone.unit}")
            done = await address.assign(
                spec, chosen, unit_from=alone.unit, unit_to=unit, baud_to=baud,
                restart=lambda: self._hold.progress(2, 3, "restart"),
            )  # fmt: skip
            self._hold.progress(2, 3, f"unit {done.unit}")
            outcome = await scan.rtu(
                place_of(done.spec) if isinstance(done.spec, SerialSpec) else done.spec,
                _only_here(done.spec, done.unit),
                progress=lambda _: None, stop=job.stop,
            )  # fmt: skip
        except AdapterError as error:
            raise as_gateway(error) from error
        others = [row for row in draft.found if row.line == line.name and row.unit != unit]
        rows = [*others, *(convert.board(one) for one in outcome.found)]
        where = line if known else msgspec.structs.replace(convert.line(done.spec), name=line.name)
        await self._hold.change(lambda draft: drafts.found(draft, where, rows))

    # --- parts ------------------------------------------------------------------------------------

    def _draft(self) -> Draft:
        assert self._hold.draft is not None  # no job begins without one
        return self._hold.draft

    async def _free(self, place: str) -> None:
        await self._rig.free_place(place)

    def _told(self, about: str) -> "_Told":
        return _Told(self._hold, about)

    async def _merge(
        self,
        spec: SerialSpec | TcpSpec,
        found: Iterable[Found],
        findings: Iterable[trouble.Finding],
    ) -> None:
        rows = tuple(found)
        best = convert.usual(row.spec for row in rows) or spec
        boards: list[FoundBoard] = [convert.board(row) for row in rows]
        told = convert.findings(findings)
        await self._hold.change(lambda draft: drafts.found(draft, convert.line(best), boards, told))


class _Told:
    """Progress of a scan, as a job shows it."""

    def __init__(self, hold: Hold, about: str) -> None:
        self._hold, self._about = hold, about

    def __call__(self, told: scan.Progress) -> None:
        self._hold.progress(told.done, told.total, f"{self._about}: {told.about}")


def _is_terminal(device: str) -> bool:
    """Say whether this is the device of a terminal, without opening it."""
    real = Path(device).resolve()
    named = real.parent == PTS or (real.parent == DEV and real.name.startswith("tty"))
    try:
        return named and stat.S_ISCHR(real.stat().st_mode)
    except OSError:
        return False


async def _check_near(host: str) -> None:
    """Refuse (`scan.far`) an address that the whole internet could be behind."""
    try:
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return  # nobody is there: whoever looks will say so
    for there in {str(one[4][0]).partition("%")[0] for one in found}:
        if ipaddress.ip_address(there).is_global:
            remedy = "Boards are on a network of their own: give them an address of it"
            raise GatewayError("scan.far", remedy, address=there)


def _row(one: trouble.Finding) -> dict[str, Any]:
    return {"code": one.code, "about": one.about, "evidence": dict(one.evidence)}


def _routes() -> tuple[trouble.Route, ...]:
    try:
        return trouble.routes(ROUTES.read_text(encoding="ascii"))
    except OSError:
        return ()


def _factory(
    spec: SerialSpec | TcpSpec, line: LineItem, known: frozenset[int], baud: int
) -> SerialSpec | TcpSpec:
    """Return where a new board speaks: at its factory's rate, while the line has no other board."""
    if isinstance(spec, SerialSpec) and not known and line.baud != baud:
        return replace(spec, baud=baud)
    return spec


def _only_here(spec: SerialSpec | TcpSpec, unit: int) -> tuple[scan.Round, ...]:
    if isinstance(spec, SerialSpec):
        return (scan.Round(spec.baud, spec.parity, spec.stop, (unit,), WAIT_MS_MIN),)
    return (scan.Round(spec.baud, "N", 1, (unit,), WAIT_MS_MIN),)
