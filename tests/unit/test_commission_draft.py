"""Pins the draft: its file, what scans and lessons bring, its acts one by one, and its map."""

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from gateway import mapfile
from gateway.commissioning import acts, charting
from gateway.commissioning import draft as drafts
from gateway.commissioning import lesson as lessons
from gateway.commissioning.draft import Board, Draft, FoundBoard, Kind, Match
from gateway.commissioning.findings import Finding
from gateway.commissioning.lesson import Attempt, Sample
from gateway.commissioning.proof import DoorTrial, Machine, Proof
from gateway.errors import GatewayError
from sync.sitemap import BoardItem, DoorItem, LineItem, SiteMap
from tests.commission_stage import LINE, adopted, empty_draft, io_kind, scanned

REST = Sample(at_ms=0, inputs={"io-1": (False,) * 8})
RELAY = Kind(profile="waveshare-rtu-relay-8", outputs=8, max_on_ms=300)


def taught(draft: Draft, lock: str, number: int, **told: Any) -> Draft:
    lesson = drafts.teach(draft, lock, REST)
    lesson = replace(
        lesson, phase="done", number=number, switch=told.pop("switch", lock),
        attempts=(Attempt(400, 90),), **told,
    )  # fmt: skip
    return drafts.taught(draft, lesson, 7)


def three() -> Draft:
    draft = adopted(2)
    for number in (1, 2, 3):
        draft = taught(draft, f"io-1:{number - 1}", number)
    return draft


def did(draft: Draft, **act: object) -> Draft:
    return acts.perform(draft, acts.read(msgspec.json.encode(act)), 99)  # type: ignore[arg-type]


def code_of(draft: Draft, **act: object) -> str:
    with pytest.raises(GatewayError) as caught:
        did(draft, **act)
    assert caught.value.remedy
    return caught.value.code


# --- the file -------------------------------------------------------------------------------------


def test_a_draft_is_read_back_as_it_was() -> None:
    draft = drafts.proved(three(), proof_of(1, 2, 3), 8)
    assert drafts.decode(drafts.encode(draft)) == draft


def proof_of(*numbers: int) -> Proof:
    doors = tuple(DoorTrial(number=n, took_ms=80, switch_back=True) for n in numbers)
    return Proof(at_ms=1, by="a", passed=True, doors=doors, boards=(), machine=Machine())


def broken(change: Any) -> bytes:
    tree = msgspec.json.decode(drafts.encode(three()))
    change(tree)
    return msgspec.json.encode(tree)


