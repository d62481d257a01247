"""Pins what goes onto a machine: the service closed and sound, the device rules well formed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from certs.keystore import KeyStore, wrapping_key
from gateway.commands.run import ENDED
from gateway.identity import CREDENTIAL as GATEWAY_CREDENTIAL
from sync.hub.keys import CREDENTIAL as HUB_CREDENTIAL

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / "deploy/systemd/locker-gateway.service"
HUB = ROOT / "deploy/systemd/locker-hub.service"
RULES = ROOT / "deploy/udev/60-locker-rs485.rules"
# Everything that runs, or that gives a right, on a site's machine. A new one is a decision.
DROP_INS = {UNIT: "locker-gateway-keystore.conf", HUB: "locker-hub-keystore.conf"}
UNITS = {UNIT.name, HUB.name, *DROP_INS.values()}
both = pytest.mark.parametrize("unit", [UNIT, HUB], ids=["gateway", "hub"])
DEVICE_RULES = {"60-locker-rs485.rules"}
KEY = re.compile(
    r"(ACTION|SUBSYSTEM|DRIVER|ATTRS?\{[\w/]+\}|ENV\{\w+\}|SYMLINK|GROUP|MODE|GOTO|LABEL)"
    r'(==|!=|=|\+=)"([^"]*)"'
)
ONLY_MATCHES = {"ACTION", "SUBSYSTEM", "DRIVER", "ATTRS"}
ONLY_SETS = {"SYMLINK", "GROUP", "MODE", "GOTO", "LABEL"}


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("needs systemd-analyze (Debian: apt-get install systemd)")
    return subprocess.run(
        [program, *arguments], capture_output=True, text=True, check=False, timeout=60
    )


def settings(unit: Path = UNIT) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in unit.read_text().splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def rules() -> list[list[tuple[str, str, str]]]:
    lines = RULES.read_text().splitlines()
    parsed = []
    for line in lines:
        if not line.strip() or line.startswith("#"):
            continue
        parts = [KEY.fullmatch(part) for part in line.split(", ")]
        assert all(parts), line
        parsed.append([(part[1], part[2], part[3]) for part in parts if part])
    return parsed


def test_only_the_listed_units_and_rules_are_shipped() -> None:
    assert {path.name for path in UNIT.parent.iterdir()} == UNITS
    assert {path.name for path in RULES.parent.iterdir()} == DEVICE_RULES


@both
def test_each_service_scores_two_or_better(unit: Path) -> None:
    result = analyze("security", "--offline=yes", "--threshold=20", str(unit))
    assert result.returncode == 0, result.stdout + result.stderr


def test_a_careless_service_would_not_pass(tmp_path: Path) -> None:
    careless = tmp_path / UNIT.name
    careless.write_text("[Service]\nExecStart=/bin/true\n")
    result = analyze("security", "--offline=yes", "--threshold=20", str(careless))
    assert result.returncode != 0


@both
def test_drop_in_for_wrapped_keys_is_accepted_and_names_the_credential_that_is_looked_for(
    unit: Path, tmp_path: Path
) -> None:
    here = tmp_path / unit.name
    here.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text()))
    text = (unit.parent / DROP_INS[unit]).read_text()
    (tmp_path / f"{unit.name}.d").mkdir()
    drop_in = tmp_path / f"{unit.name}.d" / "keystore.conf"
    drop_in.write_text(re.sub(r"(?m)^ExecStartPre=-\S+", "ExecStartPre=-/bin/true", text))
    result = analyze("verify", "--man=no", str(here))
    ours = [line for line in result.stderr.splitlines() if unit.name in line or "keystore" in line]
    assert (result.returncode, ours) == (0, [])
    credential = GATEWAY_CREDENTIAL if unit == UNIT else HUB_CREDENTIAL
    assert f"LoadCredentialEncrypted={credential}:/" in text


@both
def test_service_runs_where_no_credential_was_made(unit: Path) -> None:
    """One that is named and missing would keep it from starting: so it is named in a drop-in."""
    assert not [name for name in settings(unit) if "Credential" in name]


def test_site_that_was_decommissioned_is_not_started_again() -> None:
    assert settings()["RestartPreventExitStatus"] == [str(ENDED)]


def test_credential_made_by_systemd_creds_is_the_key_that_wraps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The command of deploy/runbooks/keys.md, with this machine's own secret if it has one."""
    program = shutil.which("systemd-creds")
    if program is None:
        pytest.skip("needs systemd-creds (Debian: apt-get install systemd)")
    key, name = bytes(range(32)), GATEWAY_CREDENTIAL
    sealed = tmp_path / "sealed"
    with_key = "--with-key=host" if Path("/var/lib/systemd/credential.secret").exists() else ""
    words = [
        program,
        *([with_key] if with_key else []),
        f"--name={name}",
        "encrypt",
        "-",
        str(sealed),
    ]
    done = subprocess.run(words, input=key, capture_output=True, check=False, timeout=60)
    if done.returncode:
        pytest.skip(f"this machine makes no credentials: {done.stderr.decode().strip()[-120:]}")
    assert key not in sealed.read_bytes()
    words = [program, f"--name={name}", "decrypt", str(sealed), str(tmp_path / name)]
    subprocess.run(words, capture_output=True, check=True, timeout=60)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    KeyStore(tmp_path / "keys", wrapping_key(name)).create("log", key)
    assert key not in (tmp_path / "keys/log").read_bytes()
    assert KeyStore(tmp_path / "keys", key).read("log") == key


