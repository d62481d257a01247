"""Verify whole logs: every byte, every hash, every signature; say which entry is wrong and how.

Pure: rows and notes come in, findings come out, in memory that hardly grows with the log.

    1. each entry: canonical bytes, header, leaf hash as stored, index without a gap
    2. each annex: its hash is what `private` says; one that is gone was erased by an entry
    3. each `of` and `prev` points to an earlier entry of its log (or to an entry of another)
    4. the roots over the entries equal the latest checkpoint, every kept one, and any that the
       caller holds from outside; stored subtree roots equal the computed ones
    5. every checkpoint is signed by the log's own key; no entry lies beyond it, none is missing

Whoever rewrites the whole database *and* has the log's key is found only by a checkpoint that was
kept elsewhere: give it as `held`.
"""

from bisect import insort
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Final

from certs.errors import CertsError
from certs.keys import Verifier
from certs.note import Checkpoint, open_checkpoint, parse_note
from sync import canonical
from sync import entry as entries
from sync.commit import ERASES
from sync.entry import Entry, LaneRef, Ref
from sync.errors import SyncError, TheirsInvalid
from sync.merkle import HASH_BYTES, Tree
from sync.rows import INDEX_BITS, LEVEL_STEP, Annex, Head, Page, Row, fold_level, place_of, row_id

FINDINGS_MAX: Final = 100
"""More would say nothing more, and a log of noise must not fill the memory."""

_BLOCK: Final = 1 << LEVEL_STEP
_KINDS_MAX: Final = 1000
_NO_ANNEX: Final = Annex(None, None, None)


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


@dataclass(frozen=True, slots=True)
class Source:
    """One log to verify: its head, its kept checkpoints (size, note), its stored subtree roots."""

    head: Head
    kept: Sequence[tuple[int, str]] = ()
    nodes: Sequence[tuple[int, int, bytes]] = ()


