"""Pins what makes a capability believed, and each way it is refused."""

import time
from typing import Any

import cbor2
import pytest

from certs import capability
from certs.capability import PREFIX, PREFIX_BASE32, Action, Capability
from certs.errors import CapabilityInvalid
from certs.keys import KIND_COSIGNATURE
from tests.operator_keys import CAPABILITY, COURIER, GRANTS, NOW_S, OPERATOR, SITE, ed25519

HEADER: dict[Any, Any] = {1: -8, 4: capability.kid_of(GRANTS.verifier.public)}
CLAIMS: dict[Any, Any] = capability._claims(COURIER)


def dumped(value: object) -> bytes:
    return cbor2.dumps(value, canonical=True)


def signed(header: object = None, claims: object = None) -> bytes:
    """What a trusted signer would have to sign for these bytes to come about."""
    protected = (
        header if isinstance(header, bytes) else dumped(HEADER if header is None else header)
    )
    payload = claims if isinstance(claims, bytes) else dumped(CLAIMS if claims is None else claims)
    signature = GRANTS.sign(capability._to_sign(protected, payload))
    return dumped(cbor2.CBORTag(18, [protected, {}, payload, signature]))


def refused(data: bytes, signers: object = None, audience: str = SITE) -> CapabilityInvalid:
    known = [GRANTS.verifier] if signers is None else signers
    with pytest.raises(CapabilityInvalid) as caught:
        capability.verify(data, known, audience)  # type: ignore[arg-type]
    return caught.value


def test_what_a_known_signer_signed_is_read_back() -> None:
    others = [ed25519(f"{OPERATOR}/grants", number).verifier for number in (7, 8)]
    assert capability.verify(CAPABILITY, [*others, GRANTS.verifier], SITE) == COURIER
    assert signed() == CAPABILITY
    assert not COURIER.once
    assert {action for action in Action if action in capability.ONCE} == {
        Action.COLLECT, Action.DEPOSIT, Action.RETURN, Action.RESERVATION,
    }  # fmt: skip


def test_each_field_goes_out_and_comes_back() -> None:
    for action in Action:
        whole = Capability(
            audience=SITE, action=action, cti=b"\xff" * 8, not_before_s=0, expires_s=2**53 - 1,
            object="e1-9f2c01ab:hc9", subject="acme-2", room="XL cold",
        )  # fmt: skip
        assert capability.verify(capability.sign(whole, GRANTS), [GRANTS.verifier], SITE) == whole
        assert whole.once == (action in capability.ONCE)


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"audience": "lockers.example"}, "audience"),
        ({"audience": "Lockers.example/site/1"}, "audience"),
        ({"audience": "lockers.example/site/1\n"}, "audience"),
        ({"audience": f"{'a' * 65}/site/1"}, "audience"),
        ({"cti": b"1234567"}, "cti"),
        ({"not_before_s": -1}, "time"),
        ({"not_before_s": NOW_S, "expires_s": NOW_S}, "time"),
        ({"expires_s": 2**53}, "time"),
        ({"object": "e1-9f2c01ab"}, "object"),
        ({"object": "e1-9f2c01ab:xc9"}, "object"),
        ({"subject": "Acme"}, "subject"),
        ({"subject": ""}, "subject"),
        ({"room": "XXL"}, "room"),
        ({"room": "M  cold"}, "room"),
    ],
)
def test_what_would_mean_nothing_cannot_be_written(changed: dict[str, Any], what: str) -> None:
    whole = {
        "audience": SITE, "action": Action.COLLECT, "cti": bytes(8), "not_before_s": NOW_S,
        "expires_s": NOW_S + 9,
    }  # fmt: skip
    with pytest.raises(CapabilityInvalid) as caught:
        Capability(**{**whole, **changed})
    assert (caught.value.code, caught.value.evidence) == ("capability.malformed", {"what": what})


def test_the_longest_that_can_be_written_fits() -> None:
    longest = Capability(
        audience=f"{'a' * 64}/site/{'b' * 32}", action=Action.RESERVATION, cti=bytes(8),
        not_before_s=2**53 - 2, expires_s=2**53 - 1, object=f"e{'9' * 9}-{'f' * 8}:hc{'9' * 15}",
        subject="t" * 32, room=f"XL {'c' * 16}",
    )  # fmt: skip
    data = capability.sign(longest, GRANTS)
    assert len(data) <= capability.BYTES_MAX
    assert capability.verify(data, [GRANTS.verifier], longest.audience) == longest


