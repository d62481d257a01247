"""What a store takes in from others: entries, annexes, receipts; and what it may let go then.

Each is one step of the writer task (`sync.storewriter`): checked against what is durable at that
moment, written in one transaction, durable when the caller hears of it.
"""

import re
import sqlite3
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final, NoReturn

from certs.errors import CertsError
from certs.keys import Verifier
from certs.note import Checkpoint, open_checkpoint, open_cosignatures
from sync import entry as entries
from sync import extend, lookup, pruning
from sync.beside import Ballast, Lock
from sync.commit import Changes, Identity, Pruning
from sync.entry import ANNEX_BYTES_MAX, SALT_BYTES, Ref, private_hash
from sync.errors import OursBroken, StoreFailed, TheirsInvalid
from sync.extend import Held
from sync.intake import CHUNK_ENTRIES_MAX, Chunk, accept
from sync.merkle import root_at
from sync.origin import Origin, Ring
from sync.reader import count_entries, read_nodes
from sync.rows import Annex, Head, row_id
from sync.shelf import Log
from sync.storeshelf import unknown
from sync.storewriter import StoreWriter

FOREIGN_LOGS_MAX: Final = 64
"""Logs of other writers: twenty epochs of the hub's three lanes. No writer fills a site's disk."""
PRUNE_ENTRIES: Final = 2048
"""Entries let go in one transaction: a door command waits for no more than that."""

_is_instance: Final = re.compile(r"[0-9a-f]{16}").fullmatch

Outcome = tuple[Changes, Callable[[], Log]]


