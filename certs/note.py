"""Signed notes, checkpoints and cosignatures (C2SP signed-note, tlog-checkpoint, tlog-cosignature).

A note is a text, an empty line, and signature lines:

    lockers.example/site/0042/e1-9f2c01ab/custody
    117
    <base64 of 32 bytes>
                                                       <- the last empty line ends the text
    — <key name> <base64(4-byte key id || signature)>

Nothing of the text may be believed before `open_note` has returned it. What is stricter here than
in C2SP, because these notes are ours: the text holds no empty line, a checkpoint has exactly three
lines, and every signature line of a known key must verify, a repeated one too.
"""

import base64
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Self

from certs.errors import KeyInvalid, NoteInvalid
from certs.keys import (
    KEY_ID_BYTES,
    KIND_COSIGNATURE,
    KIND_NOTE,
    TIME_BYTES,
    TIME_S_MAX,
    SigningKey,
    Verifier,
    check_key_name,
    cosignature_message,
    decode_base64,
)

NOTE_BYTES_MAX = 16 * 1024
SIGNATURES_MAX = 100
SIZE_MAX = 2**63 - 1
ROOT_BYTES = 32
_SIZE_DIGITS_MAX = 19
_CHECKPOINT_LINES = 3


@dataclass(frozen=True, slots=True)
class Signature:
    """One signature line as it stands in a note, verified or not."""

    name: str
    key_id: bytes
    value: bytes

    def line(self) -> str:
        """Return the line with its newline."""
        return f"\u2014 {self.name} {base64.b64encode(self.key_id + self.value).decode()}\n"


@dataclass(frozen=True, slots=True)
class Opened:
    """A note that verified: its text, and who signed it, each key once, in the note's order."""

    text: str
    signed_by: tuple[Verifier, ...]


