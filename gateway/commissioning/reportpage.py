"""A report as people read it: one HTML page that prints on A4, and plain text. Pure.

Nothing is loaded from anywhere and nothing runs: the file is the same in ten years. A verdict is a
word and a mark, never a colour alone.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final, Literal

import msgspec

from gateway.commissioning.findings import Finding, meaning, told
from gateway.commissioning.proof import Machine, Verdict
from gateway.commissioning.reportwords import WORDS
from sync.facts import Size
from sync.sitemap import Reach, Sense

FORMAT: Final = "commissioning-report"
COLUMN_ROWS: Final = 8
"""Doors without a place are drawn in columns of so many."""
CELL_W, CELL_H = 88, 44
NONE: Final = "-"
MARKS: Final[dict[Verdict, str]] = {"passed": "✓", "failed": "✗", "left": "○"}


class _Row(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of what a report consists of."""


class DoorRow(_Row, frozen=True, kw_only=True):
    """One door: what it is, where it is wired, what the trial showed."""

    number: int
    size: Size
    reach: Reach
    lock: str
    switch: str
    open_when: Sense
    occupancy: str
    occupied_when: Sense
    occupied_below: int
    rail: str
    heated: bool
    cooled: bool
    pulse_ms: int
    open_ms: int
    bounce_ms: int
    column: int
    row: int
    rows: int
    verdict: Verdict
    took_ms: int | None
    attempts: int
    code: str
    shut: bool | None
    occupied: bool | None
    tried_ms: int


class BoardRow(_Row, frozen=True, kw_only=True):
    """One board, and how well it answered."""

    name: str
    line: str
    where: str
    unit: int
    profile: str
    title: str
    asked: int
    failed: dict[str, int]
    per_1000: int
    corrected: tuple[str, ...]


class Report(_Row, frozen=True, kw_only=True):
    """Everything that was proved, and of what."""

    format: Literal["commissioning-report"] = FORMAT
    version: Literal[1] = 1
    site: str
    software: str
    by: str
    at_ms: int
    audit: bool
    passed: bool
    doors: tuple[DoorRow, ...]
    boards: tuple[BoardRow, ...]
    rails: dict[str, tuple[int, ...]]
    machine: Machine
    reasons: tuple[Finding, ...]
    notes: tuple[Finding, ...]
    differences: tuple[Finding, ...]


Language = Literal["en", "de"]
_Cells = Iterable[Sequence[str]]


# --- the page -------------------------------------------------------------------------------------


def html(report: Report, lang: Language, ref: str, digest: str) -> str:
    """Return the whole page."""
    words = WORDS[lang]
    title = f"{words['audit'] if report.audit else words['title']}: {report.site}"
    tone = "good" if report.passed else "bad"
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="verdict {tone}">{escape(_verdict(report, lang))}</p>',
        _facts(_head(report, lang, ref, digest)),
        f"<h2>{escape(words['picture'])}</h2>{_picture(report, lang)}",
        *_findings_html(report, lang),
        _table(words["doors"], _door_heads(lang), _door_cells(report, lang)),
        _table(words["boards"], _board_heads(lang), _board_cells(report)),
        _table(words["rails"], (words["rail"], words["doors"]), _rail_cells(report)),
        f"<p>{escape(words['rails_note'])}</p>",
        f"<h2>{escape(words['proof'])}</h2><p>{escape(words['hash_note'])}</p>",
        f"<p><code>{escape(digest)}</code></p>",
    ]
    return (
        f'<!doctype html>\n<html lang="{lang}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(parts)
        + "\n</main>\n</body>\n</html>\n"
    )


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    body = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in rows)
    return f"<dl>{body}</dl>"


def _table(caption: str, heads: Sequence[str], rows: _Cells) -> str:
    """A table whose first column names its row; it scrolls by itself where a phone is narrow."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in heads)
    body = "".join(
        f'<tr><th scope="row">{escape(first)}</th>'
        + "".join(f"<td>{_breakable(cell)}</td>" for cell in rest)
        + "</tr>"
        for first, *rest in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def _breakable(cell: str) -> str:
    """A device's long name may break behind its strokes, so that its column stays narrow."""
    return escape(cell).replace("/", "/<wbr>").replace("_", "_<wbr>")


def _findings_html(report: Report, lang: Language) -> Iterator[str]:
    for name, findings in _sections(report):
        yield f"<h2>{escape(WORDS[lang][name])}</h2>"
        items = "".join(
            f"<li><strong>{escape(about)}</strong> {escape(what)} "
            f"<em>{escape(cure)}</em> <code>{escape(numbers)}</code></li>"
            for about, what, cure, numbers in _told(findings, lang)
        )
        yield f"<ul>{items}</ul>" if items else f"<p>{escape(WORDS[lang]['none'])}</p>"


