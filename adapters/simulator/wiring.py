"""What a bank file says: lines, boards on them, compartments wired to the boards, faults at start.

`parse` reads TOML text and refuses what cannot be meant: unknown keys, wrong types, terminals that
do not exist or are used twice. A refusal names the line of the file and the reason.
"""

import re
import tomllib
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from adapters.simulator.errors import WiringRefused
from adapters.simulator.models import MODELS

Name = Annotated[str, Meta(pattern="^[A-Za-z0-9_.-]{1,40}$")]
Ms = Annotated[int, Meta(ge=0, le=3_600_000)]
Level = Literal["active", "inactive"]
_DOTS_MAX = 64
"""In one line: the work on a dotted key grows with the square of its parts."""
_PORT_MAX = 65535


class _Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of a bank file: unknown keys are refused."""


class LineSpec(_Spec, frozen=True, kw_only=True):
    """One line. With neither `serial_pty` nor `tcp` the command line says where it listens."""

    name: Name
    serial_pty: str | None = None
    tcp: str | None = None
    framing: Literal["rtu", "tcp"] = "tcp"
    baud: Annotated[int, Meta(ge=300, le=1_000_000)] | None = None
    turnaround_ms: Annotated[int, Meta(ge=0, le=10_000)] = 2
    strict: bool = True


class BoardSpec(_Spec, frozen=True, kw_only=True):
    """One board: `profile` names its make and model, `unit` its address on the line.

    `baud` is its own rate, where that is not the line's.
    """

    name: Name
    line: Name
    profile: str
    unit: Annotated[int, Meta(ge=0, le=255)] = 1
    baud: Annotated[int, Meta(ge=300, le=1_000_000)] | None = None


class CompartmentSpec(_Spec, frozen=True, kw_only=True):
    """One compartment. `lock`, `door`, `occupancy` are terminals, "board:channel", from 0.

    `min_pulse_ms` is what its lock needs to let go, `open_ms` what the spring then takes,
    `bounce_ms` how long the door switch chatters, `sticky` the number of pulses it takes.
    """

    number: Annotated[int, Meta(ge=0, le=99_999)]
    lock: str
    door: str
    door_open_is: Level = "active"
    occupancy: str | None = None
    occupied_is: Level = "active"
    parcel: bool = False
    min_pulse_ms: Ms = 60
    open_ms: Ms = 120
    bounce_ms: Ms = 12
    sticky: Annotated[int, Meta(ge=1, le=100)] = 1


class FaultSpec(_Spec, frozen=True, kw_only=True):
    """A fault from the start: exactly one of `line`, `board`, `compartment` says whose."""

    fault: str
    line: Name | None = None
    board: Name | None = None
    compartment: int | None = None
    value: int | None = None
    count: Annotated[int, Meta(ge=1)] | None = None


class Wiring(_Spec, frozen=True, kw_only=True):
    """A whole bank file."""

    line: tuple[LineSpec, ...]
    board: tuple[BoardSpec, ...]
    compartment: tuple[CompartmentSpec, ...] = ()
    fault: tuple[FaultSpec, ...] = ()


class Terminal(msgspec.Struct, frozen=True):
    """A channel of a board."""

    board: str
    channel: int


def terminal(text: str) -> Terminal:
    """Read "board:channel"; ValueError for anything else."""
    board, colon, channel = text.rpartition(":")
    if not colon or not channel.isascii() or not channel.isdigit():
        raise ValueError(text)
    return Terminal(board, int(channel))


def plain(profile: str, units: tuple[int, ...]) -> Wiring:
    """Return boards of one profile on one line, with nothing wired to them."""
    boards = tuple(
        BoardSpec(name=f"board{index}", line="line", profile=profile, unit=unit)
        for index, unit in enumerate(units, 1)
    )
    return checked(Wiring(line=(LineSpec(name="line"),), board=boards))


def parse(text: str) -> Wiring:
    """Read a bank file. Raises WiringRefused (`bank.syntax`, `bank.shape`, `bank.wiring`)."""
    if any(line.count(".") > _DOTS_MAX for line in text.split("\n")):
        raise WiringRefused("bank.syntax", f"write at most {_DOTS_MAX} dots in one line")
    try:
        tables = tomllib.loads(text)
    # A ValueError that is no TOMLDecodeError: a number of more digits than Python reads.
    except (ValueError, RecursionError) as error:
        raise WiringRefused(
            "bank.syntax", "correct the file: it is no TOML", reason=str(error)
        ) from None
    try:
        wiring = msgspec.convert(tables, Wiring)
    except msgspec.ValidationError as error:
        raise _shape_refused(text, str(error)) from None
    return checked(wiring, text)


def checked(wiring: Wiring, text: str = "") -> Wiring:
    """Return the wiring if everything it names exists once; else raise WiringRefused."""
    _Check(wiring, text).run()
    return wiring


def _shape_refused(text: str, message: str) -> WiringRefused:
    """Turn msgspec's "reason - at `$.board[2].unit`" into a refusal with a line number."""
    reason, _, where = message.partition(" - at `$")
    found = re.match(r"\.(\w+)(?:\[(\d+)\])?(?:\.(\w+))?", where)
    unknown = re.search(r"unknown field `(.*)`", reason)
    table, index, key = ("", 0, unknown[1] if unknown else "")
    if found is not None:
        table, index, key = found[1], int(found[2] or 0), key or found[3] or ""
    return WiringRefused(
        "bank.shape",
        "correct this line; `locker-bank example` prints a file that works",
        line=_line_of(text, table, index, key),
        reason=f"{reason} at {table}[{index + 1}] {key}".strip() if table else reason,
    )


