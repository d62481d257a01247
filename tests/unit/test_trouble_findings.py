"""Pins what evidence names which trouble, and that nothing is named without it."""

import pytest

from adapters import trouble
from adapters.profiles import load
from adapters.reading import Read
from adapters.trouble import CURES, Finding, Heard, Pattern, Tally

IO = load("waveshare-rtu-io-8ch")
ROUTES = trouble.routes(
    "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\n"
    "eth0\t00000000\t0101A8C0\t0003\t0\t0\t0\t00000000\n"
    "eth0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
    "eth1\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\n"
)


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [finding.code for finding in findings]


@pytest.mark.parametrize(
    ("heard", "expected"),
    [
        (Heard(), []),
        (Heard(asked=32), ["line.silent"]),
        (Heard(asked=32, answered=1), []),
        (Heard(asked=32, answered=1, echo=True), ["adapter.echo"]),
        (Heard(asked=32, echo=False), ["line.silent"]),
        (Heard(asked=3, nonsense=(b"\0", b"\0\0", b"\xff")), ["wiring.swapped"]),
        (Heard(asked=9, nonsense=(b"\0", b"\0")), ["line.noise"]),
        (Heard(asked=1, nonsense=(b"\0",)), ["wiring.swapped"]),
        (Heard(asked=9, nonsense=(b"\0", b"\0", b"\x55")), ["line.noise"]),
        (Heard(asked=9, answered=1, nonsense=(b"\0",) * 8), []),
        (Heard(asked=9, nonsense=(b"",) * 8), ["line.noise"]),
    ],
)
def test_a_line_is_judged_by_what_came_from_all_its_units(
    heard: Heard, expected: list[str]
) -> None:
    assert codes(trouble.line("x", heard)) == expected


def pattern(*tallies: tuple[int, int, int], doubled: int = 0, changed: int = 0) -> Pattern:
    """Tallies as (length, asked, broken)."""
    made = (Tally(length, asked, asked - broken, broken) for length, asked, broken in tallies)
    return Pattern(tuple(made), doubled, changed)


GOOD = pattern((6, 12, 0), (21, 12, 0))


@pytest.mark.parametrize(
    ("units", "expected"),
    [
        ({1: GOOD}, {}),
        ({1: pattern((6, 12, 1), (21, 12, 4)), 2: GOOD}, {1: "wiring.termination"}),
        ({1: pattern((6, 12, 0), (21, 12, 3))}, {1: "wiring.termination"}),
        ({1: pattern((6, 12, 3), (21, 12, 4))}, {1: "line.noise"}),
        ({1: pattern((6, 12, 0), (21, 12, 2))}, {1: "line.noise"}),
        ({1: pattern((6, 12, 0), (9, 12, 4))}, {1: "line.noise"}),
        ({1: pattern((7, 5, 5)), 2: GOOD}, {1: "board.same_number"}),
        ({1: pattern((7, 5, 5))}, {1: "board.same_number"}),
        ({1: pattern((7, 2, 2))}, {1: "line.noise"}),
        (
            {1: pattern((7, 5, 5)), 2: pattern((7, 5, 4)), 3: GOOD},
            {1: "line.noise", 2: "line.noise"},
        ),
        ({1: pattern((6, 12, 0), doubled=3)}, {1: "board.same_number"}),
        ({1: pattern((6, 12, 0), doubled=2)}, {}),
        ({1: pattern((6, 12, 0), changed=1)}, {1: "board.same_number"}),
        ({}, {}),
        ({1: Pattern(())}, {}),
    ],
)
def test_a_board_is_judged_by_how_its_answers_break(
    units: dict[int, Pattern], expected: dict[int, str]
) -> None:
    found = trouble.patterns("x", units)
    assert {finding.about: finding.code for finding in found} == {
        f"x/{unit}": code for unit, code in expected.items()
    }


def test_the_evidence_says_how_many_broke_by_length() -> None:
    (finding,) = trouble.patterns("x", {4: pattern((21, 12, 4), (6, 12, 1))})
    assert finding.evidence == {
        "asked": 24,
        "broken": 5,
        "by_length": "6 bytes: 1 of 12, 21 bytes: 4 of 12",
    }


def test_the_rate_of_the_most_is_the_rate_of_the_line() -> None:
    assert trouble.rates("x", {}) == ()
    assert trouble.rates("x", {1: 9600, 2: 9600}) == ()
    (finding,) = trouble.rates("x", {1: 9600, 2: 9600, 3: 19200})
    assert (finding.about, finding.evidence) == ("x/3", {"rate": 19200, "wanted": 9600})
    (wanted,) = trouble.rates("x", {1: 9600}, 19200)
    assert (wanted.code, wanted.evidence) == ("wiring.rate", {"rate": 9600, "wanted": 19200})


def test_an_input_that_drives_an_output_is_named_by_its_channels() -> None:
    (read,) = trouble.setting_reads(IO)
    assert read == Read(3, 0x1000, 8)
    assert trouble.linkage("x/1", IO, {read: (0,) * 8}) == ()
    assert trouble.linkage("x/1", IO, {read: None}) == ()
    assert trouble.linkage("x/1", IO, {}) == ()
    (finding,) = trouble.linkage("x/1", IO, {read: (0, 1, 0, 0, 0, 0, 0, 3)})
    assert finding == Finding("board.linkage", "x/1", {"setting": "output_mode", "channels": "1 7"})


def test_other_settings_are_nobodys_trouble() -> None:
    wb = load("wirenboard-wb-mr6c-v3")
    assert {read.address for read in trouble.setting_reads(wb)} == {9}
    wrong = {Read(3, setting.base, setting.span): (9,) * 6 for setting in wb.settings}
    assert codes(trouble.linkage("x", wb, wrong)) == ["board.linkage"]


@pytest.mark.parametrize(("latency_ms", "named"), [(None, False), (1, False), (16, True)])
def test_an_adapter_that_holds_bytes_back(latency_ms: int | None, named: bool) -> None:
    assert bool(trouble.latency("x", latency_ms)) == named


@pytest.mark.parametrize(
    ("host", "way", "routed"),
    [
        ("127.0.0.1", ("here", ""), False),
        ("192.168.2.7", ("direct", "eth1"), False),
        ("192.168.1.7", ("outward", "eth0"), True),
        ("10.0.0.1", ("routed", "eth0"), True),
        ("board.example", ("name", ""), False),
        ("fe80::1", ("none", ""), False),
    ],
)
def test_how_a_board_is_reached(host: str, way: tuple[str, str], routed: bool) -> None:
    assert trouble.way(host, ROUTES) == way
    assert codes(trouble.routed(host, ROUTES)) == ["net.routed"] * routed


def test_without_a_route_there_is_no_way() -> None:
    assert trouble.way("192.168.2.7", ()) == ("none", "")


def test_every_code_has_its_cure_in_one_sentence() -> None:
    made = {
        *codes(trouble.line("x", Heard(asked=1))),
        *codes((trouble.text_protocol("x", 1, "4150"), trouble.firmware("x", 1, "p", "n"))),
    }
    assert made <= CURES.keys()
    assert all(cure.endswith(".") and cure.count(". ") == 0 for cure in CURES.values())
