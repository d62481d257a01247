"""The hub's voice for a site: decide on the newest book, append by compare-and-set, then sign.

    refresh the book -> decide -> append at the size that was decided on -> sign -> tell

Two processes may do this at once. Whoever comes second misses (`hub.moved`), seals what the first
one may have left unsigned, reads again and *decides again*: a right is never spent twice, and two
entries of one number can never both be signed, because signing comes after the commit.
"""

import asyncio
import base64
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from certs.note import Checkpoint, sign_checkpoint
from sync import entry as entries
from sync.book import Book
from sync.entry import SALT_BYTES, Lane, LaneRef, Ref, Writer
from sync.errors import SyncError, TheirsInvalid
from sync.facts import EpochOpened, Fact, TimeAnchored, to_object
from sync.hub import logs
from sync.hub.clock import ERROR_MS, Clock
from sync.hub.issue import Decision, Desk, Known, No, Say, Statement
from sync.hub.keys import Keys
from sync.hub.projections import Projection, Projections
from sync.hub.storage import Moved, Site, Storage
from sync.merkle import Tree
from sync.origin import Origin
from sync.rows import Annex

LANES: Final = (Lane.URGENT, Lane.CUSTODY)
"""A hub has no telemetry."""
FORMAT: Final = 1
"""The entry format that `epoch.opened` names."""
BACKOFF_S: Final = 0.01
ANCHOR_EVERY_MS: Final = 7 * 86_400_000
"""How often a lane is told the time while it is written to: what it gave out ends by that."""

_log = logs.get("voice")


class Done(msgspec.Struct, frozen=True):
    """A decision that stands: its first entry, and whether it was written now."""

    ref: str
    new: bool


class Busy(SyncError):  # noqa: N818  # the name says what is wrong
    """Others wrote first, every time (`hub.busy`)."""


class Refused(SyncError):  # noqa: N818  # the name says what is wrong
    """The decision was no; code, remedy and evidence are the decision's."""


Decide = Callable[[Book, Desk], Decision]


