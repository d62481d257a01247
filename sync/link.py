"""One session over one WebSocket: what both ends run, whoever dialled.

    summary = await carry(ws, options, shelf, hooks, now_ms=clock.mono_ms, utc_ms=clock.utc_ms)
    redial.tried(began_ms, progress=summary.progress)
    options = msgspec.structs.replace(options, memory=summary.memory, nonce=...)

Open the socket with `WEBSOCKET` (`session.ws_connect(url, **WEBSOCKET)`, and
`web.WebSocketResponse(**WEBSOCKET)`): sizes are bounded, and pongs come to us, because how long a
quiet link lives is learned from them. One task works, one reads and one writes; the queues between
them have an end, and a peer that does not read is closed (`exchange.not_reading`).
"""

import asyncio
import contextlib
import functools
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, TypedDict

import aiohttp
import msgspec
from aiohttp import WSMsgType, web

from sync import exchange
from sync.clerk import Clerk, Deed, Hooks
from sync.errors import StoreFailed
from sync.exchange import Memory
from sync.message import MESSAGE_BYTES_MAX
from sync.redial import IdleTime
from sync.session import Counters, Session
from sync.shelf import Log, Shelf
from sync.terms import Options

Socket = web.WebSocketResponse | aiohttp.ClientWebSocketResponse

INBOX: Final = 32
OUTBOX_BYTES_MAX: Final = 1 << 20
PONG_MS: Final = 30_000
WATCH_S: Final = 5.0
"""Other logs than the own ones are looked at so often: they grow by another bearer only."""
BEYOND_S: Final = 55.0
CLOSE_S: Final = 2.0
NOTSENT_BYTES: Final = 16 * 1024
USER_TIMEOUT_MS: Final = 120_000

_GONE: Final = "gone"
_DEAD: Final = "exchange.dead"
_LOST: Final = (ConnectionError, aiohttp.ClientError, RuntimeError)
"""What aiohttp raises on a socket that is closed."""


class _WebSocketOptions(TypedDict):
    autoping: bool
    max_msg_size: int


WEBSOCKET: Final[_WebSocketOptions] = {"autoping": False, "max_msg_size": MESSAGE_BYTES_MAX}


class Summary(msgspec.Struct, frozen=True):
    """How a link ended. `memory` is for the next one with this peer.

    `reason`: `gone` (the peer or the way), `stopped` (by us), `exchange.dead` (a ping was not
    answered), or the code that the session closed with; `theirs`: the peer broke a rule.
    """

    reason: str
    theirs: bool
    evidence: Mapping[str, object]
    counters: Counters
    memory: Memory

    @property
    def progress(self) -> bool:
        """Whether anything of a segment came, or arrived there: a part counts, it is kept."""
        return self.counters.moved > 0


async def carry(
    ws: Socket,
    options: Options,
    shelf: Shelf,
    hooks: Hooks,
    *,
    now_ms: Callable[[], int],
    utc_ms: Callable[[], int] = lambda: 0,
    idle: IdleTime | None = None,
    stop: asyncio.Event | None = None,
) -> Summary:
    """Run one session until the link ends, and close it. Raises what a hook raises.

    `now_ms` is monotonic. Set `stop` to end it politely; to cancel loses the memory.
    """
    session = Session(options)
    link = _Link(ws, session, shelf, now_ms=now_ms, idle=idle or IdleTime())
    clerk = Clerk(session, shelf, hooks, now_ms)
    _tune(ws)
    tasks = [link.spawn(link.reads), link.spawn(link.writes), link.spawn(link.watches)]
    if stop is not None:
        tasks.append(link.spawn(lambda: link.stops(stop)))
    try:
        await link.works(clerk, annexes=options.annexes, time_ms=max(utc_ms(), 0))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await link.closes()
    if link.bug is not None:
        raise link.bug
    return Summary(link.reason, link.theirs, link.evidence, session.counters, session.memory())