BREAKS: dict[str, Any] = {
    "no text": lambda tree: tree.clear(),
    "line": lambda tree: tree["lines"]["rs485-1"].update(name="other"),
    "board": lambda tree: tree["boards"]["io-1"].update(name="io-9"),
    "door number": lambda tree: tree["doors"]["1"].update(number=2),
    "door lock": lambda tree: tree["doors"]["1"].update(lock="io-1:01"),
    "door pulse": lambda tree: tree["doors"]["1"].update(pulse_ms=5000),
    "door rail": lambda tree: tree["doors"]["1"].update(rail="No"),
    "door band": lambda tree: tree["doors"]["1"].update(band="No"),
    "door below": lambda tree: tree["doors"]["1"].update(occupied_below=5),
    "door sensor": lambda tree: tree["doors"]["1"].update(occupancy="x"),
    "door place": lambda tree: tree["doors"]["1"].update(column=5),
    "skipped": lambda tree: tree.update(skipped=["nothing"]),
    "board line": lambda tree: tree["boards"]["io-1"].update(line="nowhere"),
    "trial": lambda tree: tree.update(trials={"3": {"number": 4}}),
    "unknown": lambda tree: tree.update(more=1),
    "found": lambda tree: tree.update(found=[{"unit": 1}] * 1025),
    "doors": lambda tree: tree["doors"].update(
        {str(n): tree["doors"]["1"] | {"number": n} for n in range(1, 3090)}
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_draft_is_refused_with_what_to_do(name: str) -> None:
    with pytest.raises(GatewayError) as caught:
        drafts.decode(broken(BREAKS[name]))
    assert (caught.value.code, bool(caught.value.remedy)) == ("commission.draft_broken", True)


@pytest.mark.parametrize("data", [b"", b"\xff", b"[" * 100_000, b" " * (drafts.BYTES_MAX + 1)])
def test_what_is_no_draft_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        drafts.decode(data)
    assert caught.value.code == "commission.draft_broken"


def test_another_version_is_said_to_be_one() -> None:
    with pytest.raises(GatewayError) as caught:
        drafts.decode(broken(lambda tree: tree.update(version=2, future=1)))
    assert caught.value.evidence["version"] == 2


def test_the_largest_bank_fits_its_file() -> None:
    door = DoorItem(
        number=1, size="XL", lock="locks-10:15", switch="doors-10:15", rail="main",
        occupancy="sensor-10:15", occupied_below=100_000, open_ms=1000, bounce_ms=100, heated=True,
        cooled=True, column=60, row=8, rows=8, band="frozen-goods", reach="high",
    )  # fmt: skip
    doors = {n: msgspec.structs.replace(door, number=n) for n in range(1, mapfile.DOORS_MAX + 1)}
    draft = drafts.changed(adopted(2), doors=doors, forgotten=doors)
    proof = proof_of(*doors)
    assert len(drafts.encode(drafts.proved(draft, proof))) < drafts.BYTES_MAX


# --- beginning, scans -----------------------------------------------------------------------------


def test_a_draft_of_a_map_has_all_of_it() -> None:
    site = drafts.site_map(three())
    draft = drafts.begun("installer:bert", 5, site, lambda _: io_kind())
    assert (draft.by, draft.doors, draft.boards["io-1"].kind) == (
        "installer:bert", site.doors, io_kind(),
    )  # fmt: skip
    assert drafts.site_map(draft) == site


def test_a_profile_that_nobody_knows_has_the_channels_that_are_used() -> None:
    board = BoardItem(name="old", line="bank", profile="gone", unit=1)
    door = DoorItem(number=4, size="S", lock="old:5", switch="old:2", occupancy="old:7", rail="r")
    draft = drafts.begun("a", 0, SiteMap(boards={"old": board}, doors={4: door}))
    kind = draft.boards["old"].kind
    assert (kind.outputs, kind.inputs) == (6, 8)
    assert drafts.site_map(draft).lines == {}


def test_a_line_keeps_its_name_and_takes_its_new_settings() -> None:
    draft = scanned(empty_draft(), 2)
    faster = msgspec.structs.replace(LINE, baud=19200)
    again = drafts.found(draft, faster, [FoundBoard(unit=7)], [Finding("line.noise", "x")])
    assert list(again.lines) == ["rs485-1"]
    assert again.lines["rs485-1"].baud == 19200
    assert [row.key for row in again.found] == ["rs485-1/7"]
    assert again.line_findings["rs485-1"][0].code == "line.noise"


def test_a_scan_that_brings_nothing_new_keeps_the_proof() -> None:
    draft = drafts.proved(three(), proof_of(1, 2, 3))
    assert drafts.found(draft, LINE, []).proof is not None
    assert drafts.found(draft, msgspec.structs.replace(LINE, baud=1200), []).proof is None


def test_lines_are_named_by_what_they_are() -> None:
    draft = drafts.found(empty_draft(), LineItem(name="", tcp="10.0.0.5:502"), [])
    draft = drafts.found(draft, LineItem(name="", tcp="10.0.0.6:502"), [])
    draft = drafts.found(draft, LineItem(name="mine", serial="/dev/x"), [])
    draft = drafts.found(draft, LineItem(name="mine", serial="/dev/y"), [])
    assert list(draft.lines) == ["tcp-1", "tcp-2", "mine", "rs485-1"]


def test_what_comes_over_a_wire_is_cut_to_size() -> None:
    long = "x" * 5000
    row = FoundBoard(
        unit=1, matches=(Match(kind=RELAY, confidence="likely", evidence=(long,) * 50),) * 50,
        device_id={f"{long}{n}": long for n in range(50)},
        findings=(Finding(long, long, {"a": long, "b": 1}),) * 50,
    )  # fmt: skip
    draft = drafts.found(empty_draft(), LINE, [row])
    assert len(drafts.encode(draft)) < 200_000


def test_more_than_any_site_has_is_refused() -> None:
    draft = empty_draft()
    for unit in range(1, 5):
        line = LineItem(name="", tcp=f"10.0.0.{unit}:502")
        draft = drafts.found(draft, line, [FoundBoard(unit=n) for n in range(1, 256)])
    with pytest.raises(GatewayError) as caught:
        drafts.found(draft, LINE, [FoundBoard(unit=n) for n in range(1, 256)])
    assert caught.value.code == "commission.too_many"


# --- lessons --------------------------------------------------------------------------------------


def test_a_lock_that_no_board_has_is_refused() -> None:
    with pytest.raises(GatewayError) as caught:
        drafts.teach(three(), "io-1:8", REST)
    assert caught.value.code == "teach.no_lock"


def test_a_lesson_is_not_taken_before_it_is_done() -> None:
    draft = three()
    with pytest.raises(GatewayError) as caught:
        drafts.taught(draft, drafts.teach(draft, "io-1:5", REST))
    assert caught.value.code == "teach.unfinished"


@pytest.mark.parametrize("told", [{"number": 1}, {"switch": "io-1:0"}, {"occupancy": "io-1:1"}])
def test_nothing_is_taught_twice(told: dict[str, Any]) -> None:
    lesson = drafts.teach(three(), "io-1:5", REST)
    ended: dict[str, Any] = {"number": 9, "switch": "io-1:5"} | told
    lesson = replace(lesson, phase="done", attempts=(Attempt(400, 90),), **ended)
    with pytest.raises(GatewayError) as caught:
        drafts.taught(three(), lesson)
    assert caught.value.code == "teach.duplicate"


def test_a_door_more_than_a_site_can_have_is_refused() -> None:
    draft = three()
    like = draft.doors[1]
    doors = {
        n: msgspec.structs.replace(like, number=n, lock=f"x:{n}", switch=f"x:{n}")
        for n in range(1, mapfile.DOORS_MAX + 1)
    }
    with pytest.raises(GatewayError) as caught:
        taught(drafts.changed(draft, doors=doors), "io-1:6", 5000)
    assert caught.value.code == "commission.too_many"


def test_a_door_taught_elsewhere_keeps_its_number_and_features() -> None:
    draft = did(three(), do="door", number=2, size="XL", heated=True, reach="high")
    draft = did(draft, do="place", number=2, column=2, row=1, rows=3)
    draft = taught(did(draft, do="forget", number=2), "io-2:7", 2, switch="io-2:6")
    door = draft.doors[2]
    assert (door.lock, door.switch) == ("io-2:7", "io-2:6")
    assert (door.size, door.heated, door.reach, door.column, door.rows) == (
        "XL",
        True,
        "high",
        2,
        3,
    )
    assert draft.forgotten == {}


def test_numbers_are_suggested_as_banks_are_wired() -> None:
    draft = taught(adopted(2), "io-1:0", 11)
    assert drafts.teach(draft, "io-1:1", REST).suggest == 12
    assert drafts.teach(draft, "io-2:0", REST).suggest == 1
    assert drafts.teach(taught(draft, "io-1:5", 12), "io-1:1", REST).suggest == 1


def test_the_size_is_that_of_the_last_door() -> None:
    draft = taught(adopted(1), "io-1:0", 1, size="L")
    assert taught(draft, "io-1:1", 2).doors[2].size == "L"


def test_a_measure_is_no_input_of_the_same_name() -> None:
    draft = taught(adopted(1), "io-1:0", 1, occupancy="io-1:3", occupied_below=5000)
    lesson = drafts.teach(draft, "io-1:3", REST)
    assert lesson.taken == {"io-1:0": 1, "io-1:3#": 1}
    assert taught(draft, "io-1:3", 2).doors[2].switch == "io-1:3"


# --- acts on boards -------------------------------------------------------------------------------


def kinds(*found: Kind) -> Draft:
    rows = [
        FoundBoard(unit=unit, matches=(Match(kind=kind, confidence="certain"),))
        for unit, kind in enumerate(found, 1)
    ]
    return drafts.found(empty_draft(), LINE, rows)


def test_boards_are_named_by_their_role() -> None:
    doors = Kind(profile="eletechsup-n4d3e16", inputs=16)
    sensor = Kind(profile="urm14", measures=("distance",))
    draft = did(kinds(RELAY, RELAY, doors, io_kind(), sensor), do="adopt_all")
    assert list(draft.boards) == ["locks-1", "locks-2", "doors-1", "io-1", "sensor-1"]


def test_only_what_is_sure_is_adopted_with_all() -> None:
    likely = Match(kind=RELAY, confidence="likely")
    possible = Match(kind=RELAY, confidence="possible")
    other = Match(kind=io_kind(), confidence="likely")
    narrow = Match(kind=Kind(profile="r421", outputs=4, units=(0, 2)), confidence="certain")
    doubled = (Finding("board.same_number", "x"),)
    rows = [
        FoundBoard(unit=1, matches=(likely, possible)),
        FoundBoard(unit=2, matches=(possible,)),
        FoundBoard(unit=3, matches=(likely, other)),
        FoundBoard(unit=4),
        FoundBoard(unit=5, matches=(likely,), findings=doubled),
        FoundBoard(unit=6, matches=(narrow,)),
    ]
    draft = did(drafts.found(empty_draft(), LINE, rows), do="adopt_all")
    assert [board.unit for board in draft.boards.values()] == [1]
    assert code_of(draft, do="adopt_all") == "board.none_sure"


def test_one_board_is_adopted_by_hand() -> None:
    draft = did(scanned(empty_draft(), 2), do="adopt", key="rs485-1/2", profile=io_kind().profile,
                name="left")  # fmt: skip
    assert draft.boards["left"].unit == 2
    assert draft.changed_ms == 99


def test_a_profile_that_no_scan_proposed_is_looked_up() -> None:
    draft = drafts.found(empty_draft(), LINE, [FoundBoard(unit=3)])
    act = acts.Adopt(key="rs485-1/3", profile="generic-8x8")
    named = Kind(profile="generic-8x8", outputs=8, inputs=8)
    assert acts.perform(draft, act, 1, kind_of=lambda _: named).boards["io-1"].kind == named
    assert code_of(draft, do="adopt", key="rs485-1/3", profile="x") == "board.no_profile"


@pytest.mark.parametrize(
    ("act", "code"),
    [
        ({"key": "rs485-1/9", "profile": "x"}, "board.not_found"),
        ({"key": "rs485-1/1", "profile": "waveshare-rtu-io-8ch"}, "board.adopted"),
        ({"key": "rs485-1/3", "profile": "waveshare-rtu-io-8ch", "name": "io-1"}, "board.exists"),
        ({"key": "rs485-1/3", "profile": "narrow"}, "board.unit"),
    ],
)
def test_what_cannot_be_adopted_says_why(act: dict[str, str], code: str) -> None:
    narrow = Match(kind=Kind(profile="narrow", units=(0, 2)), confidence="possible")
    io = Match(kind=io_kind(), confidence="certain")
    rows = [FoundBoard(unit=1, matches=(io,)), FoundBoard(unit=3, matches=(io, narrow))]
    draft = drafts.found(empty_draft(), LINE, rows)
    draft = did(draft, do="adopt", key="rs485-1/1", profile=io_kind().profile)
    assert code_of(draft, do="adopt", **act) == code


def test_more_boards_than_a_site_can_have_are_refused() -> None:
    draft = scanned(empty_draft(), 1)
    many = {
        f"b-{n}": Board(name=f"b-{n}", line="rs485-1", unit=300, kind=RELAY) for n in range(256)
    }
    assert code_of(drafts.changed(draft, boards=many), do="adopt_all") == "commission.too_many"


def test_a_dropped_board_takes_its_doors_and_nothing_else() -> None:
    draft = taught(three(), "io-2:0", 4, switch="io-1:4")
    draft = did(did(draft, do="skip", lock="io-2:7"), do="skip", lock="io-1:7")
    draft = did(draft, do="drop_board", name="io-2")
    assert (list(draft.doors), list(draft.boards)) == ([1, 2, 3], ["io-1"])
    assert (draft.skipped, list(draft.forgotten)) == (("io-1:7",), [4])
    assert code_of(draft, do="drop_board", name="io-2") == "board.unknown"


def test_a_renamed_board_keeps_its_doors() -> None:
    draft = did(did(three(), do="skip", lock="io-1:7"), do="rename_board", name="io-1", to="left")
    assert draft.doors[1].lock == "left:0"
    assert draft.skipped == ("left:7",)
    assert "left" in drafts.site_map(draft).boards
    assert code_of(draft, do="rename_board", name="left", to="io-2") == "board.exists"


def test_a_replaced_board_keeps_its_doors_and_loses_their_trials() -> None:
    draft = drafts.proved(taught(three(), "io-2:0", 4), proof_of(1, 2, 3, 4))
    row = FoundBoard(unit=9, matches=(Match(kind=io_kind(), confidence="certain"),))
    draft = drafts.found(draft, LINE, [row])
    draft = did(draft, do="replace_board", name="io-1", key="rs485-1/9")
    assert (draft.boards["io-1"].unit, draft.doors[1].lock) == (9, "io-1:0")
    assert (list(draft.trials), draft.proof) == ([4], None)


def test_a_board_that_is_too_small_or_elsewhere_replaces_none() -> None:
    draft = taught(three(), "io-1:7", 8, occupancy="io-1:6")
    small = Match(kind=Kind(profile="small", outputs=7, inputs=8), confidence="certain")
    draft = drafts.found(
        draft, LINE, [FoundBoard(unit=2), FoundBoard(unit=9, matches=(small,)), FoundBoard(unit=8)]
    )
    replace_by = {"do": "replace_board", "name": "io-1"}
    assert code_of(draft, **replace_by, key="rs485-1/9") == "board.too_small"
    assert code_of(draft, **replace_by, key="rs485-1/2") == "board.adopted"
    assert code_of(draft, **replace_by, key="rs485-1/8") == "board.no_profile"
    assert code_of(draft, do="replace_board", name="no", key="rs485-1/9") == "board.unknown"


def test_a_measured_sensor_needs_a_measure_on_the_new_board() -> None:
    draft = taught(adopted(2), "io-1:0", 1, occupancy="io-2:0", occupied_below=5000)
    row = FoundBoard(unit=9, matches=(Match(kind=io_kind(), confidence="certain"),))
    draft = drafts.found(draft, LINE, [row])
    assert code_of(draft, do="replace_board", name="io-2", key="rs485-1/9") == "board.too_small"


# --- acts on locks and doors ----------------------------------------------------------------------


def test_a_lock_is_left_out_and_taken_back_and_teaching_takes_it_back_too() -> None:
    draft = did(did(three(), do="skip", lock="io-1:7"), do="skip", lock="io-1:7")
    assert draft.skipped == ("io-1:7",)
    assert did(draft, do="skip", lock="io-1:7", undo=True).skipped == ()
    assert taught(draft, "io-1:7", 8).skipped == ()
    assert code_of(draft, do="skip", lock="io-9:0") == "teach.no_lock"
    assert code_of(draft, do="skip", lock="io-1:0") == "teach.taught"


def test_features_are_set_for_one_and_many() -> None:
    draft = did(three(), do="doors", numbers=[1, 3], rail="left", cooled=True, reach="low")
    assert [(door.rail, door.cooled) for door in draft.doors.values()] == [
        ("left", True), ("main", False), ("left", True),
    ]  # fmt: skip
    assert did(draft, do="door", number=1, cooled=False).doors[1].cooled is False
    assert code_of(draft, do="doors", numbers=[1, 9], size="S") == "door.unknown"


def test_another_pulse_wants_another_trial_and_another_size_does_not() -> None:
    draft = drafts.proved(three(), proof_of(1, 2, 3))
    draft = did(draft, do="door", number=1, pulse_ms=500)
    draft = did(draft, do="door", number=2, size="S")
    assert list(draft.trials) == [2, 3]
    assert did(draft, do="door", number=2, pulse_ms=400).trials.keys() == {2, 3}


def test_a_renumbered_door_keeps_its_place_and_its_trial() -> None:
    draft = drafts.proved(three(), proof_of(1, 2, 3))
    draft = did(draft, do="door", number=2, to=12)
    assert list(draft.doors) == [1, 12, 3]
    assert (draft.doors[12].number, draft.trials[12].number) == (12, 12)
    assert did(draft, do="door", number=12, to=12).doors.keys() == {1, 12, 3}
    assert code_of(draft, do="door", number=12, to=1) == "door.exists"


def test_what_a_door_cannot_have_is_refused() -> None:
    draft = did(kinds(RELAY), do="adopt_all")
    draft = drafts.changed(draft, boards={**draft.boards, **adopted(1).boards})
    lesson = drafts.teach(draft, "locks-1:0", REST)
    assert lesson.pulse_ms == 300
    draft = taught(draft, "locks-1:0", 1, switch="io-1:0")
    assert code_of(draft, do="door", number=1, pulse_ms=301) == "map.pulse"
    assert code_of(draft, do="door", number=1, occupied_below=5) == "door.no_measure"
    measured = taught(draft, "locks-1:1", 2, switch="io-1:1", occupancy="io-1:1", occupied_below=9)
    assert did(measured, do="door", number=2, occupied_below=8).doors[2].occupied_below == 8
    assert code_of(measured, do="door", number=2, occupied_below=0) == "door.no_measure"


def test_doors_stand_beside_each_other_in_the_picture() -> None:
    draft = did(three(), do="place", number=1, column=1, row=1, rows=2)
    draft = did(draft, do="place", number=2, column=1, row=3)
    assert code_of(draft, do="place", number=3, column=1, row=2) == "map.same_place"
    assert code_of(draft, do="place", number=3, column=1, row=0) == "door.place"
    assert code_of(draft, do="place", number=3, column=1, row=64, rows=2) == "door.place"
    out = did(draft, do="place", number=1, column=0, row=0)
    assert did(out, do="place", number=3, column=1, row=2).doors[3].row == 2
    drafts.site_map(draft)


# --- acts as bodies -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[]", b"{}", b'{"do":1}', b'{"do":"try"}', b'{"do":"try","lock":"x"}',
        b'{"do":"sign","more":1}', b"\xff", b"[" * 60_000, b" " * 70_000,
        b'{"do":"popped","number":0}', b'{"do":"scan","units":[0,5]}',
    ],
)  # fmt: skip
def test_what_is_no_act_is_refused(body: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        acts.read(body)
    assert caught.value.code == "commission.malformed"


def test_an_act_that_nobody_knows_is_told_apart() -> None:
    with pytest.raises(GatewayError) as caught:
        acts.read(b'{"do":"dance"}')
    assert caught.value.code == "commission.unknown_act"


def test_acts_are_read_as_they_are_written() -> None:
    assert acts.read(b'{"do":"begin","from":"map","revision":3}') == acts.Begin(
        from_="map", revision=3
    )
    assert acts.read(b'{"do":"scan","units":[1,32]}') == acts.Scan(units=(1, 32))
    assert acts.read(b'{"do":"sign"}') == acts.Sign()


def test_an_act_on_another_draft_is_stale() -> None:
    draft = three()
    assert did(draft, do="forget", number=1, revision=draft.revision).revision > draft.revision
    assert code_of(draft, do="forget", number=1, revision=1) == "commission.stale"
    assert code_of(draft, do="forget", number=9) == "door.unknown"


# --- the map --------------------------------------------------------------------------------------


def map_code(draft: Draft) -> str:
    with pytest.raises(GatewayError) as caught:
        charting.site_map(draft)
    assert caught.value.remedy
    return caught.value.code


def bent(number: int, **told: Any) -> Draft:
    draft = three()
    door = msgspec.structs.replace(draft.doors[number], **told)
    return drafts.changed(draft, doors={**draft.doors, number: door})


def test_a_map_is_what_the_file_can_say() -> None:
    site = drafts.site_map(three())
    mapfile.check(site)
    assert site.lines["rs485-1"].serial == LINE.serial


@pytest.mark.parametrize(
    ("draft", "code"),
    [
        (empty_draft(), "map.no_boards"),
        (adopted(1), "map.no_doors"),
        (bent(2, lock="io-1:0"), "map.same_point"),
        (bent(2, switch="io-1:0"), "map.same_point"),
        (bent(2, occupancy="io-1:1"), "map.same_point"),
        (bent(2, lock="gone:0"), "map.no_board"),
        (bent(2, switch="io-1:8"), "map.no_channel"),
        (bent(2, lock="io-1:8"), "map.no_channel"),
        (bent(2, occupancy="io-1:0", occupied_below=4), "map.no_channel"),
        (bent(2, pulse_ms=1001), "map.pulse"),
    ],
)
def test_what_is_no_map_says_why(draft: Draft, code: str) -> None:
    assert map_code(draft) == code


def test_two_boards_on_one_number_and_one_that_cannot_have_it() -> None:
    draft = three()
    twin = msgspec.structs.replace(draft.boards["io-1"], name="twin")
    assert map_code(drafts.changed(draft, boards={**draft.boards, "twin": twin})) == "map.same_unit"
    narrow = msgspec.structs.replace(draft.boards["io-2"], kind=Kind(profile="x", units=(5, 9)))
    assert map_code(drafts.changed(draft, boards={**draft.boards, "io-2": narrow})) == "map.unit"


def test_two_doors_in_one_place() -> None:
    draft = three()
    doors = {n: msgspec.structs.replace(d, column=1, row=1) for n, d in draft.doors.items()}
    assert map_code(drafts.changed(draft, doors=doors)) == "map.same_place"


def test_a_lesson_knows_which_measures_are_distances() -> None:
    draft = adopted(1)
    kind = Kind(profile="urm14", measures=("temperature", "distance"))
    sonar = Board(name="sensor-1", line="rs485-1", unit=5, kind=kind)
    draft = drafts.changed(draft, boards={**draft.boards, "sensor-1": sonar})
    lesson = drafts.teach(draft, "io-1:0", REST, ms=250)
    assert (lesson.distances, lesson.pulse_ms) == (frozenset({"sensor-1:1"}), 250)
    assert lessons.pulsed(lesson, at_ms=0, ms=250).phase == "watching"


def test_names_are_sorted_as_people_count() -> None:
    names = ["locks-10", "locks-9", "left", "io-1", "a-x"]
    assert sorted(names, key=drafts.natural) == ["a-x", "io-1", "left", "locks-9", "locks-10"]
