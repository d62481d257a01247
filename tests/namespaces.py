"""Two network namespaces with a cable between them; nothing of it outlives the test.

    async with cable() as (gateway, laptop):
        child = await gateway.start("locker-gateway", "run", ...)

Needs root and `ip`. What a killed run left behind is removed by the next one.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "import sys; from gateway.cli import main; sys.argv[0] = 'locker-gateway'; main()"
PREFIX = "lockertest"
LIMIT_S = 60.0


def ip(*words: str) -> str:
    """Run `ip`; return what it says."""
    return subprocess.run(["ip", *words], check=True, capture_output=True, text=True).stdout


def needs_namespaces() -> None:
    """Skip, with the reason, where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("needs root, for network namespaces")
    if shutil.which("ip") is None:
        pytest.skip("needs ip (Debian: apt-get install iproute2)")
    _sweep()
    name = f"{PREFIX}{os.getpid()}x"
    try:
        ip("netns", "add", name)
        ip("netns", "delete", name)
    except subprocess.CalledProcessError as error:
        pytest.skip(f"this machine makes no network namespaces: {error.stderr.strip()[-120:]}")


def _sweep() -> None:
    """Remove the namespaces of runs that are over."""
    for line in ip("netns", "list").splitlines():
        found = re.match(rf"({PREFIX}(\d+)[a-z])\b", line)
        if found and not Path(f"/proc/{found[2]}").exists():
            with suppress(subprocess.CalledProcessError):
                ip("netns", "delete", found[1])


@dataclass
class Place:
    """One namespace: a computer of its own. Its children are killed at the end."""

    name: str
    address: str
    children: list[asyncio.subprocess.Process] = field(default_factory=list)

    def ip(self, *words: str) -> str:
        """Run `ip` inside."""
        return ip("-n", self.name, *words)

    async def start(
        self, *words: str, log: Path | None = None, env: Mapping[str, str] | None = None
    ) -> asyncio.subprocess.Process:
        """Start a program inside; its stdout is a pipe, its stderr goes to `log`."""
        out = (
            subprocess.DEVNULL
            if log is None
            else os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        )
        try:
            child = await asyncio.create_subprocess_exec(
                "ip", "netns", "exec", self.name, *words,
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=out, cwd=ROOT,
                env=dict(os.environ) | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
                | dict(env or {}),
            )  # fmt: skip
        finally:
            if out != subprocess.DEVNULL:
                os.close(out)
        self.children.append(child)
        return child

    async def gateway(self, *words: str, log: Path) -> asyncio.subprocess.Process:
        """Start `locker-gateway` inside."""
        return await self.start(sys.executable, "-P", "-c", PROGRAM, *words, log=log)

    async def said(self, *words: str) -> str:
        """Run a program inside to its end; return its stdout."""
        child = await self.start(*words)
        async with asyncio.timeout(LIMIT_S):
            out, _ = await child.communicate()
        assert child.returncode == 0, (words, child.returncode, out)
        return out.decode()

    async def command(self, *words: str) -> str:
        """Run a command of `locker-gateway` inside; return its stdout."""
        return await self.said(sys.executable, "-P", "-c", PROGRAM, *words)

    async def end(self) -> None:
        """Kill what still runs, and take the namespace away."""
        for child in self.children:
            if child.returncode is None:
                with suppress(ProcessLookupError):
                    child.kill()
            await child.wait()
            if child.stdout is not None:
                child.stdout._transport.close()  # type: ignore[attr-defined]
        with suppress(subprocess.CalledProcessError):
            ip("netns", "delete", self.name)


async def line(child: asyncio.subprocess.Process) -> str:
    """Return the next line that a child says."""
    assert child.stdout is not None
    async with asyncio.timeout(LIMIT_S):
        return (await child.stdout.readline()).decode()


@asynccontextmanager
async def cable(net: str = "10.77.0") -> AsyncIterator[tuple[Place, Place]]:
    """Lend two namespaces, `net`.1 and `net`.2, with a cable between them."""
    needs_namespaces()
    one = Place(f"{PREFIX}{os.getpid()}a", f"{net}.1")
    other = Place(f"{PREFIX}{os.getpid()}b", f"{net}.2")
    try:
        for place in (one, other):
            ip("netns", "add", place.name)
            place.ip("link", "set", "lo", "up")
        one.ip("link", "add", "lan0", "type", "veth", "peer", "name", "lan0", "netns", other.name)
        for place in (one, other):
            place.ip("address", "add", f"{place.address}/24", "dev", "lan0")
            place.ip("link", "set", "lan0", "up")
        yield one, other
    finally:
        await one.end()
        await other.end()
