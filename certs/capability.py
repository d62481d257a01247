"""A capability: a right to do one thing at one site, signed, small enough for a QR code.

A CWT (RFC 8392) in a tagged COSE_Sign1 (RFC 9052), Ed25519, deterministic CBOR (FORMATS.md 7). A
site that never heard of it believes it: all it needs is the signer's public key. What this room
says is *who* gave the right and *what* it is; whether it is still in time, used, or denied is
decided where the clock and the book are.

Text forms: `PLG1:` and Base45, or `PLG1B:` and Base32 without padding, for scanners that type as
keyboards of another layout would.
"""

import base64
import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import cbor2

from certs import base45
from certs.errors import CapabilityInvalid
from certs.keys import KIND_NOTE, SigningKey, Verifier

PREFIX = "PLG1:"
PREFIX_BASE32 = "PLG1B:"
BYTES_MAX = 512
TEXT_MAX = len(PREFIX_BASE32) + BYTES_MAX * 8 // 5 + 1
CTI_BYTES = 8
TIME_S_MAX = 2**53 - 1
_SIGN1 = b"\xd2"
"""Tag 18 as the one byte it is written as (RFC 9052, 4.2)."""
_ALG, _KID = 1, 4
_KID_BYTES = 4
_EDDSA, _ED25519 = -8, -19  # RFC 9053 and RFC 9864; the older is written, both are read
_SUBJECT, _AUDIENCE, _EXPIRES, _NOT_BEFORE, _CTI = 2, 3, 4, 5, 7
_ACTION, _OBJECT, _CLASS = -65537, -65538, -65539
_DEPTH_MAX = 4
# RFC 8949, 3: the kind of an item, and how many bytes its number takes after the first.
_MAP, _STRINGS = 5, frozenset({2, 3})
_HEAD_MIN, _HEAD_MAX = 24, 27
_tenant = re.compile(r"[a-z0-9-]{1,32}").fullmatch
_class = re.compile(r"(?:S|M|L|XL)(?: [a-z0-9-]{1,16})?").fullmatch
_audience = re.compile(r"[a-z0-9.-]{1,64}/site/[a-z0-9-]{1,32}").fullmatch
_object = re.compile(r"e[0-9]{1,9}-[0-9a-f]{8}:[sh][uct][0-9]{1,15}").fullmatch


class Action(IntEnum):
    """What the holder may do (claim -65537)."""

    COLLECT = 1
    DEPOSIT = 2
    RETURN = 3
    COURIER = 4
    SERVICE = 5
    INSTALL = 6
    RESERVATION = 7


