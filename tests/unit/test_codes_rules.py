"""Pins what may be typed, what a parcel is called, how many digits a site needs, and the tags."""

import copy
import hashlib
import hmac

import pytest

from sync.codes import (
    Code,
    CodeKey,
    check_digit_fits,
    derive_site_key,
    digits_for,
    matches,
    normalise_typed,
    parcel_identity,
    parcel_tag,
    retired_tag,
    staff_secret,
    staff_tag,
)
from sync.errors import TheirsInvalid

KEY = bytes(range(32))
SITE = "lockers.example/site/0042"
PARCEL = "acme/JD014600006281230704/1"
CODES = CodeKey(SITE, 1, KEY)


def code_of(caught: pytest.ExceptionInfo[TheirsInvalid]) -> str:
    return caught.value.code


@pytest.mark.parametrize(
    ("typed", "digits"),
    [
        ("1705002425", "1705002425"),
        ("170 500 2425", "1705002425"),
        (" 170-500-2425 ", "1705002425"),
        ("0", "0"),
        ("", None),
        (" - ", None),
        ("170.500", None),
        ("170500a", None),
        ("170\t500", None),
        ("170500\n", None),
        ("+170500", None),
        ("170\u2013500", None),  # an en dash
        ("170\u00a0500", None),  # a space that does not break
        ("\u0661\u0662", None),
        ("\uff11", None),
        ("1\u00b2", None),
        ("1" * 64, "1" * 64),
        ("1" * 65, None),
        (" " * 64 + "1", None),
    ],
)
def test_only_spaces_and_dashes_are_forgiven(typed: str, digits: str | None) -> None:
    assert normalise_typed(typed) == digits


@pytest.mark.parametrize(
    ("text", "identity"),
    [
        (PARCEL, PARCEL),
        ("acme/jd014600006281230704/1", PARCEL),
        ("a-1/x/9999", "a-1/X/9999"),
        (f"{'a' * 32}/{'Z' * 64}/1", f"{'a' * 32}/{'Z' * 64}/1"),
    ],
)
def test_identity_is_written_one_way(text: str, identity: str) -> None:
    assert parcel_identity(text) == identity
    assert parcel_identity(identity) == identity


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme",
        "acme/JD01",
        "acme/JD01/",
        "acme/JD01/0",
        "acme/JD01/01",
        "acme/JD01/10000",
        "acme/JD01/-1",
        "acme/JD01/1/2",
        "acme//1",
        "/JD01/1",
        "ACME/JD01/1",
        "ac_me/JD01/1",
        "acme/JD 01/1",
        "acme/JD-01/1",
        " acme/JD01/1",
        "acme/JD01/1\n",
        "acme/stra\u00dfe/1",
        "acme/\u0661/1",
        f"{'a' * 33}/JD01/1",
        f"acme/{'J' * 65}/1",
    ],
)
def test_identity_that_fits_no_parcel_is_refused_without_showing_it(text: str) -> None:
    with pytest.raises(TheirsInvalid) as caught:
        parcel_identity(text)
    assert code_of(caught) == "codes.identity"
    assert caught.value.evidence == {"characters": len(text)}


@pytest.mark.parametrize("identity", ["acme/jd01/1", "acme/JD01", "", "acme/JD01/1\x00"])
def test_code_and_tag_take_only_the_one_form(identity: str) -> None:
    for call in (lambda: CODES.code(identity, 0), lambda: parcel_tag(KEY, SITE, identity)):
        with pytest.raises(TheirsInvalid) as caught:
            call()
        assert code_of(caught) == "codes.identity"


@pytest.mark.parametrize(
    ("compartments", "digits"),
    [(1, 8), (30, 8), (31, 9), (308, 9), (309, 10), (3084, 10)],
)
def test_digits_follow_the_number_of_compartments(compartments: int, digits: int) -> None:
    assert digits_for(compartments) == digits


@pytest.mark.parametrize("compartments", [0, -1, 3085])
def test_bank_of_no_known_size_has_no_codes(compartments: int) -> None:
    with pytest.raises(TheirsInvalid) as caught:
        digits_for(compartments)
    assert code_of(caught) == "codes.compartments"


