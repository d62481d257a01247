"""Pins the text of a proof file, what it proves, and the name of each thing that can be wrong."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import KeyInvalid
from certs.keys import KIND_COSIGNATURE, SigningKey
from certs.note import Checkpoint, cosign, sign_checkpoint
from sync.errors import TheirsInvalid
from sync.merkle import FullTree, leaf_hash, prove_inclusion
from sync.proof import PROOF_BYTES_MAX, Proof, check

ENTRIES = [b'{"at":[1,%d],"kind":"door.opened"}' % number for number in range(11)]
NODES = FullTree(leaf_hash(entry) for entry in ENTRIES)
LOG = SigningKey.from_seed("lockers.example/site/0042/e1-9f2c01ab/custody", bytes(range(32)))
NEXT = SigningKey.from_seed(LOG.name, bytes(range(1, 33)))
OTHER = SigningKey.from_seed("lockers.example/site/0043/e1-9f2c01ab/custody", bytes(range(32)))
HUB = SigningKey.from_seed("lockers.example/hub/1/cosigner", bytes(32), KIND_COSIGNATURE)
HEAD = Checkpoint(LOG.name, 11, NODES.root())
NOTE = sign_checkpoint(HEAD, LOG)
COSIGNED = NOTE + cosign(NOTE, HUB, 1_790_000_000)
PROOF = Proof(7, tuple(prove_inclusion(7, 11, NODES)), COSIGNED)
TEXT = PROOF.text()


def code_of(caught: pytest.ExceptionInfo[TheirsInvalid]) -> str:
    return caught.value.code


def test_proof_is_written_as_specified() -> None:
    lines = TEXT.split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1] == "index 7"
    assert [base64.b64decode(line) for line in lines[2:6]] == list(PROOF.hashes)
    assert lines[6] == ""
    assert TEXT.endswith(f"\n\n{COSIGNED}")
    extra = Proof(7, PROOF.hashes, COSIGNED, b"\x00receipt").text()
    assert extra == TEXT.replace("\nindex", "\nextra AHJlY2VpcHQ=\nindex")


def test_proof_goes_out_and_comes_back() -> None:
    for proof in (PROOF, Proof(7, PROOF.hashes, NOTE, b"x"), Proof(0, (), NOTE)):
        assert Proof.parse(proof.text()) == proof
        assert Proof.parse(proof.text().encode()) == proof


def test_every_entry_of_every_size_is_proved() -> None:
    for size in range(1, 12):
        tree = FullTree(leaf_hash(entry) for entry in ENTRIES[:size])
        note = sign_checkpoint(Checkpoint(LOG.name, size, tree.root()), LOG)
        for index in range(size):
            text = Proof(index, tuple(prove_inclusion(index, size, tree)), note).text()
            verified = check(ENTRIES[index], text, LOG.verifier)
            assert verified.index == index
            assert verified.checkpoint.size == size
            with pytest.raises(TheirsInvalid) as caught:
                check(ENTRIES[index] + b" ", text, LOG.verifier)
            assert code_of(caught) == "merkle.root"


def test_check_reports_head_and_cosignatures() -> None:
    verified = check(ENTRIES[7], TEXT, LOG.verifier, cosigners=[HUB.verifier], cosignatures_min=1)
    assert (verified.index, verified.checkpoint) == (7, HEAD)
    assert [one.time_s for one in verified.cosignatures] == [1_790_000_000]
    assert check(ENTRIES[7], PROOF, NEXT.verifier, LOG.verifier).cosignatures == ()


def test_missing_cosignature_is_refused_when_asked_for() -> None:
    proof = Proof(7, PROOF.hashes, NOTE)
    with pytest.raises(TheirsInvalid) as caught:
        check(ENTRIES[7], proof, LOG.verifier, cosigners=[HUB.verifier], cosignatures_min=1)
    assert code_of(caught) == "proof.cosignatures"
    assert caught.value.evidence == {"got": 0, "expected": 1}


def test_checkpoint_of_a_stranger_is_refused_with_its_cause() -> None:
    for verifier in (NEXT.verifier, OTHER.verifier):
        with pytest.raises(TheirsInvalid) as caught:
            check(ENTRIES[7], TEXT, verifier)
        assert code_of(caught) == "proof.checkpoint"
        assert caught.value.evidence["cause"] == "note.unverified"
    with pytest.raises(KeyInvalid):
        check(ENTRIES[7], TEXT, HUB.verifier)


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2", "proof.header"),
        ("c2sp.org/tlog-proof@v1\n", "", "proof.header"),
        ("c2sp.org", "\nc2sp.org", "proof.header"),
        ("\n\n", "\n", "proof.hash"),
        ("index 7\n", "", "proof.index"),
        ("index 7", "index 07", "proof.index"),
        ("index 7", "index  7", "proof.index"),
        ("index 7", "index -7", "proof.index"),
        ("index 7", "index ", "proof.index"),
        ("index 7", "index", "proof.index"),
        ("index 7", "Index 7", "proof.index"),
        ("index 7", "index 7 ", "proof.index"),
        ("index 7", "index 7\r", "proof.index"),
        ("index 7", "index \u0667", "proof.index"),
        ("index 7", f"index {2**63}", "proof.index"),
        ("index 7", f"index {'7' * 5000}", "proof.index"),
        ("index 7", "extra \nindex 7", "proof.extra"),
        ("index 7", "extra AB==\nindex 7", "proof.extra"),
        ("index 7", "extra AA==\nextra AA==\nindex 7", "proof.index"),
        ("index 7", "extra AA==", "proof.index"),
        ("index 7", "index 7\nAAAA", "proof.hash"),
        ("index 7", "index 7\nnot base64", "proof.hash"),
        ("index 7", "index 7" + f"\n{'A' * 43}=" * 60, "proof.hash"),
        ("index 7", f"extra {'AAAA' * 9000}\nindex 7", "proof.size"),
        ("\u2014", "\ud800", "proof.utf8"),
        ("index 7", "index 6", "merkle.root"),
        ("index 7", "index 11", "merkle.index"),
        ("index 7", f"index 7\n{'A' * 43}=", "merkle.proof_length"),
        ("\n11\n", "\n12\n", "proof.checkpoint"),
        ("\n11\n", "\n", "proof.checkpoint"),
        ("\u2014", "-", "proof.checkpoint"),
    ],
)
def test_each_wrong_part_is_named(old: str, new: str, code: str) -> None:
    assert old in TEXT
    with pytest.raises(TheirsInvalid) as caught:
        check(ENTRIES[7], TEXT.replace(old, new, 1), LOG.verifier)
    assert code_of(caught) == code
    assert caught.value.remedy


def test_text_too_long_is_refused_before_it_is_read() -> None:
    for text in ("x" * (PROOF_BYTES_MAX + 1), b"\xff" * (PROOF_BYTES_MAX + 1)):
        with pytest.raises(TheirsInvalid) as caught:
            Proof.parse(text)
        assert code_of(caught) == "proof.size"


def test_header_alone_has_no_index() -> None:
    for text in ("", "c2sp.org/tlog-proof@v1\n", "c2sp.org/tlog-proof@v1\nindex 7\n"):
        with pytest.raises(TheirsInvalid) as caught:
            Proof.parse(text)
        assert code_of(caught) == "proof.form"
    with pytest.raises(TheirsInvalid) as caught:
        Proof.parse(f"c2sp.org/tlog-proof@v1\n\n{NOTE}")
    assert code_of(caught) == "proof.index"
    assert "missing" in caught.value.remedy


def test_proof_that_could_not_be_read_back_is_not_made() -> None:
    for index, hashes, note, extra, code in (
        (-1, (), NOTE, None, "proof.index"),
        (2**63 - 1, (), NOTE, None, "proof.index"),
        (0, (b"short",), NOTE, None, "proof.hash"),
        (0, (bytes(32),) * 64, NOTE, None, "proof.hash"),
        (0, (), NOTE, b"", "proof.extra"),
        (0, (), NOTE[:-1], None, "proof.checkpoint"),
        (0, (), NOTE, bytes(PROOF_BYTES_MAX), "proof.size"),
    ):
        with pytest.raises(TheirsInvalid) as caught:
            Proof(index, hashes, note, extra)
        assert code_of(caught) == code


def test_every_truncation_and_every_altered_byte_is_refused_or_says_the_same() -> None:
    raw = TEXT.encode()
    cosigner_line = len(raw) - len(COSIGNED.encode()) + len(NOTE.encode())
    for stop in range(len(raw)):
        if stop == cosigner_line:
            continue
        with pytest.raises(TheirsInvalid, match=r"^(proof|merkle)\."):
            check(ENTRIES[7], raw[:stop], LOG.verifier)
    for place in range(cosigner_line):
        for change in (1, 32, 128):
            spoilt = bytearray(raw)
            spoilt[place] ^= change
            with pytest.raises(TheirsInvalid, match=r"^(proof|merkle)\."):
                check(ENTRIES[7], bytes(spoilt), LOG.verifier)


@given(st.binary(max_size=200) | st.text(max_size=200))
def test_garbage_is_refused_with_a_code(garbage: bytes | str) -> None:
    with pytest.raises(TheirsInvalid, match=r"^proof\."):
        check(b"", garbage, LOG.verifier)
    for spoilt in (f"c2sp.org/tlog-proof@v1\nindex 0\n{garbage!r}\n\n{NOTE}", f"{TEXT}{garbage!r}"):
        with pytest.raises(TheirsInvalid, match=r"^proof\."):
            check(b"", spoilt, LOG.verifier)
