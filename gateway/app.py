"""The wiring: the only place that knows all concrete rooms, and what follows the end of a life.

    lock -> clock -> kiosk and control listen -> [store -> recover -> boards -> live] -> ...

A full disk ends a life; the next one begins when the store opens again. Another map ends a life
too. Any other trouble of the disk ends the process, so that systemd starts a new one, which reads
what is durable. A bug does the same, with its traceback.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Final

from aiohttp import web

from certs.errors import CertsError
from gateway import continuity, exchange, health, identity, logs, site, systemd, wiping
from gateway.bank import Bank
from gateway.boards import Boards
from gateway.clock import Clock
from gateway.commissioning.bench import APART, Bench
from gateway.commissioning.place import Place
from gateway.config import Config
from gateway.continuity import Witness
from gateway.control import SOCKET, Control
from gateway.core.engine import Engine
from gateway.core.outputs import Output
from gateway.desk import Desk
from gateway.errors import GatewayError
from gateway.exchange import Exchange
from gateway.keeping import Keeper
from gateway.runtime import End, Life
from gateway.upkeep import Upkeep
from gateway.web.installer.kiosk import add_to as pairing_at_kiosk
from gateway.web.installer.office import Site as LanSite
from gateway.web.installer.serving import Serving
from gateway.web.kiosk import make_app
from gateway.wired import Known
from sync.book import Book
from sync.errors import StoreFailed
from sync.sitemap import SiteMap
from sync.store import Store

FULL_WAIT_S: Final = (5.0, 10.0, 20.0, 40.0, 60.0)
"""How long to wait for room on the disk, each time; the last one repeats."""

_log = logs.get("app")


class App:
    """One process of one site. `run` returns the exit status; `stop` ends it."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.data = Path(config.data_dir)
        self.who = site.load(self.data)
        identity.check_keys(self.data)
        self.database = identity.database_of(self.data)
        self.stopping = asyncio.Event()
        self.kiosk_url = ""
        self._life: Life | None = None
        self._bank: Bank | None = None
        self._clock: Clock
        self._desk: Desk
        self._exchange: Exchange
        self._keeper: Keeper
        self._installers: Serving
        self._bench: Bench
        self._looking: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """End: all coils off, log closed, within two seconds."""
        self.stopping.set()

    async def run(self) -> int:
        """Run until stopped; 0, or 1 when the disk is broken. Raises GatewayError, StoreFailed."""
        with site.locked(self.data):
            self._clock = site.start_clock(self.data)
            self._desk = Desk(self.config.kiosk.kiosks, self._clock.now)
            self._exchange = Exchange(self.config, self.data, self.who.name, self._clock)
            self._keeper = Keeper(self.data, self._clock, self._desk.ask, self.stop)
            self._bench = self._make_bench()
            lan = LanSite(
                now=self._clock.now,
                ask=self._desk.ask,
                status=self.status,
                tell=self._desk.tell_access,
                bench=self._bench,
                upkeep=Upkeep(self.config, self.data, self._known),
            )
            self._installers = Serving(self.config, self.data, lan)
            self._desk.carried = self._carried
            self._desk.pairing = lambda asked: self._installers.open_at(asked.kiosk, asked.by)
            async with (
                self._listening(),
                self._exchange.listening(),
                self._installers.listening(),
            ):
                pulse = asyncio.create_task(_signs_of_life())
                try:
                    status = await self._live_on()
                finally:
                    pulse.cancel()
                    self._desk.close("site.stopping")
                    _log.info("site.stopped")
            # Nothing where nobody has ended this site for good.
            await asyncio.to_thread(wiping.finish, self.data)
            return status

    def _carried(self, text: str) -> None:
        """A visitor's device carried denials in: look at one list at a time."""
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._take_denials(text))

    async def _take_denials(self, text: str) -> None:
        try:
            newer = await self._exchange.take_denials(text)
        except (CertsError, GatewayError) as error:
            _log.warning("denials.refused", code=error.code)
            self._desk.tell_access("denials", "visitor", error.code)
        else:
            _log.info("denials.carried", newer=newer)

    async def _live_on(self) -> int:
        tried = 0
        while not self.stopping.is_set():
            try:
                end = await self._live()
            except StoreFailed as error:
                if error.reason != "full":
                    raise
                end = End.FULL
            else:
                tried = 0
            _log.info("life.ended", end=end.value)
            match end:
                case End.STOPPED:
                    return 0
                case End.BROKEN:
                    return 1
                case End.MAP | End.EPOCH | End.HISTORY | End.KEYS | End.BENCH:
                    self._desk.close("site.starting")
                case End.FULL:
                    self._desk.close("log.full")
                    wait_s = FULL_WAIT_S[min(tried, len(FULL_WAIT_S) - 1)]
                    tried += 1
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(wait_s):
                            await self.stopping.wait()
        return 0

    async def _live(self) -> End:
        await self._exchange.ask_first()
        await self._keeper.end_overlap()
        over = await asyncio.to_thread(continuity.broken, self.data)
        if over:
            await asyncio.to_thread(continuity.begin_epoch, self.data)
            epoch = identity.load_names(self.data).epoch
            _log.error("epoch.begins", epoch=epoch, why=over)
        self.who = await asyncio.to_thread(site.load, self.data)
        ring, cosigners = exchange.keys(self.config, self.who, self.data, self._exchange.wire.trust)
        store = await Store.open(self.database, self.who.identity, ring=ring, cosigners=cosigners)
        try:
            chosen = site.settings(
                self.who,
                self.config.kiosk.kiosks,
                governed=self._exchange.governed,
                **self.config.timing.chosen(),
            )
            engine, begun = await asyncio.to_thread(site.replayed, self.data, chosen, self._clock)
            if site.needs_beginning(engine):
                # A new epoch; or power was lost before `init` could write the first entry.
                answer = await site.begin_log(engine, store, self._clock, self.data)
                _log.info("epoch.begun", entry=answer.ref, code=answer.code or None)
            if over:
                await store.renew_instance()
            await store.mark_boot(self._clock.boot)
            self._bear_witness(store)
            continuity.clear_mark(self.data)
            on_bench = self._bench.wanted
            here = SiteMap() if on_bench else engine.state.book.map
            bank = Bank(here, self.config.lines)
            self._bank = bank
            await bank.open()
            try:
                self._life = self._make_life(engine, begun, store, bank, here, on_bench=on_bench)
                return await self._life.run(self.stopping, self._ready)
            finally:
                self._life, self._bank = None, None
                self._exchange.over()
                self._keeper.end_life()
                await bank.close()
                self._bear_witness(store)
        finally:
            await store.close()

    def _make_life(
        self,
        engine: Engine,
        begun: list[Output],
        store: Store,
        bank: Bank,
        here: SiteMap,
        *,
        on_bench: bool,
    ) -> Life:
        """Return a life with the boards of `here`: none while an installer has them."""
        clock, timing = self._clock, self.config.timing

        async def bench(life: Life) -> None:
            await self._bench.beside(lambda: life.finish(End.BENCH), lent=on_bench)

        return Life(
            engine,
            begun,
            clock=clock,
            store=store,
            desk=self._desk,
            boards=lambda post: Boards(here, bank.ports, timing, post=post, now=clock.now),
            measure=self._measure,
            beside=[*self._exchange.beside(store), self._keeper.begin_life(store), bench],
            apart=APART if on_bench else "",
        )

    def _make_bench(self) -> Bench:
        """Return where installers work at the boards: it outlives every life."""
        return Bench(
            self.data,
            Place(
                site=self.who.name,
                now=self._clock.now,
                ask=self._desk.ask,
                tell=self._desk.tell_access,
                book=self._book,
                apart=self._desk.keep_apart,
                machine=self._condition,
                lines=self.config.lines,
            ),
        )

    def _book(self) -> Book:
        """Return the book as it stands. GatewayError `site.closed` between two lives."""
        if self._life is None:
            raise GatewayError("site.closed", "Wait until this site is in service again")
        return self._life.engine.state.book

    async def _condition(self) -> dict[str, object]:
        """Return what a proof says of the machine: disk, flush, clock, link."""
        measured = await asyncio.to_thread(health.machine, self.data, self.database)
        flush_ms = await asyncio.to_thread(health.flush_ms, self.data)
        hub = self._exchange.status().get("hub")
        up = bool(hub.get("up")) if isinstance(hub, dict) else None
        return measured | {
            "flush_us": round(flush_ms * 1000),
            "clock": self._clock.now().trust.value,
            "hub_up": up,
        }

    def _bear_witness(self, store: Store) -> None:
        """Remember beside the database how far it has come."""
        names = identity.load_names(self.data)
        lanes = zip(continuity.lanes(names), store.sizes.values(), strict=True)
        boot = self._clock.boot
        continuity.write_witness(self.data, Witness(store.instance, boot, dict(lanes)))

    def _ready(self) -> None:
        doors = len(self._life.engine.state.book.map.doors) if self._life else 0
        _log.info("site.ready", site=self.who.name, kiosk=self.kiosk_url, doors=doors)
        systemd.notify("READY=1")

    # --- listeners ----------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _listening(self) -> AsyncIterator[None]:
        """Serve the kiosk on loopback and local control on its socket."""
        control = Control(
            self._keeper.ask, self.status, self._clock.now, self._installers.command, self._bench
        )
        page = pairing_at_kiosk(make_app(self._desk), self._desk, self._installers.shown_at)
        runner = web.AppRunner(page, access_log=None, handle_signals=False, shutdown_timeout=0.5)
        await runner.setup()
        try:
            where = self.config.kiosk
            listener = web.TCPSite(runner, where.host, where.port)
            try:
                await listener.start()
            except OSError as error:
                raise GatewayError(
                    "kiosk.unavailable",
                    "Stop what listens there, or choose another port",
                    listen=where.listen,
                    errno=error.errno,
                ) from error
            host, port = runner.addresses[0][:2]
            self.kiosk_url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"
            await control.start(self.data / SOCKET)
            yield
        finally:
            await control.close()
            await runner.cleanup()

    def status(self) -> Mapping[str, object]:
        """Return what `locker-gateway status` shows."""
        told: dict[str, object] = {
            "site": self.who.name,
            "epoch": self.who.identity.epoch,
            "kiosk": self.kiosk_url,
            "health": dict(self._desk.health()),
        }
        if self._bench.wanted:
            told["commissioning"] = True
        life, bank = self._life, self._bank
        if life is not None:
            book = life.engine.state.book
            looks = life.engine.state.seen
            seen = {door: (look.open, look.occupied) for door, look in looks.items()}
            told |= {
                "doors": health.doors(book, seen),
                "alarms": health.alarms(book),
                "boards": dict(life.boards.counters),
            }
        if bank is not None:
            told["lines"] = bank.health()
        told |= self._exchange.status() | self._installers.status()
        return told

    def _known(self) -> Known:
        """Return what the book of this life says of the bank; nothing between two lives."""
        return Known() if self._life is None else Known.of(self._life.engine.state.book)

    def _measure(self, life: Life) -> dict[str, int]:
        values = health.machine(self.data, self.database)
        values |= health.site(life.engine.state.book, life.boards.counters)
        return values | health.lines({} if self._bank is None else self._bank.health())


async def _signs_of_life() -> None:
    every_s = systemd.watchdog_s()
    while every_s is not None:
        systemd.notify("WATCHDOG=1")
        await asyncio.sleep(every_s)


def run(config: Config, ready: Callable[[App], None] | None = None) -> int:
    """Run a site in this process until SIGTERM or SIGINT; return the exit status."""

    async def main() -> int:
        app = App(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, app.stop)
        if ready is not None:
            ready(app)
        return await app.run()

    return asyncio.run(main())
