"""Pins LAN trust: QR texts and typed codes, their vectors, words, proofs, and what is issued."""

import itertools
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs import authority, lan, tls
from certs.authority import Authority
from certs.errors import CertificateInvalid, TrustInvalid

PIN = "00ff10" + "ab" * 29
SECRET = bytes(range(16))
TEXT = f"PLG1P:192.168.1.20:8443:{PIN}:AAAQEAYEAUDAOCAJBIFQYDIOB4"
CODE = "AAAQ-EAYE-AUDA-OCAJ-S"
NOW_S = 1_790_000_000
SITE = "locker://lockers.example/site/0042"


def made(site_id: str = "0042", now_s: int = NOW_S) -> Authority:
    key = tls.new_key()
    certificate = lan.make_ca(key, "lockers.example", site_id, now_s=now_s, serial=7)
    return Authority(certificate, key)


# --- vectors ----------------------------------------------------------------------------------


def test_vectors_of_the_texts() -> None:
    assert lan.Offer("192.168.1.20:8443", PIN, SECRET).text() == TEXT
    assert lan.read_offer(TEXT) == lan.Offer("192.168.1.20:8443", PIN, SECRET)
    assert lan.write_code(SECRET[:10]) == CODE
    assert lan.read_code(CODE) == SECRET[:10]


def test_vector_of_a_proof_and_of_the_words() -> None:
    assert lan.proof(SECRET, PIN, "01" * 32).hex() == (
        "4ebdd9da71e5a69d41626d41913b680b6fcd0610814a3c7fef4e911df9248433"
    )
    assert lan.words_of(PIN) == ("album", "zipper", "bagel", "pirate", "pirate", "pirate")


def test_the_words_are_256_plain_ones_and_no_two_are_one_letter_apart() -> None:
    assert len(set(lan.WORDS)) == 256
    assert sorted(lan.WORDS) == lan.WORDS
    assert all(word.isascii() and word.islower() and 4 <= len(word) <= 7 for word in lan.WORDS)
    for one, other in itertools.combinations(lan.WORDS, 2):
        if len(one) == len(other):
            assert sum(a != b for a, b in zip(one, other, strict=True)) > 1, (one, other)


# --- texts ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["[fe80::1]:8443", "[fe80::1%eth0]:8443", "locker-0042.local:1", "10.0.0.1:65535"],
)
def test_addresses_of_every_kind_come_back(address: str) -> None:
    assert lan.read_offer(lan.Offer(address, PIN, SECRET).text()).address == address


@pytest.mark.parametrize(
    "text",
    [
        "", "PLG1P:", TEXT[5:], TEXT.replace("PLG1P", "PLG1E"), TEXT + "A" * 600, TEXT[:-1],
        TEXT[:-1] + "5", TEXT.replace("AAAQ", "aaaq"), TEXT.replace("00ff", "00FF"),
        TEXT.replace(":8443", ":0"), TEXT.replace(":8443", ":70000"), TEXT.replace(":8443", ""),
        TEXT.replace("192.168.1.20", "a b"), TEXT.replace("192.168.1.20", "https://x"),
        TEXT.replace("192.168.1.20", "[fe80::1%]"), TEXT.replace("192.168.1.20", "10.0.0.1%eth0"),
    ],
)  # fmt: skip
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(TrustInvalid) as caught:
        lan.read_offer(text)
    assert caught.value.code == "pairing.malformed"
    assert "AAAQEAYEAUDAOCAJBIFQYDIOB4" not in str(caught.value)


def test_a_secret_is_in_no_repr() -> None:
    assert "secret" not in repr(lan.read_offer(TEXT))


