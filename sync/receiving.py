"""The receiving half of a session: frames to segments, segments to the store, and what is owed.

A segment counts only when its seal has come, its codec and digest were right, and the holder has
stored it (`stored`): then, and not before, it is acknowledged. What of a segment has come stays
when the link dies (`parts`), and is asked for from that byte on.

Codes that close the link: `exchange.place` (no such log in the table), `exchange.unwanted`,
`exchange.gap`, `exchange.offset`, `exchange.total`, `exchange.open` (too many or too large
unfinished segments), `exchange.digest`, `exchange.seal`, `exchange.annex`, `exchange.credit`, those
of `sync.segment`, `exchange.snapshot`.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final, assert_never

import msgspec

from certs.note import Checkpoint, Signature
from sync import message, segment
from sync.errors import TheirsInvalid
from sync.exchange import (
    OPEN_BYTES_MAX,
    OPEN_MAX,
    PART_BYTES_MAX,
    PARTS_MAX,
    SEGMENT_BYTES_MAX,
    SNAPSHOT_BYTES_MAX,
    Output,
    Part,
    PutAnnexes,
    SnapshotArrived,
    Store,
)
from sync.intake import Chunk
from sync.merkle import Tree, leaf_hash
from sync.message import CREDIT_BYTES, TAG_BYTES, Annexed, Frame, Have, Piece, Seal
from sync.rows import Annex

ENCODED_BYTES_MAX: Final = SEGMENT_BYTES_MAX + 64 * 1024
HAVE_BYTES: Final = 2048
"""So many bytes taken are told of at once, fewer after HAVE_MS."""
HAVE_MS: Final = 200


class Open(msgspec.Struct):
    """An unfinished segment."""

    first: int
    count: int
    codec: int
    total: int
    digest: bytes
    data: bytearray
    annexes: dict[int, Annex]
    annex_bytes: int = 0


class Incoming:
    """One log of the peer's table. `held` is durable here, `expected` is where the next begins."""

    __slots__ = ("expected", "held", "open", "origin", "place", "stopped", "storing", "wanted")

    def __init__(self, origin: str, place: int) -> None:
        self.origin = origin
        self.place = place
        self.held = self.expected = 0
        self.wanted = False
        self.stopped = False
        self.open: Open | None = None
        self.storing: list[int] = []

    def part(self) -> message.Part | None:
        """Return how the unfinished segment is asked for."""
        unfinished = self.open
        if unfinished is None:
            return None
        return message.Part(
            self.place,
            unfinished.first,
            unfinished.count,
            unfinished.digest,
            len(unfinished.data),
            max(unfinished.annexes, default=-1) + 1,
        )


