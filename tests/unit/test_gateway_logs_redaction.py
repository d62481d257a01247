"""Pins log lines: an `action` in each, and no secret in any, whoever calls."""

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from gateway import logs


@pytest.fixture
def lines() -> Iterator[Any]:
    stream = io.StringIO()
    logs.configure("json", "info", stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()


def test_action_level_time_and_room(lines: Any) -> None:
    logs.get("boards").info("door.pulsed", door=3)
    (line,) = lines()
    assert (line["action"], line["room"], line["door"], line["level"]) == (
        "door.pulsed", "boards", 3, "info",
    )  # fmt: skip
    assert line["time"].endswith("Z")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("digits", "1705002425"),
        ("code", "1705002425"),
        ("code", 17050024),
        ("pickup_code", "1705002425"),
        ("secret", "1234-5"),
        ("courier_secret", "1234-5"),
        ("key", "9F7a=="),
        ("code_key", "00ff00ff"),
        ("tracking", "JD01"),
        ("identity", "acme/JD01/1"),
        ("salt", "1234-5"),
        ("data", b"bytes"),
    ],
)
def test_what_could_be_secret_is_redacted(lines: Any, name: Any, value: Any) -> None:
    logs.get("x").info("a.b", **{name: value})
    assert lines()[0][name] == logs.REDACTED
    assert str(value) not in json.dumps(lines())


def test_codes_of_errors_and_names_of_keys_pass(lines: Any) -> None:
    logs.get("x").info("a.b", code="bus.timed_out", key="kiosk.listen")
    assert (lines()[0]["code"], lines()[0]["key"]) == ("bus.timed_out", "kiosk.listen")


def test_long_values_are_cut_and_levels_filtered(lines: Any) -> None:
    logs.get("x").debug("a.unseen")
    logs.get("x").warning("a.b", why="y" * 10_000)
    (line,) = lines()
    assert len(line["why"]) == logs.VALUE_CHARACTERS_MAX


def test_text_form_is_key_value() -> None:
    stream = io.StringIO()
    logs.configure("text", "info", stream)
    logs.get("x").info("a.b", door=1)
    structlog.reset_defaults()
    assert "action='a.b'" in stream.getvalue()
    assert "door=1" in stream.getvalue()
