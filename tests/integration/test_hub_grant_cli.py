"""Pins `locker-hub grant`: alone and beside a hub that runs, what it writes, shows and refuses."""

import base64
import json
import stat
from pathlib import Path
from typing import Any

import click
import pytest

from certs import capability, trust
from certs.capability import Action
from certs.keys import SigningKey
from certs.keystore import KeyStore
from sync.hub.commands.grant import command
from sync.hub.qr import terminal
from tests.hub_site import FakeSite
from tests.hub_stage import KEYS
from tests.integration.test_hub_cli import (
    done,
    free_port,
    get,
    hub,
    listen,
    quiet,
    refused,
    running,
)
from tests.qrread import read

__all__ = ["quiet"]  # a fixture
COURIER = ("--action", "courier", "--tenant", "acme", "--label", "route 7", "--until", "+30d")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    made = tmp_path / "hub"
    done("init", made, "--operator", "lockers.example")
    listen(made, free_port())
    vkey = FakeSite(KEYS.code_key("0042", 1)).vkey
    done("site", "add", "0042", "--config", made, "--vkey", vkey)
    return made


def opened(data: Path, text: str) -> capability.Capability:
    key = SigningKey.from_seed("lockers.example/grants", KeyStore(data / "keys").read("grants"))
    return capability.verify(
        capability.from_text(text), [key.verifier], "lockers.example/site/0042"
    )


def denied(data: Path) -> tuple[int, dict[str, int], dict[str, Any]]:
    told = done("grant", "denials", "--config", data, "--json").json
    key = SigningKey.from_seed("lockers.example/trust", KeyStore(data / "keys").read("trust"))
    found = trust.open_denials(told["note"], key.verifier, "lockers.example")
    return found.number, dict(found.denied), told


def issued(data: Path, *words: str | Path) -> Any:
    told = done("grant", "issue", "0042", "--config", data, *(words or COURIER), "--json")
    assert told.out.count("\n") == 1
    return told.json


def shown(data: Path) -> list[tuple[str, str, str]]:
    told = done("grant", "list", "0042", "--config", data, "--json").json
    return [(one["ref"], one["grant"], one["state"]) for one in told]


def test_it_is_shown_as_code_and_text_and_kept_in_files_of_the_owner(data: Path) -> None:
    png, svg = data / "a.png", data / "a.svg"
    told = done("grant", "issue", "0042", "--config", data, *COURIER, "--png", png, "--svg", svg)
    *_, text, about = told.out.splitlines()
    made = opened(data, text)
    assert (made.action, made.subject) == (Action.COURIER, "acme")
    assert made.cti.hex() in about
    assert told.out.startswith(terminal(text))
    assert read(png.read_bytes()) == text
    assert svg.read_text().startswith("<svg ")
    for file in (png, svg, data / "keys/grants"):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_file_that_is_there_is_not_overwritten_and_nothing_is_issued(data: Path) -> None:
    there = data / "there.png"
    there.write_bytes(b"mine")
    for option, file in (("--png", there), ("--svg", there), ("--png", data / "none/a.png")):
        words = ("issue", "0042", "--config", data, *COURIER, option, file)
        refused("hub.file_exists", "grant", *words)
    assert there.read_bytes() == b"mine"
    assert shown(data) == []


def test_json_has_every_form(data: Path) -> None:
    told = issued(data, *COURIER)
    assert opened(data, told["text"]).cti.hex() == told["cti"]
    assert capability.from_text(told["text_base32"]) == capability.from_text(told["text"])
    assert read(base64.b64decode(told["png"])) == told["text"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("--action", "courier", "--label", "a", "--until", "+1d"), "grant.fields"),
        ((*COURIER[:-1], "+401d"), "grant.too_long"),
        ((*COURIER[:-1], "2020-01-01T00:00Z"), "request.until"),
        ((*COURIER, "--from", "+31d"), "request.until"),
        ((*COURIER, "--room", "XXL"), "request.body"),
        ((*COURIER, "--object", "e1"), "request.body"),
        (("--action", "collect", "--label", "a", "--until", "+1d", "--object", "e1-00000000:hc7"),
         "parcel.unknown"),
    ],
)  # fmt: skip
def test_refusals(data: Path, words: tuple[str, ...], code: str) -> None:
    refused(code, "grant", "issue", "0042", "--config", data, *words)
    refused("hub.unknown_site", "grant", "issue", "0099", "--config", data, *COURIER)


