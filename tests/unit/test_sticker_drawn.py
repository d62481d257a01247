"""Pins the sticker: what a scanner reads from it, what people read, and no secret."""

import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from certs import lan
from gateway import sticker
from gateway.errors import GatewayError
from tests import qrread

PIN = "00ff10" + "ab" * 29
MADE = lan.Sticker("locker-0042.local:8443", PIN)


def test_a_scanner_reads_address_and_pin() -> None:
    assert lan.read_sticker(qrread.read(sticker.png(MADE))) == MADE


def test_people_read_site_address_and_words() -> None:
    drawn = ET.fromstring(sticker.svg(MADE, "0042"))
    shown = [one.text for one in drawn.iter("{http://www.w3.org/2000/svg}text")]
    assert shown == [
        "Locker 0042", "locker-0042.local:8443", "album zipper bagel", "pirate pirate pirate",
    ]  # fmt: skip
    assert "http" not in sticker.svg(MADE, "0042").replace("http://www.w3.org/2000/svg", "")


def test_a_terminal_shows_it() -> None:
    assert "▄" in sticker.terminal(MADE)


def test_it_is_written_as_what_the_file_is_called(tmp_path: Path) -> None:
    for name, begins in (("a.svg", b"<svg"), ("a.PNG", b"\x89PNG")):
        sticker.write(tmp_path / name, MADE, "0042")
        assert (tmp_path / name).read_bytes().startswith(begins)
    for path, code in (
        (tmp_path / "a.pdf", "sticker.kind"), (tmp_path / "no/a.svg", "sticker.unwritable")
    ):  # fmt: skip
        with pytest.raises(GatewayError) as caught:
            sticker.write(path, MADE, "0042")
        assert caught.value.code == code