@dataclass(frozen=True, slots=True)
class Cosignature:
    """A verified statement: at `time_s` (POSIX seconds) this key had seen the checkpoint."""

    verifier: Verifier
    time_s: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The head of a log: origin, number of entries, 32-byte root.

    Raises NoteInvalid (`checkpoint.origin`, `checkpoint.size`, `checkpoint.root`).
    """

    origin: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        """Refuse a head that could not be written and read back."""
        try:
            check_key_name(self.origin)
        except KeyInvalid as error:
            raise _bad_checkpoint("origin") from error
        if not 0 <= self.size <= SIZE_MAX:
            raise _bad_checkpoint("size")
        if len(self.root) != ROOT_BYTES:
            raise _bad_checkpoint("root")

    def text(self) -> str:
        """Return the three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read exactly three lines; raises NoteInvalid (`checkpoint.*`). Verifies nothing."""
        lines = text.split("\n")
        if len(lines) != _CHECKPOINT_LINES + 1 or lines[-1]:
            raise _bad_checkpoint("lines")
        root = decode_base64(lines[2])
        if root is None:
            raise _bad_checkpoint("root")
        return cls(lines[0], _parse_size(lines[1]), root)


def sign_note(text: str, *keys: SigningKey) -> str:
    """Sign the text with each key, in this order, and return the note.

    Raises NoteInvalid (`note.*`) for a text that no reader would accept, KeyInvalid (`key.none`,
    `key.kind`, `key.ambiguous`) for the keys.
    """
    _check_text(_decode(text))
    if not keys:
        raise KeyInvalid("key.none", "A note needs at least one key to sign it")
    for key in keys:
        _need_kind(key.verifier, KIND_NOTE)
    _by_pair(key.verifier for key in keys)
    message = text.encode()
    lines = [
        Signature(k.name, k.verifier.key_id, k.sign(message)).line() for k in dict.fromkeys(keys)
    ]
    note = f"{text}\n{''.join(lines)}"
    parse_note(note)
    return note


def open_note(note: str | bytes, verifiers: Iterable[Verifier]) -> Opened:
    """Return the text of a note that at least one of the verifiers signed.

    Lines of unknown (name, id) pairs are ignored; one bad signature of a known key fails the note.
    Raises NoteInvalid: `note.size`, `note.utf8`, `note.control`, `note.ending`, `note.empty_line`,
    `note.no_signatures`, `note.too_many_signatures`, `note.signature_line`, `note.bad_signature`,
    `note.unverified`; KeyInvalid(`key.ambiguous`) if two different verifiers share name and id.
    """
    text, verified = _verified(note, verifiers)
    if not verified:
        raise NoteInvalid("note.unverified", "No key known here signed this: check the vkey")
    return Opened(text, tuple(dict.fromkeys(verifier for verifier, _ in verified)))


def parse_note(note: str | bytes) -> tuple[str, tuple[Signature, ...]]:
    """Take a note apart without believing it: its text and all its signature lines.

    Raises NoteInvalid as `open_note` does, for the form only.
    """
    whole = _decode(note)
    if not whole.endswith("\n"):
        raise NoteInvalid("note.ending", "The note is cut short: fetch it again")
    end = whole.rfind("\n\n")
    if end < 0:
        raise NoteInvalid("note.no_signatures", "There is no empty line before signatures")
    text, lines = whole[: end + 1], whole[end + 2 :].split("\n")[:-1]
    _check_text(text)
    if not lines:
        raise NoteInvalid("note.no_signatures", "The note carries no signature line")
    if len(lines) > SIGNATURES_MAX:
        raise NoteInvalid("note.too_many_signatures", "Remove old signatures", count=len(lines))
    return text, tuple(_parse_signature(number, line) for number, line in enumerate(lines, 1))


def sign_checkpoint(checkpoint: Checkpoint, key: SigningKey) -> str:
    """Return the signed note of a checkpoint; the key's name must be its origin.

    Raises NoteInvalid(`checkpoint.signer`) otherwise.
    """
    if key.name != checkpoint.origin:
        raise NoteInvalid(
            "checkpoint.signer",
            "A log signs with the key that carries its origin as name",
            origin=checkpoint.origin,
            key=key.name,
        )
    return sign_note(checkpoint.text(), key)


def open_checkpoint(note: str | bytes, *verifiers: Verifier) -> Checkpoint:
    """Return the checkpoint of a note that its own log signed.

    One verifier, or several during the overlap of a key change. Accepted with at least one verified
    signature of kind 1 whose key name equals the origin. Raises as `open_note` and
    `Checkpoint.parse`; `checkpoint.signer` when the signer is known but not this log's.
    """
    for verifier in verifiers:
        _need_kind(verifier, KIND_NOTE)
    opened = open_note(note, verifiers)
    checkpoint = Checkpoint.parse(opened.text)
    if all(verifier.name != checkpoint.origin for verifier in opened.signed_by):
        raise NoteInvalid(
            "checkpoint.signer",
            "This is the checkpoint of another log",
            origin=checkpoint.origin,
            signed_by=[verifier.name for verifier in opened.signed_by],
        )
    return checkpoint


def cosign(note: str | bytes, key: SigningKey, time_s: int) -> str:
    """Return the cosignature line (with newline) of a key of kind 4 for a checkpoint note.

    The caller has opened and checked the checkpoint; here only its form is read again. Append the
    line to the note. Raises NoteInvalid (`note.*`, `checkpoint.*`, `cosignature.time`) and
    KeyInvalid(`key.kind`).
    """
    _need_kind(key.verifier, KIND_COSIGNATURE)
    if not 0 <= time_s <= TIME_S_MAX:
        raise NoteInvalid("cosignature.time", "Time is in whole seconds since 1970", time_s=time_s)
    text, _ = parse_note(note)
    Checkpoint.parse(text)
    signature = key.sign(cosignature_message(text.encode(), time_s))
    value = time_s.to_bytes(TIME_BYTES, "big") + signature
    return Signature(key.name, key.verifier.key_id, value).line()


def open_cosignatures(note: str | bytes, verifiers: Iterable[Verifier]) -> tuple[Cosignature, ...]:
    """Return the verified cosignatures of these keys of kind 4, one a key: its latest.

    Empty when none of them cosigned; a bad line of a known key raises NoteInvalid. This does not
    check the log's own signature: `open_checkpoint` does.
    """
    known = tuple(verifiers)
    for verifier in known:
        _need_kind(verifier, KIND_COSIGNATURE)
    text, verified = _verified(note, known)
    Checkpoint.parse(text)
    latest: dict[Verifier, int] = {}
    for verifier, value in verified:
        time_s = int.from_bytes(value[:TIME_BYTES], "big")
        latest[verifier] = max(time_s, latest.get(verifier, 0))
    return tuple(Cosignature(verifier, time_s) for verifier, time_s in latest.items())


def _verified(
    note: str | bytes, verifiers: Iterable[Verifier]
) -> tuple[str, list[tuple[Verifier, bytes]]]:
    """Return the text and the (key, signature) of every line of a known key, each checked."""
    known = _by_pair(verifiers)
    text, signatures = parse_note(note)
    message = text.encode()
    verified = []
    for signature in dict.fromkeys(signatures):
        verifier = known.get((signature.name, signature.key_id))
        if verifier is None:
            continue
        # SPEC: signed-note: a known key's signature MUST be verified; if it fails, reject the note.
        if not verifier.verify(message, signature.value):
            raise NoteInvalid(
                "note.bad_signature",
                "The text was altered, or the signature is another text's: fetch it again",
                name=signature.name,
                key_id=signature.key_id.hex(),
            )
        verified.append((verifier, signature.value))
    return text, verified


def _by_pair(verifiers: Iterable[Verifier]) -> dict[tuple[str, bytes], Verifier]:
    known: dict[tuple[str, bytes], Verifier] = {}
    for verifier in verifiers:
        if known.setdefault((verifier.name, verifier.key_id), verifier) != verifier:
            raise KeyInvalid(
                "key.ambiguous",
                "Two different keys share this name and id: make a new one of them",
                name=verifier.name,
                key_id=verifier.key_id.hex(),
            )
    return known


def _need_kind(verifier: Verifier, kind: int) -> None:
    if verifier.kind != kind:
        raise KeyInvalid(
            "key.kind",
            "A log key (kind 1) and a cosigner's key (kind 4) are never used for each other",
            name=verifier.name,
            kind=verifier.kind,
            needed=kind,
        )


def _decode(note: str | bytes) -> str:
    try:
        raw = note.encode() if isinstance(note, str) else note
        if len(raw) > NOTE_BYTES_MAX:
            raise NoteInvalid("note.size", "A note has at most 16 KiB", length=len(raw))
        return raw.decode()
    except UnicodeError as error:
        raise NoteInvalid("note.utf8", "The note is not UTF-8 text: fetch it again") from error


def _check_text(text: str) -> None:
    if not text.endswith("\n"):
        raise NoteInvalid("note.ending", "The text of a note ends with a newline")
    if text.startswith("\n") or "\n\n" in text:
        raise NoteInvalid("note.empty_line", "The text of a note holds no empty line")
    if any(_forbidden(text)):
        raise NoteInvalid("note.control", "A note holds no control characters but newlines")


def _forbidden(text: str) -> Iterator[bool]:
    return (letter < " " and letter != "\n" for letter in text)


def _parse_signature(number: int, line: str) -> Signature:
    """Read one line; `number` counts from 1 and is the evidence."""
    parts = line.split(" ")
    raw = decode_base64(parts[-1])
    try:
        mark, name, _ = parts
        check_key_name(name)
    except (ValueError, KeyInvalid) as error:
        raise _bad_line(number) from error
    if mark != "\u2014" or raw is None or len(raw) <= KEY_ID_BYTES:
        raise _bad_line(number)
    return Signature(name, raw[:KEY_ID_BYTES], raw[KEY_ID_BYTES:])


def _bad_line(number: int) -> NoteInvalid:
    return NoteInvalid("note.signature_line", "This is no signature line", number=number)


def _parse_size(digits: str) -> int:
    """Read a decimal without sign or leading zeros, ASCII digits only."""
    fits = 0 < len(digits) <= _SIZE_DIGITS_MAX and digits.isascii() and digits.isdigit()
    if not fits or (digits[0] == "0" and digits != "0"):
        raise _bad_checkpoint("size")
    return int(digits)


def _bad_checkpoint(part: str) -> NoteInvalid:
    return NoteInvalid(
        f"checkpoint.{part}",
        "A checkpoint is exactly origin, decimal size and base64 of a 32-byte root",
    )