def test_too_long_is_refused_when_signing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capability, "BYTES_MAX", 100)
    with pytest.raises(CapabilityInvalid) as caught:
        capability.sign(COURIER, GRANTS)
    assert caught.value.code == "capability.too_long"
    assert refused(CAPABILITY).evidence == {"what": "length"}


def test_who_signs_and_for_whom() -> None:
    assert refused(CAPABILITY, []).code == "capability.signer"
    stranger = refused(CAPABILITY, [ed25519(GRANTS.name, 9).verifier])
    assert (stranger.code, stranger.evidence) == ("capability.signer", {"kid": HEADER[4].hex()})
    spoilt = CAPABILITY[:-1] + bytes([CAPABILITY[-1] ^ 1])
    assert refused(spoilt).code == "capability.signature"
    foreign = refused(CAPABILITY, audience=f"{OPERATOR}/site/0043")
    assert (foreign.code, foreign.evidence["named"]) == ("capability.audience", SITE)


def test_a_cosigners_key_signs_no_capability() -> None:
    seed = bytes([3]) * 32
    cosigner = ed25519(GRANTS.name, 3, KIND_COSIGNATURE)
    assert cosigner.verifier.public == GRANTS.verifier.public
    assert cosigner.seed == seed
    assert refused(CAPABILITY, [cosigner.verifier]).code == "capability.signer"


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ([1], "header"),
        ({1: -8}, "header"),
        ({**HEADER, 3: 0}, "header"),
        ({"1": -8, 4: HEADER[4]}, "header"),
        ({1: -7, 4: HEADER[4]}, "algorithm"),
        ({1: "EdDSA", 4: HEADER[4]}, "algorithm"),
        ({1: -8, 4: "kid!"}, "algorithm"),
        ({1: -8, 4: HEADER[4] + b"\0"}, "algorithm"),
        ({1: -8.0, 4: HEADER[4]}, "kind"),
        ({1.0: -8, 4: HEADER[4]}, "kind"),
        ({True: -8, 4: HEADER[4]}, "kind"),
        (b"", "cbor"),
        (b"\xa2\x04\x44" + HEADER[4] + b"\x01\x27", "cbor"),  # not in order
    ],
)
def test_a_header_has_one_form(header: object, what: str) -> None:
    found = refused(signed(header=header))
    assert (found.code, found.evidence["what"]) == ("capability.malformed", what)


@pytest.mark.parametrize(
    ("claims", "what"),
    [
        ([], "claims"),
        ({}, "claims"),
        ({**CLAIMS, 6: NOW_S}, "claims"),
        ({**CLAIMS, "6": NOW_S}, "claims"),
        ({key: value for key, value in CLAIMS.items() if key != 7}, "claims"),
        ({**CLAIMS, 3: b"lockers"}, "claim 3"),
        ({**CLAIMS, 4: "1"}, "claim 4"),
        ({**CLAIMS, 7: "12345678"}, "claim 7"),
        ({**CLAIMS, -65537: 0}, "action"),
        ({**CLAIMS, -65537: 8}, "action"),
        ({**CLAIMS, 4: CLAIMS[5]}, "time"),
        ({**CLAIMS, 4: True}, "kind"),
        ({**CLAIMS, 4: float(NOW_S)}, "kind"),
        ({**CLAIMS, 4: 2**64}, "kind"),
        ({**CLAIMS, 2: None}, "kind"),
        (dumped(CLAIMS) + b"\0", "cbor"),
        (dumped(CLAIMS)[:-1], "cbor"),
        (b"\xa2\x02\x00\x02\x00", "cbor"),  # one key twice
        (b"\xbf\xff", "kind"),  # of no stated length
        (b"\xa1\x18\x02\x00", "cbor"),  # 2 written as two bytes
        (b"\x62\xff\xff", "cbor"),  # text that is none
        (b"\x81" * 9 + b"\x00", "cbor"),  # deep
        (b"\x9b" + b"\xff" * 8, "cbor"),
        (b"\x5b" + b"\xff" * 8, "cbor"),
    ],
)
def test_claims_have_one_form(claims: object, what: str) -> None:
    found = refused(signed(claims=claims))
    assert (found.code, found.evidence["what"]) == ("capability.malformed", what)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "tag"),
        (CAPABILITY[1:], "tag"),
        (b"\xd8\x12" + CAPABILITY[1:], "tag"),  # 18 written as two bytes
        (b"\xd8\x3d" + CAPABILITY, "tag"),  # a CWT tag before it
        (b"\xd2" + CAPABILITY, "kind"),  # tagged twice
        (b"\xd2\xa0", "parts"),
        (b"\xd2\x83\x40\xa0\x40", "parts"),
        (b"\xd2\x84\x40\xa1\x01\x27\x40\x40", "parts"),  # an unprotected header
        (b"\xd2\x84\x40\x80\x40\x40", "parts"),
        (b"\xd2\x84\x60\xa0\x40\x40", "parts"),
        (b"\xd2\x84\x40\xa0\x40\xf6", "kind"),
        (CAPABILITY + b"\0", "cbor"),
        (b"\xd2" + b"\x84" * 200, "cbor"),
        (bytes(513), "length"),
    ],
)
def test_the_outside_has_one_form(data: bytes, what: str) -> None:
    found = refused(data)
    assert (found.code, found.evidence["what"]) == ("capability.malformed", what)


