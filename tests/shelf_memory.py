"""A shelf in memory: keeps every promise of `sync.shelf`, and breaks on demand.

    shelf = MemoryShelf(ring=Ring(site_vkey), cosigners=[hub_cosigner])
    shelf.begin("lockers.example/hub/0042/e1-00000001/custody", seed)
    shelf.write(origin, entry, entry, private(b"annex"))

`fail_next("extend", error)` lets the next call of that name raise; `forget_to(7)` is yesterday's
backup; `prune` and `erase` are what a site does with age. Nothing here waits but `beyond`.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from certs.errors import CertsError
from certs.keys import SigningKey, Verifier
from certs.note import Checkpoint, open_cosignatures, parse_note, sign_checkpoint
from sync import entry as entries
from sync.entry import private_hash
from sync.errors import StoreFailed, TheirsInvalid
from sync.intake import Chunk, accept
from sync.merkle import (
    FullTree,
    Tree,
    leaf_hash,
    peaks_of,
    prove_consistency,
    prove_inclusion,
    root_at,
)
from sync.moment import Moment
from sync.origin import Origin, Ring
from sync.rows import Annex
from sync.shelf import Item, Log

SALT: Final = bytes(range(16))


class Private(NamedTuple):
    """An entry with its annex, to be written together."""

    entry: bytes
    annex: Annex


def entry(number: int = 0, kind: str = "door.opened", **more: object) -> bytes:
    """Return an entry that anybody may write; `number` makes it another one."""
    return entries.compose({"kind": kind, **more}, at=Moment(1, number))


def private(annex: bytes, number: int = 0, salt: bytes = SALT, **more: object) -> Private:
    """Return an entry whose annex stands beside it."""
    data = entries.compose(
        {"kind": "parcel.deposited", **more},
        at=Moment(1, number),
        private=private_hash(salt, annex),
    )
    return Private(data, Annex(salt, annex, None))


@dataclass(slots=True)
class Held:
    """One log as it lies here. `key` is None for somebody else's."""

    origin: str
    verifier: Verifier
    key: SigningKey | None
    entries: list[bytes] = field(default_factory=list)
    leaves: list[bytes] = field(default_factory=list)
    tree: FullTree = field(default_factory=FullTree)
    annexes: dict[int, Annex] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    oldest: int = 0
    cosigned: int = 0

    def sign(self, size: int) -> str:
        assert self.key is not None, "only an own log is signed"
        return sign_checkpoint(Checkpoint(self.origin, size, root_at(size, self.tree)), self.key)

    def log(self) -> Log:
        return Log(
            self.origin,
            self.verifier.vkey,
            self.key is not None,
            self.oldest,
            len(self.entries),
            self.notes[len(self.entries)],
            self.cosigned,
        )


