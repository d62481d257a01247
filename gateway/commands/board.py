"""`locker-gateway board`: boards from the command line, for fitting and for faults.

For `pulse` and `read` the line must be free: a running gateway owns its serial ports alone.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import click
from click.decorators import FC

from adapters.board import Board
from adapters.bus import Line, SerialSpec, TcpSpec
from adapters.errors import LinkDown
from adapters.profile import Profile
from adapters.profiles import load, names
from gateway.commands import _board_bench

DEADLINE_MS: Final = 2000
PORT_MAX: Final = 65535
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Target:
    """Which board, and how to reach it."""

    profile: Profile
    spec: SerialSpec | TcpSpec
    unit: int


@click.group()
def command() -> None:
    """Find, address, teach and test boards; or speak to one.

    `pulse` and `read` open the line themselves: stop the gateway first, for only one program can
    own a serial line. The others ask a gateway that runs. Channels count from 0.
    """


def _target_options(function: FC) -> FC:
    for option in reversed(
        (
            click.option(
                "--profile", required=True, metavar="NAME", help=f"One of: {', '.join(names())}."
            ),
            click.option("--serial", metavar="DEV", help="Serial device, as /dev/ttyUSB0."),
            click.option("--tcp", metavar="HOST:PORT", help="TCP address of the board."),
            click.option(
                "--framing",
                type=click.Choice(["rtu", "tcp"]),
                help="With --tcp: RTU frames inside TCP, or Modbus TCP. Default: the profile's.",
            ),
            click.option(
                "--baud",
                type=click.IntRange(1200, 256000),
                help="Of the serial line; with --framing rtu, of the line behind TCP.",
            ),
            click.option(
                "--unit", required=True, type=click.IntRange(1, 255), help="Unit number, 1 to 255."
            ),
        )
    ):
        function = option(function)
    return function


@command.command()
@_target_options
@click.option("--channel", required=True, type=click.IntRange(min=0), help="Output, from 0.")
@click.option(
    "--ms",
    required=True,
    type=click.IntRange(min=1),
    help="Pulse length; over the board's cap is refused.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def pulse(channel: int, ms: int, *, as_json: bool, **target: Any) -> None:
    """Pulse one lock coil once, and see it off again.

    All outputs of the board are switched off first. Exit status 0: the coil was on and is off.
    """

    async def work(board: Board) -> dict[str, object]:
        await board.look()  # nobody there: say so, not that a write may have been done
        await board.start()
        deadline = asyncio.get_running_loop().time() + DEADLINE_MS / 1000
        done = await board.pulse(channel, ms, deadline=deadline)
        return {
            "channel": done.channel,
            "on_ms": done.on_ms,
            "on_seen": done.on_seen,
            "off_seen": done.off_seen,
        }

    said = _run(_target(target), work)
    _warn(load(target["profile"]))
    if as_json:
        click.echo(json.dumps(said))
    else:
        seen = {True: "seen on", False: "not seen on", None: "not looked at while on"}
        on_seen = cast("bool | None", said["on_seen"])
        off = "off again" if said["off_seen"] else "not seen off: look at the board"
        click.echo(f"channel {channel}: {said['on_ms']} ms, {seen[on_seen]}, {off}")
    if not said["off_seen"]:
        raise click.exceptions.Exit(1)


@command.command()
@_target_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def read(*, as_json: bool, **target: Any) -> None:
    """Read all inputs, outputs and measures of the board; nothing is written to it."""
    aim = _target(target)
    found = _run(aim, lambda board: board.look(measures=True))
    measured = [
        {"name": measure.name, "thousandths": value}
        for measure, value in zip(aim.profile.measures, found.values, strict=True)
    ]
    channels = {"inputs": list(found.inputs), "outputs": list(found.outputs)}
    if as_json:
        click.echo(json.dumps({**channels, **({"measures": measured} if measured else {})}))
        return
    for kind, states in channels.items():
        marks = "".join("1" if state else "0" for state in states)
        click.echo(f"{kind:8} {marks or '(none)'}")
    for one in measured:
        click.echo(f"{one['name']:12} {_measured(str(one['name']), one['thousandths'])}")


_UNITS: Final = {"temperature": " degrees C", "humidity": " %", "distance": " mm"}


def _measured(name: str, value: object) -> str:
    """A measure for people; cycles are a plain count."""
    if not isinstance(value, int):
        return "sensor broken"
    return f"{value / 1000:.1f}{_UNITS[name]}" if name in _UNITS else str(value)


_board_bench.add_to(command)


def _target(given: dict[str, Any]) -> Target:
    profile = load(given["profile"])
    serial, tcp = given["serial"], given["tcp"]
    if (serial is None) == (tcp is None):
        raise click.UsageError("Give either --serial DEV or --tcp HOST:PORT.")
    if serial is not None:
        if given["framing"] == "tcp":
            raise click.UsageError("--framing tcp needs --tcp.")
        link = profile.link
        spec = SerialSpec(serial, given["baud"] or link.baud, link.parity, link.stop)
        return Target(profile, spec, given["unit"])
    host, _, port = str(tcp).rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 1 <= int(port) <= PORT_MAX:
        raise click.UsageError("--tcp is HOST:PORT, as 192.168.1.200:502.")
    rtu = given["framing"] == "rtu" or (
        given["framing"] is None and profile.link.framings[0] != "tcp"
    )
    baud = given["baud"] or profile.link.baud
    peer = TcpSpec(host.strip("[]"), int(port), "rtu_over_tcp" if rtu else "tcp", baud)
    return Target(profile, peer, given["unit"])


def _run(target: Target, work: Callable[[Board], Awaitable[T]]) -> T:
    async def run() -> T:
        line = Line(target.spec)
        try:
            if not await line.open():
                raise LinkDown(line=target.spec.name, reason=line.down_reason)
            board = Board(line, target.profile, target.unit)
            try:
                return await work(board)
            finally:
                await board.settle()  # interrupted in a pulse: its coil goes off first
        finally:
            await line.close()

    return asyncio.run(run())


def _warn(profile: Profile) -> None:
    if not profile.caps_survive_kill:
        click.echo(f"warning: {profile.doctor()[0]}", err=True)
