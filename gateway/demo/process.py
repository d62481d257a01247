"""Our own programs as child processes, none of which outlives the demo.

Each child leads a process group of its own, so a Ctrl-C at the terminal reaches the demo alone,
which then stops them in order. Should the demo be killed, the kernel ends them (PR_SET_PDEATHSIG).
"""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from gateway.errors import GatewayError

MODULES: Final = {
    "locker-gateway": "gateway.cli",
    "locker-hub": "sync.hub.cli",
    "locker-bank": "adapters.simulator.cli",
}
STOP_S: Final = 6.0
"""A gateway stops within 2 s; on a busy machine it may take its time."""
_TAIL: Final = 600

# SPEC: prctl(2): PR_SET_PDEATHSIG is 1. A demo that died before it took hold is seen by its pid.
_START: Final = """\
import ctypes, os, signal, sys
getattr(ctypes.CDLL(None), "prctl", lambda *_: 0)(1, signal.SIGTERM)
if os.getppid() != {parent}:
    sys.exit(1)
from {module} import main
main(prog_name={program!r})
"""


class DemoFailed(GatewayError):  # noqa: N818  # the name says what is wrong
    """The demo could not go on (`demo.*`)."""


def words(program: str, said: tuple[str, ...]) -> list[str]:
    """Return the words that start one of our programs, which ends when the demo does."""
    # -P: a stray sync.py in the current folder is not ours.
    code = _START.format(parent=os.getpid(), module=MODULES[program], program=program)
    return [sys.executable, "-P", "-c", code, *said]


def free_port() -> int:
    """Return a port that is free now. Whoever takes it keeps it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Process:
    """One running child. Its output goes to `log`."""

    def __init__(self, program: str, child: asyncio.subprocess.Process, log: Path) -> None:
        self.program = program
        self.log = log
        self._child = child

    @classmethod
    async def start(
        cls, program: str, *said: str, cwd: Path, log: Path, piped: bool = False
    ) -> "Process":
        """Start a program; with `piped` its standard output is read by `ready`, not logged."""
        with log.open("ab") as out:
            child = await asyncio.create_subprocess_exec(
                *words(program, said),
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else out,
                stderr=out,
                start_new_session=True,
            )
        return cls(program, child, log)

    async def said(self, within_s: float) -> str:
        """Return the one line that says where this child is to be found."""
        assert self._child.stdout is not None
        try:
            async with asyncio.timeout(within_s):
                line = await self._child.stdout.readline()
        except TimeoutError:
            line = b""
        if not line.endswith(b"\n"):
            raise self.failed("demo.not_ready")
        return line.decode()

    async def ready(self, within_s: float) -> dict[str, Any]:
        """Return that line where it is JSON."""
        try:
            said: dict[str, Any] = json.loads(await self.said(within_s))
        except ValueError:
            raise self.failed("demo.not_ready") from None
        return said

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._child.returncode

    def failed(self, code: str) -> DemoFailed:
        """Return the error that names this child, its exit status and the end of its log."""
        with contextlib.suppress(OSError):
            tail = self.log.read_bytes()[-_TAIL:].decode("utf-8", "replace").strip()
            return DemoFailed(
                code, f"Read {self.log}", program=self.program, exit=self.status, last=tail
            )
        return DemoFailed(code, f"Read {self.log}", program=self.program, exit=self.status)

    def kill(self) -> None:
        """SIGKILL to the child and whatever it started."""
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGKILL)

    async def killed(self) -> None:
        """Kill it, and return when it is gone."""
        self.kill()
        await self._child.wait()

    async def stop(self) -> int | None:
        """Ask it to end, and make it when it does not; return its exit status."""
        if self._child.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._child.pid, signal.SIGTERM)
            try:
                async with asyncio.timeout(STOP_S):
                    await self._child.wait()
            except TimeoutError:
                await self.killed()
        return self._child.returncode
