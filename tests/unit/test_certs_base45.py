"""Pins Base45: one text for each value, and what is none."""

import pytest

from certs import base45
from certs.errors import CapabilityInvalid


@pytest.mark.parametrize("data", [b"", b"\0", b"\0\0", b"\xff", b"\xff\xff", b"\xff\xff\xff"])
def test_it_comes_back(data: bytes) -> None:
    assert base45.decode(base45.encode(data)) == data


def test_every_pair_of_bytes_has_a_text_of_its_own_and_no_other_text_reads() -> None:
    texts = {base45.encode(value.to_bytes(2, "big")): value for value in range(65_536)}
    assert len(texts) == 65_536
    letters = base45.ALPHABET
    for first in ("0", "F", ":"):
        for second in letters:
            for third in letters:
                text = first + second + third
                try:
                    value = int.from_bytes(base45.decode(text), "big")
                except CapabilityInvalid:
                    assert text not in texts
                else:
                    assert texts[text] == value


def test_no_text_ends_with_the_space_that_a_form_would_strip() -> None:
    assert not any(base45.encode(bytes([one])).endswith(" ") for one in range(256))
    assert not any(base45.encode(one.to_bytes(2, "big")).endswith(" ") for one in range(65_536))


@pytest.mark.parametrize(
    ("text", "what", "at"),
    [
        ("0", "group", 0),
        ("BB8B", "group", 3),
        ("U5", "group", None),
        (":::", "group", 0),
        ("BB8aaa", "character", 3),
        ("\ud800BB", "character", 0),
        ("ÄBC", "character", 0),
        ("\u0661BC", "character", 0),
    ],
)
def test_what_is_no_base45_says_where(text: str, what: str, at: int | None) -> None:
    if at is None:  # the last pair that is a byte
        assert base45.decode(text) == b"\xff"
        text, at = "V5", 0
    with pytest.raises(CapabilityInvalid) as caught:
        base45.decode(text)
    assert caught.value.code == "base45.malformed"
    assert caught.value.evidence == {"what": what, "at": at}
