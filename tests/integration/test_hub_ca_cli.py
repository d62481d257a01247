"""Pins the commands of the hub's authority, from an empty folder to a gateway that is let in."""

import asyncio
import os
import re
import ssl
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import structlog
from click.testing import CliRunner

from certs import authority, claim, enrol, tls
from certs.keystore import KeyStore
from sync.hub import ca, cli
from sync.hub.authority import HubAuthority
from tests.integration.test_hub_cli import Told, done, free_port, refused

LIMIT_S = 30
HUB = Path(sys.executable).with_name("locker-hub")
OP = "lockers.example"
KEYS = {"grants", "issuing", "root", "time", "tls", "trust"}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The commands set log lines up for this process: put them back."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return made(tmp_path / "hub")


def made(folder: Path) -> Path:
    done("init", folder, "--operator", OP, "--ca", "127.0.0.1")
    ports = [free_port() for _ in range(3)]
    with (folder / "hub.toml").open("a") as file:
        for name, port in zip(("api", "link", "renew"), ports, strict=True):
            file.write(f'\n[{name}]\nlisten = "127.0.0.1:{port}"\n')
    return folder


@contextmanager
def running(data: Path) -> Iterator[str]:
    """A hub of its own process, ready, and its URL."""
    process = subprocess.Popen(
        [HUB, "run", data], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.match(r"hub (https://\S+)/api/v1$", line)
        assert found, line
        yield found[1]
    finally:
        process.terminate()
        try:
            process.wait(LIMIT_S)
        finally:
            process.kill()
            process.stdout.close()


async def enrolled(text: str) -> tuple[tls.Credentials, enrol.Enrolled, tuple[Any, ...]]:
    key, invitation = tls.new_key(), claim.read(text)
    machine = enrol.Enrolling(invitation, key, os.urandom(32), os.urandom(16))
    async with aiohttp.ClientSession() as web:
        while (ask := machine.ask()) is not None:
            known = machine.trusted.roots if machine.trusted else ()
            context = tls.client(known) if ask.pinned else tls.unchecked_client()
            url = invitation.url + ask.path
            async with web.request(ask.method, url, data=ask.body or None, ssl=context) as answer:
                machine.hear(await answer.read())
    assert machine.enrolled is not None
    assert machine.trusted is not None
    told = machine.enrolled
    return tls.Credentials(told.certificate, key), told, machine.trusted.roots


async def asked(url: str, context: ssl.SSLContext) -> int:
    async with aiohttp.ClientSession() as web, web.get(url, ssl=context) as answer:
        return answer.status


# --- the authority --------------------------------------------------------------------------------


def test_a_hub_is_an_authority_from_an_empty_folder_on_and_two_share_no_key(
    tmp_path: Path,
) -> None:
    folders = [made(tmp_path / name) for name in ("one", "two")]
    secrets: list[bytes] = []
    for folder in folders:
        store = KeyStore(folder / "keys")
        assert set(store.names()) >= KEYS | {"log", "cosigner", "master"}
        secrets += [store.read(name, size=None) for name in store.names()]
        for path in (folder / "keys").iterdir():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE((folder / "ca").stat().st_mode) == 0o700
    assert len(set(secrets)) == len(secrets)
    shown = done("ca", "show", "--config", folders[0]).out
    told = done("ca", "show", "--config", folders[0], "--json").json
    assert f"root {told['root']}" in shown
    assert re.search(r"^ +(?:[0-9a-f]{4} ){15}[0-9a-f]{4}$", shown, re.MULTILINE)
    assert told["hosts"] == ["127.0.0.1", "localhost", "::1"]
    openssl = ["openssl", "verify", "-CAfile", f"{folders[0]}/ca/root.pem"]
    subprocess.run([*openssl, f"{folders[0]}/ca/issuing.pem"], check=True, capture_output=True)
    for text in (folders[0] / "ca").iterdir():
        assert "PRIVATE" not in text.read_text()


def test_an_authority_is_made_once_and_a_hub_without_one_does_not_start(tmp_path: Path) -> None:
    done("init", tmp_path / "hub", "--operator", OP)
    refused("hub.no_authority", "run", tmp_path / "hub")
    refused("hub.no_authority", "ca", "show", "--config", tmp_path / "hub")
    refused("hub.no_authority", "claim", "create", "0042", "--config", tmp_path / "hub")
    refused("authority.hosts", "ca", "init", "--host", "a b", "--config", tmp_path / "hub")
    done("ca", "init", "--host", "hub.example", "--host", "::1", "--config", tmp_path / "hub")
    before = (tmp_path / "hub/ca/trust.json").read_bytes()
    words = ("ca", "init", "--host", "x", "--config", tmp_path / "hub")
    refused("authority.exists", *words)
    assert (tmp_path / "hub/ca/trust.json").read_bytes() == before


def test_init_listens_for_gateways_where_they_come_from_elsewhere(tmp_path: Path) -> None:
    done("init", tmp_path / "a", "--operator", OP, "--ca", "hub.example")
    assert 'listen = "0.0.0.0:8700"' in (tmp_path / "a/hub.toml").read_text()
    done("init", tmp_path / "b", "--operator", OP, "--ca", "localhost")
    assert "[api]" not in (tmp_path / "b/hub.toml").read_text()


@pytest.mark.parametrize("step", ["before", "after"])
def test_what_lost_power_is_the_old_authority_or_the_new_one(
    data: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """Before the one file is in place nothing has happened; after it the keys follow."""
    before = HubAuthority.load(data)
    with monkeypatch.context() as patched:
        patched.setattr(ca, "_commit" if step == "before" else "_settle", _dies)
        assert _dies_in("ca", "rotate", "--root", "--config", str(data))
    known = HubAuthority.load(data)
    assert before is not None
    assert known is not None
    assert len(known.roots) == (1 if step == "before" else 2)
    ca.settle(data)
    again = HubAuthority.load(data)
    assert again is not None
    assert again.state == known.state
    if step == "after":
        assert not [name for name in KeyStore(data / "keys").names() if name.endswith("-next")]
    done("ca", "rotate", "--root", "--config", data)
    assert done("ca", "show", "--config", data, "--json").json["anchors"] == known.state.number + 1


def _dies(*_: Any, **__: Any) -> None:
    raise _LostPower


class _LostPower(BaseException):
    pass


def _dies_in(*words: str) -> bool:
    try:
        CliRunner().invoke(cli.main, list(words), standalone_mode=False)
    except _LostPower:
        return True
    return False


def test_the_roots_key_can_live_elsewhere(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "root.key"
    done("ca", "take-root", file, "--config", data)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "root" not in KeyStore(data / "keys").names()
    assert not done("ca", "show", "--config", data, "--json").json["root_key_here"]
    refused("authority.root_offline", "ca", "rotate", "--config", data)
    done("ca", "renew", "--config", data)
    done("ca", "rotate", "--root-key", file, "--config", data)
    foreign = tmp_path / "foreign.key"
    done("ca", "take-root", foreign, "--config", made(tmp_path / "other"))
    refused("authority.root_key", "ca", "rotate", "--root-key", foreign, "--config", data)
    told = done("ca", "rotate", "--root", "--root-key", file, "--config", data, "--json").json
    assert len(told["roots"]) == 2
    assert told["anchors"] == 2
    assert told["root_key_here"], "the new root's key is here, to be taken away too"


# --- a running hub --------------------------------------------------------------------------------


def test_a_claim_is_made_listed_used_and_its_gateway_shown_and_switched_off(data: Path) -> None:
    with running(data):
        text = done("claim", "create", "0042", "--config", data).out
        letters = re.search(r"^ +((?:[A-Z2-7]{4} ){6}[A-Z2-7]{2})$", text, re.MULTILINE)
        assert letters, text
        assert "█" in text
        assert claim.write(claim.read(letters[1]).claim) not in text.replace(letters[1], "")
        made = done("claim", "create", "0043", "--config", data, "--json").json
        listed = done("claim", "list", "--config", data)
        assert made["letters"] not in listed.out
        assert "open" in listed.out
        done("claim", "end", made["id"], "--config", data)
        made = done("claim", "create", "0042", "--config", data, "--json").json
        own, told, roots = asyncio.run(enrolled(made["text"]))
        url = f"{told.link_url}/sites/0042/trust"
        assert asyncio.run(asked(url, tls.client(roots, own))) == 200
        pin = authority.pin_of(own.key.public_key())
        (device,) = done("device", "list", "0042", "--config", data, "--json").json["devices"]
        assert (device["pin"], device["enabled"]) == (pin, True)
        done("device", "revoke", "0042", pin[:16], "--config", data)
        assert asyncio.run(asked(url, tls.client(roots, own))) == 403
        assert "revoked" in done("device", "list", "0042", "--config", data).out
        done("device", "enable", "0042", pin[:16], "--config", data)
        assert asyncio.run(asked(url, tls.client(roots, own))) == 200
        assert _used(done("claim", "list", "--config", data, "--json"), made["id"])


def _used(told: Told, name: str) -> bool:
    (found,) = [one for one in told.json["invitations"] if one["id"] == name]
    return found["state"] == "used" and "claim" not in found


def test_a_backend_gets_a_certificate_for_its_request(data: Path, tmp_path: Path) -> None:
    key, csr = tmp_path / "key.pem", tmp_path / "csr.pem"
    words = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]
    more = ["-nodes", "-keyout", str(key), "-out", str(csr), "-subj", "/CN=erp"]
    subprocess.run([*words, *more], check=True, capture_output=True)
    with running(data):
        made = done("claim", "create", "0042", "--config", data, "--json").json
        _, told, _ = asyncio.run(enrolled(made["text"]))
        out = tmp_path / "erp.pem"
        words_ = ("--csr", csr, "--site", "0042", "--out", out, "--config", data)
        done("backend", "add", "erp", *words_)
        context = ssl.create_default_context(cafile=str(data / "ca/root.pem"))
        context.load_cert_chain(out, key)
        url = f"{told.link_url}/sites/0042/sync/v1/logs"
        assert asyncio.run(asked(url, context)) == 200
        assert "erp" in done("backend", "list", "--config", data).out
        done("backend", "end", "erp", "--config", data)
        assert asyncio.run(asked(url, context)) == 403
        assert done("backend", "list", "--config", data).out == "no backends\n"
