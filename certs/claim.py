"""Claims: the one-time secret that lets a gateway enrol, and the text that carries it. Pure.

A claim is 128 random bits, good once, for a day, for one site. People read it as 26 letters of
Base32; a QR code carries it with what it needs: `PLG1E:<claim>:<root fingerprint>:<url>`. The hub
keeps only its id and never sees it before the gateway proves it: HMAC over request and log key.
"""

import base64
import hashlib
import hmac
import ipaddress
import re
from dataclasses import dataclass, field

from certs.errors import TrustInvalid

CLAIM_BYTES = 16
CLAIM_S = 86_400
PREFIX = "PLG1E:"
TEXT_MAX = 640
PORT_MAX = 65_535
_letters = re.compile(r"[A-Z2-7]{26}").fullmatch
_hex = re.compile(r"[0-9a-f]{64}").fullmatch
_url = re.compile(
    r"https://(?:[A-Za-z0-9][A-Za-z0-9.-]{0,252}|\[[0-9A-Fa-f:.]{2,45}\])(?::([0-9]{1,5}))?"
    r"(?:/[A-Za-z0-9._~/-]{0,255})?"
).fullmatch


@dataclass(frozen=True, slots=True)
class Invitation:
    """What the console gives an installer: the claim, whose hub, and the root's fingerprint."""

    claim: bytes = field(repr=False)
    root: str = ""
    url: str = ""

    def text(self) -> str:
        """Return the text of the QR code."""
        return f"{PREFIX}{write(self.claim)}:{self.root}:{self.url}"


def write(claim: bytes) -> str:
    """Return the 26 letters of a claim."""
    return base64.b32encode(claim).decode().rstrip("=")


def read(text: str) -> Invitation:
    """Return the invitation in a QR code's text, or in 26 letters alone (any case, spaced).

    Raises TrustInvalid `claim.malformed`.
    """
    stripped = text.strip()
    if len(text) > TEXT_MAX or not text.isascii():  # in capitals, other letters become ours
        raise _malformed("length" if text.isascii() else "letters")
    if not stripped.startswith(PREFIX):
        return Invitation(_claim(re.sub(r"[\s-]", "", stripped).upper()))
    parts = stripped.removeprefix(PREFIX).split(":", 2)
    if len(parts) != 3 or not _hex(parts[1]) or not is_url(parts[2]):  # noqa: PLR2004  # its fields
        raise _malformed("shape")
    return Invitation(_claim(parts[0]), parts[1], parts[2])


def is_url(text: str) -> bool:
    """Say whether a text is the address of a hub: https, a host, no more than a port and a path.

    Whatever passes here, every library of URLs reads, and reads the same host from.
    """
    found = _url(text)
    if found is None or int(found[1] or 0) > PORT_MAX:
        return False
    address = text.removeprefix("https://[")
    try:
        return address == text or ipaddress.IPv6Address(address.partition("]")[0]) is not None
    except ValueError:
        return False


def claim_id(claim: bytes) -> str:
    """Return the id by which the hub keeps a claim: 16 hex digits that tell nothing of it."""
    return hashlib.sha256(b"locker-claim-id/v1\0" + claim).hexdigest()[:16]


def proof(claim: bytes, csr: bytes, log_key: bytes) -> bytes:
    """Return what proves the claim for this request and this log key: 32 bytes.

    The log's public key (32 bytes) is bound too, beside the request of SECURITY.md 2: who changes
    it on the way changes whose log it is.
    """
    return hmac.digest(claim, hashlib.sha256(csr).digest() + log_key, "sha256")


def proves(claim: bytes, csr: bytes, log_key: bytes, given: bytes) -> bool:
    """Say whether `given` is the proof, in constant time."""
    return hmac.compare_digest(proof(claim, csr, log_key), given)


def _claim(letters: str) -> bytes:
    if not _letters(letters):
        raise _malformed("letters")
    claim = base64.b32decode(letters + "======")
    if write(claim) != letters:
        raise _malformed("letters")
    return claim


def _malformed(what: str) -> TrustInvalid:
    return TrustInvalid("claim.malformed", "Type the 26 letters again, or scan the QR", what=what)
