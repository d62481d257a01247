"""The hub's storage over a database: `storage.Storage`, one for SQLite and PostgreSQL."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from typing import Self

import msgspec

from certs.errors import CertsError
from certs.keys import Verifier
from certs.note import Checkpoint, open_checkpoint
from sync import entry as parsing
from sync.entry import ANNEX_BYTES_MAX, SALT_BYTES, private_hash
from sync.errors import OursBroken, StoreFailed, TheirsInvalid
from sync.hub import sql
from sync.hub.access import TRIES, begin_log, find_log, put_receipt, read_root
from sync.hub.shelf import Bells, SiteShelf
from sync.hub.storage import (
    APPEND_ENTRIES_MAX,
    Audit,
    Clock,
    Fork,
    Moved,
    News,
    NewsState,
    Receipt,
    Record,
    Sign,
    Site,
    Snapshot,
)
from sync.hub.tables import Database, Grown, Growth, LogRow, annex_rows, kept_nodes
from sync.merkle import leaf_hash
from sync.origin import Origin, Ring
from sync.rows import Annex

_INSTANCE = "instance"
_INSTANCE_BYTES = 8


class Ledger:
    """The hub's storage. Made by `opening.open_storage`; see `storage.Storage` for the contract."""

    def __init__(self, database: Database, instance: str, now_ms: Clock) -> None:
        self._database = database
        self._named = instance
        self._now_ms = now_ms
        self._bells = Bells()
        self._auditing: dict[str, asyncio.Lock] = {}

    @classmethod
    async def open(cls, database: Database, now_ms: Clock) -> Self:
        """Return the storage over an open database, named if it has no name yet."""
        offered = secrets.token_hex(_INSTANCE_BYTES)
        await database.run(sql.OFFER_ABOUT, sql.ABOUT_SITE, _INSTANCE, offered)
        ((instance,),) = await database.rows(sql.ABOUT, sql.ABOUT_SITE, _INSTANCE)
        return cls(database, str(instance), now_ms)

    @property
    def instance(self) -> str:
        """As in `Storage`."""
        return self._named

    async def renew_instance(self) -> str:
        """As in `Storage`."""
        named = secrets.token_hex(_INSTANCE_BYTES)
        await self._database.run(sql.PUT_ABOUT, sql.ABOUT_SITE, _INSTANCE, named)
        self._named = named
        return named

    async def close(self) -> None:
        """As in `Storage`."""
        await self._database.close()

    # --- sites --------------------------------------------------------------------------------

    async def sites(self) -> tuple[Site, ...]:
        """As in `Storage`."""
        return tuple(map(_site, await self._database.rows(sql.SITES)))

    async def site(self, site_id: str) -> Site | None:
        """As in `Storage`."""
        rows = await self._database.rows(sql.SITE, site_id)
        return _site(rows[0]) if rows else None

    async def add_site(self, site: Site) -> None:
        """As in `Storage`."""
        if await self._database.run(sql.ADD_SITE, *_values(site)):
            return
        known = await self.site(site.site_id)
        if known != site:
            raise TheirsInvalid(
                "hub.site_exists", "Choose another id, or change that site.", site=site.site_id
            )

    async def update_site(self, site: Site) -> Site:
        """As in `Storage`."""
        after = msgspec.structs.replace(site, version=site.version + 1)
        if await self._database.run(sql.UPDATE_SITE, *_values(site)):
            return after
        known = await self.site(site.site_id)
        if known is None:
            raise TheirsInvalid("hub.no_site", "Add the site first.", site=site.site_id)
        if known != after:  # after a lost connection it may be this very change
            raise Moved(site=site.site_id, version=known.version)
        return after

    def shelf(
        self,
        site_id: str,
        ring: Ring,
        *,
        cosigners: Sequence[Verifier] = (),
        sign: Sign | None = None,
    ) -> SiteShelf:
        """As in `Storage`."""
        return SiteShelf(
            database=self._database,
            bells=self._bells,
            now_ms=self._now_ms,
            instance=lambda: self._named,
            site_id=site_id,
            ring=ring,
            cosigners=cosigners,
            sign=sign,
        )

    # --- the hub's own lanes ------------------------------------------------------------------

    async def begin(self, site_id: str, origin: str, vkey: str, note: str) -> None:
        """As in `Storage`."""
        checkpoint = _opened(note, vkey, origin)
        if checkpoint.size != 0:
            raise _bad_note(origin, size=checkpoint.size)
        row = await begin_log(self._database, site_id, origin, own=True, vkey=vkey, note=note)
        if not row.own or row.vkey != vkey:
            raise OursBroken("hub.bad_note", "This log has another writer.", origin=origin)

    async def disown(self, site_id: str, origin: str) -> None:
        """As in `Storage`."""
        await self._own(site_id, origin)
        await self._database.run(sql.DISOWN_LOG, site_id, origin, False)

    async def append(
        self,
        site_id: str,
        origin: str,
        size: int,
        entries: Sequence[bytes],
        annexes: Mapping[int, Annex] | None = None,
    ) -> Checkpoint:
        """As in `Storage`."""
        row = await self._own(site_id, origin)
        if not row.own or row.size != size:
            raise Moved(origin=origin, size=row.size, own=bool(row.own))
        growth = self._planned(row, site_id, entries, dict(annexes or {}))
        grown = await self._database.grow(growth)
        if grown is not Grown.DONE and not await self._is_ours(grown, growth):
            row = await self._own(site_id, origin)
            raise Moved(origin=origin, size=row.size, own=bool(row.own))
        tree = row.tree()
        for leaf in growth.leaves:
            tree.append(leaf)
        return Checkpoint(origin, growth.size, tree.root())

    async def seal(self, site_id: str, origin: str, note: str) -> None:
        """As in `Storage`."""
        row = await self._own(site_id, origin)
        checkpoint = _opened(note, row.vkey, origin)
        if checkpoint.size > row.size:
            raise _bad_note(origin, size=checkpoint.size, stored=row.size)
        if await read_root(self._database, site_id, row.no, checkpoint.size) != checkpoint.root:
            raise _bad_note(origin, size=checkpoint.size)
        size = checkpoint.size
        # First the note of that size, then the size that is told: a crash between leaves a note
        # too many, and never a size without one.
        await self._database.run(sql.KEEP_CHECKPOINT, site_id, row.no, size, note, self._now_ms())
        if await self._database.run(sql.SEAL_LOG, site_id, origin, size, note):
            self._bells.ring(site_id, origin)

    async def unsealed(self, site_id: str) -> tuple[Checkpoint, ...]:
        """As in `Storage`."""
        rows = [LogRow._make(row) for row in await self._database.rows(sql.LOGS, site_id)]
        return tuple(
            Checkpoint(row.origin, row.size, row.tree().root())
            for row in rows
            if row.own and row.sealed < row.size
        )

    # --- beside the logs ----------------------------------------------------------------------

    async def keep_cosignature(self, site_id: str, origin: str, note: str) -> None:
        """As in `Storage`."""
        row = await self._own(site_id, origin)
        size = _opened(note, row.vkey, origin).size
        if size > row.sealed:
            raise _bad_note(origin, size=size, stored=row.sealed)
        await put_receipt(
            self._database, site_id, row, Receipt(size, note, self._named, self._now_ms())
        )

    async def cosignature(self, site_id: str, origin: str) -> Receipt | None:
        """As in `Storage`."""
        row = await self._own(site_id, origin)
        rows = await self._database.rows(sql.COSIGNATURE, site_id, row.no)
        return Receipt(*rows[0]) if rows else None

    async def keep_fork(self, site_id: str, origin: str, note: str) -> bool:
        """As in `Storage`."""
        seen = Checkpoint.parse(note.partition("\n\n")[0] + "\n")
        values = (site_id, origin, seen.size, seen.root, note, self._now_ms())
        return bool(await self._database.run(sql.KEEP_FORK, *values))

    async def forks(self, site_id: str) -> tuple[Fork, ...]:
        """As in `Storage`."""
        return tuple(Fork(*row) for row in await self._database.rows(sql.FORKS, site_id))

    async def keep_book(self, site_id: str, snapshot: Snapshot) -> None:
        """As in `Storage`."""
        lanes = msgspec.json.encode(snapshot.lanes, order="sorted").decode()
        values = (snapshot.fold, lanes, snapshot.data, snapshot.at_ms)
        await self._database.run(sql.KEEP_BOOK, site_id, *values)

    async def latest_book(self, site_id: str, fold: int) -> Snapshot | None:
        """As in `Storage`."""
        rows = await self._database.rows(sql.BOOK, site_id, fold)
        if not rows:
            return None
        fold, lanes, data, at_ms = rows[0]
        return Snapshot(fold, msgspec.json.decode(lanes, type=dict[str, int]), data, at_ms)

    async def put_news(self, site_id: str, key: str, payload: bytes) -> bool:
        """As in `Storage`."""
        values = (site_id, key, payload, self._now_ms())
        return bool(await self._database.run(sql.PUT_NEWS, *values))

    async def settle_news(self, site_id: str, key: str, state: NewsState, payload: bytes) -> None:
        """As in `Storage`."""
        await self._database.run(sql.SETTLE_NEWS, site_id, key, state, payload)

    async def news(self, site_id: str, state: NewsState = "news") -> tuple[News, ...]:
        """As in `Storage`."""
        return tuple(News(*row) for row in await self._database.rows(sql.NEWS, site_id, state))

    async def add_record(self, site_id: str, kind: str, name: str, data: bytes) -> bool:
        """As in `Storage`."""
        values = (site_id, kind, name, data, self._now_ms())
        return bool(await self._database.run(sql.ADD_RECORD, *values))

    async def record(self, site_id: str, kind: str, name: str) -> Record | None:
        """As in `Storage`."""
        rows = await self._database.rows(sql.RECORD, site_id, kind, name)
        return Record(*rows[0]) if rows else None

    async def records(self, site_id: str, kind: str) -> tuple[Record, ...]:
        """As in `Storage`."""
        found: list[Record] = []
        after = ""
        while rows := await self._database.rows(sql.RECORDS, site_id, kind, after):
            found += [Record(*row) for row in rows]
            after = found[-1].id
        return tuple(found)

    async def change_record(self, site_id: str, known: Record, data: bytes) -> Record:
        """As in `Storage`."""
        at_ms = self._now_ms()
        values = (site_id, known.kind, known.id, data, known.version, at_ms)
        after = Record(known.kind, known.id, data, known.version + 1, at_ms)
        if await self._database.run(sql.CHANGE_RECORD, *values):
            return after
        there = await self.record(site_id, known.kind, known.id)
        if there != after:  # after a lost connection it may be this very change
            raise Moved(site=site_id, kind=known.kind, id=known.id)
        return after

    async def drop_record(self, site_id: str, kind: str, name: str) -> bool:
        """As in `Storage`."""
        return bool(await self._database.run(sql.DROP_RECORD, site_id, kind, name))

    async def audit(self, site_id: str, code: str, evidence: Mapping[str, object]) -> int:
        """As in `Storage`."""
        text = msgspec.json.encode(evidence, order="sorted").decode()
        line = (code, text, self._now_ms())
        # In this process one after the other; with other processes by compare-and-set.
        async with self._auditing.setdefault(site_id, asyncio.Lock()):
            ((seq,),) = await self._database.rows(sql.AUDIT_NEXT, site_id)
            for _ in range(TRIES):
                if await self._database.run(sql.PUT_AUDIT, site_id, seq, *line):
                    return int(seq)
                # Taken: by another process, or by this very line on a connection that was lost.
                ((_, *there),) = await self._database.rows(sql.AUDITED, site_id, seq, seq + 1)
                if tuple(there) == line:
                    return int(seq)
                seq += 1
        raise StoreFailed("busy", "Much is written to this audit: try again.", site=site_id)

    async def audited(self, site_id: str, start: int, count: int) -> tuple[Audit, ...]:
        """As in `Storage`."""
        rows = await self._database.rows(sql.AUDITED, site_id, start, start + count)
        return tuple(
            Audit(seq, code, msgspec.json.decode(evidence, type=dict[str, object]), at_ms)
            for seq, code, evidence, at_ms in rows
        )

    # --- within -------------------------------------------------------------------------------

    async def _own(self, site_id: str, origin: str) -> LogRow:
        row = await find_log(self._database, site_id, origin)
        if row is None:
            raise OursBroken("hub.no_log", "Begin the log first.", site=site_id, origin=origin)
        return row

    async def _is_ours(self, grown: Grown, growth: Growth) -> bool:
        """Say whether a growth that missed is there all the same, carried by a lost connection."""
        if grown is not Grown.UNSURE:
            return False
        stored = await self._database.rows(
            sql.LEAVES, growth.site_id, growth.no, growth.old, growth.size
        )
        return [leaf for (leaf,) in stored] == list(growth.leaves)

    def _planned(
        self, row: LogRow, site_id: str, entries: Sequence[bytes], annexes: dict[int, Annex]
    ) -> Growth:
        """Check every entry once more, and compute all rows."""
        if not 0 < len(entries) <= APPEND_ENTRIES_MAX:
            raise OursBroken("hub.bad_entry", "Append some entries.", count=len(entries))
        for index, data in enumerate(entries, row.size):
            _check(row, index, data, annexes)
        if any(not row.size <= index < row.size + len(entries) for index in annexes):
            raise _bad_annex(row, max(annexes))
        tree, leaves = row.tree(), [leaf_hash(data) for data in entries]
        completed = [node for leaf in leaves for node in tree.append(leaf)]
        return Growth(
            site_id=site_id,
            origin=row.origin,
            no=row.no,
            own=True,
            old=row.size,
            size=tree.size,
            peaks=b"".join(tree.peaks()),
            note=None,
            at_ms=self._now_ms(),
            leaves=leaves,
            entries=entries,
            nodes=kept_nodes(completed),
            annexes=annex_rows(Origin.parse(row.origin).log, row.size, entries, annexes),
        )


