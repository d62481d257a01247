"""The report of a proof: canonical JSON whose hash the log states, and a page made of it. Pure.

The bytes are the report; a page, a print or a text is a reading of them. Whoever holds the file
checks it against the log: the SHA-256 in `site.commissioned` is the hash of these very bytes.
"""

from hashlib import sha256
from typing import Final, Literal

import msgspec

from gateway.commissioning import draft as drafts
from gateway.commissioning import proof as proofs
from gateway.commissioning import reportpage
from gateway.commissioning.draft import Board, Draft
from gateway.commissioning.proof import BoardTrial, DoorTrial, Proof
from gateway.commissioning.reportpage import BoardRow, DoorRow, Report
from gateway.errors import GatewayError
from sync.sitemap import DoorItem

BYTES_MAX: Final = 4 * 1024 * 1024
Language = Literal["en", "de"]


def encode(proof: Proof, draft: Draft, *, site: str = "", software: str = "") -> bytes:
    """Return the report of what was proved of this draft: the same bytes for the same facts."""
    boards = {trial.name: trial for trial in proof.boards}
    told = Report(
        site=site,
        software=software,
        by=proof.by,
        at_ms=proof.at_ms,
        audit=proof.audit,
        passed=proof.passed,
        doors=tuple(_door(draft.doors[trial.number], trial) for trial in proof.doors),
        boards=tuple(
            _board(draft, draft.boards[name], boards[name])
            for name in sorted(boards, key=drafts.natural)
        ),
        rails=proofs.rails(draft.doors),
        machine=proof.machine,
        reasons=proof.reasons,
        notes=proof.notes,
        differences=proof.differences,
    )
    return msgspec.json.encode(told, order="sorted")


def decode(data: bytes) -> Report:
    """Return the report in these bytes. Raises GatewayError `report.broken`."""
    try:
        if len(data) > BYTES_MAX:
            raise msgspec.ValidationError("longer than any report")
        return msgspec.json.decode(data, type=Report)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise GatewayError("report.broken", "Prove and sign this site again") from None


def page(data: bytes, lang: str, *, ref: str = "") -> str:
    """Return it as one HTML file, with nothing outside it. `ref` is the entry that signs it."""
    return reportpage.html(decode(data), _language(lang), ref, sha256(data).hexdigest())


def text(data: bytes, lang: str, *, ref: str = "") -> str:
    """Return it as plain text, for a terminal or a mail."""
    return reportpage.plain(decode(data), _language(lang), ref, sha256(data).hexdigest())


def _language(lang: str) -> Language:
    return "de" if lang == "de" else "en"


def _door(door: DoorItem, trial: DoorTrial) -> DoorRow:
    return DoorRow(
        number=door.number, size=door.size, reach=door.reach, lock=door.lock, switch=door.switch,
        open_when=door.open_when, occupancy=door.occupancy, occupied_when=door.occupied_when,
        occupied_below=door.occupied_below, rail=door.rail, heated=door.heated, cooled=door.cooled,
        pulse_ms=door.pulse_ms, open_ms=door.open_ms, bounce_ms=door.bounce_ms,
        column=door.column, row=door.row, rows=door.rows,
        verdict=trial.verdict, took_ms=trial.took_ms, attempts=trial.attempts, code=trial.code,
        shut=trial.switch_back, occupied=trial.occupied, tried_ms=trial.at_ms,
    )  # fmt: skip


def _board(draft: Draft, board: Board, trial: BoardTrial) -> BoardRow:
    line = draft.lines[board.line]
    return BoardRow(
        name=board.name, line=board.line, where=line.serial or line.tcp, unit=board.unit,
        profile=board.kind.profile, title=board.kind.title, asked=trial.asked,
        failed=trial.failed, per_1000=trial.per_1000, corrected=trial.corrected,
    )  # fmt: skip
