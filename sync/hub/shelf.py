"""The logs of one site at the hub: `sync.shelf.Shelf` over whatever database there is.

Taking in is read, check, compute, then one growth by compare-and-set; who misses begins again with
what stands there now. The second of two hub processes that take in the same entries so finds them
known.
"""

import asyncio
from collections.abc import Callable, Sequence

from certs.errors import CertsError
from certs.keys import Verifier
from certs.note import Checkpoint, open_checkpoint, open_cosignatures
from sync.entry import ANNEX_BYTES_MAX, SALT_BYTES, private_hash
from sync.errors import StoreFailed, TheirsInvalid
from sync.hub import sql
from sync.hub.access import TRIES, answered, begin_log, find_log, put_receipt, read_root
from sync.hub.storage import Clock, Receipt, Sign
from sync.hub.tables import (
    AnnexRow,
    Database,
    Grown,
    Growth,
    LogRow,
    Row,
    annex_rows,
    kept_nodes,
    may_concern_annexes,
)
from sync.intake import CHUNK_ENTRIES_MAX, Accepted, Chunk, accept
from sync.merkle import Tree, peaks_of, prove_consistency, prove_inclusion
from sync.origin import Origin, Ring
from sync.rows import Annex
from sync.shelf import Item, Log


class Bells:
    """Wakes whoever waits in this process for a log to grow."""

    def __init__(self) -> None:
        self._events: dict[tuple[str, str], asyncio.Event] = {}

    def ring(self, site_id: str, origin: str) -> None:
        """Wake those who wait for this log."""
        event = self._events.pop((site_id, origin), None)
        if event is not None:
            event.set()

    def of(self, site_id: str, origin: str) -> asyncio.Event:
        """Return what the next `ring` sets: take it before looking at the log."""
        return self._events.setdefault((site_id, origin), asyncio.Event())


