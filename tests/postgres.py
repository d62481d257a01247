"""A private PostgreSQL for tests: one server a test process, a schema of its own for each test.

    url = postgres.fresh()            # skips with the reason where no server can be had
    url = postgres.fresh(dealt=True)  # the hub's tables, partitioned by hash of site_id

The server refuses to run as root, so there it runs as `postgres` (else `nobody`) by setpriv; it
listens on loopback and on a socket in its folder, ends with the process that started it, and its
folder goes with it.
"""

import asyncio
import atexit
import contextlib
import functools
import itertools
import os
import pwd
import re
import shutil
import socket
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg  # type: ignore[import-untyped]  # it has no stubs
import pytest

from sync.hub.file import migrations

START_S = 60
PARTS = 4
LEFT_S = 6 * 3600
_PREFIX = "locker-pg-"
_names = itertools.count()


@dataclass
class Server:
    """A server: `url` is its database, `stop` ends it, `start` begins again where it was."""

    folder: Path
    binaries: Path
    port: int
    durable: bool = False
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://locker@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        settings = {
            "port": self.port,
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self.folder,
            "fsync": "on" if self.durable else "off",
            "log_min_messages": "fatal",
        }
        options = [part for key, value in settings.items() for part in ("-c", f"{key}={value}")]
        data = str(self.folder / "data")
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_as_other(), str(self.binaries / "postgres"), "-D", data, *options],
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd=self.folder,
            )
        end = time.monotonic() + START_S
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > end:
                raise RuntimeError((self.folder / "log").read_text()[-2000:])
            time.sleep(0.05)

    def stop(self, *, hard: bool = False) -> None:
        """End the server, `hard` as a crash would."""
        if self.process is None:
            return
        # SIGINT is PostgreSQL's fast shutdown, SIGQUIT its immediate one.
        self.process.send_signal(3 if hard else 2)
        self.process.wait(START_S)
        self.process = None

    def _answers(self) -> bool:
        ready = [str(self.binaries / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(ready, check=False).returncode == 0


def make(*, durable: bool = False) -> Server:
    """Make and start a server; `RuntimeError` says why there is none."""
    binaries = _binaries()
    if binaries is None:
        raise RuntimeError("PostgreSQL's initdb is not installed")
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    user = _other_user()
    if user is not None:
        shutil.chown(folder, user)
    command = [
        *(*_as_other(), str(binaries / "initdb"), "-D", str(folder / "data"), "-U", "locker"),
        *("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    if done.returncode:
        raise RuntimeError(f"initdb: {done.stderr[-500:]}")
    server = Server(folder, binaries, _free_port(), durable)
    server.start()
    # Hard: nothing in it is wanted, and a test process that ends slowly is killed before its end.
    atexit.register(server.stop, hard=True)
    return server


def _sweep() -> None:
    """Remove what test processes that were killed have left; their servers ended with them."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > LEFT_S:
                shutil.rmtree(folder, ignore_errors=True)


@functools.cache
def _shared() -> Server | str:
    try:
        return make()
    except (RuntimeError, OSError) as error:
        return str(error)


def server() -> Server:
    """Return this test process's server, or skip the test with the reason."""
    found = _shared()
    if isinstance(found, str):
        pytest.skip(f"no PostgreSQL: {found}")
    return found


async def fresh(*, dealt: bool = False) -> str:
    """Return the URL of an empty schema, or of the hub's tables dealt out by site_id."""
    return await fresh_in(server(), dealt=dealt)


async def fresh_in(server: Server, *, dealt: bool = False) -> str:
    """Return the URL of such a schema in a server of the caller's own."""
    name = f"t{next(_names)}"
    connection = await asyncpg.connect(server.url)
    try:
        await connection.execute(f"CREATE SCHEMA {name}")
        if dealt:
            await connection.execute(f"SET search_path TO {name}")
            await _deal(connection)
    finally:
        await connection.close()
    return f"{server.url}?search_path={name}"


async def execute(url: str, statement: str) -> None:
    """Run a statement of the test's own."""
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def schema_text() -> list[str]:
    """Return the hub's schema, step by step."""
    return [text for _, text in migrations("postgres")]


async def _deal(connection: Any) -> None:
    """Make the hub's tables, partitioned: what is not safe to deal out by site_id fails here."""
    steps = migrations("postgres")
    for _, text in steps:
        await connection.execute(dealt(text))
    for (table,) in await connection.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'p' AND relnamespace ="
        " current_schema()::regnamespace ORDER BY relname"
    ):
        for part in range(PARTS):
            await connection.execute(
                f"CREATE TABLE {table}_{part} PARTITION OF {table}"
                f" FOR VALUES WITH (MODULUS {PARTS}, REMAINDER {part})"
            )
    await connection.execute(
        "INSERT INTO about (site_id, key, value) VALUES ('', 'schema', $1)", str(len(steps))
    )


def dealt(text: str) -> str:
    """Return a schema with each of its tables partitioned by hash of site_id."""
    return re.sub(
        r"(CREATE TABLE .*?\n\))(;)", r"\1 PARTITION BY HASH (site_id)\2", text, flags=re.DOTALL
    )


def _binaries() -> Path | None:
    found = shutil.which("initdb")
    places = [Path(found).resolve().parent] if found else []
    # Debian keeps them out of PATH, by version.
    places += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    wanted = ("initdb", "postgres", "pg_isready")
    return next((one for one in places if all((one / name).exists() for name in wanted)), None)


def _other_user() -> str | None:
    """Who runs the server where we are root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name).pw_name
    raise RuntimeError("no user that may run PostgreSQL")


def _as_other() -> list[str]:
    user = _other_user()
    ends = ["setpriv", "--pdeathsig", "INT"] if shutil.which("setpriv") else []
    if user is None:
        return ends
    if not ends:
        raise RuntimeError("as root PostgreSQL needs setpriv (util-linux)")
    known = pwd.getpwnam(user)
    return [*ends, f"--reuid={known.pw_uid}", f"--regid={known.pw_gid}", "--clear-groups"]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


if __name__ == "__main__":
    made = make()
    print(made.url, asyncio.run(fresh()))
