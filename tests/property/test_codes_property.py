"""Pins what check digits catch, that both ends derive alike, and that any typing is survived."""

from contextlib import suppress

from hypothesis import assume, given
from hypothesis import strategies as st

from sync.codes import (
    CodeKey,
    check_digit_fits,
    damm,
    damm_start,
    normalise_typed,
    parcel_identity,
)
from sync.errors import TheirsInvalid

MASTER = bytes(range(32))
SITES = st.integers(0, 9999).map(lambda number: f"lockers.example/site/{number:04d}")
PARCELS = st.from_regex(r"[a-z0-9-]{1,32}/[A-Z0-9]{1,64}/[1-9][0-9]{0,3}", fullmatch=True)
DIGITS = st.text("0123456789", min_size=1, max_size=15)


@given(SITES, PARCELS, st.integers(0, 65535), st.integers(1, 15))
def test_hub_and_site_derive_the_same_code_and_it_fits_its_check(
    site: str, parcel: str, counter: int, digits: int
) -> None:
    hub = CodeKey.derive(MASTER, site, 1)
    here = CodeKey(site, 1, hub.key)
    code = here.code(parcel, counter)
    assert code == hub.code(parcel, counter)
    assert len(code.long) == 16
    assert len(code.short(digits)) == digits + 1
    assert code.long.startswith(code.short(digits)[:-1])
    for typed in (code.long, code.short(digits)):
        assert check_digit_fits(typed, site)


@given(SITES, DIGITS, st.data())
def test_one_wrong_digit_and_two_swapped_are_noticed(
    site: str, digits: str, data: st.DataObject
) -> None:
    entered = digits + str(damm(digits, damm_start(site)))
    assert check_digit_fits(entered, site)
    place = data.draw(st.integers(0, len(entered) - 1))
    other = data.draw(st.sampled_from("0123456789"))
    if other != entered[place]:
        assert not check_digit_fits(entered[:place] + other + entered[place + 1 :], site)
    if place + 1 < len(entered) and entered[place] != entered[place + 1]:
        swapped = entered[:place] + entered[place + 1] + entered[place] + entered[place + 2 :]
        assert not check_digit_fits(swapped, site)


@given(SITES, SITES, DIGITS)
def test_code_of_a_site_with_another_start_fails_its_check(
    site: str, other: str, digits: str
) -> None:
    assume(damm_start(site) != damm_start(other))
    entered = digits + str(damm(digits, damm_start(site)))
    assert not check_digit_fits(entered, other)


def test_nine_sites_of_ten_recognise_a_strangers_code() -> None:
    sites = [f"lockers.example/site/{number:04d}" for number in range(1000)]
    entered = CodeKey.derive(MASTER, sites[0], 1).code("acme/JD01/1", 0).long
    taken = sum(check_digit_fits(entered, site) for site in sites)
    assert 70 < taken < 130


@given(st.text(max_size=70))
def test_any_typing_gives_digits_or_nothing(text: str) -> None:
    digits = normalise_typed(text)
    if digits is not None:
        assert set(digits) <= set("0123456789")
        assert [letter for letter in text if letter not in " -"] == list(digits)
        check_digit_fits(digits, "a/site/1")


@given(st.text("aZ0-/\u00df\n ", max_size=12) | PARCELS.map(str.swapcase) | PARCELS)
def test_any_text_is_one_parcel_or_none(text: str) -> None:
    with suppress(TheirsInvalid):
        identity = parcel_identity(text)
        assert identity.upper() == text.upper()
        assert parcel_identity(identity) == identity


@given(st.lists(st.tuples(PARCELS, st.integers(0, 65535)), unique=True, min_size=2, max_size=9))
def test_no_two_parcels_or_counts_share_a_long_code(inputs: list[tuple[str, int]]) -> None:
    key = CodeKey(site="a/site/1", version=1, key=MASTER)
    codes = {key.code(parcel, counter).long for parcel, counter in inputs}
    assert len(codes) == len(inputs)
