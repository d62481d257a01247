"""The hub's side of every link. Sites that dial in are pulled through it, reachable ones over HTTP.

What comes is stored, cosigned and folded; nothing is asked of a site twice. One link a site: a
newer one ends the older, which may be half-open. Other sites are not touched by what one of them
does: each link has its own task, its own bounds and its own end.
"""

import asyncio
import contextlib
import secrets
import traceback
from collections.abc import Collection, Mapping, Sequence
from typing import Final, cast

import aiohttp
import msgspec
from aiohttp import web

from certs import tls
from certs.note import cosign
from sync.clerk import Hooks
from sync.entry import Writer
from sync.errors import Reason, StoreFailed, SyncError, TheirsInvalid
from sync.exchange import Found, Memory
from sync.hub import logs
from sync.hub.dialling import Dialling
from sync.hub.rooms import Hub
from sync.hub.storage import HubShelf, Site
from sync.link import WEBSOCKET, carry
from sync.origin import Origin, epoch_order
from sync.pullclient import Summary, pull, watch
from sync.redial import IdleTime
from sync.shelf import Item, Log
from sync.terms import Options

LINK: Final = "/sites/{site}/link"
LINKS_MAX: Final = 4_096
"""Links at once in one process: 300 KiB each with TLS."""
POLL_S: Final = 50
PAUSE_S: Final = 15.0
SITES_S: Final = 30.0
"""How often the list of reachable sites is read anew."""
OLDER_S: Final = 0.5
"""So long an older link may take to end politely; one that is half-open is cut off then."""
FRAMES_MAX: Final = 6

LOST: Final = frozenset({"rolled_back", "fork"})
"""What is found of a log of ours once this store was put back."""

_log = logs.get("puller")


