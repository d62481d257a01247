"""Pins over any bytes from a line: findings or silence, never a crash, a hang or a write."""

import asyncio
import contextlib
import os
import select
import threading
import tty
from collections.abc import Callable, Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters import identify, look, pace, plan, scan, trouble
from adapters.bus import Line, TcpSpec
from adapters.errors import Forbidden
from adapters.names import Names
from adapters.profiles import load, names
from adapters.reading import Identify, Read, Write
from adapters.simulator import frames
from adapters.simulator.models import make_board
from adapters.trouble import Pattern, Tally

SHIPPED = scan.shipped()
SETTABLE = tuple(profile for profile in SHIPPED if plan.commission_writes(profile))
WORDS = st.integers(0, 0xFFFF)
READS = st.builds(Read, st.sampled_from([1, 2, 3, 4]), st.integers(0, 60000), st.integers(1, 64))
HANG_S = 60.0


class Babbler:
    """The far end of a pty: what it answers is made by `say(request)`; it keeps what it heard."""

    def __init__(self) -> None:
        self.say: Callable[[bytes], bytes] = lambda _: b""
        self.heard: list[bytes] = []
        self._stop = threading.Event()
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        self.path = os.ttyname(self._slave)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._stop.set()
        self._thread.join()
        os.close(self._slave)
        os.close(self._master)

    def _run(self) -> None:
        while not self._stop.is_set():
            if select.select([self._master], [], [], 0.02)[0]:
                request = os.read(self._master, 4096)
                self.heard.append(request)
                with contextlib.suppress(BlockingIOError):
                    os.write(self._master, self.say(request))


@pytest.fixture
def babbler(monkeypatch: pytest.MonkeyPatch) -> Iterator[Babbler]:
    # The pauses only cost time here: nobody is late on this line.
    monkeypatch.setattr(pace, "QUIET_US", 1000)
    monkeypatch.setattr(look, "TAIL_S", 0.0)
    made = Babbler()
    yield made
    made.close()


def harmless(request: bytes) -> bool:
    opened = frames.open_rtu(request)
    if opened is None:
        return request == Names().encode(int(request[1:3], 16), Identify())[0]
    return opened[1][0] in {1, 2, 3, 4, 43}


def answers(seeds: list[bytes], ways: list[int]) -> Callable[[bytes], bytes]:
    """Answers after a script: noise, a board's own, spoilt, cut, doubled, echoed, foreign."""
    board = make_board("waveshare-rtu-io-8ch", 1)
    turn = 0

    def say(request: bytes) -> bytes:
        nonlocal turn
        turn += 1
        seed, way = seeds[turn % len(seeds)], ways[turn % len(ways)]
        opened = frames.open_rtu(request)
        heard = None if opened is None else board.hear(1, opened[1], turn)
        good = frames.rtu(*heard) if heard else b""
        return (
            seed,
            good,
            frames.corrupted(good) if good else seed,
            good[: turn % 7],
            good + good,
            request + good,
            frames.rtu(turn % 256, seed[:200] or b"\x03"),
            seed + good,
            b"",
        )[way]

    return say


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.binary(max_size=60), min_size=1, max_size=6),
    st.lists(st.integers(0, 8), min_size=1, max_size=9),
)
def test_any_bytes_from_a_line_are_findings_or_silence(
    babbler: Babbler, seeds: list[bytes], ways: list[int]
) -> None:
    babbler.say, babbler.heard = answers(seeds, ways), []
    rounds = (
        scan.Round(115200, "N", 1, (1, 2), 10),
        scan.Round(115200, "N", 1, (3,), 10, names=True),
    )

    async def scanned() -> scan.Outcome:
        async with asyncio.timeout(HANG_S):
            return await scan.rtu(
                babbler.path,
                rounds,
                progress=lambda _: None,
                stop=asyncio.Event(),
                profiles=SHIPPED[-3:],
            )

    outcome = asyncio.run(scanned())
    assert all(finding.code in trouble.CURES for finding in outcome.findings)
    for found in outcome.found:
        assert all(finding.code in trouble.CURES for finding in found.findings)
    assert all(map(harmless, babbler.heard))


