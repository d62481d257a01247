"""Ed25519 keys that sign, and what is needed to check them.

Names and ids follow C2SP signed-note: a key is known by its name *and* its id, where
id = first 4 bytes of SHA-256(name || 0A || kind || public key). Kind 1 signs a text as it is; kind
4 signs a checkpoint together with a time (a cosignature). The kind is part of the id, so the two
uses of one key could never be taken for each other, and we still never use one key for both.

`vkey`, the form in which a public key travels: `<name>+<8 hex of id>+<base64(kind || public key)>`.
"""

import base64
import hashlib
from dataclasses import dataclass, field
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from certs.errors import KeyInvalid

KIND_NOTE = 1
KIND_COSIGNATURE = 4
KEY_BYTES = 32
KEY_ID_BYTES = 4
SIGNATURE_BYTES = 64
TIME_BYTES = 8
TIME_S_MAX = 2**63 - 1  # SPEC: tlog-cosignature, "MUST NOT exceed 2^63 - 1"
NAME_BYTES_MAX = 255
_VKEY_CHARACTERS_MAX = NAME_BYTES_MAX + 64


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name: says whether a signature is this key's.

    `public` is 32 bytes, `kind` is KIND_NOTE or KIND_COSIGNATURE. Raises KeyInvalid
    (`key.name`, `key.length`, `key.kind`).
    """

    name: str
    public: bytes = field(repr=False)
    kind: int = KIND_NOTE
    key_id: bytes = field(init=False, compare=False)
    _key: Ed25519PublicKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse what could never verify; compute the id once."""
        check_key_name(self.name)
        _check_kind(self.kind)
        _check_key_bytes(self.public)
        head = self.name.encode() + b"\n" + bytes([self.kind])
        key_id = hashlib.sha256(head + self.public).digest()[:KEY_ID_BYTES]
        object.__setattr__(self, "key_id", key_id)
        object.__setattr__(self, "_key", Ed25519PublicKey.from_public_bytes(self.public))

    @classmethod
    def from_vkey(cls, text: str) -> Self:
        """Read a vkey. Raises KeyInvalid (`key.vkey` and those of the constructor)."""
        parts = text[: _VKEY_CHARACTERS_MAX + 1].split("+", 2)
        material = decode_base64(parts[-1])
        if len(parts) != 3 or not material:  # noqa: PLR2004  # name, id, key
            raise _bad_vkey("shape")
        verifier = cls(parts[0], material[1:], material[0])
        # Compare with the one way to write it: this checks the id, its case and its length at once.
        if verifier.vkey != text:
            raise _bad_vkey("id")
        return verifier

    @property
    def vkey(self) -> str:
        """The text form, as `from_vkey` reads it."""
        material = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether `signature` is this key's over `message`; never raises.

        Kind 1: 64 bytes over the message. Kind 4: 8 bytes of POSIX seconds and 64 bytes over
        `cosignature_message(message, seconds)`.
        """
        if self.kind == KIND_COSIGNATURE:
            time_s = int.from_bytes(signature[:TIME_BYTES], "big")
            if time_s > TIME_S_MAX:
                return False
            message, signature = cosignature_message(message, time_s), signature[TIME_BYTES:]
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A private key with its name. Neither `repr` nor an error ever shows the seed.

    Made by `from_seed`; `seed` is the 32 bytes of RFC 8032, to be kept in a KeyStore.
    """

    name: str
    seed: bytes = field(repr=False)
    kind: int = KIND_NOTE
    verifier: Verifier = field(init=False, repr=False, compare=False)
    _key: Ed25519PrivateKey = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Derive the public half."""
        _check_key_bytes(self.seed)
        private = Ed25519PrivateKey.from_private_bytes(self.seed)
        public = private.public_key().public_bytes_raw()
        object.__setattr__(self, "_key", private)
        object.__setattr__(self, "verifier", Verifier(self.name, public, self.kind))

    @classmethod
    def from_seed(cls, name: str, seed: bytes, kind: int = KIND_NOTE) -> Self:
        """Make the key of a 32-byte seed. Raises KeyInvalid as Verifier does."""
        return cls(name, seed, kind)

    @property
    def vkey(self) -> str:
        """The public half as text."""
        return self.verifier.vkey

    def sign(self, message: bytes) -> bytes:
        """64 bytes of Ed25519 over the message as it is, whatever the kind."""
        return self._key.sign(message)


def cosignature_message(text: bytes, time_s: int) -> bytes:
    """Return what a cosigner signs: a domain line, a time line, the checkpoint's text."""
    # SPEC: c2sp.org/tlog-cosignature, "Ed25519 signed message".
    return b"cosignature/v1\ntime %d\n" % time_s + text


def check_key_name(name: str) -> None:
    """Raise KeyInvalid(`key.name`) unless the name may stand in a note.

    SPEC: c2sp.org/signed-note: non-empty, no Unicode space, no plus sign; control characters are
    forbidden in notes altogether. At most 255 bytes is ours.
    """
    spoilt = any(letter <= " " or letter == "+" or letter.isspace() for letter in name)
    if not name or spoilt or not _fits(name):
        raise KeyInvalid(
            "key.name",
            "Use a name such as lockers.example/site/0042: no spaces, no plus sign, 1 to 255 bytes",
            characters=len(name),
        )


def decode_base64(text: str) -> bytes | None:
    """Decode standard base64 in its one canonical form; None for anything else."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        return None
    return data if base64.b64encode(data).decode() == text else None


def _fits(name: str) -> bool:
    try:
        return len(name.encode()) <= NAME_BYTES_MAX
    except UnicodeEncodeError:  # a lone surrogate
        return False


def _check_kind(kind: int) -> None:
    if kind not in {KIND_NOTE, KIND_COSIGNATURE}:
        raise KeyInvalid("key.kind", "Only Ed25519 keys of kind 1 and 4 are understood", kind=kind)


def _check_key_bytes(material: bytes) -> None:
    if len(material) != KEY_BYTES:
        raise KeyInvalid("key.length", "An Ed25519 key has 32 bytes", length=len(material))


def _bad_vkey(part: str) -> KeyInvalid:
    return KeyInvalid("key.vkey", "Copy the vkey again, whole: name+id+key", part=part)