ONCE = frozenset({Action.COLLECT, Action.DEPOSIT, Action.RETURN, Action.RESERVATION})
"""Used once; the others until they end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """The claims. Times are POSIX seconds; `cti` is 8 bytes, the id of the grant.

    `audience` is `<operator>/site/<id>`, `object` a reference to an entry. Ours, beside FORMATS.md
    7: `subject` is the tenant whose parcels a courier, deposit or return brings, `room` the class
    (`M`, or `M cold`) of a reservation or deposit.
    """

    audience: str
    action: Action
    cti: bytes
    not_before_s: int
    expires_s: int
    object: str | None = None
    subject: str | None = None
    room: str | None = None

    def __post_init__(self) -> None:
        """Refuse (`capability.malformed`) what could not be written or would mean nothing."""
        in_time = 0 <= self.not_before_s < self.expires_s <= TIME_S_MAX
        sound = (
            ("audience", _audience(self.audience)),
            ("cti", len(self.cti) == CTI_BYTES),
            ("time", in_time),
            ("object", self.object is None or _object(self.object)),
            ("subject", self.subject is None or _tenant(self.subject)),
            ("room", self.room is None or _class(self.room)),
        )
        for name, fits in sound:
            if not fits:
                raise _malformed(name)

    @property
    def once(self) -> bool:
        """Whether it is good for one use."""
        return self.action in ONCE


def kid_of(public: bytes) -> bytes:
    """Return the key id: the first 4 bytes of SHA-256 over the raw public key."""
    return hashlib.sha256(public).digest()[:_KID_BYTES]


def sign(capability: Capability, key: SigningKey) -> bytes:
    """Return the capability as signed bytes; CapabilityInvalid `capability.too_long`."""
    protected = _dump({_ALG: _EDDSA, _KID: kid_of(key.verifier.public)})
    payload = _dump(_claims(capability))
    signature = key.sign(_to_sign(protected, payload))
    data = _SIGN1 + _dump([protected, {}, payload, signature])
    if len(data) > BYTES_MAX:
        raise CapabilityInvalid("capability.too_long", "Use shorter names", length=len(data))
    return data


def verify(data: bytes, signers: Iterable[Verifier], audience: str) -> Capability:
    """Return the capability that one of `signers` signed for `audience` in these bytes.

    Raises CapabilityInvalid: `capability.malformed`, `capability.signer` (nobody we know),
    `capability.signature`, `capability.audience` (another site's).
    """
    protected, payload, signature = _opened(data)
    header = _load(protected)
    if not isinstance(header, dict) or header.keys() != {_ALG, _KID}:
        raise _malformed("header")
    kid = header[_KID]
    if header[_ALG] not in (_EDDSA, _ED25519) or type(kid) is not bytes or len(kid) != _KID_BYTES:
        raise _malformed("algorithm")
    # A cosigner's key (kind 4) signs heads of logs and nothing else.
    known = [one for one in signers if one.kind == KIND_NOTE and kid_of(one.public) == kid]
    if not known:
        raise CapabilityInvalid(
            "capability.signer", "Ask who issued it for one of this operator", kid=kid.hex()
        )
    message = _to_sign(protected, payload)
    if not any(one.verify(message, signature) for one in known):
        raise CapabilityInvalid("capability.signature", "It was altered: ask for a new one")
    capability = _read_claims(_load(payload))
    assert _dump(_claims(capability)) == payload, "there is one text for each value"
    if capability.audience != audience:
        raise CapabilityInvalid(
            "capability.audience", "Use it at the site it was issued for", named=capability.audience
        )
    return capability


def to_text(data: bytes, *, base32: bool = False) -> str:
    """Return the text of the QR code."""
    if base32:
        return PREFIX_BASE32 + base64.b32encode(data).decode().rstrip("=")
    return PREFIX + base45.encode(data)


def is_capability(text: str) -> bool:
    """Say whether a scanned text claims to be one: then it is nothing else."""
    return text.startswith((PREFIX, PREFIX_BASE32))


def from_text(text: str) -> bytes:
    """Return the bytes of a scanned text; `capability.malformed` or `base45.malformed`."""
    if len(text) > TEXT_MAX:
        raise _malformed("length")
    if text.startswith(PREFIX):
        return base45.decode(text.removeprefix(PREFIX))
    if not text.startswith(PREFIX_BASE32):
        raise _malformed("prefix")
    letters = text.removeprefix(PREFIX_BASE32)
    try:
        data = base64.b32decode(letters + "=" * (-len(letters) % 8))
    except ValueError:
        raise _malformed("base32") from None
    if to_text(data, base32=True) != text:
        raise _malformed("base32")
    return data


def _claims(capability: Capability) -> dict[int, Any]:
    claims: dict[int, Any] = {
        _SUBJECT: capability.subject,
        _AUDIENCE: capability.audience,
        _EXPIRES: capability.expires_s,
        _NOT_BEFORE: capability.not_before_s,
        _CTI: capability.cti,
        _ACTION: int(capability.action),
        _OBJECT: capability.object,
        _CLASS: capability.room,
    }
    return {key: value for key, value in claims.items() if value is not None}


_TYPES: dict[int, type] = {
    _SUBJECT: str, _AUDIENCE: str, _EXPIRES: int, _NOT_BEFORE: int, _CTI: bytes, _ACTION: int,
    _OBJECT: str, _CLASS: str,
}  # fmt: skip
_NEEDED = {_AUDIENCE, _EXPIRES, _NOT_BEFORE, _CTI, _ACTION}


def _read_claims(claims: Any) -> Capability:
    if not isinstance(claims, dict) or not _NEEDED <= claims.keys() <= _TYPES.keys():
        raise _malformed("claims")
    for key, value in claims.items():
        if type(value) is not _TYPES[key]:
            raise _malformed(f"claim {key}")
    try:
        action = Action(claims[_ACTION])
    except ValueError:
        raise _malformed("action") from None
    return Capability(
        audience=claims[_AUDIENCE],
        action=action,
        cti=claims[_CTI],
        not_before_s=claims[_NOT_BEFORE],
        expires_s=claims[_EXPIRES],
        object=claims.get(_OBJECT),
        subject=claims.get(_SUBJECT),
        room=claims.get(_CLASS),
    )


def _opened(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (protected, payload, signature) of a tagged COSE_Sign1."""
    if len(data) > BYTES_MAX:
        raise _malformed("length")
    if not data.startswith(_SIGN1):
        raise _malformed("tag")
    parts = _load(data.removeprefix(_SIGN1))
    if not isinstance(parts, list) or len(parts) != 4:  # noqa: PLR2004  # RFC 9052, 4.2
        raise _malformed("parts")
    protected, unprotected, payload, signature = parts
    if any(type(one) is not bytes for one in (protected, payload, signature)) or unprotected != {}:
        raise _malformed("parts")
    return protected, payload, signature


def _to_sign(protected: bytes, payload: bytes) -> bytes:
    return _dump(["Signature1", protected, b"", payload])  # RFC 9052, 4.4


def _dump(value: object) -> bytes:
    return cbor2.dumps(value, canonical=True)


def _load(data: bytes) -> Any:
    """Decode CBOR that is exactly as we would write it, and not deeper than `_DEPTH_MAX`."""
    _check_plain(data)
    try:
        value = cbor2.loads(
            data, max_depth=_DEPTH_MAX, allow_indefinite=False, allow_duplicate_keys=False
        )
        again = _dump(value)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError):
        raise _malformed("cbor") from None
    if again != data:
        raise _malformed("cbor")
    return value


def _check_plain(data: bytes) -> None:
    """Refuse all but numbers, strings, arrays and maps, before a decoder makes anything of it.

    cbor2 turns tags into dates, regular expressions, e-mails and references to itself; a pattern of
    450 bytes alone keeps it busy for a third of a second. A float or `true` would equal a number.
    """
    at = 0
    while at < len(data):
        kind, size = data[at] >> 5, data[at] & 31
        if kind > _MAP or size > _HEAD_MAX:
            raise _malformed("kind")
        at += 1
        if size >= _HEAD_MIN:
            wide = 1 << (size - _HEAD_MIN)
            at, size = at + wide, int.from_bytes(data[at : at + wide], "big")
        if kind in _STRINGS:
            at += size


def _malformed(what: str) -> CapabilityInvalid:
    return CapabilityInvalid(
        "capability.malformed", "Scan it again, or ask for a new one", what=what
    )
