r"""Proof files: one entry is in one signed log, checkable years later without asking anybody.

The text form is `c2sp.org/tlog-proof@v1`. The grammar, every line ending in one 0A:

    proof      = header [extra] index *hash empty checkpoint
    header     = "c2sp.org/tlog-proof@v1" LF
    extra      = "extra " base64 LF            ; at least one byte; *not* authenticated by anything
    index      = "index " decimal LF           ; from 0, no leading zeros, below 2^63
    hash       = base64 LF                     ; 32 bytes, leaf's sibling first, at most 63
    empty      = LF
    checkpoint = signed note                   ; to the end, with all its cosignatures

base64 is RFC 4648 section 4 in its canonical form. The whole has at most 32 KiB. There is exactly
one text for a proof: `parse` then `text` gives the same bytes back.

`check` does, in this order, and the code of the refusal says where it stopped:
(1) form, `proof.*`; (2) the log's own signature, `proof.checkpoint`; (3) the cosignatures asked
for, `proof.cosignatures`; (4) the index lies in the tree, and (5) the hashes lead from the entry's
bytes to the signed root, `merkle.*`.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

from certs.errors import NoteInvalid
from certs.keys import Verifier, decode_base64
from certs.note import Checkpoint, Cosignature, open_checkpoint, open_cosignatures, parse_note
from sync.errors import TheirsInvalid
from sync.merkle import HASH_BYTES, PROOF_HASHES_MAX, SIZE_MAX, leaf_hash, verify_inclusion

HEADER = "c2sp.org/tlog-proof@v1"
PROOF_BYTES_MAX = 32 * 1024
_INDEX_DIGITS_MAX = 19


@dataclass(frozen=True, slots=True)
class Proof:
    """A proof as it is written; nothing in it is verified.

    `checkpoint` is the whole signed note. Raises TheirsInvalid (`proof.index`, `proof.hash`,
    `proof.extra`, `proof.checkpoint`, `proof.size`).
    """

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def __post_init__(self) -> None:
        """Refuse what could not be written and read back."""
        if not 0 <= self.index < SIZE_MAX:
            raise _refused("index", "The index is a whole number from 0", index=self.index)
        if len(self.hashes) > PROOF_HASHES_MAX:
            raise _refused("hash", "A proof has at most 63 hashes", count=len(self.hashes))
        for number, one in enumerate(self.hashes, 1):
            _check_hash(number, one)
        if self.extra == b"":
            raise _refused("extra", "Leave the line out when there is nothing to say")
        try:
            parse_note(self.checkpoint)
        except NoteInvalid as error:
            raise _bad_checkpoint(error) from error
        length = len(self.text().encode())
        if length > PROOF_BYTES_MAX:
            raise _refused("size", "A proof has at most 32 KiB", length=length)

    def text(self) -> str:
        """Return the file."""
        extra = [] if self.extra is None else [f"extra {base64.b64encode(self.extra).decode()}"]
        hashes = (base64.b64encode(one).decode() for one in self.hashes)
        lines = [HEADER, *extra, f"index {self.index}", *hashes, ""]
        return "\n".join(lines) + "\n" + self.checkpoint

    @classmethod
    def parse(cls, text: str | bytes) -> Self:
        """Read a file; raises TheirsInvalid (`proof.*`) naming the part that is wrong."""
        head, found, checkpoint = _decode(text).partition("\n\n")
        if not found:
            raise _refused("form", "The empty line before the checkpoint is missing")
        lines = head.split("\n")
        if lines.pop(0) != HEADER:
            raise _refused("header", f"The first line of a proof is {HEADER}")
        extra = _parse_extra(lines.pop(0)) if lines and lines[0].startswith("extra ") else None
        if not lines:
            raise _refused("index", "The index line is missing")
        index = _parse_index(lines.pop(0))
        hashes = tuple(_parse_hash(number, line) for number, line in enumerate(lines, 1))
        return cls(index, hashes, checkpoint, extra)


@dataclass(frozen=True, slots=True)
class Verified:
    """What a checked proof says: this entry has this index in the log of this checkpoint."""

    index: int
    checkpoint: Checkpoint
    cosignatures: tuple[Cosignature, ...]


def check(
    entry: bytes,
    proof: Proof | str | bytes,
    *verifiers: Verifier,
    cosigners: Iterable[Verifier] = (),
    cosignatures_min: int = 0,
) -> Verified:
    """Check that the entry, by its bytes, is in the log that one of the verifiers signs.

    `verifiers` are the log's keys (kind 1; several during a key change), `cosigners` keys of kind 4
    of which at least `cosignatures_min` must have signed. Raises TheirsInvalid: see the module.
    KeyInvalid from certs is the caller's own mistake and goes through.
    """
    read = proof if isinstance(proof, Proof) else Proof.parse(proof)
    try:
        checkpoint = open_checkpoint(read.checkpoint, *verifiers)
        cosignatures = open_cosignatures(read.checkpoint, cosigners)
    except NoteInvalid as error:
        raise _bad_checkpoint(error) from error
    if len(cosignatures) < cosignatures_min:
        raise _refused(
            "cosignatures",
            "Ask for the proof again once the checkpoint has been cosigned",
            got=len(cosignatures),
            expected=cosignatures_min,
        )
    leaf = leaf_hash(entry)
    verify_inclusion(leaf, read.index, checkpoint.size, read.hashes, checkpoint.root)
    return Verified(read.index, checkpoint, cosignatures)


def _decode(text: str | bytes) -> str:
    try:
        raw = text.encode() if isinstance(text, str) else text
        if len(raw) > PROOF_BYTES_MAX:
            raise _refused("size", "A proof has at most 32 KiB", length=len(raw))
        return raw.decode()
    except UnicodeError as error:
        raise _refused("utf8", "The proof is not UTF-8 text: fetch it again") from error


def _parse_extra(line: str) -> bytes:
    extra = decode_base64(line.removeprefix("extra "))
    if extra is None:
        raise _refused("extra", "The extra line is not base64")
    return extra


def _parse_index(line: str) -> int:
    mark, _, digits = line.partition(" ")
    fits = 0 < len(digits) <= _INDEX_DIGITS_MAX and digits.isascii() and digits.isdigit()
    if mark != "index" or not fits or (digits[0] == "0" and digits != "0"):
        raise _refused("index", "The index line reads: index, a space, a whole number")
    return int(digits)


def _parse_hash(number: int, line: str) -> bytes:
    # An empty line in place of one that is not base64: the length is wrong either way.
    one = decode_base64(line) or b""
    _check_hash(number, one)
    return one


def _check_hash(number: int, one: bytes) -> None:
    if len(one) != HASH_BYTES:
        raise _refused("hash", "A hash line is base64 of 32 bytes", number=number)


def _bad_checkpoint(error: NoteInvalid) -> TheirsInvalid:
    return _refused("checkpoint", error.remedy, cause=error.code, **error.evidence)


def _refused(part: str, remedy: str, **evidence: object) -> TheirsInvalid:
    return TheirsInvalid(f"proof.{part}", remedy, **evidence)
