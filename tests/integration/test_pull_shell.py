"""Pins that the exchange in sync/README.md works as it stands: its commands, run by bash.

The site's end demands a certificate, and shows the one that a hub issues to a gateway.
"""

import asyncio
import os
import re
import shutil
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from certs import authority, tls
from certs.keys import Verifier
from sync.commit import Identity
from sync.entry import Lane
from sync.hub import ca
from sync.origin import Ring
from sync.pull import make_routes
from sync.rows import Record
from sync.shelf import Shelf
from sync.store import Store
from tests.fault.logs import fsck
from tests.shelf_memory import entry

README = Path(__file__).resolve().parents[2] / "sync" / "README.md"
SITE = Identity("lockers.example", "site/0042", "e1-9f2c01ab", bytes(range(32)))
CUSTODY = SITE.origin(Lane.CUSTODY)
ENTRIES = 700
LIMIT_S = 60.0
TOOLS = ("bash", "curl", "openssl", "python3", "sed", "od", "base64")


def blocks() -> list[str]:
    """The shell commands of the page, block by block."""
    text = README.read_text(encoding="utf-8").partition("\n## Exchange: plain pull\n")[2]
    return re.findall(r"^```sh\n(.*?)^```$", text.partition("\n## ")[0], re.DOTALL | re.MULTILINE)


class Operator:
    """The hub's console: what it would give out, and a gateway's certificate as it issues them."""

    def __init__(self, folder: Path) -> None:
        self.known = ca.init(folder / "console", "lockers.example", ["localhost"], self.now_s())

    @staticmethod
    def now_s() -> int:
        return int(time.time())

    def gateway(self) -> ssl.SSLContext:
        key = tls.new_key()
        chain = self.known.issue_device(key.public_key(), "0042", self.now_s())
        shown = tls.Credentials(chain, key)
        return tls.server(shown, self.known.roots, clients="required")

    def add_backend(self, desk: Path) -> None:
        """`locker-hub backend add erp --csr erp.csr --site 0042 --out erp.pem`."""
        request = x509.load_pem_x509_csr((desk / "erp.csr").read_bytes())
        key = authority.read_csr(request.public_bytes(serialization.Encoding.DER))
        (desk / "erp.pem").write_text(self.known.issue_backend(key, "erp", self.now_s()))
        (desk / "root.pem").write_text(self.known.state.roots)


class Shell:
    """A bash that is given one block after the other, as a person would."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def run(self, block: str) -> str:
        """Return what the block printed; it must end without an error."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(block.encode() + b"\necho '== done'\n")
        said = ""
        while not said.endswith("== done\n"):
            line = await self.process.stdout.readline()
            assert line, f"ended at {await self.process.wait()}:\n{block}\n{said}"
            said += line.decode()
        return said.removesuffix("== done\n")


