"""The bank's map as a TOML file for people: `site import FILE` and its exact inverse. Pure.

    [lines.bank]
    serial = "/dev/serial/by-id/usb-FTDI_FT232R-if00-port0"

    [boards.locks-1]
    line = "bank"
    profile = "waveshare-rtu-relay-8"
    unit = 1

    [[door]]
    number = 1
    size = "M"
    lock = "locks-1:0"
    switch = "inputs-1:0"
    rail = "12v"

Refused with `map.invalid`, the line and the reason: what the types, the profiles or another door
object to. Channels count from 0. A line that is not here is one of the machine's configuration.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from gateway import config, tomlfile
from sync.facts import Size
from sync.sitemap import (
    COLUMNS_MAX,
    ROWS_MAX,
    BoardItem,
    DoorItem,
    LineItem,
    Reach,
    Sense,
    SiteMap,
)

DOORS_MAX = 3084
"""The longest short code is proved for so many (FORMATS.md 6)."""
BOARDS_MAX = 256
PULSE_MS_MAX = 1000
"""Cap of every lock coil (HARDWARE.md 2.1, rule 1)."""
LEARNED_MS_MAX = 10_000
MEASURE_MAX = 100_000_000
"""In thousandths: a hundred metres, if it is a distance."""

_Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}$")]
_Point = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,31}:(0|[1-9][0-9]{0,2})$")]
_MaybeName = Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9_-]{0,31})?$")]
_MaybePoint = Annotated[str, Meta(pattern=r"^([a-z0-9][a-z0-9_-]{0,31}:(0|[1-9][0-9]{0,2}))?$")]


@dataclass(frozen=True, slots=True)
class Channels:
    """What a profile offers: outputs, inputs and measures, and the unit numbers it can have."""

    outputs: int
    inputs: int
    units: tuple[int, int]
    max_on_ms: int = PULSE_MS_MAX
    measures: int = 0


Known = Callable[[str], Channels | None]
"""Look a profile up; None when there is none of that name."""


class _Table(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all tables."""


class _Board(_Table, frozen=True, kw_only=True):
    line: _Name
    profile: str
    unit: Annotated[int, Meta(ge=1, le=255)]


class _Line(_Table, frozen=True, kw_only=True):
    serial: Annotated[str, Meta(max_length=200, pattern=r"^(/[!-~]*)?$")] = ""
    tcp: Annotated[str, Meta(max_length=270)] = ""
    framing: Literal["tcp", "rtu"] = "tcp"
    baud: Annotated[int, Meta(ge=1200, le=256_000)] = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    local_echo: Literal["auto", "yes", "no"] = "auto"


class _Door(_Table, frozen=True, kw_only=True):
    number: Annotated[int, Meta(ge=1, le=9999)]
    size: Size
    lock: _Point
    switch: _Point
    rail: _Name
    reach: Reach = "middle"
    open_when: Sense = "inactive"
    occupancy: _MaybePoint = ""
    occupied_when: Sense = "active"
    pulse_ms: Annotated[int, Meta(ge=10, le=PULSE_MS_MAX)] = 400
    band: _MaybeName = ""
    heated: bool = False
    cooled: bool = False
    open_ms: Annotated[int, Meta(ge=0, le=LEARNED_MS_MAX)] = 0
    bounce_ms: Annotated[int, Meta(ge=0, le=LEARNED_MS_MAX)] = 0
    occupied_below: Annotated[int, Meta(ge=0, le=MEASURE_MAX)] = 0
    column: Annotated[int, Meta(ge=0, le=COLUMNS_MAX)] = 0
    row: Annotated[int, Meta(ge=0, le=COLUMNS_MAX)] = 0
    rows: Annotated[int, Meta(ge=1, le=ROWS_MAX)] = 1


class _Map(_Table, frozen=True, kw_only=True):
    boards: dict[_Name, _Board]
    door: tuple[_Door, ...]
    lines: dict[_Name, _Line] = {}


def parse(text: str, known: Known, file: str = "map") -> SiteMap:
    """Return the map that `text` writes. Raises FileRefused (`map.invalid`)."""
    read, lines = tomlfile.read(text, _Map, code="map.invalid", file=file)
    for key, reason in _objections(read, known):
        raise tomlfile.refusal("map.invalid", file, lines, key, reason)
    return _built(read)


def check(site: SiteMap) -> None:
    """Refuse (`map.invalid`) a map that no file could say, whatever profiles there are.

    For maps that come ready-made, over the control socket.
    """
    doors = [msgspec.to_builtins(door) for door in site.doors.values()]
    boards = {
        name: {"line": board.line, "profile": board.profile, "unit": board.unit}
        for name, board in site.boards.items()
    }
    lines = {
        name: {key: value for key, value in msgspec.to_builtins(line).items() if key != "name"}
        for name, line in site.lines.items()
    }
    try:
        read = msgspec.convert({"boards": boards, "door": doors, "lines": lines}, _Map)
    except msgspec.ValidationError as error:
        raise tomlfile.refusal("map.invalid", "map", {}, "", str(error)) from None
    for key, reason in _objections(read, _any_profile):
        raise tomlfile.refusal("map.invalid", "map", {}, key, reason)
    if _built(read) != site:
        raise tomlfile.refusal("map.invalid", "map", {}, "", "a board or door under another name")


def _any_profile(_: str) -> Channels:
    return Channels(outputs=1000, inputs=1000, units=(1, 255), measures=1000)


def _built(read: _Map) -> SiteMap:
    boards = {
        name: BoardItem(name=name, line=board.line, profile=board.profile, unit=board.unit)
        for name, board in sorted(read.boards.items())
    }
    doors = {
        door.number: DoorItem(**msgspec.structs.asdict(door))
        for door in sorted(read.door, key=lambda door: door.number)
    }
    lines = {
        name: LineItem(name=name, **msgspec.structs.asdict(line))
        for name, line in sorted(read.lines.items())
    }
    return SiteMap(boards=boards, doors=doors, lines=lines)


