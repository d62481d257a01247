"""Pins what is exposed (SECURITY.md 3, row 21): who listens where, what units may, who may read.

The lists below are the decision. Whoever opens another way in writes it down here, with its reason.
"""

import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import gateway.config
import sync.hub.config

ROOT = Path(__file__).resolve().parents[2]

# Where a socket that accepts is made, and what it serves.
LISTENING_ROOMS = {
    "adapters/simulator/page.py": "the page of simulated boards, loopback",
    "adapters/simulator/server.py": "simulated boards on TCP, loopback",
    "gateway/app.py": "the keypad page, loopback",
    "gateway/control.py": "the commands, a socket file in the data folder",
    "gateway/demo/cloud.py": "the demo's breakable line to its hub, loopback",
    "gateway/exchange.py": "who pulls from a site: [sync] listen, mutual TLS",
    "gateway/web/installer": "installers on the LAN: [installer] listen, TLS",
    "sync/hub/listeners.py": "the hub: [api], [link], [renew] listen",
    "sync/places.py": "how those of the hub and [sync] listen accept: so many, and who goes first",
}
# Where UDP 5353 (mDNS) is spoken, and for how long. Nothing secret is said (test_nearby_records).
SPEAKING_ROOMS = {
    "gateway/announce.py": "while installers are listened to, where they are: [installer] announce",
    "gateway/discover.py": "for the seconds of a command, or of a search for boards",
}
# What is open when the configuration says nothing of it ("" is nothing at all).
GATEWAY_LISTENS = {"kiosk": "127.0.0.1:8600", "sync": "", "installer": ""}
HUB_LISTENS = {"api": "127.0.0.1:8700", "link": "127.0.0.1:8701", "renew": "127.0.0.1:8702"}
# What the examples open: a site nothing; a hub its three listeners, each TLS 1.3.
HUB_EXAMPLE = {"api": "0.0.0.0:8700", "link": "0.0.0.0:8701", "renew": "0.0.0.0:8702"}

# Of each unit: who it runs as, what it may touch, and who may read what it writes.
BOTH_MAY = {
    "StateDirectoryMode": ["0700"],
    "UMask": ["0077"],
    "CapabilityBoundingSet": [""],
    "AmbientCapabilities": [""],
    "NoNewPrivileges": ["yes"],
    "RestrictSUIDSGID": ["yes"],
    "MemoryDenyWriteExecute": ["yes"],
    "DevicePolicy": ["closed"],
    "ProtectSystem": ["strict"],
    "ProtectHome": ["yes"],
    "ProtectProc": ["invisible"],
    "PrivateTmp": ["yes"],
    "PrivateUsers": ["yes"],
    "RestrictAddressFamilies": ["AF_UNIX AF_INET AF_INET6 AF_NETLINK"],
    "LimitCORE": ["0"],
}
UNITS_MAY: dict[str, dict[str, list[str]]] = {
    "locker-gateway.service": {
        **BOTH_MAY,
        "User": ["locker-gateway"],
        "DynamicUser": ["yes"],
        "StateDirectory": ["locker-gateway"],
        "ConfigurationDirectory": ["locker-gateway"],
        "ConfigurationDirectoryMode": ["0755"],
        "SupplementaryGroups": ["dialout"],
        "DeviceAllow": [
            "char-ttyUSB rw", "char-ttyACM rw", "char-ttyAMA rw", "char-ttyS rw",
        ],
    },
    "locker-hub.service": {
        **BOTH_MAY,
        "User": ["locker-hub"],
        "Group": ["locker-hub"],
        "StateDirectory": ["locker-hub"],
        "PrivateDevices": ["yes"],
    },
}  # fmt: skip
# Ways to more rights, or past what is closed: none of these stands in a unit.
NEVER = {
    "ReadWritePaths", "BindPaths", "PermissionsStartOnly", "RootDirectory", "ExecStartPre",
    "ExecStartPost", "ExecReload", "Sockets", "EnvironmentFile", "Environment", "PassEnvironment",
}  # fmt: skip


def listens(config: object) -> dict[str, str]:
    """Every table of a configuration that has a `listen`, also one that is new."""
    told = {name: getattr(config, name) for name in config.__struct_fields__}  # type: ignore[attr-defined]
    return {name: table.listen for name, table in told.items() if hasattr(table, "listen")}


def test_sockets_that_accept_are_made_in_the_listed_rooms_alone() -> None:
    makes = re.compile(r"start_server\(|TCPSite\(|UnixSite\(|SockSite\(|create_server\(|\.listen\(")
    found = {
        str(path.relative_to(ROOT))
        for folder in ("certs", "sync", "adapters", "gateway")
        for path in (ROOT / folder).rglob("*.py")
        if makes.search(path.read_text())
    }
    assert {one for one in found if not one.startswith(tuple(LISTENING_ROOMS))} == set()
    # A folder may be listed before there is a room in it; a room that is gone may not.
    assert {one for one in LISTENING_ROOMS if one.endswith(".py")} <= found


