"""Pins requirement 11 for trust: no key, claim, token, capability or pairing secret shows anywhere.

A site is enrolled by a claim and lives a day over mutual TLS; a courier comes with a capability, an
installer pairs, the operator makes an account and asks the API, well and badly. Then everything
that was said, logged, stored, exported or put into the process list is searched.
"""

import asyncio
import base64
import contextlib
import gc
import io
import json
import logging
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
import structlog
from click.testing import CliRunner
from typing_extensions import override

from certs import capability, lan, tls
from certs import claim as claims
from certs.capability import Action, Capability
from certs.errors import CertsError
from certs.keystore import KeyStore
from gateway import config as gateway_config
from gateway import control, identity, local, logs, pairing
from gateway.cli import main as gateway_cli
from gateway.control import SOCKET
from gateway.errors import GatewayError
from sync.hub import logs as hub_logs
from sync.hub.cli import main as hub_cli
from sync.hub.keys import keys_of
from sync.reader import LogFile
from tests import trust_stage
from tests.trust_stage import Governed, governed, hands

__all__ = ["hands"]

pytestmark = pytest.mark.usefixtures("hands")


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    """Every line that this process logs, from debug on: gateway, hub and libraries."""
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    # The commands run in this process too, and must not lead the log elsewhere.
    monkeypatch.setattr(local, "quiet", lambda: None)
    monkeypatch.setattr(hub_logs, "configure", lambda *_, **__: None)
    yield stream
    logging.getLogger("aiohttp.server").handlers.clear()
    structlog.reset_defaults()


class Canaries:
    """What must show nowhere. `add` takes text as people see it, `key` bytes in any form."""

    def __init__(self) -> None:
        self.forms: dict[str, set[bytes]] = {}

    def add(self, name: str, *texts: str) -> None:
        assert all(len(text) >= 8 for text in texts), name
        self.forms[name] = {text.encode() for text in texts}

    def key(self, name: str, secret: bytes) -> None:
        if len(secret) > 32:
            start = secret.index(b"\x04\x20") + 2  # SPEC: RFC 5915: the private number
            secret = secret[start : start + 32]
        encoded = {base64.b64encode(secret), base64.urlsafe_b64encode(secret)}
        self.forms[name] = {secret, secret.hex().encode()} | {one.rstrip(b"=") for one in encoded}

    def keys(self, whose: str, store: Any) -> None:
        for name in store.names():
            self.key(f"{whose} {name}", store.read(name, size=None))

    def shown_in(self, place: str, data: bytes, *leave: str) -> list[str]:
        return [
            f"{name} in {place}"
            for name, forms in self.forms.items()
            if name not in leave and any(form in data for form in forms)
        ]


async def command(cli: Any, *words: str, told: list[str]) -> str:
    done = await asyncio.to_thread(CliRunner().invoke, cli, [*words])
    told.append(done.output + repr(done.exception))
    return str(done.output)


class WithInstaller(Governed):
    """That site, with its listener for installers on loopback."""

    @override
    def config(self) -> gateway_config.Config:
        listens = gateway_config.Installer(listen="127.0.0.1:0")
        return msgspec.structs.replace(super().config(), installer=listens)


async def enrol(stage: Governed, found: Canaries, told: list[str]) -> None:
    """Enrol with a wrong claim, then with the right one, by the command that people use."""
    invitation = await stage.hubbub.invitation()
    letters = claims.write(invitation.claim)
    found.key("claim", invitation.claim)
    found.forms["claim"] |= {letters.encode(), letters.lower().encode()}
    wrong = claims.write(bytes(16))
    where = ("--data", str(stage.data), "--hub", invitation.url, "--root", invitation.root)
    assert "Error" in await command(gateway_cli, "enrol", wrong, *where, told=told)
    for _ in range(2):  # once more, as after a cut
        assert "Error" not in await command(gateway_cli, "enrol", letters, *where, told=told)


async def account(stage: Governed, found: Canaries) -> str:
    """Make an operator's account; the command shows its token this once."""
    shown: list[str] = []
    words = ("account", "add", "eva", "--role", "operator", "--json")
    config = ("--config", str(stage.hubbub.data))
    made = json.loads(await command(hub_cli, *words, *config, told=shown))
    secret = made["token"].rpartition(".")[2]
    found.add("account token", secret)
    found.add("second factor", made["otpauth"].partition("secret=")[2].partition("&")[0])
    return str(made["token"])


