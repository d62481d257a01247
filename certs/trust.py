"""Whom a site trusts, as signed documents that rise in number, and what time it is. Pure.

    the pinned root --endorses--> trust key --signs--> anchors N, denials N
                    --endorses--> time key  --signs--> {nonce, time}

- *Endorsement*: the root's own signature over the vkeys of the trust key and the time key. So a
  stolen TLS key of the hub, however old, can neither change whom a site trusts nor tell the time.
- *Anchors*: the roots of this operator. *Denials*: who may sign capabilities, and which of them
  are denied. Each has a number; a lower one is never taken (`newer`).
- *Time*: the hub's word on now, for a nonce of ours.

All are texts of signed notes (FORMATS.md 3), their first line says which: no signature of one
can be taken for another's.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from certs import authority, base45, note
from certs.authority import PrivateKey
from certs.errors import CertificateInvalid, KeyInvalid, TrustInvalid
from certs.keys import KIND_NOTE, SigningKey, Verifier, decode_base64

ROOTS_MAX = 4
SIGNERS_MAX = 16
DENIED_MAX = 400  # a note has at most 16 KiB
NUMBER_MAX = 2**53 - 1
TIME_MS_MAX = 253_402_300_799_999  # the last millisecond of the year 9999
NONCE_BYTES = 16
PREFIX_DENIALS = "PLG1D:"
"""A visitor's device carries denials in as `PLG1D:` and Base45 of the note."""
_SCANNED_MAX = len(PREFIX_DENIALS) + note.NOTE_BYTES_MAX * 3 // 2 + 1
_ENDORSES = b"locker-endorsement/v1\n"
_number = re.compile(r"0|[1-9][0-9]{0,15}").fullmatch
_cti = re.compile(r"[0-9a-f]{16}").fullmatch


@dataclass(frozen=True, slots=True)
class Endorsement:
    """The root's word for the trust key and the time key (vkeys).

    `signature` is base64 (DER); while roots change, one of each root, separated by a space.
    """

    trust: str
    time: str
    signature: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Keys:
    """The two keys that an endorsement that was checked names."""

    trust: Verifier
    time: Verifier


@dataclass(frozen=True, slots=True)
class Anchors:
    """The roots of an operator (DER), the newest last."""

    operator: str
    number: int
    roots: tuple[bytes, ...]

    def text(self) -> str:
        """Return the text that is signed."""
        lines = [f"{self.operator}/anchors", str(self.number)]
        lines += [f"root {base64.b64encode(one).decode()}" for one in self.roots]
        return "\n".join(lines) + "\n"

    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the roots; CertificateInvalid if one is none."""
        return tuple(authority.from_der(one) for one in self.roots)


@dataclass(frozen=True, slots=True)
class Denials:
    """Who may sign capabilities (vkeys), and which are denied: cti (hex) and its end (POSIX s).

    `made_s` is when the list was made, by the hub's clock.
    """

    operator: str
    number: int
    made_s: int
    signers: tuple[str, ...]
    denied: Mapping[str, int]

    def text(self) -> str:
        """Return the text that is signed."""
        lines = [f"{self.operator}/denials", f"{self.number} {self.made_s}"]
        lines += [f"signer {one}" for one in self.signers]
        lines += [f"denied {cti} {end}" for cti, end in sorted(self.denied.items())]
        return "\n".join(lines) + "\n"

    def verifiers(self) -> tuple[Verifier, ...]:
        """Return the keys of the signers."""
        return tuple(Verifier.from_vkey(one) for one in self.signers)


# --- the root's word ------------------------------------------------------------------------------


def endorse(root: PrivateKey, trust: Verifier, time: Verifier) -> Endorsement:
    """Return the root's word for both keys."""
    signature = root.sign(_endorsed(trust.vkey, time.vkey), ec.ECDSA(hashes.SHA256()))
    return Endorsement(trust.vkey, time.vkey, base64.b64encode(signature).decode())


def check_endorsement(
    given: Endorsement, roots: tuple[x509.Certificate, ...], operator: str
) -> Keys:
    """Return the keys that one of the roots endorses for `operator`.

    Raises TrustInvalid `trust.endorsement` (not the root's word), `trust.malformed`.
    """
    signatures = [decode_base64(one) for one in given.signature.split(" ", ROOTS_MAX)]
    try:
        keys = Keys(Verifier.from_vkey(given.trust), Verifier.from_vkey(given.time))
    except KeyInvalid as error:
        raise TrustInvalid("trust.malformed", error.remedy, cause=error.code) from error
    named = (keys.trust.name, keys.time.name)
    notes = keys.trust.kind == keys.time.kind == KIND_NOTE
    if None in signatures or not notes or named != (f"{operator}/trust", f"{operator}/time"):
        raise TrustInvalid("trust.malformed", "Ask the hub again", named=named[0])
    message = _endorsed(given.trust, given.time)
    if any(_signed(root, one or b"", message) for root in roots for one in signatures):
        return keys
    raise TrustInvalid("trust.endorsement", "Compare the root's fingerprint with the hub's")


# --- documents ------------------------------------------------------------------------------------


def sign(document: Anchors | Denials, key: SigningKey) -> str:
    """Return the document as a signed note.

    Refuses as `open_anchors` and `open_denials` would (or NoteInvalid `note.size`): what no site
    could open, a site must never be sent.
    """
    text = note.sign_note(document.text(), key)
    if isinstance(document, Anchors):
        open_anchors(text, key.verifier, document.operator)
    else:
        open_denials(text, key.verifier, document.operator)
    return text


