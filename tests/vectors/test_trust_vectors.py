"""Pins published vectors: Base45 (RFC 9285), COSE_Sign1 (RFC 9052), CWT (RFC 8392), our QR code."""

import hashlib

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from certs import base45, capability
from certs.capability import Action, Capability
from certs.errors import CapabilityInvalid
from certs.keys import SigningKey

# RFC 9285, 4.3 and 4.4.
BASE45 = [
    (b"AB", "BB8"),
    (b"Hello!!", "%69 VD92EX0"),
    (b"base-45", "UJCLQE7W581"),
    (b"ietf!", "QED8WEX0"),
]

# COSE working group, eddsa-examples/eddsa-sig-01; its key is test 1 of RFC 8032, 7.1.
ED25519 = SigningKey.from_seed(
    "rfc8032-1",
    bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"),
)
CONTENT = b"This is the content."
SIGNED = bytes.fromhex(
    "d28445a201270300a10442313154546869732069732074686520636f6e74656e742e58407142fd2ff96d56db85bee9"
    "05a76ba1d0b7321a95c8c4d3607c5781932b7afb8711497dfa751bf40b58b3bcc32300b1487f3db34085eef013bf08"
    "f4a44d6fef0d"
)
# The same group's eddsa-sig-02 publishes what is signed (of another curve, the bytes are as ours).
TO_SIGN = bytes.fromhex(
    "846a5369676e61747572653143a101274054546869732069732074686520636f6e74656e742e"
)

# RFC 8392, A.1 (claims), A.2.3 (key), A.3 (signed), A.4 (with a MAC).
CLAIMS = bytes.fromhex(
    "a70175636f61703a2f2f61732e6578616d706c652e636f6d02656572696b77037818636f61703a2f2f6c696768742e"
    "6578616d706c652e636f6d041a5612aeb0051a5610d9f0061a5610d9f007420b71"
)
CWT_SECRET = int("6c1382765aec5358f117733d281c1c7bdc39884d04a45a1e6c67c858bc206c19", 16)
CWT_SIGNATURE = bytes.fromhex(
    "5427c1ff28d23fbad1f29c4c7c6a555e601d6fa29f9179bc3d7438bacaca5acd08c8d4d4f96131680c429a01f85951"
    "ecee743a52b9b63632c57209120e1c9e30"
)
CWT_SIGNED = (
    bytes.fromhex("d28443a10126a104524173796d6d6574726963454344534132353658 50")
    + CLAIMS
    + bytes.fromhex("5840")
    + CWT_SIGNATURE
)
CWT_MAC = (
    bytes.fromhex("d83dd18443a10104a1044c53796d6d6574726963323536 5850")
    + CLAIMS
    + bytes.fromhex("48093101ef6d789200")
)

# FORMATS.md 7.
OURS = bytes.fromhex(
    "d28449a20127044456475aa7a0584ea60378196c6f636b6572732e6578616d706c652f736974652f30303432041a6b"
    "49d200051a6ab13b80074800010203040506073a00010000013a000100016f65312d39663263303161623a68633958"
    "403698687bf668502911efc8e112bd079eacd49ab00f82cd2ef2f400c16776ef29edb4d0c30d258bc646d5f6c2e67e"
    "ee99079809c4a4ec77245e98c62fef857a03"
)
GRANT = Capability(
    audience="lockers.example/site/0042",
    action=Action.COLLECT,
    cti=bytes(range(8)),
    not_before_s=1_790_000_000,
    expires_s=1_800_000_000,
    object="e1-9f2c01ab:hc9",
)
GRANTS = SigningKey.from_seed("lockers.example/grants", bytes(range(32)))


@pytest.mark.parametrize(("data", "text"), BASE45)
def test_base45_as_in_rfc_9285(data: bytes, text: str) -> None:
    assert base45.encode(data) == text
    assert base45.decode(text) == data


