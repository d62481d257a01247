"""Pins requirement 8: no default, no shared secret: two fresh installs have no key in common."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gateway import identity
from gateway.cli import main as gateway_cli
from sync.hub.cli import main as hub_cli
from sync.hub.keys import keys_of

WINDOW = 16
"""So many equal bytes in a row are no chance between two secrets."""


def run(cli: Any, *words: str) -> Any:
    done = CliRunner().invoke(cli, [*words, "--json"])
    assert done.exit_code == 0, (done.output, done.exception)
    return json.loads(done.stdout)


def gateway(folder: Path) -> Path:
    run(gateway_cli, "init", "--data", str(folder))
    return folder


def hub(folder: Path) -> Path:
    words = ("--operator", "lockers.example", "--ca", "127.0.0.1")
    run(hub_cli, "init", str(folder), *words)
    return folder


def secrets_of(folder: Path) -> dict[str, bytes]:
    keys = identity.keys_of(folder) if (folder / "identity.json").exists() else keys_of(folder)
    return {name: keys.read(name, size=None) for name in keys.names()}


def material(name: str, secret: bytes) -> set[bytes]:
    """The runs of a secret that could be found in another: of a PKCS#8 only the number itself."""
    if len(secret) > 32:
        # SPEC: RFC 5915: the private number of a P-256 key is an octet string of 32 bytes.
        start = secret.index(b"\x04\x20") + 2
        secret = secret[start : start + 32]
    assert len(secret) == 32, name
    return {secret[at : at + WINDOW] for at in range(len(secret) - WINDOW + 1)}


@pytest.mark.parametrize("make", [gateway, hub], ids=["gateway", "hub"])
def test_two_fresh_installs_of_one_name_share_no_key(tmp_path: Path, make: Any) -> None:
    one, other = secrets_of(make(tmp_path / "one")), secrets_of(make(tmp_path / "other"))
    assert one.keys() == other.keys()
    assert len(one) >= 2
    runs = [material(name, secret) for made in (one, other) for name, secret in made.items()]
    # Nor is one key of a machine made from another, or used twice.
    assert len(set().union(*runs)) == sum(map(len, runs))
    # None is weak: as many different bytes as chance has.
    assert all(len(set(secret[-32:])) > 16 for made in (one, other) for secret in made.values())


@pytest.mark.parametrize("make", [gateway, hub], ids=["gateway", "hub"])
def test_nothing_secret_stands_in_what_both_installs_have_in_common(
    tmp_path: Path, make: Any
) -> None:
    one, other = make(tmp_path / "one"), make(tmp_path / "other")
    found = {
        str(path.relative_to(one)): path.read_bytes() for path in one.rglob("*") if path.is_file()
    }
    same = {
        name
        for name, content in found.items()
        if (other / name).exists() and (other / name).read_bytes() == content and content
    }
    # Zeros that only take up room, and a configuration that holds nothing secret.
    assert {name for name in same if found[name].strip(b"\0")} <= {"hub.toml", "clock.json"}
    keys = set(secrets_of(one).values())
    assert not [name for name in same for secret in keys if secret in found[name]]
    modes = {path: path.stat().st_mode & 0o077 for path in one.rglob("*") if path.is_file()}
    open_to_others = {path.name for path, mode in modes.items() if mode}
    assert not open_to_others & {path.name for path in (one / "keys").iterdir()}
