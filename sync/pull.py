"""Plain pull, the answering side (FORMATS.md 4): a site's logs over HTTP, for anybody with curl.

The gateway mounts it as `/sync/v1`, the hub once a site (`/sites/{site}/sync/v1`). It knows a
`Shelf` and nothing else of storage. There is no login in this version: whoever mounts these routes
listens on loopback, and says so.

Every refusal is `{"code", "remedy", "evidence"}`; those of 409 say `size` beside it. Nothing here
waits for ever: a request has a deadline, a body a size, and the number of requests a bound.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NamedTuple

import msgspec
from aiohttp import HttpVersion11, hdrs, web

from certs import tls
from certs.note import NOTE_BYTES_MAX
from sync import pages
from sync.errors import StoreFailed, SyncError, TheirsInvalid
from sync.intake import Chunk
from sync.pages import read_number, refused
from sync.proof import Proof
from sync.rows import Annex
from sync.shelf import Item, Log, Shelf

ShelfOf = Callable[[web.Request], Awaitable[Shelf]]
"""Returns the shelf that a request is for; may raise `TheirsInvalid` `exchange.unknown_site`."""
Snapshot = Callable[[web.Request], Awaitable[bytes | None]]
"""Returns the newest signed snapshot as JSON, or None where there is none."""
Arrived = Callable[[web.Request, str, int, Sequence[Item]], Awaitable[None]]
"""Hears of entries that are new here and durable: request, origin, first index, entries."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a mount spends on its peers, all of them together."""

    deadline_s: float = 60.0
    """For a whole request, beyond the time that it asked to wait."""
    requests_max: int = 96
    polls_max: int = 32
    look_s: float = 2.0
    """How often a long poll looks whether somebody is still there to be told."""


class Ask(NamedTuple):
    """A request on its way: what was asked, of which shelf, and by when it is over."""

    request: web.Request
    shelf: Shelf
    limit: asyncio.Timeout

    @property
    def origin(self) -> str:
        """The log's name in the path, whichever way its slashes were written."""
        return self.request.match_info["origin"]

    def number(self, key: str, default: int | None = None) -> int:
        """Return a whole number of the query; it stands there once at most."""
        if len(self.request.query.getall(key, [])) > 1:
            raise refused("query", "Say it once.", key=key)
        return read_number(self.request.query, key, default)

    async def log(self) -> Log:
        """Return the log that the path names, or refuse."""
        log = await self.shelf.log(self.origin)
        if log is None:
            raise _unknown(self.origin)
        return log


Handler = Callable[[Ask], Awaitable[web.Response]]

_UNREAD: Final = {f"exchange.{what}" for what in ("body", "coding", "slow", "too_large")}
_UNAVAILABLE: Final = 503
_READ_ENTRIES: Final = 128
_THREAD_FROM_BYTES: Final = 1 << 14
"""From here packing is done beside the event loop: doors wait for that loop."""
_TEXT: Final = "text/plain"
_JSON: Final = "application/json"
_NDJSON: Final = "application/x-ndjson"


def make_routes(
    shelf_of: ShelfOf,
    *,
    prefix: str = "/sync/v1",
    snapshot: Snapshot | None = None,
    arrived: Arrived | None = None,
    bounds: Bounds | None = None,
) -> list[web.RouteDef]:
    """Return the routes of plain pull under `prefix`, to be added to an application together.

    The last one answers whatever else is asked for below the prefix. `bounds` hold for all shelves
    behind these routes. Whoever decides by what peers write gives `arrived`: it is told after the
    entries are stored, and before the peer is. Give the application's runner a short
    `shutdown_timeout`: a long poll ends only then.
    """
    return _Pull(shelf_of, snapshot, arrived, bounds or Bounds()).routes(prefix)


