"""Pins derived UTC: nearest anchor of the same boot, error grows with distance, integers only."""

import itertools

import pytest

from sync.moment import Anchor, Anchors, Moment, Utc, utc_text


def anchor(boot: int, mono_ms: int, utc_ms: int, error_ms: int, source: str = "ntp") -> Anchor:
    return Anchor(Moment(boot, mono_ms), Utc(utc_ms, error_ms, source))


def test_carries_an_anchor_both_ways_with_100_ppm_of_error() -> None:
    anchors = Anchors([anchor(1, 1_000_000, 1_700_000_000_000, 20)])
    assert anchors.utc(Moment(1, 1_000_000)) == Utc(1_700_000_000_000, 20, "ntp")
    assert anchors.utc(Moment(1, 2_000_000)) == Utc(1_700_001_000_000, 120, "ntp")
    assert anchors.utc(Moment(1, 0)) == Utc(1_699_999_000_000, 120, "ntp")
    assert anchors.utc(Moment(1, 1_000_001)) == Utc(1_700_000_000_001, 21, "ntp")


def test_knows_nothing_of_a_boot_without_an_anchor() -> None:
    assert Anchors().utc(Moment(1, 0)) is None
    assert Anchors([anchor(1, 0, 0, 0)]).utc(Moment(2, 0)) is None


def test_a_better_anchor_corrects_what_was_told_before() -> None:
    anchors = Anchors([anchor(1, 0, 500_000, 86_400_000, "floor")])
    assert anchors.utc(Moment(1, 10)) == Utc(500_010, 86_400_001, "floor")
    anchors.add(anchor(1, 60_000, 1_700_000_000_000, 50))
    assert anchors.utc(Moment(1, 10)) == Utc(1_699_999_940_010, 56, "ntp")


def test_the_order_of_anchors_does_not_matter() -> None:
    some = [
        anchor(1, 0, 100, 5, "a"),
        anchor(1, 0, 100, 5, "b"),
        anchor(1, 200_000, 200_100, 5, "c"),
        anchor(1, 0, 101, 5, "b"),
    ]
    asked = [Moment(1, at) for at in (0, 50_000, 100_000, 150_000, 200_000)]
    told = {tuple(Anchors(order).utc(at) for at in asked) for order in itertools.permutations(some)}
    assert len(told) == 1
    assert told.pop()[2] == Utc(100_100, 15, "c")


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_795_363_638_007, "2026-11-22T16:07:18.007Z"),
        (-1, "-1 ms"),
        (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        (253_402_300_800_000, "253402300800000 ms"),
    ],
)
def test_writes_iso_8601_or_plain_milliseconds(ms: int, text: str) -> None:
    assert utc_text(ms) == text
