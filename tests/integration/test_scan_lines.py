"""Pins the scan on real ptys with wire time: boards found, each fault named, nothing written."""

import asyncio
import contextlib
import os
import select
import threading
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from typing_extensions import override

from adapters import pace, ports, scan, trouble
from adapters.bus import Line, SerialSpec
from adapters.errors import LinkDown
from adapters.profiles import load
from adapters.scan import Outcome, Progress
from adapters.simulator.boards import Board
from adapters.simulator.faults import Answer, Station
from adapters.simulator.line import PtyLine
from adapters.simulator.models import make_board

PROFILES = scan.shipped()
QUICK = scan.plan("quick", PROFILES)
READS = {1, 2, 3, 4, 43}


@dataclass
class Bank:
    """A simulated line, and every function code its boards were ever asked."""

    line: PtyLine
    functions: set[int] = field(default_factory=set)


class Watched(Station):
    """A station that takes down what it is asked."""

    def __init__(self, board: Board, functions: set[int]) -> None:
        super().__init__(board)
        self.functions = functions

    @override
    def answer(self, unit: int, pdu: bytes, now_ms: int) -> Answer | None:
        self.functions.add(pdu[0])
        return super().answer(unit, pdu, now_ms)


@contextlib.contextmanager
def bank(*boards: tuple[str, int], baud: int = 9600, **faults: dict[str, int]) -> Iterator[Bank]:
    """Boards on a pty; `faults` are by the number of the board, "b0" the first."""
    functions: set[int] = set()
    stations = [Watched(make_board(model, unit), functions) for model, unit in boards]
    for which, of_board in faults.items():
        for fault, value in of_board.items():
            stations[int(which[1:])].inject(fault, 0, value)
    with PtyLine(stations, baud=baud) as line:
        yield Bank(line, functions)
    assert functions <= READS


async def scanned(
    made: Bank, low: int = 1, high: int = 4, rounds: tuple[scan.Round, ...] = QUICK[:1]
) -> Outcome:
    return await scan.rtu(
        made.line.path,
        scan.only(rounds, low, high),
        progress=lambda _: None,
        stop=asyncio.Event(),
    )


def codes(outcome: Outcome, unit: int | None = None) -> list[str]:
    """Codes of the line's findings, or of one board's."""
    if unit is None:
        return [finding.code for finding in outcome.findings]
    (found,) = [one for one in outcome.found if one.unit == unit]
    return [finding.code for finding in found.findings]


async def test_a_quick_scan_finds_a_mixed_bank_and_says_how_far_it_is() -> None:
    said: list[Progress] = []
    boards = [("waveshare-rtu-relay-8", 1), ("waveshare-rtu-io-8ch", 2), ("urm14", 12)]
    boards += [("eletechsup-r421", 20), ("xy-md02", 32), ("wellpro-wp8028", 5)]
    with bank(*boards) as made:
        outcome = await scan.rtu(made.line.path, QUICK, progress=said.append, stop=asyncio.Event())
    found = {one.unit: one for one in outcome.found}
    assert {unit: one.matches[0].profile for unit, one in found.items()} == {
        unit: model for model, unit in boards
    }
    assert all(one.matches[0].confidence != "possible" for one in found.values())
    assert [progress.done for progress in said] == list(range(1, said[-1].total + 1))
    assert {one.unit for one in said[-1].found} == set(found)
    assert not outcome.cancelled
    assert outcome.findings == ()


@pytest.mark.parametrize("name", [p.profile for p in PROFILES if "rtu" in p.link.framings])
async def test_every_serial_make_is_told_from_its_siblings(name: str) -> None:
    profile = load(name)
    board = make_board(name, profile.link.unit)
    board.install()
    with PtyLine([board], baud=115200) as line:
        rounds = (scan.Round(115200, "N", 1, (profile.link.unit,), 100),)
        outcome = await scan.rtu(line.path, rounds, progress=lambda _: None, stop=asyncio.Event())
    (found,) = outcome.found
    sure = found.matches[0].confidence
    assert sure in {"certain", "likely"}
    assert name in {match.profile for match in found.matches if match.confidence == sure}


async def test_a_cancelled_scan_ends_within_one_probe_and_keeps_what_it_has() -> None:
    stop = asyncio.Event()

    def after_two(progress: Progress) -> None:
        if progress.done == 2:
            stop.set()

    with bank(("waveshare-rtu-relay-8", 1)) as made:
        outcome = await scan.rtu(made.line.path, QUICK, progress=after_two, stop=stop)
    assert outcome.cancelled
    assert outcome.asked == 2
    assert [one.unit for one in outcome.found] == [1]


