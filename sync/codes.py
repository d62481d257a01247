"""Pick-up codes: derived alike at the site and at the hub, recomputed at each entry, never stored.

    K_site = HKDF-SHA-256(master, no salt, "site-code-key/v1" 00 site 00 uint16 key_version)
    h      = HMAC-SHA-256(K_site, "pickup-code/v1" 00 site 00 parcel 00 uint16 counter)
    L      = first 16 bytes of h mod 10^15, as 15 digits

The short code is the first d digits of L and a check digit, the long form all 15 and a check digit.
The check digit is Damm's, started at a digit that depends on the site, so that nine codes of ten
that belong to another site are recognised as mistyped and cost no guess. `site` is
`<operator>/<writer>`, as in `lockers.example/site/0042`; `parcel` is `<tenant>/<TRACKING>/<piece>`.

Keys and codes never show in `repr`, nor in the evidence of an error. All here is pure; whoever
makes keys and staff secrets brings the random bytes.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from sync.errors import TheirsInvalid

KEY_BYTES = 32
LONG_DIGITS = 15
TAG_BYTES = 12
SECRET_RANDOM_BYTES = 16
UINT16_MAX = 0xFFFF
# SPEC: guessing bound P <= N G / 10^d <= 1e-4 a year, two codes a compartment.
DIGITS_BY_COMPARTMENTS = ((30, 8), (308, 9), (3084, 10))
_TYPED_CHARACTERS_MAX = 64
_PARCEL = re.compile(r"([a-z0-9-]{1,32})/([A-Za-z0-9]{1,64})/([1-9][0-9]{0,3})")
_CANONICAL = re.compile(r"[a-z0-9-]{1,32}/[A-Z0-9]{1,64}/[1-9][0-9]{0,3}")
_SITE = re.compile(r"[!-~]{1,255}")
# Damm's quasigroup: row = digit so far, column = next digit. Any single wrong digit and any two
# neighbours swapped change the outcome.
_DAMM = tuple(
    bytes(map(int, row))
    for row in (
        "0317598642",
        "7092154863",
        "4206871359",
        "1750983426",
        "6123045978",
        "3674209581",
        "5869720134",
        "8945362017",
        "9438617205",
        "2581436790",
    )
)


@dataclass(frozen=True, slots=True)
class Code:
    """The code of one parcel at one count. `repr` shows nothing of it."""

    _digits: str = field(repr=False)
    _start: int = field(repr=False)

    @property
    def long(self) -> str:
        """The long form, 16 digits."""
        return self._digits + str(damm(self._digits, self._start))

    def short(self, digits: int) -> str:
        """Return the short code: `digits` digits (1 to 15) and the check digit."""
        _check_range("digits", digits, 1, LONG_DIGITS)
        head = self._digits[:digits]
        return head + str(damm(head, self._start))


@dataclass(frozen=True, slots=True)
class CodeKey:
    """K_site of one site and version: gives the code of any parcel in a few microseconds.

    `site` is 1 to 255 visible ASCII characters, `version` and counters fit 16 bits, `key` has 32
    bytes. Raises TheirsInvalid (`codes.site`, `codes.version`, `codes.key`).
    """

    site: str
    version: int
    key: bytes = field(repr=False)
    _start: int = field(init=False, repr=False, compare=False)
    _inner: "hashlib._Hash" = field(init=False, repr=False, compare=False)
    _outer: "hashlib._Hash" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Hash the key and the fixed head of the message once."""
        _check_site(self.site)
        _check_range("version", self.version, 0, UINT16_MAX)
        _check_key(self.key)
        # SPEC: RFC 2104. hmac.HMAC.copy costs more than the two compressions it saves.
        block = self.key.ljust(64, b"\x00")
        head = b"pickup-code/v1\x00" + self.site.encode() + b"\x00"
        inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + head)
        outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
        object.__setattr__(self, "_inner", inner)
        object.__setattr__(self, "_outer", outer)
        object.__setattr__(self, "_start", damm_start(self.site))

    def __deepcopy__(self, memo: object) -> Self:
        """Return itself: it never changes, and hash contexts cannot be copied by that way."""
        return self

    @classmethod
    def derive(cls, master: bytes, site: str, version: int) -> Self:
        """Derive the key of a site as a hub does, from its master key of 32 bytes."""
        return cls(site, version, derive_site_key(master, site, version))

    def code(self, identity: str, counter: int) -> Code:
        """Return the code of a parcel (as `parcel_identity` writes it) at a count (0 to 65535).

        Raises TheirsInvalid (`codes.identity`, `codes.counter`).
        """
        return Code(self.digits(identity, counter), self._start)

    def digits(self, identity: str, counter: int) -> str:
        """Return the 15 digits of `code(identity, counter)` alone; raises as it does.

        A keypad compares every parcel that is here with what was typed: check digits, which are
        known to fit by then, are not made again for each.
        """
        _check_identity(identity)
        _check_range("counter", counter, 0, UINT16_MAX)
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(identity.encode() + b"\x00" + counter.to_bytes(2, "big"))
        outer.update(inner.digest())
        number = int.from_bytes(outer.digest()[:16], "big") % 10**LONG_DIGITS
        return f"{number:0{LONG_DIGITS}d}"


