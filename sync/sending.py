"""The sending half of a session: which bytes go next, and how many may be under way.

Three queues, one for each lane, each with at most one segment in work. `urgent` goes first, and
between the frames of any other segment; custody and telemetry share the rest 16 to 4 by bytes. A
log that stopped is passed over; nobody waits for it.
"""

from collections import deque
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

import msgspec

from certs.errors import CertsError
from certs.keys import SIGNATURE_BYTES
from certs.note import parse_note
from sync import message, segment
from sync.entry import Lane
from sync.errors import TheirsInvalid
from sync.exchange import (
    DURABLE_MS,
    FRAME_BYTES,
    SEGMENT_BYTES,
    SEGMENT_ENTRIES_MAX,
    SILENCE_MS,
    Load,
    LoadAnnexes,
    Output,
    Send,
)
from sync.message import TAG_BYTES, Annexed, Frame, Have, Part, Piece, Seal
from sync.origin import Origin
from sync.shelf import Item, Log
from sync.window import SLICE_MIN, Window

HEADER_BYTES: Final = 64
SHARES: Final = {Lane.CUSTODY: 16, Lane.TELEMETRY: 4}
TRY_ALL_CODECS: Final = 8
"""Up to so many entries every common codec is tried: columns cost more than they save on one."""


class Outgoing:
    """One log that the peer asked for."""

    __slots__ = (
        "acked",
        "annexes_next",
        "annexes_stop",
        "lane",
        "next",
        "oldest",
        "origin",
        "part",
        "place",
        "sealed_at",
        "size",
        "stopped",
    )

    def __init__(self, log: Log, place: int, start: int) -> None:
        self.origin = log.origin
        self.place = place
        self.lane = Origin.parse(log.origin).lane
        self.size, self.oldest = log.size, log.oldest
        self.next = self.acked = start
        self.part: Part | None = None
        self.annexes_next = self.annexes_stop = 0
        self.stopped = False
        self.sealed_at: int | None = None


class Job(msgspec.Struct):
    """A segment in work, or annexes alone (no `head`, no `seal`).

    `head` is the header of the first frame; `seal` is taken away when it is sent.
    """

    log: Outgoing
    data: bytes = b""
    pos: int = 0
    head: Frame | None = None
    started: bool = False
    annexes: deque[Annexed] = msgspec.field(default_factory=deque)
    seal: Seal | None = None

    @property
    def done(self) -> bool:
        """Whether all of it was sent."""
        return self.pos >= len(self.data) and not self.annexes and self.seal is None


