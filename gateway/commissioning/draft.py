"""The draft: all that is known of a bank while it is commissioned, and what becomes of it. Pure.

Whoever changes a draft gets another, with the next revision. It is kept in one file outside the
log, so losing it loses an installer's time and never a parcel. The map is made of taught doors.
"""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from typing import Any

import msgspec
from msgspec.structs import replace

from gateway.commissioning import lesson as lessons
from gateway.commissioning.charting import site_map
from gateway.commissioning.findings import Finding
from gateway.commissioning.lesson import Lesson, Sample
from gateway.commissioning.proof import Proof
from gateway.commissioning.sheet import (
    BYTES_MAX,
    DOOR_MAX,
    FINDINGS_MAX,
    FOUND_MAX,
    MATCHES_MAX,
    PULSE_MS,
    RAIL,
    TEXT_MAX,
    VERSION,
    Board,
    Draft,
    FoundBoard,
    Kind,
    KindOf,
    Match,
    Name,
    channel,
    decode,
    encode,
    natural,
    no_kind,
    of,
    plain,
    points_of,
)
from gateway.errors import GatewayError
from gateway.mapfile import BOARDS_MAX, DOORS_MAX
from sync.facts import Size
from sync.sitemap import BoardItem, DoorItem, LineItem, SiteMap

__all__ = [
    "BYTES_MAX",
    "DOOR_MAX",
    "FOUND_MAX",
    "PULSE_MS",
    "RAIL",
    "TEXT_MAX",
    "VERSION",
    "Board",
    "Draft",
    "FoundBoard",
    "Kind",
    "KindOf",
    "Match",
    "Name",
    "begun",
    "changed",
    "channel",
    "decode",
    "door_of",
    "encode",
    "found",
    "fresh",
    "locks",
    "named",
    "natural",
    "no_kind",
    "of",
    "plain",
    "points_of",
    "proved",
    "site_map",
    "taught",
    "teach",
]


# --- beginning ------------------------------------------------------------------------------------


def begun(by: str, at_ms: int, site: SiteMap | None = None, kind_of: KindOf = no_kind) -> Draft:
    """Return a draft of the map that stands, all doors taught; or an empty one."""
    site = site or SiteMap()
    lines = dict(site.lines)
    for board in site.boards.values():  # older maps leave lines to the machine's configuration
        lines.setdefault(board.line, LineItem(name=board.line))
    boards = {
        name: Board(
            name=name, line=board.line, unit=board.unit,
            kind=kind_of(board.profile) or _guessed(board, site),
        )
        for name, board in site.boards.items()
    }  # fmt: skip
    return Draft(
        by=by, begun_ms=at_ms, changed_ms=at_ms, lines=lines, boards=boards, doors=dict(site.doors)
    )


def _guessed(board: BoardItem, site: SiteMap) -> Kind:
    """Of a board whose profile nobody knows any more: as many channels as its doors use."""
    outputs = [channel(door.lock) for door in site.doors.values() if of(door.lock) == board.name]
    points = [
        point
        for door in site.doors.values()
        for point in (door.switch, door.occupancy)
        if of(point) == board.name
    ]
    return Kind(
        profile=board.profile,
        outputs=max(outputs, default=-1) + 1,
        inputs=max(map(channel, points), default=-1) + 1,
    )


def base_of(site: SiteMap) -> str:
    """Return what a draft that begins now is about: the SHA-256 (hex) of the site's map."""
    built = msgspec.to_builtins(site, str_keys=True)
    return sha256(msgspec.json.encode(built, order="sorted")).hexdigest()


def changed(draft: Draft, at_ms: int | None = None, **fields: Any) -> Draft:
    """Return the next revision. What is on the map changes: then no proof holds any more."""
    if fields.keys() & {"lines", "boards", "doors"}:
        fields.setdefault("proof", None)
    return replace(
        draft,
        revision=draft.revision + 1,
        changed_ms=draft.changed_ms if at_ms is None else at_ms,
        **fields,
    )


# --- what a scan brought --------------------------------------------------------------------------


def named(draft: Draft, line: LineItem) -> LineItem:
    """Return the line under the name that its place has here already, or under a new one."""
    for known in draft.lines.values():
        if (line.serial, line.tcp) == (known.serial, known.tcp):
            return replace(line, name=known.name)
    if line.name and line.name not in draft.lines:
        return line
    return replace(line, name=fresh("rs485" if line.serial else "tcp", draft.lines))


def found(
    draft: Draft,
    line: LineItem,
    boards: Iterable[FoundBoard],
    findings: Iterable[Finding] = (),
) -> Draft:
    """Return the draft with what a scan of one line brought, instead of what earlier ones did.

    A line that is known by its place keeps its name. Adopted boards stay. Raises GatewayError
    `commission.too_many`.
    """
    item = named(draft, line)
    rows = {board.unit: _bounded(replace(board, line=item.name)) for board in boards}
    kept = [row for row in draft.found if row.line != item.name]
    if len(kept) + len(rows) > FOUND_MAX or len(draft.lines) > BOARDS_MAX:
        raise GatewayError(
            "commission.too_many", "Make two sites of it, or begin anew", most=FOUND_MAX
        )
    known = {name: draft.lines[name] for name in draft.lines if name != item.name}
    fields: dict[str, Any] = {
        "found": (*kept, *(rows[unit] for unit in sorted(rows))),
        "line_findings": draft.line_findings | {item.name: _few(findings)},
    }
    if draft.lines.get(item.name) != item:
        fields["lines"] = known | {item.name: item}
    return changed(draft, **fields)


