"""A site and a hub with an authority on one stage: claims, mutual TLS, clocks that tests set.

The hub is the real one, with its three listeners on loopback; it keeps the machine's clock. The
gateway's clock is `Hands`: what it says of wall and kernel is set by a test.
"""

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from typing_extensions import override

from certs import authority
from certs.claim import Invitation
from gateway import clock, enrolling, identity, site, trust, uplink
from gateway import config as gateway_config
from gateway.demo.process import free_port
from gateway.enrolling import Enrolment
from sync.hub import app as hub_app
from sync.hub import ca
from sync.hub import config as hub_config
from sync.hub import folder as hub_folder
from sync.hub.rooms import Hub
from sync.reader import LogFile
from tests.contract.site_stage import LIMIT_S, stand
from tests.exchange_stage import Quick, Site

OPERATOR = "lockers.example"
YEAR_S = 365 * 86_400


class Hands:
    """The machine's clocks, which a test sets: `wrong_ms` off, `kernel` as adjtimex would say."""

    wrong_ms = 0
    kernel: int | None = 5

    def wall_ms(self) -> int:
        return int(time.time() * 1000) + Hands.wrong_ms

    def mono_ms(self) -> int:
        return time.monotonic_ns() // 1_000_000

    def kernel_error_ms(self) -> int | None:
        return Hands.kernel


class Hubbub:
    """A hub with an authority, on ports that it keeps over its lives."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.app: hub_app.App
        self.task: asyncio.Task[None] | None = None
        self.ports = [free_port() for _ in range(3)]
        hub_folder.make(data, OPERATOR)
        names = zip(("api", "link", "renew"), self.ports, strict=True)
        with (data / "hub.toml").open("a", encoding="utf-8") as file:
            file.writelines(f'[{name}]\nlisten = "127.0.0.1:{port}"\n' for name, port in names)
        ca.init(data, OPERATOR, ["127.0.0.1"], int(time.time()))

    @property
    def hub(self) -> Hub:
        assert self.app.hub is not None
        return self.app.hub

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.ports[0]}"

    @property
    def authority(self) -> Any:
        known = self.hub.authority
        assert known is not None
        return known

    @property
    def config(self) -> hub_config.Config:
        return hub_folder.read(self.data)

    async def start(self) -> None:
        ready = asyncio.Event()
        self.app = hub_app.App(self.config)
        self.task = asyncio.create_task(self.app.run(lambda _: ready.set()))
        waiting = asyncio.create_task(ready.wait())
        done, _ = await asyncio.wait({self.task, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.task in done:
            self.task.result()

    async def stop(self) -> None:
        if self.task is not None:
            self.app.stop()
            async with asyncio.timeout(LIMIT_S):
                await self.task
            self.task = None

    async def invitation(self, site_id: str = "0042") -> Invitation:
        """What the console gives an installer."""
        made = await self.hub.claims.create(site_id)
        return Invitation(made.claim, self.authority.fingerprint, self.url)

    async def holds(self, site_id: str = "0042") -> dict[str, int]:
        """How much the hub has of the site's own logs."""
        assert self.hub.authority is not None
        shelf = await self.hub.shelf(site_id)
        return {log.origin: log.size for log in await shelf.logs()}


class Governed(Site):
    """The gateway of that bank, which knows its hub from its trust folder alone."""

    hubbub: Hubbub

    @override
    def config(self) -> gateway_config.Config:
        return gateway_config.parse(self.config_text())

    @override
    def config_text(self) -> str:
        return (
            f'data_dir = "{self.data}"\n[kiosk]\nlisten = "127.0.0.1:0"\n'
            f'[lines.bank]\ntcp = "{self.bank.where()["bank"]}"\nframing = "rtu"\n'
            "[timing]\npoll_idle_ms = 60\npoll_watched_ms = 60\ngrace_ms = 150\nstable_ms = 150\n"
            "rest_ms = 300\nresult_ms = 500\n"
            + (f'[sync]\nlisten = "{self.listen}"\nbackends = ["acme"]\n' if self.listen else "")
        )

    async def enrol(self, invitation: Invitation | None = None) -> Enrolment:
        """Enrol this site; the gateway is stopped."""
        given = invitation or await self.hubbub.invitation()
        with site.locked(self.data):
            beats = site.start_clock(self.data)
            return await enrolling.enrol_site(self.data, given, beats, lambda _: None)

    # --- what the trust folder has ----------------------------------------------------------------

    @property
    def leaf(self) -> Any:
        return trust.pairs(self.data)[0].leaf

    @property
    def pin(self) -> str:
        return authority.pin_of(authority.public_key(self.leaf))

    def age(self, began_s: int) -> None:
        """Put a certificate of the same key in the folder that was issued at `began_s`."""
        key = authority.public_key(self.leaf)
        chain = self.hubbub.authority.issue_device(key, "0042", began_s)
        (self.data / trust.FOLDER / trust.DEVICE).write_text(chain)

    def save_keys(self, to: Path) -> None:
        """What a backup program takes of keys and trust."""
        for name in ("keys", trust.FOLDER):
            shutil.copytree(self.data / name, to / name)

    def restore_keys(self, backup: Path) -> None:
        for name in ("keys", trust.FOLDER):
            shutil.rmtree(self.data / name)
            shutil.copytree(backup / name, self.data / name)

    # --- what can be seen -------------------------------------------------------------------------

    def told(self) -> Any:
        return self.app.status().get("hub") or {}

    async def linked(self) -> None:
        await self.until(lambda: self.told().get("up"))

    async def says(self, reason: str) -> str:
        """Wait until status gives this reason for no link; return its words."""
        await self.until(lambda: not self.told().get("up") and self.told().get("reason") == reason)
        return str(self.told()["words"])

    async def synced(self) -> None:
        """Wait until the hub holds all that is durable here."""

        def sizes() -> dict[str, int]:
            with LogFile.open(identity.database_of(self.data)) as log:
                return {head.origin: head.size for head in log.heads() if head.own}

        async def same() -> bool:
            held = await self.hubbub.holds()
            return all(held.get(origin, 0) >= size for origin, size in sizes().items())

        await self.comes(same)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> type[Hands]:
    monkeypatch.setattr(clock, "Machine", Hands)
    monkeypatch.setattr(Hands, "wrong_ms", 0)
    monkeypatch.setattr(Hands, "kernel", 5)
    return Hands


@asynccontextmanager
async def governed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, doors: int = 1
) -> AsyncIterator[Governed]:
    """Lend a site that is not enrolled yet and the hub that will govern it, which runs."""
    monkeypatch.setattr(uplink, "Redial", Quick)
    async with stand(folder / "data", doors, made=Governed) as made:
        assert isinstance(made, Governed)
        made.hubbub = Hubbub(folder / "hub")
        await made.hubbub.start()
        try:
            yield made
        finally:
            if hasattr(made, "task"):
                made.app.stop()
                await asyncio.wait({made.task}, timeout=LIMIT_S)
            await made.hubbub.stop()


async def asked(url: str, context: Any, true: Callable[[Any], Any]) -> Any:
    """Ask an address over TLS and return what `true` makes of the answer."""
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, ssl=context) as response,
    ):
        return true(response)
