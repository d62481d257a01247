"""Pins over random input: no late answer for another question, no forbidden write, no crash."""

import asyncio
import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters import pace, plan
from adapters.bus import Frames, Line, Priority, TcpSpec
from adapters.errors import AdapterError, BusError, Forbidden, ProfileInvalid
from adapters.pace import Pace, Queue, Turn, UnitTiming
from adapters.profile import parse
from adapters.profiles import load, names
from adapters.reading import Read, Request, Verdict, Write

WORD = st.integers(0, 0xFFFF)
READS = st.builds(Read, st.sampled_from([1, 2, 3, 4]), st.integers(0, 60000), st.integers(1, 100))
SINGLE = st.builds(
    Write, st.sampled_from([5, 6]), WORD, st.tuples(st.one_of(WORD, st.sampled_from([0, 0xFF00])))
)
NEAR = st.builds(
    Write,
    st.sampled_from([5, 6]),
    st.one_of(st.integers(0, 0x0120), st.integers(0x01F0, 0x0420)),
    st.tuples(st.one_of(st.integers(0, 12), st.sampled_from([0x5500, 0xFF00, 0x0601, 0x0700]))),
)
MANY = st.one_of(
    st.builds(
        Write,
        st.just(15),
        st.integers(0, 60000),
        st.lists(st.integers(0, 1), min_size=1, max_size=40).map(tuple),
    ),
    st.builds(
        Write,
        st.just(16),
        st.integers(0, 60000),
        st.lists(WORD, min_size=1, max_size=20).map(tuple),
    ),
)
WRITES = st.one_of(SINGLE, NEAR, MANY)
REQUESTS: st.SearchStrategy[Request] = st.one_of(READS, WRITES)


@given(st.binary(max_size=80), REQUESTS, st.booleans(), st.booleans())
def test_any_bytes_are_judged_and_never_good_by_accident(
    raw: bytes, request: Request, rtu: bool, echo: bool
) -> None:
    frames = Frames(rtu=rtu)
    frame, number = frames.encode(1, request)
    repeated = frame if echo and rtu else b""
    verdict = frames.at_the_end(raw, repeated, 1, request, number).verdict
    assert verdict in {Verdict.NOTHING, Verdict.GARBAGE, Verdict.OTHER, Verdict.CORRUPT}
    frames.judge(raw, repeated, 1, request, number)


@given(REQUESTS, REQUESTS, st.integers(1, 255))
def test_the_answer_to_one_question_is_good_for_another_only_where_nobody_could_tell(
    asked: Request, other: Request, unit: int
) -> None:
    frames = Frames(rtu=True)
    raw = answer(frames, unit, other)
    judged = frames.at_the_end(raw, b"", unit, asked, 0)
    # A read's answer does not say which address was read: there the quiet time must do it.
    alike = isinstance(asked, Read) and isinstance(other, Read) and asked.function == other.function
    if isinstance(asked, Write):
        same = (
            isinstance(other, Write)
            and other.function == asked.function
            and echoed(asked) == echoed(other)
        )
        assert (judged.verdict is Verdict.GOOD) == same
    elif not alike:
        assert judged.verdict is not Verdict.GOOD


@given(REQUESTS, st.integers(1, 254))
def test_the_answer_of_another_unit_is_never_ours(request: Request, unit: int) -> None:
    frames = Frames(rtu=True)
    raw = answer(frames, unit + 1, request)
    assert frames.at_the_end(raw, b"", unit, request, 0).verdict is Verdict.OTHER


