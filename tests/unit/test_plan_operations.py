"""Pins what "pulse 7" becomes on the wire for each profile, and which writes are possible."""

import msgspec
import pytest

from adapters import plan
from adapters.errors import CapExceeded, NoSuchChannel
from adapters.profile import Action, Measure, Points, parse
from adapters.profiles import load, names
from adapters.reading import Read, Request, Write, answer_pdu_bytes, request_pdu_bytes


@pytest.mark.parametrize(
    ("name", "start", "stop"),
    [
        ("waveshare-rtu-relay-8", [Write(5, 0x0203, (4,))], []),
        ("waveshare-rtu-io-8ch", [Write(5, 0x0203, (4,))], []),
        ("eletechsup-r421", [Write(6, 4, (0x0601,))], [Write(6, 4, (0x0200,))]),
        ("moxa-e1211", [Write(5, 3, (0xFF00,))], [Write(5, 3, (0,))]),
        ("wirenboard-wb-mr6c-v3", [Write(6, 1787, (4,)), Write(5, 3, (0xFF00,))], []),
        ("waveshare-rtu-relay-d", [Write(5, 0x0203, (4,))], []),
        ("eletechsup-n4d3e16", [Write(6, 4, (0x0100,))], [Write(6, 4, (0,))]),
        ("wellpro-wp8028", [Write(5, 3, (0xFF00,))], [Write(5, 3, (0,))]),
        ("adam-4150", [Write(16, 36, (4000, 0)), Write(16, 52, (1, 0))], []),
        ("adam-4168", [Write(16, 22, (4000, 0)), Write(16, 38, (1, 0))], []),
        ("adam-6060", [Write(5, 19, (0xFF00,))], [Write(5, 19, (0,))]),
        ("generic-4x0", [Write(5, 3, (0xFF00,))], [Write(5, 3, (0,))]),
    ],
)
def test_pulse_3_for_400_ms(name: str, start: list[Write], stop: list[Write]) -> None:
    planned = plan.pulse(load(name), 3, 400)
    assert planned == plan.PulsePlan(tuple(start), 400, tuple(stop))


def test_a_pulse_is_rounded_up_to_the_step_of_the_board() -> None:
    assert plan.pulse(load("waveshare-rtu-relay-8"), 0, 301).on_ms == 400
    assert plan.pulse(load("eletechsup-r421"), 0, 301).on_ms == 301


@pytest.mark.parametrize("ms", [-1, 0, 1001, 60_000])
def test_the_cap_wins_whatever_is_asked(ms: int) -> None:
    for name in names():
        if load(name).outputs:
            with pytest.raises(CapExceeded) as caught:
                plan.pulse(load(name), 0, ms)
            assert caught.value.evidence["asked_ms"] == ms


@pytest.mark.parametrize("channel", [-1, 8, 1000])
def test_a_channel_that_is_not_there_is_refused(channel: int) -> None:
    board = load("waveshare-rtu-relay-8")
    for call in (plan.off, plan.read_output):
        with pytest.raises(NoSuchChannel):
            call(board, channel)
    with pytest.raises(NoSuchChannel):
        plan.pulse(board, channel, 400)
    with pytest.raises(NoSuchChannel):
        plan.off(load("moxa-e1210"), 0)


def test_all_off_is_one_write_where_the_board_has_one() -> None:
    assert plan.all_off(load("waveshare-rtu-relay-32")) == (Write(5, 0x00FF, (0,)),)
    assert plan.all_off(load("eletechsup-r421")) == (Write(6, 0, (0x0800,)),)
    assert plan.all_off(load("moxa-e1214")) == tuple(Write(5, c, (0,)) for c in range(6))
    assert plan.all_off(load("moxa-e1210")) == ()


def test_reads_are_few_and_touch_nothing_in_between() -> None:
    assert plan.reads(None) == ()
    assert plan.reads(load("waveshare-rtu-relay-32").outputs) == (Read(1, 0, 32),)
    assert plan.reads(load("wirenboard-wb-mr6c-v3").inputs) == (Read(2, 0, 6), Read(2, 7, 1))
    assert len(plan.reads(load("eletechsup-r421").outputs)) == 8
    assert plan.read_output(load("wirenboard-wb-mr6c-v3"), 2) == Read(2, 98, 1)