def test_a_regular_expression_is_never_compiled() -> None:
    # Tag 35: this one kept the decoder busy for a third of a second, and anybody can show it.
    pattern = "(?i)" + "[\0-\U0010ffff]" * 54
    data = b"\xd2\x84\xd8\x23" + cbor2.dumps(pattern) + b"\xa0\x40\x40"
    assert len(data) < capability.BYTES_MAX
    begun = time.perf_counter()
    for _ in range(20):
        assert refused(data).evidence["what"] == "kind"
    assert time.perf_counter() - begun < 1


@pytest.mark.parametrize(
    "tag", [0, 1, 2, 3, 4, 5, 25, 28, 29, 30, 35, 36, 37, 256, 258, 260, 55799]
)
def test_no_tag_inside_is_given_a_meaning(tag: int) -> None:
    values: list[Any] = [0, b"", "", [], {}]
    for value in values:
        inner = cbor2.dumps(cbor2.CBORTag(tag, value))
        assert refused(b"\xd2\x84" + inner + b"\xa0\x40\x40").evidence["what"] == "kind"


def test_text_forms_are_told_apart_and_have_one_way_to_write_them() -> None:
    text, typed = capability.to_text(CAPABILITY), capability.to_text(CAPABILITY, base32=True)
    assert (text[:5], typed[:6]) == (PREFIX, PREFIX_BASE32)
    assert capability.from_text(text) == capability.from_text(typed) == CAPABILITY
    assert capability.is_capability(text)
    assert capability.is_capability(typed)
    assert not capability.is_capability("PLG1E:")
    assert not capability.is_capability("1705002425")
    assert set(typed) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567:1")


@pytest.mark.parametrize(
    ("text", "code", "what"),
    [
        ("", "capability.malformed", "prefix"),
        ("plg1:BB8", "capability.malformed", "prefix"),
        (" PLG1:BB8", "capability.malformed", "prefix"),
        ("PLG1D:BB8", "capability.malformed", "prefix"),
        ("PLG1:" + "0" * 900, "capability.malformed", "length"),
        ("PLG1:bb8", "base45.malformed", "character"),
        ("PLG1:B", "base45.malformed", "group"),
        ("PLG1B:aa", "capability.malformed", "base32"),
        ("PLG1B:A", "capability.malformed", "base32"),
        ("PLG1B:AA======", "capability.malformed", "base32"),
        ("PLG1B:AB", "capability.malformed", "base32"),  # bits that nobody reads
        ("PLG1B:\u0661\u0661", "capability.malformed", "base32"),
    ],
)
def test_a_text_that_is_none(text: str, code: str, what: str) -> None:
    with pytest.raises(CapabilityInvalid) as caught:
        capability.from_text(text)
    assert (caught.value.code, caught.value.evidence["what"]) == (code, what)