class MemoryShelf:
    """A `sync.shelf.Shelf`. `kept` are the receipts: (origin, note, hub store's instance)."""

    def __init__(
        self,
        *,
        ring: Ring | None = None,
        cosigners: Iterable[Verifier] = (),
        instance: str = "00000000000000aa",
    ) -> None:
        self.instance = instance
        self.ring = Ring() if ring is None else ring
        self.cosigners = tuple(cosigners)
        self.held: dict[str, Held] = {}
        self.receipts: list[tuple[str, str, str]] = []
        self.calls: list[str] = []
        self._failures: dict[str, list[Exception]] = {}
        self._grown = asyncio.Event()

    # --- what a test does to it -----------------------------------------------------------------

    def begin(self, origin: str, seed: bytes) -> Log:
        """Begin an own log, signed at size 0; its key is the seed under the origin's name."""
        Origin.parse(origin)
        key = SigningKey.from_seed(origin, seed)
        held = self.held[origin] = Held(origin, key.verifier, key)
        held.notes[0] = held.sign(0)
        return held.log()

    def write(self, origin: str, *data: bytes | Private) -> Log:
        """Append to an own log, durably and signed."""
        held = self.held[origin]
        for one in data:
            if isinstance(one, Private):
                held.annexes[len(held.entries)] = one.annex
                _append(held, one.entry)
            else:
                _append(held, one)
        held.notes[len(held.entries)] = held.sign(len(held.entries))
        self._tell()
        return held.log()

    def fail_next(self, call: str, error: Exception | None = None) -> None:
        """Let the next call of that method raise; by default the disk is full."""
        self._failures.setdefault(call, []).append(error or StoreFailed("full"))

    def forget_to(self, size: int, origin: str | None = None) -> None:
        """Go back to a backup: one log, or every one, has at most `size` entries again.

        Another's log goes back to the latest kept checkpoint of at most that size; one that has
        none is gone.
        """
        for name in sorted(self.held) if origin is None else [origin]:
            held = self.held[name]
            notes = {at: note for at, note in held.notes.items() if at <= size}
            if held.key is None and not notes:
                del self.held[name]
                continue
            end = min(size, len(held.entries)) if held.key is not None else max(notes)
            again = Held(name, held.verifier, held.key, oldest=min(held.oldest, end))
            for data in held.entries[:end]:
                _append(again, data)
            again.annexes = {at: annex for at, annex in held.annexes.items() if at < end}
            again.notes = notes
            if again.key is not None:
                again.notes[end] = again.sign(end)
            again.cosigned = min(held.cosigned, end)
            self.held[name] = again

    def prune(self, origin: str, oldest: int) -> None:
        """Let go of the entries before `oldest`; their leaf hashes stay."""
        self.held[origin].oldest = oldest

    def erase(self, origin: str, index: int, by: str = "e1-00000001:sc0") -> None:
        """Erase an annex for good."""
        self.held[origin].annexes[index] = Annex(None, None, by)

    # --- the shelf ------------------------------------------------------------------------------

    async def logs(self) -> tuple[Log, ...]:
        self._called("logs")
        return tuple(self.held[origin].log() for origin in sorted(self.held))

    async def log(self, origin: str) -> Log | None:
        self._called("log")
        held = self.held.get(origin)
        return None if held is None else held.log()

    async def read(self, origin: str, start: int, stop: int) -> list[Item]:
        self._called("read")
        held = self._held(origin)
        return [
            Item(index, held.entries[index], held.annexes.get(index))
            for index in range(max(start, held.oldest), min(stop, len(held.entries)))
        ]

    async def cut(self, origin: str, first: int, entries_max: int, bytes_max: int) -> int:
        self._called("cut")
        held = self._held(origin)
        size, total, end = len(held.entries), 0, first
        while end < size and end - first < entries_max:
            total += len(held.entries[end])
            if total > bytes_max and end > first:
                break
            end += 1
        if held.key is None and end > first:
            within = [at for at in held.notes if first < at <= end]
            end = max(within) if within else min(at for at in held.notes if at > end)
        return max(end - first, 0)

    async def note(self, origin: str, size: int) -> str | None:
        self._called("note")
        held = self.held.get(origin)
        if held is None or not 0 <= size <= len(held.entries):
            return None
        return held.sign(size) if held.key is not None else held.notes.get(size)

    async def root(self, origin: str, size: int) -> bytes | None:
        self._called("root")
        held = self.held.get(origin)
        if held is None or not 0 <= size <= len(held.entries):
            return None
        return root_at(size, held.tree)

    async def peaks(self, origin: str, size: int) -> list[bytes]:
        self._called("peaks")
        return [self._tree(origin, size)(level, at) for level, at in peaks_of(size)]

    async def inclusion(self, origin: str, index: int, size: int) -> list[bytes]:
        self._called("inclusion")
        return prove_inclusion(index, size, self._tree(origin, size))

    async def consistency(self, origin: str, old: int, size: int) -> list[bytes]:
        self._called("consistency")
        return prove_consistency(old, size, self._tree(origin, size))

    async def beyond(self, origin: str, size: int, wait_s: float) -> Log | None:
        self._called("beyond")
        deadline = asyncio.get_running_loop().time() + wait_s
        while (held := self.held.get(origin)) is not None and len(held.entries) <= size:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._grown.wait()
            except TimeoutError:
                break
        return None if held is None else held.log()

    async def extend(self, chunk: Chunk) -> Log:
        self._called("extend")
        held = self.held.get(chunk.origin) or self._foreign(chunk.origin)
        if held.key is not None:
            raise TheirsInvalid(
                "exchange.own", "Only this holder writes this log.", origin=chunk.origin
            )
        size = len(held.entries)
        tree = Tree.from_peaks(size, [held.tree(level, at) for level, at in peaks_of(size)])
        accepted = accept(chunk, tree, held.leaves[chunk.first :], held.verifier)
        said = Checkpoint.parse(parse_note(chunk.note)[0])
        if not accepted.entries and said.root != root_at(chunk.size, held.tree):
            raise TheirsInvalid("exchange.root", "Two heads of one size.", size=chunk.size)
        for data in accepted.entries:
            _append(held, data)
        held.notes.setdefault(chunk.size, chunk.note)
        self.held[chunk.origin] = held
        self._tell()
        return held.log()

    async def put_annexes(self, origin: str, annexes: Sequence[tuple[int, Annex]]) -> int:
        self._called("put_annexes")
        held = self._held(origin)
        for index, annex in annexes:
            expected = entries.parse(held.entries[index]).private if self._has(held, index) else b""
            if annex.salt is None or annex.data is None:
                raise _refused("annex", index=index, cause="nothing to keep")
            if expected != private_hash(annex.salt, annex.data):
                raise _refused("annex", index=index)
        new = [(index, annex) for index, annex in annexes if index not in held.annexes]
        held.annexes.update(new)
        return len(new)

    async def receive_receipt(self, origin: str, note: str, instance: str) -> None:
        self._called("receive_receipt")
        held = self._held(origin)
        try:
            said = Checkpoint.parse(parse_note(note)[0])
            if said.size > len(held.entries):
                raise _refused("ahead", size=len(held.entries))
            signed = open_cosignatures(note, self.cosigners)
        except CertsError as error:
            raise _refused("receipt", cause=error.code) from error
        if said.origin != origin or said.root != root_at(said.size, held.tree) or not signed:
            raise _refused("receipt", origin=origin, size=said.size)
        held.cosigned = max(held.cosigned, said.size)
        self.receipts.append((origin, note, instance))

    # --- inside ---------------------------------------------------------------------------------

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if failures := self._failures.get(name):
            raise failures.pop(0)

    def _held(self, origin: str) -> Held:
        held = self.held.get(origin)
        if held is None:
            raise _refused("unknown_origin", origin=origin)
        return held

    def _foreign(self, origin: str) -> Held:
        verifier = self.ring.verifier(Origin.parse(origin))
        if verifier is None:
            raise _refused("unknown_origin", origin=origin)
        return Held(origin, verifier, None)

    def _tree(self, origin: str, size: int) -> FullTree:
        held = self._held(origin)
        if not 0 <= size <= len(held.entries):
            raise TheirsInvalid("merkle.size", "Beyond what is held.", size=size)
        return held.tree

    def _has(self, held: Held, index: int) -> bool:
        return held.oldest <= index < len(held.entries)

    def _tell(self) -> None:
        self._grown.set()
        self._grown = asyncio.Event()


def _append(held: Held, data: bytes) -> None:
    held.entries.append(data)
    held.leaves.append(leaf_hash(data))
    held.tree.append(held.leaves[-1])


def _refused(what: str, **evidence: object) -> TheirsInvalid:
    return TheirsInvalid(f"exchange.{what}", "A refusal of the shelf in memory.", **evidence)