def test_states_follow_the_channels_and_the_sense() -> None:
    points = Points(area="input", addresses=(7, 3), sense="low")
    asked = plan.reads(points)
    assert asked == (Read(4, 3, 1), Read(4, 7, 1))
    assert plan.states(points, asked, [(0,), (1,)]) == (False, True)
    assert plan.states(None, (), []) == ()


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("waveshare-rtu-relay-8", Write(5, 0x0400, (7,))),  # flash-off ends on
        ("waveshare-rtu-relay-32", Write(5, 0x041F, (1,))),
        ("waveshare-rtu-relay-8", Write(5, 0x00FF, (0xFF00,))),  # all on
        ("waveshare-rtu-relay-8", Write(5, 0x0000, (0x5500,))),  # flip
        ("waveshare-rtu-relay-8", Write(5, 0x00FF, (0x5500,))),
        ("waveshare-rtu-relay-8", Write(5, 0x0100, (0xFF00,))),  # toggle of newer firmware
        ("waveshare-rtu-relay-8", Write(15, 0x0000, (1,) * 8)),  # eight on at once
        ("waveshare-rtu-relay-8", Write(15, 0x0000, (0, 0, 1))),
        ("waveshare-rtu-io-8ch", Write(5, 3, (0xFF00,))),  # on without an end
        ("eletechsup-r421", Write(6, 0, (0x0700,))),
        ("eletechsup-r421", Write(6, 1, (0x0100,))),
        ("eletechsup-r421", Write(16, 1, (0x0300, 0x0200))),
        ("moxa-e1214", Write(5, 16, (0xFF00,))),
        ("moxa-e1211", Write(15, 0, (1,) * 16)),
        ("wirenboard-wb-mr6c-v3", Write(5, 108, (0xFF00,))),
        ("waveshare-rtu-relay-d", Write(5, 0x0400, (7,))),
        ("waveshare-rtu-relay-d", Write(5, 0x00FF, (0xFF00,))),
        ("eletechsup-n4d3e16", Write(6, 0x0070, (1,))),
        ("eletechsup-n4d3e16", Write(16, 0x0070, (0,))),
        ("eletechsup-n4d3e16", Write(6, 0x0003, (1,))),
        ("eletechsup-n4d3e16", Write(16, 0x0001, (0, 1))),
        ("eletechsup-n4d3e16", Write(6, 0x0010, (0x0200,))),
        ("wellpro-wp8025", Write(15, 0, (1,) * 8)),
        ("wellpro-wp8027", Write(15, 8, (1,) * 8)),
        ("adam-4150", Write(5, 16, (0xFF00,))),
        ("adam-4168", Write(15, 16, (0, 0, 1))),
        ("adam-4150", Write(6, 302, (0xFF,))),
        ("adam-4150", Write(6, 46, (1,))),
        ("adam-4168", Write(16, 48, (1, 0))),
        ("adam-6060", Write(15, 16, (1,) * 6)),
        ("adam-6050", Write(6, 302, (1,))),
        ("generic-8x8", Write(15, 0, (1,) * 8)),
    ],
)
def test_named_dangers_are_forbidden_by_rule(name: str, write: Write) -> None:
    profile = load(name)
    rule = plan.forbidden_by(profile, write)
    assert rule is not None
    assert plan.refusal(profile, plan.allowed_writes(profile), write) == rule.reason


