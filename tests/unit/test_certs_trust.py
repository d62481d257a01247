"""Pins whom a site believes: endorsements, anchors, denials, time; each refusal by its code."""

from dataclasses import replace
from typing import Any

import pytest

from certs import authority, base45, note, trust
from certs.errors import CapabilityInvalid, CertificateInvalid, NoteInvalid, TrustInvalid
from certs.keys import KIND_COSIGNATURE, SigningKey
from certs.trust import Anchors, Denials, Endorsement
from tests.operator_keys import (
    ANCHORS,
    DENIALS,
    GRANTS,
    ISSUING,
    NONCE,
    NOW_S,
    OPERATOR,
    ROOT,
    TIME,
    TRUST,
    ed25519,
    leaf,
    loaded,
    rooted,
)

COSIGNS = KIND_COSIGNATURE
ENDORSED = trust.endorse(ROOT.key, TRUST.verifier, TIME.verifier)
ROOTS = (ROOT.certificate,)


def refusal(caught: pytest.ExceptionInfo[TrustInvalid]) -> tuple[str, object]:
    return caught.value.code, caught.value.evidence.get("what")


def signed(*lines: str, key: SigningKey = TRUST) -> str:
    return note.sign_note("\n".join(lines) + "\n", key)


# --- the root's word ------------------------------------------------------------------------------


def test_the_root_endorses_two_keys() -> None:
    keys = trust.check_endorsement(ENDORSED, ROOTS, OPERATOR)
    assert (keys.trust, keys.time) == (TRUST.verifier, TIME.verifier)
    assert ENDORSED.signature not in repr(ENDORSED)


def test_while_roots_change_each_one_signs_and_any_is_enough() -> None:
    new = rooted(20)
    both = trust.endorse(new.key, TRUST.verifier, TIME.verifier).signature
    endorsed = replace(ENDORSED, signature=f"{ENDORSED.signature} {both}")
    for roots in (ROOTS, (new.certificate,), (rooted(21).certificate, new.certificate)):
        assert trust.check_endorsement(endorsed, roots, OPERATOR).trust == TRUST.verifier
    with pytest.raises(TrustInvalid) as caught:
        trust.check_endorsement(endorsed, (rooted(21).certificate,), OPERATOR)
    assert caught.value.code == "trust.endorsement"


@pytest.mark.parametrize(
    ("given", "code"),
    [
        (replace(ENDORSED, signature=""), "trust.endorsement"),
        (replace(ENDORSED, signature="AAAA"), "trust.endorsement"),
        (replace(ENDORSED, signature="not base64"), "trust.malformed"),
        (replace(ENDORSED, signature=f"{ENDORSED.signature} "), None),
        (replace(ENDORSED, signature=" ".join([ENDORSED.signature] * 6)), "trust.malformed"),
        (replace(ENDORSED, trust="nonsense"), "trust.malformed"),
        (replace(ENDORSED, time=TRUST.vkey), "trust.malformed"),
        (replace(ENDORSED, trust=TIME.vkey, time=TRUST.vkey), "trust.malformed"),
        (
            trust.endorse(ROOT.key, ed25519(TRUST.name, 9, COSIGNS).verifier, TIME.verifier),
            "trust.malformed",
        ),
        (
            trust.endorse(ROOT.key, TRUST.verifier, ed25519(TIME.name, 9, COSIGNS).verifier),
            "trust.malformed",
        ),
        (replace(ENDORSED, trust=ed25519(TRUST.name, 9).vkey), "trust.endorsement"),
        (trust.endorse(ISSUING.key, TRUST.verifier, TIME.verifier), "trust.endorsement"),
    ],
)  # fmt: skip
def test_what_is_not_the_roots_word(given: Endorsement, code: str | None) -> None:
    if code is None:  # an empty signature beside a good one says nothing
        assert trust.check_endorsement(given, ROOTS, OPERATOR).time == TIME.verifier
        return
    with pytest.raises(TrustInvalid) as caught:
        trust.check_endorsement(given, ROOTS, OPERATOR)
    assert caught.value.code == code