def _check(row: LogRow, index: int, data: bytes, annexes: Mapping[int, Annex]) -> None:
    try:
        entry = parsing.parse(data)
    except TheirsInvalid as error:
        raise OursBroken(
            "hub.bad_entry", origin=row.origin, index=index, cause=str(error)
        ) from error
    annex = annexes.get(index)
    expected = None
    if annex is not None:
        salt, text = annex.salt, annex.data
        if salt is None or text is None:
            raise _bad_annex(row, index)
        if len(salt) != SALT_BYTES or len(text) > ANNEX_BYTES_MAX:
            raise _bad_annex(row, index)
        expected = private_hash(salt, text)
    if entry.private != expected:
        raise _bad_annex(row, index)


def _opened(note: str, vkey: str, origin: str) -> Checkpoint:
    """Return the checkpoint of a note of ours; it is verified, by the key that must have signed."""
    try:
        checkpoint = open_checkpoint(note, Verifier.from_vkey(vkey))
    except CertsError as error:
        raise _bad_note(origin, cause=error.code) from error
    if checkpoint.origin != origin:
        raise _bad_note(origin, named=checkpoint.origin)
    return checkpoint


def _bad_note(origin: str, **evidence: object) -> OursBroken:
    return OursBroken("hub.bad_note", "Sign exactly what is stored.", origin=origin, **evidence)


def _bad_annex(row: LogRow, index: int) -> OursBroken:
    return OursBroken(
        "hub.bad_entry", "`private` and the annex belong together.", origin=row.origin, index=index
    )


def _site(row: Sequence[object]) -> Site:
    return msgspec.convert(dict(zip(Site.__struct_fields__, row, strict=True)), Site, strict=False)


def _values(site: Site) -> tuple[object, ...]:
    return msgspec.structs.astuple(site)