@given(st.text(max_size=200) | st.text(alphabet="PLG1:0123456789abcdefA27.[]-", max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    for read in (lan.read_offer, lan.read_code, lan.check_pin, lan.check_address, lan.check_name):
        with suppress(TrustInvalid):
            read(text)


@given(st.binary(min_size=16, max_size=16), st.binary(min_size=32, max_size=32))
def test_every_offer_comes_back(secret: bytes, pin: bytes) -> None:
    offer = lan.Offer("10.1.2.3:8443", pin.hex(), secret)
    assert lan.read_offer(f" {offer.text()}\n") == offer


@given(st.binary(min_size=10, max_size=10))
def test_every_code_comes_back_however_it_is_typed(secret: bytes) -> None:
    code = lan.write_code(secret)
    typed = code.lower().replace("o", "0").replace("i", "1").replace("b", "8")
    assert lan.read_code(f" {typed.replace('-', ' ')} ") == secret


@given(st.binary(min_size=10, max_size=10), st.integers(0, 16), st.sampled_from(lan.LETTERS))
def test_any_one_wrong_letter_is_found(secret: bytes, at: int, letter: str) -> None:
    letters = lan.write_code(secret).replace("-", "")
    wrong = letters[:at] + letter + letters[at + 1 :]
    if wrong != letters:
        with pytest.raises(TrustInvalid, match=r"pairing\.typed"):
            lan.read_code(wrong)


@given(st.binary(min_size=10, max_size=10), st.integers(0, 15), st.integers(0, 15))
def test_any_two_swapped_letters_are_found(secret: bytes, one: int, other: int) -> None:
    letters = list(lan.write_code(secret).replace("-", ""))
    if letters[one] != letters[other]:
        letters[one], letters[other] = letters[other], letters[one]
        with pytest.raises(TrustInvalid, match=r"pairing\.typed"):
            lan.read_code("".join(letters))


@pytest.mark.parametrize("text", ["", CODE[:-1], CODE + "A", "9" * 17, CODE + " " * 600])
def test_other_codes_are_refused(text: str) -> None:
    with pytest.raises(TrustInvalid, match=r"pairing\.typed"):
        lan.read_code(text)


def test_pins_and_names_as_people_write_them() -> None:
    assert lan.check_pin(" ".join(PIN.upper()[at : at + 4] for at in range(0, 64, 4))) == PIN
    assert lan.check_name("anna-2") == "anna-2"
    for wrong in ("", "-a", "Anna", "lan", "a" * 33, "a/b"):
        with pytest.raises(TrustInvalid, match=r"pairing\.name"):
            lan.check_name(wrong)
    with pytest.raises(TrustInvalid, match=r"pairing\.malformed"):
        lan.check_pin("00")


# --- proofs -----------------------------------------------------------------------------------


def test_a_proof_holds_for_its_two_ends_alone() -> None:
    good = lan.proof(SECRET, PIN, "01" * 32)
    assert lan.proves(SECRET, PIN, "01" * 32, good)
    assert not lan.proves(SECRET, PIN, "02" * 32, good)
    assert not lan.proves(SECRET, "03" * 32, "01" * 32, good)
    assert not lan.proves(bytes(16), PIN, "01" * 32, good)
    assert not lan.proves(SECRET, PIN, "01" * 32, b"")


# --- certificates -----------------------------------------------------------------------------


def test_an_installers_certificate_says_who_and_ends_in_thirty_days() -> None:
    ca, key = made(), tls.new_key()
    leaf = lan.issue_installer(ca, key.public_key(), SITE, "anna", now_s=NOW_S, serial=9)
    assert authority.uri_of(leaf) == f"{SITE}/anna"
    assert lan.installer_of(leaf, SITE) == "anna"
    assert authority.ends_s(leaf) == NOW_S + 30 * 86_400
    assert authority.issued_by(leaf, ca.certificate)
    for other in ("locker://lockers.example/site/0043", SITE + "/anna"):
        with pytest.raises(CertificateInvalid):
            lan.installer_of(leaf, other)


def test_the_gateways_own_certificate_is_no_installers() -> None:
    ca, key = made(), tls.new_key()
    uri = lan.lan_uri("lockers.example", "0042")
    leaf = lan.issue_server(ca, key.public_key(), uri, ["10.0.0.1"], now_s=NOW_S, serial=9)
    assert uri == f"{SITE}/lan"
    with pytest.raises(CertificateInvalid):
        lan.installer_of(leaf, SITE)
    with pytest.raises(TrustInvalid):
        lan.issue_installer(ca, key.public_key(), SITE, "lan", now_s=NOW_S, serial=9)


def test_the_servers_certificate_is_renewed_when_it_is_old_or_for_others() -> None:
    ca, key, hosts = made(), tls.new_key(), {"10.0.0.1", "locker.local", "fe80::1"}
    uri = lan.lan_uri("lockers.example", "0042")
    leaf = lan.issue_server(ca, key.public_key(), uri, hosts, now_s=NOW_S, serial=9)
    own = ca.certificate
    assert lan.hosts_of(leaf) == hosts
    assert not lan.server_is_stale(leaf, own, hosts, NOW_S)
    assert lan.server_is_stale(leaf, own, {"10.0.0.2"}, NOW_S)
    assert lan.server_is_stale(leaf, own, hosts, NOW_S + 130 * 86_400)
    assert lan.server_is_stale(leaf, own, hosts, NOW_S - 86_400)
    assert lan.server_is_stale(leaf, made().certificate, hosts, NOW_S)


def test_an_authority_made_by_a_wrong_clock_is_made_anew() -> None:
    assert not lan.ca_is_stale(made().certificate, NOW_S)
    assert lan.ca_is_stale(made(now_s=1_000).certificate, NOW_S)
    assert lan.ca_is_stale(made(now_s=NOW_S + 86_400).certificate, NOW_S)


def test_two_gateways_have_authorities_of_different_names() -> None:
    assert made().certificate.subject != made("0043").certificate.subject
    long = lan.make_ca(tls.new_key(), "o" * 100, "0042", now_s=NOW_S, serial=7)
    assert authority.ends_s(long) == NOW_S + authority.ROOT_DAYS * 86_400


# --- the sticker ------------------------------------------------------------------------------

ON_STICKER = f"https://192.168.1.20:8443/#pin={PIN}"


def test_vector_of_a_sticker_and_no_secret_on_it() -> None:
    assert lan.Sticker("192.168.1.20:8443", PIN).text() == ON_STICKER
    assert lan.read_sticker(f" {ON_STICKER}\n") == lan.Sticker("192.168.1.20:8443", PIN)
    assert set(lan.Sticker.__slots__) == {"address", "pin"}


@pytest.mark.parametrize(
    "text",
    [
        "", "https://", ON_STICKER[8:], ON_STICKER.replace("https", "http"), ON_STICKER + "0",
        ON_STICKER[:-1], ON_STICKER.replace("00ff", "00FF"), ON_STICKER.replace("/#pin=", "/"),
        ON_STICKER.replace(":8443", ""), ON_STICKER.replace("192.168.1.20", "eva@host"),
        ON_STICKER.replace("192.168.1.20", "a/b"), ON_STICKER + " " * 600,
    ],
)  # fmt: skip
def test_other_texts_are_no_sticker(text: str) -> None:
    with pytest.raises(TrustInvalid) as caught:
        lan.read_sticker(text)
    assert caught.value.code == "pairing.malformed"


@given(st.text(max_size=200))
def test_any_text_is_a_sticker_or_refused(text: str) -> None:
    with suppress(TrustInvalid):
        assert lan.read_sticker(text).text() == text.strip()
