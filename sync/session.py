"""The exchange between two holders of one site's logs, as a machine: bytes in, outputs out.

Both ends run the same class.

    hello    ->  a table of (origin, size, tag)              <-  hello
    want     ->  from where on, unfinished segments          <-  want
    frame... ->  annex... seal                               <-  have: taken, and what is durable
                                                             <-  receipt (a hub's cosignature)

A rule broken by the peer ends the link, with an error that says which. What is wrong with one log
stops that log only: one lane never waits for another. Nothing starts over by itself.

Codes that close the link, beside those of `sync.message`, `sync.receiving` and `sync.sending`:
`exchange.no_hello`, `exchange.version`, `exchange.table`, `exchange.same_store`, `exchange.place`,
`exchange.flood`, `exchange.instance`, `exchange.peer_error` (the peer closed: its code is the
evidence), `exchange.store` (our disk). Codes that stop one log: those of `sync.intake`,
`exchange.unknown_origin`, `exchange.own`, `exchange.fork`, `exchange.pruned`, `exchange.unsigned`.
"""

from collections.abc import Mapping, Sequence
from typing import Final, assert_never

import msgspec

from certs.errors import CertsError
from certs.note import Checkpoint, parse_note
from sync import message
from sync.entry import Writer
from sync.errors import TheirsInvalid
from sync.exchange import (
    HELLO_MS,
    IDLE_TOKENS,
    IDLE_TOKENS_A_SECOND,
    Close,
    Cosign,
    Found,
    KeepReceipt,
    Memory,
    Output,
    PeerHolds,
    Send,
    Wake,
)
from sync.message import (
    ORIGINS_MAX,
    Annexed,
    Frame,
    Have,
    Hello,
    Message,
    Piece,
    Receipt,
    Seal,
    Signed,
    Trouble,
    Want,
)
from sync.origin import Origin
from sync.receiving import Receiver
from sync.sending import Sender
from sync.shelf import Item, Log
from sync.terms import Options, Terms

COSIGN_MS: Final = 2_000
"""A log that grows is cosigned so often: a receipt has a hundred bytes."""
_STOPS_NOTHING: Final = frozenset({"exchange.receipt", "exchange.ahead", "exchange.annex"})


class Counters(msgspec.Struct):
    """What a session did. Bytes are those of messages; `ignored` are unknown types and keys.

    `foreign`: logs of the peer that are not for us; `repeats`: messages that brought nothing;
    `moved`: bytes of segments that have come, and those of ours that the peer says it has.
    """

    bytes_in: int = 0
    bytes_out: int = 0
    entries_in: int = 0
    entries_out: int = 0
    ignored: int = 0
    foreign: int = 0
    repeats: int = 0
    moved: int = 0