class _Pull:
    """The handlers, and how many of them are at work."""

    def __init__(
        self, shelf_of: ShelfOf, snapshot: Snapshot | None, arrived: Arrived | None, bounds: Bounds
    ) -> None:
        self._shelf_of, self._snapshot, self._bounds = shelf_of, snapshot, bounds
        self._arrived = arrived
        self._requests = self._polls = 0
        self._storing: set[asyncio.Task[Log]] = set()

    def routes(self, prefix: str) -> list[web.RouteDef]:
        log = "/logs/{origin:.+}"
        reads: dict[str, Handler] = {
            "/logs": self._logs,
            f"{log}/entries": self._entries,
            f"{log}/checkpoint": self._checkpoint,
            f"{log}/proof": self._proof,
            f"{log}/peaks": self._peaks,
            f"{log}/consistency": self._consistency,
            "/snapshots/latest": self._latest,
        }
        writes: dict[str, Handler] = {
            f"{log}/cosignatures": self._take_receipt,
            f"{log}/entries": self._take_entries,
        }
        elsewhere = dict.fromkeys(reads, _refusing("GET, HEAD"))
        elsewhere |= dict.fromkeys(writes, _refusing("POST"))
        elsewhere[f"{log}/entries"] = _refusing("GET, HEAD, POST")
        return [
            *(self._route("GET", prefix + path, do) for path, do in reads.items()),
            *(self._route("HEAD", prefix + path, do) for path, do in reads.items()),
            *(self._route("POST", prefix + path, do) for path, do in writes.items()),
            *(self._route("*", prefix + path, elsewhere[path]) for path in sorted(elsewhere)),
            self._route("*", prefix + "{rest:(?:/.*)?}", _nothing_here),
        ]

    # --- around every handler ------------------------------------------------------------------

    def _route(self, method: str, path: str, handler: Handler) -> web.RouteDef:
        async def answer(request: web.Request) -> web.StreamResponse:
            response = await self._answer(handler, request)
            await self._deliver(request, response)
            return response

        return web.route(method, path, answer, expect_handler=_expect)

    async def _answer(self, handler: Handler, request: web.Request) -> web.Response:
        if self._requests >= self._bounds.requests_max:
            return _refusal(refused("busy", "Come back in a moment.", limit=self._requests))
        self._requests += 1
        try:
            async with asyncio.timeout(self._bounds.deadline_s) as limit:
                return await handler(Ask(request, await self._shelf_of(request), limit))
        except (TheirsInvalid, StoreFailed) as error:
            return _refusal(error)
        except web.RequestPayloadError as error:
            return _refusal(refused("body", "Send the body whole.", cause=type(error).__name__))
        except TimeoutError:
            return _refusal(refused("slow", "Ask for less at once, or send faster."))
        finally:
            self._requests -= 1

    async def _deliver(self, request: web.Request, response: web.Response) -> None:
        """Send the answer, to somebody who takes it: what is left in memory has a deadline too."""
        transport = request.transport
        try:
            async with asyncio.timeout(self._bounds.deadline_s):
                with suppress(ConnectionError):  # gone: the library closes what is left
                    await response.prepare(request)
                    await response.write_eof()
        except TimeoutError:
            if transport is not None:
                tls.cut(transport)

    # --- reading -------------------------------------------------------------------------------

    async def _logs(self, ask: Ask) -> web.Response:
        told = [pages.Told.of(log) for log in await ask.shelf.logs()]
        answer = await _packed(ask, msgspec.json.encode(told), _JSON)
        answer.headers["Store-Instance"] = ask.shelf.instance
        return answer

    async def _entries(self, ask: Ask) -> web.Response:
        start = ask.number("from", 0)
        room = min(ask.number("max_bytes", pages.PAGE_BYTES_DEFAULT), pages.PAGE_BYTES_MAX)
        wait_s = min(ask.number("wait", 0), pages.WAIT_S_MAX)
        annex = ask.number("annex", 0)
        if annex > 1:
            raise refused("query", "`annex` is 0 or 1.", key="annex")
        log = await ask.log()
        _check_size("from", start, log)
        if start < log.oldest:
            raise _pruned(ask, log)
        if start == log.size and wait_s:
            log = await self._wait(ask, start, wait_s)
        lines = await _page(ask, log, start, room, annex=bool(annex))
        following = start + len(lines)
        answer = await _packed(ask, b"".join(lines), _NDJSON, f"{start}-{following}-")
        answer.headers.update(
            {"Log-From": str(start), "Log-Next": str(following), "Log-Size": str(log.size)}
        )
        return answer

    async def _wait(self, ask: Ask, size: int, wait_s: int) -> Log:
        """Return the log once it is larger than `size`, or after the time asked for."""
        if self._polls >= self._bounds.polls_max:
            raise refused("busy", "Ask without `wait`, or later.", limit=self._polls)
        now = asyncio.get_running_loop().time
        until = now() + wait_s
        ask.limit.reschedule(until + self._bounds.deadline_s)
        self._polls += 1
        try:
            log = await ask.log()
            while log.size <= size and (left_s := until - now()) > 0 and not _is_gone(ask.request):
                found = await ask.shelf.beyond(ask.origin, size, min(left_s, self._bounds.look_s))
                if found is None:
                    raise _unknown(ask.origin)
                log = found
            return log
        finally:
            self._polls -= 1

    async def _checkpoint(self, ask: Ask) -> web.Response:
        log = await ask.log()
        note = log.note
        if "size" in ask.request.query:
            note = await _note(ask, ask.number("size"))
        return await _packed(ask, note.encode(), _TEXT)

    async def _proof(self, ask: Ask) -> web.Response:
        log = await ask.log()
        size = ask.number("size", log.size)
        index = ask.number("index")
        note = log.note if size == log.size else await _note(ask, size)
        if index >= size:
            raise refused("no_entry", "Ask for an entry below the size.", index=index, size=size)
        hashes = await ask.shelf.inclusion(ask.origin, index, size)
        return await _packed(ask, Proof(index, tuple(hashes), note).text().encode(), _TEXT)

    async def _peaks(self, ask: Ask) -> web.Response:
        log = await ask.log()
        size = ask.number("size", log.size)
        _check_size("size", size, log)
        hashes = await ask.shelf.peaks(ask.origin, size)
        return await _packed(ask, pages.write_hashes(hashes), _TEXT)

    async def _consistency(self, ask: Ask) -> web.Response:
        log = await ask.log()
        size = ask.number("to", log.size)
        old = ask.number("from")
        _check_size("to", size, log)
        if old > size:
            raise refused("query", "`from` is not beyond `to`.", key="from", value=old)
        hashes = await ask.shelf.consistency(ask.origin, old, size)
        return await _packed(ask, pages.write_hashes(hashes), _TEXT)

    async def _latest(self, ask: Ask) -> web.Response:
        data = None if self._snapshot is None else await self._snapshot(ask.request)
        if data is None:
            raise refused("no_snapshot", "Read the entries from the oldest kept one.")
        return await _packed(ask, data, _JSON)

    # --- taking in -----------------------------------------------------------------------------

    async def _take_receipt(self, ask: Ask) -> web.Response:
        body = await _body(ask.request, NOTE_BYTES_MAX)
        await ask.log()
        instance = pages.read_instance(ask.request.headers.get("Store-Instance", ""))
        try:
            note = body.decode()
        except UnicodeDecodeError:
            raise refused("receipt", "Send a signed note: UTF-8 text.") from None
        await ask.shelf.receive_receipt(ask.origin, note, instance)
        return web.Response(status=204)

    async def _take_entries(self, ask: Ask) -> web.Response:
        # The order of these checks is the format's: what is large, what is foreign, what is none.
        body = await _body(ask.request, pages.BODY_BYTES_MAX)
        if not await pages.knows(ask.shelf, ask.origin):
            raise _unknown(ask.origin)
        push, entries, annexes = pages.read_push(body)
        chunk = Chunk(ask.origin, push.first, entries, push.checkpoint)
        # What is begun is finished, whoever has gone: nothing may be stored and not told.
        storing = asyncio.create_task(self._store(ask, chunk, dict(annexes)))
        self._storing.add(storing)
        storing.add_done_callback(self._stored)
        return _json({"size": (await asyncio.shield(storing)).size})

    def _stored(self, storing: asyncio.Task[Log]) -> None:
        self._storing.discard(storing)
        if not storing.cancelled():
            storing.exception()  # told to the peer, if it still is there

    async def _store(self, ask: Ask, chunk: Chunk, annexes: dict[int, Annex]) -> Log:
        before = await ask.shelf.log(chunk.origin)
        log = await ask.shelf.extend(chunk)
        if annexes:
            await ask.shelf.put_annexes(chunk.origin, tuple(annexes.items()))
        first = max(chunk.first, 0 if before is None else before.size)
        new = [
            Item(index, chunk.entries[index - chunk.first], annexes.get(index))
            for index in range(first, chunk.size)
        ]
        if new and self._arrived is not None:
            await self._arrived(ask.request, chunk.origin, first, new)
        return log