class Puller:
    """Carries the links of one hub. `routes` are mounted beside the API, `run` is one task."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._stops = hub.links.stops
        self._memory: dict[str, Memory] = {}
        self._ends: dict[str, _End] = {}
        self._pulling: dict[str, asyncio.Task[None]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the route that sites dial."""
        return [web.get(LINK, self._dialled, allow_head=False)]

    async def close(self) -> None:
        """End all links politely."""
        for stop in self._stops.values():
            stop.set()
        for task in self._pulling.values():
            task.cancel()
        await asyncio.gather(*self._pulling.values(), return_exceptions=True)

    # --- sites that dial in ---------------------------------------------------------------------

    async def _dialled(self, request: web.Request) -> web.StreamResponse:
        hub = self._hub
        site = await hub.registry.get(request.match_info["site"])
        if len(self._stops) >= LINKS_MAX:
            raise TheirsInvalid("request.busy", "Dial again later.", links=LINKS_MAX)
        ws = web.WebSocketResponse(**WEBSOCKET)
        await ws.prepare(request)
        older, older_stop = self._ends.get(site.site_id), self._stops.get(site.site_id)
        stop = self._stops[site.site_id] = asyncio.Event()
        end = self._ends[site.site_id] = _End(request.transport)
        if older is not None and older_stop is not None:
            older_stop.set()
            # What came over it, to the byte, is for this one to go on with.
            await older.comes()
        hub.links.up(site.site_id, "session", hub.clock.utc_ms())
        _log.info("link.up", site=site.site_id)
        reason = "link.gone"
        try:
            reason = await self._carry(ws, site, stop)
        except StoreFailed as error:
            reason = error.code
            _log.error("link.store", site=site.site_id, code=error.code)
            hub.failed(error)
        except Exception as error:  # noqa: BLE001  # a bug of this link: no other one ends by it
            reason = "link.bug"
            _log.error("link.bug", site=site.site_id, **_where(error))
        finally:
            end.has_come()
            if self._stops.get(site.site_id) is stop:
                del self._stops[site.site_id], self._ends[site.site_id]
                hub.links.down(site.site_id, "" if reason in {"gone", "stopped"} else reason)
            _log.info("link.down", site=site.site_id, reason=reason)
        await self._after(site.site_id)
        return ws

    async def _after(self, site_id: str) -> None:
        """A link is over. A site that has ended had its last receipt by it, and needs no device."""
        hub = self._hub
        try:
            if not (await hub.registry.get(site_id)).enabled and await hub.devices.pins(site_id):
                await hub.revoke(site_id, by="site.decommissioned")
        except StoreFailed as error:
            hub.failed(error)

    async def _carry(self, ws: web.WebSocketResponse, site: Site, stop: asyncio.Event) -> str:
        hub, visit = self._hub, Visit(self._hub, site, stop)
        shelf = hub.registry.shelf_of(site)
        options = Options(
            side=Writer.HUB,
            instance=hub.storage.instance,
            nonce=secrets.token_bytes(8),
            accepts=visit.accepts,
            memory=self._memory.pop(site.site_id, Memory()),
        )
        summary = await carry(
            ws,
            options,
            shelf,
            Hooks(
                arrived=visit.arrived,
                found=visit.found,
                cosign=visit.cosign,
                greeted=visit.greeted,
            ),
            now_ms=lambda: hub.clock.moment().mono_ms,
            utc_ms=hub.clock.utc_ms,
            idle=IdleTime(),
            stop=stop,
        )
        self._memory[site.site_id] = summary.memory
        if len(self._memory) > LINKS_MAX:
            del self._memory[next(iter(self._memory))]
        counters = summary.counters
        hub.links.heard(
            site.site_id, hub.clock.utc_ms(), bytes_in=counters.bytes_in,
            bytes_out=counters.bytes_out,
        )  # fmt: skip
        if summary.reason == "exchange.store":
            # The session took it as the end of the link; what died does not come back by itself.
            cause = str(summary.evidence.get("cause", "")).removeprefix("store.")
            hub.failed(StoreFailed(cast("Reason", cause)))
        if summary.theirs:
            evidence = {key: str(value) for key, value in summary.evidence.items()}
            await _audit(hub, site.site_id, summary.reason, evidence)
        return summary.reason

    # --- sites that can be reached --------------------------------------------------------------

    async def run(self) -> None:
        """Pull every site that has an address, until cancelled."""
        try:
            while True:
                sites = {one.site_id: one for one in await self._hub.storage.sites() if one.url}
                for site_id in sites.keys() - self._pulling.keys():
                    self._pulling[site_id] = asyncio.create_task(
                        self._pull(sites[site_id]), name=f"pull {site_id}"
                    )
                for site_id in self._pulling.keys() - sites.keys():
                    self._pulling.pop(site_id).cancel()
                await asyncio.sleep(SITES_S)
        finally:
            await self.close()

    async def _pull(self, site: Site) -> None:
        """Pull one site, then wait until it has more."""
        dialling = Dialling(self._hub, site)
        try:
            await self._pull_by(dialling, site)
        finally:
            await dialling.close()

    async def _pull_by(self, dialling: Dialling, site: Site) -> None:
        hub = self._hub
        base = f"{site.url.rstrip('/')}/sync/v1"
        before = _Round()
        while True:
            try:
                session = await dialling.session()
                before = await self._round(session, base, site.site_id, before)
            except (SyncError, aiohttp.ClientError, OSError, TimeoutError) as error:
                if isinstance(error, StoreFailed):
                    hub.failed(error)
                code = error.code if isinstance(error, SyncError) else "exchange.unreachable"
                hub.links.down(site.site_id, code)
                await asyncio.sleep(PAUSE_S)
            except Exception as error:  # noqa: BLE001  # a bug with this site: others are pulled on
                _log.error("pull.bug", site=site.site_id, **_where(error))
                hub.links.down(site.site_id, "link.bug")
                await asyncio.sleep(PAUSE_S)

    async def _round(
        self, session: aiohttp.ClientSession, base: str, site_id: str, before: "_Round"
    ) -> "_Round":
        """Pull once, and wait for news.

        What is refused comes again at once from whoever says that it is news: after a round that
        brought nothing those logs are not asked for, and others only after a pause.
        """
        hub = self._hub
        site = await hub.registry.get(site_id)
        visit = Visit(hub, site, asyncio.Event())
        shelf = hub.registry.shelf_of(site)
        done = await pull(session, base, shelf, peer=f"site/{site_id}", cosign=visit.cosign)
        wrong = await self._pulled(site, visit, done, before.wrong)
        origins = {origin for origin, _ in wrong}
        stuck = frozenset(before.stuck & origins)
        idle = before.woken and not (done.pulled or done.pushed or done.annexes or done.receipts)
        if idle:
            if before.idle:
                await asyncio.sleep(PAUSE_S)
            stuck = frozenset(origins)
        woken = not done.more and await _until_news(session, base, shelf, stuck)
        return _Round(frozenset(wrong), stuck, woken, idle)

    async def _pulled(
        self, site: Site, visit: "Visit", done: Summary, told: frozenset[tuple[str, str]]
    ) -> set[tuple[str, str]]:
        """Take in how a pull went; return what was wrong, by origin and code.

        What is in `told` is in the audit already.
        """
        hub = self._hub
        hub.links.up(site.site_id, "pull", hub.clock.utc_ms())
        hub.links.heard(
            site.site_id, hub.clock.utc_ms(), bytes_in=done.bytes_in, bytes_out=done.bytes_out
        )
        wrong = {(found.origin, f"log.{found.verdict}") for found in done.found}
        wrong |= {(refusal.origin, refusal.error.code) for refusal in done.refused}
        for origin, code in sorted(wrong - told):
            await _audit(hub, site.site_id, code, {"origin": origin})
        for found in done.found:
            if found.verdict in LOST:
                await visit.lost(found.origin)
        await hub.arrived(site.site_id)
        if site.fenced and not done.more and not done.refused:
            await hub.heal(site.site_id)
        return wrong