@pytest.mark.parametrize(
    "write",
    [
        Write(5, 0x0208, (4,)),  # the ninth relay of eight
        Write(5, 0x0200, (11,)),  # 1.1 s
        Write(5, 0x0200, (0,)),  # flash of no length
        Write(6, 0x4000, (2,)),  # another unit number
        Write(16, 0x0200, (4,)),
    ],
)
def test_what_no_action_writes_is_refused_too(write: Write) -> None:
    profile = load("waveshare-rtu-relay-8")
    assert plan.forbidden_by(profile, write) is None
    reason = plan.refusal(profile, plan.allowed_writes(profile), write)
    assert reason == "no action of the profile writes this"


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("adam-4150", Write(16, 46, (0, 0))),  # a count of 0 has no end
        ("adam-4150", Write(16, 46, (2, 0))),
        ("adam-4168", Write(16, 16, (0, 4000))),  # the other word order: hours
        ("adam-4168", Write(16, 16, (10_001, 0))),
        ("adam-4168", Write(16, 17, (4000, 0))),  # between two channels
        ("generic-8x8", Write(5, 8, (0xFF00,))),
        ("urm14", Write(6, 2, (13,))),
    ],
)
def test_no_count_no_time_and_no_channel_but_those_of_an_action(name: str, write: Write) -> None:
    profile = load(name)
    reason = plan.refusal(profile, plan.allowed_writes(profile), write)
    assert reason == "no action of the profile writes this"


def test_a_write_of_an_action_is_allowed() -> None:
    profile = load("waveshare-rtu-relay-8")
    assert plan.refusal(profile, plan.allowed_writes(profile), Write(5, 0x0207, (10,))) is None


@pytest.mark.parametrize("name", names())
def test_no_profile_forbids_its_own_actions(name: str) -> None:
    profile = load(name)
    assert plan.allowed_writes(profile) == frozenset(plan._writes(profile))


COUNTER = parse("""\
profile = "counter"
revision = 1
title = "A board that counts pulses"
level = "bench"
measures = [
    {name = "temperature", function = 4, address = 1, signed = true, milli = 100, fault = 0x8000},
    {name = "humidity", function = 4, address = 2, milli = 100},
    {name = "cycles", function = 3, address = 9, words = 2, word_order = "low_first", milli = 1},
    {name = "distance", function = 3, address = 3, words = 2, signed = true, milli = 10},
]
[link]
framings = ["rtu"]
units = [1, 3]
[timing]
response_timeout_ms = 100
probe_timeout_ms = 50
[caps]
max_on_ms = 1000
min_off_ms = 2000
survive_kill = true
[outputs]
area = "coil"
count = 2
[actions]
way = "board"
prepare.function = 16
prepare.base = 30
prepare.per_channel = 2
prepare.words = 2
prepare.word_order = "low_first"
prepare.per_ms = 100
pulse = {function = 16, base = 46, per_channel = 2, words = 2, fixed = 1}
off = {function = 5, base = 16, fixed = 0}
[[settings]]
name = "low"
reason = "no gap"
base = 14
count = 2
step = 2
value = 10
[[forbidden]]
reason = "the line's rate is fixed"
functions = [16]
addresses = [101, 101]
value = 3
[commission]
unit = {address = 100, function = 16}
rate = {address = 101, rates = [4800, 9600], codes = [2, 3], function = 16}
unlock = {address = 102, value = 7}
[evidence]
link = "A"
timing = "A"
caps = "A"
outputs = "A"
forbidden = "A"
commission = "A"
"actions.prepare" = "A"
"actions.pulse" = "A"
"actions.off" = "A"
"settings.low" = "A"
"measures.temperature" = "A"
"measures.humidity" = "A"
"measures.cycles" = "A"
"measures.distance" = "A"
""")


def test_words_of_a_time_and_of_a_count() -> None:
    start = (Write(16, 32, (41_000, 0)), Write(16, 48, (0, 1)))
    assert plan.pulse(COUNTER, 1, 410) == plan.PulsePlan(start, 410, ())
    assert plan.pulse(COUNTER, 1, 1000).start[0] == Write(16, 32, (100_000 & 0xFFFF, 1))
    allowed = plan.allowed_writes(COUNTER)
    assert {Write(6, 14, (10,)), Write(6, 16, (10,))} <= allowed
    assert Write(6, 15, (10,)) not in allowed
    assert len(allowed) == 2 * 1000 + 2 + 2 + 2


