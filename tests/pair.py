"""Two ends of a session over shelves in memory, joined by a link that a test scripts.

    site, hub = End(Writer.SITE, shelf), End(Writer.HUB, other)
    run(site, hub)                                  # until nobody has anything to say
    Pair(site, hub).cut_after(4_000)                # the link dies after so many bytes

Nothing waits and no clock runs: the shelf in memory answers at once, time is a number.
"""

from collections import deque
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

import msgspec

from certs.keys import KIND_COSIGNATURE, SigningKey
from certs.note import cosign, parse_note
from sync import exchange as ex
from sync import message, segment
from sync.clerk import Clerk, Deed, Hooks
from sync.entry import Writer
from sync.frontier import EMPTY
from sync.message import Frame, Hello, Message, Seal, Want, Wanted
from sync.origin import Ring
from sync.session import Session
from sync.shelf import Item, Log
from sync.terms import Options
from tests.shelf_memory import MemoryShelf, Private, entry

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
    options: dict[str, Any] = field(default_factory=dict)
    memory: ex.Memory = field(default_factory=ex.Memory)
    cosigns: bool = True
    snapshot: tuple[bytes, bytes] | None = None
    acknowledged: dict[str, int] = field(default_factory=dict)
    arrived: list[tuple[str, int, int]] = field(default_factory=list)
    found: list[ex.Found] = field(default_factory=list)
    closes: list[ex.Close] = field(default_factory=list)
    stores: list[ex.Store] = field(default_factory=list)
    loads: list[ex.Load] = field(default_factory=list)
    snapshots: list[tuple[bytes, bytes]] = field(default_factory=list)
    outbox: list[bytes] = field(default_factory=list)
    wake_at: int | None = None
    now_ms: int = 0
    session: Session = field(init=False)
    clerk: Clerk = field(init=False)

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
        options |= self.options
        self.session = Session(Options(**options))
        hooks = Hooks(
            arrived=self._arrived,
            found=self._found,
            holds=self._holds,
            cosign=self._cosign,
            snapshot=self._snapshot,
            snapshot_arrived=self._snapshot_arrived,
        )
        self.clerk = Clerk(self.session, self.shelf, hooks, lambda: self.now_ms)
        self.do(now(self.clerk.start(annexes=bool(options.get("annexes", True)), time_ms=0)))

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

    def do(self, deeds: Iterable[Deed]) -> None:
        pending = deque(deeds)
        while pending:
            deed = pending.popleft()
            match deed:
                case ex.Send(data):
                    self.outbox.append(data)
                case ex.Wake(at_ms):
                    self.wake_at = at_ms
                case ex.Close():
                    self.closes.append(deed)
                case _:
                    if isinstance(deed, ex.Store):
                        self.stores.append(deed)
                    if isinstance(deed, ex.Load):
                        self.loads.append(deed)
                    pending.extend(now(self.clerk.act(deed)))

    async def _arrived(self, origin: str, first: int, items: Sequence[Item]) -> None:
        self.arrived.append((origin, first, len(items)))

    async def _found(self, found: ex.Found) -> None:
        self.found.append(found)

    async def _holds(self, origin: str, size: int, _: str) -> None:
        self.acknowledged[origin] = size

    async def _cosign(self, log: Log) -> str | None:
        return log.note + cosign(log.note, COSIGNER, 1_800_000_000) if self.cosigns else None

    async def _snapshot(self) -> tuple[bytes, bytes] | None:
        return self.snapshot

    async def _snapshot_arrived(self, digest: bytes, data: bytes) -> None:
        self.snapshots.append((digest, data))

    def holds(self) -> dict[str, tuple[int, bytes]]:
        """Return what is held: (size, root) of every log that is not empty."""
        return {log.origin: (log.size, log.root) for log in now(self.shelf.logs()) if log.size}


@dataclass
class Way:
    """One direction: `left` bytes until it is cut (None: never), each message `copies` times.

    A message that does not fit into what is left is lost, as a cut link loses it.
    """

    left: int | None = None
    copies: int = 1
    carried: int = 0
    cut: bool = False

    def carry(self, end: End, other: End) -> bool:
        """Carry what waits; whether there was anything."""
        outbox, end.outbox = end.outbox, []
        for data in outbox:
            if self.left is not None and (self.cut or len(data) > self.left - self.carried):
                self.cut = True
                continue
            self.carried += len(data)
            for _ in range(self.copies):
                other.receive(data)
        return bool(outbox)