def test_an_endorsement_is_for_its_own_operator() -> None:
    with pytest.raises(TrustInvalid) as caught:
        trust.check_endorsement(ENDORSED, ROOTS, "other.example")
    assert caught.value.code == "trust.malformed"
    with pytest.raises(TrustInvalid):
        trust.check_endorsement(ENDORSED, (), OPERATOR)


# --- anchors --------------------------------------------------------------------------------------


def test_anchors_go_out_and_come_back() -> None:
    two = Anchors(OPERATOR, 2**53 - 1, (*ANCHORS.roots, trust.der_of(rooted(20).certificate)))
    for document in (ANCHORS, two):
        found = trust.open_anchors(trust.sign(document, TRUST), TRUST.verifier, OPERATOR)
        assert found == document
        assert [trust.der_of(one) for one in found.certificates()] == list(document.roots)


ROOT_LINE = ANCHORS.text().split("\n")[2]
HEAD = (f"{OPERATOR}/anchors", "1")


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (HEAD[:1], "name"),
        (("other.example/anchors", "1", ROOT_LINE), "name"),
        ((f"{OPERATOR}/denials", "1", ROOT_LINE), "name"),
        (HEAD, "roots"),
        ((*HEAD, ROOT_LINE, ROOT_LINE), "roots"),
        ((*HEAD, ROOT_LINE + "="), "root"),
        ((*HEAD, ROOT_LINE.removeprefix("root ")), "root"),
        ((*HEAD, "root "), "root"),
        ((*HEAD, "root AAAA"), "root"),
        ((HEAD[0], "01", ROOT_LINE), "number"),
        ((HEAD[0], "-1", ROOT_LINE), "number"),
        ((HEAD[0], "\u0661", ROOT_LINE), "number"),
        ((HEAD[0], str(2**53), ROOT_LINE), "number"),
        ((HEAD[0], "9" * 5000, ROOT_LINE), "number"),
    ],
)
def test_anchors_that_are_none(lines: tuple[str, ...], what: str) -> None:
    with pytest.raises(TrustInvalid) as caught:
        trust.open_anchors(signed(*lines), TRUST.verifier, OPERATOR)
    assert refusal(caught) == ("trust.malformed", what)


@pytest.mark.parametrize(
    ("roots", "what"),
    [
        ((), "roots"),
        (tuple(trust.der_of(rooted(number).certificate) for number in range(30, 35)), "roots"),
        ((b"no certificate",), "root"),
        ((trust.der_of(loaded(leaf())),), "root"),  # a leaf anchors nothing
    ],
    ids=["none", "five", "garbage", "leaf"],
)
def test_anchors_that_no_site_could_open_are_not_signed(
    roots: tuple[bytes, ...], what: str
) -> None:
    with pytest.raises(TrustInvalid) as caught:
        trust.sign(Anchors(OPERATOR, 1, roots), TRUST)
    assert refusal(caught) == ("trust.malformed", what)


def test_certificates_of_what_was_never_opened_are_refused_with_a_code() -> None:
    with pytest.raises(CertificateInvalid):
        Anchors(OPERATOR, 1, (b"garbage",)).certificates()


# --- denials --------------------------------------------------------------------------------------


def test_denials_go_out_and_come_back() -> None:
    empty = Denials(OPERATOR, 0, 0, (), {})
    for document in (DENIALS, empty):
        found = trust.open_denials(trust.sign(document, TRUST), TRUST.verifier, OPERATOR)
        assert found == document
        assert [one.vkey for one in found.verifiers()] == list(document.signers)


def test_as_many_denials_as_are_allowed_fit_a_note() -> None:
    signers = tuple(ed25519(f"{OPERATOR}/grants", number).vkey for number in range(2))
    denied = {f"{number:016x}": 2_000_000_000 for number in range(trust.DENIED_MAX)}
    text = trust.sign(Denials(OPERATOR, 1, NOW_S, signers, denied), TRUST)
    assert len(trust.open_denials(text, TRUST.verifier, OPERATOR).denied) == trust.DENIED_MAX


