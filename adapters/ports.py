"""The serial ports of this machine: names that last, and how long their adapters hold bytes back.

A pty is never listed: whoever has one names it. `root` is the file system's root, so that a test
can lay out a machine as a folder.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from adapters.errors import LatencyRefused

LATENCY_MS: Final = 1  # the least an FTDI can do; its 16 ms look like a late answer
_ROOT: Final = Path("/")
_DRIVERS: Final = {
    "ftdi_sio": "FTDI USB adapter",
    "ch341": "WCH CH340 USB adapter",
    "ch343": "WCH CH343 USB adapter",
    "cp210x": "Silicon Labs CP210x USB adapter",
    "pl2303": "Prolific PL2303 USB adapter",
    "cdc_acm": "USB adapter",
}


@dataclass(frozen=True, slots=True)
class Port:
    """A serial port. `device` lasts across restarts where anything does; `real` is its node now.

    `latency_ms` None: the driver knows no such timer. `serial_number` "": two adapters of this kind
    cannot be told apart, and `device` goes by the socket it is plugged into.
    """

    device: str
    real: str
    latency_ms: int | None
    latency_settable: bool
    kind: str
    serial_number: str = ""


def serial_ports(root: Path = _ROOT) -> tuple[Port, ...]:
    """Return every serial port with something behind it, sorted by name."""
    nodes = root / "sys/class/tty"
    if not nodes.is_dir():
        return ()
    found = [_port(root, node) for node in nodes.iterdir() if _is_port(root, node)]
    return tuple(sorted(found, key=lambda port: port.device))


def set_latency(port: Port, ms: int = LATENCY_MS, *, root: Path = _ROOT) -> bool:
    """Make the adapter hand over bytes after `ms`; False where there is no such timer.

    Raises `LatencyRefused` when this user may not set it, or it does not hold.
    """
    file = _timer(root, Path(port.real).name)
    if _number(file) is None:
        return False
    try:
        file.write_text(str(ms), encoding="ascii")
    except OSError as error:
        raise LatencyRefused(file=str(file), why=error.strerror) from None
    if (now_ms := _number(file)) != ms:
        raise LatencyRefused(file=str(file), wanted_ms=ms, now_ms=now_ms)
    return True


def _is_port(root: Path, node: Path) -> bool:
    """A tty with a device behind it; a chip of type 0 is a place where none was ever fitted."""
    behind = node / "device"
    return behind.exists() and _number(node / "type") != 0 and (root / "dev" / node.name).exists()


def _port(root: Path, node: Path) -> Port:
    driver = _target(node / "device/driver")
    number = _serial_number(node / "device")
    timer = _timer(root, node.name)
    return Port(
        device=_stable(root, node.name, by_id=bool(number)),
        real=f"/dev/{node.name}",
        latency_ms=_number(timer),
        latency_settable=_number(timer) is not None and os.access(timer, os.W_OK),
        kind=next((kind for name, kind in _DRIVERS.items() if name in driver), "serial port"),
        serial_number=number,
    )


def _timer(root: Path, name: str) -> Path:
    return root / "sys/class/tty" / name / "device/latency_timer"


def _stable(root: Path, name: str, *, by_id: bool) -> str:
    """Name that lasts. Without a serial number two adapters share one id: the socket tells them."""
    folders = ("by-id", "by-path") if by_id else ("by-path", "by-id")
    for folder in (root / "dev/serial" / kind for kind in folders):
        for link in sorted(folder.iterdir()) if folder.is_dir() else ():
            if _target(link) == name:
                return f"/dev/serial/{folder.name}/{link.name}"
    return f"/dev/{name}"


def _serial_number(device: Path) -> str:
    """Serial number of the USB device: the first one on the way up that has a vendor."""
    here = device.resolve()
    for folder in (here, *here.parents):
        if (folder / "idVendor").is_file():
            return _text(folder / "serial")
    return ""


def _target(link: Path) -> str:
    return link.readlink().name if link.is_symlink() else ""


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _number(file: Path) -> int | None:
    text = _text(file)
    return int(text) if text.isascii() and text.isdigit() else None