# RFC 9285, 6: a group above FFFF or FF, and one letter alone.
@pytest.mark.parametrize("text", ["GGW", "ZZZ", ":::", "::", "A", "BB8A", "bb8", "BB8\n"])
def test_base45_that_rfc_9285_refuses(text: str) -> None:
    with pytest.raises(CapabilityInvalid) as caught:
        base45.decode(text)
    assert caught.value.code == "base45.malformed"


def test_what_is_signed_is_what_rfc_9052_says() -> None:
    assert capability._to_sign(bytes.fromhex("a10127"), CONTENT) == TO_SIGN


def test_the_cose_groups_ed25519_example_verifies_and_is_what_we_would_sign() -> None:
    protected, signature = bytes.fromhex("a201270300"), SIGNED[-64:]
    assert SIGNED.endswith(CONTENT + b"\x58\x40" + signature)
    message = capability._to_sign(protected, CONTENT)
    assert ED25519.verifier.verify(message, signature)
    assert ED25519.sign(message) == signature  # Ed25519 is deterministic


def test_the_signed_cwt_of_rfc_8392_verifies_over_our_structure() -> None:
    key = ec.derive_private_key(CWT_SECRET, ec.SECP256R1()).public_key()
    whole = (int.from_bytes(half, "big") for half in (CWT_SIGNATURE[:32], CWT_SIGNATURE[32:]))
    message = capability._to_sign(bytes.fromhex("a10126"), CLAIMS)
    key.verify(encode_dss_signature(*whole), message, ec.ECDSA(hashes.SHA256()))


def test_the_claims_of_rfc_8392_read_as_they_say_and_are_deterministic() -> None:
    claims = capability._load(CLAIMS)
    assert claims == {
        1: "coap://as.example.com",
        2: "erikw",
        3: "coap://light.example.com",
        4: 1_444_064_944,
        5: 1_443_944_944,
        6: 1_443_944_944,
        7: bytes.fromhex("0b71"),
    }
    assert capability._dump(claims) == CLAIMS
    # They name no action of ours: a CWT of somebody else's is no capability.
    with pytest.raises(CapabilityInvalid) as caught:
        capability._read_claims(claims)
    assert caught.value.evidence["what"] == "claims"


@pytest.mark.parametrize(
    ("data", "what"),
    [(SIGNED, "parts"), (CWT_SIGNED, "parts"), (CWT_MAC, "tag"), (CLAIMS, "tag")],
    ids=["cose", "cwt_signed", "cwt_mac", "claims"],
)
def test_what_others_signed_is_refused_for_its_shape(data: bytes, what: str) -> None:
    # An unprotected header, a MAC, no signature: nothing of it is signed, so nothing is read.
    with pytest.raises(CapabilityInvalid) as caught:
        capability.verify(data, [ED25519.verifier], GRANT.audience)
    assert (caught.value.code, caught.value.evidence["what"]) == ("capability.malformed", what)


def test_our_own_vector_is_159_bytes_and_reads_back() -> None:
    assert len(OURS) == 159
    assert capability.sign(GRANT, GRANTS) == OURS
    assert capability.verify(OURS, [GRANTS.verifier], GRANT.audience) == GRANT
    assert capability.kid_of(GRANTS.verifier.public).hex() == "56475aa7"
    assert hashlib.sha256(GRANTS.verifier.public).digest()[:4].hex() == "56475aa7"
    for base32 in (False, True):
        text = capability.to_text(OURS, base32=base32)
        assert capability.is_capability(text)
        assert capability.from_text(text) == OURS
    assert len(capability.to_text(OURS)) == 244


def test_the_newer_name_of_the_algorithm_is_read_too() -> None:
    # RFC 9864: -19 is Ed25519; we write -8.
    payload = OURS[OURS.index(b"\x58\x4e") + 2 :][:78]
    protected = bytes.fromhex("a2013204") + bytes.fromhex("4456475aa7")
    signature = GRANTS.sign(capability._to_sign(protected, payload))
    data = b"\xd2\x84\x49" + protected + b"\xa0\x58\x4e" + payload + b"\x58\x40" + signature
    assert capability.verify(data, [GRANTS.verifier], GRANT.audience) == GRANT