@pytest.mark.parametrize(
    "changed",
    [
        {"denied": {f"{number:016x}": 1 for number in range(trust.DENIED_MAX + 1)}},
        {"signers": tuple(ed25519("a/grants", n).vkey for n in range(trust.SIGNERS_MAX + 1))},
        {"denied": {"0" * 15: 1}},
        {"number": -1},
        {"made_s": 2**53},
        {"signers": ("nobody",)},
    ],
    ids=["denied", "signers", "cti", "number", "made", "signer"],
)
def test_denials_that_no_site_could_open_are_not_signed(changed: dict[str, Any]) -> None:
    with pytest.raises(TrustInvalid) as caught:
        trust.sign(replace(DENIALS, **changed), TRUST)
    assert caught.value.code == "trust.malformed"


DENIED = (f"{OPERATOR}/denials", f"7 {NOW_S}")
SIGNER, CTI = f"signer {GRANTS.vkey}", f"denied {'0' * 16} 5"


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        (DENIED[:1], "name"),
        (HEAD, "name"),
        ((DENIED[0], "7"), "number"),
        ((DENIED[0], f"7  {NOW_S}"), "number"),
        ((DENIED[0], f"7 {NOW_S} 1"), "number"),
        ((*DENIED, "something else"), "line"),
        ((*DENIED, "signer"), "signer"),
        ((*DENIED, f"signer {ed25519('a', 1, KIND_COSIGNATURE).vkey}"), "signer"),
        ((*DENIED, f"{SIGNER} "), "signer"),
        ((*DENIED, "denied 0123"), "cti"),
        ((*DENIED, f"denied {'A' * 16} 5"), "cti"),
        ((*DENIED, f"denied {'0' * 16}"), "number"),
        ((*DENIED, f"denied {'0' * 16} 05"), "number"),
        ((*DENIED, CTI, CTI), "order"),
        ((*DENIED, CTI, SIGNER), "order"),
        ((*DENIED, f"denied {'1' * 16} 5", CTI), "order"),
    ],
)
def test_denials_that_are_none(lines: tuple[str, ...], what: str) -> None:
    with pytest.raises(TrustInvalid) as caught:
        trust.open_denials(signed(*lines), TRUST.verifier, OPERATOR)
    assert refusal(caught) == ("trust.malformed", what)


def test_only_the_trust_key_signs_documents() -> None:
    for document, opening in ((ANCHORS, trust.open_anchors), (DENIALS, trust.open_denials)):
        for key in (TIME, ed25519(TRUST.name, 9)):
            with pytest.raises(NoteInvalid) as caught:
                opening(trust.sign(document, key), TRUST.verifier, OPERATOR)
            assert caught.value.code == "note.unverified"


def test_denials_are_carried_in_a_code() -> None:
    text = trust.sign(DENIALS, TRUST)
    scanned = trust.denials_text(text)
    assert scanned.startswith("PLG1D:")
    assert trust.read_denials(scanned) == text
    for spoilt, code in (
        (scanned[6:], "trust.malformed"),
        ("PLG1:" + scanned[6:], "trust.malformed"),
        (trust.PREFIX_DENIALS + "0" * 30_000, "trust.malformed"),
        (trust.PREFIX_DENIALS + base45.encode(b"\xff\xff"), "trust.malformed"),
        (scanned[:-1] + "z", "base45.malformed"),
    ):
        with pytest.raises((TrustInvalid, CapabilityInvalid)) as caught:
            trust.read_denials(spoilt)
        assert caught.value.code == code


# --- numbers --------------------------------------------------------------------------------------


def numbered(number: int, *, made_s: int = NOW_S) -> str:
    return trust.sign(replace(DENIALS, number=number, made_s=made_s), TRUST)


def test_numbers_only_rise() -> None:
    assert trust.newer("", numbered(0))
    assert trust.newer(numbered(7), numbered(8))
    assert trust.newer(numbered(9), numbered(10))  # as numbers, not as words
    assert trust.newer(numbered(2**53 - 2), numbered(2**53 - 1))
    assert not trust.newer(numbered(7), numbered(7))
    with pytest.raises(TrustInvalid) as caught:
        trust.newer(numbered(8), numbered(7))
    assert caught.value.code == "trust.older"
    # After the last number there is none: it does not begin again.
    with pytest.raises(TrustInvalid) as caught:
        trust.newer(numbered(2**53 - 1), numbered(0))
    assert caught.value.code == "trust.older"


