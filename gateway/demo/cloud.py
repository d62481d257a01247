"""The cloud end of the demo: a hub of its own with its own root, and the link to it, which can die.

The link is a relay in the demo's own process. While it is dead a connection is accepted and nothing
answers, as behind a cell without a network; what was under way is lost.
"""

import asyncio
import base64
import contextlib
import hashlib
import json
import secrets
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiohttp

from certs import authority, tls
from gateway.demo.process import DemoFailed, Process, free_port, words

TENANT: Final = "demo-post"
_CHUNK: Final = 4096
_COMMAND_S: Final = 60.0
_LOOK_S: Final = 0.1


class Link:
    """A relay from a port of its own to the hub. Counts the bytes that came through."""

    def __init__(self) -> None:
        self.cuts = 0
        self.bytes = 0
        self.target = 0
        self._alive = asyncio.Event()
        self._alive.set()
        self._carrying: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """Where the gateway dials."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def open(self) -> None:
        """Listen on loopback."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)

    async def close(self) -> None:
        """End everything."""
        if self._server is not None:
            self._server.close()
        await self._drop()

    async def cut(self) -> None:
        """The link dies."""
        self._alive.clear()
        self.cuts += 1
        await self._drop()

    def mend(self) -> None:
        """The link is back."""
        self._alive.set()

    async def _drop(self) -> None:
        for task in list(self._carrying):
            task.cancel()
        await asyncio.gather(*self._carrying, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._carrying.add(task)
        ends = [writer]
        try:
            await self._alive.wait()
            there, far = await asyncio.open_connection("127.0.0.1", self.target)
            ends.append(far)
            await asyncio.gather(self._carry(reader, far), self._carry(there, writer))
        except (OSError, asyncio.CancelledError):
            pass  # a dead link says nothing
        finally:
            self._carrying.discard(task)
            for end in ends:
                end.transport.abort()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_CHUNK):
            self.bytes += len(data)
            writer.write(data)
            await writer.drain()
        writer.transport.abort()
        raise ConnectionResetError


class Cloud:
    """A hub in `folder`, the site that it governs, and the link between them."""

    def __init__(
        self, folder: Path, session: aiohttp.ClientSession, shell: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.link = Link()
        self.url = ""
        self._session, self._shell = session, shell
        self._hub: Process | None = None
        self._site = ""
        self._tls: ssl.SSLContext | None = None
        self._writer = ""
        self._reads: dict[str, str] = {}
        self._writes: dict[str, str] = {}

    @property
    def is_new(self) -> bool:
        """Whether there is no hub in the folder yet."""
        return not (self.folder / "hub.toml").exists()

    @property
    def process(self) -> Process | None:
        """The hub's process, once it was started."""
        return self._hub

    async def start(self, site: str) -> None:
        """Make the hub and its root where there is none, and start it; it is to govern `site`."""
        self._site = site
        config = str(self.folder)
        if self.is_new:
            await self.command("init", config, "--operator", "lockers.example")
            await self.command("ca", "init", "--host", "127.0.0.1", "--config", config)
        await self.link.open()
        self._listen_anywhere()
        self._shell("locker-hub run hub")
        self._hub = await Process.start(
            "locker-hub", "run", config,
            cwd=self.folder.parent, log=self.folder.parent / "hub.log", piped=True,
        )  # fmt: skip
        said = await self._hub.said(_COMMAND_S)
        self.url = said.removeprefix("hub ").strip()
        root = (self.folder / "ca" / "root.pem").read_text("ascii")
        self._tls = tls.client(authority.from_pem(root))
        day = secrets.token_hex(4)  # an account a day: its token is told once
        self._writer = f"demo-carrier-{day}"
        self._writes = await self._account(self._writer, "dispatch", "--tenant", TENANT)
        self._reads = await self._account(f"demo-auditor-{day}", "auditor")

    async def _account(self, name: str, role: str, *more: str) -> dict[str, str]:
        """Make an account at the hub; return the header that it asks with."""
        told = await self.command(
            "account", "add", name, "--role", role, "--site", self._site, "--days", "1", *more,
            "--config", str(self.folder), "--json",
        )  # fmt: skip
        return {"Authorization": f"Bearer {json.loads(told)['token']}"}

    def _listen_anywhere(self) -> None:
        """Have the hub listen on ports that are free now; its links come through the relay."""
        api, link, renew = (free_port() for _ in range(3))
        self.link.target = link
        config = self.folder / "hub.toml"
        made = config.read_text("utf-8").partition("\n[api]")[0]
        config.write_text(
            f'{made}\n[api]\nlisten = "127.0.0.1:{api}"\n'
            f'\n[link]\nlisten = "127.0.0.1:{link}"\nurl = "https://127.0.0.1:{self.link.port}"\n'
            f'\n[renew]\nlisten = "127.0.0.1:{renew}"\n',
            "utf-8",
        )

    async def claim(self) -> str:
        """Return a claim for the site, as the QR code has it: good once."""
        told = await self.command(
            "claim", "create", self._site, "--config", str(self.folder), "--json"
        )
        text: str = json.loads(told)["text"]
        return text

    async def stop(self) -> None:
        """End link and hub."""
        await self.link.close()
        if self._hub is not None:
            await self._hub.stop()

    def kill(self) -> None:
        """End the hub at once."""
        if self._hub is not None:
            self._hub.kill()

    # --- what the cloud does --------------------------------------------------------------------

    async def ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Ask the hub's API; return its answer. DemoFailed with the hub's code."""
        asks = self._reads if method == "GET" else self._writes
        async with self._session.request(
            method, self.url + path, json=body, ssl=self._tls or True, headers=asks
        ) as response:
            told = await response.json()
            if response.status >= 400:  # noqa: PLR2004  # HTTP's own border
                raise DemoFailed(told["code"], told["remedy"], path=path)
            return told

    async def tell(self, path: str, **body: Any) -> Any:
        """Write something in the hub's lane for the site, as the carrier's account."""
        return await self.ask("POST", f"/sites/{self._site}{path}", {"by": self._writer} | body)

    async def book(self) -> dict[str, Any]:
        """Return the hub's book of the site."""
        told: dict[str, Any] = await self.ask("GET", f"/sites/{self._site}/book")
        return told

    async def rights(self, size: str, within_s: float) -> bool:
        """Return whether the hub gets to hold a free right to a compartment of this size."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    book = await self.book()
                    classes = {one["kind"]: one["hub_unspent"] for one in book["capacity"]}
                    if classes.get(size, 0) > 0:
                        return True
                    await asyncio.sleep(_LOOK_S)
        return False

    async def agrees(self, canonical: Callable[[], bytes], within_s: float) -> bool:
        """Return whether both books come to be equal, byte for byte."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while True:
                    ours = hashlib.sha256(await asyncio.to_thread(canonical)).digest()
                    theirs = (await self.book())["sha256"]
                    if base64.b64encode(ours).decode() == theirs:
                        return True
                    await asyncio.sleep(_LOOK_S)
        return False

    async def command(self, *said: str) -> str:
        """Run a command of `locker-hub`; return what it printed."""
        names = (Path(word).name if word.startswith("/") else word for word in said)
        self._shell("locker-hub " + " ".join(names))
        child = await asyncio.create_subprocess_exec(
            *words("locker-hub", said),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        async with asyncio.timeout(_COMMAND_S):
            out, err = await child.communicate()
        if child.returncode:
            raise DemoFailed("demo.hub", "Read what it said", said=err.decode()[-300:])
        return out.decode()
