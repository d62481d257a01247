"""Acts on boards of a draft: adopted, dropped, renamed, replaced. Pure."""

from msgspec.structs import replace

from gateway.commissioning import draft as drafts
from gateway.commissioning.asks import Adopt, DropBoard, RenameBoard, ReplaceBoard
from gateway.commissioning.dooracts import forget
from gateway.commissioning.draft import Board, Draft, FoundBoard, Kind, KindOf
from gateway.errors import GatewayError
from gateway.mapfile import BOARDS_MAX
from sync.sitemap import DoorItem


def adopted(draft: Draft, act: Adopt, kind_of: KindOf) -> Draft:
    """Make a found unit a board of the bank."""
    row = _row(draft, act.key)
    kind = _kind(row, act.profile, kind_of)
    holder = _holder(draft, row)
    if holder is not None:
        raise GatewayError(
            "board.adopted", "Drop the board that it is now, first", board=holder.name
        )
    if act.name is not None and act.name in draft.boards:
        raise GatewayError("board.exists", "Choose another name", board=act.name)
    return _with_boards(draft, {**draft.boards, **_board(draft, row, kind, act.name)})


def all_adopted(draft: Draft) -> Draft:
    """Adopt all that is certain or likely, and stands alone."""
    boards = dict(draft.boards)
    for row in draft.found:
        sure = row.matches[:1] if row.matches[:1] and _is_sure(row) else ()
        if not sure or _holder(draft, row) is not None:
            continue
        if sure[0].kind.units[0] <= row.unit <= sure[0].kind.units[1]:
            boards |= _board(replace(draft, boards=boards), row, sure[0].kind, None)
    if len(boards) == len(draft.boards):
        raise GatewayError("board.none_sure", "Choose what each board is, one by one")
    return _with_boards(draft, boards)


def _is_sure(row: FoundBoard) -> bool:
    """Return whether the best match stands alone, and nothing says that two boards answer."""
    alone = len(row.matches) == 1 or row.matches[1].confidence != row.matches[0].confidence
    doubled = any(finding.code == "board.same_number" for finding in row.findings)
    return alone and not doubled and row.matches[0].confidence in {"certain", "likely"}


def _with_boards(draft: Draft, boards: dict[str, Board]) -> Draft:
    if len(boards) > BOARDS_MAX:
        raise GatewayError("commission.too_many", "Make two sites of it", most=BOARDS_MAX)
    return drafts.changed(draft, boards=boards)


def _board(draft: Draft, row: FoundBoard, kind: Kind, name: str | None) -> dict[str, Board]:
    name = name or drafts.fresh(role(kind), draft.boards)
    return {name: Board(name=name, line=row.line, unit=row.unit, kind=kind, findings=row.findings)}


def role(kind: Kind) -> str:
    """Return what a board is for, as its name says it."""
    if kind.outputs:
        return "io" if kind.inputs else "locks"
    return "doors" if kind.inputs else "sensor"


def dropped(draft: Draft, act: DropBoard) -> Draft:
    """Leave a board out, and forget its doors."""
    _board_named(draft, act.name)
    there = {
        number
        for number, door in draft.doors.items()
        if act.name in {drafts.of(point) for point in (door.lock, door.switch, door.occupancy)}
    }
    after = forget(draft, there)
    boards = {name: board for name, board in after.boards.items() if name != act.name}
    skipped = tuple(lock for lock in after.skipped if drafts.of(lock) != act.name)
    return replace(after, boards=boards, skipped=skipped, proof=None)


def renamed(draft: Draft, act: RenameBoard) -> Draft:
    """Give a board another name; its doors keep their points."""
    board = _board_named(draft, act.name)
    if act.to in draft.boards:
        raise GatewayError("board.exists", "Choose another name", board=act.to)

    def moved(point: str) -> str:
        is_there = drafts.of(point) == act.name
        return f"{act.to}:{drafts.channel(point)}" if is_there else point

    boards = {name: one for name, one in draft.boards.items() if name != act.name}
    doors = {
        number: replace(
            door, lock=moved(door.lock), switch=moved(door.switch), occupancy=moved(door.occupancy)
        )
        for number, door in draft.doors.items()
    }
    return drafts.changed(
        draft, boards=boards | {act.to: replace(board, name=act.to)}, doors=doors,
        skipped=tuple(map(moved, draft.skipped)),
    )  # fmt: skip


def replaced(draft: Draft, act: ReplaceBoard, kind_of: KindOf) -> Draft:
    """Another unit under an old name: it must have every channel that is in use."""
    old = _board_named(draft, act.name)
    row = _row(draft, act.key)
    holder = _holder(draft, row)
    if holder is not None and holder.name != act.name:
        raise GatewayError(
            "board.adopted", "Drop the board that it is now, first", board=holder.name
        )
    offered = [match.kind.profile for match in row.matches]
    usual = old.kind.profile if old.kind.profile in offered else next(iter(offered), "")
    kind = _kind(row, act.profile or usual, kind_of)
    for number, door in sorted(draft.doors.items()):
        for point, count in _uses(door, kind):
            if drafts.of(point) == act.name and drafts.channel(point) >= count:
                raise GatewayError(
                    "board.too_small", "Choose a board with as many channels, or forget this door",
                    board=act.name, door=number, point=point,
                )  # fmt: skip
    board = Board(name=act.name, line=row.line, unit=row.unit, kind=kind, findings=row.findings)
    gone = {
        number
        for number, door in draft.doors.items()
        if act.name in {drafts.of(point) for point in (door.lock, door.switch, door.occupancy)}
    }
    return drafts.changed(
        draft, boards={**draft.boards, act.name: board},
        trials={number: one for number, one in draft.trials.items() if number not in gone},
    )  # fmt: skip


def _uses(door: DoorItem, kind: Kind) -> tuple[tuple[str, int], ...]:
    sensed = len(kind.measures) if door.occupied_below else kind.inputs
    occupancy = ((door.occupancy, sensed),) if door.occupancy else ()
    return (door.lock, kind.outputs), (door.switch, kind.inputs), *occupancy


def _row(draft: Draft, key: str) -> FoundBoard:
    for row in draft.found:
        if row.key == key:
            return row
    raise GatewayError("board.not_found", "Scan again: this board is not among the found", key=key)


def _holder(draft: Draft, row: FoundBoard) -> Board | None:
    boards = draft.boards.values()
    return next((one for one in boards if (one.line, one.unit) == (row.line, row.unit)), None)


def _kind(row: FoundBoard, profile: str, kind_of: KindOf) -> Kind:
    offered = next((one.kind for one in row.matches if one.kind.profile == profile), None)
    kind = offered or kind_of(profile)
    if kind is None:
        raise GatewayError("board.no_profile", "Choose one of the profiles", profile=profile)
    low, high = kind.units
    if not low <= row.unit <= high:
        raise GatewayError(
            "board.unit", "Give this board a number that its make can have",
            unit=row.unit, low=low, high=high,
        )  # fmt: skip
    return kind


def _board_named(draft: Draft, name: str) -> Board:
    board = draft.boards.get(name)
    if board is None:
        raise GatewayError("board.unknown", "Look at the boards there are", board=name)
    return board
