"""Pins what the doctor says of adapters, boards and sign-off: by real boards, simulated."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from adapters.ports import Port
from gateway import config, mapfile, wired
from gateway.bank import known as channels
from gateway.wired import Finding, Known
from sync.records import Commissioned
from sync.sitemap import LineItem, SiteMap
from tests.contract.site_stage import Stand, map_text, stand

READ = mapfile.parse(map_text(), channels)
FTDI = Port("/dev/serial/by-id/usb-FTDI_A9", "/dev/ttyUSB0", 1, True, "FTDI USB adapter", "A9")
SIGNED = Commissioned(
    ref="e1-9f2c01ab:sc9", at=(1, 5), by="installer:anna", boards=2, doors=4, passed=4, failed=0,
    report="cmVwb3J0",
)  # fmt: skip


@pytest.fixture
async def plain(tmp_path: Path) -> AsyncIterator[Stand]:
    async with stand(tmp_path / "data") as plain:
        yield plain


def serial(device: object) -> config.Config:
    return config.parse(f'data_dir = "/d"\n[lines.a]\nserial = "{device}"\n')


def level(found: list[Finding]) -> list[tuple[str, str]]:
    return [(one.check, one.level) for one in found]


# --- adapters -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("latency_ms", "wanted"), [(1, "ok"), (None, "ok"), (2, "bad"), (16, "bad")]
)
def test_an_adapter_that_holds_bytes_back_is_bad(
    monkeypatch: pytest.MonkeyPatch, latency_ms: int | None, wanted: str
) -> None:
    monkeypatch.setattr(os.path, "realpath", lambda _: FTDI.real)
    found = list(wired.serials(serial(FTDI.device), [replace(FTDI, latency_ms=latency_ms)]))
    assert level(found) == [("line.a", wanted)]
    assert ("60-locker-rs485.rules" in found[0].text) is (wanted == "bad")


def test_a_name_that_does_not_last_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "realpath", str)
    found = list(wired.serials(serial("/dev/ttyUSB0"), [FTDI]))
    assert level(found) == [("line.a", "ok"), ("line.a", "note")]
    assert FTDI.device in found[1].text
    nameless = replace(FTDI, device="/dev/ttyUSB0")
    assert level(list(wired.serials(serial("/dev/ttyUSB0"), [nameless]))) == [("line.a", "ok")]


def test_a_port_that_is_not_there_is_bad_and_a_pty_is_noted(tmp_path: Path) -> None:
    assert level(list(wired.serials(serial(tmp_path / "none"), [FTDI]))) == [("line.a", "bad")]
    ours, theirs = os.openpty()
    try:
        pty = serial(os.ttyname(theirs))
        assert level(list(wired.serials(pty, [FTDI]))) == [("line.a", "note")]
    finally:
        os.close(ours)
        os.close(theirs)


def test_lines_on_tcp_have_no_adapter() -> None:
    read = config.parse('data_dir = "/d"\n[lines.a]\ntcp = "127.0.0.1:502"\n')
    assert list(wired.serials(read, [FTDI])) == []


def test_a_line_of_the_map_counts_unless_the_configuration_names_it() -> None:
    site = SiteMap(
        lines={
            "a": LineItem(name="a", tcp="10.0.0.9:502"),
            "b": LineItem(name="b", serial="/dev/ttyS1"),
        }
    )
    told = wired.lined(serial("/dev/ttyS0"), site).lines
    assert (told["a"].serial, told["a"].tcp, told["b"].serial) == ("/dev/ttyS0", "", "/dev/ttyS1")


# --- sign-off -------------------------------------------------------------------------------------


def taught(*doors: int) -> SiteMap:
    return msgspec.structs.replace(
        READ,
        doors={
            number: msgspec.structs.replace(door, open_ms=120 if number in doors else 0)
            for number, door in READ.doors.items()
        },
    )


def test_a_site_that_nobody_signed_off_is_noted() -> None:
    assert list(wired.commissioning(Known())) == []
    assert level(list(wired.commissioning(Known(READ)))) == [("commissioning", "note")]


def test_doors_that_were_never_taught_are_named() -> None:
    found = list(wired.commissioning(Known(taught(1, 3), (), SIGNED)))
    assert [one.level for one in found] == ["note"]
    assert found[0].text == "2 doors were never taught: 2, 4"
    many = {
        number: msgspec.structs.replace(READ.doors[1], number=number) for number in range(1, 40)
    }
    (found_many,) = wired.commissioning(Known(SiteMap(doors=many), (), SIGNED))
    assert found_many.text.endswith("11, 12 ...")


def test_doors_that_failed_at_sign_off_are_noted_and_else_it_is_well() -> None:
    whole = taught(1, 2, 3, 4)
    (well,) = wired.commissioning(Known(whole, (), SIGNED))
    assert (well.level, well.text) == ("ok", "signed by installer:anna, 4 doors passed")
    (ill,) = wired.commissioning(Known(whole, (), replace(SIGNED, failed=1)))
    assert (ill.level, ill.text) == ("note", "signed with 1 doors that failed")


# --- which make answers ---------------------------------------------------------------------------


async def looked_at(plain: Stand, site: SiteMap) -> dict[str, Finding]:
    found = await wired.try_boards(plain.config(), site)
    return {one.check: one for one in found}


async def test_boards_that_are_what_the_map_says(plain: Stand) -> None:
    found = await looked_at(plain, READ)
    assert {one.level for one in found.values()} == {"ok"}, found
    assert "answers as" in found["board.locks"].text


@pytest.mark.parametrize(
    ("board", "says", "is_"),
    [
        ("locks", "waveshare-rtu-io-8ch", "waveshare-rtu-relay-8"),
        ("eyes", "waveshare-rtu-relay-8", "waveshare-rtu-io-8ch"),
        ("eyes", "wirenboard-wb-mr6c-v3", "waveshare-rtu-io-8ch"),
    ],
)
async def test_a_board_of_another_make_is_named(
    plain: Stand, board: str, says: str, is_: str
) -> None:
    swapped = READ.boards | {board: msgspec.structs.replace(READ.boards[board], profile=says)}
    found = await looked_at(plain, msgspec.structs.replace(READ, boards=swapped))
    one = found[f"board.{board}"]
    assert one.level == "bad", one
    assert says in one.text
    assert is_ in one.text


async def test_nothing_tells_a_generic_board(plain: Stand) -> None:
    generic = msgspec.structs.replace(READ.boards["locks"], profile="generic-8x0")
    boards = {"locks": generic}
    found = await looked_at(plain, msgspec.structs.replace(READ, boards=boards))
    assert (found["board.locks"].level, "generic" in found["board.locks"].text) == ("ok", True)


async def test_a_board_that_is_silent_is_bad(plain: Stand) -> None:
    away = msgspec.structs.replace(READ.boards["eyes"], unit=9)
    boards = READ.boards | {"eyes": away}
    found = await looked_at(plain, msgspec.structs.replace(READ, boards=boards))
    assert (found["board.eyes"].level, found["board.locks"].level) == ("bad", "ok")