class Session:
    """See above. Every input returns the outputs, to be done in order (`sync.exchange`).

    `now_ms` is monotonic, whatever its beginning.
    """

    def __init__(self, options: Options) -> None:
        self.counters = Counters()
        self.closed: str | None = None
        self._is = options
        self._sender = Sender(options.memory.bytes_s)
        self._receiver = Receiver(options.memory.parts, options.codecs)
        self._terms = Terms(options, self._sender, self._receiver)
        self._cosign_at: dict[str, int] = {}
        self._tokens_ms = IDLE_TOKENS * 1000
        self._spent_at = self._started_at = 0
        self._wake: int | None = None

    @property
    def peer(self) -> Hello | None:
        """The peer's latest hello."""
        return self._terms.peer

    def memory(self) -> Memory:
        """Return what the next session with this peer is to be given."""
        latest = list(self._terms.fruitless.items())[-ORIGINS_MAX:]
        return Memory(self._receiver.parts(), dict(latest), self._sender.window.bytes_s)

    # --- inputs ---------------------------------------------------------------------------------

    def start(
        self,
        logs: Sequence[Log],
        now_ms: int,
        *,
        annexes_from: Mapping[str, int] | None = None,
        time_ms: int = 0,
    ) -> list[Output]:
        """Say hello with these logs. `time_ms` is UTC, 0 where it is not known.

        `annexes_from`: for each log, the first entry whose annex is missing here, where one is.
        """
        self._started_at = self._spent_at = now_ms
        return self._finish(self._terms.begin(logs, annexes_from or {}, time_ms), now_ms)

    def receive(self, data: bytes, now_ms: int) -> list[Output]:
        """Take in one message."""
        if self.closed is not None:
            return []
        self.counters.bytes_in += len(data)
        try:
            outputs = self._receive(data, now_ms)
        except TheirsInvalid as error:
            return self._violated(error)
        return self._finish(outputs, now_ms)

    def appended(self, log: Log, now_ms: int) -> list[Output]:
        """Take in that a log held here has grown, or is new; by whatever way."""
        return self._finish(self._terms.held(log), now_ms)

    def loaded(
        self, origin: str, first: int, items: Sequence[Item], note: str | None, now_ms: int
    ) -> list[Output]:
        """Answer `Load`: the entries from `first`, and the signed note of the size they lead to."""
        outputs: list[Output] = []
        if not self._sender.loaded(origin, first, items, note):
            outputs = self._terms.stop("exchange.unsigned", origin, {"first": first})
        return self._finish(outputs, now_ms)

    def annexes_loaded(
        self, origin: str, start: int, items: Sequence[Item], now_ms: int
    ) -> list[Output]:
        """Answer `LoadAnnexes`: the entries from `start`."""
        self._sender.annexes_loaded(origin, start, items)
        return self._finish([], now_ms)

    def compared(self, origin: str, size: int, root: bytes | None, now_ms: int) -> list[Output]:
        """Answer `Compare`: our root at that size."""
        return self._finish(self._terms.compared(origin, size, root), now_ms)

    def stored(self, log: Log, now_ms: int) -> list[Output]:
        """Answer `Store`: the log as it is durable now."""
        news, sent = self._receiver.stored(log.origin, log.size)
        self.counters.entries_in += news
        self._terms.fruitless.pop(log.origin, None)
        outputs = self._terms.held(log)
        self._sender.held_by_peer(log.origin, min(log.size, sent))
        if self._is.side is Writer.HUB and Origin.parse(log.origin).voice is Writer.SITE:
            self._cosign_at.setdefault(log.origin, now_ms + COSIGN_MS)
        return self._finish(outputs, now_ms)

    def refused(
        self, origin: str, code: str, evidence: Mapping[str, object], now_ms: int
    ) -> list[Output]:
        """Answer `Store`, `PutAnnexes` or `KeepReceipt`: it was not done, and why."""
        if self.closed is not None:
            return []
        if code.startswith("store."):
            return self._close("exchange.store", {"cause": code}, theirs=False)
        if code in _STOPS_NOTHING:
            return self._finish([Found("refused", origin, {"code": code, **evidence})], now_ms)
        log = self._terms.logs.get(origin)
        size = 0 if log is None else log.size
        before, times = self._terms.fruitless.get(origin, (size, 0))
        if self._receiver.is_stopped(origin):  # segments behind the one that was refused
            return []
        self._terms.fruitless[origin] = (size, times + 1 if before == size else 1)
        return self._finish(self._terms.stop(code, origin, evidence), now_ms)

    def cosigned(self, origin: str, note: str, now_ms: int) -> list[Output]:
        """Answer `Cosign`: the checkpoint with the cosignature lines beside the log's own."""
        if origin not in self._terms.theirs:
            return []
        try:
            text, signatures = parse_note(note)
            checkpoint = Checkpoint.parse(text)
        except CertsError:
            return []
        receipt = Receipt(
            origin=self._terms.theirs.index(origin),
            size=checkpoint.size,
            lines="".join(line.line() for line in signatures if line.name != origin),
            instance=bytes.fromhex(self._is.instance),
        )
        return self._finish([Send(message.encode(receipt))], now_ms)

    def snapshot_loaded(self, sha256: bytes, data: bytes, now_ms: int) -> list[Output]:
        """Answer `LoadSnapshot`: empty data where there is none."""
        self._sender.snapshot(sha256, data)
        return self._finish([], now_ms)

    def tick(self, now_ms: int) -> list[Output]:
        """Time has passed."""
        if self.closed is not None:
            return []
        code = self._sender.overdue(now_ms)
        if self.peer is None and now_ms - self._started_at >= HELLO_MS:
            code = "exchange.no_hello"
        self._wake = None
        if code is not None:
            return self._close(code, {"after_ms": now_ms - self._started_at})
        return self._finish([], now_ms)

    # --- messages -------------------------------------------------------------------------------

    def _receive(self, data: bytes, now_ms: int) -> list[Output]:
        read = message.decode(data)
        one = read.message
        self.counters.ignored += read.ignored + (one is None)
        if self.peer is None and not isinstance(one, Hello | Trouble):
            raise _refused("no_hello", "Say hello first.")
        repeats = self._receiver.repeats
        outputs = self._dispatch(one, len(data), now_ms)
        if outputs is None or self._receiver.repeats > repeats:
            self._spend(now_ms)
        return outputs or []

    def _dispatch(self, one: Message | None, count: int, now_ms: int) -> list[Output] | None:
        """Return the outputs, or None for a message that brought nothing."""
        match one:
            case Frame() | Seal() | Annexed() | Piece():
                return self._receiver.take(one, count, now_ms)
            case Have():
                held, news = self._sender.have(one, self._terms.names, now_ms)
                instance = self._peer_instance()
                told: list[Output] = [PeerHolds(origin, size, instance) for origin, size in held]
                return told if news else None
            case None:
                return None
            case _:
                self._spend(now_ms)
                return self._seldom(one, now_ms)

    def _seldom(self, one: Hello | Want | Receipt | Trouble | Signed, now_ms: int) -> list[Output]:
        match one:
            case Hello():
                return self._terms.greeted(one)
            case Want():  # it answers our hello, and nothing else is on the way yet
                self._sender.window.greeted(now_ms - self._started_at)
                return self._terms.wanted(one)
            case Receipt():
                return [self._receipt(one)]
            case Trouble():
                return self._trouble(one)
            case Signed():
                return self._terms.shown(one)
            case _:
                assert_never(one)

    def _peer_instance(self) -> str:
        assert self.peer is not None, "a hello comes first"
        return self.peer.instance.hex()

    def _receipt(self, receipt: Receipt) -> KeepReceipt:
        if receipt.origin >= len(self._terms.names):
            raise _refused("place", "Speak of a log of the hello.", place=receipt.origin)
        # A receipt of another store says nothing about what this one would have after a restore.
        if receipt.instance.hex() != self._peer_instance():
            raise _refused("instance", "A store speaks for itself.", got=receipt.instance.hex())
        origin = self._terms.names[receipt.origin]
        return KeepReceipt(origin, receipt.size, receipt.lines, receipt.instance.hex())

    def _trouble(self, trouble: Trouble) -> list[Output]:
        # Bare, without quotes: what is shown as a code elsewhere has the form of one, or is hidden.
        evidence = {"code": ascii(trouble.code)[1:-1], "text": ascii(trouble.text)}
        origin = trouble.origin
        if not origin:
            self.closed = "exchange.peer_error"
            return [Close("exchange.peer_error", evidence)]
        if origin not in self._terms.names and origin not in self._terms.theirs:
            return []
        if trouble.code == "exchange.fork":
            return self._terms.forked(origin, evidence)
        self._sender.stop(origin)
        return [Found("refused_by_peer", origin, evidence)]

    # --- the end of every input -----------------------------------------------------------------

    def _finish(self, outputs: list[Output], now_ms: int) -> list[Output]:
        """Add what may be sent now, and when to wake. Once closed, nothing more is said."""
        if self.closed is not None:
            return [one for one in outputs if isinstance(one, Close)]
        have = None if self.peer is None else self._receiver.have(now_ms)
        if have is not None:
            outputs.append(Send(message.encode(have)))
        for origin in [origin for origin, at in self._cosign_at.items() if at <= now_ms]:
            del self._cosign_at[origin]
            outputs.append(Cosign(origin))
        outputs += self._sender.pump(now_ms)
        outputs += self._terms.claims.overdue(now_ms)
        wake = self._deadline()
        if wake is not None and wake != self._wake:
            self._wake = wake
            outputs.append(Wake(wake))
        self._count(outputs)
        return outputs

    def _deadline(self) -> int | None:
        times = [self._sender.deadline(), self._receiver.deadline(), *self._cosign_at.values()]
        times.append(self._terms.claims.deadline())
        if self.peer is None:
            times.append(self._started_at + HELLO_MS)
        return min((at for at in times if at is not None), default=None)

    def _count(self, outputs: Sequence[Output]) -> None:
        counters = self.counters
        counters.bytes_out += sum(len(one.data) for one in outputs if isinstance(one, Send))
        counters.entries_out = self._sender.entries
        counters.foreign = self._terms.foreign
        counters.repeats = self._receiver.repeats
        counters.moved = self._receiver.received + self._sender.window.received

    def _spend(self, now_ms: int) -> None:
        """Pay for a message that costs its sender little and brings us nothing."""
        gone_ms = max(now_ms - self._spent_at, 0)
        self._spent_at = now_ms
        full = IDLE_TOKENS * 1000
        self._tokens_ms = min(self._tokens_ms + gone_ms * IDLE_TOKENS_A_SECOND, full) - 1000
        if self._tokens_ms < 0:
            raise _refused("flood", "Say less at once.", tokens=IDLE_TOKENS)

    def _violated(self, error: TheirsInvalid) -> list[Output]:
        return self._close(error.code, error.evidence, text=str(error))

    def _close(
        self, code: str, evidence: Mapping[str, object], *, text: str = "", theirs: bool = True
    ) -> list[Output]:
        self.closed = code
        trouble = Trouble(code=code, text=ascii(text)[1:-1][:1000])
        outputs: list[Output] = [
            Send(message.encode(trouble)),
            Close(code, dict(evidence), theirs=theirs),
        ]
        self._count(outputs)
        return outputs


def _refused(what: str, remedy: str, **evidence: object) -> TheirsInvalid:
    return TheirsInvalid(f"exchange.{what}", remedy, **evidence)
