"""Pins where a scan looks, and in which order: factory settings first, all of it on demand."""

import pytest

from adapters.profiles import load, names
from adapters.rounds import ALL_UNITS, FORMATS, QUICK_UNITS, RATES, Round, only, plan

SHIPPED = tuple(load(name) for name in names())


def test_factory_settings_come_first_on_the_first_32_units() -> None:
    first = plan("quick", SHIPPED)[0]
    assert (first.baud, first.parity, first.stop, first.names) == (9600, "N", 1, False)
    assert first.units[:32] == QUICK_UNITS
    assert first.wait_ms == max(
        p.timing.probe_timeout_ms for p in SHIPPED if "rtu" in p.link.framings
    )


@pytest.mark.parametrize("profile", SHIPPED, ids=lambda profile: profile.profile)
def test_every_serial_make_is_found_by_a_quick_scan(profile: object) -> None:
    link = profile.link  # type: ignore[attr-defined]
    if "rtu" in link.framings:
        assert any(
            (made.baud, made.parity, made.stop) == (link.baud, link.parity, link.stop)
            and link.unit in made.units
            for made in plan("quick", SHIPPED)
        )


def test_the_text_protocol_and_the_rare_rates_are_asked_of_few() -> None:
    rounds = plan("quick", SHIPPED)
    (text,) = [made for made in rounds if made.names]
    assert text.units == (1, 2, 3, 4)
    assert {made.baud for made in rounds if not made.names} >= set(RATES)
    assert sum(len(made.units) for made in rounds) < 200


def test_without_profiles_the_usual_rates_are_left() -> None:
    assert {made.baud for made in plan("quick", ())} == set(RATES)


def test_a_full_scan_asks_every_unit_once_at_every_setting() -> None:
    rounds = plan("full", SHIPPED)
    assert rounds[: len(plan("quick", SHIPPED))] == plan("quick", SHIPPED)
    for parity, stop in FORMATS:
        for baud in RATES:
            asked = [
                unit
                for made in rounds
                if (made.baud, made.parity, made.stop, made.names) == (baud, parity, stop, False)
                for unit in made.units
            ]
            assert sorted(asked) == list(ALL_UNITS)


def test_rounds_can_be_kept_to_some_units() -> None:
    assert only([Round(9600, "N", 1, QUICK_UNITS, 60)], 5, 7) == (
        Round(9600, "N", 1, (5, 6, 7), 60),
    )
