"""The site's map as values: which board answers where, and which points make a door.

The map lives in `config.set` entries: one `map` item that begins it, one item a line, one a board,
one a door. Lines may be missing: then the machine's own configuration names them.
A new `map` item replaces the whole map when its last item has been folded, so a reader never sees
half of one.
"""

from typing import Literal

import msgspec

from sync.facts import Scalar, Size

Reach = Literal["low", "middle", "high"]
Sense = Literal["active", "inactive"]
ROWS_MAX = 8
COLUMNS_MAX = 64


class MapHead(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How many items follow, so that a reader knows when the map is whole."""

    boards: int
    doors: int
    lines: int = 0


class LineItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A line that boards answer on: a `serial` device, or a `tcp` address, never both.

    `framing` belongs to `tcp`: Modbus TCP, or RTU frames inside it. `local_echo` says whether the
    adapter repeats what is sent; `auto` finds out.
    """

    name: str
    serial: str = ""
    tcp: str = ""
    framing: Literal["tcp", "rtu"] = "tcp"
    baud: int = 9600
    parity: Literal["N", "E", "O"] = "N"
    stop_bits: Literal[1, 2] = 1
    local_echo: Literal["auto", "yes", "no"] = "auto"


class BoardItem(msgspec.Struct, frozen=True, kw_only=True):
    """A controller board: its name here, the line it answers on, its profile and unit address."""

    name: str
    line: str
    profile: str
    unit: int


class DoorItem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A compartment with its door point. Points are `<board>:<channel>`, channels from 0.

    `lock` is the pulse output, `switch` the door input and `occupancy` the sensor input (empty
    where there is none). `open_when` and `occupied_when` give the polarity of the two inputs.
    Coils with the same `rail` are never on together. `pulse_ms` is the lock's on-time. `band` is
    the climate band that the compartment keeps, empty where it keeps none; `heated` and `cooled`
    are what is built into it.

    `open_ms` is how long its lock took when it was taught, and `bounce_ms` how long its switch
    chattered. `occupied_below` above 0: `occupancy` is a measure of its board, in thousandths, and
    below this it is occupied. `column` and `row` (from 1; column 0: not placed) are its place in
    the picture of the bank, `rows` its height there.
    """

    number: int
    size: Size
    lock: str
    switch: str
    rail: str
    reach: Reach = "middle"
    open_when: Sense = "inactive"
    occupancy: str = ""
    occupied_when: Sense = "active"
    pulse_ms: int = 400
    band: str = ""
    heated: bool = False
    cooled: bool = False
    open_ms: int = 0
    bounce_ms: int = 0
    occupied_below: int = 0
    column: int = 0
    row: int = 0
    rows: int = 1


class SiteMap(msgspec.Struct, frozen=True):
    """The whole map: boards by name, doors by number, lines by name."""

    boards: dict[str, BoardItem] = {}
    doors: dict[int, DoorItem] = {}
    lines: dict[str, LineItem] = {}


def items(site: SiteMap) -> list[tuple[str, dict[str, Scalar]]]:
    """Return the map as (item, value) pairs in the order in which they are written."""
    head = MapHead(boards=len(site.boards), doors=len(site.doors), lines=len(site.lines))
    return [
        ("map", msgspec.to_builtins(head)),
        *(("line", msgspec.to_builtins(site.lines[name])) for name in sorted(site.lines)),
        *(("board", msgspec.to_builtins(site.boards[name])) for name in sorted(site.boards)),
        *(("door", msgspec.to_builtins(site.doors[number])) for number in sorted(site.doors)),
    ]


class MapReader(msgspec.Struct):
    """Gather the items of a map as they are folded; the map changes when the last one is in.

    Outside a map, from its head to its last item, there is nothing to gather.
    """

    head: MapHead | None = None
    boards: dict[str, BoardItem] = {}
    doors: dict[int, DoorItem] = {}
    lines: dict[str, LineItem] = {}

    def add(self, item: str, value: dict[str, Scalar]) -> SiteMap | None:
        """Take one item; return the new map when it is whole, else None.

        Unknown items are ignored. Raises `msgspec.ValidationError` on a malformed value.
        """
        if item == "map":
            self.head = msgspec.convert(value, MapHead)
            self.boards, self.doors, self.lines = {}, {}, {}
        elif item == "line":
            line = msgspec.convert(value, LineItem)
            self.lines |= {line.name: line} if self.head else {}
        elif item == "board":
            board = msgspec.convert(value, BoardItem)
            self.boards |= {board.name: board} if self.head else {}
        elif item == "door":
            door = msgspec.convert(value, DoorItem)
            self.doors |= {door.number: door} if self.head else {}
        head = self.head
        held = len(self.boards), len(self.doors), len(self.lines)
        if head is None or held != (head.boards, head.doors, head.lines):
            return None
        whole = SiteMap(boards=self.boards, doors=self.doors, lines=self.lines)
        self.head, self.boards, self.doors, self.lines = None, {}, {}, {}
        return whole
