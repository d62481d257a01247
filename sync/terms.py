"""The terms of a session: what each end holds and wants, and what comparing the two says.

Each end says hello with a table of the logs it holds. Each wants, of every log the other names that
it does not write itself, what it lacks and what will be added. What is wrong with one log (a fork,
an origin that is not known here, what was refused) stops that log and no other.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from certs.errors import CertsError
from certs.keys import Verifier
from certs.note import Checkpoint, open_checkpoint, parse_note
from sync import message
from sync.entry import Writer
from sync.errors import TheirsInvalid
from sync.exchange import (
    FRAME_BYTES,
    MAJOR,
    SEGMENT_BYTES,
    Compare,
    Found,
    LoadSnapshot,
    Memory,
    Output,
    PeerHolds,
    Send,
)
from sync.frontier import EMPTY, Head, Verdict, compare
from sync.merkle import EMPTY_ROOT
from sync.message import CREDIT_BYTES, ORIGINS_MAX, Hello, Part, Row, Signed, Trouble, Want, Wanted
from sync.origin import Origin, epoch_order
from sync.receiving import Incoming, Receiver
from sync.sending import Outgoing, Sender
from sync.shelf import Log
from sync.shown import Claims

CODECS: Final = (0, 1, 2)
STUCK_AFTER: Final = 2
"""The same request, answered twice with what had to be refused: say so, and ask less often."""
ANNEX: Final = "annex"
SNAPSHOT: Final = "snapshot"
CHECKPOINT: Final = "checkpoint"
"""Shows the receiver's own signature over what it seems to have lost, and understands it."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What one end is and wants. `instance` is the store's, 16 hex digits; `nonce` 8 to 16 bytes.

    `accepts` says which origins are taken from the peer. `annexes`, `snapshot`: whether they are
    wanted; `serves_snapshot`: whether there is one to give. `segment_bytes`: how many bytes of
    entries a segment should have, wanted and sent. `memory` is what the last session left.
    """

    side: Writer
    instance: str
    nonce: bytes
    accepts: Callable[[str], bool]
    codecs: tuple[int, ...] = CODECS
    annexes: bool = True
    snapshot: bool = False
    serves_snapshot: bool = False
    segment_bytes: int = SEGMENT_BYTES
    memory: Memory = Memory()


class Terms:
    """See above. `logs` are ours by origin, `names` our table, `theirs` the peer's."""

    def __init__(self, options: Options, sender: Sender, receiver: Receiver) -> None:
        self.logs: dict[str, Log] = {}
        self.names: list[str] = []
        self.theirs: list[str] = []
        self.peer: Hello | None = None
        self.fruitless = dict(options.memory.fruitless)
        self.foreign = 0
        self.claims = Claims()
        self._is = options
        self._sender, self._receiver = sender, receiver
        self._annexes_from: Mapping[str, int] = {}
        self._time_ms = 0
        self._asked = False
        self._forks: set[str] = set()
        self._showed: set[str] = set()
        self._cleared: set[tuple[str, Head]] = set()
        self._comparing: dict[tuple[str, int], list[tuple[bytes, Wanted | None]]] = {}
        self._parts: dict[int, Part] = {}

    # --- what we say ----------------------------------------------------------------------------

    def begin(
        self, logs: Sequence[Log], annexes_from: Mapping[str, int], time_ms: int
    ) -> list[Output]:
        """Take in what is held here, and say hello.

        Of more logs than a table holds: those written here, then the newest epochs.
        """
        self._annexes_from, self._time_ms = annexes_from, time_ms
        chosen = sorted(logs, key=_newest_first)[:ORIGINS_MAX]
        for log in sorted(chosen, key=lambda log: log.origin):
            self.logs[log.origin] = log
            self.names.append(log.origin)
        return [self._hello()]

    def held(self, log: Log) -> list[Output]:
        """A log is held here as it is said now. A new one is told, unless the peer named it."""
        self.logs[log.origin] = log
        self._sender.grown(log)
        self._receiver.held(log.origin, log.size)
        if log.origin in self.names or log.origin in self.theirs:
            return []
        if len(self.names) == ORIGINS_MAX:
            self.foreign += 1
            return []
        self.names.append(log.origin)
        return [self._hello()]

    def stop(self, code: str, origin: str, evidence: Mapping[str, object]) -> list[Output]:
        """Send and take no more of one log on this link, and say why to both ends."""
        self._sender.stop(origin)
        self._receiver.stop(origin)
        what = Verdict.FORK.value if code in {"exchange.fork", "exchange.differs"} else "refused"
        text = ", ".join(f"{key}={value}" for key, value in evidence.items())
        trouble = Trouble(code=code[:64], text=ascii(text)[1:-1][:1000], origin=origin)
        return [
            Send(message.encode(trouble)),
            Found(what, origin, {"code": code, **evidence}),
        ]

    def _hello(self) -> Send:
        rows: list[Row] = []
        before = ""
        for name in self.names:
            log = self.logs[name]
            rows.append(message.row(before, name, log.size, Head.of(log.size, log.root).tag))
            before = name
        can = [ANNEX, CHECKPOINT] + [SNAPSHOT] * self._is.serves_snapshot
        hello = Hello(
            major=MAJOR,
            instance=bytes.fromhex(self._is.instance),
            nonce=self._is.nonce,
            time_ms=self._time_ms,
            codecs=list(self._is.codecs),
            can=can,
            table=rows,
        )
        return Send(message.encode(hello))

    def _want(self) -> Send:
        logs, parts = [], []
        for incoming in self._receiver.logs:
            if not incoming.wanted or incoming.stopped:
                continue
            mine = self.logs.get(incoming.origin)
            head = EMPTY if mine is None else Head.of(mine.size, mine.root)
            start = min(self._annexes_from.get(incoming.origin, head.size), head.size)
            logs.append(Wanted(incoming.place, head.size, head.tag, start))
            if (part := incoming.part()) is not None:
                parts.append(part)
        can = [] if self.peer is None else self.peer.can
        want = Want(
            logs=logs,
            credit=CREDIT_BYTES,
            frame_bytes=FRAME_BYTES,
            segment_bytes=self._is.segment_bytes,
            parts=parts,
            annexes=self._is.annexes and ANNEX in can,
            snapshot=self._is.snapshot and SNAPSHOT in can,
        )
        self._receiver.snapshot_wanted = want.snapshot
        return Send(message.encode(want))

    # --- what the peer says ---------------------------------------------------------------------

    def greeted(self, hello: Hello) -> list[Output]:
        """Take in a hello: the first, or one with more rows."""
        if hello.major != MAJOR:
            raise _refused("version", "Update the older end.", ours=MAJOR, theirs=hello.major)
        if hello.instance.hex() == self._is.instance:
            raise _refused(
                "same_store", "Two ends have one store: one is a copy.", instance=self._is.instance
            )
        names, known = message.table(hello.table), len(self.theirs)
        if names[:known] != self.theirs or (self.peer and self.peer.instance != hello.instance):
            raise _refused("table", "A later hello only adds rows to its table.", rows=known)
        first, self.peer, self.theirs = self.peer is None, hello, names
        if first:
            common = set(hello.codecs) & set(self._is.codecs)
            self._sender.codecs = tuple(sorted(common)) or (0,)
            self.claims.shows = CHECKPOINT in hello.can
        outputs: list[Output] = []
        for place in range(known, len(names)):
            row = hello.table[place]
            self._receiver.logs.append(Incoming(names[place], place))
            outputs += self._meet(names[place], place, Head(row.size, row.tag))
        if first:
            outputs += self._show_later()
        if first or len(names) > known:
            outputs.append(self._want())
        return outputs

    def wanted(self, want: Want) -> list[Output]:
        """Take in what the peer wants: those logs, and no others."""
        sender = self._sender
        if not self._asked:
            self._asked, sender.window.credit = True, want.credit
        sender.annexes = want.annexes
        sender.frame_bytes = min(FRAME_BYTES, want.frame_bytes)
        sender.segment_bytes = min(self._is.segment_bytes, want.segment_bytes)
        self._parts = {part.origin: part for part in want.parts}
        outputs: list[Output] = []
        asked = set()
        for wanted in want.logs:
            if wanted.origin >= len(self.names):
                raise _refused("place", "Ask by the table of the hello.", place=wanted.origin)
            origin = self.names[wanted.origin]
            asked.add(origin)
            if origin not in sender.logs and origin not in self._forks:
                outputs += self._ask_for(origin, wanted)
        for origin in sorted(set(sender.logs) - asked):
            sender.stop(origin)
        if want.snapshot and self._is.serves_snapshot:
            outputs.append(LoadSnapshot())
        return outputs

    def compared(self, origin: str, size: int, root: bytes | None) -> list[Output]:
        """Take in our root at the size of the peer's head."""
        outputs: list[Output] = []
        for tag, wanted in self._comparing.pop((origin, size), []):
            if origin not in self._forks:
                outputs += self._judge(origin, Head(size, tag), root, say=wanted is None)
            if wanted is not None and origin not in self._forks:
                outputs += self._serve(origin, wanted)
        return outputs

    def forked(self, origin: str, evidence: Mapping[str, object]) -> list[Output]:
        """The peer says that this log has two histories. Of whose log it is wants to see both."""
        self._stop_fork(origin)
        mine = self.logs.get(origin)
        if mine is None or not mine.own:
            shown = [] if mine is None else self._show(mine)
            return [*shown, Found(Verdict.FORK.value, origin, evidence)]
        return [*self.claims.said(Verdict.FORK.value, origin, mine.size, None, evidence)]

    def shown(self, signed: Signed) -> list[Output]:
        """Take in the checkpoint of a log of ours. What our key did not sign proves nothing."""
        if signed.origin >= len(self.theirs):
            raise _refused("place", "Speak of a log of the hello.", place=signed.origin)
        origin = self.theirs[signed.origin]
        try:
            text = Checkpoint(origin, signed.size, signed.root).text()
            checkpoint = open_checkpoint(f"{text}\n{signed.lines}", *self._own_keys(origin))
        except CertsError:
            return []
        return [*self.claims.shown(checkpoint)]

    def _meet(self, origin: str, place: int, theirs: Head) -> list[Output]:
        """Compare one log of the peer's table with ours, and decide whether to want it."""
        mine = self.logs.get(origin)
        if mine is None:
            later = self._later_than_us(origin, theirs)
            if not _is_origin(origin) or not self._is.accepts(origin):
                self.foreign += 1
                return later
            return [*later, *self._take_up(origin, place, 0, theirs)]
        outputs: list[Output] = []
        if not mine.own:
            outputs = self._take_up(origin, place, mine.size, theirs)
            if theirs.size <= mine.size and theirs != Head.of(mine.size, mine.root):
                outputs += self._show(mine)
        if 0 < theirs.size < mine.size:
            return [*outputs, *self._compare(origin, theirs, None)]
        return [*outputs, *self._judge(origin, theirs, EMPTY_ROOT, say=True)]

    def _take_up(self, origin: str, place: int, mine: int, theirs: Head) -> list[Output]:
        size, times = self.fruitless.get(origin, (mine, 0))
        outputs: list[Output] = []
        if theirs.size > mine == size and times >= STUCK_AFTER:
            outputs.append(Found("stuck", origin, {"size": size, "times": times}))
            if times & (times - 1):  # asked again after 2, 4, 8... links, and not in between
                self.fruitless[origin] = (size, times + 1)
                return outputs
        self._receiver.want(place, mine)
        return outputs

    def _compare(self, origin: str, theirs: Head, wanted: Wanted | None) -> list[Output]:
        waiting = self._comparing.setdefault((origin, theirs.size), [])
        waiting.append((theirs.tag, wanted))
        return [Compare(origin, theirs.size)] if len(waiting) == 1 else []

    def _judge(self, origin: str, theirs: Head, root: bytes | None, *, say: bool) -> list[Output]:
        """Act on the verdict; `root` is ours at their size, where that is smaller."""
        mine = self.logs[origin]
        peers_own = _voice(origin) is not self._is.side
        verdict = compare(
            Head.of(mine.size, mine.root),
            theirs,
            lambda _: root,
            own=mine.own,
            peers_own=peers_own and not mine.own,
        )
        evidence: dict[str, object] = {"mine": mine.size, "theirs": theirs.size}
        if verdict is Verdict.FORK:
            self._forks.add(origin)
            evidence |= {"tag": theirs.tag.hex()}
            told = self.stop("exchange.fork", origin, evidence)
            if not mine.own:
                return told
            evidence["code"] = "exchange.fork"
            return [told[0], *self.claims.said(verdict.value, origin, mine.size, theirs, evidence)]
        self._cleared.add((origin, theirs))
        outputs: list[Output] = []
        if say and 0 < theirs.size <= mine.size and self.peer is not None:
            # An acknowledgement that a cut link lost comes again with the next hello.
            outputs.append(PeerHolds(origin, theirs.size, self.peer.instance.hex()))
        if say and verdict is Verdict.ROLLED_BACK:
            outputs += self.claims.said(verdict.value, origin, mine.size, theirs, evidence)
        if say and verdict is Verdict.PEER_ROLLED_BACK:
            outputs.append(Found(verdict.value, origin, evidence))
        return outputs

    # --- what is shown for it -------------------------------------------------------------------

    def _show(self, log: Log) -> list[Output]:
        """Show the peer its own signature over what it seems to have lost, once."""
        theirs = _voice(log.origin) is not self._is.side
        if not theirs or not self.claims.shows or log.origin not in self.names:
            return []
        if log.origin in self._showed:
            return []
        self._showed.add(log.origin)
        checkpoint, place = Checkpoint.parse(parse_note(log.note)[0]), self.names.index(log.origin)
        lines = [one.line() for one in parse_note(log.note)[1] if one.name == log.origin]
        signed = Signed(origin=place, size=log.size, root=checkpoint.root, lines="".join(lines))
        return [Send(message.encode(signed))]

    def _show_later(self) -> list[Output]:
        """Show a site what it wrote in epochs after the latest that it names: it is an old copy."""
        if self._is.side is Writer.SITE:
            return []
        named = [Origin.parse(one) for one in self.theirs if _is_origin(one)]
        epochs = [epoch_order(one.epoch) for one in named if one.voice is Writer.SITE]
        later = [
            self.logs[origin]
            for origin in sorted(self.logs if epochs else ())
            if _voice(origin) is Writer.SITE
            and epoch_order(Origin.parse(origin).epoch) > max(epochs)
        ]
        return [output for log in later if log.size for output in self._show(log)]

    def _later_than_us(self, origin: str, theirs: Head) -> list[Output]:
        """A log of ours that we do not have, of a later epoch: somebody wrote as us after us."""
        if self._is.side is Writer.HUB or not theirs.size or not self._own_keys(origin):
            return []
        epoch = epoch_order(Origin.parse(origin).epoch)
        if any(epoch <= epoch_order(one.epoch) for one in self._own()):
            return []
        return [*self.claims.said("overtaken", origin, 0, theirs, {"theirs": theirs.size})]

    def _own(self) -> list[Origin]:
        return [Origin.parse(log.origin) for log in self.logs.values() if log.own]

    def _own_keys(self, origin: str) -> list[Verifier]:
        """Return our keys as they sign this log; none where it is not one of our writer's."""
        if not _is_origin(origin):
            return []
        signer = Origin.parse(origin).signer
        own = [log for log in self.logs.values() if log.own]
        public = {
            Verifier.from_vkey(log.vkey).public
            for log in own
            if Origin.parse(log.origin).signer == signer
        }
        return [Verifier(origin, one) for one in sorted(public)]

    def _stop_fork(self, origin: str) -> None:
        self._forks.add(origin)
        self._sender.stop(origin)
        self._receiver.stop(origin)

    def _ask_for(self, origin: str, wanted: Wanted) -> list[Output]:
        """Begin to serve a log, once it is sure that what the peer holds of it is ours."""
        mine, theirs = self.logs[origin], Head(wanted.size, wanted.tag)
        if theirs.size > mine.size:
            return [] if mine.own else self._serve(origin, wanted)
        if (origin, theirs) in self._cleared:
            return self._serve(origin, wanted)
        if 0 < theirs.size < mine.size:
            return self._compare(origin, theirs, wanted)
        outputs = self._judge(origin, theirs, EMPTY_ROOT, say=False)
        return outputs if origin in self._forks else [*outputs, *self._serve(origin, wanted)]

    def _serve(self, origin: str, wanted: Wanted) -> list[Output]:
        mine = self.logs[origin]
        if wanted.size < mine.oldest:
            return self.stop("exchange.pruned", origin, {"oldest": mine.oldest})
        out = Outgoing(mine, wanted.origin, wanted.size)
        out.part = self._parts.get(wanted.origin)
        out.annexes_next, out.annexes_stop = wanted.annexes_from, min(wanted.size, mine.size)
        self._sender.add(out)
        return []


def _newest_first(log: Log) -> tuple[bool, int, str]:
    """Return the key that sorts what is written here first, then by the counter of the epoch."""
    return not log.own, -epoch_order(Origin.parse(log.origin).epoch)[0], log.origin


def _is_origin(name: str) -> bool:
    try:
        Origin.parse(name)
    except TheirsInvalid:
        return False
    return True


def _voice(origin: str) -> Writer:
    return Origin.parse(origin).voice


def _refused(what: str, remedy: str, **evidence: object) -> TheirsInvalid:
    return TheirsInvalid(f"exchange.{what}", remedy, **evidence)