def _picture(report: Report, lang: Language) -> str:
    """The bank as it stands: a drawing; the table below says the same in words."""
    cells = _places(report.doors)
    columns = max((column for column, _, _ in cells.values()), default=1)
    depth = max((row + rows - 1 for _, row, rows in cells.values()), default=1)
    width, height = columns * CELL_W, depth * CELL_H
    label = escape(WORDS[lang]["picture_says"])
    boxes = []
    for door in report.doors:
        column, row, rows = cells[door.number]
        x, y, tall = (column - 1) * CELL_W + 2, (row - 1) * CELL_H + 2, rows * CELL_H - 4
        boxes.append(
            f'<rect class="{door.verdict}" x="{x}" y="{y}" width="{CELL_W - 4}" height="{tall}" '
            f'rx="4"/><text x="{x + 8}" y="{y + 26}">{door.number} {MARKS[door.verdict]}</text>'
            f'<text class="size" x="{x + CELL_W - 12}" y="{y + 26}">{door.size}</text>'
        )
    return (
        f'<svg role="img" aria-label="{label}" viewBox="0 0 {width} {height}" '
        f'style="max-width:{width}px">{"".join(boxes)}</svg>'
    )


def _places(doors: Iterable[DoorRow]) -> dict[int, tuple[int, int, int]]:
    """Return (column, row, rows) of each door; those without a place stand behind the others."""
    known = list(doors)
    cells = {one.number: (one.column, one.row, one.rows) for one in known if one.column}
    behind = max((column for column, _, _ in cells.values()), default=0)
    for at, door in enumerate(one for one in known if not one.column):
        cells[door.number] = (behind + 1 + at // COLUMN_ROWS, 1 + at % COLUMN_ROWS, 1)
    return cells


# --- plain text -----------------------------------------------------------------------------------


def plain(report: Report, lang: Language, ref: str, digest: str) -> str:
    """Return the same as text."""
    words = WORDS[lang]
    title = f"{words['audit'] if report.audit else words['title']}: {report.site}"
    rows = [title, "=" * len(title), "", _verdict(report, lang), ""]
    rows += [f"{name}: {value}" for name, value in _head(report, lang, ref, digest)]
    for name, findings in _sections(report):
        rows += ["", f"{words[name]}:"]
        said = [
            f"  {about}: {what} {cure} ({numbers})"
            for about, what, cure, numbers in _told(findings, lang)
        ]
        rows += said or [f"  {words['none']}"]
    for caption, heads, cells in (
        (words["doors"], _door_heads(lang), _door_cells(report, lang)),
        (words["boards"], _board_heads(lang), _board_cells(report)),
        (words["rails"], (words["rail"], words["doors"]), _rail_cells(report)),
    ):
        rows += ["", f"{caption}:", *_columns(heads, cells)]
    return "\n".join(rows) + "\n"


def _columns(heads: Sequence[str], cells: _Cells) -> list[str]:
    rows = [tuple(heads), *(tuple(row) for row in cells)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(heads))]
    return [
        "  "
        + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


# --- what both say --------------------------------------------------------------------------------


def _verdict(report: Report, lang: Language) -> str:
    counts = {verdict: sum(door.verdict == verdict for door in report.doors) for verdict in MARKS}
    words = WORDS[lang]
    said = words["all_good"] if report.passed else words["not_good"]
    numbers = ", ".join(f"{counts[verdict]} {words[verdict]}" for verdict in MARKS)
    return f"{MARKS['passed' if report.passed else 'failed']} {said} ({numbers})"


def _head(report: Report, lang: Language, ref: str, digest: str) -> Iterator[tuple[str, str]]:
    words = WORDS[lang]
    yield words["site"], report.site
    yield words["when"], moment(report.at_ms)
    yield words["by"], report.by
    yield words["software"], report.software or words["unknown"]
    yield words["entry"], ref or words["unsigned"]
    yield words["hash"], digest
    flush = report.machine.flush_us
    yield words["disk"], words["unknown"] if flush is None else f"{flush / 1000:.1f} ms"
    yield words["clock"], words[f"clock_{report.machine.clock}"]
    yield words["hub"], words[f"hub_{report.machine.hub}"]


def _sections(report: Report) -> tuple[tuple[str, tuple[Finding, ...]], ...]:
    return (
        ("reasons", report.reasons),
        ("differences", report.differences),
        ("notes", report.notes),
    )


def _told(findings: Iterable[Finding], lang: Language) -> Iterator[tuple[str, str, str, str]]:
    """Whose, what, what to do, and the numbers, of each."""
    for finding in findings:
        what, cure = meaning(finding, lang)
        facts = " ".join(f"{key}={value}" for key, value in sorted(finding.evidence.items()))
        about = finding.about
        if about.startswith("door "):
            about = f"{WORDS[lang]['door']} {about.removeprefix('door ')}"
        yield about, what, cure, f"{finding.code} {facts}".strip()


def _door_heads(lang: Language) -> tuple[str, ...]:
    names = (
        "door", "verdict", "took", "attempts", "size", "reach", "lock", "switch", "occupancy",
        "rail", "features", "learned",
    )  # fmt: skip
    return tuple(WORDS[lang][name] for name in names)


def _door_cells(report: Report, lang: Language) -> Iterator[tuple[str, ...]]:
    words = WORDS[lang]
    for door in report.doors:
        features = [words[name] for name in ("heated", "cooled") if getattr(door, name)]
        said = f"{MARKS[door.verdict]} {words[door.verdict]}"
        sensor = f"{door.occupancy} {words[door.occupied_when]}" if door.occupancy else NONE
        if door.occupied_below:
            sensor = f"{door.occupancy} < {door.occupied_below / 1000:.0f} mm"
        yield (
            str(door.number),
            f"{said}: {told(door.code, lang, {'door': door.number})[0]}" if door.code else said,
            NONE if door.took_ms is None else _ms(door.took_ms),
            str(door.attempts),
            door.size,
            words[door.reach],
            f"{door.lock} ({_ms(door.pulse_ms)})",
            f"{door.switch} {words[door.open_when]}",
            sensor,
            door.rail,
            ", ".join(features) or NONE,
            f"{_ms(door.open_ms)} / {_ms(door.bounce_ms)}",
        )


def _board_heads(lang: Language) -> tuple[str, ...]:
    names = ("board", "line", "where", "unit", "profile", "asked", "failed_of", "corrected")
    return tuple(WORDS[lang][name] for name in names)


def _board_cells(report: Report) -> Iterator[tuple[str, ...]]:
    for board in report.boards:
        failed = " ".join(f"{code}:{count}" for code, count in sorted(board.failed.items()))
        yield (
            board.name,
            board.line,
            board.where or NONE,
            str(board.unit),
            f"{board.profile} {board.title}".strip(),
            str(board.asked),
            f"{board.per_1000} ‰ {failed}".strip(),
            " ".join(board.corrected) or NONE,
        )


def _rail_cells(report: Report) -> Iterator[tuple[str, str]]:
    for rail, doors in sorted(report.rails.items()):
        yield rail, " ".join(map(str, doors))


def _ms(value: int) -> str:
    """A number and its unit stay on one line."""
    return f"{value}\N{NO-BREAK SPACE}ms"


def moment(at_ms: int) -> str:
    """Return a moment as people write it, in UTC; the same everywhere."""
    try:
        return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (OverflowError, ValueError, OSError):
        return f"{at_ms} ms"


STYLE: Final = """
:root{color-scheme:light;font:100%/1.5 system-ui,sans-serif;color:#000;background:#fff}
*{box-sizing:border-box}body{margin:0}
main{max-width:70rem;margin:0 auto;padding:1rem;overflow-wrap:anywhere}
h1{font-size:1.6rem;line-height:1.2}h2{font-size:1.2rem;margin:1.5rem 0 .5rem}
.verdict{font-size:1.3rem;font-weight:700;padding:.75rem 1rem;border:3px solid}
.good{color:#00461a;background:#e8f6ec}.bad{color:#7d0d0d;background:#fdeceb}
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{font-weight:700}dd{margin:0}
.wide{overflow-x:auto;margin-top:1.5rem}
table{border-collapse:collapse;width:100%;overflow-wrap:normal}
caption{text-align:left;font-size:1.2rem;font-weight:700}
th,td{border:1px solid #555;padding:.3rem .5rem;text-align:left;vertical-align:top}
thead th{background:#eee}li{margin:.4rem 0}code{font:inherit;font-family:ui-monospace,monospace}
svg{width:100%;height:auto;font:700 18px system-ui,sans-serif}
rect{fill:#fff;stroke:#000;stroke-width:2}rect.failed{fill:#fdeceb;stroke:#7d0d0d;stroke-width:4}
rect.left{stroke-dasharray:6 4}text.size{font-weight:400;text-anchor:end}
@media (max-width:34rem){dl{grid-template-columns:1fr}dd{margin-bottom:.4rem}}
@page{size:A4;margin:14mm}
@media print{main{max-width:none;padding:0;font-size:8.5pt}thead{display:table-header-group}
tr,li,svg,.verdict{break-inside:avoid}h2,caption{break-after:avoid}
.wide{overflow:visible}table{font-size:7pt}th,td{padding:.1rem .25rem}svg{max-height:120mm}}
"""
