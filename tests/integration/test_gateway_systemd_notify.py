"""Pins what systemd hears of us, and that nobody is bothered where it does not listen."""

import socket
from pathlib import Path

import pytest

from gateway import systemd


def test_states_arrive_at_the_socket(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("n")
        listener.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "n")
        systemd.notify("READY=1")
        assert listener.recv(64) == b"READY=1"
    systemd.notify("WATCHDOG=1")
    monkeypatch.setenv("NOTIFY_SOCKET", "@no-such-socket")
    systemd.notify("WATCHDOG=1")
    monkeypatch.delenv("NOTIFY_SOCKET")
    systemd.notify("READY=1")


@pytest.mark.parametrize(
    ("usec", "pid", "every"),
    [("30000000", "", 15.0), ("", "", None), ("x", "", None), ("0", "", None), ("9", "1", None)],
)
def test_sign_of_life_is_due_twice_as_often_as_allowed(
    monkeypatch: pytest.MonkeyPatch, usec: str, pid: str, every: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    if pid:
        monkeypatch.setenv("WATCHDOG_PID", pid)
    assert systemd.watchdog_s() == every
