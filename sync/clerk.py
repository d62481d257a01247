"""Does at the shelf what a session asks for: reads, compares, stores, and answers.

Nothing here waits for anything but the shelf and the owner's hooks; whoever carries the session
sends, wakes and closes. The order of a segment that arrives: stored durably, acknowledged, told.
"""

import contextlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from certs.errors import CertsError
from certs.note import Checkpoint
from sync import entry, exchange, message
from sync.errors import StoreFailed, TheirsInvalid
from sync.exchange import Found, Output
from sync.message import Hello
from sync.receiving import rebuilt
from sync.session import Session
from sync.shelf import Item, Log, Shelf

ANNEXES_BACK: Final = 512
"""A segment is stored before its annexes: after a crash only those of the last can be missing."""


async def _nothing(*_: object) -> None:
    """Do nothing."""


@dataclass(frozen=True, slots=True)
class Hooks:
    """What the carrier's owner is told, and asked.

    `greeted(told)`: what the peer says it holds, {origin: size}; again when it names more logs.
    `arrived(origin, first, items)`: entries that are durable now and were not before. Two links of
    one site may both tell one. `found`: see `exchange.Found`. `holds(origin, size, instance)`: the
    peer's store has so much durably. `cosign(log)`: the log's note with cosignature lines added, or
    None; a hub's. `snapshot()`: (SHA-256, bytes) of the latest, or None.
    """

    greeted: Callable[[Mapping[str, int]], Awaitable[None]] = _nothing
    arrived: Callable[[str, int, Sequence[Item]], Awaitable[None]] = _nothing
    found: Callable[[Found], Awaitable[None]] = _nothing
    holds: Callable[[str, int, str], Awaitable[None]] = _nothing
    cosign: Callable[[Log], Awaitable[str | None]] = _nothing
    snapshot: Callable[[], Awaitable[tuple[bytes, bytes] | None]] = _nothing
    snapshot_arrived: Callable[[bytes, bytes], Awaitable[None]] = _nothing


class Arrived(msgspec.Struct, frozen=True):
    """Entries that were stored and acknowledged, to be told: comes after the session's outputs."""

    origin: str
    items: tuple[Item, ...]


Deed = Output | Arrived