@asynccontextmanager
async def shell(folder: Path, base: str) -> AsyncIterator[Shell]:
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")
    port = base.split(":")[2].partition("/")[0]
    # What a page for everybody leaves to a name server.
    (folder / ".curlrc").write_text(f'connect-to = "::127.0.0.1:{port}"\n')
    process = await asyncio.create_subprocess_exec(
        "bash",
        "-eu",
        "-o",
        "pipefail",
        cwd=folder,
        env={"BASE": base, "PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8"},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        yield Shell(process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def opened(folder: Path, desk: Path) -> Store:
    """Return a gateway's store that knows the keys which the page has made."""
    hub, cosigner = ((desk / f"{name}.vkey").read_text().strip() for name in ("hub", "cosigner"))
    return await Store.open(
        folder / "site.db",
        SITE,
        ring=Ring(hub),
        cosigners=[Verifier.from_vkey(cosigner)],
        ballast_bytes=4096,
    )


@asynccontextmanager
async def site(
    context: ssl.SSLContext, waited: Callable[[], None]
) -> AsyncIterator[tuple[str, list[Shelf]]]:
    """Lend the address of a site whose shelf may come later; `waited` hears of a long poll."""
    shelves: list[Shelf] = []

    async def the_one(request: web.Request) -> Shelf:
        if request.query.get("wait", "0") != "0":
            waited()
        return shelves[-1]

    app = web.Application()
    app.add_routes(make_routes(the_one))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
        yield f"https://0042.lockers.example:{runner.addresses[0][1]}/sync/v1", shelves
    finally:
        await runner.cleanup()


async def test_the_page_is_a_whole_exchange_with_a_gateways_store(tmp_path: Path) -> None:
    desk = tmp_path / "desk"
    desk.mkdir()
    late: list[asyncio.Task[None]] = []

    async def deposit() -> None:
        await asyncio.sleep(0.3)
        await store.append([Record(Lane.CUSTODY, ENTRIES, entry(ENTRIES))])

    keys, entries, says, receipt, voice = blocks()
    console = Operator(tmp_path)
    async with (
        asyncio.timeout(LIMIT_S),
        site(console.gateway(), lambda: late.append(asyncio.create_task(deposit()))) as (
            base,
            shelves,
        ),
        shell(desk, base) as bash,
    ):
        printed = (await bash.run(keys)).splitlines()
        assert [Verifier.from_vkey(line).kind for line in printed] == [1, 4]
        console.add_backend(desk)
        assert (desk / "erp.key").stat().st_mode & 0o077 == 0
        async with await opened(tmp_path, desk) as store:
            shelves.append(store)
            await store.append([Record(Lane.CUSTODY, at, entry(at)) for at in range(ENTRIES)])
            assert f'"origin": "{CUSTODY}"' in await bash.run(entries)
            assert len(late) == 1
            held = [item.entry + b"\n" for item in await store.read(CUSTODY, 0, ENTRIES + 1)]
            assert len(held) == ENTRIES + 1
            assert (desk / "entries").read_bytes() == b"".join(held)
            said = await bash.run(says)
            assert "Signature Verified Successfully" in said
            assert "these are the entries that were signed" in said
            assert "entry 3 is in it" in said
            assert await bash.run(receipt) == "204\n"
            log = await store.log(CUSTODY)
            assert log is not None
            assert log.cosigned == ENTRIES + 1
            assert await bash.run(voice) == '{"size":1}{"size":1}'
            heard = {log.origin: log for log in await store.logs() if not log.own}
            assert sorted(origin.rpartition("/")[2] for origin in heard) == ["custody", "urgent"]
            assert {log.size for log in heard.values()} == {1}
            assert all(origin.startswith("lockers.example/hub/0042/e1-") for origin in heard)
    assert fsck(tmp_path / "site.db").ok


async def checked(folder: Path, spoil: str) -> str:
    """Return what the page's checks print when `spoil` is run before them."""
    keys, entries, says, *_ = blocks()
    console = Operator(folder)
    async with (
        asyncio.timeout(LIMIT_S),
        site(console.gateway(), lambda: None) as (base, shelves),
        shell(folder, base) as bash,
    ):
        await bash.run(keys)
        console.add_backend(folder)
        async with await opened(folder, folder) as store:
            shelves.append(store)
            await store.append([Record(Lane.CUSTODY, at, entry(at)) for at in range(9)])
            await bash.run(entries.replace("follow 55", "true"))
            return await bash.run(f"{spoil}\nset +e\n{says}")


@pytest.mark.parametrize("spoil", ["sed -i 4s/door/d00r/ entries", "sed -i 4d entries"])
async def test_the_page_notices_entries_that_were_not_signed(tmp_path: Path, spoil: str) -> None:
    said = await checked(tmp_path, spoil)
    assert "Signature Verified Successfully" in said
    assert "that were signed" not in said
    assert "is in it" not in said


async def test_the_page_notices_a_checkpoint_that_the_key_did_not_sign(tmp_path: Path) -> None:
    said = await checked(tmp_path, "VKEY=$(cat hub.vkey)")
    assert "Signature Verification Failure" in said