class _Link:
    """The state that the tasks share. Only `works` touches the session."""

    def __init__(
        self,
        ws: Socket,
        session: Session,
        shelf: Shelf,
        *,
        now_ms: Callable[[], int],
        idle: IdleTime,
    ) -> None:
        self.reason = ""
        self.theirs = False
        self.evidence: Mapping[str, object] = {}
        self.bug: Exception | None = None
        self._ws = ws
        self._session = session
        self._shelf = shelf
        self._now_ms = now_ms
        self._idle = idle
        self._inbox: asyncio.Queue[bytes | Log | None] = asyncio.Queue(INBOX)
        self._lost = ""
        self._outbox: deque[bytes] = deque()
        self._outbox_bytes = 0
        self._more = asyncio.Event()
        self._wake_ms: int | None = None
        self._heard_ms = now_ms()
        self._pinged_ms: int | None = None

    # --- the tasks ------------------------------------------------------------------------------

    def spawn(self, work: Callable[[], Coroutine[Any, Any, None]]) -> asyncio.Task[None]:
        """Run a task whose end is the end of the link."""
        return asyncio.ensure_future(self._guard(work))

    async def _guard(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        try:
            await work()
        except _LOST:
            self._lose(_GONE)
        except StoreFailed as error:
            self._lose(error.code)
        except Exception as error:  # noqa: BLE001  # kept, and raised by `carry`
            self.bug = error
            self._lose(_GONE)

    async def reads(self) -> None:
        """Put what comes into the inbox; a full one makes the peer wait."""
        while True:
            message = await self._ws.receive()
            self._heard_ms = self._now_ms()
            if message.type is WSMsgType.BINARY:
                await self._inbox.put(message.data)
            elif message.type is WSMsgType.PING:
                await self._ws.pong(message.data)
            elif message.type is WSMsgType.PONG:
                if self._pinged_ms is not None:
                    self._pinged_ms = None
                    self._idle.survived()
                    await self._inbox.put(None)
            else:
                self._lose(_reason(message))
                return

    async def writes(self) -> None:
        """Send what is in the outbox, in order."""
        while True:
            await self._more.wait()
            self._more.clear()
            while self._outbox:
                data = self._outbox.popleft()
                self._outbox_bytes -= len(data)
                await self._ws.send_bytes(data)

    async def stops(self, stop: asyncio.Event) -> None:
        """End when the owner says so."""
        await stop.wait()
        self._lose("stopped")

    async def watches(self) -> None:
        """Tell the session of every log that grows, whoever appended to it."""
        sizes: dict[str, int] = {}
        watched: dict[str, asyncio.Task[None]] = {}
        try:
            while True:
                for log in await self._shelf.logs():
                    if sizes.get(log.origin, -1) < log.size:
                        sizes[log.origin] = log.size
                        await self._inbox.put(log)
                    if log.own and log.origin not in watched:
                        watched[log.origin] = self.spawn(functools.partial(self._watches, log))
                await asyncio.sleep(WATCH_S)  # a look at the shelf, not a retry
        finally:
            for task in watched.values():
                task.cancel()
            await asyncio.gather(*watched.values(), return_exceptions=True)

    async def _watches(self, log: Log) -> None:
        size = log.size
        while True:
            grown = await self._shelf.beyond(log.origin, size, BEYOND_S)
            if grown is not None and grown.size > size:
                size = grown.size
                await self._inbox.put(grown)

    async def works(self, clerk: Clerk, *, annexes: bool, time_ms: int) -> None:
        """Do what the session says until it ends."""
        try:
            await self._do(clerk, await clerk.start(annexes=annexes, time_ms=time_ms))
            while not self.reason:
                deeds = await self._next()
                await clerk.greet()
                await self._do(clerk, deeds)
        except StoreFailed as error:
            await self._do(clerk, self._session.refused("", error.code, {}, self._now_ms()))

    async def closes(self) -> None:
        """Send what is left to say, and close."""
        code = aiohttp.WSCloseCode.POLICY_VIOLATION if self.theirs else aiohttp.WSCloseCode.OK
        with contextlib.suppress(TimeoutError, *_LOST):
            async with asyncio.timeout(CLOSE_S):
                while self._outbox and self.reason not in {_GONE, _DEAD}:
                    await self._ws.send_bytes(self._outbox.popleft())
                await self._ws.close(code=code, message=self.reason.encode())

    # --- one step -------------------------------------------------------------------------------

    async def _next(self) -> Sequence[Deed]:
        """Wait for something to happen, and return what the session makes of it."""
        if self._lost and self._inbox.empty():
            return self._over(self._lost)
        try:
            async with asyncio.timeout(max(self._next_ms() - self._now_ms(), 0) / 1000):
                event = await self._inbox.get()
        except TimeoutError:
            self._wake_ms = None  # the session says anew when it wants to be woken
            await self._pings()
            return self._session.tick(self._now_ms())
        if isinstance(event, bytes):
            return self._session.receive(event, self._now_ms())
        return () if event is None else self._session.appended(event, self._now_ms())

    def _over(self, why: str) -> Sequence[Deed]:
        if why == _GONE and self._pinged_ms is not None:
            self._idle.died()
        if why.startswith("store."):
            return self._session.refused("", why, {}, self._now_ms())
        self._ends(why, theirs=why.startswith("exchange."))
        return ()

    def _lose(self, why: str) -> None:
        """No more will come: end once everything that came is done."""
        self._lost = self._lost or why
        with contextlib.suppress(asyncio.QueueFull):
            self._inbox.put_nowait(None)

    def _next_ms(self) -> int:
        pinged = self._pinged_ms
        quiet = self._heard_ms + self._idle.ms if pinged is None else pinged + PONG_MS
        return quiet if self._wake_ms is None else min(self._wake_ms, quiet)

    async def _pings(self) -> None:
        """Ping after a silence; end the link if the last ping was not answered."""
        now_ms = self._now_ms()
        if self._pinged_ms is not None:
            if now_ms >= self._pinged_ms + PONG_MS:
                self._idle.died()
                self._ends(_DEAD)
        elif now_ms >= self._heard_ms + self._idle.ms:
            self._pinged_ms = now_ms
            with contextlib.suppress(*_LOST):
                await self._ws.ping()

    def _ends(
        self, reason: str, *, theirs: bool = False, evidence: Mapping[str, object] | None = None
    ) -> None:
        if not self.reason:
            self.reason, self.theirs, self.evidence = reason, theirs, evidence or {}

    async def _do(self, clerk: Clerk, deeds: Sequence[Deed]) -> None:
        """Do what is to be done in order, and what follows from it after that."""
        pending = deque(deeds)
        while pending:
            deed = pending.popleft()
            match deed:
                case exchange.Send(data):
                    self._sends(data)
                case exchange.Wake(at_ms):
                    self._wake_ms = at_ms
                case exchange.Close(code, evidence, theirs):
                    self._ends(code, theirs=theirs, evidence=evidence)
                case _:
                    pending.extend(await clerk.act(deed))

    def _sends(self, data: bytes) -> None:
        self._outbox.append(data)
        self._outbox_bytes += len(data)
        self._more.set()
        if self._outbox_bytes > OUTBOX_BYTES_MAX:
            self._ends("exchange.not_reading", theirs=True)


def _reason(message: aiohttp.WSMessage) -> str:
    """Return why nothing more is read."""
    error = message.data
    if isinstance(error, aiohttp.WebSocketError):
        too_big = error.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG
        return "exchange.message_size" if too_big else "exchange.message"
    return "exchange.message" if message.type is WSMsgType.TEXT else _GONE


def _tune(ws: Socket) -> None:
    """Keep the kernel's queue short, and let it give up on a dead way; where it has such a knob."""
    sock: Any = ws.get_extra_info("socket")
    if sock is None:
        return
    knobs = (("TCP_NOTSENT_LOWAT", NOTSENT_BYTES), ("TCP_USER_TIMEOUT", USER_TIMEOUT_MS))
    for name, value in knobs:
        option = getattr(socket, name, None)
        if option is not None:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