class SiteShelf:
    """One site's logs. Made by `Storage.shelf`; cheap, keeps nothing but what it was given."""

    def __init__(
        self,
        *,
        database: Database,
        bells: Bells,
        now_ms: Clock,
        instance: Callable[[], str],
        site_id: str,
        ring: Ring,
        cosigners: Sequence[Verifier],
        sign: Sign | None,
    ) -> None:
        self._database = database
        self._bells = bells
        self._now_ms = now_ms
        self._instance = instance
        self._site_id = site_id
        self._ring = ring
        self._cosigners = tuple(cosigners)
        self._sign = sign

    @property
    def instance(self) -> str:
        """The storage's own."""
        return self._instance()

    async def logs(self) -> tuple[Log, ...]:
        """As in `Shelf`."""
        rows = await self._database.rows(sql.LOGS, self._site_id)
        return tuple(_log(row) for row in map(LogRow._make, rows) if row.note)

    async def log(self, origin: str) -> Log | None:
        """As in `Shelf`."""
        row = await find_log(self._database, self._site_id, origin)
        return None if row is None or not row.note else _log(row)

    async def read(self, origin: str, start: int, stop: int) -> list[Item]:
        """As in `Shelf`."""
        row = await self._row(origin)
        first, last = max(start, 0), min(stop, row.sealed)
        if first >= last:
            return []
        found = await self._database.rows(sql.READ, self._site_id, row.no, first, last)
        annexes = await self._annexes(
            row, [index for index, data in found if may_concern_annexes(data)]
        )
        return [Item(index, data, _annex(annexes.get(index))) for index, data in found]

    async def cut(self, origin: str, first: int, entries_max: int, bytes_max: int) -> int:
        """As in `Shelf`."""
        row = await self._row(origin)
        last = min(first + max(entries_max, 1), row.sealed)
        if not 0 <= first < last:
            return 0
        found = await self._database.rows(sql.LENGTHS, self._site_id, row.no, first, last)
        fitting = max(1, _fitting([length for (length,) in found], bytes_max))
        if row.own and self._sign is not None:
            return fitting
        at = (self._site_id, row.no, first)
        ((size,),) = await self._database.rows(sql.CHECKPOINT_UP_TO, *at, first + fitting)
        if size is None:
            ((size,),) = await self._database.rows(sql.CHECKPOINT_AFTER, *at)
        return (row.sealed if size is None else int(size)) - first

    async def note(self, origin: str, size: int) -> str | None:
        """As in `Shelf`."""
        row = await find_log(self._database, self._site_id, origin)
        if row is None or not row.note or not 0 <= size <= row.sealed:
            return None
        if size == row.sealed:
            return row.note
        kept = await self._database.rows(sql.CHECKPOINT, self._site_id, row.no, size)
        if kept:
            return str(kept[0][0])
        if not row.own or self._sign is None:
            return None
        root = await read_root(self._database, self._site_id, row.no, size)
        return self._sign(Checkpoint(origin, size, root))

    async def root(self, origin: str, size: int) -> bytes | None:
        """As in `Shelf`."""
        row = await find_log(self._database, self._site_id, origin)
        if row is None or not 0 <= size <= row.sealed:
            return None
        return await read_root(self._database, self._site_id, row.no, size)

    async def peaks(self, origin: str, size: int) -> list[bytes]:
        """As in `Shelf`."""
        row = await self._row(origin, size)
        return await answered(
            self._database,
            self._site_id,
            row.no,
            lambda nodes: [nodes(level, at) for level, at in peaks_of(size)],
        )

    async def inclusion(self, origin: str, index: int, size: int) -> list[bytes]:
        """As in `Shelf`."""
        row = await self._row(origin, size)
        return await answered(
            self._database,
            self._site_id,
            row.no,
            lambda nodes: prove_inclusion(index, size, nodes),
        )

    async def consistency(self, origin: str, old: int, size: int) -> list[bytes]:
        """As in `Shelf`."""
        row = await self._row(origin, size)
        return await answered(
            self._database,
            self._site_id,
            row.no,
            lambda nodes: prove_consistency(old, size, nodes),
        )

    async def beyond(self, origin: str, size: int, wait_s: float) -> Log | None:
        """As in `Shelf`; a log that another process writes is looked at now and then."""
        loop = asyncio.get_running_loop()
        end = loop.time() + wait_s
        while True:
            bell = self._bells.of(self._site_id, origin)
            log = await self.log(origin)
            left = end - loop.time()
            if (log is not None and log.size > size) or left <= 0:
                return log
            patience = left if self._database.others_s is None else self._database.others_s
            try:
                async with asyncio.timeout(min(left, patience)):
                    await bell.wait()
            except TimeoutError:
                continue

    async def annexes_from(self, origin: str) -> int:
        """Return the first index whose annex is neither held nor erased; the size if none is."""
        row = await self._row(origin)
        ((first,),) = await self._database.rows(sql.ANNEX_OWED, self._site_id, row.ref())
        return row.sealed if first is None else min(int(first), row.sealed)

    # --- taking in ----------------------------------------------------------------------------

    async def extend(self, chunk: Chunk) -> Log:
        """As in `Shelf`."""
        for _ in range(TRIES):
            row, verifier = await self._target(chunk)
            known = await self._known(row, chunk)
            accepted = accept(chunk, row.tree(), known, verifier)
            if not accepted.entries:
                return await self._keep_checkpoint(row, chunk)
            grown = await self._database.grow(self._growth(row, accepted))
            if grown is Grown.DONE:
                self._bells.ring(self._site_id, chunk.origin)
                return _log(
                    row._replace(size=chunk.size, sealed=chunk.size, note=chunk.note),
                )
        raise StoreFailed("busy", "Others write to this log all the time: try again.")

    async def put_annexes(self, origin: str, annexes: Sequence[tuple[int, Annex]]) -> int:
        """As in `Shelf`."""
        if not annexes:
            return 0
        row = await self._row(origin)
        known, ref = await self._annexes(row, [index for index, _ in annexes]), row.ref()
        new: dict[int, AnnexRow] = {}
        for index, annex in annexes:
            held = known.get(index)
            if held is None or not _matches(held, annex):
                raise TheirsInvalid(
                    "exchange.annex",
                    "Send the annex and salt that the entry's `private` was made from.",
                    origin=origin,
                    index=index,
                )
            if held.data is None and held.erased_by is None:
                new[index] = AnnexRow(ref, index, held.private, annex.salt, annex.data)
        if new:
            await self._database.put_annexes(self._site_id, list(new.values()))
        return len(new)

    async def receive_receipt(self, origin: str, note: str, instance: str) -> None:
        """As in `Shelf`."""
        row = await self._row(origin)
        try:
            checkpoint = open_checkpoint(note, Verifier.from_vkey(row.vkey))
            cosigned = open_cosignatures(note, self._cosigners)
        except CertsError as error:
            raise _bad_receipt(origin, cause=error.code) from error
        if checkpoint.origin != origin or not cosigned:
            raise _bad_receipt(origin, cosigners=len(self._cosigners))
        if checkpoint.size > row.sealed:
            raise TheirsInvalid(
                "exchange.ahead", "Send these entries first.", origin=origin, size=row.sealed
            )
        root = await read_root(self._database, self._site_id, row.no, checkpoint.size)
        if root != checkpoint.root:
            raise _bad_receipt(origin, size=checkpoint.size)
        receipt = Receipt(checkpoint.size, note, instance, self._now_ms())
        await put_receipt(self._database, self._site_id, row, receipt)

    async def _row(self, origin: str, size: int = 0) -> LogRow:
        """Return a log that is held up to `size`; `TheirsInvalid` otherwise."""
        row = await find_log(self._database, self._site_id, origin)
        if row is None or not row.note:
            raise _unknown(origin)
        if not 0 <= size <= row.sealed:
            raise TheirsInvalid(
                "exchange.ahead", "Ask for what is held here.", origin=origin, size=row.sealed
            )
        return row

    async def _annexes(self, row: LogRow, indices: Sequence[int]) -> dict[int, AnnexRow]:
        """Return what stands beside these entries, and some of their neighbours.

        Not joined to the entries: without statistics PostgreSQL reads all annexes once an entry.
        Far apart they are asked for in turn, so that nobody can make a few stand for a million.
        """
        spans: list[list[int]] = []
        for index in sorted(index for index in set(indices) if 0 <= index < row.size):
            if not spans or index - spans[-1][0] >= CHUNK_ENTRIES_MAX:
                spans.append([index, index])
            spans[-1][1] = index
        rows: list[Row] = []
        for first, last in spans:
            rows += await self._database.rows(sql.ANNEXES, self._site_id, row.ref(), first, last)
        return {one.idx: one for one in map(AnnexRow._make, rows)}

    async def _target(self, chunk: Chunk) -> tuple[LogRow, Verifier]:
        """Return the log to extend, begun if its writer is known, and who verifies it.

        A writer may have several keys (a replaced gateway): a log keeps the one that it began with,
        so it begins with nothing that this key did not sign.
        """
        origin = chunk.origin
        row = await find_log(self._database, self._site_id, origin)
        if row is not None:
            if row.own:
                raise TheirsInvalid(
                    "exchange.own", "This log is written here and nowhere else.", origin=origin
                )
            return row, Verifier.from_vkey(row.vkey)
        try:
            named = Origin.parse(origin)
        except TheirsInvalid as error:
            raise _unknown(origin) from error
        verifier = self._ring.verifier(named, chunk.note)
        if verifier is None or named.site != self._site_id:
            raise _unknown(origin)
        accept(chunk, Tree(), (), verifier)
        # Without a note it is not told: only what comes with the first growth is.
        row = await begin_log(
            self._database, self._site_id, origin, own=False, vkey=verifier.vkey, note=""
        )
        return row, verifier

    async def _known(self, row: LogRow, chunk: Chunk) -> list[bytes]:
        """Return the leaf hashes stored where the chunk overlaps."""
        stop = min(row.size, chunk.size)
        if chunk.first < 0:
            raise TheirsInvalid("exchange.gap", "A log begins with index 0.", size=row.size)
        if stop <= chunk.first:
            return []
        found = await self._database.rows(sql.LEAVES, self._site_id, row.no, chunk.first, stop)
        if len(found) != stop - chunk.first:
            raise StoreFailed("torn", origin=row.origin, first=chunk.first, what="entries missing")
        return [leaf for (leaf,) in found]

    def _growth(self, row: LogRow, accepted: Accepted) -> Growth:
        log = Origin.parse(row.origin).log
        return Growth(
            site_id=self._site_id,
            origin=row.origin,
            no=row.no,
            own=False,
            old=row.size,
            size=accepted.tree.size,
            peaks=b"".join(accepted.tree.peaks()),
            note=accepted.note,
            at_ms=self._now_ms(),
            leaves=accepted.leaves,
            entries=accepted.entries,
            nodes=kept_nodes(accepted.completed),
            annexes=annex_rows(log, accepted.first, accepted.entries),
        )

    async def _keep_checkpoint(self, row: LogRow, chunk: Chunk) -> Log:
        """Keep a checkpoint of entries that were known: a segment may end there from now on."""
        kept = await self._database.rows(sql.CHECKPOINT, self._site_id, row.no, chunk.size)
        if chunk.size == row.size:
            root = row.tree().root()
        else:
            root = await read_root(self._database, self._site_id, row.no, chunk.size)
        if root != Checkpoint.parse(chunk.note.partition("\n\n")[0] + "\n").root:
            raise TheirsInvalid(
                "exchange.root",
                "The log was signed with other entries before these: keep both checkpoints.",
                origin=chunk.origin,
                size=chunk.size,
            )
        if not kept:
            await self._database.run(
                sql.KEEP_CHECKPOINT, self._site_id, row.no, chunk.size, chunk.note, self._now_ms()
            )
        if chunk.size > row.sealed or not row.note:
            # Entries of an own log that has ended, committed and never sealed here.
            at = (self._site_id, chunk.origin, chunk.size, chunk.note)
            await self._database.run(sql.SEAL_LOG, *at)
            self._bells.ring(self._site_id, chunk.origin)
            row = row._replace(sealed=chunk.size, note=chunk.note)
        return _log(row)