class Sender:
    """See above. Every method returns the outputs; `pump` is called after each."""

    def __init__(self, bytes_s: int = 0) -> None:
        self.window = Window(bytes_s)
        self.logs: dict[str, Outgoing] = {}
        self.codecs: tuple[int, ...] = (0,)
        self.annexes = False
        self.frame_bytes = FRAME_BYTES
        self.segment_bytes = SEGMENT_BYTES
        self.entries = 0
        self._jobs: dict[Lane, Job | None] = {}
        self._loading: dict[Lane, Load | LoadAnnexes] = {}
        self._balance = 0
        self._snapshot: tuple[bytes, bytes, int] | None = None
        self._blocked_at: int | None = None

    # --- what is to be sent ---------------------------------------------------------------------

    def add(self, log: Outgoing) -> None:
        """Take up a log. One that is known goes on as it was."""
        self.logs.setdefault(log.origin, log)

    def stop(self, origin: str) -> None:
        """Send nothing more of a log on this link."""
        log = self.logs.get(origin)
        if log is None:
            return
        log.stopped = True
        job = self._jobs.get(log.lane)
        if job is not None and job.log is log:
            self._jobs[log.lane] = None
        loading = self._loading.get(log.lane)
        if loading is not None and loading.origin == origin:
            del self._loading[log.lane]

    def grown(self, log: Log) -> None:
        """Take in how far a log goes now."""
        out = self.logs.get(log.origin)
        if out is not None:
            out.size, out.oldest = max(out.size, log.size), log.oldest
            self.held_by_peer(log.origin, min(out.acked, out.size))

    def held_by_peer(self, origin: str, size: int) -> None:
        """Skip what the peer evidently holds: it sent it to us, or got it another way."""
        out = self.logs.get(origin)
        if out is not None and out.next < size <= out.size and self._idle(out):
            out.next = size

    def snapshot(self, digest: bytes, data: bytes) -> None:
        """Send a snapshot behind everything else."""
        if data:
            self._snapshot = digest, data, 0

    # --- answers --------------------------------------------------------------------------------

    def loaded(self, origin: str, first: int, items: Sequence[Item], note: str | None) -> bool:
        """Put a segment in work. False if it cannot be sent: no entries, or nothing signed them."""
        asked = self._asked(origin, first, Load)
        if asked is None:
            return True
        out = self.logs[origin]
        seal = _seal(out, first + len(items), note)
        entries = [item.entry for item in items]
        if seal is None or not 0 < len(entries) <= SEGMENT_ENTRIES_MAX:
            return False
        codec, data = self._encode(entries)
        digest = sha256(data).digest()[:TAG_BYTES]
        head = Frame(
            origin=out.place,
            data=b"-",
            first=first,
            count=len(entries),
            codec=codec,
            total=len(data),
            digest=digest,
        )
        job = Job(out, data, 0, head, seal=seal)
        annexes_from = first
        part, out.part = out.part, None
        if part is not None and (part.first, part.count, part.digest) == (
            first,
            len(entries),
            digest,
        ):
            job.pos, annexes_from = min(part.held, len(data)), max(first, part.annexes)
        if self.annexes:
            job.annexes.extend(_annexes(out, items, annexes_from))
        self._jobs[out.lane] = job
        return True

    def annexes_loaded(self, origin: str, start: int, items: Sequence[Item]) -> None:
        """Put annexes alone in work."""
        asked = self._asked(origin, start, LoadAnnexes)
        if isinstance(asked, LoadAnnexes):
            out = self.logs[origin]
            out.annexes_next = asked.stop
            self._jobs[out.lane] = Job(out, annexes=deque(_annexes(out, items, start)))

    def have(
        self, have: Have, names: Sequence[str], now_ms: int
    ) -> tuple[list[tuple[str, int]], bool]:
        """Return what the peer holds durably now, and whether the message said anything new."""
        news = self.window.taken(have.received, have.credit, now_ms)
        held = []
        for place, size in have.sizes:
            out = self.logs.get(names[place]) if place < len(names) else None
            if out is None:
                raise TheirsInvalid("exchange.have", "That log was not asked for.", place=place)
            if size > out.acked:
                out.acked, news = size, True
                out.sealed_at = now_ms if out.acked < out.next else None
                held.append((out.origin, size))
                self.held_by_peer(out.origin, size)
        return held, news

    # --- sending --------------------------------------------------------------------------------

    def pump(self, now_ms: int) -> list[Output]:
        """Return what may be sent and read now."""
        outputs = self._reads()
        while (data := self._next(now_ms)) is not None:
            self.window.went(len(data), now_ms)
            self._blocked_at = None
            outputs.append(Send(data))
            outputs += self._reads()
        if self._blocked_at is None and self._choose() is not None:
            self._blocked_at = now_ms
        return outputs

    def overdue(self, now_ms: int) -> str | None:
        """Return the code to close with, when the peer takes nothing or keeps nothing."""
        if any(now_ms - at >= SILENCE_MS for at in self._waiting()):
            return "exchange.silent"
        late = any(now_ms - at >= DURABLE_MS for at in self._sealed())
        return "exchange.not_kept" if late else None

    def deadline(self) -> int | None:
        """Return when `overdue` may first say something."""
        times = [at + DURABLE_MS for at in self._sealed()]
        times += [at + SILENCE_MS for at in self._waiting()]
        return min(times, default=None)

    def _waiting(self) -> list[int]:
        """Return since when nothing is taken although bytes are under way, or no credit comes."""
        if self.window.under_way:
            return [self.window.moved_at]
        return [] if self._blocked_at is None else [self._blocked_at]

    def _sealed(self) -> list[int]:
        """Return since when each log waits to hear that a segment is durable."""
        logs = self.logs.values()
        return [log.sealed_at for log in logs if log.sealed_at is not None and not log.stopped]

    def _reads(self) -> list[Output]:
        """Ask for the next segment of each lane that has none in work."""
        outputs: list[Output] = []
        for out in self.logs.values():
            if out.stopped or self._jobs.get(out.lane) is not None or out.lane in self._loading:
                continue
            ask: Load | LoadAnnexes
            if out.annexes_next < out.annexes_stop and self.annexes:
                stop = min(out.annexes_stop, out.annexes_next + SEGMENT_ENTRIES_MAX)
                ask = LoadAnnexes(out.origin, out.annexes_next, stop)
            elif out.next < out.size and out.next >= out.oldest:
                part = out.part if out.part is not None and out.part.first == out.next else None
                fits = part is not None and out.next + part.count <= out.size
                count = part.count if part is not None and fits else 0
                ask = Load(out.origin, out.next, count, self.segment_bytes)
            else:
                continue
            self._loading[out.lane] = ask
            outputs.append(ask)
        return outputs

    def _idle(self, out: Outgoing) -> bool:
        job, loading = self._jobs.get(out.lane), self._loading.get(out.lane)
        return (job is None or job.log is not out) and (
            loading is None or loading.origin != out.origin
        )

    def _asked(
        self, origin: str, first: int, kind: type[Load | LoadAnnexes]
    ) -> Load | LoadAnnexes | None:
        for lane, asked in self._loading.items():
            at = asked.first if isinstance(asked, Load) else asked.start
            if asked.origin == origin and at == first and isinstance(asked, kind):
                del self._loading[lane]
                return asked
        return None

    def _choose(self) -> Job | None:
        urgent = self._jobs.get(Lane.URGENT)
        if urgent is not None:
            return urgent
        custody, telemetry = self._jobs.get(Lane.CUSTODY), self._jobs.get(Lane.TELEMETRY)
        if custody is None and self._balance < 0 and Lane.CUSTODY in self._loading:
            return None  # what custody is owed is being read from our own disk this very moment
        if custody is None or telemetry is None:
            return custody or telemetry
        return custody if self._balance <= 0 else telemetry

    def _next(self, now_ms: int) -> bytes | None:
        """Return the next message, or None if there is none or it must wait."""
        window, job = self.window, self._choose()
        room = window.credit - window.under_way
        if window.under_way >= window.size and (job is None or job.log.lane is not Lane.URGENT):
            return None
        if job is None:
            return self._piece(room)
        data = _message(job, min(window.slice_bytes, self.frame_bytes), room)
        if data is not None:
            self._account(job, len(data), now_ms)
        return data

    def _account(self, job: Job, count: int, now_ms: int) -> None:
        out = job.log
        if out.lane is not Lane.URGENT:
            both = self._busy(Lane.CUSTODY) and self._busy(Lane.TELEMETRY)
            # Bytes of one lane weigh what the other's share is; a lane alone owes nothing.
            weight = SHARES[Lane.TELEMETRY] if out.lane is Lane.CUSTODY else -SHARES[Lane.CUSTODY]
            self._balance = self._balance + weight * count if both else 0
        if job.done:
            self._jobs[out.lane] = None
            if job.head is not None:
                self.entries += job.head.count
                out.next = max(job.head.first + job.head.count, min(out.acked, out.size))
                if out.sealed_at is None:
                    out.sealed_at = now_ms

    def _busy(self, lane: Lane) -> bool:
        return self._jobs.get(lane) is not None or lane in self._loading

    def _piece(self, room: int) -> bytes | None:
        if self._snapshot is None:
            return None
        digest, whole, at = self._snapshot
        slice_ = whole[at : at + min(self.window.slice_bytes, self.frame_bytes)]
        data = message.encode(Piece(sha256=digest, offset=at, total=len(whole), data=slice_))
        if len(data) > room:
            return None
        at += len(slice_)
        self._snapshot = None if at == len(whole) else (digest, whole, at)
        return data

    def _encode(self, entries: list[bytes]) -> tuple[int, bytes]:
        """Return codec and bytes: the same for the same entries, so that a retry is the same."""
        tried = self.codecs if len(entries) <= TRY_ALL_CODECS else self.codecs[-1:]
        encoded = {codec: segment.encode(codec, entries) for codec in tried}
        codec = min(encoded, key=lambda codec: (len(encoded[codec]), codec))
        return codec, encoded[codec]