@given(REQUESTS, st.integers(1, 255), st.data())
def test_a_flipped_bit_is_never_good(request: Request, unit: int, data: st.DataObject) -> None:
    frames = Frames(rtu=True)
    raw = bytearray(answer(frames, unit, request))
    at = data.draw(st.integers(0, 8 * len(raw) - 1))
    raw[at // 8] ^= 1 << at % 8
    assert frames.at_the_end(bytes(raw), b"", unit, request, 0).verdict is not Verdict.GOOD


def echoed(write: Write) -> tuple[int, int]:
    return write.address, write.values[0] if write.function in {5, 6} else len(write.values)


def answer(frames: Frames, unit: int, request: Request) -> bytes:
    """A good board's answer to `request`, all points zero."""
    if isinstance(request, Write):
        address, said = echoed(request)
        body = (
            bytes((unit, request.function)) + address.to_bytes(2, "big") + said.to_bytes(2, "big")
        )
    else:
        assert isinstance(request, Read)
        size = (request.count + 7) // 8 if request.function in {1, 2} else 2 * request.count
        body = bytes((unit, request.function, size)) + bytes(size)
    return crc16(body)


@pytest.mark.parametrize("name", names())
@given(write=WRITES)
def test_only_writes_of_an_action_are_possible_for_any_profile(name: str, write: Write) -> None:
    profile = load(name)
    reason = plan.refusal(profile, plan.allowed_writes(profile), write)
    assert (reason is None) == (write in frozenset(plan._writes(profile)))
    if profile.actions is not None and profile.actions.way == "board" and reason is None:
        # Nothing that can be written leaves a coil on without an end.
        assert write.values != (0xFF00,) or profile.actions.prepare is not None


@pytest.mark.parametrize("name", names())
async def test_a_forbidden_write_reaches_no_wire_by_any_public_path(name: str) -> None:
    profile = load(name)
    bytes_seen = bytearray()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1000):
                bytes_seen.extend(data)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    line = Line(TcpSpec("127.0.0.1", server.sockets[0].getsockname()[1]))
    await line.open()
    unit = line.unit(1, profile)
    bare = line.unit(2)
    dangers = [
        Write(5, 0x0400, (7,)),
        Write(5, 0x00FF, (0xFF00,)),
        Write(5, 0, (0x5500,)),
        Write(15, 0, (1,) * 16),
        Write(16, 0, (0x0700,)),
        Write(6, 0x4000, (9,)),
    ]
    for danger in dangers:
        for priority in Priority:
            for ask in (unit.ask, bare.ask):
                with pytest.raises(Forbidden):
                    await ask(danger, priority, 100)
            for number in (0, 1, 2, 3, 300):
                with pytest.raises(Forbidden):
                    await line.ask(number, danger, priority, 100)
    assert line.counters.forbidden == len(dangers) * len(Priority) * 7
    assert line.counters.sent == 0
    await line.close()
    server.close()
    assert bytes_seen == b""


@settings(max_examples=12)
@given(delays=st.lists(st.integers(0, 450), min_size=1, max_size=5))
async def test_no_late_answer_is_ever_taken_for_another_questions(delays: list[int]) -> None:
    """RTU frames inside TCP: the same rules as on a wire, and delays we can set at will (ms)."""
    left = list(delays)
    loop = asyncio.get_running_loop()
    ends: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while frame := await reader.readexactly(8):
                body = frame[:2] + b"\x02" + frame[2:4]  # the value of a register is its address
                wait_ms = left.pop(0) if left else 0
                loop.call_later(wait_ms / 1000, writer.write, crc16(body))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    line = Line(TcpSpec("127.0.0.1", port, "rtu_over_tcp", 115200))
    await line.open()
    unit = line.unit(1)
    for address in range(100, 101 + len(delays)):
        with contextlib.suppress(BusError):
            assert await unit.ask(Read(3, address, 1)) == (address,)
    await line.close()
    server.close()
    for end in ends:
        end.close()
    await asyncio.sleep(0)


def crc16(body: bytes) -> bytes:
    value = 0xFFFF
    for byte in body:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ (0xA001 if value & 1 else 0)
    return body + value.to_bytes(2, "little")


@given(st.text(max_size=300))
def test_any_text_is_no_profile_or_an_error_with_a_line(text: str) -> None:
    with pytest.raises(ProfileInvalid) as caught:
        parse(text)
    assert int(str(caught.value.evidence["line"])) >= 1
    assert caught.value.evidence["reason"]


@given(
    name=st.sampled_from(names()),
    channel=st.integers(-2, 40),
    ms=st.integers(-10, 100_000),
)
def test_no_plan_is_longer_than_the_cap_nor_outside_what_is_allowed(
    name: str, channel: int, ms: int
) -> None:
    profile = load(name)
    try:
        planned = plan.pulse(profile, channel, ms)
    except AdapterError:
        return
    assert profile.caps is not None
    assert ms <= planned.on_ms <= profile.caps.max_on_ms
    assert {*planned.start, *planned.stop} <= plan.allowed_writes(profile)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["silent", "answered", "add", "take", "late"]),
        st.integers(1, 3),
        st.sampled_from(list(Priority)),
        st.integers(0, 400_000),
    ),
    max_size=60,
)


@given(EVENTS)
def test_nothing_goes_to_a_quiet_unit_and_nothing_is_taken_out_of_order(
    events: list[tuple[str, int, Priority, int]],
) -> None:
    line, queue, now = Pace(1750), Queue[int](places=8, door_places=4), 0
    quiet = dict.fromkeys((1, 2, 3), 0)
    line.unit(1).timing = UnitTiming(gap_us=1000, after_actuation_us=5000)
    for kind, unit, priority, step in events:
        now += step
        if kind == "silent":
            line.silent(unit, now)
            quiet[unit] = now + pace.QUIET_US
        elif kind == "answered":
            line.answered(unit, priority, now)
        elif kind == "add":
            queue.add(Turn(unit, priority, now + step, 0))
        elif kind == "late":
            assert all(turn.deadline_us < now for turn in queue.take_late(now))
        else:
            turn = queue.take(line, now)
            if turn is not None and turn.priority is not Priority.RELEASE:
                assert now >= quiet[turn.unit]
        assert len(queue) <= 16
        assert line.unit(unit).probe_interval_us <= pace.PROBE_LAST_US
        if len(queue):
            assert queue.wake_us(line) is not None
