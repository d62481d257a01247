"""Links of the cloud simulation: two real sessions, and a wire that is cut, half dead or doubled.

Messages keep their order on one link; two links of one site (two bearers) know nothing of each
other, so what they carry overtakes and repeats itself.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sync import exchange as ex
from sync.clerk import Clerk, Hooks
from sync.session import Session
from sync.terms import Options
from tests.pair import now
from tests.simulation.cloud_disk import Disk


class LinkEnd:
    """One end: a session, and who does at the disk what it says."""

    def __init__(
        self, options: dict[str, Any], disk: Disk, hooks: Hooks, now_ms: Callable[[], int]
    ) -> None:
        self.session = Session(Options(instance=disk.instance, nonce=bytes(8), **options))
        self.clerk = Clerk(self.session, disk, hooks, now_ms)
        self.now_ms = now_ms
        self.out: deque[bytes] = deque()
        self.closed = ""
        self.do(now(self.clerk.start(annexes=True, time_ms=0)))

    def receive(self, data: bytes) -> None:
        self.do(self.session.receive(data, self.now_ms()))
        now(self.clerk.greet())

    def tick(self) -> None:
        self.do(self.session.tick(self.now_ms()))

    def grown(self, log: Any) -> None:
        self.do(self.session.appended(log, self.now_ms()))

    def do(self, deeds: Any) -> None:
        pending = deque(deeds)
        while pending:
            deed = pending.popleft()
            if isinstance(deed, ex.Send):
                self.out.append(deed.data)
            elif isinstance(deed, ex.Close):
                self.closed = deed.code
            else:
                pending.extend(now(self.clerk.act(deed)))


@dataclass
class Link:
    """A bearer between a site and its hub. `left` bytes, then it is cut."""

    site: LinkEnd
    hub: LinkEnd
    left: int
    half: str = ""
    carried: int = 0
    up: bool = True
    moved: int = field(default=0)

    def waiting(self) -> bool:
        """Return whether anything is under way."""
        return bool(self.site.out or self.hub.out)

    def carry(self, to_hub: bool) -> None:
        """Carry one message; a message that does not fit into what is left is lost."""
        from_, to = (self.site, self.hub) if to_hub else (self.hub, self.site)
        if not self.up or not from_.out:
            return
        data = from_.out.popleft()
        self.carried += len(data)
        if self.carried > self.left:
            self.up = False
            return
        if self.half == ("hub" if to_hub else "site"):
            return  # this direction is dead, and nobody was told
        self.moved += 1
        to.receive(data)
        self.up = not (self.site.closed or self.hub.closed)