def _line_of(text: str, table: str, index: int, key: str = "") -> int:
    """Return the 1-based line of a key in the n-th table of a kind, else of the table, else 1."""
    heads = at_table = 0
    wanted = rf"\s*[\"']?{re.escape(key)}\b" if table else rf"\s*[\[\"']*{re.escape(key)}\b"
    # TOML's lines end at 0A; splitlines would also break at U+2028 and lose count.
    for number, line in enumerate(text.split("\n"), 1):
        if re.match(rf"\s*\[\[?\s*{re.escape(table)}\s*\]\]?", line):
            heads += 1
            if heads == index + 1:
                at_table = number
        elif line.lstrip().startswith("[") and at_table:
            break
        if (at_table or not table) and key and re.match(wanted, line):
            return number
    return at_table or 1


def _is_address(text: str) -> bool:
    found = re.fullmatch(r"[^\s:]+:([0-9]{1,5})", text)
    return found is not None and int(found[1]) <= _PORT_MAX


class _Check:
    """The promises between tables, checked in the order of the file."""

    def __init__(self, wiring: Wiring, text: str) -> None:
        self.wiring = wiring
        self.text = text
        self.used: dict[tuple[str, Terminal], int] = {}
        self.boards = {board.name: board for board in wiring.board}

    def run(self) -> None:
        self._lines()
        self._boards()
        self._compartments()
        self._faults()

    def _refuse(self, table: str, index: int, key: str, reason: str) -> WiringRefused:
        line = _line_of(self.text, table, index, key)
        remedy = "correct this line of the bank file"
        return WiringRefused("bank.wiring", remedy, line=line, reason=reason)

    def _lines(self) -> None:
        if not self.wiring.line:
            raise self._refuse("line", 0, "", "a bank needs a line")
        names: set[str] = set()
        for index, line in enumerate(self.wiring.line):
            if line.name in names:
                raise self._refuse("line", index, "name", f"a second line {line.name!r}")
            names.add(line.name)
            if line.serial_pty is not None and line.tcp is not None:
                raise self._refuse("line", index, "tcp", "serial_pty and tcp: choose one")
            if line.tcp is not None and not _is_address(line.tcp):
                raise self._refuse("line", index, "tcp", f"{line.tcp!r} is no host:port")

    def _boards(self) -> None:
        lines = {line.name for line in self.wiring.line}
        names: set[str] = set()
        for index, board in enumerate(self.wiring.board):
            if board.name in names:
                raise self._refuse("board", index, "name", f"a second board {board.name!r}")
            names.add(board.name)
            if board.line not in lines:
                raise self._refuse("board", index, "line", f"there is no line {board.line!r}")
            if board.profile not in MODELS:
                known = ", ".join(MODELS)
                reason = f"no profile {board.profile!r}; known: {known}"
                raise self._refuse("board", index, "profile", reason)

    def _compartments(self) -> None:
        numbers: set[int] = set()
        for index, box in enumerate(self.wiring.compartment):
            if box.number in numbers:
                reason = f"a second compartment {box.number}"
                raise self._refuse("compartment", index, "number", reason)
            numbers.add(box.number)
            self._terminal(index, "lock", box.lock, "output")
            self._terminal(index, "door", box.door, "input")
            if box.occupancy is not None:
                self._terminal(index, "occupancy", box.occupancy, "input")

    def _terminal(self, index: int, key: str, text: str, kind: str) -> None:
        try:
            place = terminal(text)
        except ValueError:
            raise self._refuse("compartment", index, key, f"{text!r} is no board:channel") from None
        board = self.boards.get(place.board)
        if board is None:
            raise self._refuse("compartment", index, key, f"there is no board {place.board!r}")
        model = MODELS[board.profile]
        count = model.outputs_count if kind == "output" else model.inputs_count
        if place.channel >= count:
            reason = f"{board.profile} has {count} {kind}s, counted from 0: no {place.channel}"
            raise self._refuse("compartment", index, key, reason)
        if (kind, place) in self.used:
            reason = f"{kind} {text!r} is wired to compartment {self.used[kind, place]} already"
            raise self._refuse("compartment", index, key, reason)
        self.used[kind, place] = self.wiring.compartment[index].number

    def _faults(self) -> None:
        for index, fault in enumerate(self.wiring.fault):
            whose = (fault.line, fault.board, fault.compartment)
            if sum(name is not None for name in whose) != 1:
                reason = "a fault belongs to one line, one board or one compartment"
                raise self._refuse("fault", index, "fault", reason)
