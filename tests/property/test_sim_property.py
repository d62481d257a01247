"""Pins that no bytes, no hands and no order of time break the simulated bank."""

import contextlib

from hypothesis import given
from hypothesis import strategies as st

from adapters.simulator import frames
from adapters.simulator.bank import Bank, Coil
from adapters.simulator.door import DOOR_FAULTS, Door
from adapters.simulator.errors import ActionRefused, WiringRefused
from adapters.simulator.models import MODELS, make_board
from adapters.simulator.wiring import CompartmentSpec, Terminal, parse, plain

pdus = st.one_of(
    st.binary(max_size=260),
    st.builds(
        lambda code, address, value: bytes((code,)) + address.to_bytes(2, "big") + value,
        st.sampled_from([1, 2, 3, 4, 5, 6, 15, 16, 43]),
        st.one_of(st.integers(0, 100), st.integers(0, 0xFFFF)),
        st.binary(min_size=2, max_size=8),
    ),
)
steps = st.lists(st.tuples(st.integers(0, 3000), st.integers(0, 3), pdus), max_size=20)


@given(st.sampled_from(sorted(MODELS)), steps)
def test_board_answers_anything_in_form_and_its_time_never_stands(
    model: str, script: list[tuple[int, int, bytes]]
) -> None:
    board, now = make_board(model, installed=True), 0
    for wait, unit, pdu in script:
        now += wait
        reply = board.hear(unit, pdu, now)
        if reply is not None:
            assert reply[1][0] & 0x7F == pdu[0] & 0x7F
            assert len(reply[1]) <= 253
            assert frames.open_rtu(frames.rtu(*reply)) == reply
        for channel in range(board.inputs_count):
            board.set_input(channel, bool((now + channel) % 3), now)
        assert len(board.outputs(now)) == board.outputs_count
        assert (due := board.next_at()) is None or due > now


@given(st.binary(max_size=300), st.integers(0, 255))
def test_frames_there_and_back_and_one_flipped_bit_is_seen(pdu: bytes, unit: int) -> None:
    frame = frames.rtu(unit, pdu[:253])
    if len(frame) >= 4:
        assert frames.open_rtu(frame) == (unit, pdu[:253])
    assert frames.open_rtu(frames.corrupted(frame)) is None
    assert frames.open_rtu(frames.truncated(frame)) is None or len(frame) < 8


acts = st.lists(
    st.tuples(
        st.integers(0, 700),
        st.sampled_from(["on", "off", "close", "slam", "pull", "force", "put", "take", "fault"]),
        st.sampled_from(sorted(DOOR_FAULTS)),
    ),
    max_size=40,
)


@given(acts)
def test_door_is_never_locked_open_and_opens_only_for_a_cause(
    script: list[tuple[int, str, str]],
) -> None:
    door, now = Door(CompartmentSpec(number=1, lock="a:0", door="b:0")), 0
    for wait, act, fault in script:
        now += wait
        before = door.openings_total
        match act:
            case "on" | "off":
                door.coil(act == "on", now)
            case "fault":
                door.faults = {} if fault in door.faults else {fault: DOOR_FAULTS[fault][0]}
            case "put" | "take":
                with contextlib.suppress(ActionRefused):
                    (door.put if act == "put" else door.take)(now)
            case _:
                getattr(door, act)(now)
        door.advance(now)
        assert not (door.locked and door.is_open)
        if door.openings_total > before and act in ("close", "put", "take", "off", "fault"):
            assert door.openings[-1].at_ms <= now
        assert (due := door.next_at()) is None or due > now
    door.faults.clear()
    door.coil(False, now)
    door.advance(now + 10_000)
    assert door.shows_open == door.is_open
    assert door.is_open or door.locked


@given(st.lists(st.tuples(st.integers(0, 900), st.integers(0, 2), pdus), max_size=15))
def test_bank_gives_the_same_whether_asked_often_or_once(
    script: list[tuple[int, int, bytes]],
) -> None:
    def end(step_ms: int) -> tuple[list[tuple[bool, ...]], dict[Terminal, Coil]]:
        bank, now = Bank(plain("wirenboard-wb-mr6c-v3", (1, 2))), 0
        for wait, unit, pdu in script:
            for at in range(now, now + wait, step_ms):
                bank.advance(at)
            now += wait
            bank.request("line", unit, pdu, now)
        bank.advance(now + 20_000)
        return [s.board.outputs(now + 20_000) for s in bank.stations.values()], bank.coils

    assert end(7) == end(10_000)


@given(st.text(max_size=200))
def test_any_text_is_a_bank_or_a_refusal(text: str) -> None:
    with contextlib.suppress(WiringRefused):
        parse(text)
