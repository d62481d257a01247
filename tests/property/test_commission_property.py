"""Pins that no samples teach a wrong door, and that no acts in any order corrupt a draft."""

import contextlib
from dataclasses import replace
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from gateway import mapfile
from gateway.commissioning import acts, report, view
from gateway.commissioning import draft as drafts
from gateway.commissioning import lesson as lessons
from gateway.commissioning import proof as proofs
from gateway.commissioning.draft import Draft, FoundBoard, Kind, Match
from gateway.commissioning.lesson import Lesson, Sample
from gateway.errors import GatewayError
from sync.sitemap import LineItem, SiteMap, items

BOARDS = ("io-1", "io-2")
TAKEN = {"io-1:3": 9, "io-2:0": 8}
POINTS = [f"{board}:{channel}" for board in BOARDS for channel in range(4)]

# --- lessons: what happens to inputs at what time, and what the person says ----------------------

others = st.lists(
    st.tuples(st.one_of(st.integers(1, 1500), st.integers(-500, 9000)), st.sampled_from(POINTS)),
    max_size=4,
)
openings = st.tuples(
    st.one_of(st.integers(1, 290), st.integers(1, 290), st.integers(1, 4200)),
    st.one_of(st.integers(1500, 6000), st.integers(1, 9000)),
    st.sampled_from(["io-1:1", "io-2:2", *POINTS]),
)
absent = st.lists(st.tuples(st.integers(0, 9000), st.sampled_from(BOARDS)), max_size=3)
words = st.lists(
    st.tuples(st.integers(1500, 9000), st.sampled_from(["popped", "nothing", "again", "pulsed"])),
    max_size=4,
)
rests = st.lists(st.booleans(), min_size=8, max_size=8)


def at(now_ms: int, rest: list[bool], moved: list[tuple[int, str]], gone: set[str]) -> Sample:
    levels = dict(zip(POINTS, rest, strict=True))
    for when, point in moved:
        if when <= now_ms:
            levels[point] = not levels[point]
    inputs = {
        board: tuple(levels[point] for point in POINTS if point.startswith(board))
        for board in BOARDS
        if board not in gone
    }
    return Sample(at_ms=now_ms, inputs=inputs)


def spoken(lesson: Lesson, word: str, now_ms: int) -> Lesson:
    with contextlib.suppress(GatewayError):
        if word == "popped":
            return lessons.popped(lesson, 4)
        if word == "pulsed":
            return lessons.pulsed(lesson, at_ms=now_ms, ms=300)
        return lessons.nothing(lesson) if word == "nothing" else lessons.again(lesson)
    return lesson


@given(rests, openings, others, absent, words)
def test_only_the_one_input_that_moved_and_came_back_is_ever_a_switch(
    rest: list[bool],
    opening: tuple[int, int, str],
    also: list[tuple[int, str]],
    gone: list[tuple[int, str]],
    said: list[tuple[int, str]],
) -> None:
    opens, stays, switch = opening
    moved = [(opens, switch), (opens + stays, switch), *also]
    said = [*said, (opens + 1100, "popped")]
    lesson = lessons.begun("io-1:0", at(-600, rest, moved, set()), taken=TAKEN)
    lesson = lessons.seen(lesson, at(0, rest, moved, set()))
    lesson = lessons.pulsed(lesson, at_ms=0, ms=300)
    pulsed_ms = 0
    for now_ms in range(20, 12_000, 100):
        for when, word in said:
            if now_ms - 100 < when <= now_ms:
                before = lesson
                lesson = spoken(lesson, word, now_ms)
                if word == "pulsed" and lesson is not before:
                    pulsed_ms = now_ms
        away = {board for when, board in gone if when <= now_ms < when + 700}
        lesson = lessons.seen(lesson, at(now_ms, rest, moved, away))
    if not lesson.taught:
        assert lesson.phase != "done" or lesson.code
        return
    assert lesson.number == 4
    assert lesson.switch not in TAKEN
    changes = [when for when, point in moved if point == lesson.switch and when > pulsed_ms - 100]
    assert len(changes) >= 2
    first = min(changes)
    assert first <= pulsed_ms + lessons.WATCH_MS
    if gone:
        return  # a board that is silent hides what happens; nothing else does
    for point in POINTS:
        near = [
            when
            for when, moving in moved
            if moving == point and pulsed_ms < when < first + lessons.MOVERS_MS - 200
        ]
        assert point == lesson.switch or len(near) % 2 == 0, (point, near)


