"""Pins the published vectors of C2SP signed-note, golang.org/x/mod/sumdb/note, tlog-cosignature."""

import base64

import pytest

from certs.errors import KeyInvalid, NoteInvalid
from certs.keys import SigningKey, Verifier
from certs.note import Checkpoint, Signature, open_note, parse_note, sign_note

PETER_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
PETER_SKEY = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
ENOCH_VKEY = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
TEXT = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
)
PETER_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXg"
    "KvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
ENOCH_LINE = (
    "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01"
    "oOTGwnWLox33WWd1RvMc+QQ=\n"
)
PETER, ENOCH = Verifier.from_vkey(PETER_VKEY), Verifier.from_vkey(ENOCH_VKEY)


def test_peters_key_signs_the_published_note() -> None:
    seed = base64.b64decode(PETER_SKEY.split("+", 4)[4])[1:]
    key = SigningKey.from_seed("PeterNeumann", seed)
    assert key.vkey == PETER_VKEY
    assert key.verifier.key_id.hex() == "c74f20a3"
    assert sign_note(TEXT, key) == f"{TEXT}\n{PETER_LINE}"


@pytest.mark.parametrize(
    ("known", "signed_by"),
    [((PETER,), (PETER,)), ((ENOCH,), (ENOCH,)), ((ENOCH, PETER), (PETER, ENOCH))],
)
def test_published_note_opens_and_unknown_signers_are_ignored(
    known: tuple[Verifier, ...], signed_by: tuple[Verifier, ...]
) -> None:
    opened = open_note(f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}", known)
    assert (opened.text, opened.signed_by) == (TEXT, signed_by)


def test_published_note_is_refused_without_a_known_key() -> None:
    with pytest.raises(NoteInvalid) as caught:
        open_note(f"{TEXT}\n{PETER_LINE}{ENOCH_LINE}", [])
    assert caught.value.code == "note.unverified"


@pytest.mark.parametrize(
    ("note", "code"),
    [
        (TEXT, "note.no_signatures"),
        (f"{TEXT}\n", "note.no_signatures"),
        (f"{TEXT}\n{PETER_LINE}"[:-1], "note.ending"),
        (f"\x01{TEXT}\n{PETER_LINE}", "note.control"),
        (b"\xff" + f"{TEXT}\n{PETER_LINE}".encode(), "note.utf8"),
        (f"{TEXT}\n{PETER_LINE.replace('PeterNeumann', 'Bad Name')}", "note.signature_line"),
        (f"{TEXT}\n{PETER_LINE}Unexpected line.\n", "note.signature_line"),
        (f"{TEXT}\n{PETER_LINE * 101}", "note.too_many_signatures"),
        (f"{TEXT}\n{PETER_LINE[:60]}ABCD{PETER_LINE[60:]}", "note.bad_signature"),
    ],
)
def test_published_bad_notes_are_refused(note: str | bytes, code: str) -> None:
    with pytest.raises(NoteInvalid) as caught:
        open_note(note, [PETER])
    assert caught.value.code == code


def test_published_vkey_is_read_whole_or_not_at_all() -> None:
    # Every slice, and every byte raised by one: the manglings of the Go tests.
    for start in range(len(PETER_VKEY)):
        for stop in range(start, len(PETER_VKEY) + 1):
            if (start, stop) != (0, len(PETER_VKEY)):
                with pytest.raises(KeyInvalid):
                    Verifier.from_vkey(PETER_VKEY[start:stop])
    for place, letter in enumerate(PETER_VKEY):
        mangled = PETER_VKEY[:place] + chr(ord(letter) + 1) + PETER_VKEY[place + 1 :]
        with pytest.raises(KeyInvalid):
            Verifier.from_vkey(mangled)


@pytest.mark.parametrize(
    ("vkey", "code"),
    [
        # A key of the wrong length and a kind that is not Ed25519, both with the id adjusted.
        (
            "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
            "key.vkey",
        ),
        ("PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "key.kind"),
    ],
)
def test_published_bad_vkeys_are_refused(vkey: str, code: str) -> None:
    with pytest.raises(KeyInvalid) as caught:
        Verifier.from_vkey(vkey)
    assert caught.value.code == code


def test_cosignature_example_has_the_published_shape() -> None:
    # The example of tlog-cosignature: no public key is published with it, its time is.
    text = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    cosigned = (
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dl"
        "rDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    )
    read, (signature,) = parse_note(f"{text}\n{cosigned}")
    assert Checkpoint.parse(read).size == 20852163
    assert Checkpoint.parse(read).text() == text
    assert isinstance(signature, Signature)
    assert signature.key_id.hex() == "8d66cf3f"
    assert int.from_bytes(signature.value[:8], "big") == 1679315147
    assert len(signature.value) == 8 + 64
    assert signature.line() == cosigned