class StoreIntake(StoreWriter):
    """The writing half of `sync.shelf.Shelf`, and pruning."""

    def __init__(
        self,
        path: Path,
        identity: Identity | None,
        lock: Lock,
        ballast: Ballast,
        *,
        ring: Ring,
        cosigners: Sequence[Verifier],
    ) -> None:
        super().__init__(path, identity, lock, ballast)
        self._ring = ring
        self._cosigners = tuple(cosigners)
        self._held: dict[str, Held] = {}
        self._log_ids = 0

    # --- entries ------------------------------------------------------------------------------

    async def extend(self, chunk: Chunk) -> Log:
        """Store somebody else's entries durably, all or nothing; idempotent. As in `Shelf`.

        A log begins when its writer is known: by the ring, or because it is our own writer, in an
        epoch that is not the present one. `exchange.too_many_logs` beyond 64 logs of others.
        `StoreFailed` full, without harm to the store, while the disk has no room for more.
        """
        # What would not be believed anyway must not wait for its turn.
        self._may_extend(chunk.origin)
        if chunk.first < 0:
            raise TheirsInvalid("exchange.size", "The first entry is 0.", first=chunk.first)
        if self._low_space:
            raise StoreFailed("full", path=str(self._path))

        def step(file: sqlite3.Connection) -> Outcome:
            held = self._held_log(file, chunk.origin, chunk.note)
            known = lookup.leaves(file, held.head.id, chunk.first, min(held.tree.size, chunk.size))
            accepted = accept(chunk, held.tree, known, Verifier.from_vkey(held.head.vkey))
            if not accepted.entries and held.head.note:
                return self._known(file, held, chunk)
            logs = {head.log: head.id for head in self._heads.values()}
            changes, grown = extend.grow(held, accepted, logs)
            return changes, lambda: self._has_grown(grown)

        return await self._take(step, chunk.origin, len(chunk.entries))

    def _may_extend(self, origin: str) -> Origin:
        """Return the origin if we may take in entries of it; `TheirsInvalid` otherwise."""
        try:
            named = Origin.parse(origin)
        except TheirsInvalid as error:
            raise unknown(origin) from error
        if self._identity is None:
            raise OursBroken("store.no_identity", "Open the store with the site's identity.")
        if any(state.key.name == origin for state in self._states.values()):
            raise TheirsInvalid(
                "exchange.own", "This log is written here and nowhere else.", origin=origin
            )
        return named

    def _held_log(self, file: sqlite3.Connection, origin: str, note: str) -> Held:
        """Return a log as it is durably, begun with the key of `note` if there is none."""
        named = self._may_extend(origin)
        held, head = self._held.get(origin), self._heads.get(origin)
        if held is None and head is not None:
            held = extend.resume(head, count_entries(file, head.id), read_nodes(file, head.id))
            self._held[origin] = held
        return self._begun(named, note) if held is None else held

    def _begun(self, named: Origin, note: str) -> Held:
        identity = self._identity
        assert identity is not None
        mine = named.signer == f"{identity.operator}/{identity.writer}"
        verifier = self._ring.verifier(named, note)
        if mine:
            own = Verifier(str(named), identity.key(named.lane).verifier.public)
            verifier = own if verifier is None else verifier
        site = identity.writer.partition("/")[2]
        if verifier is None or (named.operator, named.site) != (identity.operator, site):
            raise unknown(str(named))
        foreign = sum(not head.own for head in self._heads.values())
        if not mine and foreign >= FOREIGN_LOGS_MAX:
            raise TheirsInvalid(
                "exchange.too_many_logs",
                "Ask the writer why it begins so many epochs.",
                origin=str(named),
                limit=FOREIGN_LOGS_MAX,
            )
        # A number that is not used after all is no loss.
        self._log_ids = max([self._log_ids, *(head.id for head in self._heads.values())]) + 1
        return extend.begin(named, verifier.vkey, number=self._log_ids, own=mine)

    def _known(self, file: sqlite3.Connection, held: Held, chunk: Chunk) -> Outcome:
        """Keep a checkpoint of what is here already, if it is one of it."""
        root = root_at(chunk.size, read_nodes(file, held.head.id))
        if root != _root(chunk.note):
            raise TheirsInvalid(
                "exchange.root",
                "The log was signed with other entries before these: keep both checkpoints.",
                origin=chunk.origin,
                size=chunk.size,
            )
        return extend.keep(held, chunk.size, chunk.note), lambda: self._has_grown(held)

    def _has_grown(self, held: Held) -> Log:
        self._held[held.head.origin] = held
        self._heads[held.head.origin] = held.head
        return self._log(held.head)

    # --- annexes and receipts -----------------------------------------------------------------

    async def put_annexes(self, origin: str, annexes: Sequence[tuple[int, Annex]]) -> int:
        """Store annexes of held entries whose `private` they match; return how many were new.

        All or nothing, at most 512 at once. One that was erased stays erased, and one whose entry
        was pruned is not wanted any more. `TheirsInvalid` `exchange.annex` for one that does not
        match, `exchange.size`, `exchange.unknown_origin`.
        """
        self._need(origin)
        if len(annexes) > CHUNK_ENTRIES_MAX:
            raise TheirsInvalid("exchange.size", "Send fewer at once.", annexes=len(annexes))
        if self._low_space:
            raise StoreFailed("full", path=str(self._path))

        def step(file: sqlite3.Connection) -> tuple[Changes, Callable[[], int]]:
            head, changes = self._need(origin), Changes()
            matching = {
                row_id(head.id, index): annex
                for index, annex in annexes
                if _matches(file, head, index, annex)
            }
            for number in sorted(set(matching) - lookup.with_annex(file, matching)):
                annex = matching[number]
                changes.annexes.append((number, annex.salt, annex.data, None))
            count = len(changes.annexes)
            return changes, lambda: count

        return await self._take(step, f"annex {origin}", len(annexes))

    async def receive_receipt(self, origin: str, note: str, instance: str) -> None:
        """Keep a cosigned checkpoint of a held log: the receipt of the hub store `instance`.

        Raises `TheirsInvalid` `exchange.ahead` (larger than held: evidence `size`),
        `exchange.receipt` (root differs, not this log's, or no known cosigner signed it).
        """
        self._need(origin)

        def step(file: sqlite3.Connection) -> tuple[Changes, Callable[[], None]]:
            head = self._need(origin)
            size, vkey = self._cosigned_size(file, head, note, instance)
            changes = Changes()
            changes.receipts.append((head.id, instance, size, note, vkey))

            def outcome() -> None:
                self._cosigned[head.id] = max(size, self._cosigned.get(head.id, 0))

            return changes, outcome

        await self._take(step, f"receipt {origin}")

    def _cosigned_size(
        self, file: sqlite3.Connection, head: Head, note: str, instance: str
    ) -> tuple[int, str]:
        """Return the size of a receipt and its cosigner's vkey, if all of it is as it must be."""
        try:
            checkpoint = open_checkpoint(note, Verifier.from_vkey(head.vkey))
            cosigned = open_cosignatures(note, self._cosigners)
        except CertsError as error:
            _bad_receipt(head, cause=error.code)
        if not cosigned or _is_instance(instance) is None:
            _bad_receipt(head, cosigners=len(self._cosigners), instance=ascii(instance)[:40])
        if checkpoint.size > head.size:
            raise TheirsInvalid(
                "exchange.ahead", "Send these entries first.", origin=head.origin, size=head.size
            )
        if root_at(checkpoint.size, read_nodes(file, head.id)) != checkpoint.root:
            _bad_receipt(head, size=checkpoint.size)
        return checkpoint.size, cosigned[0].verifier.vkey

    # --- pruning ------------------------------------------------------------------------------

    async def prune_case(self, origin: str, *, hub: str, older: int) -> pruning.Case:
        """Return what `sync.pruning` judges by: receipts and snapshot out of the database.

        `hub` is the instance of the hub's present store, `older` the index below which all entries
        of this log are older than 30 days by its time anchors.
        """
        head = self._need(origin)

        def answer(file: sqlite3.Connection) -> pruning.Case:
            taken = lookup.latest_snapshot(file)
            return pruning.Case(
                own=head.own,
                size=head.size,
                cosigned=self._cosigned.get(head.id, 0),
                receipts=lookup.receipts(file, head.id),
                hub=hub,
                older=older,
                snapshot=0 if taken is None else taken.lanes.get(str(head.log), 0),
            )

        return await self._ask(answer)

    async def prune(
        self, origin: str, upto: int, *, hub: str, older: int, cited: Collection[Ref] = ()
    ) -> int:
        """Let go of the bytes and annexes of the entries below `upto`; return the new `oldest`.

        Their leaf hashes stay. `cited` are the entries that live objects cite: they are kept, and
        what only earlier calls kept goes. Raises `OursBroken` `store.unprunable` with the bounds
        of `sync.pruning` that are not fulfilled: whoever calls this asks `furthest` first. Done in
        steps of 2,048 entries; stopped in the middle, it is done up to there.
        """
        head = self._need(origin)
        refused = pruning.refusals(await self.prune_case(origin, hub=hub, older=older), upto)
        if refused:
            raise OursBroken("store.unprunable", origin=origin, upto=upto, bounds=",".join(refused))
        kept = {row_id(head.id, one.index) for one in cited if one.log == head.log}
        spared = set(await self._ask(lambda file: lookup.spared(file, head.id)))
        again = tuple(sorted(spared - kept))
        first = head.oldest
        while again or first < upto:
            stop = max(first, min(first + PRUNE_ENTRIES, upto))
            start, end = row_id(head.id, first), row_id(head.id, stop)
            here = tuple(sorted(one for one in kept if start <= one < end))
            cut = Pruning(head.id, first, stop, stop, here, again[:PRUNE_ENTRIES])
            await self._take(partial(self._pruned, origin, cut), f"prune {origin}")
            first, again = stop, again[PRUNE_ENTRIES:]
        return self._need(origin).oldest

    def _pruned(
        self, origin: str, cut: Pruning, _: sqlite3.Connection
    ) -> tuple[Changes, Callable[[], None]]:
        changes = Changes()
        changes.pruned.append(cut)

        def outcome() -> None:
            head = self._heads[origin]
            self._heads[origin] = replace(head, oldest=max(head.oldest, cut.oldest))
            self._held.pop(origin, None)

        return changes, outcome