def verify(
    sources: Sequence[Source],
    pages: Iterable[Page],
    *,
    held: Sequence[str] = (),
    strays: Sequence[int] = (),
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Verify all logs of a database in one pass over its rows, which come sorted by id.

    `held` are checkpoint notes kept outside, `strays` ids of annexes without an entry. `progress`
    is called after each page with the number of rows so far. Raises nothing about the data.
    """
    notes = _Notes()
    logs = {source.head.id: _Log(source, notes) for source in sources}
    book = _Book(logs, notes)
    for note in held:
        _hold(note, logs, notes)
    done = 0
    for page in pages:
        book.take(page)
        done += len(page.rows)
        if progress is not None:
            progress(done)
    book.finish(strays)
    return Report(tuple(log.finish() for log in logs.values()), tuple(notes.found), notes.more)


class _Notes:
    """Findings, up to a bound."""

    def __init__(self) -> None:
        self.found: list[Finding] = []
        self.more = False

    def add(self, code: str, origin: str, index: int | None = None, **evidence: object) -> None:
        if len(self.found) < FINDINGS_MAX:
            self.found.append(Finding(f"fsck.{code}", origin, index, evidence))
        else:
            self.more = True


@dataclass(frozen=True, slots=True, order=True)
class _Wanted:
    """At `size` entries the root must be `root`; `code` says who is wrong if it is not."""

    size: int
    root: bytes
    code: str


class _Log:
    """One log while its entries pass: the tree so far and the roots that are still to come."""

    def __init__(self, source: Source, notes: _Notes) -> None:
        self.head = source.head
        self.next = 0
        self.count = 0
        self._erased = bytearray()
        self.verifier = self._verifier(notes)
        self._notes = notes
        self._blocks = Tree()
        self._leaves: list[bytes] = []
        self._whole = True
        self._nodes = {(level, index): node for level, index, node in source.nodes}
        self._wanted: list[_Wanted] = []
        for size, note in source.kept:
            self._want(size, note)
        self._want(source.head.size, source.head.note)
        self._wanted.sort()
        self._stop = self._next_stop()

    def want(self, size: int, root: bytes, code: str) -> None:
        """Compare the root at `size` when it comes by."""
        insort(self._wanted, _Wanted(size, root, code))
        self._stop = self._next_stop()

    def extend(self, first: int, leaves: list[bytes]) -> None:
        """Take the leaf hashes, computed from the bytes, of entries from index `first` on."""
        if first != self.next:
            self._notes.add("entry.gap", self.head.origin, first, expected=self.next)
            self._whole = False
        self.next = first + len(leaves)
        self.count += len(leaves)
        if self.next > self.head.size:
            index = max(first, self.head.size)
            self._notes.add("entry.beyond", self.head.origin, index, size=self.head.size)
        done = 0
        while self._whole and done < len(leaves):
            at = first + done
            if at == self._stop:
                self._compare(at)
            room = _BLOCK - len(self._leaves)
            if self._stop > at:
                room = min(room, self._stop - at)
            self._leaves += leaves[done : done + room]
            done += room
            if len(self._leaves) == _BLOCK:
                self._close_block()

    def erase(self, index: int) -> None:
        """Remember that the annex of an entry is gone."""
        self._erased.extend(bytes(max(0, (index >> 3) + 1 - len(self._erased))))
        self._erased[index >> 3] |= 1 << (index & 7)

    def is_erased(self, index: int) -> bool:
        """Say whether the annex of an entry that has passed is gone."""
        return index >> 3 < len(self._erased) and bool(self._erased[index >> 3] >> (index & 7) & 1)

    def finish(self) -> LogSeen:
        """Compare what is left; call once, at the end."""
        head = self.head
        if self.next < head.size:
            self._notes.add("checkpoint.size", head.origin, entries=self.next, size=head.size)
        elif self._whole:
            if self._stop == self.next:
                self._compare(self.next)
            for wanted in self._wanted:
                self._notes.add("checkpoint.size", head.origin, kept=wanted.size, size=head.size)
            for level, index in sorted(self._nodes):
                self._notes.add("node", head.origin, what="not in the tree", level=level, at=index)
        return LogSeen(head.origin, self.count, head.size, self._root() if self._whole else None)

    def _verifier(self, notes: _Notes) -> Verifier | None:
        try:
            verifier = Verifier.from_vkey(self.head.vkey)
        except CertsError as error:
            notes.add("checkpoint.vkey", self.head.origin, cause=error.code)
            return None
        if verifier.name != self.head.origin:
            notes.add("checkpoint.vkey", self.head.origin, name=verifier.name)
            return None
        return verifier

    def _want(self, size: int, note: str) -> None:
        """Open a checkpoint of the database, and expect its root."""
        if self.verifier is None:
            return
        try:
            checkpoint = open_checkpoint(note, self.verifier)
        except CertsError as error:
            self._notes.add("checkpoint.note", self.head.origin, size=size, cause=error.code)
            return
        if checkpoint.size != size:
            said = checkpoint.size
            self._notes.add("checkpoint.note", self.head.origin, size=size, said=said)
            return
        self._wanted.append(_Wanted(size, checkpoint.root, "checkpoint.root"))

    def _next_stop(self) -> int:
        return self._wanted[0].size if self._wanted else -1

    def _compare(self, size: int) -> None:
        root = self._root()
        while self._wanted and self._wanted[0].size == size:
            wanted = self._wanted.pop(0)
            if wanted.root != root:
                self._notes.add(wanted.code, self.head.origin, size=size)
        self._stop = self._next_stop()

    def _close_block(self) -> None:
        """Fold 256 leaves, and compare every eighth level with what is stored."""
        block, self._leaves = self._leaves, []
        at, root = self._blocks.size, fold_level(block)
        self._compare_node(LEVEL_STEP, at, root)
        for level, index, node in self._blocks.append(root):
            if level % LEVEL_STEP == 0:
                self._compare_node(level + LEVEL_STEP, index, node)

    def _compare_node(self, level: int, index: int, root: bytes) -> None:
        if self._nodes.pop((level, index), None) != root:
            first = index << level
            last = first + (1 << level) - 1
            self._notes.add("node", self.head.origin, first=first, last=last, level=level)

    def _root(self) -> bytes:
        peaks, leaves = list(self._blocks.peaks()), self._leaves
        at = 0
        for level in reversed(range(LEVEL_STEP)):
            if len(leaves) >> level & 1:
                peaks.append(fold_level(leaves[at : at + (1 << level)]))
                at += 1 << level
        return Tree.from_peaks(self._blocks.size * _BLOCK + len(leaves), peaks).root()


class _Book:
    """All logs of a database while their rows pass: what entries say of each other."""

    def __init__(self, logs: dict[int, _Log], notes: _Notes) -> None:
        self._logs = logs
        self._notes = notes
        self._by_ref: dict[LaneRef, _Log] = {log.head.log: log for log in logs.values()}
        # Row of an `annex.erased` still to come -> row of the annex that names it.
        self._marks: dict[int, int] = {}
        # Rows still to come whose annex an entry already read has erased.
        self._expected: dict[int, int] = {}
        self._kinds: set[str] = set()

    def take(self, page: Page) -> None:
        """Verify some rows."""
        rows, start = page.rows, 0
        while start < len(rows):
            stop, first = len(rows), rows[start][0]
            if (
                rows[-1][0] - first != stop - start - 1
                or place_of(rows[-1][0])[0] != first >> INDEX_BITS
            ):
                stop = _end_of_run(rows, start)
            self._run(rows[start:stop], page.annexes)
            start = stop

    def _run(self, rows: list[Row], annexes: dict[int, Annex]) -> None:
        """Verify rows of one log without a gap between them."""
        number, (at, first) = rows[0][0], place_of(rows[0][0])
        log = self._logs.get(at)
        if log is None:
            self._notes.add("log.unknown", str(at), first)
            return
        bodies = [row[2] for row in rows if row[2] is not None]
        if len(bodies) != len(rows):
            for row in rows:
                self._prunable(log, row, annexes)
            return
        leaves = [sha256(b"\x00" + data).digest() for data in bodies]
        self._leaves_as_stored(log, first, rows, leaves)
        log.extend(first, leaves)
        objects = canonical.decode_many(bodies)
        if objects is None:
            for offset, data in enumerate(bodies):
                self._whole(log, first + offset, data, annexes.get(number + offset))
            return
        for index in self._unplain(log, first, objects, annexes):
            offset = index - first
            annex = annexes.get(number + offset)
            self._header(log, index, objects[offset], annex)

    def _prunable(self, log: _Log, row: Row, annexes: dict[int, Annex]) -> None:
        number, stored, data = row
        if data is not None:
            self._run([row], annexes)
            return
        index = place_of(number)[1]
        if index >= log.head.oldest:
            self._notes.add("entry.pruned", log.head.origin, index, oldest=log.head.oldest)
        if number not in annexes or annexes[number].data is None:
            log.erase(index)
        if len(stored) == HASH_BYTES:
            log.extend(index, [stored])
        else:
            self._notes.add("entry.leaf", log.head.origin, index, length=len(stored))

    def _leaves_as_stored(
        self, log: _Log, first: int, rows: list[Row], leaves: list[bytes]
    ) -> None:
        stored = [row[1] for row in rows]
        if stored != leaves:
            for offset, pair in enumerate(zip(stored, leaves, strict=True)):
                if pair[0] != pair[1]:
                    self._notes.add("entry.leaf", log.head.origin, first + offset)

    def _whole(self, log: _Log, index: int, data: bytes, annex: Annex | None) -> None:
        try:
            obj = canonical.decode(data)
        except TheirsInvalid as error:
            self._notes.add("entry.malformed", log.head.origin, index, cause=str(error))
            return
        self._header(log, index, obj, annex)

    def _unplain(
        self,
        log: _Log,
        first: int,
        objects: list[canonical.Object],
        annexes: dict[int, Annex],
    ) -> Iterator[int]:
        """Yield the entries that need the full look: all but those quickly seen to be in order.

        Reading every header in full would take three times as long as all the rest.
        """
        kinds, prefix = self._kinds, str(log.head.log)
        places = {place_of(number)[1] for number in annexes}
        for index, obj in enumerate(objects, first):
            at = obj.get("at")
            if (
                obj.get("kind") in kinds
                and type(at) is list
                and len(at) == 2  # noqa: PLR2004  # boot and monotonic time
                and type(at[0]) is type(at[1]) is int
                and at[0] >= 0 <= at[1]
                and "private" not in obj
                and "seen" not in obj
                and ("door" not in obj or (type(obj["door"]) is int and obj["door"] >= 0))
                and ("of" not in obj or _is_earlier(obj["of"], prefix, index))
                and ("prev" not in obj or _is_earlier(obj["prev"], prefix, index))
                and index not in places
            ):
                continue
            yield index

    def _header(self, log: _Log, index: int, obj: canonical.Object, annex: Annex | None) -> None:
        """Verify what an entry says of itself and of others."""
        try:
            entry = entries.read(obj)
        except TheirsInvalid as error:
            self._notes.add("entry.malformed", log.head.origin, index, cause=str(error))
            return
        for key, ref in (("of", entry.of), ("prev", entry.prev)):
            if ref is not None:
                self._point(log, index, key, ref)
        if entry.private is not None or annex is not None:
            self._annex(log, index, entry, annex)
        if entry.kind == ERASES:
            self._erasure(log, index, entry)
        elif len(self._kinds) < _KINDS_MAX:
            self._kinds.add(entry.kind)

    def finish(self, strays: Sequence[int]) -> None:
        """Report what never came."""
        for number in strays:
            self._add("annex.stray", number)
        for number in self._marks.values():
            self._add("annex.mark", number, what="no entry erased it")

    def _point(self, log: _Log, index: int, key: str, ref: Ref) -> None:
        other = self._by_ref.get(ref.log)
        if other is None:
            return
        limit = index if other is log else other.head.size
        if ref.index >= limit:
            self._notes.add("entry.reference", log.head.origin, index, key=key, ref=str(ref))

    def _annex(self, log: _Log, index: int, entry: Entry, annex: Annex | None) -> None:
        origin, number = log.head.origin, row_id(log.head.id, index)
        erased = self._expected.pop(number, None) is not None
        salt, data, erased_by = annex or _NO_ANNEX
        if erased_by is not None:
            log.erase(index)
            self._mark(number, erased_by, early=erased)
        if data is not None and salt is not None:
            if erased or erased_by is not None:
                self._notes.add("annex.kept", origin, index)
            if entry.private != entries.private_hash(salt, data):
                self._notes.add("annex.hash", origin, index)
        elif erased_by is None:
            self._notes.add("annex.missing", origin, index)

    def _mark(self, number: int, erased_by: str, *, early: bool) -> None:
        """Remember which entry has to say that this annex is erased."""
        try:
            ref = Ref.parse(erased_by)
        except SyncError:
            self._add("annex.mark", number, erased_by=ascii(erased_by)[:80])
            return
        other = self._by_ref.get(ref.log)
        by = 0 if other is None else row_id(other.head.id, ref.index)
        if by > number:
            self._marks[by] = number
        elif not early:
            self._add("annex.mark", number, erased_by=erased_by)

    def _erasure(self, log: _Log, index: int, entry: Entry) -> None:
        """Check what an entry says: that the annex of `of` is gone."""
        number = row_id(log.head.id, index)
        named = self._marks.pop(number, None)
        other = None if entry.of is None else self._by_ref.get(entry.of.log)
        if entry.of is None or other is None:
            self._notes.add("entry.reference", log.head.origin, index, key="of", kind=entry.kind)
            return
        target = row_id(other.head.id, entry.of.index)
        if named not in {None, target}:
            self._notes.add("annex.mark", log.head.origin, index, what="marked for another")
        if target > number:
            self._expected[target] = number
        elif entry.of.index < other.head.size and not other.is_erased(entry.of.index):
            self._notes.add("annex.kept", other.head.origin, entry.of.index, erased_by=index)

    def _add(self, code: str, number: int, **evidence: object) -> None:
        at, index = place_of(number)
        log = self._logs.get(at)
        self._notes.add(code, str(at) if log is None else log.head.origin, index, **evidence)


def _is_earlier(ref: Any, prefix: str, index: int) -> bool:
    """Say whether `ref` surely names an entry of this log before `index`."""
    try:
        number = int(ref[len(prefix) :])
    except (TypeError, ValueError):
        return False
    return 0 <= number < index and bool(ref == f"{prefix}{number}")


def _end_of_run(rows: list[Row], start: int) -> int:
    """Return where the log changes or an index is missing."""
    stop, number = start + 1, rows[start][0]
    while stop < len(rows) and rows[stop][0] == number + 1 and place_of(number + 1)[1]:
        stop, number = stop + 1, number + 1
    return stop


def _hold(note: str, logs: dict[int, _Log], notes: _Notes) -> None:
    """Expect the root of a checkpoint that was kept outside."""
    try:
        claimed = Checkpoint.parse(parse_note(note)[0])
    except CertsError as error:
        notes.add("held.note", "", cause=error.code)
        return
    for log in logs.values():
        if log.head.origin == claimed.origin and log.verifier is not None:
            break
    else:
        notes.add("held.unknown", claimed.origin, size=claimed.size)
        return
    try:
        checkpoint = open_checkpoint(note, log.verifier)
    except CertsError as error:
        notes.add("held.note", claimed.origin, cause=error.code)
        return
    if checkpoint.size > log.head.size:
        notes.add("held.rolled_back", claimed.origin, held=claimed.size, size=log.head.size)
    else:
        log.want(checkpoint.size, checkpoint.root, "held.forked")