def _log(row: LogRow) -> Log:
    return Log(row.origin, row.vkey, bool(row.own), row.oldest, row.sealed, row.note, row.cosigned)


def _annex(row: AnnexRow | None) -> Annex | None:
    if row is None or (row.data is None and row.erased_by is None):
        return None
    return Annex(row.salt, row.data, row.erased_by)


def _matches(held: AnnexRow, annex: Annex) -> bool:
    if annex.salt is None or annex.data is None:
        return False
    fits = len(annex.salt) == SALT_BYTES and len(annex.data) <= ANNEX_BYTES_MAX
    return fits and held.private == private_hash(annex.salt, annex.data)


def _fitting(lengths: Sequence[int], bytes_max: int) -> int:
    """Return how many of these lengths fit."""
    total = 0
    for count, length in enumerate(lengths):
        total += length
        if total > bytes_max:
            return count
    return len(lengths)


def _unknown(origin: str) -> TheirsInvalid:
    return TheirsInvalid(
        "exchange.unknown_origin",
        "Exchange the writer's key first (log vkey).",
        origin=ascii(origin)[:200],
    )


def _bad_receipt(origin: str, **evidence: object) -> TheirsInvalid:
    return TheirsInvalid(
        "exchange.receipt",
        "Send the log's own checkpoint with the hub's cosignature.",
        origin=origin,
        **evidence,
    )