def test_bounds_are_met_exactly() -> None:
    CODES.code(PARCEL, 0xFFFF)
    for counter in (-1, 0x10000):
        with pytest.raises(TheirsInvalid) as caught:
            CODES.code(PARCEL, counter)
        assert code_of(caught) == "codes.counter"
    for version in (-1, 0x10000):
        with pytest.raises(TheirsInvalid) as caught:
            CodeKey(SITE, version, KEY)
        assert code_of(caught) == "codes.version"
        with pytest.raises(TheirsInvalid):
            derive_site_key(KEY, SITE, version)
    for digits in (0, 16):
        with pytest.raises(TheirsInvalid) as caught:
            CODES.code(PARCEL, 0).short(digits)
        assert code_of(caught) == "codes.digits"
    for length in (0, 31, 33):
        for call in (
            lambda key: CodeKey(SITE, 1, key),
            lambda key: derive_site_key(key, SITE, 1),
            lambda key: staff_tag(key, SITE, "1"),
        ):
            with pytest.raises(TheirsInvalid) as caught:
                call(bytes(length))
            assert code_of(caught) == "codes.key"
    for site in ("", "a b", "a\x00b", "\u00e9", "x" * 256):
        with pytest.raises(TheirsInvalid) as caught:
            CodeKey(site, 1, KEY)
        assert code_of(caught) == "codes.site"


def test_neither_key_nor_code_is_ever_shown() -> None:
    code = CODES.code(PARCEL, 0)
    for shown in (repr(CODES), str(CODES), repr([CODES]), f"{CODES}"):
        assert shown.count("site='lockers.example/site/0042', version=1") == 1
        assert "x01" not in shown
        assert KEY.hex() not in shown
    for shown in (repr(code), str(code), f"{code}"):
        assert shown == "Code()"


def test_key_survives_a_deep_copy() -> None:
    twin = copy.deepcopy({"key": CODES})["key"]
    assert twin.code(PARCEL, 3) == CODES.code(PARCEL, 3)


def test_tags_are_keyed_and_apart() -> None:
    def tag(domain: bytes, subject: str) -> bytes:
        message = domain + b"\x00" + SITE.encode() + b"\x00" + subject.encode()
        return hmac.new(KEY, message, hashlib.sha256).digest()[:12]

    assert parcel_tag(KEY, SITE, PARCEL) == tag(b"parcel-tag/v1", PARCEL)
    assert retired_tag(KEY, SITE, "1705002425") == tag(b"retired-code/v1", "1705002425")
    assert staff_tag(KEY, SITE, "1705002428138763") == tag(b"staff-secret/v1", "1705002428138763")
    different = {
        retired_tag(KEY, SITE, "1"),
        staff_tag(KEY, SITE, "1"),
        retired_tag(KEY, SITE, "2"),
        retired_tag(KEY, "lockers.example/site/0043", "1"),
        retired_tag(bytes(32), SITE, "1"),
    }
    assert len(different) == 5


def test_staff_secret_has_fifteen_digits_of_chance_and_one_of_check() -> None:
    secret = staff_secret(bytes(range(16)), SITE)
    number = int.from_bytes(bytes(range(16)), "big") % 10**15
    assert secret[:15] == f"{number:015d}"
    assert len(secret) == 16
    assert check_digit_fits(secret, SITE)
    assert staff_secret(bytes(16), SITE)[:15] == "0" * 15
    for length in (0, 15, 17):
        with pytest.raises(TheirsInvalid) as caught:
            staff_secret(bytes(length), SITE)
        assert code_of(caught) == "codes.random"


def test_matches_names_every_place_and_none_is_false() -> None:
    codes = ["11", "22", "11", "111"]
    assert matches("11", codes) == (0, 2)
    assert matches("33", codes) == ()
    assert matches("", codes) == ()
    assert matches("\u0661", codes) == ()
    assert not matches("1", [])


def test_matches_compares_all_even_after_a_hit(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    real = hmac.compare_digest

    def spy(one: bytes, other: bytes) -> bool:
        compared.append(other)
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", spy)
    assert matches("11", ["11", "22", "33"]) == (0,)
    assert compared == [b"11", b"22", b"33"]


def test_nothing_typed_has_no_check_digit() -> None:
    for number in range(30):
        assert not check_digit_fits("", f"lockers.example/site/{number}")


def test_code_is_compared_by_value() -> None:
    assert CODES.code(PARCEL, 1) == CODES.code(PARCEL, 1)
    assert CODES.code(PARCEL, 1) != CODES.code(PARCEL, 2)
    assert isinstance(CODES.code(PARCEL, 1), Code)
