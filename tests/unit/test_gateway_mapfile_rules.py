"""Pins `site import` and `site export`: exact inverses, and every refusal with its line."""

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import mapfile
from gateway.errors import FileRefused
from gateway.mapfile import Channels
from sync.sitemap import BoardItem, DoorItem, LineItem, SiteMap

PROFILES = {
    "relay-8": Channels(outputs=8, inputs=0, units=(1, 247)),
    "io-8": Channels(outputs=0, inputs=8, units=(1, 247)),
    "both": Channels(outputs=4, inputs=4, units=(1, 16), max_on_ms=500),
    "sonar": Channels(outputs=0, inputs=0, units=(1, 247), measures=1),
}
LINES = """\
[lines.bank]
serial = "/dev/serial/by-id/usb-x"
baud = 19200

[lines.far]
tcp = "192.168.9.7:4196"
framing = "rtu"

"""
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
            heated=place == 1,
            open_ms=data.draw(st.integers(0, 10_000)),
            bounce_ms=data.draw(st.integers(0, 100)),
            column=place % 2 * 3,
            row=place % 2 * (place + 1),
            band=choose("", "cold"),
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
    lines = {
        "x": LineItem(name="x", serial="/dev/ttyS1", parity=choose("N", "E"), local_echo="no"),
        "y": LineItem(name="y", tcp="board.local:502", framing=choose("tcp", "rtu")),
    }
    site = SiteMap(boards=boards, doors=doors, lines=lines if data.draw(st.booleans()) else {})
    assert mapfile.parse(mapfile.write(site), PROFILES.get) == site
    mapfile.check(site)


def test_lines_and_places_are_read() -> None:
    placed = GOOD.replace('size = "S"', 'size = "S"\ncolumn = 1\nrow = 1\nrows = 2\ncooled = true')
    site = mapfile.parse(LINES + placed, PROFILES.get)
    assert site.lines["bank"] == LineItem(
        name="bank", serial="/dev/serial/by-id/usb-x", baud=19_200
    )
    assert site.lines["far"].framing == "rtu"
    assert (site.doors[1].column, site.doors[1].rows, site.doors[1].cooled) == (1, 2, True)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('serial = "/dev/serial/by-id/usb-x"\n', "", "either serial or tcp"),
        ('tcp = "192.168.9.7:4196"', 'tcp = "192.168.9.7"', "host:port"),
        ('serial = "/dev/serial/by-id/usb-x"', 'serial = "ttyS0"', "regex"),
        ("baud = 19200", 'framing = "rtu"', "belongs to tcp"),
        ('tcp = "192.168.9.7:4196"', 'serial = "/dev/serial/by-id/usb-x"', "belongs to tcp"),
        ("baud = 19200", "baud = 1", ">= 1200"),
    ],
)
def test_a_line_that_cannot_be_is_refused(old: Any, new: Any, reason: Any) -> None:
    assert reason in str(refused(LINES.replace(old, new) + GOOD)["reason"])


def test_a_device_has_one_line_and_lines_are_few() -> None:
    two = LINES.replace('tcp = "192.168.9.7:4196"\nframing = "rtu"', 'serial = "/dev/ttyS0"')
    two = two.replace("/dev/serial/by-id/usb-x", "/dev/ttyS0")
    assert "one owner" in str(refused(two + GOOD)["reason"])
    many = "".join(f'[lines.l{n}]\nserial = "/dev/ttyS{n}"\n' for n in range(17))
    assert "more than 16 lines" in str(refused(many + GOOD)["reason"])


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("column = 1\nrow = 1", "column = 1\nrow = 1", "door 1 is at column 1, row 1"),
        ("column = 2\nrow = 1\nrows = 2", "column = 2\nrow = 2", "door 1 is at column 2, row 2"),
        ("column = 1", "", "both column and row"),
        ("row = 1", "", "both column and row"),
        ("rows = 9", "", "<= 8"),
        ("column = 65\nrow = 1", "", "<= 64"),
        ("occupied_below = 900", "", "needs the measure"),
    ],
)
def test_a_place_that_cannot_be_is_refused(first: Any, second: Any, reason: Any) -> None:
    text = GOOD.replace('size = "S"', f'size = "S"\n{first}')
    assert reason in str(refused(text.replace('size = "XL"', f'size = "XL"\n{second}'))["reason"])


def test_a_compartment_can_be_occupied_by_a_measure() -> None:
    sonar = GOOD.replace(
        "[[door]]", '[boards.sonar]\nline = "bank"\nprofile = "sonar"\nunit = 12\n\n[[door]]', 1
    )
    measured = 'occupancy = "sonar:0"\noccupied_below = 300000'
    site = mapfile.parse(sonar.replace('occupancy = "eyes:2"', measured), PROFILES.get)
    assert site.doors[2].occupied_below == 300_000
    text = sonar.replace('occupancy = "eyes:2"', measured.replace(":0", ":1"))
    assert "1 measures" in str(refused(text)["reason"])
    text = sonar.replace('occupancy = "eyes:2"', 'occupancy = "sonar:0"')
    assert "0 inputs" in str(refused(text)["reason"])


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


def test_a_map_that_comes_ready_made_is_looked_at_as_a_file_is() -> None:
    site = mapfile.parse(GOOD, PROFILES.get)
    line = LineItem(name="bank", tcp="10.0.0.7:502")
    mapfile.check(SiteMap(boards=site.boards, doors=site.doors, lines={"bank": line}))
    one, two = site.doors[1], site.doors[2]
    wrong = (
        SiteMap(boards=site.boards, doors={1: msgspec.structs.replace(one, pulse_ms=9_999)}),
        SiteMap(boards=site.boards, doors={1: one, 2: msgspec.structs.replace(two, lock=one.lock)}),
        SiteMap(boards=site.boards, doors={7: one, 2: two}),
        SiteMap(boards=site.boards, doors=site.doors, lines={"other": line}),
    )
    for bad in wrong:
        with pytest.raises(FileRefused) as caught:
            mapfile.check(bad)
        assert caught.value.code == "map.invalid"


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
