"""The lines and boards of a map, opened: what `gateway.boards` drives.

Of this floor, only this file and the commands that speak to one board know the adapters' classes.
"""

import asyncio
from collections.abc import Mapping
from typing import Final

from typing_extensions import override

from adapters.board import Board
from adapters.bus import Line, SerialSpec, TcpSpec
from adapters.errors import AdapterError
from adapters.profile import Profile
from adapters.profiles import load
from adapters.reading import Reading
from gateway import config, mapfile
from gateway.ports import BoardPort, ReadingPort
from sync.sitemap import BoardItem, LineItem, SiteMap

CLOSE_S: Final = 0.4
"""What is left of the two seconds of a stop when the coils are off."""


def known(profile: str) -> mapfile.Channels | None:
    """Return what a shipped profile offers to a map; None when there is none of that name."""
    try:
        read: Profile = load(profile)
    except AdapterError:
        return None
    return mapfile.Channels(
        outputs=len(read.outputs.at()) if read.outputs else 0,
        inputs=len(read.inputs.at()) if read.inputs else 0,
        units=read.link.units,
        max_on_ms=read.caps.max_on_ms if read.caps else mapfile.PULSE_MS_MAX,
        measures=len(read.measures),
    )


def line_of(item: LineItem) -> config.Line:
    """Return a line of the map as the configuration would name it."""
    echo = {"auto": None, "yes": True, "no": False}[item.local_echo]
    return config.Line(
        serial=item.serial, tcp=item.tcp, framing=item.framing, baud=item.baud,
        parity=item.parity, stop_bits=item.stop_bits, local_echo=echo,
    )  # fmt: skip


def spec(line: config.Line) -> SerialSpec | TcpSpec:
    """Return where a configured line ends."""
    if line.serial:
        return SerialSpec(
            line.serial, line.baud, line.parity, line.stop_bits, local_echo=line.local_echo
        )
    address = config.split_address(line.tcp)
    assert address is not None  # the configuration was checked
    host, port = address
    if line.framing == "tcp":
        return TcpSpec(host, port, framing="tcp")
    return TcpSpec(host, port, framing="rtu_over_tcp", baud=line.baud)


class LockBoard(Board):
    """A board as the site polls it: of one with inputs the coils are not read each time."""

    @override
    async def read(
        self,
        *,
        outputs: bool | None = None,
        measures: bool | None = None,
        urgent: bool = False,
        deadline_ms: int = 2000,
    ) -> Reading:
        """Read the inputs; of a board without any, the coils or else what it measures: it lives."""
        points = self.profile
        coils = points.inputs is None if outputs is None else outputs
        bare = points.inputs is None and points.outputs is None
        return await super().read(
            outputs=coils,
            measures=bare if measures is None else measures,
            urgent=urgent,
            deadline_ms=deadline_ms,
        )


class MissingBoard:
    """A board that the map names and nobody can reach: line or profile are not known here."""

    def __init__(self, code: str, remedy: str, **evidence: object) -> None:
        self._why = (code, remedy, evidence)

    def _refuse(self) -> AdapterError:
        code, remedy, evidence = self._why
        return AdapterError(code, remedy, sent=False, **evidence)

    async def start(self) -> None:
        """Refuse."""
        raise self._refuse()

    async def pulse(self, channel: int, ms: int, *, deadline: float) -> None:  # noqa: ARG002  # a port
        """Refuse."""
        raise self._refuse()

    async def read(self, *, urgent: bool = False, measures: bool = False) -> ReadingPort:  # noqa: ARG002  # a port
        """Refuse."""
        raise self._refuse()

    async def all_off(self) -> None:
        """Do nothing: nothing was ever switched on."""


class Bank:
    """All lines and boards of one map. `ports` by board name.

    A line of the configuration outweighs one of the map with its name: the machine knows better
    where its own ports are.
    """

    def __init__(self, site: SiteMap, lines: Mapping[str, config.Line]) -> None:
        lines = {name: line_of(item) for name, item in site.lines.items()} | dict(lines)
        used = {board.line for board in site.boards.values()}
        self.lines = {name: Line(spec(lines[name])) for name in sorted(used & lines.keys())}
        self.ports: dict[str, BoardPort] = {
            name: self._port(board) for name, board in sorted(site.boards.items())
        }

    def _port(self, item: BoardItem) -> BoardPort:
        line = self.lines.get(item.line)
        if line is None:
            return MissingBoard(
                "config.no_line", "Name this line in the configuration", line=item.line
            )
        try:
            profile = load(item.profile)
        except AdapterError as error:
            return MissingBoard(error.code, error.remedy, **error.evidence)
        return LockBoard(line, profile, item.unit)

    async def open(self) -> None:
        """Open all lines; one that is not there yet is tried again by its owner."""
        await asyncio.gather(*(line.open() for line in self.lines.values()))

    async def close(self) -> None:
        """Close all lines. The coils are off already, or could not be reached."""
        await asyncio.wait(
            [asyncio.ensure_future(line.close()) for line in self.lines.values()]
            or [asyncio.ensure_future(asyncio.sleep(0))],
            timeout=CLOSE_S,
        )

    def health(self) -> dict[str, object]:
        """Return what each line says of itself."""
        return {name: line.health() for name, line in self.lines.items()}