class _Round(msgspec.Struct, frozen=True):
    """How a pull went: what was wrong, which logs are not asked for, who ended the wait.

    `idle`: it was told of news, and brought nothing.
    """

    wrong: frozenset[tuple[str, str]] = frozenset()
    stuck: frozenset[str] = frozenset()
    woken: bool = False
    idle: bool = False


class _End:
    """When a link is over. One whose peer is silent does not end by being asked."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self._transport = transport
        self._over = asyncio.Event()

    def has_come(self) -> None:
        """The link is over, and has left its memory."""
        self._over.set()

    async def comes(self) -> None:
        """Return once it is over; it is cut off after `OLDER_S`, and given up after two."""
        for _ in range(2):
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), OLDER_S)
                return
            if self._transport is not None:
                tls.cut(self._transport)


class Visit:
    """One site's link, as the hub takes part in it."""

    def __init__(self, hub: Hub, site: Site, stop: asyncio.Event) -> None:
        self._hub, self._site, self._stop = hub, site, stop
        self._owed: dict[str, int] = {}

    def accepts(self, origin: str) -> bool:
        """Take this site's logs, and what it holds of ours (after a restore it heals us)."""
        try:
            named = Origin.parse(origin)
        except TheirsInvalid:
            return False
        return (named.operator, named.site) == (self._site.operator, self._site.site_id)

    async def greeted(self, told: Mapping[str, int]) -> None:
        """Learn what the site holds: how far behind we are, and what is ours and lost here."""
        held = {log.origin: log.size for log in await self._shelf().logs()}
        lag = {
            origin: size - held.get(origin, 0)
            for origin, size in told.items()
            if size > held.get(origin, 0) and self.accepts(origin)
        }
        ours = {origin for origin in lag if _is_ours(origin)}
        self._owed = {origin: told[origin] for origin in ours}
        self._hub.links.behind(self._site.site_id, lag)
        # What a process that died had stored, and not looked at.
        await self._hub.follower.follow(self._site.site_id)
        await self._heal()

    async def arrived(self, origin: str, first: int, items: Sequence[Item]) -> None:
        """Entries are stored: confirm news by them; once nothing of ours is missing, heal."""
        hub, site_id = self._hub, self._site.site_id
        size = first + len(items)
        lag = dict(hub.links.of(site_id).lag)
        if origin in lag:
            lag[origin] = max(0, lag[origin] - len(items))
            hub.links.behind(site_id, {name: count for name, count in lag.items() if count})
        if self._owed.get(origin, 0) <= size:
            self._owed.pop(origin, None)
        hub.links.heard(site_id, hub.clock.utc_ms())
        await hub.arrived(site_id)
        await self._heal()

    async def found(self, found: Found) -> None:
        """Surface what a person should hear of."""
        # Not `text`: the peer's own words have no place in our records.
        said = {key: str(value) for key, value in found.evidence.items() if key != "text"}
        evidence = {"origin": found.origin, **said}
        await _audit(self._hub, self._site.site_id, f"log.{found.what}", evidence)
        if found.what in LOST:
            await self.lost(found.origin)

    async def lost(self, origin: str) -> None:
        """Sign nothing more in an epoch of which somebody holds more than we do, or another one.

        This link ends, and the next one brings what is lost.
        """
        log = await self._shelf().log(origin)
        if log is not None and log.own:
            self._site = await self._hub.lost(self._site.site_id)
            self._stop.set()

    async def cosign(self, log: Log) -> str | None:
        """Return the log's checkpoint with our cosignature; it is stored here durably."""
        hub, site_id = self._hub, self._site.site_id
        if Origin.parse(log.origin).voice is not Writer.SITE:
            return None
        line = cosign(log.note, hub.keys.cosigner(site_id), hub.clock.utc_ms() // 1000)
        note = log.note + line
        await hub.storage.keep_cosignature(site_id, log.origin, note)
        return note

    async def _heal(self) -> None:
        if self._site.fenced and not self._owed:
            self._site = await self._hub.heal(self._site.site_id)

    def _shelf(self) -> HubShelf:
        return self._hub.registry.shelf_of(self._site)


async def _audit(hub: Hub, site_id: str, code: str, evidence: Mapping[str, str]) -> None:
    """Write down what was wrong with a site's link, as often as it may be said."""
    if hub.links.may_say(site_id, hub.clock.utc_ms()):
        _log.warning("link.found", site=site_id, what=code, told=evidence.get("code"))
        await hub.storage.audit(site_id, code, evidence)


def _is_ours(origin: str) -> bool:
    return Origin.parse(origin).voice is Writer.HUB


async def _until_news(
    session: aiohttp.ClientSession, base: str, shelf: HubShelf, stuck: Collection[str]
) -> bool:
    """Return when the site has more, or we have, or after `POLL_S`; raises as asking does.

    Says whether the site said that it has more. Logs in `stuck` are not asked for.
    """
    logs = await shelf.logs()
    asked: list[asyncio.Task[object]] = []
    ours: list[asyncio.Task[object]] = [asyncio.ensure_future(asyncio.sleep(POLL_S))]
    for log in logs:
        if log.own:
            ours.append(asyncio.ensure_future(shelf.beyond(log.origin, log.size, POLL_S)))
        elif _is_present(log, logs) and log.origin not in stuck:
            watched = watch(session, base, log.origin, log.size, POLL_S)
            asked.append(asyncio.ensure_future(watched))
    tasks = [*ours, *asked]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
        return any(task in done for task in asked)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _where(error: Exception) -> dict[str, object]:
    """Return what a line says of a bug: its type and its place, and no value of anybody."""
    frames = traceback.extract_tb(error.__traceback__)[-FRAMES_MAX:]
    places = [f"{one.filename.rpartition('/')[2]}:{one.lineno} {one.name}" for one in frames]
    return {"error": type(error).__name__, "at": " < ".join(reversed(places))}


def _is_present(log: Log, logs: Sequence[Log]) -> bool:
    """Return whether this is a log of the site's newest epoch."""
    named = Origin.parse(log.origin)
    if named.voice is not Writer.SITE:
        return False
    epochs = [one.epoch for one in map(Origin.parse, (log.origin for log in logs))
              if one.voice is Writer.SITE]  # fmt: skip
    return named.epoch == max(epochs, key=epoch_order)