# --- drafts: acts in any order --------------------------------------------------------------------

KINDS = {
    "io": Kind(profile="waveshare-rtu-io-8ch", outputs=8, inputs=8),
    "relay": Kind(profile="waveshare-rtu-relay-8", outputs=8, max_on_ms=500),
    "sonar": Kind(profile="urm14", measures=("distance",), units=(1, 247)),
    "small": Kind(profile="eletechsup-r421", outputs=2, inputs=0, units=(0, 63)),
}
LINES = (
    LineItem(name="", serial="/dev/ttyUSB0"),
    LineItem(name="", tcp="10.0.0.7:502"),
    LineItem(name="", tcp="10.0.0.7:4196", framing="rtu"),
)
names = st.sampled_from(["io-1", "io-2", "locks-1", "sensor-1", "left", "right"])
keys = st.sampled_from(["rs485-1/1", "rs485-1/2", "tcp-1/1", "tcp-1/2", "tcp-2/1", "nowhere/3"])
numbers = st.integers(1, 6)
homes = st.sampled_from(["io-1", "io-1", "io-2", "io-2", "left", "locks-1"])
locks = st.builds("{}:{}".format, homes, st.integers(0, 8))
profiles = st.sampled_from([kind.profile for kind in KINDS.values()])


def opt(strategy: Any) -> Any:
    return st.one_of(st.none(), strategy)


one_act = st.one_of(
    st.builds(acts.Adopt, key=keys, profile=profiles, name=opt(names)),
    st.builds(acts.AdoptAll),
    st.builds(acts.DropBoard, name=names),
    st.builds(acts.RenameBoard, name=names, to=names),
    st.builds(acts.ReplaceBoard, name=names, key=keys, profile=opt(profiles)),
    st.builds(acts.Skip, lock=locks, undo=st.booleans()),
    st.builds(acts.Forget, number=numbers),
    st.builds(
        acts.SetDoor, number=numbers, to=opt(numbers), size=opt(st.sampled_from(["S", "XL"])),
        pulse_ms=opt(st.integers(10, 1000)), heated=opt(st.booleans()),
        rail=opt(st.sampled_from(["main", "left"])), occupied_below=opt(st.integers(0, 10**8)),
    ),
    st.builds(
        acts.SetDoors, numbers=st.lists(numbers, max_size=3).map(tuple),
        reach=opt(st.sampled_from(["low", "high"])),
    ),
    st.builds(
        acts.PlaceDoor, number=numbers, column=st.integers(0, 3), row=st.integers(0, 64),
        rows=opt(st.integers(1, 8)),
    ),
)  # fmt: skip
finds = st.tuples(
    st.sampled_from(LINES),
    st.lists(st.tuples(st.integers(1, 2), st.sampled_from(sorted(KINDS))), max_size=3),
)
lessons_done: Any = st.tuples(locks, locks, opt(locks), numbers, st.integers(0, 2))
steps = st.lists(st.one_of(one_act, finds, lessons_done), max_size=25)


