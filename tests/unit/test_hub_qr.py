"""Pins the QR codes: how large they are, that they use the small mode, that a PNG reads back."""

import re

import pytest

from certs import capability
from certs.capability import Action, Capability
from certs.keys import SigningKey
from sync.hub import qr
from tests.qrread import matrix_of, read

KEY = SigningKey.from_seed("lockers.example/grants", bytes(range(32)))
COMMON = Capability(
    audience="lockers.example/site/0042", action=Action.COURIER, cti=bytes(range(8)),
    not_before_s=1_790_000_000, expires_s=1_800_000_000, subject="acme",
)  # fmt: skip
WORST = Capability(
    audience=f"{'o' * 64}/site/{'s' * 32}", action=Action.RETURN, cti=b"\xff" * 8,
    not_before_s=2**53 - 2, expires_s=2**53 - 1, object=f"e{'9' * 9}-ffffffff:sc{'9' * 15}",
    subject="t" * 32, room=f"XL {'b' * 16}",
)  # fmt: skip


def text_of(one: Capability, *, base32: bool = False) -> str:
    return capability.to_text(capability.sign(one, KEY), base32=base32)


@pytest.mark.parametrize(("one", "version"), [(COMMON, 9), (WORST, 14)])
@pytest.mark.parametrize("base32", [False, True])
def test_a_capability_is_a_small_code(one: Capability, version: int, *, base32: bool) -> None:
    code = qr.code_of(text_of(one, base32=base32))
    assert code.mode == "alphanumeric"
    assert int(code.version) <= version + 2 * base32
    assert code.error in {"M", "Q", "H"}


@pytest.mark.parametrize("one", [COMMON, WORST])
@pytest.mark.parametrize("base32", [False, True])
def test_the_png_reads_back(one: Capability, *, base32: bool) -> None:
    """By a reader of our own: it shares no line with what drew it."""
    text = text_of(one, base32=base32)
    assert read(qr.png(text)) == text
    assert (
        capability.verify(capability.from_text(read(qr.png(text))), [KEY.verifier], one.audience)
        == one
    )


def test_the_reader_sees_an_altered_picture() -> None:
    assert read(qr.png("PLG1:ABC")) != "PLG1:ABD"
    assert read(qr.png("PLG1:ABD")) == "PLG1:ABD"


def test_every_form_shows_the_same_dots_within_a_quiet_zone() -> None:
    text = text_of(COMMON)
    dots = [[bool(dot) for dot in row] for row in qr.code_of(text).matrix]
    assert matrix_of(qr.png(text)) == dots
    size = (len(dots) + 2 * qr.QUIET) * qr.SCALE
    svg = qr.svg(text)
    assert qr.svg(qr.code_of(text)) == svg
    assert svg.startswith(f'<svg xmlns="http://www.w3.org/2000/svg" width="{size}" height="{size}"')
    assert "#fff" in svg
    assert not re.search(r"<(script|image|a|style)\b|href|on\w+=", svg)
    lines = qr.terminal(text).splitlines()
    assert len(lines) == (len(dots) + 2 * qr.QUIET + 1) // 2
    assert {len(line) for line in lines} == {len(dots) + 2 * qr.QUIET}


def test_what_no_code_holds_is_said() -> None:
    assert qr.fitting("A" * 3_391) is not None
    assert qr.fitting("A" * 3_392) is None
    with pytest.raises(ValueError, match="large"):
        qr.png("A" * 3_392)