async def ask(stage: Governed, token: str, told: list[str]) -> None:
    """Ask the API with the token alone, with a wrong one, and with the token in a wrong place."""
    context = tls.client(stage.hubbub.authority.roots)
    async with aiohttp.ClientSession() as session:
        for path, header in (
            ("/api/v1/sites", f"Bearer {token}"),
            ("/api/v1/sites", f"Bearer {token[:-1]}"),
            ("/api/v1/sites", f"Basic {token}"),
            ("/api/v1/sites/0042/book", f"Bearer  {token} "),
        ):
            headers = {"Authorization": header, "Second-Factor": "000000"}
            url = f"{stage.hubbub.url}{path}"
            async with session.get(url, headers=headers, ssl=context) as answer:
                told += [await answer.text(), str(answer.headers)]
                assert answer.status >= 400


async def people(stage: WithInstaller, found: Canaries, told: list[str], folder: Path) -> None:
    """A courier shows a capability, an altered one first; an installer pairs and asks."""
    now_s = int(time.time())
    given = Capability(
        action=Action.COURIER, cti=b"canary01", not_before_s=now_s - 60, expires_s=now_s + 3600,
        audience="lockers.example/site/0042", subject="acme",
    )  # fmt: skip
    text = capability.to_text(capability.sign(given, stage.hubbub.authority.grants))
    found.add("capability", text, text.removeprefix("PLG1:"), text[40:80])
    for shown in (text[:-6] + "AAAAAA", text, text):
        await say(stage, "scan", {"text": shown}, told)
        await look(stage, told)
    offered = await control.pairing(stage.data / SOCKET, do="open", by="eva", name="anna")
    offer = lan.read_offer(offered["qr"])
    found.key("pairing secret", offer.secret)
    found.forms["pairing secret"].add(base64.b32encode(offer.secret).rstrip(b"="))
    wrong = bytes(16)
    for secret in (wrong, offer.secret):
        try:
            await asyncio.to_thread(
                pairing.pair, offer.address, offer.pin, secret, folder=folder, name="anna"
            )
        except (CertsError, GatewayError) as error:
            told.append(str(error))
    told.append(repr(await control.pairing(stage.data / SOCKET, do="list", by="eva", name="")))
    _, gateway = pairing.load(folder / "anna")
    told += [
        repr(await asyncio.to_thread(gateway.ask, "GET", path))
        for path in ("/api/status", "/api/trends", "/api/diagnostics")
    ]
    found.key("installer's key", KeyStore(folder / "anna" / "keys").read(pairing.KEY, size=None))


async def say(stage: Governed, path: str, body: dict[str, str], told: list[str]) -> None:
    async with stage.web.post(f"{stage.app.kiosk_url}api/{path}", json=body) as answer:
        told += [await answer.text(), str(answer.headers)]
        assert answer.status in {200, 202, 204, 400}, answer.status


async def look(stage: Governed, told: list[str]) -> None:
    """What is on the screen, and what health and status say."""
    for path in ("api/screen", "healthz"):
        async with stage.web.get(f"{stage.app.kiosk_url}{path}") as answer:
            told += [await answer.text(), str(answer.headers)]
    told.append(repr(stage.app.status()))


async def commands(stage: Governed, told: list[str], file: Path) -> None:
    """What people and support ask for, well and badly, the diagnostics too."""
    data, hub = ("--data", str(stage.data)), ("--config", str(stage.hubbub.data))
    for words in (
        ("status", "--json", *data), ("key", "check", *data), ("key", "seal", *data),
        ("log", "verify", *data), ("log", "show", "--json", *data), ("log", "vkey", *data),
        ("sync", "status", *data), ("doctor", "--config", str(file)), ("trends", "--json", *data),
        ("diagnostics", "--config", str(file), "--out", f"{file}.bundle", *data),
        ("key", "rotate", "log", *data), ("key", "rotate", "log", *data),
        ("courier", "list", *data), ("pairing", "list", *data),
        ("decommission", "--why", "no", "--yes", "--export", "/nowhere/at/all", *data),
    ):  # fmt: skip
        await command(gateway_cli, *words, told=told)
    told.append(file.with_name(f"{file.name}.bundle").read_text(encoding="utf-8"))
    for words in (
        ("status", *hub),
        ("site", "show", "0042", *hub),
        ("account", "list", *hub),
        ("claim", "list", *hub),
        ("device", "list", "0042", *hub),
        ("key", "check", *hub),
        ("vkey", "0042", *hub),
        ("key", "seal", *hub),
    ):
        await command(hub_cli, *words, told=told)


