"""A gateway and a hub as the processes that an operator runs, with a thin link between them.

    async with Duo.open(folder, link) as duo:
        duo.gateway.kill(); await duo.start_gateway()
        told = await duo.ask("GET", "/sites/0042/book")

The site has four compartments of boards that nobody built: it lives, and finds them silent.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
from click.testing import CliRunner

import gateway.cli
from gateway import control
from gateway.control import SOCKET
from gateway.core.inputs import Command
from gateway.core.outputs import Answer
from gateway.demo.process import Process, free_port, words
from gateway.errors import GatewayError
from tests.contract.site_stage import map_text
from tests.thinlink import ThinLink

SITE = "0042"
READY_S = 60.0
_REFUSED = 400


class Duo:
    """Two processes and their folders. `ask` goes to the hub's API, `send` to the gateway."""

    def __init__(self, folder: Path, link: ThinLink, web: aiohttp.ClientSession) -> None:
        self.folder, self.link, self.web = folder, link, web
        self.data = folder / "site"
        self.vkey = ""
        self.hub_keys: dict[str, Any] = {}
        self.starts = 0
        self.gateway: Process
        self.hub: Process

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, folder: Path, storage: str = "", **link: Any) -> AsyncIterator["Duo"]:
        """Make both, tell each the other's keys, and run them; `link` goes to ThinLink."""
        port = free_port()
        thin = ThinLink(("127.0.0.1", port), **link)
        async with aiohttp.ClientSession() as web, thin.open():
            duo = cls(folder, thin, web)
            try:
                await duo._make(port, storage)
                yield duo
            finally:
                for name in ("gateway", "hub"):
                    process: Process | None = getattr(duo, name, None)
                    if process is not None:
                        await process.killed()

    # --- processes ------------------------------------------------------------------------------

    async def start_hub(self) -> None:
        """Start the hub; ready when it says where it is."""
        self.starts += 1
        self.hub = await Process.start(
            "locker-hub", "run", str(self.folder / "hub"),
            cwd=self.folder, log=self.folder / "hub.log", piped=True,
        )  # fmt: skip
        assert (await self.hub.said(READY_S)).startswith("hub http")

    async def start_gateway(self) -> None:
        """Start the gateway; ready when its control socket answers for a site that lives."""
        self.starts += 1
        self.gateway = await Process.start(
            "locker-gateway", "run", "--config", str(self.folder / "gateway.toml"),
            cwd=self.folder, log=self.folder / "gateway.log",
        )  # fmt: skip
        async with asyncio.timeout(READY_S):
            while "doors" not in await self.status():
                assert self.gateway.status is None, self.gateway.failed("test.gateway_ended")
                await asyncio.sleep(0.05)

    async def status(self) -> dict[str, Any]:
        """Return what the gateway says of itself; nothing while it does not answer."""
        try:
            return await control.status(self.data / SOCKET)
        except GatewayError:
            return {}

    # --- commands -------------------------------------------------------------------------------

    async def send(self, command: Command) -> Answer | None:
        """Have the gateway decide; None where nobody acknowledged."""
        try:
            answer = await control.send(self.data / SOCKET, command)
        except GatewayError:
            return None
        return None if answer.code else answer

    async def ask(self, method: str, path: str, **body: Any) -> Any:
        """Ask the hub, beside the thin link; None where nobody acknowledged."""
        url = f"http://127.0.0.1:{self.link.target[1]}/api/v1{path}"
        try:
            async with self.web.request(method, url, json=body or None) as answer:
                told = await answer.json()
        except (aiohttp.ClientError, OSError):
            return None
        return None if answer.status >= _REFUSED else told

    async def told(self, *said: str) -> str:
        """Run a command of locker-hub, and return what it prints."""
        child = await asyncio.create_subprocess_exec(
            *words("locker-hub", said),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await child.communicate()
        assert child.returncode == 0, err
        return out.decode()

    async def command(self, *said: str) -> str:
        """Run a command of locker-gateway on the site's data, and return what it prints."""
        line = [*said, "--data", str(self.data)]
        result = await asyncio.to_thread(CliRunner().invoke, gateway.cli.main, line)
        assert result.exit_code == 0, result.output
        return result.stdout

    # --- made once ------------------------------------------------------------------------------

    async def _make(self, port: int, storage: str) -> None:
        hub, line = self.folder / "hub", f'[api]\nlisten = "127.0.0.1:{port}"\n'
        line += "[development]\nplain = true\n"
        more = ("--storage", storage) if storage else ()
        await self.told("init", str(hub), "--operator", "lockers.example", *more)
        made = (hub / "hub.toml").read_text().partition("\n[api]")[0]
        (hub / "hub.toml").write_text(f"{made}\n{line}")
        await self.start_hub()
        await self.command("init", "--operator", "lockers.example", "--site", SITE)
        (self.folder / "map.toml").write_text(map_text())
        await self.command("site", "import", str(self.folder / "map.toml"))
        self.vkey = (await self.command("log", "vkey", "--writer")).strip()
        self.hub_keys = await self.ask("POST", "/sites", site=SITE, vkey=self.vkey)
        key = self.folder / "code-key.json"
        await self.told("code-key", SITE, "--config", str(hub), "--out", str(key))
        await self.command("key", "import", str(key))
        (self.folder / "gateway.toml").write_text(self._config())
        await self.start_gateway()

    def _config(self) -> str:
        # A JSON string is a TOML string too.
        values = {
            "url": f"http://127.0.0.1:{self.link.port}",
            "writer": self.hub_keys["hub_vkey"],
            "cosigner": self.hub_keys["cosigner_vkey"],
        }
        hub = "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())
        return (
            f"data_dir = {json.dumps(str(self.data))}\n"
            f'[kiosk]\nlisten = "127.0.0.1:0"\n[hub]\n{hub}[development]\nplain = true\n'
            '[lines.bank]\ntcp = "127.0.0.1:1"\nframing = "rtu"\n'
        )