def derive_site_key(master: bytes, site: str, version: int) -> bytes:
    """Return K_site, 32 bytes. Raises TheirsInvalid as CodeKey does."""
    _check_site(site)
    _check_range("version", version, 0, UINT16_MAX)
    _check_key(master)
    # SPEC: RFC 5869; no salt means 32 zero bytes; one block is all of the output.
    extracted = hmac.digest(bytes(KEY_BYTES), master, "sha256")
    info = b"site-code-key/v1\x00" + site.encode() + b"\x00" + version.to_bytes(2, "big")
    return hmac.digest(extracted, info + b"\x01", "sha256")


def damm_start(site: str) -> int:
    """Return the digit at which this site's check digits start."""
    return hashlib.sha256(site.encode()).digest()[0] % 10


def damm(digits: str, start: int) -> int:
    """Return the check digit of ASCII digits; 0 when the last of them is already the right one."""
    state = start
    for digit in digits.encode():
        state = _DAMM[state][digit - 48]
    return state


def check_digit_fits(entered: str, site: str) -> bool:
    """Whether `entered` (normalised digits) ends in this site's check digit."""
    return entered != "" and damm(entered, damm_start(site)) == 0


def normalise_typed(text: str) -> str | None:
    """Return what a person typed as digits, without spaces and dashes; None if anything else is in.

    Only the space and the hyphen of ASCII count, and only ASCII digits; longer than 64 is None too.
    """
    if len(text) > _TYPED_CHARACTERS_MAX:
        return None
    digits = text.replace(" ", "").replace("-", "")
    return digits if digits.isascii() and digits.isdigit() else None


def matches(entered: str, codes: Iterable[str]) -> tuple[int, ...]:
    """Return the places of the codes that equal what was entered, every one compared in full time.

    A tuple and not a place: the first place is 0, which would read as false.
    """
    typed = entered.encode()
    equal = [hmac.compare_digest(typed, code.encode()) for code in codes]
    return tuple(place for place, same in enumerate(equal) if same)


def parcel_identity(text: str) -> str:
    """Return `<tenant>/<TRACKING>/<piece>` in its one form.

    Letters of the tracking number become upper case; anything else that does not fit is refused
    with TheirsInvalid(`codes.identity`), spaces and dashes too. Tenant: 1 to 32 of a-z 0-9 dash.
    Tracking number: 1 to 64 letters and digits. Piece: 1 to 9999, no leading zeros.
    """
    parts = _PARCEL.fullmatch(text)
    if parts is None:
        raise _bad_identity(text)
    tenant, tracking, piece = parts.groups()
    return f"{tenant}/{tracking.upper()}/{piece}"


def digits_for(compartments: int) -> int:
    """Return d, the random digits of short codes at a site of so many compartments (1 to 3084).

    Raises TheirsInvalid(`codes.compartments`): a larger bank is split into two sites.
    """
    _check_range("compartments", compartments, 1, DIGITS_BY_COMPARTMENTS[-1][0])
    return next(digits for most, digits in DIGITS_BY_COMPARTMENTS if compartments <= most)


def parcel_tag(key: bytes, site: str, identity: str) -> bytes:
    """Return 12 bytes that stand for a parcel where its identity must not: recognisable, keyed."""
    _check_identity(identity)
    return _tag(b"parcel-tag/v1", key, site, identity)


def retired_tag(key: bytes, site: str, code: str) -> bytes:
    """Return 12 bytes that stand for a used code, short or long, while it is remembered."""
    return _tag(b"retired-code/v1", key, site, code)


def staff_tag(key: bytes, site: str, digits: str) -> bytes:
    """Return 12 bytes that stand for a staff secret of 16 digits: what a site keeps of it."""
    return _tag(b"staff-secret/v1", key, site, digits)


def staff_secret(random: bytes, site: str) -> str:
    """Make a typed staff secret of 16 random bytes: 15 digits and the site's check digit.

    Raises TheirsInvalid(`codes.random`) for another number of bytes. 128 bits taken mod 10^15
    favour no secret by more than 2^-78.
    """
    if len(random) != SECRET_RANDOM_BYTES:
        raise _refused("random", "Bring 16 random bytes", length=len(random))
    number = int.from_bytes(random, "big") % 10**LONG_DIGITS
    return Code(f"{number:0{LONG_DIGITS}d}", damm_start(site)).long


def _tag(domain: bytes, key: bytes, site: str, subject: str) -> bytes:
    _check_key(key)
    _check_site(site)
    message = domain + b"\x00" + site.encode() + b"\x00" + subject.encode()
    return hmac.digest(key, message, "sha256")[:TAG_BYTES]


def _check_site(site: str) -> None:
    if not _SITE.fullmatch(site):
        raise _refused("site", "A site is <operator>/<writer>", characters=len(site))


def _check_key(key: bytes) -> None:
    if len(key) != KEY_BYTES:
        raise _refused("key", "A code key has 32 bytes", length=len(key))


def _check_identity(identity: str) -> None:
    if not _CANONICAL.fullmatch(identity):
        raise _bad_identity(identity)


def _check_range(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise _refused(what, f"It must be {least} to {most}", got=value)


def _bad_identity(text: str) -> TheirsInvalid:
    # The tracking number is personal data: the evidence has its length only.
    return _refused("identity", "Write tenant/TRACKING/piece", characters=len(text))


def _refused(part: str, remedy: str, **evidence: object) -> TheirsInvalid:
    return TheirsInvalid(f"codes.{part}", remedy, **evidence)