class Receiver:
    """See above. `entries` counts what became durable, `repeats` messages that brought nothing."""

    def __init__(self, parts: Sequence[Part], codecs: Sequence[int]) -> None:
        self.logs: list[Incoming] = []
        self.received = 0
        self.entries = 0
        self.repeats = 0
        self._codecs = frozenset(codecs)
        self._parts = {part.origin: part for part in parts}
        self._limit = CREDIT_BYTES
        self._told = 0
        self._told_credit = CREDIT_BYTES
        self._waiting_since: int | None = None
        self._sizes: dict[int, int] = {}
        self._snapshot: tuple[bytes, int, bytearray] | None = None
        self.snapshot_wanted = False

    def want(self, place: int, held: int) -> None:
        """Take up a log that the peer has; an unfinished segment of it goes on if it still fits."""
        log = self.logs[place]
        log.held = log.expected = held
        log.wanted = True
        part = self._parts.pop(log.origin, None)
        if part is not None and part.first == held:
            log.open = Open(
                part.first,
                part.count,
                part.codec,
                part.total,
                part.digest,
                bytearray(part.data),
                dict(part.annexes),
            )

    def held(self, origin: str, size: int) -> None:
        """Note how much of a log is durable here, by whatever way."""
        for log in self._named(origin):
            log.held = max(log.held, size)

    def is_stopped(self, origin: str) -> bool:
        """Say whether a log is taken no more."""
        return any(log.stopped for log in self._named(origin))

    def stop(self, origin: str) -> None:
        """Take nothing more of a log on this link."""
        for log in self._named(origin):
            log.stopped, log.open = True, None
            log.storing.clear()

    def parts(self) -> tuple[Part, ...]:
        """Return the unfinished segments worth keeping, the largest first: bounded."""
        live = [
            Part(
                log.origin,
                log.open.first,
                log.open.count,
                log.open.codec,
                log.open.total,
                log.open.digest,
                bytes(log.open.data),
                tuple(sorted(log.open.annexes.items())),
            )
            for log in self.logs
            if log.open is not None and not log.stopped
        ]
        # A link that died before the peer's hello leaves what the one before it had left.
        live += self._parts.values()
        live = [part for part in live if _bytes(part) <= PART_BYTES_MAX]
        return tuple(sorted(live, key=lambda part: (-len(part.data), part.origin))[:PARTS_MAX])

    # --- what comes -----------------------------------------------------------------------------

    def take(self, one: Frame | Seal | Annexed | Piece, count: int, now_ms: int) -> list[Output]:
        """Take in one message of `count` bytes. `TheirsInvalid` closes the link."""
        self.received += count
        if self.received > self._limit:
            raise _refused("credit", "Wait for credit.", received=self.received, limit=self._limit)
        if self._waiting_since is None:
            self._waiting_since = now_ms
        if isinstance(one, Piece):
            return self._piece(one)
        log = self._log(one.origin)
        if log.stopped:
            return []
        match one:
            case Frame():
                return self._frame(log, one)
            case Annexed():
                return self._annex(log, one)
            case Seal():
                return self._seal(log, one)
            case _:
                assert_never(one)

    def stored(self, origin: str, size: int) -> tuple[int, int]:
        """Note that a segment is durable, and its log up to `size`.

        Return how many entries that was news of, and how far the peer has sent the log.
        """
        news, sent = 0, 0
        for log in self._named(origin):
            if log.storing:
                log.storing.pop(0)
                self._sizes[log.place] = size
            news, sent = max(size - log.held, 0), log.expected
            log.held = max(log.held, size)
        return news, sent

    def have(self, now_ms: int) -> Have | None:
        """Return the acknowledgement that is due now, if one is."""
        credit = self._credit()
        due = (
            self._sizes
            or self.received - self._told >= HAVE_BYTES
            or (self._waiting_since is not None and now_ms - self._waiting_since >= HAVE_MS)
            or (self._told_credit < CREDIT_BYTES // 2 <= credit)
        )
        if not due:
            return None
        have = Have(received=self.received, credit=credit, sizes=sorted(self._sizes.items()))
        self._sizes = {}
        self._told, self._told_credit, self._waiting_since = self.received, credit, None
        # What was once promised stays: messages sent on an older promise may be under way.
        self._limit = max(self._limit, self.received + credit)
        return have

    def deadline(self) -> int | None:
        """Return when `have` will be due."""
        return None if self._waiting_since is None else self._waiting_since + HAVE_MS

    def _credit(self) -> int:
        """What may be under way: less by what waits for the disk."""
        waiting = sum(sum(log.storing) for log in self.logs)
        return max(CREDIT_BYTES - waiting, 0)

    def _named(self, origin: str) -> list[Incoming]:
        return [log for log in self.logs if log.origin == origin]

    def _log(self, place: int) -> Incoming:
        if place >= len(self.logs):
            raise _refused("place", "Say hello with this log first.", place=place)
        log = self.logs[place]
        if not log.wanted and not log.stopped:
            raise _refused("unwanted", "Send what was asked for.", origin=log.origin)
        return log

    def _frame(self, log: Incoming, frame: Frame) -> list[Output]:
        if frame.count:
            if frame.first + frame.count <= log.expected:
                self.repeats += 1
                return []
            self._begin(log, frame)
        unfinished = log.open
        if unfinished is None:
            raise _refused("offset", "Begin with the segment's header.", origin=log.origin)
        at, end = frame.offset, frame.offset + len(frame.data)
        if end > unfinished.total:
            raise _refused(
                "total", "A segment has as many bytes as it says.", total=unfinished.total, end=end
            )
        if end <= len(unfinished.data) and unfinished.data[at:end] == frame.data:
            self.repeats += 1
        elif at == len(unfinished.data):
            unfinished.data += frame.data
        else:
            raise _refused(
                "offset", "Go on where it ended.", offset=at, expected=len(unfinished.data)
            )
        return []

    def _begin(self, log: Incoming, frame: Frame) -> None:
        """Open a segment, or go on with the one that is open if this is the same."""
        if frame.first > max(log.expected, log.held):
            raise _refused(
                "gap", "Send from the size asked for.", size=log.expected, first=frame.first
            )
        if frame.codec not in self._codecs:
            raise _refused("codec", "Use a codec of the hello.", codec=frame.codec)
        total = frame.total or len(frame.data)
        digest = frame.digest or sha256(frame.data).digest()[:TAG_BYTES]
        old = log.open
        if old is not None and (old.first, old.count, old.codec, old.total, old.digest) == (
            frame.first,
            frame.count,
            frame.codec,
            total,
            digest,
        ):
            return
        if len(digest) != TAG_BYTES or not len(frame.data) <= total <= ENCODED_BYTES_MAX:
            raise _refused("total", "A segment has as many bytes as it says.", total=total)
        others = [one.open for one in self.logs if one.open is not None and one is not log]
        if len(others) >= OPEN_MAX or sum(one.total for one in others) + total > OPEN_BYTES_MAX:
            raise _refused("open", "Finish a segment before the next one.", open=len(others))
        log.open = Open(frame.first, frame.count, frame.codec, total, digest, bytearray(), {})

    def _annex(self, log: Incoming, annexed: Annexed) -> list[Output]:
        annex = Annex(annexed.salt, annexed.data, None)
        late = [
            (index, annex)
            for index in (*annexed.also, annexed.index)
            if self._is_late(log, index, annex)
        ]
        return [PutAnnexes(log.origin, tuple(late))] if late else []

    def _is_late(self, log: Incoming, index: int, annex: Annex) -> bool:
        """Keep an annex with its unfinished segment; or say that its entry is held already."""
        unfinished = log.open
        if (
            unfinished is not None
            and unfinished.first <= index < unfinished.first + unfinished.count
        ):
            unfinished.annex_bytes += len(annex.data or b"")
            if unfinished.annex_bytes > OPEN_BYTES_MAX:
                raise _refused("open", "Send each annex once.", bytes=unfinished.annex_bytes)
            unfinished.annexes[index] = annex
            return False
        if index >= log.expected and index >= log.held:
            raise _refused("annex", "Send an entry first.", origin=log.origin, index=index)
        self.repeats += index >= log.held
        return index < log.held

    def _seal(self, log: Incoming, seal: Seal) -> list[Output]:
        unfinished = log.open
        if unfinished is None and seal.size <= max(log.expected, log.held):
            self.repeats += 1
            return []
        if (
            unfinished is None
            or len(unfinished.data) != unfinished.total
            or unfinished.first + unfinished.count != seal.size
        ):
            raise _refused(
                "seal", "A seal ends a whole segment.", origin=log.origin, size=seal.size
            )
        log.open = None
        data = bytes(unfinished.data)
        if sha256(data).digest()[:TAG_BYTES] != unfinished.digest:
            raise _refused("digest", "Send the segment again.", origin=log.origin, size=seal.size)
        entries = segment.decode(unfinished.codec, data, unfinished.count)
        log.expected = max(log.expected, seal.size)
        log.storing.append(sum(map(len, entries)))
        return [
            Store(
                log.origin,
                unfinished.first,
                tuple(entries),
                seal.key_id,
                seal.signature,
                tuple(sorted(unfinished.annexes.items())),
            )
        ]

    def _piece(self, piece: Piece) -> list[Output]:
        if not self.snapshot_wanted or piece.total > SNAPSHOT_BYTES_MAX:
            raise _refused("snapshot", "Send what was asked for.", total=piece.total)
        if piece.offset == 0:
            self._snapshot = piece.sha256, piece.total, bytearray()
        if self._snapshot is None or self._snapshot[:2] != (piece.sha256, piece.total):
            raise _refused("snapshot", "Begin at its start.", offset=piece.offset)
        digest, total, data = self._snapshot
        if piece.offset != len(data) or len(data) + len(piece.data) > total:
            raise _refused("snapshot", "Go on where it ended.", offset=piece.offset)
        data += piece.data
        if len(data) < total:
            return []
        self._snapshot, self.snapshot_wanted = None, False
        if sha256(data).digest() != digest:
            raise _refused("snapshot", "Send the snapshot again.", total=total)
        return [SnapshotArrived(digest, bytes(data))]


def rebuilt(store: Store, peaks: Sequence[bytes]) -> Chunk:
    """Return what `Shelf.extend` takes: the checkpoint is written anew from our own tree.

    `peaks` are those of our log at `store.first`. That the signature fits is checked by whoever
    takes the chunk in.
    """
    tree = Tree.from_peaks(store.first, peaks)
    for entry in store.entries:
        tree.append(leaf_hash(entry))
    text = Checkpoint(store.origin, store.size, tree.root()).text()
    line = Signature(store.origin, store.key_id, store.signature).line()
    return Chunk(store.origin, store.first, store.entries, f"{text}\n{line}")


def _bytes(part: Part) -> int:
    return len(part.data) + sum(len(annex.data or b"") for _, annex in part.annexes)


def _refused(what: str, remedy: str, **evidence: object) -> TheirsInvalid:
    return TheirsInvalid(f"exchange.{what}", remedy, **evidence)
