"""What a verification of logs found, as values (`sync.fsck` finds it). Pure."""

from dataclasses import dataclass, field
from typing import Final

FINDINGS_MAX: Final = 100
"""More would say nothing more, and a log of noise must not fill the memory."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: stable `code`, the log's origin, the entry, and what was seen.

    Codes: `fsck.entry.` malformed, leaf, gap, beyond, reference, pruned; `fsck.annex.` hash,
    missing, stray, mark, kept; `fsck.node`; `fsck.checkpoint.` note, root, size, vkey;
    `fsck.held.` note, unknown, rolled_back, forked; `fsck.log.unknown`.
    """

    code: str
    origin: str
    index: int | None = None
    evidence: dict[str, object] = field(default_factory=dict)


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