@pytest.mark.parametrize("when", ["tomorrow", "2026-12-24T18:00", "+3", "+9999999d", "3d"])
def test_a_moment_that_is_none_is_a_usage_error(data: Path, when: str) -> None:
    told = hub("grant", "issue", "0042", "--config", data, *COURIER[:-1], when)
    assert (told.status, told.out) == (2, "")
    assert "write 2026-12-24T18:00Z, or +30d, +12h, +90m" in told.err


def test_moments_and_spans_mean_what_they_say(data: Path) -> None:
    ends = {}
    for when in ("+90m", "+2h", "+1d"):
        made = opened(data, issued(data, *COURIER[:-1], when)["text"])
        ends[when] = made.expires_s - made.not_before_s - 300
    assert ends == pytest.approx({"+90m": 5_400, "+2h": 7_200, "+1d": 86_400}, abs=5)
    told = issued(data, *COURIER, "--from", "+1h")
    made = opened(data, told["text"])
    assert made.expires_s - made.not_before_s == pytest.approx(30 * 86_400 - 3_600, abs=5)


def test_what_is_revoked_is_listed_so_and_denied(data: Path) -> None:
    first, second = (
        issued(data),
        issued(data, "--action", "service", "--label", "a", "--until", "+1h"),
    )
    number, none, _ = denied(data)
    assert none == {}
    revoke = ("grant", "revoke", "0042", first["ref"], "--config", data)
    assert "is revoked" in done(*revoke).out
    assert "was revoked before" in done(*revoke).out
    assert shown(data) == [
        (first["ref"], "courier", "revoked"),
        (second["ref"], "service", "active"),
    ]
    words = ("grant", "list", "0042", "--config", data, "--state", "active")
    assert done(*words).out == f"{second['ref']}  service  active    a\n"
    assert done("grant", "list", "0042", "--config", data, "--state", "used").out == "no grants\n"
    after, denials, told = denied(data)
    assert after > number
    assert list(denials) == [first["cti"]]
    svg = data / "denials.svg"
    plain = done("grant", "denials", "--config", data, "--svg", svg)
    assert (
        plain.out
        == f"{terminal(told['text'])}\n{told['text']}\nlist {after}: 1 denied, 0 left out\n"
    )
    assert svg.read_text() == told["svg"]
    refused("hub.file_exists", "grant", "denials", "--config", data, "--svg", svg)
    refused("grant.unknown", "grant", "revoke", "0042", "e1-00000000:hc7", "--config", data)


def test_a_hub_that_runs_is_asked(data: Path) -> None:
    with running(data) as (process, url):
        told = issued(data)
        assert opened(data, told["text"]).subject == "acme"
        refused("grant.fields", "grant", "issue", "0042", "--config", data, *COURIER, "--room", "M")
        done("grant", "revoke", "0042", told["ref"], "--config", data)
        assert shown(data) == [(told["ref"], "courier", "revoked")]
        assert get(f"{url}/api/v1/sites/0042/book?part=grants")["grants"][0]["cti"] == told["cti"]
        assert list(denied(data)[1]) == [told["cti"]]
        audit = json.dumps(get(f"{url}/api/v1/sites/0042/audit"))
    assert process.stderr is not None
    assert told["text"][5:45] not in process.stderr.read()
    process.stderr.close()
    assert told["ref"] in audit
    assert told["text"][5:45] not in audit


def test_help_shows_every_command_with_examples() -> None:
    with click.Context(command) as context:
        assert command.list_commands(context) == ["denials", "issue", "list", "revoke"]
    told = done("grant", "issue", "--help").out
    assert "locker-hub grant issue 0042 --action service" in told
    for one in Action:
        assert one.name.lower() in told
