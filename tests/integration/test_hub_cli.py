"""Pins `locker-hub`: what each command does and refuses, alone and beside a hub that runs."""

import asyncio
import base64
import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_type_hints

import aiohttp
import msgspec
import pytest
import structlog
from click.testing import CliRunner

import gateway.cli
from certs.keys import KIND_COSIGNATURE, Verifier
from gateway.commands.key import CodeKeyFile
from sync.codes import CodeKey
from sync.errors import Reason, StoreFailed, TheirsInvalid
from sync.hub import cli, config, folder, issue, rooms, systemd
from sync.hub.app import App
from sync.hub.commands import _shared as shared
from sync.hub.keys import Keys
from sync.hub.rooms import Hub

LIMIT_S = 30
HUB = Path(sys.executable).with_name("locker-hub")


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The commands set log lines up for this process: put them back."""
    yield
    structlog.reset_defaults()


@dataclass
class Told:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


def hub(*words: str | Path, env: dict[str, str] | None = None) -> Told:
    result = CliRunner().invoke(cli.main, [str(word) for word in words], env=env)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Told(result.exit_code, result.stdout, result.stderr)


def done(*words: str | Path) -> Told:
    told = hub(*words)
    assert told.status == 0, told
    return told


def refused(code: str, *words: str | Path) -> str:
    told = hub(*words)
    assert (told.status, told.out) == (1, ""), told
    assert told.err.splitlines()[-1].startswith(f"Error: {code}: "), told.err
    return told.err


@pytest.fixture
def data(tmp_path: Path) -> Path:
    done("init", tmp_path / "hub", "--operator", "lockers.example")
    listen(tmp_path / "hub", free_port())
    return tmp_path / "hub"


@pytest.fixture
def vkey(tmp_path: Path) -> str:
    """A line that a real site prints."""
    runner = CliRunner()
    site = str(tmp_path / "site")
    assert runner.invoke(gateway.cli.main, ["init", "--data", site]).exit_code == 0
    return runner.invoke(gateway.cli.main, ["log", "vkey", "--data", site]).stdout.splitlines()[0]


@contextmanager
def running(data: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A hub of its own process, ready, and its URL; ended by SIGTERM."""
    listen(data, free_port())
    process = subprocess.Popen(
        [HUB, "run", data], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        found = re.match(r"hub (http://\S+)/api/v1$", line)
        assert found, (line, process.poll())
        yield process, found[1]
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0
    finally:
        process.kill()
        process.wait(LIMIT_S)
        process.stdout.close()


def listen(data: Path, port: int) -> None:
    """Have the hub listen there, plainly: other tests run hubs beside this one."""
    text = (data / "hub.toml").read_text().partition("[api]")[0]
    api = f'[api]\nlisten = "127.0.0.1:{port}"\n[log]\nformat = "json"\n'
    api += "[development]\nplain = true\n"
    (data / "hub.toml").write_text(text + api)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=LIMIT_S) as answer:
        return json.load(answer)


# --- init and configuration ---------------------------------------------------------------------