def open_anchors(text: str, key: Verifier, operator: str) -> Anchors:
    """Return the anchors that a note states.

    Raises NoteInvalid, TrustInvalid `trust.malformed`.
    """
    number, rest = _opened(text, key, f"{operator}/anchors")
    roots = []
    for line in rest:
        der = decode_base64(line.removeprefix("root ")) if line.startswith("root ") else None
        try:
            sound = der is not None and authority.is_authority(authority.from_der(der))
        except CertificateInvalid:
            sound = False
        if der is None or not sound:
            raise _malformed("root")
        roots.append(der)
    if not 1 <= len(set(roots)) == len(roots) <= ROOTS_MAX:
        raise _malformed("roots")
    return Anchors(operator, _whole(number), tuple(roots))


def open_denials(text: str, key: Verifier, operator: str) -> Denials:
    """Return the denials that a note states. Raises as `open_anchors`."""
    head, rest = _opened(text, key, f"{operator}/denials")
    number, _, made = head.partition(" ")
    signers: list[str] = []
    denied: dict[str, int] = {}
    for line in rest:
        word, _, value = line.partition(" ")
        if word == "signer":
            signers.append(_signer(value))
        elif word == "denied":
            cti, _, end = value.partition(" ")
            if not _cti(cti):
                raise _malformed("cti")
            denied[cti] = _whole(end)
        else:
            raise _malformed("line")
    if len(signers) > SIGNERS_MAX or len(denied) > DENIED_MAX:
        raise _malformed("length")
    found = Denials(operator, _whole(number), _whole(made), tuple(signers), denied)
    if found.text() != text.rpartition("\n\n")[0] + "\n":
        raise _malformed("order")
    return found


def newer(known: str, offered: str) -> bool:
    """Say whether an offered note (both verified, of one kind) takes the place of the known one.

    The same document changes nothing. Raises TrustInvalid `trust.older`, and `trust.forked` where
    two documents of one number differ; `trust.malformed` for two kinds, or for no document.
    """
    kind, after = _number_of(offered)
    if not known:
        return True
    before_kind, before = _number_of(known)
    if before_kind != kind:
        raise _malformed("name")
    if before == after and known.rpartition("\n\n")[0] != offered.rpartition("\n\n")[0]:
        raise TrustInvalid("trust.forked", "Tell the operator: two lists of one number", at=after)
    if after < before:
        raise TrustInvalid("trust.older", "Keep the newer list", known=before, offered=after)
    return after > before


# --- time -----------------------------------------------------------------------------------------


def sign_time(operator: str, nonce: bytes, utc_ms: int, key: SigningKey) -> str:
    """Return the hub's word on now, for a nonce of 16 bytes."""
    return note.sign_note(f"{operator}/time\n{nonce.hex()}\n{utc_ms}\n", key)


def open_time(text: str, key: Verifier, operator: str, nonce: bytes) -> int:
    """Return UTC in milliseconds; NoteInvalid, TrustInvalid `trust.nonce`, `trust.malformed`."""
    head, rest = _opened(text, key, f"{operator}/time")
    if head != nonce.hex():
        raise TrustInvalid("trust.nonce", "Ask again: this answer is another's, or an old one")
    if len(rest) != 1 or _whole(rest[0]) > TIME_MS_MAX:
        raise _malformed("time")
    return _whole(rest[0])


# --- carried by hand ------------------------------------------------------------------------------


def denials_text(text: str) -> str:
    """Return what a QR code carries denials in as."""
    return PREFIX_DENIALS + base45.encode(text.encode())


def read_denials(scanned: str) -> str:
    """Return the note in a scanned text, still to be opened.

    Raises TrustInvalid `trust.malformed`, CapabilityInvalid `base45.malformed`.
    """
    if not scanned.startswith(PREFIX_DENIALS) or len(scanned) > _SCANNED_MAX:
        raise _malformed("prefix")
    try:
        return base45.decode(scanned.removeprefix(PREFIX_DENIALS)).decode()
    except UnicodeDecodeError:
        raise _malformed("text") from None


# --- parts ----------------------------------------------------------------------------------------


def fingerprint(text: str) -> str:
    """Return the first 16 hex digits of SHA-256 of a note's text: to tell two of them apart."""
    return hashlib.sha256((text.rpartition("\n\n")[0] + "\n").encode()).hexdigest()[:16]


def der_of(certificate: x509.Certificate) -> bytes:
    """Return a certificate as DER."""
    return certificate.public_bytes(serialization.Encoding.DER)


def _signed(root: x509.Certificate, signature: bytes, message: bytes) -> bool:
    try:
        authority.public_key(root).verify(signature, message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def _endorsed(trust: str, time: str) -> bytes:
    return _ENDORSES + f"{trust}\n{time}\n".encode()


def _opened(text: str, key: Verifier, first: str) -> tuple[str, list[str]]:
    """Return the second line of a verified note, and the lines after it."""
    lines = note.open_note(text, [key]).text.removesuffix("\n").split("\n")
    if len(lines) < 2 or lines[0] != first:  # noqa: PLR2004  # its name and its number
        raise _malformed("name")
    return lines[1], lines[2:]


def _number_of(text: str) -> tuple[str, int]:
    kind, _, rest = text.partition("\n")
    return kind, _whole(rest.partition("\n")[0].partition(" ")[0])


def _whole(text: str) -> int:
    if not _number(text) or int(text) > NUMBER_MAX:
        raise _malformed("number")
    return int(text)


def _signer(vkey: str) -> str:
    try:
        fits = Verifier.from_vkey(vkey).kind == KIND_NOTE
    except KeyInvalid:
        fits = False
    if not fits:
        raise _malformed("signer")
    return vkey


def _malformed(what: str) -> TrustInvalid:
    return TrustInvalid("trust.malformed", "Ask the hub for it again", what=what)
