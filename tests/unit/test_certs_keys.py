"""Pins what a key is: its name, its kind, its id, and that it never shows itself."""

import pytest

from certs.errors import CertsError, KeyInvalid, NoteInvalid
from certs.keys import (
    KIND_COSIGNATURE,
    TIME_S_MAX,
    SigningKey,
    Verifier,
    cosignature_message,
    decode_base64,
)

SEED = bytes(range(32))


def test_key_signs_and_its_verifier_agrees_only_on_the_same_bytes() -> None:
    key = SigningKey.from_seed("lockers.example/site/0042", SEED)
    signature = key.sign(b"hi")
    assert len(signature) == 64
    assert key.verifier.verify(b"hi", signature)
    assert not key.verifier.verify(b"ho", signature)
    for place in range(64):
        spoilt = bytearray(signature)
        spoilt[place] ^= 1
        assert not key.verifier.verify(b"hi", bytes(spoilt))
    assert not key.verifier.verify(b"hi", signature[:-1])
    assert not key.verifier.verify(b"hi", signature + b"\x00")
    assert not key.verifier.verify(b"hi", b"")


def test_kind_is_part_of_the_id_and_of_what_is_verified() -> None:
    log = SigningKey.from_seed("a/hub/1/cosigner", SEED)
    cosigner = SigningKey.from_seed("a/hub/1/cosigner", SEED, KIND_COSIGNATURE)
    assert log.verifier.public == cosigner.verifier.public
    assert log.verifier.key_id != cosigner.verifier.key_id
    value = (7).to_bytes(8, "big") + cosigner.sign(cosignature_message(b"text\n", 7))
    assert cosigner.verifier.verify(b"text\n", value)
    assert not cosigner.verifier.verify(b"text\n", cosigner.sign(b"text\n"))
    late = TIME_S_MAX + 1
    value = late.to_bytes(8, "big") + cosigner.sign(cosignature_message(b"text\n", late))
    assert not cosigner.verifier.verify(b"text\n", value)


def test_vkey_goes_out_and_comes_back() -> None:
    for kind in (1, 4):
        key = SigningKey.from_seed("lockers.example/site/0042", SEED, kind)
        assert Verifier.from_vkey(key.vkey) == key.verifier


@pytest.mark.parametrize(
    "name",
    ["", " ", "a b", "a+b", "a\tb", "a\u00a0b", "a\u2003b", "a\nb", "a\x00b", "\ud800", "x" * 256],
)
def test_name_that_cannot_stand_in_a_note_is_refused(name: str) -> None:
    with pytest.raises(KeyInvalid) as caught:
        SigningKey.from_seed(name, SEED)
    assert caught.value.code == "key.name"


def test_wrong_length_and_unknown_kind_are_refused() -> None:
    for length in (0, 31, 33):
        with pytest.raises(KeyInvalid) as caught:
            SigningKey.from_seed("a", bytes(length))
        assert caught.value.code == "key.length"
        with pytest.raises(KeyInvalid) as caught:
            Verifier("a", bytes(length))
        assert caught.value.code == "key.length"
    for kind in (0, 2, 3, 5, 255):
        with pytest.raises(KeyInvalid) as caught:
            Verifier("a", SEED, kind)
        assert caught.value.code == "key.kind"


@pytest.mark.parametrize("vkey", ["", "+", "++", "a+b", "a+00000000+", "a+00000000+!", "x" * 999])
def test_text_that_is_no_vkey_is_refused(vkey: str) -> None:
    with pytest.raises(KeyInvalid) as caught:
        Verifier.from_vkey(vkey)
    assert caught.value.code == "key.vkey"


def test_vkey_with_its_id_in_capitals_is_refused() -> None:
    name, key_id, material = SigningKey.from_seed("a", SEED).vkey.split("+", 2)
    with pytest.raises(KeyInvalid):
        Verifier.from_vkey(f"{name}+{key_id.upper()}+{material}")


def test_seed_is_never_shown() -> None:
    key = SigningKey.from_seed("a", SEED)
    for shown in (repr(key), str(key), f"{key}", repr([key])):
        assert "name='a'" in shown
        assert "x01" not in shown
        assert SEED.hex() not in shown


def test_errors_have_code_remedy_and_evidence() -> None:
    error = CertsError("a.b", "Do this", one=1, two="x")
    assert (error.code, error.remedy, error.evidence) == ("a.b", "Do this", {"one": 1, "two": "x"})
    assert str(error) == "a.b: Do this (one=1, two=x)"
    assert str(NoteInvalid("a.b")) == "a.b"
    assert str(NoteInvalid("a.b", one=1)) == "a.b (one=1)"


def test_base64_has_one_form() -> None:
    assert decode_base64("") == b""
    assert decode_base64("AA==") == b"\x00"
    for text in ("AB==", "AA=", "AA", "AA== ", "A\nA==", "AA==AA==", "-_==", "é===", "AA==="):
        assert decode_base64(text) is None