def _message(job: Job, slice_bytes: int, room: int) -> bytes | None:
    """Return the next message of a job, or None if it would exceed the peer's credit."""
    if job.pos < len(job.data):
        rest = len(job.data) - job.pos
        most = min(slice_bytes, room - HEADER_BYTES)
        if most < min(rest, SLICE_MIN):
            return None
        frame = _frame(job, min(most, rest))
        job.pos, job.started = job.pos + len(frame.data), True
        return message.encode(frame)
    last = job.annexes[0] if job.annexes else job.seal
    assert last is not None, "a job that is done is not chosen"
    data = message.encode(last)
    if len(data) > room:
        return None
    if job.annexes:
        job.annexes.popleft()
    else:
        job.seal = None
    return data


def _frame(job: Job, length: int) -> Frame:
    head, data = job.head, job.data[job.pos : job.pos + length]
    assert head is not None, "only a segment has data"
    if length == head.total:
        return msgspec.structs.replace(head, data=data, total=0, digest=b"")
    if not job.started:
        return msgspec.structs.replace(head, data=data, offset=job.pos)
    return Frame(origin=head.origin, offset=job.pos, data=data)


def _seal(out: Outgoing, size: int, note: str | None) -> Seal | None:
    """Return the seal that says what the log's own signature in the note says."""
    try:
        _, signatures = parse_note(note or "")
    except CertsError:
        return None
    for signature in signatures:
        if signature.name == out.origin and len(signature.value) == SIGNATURE_BYTES:
            return Seal(
                origin=out.place, size=size, key_id=signature.key_id, signature=signature.value
            )
    return None


def _annexes(out: Outgoing, items: Sequence[Item], start: int) -> list[Annexed]:
    """Return each annex once, in the order of the last entry that has it, from `start` on.

    What a link has brought before it died is all before the last index that it brought.
    """
    found: dict[tuple[bytes, bytes], list[int]] = {}
    for item in items:
        annex = item.annex
        if annex is not None and annex.salt is not None and annex.data is not None:
            found.setdefault((annex.salt, annex.data), []).append(item.index)
    return [
        Annexed(origin=out.place, index=at[-1], salt=salt, data=data, also=at[:-1])
        for (salt, data), at in sorted(found.items(), key=lambda one: one[1][-1])
        if at[-1] >= start
    ]
