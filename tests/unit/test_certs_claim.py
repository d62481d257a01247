"""Pins claims: how they are written, read, known and proved, and that none shows."""

import pytest

from certs import claim
from certs.errors import TrustInvalid
from tests.operator_keys import CLAIM, INVITATION, LOG_KEY, URL

LETTERS = "AAAQEAYEAUDAOCAJBIFQYDIOB4"
ROOT = "ab" * 32


def test_a_claim_is_26_letters_and_reads_however_it_is_typed() -> None:
    assert claim.write(CLAIM) == LETTERS
    for text in (
        LETTERS, LETTERS.lower(), f"  {LETTERS}\n", "aaaqe-ayeau-daoca-jbifq-ydiob-4",
        "AAAQE AYEAU DAOCA JBIFQ YDIOB 4",
    ):  # fmt: skip
        assert claim.read(text) == claim.Invitation(CLAIM)


def test_an_invitation_goes_out_and_comes_back() -> None:
    text = INVITATION.text()
    assert text == f"PLG1E:{LETTERS}:{INVITATION.root}:{URL}"
    assert claim.read(text) == INVITATION
    assert claim.read(f" {text}\r\n") == INVITATION


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "letters"),
        (LETTERS[:-1], "letters"),
        (LETTERS + "A", "letters"),
        (LETTERS[:-1] + "5", "letters"),  # bits that nobody reads
        (LETTERS[:-1] + "1", "letters"),
        ("\u0131" * 26, "letters"),
        ("A" * 700, "length"),
        ("PLG1E:", "shape"),
        (f"PLG1E:{LETTERS}", "shape"),
        (f"PLG1E:{LETTERS}:{ROOT}", "shape"),
        (f"PLG1E:{LETTERS}:{ROOT.upper()}:{URL}", "shape"),
        (f"PLG1E:{LETTERS}:{ROOT[2:]}:{URL}", "shape"),
        (f"PLG1E:{LETTERS}:{ROOT}:http://hub.example", "shape"),
        (f"PLG1E:{LETTERS.lower()}:{ROOT}:{URL}", "letters"),
        (f"PLG1E:{LETTERS[1:]}:{ROOT}:{URL}", "letters"),
    ],
)
def test_what_is_no_claim(text: str, what: str) -> None:
    with pytest.raises(TrustInvalid) as caught:
        claim.read(text)
    assert (caught.value.code, caught.value.evidence) == ("claim.malformed", {"what": what})


@pytest.mark.parametrize(
    ("url", "fits"),
    [
        ("https://hub.example", True),
        ("https://hub.example:8700", True),
        ("https://192.0.2.7:1/sites/0042", True),
        ("https://[2001:db8::7]:8700/", True),
        ("https://hub.example:65536", False),
        ("https://[::::]", False),
        ("https://[2001:db8::7", False),
        ("https://", False),
        ("https:///path", False),
        ("https://.example", False),
        ("https://user@hub.example", False),
        ("https://hub.example:443@evil.example", False),
        ("https://hub.example/?q", False),
        ("https://hub.example/#f", False),
        ("https://hub.example/\n", False),
        ("https://hub.example\\@evil.example", False),
        ("HTTPS://hub.example", False),
    ],
)
def test_addresses_that_every_library_reads_alike(url: str, fits: bool) -> None:
    assert claim.is_url(url) is fits


def test_the_id_tells_nothing_and_the_proof_binds_request_and_log_key() -> None:
    assert claim.claim_id(CLAIM) == claim.claim_id(bytes(CLAIM))
    assert len(claim.claim_id(CLAIM)) == 16
    assert claim.claim_id(CLAIM) != claim.claim_id(bytes(16))
    proof = claim.proof(CLAIM, b"csr", LOG_KEY)
    assert len(proof) == 32
    assert claim.proves(CLAIM, b"csr", LOG_KEY, proof)
    for other in (
        (bytes(16), b"csr", LOG_KEY, proof),
        (CLAIM, b"another", LOG_KEY, proof),
        (CLAIM, b"csr", bytes(32), proof),
        (CLAIM, b"csr", LOG_KEY, proof[:-1]),
        (CLAIM, b"csr", LOG_KEY, b""),
    ):
        assert not claim.proves(*other)


def test_no_claim_shows() -> None:
    shown = repr(INVITATION) + str(INVITATION)
    assert LETTERS not in shown
    assert CLAIM.hex() not in shown
    assert repr(CLAIM) not in shown
    with pytest.raises(TrustInvalid) as caught:
        claim.read(f"PLG1E:{LETTERS}:{ROOT}:nowhere")
    assert LETTERS not in f"{caught.value!r} {caught.value} {caught.value.evidence}"
