"""Pins the serial ports of a machine laid out as a folder: lasting names, and the latency timer."""

from pathlib import Path

import pytest

from adapters.errors import LatencyRefused
from adapters.ports import Port, serial_ports, set_latency


class Machine:
    """`/sys` and `/dev` of a machine with USB adapters, as the kernel and udev lay them out."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "sys/class/tty").mkdir(parents=True)
        for kind in ("by-id", "by-path"):
            (root / "dev/serial" / kind).mkdir(parents=True)

    def plug(
        self, name: str, driver: str, socket: str, *, number: str = "", latency: str = ""
    ) -> None:
        usb = self.root / "sys/devices/usb1" / socket
        port = usb / f"{socket}:1.0" / name
        port.mkdir(parents=True)
        (usb / "idVendor").write_text("0403\n")
        if number:
            (usb / "serial").write_text(f"{number}\n")
        if latency:
            (port / "latency_timer").write_text(f"{latency}\n")
        drivers = self.root / "sys/bus/usb-serial/drivers" / driver
        drivers.mkdir(parents=True, exist_ok=True)
        (port / "driver").symlink_to(drivers)
        node = self.root / "sys/class/tty" / name
        node.mkdir()
        (node / "device").symlink_to(port)
        (self.root / "dev" / name).touch()
        by_id = f"usb-{driver}_{number or 'USB_Serial'}-if00-port0"
        self._link("by-id", by_id, name)
        self._link("by-path", f"platform-usb-0:{socket}:1.0-port0", name)

    def built_in(self, name: str, kind: int) -> None:
        port = self.root / "sys/devices/platform" / name
        port.mkdir(parents=True)
        node = self.root / "sys/class/tty" / name
        node.mkdir()
        (node / "device").symlink_to(port)
        (node / "type").write_text(f"{kind}\n")
        (self.root / "dev" / name).touch()

    def _link(self, kind: str, link: str, name: str) -> None:
        place = self.root / "dev/serial" / kind / link
        place.unlink(missing_ok=True)  # what udev does when two adapters claim one name
        place.symlink_to(Path("../..") / name)

    def ports(self) -> dict[str, Port]:
        return {port.real: port for port in serial_ports(self.root)}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_an_adapter_with_a_serial_number_goes_by_it(machine: Machine) -> None:
    machine.plug("ttyUSB3", "ftdi_sio", "1-2", number="A50285BI", latency="16")
    assert serial_ports(machine.root) == (
        Port(
            device="/dev/serial/by-id/usb-ftdi_sio_A50285BI-if00-port0",
            real="/dev/ttyUSB3",
            latency_ms=16,
            latency_settable=True,
            kind="FTDI USB adapter",
            serial_number="A50285BI",
        ),
    )


def test_two_adapters_without_serial_numbers_go_by_their_sockets(machine: Machine) -> None:
    machine.plug("ttyUSB0", "ch341-uart", "1-1")
    machine.plug("ttyUSB1", "ch341-uart", "1-2")
    found = machine.ports()
    assert found["/dev/ttyUSB0"].device == "/dev/serial/by-path/platform-usb-0:1-1:1.0-port0"
    assert found["/dev/ttyUSB1"].device == "/dev/serial/by-path/platform-usb-0:1-2:1.0-port0"
    assert {port.kind for port in found.values()} == {"WCH CH340 USB adapter"}
    assert {port.latency_ms for port in found.values()} == {None}


def test_a_built_in_port_counts_only_where_a_chip_is_fitted(machine: Machine) -> None:
    machine.built_in("ttyS0", 4)
    machine.built_in("ttyS1", 0)
    (machine.root / "sys/class/tty/tty1").mkdir()
    found = serial_ports(machine.root)
    assert [(port.device, port.kind) for port in found] == [("/dev/ttyS0", "serial port")]


def test_a_driver_nobody_knows_is_a_port_all_the_same(machine: Machine) -> None:
    machine.plug("ttyXR0", "xr_serial", "1-3")
    assert machine.ports()["/dev/ttyXR0"].kind == "serial port"


def test_a_machine_without_ports_has_none(tmp_path: Path) -> None:
    assert serial_ports(tmp_path) == ()


def test_the_timer_is_set_to_a_millisecond(machine: Machine) -> None:
    machine.plug("ttyUSB0", "ftdi_sio", "1-1", number="X", latency="16")
    (port,) = serial_ports(machine.root)
    assert set_latency(port, root=machine.root)
    assert machine.ports()["/dev/ttyUSB0"].latency_ms == 1


def test_an_adapter_without_a_timer_has_nothing_to_set(machine: Machine) -> None:
    machine.plug("ttyUSB0", "ch341-uart", "1-1")
    (port,) = serial_ports(machine.root)
    assert not set_latency(port, root=machine.root)


def test_a_timer_that_may_not_be_set_is_refused_with_the_file(machine: Machine) -> None:
    machine.plug("ttyUSB0", "ftdi_sio", "1-1", number="X", latency="16")
    timer = machine.root / "sys/devices/usb1/1-1/1-1:1.0/ttyUSB0/latency_timer"
    timer.unlink()
    timer.symlink_to("/proc/sys/kernel/ngroups_max")  # a number that not even root may change
    (port,) = serial_ports(machine.root)
    assert not port.latency_settable
    with pytest.raises(LatencyRefused) as caught:
        set_latency(port, root=machine.root)
    assert caught.value.code == "adapter.latency_refused"
    assert str(caught.value.evidence["file"]).endswith("ttyUSB0/device/latency_timer")