def _bounded(board: FoundBoard) -> FoundBoard:
    """What came over a wire is cut to size."""
    matches = tuple(
        replace(match, evidence=tuple(text[:TEXT_MAX] for text in match.evidence[:MATCHES_MAX]))
        for match in board.matches[:MATCHES_MAX]
    )
    told = list(board.device_id.items())[:MATCHES_MAX]
    return replace(
        board, matches=matches, findings=_few(board.findings),
        device_id={key[:TEXT_MAX]: value[:TEXT_MAX] for key, value in told},
    )  # fmt: skip


def _few(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(
        Finding(
            finding.code[:TEXT_MAX],
            finding.about[:TEXT_MAX],
            {
                key: value[:TEXT_MAX] if isinstance(value, str) else value
                for key, value in list(finding.evidence.items())[:FINDINGS_MAX]
            },
        )
        for finding in list(findings)[:FINDINGS_MAX]
    )


def fresh(role: str, taken: Mapping[str, object]) -> str:
    """Return the first free name of a role: `locks-1`, `locks-2`."""
    number = 1
    while f"{role}-{number}" in taken:
        number += 1
    return f"{role}-{number}"


# --- what a lesson brought ------------------------------------------------------------------------


def locks(draft: Draft) -> tuple[str, ...]:
    """Return every lock output there is, board by board."""
    return tuple(
        f"{board.name}:{number}"
        for board in sorted(draft.boards.values(), key=lambda board: natural(board.name))
        for number in range(board.kind.outputs)
    )


def teach(draft: Draft, lock: str, sample: Sample, *, ms: int | None = None) -> Lesson:
    """Return the lesson of one lock. Raises GatewayError `teach.no_lock`, `teach.open_before`."""
    if lock not in locks(draft):
        raise GatewayError("teach.no_lock", "Adopt the board of this lock first", lock=lock)
    board = draft.boards[of(lock)]
    door = door_of(draft, lock)
    shut = {} if door is None else {door.switch: door.open_when == "inactive"}
    return lessons.begun(
        lock, sample,
        taken=_taken(draft), suggest=_suggested(draft, lock), door=door.number if door else 0,
        pulse_ms=ms or (door.pulse_ms if door else PULSE_MS), pulse_max=board.kind.max_on_ms,
        shut=shut, distances=_distances(draft),
    )  # fmt: skip


def taught(draft: Draft, lesson: Lesson, at_ms: int | None = None) -> Draft:
    """Return the draft with the door of a lesson that is done.

    A door that was forgotten keeps its features. Raises GatewayError `teach.unfinished`,
    `teach.duplicate`, `commission.too_many`.
    """
    if not lesson.taught:
        raise GatewayError("teach.unfinished", "Finish this door first", phase=lesson.phase)
    other = door_of(draft, lesson.lock)
    doors = {number: door for number, door in draft.doors.items() if door is not other}
    number = lesson.number
    points = {point for door in doors.values() for point in points_of(door)}
    mark = "#" if lesson.occupied_below else ""
    mine = {lesson.switch, f"{lesson.occupancy}{mark}"} - {""}
    if number in doors or points & mine:
        raise GatewayError(
            "teach.duplicate", "Forget the other door first, then teach this one", door=number
        )
    if len(doors) >= DOORS_MAX:
        raise GatewayError("commission.too_many", "Make two sites of it", most=DOORS_MAX)
    like = draft.forgotten.get(number) or other
    if like is None:
        like = DoorItem(number=number, size=_usual_size(draft), lock="", switch="", rail=RAIL)
    doors[number] = replace(
        like, number=number, size=lesson.size or like.size, lock=lesson.lock,
        switch=lesson.switch, open_when=lesson.open_when, occupancy=lesson.occupancy,
        occupied_when=lesson.occupied_when, occupied_below=lesson.occupied_below,
        pulse_ms=min(one.ms for one in lesson.attempts if one.took_ms is not None),
        open_ms=lesson.open_ms, bounce_ms=lesson.bounce_ms,
    )  # fmt: skip
    gone = {number, *([other.number] if other else [])}
    return changed(
        draft, at_ms, doors=doors,
        forgotten={n: door for n, door in draft.forgotten.items() if n not in gone},
        trials={n: trial for n, trial in draft.trials.items() if n not in gone},
        skipped=tuple(lock for lock in draft.skipped if lock != lesson.lock),
    )  # fmt: skip


def proved(draft: Draft, proof: Proof, at_ms: int | None = None) -> Draft:
    """Return the draft with its proof, and with the trials that it was made of."""
    trials = {trial.number: trial for trial in proof.doors if trial.number in draft.doors}
    return changed(draft, at_ms, trials=trials, proof=proof)


def door_of(draft: Draft, lock: str) -> DoorItem | None:
    """Return the door that a lock belongs to."""
    return next((door for door in draft.doors.values() if door.lock == lock), None)


def _taken(draft: Draft) -> dict[str, int]:
    return {point: number for number, door in draft.doors.items() for point in points_of(door)}


def _suggested(draft: Draft, lock: str) -> int:
    """A lock's own number; the one behind its neighbour's; the lowest that is free."""
    own = door_of(draft, lock)
    if own is not None:
        return own.number
    before = door_of(draft, f"{of(lock)}:{channel(lock) - 1}")
    if before is not None and before.number + 1 not in draft.doors and before.number < DOOR_MAX:
        return before.number + 1
    return next(number for number in range(1, DOOR_MAX + 1) if number not in draft.doors)


def _distances(draft: Draft) -> list[str]:
    return [
        f"{board.name}:{number}"
        for board in draft.boards.values()
        for number, measure in enumerate(board.kind.measures)
        if measure == "distance"
    ]


def _usual_size(draft: Draft) -> Size:
    """Banks come in runs of one size: that of the last door."""
    return next(reversed(draft.doors.values())).size if draft.doors else "M"