async def test_a_stop_in_the_middle_of_a_board_is_heard_before_the_next_question() -> None:
    stop = asyncio.Event()
    with bank(("waveshare-rtu-relay-8", 1), ("waveshare-rtu-relay-8", 2)) as made:
        task = asyncio.create_task(
            scan.rtu(made.line.path, QUICK, progress=lambda _: stop.set(), stop=stop)
        )
        outcome = await task
        before = time.perf_counter()
    assert outcome.cancelled
    assert time.perf_counter() - before < 1
    assert outcome.asked == 1


async def test_a_port_that_is_not_there_is_refused() -> None:
    with pytest.raises(LinkDown):
        await scan.rtu("/dev/does-not-exist", QUICK, progress=lambda _: None, stop=asyncio.Event())


async def test_a_silent_line_is_named() -> None:
    with bank() as made:
        outcome = await scanned(made)
    assert codes(outcome) == ["line.silent"]
    with bank(("waveshare-rtu-relay-8", 1)) as made:
        made.line.set_fault("swapped")
        assert codes(await scanned(made)) == ["line.silent"]


async def test_swapped_wires_on_a_biased_line_are_named() -> None:
    with bank(("waveshare-rtu-relay-8", 1)) as made:
        made.line.set_fault("swapped_biased")
        outcome = await scanned(made, 1, 6)
    assert codes(outcome) == ["wiring.swapped"]
    assert outcome.found == ()
    assert outcome.findings[0].evidence["got"] == "00"


async def test_a_board_at_another_rate_is_found_there_and_named() -> None:
    slow = make_board("waveshare-rtu-relay-8", 1, baud=9600)
    other = make_board("waveshare-rtu-relay-8", 2, baud=9600)
    fast = make_board("waveshare-rtu-io-8ch", 3, baud=19200)
    with PtyLine([slow, other, fast]) as line:
        outcome = await scanned(Bank(line), 1, 3, tuple(r for r in QUICK if not r.names))
    assert [(one.unit, one.spec.baud) for one in outcome.found] == [
        (1, 9600), (2, 9600), (3, 19200),
    ]  # fmt: skip
    assert codes(outcome, 3) == ["wiring.rate"]
    assert codes(outcome, 1) == []


async def test_a_known_board_that_stands_at_another_rate_is_named() -> None:
    with bank(("waveshare-rtu-relay-8", 1), baud=19200) as made:
        outcome = await scan.rtu(
            made.line.path,
            scan.only(QUICK, 1, 1),
            progress=lambda _: None,
            stop=asyncio.Event(),
            known={1: 9600},
        )
    assert codes(outcome, 1) == ["wiring.rate"]


async def test_a_missing_termination_shows_by_the_length_of_what_breaks() -> None:
    board = make_board("waveshare-rtu-io-8ch", 1)
    with PtyLine([board], baud=38400) as line:
        line.set_fault("unterminated")
        rounds = (scan.Round(38400, "N", 1, (1,), 100),)
        outcome = await scan.rtu(line.path, rounds, progress=lambda _: None, stop=asyncio.Event())
    assert codes(outcome, 1) == ["wiring.termination"]
    assert outcome.found[0].matches[0].confidence != "possible"


async def test_the_same_line_at_a_slow_rate_is_sound_enough() -> None:
    with bank(("waveshare-rtu-relay-8", 1)) as made:
        made.line.set_fault("unterminated")
        assert codes(await scanned(made, 1, 1), 1) == []


async def test_two_boards_with_one_number_are_named_and_nobody_else() -> None:
    boards = [("waveshare-rtu-relay-8", 1), ("waveshare-rtu-relay-8", 1)]
    with bank(*boards, ("waveshare-rtu-io-8ch", 2)) as made:
        outcome = await scanned(made, 1, 3)
    assert codes(outcome, 1) == ["board.same_number"]
    assert codes(outcome, 2) == []
    (first,) = [one for one in outcome.found if one.unit == 1]
    assert first.matches == ()


async def test_a_second_board_that_is_slower_is_seen_after_the_first(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pace, "QUIET_US", 20_000)  # nobody is later than the wait here
    boards = [("waveshare-rtu-relay-8", 1), ("waveshare-rtu-relay-8", 1)]
    with bank(*boards, baud=115200, b1={"slow": 4}) as made:
        rounds = (scan.Round(115200, "N", 1, (1,), 100),)
        outcome = await scan.rtu(
            made.line.path, rounds, progress=lambda _: None, stop=asyncio.Event()
        )
    assert codes(outcome, 1) == ["board.same_number"]


async def test_linkage_mode_is_named() -> None:
    with bank(("waveshare-rtu-io-8ch", 2), b0={"linkage": 1}) as made:
        outcome = await scanned(made, 2, 2)
    assert codes(outcome, 2) == ["board.linkage"]


