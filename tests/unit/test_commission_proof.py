"""Pins what trials prove, what a report says of it, and how the commissioning is shown."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typing_extensions import override

from adapters import trouble
from gateway import meanings
from gateway.commissioning import draft as drafts
from gateway.commissioning import lesson as lessons
from gateway.commissioning import proof as proofs
from gateway.commissioning import report, reportpage, view
from gateway.commissioning.draft import Draft
from gateway.commissioning.findings import Finding, meaning
from gateway.commissioning.proof import BoardTrial, DoorTrial, Machine, Proof, Record
from gateway.commissioning.reportwords import WORDS
from gateway.errors import GatewayError
from sync.sitemap import DoorItem, LineItem, SiteMap
from tests.commission_stage import Stage, adopted, bank_of

WELL = Machine(flush_us=2000, clock="trusted", hub="up")
ASKED = {"io-1": BoardTrial(name="io-1", asked=64)}


def draft_of(count: int = 3, **told: Any) -> Draft:
    doors = {
        n: DoorItem(number=n, size="M", lock=f"io-1:{n}", switch=f"io-1:{n}", rail="main", **told)
        for n in range(1, count + 1)
    }
    return drafts.changed(adopted(1), doors=doors)


def trial(number: int, **told: Any) -> DoorTrial:
    return DoorTrial(number=number, **({"took_ms": 90, "switch_back": True} | told))


def judged(
    *bent: DoorTrial, board: BoardTrial | None = None, machine: Machine = WELL, **told: Any
) -> Proof:
    trials = {n: trial(n) for n in (1, 2, 3)} | {one.number: one for one in bent}
    return proofs.judge(
        drafts.site_map(draft_of()), by="installer:anna", at_ms=1_764_560_000_000,
        doors=trials.values(), boards=(board or ASKED["io-1"],), machine=machine, **told,
    )  # fmt: skip


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in findings]


# --- the proof ------------------------------------------------------------------------------------


def test_a_sound_bank_passes_without_a_word() -> None:
    proof = judged()
    assert (proof.passed, proof.reasons, proof.notes, proof.audit) == (True, (), (), False)
    assert (proof.doors_passed, proof.doors_failed, proof.open_doors) == (3, 0, ())


@pytest.mark.parametrize(
    ("bent", "code"),
    [
        (trial(2, took_ms=None, switch_back=None, attempts=3), "proof.not_opened"),
        (trial(2, switch_back=False), "proof.not_shut"),
        (trial(2, switch_back=None), "proof.not_shut"),
        (trial(2, code="board.mismatch", took_ms=None), "board.mismatch"),
    ],
)
def test_a_door_fails_for_a_reason_with_its_numbers(bent: DoorTrial, code: str) -> None:
    proof = judged(bent)
    assert (proof.passed, codes(proof.reasons), proof.doors_failed) == (False, [code], 1)
    assert proof.reasons[0].evidence["door"] == 2
    assert proof.open_doors == ((2,) if code == "proof.not_shut" else ())


def test_a_door_that_nobody_tried_fails() -> None:
    site = drafts.site_map(draft_of())
    proof = proofs.judge(site, by="a", at_ms=0, doors=[trial(1)], boards=(), machine=WELL)
    assert codes(proof.reasons) == ["proof.untried", "proof.untried", "proof.unasked"]


@pytest.mark.parametrize("code", ["door.occupied", "door.fenced"])
def test_a_door_that_may_hold_something_is_left_and_no_failure(code: str) -> None:
    proof = judged(trial(2, code=code, took_ms=None))
    assert (proof.passed, proof.count("left"), codes(proof.notes)) == (True, 1, ["proof.left"])


def test_what_is_worth_knowing_does_not_fail() -> None:
    proof = judged(trial(1, attempts=2), trial(2, took_ms=1501), trial(3, occupied=True))
    assert (proof.passed, codes(proof.notes)) == (
        True, ["proof.sticky", "proof.slow", "proof.occupied"],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "failed", "reasons", "notes"),
    [
        (200, 2, [], ["proof.bus_error"]),
        (200, 3, ["proof.bus_errors"], []),
        (64, 1, [], ["proof.bus_error"]),
        (1, 1, ["proof.bus_errors"], []),
        (49, 0, ["proof.unasked"], []),
    ],
)
def test_a_board_is_judged_by_its_errors(
    asked: int, failed: int, reasons: list[str], notes: list[str]
) -> None:
    errors = {"broken": failed} if failed else {}
    proof = judged(board=BoardTrial(name="io-1", asked=asked, failed=errors))
    assert (codes(proof.reasons), codes(proof.notes)) == (reasons, notes)


def test_settings_that_were_put_right_are_said() -> None:
    proof = judged(board=BoardTrial(name="io-1", asked=64, corrected=("control_mode",)))
    assert proof.notes[0].evidence == {"settings": "control_mode"}


@pytest.mark.parametrize(
    ("machine", "reasons", "notes"),
    [
        (Machine(flush_us=500_001, clock="trusted"), ["proof.disk"], []),
        (Machine(flush_us=100_001, clock="trusted"), [], ["proof.disk_slow"]),
        (Machine(clock="trusted"), [], ["proof.disk_unknown"]),
        (Machine(flush_us=1, clock="untrusted", hub="down"), [], ["proof.clock", "proof.hub"]),
    ],
)
def test_the_machine_is_judged_too(machine: Machine, reasons: list[str], notes: list[str]) -> None:
    proof = judged(machine=machine)
    assert (codes(proof.reasons), codes(proof.notes)) == (reasons, notes)


def test_rails_say_which_locks_are_never_on_together() -> None:
    assert proofs.rails(draft_of().doors) == {"main": (1, 2, 3)}


def test_an_audit_says_where_log_and_bank_differ() -> None:
    site = drafts.site_map(draft_of())
    held, free = Record(number=1, custody="held"), Record(number=2, custody="free")
    broken = Record(number=3, custody="free")
    proof = judged(
        trial(1, occupied=False), trial(2, occupied=True), trial(3, took_ms=None),
        before=site, records=[broken, held, free, Record(number=9, custody="free")],
    )  # fmt: skip
    assert proof.audit
    assert codes(proof.differences) == [
        "audit.nothing_inside", "audit.something_inside", "audit.broken",
    ]  # fmt: skip


def test_a_door_out_of_service_that_works_is_said_and_a_sound_one_is_not() -> None:
    site = drafts.site_map(draft_of())
    records = [Record(number=n, custody="free", disabled=n == 1) for n in (1, 2, 3)]
    proof = judged(before=site, records=records)
    assert codes(proof.differences) == ["audit.works"]


def test_a_bank_that_was_rebuilt_says_so_and_is_no_audit() -> None:
    old = drafts.site_map(draft_of(2, open_when="active"))
    doors = {1: old.doors[1], 9: msgspec.structs.replace(old.doors[2], number=9)}
    proof = judged(before=SiteMap(boards=old.boards, doors=doors, lines=old.lines))
    assert not proof.audit
    assert codes(proof.differences) == ["audit.gone", "audit.new", "audit.new", "audit.moved"]
    assert proof.differences[-1].evidence["points"] == "open_when"


# --- the report -----------------------------------------------------------------------------------

HOSTILE = '<script>alert("1")</script>&'


def reported(**told: Any) -> bytes:
    bent = trial(2, took_ms=None, code="board.mismatch"), trial(3, took_ms=None, code="door.fenced")
    proof = judged(*bent, findings=[Finding("line.noise", HOSTILE, {"got": HOSTILE})])
    draft = draft_of(**told)
    return report.encode(proof, draft, site=HOSTILE, software="0.9")


def test_the_same_facts_are_the_same_bytes() -> None:
    assert reported() == reported()
    tree = msgspec.json.decode(reported())
    assert msgspec.json.encode(tree, order="sorted") == reported()
    assert report.decode(reported()).passed is False


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("lang", ["en", "de"])
def test_the_page_stands_alone_and_says_all(lang: str) -> None:
    html = report.page(reported(heated=True, occupancy="io-1:7"), lang, ref="0:su:9")
    page = _Page()
    page.feed(html)
    names = [tag for tag, _ in page.tags]
    assert names.count("h1") == names.count("main") == 1
    assert not {"script", "link", "img", "iframe", "object", "form"} & set(names)
    assert all(not {"src", "href", "onclick"} & told.keys() for _, told in page.tags)
    assert "url(" not in html
    assert ("html", {"lang": lang}) in page.tags
    assert all("scope" in told for tag, told in page.tags if tag == "th")
    assert html.count("<rect") == 3
    assert HOSTILE not in html
    assert "0:su:9" in html
    assert "@page" in html


def test_a_placed_bank_is_drawn_as_it_stands() -> None:
    draft = draft_of()
    doors = dict(draft.doors)
    doors[1] = msgspec.structs.replace(doors[1], column=2, row=1, rows=3)
    data = report.encode(judged(), drafts.changed(draft, doors=doors))
    rows = report.decode(data).doors
    assert reportpage._places(rows) == {1: (2, 1, 3), 2: (3, 1, 1), 3: (3, 2, 1)}


def test_text_says_the_same_and_every_word_is_there_in_both() -> None:
    assert WORDS["en"].keys() == WORDS["de"].keys()
    text = report.text(reported(cooled=True, occupancy="io-1:7", occupied_below=90_000), "fr")
    assert "2     ✗ failed" in text
    assert "io-1:7 < 90 mm" in text
    assert report.text(reported(), "de").startswith("Abnahmebericht")
    unknown = judged(machine=Machine(), before=drafts.site_map(draft_of()))
    audit = report.text(report.encode(unknown, draft_of()), "en")
    assert audit.startswith("Audit report")


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff", b"[" * 100_000, b" " * (4 * 1024**2 + 1)])
def test_what_is_no_report_is_refused(data: bytes) -> None:
    with pytest.raises(GatewayError) as caught:
        report.page(data, "en")
    assert caught.value.code == "report.broken"


def test_a_moment_that_no_calendar_has_is_a_number() -> None:
    assert reportpage.moment(0) == "1970-01-01 00:00:00 UTC"
    assert reportpage.moment(10**18) == f"{10**18} ms"


# --- the view -------------------------------------------------------------------------------------


def test_a_view_of_nothing_has_every_key() -> None:
    shown = view.view(None)
    assert (shown["revision"], shown["next"], shown["proof"], shown["lesson"]) == (
        0, "boards", None, None,
    )  # fmt: skip
    assert view.view(None, is_signed=True)["steps"][-1]["done"]


def test_a_view_says_all_that_a_client_needs() -> None:
    on = Stage(bank_of(2), adopted(1))
    lesson = on.teach("io-1:0", 1)
    draft = drafts.found(on.draft, drafts.named(on.draft, on.draft.lines["rs485-1"]), [
        drafts.FoundBoard(unit=1), drafts.FoundBoard(unit=4)
    ], [Finding("line.noise", "x", {"a": 1})])  # fmt: skip
    proof = proofs.judge(
        drafts.site_map(draft), by="a", at_ms=3, doors=[trial(1)],
        boards=ASKED.values(), machine=WELL,
    )  # fmt: skip
    draft = drafts.proved(draft, proof)
    shown = view.view(
        draft, lesson=lesson, job={"name": "scan"}, last={"job": "open", "code": ""},
        live={"ports": [{"device": "/dev/x"}], "open_doors": [1]},
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(shown)) == shown
    assert (shown["job"], shown["ports"], shown["open_doors"]) == (
        {"name": "scan"}, [{"device": "/dev/x"}], [1],
    )  # fmt: skip
    assert [row["board"] for row in shown["found"]] == ["io-1", ""]
    assert shown["lines"][0]["findings"][0]["code"] == "line.noise"
    assert shown["lesson"]["taught"]
    assert shown["doors"][0]["tested"]["passed"]
    assert shown["proof"]["doors_passed"] == 1
    assert shown["locks"][0] == {"lock": "io-1:0", "door": 1, "skipped": False}
    assert [step["done"] for step in shown["steps"]] == [True, False, False, True, False]
    assert shown["next"] == "doors"


def test_a_view_says_what_keeps_a_draft_from_being_a_map() -> None:
    draft = draft_of()
    doors = {n: msgspec.structs.replace(door, lock="io-1:1") for n, door in draft.doors.items()}
    (told,) = view.view(drafts.changed(draft, doors=doors))["findings"]
    assert (told["code"], told["about"]) == ("map.same_point", "door 2")
    assert drafts.plain(Path("/x")) == "/x"


def test_a_line_over_tcp_is_shown_as_one() -> None:
    draft = drafts.found(adopted(1), LineItem(name="", tcp="10.0.0.5:4196", framing="rtu"), [])
    shown = view.view(draft)["lines"][-1]
    assert (shown["where"], shown["kind"], shown["framing"]) == ("10.0.0.5:4196", "tcp", "rtu")


# --- the words ------------------------------------------------------------------------------------

ROOMS = Path(proofs.__file__).parent
TOLD = {"site.commissioned", *(f"commission.{act}" for act in ("begin", "take", "close", "cancel"))}
CODE = re.compile(
    r'"((?:adapter|address|audit|board|bus|commission|door|line|lock|map|net|proof|report|scan|site'
    r'|teach|wiring)\.[a-z_]+)"'
)


def test_every_code_of_these_rooms_and_of_the_boards_floor_has_words_in_both() -> None:
    boards = ROOMS.parents[1] / "adapters"
    files = [
        *ROOMS.glob("*.py"),
        *(boards / f"{name}.py" for name in ("trouble", "address", "errors")),
    ]
    raised = {code for file in files for code in CODE.findall(file.read_text())}
    raised -= TOLD  # names of what happened, not codes
    raised |= trouble.CURES.keys() | {"door.occupied", "door.fenced", "site.busy", "map.in_use"}
    assert len(raised) > 80
    for lang, table in meanings.TABLE.items():
        assert raised - table.keys() == set(), lang
        assert all(what and cure for what, cure in table.values())
    assert meanings.TABLE["en"].keys() == meanings.TABLE["de"].keys()


def test_both_languages_fill_in_the_same_evidence() -> None:
    for code, said in meanings.TABLE["en"].items():
        there = [
            set(re.findall(r"\{(\w+)\}", " ".join(one)))
            for one in (said, meanings.TABLE["de"][code])
        ]
        assert there[0] == there[1], code


def test_words_carry_their_evidence() -> None:
    assert (
        meaning(Finding("proof.sticky", "door 3", {"attempts": 2}))[0]
        == "This lock needed 2 pulses."
    )
    assert meanings.told("proof.sticky", "fr") == (
        "This lock needed  pulses.", "Oil the latch, see whether the door rubs.",
    )  # fmt: skip
    assert "Logbuch" in meanings.told("no.such", "de")[1]
    assert meanings.told("no.such", "fr")[0] == "Something is not as it should be."


def test_a_lesson_is_shown_with_what_it_waits_for() -> None:
    on = Stage(bank_of(2), adopted(1))
    lesson = lessons.nothing(on.begin("io-1:0"))
    shown = view.view(on.draft, lesson=lesson)["lesson"]
    assert (shown["phase"], shown["code"], shown["taught"]) == ("done", "teach.unseen", False)