@both
def test_systemd_accepts_every_line_of_each_service(unit: Path, tmp_path: Path) -> None:
    here = tmp_path / unit.name  # the program it starts is not installed on this machine
    here.write_text(re.sub(r"(?m)^ExecStart=\S+", "ExecStart=/bin/true", unit.read_text()))
    result = analyze("verify", "--man=no", str(here))
    ours = [line for line in result.stderr.splitlines() if unit.name in line]
    assert (result.returncode, ours) == (0, [])


def test_the_service_starts_the_real_command_and_is_watched() -> None:
    found = settings()
    command = found["ExecStart"][0].split()
    assert Path(command[0]).name == "locker-gateway"
    assert command[1:3] == ["run", "--config"]
    assert found["Type"] == ["notify"]
    assert int(found["WatchdogSec"][0]) > 0
    assert found["Restart"] == ["always"]
    assert int(found["RestartSec"][0]) >= 1, "a crash loop must not spin"


def test_the_hub_says_when_it_is_ready_and_is_watched_by_nobody_it_does_not_feed() -> None:
    found = settings(HUB)
    command = found["ExecStart"][0].split()
    assert Path(command[0]).name == "locker-hub"
    assert command[1:] == ["run", "/var/lib/locker-hub"]
    assert found["StateDirectory"] == ["locker-hub"]
    assert found["Type"] == ["notify"]
    told = "".join(path.read_text() for path in (ROOT / "sync/hub").glob("*.py"))
    assert ("READY=1" in told, "WATCHDOG=1" in told) == (True, "WatchdogSec" in found)
    assert found["Restart"] == ["always"]
    assert int(found["RestartSec"][0]) >= 1, "a crash loop must not spin"


def test_the_hub_sees_no_device() -> None:
    found = settings(HUB)
    assert (found["DevicePolicy"], found["PrivateDevices"]) == (["closed"], ["yes"])
    assert "DeviceAllow" not in found
    assert found["CapabilityBoundingSet"] == [""]


@both
def test_gateways_reach_their_hub_and_installers_a_gateway_as_shipped(unit: Path) -> None:
    # Who may talk to it is decided by certificates, and where it listens by its configuration:
    # a filter of addresses in the unit is a second answer, and drops what the first one lets in.
    found = settings(unit)
    assert not {"IPAddressDeny", "IPAddressAllow", "SocketBindDeny", "PrivateNetwork"} & set(found)
    families = set(found["RestrictAddressFamilies"][0].split())
    assert families == {"AF_UNIX", "AF_INET", "AF_INET6", "AF_NETLINK"}


