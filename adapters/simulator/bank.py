"""The whole cabinet in time: boards switch coils, coils move doors, doors move the boards' inputs.

`advance` takes everything that is due in order, so a door switch that works a relay in linkage mode
does it at the right moment. Time is given; nothing here has a clock. In one process with a
simulated site this is all there is: `bank.request(line, unit, pdu, now)` asks like a bus would.
"""

from dataclasses import dataclass

from adapters.simulator.boards import Change
from adapters.simulator.door import DOOR_FAULTS, Door
from adapters.simulator.errors import ActionRefused
from adapters.simulator.faults import Answer, Station, UnknownFault
from adapters.simulator.models import make_board
from adapters.simulator.wiring import LineSpec, Terminal, Wiring, terminal


@dataclass(slots=True)
class Coil:
    """What one output has done: times it went on, longest on-time, shortest rest between."""

    pulses: int = 0
    max_on_ms: int = 0
    min_off_ms: int | None = None
    on_since: int | None = None
    off_since: int | None = None

    def switched(self, on: bool, at_ms: int) -> None:  # noqa: FBT001  # a state
        """Count a change of the contact."""
        if on:
            self.pulses += 1
            if self.off_since is not None:
                rest = at_ms - self.off_since
                self.min_off_ms = rest if self.min_off_ms is None else min(rest, self.min_off_ms)
            self.on_since = at_ms
        else:
            self.max_on_ms = self.longest(at_ms)
            self.on_since, self.off_since = None, at_ms

    def longest(self, now_ms: int) -> int:
        """Return the longest on-time, the running one included."""
        return max(self.max_on_ms, 0 if self.on_since is None else now_ms - self.on_since)