async def _page(ask: Ask, log: Log, start: int, room: int, *, annex: bool) -> list[bytes]:
    """Return the lines of a page: one entry at least, then what fits, to a checkpoint if it can."""
    lines: list[bytes] = []
    if start >= log.size:
        return lines
    count = await ask.shelf.cut(ask.origin, start, pages.PAGE_ENTRIES_MAX, room)
    stop = min(start + min(count, pages.PAGE_ENTRIES_MAX), log.size)
    while (at := start + len(lines)) < stop:
        items = await ask.shelf.read(ask.origin, at, min(at + _READ_ENTRIES, stop))
        if not items or items[0].index != at:  # pruned since we asked
            raise _pruned(ask, await ask.log())
        for item in items:
            line = pages.write_line(item, annex=annex)
            room -= len(line)
            if lines and room < 0:
                return lines
            lines.append(line)
    return lines


async def _note(ask: Ask, size: int) -> str:
    note = await ask.shelf.note(ask.origin, size)
    if note is None:
        raise refused(
            "no_checkpoint", "Ask for a size that a page ended at, or for none.", size=size
        )
    return note


async def _body(request: web.Request, limit: int) -> bytes:
    """Return a body of at most `limit` bytes, as sent and as unpacked."""
    coding = ",".join(request.headers.getall(hdrs.CONTENT_ENCODING, [])).strip().lower()
    if coding not in {"", "identity", "gzip", "deflate", "zstd"}:
        raise refused("coding", "Use zstd, gzip or none.", coding=ascii(coding)[:40])
    if (request.content_length or 0) > limit:
        raise refused("too_large", "Send less at once.", limit=limit)
    data = bytearray()
    while chunk := await request.content.readany():
        data += chunk
        if len(data) > limit:
            raise refused("too_large", "Send less at once.", limit=limit)
    return bytes(data)


