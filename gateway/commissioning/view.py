"""How the commissioning stands, as one JSON object for page and command line alike. Pure.

Everything a client needs to go on after a dead battery is in here; it keeps nothing of its own.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from gateway.commissioning import draft as drafts
from gateway.commissioning.draft import Board, Draft, FoundBoard, Match
from gateway.commissioning.findings import Finding
from gateway.commissioning.lesson import Lesson
from gateway.commissioning.proof import DoorTrial, Proof
from gateway.errors import GatewayError
from sync.sitemap import DoorItem, LineItem


def view(
    draft: Draft | None,
    *,
    lesson: Lesson | None = None,
    job: Mapping[str, Any] | None = None,
    last: Mapping[str, Any] | None = None,
    live: Mapping[str, Any] | None = None,
    is_signed: bool = False,
) -> dict[str, Any]:
    """Return the view of a draft; of None where nobody has begun.

    The bench adds what only it knows: `tick`, `state`, `by`, `mine`, `signed`. `live` is what a job
    found that is not in the draft: `ports`, and `open_doors` that wait to be shut.
    """
    shown = draft or drafts.begun("", 0)
    told = dict(live or {})
    stages = steps(shown, is_signed=is_signed and draft is None)
    return {
        "revision": draft.revision if draft else 0,
        "begun_ms": shown.begun_ms,
        "changed_ms": shown.changed_ms,
        "job": None if job is None else dict(job),
        "last": None if last is None else dict(last),
        "ports": list(told.get("ports", ())),
        "open_doors": list(told.get("open_doors", ())),
        "lines": [_line(shown, line) for line in shown.lines.values()],
        "found": [_found(shown, row) for row in shown.found],
        "boards": [
            _board(board)
            for board in sorted(shown.boards.values(), key=lambda one: drafts.natural(one.name))
        ],
        "locks": _locks(shown),
        "lesson": None if lesson is None else _lesson(lesson),
        "doors": [
            _door(shown.doors[number], shown.trials.get(number)) for number in sorted(shown.doors)
        ],
        "proof": None if shown.proof is None else _proof(shown.proof),
        "steps": stages,
        "next": next((stage["step"] for stage in stages if not stage["done"]), ""),
        "findings": _findings(_map_findings(shown)),
    }


def steps(draft: Draft, *, is_signed: bool = False) -> list[dict[str, Any]]:
    """Return the five steps, and how far each is."""
    every = len(drafts.locks(draft))
    taught, wanted = len(draft.doors), max(every - len(draft.skipped), len(draft.doors))
    placed = sum(door.column > 0 for door in draft.doors.values())
    adopted = len(draft.boards)
    passed = draft.proof.count("passed") if draft.proof else 0
    proved = draft.proof is not None and draft.proof.passed
    rows = (
        ("boards", bool(adopted), adopted, max(adopted, len(draft.found))),
        ("doors", bool(taught) and taught == wanted, taught, wanted),
        ("place", bool(taught) and placed == taught, placed, taught),
        ("proof", proved, passed, taught),
        ("sign", is_signed, int(is_signed), 1),
    )
    return [{"step": step, "done": done, "have": have, "of": of} for step, done, have, of in rows]


def _map_findings(draft: Draft) -> list[Finding]:
    """What keeps this draft from being a map, if anything does."""
    if not draft.doors:
        return []
    try:
        drafts.site_map(draft)
    except GatewayError as error:
        evidence = {key: drafts.plain(value) for key, value in error.evidence.items()}
        return [Finding(error.code, f"door {evidence.get('door', '')}".strip(), evidence)]
    return []


def _findings(findings: Iterable[Finding]) -> list[dict[str, Any]]:
    return [
        {"code": one.code, "about": one.about, "evidence": dict(one.evidence)} for one in findings
    ]


def _line(draft: Draft, line: LineItem) -> dict[str, Any]:
    return {
        "name": line.name,
        "where": line.serial or line.tcp,
        "kind": "tcp" if line.tcp else "serial",
        "framing": line.framing if line.tcp else "rtu",
        "baud": line.baud,
        "parity": line.parity,
        "stop_bits": line.stop_bits,
        "findings": _findings(draft.line_findings.get(line.name, ())),
    }


def _found(draft: Draft, row: FoundBoard) -> dict[str, Any]:
    holder = (one for one in draft.boards.values() if (one.line, one.unit) == (row.line, row.unit))
    board = next(holder, None)
    return {
        "key": row.key,
        "line": row.line,
        "unit": row.unit,
        "matches": [_match(match) for match in row.matches],
        "device_id": dict(row.device_id),
        "board": board.name if board else "",
        "findings": _findings(row.findings),
    }


def _match(match: Match) -> dict[str, Any]:
    return {
        "profile": match.kind.profile,
        "title": match.kind.title,
        "confidence": match.confidence,
        "evidence": list(match.evidence),
    }


def _board(board: Board) -> dict[str, Any]:
    kind = board.kind
    return {
        "name": board.name,
        "line": board.line,
        "unit": board.unit,
        "profile": kind.profile,
        "title": kind.title,
        "outputs": kind.outputs,
        "inputs": kind.inputs,
        "measures": list(kind.measures),
        "by_hand": kind.by_hand,
        "settable": kind.settable,
        "findings": _findings(board.findings),
    }


def _locks(draft: Draft) -> list[dict[str, Any]]:
    doors = {door.lock: number for number, door in draft.doors.items()}
    skipped = set(draft.skipped)
    return [
        {"lock": lock, "door": doors.get(lock, 0), "skipped": lock in skipped}
        for lock in drafts.locks(draft)
    ]


def _lesson(lesson: Lesson) -> dict[str, Any]:
    return {
        "lock": lesson.lock,
        "phase": lesson.phase,
        "taught": lesson.taught,
        "code": lesson.code,
        "switch": lesson.switch,
        "open_when": lesson.open_when,
        "open_ms": lesson.open_ms,
        "bounce_ms": lesson.bounce_ms,
        "occupancy": lesson.occupancy,
        "occupied_when": lesson.occupied_when,
        "occupied_below": lesson.occupied_below,
        "number": lesson.number,
        "suggest": lesson.suggest,
        "attempts": len(lesson.attempts),
        "pulse_ms": lesson.pulse_ms,
        "findings": _findings(lesson.findings),
    }


def _door(door: DoorItem, trial: DoorTrial | None) -> dict[str, Any]:
    names = (
        "number", "size", "lock", "switch", "open_when", "occupancy", "occupied_when",
        "occupied_below", "rail", "reach", "heated", "cooled", "pulse_ms", "open_ms", "bounce_ms",
        "column", "row", "rows",
    )  # fmt: skip
    told: dict[str, Any] = {name: getattr(door, name) for name in names}
    return told | {"tested": None if trial is None else _tested(trial)}


def _tested(trial: DoorTrial) -> dict[str, Any]:
    return {
        "passed": trial.verdict == "passed",
        "verdict": trial.verdict,
        "took_ms": trial.took_ms,
        "attempts": trial.attempts,
        "code": trial.code,
    }


def _proof(proof: Proof) -> dict[str, Any]:
    return {
        "passed": proof.passed,
        "audit": proof.audit,
        "at_ms": proof.at_ms,
        "doors_passed": proof.count("passed"),
        "doors_failed": proof.count("failed"),
        "doors_left": proof.count("left"),
        "findings": _findings((*proof.reasons, *proof.differences, *proof.notes)),
        "open_doors": list(proof.open_doors),
    }
