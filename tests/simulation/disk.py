"""A disk that keeps what was flushed and, at a crash, loses any suffix of the rest.

Transactions become durable in order, whole or not at all. What a crash keeps of the unsynced ones
is decided by dice, so a group may be durable although nobody was told.
"""

from collections import Counter
from dataclasses import dataclass
from random import Random

from gateway.core.inputs import Recovered
from gateway.core.outputs import Persist
from sync import facts, fold
from sync.entry import parse
from sync.records import Annex


@dataclass(frozen=True, slots=True)
class Stored:
    """A durable entry: the exact bytes, and what they say when read."""

    ref: str
    log: str
    index: int
    at: tuple[int, int]
    fact: facts.AnyFact | None
    entry: bytes
    annex: Annex | None
    private: str | None


@dataclass(frozen=True, slots=True)
class Transaction:
    """What one `Persist` asked for, as read from its bytes."""

    upto: int
    rows: tuple[Stored, ...]
    erase: tuple[str, ...]


class Disk:
    """The log on disk: `rows` is durable, `unsynced` are transactions in order."""

    def __init__(self, epoch: str) -> None:
        self._epoch = epoch
        self.rows: list[Stored] = []
        self.sizes: Counter[str] = Counter()
        self.unsynced: list[Transaction] = []
        self.flushing = 0
        self.full = False
        self.erased: set[str] = set()

    def offer(self, persist: Persist) -> Transaction:
        """Take a transaction that is not durable yet; return what it says when read."""
        rows = tuple(
            read(
                f"{self._epoch}:s{draft.lane.letter}", draft.index, draft.entry,
                None if draft.annex is None else (draft.annex, draft.salt or b""),
            )
            for draft in persist.drafts
        )  # fmt: skip
        asked = Transaction(persist.upto, rows, tuple(erase.ref for erase in persist.erase))
        self.unsynced.append(asked)
        return asked

    def begin_flush(self) -> bool:
        """Begin to make durable whatever has arrived; False when there is nothing to do."""
        if self.flushing or not self.unsynced:
            return False
        self.flushing = len(self.unsynced)
        return True

    def end_flush(self) -> tuple[int, list[Stored]]:
        """End the flush: return the number of the last transaction, and the new rows."""
        group, self.unsynced = self.unsynced[: self.flushing], self.unsynced[self.flushing :]
        self.flushing = 0
        return group[-1].upto, [row for asked in group for row in self._keep(asked)]

    def fail_flush(self) -> None:
        """The disk refused: nothing unsynced will ever be durable."""
        self.unsynced, self.flushing = [], 0

    def crash(self, dice: Random) -> list[Stored]:
        """Lose a suffix of the unsynced transactions; return the rows that survived unannounced."""
        kept = 0 if self.full else dice.randint(0, len(self.unsynced))
        if 0 < kept < self.flushing:
            kept = dice.choice((0, self.flushing))
        rows = [row for asked in self.unsynced[:kept] for row in self._keep(asked)]
        self.fail_flush()
        return rows

    def recovered(self) -> list[Recovered]:
        """Return the durable entries as `recover` wants them, annexes that were erased left out."""
        return [
            fold.read(row.log, row.index, row.entry, None if row.ref in self.erased else row.annex)
            for row in self.rows
        ]

    def _keep(self, asked: Transaction) -> tuple[Stored, ...]:
        for row in asked.rows:
            self.sizes[row.log] += 1
        self.rows.extend(asked.rows)
        self.erased.update(asked.erase)
        return asked.rows


def read(log: str, index: int, data: bytes, annex: Annex | None = None) -> Stored:
    """Read an entry from its bytes, as any reader of the log would."""
    entry = parse(data)
    private = entry.body.get("private")
    return Stored(
        f"{log}{index}", log, index, (entry.at.boot, entry.at.mono_ms), facts.from_entry(entry),
        data, annex, private if isinstance(private, str) else None,
    )  # fmt: skip