def run(
    one: End,
    two: End,
    there: Way | None = None,
    back: Way | None = None,
    *,
    half_open: bool = False,
    quiet_ms: int = 3_000,
) -> int:
    """Carry messages both ways until nobody says anything for a while; return the bytes.

    Where a way is cut the link ends, or, `half_open`, goes on in the other direction.
    """
    ways = there or Way(), back or Way()
    quiet = 0
    while quiet < quiet_ms:
        said = ways[0].carry(one, two)
        said = ways[1].carry(two, one) or said
        if (ways[0].cut or ways[1].cut) and not half_open:
            break
        quiet = 0 if said else quiet + 50
        for end in (one, two):
            end.tick(end.now_ms + (0 if said else 50))
    return ways[0].carried + ways[1].carried


def meet(one: End, two: End, there: Way | None = None, back: Way | None = None, **how: Any) -> int:
    """Begin a link, run it until it is quiet or cut, and end it; return the bytes."""
    at_ms = max(one.now_ms, two.now_ms)
    one.begin(at_ms)
    two.begin(at_ms)
    carried = run(one, two, there, back, **how)
    one.end()
    two.end()
    return carried


def both(**options: Any) -> tuple[End, End]:
    """Return a site and its hub, nothing written yet."""
    return (
        End(Writer.SITE, shelf_of(SITE), dict(options)),
        End(Writer.HUB, shelf_of(HUB), dict(options)),
    )


def fill(site: End, custody: int, telemetry: int) -> None:
    site.shelf.write(log_of(SITE, "custody"), *[entry(n, door=n) for n in range(custody)])
    site.shelf.write(log_of(SITE, "telemetry"), *[entry(n, door=n) for n in range(telemetry)])


def said(end: End) -> list[Message]:
    """Return what an end has to say, decoded."""
    return [one for data in end.outbox if (one := message.decode(data).message) is not None]


def kinds(end: End) -> list[str]:
    return [type(one).__name__ for one in said(end)]


def found(end: End) -> list[tuple[str, str]]:
    return [(one.what, one.origin.rpartition("/")[2]) for one in end.found]


def tell(end: End, *messages: Message) -> None:
    for one in messages:
        end.receive(message.encode(one))


def hub_hello(*logs: tuple[str, int, bytes], **more: Any) -> Hello:
    """Return a hello of a hub that is played by the test."""
    rows, before = [], ""
    for origin, size, tag in logs:
        rows.append(message.row(before, origin, size, tag))
        before = origin
    hello = Hello(major=1, instance=b"the hub!", nonce=bytes(8), codecs=[0, 1], table=rows)
    return msgspec.structs.replace(hello, **more)


def want_of(hello: Hello, *origins: str, **more: Any) -> Want:
    """Return a want of everything in these logs, by the site's own table."""
    names = message.table(hello.table)
    logs = [Wanted(names.index(origin), 0, EMPTY.tag, 0) for origin in origins]
    return msgspec.structs.replace(Want(logs=logs, credit=256 * 1024), **more)


def played(site: End, *logs: tuple[str, int, bytes], **more: Any) -> Hello:
    """Begin a site's session against a hub that is played; return the site's hello."""
    site.begin()
    hello = said(site)[0]
    assert isinstance(hello, Hello)
    site.outbox.clear()
    tell(site, hub_hello(*logs, **more))
    return hello


def segment_of(end: End, origin: str, first: int = 0, codec: int = 0) -> tuple[Frame, Seal]:
    """Return a whole segment, and the seal, of a log as its writer would send it."""
    held = end.shelf.held[origin]
    data = segment.encode(codec, held.entries[first:])
    frame = Frame(origin=0, data=data, first=first, count=len(held.entries) - first, codec=codec)
    note = held.sign(len(held.entries))
    signature = parse_note(note)[1][0]
    return frame, Seal(
        origin=0, size=len(held.entries), key_id=signature.key_id, signature=signature.value
    )
