"""Pins that a gateway is found across a cable: two network namespaces, two real processes.

Its address changes, its name is taken, it ends, and strangers shout beside it.
"""

import asyncio
import json
import shutil
import signal
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway import control, site
from gateway.control import SOCKET
from tests.namespaces import Place, cable, line

MDNS = str(Path(__file__).parents[1] / "mdns.py")
LIMIT_S = 60.0
Pair = tuple[Place, Place]


@pytest.fixture
async def ends() -> AsyncIterator[Pair]:
    async with cable() as pair:
        yield pair


def made(folder: Path, name: str = "0042", port: int = 8443, listen: str = "0.0.0.0") -> Path:
    """Make a site without boards; return its configuration."""
    folder.mkdir()
    site.make(folder / "data", operator="lockers.example", site=name)
    file = folder / "gateway.toml"
    file.write_text(
        f'data_dir = "{folder / "data"}"\n[kiosk]\nlisten = "127.0.0.1:0"\n'
        f'[installer]\nlisten = "{listen}:{port}"\n[lines.bank]\ntcp = "127.0.0.1:1"\n'
    )
    return file


async def until(true: Callable[[], Awaitable[object]], every_s: float = 0.1) -> None:
    """Wait until something holds."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            if await true():
                return
            await asyncio.sleep(every_s)


async def running(where: Place, file: Path) -> asyncio.subprocess.Process:
    """Start a gateway; return it when it says that it is announced."""
    child = await where.gateway("run", "--config", str(file), log=file.parent / "log")

    async def is_announced() -> str:
        assert child.returncode is None, (file.parent / "log").read_text()
        return await announced(file)

    await until(is_announced)
    return child


async def status(file: Path) -> dict[str, Any]:
    try:
        return await control.status(file.parent / "data" / SOCKET)
    except Exception:  # noqa: BLE001  # not yet there
        return {}


def resident_kb(pid: int) -> int:
    told = Path(f"/proc/{pid}/status").read_text()
    return int(told.partition("VmRSS:")[2].split()[0])


async def announced(file: Path) -> str:
    told = (await status(file)).get("installer", {})
    return str(told.get("announced", ""))


async def discovered(where: Place, *more: str) -> list[dict[str, Any]]:
    told = json.loads(await where.command("discover", "--json", "--seconds", "1.5", *more))
    rows: list[dict[str, Any]] = told["gateways"]
    return rows


async def test_a_gateway_is_found_and_followed_to_its_new_address_and_said_goodbye(
    ends: Pair, tmp_path: Path
) -> None:
    there, here = ends
    file = made(tmp_path / "site")
    watching = await here.start(sys.executable, MDNS, "watch", log=tmp_path / "watch")
    assert await line(watching) == "[]\n"
    child = await running(there, file)
    name = "0042._locker-gateway._tcp.local."
    what, whose, addresses, _ = json.loads(await line(watching))
    assert (what, whose, addresses) == ("Added", name, [there.address])

    found = await discovered(here)
    pin = json.loads(await there.command(
        "pairing", "open", "--data", str(file.parent / "data"), "--by", "eva", "--json"
    ))["pin"]  # fmt: skip
    assert [(one["site"], one["addresses"], one["port"], one["fingerprint"]) for one in found] == [
        ("0042", ["10.77.0.1"], 8443, pin[:8])
    ]
    assert [one["state"] for one in found] == ["new"]
    shown = await there.command("status", "--data", str(file.parent / "data"))
    assert "installers https://10.77.0.1:8443/  announced as 0042" in shown

    there.ip("address", "add", "10.77.0.9/24", "dev", "lan0")
    there.ip("address", "del", "10.77.0.1/24", "dev", "lan0")
    there.ip("address", "replace", "10.77.0.9/24", "dev", "lan0")  # it went with the first

    async def followed() -> bool:
        return [one["addresses"] for one in await discovered(here)] == [["10.77.0.9"]]

    await until(followed)

    begun = time.monotonic()
    child.send_signal(signal.SIGTERM)
    assert await child.wait() == 0
    assert time.monotonic() - begun < 2.0
    async with asyncio.timeout(LIMIT_S):
        while json.loads(await line(watching))[:2] != ["Removed", name]:
            pass
    assert await discovered(here) == []
    text = await here.command("discover", "--seconds", "0.5")
    assert "locker-gateway pair HOST:PORT" in text


async def test_a_cable_that_was_out_and_a_name_that_is_taken(ends: Pair, tmp_path: Path) -> None:
    there, here = ends
    one, other = made(tmp_path / "one"), made(tmp_path / "other", port=8444)
    there.ip("address", "flush", "dev", "lan0")
    first = await there.gateway("run", "--config", str(one), log=one.parent / "log")
    await until(lambda: status(one))
    assert await announced(one) == ""
    there.ip("address", "add", "10.77.0.1/24", "dev", "lan0")
    await until(lambda: announced(one))
    assert first.returncode is None
    await running(here, other)
    assert (await announced(one), await announced(other)) == ("0042", "0042-2")
    found = await discovered(here)
    assert [(row["name"], row["port"]) for row in found] == [("0042", 8443), ("0042-2", 8444)]
    assert len({row["fingerprint"] for row in found}) == 2


async def test_two_that_start_at_once_end_with_two_names(ends: Pair, tmp_path: Path) -> None:
    # Neither has the name while both look whether it is free.
    files = [made(tmp_path / "one"), made(tmp_path / "other", port=8444)]
    await asyncio.gather(*(running(*each) for each in zip(ends, files, strict=True)))

    async def settled() -> bool:
        return {await announced(file) for file in files} == {"0042", "0042-2"}

    await until(settled)

    async def both_found() -> bool:
        rows = await discovered(ends[0])
        return [(r["name"], len(r["addresses"])) for r in rows] == [("0042", 1), ("0042-2", 1)]

    await until(both_found)


async def test_two_on_one_machine_end_with_two_names(ends: Pair, tmp_path: Path) -> None:
    # They share the port: what is answered to one may be heard by the other alone.
    there, here = ends
    files = [made(tmp_path / "one"), made(tmp_path / "other", port=8444)]
    watching = await here.start(sys.executable, MDNS, "watch", log=tmp_path / "watch")
    assert await line(watching) == "[]\n"
    for file in files:
        await running(there, file)

    async def settled() -> bool:
        return {(row["name"]) for row in await discovered(here)} == {"0042", "0042-2"}

    await until(settled)
    watching.kill()
    out, _ = await watching.communicate()
    seen = [json.loads(one) for one in out.decode().splitlines()]
    # Who left the name said no goodbye for it: that would have hidden the one who has it.
    assert {row[0] for row in seen} <= {"Added", "Updated"}, seen


async def test_it_speaks_only_where_it_listens(ends: Pair, tmp_path: Path) -> None:
    there, here = ends
    there.ip("link", "add", "lan1", "type", "veth", "peer", "name", "lan1", "netns", here.name)
    for place, last in ((there, "1"), (here, "2")):
        place.ip("address", "add", f"10.78.0.{last}/24", "dev", "lan1")
        place.ip("link", "set", "lan1", "up")
    file = made(tmp_path / "site", listen="10.78.0.1")
    await running(there, file)
    assert [row["addresses"] for row in await discovered(here, "--on", "10.78.0.2")] == [
        ["10.78.0.1"]
    ]
    assert await discovered(here, "--on", "10.77.0.2") == []


async def test_a_cable_without_any_ipv4_address_is_enough(ends: Pair, tmp_path: Path) -> None:
    there, here = ends
    for place in ends:
        place.ip("-4", "address", "flush", "dev", "lan0")
    file = made(tmp_path / "site", listen="[::]")
    await running(there, file)
    rows: list[dict[str, Any]] = []

    async def found() -> bool:
        rows[:] = await discovered(here)
        return bool(rows)

    await until(found)
    [row] = rows
    [address] = row["addresses"]
    bare, _, scope = address.partition("%")
    assert bare in there.ip("-6", "address", "show", "dev", "lan0")
    assert scope
    code = f"import socket; socket.create_connection(({address!r}, {row['port']}), 5).close()"
    await here.said(sys.executable, "-c", code)


async def test_a_site_that_shall_not_be_announced_is_not(ends: Pair, tmp_path: Path) -> None:
    there, here = ends
    file = made(tmp_path / "site")
    file.write_text(file.read_text().replace("[lines.bank]", "announce = false\n[lines.bank]"))
    await there.gateway("run", "--config", str(file), log=tmp_path / "log")

    async def listens() -> object:
        return (await status(file)).get("installer")

    await until(listens)
    assert await discovered(here) == []
    assert await announced(file) == ""
    assert ":14E9 " not in await there.said("cat", "/proc/net/udp")  # 5353 is open nowhere


async def test_strangers_who_shout_hide_no_gateway_and_stop_no_site(
    ends: Pair, tmp_path: Path
) -> None:
    there, here = ends
    file = made(tmp_path / "site")
    child = await running(there, file)
    shouting = await there.start(
        sys.executable, MDNS, "shout", there.address, log=tmp_path / "shout"
    )
    assert await line(shouting) == "shouted\n"
    asked = time.monotonic()
    told = json.loads(await here.command("discover", "--json", "--seconds", "3"))
    print(f"found in {time.monotonic() - asked:.1f} s, {told['left_out']} left out")
    assert "0042" in {row["site"] for row in told["gateways"]}
    assert told["left_out"] > 100
    listed = {a for row in told["gateways"] for a in row["addresses"] + row["far"]}
    assert listed <= {"10.77.0.1", "10.77.0.66"} | {f"10.77.1.{n}" for n in range(200)}
    text = await here.command("discover", "--seconds", "1")
    boards = await here.command("discover", "--boards", "--seconds", "1")
    assert all(one.isprintable() or one == "\n" for one in text + boards), text + boards
    assert "10.77.0.66:502" in boards
    flooding = await here.start(
        sys.executable, MDNS, "flood", here.address, "4", log=tmp_path / "flood"
    )
    slowest = 0.0
    while flooding.returncode is None:
        begun = time.monotonic()
        assert await status(file)
        slowest = max(slowest, time.monotonic() - begun)
        await asyncio.sleep(0.02)
    sent = int(await line(flooding))
    print(f"slowest answer of the control socket beside {sent} messages: {slowest * 1000:.0f} ms")
    memory_kb = resident_kb(child.pid)
    print(f"memory of the gateway after that: {memory_kb // 1024} MB")
    assert slowest < 1.0
    assert memory_kb < 200 * 1024
    assert child.returncode is None
    child.send_signal(signal.SIGTERM)
    assert await child.wait() == 0
    assert (file.parent / "log").read_text().count("announce.failed") <= 1


BUS = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen>
<auth>EXTERNAL</auth><policy context="default"><allow user="*"/><allow own="*"/>
<allow send_destination="*" eavesdrop="true"/><allow receive_sender="*"/></policy></busconfig>
"""
AVAHI = "[server]\nuse-ipv6=no\nallow-interfaces=lan0\n[publish]\npublish-workstation=no\n"


