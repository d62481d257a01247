"""From stored bytes to what the book takes: one way for the site, the hub and every reader."""

from collections.abc import Iterable

from sync import entry, facts
from sync.book import Book, Named
from sync.errors import SyncError, TheirsInvalid
from sync.join import log_order
from sync.records import Annex, At

Taken = tuple[
    str, int, At, facts.AnyFact | None, Annex | None, str | None, dict[str, int] | None,
    Named | None, SyncError | None,
]  # fmt: skip
"""The arguments of `Book.take`: log, index, at, fact, annex, private, seen, critical, broken."""


def read(log: str, index: int, data: bytes, annex: Annex | None = None) -> Taken:
    """Return what the book takes of a stored entry. Never raises: what is wrong travels along."""
    try:
        parsed = entry.parse(data)
    except TheirsInvalid as error:
        return log, index, (0, 0), None, None, None, None, None, error
    private = parsed.body.get("private")
    of = None if parsed.of is None else str(parsed.of)
    broken: SyncError | None = None
    fact = None
    try:
        fact = facts.from_entry(parsed)
    except TheirsInvalid as error:
        broken = error
    return (
        log,
        index,
        (parsed.at.boot, parsed.at.mono_ms),
        fact,
        annex,
        private if isinstance(private, str) else None,
        None if parsed.seen is None else {str(ref): size for ref, size in parsed.seen.items()},
        (of, parsed.door) if parsed.critical else None,
        broken,
    )


def turn(log: str) -> tuple[bool, tuple[int, str]]:
    """Return the key that sorts logs so that none has to wait or is late: custody last, by epoch.

    What custody waits for (its epoch's parents) is in the urgent lanes and in the epochs before.
    """
    return log.endswith(":sc"), log_order(log)


def fold(entries: Iterable[Taken]) -> Book:
    """Return the book of these entries; none is late where logs come in the order of `turn`."""
    book = Book()
    for taken in entries:
        book.take(*taken)
    return book
