"""The link to the hub: dial, carry a session, wait, dial again.

What arrives is durable before it is told. The site loses nothing without the link and decides
nothing by it: entries of the hub go to the engine as any other input, and what the peer knows of
*us* that we do not know ends this life, for an epoch is over when somebody has seen more of it than
we have, and shows our signature over it. What the hub still holds of our *older* epochs comes back
by the same link; then the book is folded again, and only then may a fence be lifted.
"""

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

import aiohttp

from certs.errors import CertsError
from gateway import logs
from gateway import wire as wires
from gateway.clock import Clock
from gateway.core.inputs import EntriesArrived, FenceRaised, HistorySettled, Input, LinkDown, LinkUp
from gateway.errors import GatewayError
from gateway.wire import Wire
from sync import fold, link
from sync.clerk import Hooks
from sync.entry import Lane, Writer
from sync.errors import Reason, StoreFailed, TheirsInvalid
from sync.exchange import Found, Memory
from sync.link import Summary, carry
from sync.origin import Origin, epoch_order
from sync.redial import Redial
from sync.shelf import Item
from sync.store import Store
from sync.terms import Options

CONNECT_S: Final = 30.0
_log = logs.get("uplink")
_OVER: Final = {"rolled_back": "rolled_back", "fork": "forked"}


@dataclass(slots=True)
class Stand:
    """How the link stands, for status and health.

    `held` is what the hub's store has, by origin: as it said when the link began, and since then.
    `words` is what a person reads of a `reason` for which there is no link.
    """

    up: bool = False
    connects: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    entries_in: int = 0
    entries_out: int = 0
    reason: str = ""
    words: str = ""
    instance: str = ""
    held: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlets:
    """Whom the uplink tells. `post` queues an input; `trouble(alarm, about, standing)` an alarm.

    `epoch_over(why, after)`: this epoch is over, and the next one comes after that counter.
    `history_back()`: all that the hub had of older epochs has come, and the book is to be folded
    again. `cloned()`: whether this epoch began because a later one was seen. `linked(code)`: the
    hub took us in (no code), or why it did not, as one of `gateway.wire.WORDS` or its own code.
    """

    post: Callable[[Input], None]
    trouble: Callable[[str, str, bool], None]
    epoch_over: Callable[[str, int], Awaitable[None]]
    history_back: Callable[[], None]
    cloned: Callable[[], bool]
    snapshot: Callable[[], Awaitable[tuple[bytes, bytes] | None]]
    linked: Callable[[str], None] = lambda _code: None


