"""A running bank: the pure one, its clock and lock, and a listener for each line."""

import asyncio
from dataclasses import asdict
from typing import Any

from adapters.simulator.bank import Bank
from adapters.simulator.door import DOOR_FAULTS
from adapters.simulator.errors import ActionRefused, WiringRefused
from adapters.simulator.faults import BOARD_FAULTS
from adapters.simulator.line import LINE_FAULTS, PtyLine
from adapters.simulator.live import new_guard
from adapters.simulator.server import TCP_FAULTS, TcpServer
from adapters.simulator.view import bank_state
from adapters.simulator.wiring import LineSpec, Wiring

Listener = PtyLine | TcpServer


class Site:
    """Owns the bank of a wiring and its lines. `guard` gives the time and the right to touch it."""

    def __init__(self, wiring: Wiring) -> None:
        self.bank = Bank(wiring)
        self.guard = new_guard(self.bank.advance)
        self.line_version = 0
        self.lines: dict[str, Listener] = {spec.name: self._listener(spec) for spec in wiring.line}
        for fault in wiring.fault:
            if fault.line is not None:
                self._set_line_fault(fault.line, fault.fault, on=True)

    def _listener(self, spec: LineSpec) -> Listener:
        stations = self.bank.lines[spec.name]
        if spec.serial_pty is not None:
            return PtyLine(
                stations,
                baud=spec.baud,
                link=spec.serial_pty or None,
                turnaround_ms=spec.turnaround_ms,
                strict=spec.strict,
                name=spec.name,
                guard=self.guard,
            )
        if spec.tcp is None:
            remedy = "give the line serial_pty or tcp, or say it on the command line"
            raise WiringRefused("bank.no_listener", remedy, line_name=spec.name)
        host, _, port = spec.tcp.rpartition(":")
        return TcpServer(
            stations,
            framing=spec.framing,
            host=host,
            port=int(port),
            turnaround_ms=spec.turnaround_ms,
            name=spec.name,
            guard=self.guard,
        )

    async def start(self) -> None:
        """Open every line; when one cannot, close the others and raise its OSError."""
        try:
            for line in self.lines.values():
                if isinstance(line, PtyLine):
                    await asyncio.to_thread(line.start)
                else:
                    await line.start()
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close every line and remove its link."""
        for line in self.lines.values():
            if isinstance(line, PtyLine):
                await asyncio.to_thread(line.stop)
            else:
                await line.stop()

    def state(self, *, openings: int | None = None) -> dict[str, Any]:
        """Return the state of bank and lines as plain values, with the last so many openings."""
        with self.guard():
            state = bank_state(self.bank, openings=openings)
        state["version"] += self.line_version
        state["lines"] = [self._line_state(line) for line in self.lines.values()]
        return state

    def where(self) -> dict[str, str]:
        """Return where each line is to be reached: a device path or HOST:PORT."""
        return {
            name: line.path if isinstance(line, PtyLine) else f"{line.host}:{line.port}"
            for name, line in self.lines.items()
        }

    @property
    def version(self) -> int:
        """Return a number that grows with every change one could see; lets time pass to say it."""
        with self.guard():
            return self.bank.version + self.line_version

    async def line_action(self, name: str, action: str, *, on: bool = True) -> None:
        """Carry out "unplug", "replug", or a fault of the line by name. Raises ActionRefused."""
        line = self._line(name)
        if action in ("unplug", "replug"):
            if isinstance(line, PtyLine):
                await asyncio.to_thread(line.unplug if action == "unplug" else line.replug)
            else:
                await (line.unplug() if action == "unplug" else line.replug())
        else:
            self._set_line_fault(name, action, on=on)
        self.line_version += 1

    def _line(self, name: str) -> Listener:
        if name not in self.lines:
            raise ActionRefused("bank.no_line", "see /api/state for lines", line=name)
        return self.lines[name]

    def _set_line_fault(self, name: str, fault: str, *, on: bool) -> None:
        try:
            self._line(name).set_fault(fault, on=on)
        except KeyError:
            known = ", ".join((*self._line_faults(name), "unplug", "replug"))
            raise ActionRefused(
                "bank.no_fault", f"known: {known}", line=name, fault=fault
            ) from None

    def _line_faults(self, name: str) -> dict[str, str]:
        return LINE_FAULTS if isinstance(self._line(name), PtyLine) else TCP_FAULTS

    def _line_state(self, line: Listener) -> dict[str, Any]:
        serial = isinstance(line, PtyLine)
        return {
            "name": line.name,
            "kind": "serial" if serial else "tcp",
            "where": self.where()[line.name],
            "plugged": line.plugged,
            "faults": sorted(line.faults),
            "known_faults": sorted(LINE_FAULTS if serial else TCP_FAULTS),
            "counters": asdict(line.counters),
        }


def fault_list() -> dict[str, dict[str, str]]:
    """Return every fault by whose it is, with its meaning."""
    return {
        "line": {**LINE_FAULTS, **TCP_FAULTS},
        "board": {name: meaning for name, (_, meaning) in BOARD_FAULTS.items()},
        "compartment": {name: meaning for name, (_, meaning) in DOOR_FAULTS.items()},
    }