def test_setting_number_and_rate_is_no_allowed_write() -> None:
    writes = plan.commission_writes(COUNTER)
    assert writes == {
        Write(6, 102, (7,)),
        *(Write(16, 100, (unit,)) for unit in (1, 2, 3)),
        Write(16, 101, (2,)),  # code 3 is forbidden
    }
    assert not writes & plan.allowed_writes(COUNTER)
    assert plan.commission_writes(load("eletechsup-r421")) == frozenset()
    assert plan.commission_writes(GENERIC_LESS) == frozenset()
    relay = plan.commission_writes(load("waveshare-rtu-relay-8"))
    assert {Write(6, 0x4000, (1,)), Write(6, 0x4000, (255,)), Write(6, 0x2000, (5,))} <= relay
    assert len(relay) == 255 + 8


GENERIC_LESS = msgspec.structs.replace(COUNTER, commission=None)


@pytest.mark.parametrize("name", names())
def test_no_profile_may_set_a_number_or_a_rate_in_its_normal_life(name: str) -> None:
    profile = load(name)
    assert profile.commission is not None
    assert not plan.commission_writes(profile) & plan.allowed_writes(profile)


def test_measures_are_read_together_and_told_in_thousandths() -> None:
    asked = plan.measure_reads(COUNTER)
    assert asked == (Read(3, 3, 2), Read(3, 9, 2), Read(4, 1, 2))
    answers = [(0xFFFF, 0xFFFE), (0x0001, 0x0002), (0xFFF6, 480)]
    assert plan.measured(COUNTER, asked, answers) == (-1000, 48_000, 0x20001, -20)
    answers[2] = (0x8000, 481)
    assert plan.measured(COUNTER, asked, answers)[:2] == (None, 48_100)
    assert plan.measure_reads(load("waveshare-rtu-relay-8")) == ()
    assert plan.measured(load("waveshare-rtu-relay-8"), (), []) == ()


def test_a_number_that_looks_signed_and_is_not() -> None:
    plain = Measure(name="humidity", function=3, address=0, milli=1)
    board = msgspec.structs.replace(COUNTER, measures=(plain,))
    assert plan.measured(board, (Read(3, 0, 1),), [(0xFFF6,)]) == (0xFFF6,)


def test_the_step_of_an_action() -> None:
    assert Action(function=6, base=0, fixed=1).timed is False
    assert (Action(function=6, base=0, per_ms=10).timed, Action(function=6, base=0).step_ms) == (
        True,
        1,
    )


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        (Read, (5, 0, 1)),
        (Read, (1, 0, 0)),
        (Read, (1, 0, 2001)),
        (Read, (3, 0, 126)),
        (Read, (3, 65535, 2)),
        (Read, (3, -1, 1)),
        (Write, (3, 0, (1,))),
        (Write, (5, 0, ())),
        (Write, (5, 0, (1, 2))),
        (Write, (6, 0, (0x10000,))),
        (Write, (6, 0, (-1,))),
        (Write, (15, 0, (2,))),
    ],
)
def test_requests_that_cannot_be_sent_cannot_be_made(
    kind: type[Read | Write], arguments: tuple[int, int, int]
) -> None:
    with pytest.raises(ValueError, match=r"must|does not"):
        kind(*arguments)  # type: ignore[arg-type]  # wrong on purpose


def test_lengths_of_requests_and_answers() -> None:
    lengths: dict[Request, tuple[int, int]] = {
        Read(1, 0, 9): (5, 4),
        Read(3, 0, 2): (5, 6),
        Write(5, 0, (1,)): (5, 5),
        Write(15, 0, (1,) * 9): (8, 5),
        Write(16, 0, (1, 2)): (10, 5),
    }
    for request, (asks, answers) in lengths.items():
        assert request_pdu_bytes(request) == asks
        assert answer_pdu_bytes(request) == answers


@pytest.mark.parametrize("name", names())
def test_no_profile_forbids_what_its_own_actions_write(name: str) -> None:
    profile = load(name)
    writes = frozenset(plan._writes(profile))
    assert writes == plan.allowed_writes(profile)
