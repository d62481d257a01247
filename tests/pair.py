"""Two ends of a session over shelves in memory, joined by a link that a test scripts.

    site, hub = End(Writer.SITE, shelf), End(Writer.HUB, other)
    run(site, hub)                                  # until nobody has anything to say
    Pair(site, hub).cut_after(4_000)                # the link dies after so many bytes

Nothing waits and no clock runs: the shelf in memory answers at once, time is a number.
"""

from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from certs.keys import KIND_COSIGNATURE, SigningKey
from certs.note import cosign
from sync import exchange as ex
from sync.entry import Writer
from sync.errors import StoreFailed, TheirsInvalid
from sync.origin import Ring
from sync.receiving import rebuilt
from sync.session import Session
from sync.terms import Options
from tests.shelf_memory import MemoryShelf, Private

SITE: Final = "lockers.example/site/0042"
HUB: Final = "lockers.example/hub/0042"
SITE_SEED: Final = bytes([1]) * 32
HUB_SEED: Final = bytes([2]) * 32
EPOCH: Final = "e1-00000001"
COSIGNER: Final = SigningKey.from_seed(f"{HUB}/cosigner", bytes([3]) * 32, KIND_COSIGNATURE)
RING: Final = (
    SigningKey.from_seed(SITE, SITE_SEED).vkey,
    SigningKey.from_seed(HUB, HUB_SEED).vkey,
)
T = TypeVar("T")
LANES: Final = ("urgent", "custody", "telemetry")


def log_of(writer: str, lane: str, epoch: str = EPOCH) -> str:
    return f"{writer}/{epoch}/{lane}"


def shelf_of(writer: str) -> MemoryShelf:
    """Return the shelf of the site or the hub, its own three logs begun."""
    number = "0a" if writer == SITE else "0b"
    shelf = MemoryShelf(
        ring=Ring(*RING), cosigners=[COSIGNER.verifier], instance=f"00000000000000{number}"
    )
    for lane in LANES:
        shelf.begin(log_of(writer, lane), SITE_SEED if writer == SITE else HUB_SEED)
    return shelf


def now(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run something that never waits."""
    try:
        coroutine.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise AssertionError("the shelf in memory waited")


@dataclass
class End:
    """One end: does what its session says, and notes what else it was told."""

    side: Writer
    shelf: MemoryShelf
    memory: ex.Memory = field(default_factory=ex.Memory)
    options: dict[str, Any] = field(default_factory=dict)
    before_stored: Callable[["End"], None] = lambda _: None
    acknowledged: dict[str, int] = field(default_factory=dict)
    found: list[ex.Found] = field(default_factory=list)
    closes: list[ex.Close] = field(default_factory=list)
    receipts: list[ex.KeepReceipt] = field(default_factory=list)
    snapshots: list[ex.SnapshotArrived] = field(default_factory=list)
    outbox: list[bytes] = field(default_factory=list)
    wake_at: int | None = None
    now_ms: int = 0
    session: Session = field(init=False)

    def begin(self, now_ms: int = 0) -> None:
        """Start a new link."""
        self.outbox, self.now_ms, self.wake_at = [], now_ms, None
        options: dict[str, Any] = {
            "side": self.side,
            "instance": self.shelf.instance,
            "nonce": bytes(8),
            "accepts": lambda origin: "/0042/" in origin,
            "memory": self.memory,
        }
        self.session = Session(Options(**(options | self.options)))
        self.do(self.session.start(now(self.shelf.logs()), now_ms))

    def end(self) -> None:
        """The link is gone: keep what the next one needs."""
        self.memory = self.session.memory()

    def receive(self, data: bytes) -> None:
        self.do(self.session.receive(data, self.now_ms))

    def write(self, origin: str, *entries: bytes | Private) -> None:
        self.do(self.session.appended(self.shelf.write(origin, *entries), self.now_ms))

    def tick(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.do(self.session.tick(now_ms))

    def do(self, outputs: Iterable[ex.Output]) -> None:
        for output in outputs:
            self._do(output)

    def _do(self, output: ex.Output) -> None:
        session, shelf = self.session, self.shelf
        match output:
            case ex.Send(data):
                self.outbox.append(data)
            case ex.Compare(origin, size):
                root = now(shelf.root(origin, size))
                self.do(session.compared(origin, size, root, self.now_ms))
            case ex.Load(origin, first, count, bytes_max, entries_max):
                count = count or now(shelf.cut(origin, first, entries_max, bytes_max))
                items = now(shelf.read(origin, first, first + count))
                note = now(shelf.note(origin, first + count))
                self.do(session.loaded(origin, first, items, note, self.now_ms))
            case ex.LoadAnnexes(origin, start, stop):
                items = now(shelf.read(origin, start, stop))
                self.do(session.annexes_loaded(origin, start, items, self.now_ms))
            case ex.Store():
                self._store(output)
            case ex.PutAnnexes(origin, annexes):
                now(shelf.put_annexes(origin, annexes))
            case ex.Cosign(origin):
                log = now(shelf.log(origin))
                assert log is not None
                note = log.note + cosign(log.note, COSIGNER, 1_800_000_000)
                self.do(session.cosigned(origin, note, self.now_ms))
            case ex.KeepReceipt():
                self.receipts.append(output)
            case ex.PeerHolds(origin, size, _):
                self.acknowledged[origin] = size
            case ex.Found():
                self.found.append(output)
            case ex.SnapshotArrived():
                self.snapshots.append(output)
            case ex.LoadSnapshot():
                pass
            case ex.Wake(at_ms):
                self.wake_at = at_ms
            case ex.Close():
                self.closes.append(output)

    def _store(self, store: ex.Store) -> None:
        try:
            peaks = now(self.shelf.peaks(store.origin, store.first)) if store.first else []
            log = now(self.shelf.extend(rebuilt(store, peaks)))
            if store.annexes:
                now(self.shelf.put_annexes(store.origin, store.annexes))
        except (TheirsInvalid, StoreFailed) as error:
            self.do(self.session.refused(store.origin, error.code, error.evidence, self.now_ms))
            return
        self.before_stored(self)
        self.do(self.session.stored(log, self.now_ms))

    def holds(self) -> dict[str, tuple[int, bytes]]:
        """Return what is held: (size, root) of every log that is not empty."""
        return {log.origin: (log.size, log.root) for log in now(self.shelf.logs()) if log.size}


def run(one: End, two: End, *, step_ms: int = 50, until_ms: int = 60_000) -> int:
    """Carry messages both ways until nobody says anything for 3 seconds; return the bytes."""
    carried, quiet = 0, 0
    while quiet < 3_000 and max(one.now_ms, two.now_ms) < until_ms:
        for end, other in ((one, two), (two, one)):
            outbox, end.outbox = end.outbox, []
            for data in outbox:
                carried += len(data)
                quiet = 0
                other.receive(data)
        if not one.outbox and not two.outbox:
            quiet += step_ms
            for end in (one, two):
                end.tick(end.now_ms + step_ms)
    return carried


def meet(one: End, two: End, *, at_ms: int = 0) -> int:
    """Begin a link, run it until it is quiet, and end it; return the bytes."""
    one.begin(at_ms)
    two.begin(at_ms)
    carried = run(one, two, until_ms=at_ms + 60_000)
    one.end()
    two.end()
    return carried