def test_init_makes_keys_that_are_the_owners_alone(data: Path) -> None:
    assert sorted(path.name for path in (data / "keys").iterdir()) == [
        "cli", "cosigner", "log", "master", "second-factor",
    ]  # fmt: skip
    for path in (data / "hub.toml", *(data / "keys").iterdir()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(data.stat().st_mode) == 0o700
    keys = Keys.load(data, "lockers.example")
    assert len({keys.log_seed, keys.cosigner_seed, keys.master}) == 3
    assert keys.master.hex() not in repr(keys)


def test_a_hub_is_made_once_and_what_was_interrupted_is_finished(data: Path) -> None:
    refused("hub.exists", "init", data, "--operator", "lockers.example")
    before = Keys.load(data, "lockers.example")
    (data / "hub.toml").unlink()
    (data / "keys" / "master").unlink()
    done("init", data, "--operator", "lockers.example")
    after = Keys.load(data, "lockers.example")
    assert (after.log_seed, after.cosigner_seed) == (before.log_seed, before.cosigner_seed)


def test_init_refuses_what_could_not_run(tmp_path: Path) -> None:
    refused("config.invalid", "init", tmp_path / "a", "--operator", "Not A Host")
    words = ("--operator", "lockers.example", "--storage", "mysql://x/y")
    refused("config.invalid", "init", tmp_path / "a", *words)
    assert not (tmp_path / "a").exists()
    (tmp_path / "file").write_text("")
    refused("store.io", "init", tmp_path / "file/hub", "--operator", "lockers.example")
    told = done(
        "init", tmp_path / "b", "--operator", "lockers.example", "--json",
        "--storage", "postgresql://u:p@h/d",
    )  # fmt: skip
    assert "u:p" not in told.out
    assert folder.read(tmp_path / "b").storage_url == "postgresql://u:p@h/d"


GOOD = 'data_dir = "/d"\noperator = "lockers.example"\n'
PLAIN = GOOD + "[development]\nplain = true\n"


@pytest.mark.parametrize(
    ("text", "code", "key"),
    [
        ("", "config.invalid", ""),
        (GOOD + "stray = 1\n", "config.invalid", ""),
        (GOOD.replace("/d", "d"), "config.invalid", "data_dir"),
        (GOOD.replace("lockers.example", "A b"), "config.invalid", "operator"),
        (GOOD + 'storage = "mysql://x"\n', "config.invalid", "storage"),
        (PLAIN + '[api]\nlisten = "0.0.0.0:8700"\n', "hub.not_loopback", "api.listen"),
        (PLAIN + '[api]\nlisten = "192.168.0.9:80"\n', "hub.not_loopback", "api.listen"),
        (GOOD + '[api]\nlisten = "127.0.0.1"\n', "config.invalid", "api.listen"),
        (GOOD + '[api]\nlisten = "localhost:1"\n', "config.invalid", "api.listen"),
        (GOOD + '[api]\nlisten = "127.0.0.1:99999"\n', "config.invalid", "api.listen"),
        (GOOD + '[api]\nlisten = "127.0.0.1:x"\n', "config.invalid", "api.listen"),
        (GOOD + '[link]\nlisten = "here:1"\n', "config.invalid", "link.listen"),
        (GOOD + '[renew]\nlisten = "::1"\n', "config.invalid", "renew.listen"),
        (GOOD + '[api]\nlisten = "[::]:65534"\n', "config.invalid", "renew.listen"),
        (GOOD + '[link]\nurl = "http://hub.example"\n', "config.invalid", "link.url"),
        (GOOD + "[api]\npage_max = 0\n", "config.invalid", "api.page_max"),
        (GOOD + "a" + ".a" * 65 + " = 1\n", "config.invalid", ""),
        (GOOD + "#" * config.CHARACTERS_MAX, "config.invalid", ""),
        ("not toml", "config.invalid", ""),
        ("n = " + "9" * 5000, "config.invalid", ""),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(text: str, code: str, key: str) -> None:
    with pytest.raises(TheirsInvalid) as refusal:
        config.parse(text)
    assert (refusal.value.code, refusal.value.evidence["key"]) == (code, key)
    assert refusal.value.evidence["reason"]


def test_every_key_of_the_example_is_one_and_every_key_is_in_it() -> None:
    root = Path(__file__).resolve().parents[2]
    text = (root / "deploy/config/hub.example.toml").read_text()
    shown = text.replace("# storage", "## ").replace("# plain", "## ")
    config.parse(re.sub(r"^# (\w+ = [^#\n]*)(#.*)?$", r"\1", shown, flags=re.MULTILINE))
    named = {
        field: kind for field, kind in get_type_hints(config.Config).items()
        if isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    }  # fmt: skip
    keys = {key for kind in named.values() for key in kind.__struct_fields__}
    keys |= set(config.Config.__struct_fields__) - set(named)
    tables = set(re.findall(r"^\[(\w+)\]", text, re.MULTILINE))
    assert tables == set(named)
    assert {key for key in keys if not re.search(rf"^(# )?{key} = ", text, re.MULTILINE)} == set()


def test_the_configuration_is_found_or_named_as_missing(data: Path, tmp_path: Path) -> None:
    assert folder.read(data) == folder.read(data / "hub.toml")
    assert folder.read(data).storage_url == f"sqlite://{data}/hub.db"
    (tmp_path / "empty").mkdir()
    refused("config.missing", "run", tmp_path / "empty")
    (tmp_path / "bad.toml").write_bytes(b"\xff")
    refused("config.invalid", "run", tmp_path / "bad.toml")
    told = hub("site", "list", env={"LOCKER_HUB_CONFIG": str(data)})
    assert (told.status, told.out) == (0, "no sites\n")


# --- sites and keys -----------------------------------------------------------------------------


def test_a_site_is_added_with_the_line_that_its_gateway_prints(data: Path, vkey: str) -> None:
    told = done("site", "add", "0042", "--config", data, "--vkey", vkey, "--label", "Station")
    name, writer, cosigner = told.out.splitlines()
    assert name == "lockers.example/site/0042"
    assert Verifier.from_vkey(writer).name == "lockers.example/hub/0042"
    assert Verifier.from_vkey(cosigner).kind == KIND_COSIGNATURE
    assert done("vkey", "0042", "--config", data).out == f"{writer}\n{cosigner}\n"
    keys = done("vkey", "0042", "--config", data, "--json").json
    assert keys == {"writer": writer, "cosigner": cosigner}
    [shown] = done("site", "list", "--config", data, "--json").json
    assert (shown["site"], shown["label"]) == ("0042", "Station")
    assert shown["vkey"].startswith("lockers.example/site/0042+")
    assert {log["origin"].rpartition("/")[2]: log["size"] for log in shown["logs"]} == {
        "custody": 0, "urgent": 1,
    }  # fmt: skip
    assert done("site", "show", "0042", "--config", data, "--json").json == shown
    assert "hub/0042/e1-" in done("site", "show", "0042", "--config", data).out
    again = done("site", "add", "0042", "--config", data, "--vkey", vkey, "--label", "x", "--json")
    assert again.json == shown, "the same site again changes nothing"


def test_wrong_sites_are_refused(data: Path, vkey: str) -> None:
    refused("site.vkey", "site", "add", "0043", "--config", data, "--vkey", vkey)
    refused("site.vkey", "site", "add", "0042", "--config", data, "--vkey", "nonsense")
    refused("site.id", "site", "add", "A", "--config", data, "--vkey", vkey)
    words = ("--vkey", vkey, "--url", "ftp://x")
    refused("site.url", "site", "add", "0042", "--config", data, *words)
    refused("hub.unknown_site", "site", "show", "0042", "--config", data)
    refused("site.id", "vkey", "A b", "--config", data)


def test_the_code_key_goes_to_a_file_that_the_gateway_reads(
    data: Path, tmp_path: Path, vkey: str
) -> None:
    out = tmp_path / "key.json"
    refused("hub.unknown_site", "code-key", "0042", "--config", data, "--out", out)
    done("site", "add", "0042", "--config", data, "--vkey", vkey)
    told = done("code-key", "0042", "--config", data, "--out", out, "--key-version", "3")
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    read = msgspec.json.decode(out.read_bytes(), type=CodeKeyFile)
    assert (read.site, read.key_version) == ("lockers.example/site/0042", 3)
    assert read.key not in told.out + told.err
    derived = CodeKey.derive(Keys.load(data, "lockers.example").master, read.site, 3)
    assert base64.b64decode(read.key) == derived.key
    refused("hub.file_exists", "code-key", "0042", "--config", data, "--out", out)
    refused("store.io", "code-key", "0042", "--config", data, "--out", tmp_path / "no/where")
    took = CliRunner().invoke(
        gateway.cli.main, ["key", "import", str(out), "--data", str(tmp_path / "site")]
    )
    assert took.exit_code == 0, took.output


def test_a_higher_version_of_a_code_key_is_used_from_then_on(
    data: Path, tmp_path: Path, vkey: str
) -> None:
    done("site", "add", "0042", "--config", data, "--vkey", vkey)
    words = ("code-key", "0042", "--config", data, "--out")
    assert "code key 1" in done(*words, tmp_path / "1").out
    done(*words, tmp_path / "3", "--key-version", "3")
    assert done(*words, tmp_path / "now", "--json").json == {
        "site": "lockers.example/site/0042", "key_version": 3, "file": str(tmp_path / "now"),
    }  # fmt: skip
    assert (tmp_path / "now").read_bytes() == (tmp_path / "3").read_bytes()
    assert "code key 1" in done(*words, tmp_path / "old", "--key-version", "1").out
    assert done("site", "show", "0042", "--config", data, "--json").json["key_version"] == 3
    with running(data) as (process, _):
        assert "code key 3" in done(*words, tmp_path / "beside").out
        refused("store.busy", *words, tmp_path / "4", "--key-version", "4")
        assert not (tmp_path / "4").exists()
    assert process.stderr is not None
    process.stderr.close()


def test_keys_that_are_gone_are_named(data: Path) -> None:
    (data / "keys" / "master").unlink()
    refused("keystore.missing", "vkey", "0042", "--config", data)


# --- restore ------------------------------------------------------------------------------------


def test_restored_fences_every_site_and_heal_lifts_it(data: Path, vkey: str) -> None:
    done("site", "add", "0042", "--config", data, "--vkey", vkey)
    told = done("restored", "--config", data, "--json").json
    assert told["fenced"]["0042"].startswith("e2-")
    assert done("site", "list", "--config", data).out == "0042  fenced\n"
    again = done("restored", "--config", data, "--json").json
    assert again["instance"] != told["instance"]
    assert again["fenced"]["0042"].startswith("e3-")
    assert done("site", "heal", "0042", "--config", data).out == "0042 is healed\n"
    healed = done("site", "heal", "0042", "--config", data, "--json").json
    assert healed == {"site": "0042", "fenced": False}
    assert done("site", "list", "--config", data).out == "0042  no link\n"
    assert "store" in done("restored", "--config", data).out
    assert audited(data, "") == [("markRestored", shared.me())] * 3
    assert audited(data, "0042").count(("healSite", shared.me())) == 2


def audited(data: Path, site: str) -> list[tuple[str, str]]:
    """Return what was done without an entry, and by whom."""

    async def lines(hub: Hub) -> list[tuple[str, str]]:
        found = await hub.storage.audited(site, 0, 1_000)
        return [
            (str(one.evidence["what"]), str(one.evidence["by"]))
            for one in found
            if one.code == "api.did"
        ]

    return shared.with_hub(folder.read(data), lines)


# --- a hub that runs ----------------------------------------------------------------------------


def test_a_hub_runs_is_asked_and_ends(data: Path, vkey: str) -> None:
    refused("hub.not_running", "status", "--config", data)
    with running(data) as (process, url):
        assert done("site", "list", "--config", data).out == "no sites\n"
        done("site", "add", "0042", "--config", data, "--vkey", vkey)
        refused("hub.unknown_site", "site", "show", "0077", "--config", data)
        shown = done("site", "show", "0042", "--config", data, "--json").json
        assert shown == get(f"{url}/api/v1/sites/0042")
        assert [one["site"] for one in done("site", "list", "--config", data, "--json").json] == [
            "0042"
        ]
        told = done("status", "--config", data)
        assert told.out.splitlines()[-1] == "0042  no link"
        assert "plain: development, nobody is authenticated" in told.out
        assert done("status", "--config", data, "--json").json["sites"] == 1
        refused("store.busy", "restored", "--config", data)
        refused("store.busy", "run", data)
        assert [one["oldest"] for one in get(f"{url}/sites/0042/sync/v1/logs")] == [0, 0]
    assert process.stderr is not None
    lines = [json.loads(line) for line in process.stderr]
    process.stderr.close()
    assert [one["action"] for one in lines] == [
        "hub.plain",
        "hub.opened",
        "hub.listening",
        "hub.stopped",
    ]
    assert "nobody is authenticated" in lines[2]["listen"]


def test_a_killed_hub_begins_where_it_was(data: Path, vkey: str) -> None:
    with running(data) as (process, url):
        done("site", "add", "0042", "--config", data, "--vkey", vkey)
        before = get(f"{url}/api/v1/sites/0042")["logs"]
        process.kill()
        process.wait(LIMIT_S)
        assert process.stderr is not None
        process.stderr.close()
        with running(data) as (second, again):
            assert get(f"{again}/api/v1/sites/0042")["logs"] == before
            second.send_signal(signal.SIGINT)
            assert second.wait(LIMIT_S) == 0
        assert second.stderr is not None
        second.stderr.close()
        process.returncode = 0  # it was ended here, not by the fixture


def test_a_port_that_is_taken_is_said(data: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        listen(data, taken.getsockname()[1])
        refused("hub.unavailable", "run", data)


async def test_a_listener_elsewhere_is_refused_before_anything_is_opened(data: Path) -> None:
    chosen = folder.read(data)
    api = msgspec.structs.replace(chosen.api, listen="0.0.0.0:8700")
    with pytest.raises(TheirsInvalid, match=r"hub\.not_loopback"):
        await App(msgspec.structs.replace(chosen, api=api)).run()
    trusted = msgspec.structs.replace(chosen, development=config.Development())
    with pytest.raises(TheirsInvalid, match=r"hub\.no_authority"):
        await App(trusted).run()
    assert not await asyncio.to_thread((data / "hub.db").exists)


async def test_what_a_crash_left_unsigned_is_signed_at_start(
    data: Path, vkey: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_args: Any) -> None:
        raise StoreFailed("io")

    chosen = folder.read(data)
    async with rooms.opened(chosen) as opened:
        site = await opened.add_site("0042", vkey)
        with monkeypatch.context() as patched:
            patched.setattr(opened.storage, "seal", dies)
            with pytest.raises(StoreFailed):
                await opened.voice.say(
                    site, "ops", lambda b, d: issue.claim(b, d, identity="a/B/1", says="lost")
                )
        assert len(await opened.storage.unsealed("0042")) == 1
    api = msgspec.structs.replace(chosen.api, listen="127.0.0.1:0")
    app = App(msgspec.structs.replace(chosen, api=api))
    left: list[int] = []

    def ready(app: App) -> None:
        assert app.hub is not None
        left.append(0)
        app.stop()

    await app.run(ready)
    async with rooms.opened(chosen) as opened:
        assert await opened.storage.unsealed("0042") == ()
    assert left == [0]


@pytest.mark.parametrize(("reason", "ends"), [("io", True), ("busy", False)])
async def test_a_dead_storage_ends_the_process_and_a_busy_one_does_not(
    data: Path, monkeypatch: pytest.MonkeyPatch, reason: Reason, *, ends: bool
) -> None:
    async def dies(*_args: Any) -> None:
        raise StoreFailed(reason)

    app = App(folder.read(data))
    begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    running = asyncio.ensure_future(app.run(lambda _: begun.set_result(None)))
    async with asyncio.timeout(LIMIT_S):
        await asyncio.wait((begun, running), return_when=asyncio.FIRST_COMPLETED)
        assert app.hub is not None
        monkeypatch.setattr(app.hub.storage, "site", dies)
        async with (
            aiohttp.ClientSession() as web,
            web.get(f"{app.url}/api/v1/sites/0042") as answer,
        ):
            assert (await answer.json())["code"] == f"store.{reason}"
        if ends:
            with pytest.raises(StoreFailed):
                await running
        else:
            app.stop()
            await running


def test_systemd_hears_of_us(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("n")
        listener.settimeout(LIMIT_S)
        monkeypatch.setenv("NOTIFY_SOCKET", "n")
        systemd.notify("READY=1")
        assert listener.recv(64) == b"READY=1"
    systemd.notify("STOPPING=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "@no-such-socket")
    systemd.notify("READY=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.notify("READY=1")
    assert "NOTIFY_SOCKET" not in os.environ
