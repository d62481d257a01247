"""The process: storage, listener, and an end within two seconds of SIGTERM.

    keys -> storage -> sign what a crash left -> listen -> ready -> ... -> stop listening -> close

Nothing has to be saved at the end: whatever was answered is durable already.
"""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import web

from sync.errors import StoreFailed, TheirsInvalid
from sync.hub import api, logs, systemd
from sync.hub.api_read import listening
from sync.hub.config import Config, loopback
from sync.hub.puller import Puller
from sync.hub.rooms import Hub, opened

SHUTDOWN_S: Final = 0.5
"""How long requests under way may take once the hub is to stop."""

PULL_AGAIN_S: Final = 5.0

_log = logs.get("app")


class App:
    """One process of one hub. `run` returns when `stop` was called."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.stopping = asyncio.Event()
        self.url = ""
        self.hub: Hub | None = None

    def stop(self) -> None:
        """End: no new request, storage closed, within two seconds."""
        self.stopping.set()

    async def run(self, ready: Callable[["App"], None] | None = None) -> None:
        """Serve until stopped. Raises `CertsError`, `StoreFailed`, `TheirsInvalid`."""
        # Before the storage is touched: a hub that would listen elsewhere does nothing at all.
        if not loopback(self.config.api.listen):
            raise TheirsInvalid(
                "hub.not_loopback",
                "Listen on 127.0.0.1 or [::1]: peers are not authenticated in this version.",
                listen=self.config.api.listen,
            )
        async with opened(self.config) as hub:
            self.hub = hub
            await self._sign_what_is_left(hub)
            async with self._listening(hub) as pulling:
                _log.warning("hub.listening", listen=listening(self.config), storage=_kind(hub))
                systemd.notify("READY=1")
                if ready is not None:
                    ready(self)
                await self._stopped_or_broken(hub, pulling)
                systemd.notify("STOPPING=1")
        _log.info("hub.stopped")

    async def _stopped_or_broken(self, hub: Hub, pulling: asyncio.Task[None]) -> None:
        """Wait for `stop`. Raises what the storage died of: then a new process is to open it.

        A bug of the puller goes through too: a hub that pulls nothing must not look alive.
        """
        stopping = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait((stopping, hub.broken, pulling), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if self.stopping.is_set():
            return
        if hub.broken.done():
            _log.error("hub.broken", code=hub.broken.result().code)
            raise hub.broken.result()
        pulling.result()

    async def _sign_what_is_left(self, hub: Hub) -> None:
        sites = await hub.storage.sites()
        for site in sites:
            left = await hub.voice.seal_all(site)
            if left:
                _log.warning("hub.signed_after_crash", site=site.site_id, logs=left)
        _log.info("hub.opened", sites=len(sites), instance=hub.storage.instance)

    @contextlib.asynccontextmanager
    async def _listening(self, hub: Hub) -> AsyncIterator[asyncio.Task[None]]:
        puller = Puller(hub)
        served = api.make_app(hub)
        served.add_routes(puller.routes())
        pulling = asyncio.create_task(_pull(hub, puller), name="puller")
        runner = web.AppRunner(
            served, access_log=None, handle_signals=False, shutdown_timeout=SHUTDOWN_S
        )
        await runner.setup()
        try:
            where = self.config.api
            try:
                await web.TCPSite(runner, where.host, where.port).start()
            except OSError as error:
                raise TheirsInvalid(
                    "hub.unavailable",
                    "Stop what listens there, or choose another port.",
                    listen=where.listen,
                    errno=error.errno,
                ) from error
            host, port = runner.addresses[0][:2]
            self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
            yield pulling
        finally:
            pulling.cancel()
            await asyncio.gather(pulling, return_exceptions=True)
            await runner.cleanup()


async def _pull(hub: Hub, puller: Puller) -> None:
    """Pull until cancelled; a storage that is out of reach for a while does not end it."""
    while True:
        try:
            await puller.run()
        except StoreFailed as error:
            _log.warning("hub.pull_failed", code=error.code)
            hub.failed(error)
        await asyncio.sleep(PULL_AGAIN_S)


def _kind(hub: Hub) -> str:
    return hub.config.storage_url.partition(":")[0]


def run(config: Config, ready: Callable[[App], None] | None = None) -> None:
    """Run a hub in this process until SIGTERM or SIGINT."""

    async def main() -> None:
        app = App(config)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, app.stop)
        await app.run(ready)

    asyncio.run(main())
