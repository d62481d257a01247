"""Pins that no bytes at all, nor any single altered byte, gets past a note, a vkey or a head."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certs.errors import CertsError, KeyInvalid, NoteInvalid
from certs.keys import KIND_COSIGNATURE, SigningKey, Verifier, decode_base64
from certs.note import (
    Checkpoint,
    cosign,
    open_checkpoint,
    open_cosignatures,
    open_note,
    parse_note,
    sign_checkpoint,
    sign_note,
)

LOG = SigningKey.from_seed("a/site/1/e1-00000000/custody", bytes(range(32)))
HUB = SigningKey.from_seed("a/hub/1/cosigner", bytes(32), KIND_COSIGNATURE)
HEAD = Checkpoint(LOG.name, 117, bytes(range(32)))
NOTE = sign_checkpoint(HEAD, LOG)
COSIGNED = NOTE + cosign(NOTE, HUB, 1_790_000_000)
LINES = st.lists(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), min_size=1))


@given(LINES)
def test_any_text_of_full_lines_is_signed_and_opened(lines: list[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    if not lines:
        return
    opened = open_note(sign_note(text, LOG), [LOG.verifier])
    assert opened.text == text


@given(st.binary(max_size=300) | st.text(max_size=300))
def test_garbage_is_refused_with_a_code(garbage: bytes | str) -> None:
    with pytest.raises(NoteInvalid, match=r"^note\."):
        open_note(garbage, [LOG.verifier])
    with suppress(NoteInvalid):
        text, signatures = parse_note(garbage)
        whole = f"{text}\n{''.join(signature.line() for signature in signatures)}"
        assert whole == (garbage if isinstance(garbage, str) else garbage.decode())


@given(st.text(max_size=80))
def test_text_that_reads_as_vkey_or_head_is_the_one_way_to_write_it(text: str) -> None:
    with suppress(KeyInvalid):
        assert Verifier.from_vkey(text).vkey == text
    with suppress(NoteInvalid):
        assert Checkpoint.parse(text).text() == text


@given(st.text(st.sampled_from("AQgw059+/=\n "), max_size=12))
def test_base64_is_read_in_one_form_only(text: str) -> None:
    data = decode_base64(text)
    if data is not None:
        assert text == text.strip()
        assert len(text) == (len(data) + 2) // 3 * 4


def test_every_truncation_and_every_flipped_bit_is_refused() -> None:
    raw = COSIGNED.encode()
    cut_to_the_log = len(NOTE.encode())
    for stop in range(len(raw)):
        if stop == cut_to_the_log:
            continue
        try:
            open_checkpoint(raw[:stop], LOG.verifier)
        except CertsError:
            continue
        raise AssertionError(stop)
    for place in range(len(raw)):
        for bit in range(8):
            spoilt = bytearray(raw)
            spoilt[place] ^= 1 << bit
            try:
                head = open_checkpoint(bytes(spoilt), LOG.verifier)
                seen = open_cosignatures(bytes(spoilt), [HUB.verifier])
            except CertsError:
                continue
            # Only a line that became a stranger's may pass, and then it says nothing.
            assert head == HEAD
            assert place > cut_to_the_log
            assert seen == ()


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_any_head_goes_out_and_comes_back(size: int, root: bytes) -> None:
    head = Checkpoint(LOG.name, size, root)
    assert Checkpoint.parse(head.text()) == head
    assert open_checkpoint(sign_checkpoint(head, LOG), LOG.verifier) == head
