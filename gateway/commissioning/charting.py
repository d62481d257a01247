"""The map of a draft: all taught doors; refused as soon as two things claim one place. Pure."""

from collections.abc import Iterator

from gateway.commissioning.sheet import Draft, Kind, channel, of, points_of
from gateway.errors import GatewayError
from sync.sitemap import DoorItem, SiteMap


def site_map(draft: Draft) -> SiteMap:
    """Return the map of all taught doors. Raises GatewayError `map.*`, with the door."""
    for code, remedy, evidence in _objections(draft):
        raise GatewayError(code, remedy, **evidence)
    used = {board.line for board in draft.boards.values()}
    return SiteMap(
        boards={name: draft.boards[name].item for name in sorted(draft.boards)},
        doors={number: draft.doors[number] for number in sorted(draft.doors)},
        lines={
            name: line
            for name, line in sorted(draft.lines.items())
            if name in used and (line.serial or line.tcp)
        },
    )


_Objection = tuple[str, str, dict[str, str | int]]


def _objections(draft: Draft) -> Iterator[_Objection]:
    if not draft.boards:
        yield "map.no_boards", "Scan, and adopt a board", {}
    if not draft.doors:
        yield "map.no_doors", "Teach a door first", {}
    places: dict[tuple[str, int], str] = {}
    for name, board in sorted(draft.boards.items()):
        other = places.setdefault((board.line, board.unit), name)
        if other != name:
            evidence: dict[str, str | int] = {"board": name, "other": other, "unit": board.unit}
            yield "map.same_unit", "Give one of these boards another number", evidence
        low, high = board.kind.units
        if not low <= board.unit <= high:
            evidence = {"board": name, "unit": board.unit, "low": low, "high": high}
            yield "map.unit", "Give this board a number that its make can have", evidence
    taken: dict[str, int] = {}
    cells: dict[tuple[int, int], int] = {}
    for _, door in sorted(draft.doors.items()):
        yield from _door_objections(draft, door, taken, cells)


def _door_objections(
    draft: Draft, door: DoorItem, taken: dict[str, int], cells: dict[tuple[int, int], int]
) -> Iterator[_Objection]:
    number = door.number
    for point in (f">{door.lock}", *points_of(door)):
        bare = point.strip(">#")
        board = draft.boards.get(of(bare))
        if board is None:
            remedy = "Adopt the board of this door again, or forget the door"
            yield "map.no_board", remedy, {"door": number, "point": bare}
        else:
            yield from _point_objections(board.kind, number, point, taken)
    if door.occupancy == door.switch and not door.occupied_below:
        remedy = "Forget this door and teach it again: its sensor is its switch"
        yield "map.same_point", remedy, {"door": number, "other": number, "point": door.switch}
    board = draft.boards.get(of(door.lock))
    if board is not None and door.pulse_ms > board.kind.max_on_ms:
        most = board.kind.max_on_ms
        yield "map.pulse", "Shorten the pulse of this door", {"door": number, "most_ms": most}
    for row in range(door.row, door.row + door.rows) if door.column else ():
        other = cells.setdefault((door.column, row), number)
        if other != number:
            remedy = "Move one of these two doors in the picture of the bank"
            yield "map.same_place", remedy, {"door": number, "other": other}


def _point_objections(
    kind: Kind, number: int, point: str, taken: dict[str, int]
) -> Iterator[_Objection]:
    """A lock is written `>board:channel` here, a measure `board:channel#`, an input plainly."""
    bare = point.strip(">#")
    counts = {">": kind.outputs, "#": len(kind.measures)}
    count = counts.get(point[0], counts.get(point[-1], kind.inputs))
    if channel(bare) >= count:
        remedy = "Forget this door and teach it again: its board has no such channel"
        yield "map.no_channel", remedy, {"door": number, "point": bare, "channels": count}
    other = taken.setdefault(point, number)
    if other != number:
        remedy = "Forget one of these two doors and teach it again"
        yield "map.same_point", remedy, {"door": number, "other": other, "point": bare}
