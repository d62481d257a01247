"""Pins `site import` and `site export`: exact inverses, and every refusal with its line."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import mapfile
from gateway.errors import FileRefused
from gateway.mapfile import Channels
from sync.sitemap import BoardItem, DoorItem, SiteMap

PROFILES = {
    "relay-8": Channels(outputs=8, inputs=0, units=(1, 247)),
    "io-8": Channels(outputs=0, inputs=8, units=(1, 247)),
    "both": Channels(outputs=4, inputs=4, units=(1, 16), max_on_ms=500),
}
GOOD = """\
[boards.locks]
line = "bank"
profile = "relay-8"
unit = 1

[boards.eyes]
line = "bank"
profile = "io-8"
unit = 2

[[door]]
number = 1
size = "S"
lock = "locks:0"
switch = "eyes:0"
rail = "a"

[[door]]
number = 2
size = "XL"
lock = "locks:1"
switch = "eyes:1"
rail = "a"
occupancy = "eyes:2"
occupied_when = "inactive"
open_when = "active"
reach = "low"
pulse_ms = 500
"""


def refused(text: str) -> dict[str, object]:
    with pytest.raises(FileRefused) as caught:
        mapfile.parse(text, PROFILES.get, "bank.toml")
    assert caught.value.code == "map.invalid"
    return caught.value.evidence


def test_good_map_is_read() -> None:
    site = mapfile.parse(GOOD, PROFILES.get)
    assert site.boards["eyes"] == BoardItem(name="eyes", line="bank", profile="io-8", unit=2)
    assert site.doors[1] == DoorItem(number=1, size="S", lock="locks:0", switch="eyes:0", rail="a")
    assert site.doors[2].occupied_when == "inactive"
    assert site.doors[2].pulse_ms == 500


def test_export_is_the_inverse_of_import() -> None:
    site = mapfile.parse(GOOD, PROFILES.get)
    text = mapfile.write(site)
    assert mapfile.parse(text, PROFILES.get) == site
    assert mapfile.write(mapfile.parse(text, PROFILES.get)) == text


@given(st.sets(st.integers(1, 9999), min_size=1, max_size=4), st.integers(10, 1000), st.data())
def test_every_map_survives_the_round_trip(numbers: Any, pulse_ms: Any, data: Any) -> None:
    def choose(*of: str) -> Any:
        return data.draw(st.sampled_from(of))

    boards = {
        "l": BoardItem(name="l", line="x", profile="relay-8", unit=1),
        "e": BoardItem(name="e", line="x", profile="io-8", unit=9),
    }
    doors = {
        number: DoorItem(
            number=number,
            size=choose("S", "M", "L", "XL"),
            lock=f"l:{place}",
            switch=f"e:{place}",
            rail="r",
            reach=choose("low", "middle", "high"),
            open_when=choose("active", "inactive"),
            occupancy=choose("", f"e:{place + 4}"),
            occupied_when=choose("active", "inactive"),
            pulse_ms=pulse_ms,
        )
        for place, number in enumerate(sorted(numbers))
    }
    site = SiteMap(boards=boards, doors=doors)
    assert mapfile.parse(mapfile.write(site), PROFILES.get) == site


def test_odd_characters_are_escaped_on_export() -> None:
    board = BoardItem(name="b", line='a"\\\n', profile="p", unit=1)
    assert 'line = "a\\u0022\\u005c\\u000a"' in mapfile.write(SiteMap(boards={"b": board}))


@pytest.mark.parametrize(
    ("old", "new", "line", "reason"),
    [
        ('rail = "a"\n\n', 'rail = "a"\ncolour = "red"\n\n', 17, "unknown field"),
        ('profile = "io-8"', 'profile = "io-9"', 8, "no profile"),
        ("unit = 2", "unit = 248", 9, "unit numbers are"),
        ("unit = 2", "unit = 1", 9, "has unit 1"),
        ("number = 2", "number = 1", 19, "twice"),
        ('lock = "locks:1"', 'lock = "locks:8"', 21, "8 outputs"),
        ('lock = "locks:1"', 'lock = "eyes:1"', 21, "0 outputs"),
        ('switch = "eyes:1"', 'switch = "eyes:9"', 22, "8 inputs"),
        ('switch = "eyes:1"', 'switch = "nobody:1"', 22, "no board"),
        ('lock = "locks:1"', 'lock = "locks:0"', 21, "belongs to door 1"),
        ('switch = "eyes:1"', 'switch = "eyes:0"', 22, "belongs to door 1"),
        ('occupancy = "eyes:2"', 'occupancy = "eyes:1"', 24, "belongs to door 2"),
        ('occupancy = "eyes:2"', 'occupancy = "eyes:0"', 24, "belongs to door 1"),
        ('size = "XL"', 'size = "XXL"', 20, "Invalid enum"),
        ("pulse_ms = 500", "pulse_ms = 1001", 28, "<= 1000"),
        ('lock = "locks:1"', 'lock = "locks:01"', 21, "regex"),
    ],
)
def test_refusals_name_line_and_reason(old: Any, new: Any, line: Any, reason: Any) -> None:
    assert GOOD.count(old) >= 1
    evidence = refused(GOOD.replace(old, new, 1))
    assert reason in str(evidence["reason"])
    assert evidence["line"] == line


def test_pulse_longer_than_the_boards_cap() -> None:
    text = GOOD.replace('"relay-8"', '"both"')
    mapfile.parse(text, PROFILES.get)
    assert "500 ms at most" in str(refused(text.replace("= 500", "= 501"))["reason"])


def test_empty_and_too_large_maps() -> None:
    assert "at least one" in str(refused("door = []\n[boards]\n")["reason"])
    head = GOOD.partition("[[door]]")[0]
    doors = "".join(
        f'[[door]]\nnumber = {n}\nsize = "S"\nlock = "locks:0"\nswitch = "eyes:0"\nrail = "a"\n'
        for n in range(1, 3086)
    )
    assert "two sites" in str(refused(head + doors)["reason"])


@given(st.text(max_size=120))
def test_any_text_is_refused_or_understood(text: Any) -> None:
    with suppress(FileRefused):
        mapfile.parse(text, PROFILES.get)
