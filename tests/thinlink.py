"""A thin link between two processes: a TCP relay with a rate, a delay, and hours when it is down.

For people without root, and for every test that needs no packets: bytes are delayed, slowed and
cut, each way by itself; what was under way at a cut is lost, as a modem loses it. While the link is
down a new connection is accepted and nothing answers, as behind a dead cell; `hole` keeps the old
ones open too (half-open: what they lost never comes again), otherwise they are reset.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator

CHUNK = 512


class ThinLink:
    """Relays `listen` to `target`. `bytes_carried` counts what came through, both ways."""

    def __init__(
        self,
        target: tuple[str, int],
        *,
        rate: float = 0.0,
        rtt_s: float = 0.0,
        up_s: float = 0.0,
        down_s: float = 0.0,
        hole: bool = False,
    ) -> None:
        self.target, self.rate, self.rtt_s = target, rate, rtt_s
        self.up_s, self.down_s, self.hole = up_s, down_s, hole
        self.carried: Counter[str] = Counter()
        self.cuts = 0
        self.up = asyncio.Event()
        self.up.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._free_at = {"to": 0.0, "from": 0.0}
        self._server: asyncio.Server
        self._beating: asyncio.Task[None] | None = None

    @property
    def port(self) -> int:
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def bytes_carried(self) -> int:
        return sum(self.carried.values())

    @contextlib.asynccontextmanager
    async def open(self, port: int = 0) -> AsyncIterator["ThinLink"]:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port)
        if self.up_s:
            self._beating = asyncio.create_task(self._beat())
        try:
            yield self
        finally:
            if self._beating is not None:
                self._beating.cancel()
            self._server.close()
            self.cut()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """The link goes down: what is under way is lost."""
        self.up.clear()
        self.cuts += 1
        if not self.hole:
            for writer in list(self._writers):
                writer.transport.abort()

    def mend(self) -> None:
        """The link is up again."""
        self.up.set()

    def steady(self) -> None:
        """The link is up, and stays up."""
        if self._beating is not None:
            self._beating.cancel()
        self.mend()

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self.up_s)
            self.cut()
            await asyncio.sleep(self.down_s)
            self.mend()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        far: asyncio.StreamWriter | None = None
        try:
            await self.up.wait()
            there, far = await asyncio.open_connection(*self.target)
            self._writers.add(far)
            await asyncio.gather(self._pump("to", reader, far), self._pump("from", there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for end in (writer, far):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()
            self._tasks.discard(task)

    async def _pump(
        self, way: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Carry bytes one way: each waits for its turn on the link, then for its delay."""
        loop = asyncio.get_running_loop()
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)

        async def deliver() -> None:
            lost = False
            while True:
                due, data = await queue.get()
                await asyncio.sleep(max(0.0, due - loop.time()))
                # A stream has no holes: what follows lost bytes is lost too, its end included.
                lost = lost or not self.up.is_set()
                if not data and not (lost and self.hole):
                    writer.transport.abort()
                    return
                if data and not lost:
                    self.carried[way] += len(data)
                    writer.write(data)
                    await writer.drain()

        delivering = asyncio.create_task(deliver())
        try:
            while data := await reader.read(CHUNK):
                now = loop.time()
                took = len(data) / self.rate if self.rate else 0.0
                self._free_at[way] = max(now, self._free_at[way]) + took
                await asyncio.sleep(max(0.0, self._free_at[way] - now))
                await queue.put((loop.time() + self.rtt_s / 2, data))
            await queue.put((loop.time() + self.rtt_s / 2, b""))
            await delivering
        finally:
            delivering.cancel()
