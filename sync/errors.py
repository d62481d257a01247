"""What can go wrong in the book: ours, theirs, or the disk's. Stable codes, evidence, remedy."""

from typing import Literal

Reason = Literal["full", "io", "newer", "foreign", "torn", "busy"]
"""Why the store refuses; the code is `store.<reason>`."""

_REMEDIES: dict[Reason, str] = {
    "full": "Free space on this disk, then restart the gateway; nothing was half-written.",
    "io": "Check the disk and its cable, then restart the gateway; it replays what is durable.",
    "newer": "Install the version that wrote this database, or a later one; nothing was changed.",
    "foreign": "This file is not a gateway's log: point to the right one; nothing was changed.",
    "torn": "Keep the file as it is, to be examined, and restore from a backup.",
    "busy": "More facts arrive than the disk takes: wait, and try again.",
}


class SyncError(Exception):
    """Base: `code` is stable, `evidence` is what was seen, `remedy` is what a person can do."""

    def __init__(self, code: str, remedy: str = "", **evidence: object) -> None:
        seen = ", ".join(f"{key}={value}" for key, value in evidence.items())
        text = f"{code}: {remedy}" if remedy else code
        super().__init__(f"{text} ({seen})" if seen else text)
        self.code = code
        self.remedy = remedy
        self.evidence = evidence


class OursBroken(SyncError):  # noqa: N818  # the name says what is wrong
    """A promise between our own rooms is broken: a bug, and the process should stop on it."""


class TheirsInvalid(SyncError):  # noqa: N818  # the name says what is wrong
    """What came from outside does not follow the format; it is refused, and nothing changed."""


class StoreFailed(SyncError):  # noqa: N818  # the name says what is wrong
    """The durable log refuses: `reason` is full, io, newer, foreign, torn or busy.

    After `full` and `io` the store that raised it stays failed; a new one must be opened. `busy`
    refuses only the call that got it. The others are raised by opening.
    """

    def __init__(self, reason: Reason, remedy: str = "", **evidence: object) -> None:
        super().__init__(f"store.{reason}", remedy or _REMEDIES[reason], **evidence)
        self.reason: Reason = reason
