"""Pins `locker-gateway board`: what it prints, and how it fails."""

import asyncio
import json
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from adapters.simulator.climate import XyMd02
from adapters.simulator.line import PtyLine
from adapters.simulator.models import make_board
from adapters.simulator.server import TcpServer
from gateway.cli import main


@pytest.fixture
def bus() -> Iterator[str]:
    with PtyLine([make_board("waveshare-rtu-io-8ch", 3)], turnaround_ms=1) as line:
        yield line.path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["board", *arguments])


def serial(path: str, unit: int = 3) -> list[str]:
    return [
        *("--profile", "waveshare-rtu-io-8ch", "--serial", path),
        *("--baud", "115200", "--unit", str(unit)),
    ]


def test_read_gives_inputs_and_outputs_as_json(bus: str) -> None:
    result = run("read", *serial(bus), "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == {"inputs": [False] * 8, "outputs": [False] * 8}


def test_read_for_people(bus: str) -> None:
    result = run("read", *serial(bus))
    assert result.output == "inputs   00000000\noutputs  00000000\n"


def test_read_says_what_a_sensor_measures_and_that_nobody_is_there() -> None:
    sensor = XyMd02(3)
    sensor.temperature_decidegree = -105
    with PtyLine([sensor], turnaround_ms=1) as line:
        asked = ("--profile", "xy-md02", "--serial", line.path, "--baud", "115200", "--unit")
        result = run("read", *asked, "3")
        said = "temperature  -10.5 degrees C\nhumidity     48.0 %\n"
        assert result.output == f"inputs   (none)\noutputs  (none)\n{said}"
        sensor.broken = True
        assert "temperature  sensor broken\n" in run("read", *asked, "3").output
        result = run("read", *asked, "3", "--json")
        assert json.loads(result.output)["measures"][1] == {
            "name": "humidity",
            "thousandths": None,
        }
        assert run("read", *asked, "4").exit_code != 0


def test_read_counts_the_cycles_of_relays() -> None:
    result = run_at_moxa("read")
    assert result.output.splitlines()[2:] == ["cycles       0"] * 6


def run_at_moxa(*arguments: str) -> Result:
    async def over_tcp() -> Result:
        async with TcpServer([make_board("moxa-e1214")]) as server:
            aim = ("--profile", "moxa-e1214", "--tcp", f"127.0.0.1:{server.port}", "--unit", "1")
            return await asyncio.to_thread(run, *arguments, *aim)

    return asyncio.run(over_tcp())


def test_pulse_says_what_was_seen(bus: str) -> None:
    result = run("pulse", *serial(bus), "--channel", "2", "--ms", "300", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == {
        "channel": 2,
        "on_ms": 300,
        "on_seen": True,
        "off_seen": True,
    }
    result = run("pulse", *serial(bus), "--channel", "1", "--ms", "200")
    assert result.output == "channel 1: 200 ms, seen on, off again\n"


async def test_pulse_over_tcp_warns_of_a_board_without_its_own_timer() -> None:
    async with TcpServer([make_board("moxa-e1211", 1)]) as server:
        tcp = ["--profile", "moxa-e1211", "--tcp", f"127.0.0.1:{server.port}", "--unit", "1"]
        result = await asyncio.to_thread(run, "pulse", *tcp, "--channel", "15", "--ms", "50")
    assert result.exit_code == 0, result.output
    assert "channel 15: 50 ms" in result.output
    assert "killed during a pulse" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (["--unit", "9"], 1, "bus.timed_out"),
        (["--unit", "0"], 2, "not in the range"),
        (["--framing", "tcp"], 2, "needs --tcp"),
        (["--tcp", "host:1"], 2, "either --serial"),
        (["--profile", "none"], 1, "profile.unknown"),
        (["--serial", "/dev/there-is-none"], 1, "bus.link_down"),
    ],
)
def test_trouble_is_one_line_with_its_code(
    bus: str, arguments: list[str], status: int, text: str
) -> None:
    result = run("read", *serial(bus), *arguments)
    assert result.exit_code == status
    assert text in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize(
    ("channel", "ms", "text"),
    [("8", "300", "board.no_such_channel"), ("0", "60000", "board.cap_exceeded")],
)
def test_what_a_lock_cannot_take_is_refused(bus: str, channel: str, ms: str, text: str) -> None:
    result = run("pulse", *serial(bus), "--channel", channel, "--ms", ms)
    assert result.exit_code == 1
    assert text in result.stderr


def test_a_pulse_to_nobody_names_the_wires_and_no_door(bus: str) -> None:
    result = run("pulse", *serial(bus, 9), "--channel", "0", "--ms", "300")
    assert result.exit_code == 1
    assert "bus.timed_out" in result.stderr


async def test_a_coil_not_seen_off_is_no_success(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unseen(*_: object) -> bool:
        return False  # what `_see_off` says of a board that fell silent in the pulse

    monkeypatch.setattr("adapters.board.Board._see_off", unseen)
    async with TcpServer([make_board("waveshare-rtu-relay-8", 1)], framing="rtu") as server:
        tcp = ["--profile", "waveshare-rtu-relay-8", "--tcp", f"127.0.0.1:{server.port}"]
        pulse = ["pulse", *tcp, "--unit", "1", "--channel", "0", "--ms", "100"]
        result = await asyncio.to_thread(run, *pulse)
    assert result.exit_code == 1
    assert "look at the board" in result.output


@pytest.mark.parametrize("address", ["nowhere", ":502", "h:0", "h:70000", "h:x"])
def test_a_tcp_address_is_host_and_port(address: str) -> None:
    result = run("read", "--profile", "moxa-e1210", "--tcp", address, "--unit", "1")
    assert result.exit_code == 2
    assert "HOST:PORT" in result.stderr


async def test_rtu_frames_inside_tcp_are_the_way_of_the_waveshare_siblings() -> None:
    async with TcpServer([make_board("waveshare-rtu-relay-8", 1)], framing="rtu") as server:
        tcp = ["--profile", "waveshare-rtu-relay-8", "--tcp", f"127.0.0.1:{server.port}"]
        result = await asyncio.to_thread(run, "read", *tcp, "--unit", "1", "--json")
    assert json.loads(result.output)["outputs"] == [False] * 8