async def test_avahi_sees_the_same(ends: Pair, tmp_path: Path) -> None:
    there, here = ends
    for program, package in (
        ("avahi-daemon", "avahi-daemon"), ("avahi-browse", "avahi-utils"), ("dbus-daemon", "dbus")
    ):  # fmt: skip
        if shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is None:
            pytest.skip(f"needs {program} (Debian: apt-get install {package})")
    file = made(tmp_path / "site")
    await running(there, file)
    bus = tmp_path / "bus"
    (tmp_path / "bus.conf").write_text(BUS.format(socket=bus))
    (tmp_path / "avahi.conf").write_text(AVAHI)
    env = {"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={bus}"}
    await here.start(
        "dbus-daemon", "--nofork", "--nopidfile", f"--config-file={tmp_path / 'bus.conf'}",
        log=tmp_path / "dbus.log",
    )  # fmt: skip
    await until(lambda: asyncio.to_thread(bus.exists))
    # Its own /run: no other avahi of this machine is met there.
    await here.start(
        "sh", "-c",
        "mount -t tmpfs tmpfs /run && mkdir -p /run/avahi-daemon && "
        f"exec avahi-daemon --no-drop-root --no-chroot --no-rlimits -f {tmp_path / 'avahi.conf'}",
        log=tmp_path / "avahi.log", env=env,
    )  # fmt: skip
    [ours] = await discovered(here)
    rows: list[list[str]] = []
    async with asyncio.timeout(LIMIT_S):
        while not rows:
            browse = await here.start(
                "avahi-browse", "-rpt", "_locker-gateway._tcp", log=tmp_path / "browse.log", env=env
            )
            out, _ = await browse.communicate()
            rows = [one.split(";") for one in out.decode().splitlines() if one.startswith("=")]
            await asyncio.sleep(0.2)
    [[_, interface, family, name, kind, domain, host, address, port, *text]] = rows
    assert (interface, family, name, kind, domain) == (
        "lan0", "IPv4", ours["name"], "_locker-gateway._tcp", "local",
    )  # fmt: skip
    assert (address, port) == (ours["addresses"][0], str(ours["port"]))
    assert host == f"locker-{ours['fingerprint']}.local"
    pairs = set(" ".join(text).strip('"').split('" "'))
    assert pairs == {
        "txtvers=1", f"site={ours['site']}", f"version={ours['version']}",
        f"state={ours['state']}", f"fingerprint={ours['fingerprint']}",
    }  # fmt: skip
