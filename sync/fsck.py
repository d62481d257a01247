"""Verify whole logs: every byte, every hash, every signature; say which entry is wrong and how.

Pure: rows and notes come in, findings come out, in memory that hardly grows with the log.

    1. each entry: canonical bytes, header, leaf hash as stored, index without a gap
       (of a pruned entry the leaf hash only)
    2. each annex: its hash is what `private` says; one that is not here was erased by an entry, or
       is noted as still to come: others' entries travel without theirs
    3. each `of` and `prev` of ours points to an earlier entry of its log (or to an entry of another
       lane of the present epoch; what others wrote, and what came back, may point further)
    4. the roots over the entries equal the latest checkpoint, every kept one, and any that the
       caller holds from outside; stored subtree roots equal the computed ones
    5. every checkpoint is signed by the log's own key; no entry lies beyond it, none is missing
    6. every receipt is cosigned, and has the log's root at its size
    7. every kept book has the hash that a `snapshot.taken` says, for the sizes it says

Whoever rewrites the whole database *and* has the log's key is found only by a checkpoint that was
kept elsewhere: give it as `held`.
"""

from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any, Final

import msgspec

from certs.errors import CertsError
from certs.note import Checkpoint, open_checkpoint, parse_note
from sync import canonical
from sync import entry as entries
from sync.commit import ERASES
from sync.entry import Entry, LaneRef, Ref
from sync.errors import SyncError, TheirsInvalid
from sync.findings import Notes, Report
from sync.merkle import HASH_BYTES
from sync.origin import epoch_order
from sync.roots import LogRun, Source
from sync.rows import INDEX_BITS, Annex, Page, Row, Taken, place_of, row_id

_KINDS_MAX: Final = 1000
_NO_ANNEX: Final = Annex(None, None, None)