def test_the_hub_runs_as_a_user_who_can_run_its_commands() -> None:
    # Its keys are refused to everybody but their owner; a user that comes and goes cannot be asked.
    found = settings(HUB)
    assert "DynamicUser" not in found
    told = (ROOT / "deploy/README.md").read_text()
    assert "useradd --system --user-group --no-create-home --home-dir" in told
    assert f" {found['User'][0]}\n" in told


def test_the_service_sees_serial_lines_and_no_other_device() -> None:
    assert settings()["DevicePolicy"] == ["closed"]
    lines = {"char-ttyUSB rw", "char-ttyACM rw", "char-ttyAMA rw", "char-ttyS rw"}
    assert set(settings()["DeviceAllow"]) == lines
    assert settings()["CapabilityBoundingSet"] == [""]


def test_the_service_may_ask_whether_its_clock_is_right_but_not_set_it() -> None:
    # adjtimex(2) refused reads as "nobody disciplines this clock": every time would be a guess.
    found = settings()
    assert "ProtectClock" not in found, "it refuses adjtimex, whatever SystemCallFilter= allows"
    assert found["SystemCallFilter"][-1].split() == ["adjtimex", "clock_adjtime"]
    assert found["CapabilityBoundingSet"] == [""]


def test_the_service_can_read_its_configuration() -> None:
    # systemd leaves the configuration folder root's; the service's user is another one.
    assert settings()["ConfigurationDirectoryMode"] == ["0755"]
    told = (ROOT / "deploy/README.md").read_text()
    assert "install -D -m 0644 gateway.example.toml /etc/locker-gateway/gateway.toml" in told


def test_device_rules_are_well_formed() -> None:
    labels = {value for rule in rules() for key, _, value in rule if key == "LABEL"}
    for rule in rules():
        for key, operator, value in rule:
            kind = key.partition("{")[0]
            assert not (kind in ONLY_MATCHES and operator not in {"==", "!="}), rule
            assert not (kind in ONLY_SETS and operator in {"==", "!="}), rule
            assert not (key == "GOTO" and value not in labels), rule
        if any("idVendor" in key for key, _, _ in rule):
            ids = [value for key, _, value in rule if key.startswith("ATTRS{id")]
            assert all(re.fullmatch(r"[0-9a-f]{4}", value) for value in ids), rule


def test_udev_accepts_the_rules() -> None:
    udevadm = shutil.which("udevadm")
    version = subprocess.run(
        [udevadm or "false", "--version"], capture_output=True, text=True, check=False
    ).stdout.strip()
    if udevadm is None or int(version or 0) < 254:  # older ones cannot check: the test above does
        return
    result = subprocess.run(
        [udevadm, "verify", "--no-summary", str(RULES)], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_line_has_one_name_and_answers_at_once() -> None:
    text = RULES.read_text()
    assert 'SYMLINK+="locker-rs485"' in text
    assert 'ATTR{latency_timer}="1"' in text


def test_the_latency_timer_is_set_where_the_kernel_has_it() -> None:
    # It belongs to the usb-serial device: the rules for the tty behind it come too late.
    known = rules()
    timers = [rule for rule in known if any(key == "ATTR{latency_timer}" for key, _, _ in rule)]
    assert timers == [
        [
            ("SUBSYSTEM", "==", "usb-serial"),
            ("DRIVER", "==", "ftdi_sio"),
            ("ATTR{latency_timer}", "=", "1"),
        ]
    ]
    others_leave = next(rule for rule in known if ("SUBSYSTEM", "!=", "tty") in rule)
    assert known.index(timers[0]) < known.index(others_leave)