class Uplink:
    """One for each life of the site. `memory` and `redial` outlive it: hand them to the next."""

    def __init__(  # noqa: PLR0917  # what a link is between, and whom it tells
        self, url: str, site: str, store: Store, clock: Clock, outlets: Outlets, before: "Kept",
        wire: Wire | None = None,
    ) -> None:  # fmt: skip
        self.url = f"{url.rstrip('/')}/sites/{site.rpartition('/')[2]}"
        self._site, self._wire = site, wire
        self._store, self._clock, self._outlets, self._kept = store, clock, outlets, before
        self._owed: dict[str, int] = {}
        self._came_back = self._forked = self._overtaken = False
        self._unproved: set[str] = set()

    @property
    def stand(self) -> Stand:
        """How the link stands."""
        return self._kept.stand

    async def run(self) -> None:
        """Dial and carry until cancelled."""
        redial = self._kept.redial
        async with aiohttp.ClientSession(
            # A refused dial leaves its connection open, with the certificate that was refused.
            connector=aiohttp.TCPConnector(force_close=True),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
        ) as http:
            while True:
                began = self._clock.now().mono_ms
                progress = await self._once(http)
                redial.tried(began, progress=progress)
                await self._wait()

    async def _once(self, http: aiohttp.ClientSession) -> bool:
        """Dial once; return whether anything came or went."""
        try:
            ws = await self._dialled(http)
        except (GatewayError, CertsError) as error:
            if error.code != "request.often" or not self.stand.reason:
                self.stand.reason, self.stand.words = error.code, wires.explain(error)
            _log.info("link.refused", code=error.code, **error.evidence)
            self._outlets.linked(error.code)
            return False
        self.stand.words = ""
        self._outlets.linked("")
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(ws.close)
            self.stand.up = True
            self.stand.connects += 1
            self._unproved.clear()
            self._outlets.post(LinkUp(now=self._clock.now()))
            _log.info("link.up", hub=self.url)
            try:
                summary = await carry(
                    ws,
                    self._options(),
                    self._store,
                    Hooks(
                        arrived=self._arrived,
                        greeted=self._greeted,
                        found=self._found,
                        holds=self._holds,
                        snapshot=self._outlets.snapshot,
                    ),
                    now_ms=lambda: self._clock.now().mono_ms,
                    utc_ms=lambda: self._clock.now().wall_ms,
                    idle=self._kept.redial.idle,
                )
            finally:
                self.stand.up = False
                self._outlets.post(LinkDown(now=self._clock.now()))
            return self._note(summary)

    async def _dialled(self, http: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        """Return an open socket. A clock that is in the way is set by the hub's signed time.

        Raises `wire.Refusal`, CertsError.
        """
        wire = self._wire
        if wire is not None and wire.needs_time:
            with contextlib.suppress(GatewayError, CertsError):
                await wire.learn_time()
        try:
            return await self._dials(http)
        except wires.Refusal as error:
            if wire is None or error.code != "link.dates" or not await wire.learn_time():
                raise
        return await self._dials(http)

    async def _dials(self, http: aiohttp.ClientSession) -> aiohttp.ClientWebSocketResponse:
        wire, url = self._wire, f"{self.url}/link"
        context = True if wire is None else wire.client
        if context is None:
            raise wires.refused("link.unenrolled", url)
        try:
            async with asyncio.timeout(CONNECT_S):
                return await http.ws_connect(url, ssl=context, **link.WEBSOCKET)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            code = "link.unreachable" if wire is None else wires.reason_of(error)
            refusal = wires.refused(code, url, cause=type(error).__name__)
            if wire is not None and isinstance(error, aiohttp.WSServerHandshakeError):
                # It says why in a body that this kind of answer does not show: ask the same place.
                await wire.ask("GET", f"{self.url}/trust")
            raise refusal from error

    def _options(self) -> Options:
        return Options(
            side=Writer.SITE,
            instance=self._store.instance,
            nonce=secrets.token_bytes(8),
            accepts=self._accepts,
            serves_snapshot=True,
            memory=self._kept.memory,
        )

    def _accepts(self, origin: str) -> bool:
        """Take the hub's lanes for this site, and what is ours of older epochs.

        Not what somebody wrote as us after this epoch: folded, it would end the custody of ours.
        """
        return self._concerns(origin) and not self._is_later(origin, self._epoch())

    def _concerns(self, origin: str) -> bool:
        try:
            named = Origin.parse(origin)
        except TheirsInvalid:
            return False
        return f"{named.operator}/site/{named.site}" == self._site

    def _epoch(self) -> str:
        present = self._store.checkpoint(Lane.CUSTODY).partition("\n")[0]
        return Origin.parse(present).epoch

    def _note(self, summary: Summary) -> bool:
        stand, counters = self.stand, summary.counters
        self._kept.memory = summary.memory
        stand.bytes_in += counters.bytes_in
        stand.bytes_out += counters.bytes_out
        stand.entries_in += counters.entries_in
        stand.entries_out += counters.entries_out
        stand.reason = summary.reason
        _log.info(
            "link.down", reason=summary.reason, bytes_in=counters.bytes_in,
            bytes_out=counters.bytes_out, evidence=dict(summary.evidence) or None,
        )  # fmt: skip
        self._outlets.trouble("link.refused", summary.reason, summary.theirs)
        if summary.reason == "exchange.store":
            # The session took it as the end of the link; it may be the end of the life too.
            cause = str(summary.evidence.get("cause", "")).removeprefix("store.")
            raise StoreFailed(cast("Reason", cause))
        return summary.progress

    async def _wait(self) -> None:
        """Wait for the next attempt; something urgent shortens it."""
        redial, urgent = self._kept.redial, self._urgent()
        size = self._store.sizes[Lane.URGENT]
        waiting = size > self.stand.held.get(urgent, 0)
        wait_ms = redial.wait_ms(self._clock.now().mono_ms, urgent=waiting)
        if waiting:
            await asyncio.sleep(wait_ms / 1000)
            return
        grown = await self._store.beyond(urgent, size, wait_ms / 1000)
        if grown is not None and grown.size > size:
            soon_ms = redial.wait_ms(self._clock.now().mono_ms, urgent=True)
            await asyncio.sleep(soon_ms / 1000)

    def _urgent(self) -> str:
        return self._store.checkpoint(Lane.URGENT).partition("\n")[0]

    # --- what a session tells -------------------------------------------------------------------

    async def _greeted(self, told: Mapping[str, int]) -> None:
        """Learn what the hub holds of our older epochs that is not here."""
        self._owed, epoch = {}, self._epoch()
        self.stand.held = dict(told)
        # Told, and not shown yet: nothing is settled with a hub that speaks of a later epoch of us.
        self._overtaken = any(size and self._is_later(one, epoch) for one, size in told.items())
        for origin, size in told.items():
            log = await self._store.log(origin)
            ours = self._accepts(origin) and Origin.parse(origin).voice is Writer.SITE
            if ours and (log is None or (not log.own and log.size < size)):
                self._owed[origin] = size
        self._settle()

    def _is_later(self, origin: str, epoch: str) -> bool:
        """Return whether this is a log of ours, of an epoch after the present one."""
        if not self._concerns(origin) or Origin.parse(origin).voice is not Writer.SITE:
            return False
        return epoch_order(Origin.parse(origin).epoch) > epoch_order(epoch)

    async def _is_overtaken(self, origin: str) -> None:
        """Somebody wrote as us after this epoch: we are an old copy, or there are two of us.

        An old copy begins one epoch more. One that did so before and is overtaken again is a clone:
        then no door opens for a code until somebody has found out which of the two has the doors.
        """
        counter = epoch_order(Origin.parse(origin).epoch)[0]
        if self._outlets.cloned():
            self._outlets.trouble("site.cloned", origin, True)
            self._outlets.post(FenceRaised(now=self._clock.now(), why="cloned"))
        else:
            await self._outlets.epoch_over("overtaken", counter)

    async def _arrived(self, origin: str, first: int, items: Sequence[Item]) -> None:
        named = Origin.parse(origin)
        if named.voice is Writer.SITE:
            self._came_back = True
            if first + len(items) >= self._owed.get(origin, 0):
                self._owed.pop(origin, None)
            self._settle()
            return
        self._outlets.post(arrived(self._clock, origin, items))
        _log.info("entries.arrived", log=str(named.log), first=first, count=len(items))

    async def _found(self, found: Found) -> None:
        evidence = {f"peer_{key}": value for key, value in found.evidence.items()}
        _log.warning("link.found", what=found.what, origin=found.origin, **evidence)
        log = await self._store.log(found.origin)
        over = _OVER.get(found.what)
        if over is not None and log is not None and log.own:
            await self._outlets.epoch_over(over, 0)
        elif found.what == "overtaken" and self._is_later(found.origin, self._epoch()):
            await self._is_overtaken(found.origin)
        elif found.what == "unproved":
            # Our own key signed none of it: the epoch goes on, and a person hears who says so.
            self._unproved.add(found.origin)
            self._outlets.trouble("link.unproved", found.origin, True)
        elif found.what == "fork":
            # What the other history says cannot come back here: no fence is lifted by itself.
            self._forked = True
            self._outlets.trouble("log.forked", found.origin, True)
        elif found.what in {"stuck", "refused", "refused_by_peer"}:
            self._outlets.trouble("link.stuck", found.origin, True)

    def _settle(self) -> None:
        """Say so when the hub holds nothing of us that is not here."""
        if self._owed or self._forked or self._overtaken:
            return
        if self._came_back:
            self._came_back = False
            self._outlets.history_back()
        else:
            self._outlets.post(HistorySettled(now=self._clock.now(), by="hub"))

    async def _holds(self, origin: str, size: int, instance: str) -> None:
        stand = self.stand
        stand.instance = instance
        stand.held[origin] = max(size, stand.held.get(origin, 0))
        self._outlets.trouble("link.stuck", origin, False)
        if origin not in self._unproved:  # on this link the hub says what we hold, no more
            self._outlets.trouble("link.unproved", origin, False)


def arrived(clock: Clock, origin: str, items: Sequence[Item]) -> EntriesArrived:
    """Return what the engine is told of entries of others that are durable here."""
    log = str(Origin.parse(origin).log)
    taken = tuple(fold.read(log, item.index, item.entry, _annex(item)) for item in items)
    return EntriesArrived(now=clock.now(), entries=taken)


def _annex(item: Item) -> tuple[bytes, bytes] | None:
    annex = item.annex
    if annex is None or annex.data is None or annex.salt is None:
        return None
    return annex.data, annex.salt


@dataclass(slots=True)
class Kept:
    """What one life leaves to the next: the session's memory, when to dial, how the link stood."""

    memory: Memory = field(default_factory=Memory)
    redial: Redial = field(default_factory=lambda: Redial(secrets.randbelow))
    stand: Stand = field(default_factory=Stand)
