"""What one life of the site has to do with the cloud: keys, link, listener, pruning.

    keys -> the store takes the hub's lanes in -> link -> `EntriesArrived` -> the engine
                                               -> receipts -> what may be pruned

The site runs without any of it. An enrolled site dials its hub over mutual TLS, and lets in its hub
and its backends alone, by their certificates. `[development] plain` has both without TLS, on
loopback, and is warned of.
"""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
from aiohttp import web

from certs import authority, tls
from certs.errors import CertsError
from certs.keys import SigningKey, Verifier
from gateway import continuity, logs, trust
from gateway import wire as wires
from gateway.clock import Clock
from gateway.config import Config
from gateway.core.inputs import AccessTold, Trust
from gateway.errors import GatewayError
from gateway.identity import database_of
from gateway.renewal import Renewal
from gateway.runtime import End, Life
from gateway.site import Who
from gateway.trust import HubTrust
from gateway.uplink import Kept, Outlets, Uplink, arrived
from gateway.wire import Wire
from sync import entry, places, pruning
from sync.book import Book
from sync.entry import Lane, Ref, Writer
from sync.errors import StoreFailed, SyncError
from sync.facts import TimeAnchored, from_entry
from sync.moment import Anchor, Anchors, Utc
from sync.origin import Origin, Ring
from sync.pull import make_routes
from sync.pullwire import Limits, Peer
from sync.reader import LogFile
from sync.rows import Record
from sync.shelf import Item, Shelf
from sync.store import Store