def test_two_documents_of_one_number_are_a_fork() -> None:
    with pytest.raises(TrustInvalid) as caught:
        trust.newer(numbered(7), numbered(7, made_s=NOW_S + 1))
    assert caught.value.code == "trust.forked"
    # The same text signed by another key is the same document.
    again = trust.sign(replace(DENIALS, number=7), ed25519(TRUST.name, 9))
    assert not trust.newer(numbered(7), again)


@pytest.mark.parametrize(
    ("known", "offered"),
    [
        (numbered(1), trust.sign(ANCHORS, TRUST)),
        (trust.sign(ANCHORS, TRUST), numbered(1)),
        ("garbage", numbered(1)),
        (numbered(1), ""),
        ("", ""),
        (numbered(1), "a\n\n"),
        (numbered(1), f"{OPERATOR}/denials\nx 1\n\n"),
    ],
    ids=range(7),
)
def test_what_is_no_document_is_not_compared(known: str, offered: str) -> None:
    with pytest.raises(TrustInvalid) as caught:
        trust.newer(known, offered)
    assert caught.value.code == "trust.malformed"


def test_fingerprints_tell_texts_apart_not_signatures() -> None:
    assert trust.fingerprint(numbered(7)) != trust.fingerprint(numbered(8))
    assert len(trust.fingerprint(numbered(7))) == 16
    again = trust.sign(replace(DENIALS, number=7), ed25519(TRUST.name, 9))
    assert trust.fingerprint(numbered(7)) == trust.fingerprint(again)


# --- time -----------------------------------------------------------------------------------------


def test_the_time_is_for_one_nonce_of_ours() -> None:
    text = ""
    for utc_ms in (0, NOW_S * 1000, trust.TIME_MS_MAX):
        text = trust.sign_time(OPERATOR, NONCE, utc_ms, TIME)
        assert trust.open_time(text, TIME.verifier, OPERATOR, NONCE) == utc_ms
    with pytest.raises(TrustInvalid) as caught:
        trust.open_time(text, TIME.verifier, OPERATOR, bytes(16))
    assert caught.value.code == "trust.nonce"
    with pytest.raises(NoteInvalid):
        trust.open_time(text, TRUST.verifier, OPERATOR, NONCE)


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ((f"{OPERATOR}/time", NONCE.hex()), "time"),
        ((f"{OPERATOR}/time", NONCE.hex(), "1", "2"), "time"),
        ((f"{OPERATOR}/time", NONCE.hex(), str(trust.TIME_MS_MAX + 1)), "time"),
        ((f"{OPERATOR}/time", NONCE.hex(), "-1"), "number"),
        ((f"{OPERATOR}/time", NONCE.hex(), "1.5"), "number"),
        (("other.example/time", NONCE.hex(), "1"), "name"),
        ((f"{OPERATOR}/denials", NONCE.hex(), "1"), "name"),
    ],
)
def test_a_time_that_is_none(lines: tuple[str, ...], what: str) -> None:
    with pytest.raises(TrustInvalid) as caught:
        trust.open_time(signed(*lines, key=TIME), TIME.verifier, OPERATOR, NONCE)
    assert refusal(caught) == ("trust.malformed", what)


def test_no_signature_of_one_document_is_good_for_another() -> None:
    # One key under all three names: still the first line of each says what it is.
    texts = {
        "anchors": trust.sign(ANCHORS, TRUST),
        "denials": trust.sign(DENIALS, TRUST),
        "time": trust.sign_time(OPERATOR, NONCE, 1, TRUST),
    }
    for kind, text in texts.items():
        opened = []
        for name, opening in (
            ("anchors", lambda text: trust.open_anchors(text, TRUST.verifier, OPERATOR)),
            ("denials", lambda text: trust.open_denials(text, TRUST.verifier, OPERATOR)),
            ("time", lambda text: trust.open_time(text, TRUST.verifier, OPERATOR, NONCE)),
        ):
            try:
                opening(text)
            except TrustInvalid:
                continue
            opened.append(name)
        assert opened == [kind]
    assert authority.is_authority(ROOT.certificate)
