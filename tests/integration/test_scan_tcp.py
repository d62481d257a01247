"""Pins the look at one address and the sweep of a network on real sockets: asked for, bounded."""

import asyncio

import pytest
from typing_extensions import override

from adapters import scan
from adapters.bus import TcpSpec
from adapters.errors import AdapterError, LinkDown
from adapters.scan import Swept
from adapters.simulator.boards import Board
from adapters.simulator.faults import Answer, Station
from adapters.simulator.models import make_board
from adapters.simulator.server import TcpServer


class EveryUnit(Station):
    """A device that looks at no unit number, as many on TCP."""

    @override
    def answer(self, unit: int, pdu: bytes, now_ms: int) -> Answer | None:
        answer = super().answer(self.board.unit, pdu, now_ms)
        return None if answer is None else Answer(unit, answer.pdu)


def boards(*models: str) -> list[Board]:
    return [make_board(model, unit) for unit, model in enumerate(models, 1)]


@pytest.mark.parametrize("model", ["moxa-e1210", "moxa-e1211", "moxa-e1214", "adam-6050"])
async def test_a_device_on_modbus_tcp_is_found_and_says_who_it_is(model: str) -> None:
    async with TcpServer(boards(model)) as server:
        outcome = await scan.tcp("127.0.0.1", server.port, units=[1, 2])
    (found,) = outcome.found
    assert found.matches[0].profile == model
    assert found.spec == TcpSpec("127.0.0.1", server.port, "tcp")
    assert found.device_id["product"].lower().endswith(model.partition("-")[2])
    assert outcome.findings == ()


async def test_rtu_frames_inside_tcp_are_found_without_being_told() -> None:
    async with TcpServer(boards("waveshare-rtu-relay-8", "xy-md02"), framing="rtu") as server:
        outcome = await scan.tcp("127.0.0.1", server.port, units=[1, 2, 3, 4])
    assert [(one.unit, one.spec) for one in outcome.found] == [
        (unit, TcpSpec("127.0.0.1", server.port, "rtu_over_tcp")) for unit in (1, 2)
    ]


async def test_a_scan_of_a_line_behind_a_converter_takes_the_units_of_its_rounds() -> None:
    async with TcpServer(boards("waveshare-rtu-relay-8"), framing="rtu") as server:
        outcome = await scan.rtu(
            TcpSpec("127.0.0.1", server.port, "rtu_over_tcp"),
            scan.only(scan.plan("quick", scan.shipped()), 1, 3),
            progress=lambda _: None,
            stop=asyncio.Event(),
        )
    assert [one.unit for one in outcome.found] == [1]
    assert outcome.asked == 3


async def test_a_device_that_looks_at_no_unit_number_is_one_device() -> None:
    async with TcpServer([EveryUnit(make_board("moxa-e1210"))]) as server:
        outcome = await scan.tcp("127.0.0.1", server.port)
    assert [one.unit for one in outcome.found] == [1]


async def test_two_boards_with_one_number_behind_a_converter_are_named() -> None:
    same = [make_board("waveshare-rtu-relay-8"), make_board("waveshare-rtu-relay-8")]
    async with TcpServer(same, framing="rtu") as server:
        outcome = await scan.tcp("127.0.0.1", server.port, units=[1])
    (found,) = outcome.found
    assert [finding.code for finding in found.findings] == ["board.same_number"]
    assert found.matches == ()


async def test_an_address_where_nobody_listens_is_refused(unused_tcp_port: int) -> None:
    with pytest.raises(LinkDown):
        await scan.tcp("127.0.0.1", unused_tcp_port)


async def test_a_look_can_be_stopped() -> None:
    stop = asyncio.Event()
    async with TcpServer(boards("moxa-e1210")) as server:
        outcome = await scan.tcp("127.0.0.1", server.port, progress=lambda _: stop.set(), stop=stop)
    assert outcome.cancelled
    assert outcome.asked == 1


async def test_a_listener_that_says_nothing_is_named_silent() -> None:
    async with TcpServer(boards("moxa-e1210")) as server:
        server.set_fault("hang")
        outcome = await scan.tcp("127.0.0.1", server.port, framing="tcp", units=[1, 2])
    assert [finding.code for finding in outcome.findings] == ["line.silent"]


async def test_a_sweep_finds_who_listens_and_says_how_far_it_is() -> None:
    said: list[Swept] = []
    async with TcpServer(boards("moxa-e1210"), host="127.0.0.5") as first:
        second = TcpServer(boards("moxa-e1211"), host="127.0.0.9", port=first.port)
        async with second:
            found = await scan.sweep(
                "127.0.0.0/28", progress=said.append, stop=asyncio.Event(), ports=[first.port]
            )
    assert found == (("127.0.0.5", first.port), ("127.0.0.9", first.port))
    assert [swept.done for swept in said] == list(range(1, 15))
    assert said[-1].total == 14


async def test_a_sweep_that_is_stopped_knocks_at_nobody_else(unused_tcp_port: int) -> None:
    stop, said = asyncio.Event(), list[Swept]()

    def first(swept: Swept) -> None:
        said.append(swept)
        stop.set()

    await scan.sweep("127.0.0.0/24", progress=first, stop=stop, ports=[unused_tcp_port])
    assert len(said) <= 64


@pytest.mark.parametrize(
    ("network", "code"),
    [
        ("10.0.0.0/21", "scan.too_wide"),
        ("0.0.0.0/0", "scan.too_wide"),
        ("not a network", "scan.network"),
        ("fe80::/64", "scan.network"),
    ],
)
async def test_a_network_that_is_none_of_boards_is_refused(network: str, code: str) -> None:
    with pytest.raises(AdapterError) as caught:
        await scan.sweep(network, progress=lambda _: None, stop=asyncio.Event())
    assert caught.value.code == code


def test_the_usual_ports_are_knocked_at() -> None:
    assert {502, 4196} <= set(scan.ports_of_boards())