PRUNE_S: Final = 86_400.0
FIRST_PRUNE_S: Final = 600.0
ASK_S: Final = 3.0
BUSY_S: Final = 30.0
DAY_MS: Final = 86_400_000
STRANGERS_MAX: Final = 32
"""Connections to `[sync] listen` over which nobody has been let in yet."""
PEERS_EACH: Final = 32
Work = Callable[[Life], Coroutine[None, None, None]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_log = logs.get("exchange")


def keys(
    config: Config, who: Who, data: Path, known: HubTrust | None
) -> tuple[Ring, tuple[Verifier, ...]]:
    """Return whose logs this site takes in, and whose receipts count.

    Its own writer too, with the keys it had before it was replaced: what the hub holds of older
    epochs may come back.
    """
    own = SigningKey.from_seed(who.name, who.identity.seed).vkey
    ring = Ring(own, *continuity.former_keys(data))
    told = config.hub if known is None or config.hub.url else known
    if told.writer:
        ring.add(Verifier.from_vkey(told.writer))
    return ring, (Verifier.from_vkey(told.cosigner),) if told.cosigner else ()


class Exchange:
    """The cloud side of one process; `beside` are the tasks of each life."""

    def __init__(self, config: Config, data: Path, site: str, clock: Clock) -> None:
        self.config, self.data, self.site, self.clock = config, data, site, clock
        self.kept = Kept()
        self.pull_url = ""
        self.wire = Wire(data, clock)
        self.renewal = Renewal(self.wire, data)
        known = self.wire.trust
        if known is not None and known.site != site:
            raise GatewayError(
                "trust.other_site",
                "Put back this site's own trust folder, or enrol it with a claim of its own",
                site=known.site,
            )
        self._store: Store | None = None
        self._life: Life | None = None
        self._asked = False

    @property
    def hub_url(self) -> str:
        """Where the hub is dialled; nothing where this site is alone."""
        if self.config.hub.url:
            return self.config.hub.url
        return "" if self.wire.trust is None else self.wire.trust.link_url

    @property
    def governed(self) -> bool:
        """Whether this site has a hub, heard of or not."""
        return bool(self.hub_url)

    @property
    def _dials_with(self) -> Wire | None:
        return None if self.config.hub.url else self.wire

    def beside(self, store: Store) -> list[Work]:
        """Return what runs beside a life: the link, its trust, and the chore of pruning."""
        self._store = store
        works: list[Work] = [_careful(lambda life: self._chores(life, store))]
        if self.governed:
            works.append(_careful(lambda life: self._link(life, store)))
        if self.wire.trust is not None:
            works.append(self.renewal.run)
        return works

    async def ask_first(self) -> None:
        """Ask the hub what it knows of us before anything is written; a few seconds, no more, once.

        A restored disk that writes before it has heard makes two histories of one epoch. Without an
        answer the site goes on alone, as it must. Nobody swaps a disk under a running process.
        """
        if self._asked or not self.governed or continuity.broken(self.data):
            return
        self._asked = True
        base = f"{self.hub_url.rstrip('/')}/sites/{self.site.rpartition('/')[2]}/sync/v1"
        limits = Limits(connect_s=ASK_S, request_s=ASK_S, attempts=1)
        try:
            async with asyncio.timeout(ASK_S):
                context = await self._context()
                connector = aiohttp.TCPConnector(ssl=context)
                async with aiohttp.ClientSession(connector=connector) as session:
                    found = await self._proved(Peer(session, base, limits))
        except (SyncError, GatewayError, CertsError, aiohttp.ClientError, OSError, TimeoutError):
            return
        if found is not None:
            why, after = found
            _log.error("epoch.over", why=why)
            continuity.mark(self.data, why, after)

    async def _proved(self, peer: Peer) -> tuple[str, int] | None:
        """Return why this epoch is over, by what the hub holds and shows our own signature over."""
        known = {log.origin: (log.size, base64.b64decode(log.root)) for log in await peer.logs()}
        while found := await asyncio.to_thread(continuity.compare, self.data, known):
            why, after, origin = found
            size, root = known.pop(origin)
            note = await peer.note(origin, size) or ""
            if await asyncio.to_thread(continuity.is_ours, self.data, note, origin, size, root):
                return why, after
            _log.warning("epoch.unproved", why=why, origin=origin)
        return None

    async def _context(self) -> ssl.SSLContext | bool:
        """Return how the hub is to be dialled; a clock that nobody vouches for is set first."""
        wire = self._dials_with
        if wire is None:
            return True
        if wire.needs_time:
            await wire.learn_time()
        if wire.client is None:
            raise wires.refused("link.unenrolled", self.hub_url)
        return wire.client

    async def take_denials(self, text: str) -> bool:
        """Take in denials that a visitor carried (`PLG1D:`); say whether they were newer.

        Raises as `gateway.trust.take_denials`.
        """
        before = self.wire.trust
        taken = await asyncio.to_thread(trust.take_denials, self.data, text)
        self.wire.take(taken)
        if self._life is not None:
            self.renewal.tell(self._life)
        return taken != before

    def over(self) -> None:
        """A life is over: nobody is answered from its store any more."""
        self._store = self._life = None

    def status(self) -> dict[str, object]:
        """Return what `status` shows of the cloud."""
        if not self.governed and not self.pull_url:
            return {}
        stand = self.kept.stand
        return {
            "plain": self.config.development.plain,
            "certificate": self.renewal.status(),
            "hub": {
                "url": self.hub_url,
                "up": stand.up,
                "connects": stand.connects,
                "reason": stand.reason,
                "words": stand.words,
                "bytes_in": stand.bytes_in,
                "bytes_out": stand.bytes_out,
                "entries_in": stand.entries_in,
                "entries_out": stand.entries_out,
                "held": dict(stand.held),
            },
            "pull": self.pull_url,
        }

    # --- the link -------------------------------------------------------------------------------

    async def _link(self, life: Life, store: Store) -> None:
        async def epoch_over(why: str, after: int) -> None:
            await asyncio.to_thread(continuity.mark, self.data, why, after)
            _log.error("epoch.over", why=why)
            life.finish(End.EPOCH)

        async def snapshot() -> tuple[bytes, bytes] | None:
            kept = await store.latest_snapshot()
            return None if kept is None else (kept.sha256, kept.book)

        def linked(code: str) -> None:
            self.renewal.linked(code)
            self.renewal.link_trouble(life)

        outlets = Outlets(
            post=life.inbox.put,
            trouble=lambda alarm, about, standing: life.trouble(alarm, about, standing=standing),
            epoch_over=epoch_over,
            history_back=lambda: life.finish(End.HISTORY),
            cloned=lambda: began(life) == "overtaken",
            snapshot=snapshot,
            linked=linked,
        )
        where, wire = self.hub_url, self._dials_with
        await Uplink(where, self.site, store, self.clock, outlets, self.kept, wire).run()

    # --- the listener ---------------------------------------------------------------------------

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Serve plain pull where the configuration says so: to the hub and backends alone."""
        where, plain = self.config.sync, self.config.development.plain
        if plain:
            _log.warning("development.plain", told="nothing is encrypted or authenticated")
        if not where.listen:
            yield
            return
        if not plain and self.wire.server is None:
            raise GatewayError(
                "sync.not_enrolled", "Enrol this site first, or take [sync] listen away",
                listen=where.listen,
            )  # fmt: skip
        context = None if plain else self.wire.server
        app = web.Application(middlewares=[] if plain else [self._welcomes])
        routes = make_routes(self._shelf, snapshot=self._snapshot, arrived=self._pushed)
        app.add_routes(routes)
        try:
            listener = places.listen(where.host, where.port, absent=True)
        except OSError as error:
            raise GatewayError(
                "sync.unavailable",
                "Stop what listens there, or choose another port",
                listen=where.listen,
                errno=error.errno,
            ) from error
        host, port = listener.getsockname()[:2]
        parent = asyncio.current_task()
        async with places.serving(app, listener, context, strangers_max=STRANGERS_MAX) as accepts:
            if accepts is not None and parent is not None:
                # A bug in it ends the process, as any does.
                accepts.add_done_callback(lambda one: one.cancelled() or parent.cancel())
            scheme = "http" if plain else "https"
            self.pull_url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/sync/v1"
            say = _log.warning if plain else _log.info
            say("sync.listening", url=self.pull_url, login="none" if plain else "certificate")
            yield

    @web.middleware
    async def _welcomes(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Let in the hub and the backends that the configuration names, and nobody else."""
        way = request.transport
        peer = None if way is None else tls.peer_of(way.get_extra_info("ssl_object"))
        if peer is not None and self.wire.is_welcome(peer, self.config.sync.backends):
            places.known(request, authority.pin_of(authority.public_key(peer)), PEERS_EACH)
            return await handler(request)
        if self._life is not None:
            now = self.clock.now()
            by = "nobody" if peer is None else authority.pin_of(authority.public_key(peer))[:16]
            self._life.inbox.put(AccessTold(now=now, what="pull", by=by, why="exchange.stranger"))
        no = {
            "code": "exchange.stranger",
            "remedy": "Come with the certificate of this operator's hub, or of a backend that the"
            " site names in [sync] backends.",
            "evidence": {},
        }
        return web.json_response(no, status=403)

    async def _shelf(self, _request: web.Request) -> Shelf:
        if self._store is None:
            raise StoreFailed("busy", "The site is starting: ask again in a moment.")
        return self._store

    async def _pushed(
        self, _request: web.Request, origin: str, first: int, items: Sequence[Item]
    ) -> None:
        """A backend pushed entries, and they are durable: the engine hears of them."""
        if self._life is None:
            return  # the next life reads them from the disk
        if Origin.parse(origin).voice is Writer.SITE:
            self._life.finish(End.HISTORY)
            return
        self._life.inbox.put(arrived(self.clock, origin, items))
        _log.info("entries.pushed", origin=origin, first=first, count=len(items))

    async def _snapshot(self, _request: web.Request) -> bytes | None:
        kept = None if self._store is None else await self._store.latest_snapshot()
        if kept is None:
            return None
        digest = base64.b64encode(kept.sha256).decode()
        return msgspec.json.encode(
            {
                "origin": kept.origin,
                "index": kept.index,
                "sha256": digest,
                "lanes": kept.lanes,
                "book": kept.book.decode(),
            }
        )

    # --- pruning --------------------------------------------------------------------------------

    async def _chores(self, life: Life, store: Store) -> None:
        self._life = life
        await asyncio.sleep(FIRST_PRUNE_S)
        while True:
            await self.prune(life, store)
            await asyncio.sleep(PRUNE_S)

    async def prune(self, life: Life, store: Store) -> dict[str, int]:
        """Forget what is old and safe elsewhere; return what each log was pruned to.

        Nothing where nobody vouches for the time, or no hub has been heard.
        """
        now, hub = self.clock.now(), self.kept.stand.instance
        if now.trust is not Trust.SYNCED or not hub:
            return {}
        before_ms = now.wall_ms - now.error_ms - self.config.sync.keep_days * DAY_MS
        older = await asyncio.to_thread(_older, self.data, before_ms)
        done = {}
        for log in await store.logs():
            case = await store.prune_case(log.origin, hub=hub, older=older.get(log.origin, 0))
            # A hub that was put back and does not know it has less than its receipts say.
            upto = min(pruning.furthest(case), self.kept.stand.held.get(log.origin, 0))
            if upto > log.oldest:
                book = life.engine.book
                await store.prune(log.origin, upto, hub=hub, older=case.older, cited=cited(book))
                done[log.origin] = upto
        if done:
            _log.info("log.pruned", **{name.rpartition("/")[2]: to for name, to in done.items()})
        return done


def _careful(work: Work) -> Work:
    """Return the work with the disk's trouble as the journal takes it: it ends the life.

    A disk that is only busy or full is waited for. Anything else is a bug, and ends the process.
    """

    async def run(life: Life) -> None:
        while True:
            try:
                return await work(life)
            except StoreFailed as error:
                _log.warning("exchange.store", code=error.code)
                if error.reason not in {"busy", "full"}:
                    life.store_failed(error.reason)
                    return None
            await asyncio.sleep(BUSY_S)

    return run


def began(life: Life) -> str:
    """Return why the present epoch began; nothing for the first one."""
    known = life.engine.book.epochs.get(life.engine.state.settings.epoch)
    return "" if known is None else known.why


def cited(book: Book) -> set[Ref]:
    """Return the entries that live objects cite: they stay, however old."""
    refs: set[str | None] = {*book.parcels, *book.alarms, *book.couriers, *book.fences}
    refs |= {*book.rights.collects, *book.rights.cautious.values()}
    for one in book.compartments.values():
        refs |= {one.last, one.intent.ref if one.intent is not None else None}
    refs |= {f"{epoch}:su0" for epoch in book.epochs}
    return {Ref.parse(ref) for ref in refs if ref is not None}


def _anchor(record: Record) -> Anchor | None:
    """Return the anchor that an entry states, if it is one."""
    if b'"kind":"time.anchored"' not in record.entry:
        return None
    read = entry.parse(record.entry)
    fact = from_entry(read)
    if not isinstance(fact, TimeAnchored):
        return None
    return Anchor(read.at, Utc(fact.utc_ms, fact.error_ms, fact.source))


def _older(data: Path, before_ms: int) -> dict[str, int]:
    """Return, for each own log, the index below which every entry is older than `before_ms` (UTC).

    By the anchors of the custody logs. One that no anchor places (a command's boot has none) is as
    old as the next one of its log that is placed. Blocks.
    """
    found = {}
    with LogFile.open(database_of(data)) as file:
        own = [head for head in file.heads() if head.own]
        anchors = Anchors(
            anchor
            for head in own
            if head.log.lane is Lane.CUSTODY
            for record in file.records(head)
            if (anchor := _anchor(record)) is not None
        )
        for head in own:
            index = head.oldest
            for record in file.records(head, head.oldest):
                utc = anchors.utc(entry.parse(record.entry).at)
                if utc is None:
                    continue
                if utc.ms + utc.error_ms >= before_ms:
                    break
                index = record.index + 1
            found[head.origin] = index
    return found
