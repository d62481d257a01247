"""Pins `locker-bank` as a program: what it prints, how it stops, what it refuses."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest
import serial  # type: ignore[import-untyped]  # pyserial has no stubs
from click.testing import CliRunner

from adapters.simulator import frames
from adapters.simulator.cli import main
from adapters.simulator.wiring import parse

PROGRAM = [sys.executable, "-c", "from adapters.simulator.cli import main; main()"]


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, object]]]:
    with subprocess.Popen(
        [*PROGRAM, "run", *arguments, "--json"], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(20)


def test_serial_board_answers_and_its_link_goes_with_it(tmp_path: Path) -> None:
    link = tmp_path / "tty"
    arguments = ("--profile", "waveshare-rtu-relay-8", "--unit", "1", "--unit", "5", "--serial-pty")
    with running(*arguments, str(link)) as (process, ready):
        assert ready == {"ready": True, "lines": {"line": str(link)}, "page": None}
        with serial.Serial(str(link), 9600, timeout=5) as port:
            port.write(frames.rtu(5, bytes.fromhex("0100000008")))
            assert port.read(6) == frames.rtu(5, bytes.fromhex("010100"))
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0
    assert not link.is_symlink()


def test_tcp_board_takes_a_free_port_and_the_page_its_own() -> None:
    arguments = ("--profile", "moxa-e1210", "--tcp", "127.0.0.1:0", "--framing", "rtu")
    with running(*arguments, "--page", "127.0.0.1:0") as (process, ready):
        lines = ready["lines"]
        assert isinstance(lines, dict)
        host, _, port = lines["line"].rpartition(":")
        with socket.create_connection((host, int(port)), 5) as connection:
            connection.sendall(frames.rtu(1, bytes.fromhex("0400300001")))
            assert connection.recv(100) == frames.rtu(1, bytes.fromhex("04020000"))
        assert str(ready["page"]).startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def test_example_is_a_bank_file_that_runs(tmp_path: Path) -> None:
    text = CliRunner().invoke(main, ["example"]).output
    assert len(parse(text).line) == 3
    file = tmp_path / "bank.toml"
    file.write_text(text.replace('"bank-tty"', json.dumps(str(tmp_path / "tty"))))
    with running("--bank", str(file)) as (_, ready):
        assert set(ready["lines"]) == {"rs485", "outputs", "inputs"}  # type: ignore[call-overload]  # JSON


def refused(*arguments: str) -> str:
    result = CliRunner().invoke(main, ["run", *arguments])
    assert result.exit_code != 0
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)
    return result.output


def test_command_line_that_cannot_be_meant_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "bank.toml"
    file.write_text('[[line]]\nname = "l"\nboud = 9600\n')
    moxa = ("--profile", "moxa-e1210")
    assert "one of them" in refused()
    assert "one of them" in refused(*moxa, "--bank", str(file))
    assert "not both" in refused(*moxa, "--tcp", "127.0.0.1:0", "--serial-pty", "x")
    assert "bank.no_listener" in refused(*moxa)
    assert "bank.wiring" in refused(*moxa, "--tcp", "nowhere")
    assert "--unit goes with --profile" in refused("--bank", str(file), "--unit", "1")
    assert "line=3" in refused("--bank", str(file))
    assert "bank.page_host" in refused(*moxa, "--tcp", "127.0.0.1:0", "--page", "0.0.0.0:0")
    assert "bank.address" in refused(*moxa, "--tcp", "127.0.0.1:0", "--page", "here")
    file.write_bytes(b"\xff\xfe")
    assert "bank.syntax" in refused("--bank", str(file))
    file.write_text("#" * 4_000_001)
    assert "bank.size" in refused("--bank", str(file))
    assert "--framing tcp needs --tcp" in refused(*moxa, "--serial-pty", "x", "--framing", "tcp")


def test_bank_file_is_a_plain_file(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for endless in ("/dev/zero", str(fifo)):
        assert "bank.file" in refused("--bank", endless)


def test_version_is_the_packages() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert result.output == f"locker-bank, version {version('parcel-locker-gateway')}\n"


def test_taken_place_is_refused(tmp_path: Path) -> None:
    taken = tmp_path / "tty"
    taken.write_text("a file of somebody")
    moxa = ("--profile", "moxa-e1210")
    assert "bank.listen" in refused(*moxa, "--serial-pty", str(taken))
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert "bank.listen" in refused(*moxa, "--tcp", f"127.0.0.1:{port}")


@pytest.mark.parametrize("options", [("--baud", "19200"), ("--tcp", "127.0.0.1:0")])
def test_options_for_a_line_need_one_line_to_mean(tmp_path: Path, options: tuple[str, str]) -> None:
    file = tmp_path / "bank.toml"
    file.write_text(CliRunner().invoke(main, ["example"]).output)
    assert "need one line" in refused("--bank", str(file), *options)