def processes(found: Canaries) -> list[str]:
    """Search what every process of this machine shows of itself to others."""
    wrong = []
    for folder in Path("/proc").glob("[0-9]*"):
        for name in ("cmdline", "environ"):
            with contextlib.suppress(OSError):
                wrong += found.shown_in(f"{name} of {folder.name}", (folder / name).read_bytes())
    return wrong


def stored(stage: Governed, tmp_path: Path, found: Canaries) -> list[str]:
    """Search backups, exports and entries. Keys are in key folders, and nowhere else.

    The hub's database holds its claims while they are open (`sync.hub.claims`); what is left of
    this one in the WAL is burnt, and good for nothing.
    """
    wrong = []
    backup = tmp_path / "backup.db"
    with (
        contextlib.closing(sqlite3.connect(identity.database_of(stage.data))) as file,
        contextlib.closing(sqlite3.connect(backup)) as copy,
    ):
        file.backup(copy)
    wrong += found.shown_in("a backup", backup.read_bytes())
    with LogFile.open(backup) as log:
        for head in log.heads():
            whole = b"".join(one.entry for one in log.records(head))
            wrong += found.shown_in(f"entries of {head.log}", whole)
    for folder in (stage.data, stage.hubbub.data):
        for path in folder.rglob("*"):
            if path.is_file() and path.parent.name != "keys":
                leave = ["claim"] if path.name.startswith("hub.db") else []
                place = f"{folder.name}/{path.name}"
                wrong += found.shown_in(place, path.read_bytes(), *leave)
    return wrong


async def test_no_secret_of_trust_shows_anywhere(
    tmp_path: Path,
    lines: io.StringIO,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: list[str] = []
    found = Canaries()
    monkeypatch.setattr(trust_stage, "Governed", WithInstaller)
    async with governed(tmp_path, monkeypatch) as stage:
        assert isinstance(stage, WithInstaller)
        await enrol(stage, found, told)
        await stage.begin()
        await stage.linked()
        await ask(stage, await account(stage, found), told)
        await people(stage, found, told, tmp_path / "installer")
        file = tmp_path / "gateway.toml"
        file.write_text(stage.config_text(), encoding="utf-8")
        await commands(stage, told, file)
        # The keys of both, the next log key included.
        found.keys("gateway", identity.keys_of(stage.data))
        found.keys("hub", keys_of(stage.hubbub.data))
        assert processes(found) == []
        await stage.synced()
        assert await stage.stop() == 0
        export = ("sync", "export", str(tmp_path / "stick"), "--config", str(file))
        assert "Error" not in await command(gateway_cli, *export, told=told)
        assert stored(stage, tmp_path, found) == []
        assert found.shown_in("an export", (tmp_path / "stick").read_bytes()) == []
    said = "\n".join([lines.getvalue(), *told, *capfd.readouterr()]).encode()
    assert all(line in said for line in (b"site.ready", b"key.rotates", b"site.stopped"))
    assert said.count(b"left_out") >= 4, "the bundles and trends are among it"
    assert found.shown_in("what was said or logged", said) == []
    names = {"claim", "account token", "second factor", "capability", "pairing secret"}
    names |= {"installer's key", "gateway log", "gateway log-next", "gateway tls", "gateway lan"}
    names |= {"gateway code", "hub log", "hub root", "hub tls", "hub grants"}
    assert names <= set(found.forms)
    gc.collect()


def test_the_search_would_find_each_of_them(tmp_path: Path) -> None:
    """A net with a hole catches nothing: each form of a secret is found where it stands."""
    found = Canaries()
    found.key("key", bytes(range(32)))
    found.add("word", "ABCDEFGH")
    for form in (bytes(range(32)), bytes(range(32)).hex().encode(), b"AAECAwQFBgcICQ"):
        whole = base64.b64encode(bytes(range(32))) if form.startswith(b"AAEC") else form
        assert found.shown_in("here", b"x" + whole + b"y") == ["key in here"]
    assert found.shown_in("there", b"..ABCDEFGH..") == ["word in there"]