class Clerk:
    """See above. `act` returns what is to be done next, after what is waiting already."""

    def __init__(
        self, session: Session, shelf: Shelf, hooks: Hooks, now_ms: Callable[[], int]
    ) -> None:
        self._session = session
        self._shelf = shelf
        self._hooks = hooks
        self._now_ms = now_ms
        self._greeted: Hello | None = None
        self._told: dict[str, int] = {}

    async def greet(self) -> None:
        """Tell the owner of a hello that has come since."""
        peer = self._session.peer
        if peer is not None and peer is not self._greeted:
            self._greeted = peer
            names = message.table(peer.table)
            sizes = {name: row.size for name, row in zip(names, peer.table, strict=True)}
            if sizes != self._told:
                self._told = sizes
                await self._hooks.greeted(sizes)

    async def start(self, *, annexes: bool, time_ms: int) -> list[Output]:
        """Begin the session with what the shelf holds."""
        logs = await self._shelf.logs()
        missing = await self._annexes_from(logs) if annexes else {}
        return self._session.start(logs, self._now_ms(), annexes_from=missing, time_ms=time_ms)

    async def act(self, deed: Deed) -> Sequence[Deed]:  # noqa: C901, PLR0911, PLR0912  # one case an output
        """Do one output; those that are the carrier's are left. A hook's error goes through.

        What the disk cannot do ends the session (`exchange.store`).
        """
        session, shelf, hooks = self._session, self._shelf, self._hooks
        match deed:
            case exchange.Load():
                return await self._load(deed)
            case exchange.LoadAnnexes(origin, start, stop):
                items = await shelf.read(origin, start, stop)
                return session.annexes_loaded(origin, start, items, self._now_ms())
            case exchange.Compare(origin, size):
                root = await shelf.root(origin, size)
                return session.compared(origin, size, root, self._now_ms())
            case exchange.Store():
                return await self._store(deed)
            case exchange.PutAnnexes(origin, annexes):
                return await self._try(origin, shelf.put_annexes(origin, annexes))
            case exchange.Cosign(origin):
                return await self._cosign(origin)
            case exchange.KeepReceipt():
                return await self._try(deed.origin, self._keep(deed))
            case Arrived(origin, items):
                await hooks.arrived(origin, items[0].index, items)
            case exchange.PeerHolds(origin, size, instance):
                await hooks.holds(origin, size, instance)
            case exchange.Found():
                await hooks.found(deed)
            case exchange.LoadSnapshot():
                digest, data = await hooks.snapshot() or (b"", b"")
                return session.snapshot_loaded(digest, data, self._now_ms())
            case exchange.SnapshotArrived(digest, data):
                await hooks.snapshot_arrived(digest, data)
            case exchange.Send() | exchange.Wake() | exchange.Close():
                pass
        return ()

    async def _try(self, origin: str, work: Awaitable[object]) -> Sequence[Deed]:
        try:
            await work
        except (TheirsInvalid, StoreFailed, CertsError) as error:
            return self._session.refused(origin, error.code, error.evidence, self._now_ms())
        return ()

    async def _load(self, load: exchange.Load) -> Sequence[Deed]:
        origin, first = load.origin, load.first
        items: list[Item] = []
        note = None
        with contextlib.suppress(TheirsInvalid):  # without a note the session stops this log
            count = load.count or await self._shelf.cut(
                origin, first, load.entries_max, load.bytes_max
            )
            items = await self._shelf.read(origin, first, first + count)
            if len(items) == count:
                note = await self._shelf.note(origin, first + count)
        return self._session.loaded(origin, first, items, note, self._now_ms())

    async def _store(self, store: exchange.Store) -> Sequence[Deed]:
        origin, shelf = store.origin, self._shelf
        try:
            before = await shelf.log(origin)
            peaks = await shelf.peaks(origin, store.first) if store.first else []
            log = await shelf.extend(rebuilt(store, peaks))
            if store.annexes:
                await shelf.put_annexes(origin, store.annexes)
        except (TheirsInvalid, StoreFailed, CertsError) as error:
            return self._session.refused(origin, error.code, error.evidence, self._now_ms())
        outputs: list[Deed] = list(self._session.stored(log, self._now_ms()))
        known = 0 if before is None else max(before.size - store.first, 0)
        annexes = dict(store.annexes)
        items = tuple(
            Item(index, data, annexes.get(index))
            for index, data in enumerate(store.entries[known:], store.first + known)
        )
        return [*outputs, Arrived(origin, items)] if items else outputs

    async def _cosign(self, origin: str) -> Sequence[Deed]:
        log = await self._shelf.log(origin)
        note = None if log is None else await self._hooks.cosign(log)
        return () if note is None else self._session.cosigned(origin, note, self._now_ms())

    async def _keep(self, receipt: exchange.KeepReceipt) -> None:
        """Write the cosigned checkpoint from our own log, and keep it."""
        origin, size = receipt.origin, receipt.size
        root = await self._shelf.root(origin, size)
        if root is None:
            log = await self._shelf.log(origin)
            raise TheirsInvalid(
                "exchange.ahead",
                "A receipt for more than is held: was this log rolled back?",
                origin=origin,
                size=size,
                held=0 if log is None else log.size,
            )
        note = await self._shelf.note(origin, size)
        text = note or Checkpoint(origin, size, root).text() + "\n"
        await self._shelf.receive_receipt(origin, text + receipt.lines, receipt.instance)

    async def _annexes_from(self, logs: Sequence[Log]) -> dict[str, int]:
        """Return where the last segment of a log lacks an annex that its entry names."""
        missing = {}
        for log in logs:
            start = max(log.oldest, log.size - ANNEXES_BACK)
            for item in [] if log.own else await self._shelf.read(log.origin, start, log.size):
                if item.annex is None and b'"private":' in item.entry and _private(item.entry):
                    missing[log.origin] = item.index
                    break
        return missing


def _private(data: bytes) -> bool:
    return entry.parse(data).private is not None