async def test_a_board_in_its_text_protocol_is_named() -> None:
    with bank(("adam-4150", 1), ("waveshare-rtu-relay-8", 2)) as made:
        outcome = await scanned(made, 1, 2, tuple(r for r in QUICK if r.baud == 9600)[-3:])
    assert codes(outcome, 1) == ["board.ascii"]
    assert outcome.found[0].device_id == {"name": "4150"}
    assert codes(outcome, 2) == []


async def test_an_echoing_adapter_is_named_and_disturbs_nothing() -> None:
    with bank(("waveshare-rtu-relay-8", 1)) as made:
        made.line.set_fault("echo")
        outcome = await scanned(made)
    assert codes(outcome) == ["adapter.echo"]
    assert outcome.found[0].matches[0].confidence == "certain"


async def test_an_adapter_that_holds_bytes_back_slows_the_scan_and_breaks_nothing() -> None:
    with bank(("waveshare-rtu-io-8ch", 1)) as made:
        made.line.set_fault("latency")
        outcome = await scanned(made, 1, 2)
        assert codes(outcome, 1) == []
    port = ports.Port(made.line.path, made.line.path, 16, latency_settable=True, kind="FTDI")
    (finding,) = trouble.latency(port.device, port.latency_ms)
    assert finding.code == "adapter.latency"


async def test_a_late_board_is_waited_for() -> None:
    with bank(("waveshare-rtu-relay-8", 1), b0={"late": 300}) as made:
        outcome = await scanned(made, 1, 6)
    assert [one.unit for one in outcome.found] == [1]
    assert outcome.found[0].matches[0].profile == "waveshare-rtu-relay-8"


async def test_an_unknown_board_is_measured() -> None:
    board = make_board("wellpro-wp8025", 3)
    with PtyLine([board], baud=115200) as line:
        outcome = await scan.rtu(
            line.path,
            (scan.Round(115200, "N", 1, (3,), 100),),
            progress=lambda _: None,
            stop=asyncio.Event(),
            profiles=[load("waveshare-rtu-io-8ch")],
        )
    (found,) = outcome.found
    assert [match.profile for match in found.matches] == ["generic-8x0"]
    assert load(found.matches[0].profile).outputs is not None


async def test_a_device_says_who_it_is_over_the_line() -> None:
    with PtyLine([make_board("wirenboard-wb-mr6c-v3", 1), make_board("moxa-e1214", 2)]) as sim:
        line = Line(SerialSpec(sim.path, 115200))
        await line.open()
        try:
            said = await scan.device_id(line, 2)
            assert await scan.device_id(line, 1) == {}
        finally:
            await line.close()
    assert said["vendor"] == "MOXA"


async def test_stress_of_a_sound_line_finds_nothing() -> None:
    with PtyLine([make_board("waveshare-rtu-io-8ch", 1)]) as sim:
        line = Line(SerialSpec(sim.path, 115200))
        await line.open()
        try:
            pattern = await scan.stress(line, 1, load("waveshare-rtu-io-8ch"), times=5)
        finally:
            await line.close()
    assert trouble.patterns("x", {1: pattern}) == ()
    assert sum(tally.asked for tally in pattern.tallies) >= 10


async def test_a_second_master_that_never_rests_is_noise() -> None:
    master, slave = os.openpty()
    tty.setraw(slave)
    over = threading.Event()

    def talk() -> None:
        while not over.wait(0.001):
            os.write(master, b"\x05\x64\x00\x31")
            if select.select([master], [], [], 0)[0]:
                os.read(master, 4096)

    thread = threading.Thread(target=talk)
    thread.start()
    try:
        outcome = await scan.rtu(
            os.ttyname(slave),
            (scan.Round(115200, "N", 1, (1, 2, 3, 4), 20),),
            progress=lambda _: None,
            stop=asyncio.Event(),
        )
    finally:
        over.set()
        thread.join()
        os.close(slave)
        os.close(master)
    assert codes(outcome) == ["line.noise"]
    assert outcome.found == ()


async def test_a_board_with_an_old_firmware_is_named_for_what_it_lacks() -> None:
    board = make_board("wirenboard-wb-mr6c-v3", 1)
    for address in range(96, 102):
        del board.discretes[address]
    with PtyLine([board]) as line:
        outcome = await scan.rtu(
            line.path,
            (scan.Round(115200, "N", 1, (1,), 100),),
            progress=lambda _: None,
            stop=asyncio.Event(),
        )
    assert "board.firmware" in codes(outcome, 1)
    assert outcome.found[0].matches[0].profile.startswith("generic-")


async def test_every_setting_of_the_matrix_can_be_tried() -> None:
    rounds = scan.only(scan.plan("full", PROFILES), 1, 1)
    with bank() as made:
        outcome = await scan.rtu(
            made.line.path, rounds, progress=lambda _: None, stop=asyncio.Event()
        )
    assert outcome.asked == len(rounds) > 28
    assert codes(outcome) == ["line.silent"]
