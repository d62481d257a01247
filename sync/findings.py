"""What a verification of logs found, as values (`sync.fsck` finds it). Pure."""

from dataclasses import dataclass, field
from typing import Final

FINDINGS_MAX: Final = 100
"""More would say nothing more, and a log of noise must not fill the memory."""

MEANING: Final = {
    "fsck.entry.malformed": "not the one way to write an entry",
    "fsck.entry.leaf": "its bytes do not have the hash kept for them: changed afterwards",
    "fsck.entry.gap": "the entry expected before it is missing",
    "fsck.entry.beyond": "stands behind the end that was signed",
    "fsck.entry.reference": "names an entry that is not there, or not yet",
    "fsck.entry.pruned": "its bytes are gone, and nothing allowed that",
    "fsck.annex.hash": "its annex is not the one that was signed: changed afterwards",
    "fsck.annex.missing": "its annex is gone, and no entry erased it",
    "fsck.annex.stray": "an annex that no entry has",
    "fsck.annex.mark": "the mark of who erased the annex is wrong",
    "fsck.annex.kept": "its annex was erased by an entry, and is still here",
    "fsck.annex.awaited": "its annex is noted as still to come, and is not",
    "fsck.node": "a kept hash of the tree is wrong",
    "fsck.checkpoint.note": "the signature or the text of a checkpoint is wrong",
    "fsck.checkpoint.root": "the entries do not have the root that was signed",
    "fsck.checkpoint.size": "not as many entries as were signed",
    "fsck.checkpoint.vkey": "the kept public key is not this log's",
    "fsck.checkpoint.writer": "no entry leads from the key that was given to this log's",
    "fsck.receipt.note": "a receipt cannot be read, or its cosigner did not sign it",
    "fsck.receipt.root": "the entries do not have the root that the hub cosigned",
    "fsck.snapshot.book": "a kept book is not the one whose hash is kept: changed afterwards",
    "fsck.snapshot.entry": "no entry signs a kept book, its hash and its sizes",
    "fsck.held.note": "the checkpoint kept elsewhere cannot be read, or is not signed by this log",
    "fsck.held.unknown": "the checkpoint kept elsewhere is of a log that is not here",
    "fsck.held.rolled_back": "the log is shorter than the checkpoint kept elsewhere",
    "fsck.held.forked": "the log does not contain the checkpoint kept elsewhere",
    "fsck.log.unknown": "entries of a log that the database does not list",
    "fsck.key": "the key store has another key",
}
"""What each code says in words."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: stable `code`, the log's origin, the entry, and what was seen.

    The codes are those of `MEANING`.
    """

    code: str
    origin: str
    index: int | None = None
    evidence: dict[str, object] = field(default_factory=dict)

    @property
    def meaning(self) -> str:
        """What is wrong, in words."""
        return MEANING[self.code]


@dataclass(frozen=True, slots=True)
class LogSeen:
    """A log as it was found: entries read, and the root over them (None when it has gaps)."""

    origin: str
    entries: int
    size: int
    root: bytes | None


@dataclass(frozen=True, slots=True)
class Report:
    """What `verify` found; `more` says that there was more wrong than is listed."""

    logs: tuple[LogSeen, ...]
    findings: tuple[Finding, ...]
    more: bool = False

    @property
    def ok(self) -> bool:
        """Nothing at all is wrong."""
        return not self.findings


class Notes:
    """Findings, up to a bound."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.more = False

    def add(self, code: str, origin: str, index: int | None = None, **evidence: object) -> None:
        """Note one thing that is wrong, unless enough is known already."""
        if len(self.found) < FINDINGS_MAX:
            self.found.append(Finding(f"fsck.{code}", origin, index, evidence))
        else:
            self.more = True
