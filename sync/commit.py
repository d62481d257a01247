"""What one commit writes, computed before anything is written. No disk here.

A commit takes the logs as they stand and the records that arrived, and gives every row to insert
and every lane's new head: tree, size, signed checkpoint. If the transaction fails, what was
computed is dropped and the logs stand as they stood.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Final

from certs.errors import NoteInvalid
from certs.keys import SigningKey
from certs.note import Checkpoint, open_checkpoint, sign_note
from sync import entry as entries
from sync.entry import ANNEX_BYTES_MAX, SALT_BYTES, Entry, Lane, LaneRef, Ref, Writer
from sync.errors import OursBroken, StoreFailed, TheirsInvalid
from sync.merkle import Nodes, Tree, leaf_hash, peaks_of
from sync.rows import INDEX_BITS, LEVEL_STEP, Head, Record, row_id

KEEP_EVERY: Final = 512
"""Of so many entries one checkpoint is kept for good: old proofs, at the price of a fraction of a
byte an entry. It is also the length of a segment (FORMATS.md 4)."""

ERASES: Final = "annex.erased"

Values = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Identity:
    """Who writes: `lockers.example`, `site/0042`, `e1-9f2c01ab`, and the 32-byte log key seed.

    `next_seed` is there for the overlap of a key change: every checkpoint gets its signature as a
    second line. The key of a log stays the one that began it; the next one begins the next epoch.
    """

    operator: str
    writer: str
    epoch: str
    seed: bytes = field(repr=False)
    next_seed: bytes | None = field(default=None, repr=False)

    def origin(self, lane: Lane) -> str:
        """Return the name of a lane's log and key."""
        return f"{self.operator}/{self.writer}/{self.epoch}/{lane}"

    def key(self, lane: Lane) -> SigningKey:
        """Return the key that signs a lane's checkpoints."""
        return SigningKey.from_seed(self.origin(lane), self.seed)

    def beside(self, lane: Lane) -> tuple[SigningKey, ...]:
        """Return the keys that sign a lane's checkpoints after its own: the next one, or none."""
        seed = self.next_seed
        return () if seed is None else (SigningKey.from_seed(self.origin(lane), seed),)

    def log(self, lane: Lane) -> LaneRef:
        """Return how references name a lane's log."""
        letter = Writer.SITE if self.writer.startswith("site/") else Writer.HUB
        return LaneRef(self.epoch, letter, lane)


@dataclass(frozen=True, slots=True)
class LogState:
    """A log that this store writes, as it is durably."""

    id: int
    log: LaneRef
    key: SigningKey
    tree: Tree
    note: str


