"""The figures sync.catchup and sync.alarm: two real sessions on a thin link in virtual time.

Every message takes its turn on the link (rate), then its delay; at a cut what is under way is lost
and a new link begins when the way is back: dialling costs two round trips (TCP, WebSocket), no
dice. Processors cost nothing here; `sync.codec` says what they cost. Bytes count when they leave,
whether they arrive or not.
"""

import asyncio
import contextlib
import random
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any, Final

import aiohttp
from aiohttp import web

from sync import canonical, facts, link
from sync.clerk import Hooks
from sync.exchange import Memory
from sync.terms import Options
from tests.bench import sync_bytes, workload
from tests.pair import SITE, End, log_of
from tests.thinlink import ThinLink

Figure = dict[str, Any]
ENTRIES: Final = 10_000
RTT_MS: Final = 600
STEP_MS: Final = 10
MESSAGE_BYTES: Final = 8
"""What WebSocket and TLS add to a message, about."""
DIAL_MS: Final = 2 * RTT_MS
SEEDS: Final = (1, 2, 3, 4, 5)
ALARM_SEEDS: Final = tuple(range(1, 9))
URGENT: Final = log_of(SITE, "urgent", workload.EPOCH)


class Line:
    """A link of so many bytes a second each way, up and down by turns (always up where 0)."""

    def __init__(
        self,
        site: End,
        hub: End,
        bytes_s: int,
        *,
        up_ms: int = 0,
        down_ms: int = 0,
        at_ms: int = 0,
        dial_ms: int = DIAL_MS,
    ) -> None:
        self.ends = site, hub
        self.sent = 0
        self.up_for_ms = 0
        self._bytes_s, self._up_ms, self._down_ms = bytes_s, up_ms, down_ms
        self.began_ms = self.now_ms = max(site.now_ms, hub.now_ms)
        self._phase_ms, self._dial_ms = at_ms, dial_ms
        self._talks_at: int | None = None
        self._talking = False
        self._waiting: tuple[deque[bytes], deque[bytes]] = (deque(), deque())
        self._left = [0, 0]
        self._under_way: tuple[deque[tuple[int, bytes]], ...] = (deque(), deque())
        self._room = [0.0, 0.0]

    def step(self) -> None:
        """A moment passes."""
        self.now_ms += STEP_MS
        for end in self.ends:
            end.now_ms = self.now_ms
        if not self._is_up():
            self._cut()
            return
        self.up_for_ms += STEP_MS
        if self._talks_at is None:
            self._talks_at = self.now_ms + self._dial_ms
        if self.now_ms < self._talks_at:
            return
        if not self._talking:
            self._talking = True
            for end in self.ends:
                end.begin(self.now_ms)
        for side in (0, 1):
            self._carry(side)
        for end in self.ends:
            if end.wake_at is not None and end.wake_at <= self.now_ms:
                end.tick(self.now_ms)

    def _is_up(self) -> bool:
        whole = self._up_ms + self._down_ms
        at_ms = self.now_ms - self.began_ms + self._phase_ms
        return not self._down_ms or at_ms % whole < self._up_ms

    def _cut(self) -> None:
        if self._talking:
            for end in self.ends:
                end.end()
        self._talking, self._talks_at = False, None
        for side in (0, 1):
            self._waiting[side].clear()
            self._under_way[side].clear()
            self.ends[side].outbox = []
            self._left[side], self._room[side] = 0, 0.0

    def _carry(self, side: int) -> None:
        """Send what there is time for, and deliver what has come."""
        end, other, waiting = self.ends[side], self.ends[1 - side], self._waiting[side]
        waiting.extend(end.outbox)
        end.outbox = []
        room = self._room[side] + self._bytes_s * STEP_MS / 1000
        while waiting and room > 0:
            self._left[side] = self._left[side] or len(waiting[0]) + MESSAGE_BYTES
            gone = min(int(room), self._left[side])
            if not gone:
                break
            room, self.sent = room - gone, self.sent + gone
            self._left[side] -= gone
            if not self._left[side]:
                self._under_way[side].append((self.now_ms + RTT_MS // 2, waiting.popleft()))
        self._room[side] = room if waiting else 0.0
        arriving = self._under_way[side]
        while arriving and arriving[0][0] <= self.now_ms:
            other.receive(arriving.popleft()[1])

    def until(self, true: Callable[[], bool], most_ms: int = 3_600_000) -> int:
        """Run until something holds; return the time since the beginning."""
        while not true():
            self.step()
            assert self.now_ms - self.began_ms < most_ms, "it takes for ever"
        return self.now_ms - self.began_ms


def _backlog(options: dict[str, Any]) -> tuple[End, End]:
    items = workload.backlog(ENTRIES)
    site, hub = sync_bytes.ends(items, **options)
    sync_bytes.append(site, items)
    site.memory = hub.memory = Memory()  # that link was of another world
    return site, hub


def catchup(seed: int, dial_ms: int = DIAL_MS, **options: Any) -> tuple[int, int, int]:
    """Return (time in all, time the link was up, bytes sent) until the hub holds everything."""
    site, hub = _backlog(options)
    at_ms = random.Random(seed).randrange(10_000)
    line = Line(site, hub, 8_000, up_ms=5_000, down_ms=5_000, at_ms=at_ms, dial_ms=dial_ms)
    took = line.until(lambda: _same(site, hub))
    return took, line.up_for_ms, line.sent


def alarms(seed: int, **options: Any) -> list[int]:
    """Return how long alarms took that were raised behind the backlog."""
    site, hub = _backlog(options)
    dice = random.Random(seed)
    line = Line(site, hub, 2_000)
    custody = log_of(SITE, "custody", workload.EPOCH)
    size = len(site.shelf.held[custody].entries)
    raised: deque[tuple[int, int]] = deque()
    took: list[int] = []
    next_at = line.now_ms + dice.randrange(4_000, 8_000)
    while len(hub.shelf.held[custody].entries) < size or raised:
        line.step()
        if line.now_ms >= next_at and len(hub.shelf.held[custody].entries) < size:
            site.write(URGENT, _alarm(line.now_ms, dice))
            raised.append((len(site.shelf.held[URGENT].entries), line.now_ms))
            next_at = line.now_ms + dice.randrange(1_500, 4_000)
        while raised and len(hub.shelf.held[URGENT].entries) >= raised[0][0]:
            took.append(line.now_ms - raised.popleft()[1])
    return took


def _alarm(now_ms: int, dice: random.Random) -> bytes:
    fact = facts.AlarmRaised(alarm="door.forced", door=dice.randint(1, 96))
    return canonical.encode(facts.to_object(fact) | {"at": [1, now_ms]})


def figure_of_catchup() -> Iterator[Figure]:
    """Measure both cuts, without annexes and with them."""
    for kib in (16, 64):
        for annexes in (False, True):
            options = {"annexes": annexes, "segment_bytes": kib * 1024}
            least = sync_bytes.contact(ENTRIES, **options)
            runs = [catchup(seed, **options) for seed in SEEDS]
            quick = statistics.median(catchup(seed, 0, **options)[0] for seed in SEEDS)
            took, up, sent = (statistics.median(run[at] for run in runs) for at in (0, 1, 2))
            # Up half of the time: so long the same bytes take if nothing is ever lost or waited for
            limit = least / 8_000 * 2
            wasted = [100 * (run[2] - least) / run[2] for run in runs]
            yield {
                "name": "sync.catchup", "ours": round(took / 1000, 1), "limit": round(limit, 1),
                "ratio": round(took / 1000 / limit, 2), "unit": "s",
                "goal": "<= 30 s, <= 15 % wasted",
                "how": f"{ENTRIES} entries, segments of {kib} KiB,"
                f" {'with' if annexes else 'without'} annexes; median of {len(SEEDS)} seeds,"
                f" slowest {max(run[0] for run in runs) / 1000:.1f} s; up {up / 1000:.1f} s,"
                f" {sent} bytes sent of which {statistics.median(wasted):.1f} % wasted; limit:"
                f" {least} bytes of one link at the capacity of the up-time; if dialling were free"
                f" {quick / 1000:.1f} s",
            }  # fmt: skip


def figure_of_alarm() -> Iterator[Figure]:
    """Measure alarms at both cuts."""
    for kib in (16, 64):
        took = sorted(ms for seed in ALARM_SEEDS for ms in alarms(seed, segment_bytes=kib * 1024))
        p99 = took[len(took) * 99 // 100]
        yield {
            "name": "sync.alarm", "ours": p99 / 1000, "limit": RTT_MS / 1000,
            "ratio": round(p99 / RTT_MS, 2), "unit": "s", "goal": "p99 <= RTT + 2 s",
            "how": f"{len(took)} alarms, segments of {kib} KiB, until the hub has stored it; median"
            f" {took[len(took) // 2] / 1000} s, longest {took[-1] / 1000} s",
        }  # fmt: skip


def _mono_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _same(site: End, hub: End) -> bool:
    """Whether the hub has all that the site wrote."""
    return all(
        name in hub.shelf.held and len(hub.shelf.held[name].entries) == len(held.entries)
        for name, held in site.shelf.held.items()
        if held.entries
    )


async def real_catchup() -> tuple[float, int, int]:
    """Return (seconds, cuts, bytes through) of one catch-up over real sockets and a real clock."""
    site, hub = _backlog({"annexes": False})
    ends = {"site": site, "hub": hub}
    memory = dict.fromkeys(ends, Memory())

    async def carried(name: str, ws: link.Socket) -> None:
        end = ends[name]
        options = Options(
            side=end.side, instance=end.shelf.instance, nonce=bytes(8), annexes=False,
            accepts=lambda origin: "/0042/" in origin, memory=memory[name],
        )  # fmt: skip
        summary = await link.carry(ws, options, end.shelf, Hooks(), now_ms=_mono_ms)
        memory[name] = summary.memory

    async def answer(request: web.Request) -> web.WebSocketResponse:
        ws = web.WebSocketResponse(**link.WEBSOCKET)
        await ws.prepare(request)
        await carried("hub", ws)
        return ws

    async def dials(http: aiohttp.ClientSession, port: int) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError):
                url = f"http://127.0.0.1:{port}/link"
                async with http.ws_connect(url, **link.WEBSOCKET) as ws:
                    await carried("site", ws)

    app = web.Application()
    app.router.add_get("/link", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    thin = ThinLink(runner.addresses[0], rate=8_000, rtt_s=0.6, up_s=5, down_s=5)
    async with aiohttp.ClientSession() as http, thin.open():
        began = time.monotonic()
        dialling = asyncio.create_task(dials(http, thin.port))
        while not _same(site, hub):  # noqa: ASYNC110  # two shelves and a clock
            await asyncio.sleep(0.05)
        took = time.monotonic() - began
        dialling.cancel()
        await asyncio.gather(dialling, return_exceptions=True)
    await runner.cleanup()
    return took, thin.cuts, thin.bytes_carried


def figure_of_real_catchup() -> Iterator[Figure]:
    """Measure one run that takes its time: the machine, aiohttp and the relay included."""
    limit = sync_bytes.contact(ENTRIES, annexes=False) / 8_000 * 2
    took, cuts, carried = asyncio.run(real_catchup())
    yield {
        "name": "sync.catchup.real", "ours": round(took, 1), "limit": round(limit, 1),
        "ratio": round(took / limit, 2), "unit": "s", "goal": "as in virtual time",
        "how": "one run over sockets and tests/thinlink.py (where TCP connects at once), without"
        f" annexes; begins with 5 s up,"
        f" {cuts} cuts, {carried} bytes came through; limit: capacity of the up-time",
    }  # fmt: skip


FIGURES: dict[str, Callable[[], Iterator[Figure]]] = {
    "sync.alarm": figure_of_alarm,
    "sync.catchup": figure_of_catchup,
    "sync.catchup.real": figure_of_real_catchup,
}
