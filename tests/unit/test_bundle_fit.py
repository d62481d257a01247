"""Pins what goes into the bundle of diagnostics, and that it never grows beyond its bound."""

from typing import Any

import msgspec
import pytest

from gateway import bundle, config

FULL = """\
data_dir = "/var/lib/locker-gateway"
[kiosk]
kiosks = ["front", "back"]
[sync]
listen = "127.0.0.1:0"
[installer]
listen = "0.0.0.0:8443"
[lines.rs485-1]
serial = "/dev/locker-rs485"
baud = 19200
[timing]
poll_idle_ms = 100
"""


def test_settings_are_chosen_by_name() -> None:
    told = bundle.settings(config.parse(FULL))
    assert told["kiosks"] == ["front", "back"]
    assert told["lines"]["rs485-1"]["baud"] == 19200
    assert told["timing"]["poll_idle_ms"] == 100
    assert told.keys() == {
        "kiosks", "installer", "sync_listen", "development", "log_level", "lines", "timing",
    }  # fmt: skip


def test_a_setting_that_leads_to_others_is_not_in_it() -> None:
    chosen = config.Config(data_dir="/x", hub=config.Hub(url="https://canary-hub", writer="w"))
    assert b"canary" not in msgspec.json.encode(bundle.settings(chosen))


@pytest.mark.parametrize("limit", [14, 40, 60, 100, 200, 1000])
def test_what_does_not_fit_is_named_and_the_whole_never_grows(limit: int) -> None:
    parts: list[tuple[str, Any]] = [
        ("a", "x" * 20), ("b", list(range(40))), ("c", {"d": "y"}), ("e", 1), ("f", "z" * 50),
    ]  # fmt: skip
    told = bundle.fit(parts, limit)
    assert set(told) | set(told["left_out"]) == {"a", "b", "c", "e", "f", "left_out"}
    assert len(msgspec.json.encode(told)) <= max(limit, len(b'{"left_out":["a","b","c","e","f"]}'))


def test_what_matters_most_goes_in_first() -> None:
    parts = [("doors", ["x" * 10] * 70_000), ("map", "y" * 400_000), ("versions", {"v": "1"})]
    told = bundle.fit(parts)
    assert (sorted(told), told["left_out"]) == (["doors", "left_out", "versions"], ["map"])
    assert len(msgspec.json.encode(told)) <= bundle.BYTES_MAX < 1024 * 1024