def done(draft: Draft, step: Any) -> Draft:
    if not isinstance(step, tuple):
        return acts.perform(draft, step, 5)
    if len(step) == 2:
        line, rows = step
        boards = [
            FoundBoard(unit=unit, matches=(Match(kind=KINDS[kind], confidence="certain"),))
            for unit, kind in rows
        ]
        return drafts.found(draft, line, boards)
    lock, switch, occupancy, number, below = step
    lesson = drafts.teach(draft, lock, Sample(at_ms=0, inputs={}))
    there = draft.boards.get(drafts.of(switch))
    if there is None or drafts.channel(switch) >= there.kind.inputs:
        return draft  # a lesson sees inputs that there are
    told: dict[str, Any] = {
        "phase": "done", "switch": switch, "number": number,
        "attempts": (lessons.Attempt(lesson.pulse_ms, 90),), "occupancy": "",
    }  # fmt: skip
    if occupancy is not None and below and occupancy != switch:
        board = draft.boards.get(drafts.of(occupancy))
        measured = below == 2
        counts = (len(board.kind.measures) if measured else board.kind.inputs) if board else 0
        if drafts.channel(occupancy) < counts:
            told |= {"occupancy": occupancy, "occupied_below": 300_000 if measured else 0}
    return drafts.taught(draft, replace(lesson, **told))


@given(st.booleans(), steps)
def test_acts_in_any_order_leave_a_draft_that_is_whole(proved: bool, script: list[Any]) -> None:
    draft = drafts.begun("installer:anna", 0)
    for line in LINES[:2]:
        found = [FoundBoard(unit=1, matches=(Match(kind=KINDS["io"], confidence="certain"),))]
        draft = drafts.found(draft, line, found)
    draft = acts.perform(draft, acts.AdoptAll(), 1)
    for number in (1, 2):
        draft = done(draft, (f"io-{number}:0", f"io-{number}:0", None, number, 0))
    refused: set[str] = set()
    for step in script:
        before = draft
        try:
            draft = done(draft, step)
        except GatewayError as error:
            refused.add(error.code.partition(".")[0])
        assert draft is before or draft.revision > before.revision
        assert drafts.decode(drafts.encode(draft)) == draft
    assert refused <= {"board", "door", "map", "teach", "commission"}
    whole(draft, proved=proved)


def whole(draft: Draft, *, proved: bool) -> None:
    view.view(draft)
    try:
        site = drafts.site_map(draft)
    except GatewayError as error:
        site, code = SiteMap(), error.code
        told = view.view(draft)["findings"]
        assert [one["code"] for one in told] == ([code] if draft.doors else [])
    if not site.doors:
        return
    mapfile.check(site)
    assert mapfile.parse(mapfile.write(site), known) == site
    assert drafts.site_map(drafts.begun("x", 0, site)) == site
    assert len(items(site)) == 1 + len(site.lines) + len(site.boards) + len(site.doors)
    trials = [proofs.DoorTrial(number=n, took_ms=80, switch_back=proved) for n in site.doors]
    proof = proofs.judge(
        site, by="x", at_ms=0, doors=trials, boards=(), machine=proofs.Machine(), before=SiteMap()
    )
    signed = drafts.proved(draft, proof)
    assert drafts.decode(drafts.encode(signed)) == signed
    data = report.encode(proof, signed, site="s")
    assert "<h1>" in report.page(data, "de")
    view.view(signed)


def known(profile: str) -> mapfile.Channels:
    kind = next(kind for kind in KINDS.values() if kind.profile == profile)
    return mapfile.Channels(
        outputs=kind.outputs, inputs=kind.inputs, units=kind.units, max_on_ms=kind.max_on_ms,
        measures=len(kind.measures),
    )  # fmt: skip


fields = st.sampled_from(["do", "revision", "name", "key", "number", "lock", "to"])
plain = st.none() | st.booleans() | st.integers(-5, 10**6) | st.text(max_size=8)
trees = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(fields, inner, max_size=4),
    max_leaves=8,
)


@given(st.one_of(st.binary(max_size=200), trees.map(msgspec.json.encode)))
def test_any_bytes_are_an_act_or_refused_and_no_draft(body: bytes) -> None:
    with contextlib.suppress(GatewayError):
        acts.read(body)
    with contextlib.suppress(GatewayError):
        drafts.decode(body)
    with contextlib.suppress(GatewayError):
        report.page(body, "en")