def write(site: SiteMap) -> str:
    """Return the TOML text of a map: `parse(write(site)) == site`. Defaults are left out."""
    parts = [_table(f"[lines.{name}]", site.lines[name]) for name in sorted(site.lines)]
    for name in sorted(site.boards):
        board = site.boards[name]
        parts.append(
            f"[boards.{name}]\nline = {_quoted(board.line)}\n"
            f"profile = {_quoted(board.profile)}\nunit = {board.unit}\n"
        )
    parts += [_table("[[door]]", site.doors[number]) for number in sorted(site.doors)]
    return "\n".join(parts)


def _table(head: str, item: LineItem | DoorItem) -> str:
    values = msgspec.to_builtins(item)
    if isinstance(item, LineItem):
        del values["name"]
    body = "".join(f"{key} = {_value(value)}\n" for key, value in values.items())
    return f"{head}\n{body}"


def _value(value: str | int | bool) -> str:  # noqa: FBT001  # a scalar of an entry
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else _quoted(value)


def _quoted(text: str) -> str:
    """Write a basic string; names and points need no escapes, but a map may come from elsewhere."""
    escaped = re.sub(r"[\\\"\x00-\x1f\x7f]", lambda found: f"\\u{ord(found[0]):04x}", text)
    return f'"{escaped}"'


def _objections(read: _Map, known: Known) -> Iterator[tuple[str, str]]:
    """(key, reason), lazily: the first one is raised."""
    if not read.boards or not read.door:
        yield "", "a map has at least one board and one door"
    if len(read.boards) > BOARDS_MAX or len(read.door) > DOORS_MAX:
        yield "", f"more than {BOARDS_MAX} boards or {DOORS_MAX} doors: make two sites of it"
    yield from _line_objections(read)
    yield from _board_objections(read, known)
    taken: dict[tuple[str, str], int] = {}
    numbers: set[int] = set()
    for place, door in enumerate(read.door):
        key = f"door.{place}"
        if door.number in numbers:
            yield f"{key}.number", f"door {door.number} is there twice"
        numbers.add(door.number)
        yield from _door_objections(read, known, key, door, taken)
    yield from _place_objections(read)


def _line_objections(read: _Map) -> Iterator[tuple[str, str]]:
    ends: dict[str, str] = {}
    if len(read.lines) > config.LINES_MAX:
        yield "lines", f"more than {config.LINES_MAX} lines"
    for name, line in read.lines.items():
        if bool(line.serial) == bool(line.tcp):
            yield f"lines.{name}", "needs either serial or tcp"
        if line.tcp and config.split_address(line.tcp) is None:
            yield f"lines.{name}.tcp", "must be host:port"
        if line.serial and line.framing != "tcp":
            yield f"lines.{name}.framing", "belongs to tcp"
        other = ends.setdefault(line.serial or line.tcp, name)
        if other != name:
            yield f"lines.{name}", f"line {other} ends there too: a line has one owner"


def _place_objections(read: _Map) -> Iterator[tuple[str, str]]:
    cells: dict[tuple[int, int], int] = {}
    for place, door in enumerate(read.door):
        if bool(door.column) != bool(door.row):
            yield f"door.{place}.row", "a place has both column and row, from 1"
        for row in range(door.row, door.row + door.rows) if door.column else ():
            other = cells.setdefault((door.column, row), door.number)
            if other != door.number:
                yield f"door.{place}.column", f"door {other} is at column {door.column}, row {row}"


def _board_objections(read: _Map, known: Known) -> Iterator[tuple[str, str]]:
    places: dict[tuple[str, int], str] = {}
    for name, board in read.boards.items():
        channels = known(board.profile)
        if channels is None:
            yield f"boards.{name}.profile", f"there is no profile {board.profile[:64]!a}"
        elif not channels.units[0] <= board.unit <= channels.units[1]:
            low, high = channels.units
            yield f"boards.{name}.unit", f"this board's unit numbers are {low} to {high}"
        other = places.setdefault((board.line, board.unit), name)
        if other != name:
            yield (
                f"boards.{name}.unit",
                f"board {other} has unit {board.unit} on line {board.line} too",
            )


def _door_objections(
    read: _Map, known: Known, key: str, door: _Door, taken: dict[tuple[str, str], int]
) -> Iterator[tuple[str, str]]:
    measured = "measures" if door.occupied_below else "inputs"
    ends = (
        ("lock", door.lock, "outputs"),
        ("switch", door.switch, "inputs"),
        ("occupancy", door.occupancy, measured),
    )
    if door.occupied_below and not door.occupancy:
        yield f"{key}.occupied_below", "needs the measure that it is about: occupancy"
    for name, point, side in ends:
        if not point:
            continue
        board, _, channel = point.partition(":")
        if board not in read.boards:
            yield f"{key}.{name}", f"there is no board {board}"
        channels = known(read.boards[board].profile)
        assert channels is not None  # the boards were looked at first
        count = getattr(channels, side)
        if int(channel) >= count:
            yield f"{key}.{name}", f"board {board} has {count} {side}; channels count from 0"
        if name == "lock" and door.pulse_ms > channels.max_on_ms:
            yield f"{key}.pulse_ms", f"board {board} allows {channels.max_on_ms} ms at most"
        other = taken.setdefault((side, point), door.number)
        own = name == "occupancy" and point == door.switch and side == "inputs"
        if other != door.number or own:
            yield f"{key}.{name}", f"point {point} belongs to door {other} already"
