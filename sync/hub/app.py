"""The process: storage, listeners, and an end within two seconds of SIGTERM.

    keys -> storage -> sign what a crash left -> listen -> ready -> ... -> stop listening -> close

Nothing has to be saved at the end: whatever was answered is durable already.
"""

import asyncio
import contextlib
import signal
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal

from aiohttp import web

from certs.errors import CertsError
from sync.errors import StoreFailed, SyncError, TheirsInvalid
from sync.hub import api, logs, systemd
from sync.hub.api_read import listening as where_from
from sync.hub.authority import read
from sync.hub.ca import no_authority, settle
from sync.hub.config import Config, loopback
from sync.hub.est import Est
from sync.hub.gate import gate
from sync.hub.listeners import Contexts, listening
from sync.hub.puller import Puller
from sync.hub.rooms import Hub, opened

AGAIN_S: Final = 5.0

_log = logs.get("app")


class App:
    """One process of one hub. `run` returns when `stop` was called."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.stopping = asyncio.Event()
        self.url = ""
        self.urls: dict[str, str] = {}
        self.hub: Hub | None = None

    def stop(self) -> None:
        """End: no new request, storage closed, within two seconds."""
        self.stopping.set()

    async def run(self, ready: Callable[["App"], None] | None = None) -> None:
        """Serve until stopped. Raises `CertsError`, `StoreFailed`, `TheirsInvalid`."""
        # Before the storage is touched: a hub that would let anybody in does nothing at all.
        self._check()
        async with opened(self.config) as hub:
            self.hub = hub
            await self._sign_what_is_left(hub)
            async with self._listening(hub) as tasks:
                _log.warning("hub.listening", listen=where_from(self.config), storage=_kind(hub))
                systemd.notify("READY=1")
                if ready is not None:
                    ready(self)
                await self._stopped_or_broken(hub, tasks)
                systemd.notify("STOPPING=1")
        _log.info("hub.stopped")

    def _check(self) -> None:
        config, data = self.config, Path(self.config.data_dir)
        if config.development.plain:
            if not loopback(config.api.listen):
                raise TheirsInvalid(
                    "hub.not_loopback",
                    "Listen on 127.0.0.1 or [::1]: in development nobody is authenticated.",
                    listen=config.api.listen,
                )
            _log.warning("hub.plain", told="development: nothing is encrypted or authenticated")
        elif read(data) is None:
            raise no_authority(data)
        else:
            settle(data)

    async def _stopped_or_broken(self, hub: Hub, tasks: list[asyncio.Task[None]]) -> None:
        """Wait for `stop`. Raises what the storage died of: then a new process is to open it.

        A bug of a task goes through too: a hub that pulls nothing, lets nobody in, or hears of no
        revocation must not look alive.
        """
        stopping = asyncio.ensure_future(self.stopping.wait())
        try:
            ends: list[asyncio.Future[Any]] = [stopping, hub.broken, *tasks]
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
        if self.stopping.is_set():
            return
        if hub.broken.done():
            _log.error("hub.broken", code=hub.broken.result().code)
            raise hub.broken.result()
        for task in tasks:
            if task.done():
                task.result()

    async def _sign_what_is_left(self, hub: Hub) -> None:
        sites = await hub.storage.sites()
        for site in sites:
            left = await hub.voice.seal_all(site)
            if left:
                _log.warning("hub.signed_after_crash", site=site.site_id, logs=left)
        _log.info("hub.opened", sites=len(sites), instance=hub.storage.instance)

    @contextlib.asynccontextmanager
    async def _listening(self, hub: Hub) -> AsyncIterator[list[asyncio.Task[None]]]:
        puller = Puller(hub)
        async with contextlib.AsyncExitStack() as stack:
            tasks = [asyncio.create_task(_again(hub, "pull", puller.run), name="puller")]
            stack.push_async_callback(_ended, tasks)
            if hub.authority is None:
                served = api.make_app(hub)
                served.add_routes(puller.routes())
                tasks += await self._listen(stack, hub, "api", served, None)
            else:
                contexts, est = Contexts(hub), Est(hub)
                served = api.make_app(hub)
                served.add_routes(est.public())
                links = api.surrounded(hub, gate(hub, "link"))
                links.add_routes([*puller.routes(), *api.pull_routes(hub), *est.inside()])
                links.add_routes(est.renewal())
                renewing = api.surrounded(hub, gate(hub, "renew"))
                renewing.add_routes(est.renewal())
                tasks += await self._listen(stack, hub, "api", served, contexts.api)
                tasks += await self._listen(stack, hub, "link", links, contexts.link)
                tasks += await self._listen(stack, hub, "renew", renewing, contexts.renew)
                tasks.append(asyncio.create_task(_again(hub, "watch", contexts.watch)))
            yield tasks

    async def _listen(
        self,
        stack: contextlib.AsyncExitStack,
        hub: Hub,
        name: Literal["api", "link", "renew"],
        served: web.Application,
        context: ssl.SSLContext | None,
    ) -> list[asyncio.Task[None]]:
        config = self.config
        where = {"api": config.api, "link": config.link_at, "renew": config.renew_at}[name]
        host, port, tasks = await stack.enter_async_context(listening(served, where, context))
        hub.ports[name] = port
        scheme = "http" if context is None else "https"
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        self.urls[name] = url
        if name == "api":
            self.url = url
        return tasks


async def _ended(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def _again(hub: Hub, what: str, work: Callable[[], Awaitable[None]]) -> None:
    """Work until cancelled; a storage that is busy or out of reach for a while does not end it."""
    while True:
        try:
            await work()
        except (SyncError, CertsError) as error:
            _log.warning(f"hub.{what}_failed", code=error.code)
            if isinstance(error, StoreFailed):
                hub.failed(error)
        await asyncio.sleep(AGAIN_S)


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
