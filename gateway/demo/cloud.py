"""The cloud end of the demo: a hub of its own, and the link to it, which can die.

The link is a relay in the demo's own process. While it is dead a connection is accepted and nothing
answers, as behind a cell without a network; what was under way is lost.
"""

import asyncio
import base64
import contextlib
import hashlib
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import aiohttp

from gateway.demo.process import DemoFailed, Process, free_port, words

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
        self.writer = ""
        self.cosigner = ""
        self._session, self._shell = session, shell
        self._hub: Process | None = None
        self._site = ""

    @property
    def is_new(self) -> bool:
        """Whether there is no hub in the folder yet."""
        return not (self.folder / "hub.toml").exists()

    @property
    def process(self) -> Process | None:
        """The hub's process, once it was started."""
        return self._hub

    async def start(self, site: str, vkey: str) -> None:
        """Start the hub, and have it govern `site` (`0042`), whose writer key is given."""
        self._site = site
        if self.is_new:
            await self.command("init", str(self.folder), "--operator", "lockers.example")
        self._listen_anywhere()
        self._shell("locker-hub run hub")
        self._hub = await Process.start(
            "locker-hub", "run", str(self.folder),
            cwd=self.folder.parent, log=self.folder.parent / "hub.log", piped=True,
        )  # fmt: skip
        said = await self._hub.said(_COMMAND_S)
        self.url = said.removeprefix("hub ").strip()
        self.link.target = int(self.url.split(":")[2].partition("/")[0])
        await self.link.open()
        await self.ask("POST", "/sites", {"site": site, "vkey": vkey})
        shown = await self.ask("GET", f"/sites/{site}")
        self.writer, self.cosigner = shown["hub_vkey"], shown["cosigner_vkey"]

    def _listen_anywhere(self) -> None:
        """Have the hub listen on a port that is free now."""
        config = self.folder / "hub.toml"
        made = config.read_text("utf-8").partition("\n[api]")[0]
        config.write_text(f'{made}\n[api]\nlisten = "127.0.0.1:{free_port()}"\n', "utf-8")

    async def code_key(self, out: Path) -> None:
        """Have the hub write the site's code key."""
        await self.command("code-key", self._site, "--config", str(self.folder), "--out", str(out))

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
        async with self._session.request(method, self.url + path, json=body) as response:
            told = await response.json()
            if response.status >= 400:  # noqa: PLR2004  # HTTP's own border
                raise DemoFailed(told["code"], told["remedy"], path=path)
            return told

    async def tell(self, path: str, **body: Any) -> Any:
        """Write something in the hub's lane for the site."""
        return await self.ask("POST", f"/sites/{self._site}{path}", body)

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
