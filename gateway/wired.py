"""What the doctor finds at the wires: adapters, boards, and whether anybody has proved them.

Reads only, except that boards are brought into their safe state (all coils off) when no gateway
runs, and none when it runs: its lines are its own.
"""

import asyncio
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal

import msgspec

from adapters import identify, scan, trouble
from adapters.bus import Line, Priority
from adapters.errors import AdapterError, Nonsense, Refused
from adapters.ports import Port
from adapters.profile import Profile
from adapters.profiles import load
from adapters.reading import Read
from gateway import control
from gateway.bank import Bank, line_of
from gateway.config import Config
from sync.book import Book
from sync.records import Commissioned
from sync.sitemap import BoardItem, SiteMap

BOARD_S: Final = 3.0
ASK_MS: Final = 1000
NAMED: Final = 12
"""So many doors are named in one sentence."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer. `check` is stable."""

    check: str
    level: Literal["ok", "note", "bad"]
    text: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the book says that the doctor looks at."""

    map: SiteMap = field(default_factory=SiteMap)
    fences: tuple[str, ...] = ()
    commissioned: Commissioned | None = None

    @classmethod
    def of(cls, book: Book) -> "Known":
        """Return what a book says now."""
        return cls(book.map, tuple(sorted(set(book.fences.values()))), book.commissioned)


def lined(config: Config, site: SiteMap) -> Config:
    """Return the configuration with the lines of the map that it does not name itself."""
    lines = {name: line_of(item) for name, item in site.lines.items()} | config.lines
    return msgspec.structs.replace(config, lines=lines)


def serials(config: Config, ports: Iterable[Port]) -> Iterator[Finding]:
    """Say of each serial line whether its adapter is there, hands over at once, and keeps its name.

    A port that no driver lists (a pty, a device of one's own) is only looked for.
    """
    known = {port.real: port for port in ports}
    for name, line in sorted(config.lines.items()):
        if not line.serial:
            continue
        check, port = f"line.{name}", known.get(os.path.realpath(line.serial))
        if port is None:
            there = Path(line.serial).exists()
            yield Finding(
                check,
                "note" if there else "bad",
                f"{line.serial} is no port that a driver names"
                if there
                else f"{line.serial} is not there: plug its adapter in, or correct the line",
            )
            continue
        if trouble.latency(name, port.latency_ms):
            yield Finding(
                check,
                "bad",
                f"the adapter holds bytes back for {port.latency_ms} ms, which looks like a late "
                "answer: install deploy/udev/60-locker-rs485.rules and plug it in again",
            )
        else:
            timer = "no timer" if port.latency_ms is None else f"{port.latency_ms} ms"
            yield Finding(check, "ok", f"{port.kind}, holds nothing back ({timer})")
        if line.serial == port.real and port.device != port.real:
            yield Finding(
                check, "note", f"{port.real} may be another one after a restart: name {port.device}"
            )


def commissioning(known: Known) -> Iterator[Finding]:
    """Say whether somebody has proved and signed what is in the map, and which doors not."""
    if not known.map.doors:
        return
    signed = known.commissioned
    if signed is None:
        yield Finding(
            "commissioning", "note", "never signed off: prove every door on the installer's page"
        )
        return
    untaught = [number for number, door in sorted(known.map.doors.items()) if not door.open_ms]
    if signed.failed:
        yield Finding("commissioning", "note", f"signed with {signed.failed} doors that failed")
    if untaught:
        some = ", ".join(map(str, untaught[:NAMED])) + (" ..." if untaught[NAMED:] else "")
        yield Finding("commissioning", "note", f"{len(untaught)} doors were never taught: {some}")
    if not signed.failed and not untaught:
        yield Finding("commissioning", "ok", f"signed by {signed.by}, {signed.passed} doors passed")


def boards(config: Config, data: Path, known: Known) -> Iterator[Finding]:
    """Say what the profiles warn of, which boards answer, and whether they are what the map says.

    Which make answers can be asked only while no gateway runs.
    """
    if not known.map.boards:
        yield Finding("map", "note", "no map yet: locker-gateway site import FILE")
        return
    for profile in sorted({board.profile for board in known.map.boards.values()}):
        for sentence in load(profile).doctor():
            yield Finding(f"profile.{profile}", "note", sentence)
    yield from asyncio.run(_reach(config, data, known.map))


async def _reach(config: Config, data: Path, map_of_site: SiteMap) -> list[Finding]:
    try:
        told = await control.status(data / control.SOCKET)
    except control.NotRunning:
        return await try_boards(config, map_of_site)
    lost = told["health"].get("boards_lost", ())
    return [
        Finding(
            f"board.{name}",
            "bad" if name in lost else "ok",
            "silent, says the running gateway" if name in lost else "answers the running gateway",
        )
        for name in sorted(map_of_site.boards)
    ]


async def try_boards(config: Config, map_of_site: SiteMap) -> list[Finding]:
    """Look at every board of a map, with no gateway running."""
    bank = Bank(map_of_site, config.lines)
    await bank.open()

    async def look(name: str) -> Finding:
        item = map_of_site.boards[name]
        try:
            async with asyncio.timeout(BOARD_S):
                line = bank.lines.get(item.line)
                found = None if line is None else await recognise(line, item)
                if found is not None and found.level == "bad":
                    return found  # nothing is written to a board of another make
                await bank.ports[name].read()
        except (AdapterError, TimeoutError) as error:
            return Finding(f"board.{name}", "bad", str(error) or "no answer")
        assert found is not None, "a board without a line refuses"
        return found

    try:
        return list(await asyncio.gather(*map(look, sorted(bank.ports))))
    finally:
        await bank.close()


async def recognise(line: Line, item: BoardItem) -> Finding:
    """Ask a board that answers what tells its make from the others. Harmless reads only.

    Raises AdapterError when it falls silent.
    """
    check, own = f"board.{item.name}", load(item.profile)
    if not own.identity:
        return Finding(check, "ok", "answers, all coils off; nothing tells a generic board")
    answers = await _answers(line, item.unit, (own,))
    if identify.judge((own,), item.unit, answers):
        return Finding(check, "ok", f"answers as {own.title}, all coils off")
    makes = scan.shipped()
    others = identify.judge(makes, item.unit, await _answers(line, item.unit, makes))
    seems = f"as {others[0].title} ({others[0].profile})" if others else "as no board known here"
    return Finding(
        check,
        "bad",
        f"answers {seems}, the map says {item.profile}: correct the map or replace the board",
    )


async def _answers(
    line: Line, unit: int, makes: tuple[Profile, ...]
) -> dict[Read, tuple[int, ...] | None]:
    """Ask until nothing more is worth asking."""
    answers: dict[Read, tuple[int, ...] | None] = {}
    while (read := identify.next_question(makes, unit, answers)) is not None:
        try:
            answers[read] = await line.ask(unit, read, Priority.POLL, ASK_MS)
        except Refused:
            answers[read] = None
        except Nonsense:
            answers[read] = ()
    return answers