@dataclass(slots=True)
class Changes:
    """Rows to write, by table, and the states that hold once they are durable.

    `annexes`: a row without data is the mark of an erasure. `erased` are the rows of those, which
    await no annex any more. What each list of values holds, `sync.writing` says beside its SQL.
    """

    begun: list[Values] = field(default_factory=list)
    entries: list[Values] = field(default_factory=list)
    annexes: list[Values] = field(default_factory=list)
    awaited: list[Values] = field(default_factory=list)
    erased: list[Values] = field(default_factory=list)
    foretold: list[Values] = field(default_factory=list)
    nodes: list[Values] = field(default_factory=list)
    kept: list[Values] = field(default_factory=list)
    heads: list[Values] = field(default_factory=list)
    receipts: list[Values] = field(default_factory=list)
    snapshots: list[Values] = field(default_factory=list)
    about: list[Values] = field(default_factory=list)
    pruned: list["Pruning"] = field(default_factory=list)
    states: dict[Lane, LogState] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Say whether there is anything to write."""
        return any(getattr(self, one.name) for one in fields(self) if one.name != "states")

    def add(self, other: "Changes") -> None:
        """Take in what another part of the same transaction writes; they touch different logs."""
        for one in fields(self):
            if one.name != "states":
                getattr(self, one.name).extend(getattr(other, one.name))
        self.states |= other.states

    @property
    def forgets(self) -> bool:
        """Whether bytes go that must not stay in the WAL."""
        return bool(self.erased or self.pruned)


@dataclass(frozen=True, slots=True)
class Pruning:
    """Rows [first, stop) of a log lose their bytes and annexes, but for `spared`.

    `again` are rows that were spared before and are not any more. `oldest` is the log's from then.
    """

    log: int
    first: int
    stop: int
    oldest: int
    spared: tuple[int, ...] = ()
    again: tuple[int, ...] = ()


def check(record: Record) -> Entry:
    """Return the entry of a record that may be written; `OursBroken` when it must not be.

    Read before writing: what the log holds once, it holds for ever.
    """
    try:
        entry = entries.parse(record.entry)
    except TheirsInvalid as error:
        raise OursBroken(
            "store.bad_entry", lane=record.lane.value, index=record.index, cause=str(error)
        ) from error
    annex, salt = record.annex, record.salt
    expected = None
    if annex is not None and salt is not None:
        if len(salt) != SALT_BYTES or len(annex) > ANNEX_BYTES_MAX:
            raise OursBroken("store.bad_annex", salt_bytes=len(salt), annex_bytes=len(annex))
        expected = entries.private_hash(salt, annex)
    elif annex is not None or salt is not None:
        raise OursBroken("store.bad_annex", what="annex and salt come together")
    if entry.private != expected:
        raise OursBroken("store.bad_annex", what="`private` says otherwise", index=record.index)
    return entry


def plan(
    states: Mapping[Lane, LogState],
    records: Iterable[Record],
    erased: Sequence[tuple[int, Ref]] = (),
    beside: Mapping[Lane, tuple[SigningKey, ...]] | None = None,
) -> Changes:
    """Return what appending `records` writes, and erasing annexes (row, entry that says so).

    `beside` are the keys that sign after a lane's own.
    """
    changes = Changes()
    trees: dict[Lane, Tree] = {}
    for record in records:
        tree = trees.get(record.lane)
        if tree is None:
            tree = trees[record.lane] = states[record.lane].tree.copy()
        _append(changes, states[record.lane].id, tree, record)
    for lane in sorted(trees):
        _seal(changes, states[lane], trees[lane], (beside or {}).get(lane, ()))
    erase(changes, erased)
    return changes


def erase(changes: Changes, erased: Iterable[tuple[int, Ref]]) -> None:
    """Add the erasure of annexes (row, entry that says so)."""
    for number, by in erased:
        changes.annexes.append((number, None, None, str(by)))
        changes.erased.append((number,))


def begin(identity: Identity, lane: Lane) -> Values:
    """Return the row (origin, epoch, writer, lane, own, vkey, size, note) of a log that begins."""
    key, log = identity.key(lane), identity.log(lane)
    note = signed(Checkpoint(key.name, 0, Tree().root()), key, *identity.beside(lane))
    return (key.name, log.epoch, log.writer.value, lane.letter, 1, key.vkey, 0, note)


def resume(head: Head, key: SigningKey, stored: int, nodes: Nodes) -> LogState:
    """Return the state of a log as stored, if entries, hashes, checkpoint and key agree.

    `stored` is the number of entries found. `StoreFailed` foreign when another key wrote this log,
    torn when anything differs: then nothing more is written on top.
    """
    if key.vkey != head.vkey:
        raise StoreFailed(
            "foreign",
            "This is not the key that wrote this log: put it back, or start a new epoch.",
            origin=head.origin,
        )
    if stored != head.size:
        raise StoreFailed("torn", origin=head.origin, entries=stored, size=head.size)
    try:
        checkpoint = open_checkpoint(head.note, key.verifier)
    except NoteInvalid as error:
        raise StoreFailed("torn", origin=head.origin, cause=error.code) from error
    tree = Tree.from_peaks(head.size, [nodes(level, at) for level, at in peaks_of(head.size)])
    if checkpoint != Checkpoint(head.origin, head.size, tree.root()):
        raise StoreFailed("torn", origin=head.origin, size=head.size, what="root differs")
    return LogState(head.id, head.log, key, tree, head.note)


def _append(changes: Changes, log: int, tree: Tree, record: Record) -> None:
    if record.index != tree.size or record.index >> INDEX_BITS:
        raise OursBroken("store.index_gap", lane=record.lane, index=record.index, next=tree.size)
    number, leaf = row_id(log, record.index), leaf_hash(record.entry)
    changes.entries.append((number, leaf, record.entry))
    if record.annex is not None:
        changes.annexes.append((number, record.salt, record.annex, None))
    for level, index, node in tree.append(leaf):
        if level % LEVEL_STEP == 0:
            changes.nodes.append((log, level, index, node))


def signed(checkpoint: Checkpoint, *keys: SigningKey) -> str:
    """Return the note of a checkpoint: the log's own key first, then the next one's line."""
    assert all(key.name == checkpoint.origin for key in keys)
    return sign_note(checkpoint.text(), *keys)


def _seal(changes: Changes, state: LogState, tree: Tree, beside: tuple[SigningKey, ...]) -> None:
    note = signed(Checkpoint(state.key.name, tree.size, tree.root()), state.key, *beside)
    old = state.tree.size
    if old and old // KEEP_EVERY != tree.size // KEEP_EVERY:
        changes.kept.append((state.id, old, state.note))
    changes.heads.append((tree.size, note, state.id))
    changes.states[state.log.lane] = LogState(state.id, state.log, state.key, tree, note)