def verify(
    sources: Sequence[Source],
    pages: Iterable[Page],
    *,
    held: Sequence[str] = (),
    strays: Sequence[int] = (),
    snapshots: Sequence[Taken] = (),
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Verify all logs of a database in one pass over its rows, which come sorted by id.

    `held` are checkpoint notes kept outside, `strays` ids of annexes without an entry. `progress`
    is called after each page with the number of rows so far. Raises nothing about the data.
    """
    notes = Notes()
    logs = {source.head.id: LogRun(source, notes) for source in sources}
    book = _Book(logs, notes, snapshots)
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


class _Book:
    """All logs of a database while their rows pass: what entries say of each other."""

    def __init__(self, logs: dict[int, LogRun], notes: Notes, snapshots: Sequence[Taken]) -> None:
        self._logs = logs
        self._notes = notes
        self._by_ref: dict[LaneRef, LogRun] = {log.head.log: log for log in logs.values()}
        # Row of an `annex.erased` still to come -> row of the annex that names it.
        self._marks: dict[int, int] = {}
        # Rows still to come whose annex an entry already read has erased.
        self._expected: dict[int, int] = {}
        self._kinds: set[str] = set()
        self._snapshots = {taken.entry: taken for taken in snapshots}
        mine = [log.head.log.epoch for log in logs.values() if log.head.own]
        self._epoch = max(mine, key=epoch_order, default="")
        for taken in snapshots:
            if sha256(taken.book).digest() != taken.sha256:
                self._add("snapshot.book", taken.entry)

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
            self._run(rows[start:stop], page)
            start = stop

    def _run(self, rows: list[Row], page: Page) -> None:
        """Verify rows of one log without a gap between them."""
        at, first = place_of(rows[0][0])
        log = self._logs.get(at)
        if log is None:
            self._notes.add("log.unknown", str(at), first)
            return
        bodies = [row[2] for row in rows if row[2] is not None]
        if len(bodies) != len(rows):
            for row in rows:
                self._prunable(log, row, page)
            return
        if self._snapshots:
            self._signed_books(rows)
        leaves = [sha256(b"\x00" + data).digest() for data in bodies]
        self._leaves_as_stored(log, first, rows, leaves)
        log.extend(first, leaves)
        objects = canonical.decode_many(bodies)
        if objects is None:
            for offset, data in enumerate(bodies):
                self._whole(log, first + offset, data, page)
            return
        for index in self._unplain(log, first, objects, page):
            self._header(log, index, objects[index - first], page)

    def _prunable(self, log: LogRun, row: Row, page: Page) -> None:
        number, stored, data = row
        if data is not None:
            self._run([row], page)
            return
        # What it erased stays erased; what it said of a book nobody can tell any more.
        self._marks.pop(number, None)
        self._snapshots.pop(number, None)
        index = place_of(number)[1]
        if index >= log.head.oldest:
            self._notes.add("entry.pruned", log.head.origin, index, oldest=log.head.oldest)
        if number not in page.annexes or page.annexes[number].data is None:
            log.erase(index)
        if len(stored) == HASH_BYTES:
            log.extend(index, [stored])
        else:
            self._notes.add("entry.leaf", log.head.origin, index, length=len(stored))

    def _leaves_as_stored(
        self, log: LogRun, first: int, rows: list[Row], leaves: list[bytes]
    ) -> None:
        stored = [row[1] for row in rows]
        if stored != leaves:
            for offset, pair in enumerate(zip(stored, leaves, strict=True)):
                if pair[0] != pair[1]:
                    self._notes.add("entry.leaf", log.head.origin, first + offset)

    def _whole(self, log: LogRun, index: int, data: bytes, page: Page) -> None:
        try:
            obj = canonical.decode(data)
        except TheirsInvalid as error:
            self._notes.add("entry.malformed", log.head.origin, index, cause=str(error))
            return
        self._header(log, index, obj, page)

    def _unplain(
        self,
        log: LogRun,
        first: int,
        objects: list[canonical.Object],
        page: Page,
    ) -> Iterator[int]:
        """Yield the entries that need the full look: all but those quickly seen to be in order.

        Reading every header in full would take three times as long as all the rest.
        """
        kinds, prefix = self._kinds, str(log.head.log)
        places = {place_of(number)[1] for number in (*page.annexes, *page.awaited)}
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

    def _header(self, log: LogRun, index: int, obj: canonical.Object, page: Page) -> None:
        """Verify what an entry says of itself and of others."""
        try:
            entry = entries.read(obj)
        except TheirsInvalid as error:
            self._notes.add("entry.malformed", log.head.origin, index, cause=str(error))
            return
        for key, ref in (("of", entry.of), ("prev", entry.prev)):
            if ref is not None:
                self._point(log, index, key, ref)
        number = row_id(log.head.id, index)
        annex, awaited = page.annexes.get(number), number in page.awaited
        if entry.private is not None or annex is not None or awaited:
            self._annex(log, index, entry, annex, awaited=awaited)
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
        for number in self._snapshots:
            self._add("snapshot.entry", number)

    def _signed_books(self, rows: list[Row]) -> None:
        """Compare kept books with what the entries say that take them."""
        first = rows[0][0]
        for number in [one for one in self._snapshots if first <= one < first + len(rows)]:
            taken = self._snapshots.pop(number)
            try:
                body = canonical.decode(rows[number - first][2] or b"")
            except TheirsInvalid:
                body = {}
            said = (body.get("kind"), body.get("sha256"), body.get("lanes"))
            digest = b64encode(taken.sha256).decode("ascii")
            if said != ("snapshot.taken", digest, _sizes(taken.lanes)):
                self._add("snapshot.entry", number)

    def _point(self, log: LogRun, index: int, key: str, ref: Ref) -> None:
        other = self._by_ref.get(ref.log)
        # What others wrote may name what only they have, and what came back what has not yet.
        if other is None or not log.head.own:
            return
        present = {log.head.log.epoch, ref.epoch} == {self._epoch} and other.head.own
        if other is not log and not present:
            return
        limit = index if other is log else other.head.size
        if ref.index >= limit:
            self._notes.add("entry.reference", log.head.origin, index, key=key, ref=str(ref))

    def _annex(
        self, log: LogRun, index: int, entry: Entry, annex: Annex | None, *, awaited: bool
    ) -> None:
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
        elif erased_by is None and not awaited:
            self._notes.add("annex.missing", origin, index)
        if awaited and (annex is not None or entry.private is None):
            self._notes.add("annex.awaited", origin, index)

    def _mark(self, number: int, erased_by: str, *, early: bool) -> None:
        """Remember which entry has to say that this annex is erased."""
        try:
            ref = Ref.parse(erased_by)
        except SyncError:
            self._add("annex.mark", number, erased_by=ascii(erased_by)[:80])
            return
        other = self._by_ref.get(ref.log)
        if other is not None and ref.index < other.head.oldest:
            return  # who said so was pruned
        by = 0 if other is None else row_id(other.head.id, ref.index)
        if by > number:
            self._marks[by] = number
        elif not early:
            self._add("annex.mark", number, erased_by=erased_by)

    def _erasure(self, log: LogRun, index: int, entry: Entry) -> None:
        """Check what an entry says: that the annex of `of` is gone."""
        number = row_id(log.head.id, index)
        named = self._marks.pop(number, None)
        other = None if entry.of is None else self._by_ref.get(entry.of.log)
        if entry.of is None or other is None:
            if log.head.own and log.head.log.epoch == self._epoch:
                what = {"key": "of", "kind": entry.kind}
                self._notes.add("entry.reference", log.head.origin, index, **what)
            return
        if entry.of.index >> INDEX_BITS or not entries.may_erase(log.head.log.writer, entry.of.log):
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


def _sizes(text: str) -> object:
    """Return what the lanes of a kept snapshot say; None where they are none."""
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None


def _end_of_run(rows: list[Row], start: int) -> int:
    """Return where the log changes or an index is missing."""
    stop, number = start + 1, rows[start][0]
    while stop < len(rows) and rows[stop][0] == number + 1 and place_of(number + 1)[1]:
        stop, number = stop + 1, number + 1
    return stop


def _hold(note: str, logs: dict[int, LogRun], notes: Notes) -> None:
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
