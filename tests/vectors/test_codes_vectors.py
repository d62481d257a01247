"""Pins the pick-up code vectors of the format, and Damm's table by its published example."""

import hashlib
import hmac

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from sync.codes import CodeKey, damm, damm_start, derive_site_key

MASTER = bytes(range(32))
SITE = "lockers.example/site/0042"
PARCEL = "acme/JD014600006281230704/1"


def test_site_key_of_the_master() -> None:
    assert derive_site_key(MASTER, SITE, 1).hex() == (
        "9f7a4e681fdb8ada7520489d16ef6e11f44e54d4a1be53c73a97b01e6f9dde78"
    )
    assert CodeKey.derive(MASTER, SITE, 1) == CodeKey(SITE, 1, derive_site_key(MASTER, SITE, 1))


@pytest.mark.parametrize("version", [0, 1, 0x1234, 0xFFFF])
def test_site_key_equals_that_of_another_hkdf(version: int) -> None:
    info = b"site-code-key/v1\x00" + SITE.encode() + b"\x00" + version.to_bytes(2, "big")
    other = HKDF(algorithm=SHA256(), length=32, salt=None, info=info).derive(MASTER)
    assert derive_site_key(MASTER, SITE, version) == other


@pytest.mark.parametrize(
    ("counter", "short", "long"),
    [(0, "1705002425", "1705002428138763"), (1, "8672828527", "8672828521784974")],
)
def test_codes_of_the_parcel(counter: int, short: str, long: str) -> None:
    code = CodeKey.derive(MASTER, SITE, 1).code(PARCEL, counter)
    assert code.short(9) == short
    assert code.long == long
    assert code.short(15) == long


@pytest.mark.parametrize("counter", [0, 1, 255, 256, 65535])
def test_codes_equal_those_of_the_formula(counter: int) -> None:
    key = derive_site_key(MASTER, SITE, 7)
    message = b"pickup-code/v1\x00" + SITE.encode() + b"\x00" + PARCEL.encode() + b"\x00"
    digest = hmac.new(key, message + counter.to_bytes(2, "big"), hashlib.sha256).digest()
    digits = f"{int.from_bytes(digest[:16], 'big') % 10**15:015d}"
    code = CodeKey(SITE, 7, key).code(PARCEL, counter)
    assert code.long[:15] == digits
    for many in range(1, 16):
        assert code.short(many)[:-1] == digits[:many]


def test_damm_of_the_published_example() -> None:
    assert damm("572", 0) == 4
    assert damm("5724", 0) == 0


def test_start_digit_of_the_site() -> None:
    assert damm_start(SITE) == hashlib.sha256(SITE.encode()).digest()[0] % 10