def test_multicast_is_spoken_in_the_listed_rooms_alone() -> None:
    speaks = re.compile(r"Zeroconf\(|IP_ADD_MEMBERSHIP|IPV6_JOIN_GROUP|SOCK_DGRAM.*\.bind\(")
    rooms = (path for folder in ("certs", "sync", "adapters", "gateway")
             for path in (ROOT / folder).rglob("*.py"))  # fmt: skip
    found = {str(path.relative_to(ROOT)) for path in rooms if speaks.search(path.read_text())}
    assert found == set(SPEAKING_ROOMS)
    serving = (ROOT / "gateway/web/installer/serving.py").read_text()
    assert "if where.announce:" in serving
    users = [p.name for p in (ROOT / "gateway").rglob("*.py") if "Announcer(" in p.read_text()]
    assert users == ["serving.py"]


def test_nothing_is_open_to_the_network_unless_the_configuration_says_so() -> None:
    site = gateway.config.parse('data_dir = "/d"\n[lines.bank]\ntcp = "127.0.0.1:502"\n')
    assert listens(site) == GATEWAY_LISTENS
    text = 'data_dir = "/d"\noperator = "lockers.example"\n'
    hub = sync.hub.config.parse(text)
    told: dict[str, Any] = {"link": hub.link_at.listen, "renew": hub.renew_at.listen}
    assert {**listens(hub), **told} == HUB_LISTENS
    assert not site.development.plain
    assert not hub.development.plain


def test_the_examples_open_what_is_listed() -> None:
    site = gateway.config.parse((ROOT / "deploy/config/gateway.example.toml").read_text())
    hub = sync.hub.config.parse((ROOT / "deploy/config/hub.example.toml").read_text())
    assert listens(site) == GATEWAY_LISTENS
    told = {"api": hub.api.listen, "link": hub.link_at.listen, "renew": hub.renew_at.listen}
    assert told == HUB_EXAMPLE
    assert (site.development.plain, hub.development.plain) == (False, False)


@pytest.mark.parametrize("unit", sorted(UNITS_MAY))
def test_each_unit_may_what_is_listed(unit: str) -> None:
    found: dict[str, list[str]] = {}
    for line in (ROOT / "deploy/systemd" / unit).read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    assert {name: found.get(name) for name in UNITS_MAY[unit]} == UNITS_MAY[unit]
    assert set(found) & NEVER == set()
    # Secrets come sealed or not at all: a plain credential would lie readable beside the unit.
    plain = [value for name in ("LoadCredential", "SetCredential") for value in found.get(name, ())]
    assert plain == []


def run(*arguments: object) -> None:
    module, *rest = map(str, arguments)
    # An ordinary shell's umask is no help to a careless program.
    code = f"import os; os.umask(0o022); from {module} import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, *rest], capture_output=True, text=True, check=False, timeout=60
    )
    # An ordinary shell's umask is no help to a careless program.
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("program", ["gateway.cli", "sync.hub.cli"])
def test_what_a_first_start_writes_is_its_users_alone(program: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    if program == "gateway.cli":
        run(program, "init", "--data", data)
    else:
        run(program, "init", "--operator", "lockers.example", data)
    modes = {
        str(path.relative_to(tmp_path)): stat.S_IMODE(path.stat().st_mode)
        for path in [data, *data.rglob("*")]
    }
    keys = {name: mode for name, mode in modes.items() if "/keys" in name}
    assert keys
    for name, mode in modes.items():
        # What is no key may be read by others only inside a folder that they cannot enter.
        assert name in keys or not mode & 0o022, (name, oct(mode))
    for name, mode in keys.items():
        assert mode in {0o700 if (tmp_path / name).is_dir() else 0o600, 0o400}, (name, oct(mode))
    assert modes["data"] & 0o077 == 0, oct(modes["data"])


def test_two_installs_share_no_key(tmp_path: Path) -> None:
    # Row 8: no default secret.
    seen: dict[bytes, str] = {}
    for program, words in (
        ("gateway.cli", ("init", "--data")),
        ("sync.hub.cli", ("init", "--operator", "lockers.example")),
    ):
        for number in (1, 2):
            data = tmp_path / f"{program}-{number}"
            run(program, *words, data)
            for path in sorted((data / "keys").iterdir()):
                secret = path.read_bytes()
                assert secret not in seen, (path.name, seen.get(secret))
                assert len(set(secret)) > 8, path.name
                seen[secret] = path.name
    assert len(seen) > 6, json.dumps(sorted(seen.values()))
