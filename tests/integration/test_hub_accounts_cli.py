"""Pins accounts at a real hub: made by command while it runs, shown once, heard over TLS, ended."""

import json
import os
import re
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from sync.hub import accounts
from tests.integration.test_hub_cli import HUB, LIMIT_S, free_port


def hub(*words: str | Path) -> tuple[int, str, str]:
    done = subprocess.run(
        [HUB, *words], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    return done.returncode, done.stdout, done.stderr


@contextmanager
def running(data: Path) -> Iterator[str]:
    """A hub of its own process, with an authority, on ports of its own."""
    ports = [free_port() for _ in range(3)]
    text = (data / "hub.toml").read_text()
    for name, port in zip(("api", "link", "renew"), ports, strict=True):
        text += f'[{name}]\nlisten = "127.0.0.1:{port}"\n'
    (data / "hub.toml").write_text(text)
    process = subprocess.Popen(
        [HUB, "run", data], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert process.stdout is not None
    try:
        found = re.search(r"https://\S+(?=/api/v1)", process.stdout.readline())
        assert found, process.poll()
        yield f"https://127.0.0.1:{ports[0]}/api/v1"
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait(LIMIT_S)
        process.stdout.close()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    status, _, err = hub(
        "init", tmp_path / "hub", "--operator", "lockers.example", "--ca", "127.0.0.1"
    )
    assert status == 0, err
    return tmp_path / "hub"


def get(data: Path, url: str, token: str = "") -> tuple[int, Any]:
    context = ssl.create_default_context(cafile=data / "ca" / "root.pem")
    request = urllib.request.Request(url)  # this test's own hub
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=LIMIT_S, context=context) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def test_an_account_is_made_heard_and_ended_while_the_hub_runs(data: Path) -> None:
    config = ("--config", str(data))
    with running(data) as url:
        status, out, err = hub("account", "add", "desk", "--role", "support", *config)
        assert status == 0, err
        token = out.strip()
        assert re.fullmatch(r"desk\.[A-Za-z0-9_-]{32}", token)
        assert get(data, f"{url}/sites", token) == (200, {"sites": [], "next": ""})
        assert get(data, f"{url}/sites")[0] == 401
        assert get(data, f"{url}/accounts", token)[1]["code"] == "access.role"
        status, out, _ = hub("account", "add", "chief", "--role", "operator", "--json", *config)
        made = json.loads(out)
        assert made["otpauth"].startswith("otpauth://totp/lockers.example%3Achief?secret=")
        assert get(data, f"{url}/accounts", made["token"])[1]["code"] == "access.second_factor"
        status, out, _ = hub("account", "list", *config)
        assert [line.split()[:2] for line in out.splitlines()] == [
            ["chief", "operator"], ["desk", "support"],
        ]  # fmt: skip
        assert token.partition(".")[2] not in out
        assert hub("account", "end", "desk", *config)[0] == 0
        assert get(data, f"{url}/sites", token)[1]["code"] == "access.expired"
        for command in (("open", "0042", "1", "--why", "w", "--case", "c"), ("approve", "0042")):
            status, _, err = hub(*command, *config)
            assert (status, "hub.unknown_site" in err) == (1, True), err
        assert hub("approve", "0042", "0" * 16, *config)[0] == 1
    # Stopped, the same commands work on the storage.
    status, out, _ = hub("account", "list", "--json", *config)
    assert [one["name"] for one in json.loads(out)] == ["chief", "desk"]
    assert "account.exists" in hub("account", "add", "desk", "--role", "support", *config)[2]


def test_the_key_of_the_commands_is_not_in_what_they_show(data: Path) -> None:
    """Neither in a process's arguments nor in its output, and another hub never hears it."""
    key = (data / "keys" / "cli").read_bytes()
    assert (data / "keys" / "cli").stat().st_mode & 0o777 == 0o600
    secret = accounts.local_secret(key)
    with running(data):
        told = hub("account", "list", "--config", str(data))
        assert told[0] == 0
        assert secret not in "".join(map(str, told))
    # Somebody else listens there now: it shows no certificate of ours, and is told nothing.
    port = int(re.findall(r'"127\.0\.0\.1:(\d+)"', (data / "hub.toml").read_text())[0])
    thief = subprocess.Popen(
        [sys.executable, "-c", THIEF, str(port)], stdout=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )  # fmt: skip
    assert thief.stdout is not None
    try:
        assert thief.stdout.readline() == "ready\n"
        assert "hub.not_running" in hub("status", "--config", str(data))[2]
        got = thief.stdout.readline()
    finally:
        thief.kill()
        thief.wait(LIMIT_S)
        thief.stdout.close()
    assert "Bearer" not in got
    assert secret not in got


THIEF = """
import socket, sys
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
print("ready")
peer, _ = server.accept()
print(repr(peer.recv(65536)))
peer.close()
"""