class Bank:
    """Boards, doors and people of one wiring. `version` grows with everything one could see."""

    def __init__(self, wiring: Wiring) -> None:
        self.wiring = wiring
        self.now_ms = 0
        self.version = 0
        rates: dict[str, LineSpec] = {line.name: line for line in wiring.line}
        self.stations: dict[str, Station] = {}
        self.lines: dict[str, list[Station]] = {line.name: [] for line in wiring.line}
        for spec in wiring.board:
            board = make_board(spec.profile, spec.unit, baud=spec.baud or rates[spec.line].baud)
            station = self.stations[spec.name] = Station(board, spec.name)
            self.lines[spec.line].append(station)
        self.coils: dict[Terminal, Coil] = {
            Terminal(name, channel): Coil()
            for name, station in self.stations.items()
            for channel in range(station.board.outputs_count)
        }
        self.doors = {spec.number: Door(spec) for spec in wiring.compartment}
        self._locks = {terminal(door.spec.lock): door for door in self.doors.values()}
        self.person = Person(self)
        for fault in wiring.fault:
            if fault.board is not None:
                self.inject_board(fault.board, fault.fault, value=fault.value, count=fault.count)
            elif fault.compartment is not None:
                self.inject_door(fault.compartment, fault.fault, value=fault.value)
        self._show_all(0)

    # -- time

    def advance(self, now_ms: int) -> None:
        """Let everything happen that is due by now, in the order of its time."""
        while True:
            self._route()
            due = self.next_at()
            if due is None or due > now_ms:
                break
            for station in self.stations.values():
                station.board.advance(due)
            self._route()
            self._move(due)
        for station in self.stations.values():
            station.board.advance(now_ms)
        self.now_ms = max(self.now_ms, now_ms)

    def next_at(self) -> int | None:
        """Return when something will happen by itself, or None."""
        times = [station.board.next_at() for station in self.stations.values()]
        times += [door.next_at() for door in self.doors.values()]
        return min((at for at in times if at is not None), default=None)

    def request(self, line: str, unit: int, pdu: bytes, now_ms: int) -> list[Answer]:
        """Ask every board of a line, as a bus without wire time would; more than one collides."""
        self.advance(now_ms)
        answers = [station.answer(unit, pdu, now_ms) for station in self.lines[line]]
        self.advance(now_ms)
        return [answer for answer in answers if answer is not None]

    def _route(self) -> None:
        """Bring what the contacts did to the coils; a coil's current may move its door."""
        for name, station in self.stations.items():
            for change in station.board.drain():
                self._switched(name, change)

    def _switched(self, board: str, change: Change) -> None:
        self.version += 1
        place = Terminal(board, change.channel)
        self.coils[place].switched(change.on, change.at_ms)
        if (door := self._locks.get(place)) is not None:
            door.coil(change.on, change.at_ms)
            self._show(door, change.at_ms)

    def _move(self, at_ms: int) -> None:
        for door in self.doors.values():
            if door.advance(at_ms):
                self._show(door, at_ms)

    def _show(self, door: Door, at_ms: int) -> None:
        """Put what the sensors say on the terminals they are wired to."""
        self.version += 1
        spec = door.spec
        active = door.shows_open == (spec.door_open_is == "active")
        self._put(spec.door, active=active, at_ms=at_ms)
        if spec.occupancy is not None:
            active = door.shows_occupied == (spec.occupied_is == "active")
            self._put(spec.occupancy, active=active, at_ms=at_ms)

    def _put(self, place: str, *, active: bool, at_ms: int) -> None:
        at = terminal(place)
        self.stations[at.board].board.set_input(at.channel, active, at_ms)

    def _show_all(self, at_ms: int) -> None:
        for door in self.doors.values():
            self._show(door, at_ms)
        self.advance(at_ms)

    # -- what can be named

    def door(self, number: int) -> Door:
        """Return a door; ActionRefused when there is none of that number."""
        try:
            return self.doors[number]
        except KeyError:
            raise ActionRefused("bank.no_door", "see /api/state for doors", door=number) from None

    def station(self, name: str) -> Station:
        """Return a board with its faults; ActionRefused when there is none of that name."""
        try:
            return self.stations[name]
        except KeyError:
            raise ActionRefused("bank.no_board", "see /api/state for boards", board=name) from None

    # -- faults and boards

    def inject_board(
        self, name: str, fault: str, *, value: int | None = None, count: int | None = None
    ) -> None:
        """Turn a fault of a board on (BOARD_FAULTS). Raises ActionRefused."""
        try:
            self.station(name).inject(fault, self.now_ms, value, count)
        except UnknownFault as error:
            raise _unknown_fault(str(error), board=name) from None
        self.touched()

    def inject_door(self, number: int, fault: str, *, value: int | None = None) -> None:
        """Turn a fault of a compartment on (DOOR_FAULTS). Raises ActionRefused."""
        door = self.door(number)
        if fault not in DOOR_FAULTS:
            raise _unknown_fault(fault, door=number)
        door.faults[fault] = DOOR_FAULTS[fault][0] if value is None else value
        self.touched(door)

    def clear_board(self, name: str, fault: str) -> None:
        """Turn a fault of a board off."""
        self.station(name).clear(fault, self.now_ms)
        self.touched()

    def clear_door(self, number: int, fault: str) -> None:
        """Turn a fault of a compartment off."""
        door = self.door(number)
        door.faults.pop(fault, None)
        self.touched(door)

    def kill(self, name: str) -> None:
        """Take a board's supply away: its contacts drop."""
        self.station(name).board.power_off(self.now_ms)
        self.touched()

    def revive(self, name: str, *, boot_ms: int = 0, keep_outputs: bool = False) -> None:
        """Give a board its supply back, or reboot it when it has it."""
        board = self.station(name).board
        board.power_on(self.now_ms, boot_ms=boot_ms, keep_outputs=keep_outputs)
        self.touched()

    def set_input(self, name: str, channel: int, *, active: bool) -> None:
        """Set a plain input by hand. Raises ActionRefused when there is none."""
        board = self.station(name).board
        if not 0 <= channel < board.inputs_count:
            raise ActionRefused("bank.no_input", "count channels from 0", board=name, input=channel)
        board.set_input(channel, active, self.now_ms)
        self.touched()

    def touched(self, door: Door | None = None) -> None:
        """Let what a hand or a fault changed take effect at once."""
        self.version += 1
        if door is not None:
            self._show(door, self.now_ms)
        self.advance(self.now_ms)


def _unknown_fault(fault: str, **whose: object) -> ActionRefused:
    return ActionRefused("bank.no_fault", "GET /api/faults lists them", fault=fault, **whose)


class Person:
    """Hands at the cabinet, at the bank's present time (`advance` first)."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank

    def close(self, number: int) -> None:
        """Push a door shut: it latches."""
        door = self._bank.door(number)
        door.close(self._bank.now_ms)
        self._bank.touched(door)

    def slam(self, number: int) -> None:
        """Slam a door so hard that it comes back."""
        door = self._bank.door(number)
        door.slam(self._bank.now_ms)
        self._bank.touched(door)

    def pull(self, number: int, hold_ms: int = 0) -> bool:
        """Pull at a door for so long; say whether it is open now."""
        door = self._bank.door(number)
        opened = door.pull(self._bank.now_ms, hold_ms)
        self._bank.touched(door)
        return opened

    def force(self, number: int) -> None:
        """Lever a door open."""
        door = self._bank.door(number)
        door.force(self._bank.now_ms)
        self._bank.touched(door)

    def put(self, number: int) -> None:
        """Lay a parcel in; ActionRefused when the door is shut or one is there."""
        door = self._bank.door(number)
        door.put(self._bank.now_ms)
        self._bank.touched(door)

    def take(self, number: int) -> None:
        """Take the parcel out; ActionRefused when the door is shut or it is empty."""
        door = self._bank.door(number)
        door.take(self._bank.now_ms)
        self._bank.touched(door)