@given(
    st.integers(1, 255),
    st.dictionaries(
        st.one_of(st.sampled_from(identify.questions(SHIPPED)), READS),
        st.one_of(st.none(), st.lists(WORDS, max_size=64).map(tuple)),
        max_size=40,
    ),
)
def test_any_answers_are_judged(unit: int, said: identify.Answers) -> None:
    matches = identify.judge(SHIPPED, unit, said)
    assert sum(match.confidence == "certain" for match in matches) <= 1
    for match in matches:
        profile = load(match.profile)
        assert len(match.evidence) >= len(profile.identity)
        trouble.linkage("x", profile, said)
    list(identify.outdated(SHIPPED, unit, said))
    identify.generic(said)
    assert identify.next_question(SHIPPED, unit, said) not in said


@given(st.lists(st.integers(0, 255), max_size=260).map(tuple))
def test_any_objects_are_read(values: tuple[int, ...]) -> None:
    assert all(text.isprintable() for text in identify.objects(values).values())


TALLIES = st.builds(
    Tally, st.integers(4, 256), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30)
)


@given(
    st.dictionaries(
        st.integers(1, 255),
        st.builds(
            Pattern, st.lists(TALLIES, max_size=4).map(tuple), st.integers(0, 9), st.integers(0, 9)
        ),
        max_size=6,
    )
)
def test_a_board_has_at_most_one_trouble_of_its_answers(units: dict[int, Pattern]) -> None:
    found = trouble.patterns("x", units)
    assert len({finding.about for finding in found}) == len(found)
    for finding in found:
        seen = units[int(finding.about.removeprefix("x/"))]
        assert seen.doubled or seen.changed or any(tally.broken for tally in seen.tallies)


def passes(line: Line, unit: int, write: Write) -> bool:
    try:
        line._guard(unit, write)
    except Forbidden:
        return False
    return True


@given(st.data(), st.sampled_from(SETTABLE))
def test_numbers_are_given_in_a_session_only_and_nothing_else_is(
    data: st.DataObject, profile: object
) -> None:
    made = load(profile.profile)  # type: ignore[attr-defined]
    known = sorted(plan.commission_writes(made), key=repr)
    chosen = tuple(data.draw(st.lists(st.sampled_from(known), min_size=1, max_size=3)))
    unit = data.draw(st.integers(1, 254))
    line = Line(TcpSpec("127.0.0.1", 1))
    near = st.builds(
        Write,
        st.sampled_from([5, 6, 16]),
        st.sampled_from([write.address for write in known]),
        st.tuples(st.integers(0, 300)),
    )
    dangers = [*known, *plan.allowed_writes(made), *data.draw(st.lists(near, max_size=20))]
    assert not any(passes(line, unit, write) for write in dangers)
    with line.commissioning(unit, made, chosen):
        assert {write for write in dangers if passes(line, unit, write)} == set(chosen)
        assert not any(passes(line, unit + 1, write) for write in dangers)
        with pytest.raises(Forbidden), line.commissioning(unit + 1, made, chosen):
            pass
    assert not any(passes(line, unit, write) for write in dangers)


@given(st.sampled_from(names()), st.data())
def test_no_session_is_opened_for_another_write_or_a_board_in_use(
    name: str, data: st.DataObject
) -> None:
    profile = load(name)
    line = Line(TcpSpec("127.0.0.1", 1))
    other = Write(6, data.draw(WORDS), (data.draw(WORDS),))
    strangers = [*list(plan.allowed_writes(profile))[:20], other]
    for write in strangers:
        if write not in plan.commission_writes(profile):
            with pytest.raises(Forbidden), line.commissioning(1, profile, (write,)):
                pass
    line.unit(1, profile)
    for write in list(plan.commission_writes(profile))[:3]:
        with pytest.raises(Forbidden), line.commissioning(1, profile, (write,)):
            pass
        assert not passes(line, 1, write)