async def _packed(ask: Ask, data: bytes, kind: str, tag: str = "") -> web.Response:
    """Return an answer in the coding that is liked best, or 304 where it is held already."""
    coding = pages.choose_coding(",".join(ask.request.headers.getall(hdrs.ACCEPT_ENCODING, [])))
    if coding is None:
        raise refused("not_acceptable", "Accept zstd, gzip or identity.")
    used = coding
    if len(data) >= _THREAD_FROM_BYTES and coding != "identity":
        used, packed = await asyncio.to_thread(pages.pack, coding, data)
    else:
        used, packed = pages.pack(coding, data)
    etag = f"{tag}{hashlib.sha256(data).hexdigest()[:16]}-{used}"
    held = ask.request.if_none_match or ()
    headers = {"Cache-Control": "no-cache", "Vary": "Accept-Encoding"}
    if any(one.value in {etag, "*"} for one in held):
        answer = web.Response(status=304, headers=headers)
    else:
        answer = web.Response(body=packed, content_type=kind, headers=headers)
        if kind == _TEXT:
            answer.charset = "utf-8"
        if used != "identity":
            answer.headers[hdrs.CONTENT_ENCODING] = used
    answer.etag = etag
    return answer


def _refusing(methods: str) -> Handler:
    """Return what answers the methods that a resource does not have."""

    async def refuse(ask: Ask) -> web.Response:
        method = ask.request.method[:20]
        raise refused("method", f"Use {methods}.", method=method, allowed=methods)

    return refuse


async def _nothing_here(ask: Ask) -> web.Response:
    path = ascii(ask.request.path)[:100]
    raise refused("no_resource", "The README of sync names the resources.", path=path)


async def _expect(request: web.Request) -> web.StreamResponse | None:
    """Answer an `Expect` before the body: go on, too large, or not understood."""
    if request.headers.get(hdrs.EXPECT, "").strip().lower() != "100-continue":
        return _refusal(refused("expectation", "Send the body without waiting."))
    if (request.content_length or 0) > pages.BODY_BYTES_MAX:
        return _refusal(refused("too_large", "Send less at once.", limit=pages.BODY_BYTES_MAX))
    if request.version == HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # what follows begins the answer
    return None


def _is_gone(request: web.Request) -> bool:
    return request.transport is None or request.transport.is_closing()


def _check_size(key: str, size: int, log: Log) -> None:
    if size > log.size:
        raise refused("beyond", "This log is shorter here.", key=key, asked=size, size=log.size)


def _unknown(origin: str) -> TheirsInvalid:
    return refused("unknown_origin", "GET /logs names the logs held here.", origin=origin[:255])


def _pruned(ask: Ask, log: Log) -> TheirsInvalid:
    base = ask.request.rel_url.raw_path.partition("/logs/")[0]
    return refused(
        "pruned",
        "Start from the snapshot, and the peaks of its size.",
        oldest=log.oldest,
        size=log.size,
        snapshot=f"{base}/snapshots/latest",
    )


def _refusal(error: SyncError) -> web.Response:
    """Write a refusal; a body that nobody read ends the connection."""
    status, body = pages.refusal(error)
    answer = _json(body, status)
    if status == _UNAVAILABLE:
        answer.headers[hdrs.RETRY_AFTER] = "2"
    if error.code == "exchange.method":
        answer.headers[hdrs.ALLOW] = str(error.evidence["allowed"])
    if error.code in _UNREAD:
        answer.force_close()
    return answer


def _json(body: dict[str, object], status: int = 200) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), status=status, content_type=_JSON)