class Voice:
    """Writes in the hub's lanes. `salts` gives 16 random bytes a call."""

    def __init__(
        self,
        storage: Storage,
        keys: Keys,
        clock: Clock,
        projections: Projections,
        salts: Callable[[int], bytes],
        *,
        attempts_max: int,
    ) -> None:
        self._storage, self._keys, self._clock = storage, keys, clock
        self._projections, self._salts = projections, salts
        self._attempts_max = attempts_max
        self._locks: dict[str, asyncio.Lock] = {}
        self._anchored: dict[str, int] = {}  # when each site's lane was last told the time

    async def say(self, site: Site, by: str, decide: Decide) -> Done:
        """Have `decide` decided and written.

        Raises `Refused` with the decision's code, `Busy` after so many misses, `StoreFailed`.
        """
        async with self._locks.setdefault(site.site_id, asyncio.Lock()):
            await self.open(site)
            for attempt in range(self._attempts_max):
                projection = await self._projections.of(site.site_id)
                desk = self._desk(site, by)
                decision = decide(projection.book, desk)
                match decision:
                    case No():
                        raise Refused(decision.code, decision.remedy, **decision.evidence)
                    case Known():
                        return Done(decision.ref, new=False)
                    case Say():
                        try:
                            return await self._append(site, projection, decision)
                        except Moved:
                            _log.info("hub.moved", site=site.site_id, attempt=attempt)
                            await self.seal_all(site)
                            await asyncio.sleep(BACKOFF_S * attempt)
        raise Busy("hub.busy", "Ask again in a moment.", attempts=self._attempts_max)

    async def weigh(self, site: Site, by: str, decide: Decide) -> None:
        """Have `decide` decided and nothing written. Raises `Refused` where it is no."""
        projection = await self._projections.of(site.site_id)
        decision = decide(projection.book, self._desk(site, by))
        if isinstance(decision, No):
            raise Refused(decision.code, decision.remedy, **decision.evidence)

    async def open(self, site: Site) -> None:
        """Begin the hub's lanes of this epoch where they are not, and sign what a crash left."""
        await self.seal_all(site)
        shelf = (await self._projections.of(site.site_id)).shelf
        urgent = self.origin(site, Lane.URGENT)
        known = await shelf.log(urgent)
        if known is not None and known.size:
            return
        parents = {
            log.origin: (log.size, base64.b64encode(log.root).decode())
            for log in await shelf.logs()
            if Origin.parse(log.origin).voice is Writer.HUB and log.size
        }
        for lane in LANES:
            origin = self.origin(site, lane)
            key = self._keys.log_key(origin)
            note = sign_checkpoint(Checkpoint(origin, 0, Tree().root()), key)
            await self._storage.begin(site.site_id, origin, key.vkey, note)
        opened = EpochOpened(
            site=f"hub/{site.site_id}",
            version=FORMAT,
            parents=parents,
            why="hub.restored" if parents else "",
        )
        try:
            await self._write(site, Lane.URGENT, 0, (Statement(opened),), {})
        except Moved:
            await self.seal_all(site)

    async def seal_all(self, site: Site) -> int:
        """Sign what was appended and not signed: a crash came between. Return how many logs."""
        left = await self._storage.unsealed(site.site_id)
        for checkpoint in left:
            note = sign_checkpoint(checkpoint, self._keys.log_key(checkpoint.origin))
            await self._storage.seal(site.site_id, checkpoint.origin, note)
        return len(left)

    def origin(self, site: Site, lane: Lane) -> str:
        """Return the name of one of the hub's lanes for a site, in the epoch of now."""
        return str(Origin(site.operator, f"hub/{site.site_id}", site.epoch, lane))

    def _desk(self, site: Site, by: str) -> Desk:
        key, *earlier = self._keys.code_keys(site.site_id, site.key_version)
        return Desk(by, self._clock.utc_ms(), key, site.fenced, tuple(earlier))

    async def _append(self, site: Site, projection: Projection, say: Say) -> Done:
        lane = self._lane(site, say.lane)
        size, sizes = projection.read_of(str(lane)), projection.book.sizes
        statements: tuple[Statement, ...] = say.statements
        utc_ms, last_ms = self._clock.utc_ms(), self._anchored.get(site.site_id)
        anchors = say.lane is Lane.CUSTODY and (
            last_ms is None or abs(utc_ms - last_ms) >= ANCHOR_EVERY_MS
        )
        if anchors:
            anchor = TimeAnchored(utc_ms=utc_ms, error_ms=ERROR_MS, source="hub")
            statements = (Statement(anchor), *statements)
        seen = {log: read for log, read in sorted(sizes.items()) if read and ":s" in log}
        await self._write(site, say.lane, size, statements, seen)
        if anchors:
            self._anchored[site.site_id] = utc_ms
        index = size + len(statements) - len(say.statements)
        return Done(str(Ref(lane.epoch, lane.writer, lane.lane, index)), new=True)

    async def _write(
        self,
        site: Site,
        lane: Lane,
        size: int,
        statements: Sequence[Statement],
        seen: dict[str, int],
    ) -> None:
        """Append, then sign. A crash between the two leaves entries that nobody was told of."""
        origin = self.origin(site, lane)
        annexes: dict[int, Annex] = {}
        written = []
        for place, one in enumerate(statements):
            private = None
            if one.annex is not None:
                salt = self._salts(SALT_BYTES)
                annexes[size + place] = Annex(salt, one.annex, None)
                private = entries.private_hash(salt, one.annex)
            written.append(self._composed(one.fact, seen if one.seen else None, private))
        checkpoint = await self._storage.append(site.site_id, origin, size, written, annexes)
        note = sign_checkpoint(checkpoint, self._keys.log_key(origin))
        await self._storage.seal(site.site_id, origin, note)

    def _composed(self, fact: Fact, seen: dict[str, int] | None, private: bytes | None) -> bytes:
        try:
            return entries.compose(
                to_object(fact),
                at=self._clock.moment(),
                seen=None if seen is None else {LaneRef.parse(k): v for k, v in seen.items()},
                private=private,
            )
        except TheirsInvalid as error:
            raise Refused(
                "request.too_long", "Say it shorter: an entry has 4,096 bytes.", cause=error.code
            ) from error

    def _lane(self, site: Site, lane: Lane) -> LaneRef:
        return LaneRef(site.epoch, Writer.HUB, lane)