def _matches(file: sqlite3.Connection, head: Head, index: int, annex: Annex) -> bool:
    """Say whether an annex is wanted: its entry is here whole. `TheirsInvalid` if it is not its."""
    salt, data = annex.salt, annex.data
    formed = salt is not None and len(salt) == SALT_BYTES and data is not None
    if formed and 0 <= index < head.size and len(data or b"") <= ANNEX_BYTES_MAX:
        row = file.execute(
            "SELECT CAST(bytes AS BLOB) FROM entry WHERE id = ?", (row_id(head.id, index),)
        ).fetchone()
        if row is not None and row[0] is None:
            return False
        if row is not None and entries.parse(row[0]).private == private_hash(
            salt or b"", data or b""
        ):
            return True
    raise TheirsInvalid(
        "exchange.annex",
        "Send the annex and salt that the entry's `private` was made from.",
        origin=head.origin,
        index=index,
    )


def _root(note: str) -> bytes:
    """Return the root of a checkpoint that was opened before."""
    return Checkpoint.parse(note.partition("\n\n")[0] + "\n").root


def _bad_receipt(head: Head, **evidence: object) -> NoReturn:
    raise TheirsInvalid(
        "exchange.receipt",
        "Send the log's checkpoint with the cosignature of a cosigner that is configured here.",
        origin=head.origin,
        **evidence,
    )
