"""Pins the configuration file: typed, unknown keys refused with their line, example complete."""

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import config, tomlfile
from gateway.core.policy import Settings
from gateway.errors import FileRefused

EXAMPLE = Path(__file__).parents[2] / "deploy/config/gateway.example.toml"


def refused(text: str) -> dict[str, object]:
    with pytest.raises(FileRefused) as caught:
        config.parse(text, "site.toml")
    assert caught.value.code == "config.invalid"
    assert caught.value.evidence["file"] == "site.toml"
    return caught.value.evidence


def test_example_is_accepted_and_shows_every_key_with_its_default() -> None:
    text = EXAMPLE.read_text()
    example = config.parse(text)
    everything = config.parse(re.sub(r"(?m)^# (\w+ = )", r"\1", text))
    assert everything.timing.poll_idle_ms == example.timing.poll_idle_ms == 400
    shown = set(re.findall(r"(?m)^(?:# )?(\w+) =", text))
    tables = {"kiosk", "hub", "sync", "lines", "timing", "log", "development", "installer"}
    assert set(config.Config.__struct_fields__) - tables <= shown
    tables_shown = (config.Kiosk, config.Hub, config.Sync, config.Installer, config.Line)
    for table in (*tables_shown, config.Timing, config.Log):
        assert set(table.__struct_fields__) <= shown, table
    assert everything.installer == config.Installer()
    assert len(everything.timing.chosen()) >= 12
    by_default = Settings.__dataclass_fields__
    for name, value in everything.timing.chosen().items():
        assert by_default[name].default == value, f"the example names another default of {name}"
    for name in config.Timing.__struct_fields__:
        if name not in by_default:
            assert getattr(everything.timing, name) == getattr(config.Timing(), name), name
    assert example.timing.chosen() == {}


def test_every_engine_time_has_a_name_that_the_engine_knows() -> None:
    known = set(Settings.__dataclass_fields__)
    own = {"poll_idle_ms", "poll_watched_ms", "poll_relays_ms", "confirm_ms", "lost_ms"}
    assert set(config.Timing.__struct_fields__) - own <= known


def test_small_file_has_defaults() -> None:
    found = config.parse('data_dir = "/d"\n[lines.a]\nserial = "/dev/ttyS0"\n')
    assert (found.kiosk.host, found.kiosk.port) == ("127.0.0.1", 8600)
    assert found.lines["a"].baud == 9600
    assert found.lines["a"].local_echo is None


@pytest.mark.parametrize(
    ("text", "line", "key", "reason"),
    [
        ('data_dir = "/d"\nspeed = 3\n', 2, "speed", "unknown field"),
        ('data_dir = "/d"\n[kiosk]\n\nlissen = "x"\n', 4, "kiosk.lissen", "unknown field"),
        ('data_dir = "/d"\n[lines.a]\nserial = "/dev/x"\nbaud = "9"\n', 4, "lines.a.baud", "int"),
        ('data_dir = "d"\n', 1, "data_dir", "absolute"),
        ('data_dir = "/d"\n[kiosk]\nlisten = "0.0.0.0:80"\n', 3, "kiosk.listen", "loopback"),
        ('data_dir = "/d"\n[kiosk]\nlisten = "127.0.0.1"\n', 3, "kiosk.listen", "loopback"),
        ('data_dir = "/d"\n[kiosk]\nlisten = "kiosk:80"\n', 3, "kiosk.listen", "loopback"),
        ('data_dir = "/d"\n[kiosk]\nkiosks = ["a", "a"]\n', 3, "kiosk.kiosks", "twice"),
        ('data_dir = "/d"\n[lines.a]\nbaud = 9600\n', 2, "lines.a", "either"),
        ('data_dir = "/d"\n[lines.a]\nserial = "tty"\n', 3, "lines.a.serial", "absolute"),
        (
            'data_dir = "/d"\n[lines.a]\nserial = "/dev/t"\nframing = "rtu"\n',
            4,
            "lines.a.framing",
            "belongs to tcp",
        ),
        ('data_dir = "/d"\n[lines.a]\ntcp = "host"\n', 3, "lines.a.tcp", "host:port"),
        ('data_dir = "/d"\n[lines.a]\ntcp = "h:99999"\n', 3, "lines.a.tcp", "host:port"),
        ('data_dir = "/d"\n[lines.A]\ntcp = "h:1"\n', 1, "lines", "regex"),
        (
            'data_dir = "/d"\n[lines.a]\ntcp = "h:1"\n[lines.b]\nbaud = "9"\n[log]\nlevel = 3\n',
            5,
            "lines.b.baud",
            "int",
        ),
        ('data_dir = "/d"\nlines = 3\n', 2, "lines", "object"),
        (
            'data_dir = "/d"\n[lines.a]\ntcp = "h:1"\n[lines.b]\ntcp = "h:1"\n',
            1,
            "lines",
            "one owner",
        ),
        ("data_dir = ", 1, "", "nvalid"),
        ('data_dir = "/d"\nx = [', 2, "", "nvalid"),
    ],
)
def test_refusals_name_line_key_and_reason(text: Any, line: Any, key: Any, reason: Any) -> None:
    evidence = refused(text)
    assert reason in str(evidence["reason"])
    assert evidence["key"] == key
    assert evidence["line"] == line


def test_too_many_lines() -> None:
    text = 'data_dir = "/d"\n' + "".join(f'[lines.l{n}]\ntcp = "h:{n + 1}"\n' for n in range(17))
    assert "more than 16" in str(refused(text)["reason"])


def test_huge_deep_and_absurd_files_are_refused_quickly() -> None:
    assert "longer" in str(refused("#" * (tomlfile.CHARACTERS_MAX + 1))["reason"])
    assert refused("data_dir = " + "[" * 20_000)["line"]
    assert refused("data_dir = 1" + "0" * 10_000)["reason"]


def test_deep_values_are_refused_where_the_types_meet_them() -> None:
    with pytest.raises(FileRefused):
        tomlfile.read("a = 1\nb = 2\n", dict[str, str], code="x.y", file="f")


def test_lines_of_keys_knows_tables_arrays_and_quotes() -> None:
    text = 'a = 1\n[t]\n"b" = 2\n[[d]]\nn = 1\n[[d]]\nn = 2\n[x."y"]\n# c = 1\u2028\nz = 1\n'
    assert tomlfile.lines_of_keys(text) == {
        "a": 1, "t": 2, "t.b": 3, "d.0": 4, "d.0.n": 5, "d.1": 6, "d.1.n": 7, "x.y": 8, "x.y.z": 10,
    }  # fmt: skip


@given(st.text(max_size=200))
def test_any_text_is_refused_or_understood(text: Any) -> None:
    with suppress(FileRefused):
        config.parse(text)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("h:1", ("h", 1)),
        ("[::1]:8600", ("::1", 8600)),
        (":1", None),
        ("h:", None),
        ("h:x", None),
        ("h:123456", None),
        ("h:65536", None),
    ],
)
def test_split_address(text: Any, address: Any) -> None:
    assert config.split_address(text) == address
    assert config.loopback("[::1]:1")


@pytest.mark.parametrize(
    ("listen", "good"),
    [
        ("0.0.0.0:8443", True), ("[::]:8443", True), ("169.254.1.1:8443", True),
        ("[fe80::1]:8443", False), ("[fe80::1%eth0]:8443", False), ("gateway.local:8443", False),
    ],
)  # fmt: skip
def test_what_installers_can_be_listened_for_on(listen: str, *, good: bool) -> None:
    assert config.is_address(listen) is good
