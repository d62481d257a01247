"""What a peer says of our own logs, and what it has to show for it.

Whoever says that it holds more of a log that only we write, or another history of it, says that our
disk is an old one: an epoch ends by that, doors close. A table of sizes is not signed, so nothing
follows from it alone. The peer shows the checkpoint that *we* signed (`sync.message.Signed`), and
what is not shown within `SHOW_MS` is told as `unproved`, once a link.

A larger size of ours is proof by itself; of the same size or a smaller one only another root is.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from certs.note import Checkpoint
from sync.exchange import Found
from sync.frontier import Head

SHOW_MS: Final = 30_000
"""So long a peer may take to show a signature: it sends it when it has heard what we hold."""


class _Claim(msgspec.Struct, frozen=True):
    """What was said of one log: the verdict by it, our size then, and the head that was told."""

    what: str
    mine: int
    head: Head | None
    evidence: Mapping[str, object]


class Claims:
    """See above. `shows`: whether the peer can show a checkpoint; who cannot proves nothing."""

    def __init__(self) -> None:
        self.shows = False
        self._claims: dict[str, _Claim] = {}
        self._shown: dict[str, Checkpoint] = {}
        self._until: dict[str, int] = {}
        self._done: set[str] = set()

    def said(
        self, what: str, origin: str, mine: int, head: Head | None, evidence: Mapping[str, object]
    ) -> list[Found]:
        """Take in what the peer says of a log of ours; return it if it is proved already.

        `mine` is our size, `head` what the peer told (None: nothing that a root could be held to).
        """
        if origin in self._done:
            return []
        self._claims.setdefault(origin, _Claim(what, mine, head, evidence))
        return self._proved(origin)

    def shown(self, checkpoint: Checkpoint) -> list[Found]:
        """Take in a checkpoint that our own key signed; return what it proves."""
        self._shown[checkpoint.origin] = checkpoint
        return self._proved(checkpoint.origin)

    def overdue(self, now_ms: int) -> list[Found]:
        """Return what was said and not shown, each once."""
        late: list[Found] = []
        for origin, claim in list(self._claims.items()):
            until = self._until.setdefault(origin, now_ms + SHOW_MS * self.shows)
            if now_ms >= until:
                late.append(self._end(origin, "unproved", {"claims": claim.what, **claim.evidence}))
        return late

    def deadline(self) -> int | None:
        """Return when the next one will be overdue."""
        return min((self._until[origin] for origin in self._claims), default=None)

    def _proved(self, origin: str) -> list[Found]:
        claim, shown = self._claims.get(origin), self._shown.get(origin)
        if claim is None or shown is None:
            return []
        larger = shown.size > claim.mine
        if not larger and Head.of(shown.size, shown.root) != claim.head:
            return []
        return [self._end(origin, claim.what, claim.evidence)]

    def _end(self, origin: str, what: str, evidence: Mapping[str, object]) -> Found:
        del self._claims[origin]
        self._done.add(origin)
        return Found(what, origin, dict(evidence))
