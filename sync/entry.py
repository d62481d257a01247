"""An entry: a fact with its place in a log. Its header is read here, its meaning elsewhere.

Names, lanes and references of FORMATS.md 1, the header keys of FORMATS.md 2. Unknown kinds and keys
are carried: they are in `Entry.body` and in the bytes, which nobody writes again.

Codes of `TheirsInvalid`: those of `sync.canonical`, `entry.bad_reference`, `entry.bad_header` (with
the key), `entry.no_header`.
"""

import base64
import hashlib
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Final, Self

import msgspec

from sync import canonical
from sync.errors import TheirsInvalid
from sync.moment import Moment

SALT_BYTES: Final = 16
ANNEX_BYTES_MAX: Final = 4096
KIND_LENGTH_MAX: Final = 64

_HASH_BYTES: Final = 32
_AFTER_CRITICAL: Final = "!\x7f"
"""Sorts after every key that begins with the mark of a critical one."""
_EPOCH: Final = r"e[1-9][0-9]{0,9}-[0-9a-f]{8}"
_INDEX: Final = r"(?:0|[1-9][0-9]{0,14})"
_match_epoch = re.compile(_EPOCH).fullmatch
_match_ref = re.compile(rf"({_EPOCH}):([sh])([uct])({_INDEX})").fullmatch
_match_lane = re.compile(rf"({_EPOCH}):([sh])([uct])").fullmatch
_match_kind = re.compile(r"[a-z][a-z0-9_]*(?:\.[a-z][a-z0-9_]*)+").fullmatch


class Lane(StrEnum):
    """A log with a priority; one writer each."""

    URGENT = "urgent"
    CUSTODY = "custody"
    TELEMETRY = "telemetry"

    @property
    def letter(self) -> str:
        """The lane in a reference: u, c or t."""
        return self.value[0]

    @classmethod
    def of_letter(cls, letter: str) -> "Lane":
        """Return the lane of a reference's letter; `ValueError` for another letter."""
        for lane in cls:
            if lane.letter == letter:
                return lane
        raise ValueError(letter)


class Writer(StrEnum):
    """Whose voice a log is, as a reference says it."""

    SITE = "s"
    HUB = "h"


_LANES: Final = {lane.letter: lane for lane in Lane}
_WRITERS: Final = {writer.value: writer for writer in Writer}


class LaneRef(msgspec.Struct, frozen=True, order=True, gc=False):
    """One log as a reference names it: `<epoch>:<s|h><u|c|t>`."""

    epoch: str
    writer: Writer
    lane: Lane

    def __str__(self) -> str:  # type: ignore[explicit-override]  # typing has override from 3.12
        return f"{self.epoch}:{self.writer.value}{self.lane.letter}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the log that `text` names; `TheirsInvalid` `entry.bad_reference`."""
        found = _match_lane(text)
        if found is None:
            raise _bad_reference(text)
        return cls(found[1], _WRITERS[found[2]], _LANES[found[3]])


class Ref(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where an entry stands: `<epoch>:<s|h><u|c|t><index>`. Sorts by log, then by index."""

    epoch: str
    writer: Writer
    lane: Lane
    index: int

    def __str__(self) -> str:  # type: ignore[explicit-override]  # typing has override from 3.12
        return f"{self.epoch}:{self.writer.value}{self.lane.letter}{self.index}"

    @property
    def log(self) -> LaneRef:
        """The log that the entry stands in."""
        return LaneRef(self.epoch, self.writer, self.lane)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the reference that `text` writes; `TheirsInvalid` `entry.bad_reference`."""
        found = _match_ref(text)
        if found is None:
            raise _bad_reference(text)
        return cls(found[1], _WRITERS[found[2]], _LANES[found[3]], int(found[4]))


class Entry(msgspec.Struct, frozen=True):
    """The header of an entry, and `body`: the whole object, header keys included.

    `private` is the 32-byte hash that the annex must have. `critical` names the keys that begin
    with `!`: whoever does not know one treats the object that the entry names conservatively.
    """

    kind: str
    at: Moment
    body: Mapping[str, object]
    of: Ref | None = None
    door: int | None = None
    prev: Ref | None = None
    seen: Mapping[LaneRef, int] | None = None
    private: bytes | None = None
    critical: tuple[str, ...] = ()


def parse(data: bytes) -> Entry:
    """Return the entry that `data` writes; `TheirsInvalid` when anything is not as it should be."""
    return read(canonical.decode(data))


def read(body: canonical.Object) -> Entry:
    """Return the entry of an object that `canonical.decode` gave."""
    get = body.get
    of, prev, seen, private = get("of"), get("prev"), get("seen"), get("private")
    return Entry(
        kind=_kind(get("kind")),
        at=_at(get("at")),
        body=body,
        of=None if of is None else _ref("of", of),
        door=_door(get("door")),
        prev=None if prev is None else _ref("prev", prev),
        seen=None if seen is None else _seen(seen),
        private=None if private is None else _private(private),
        critical=_critical(body),
    )


def _critical(body: canonical.Object) -> tuple[str, ...]:
    """Return the keys that begin with the mark. They are sorted: hardly any sorts before it."""
    if next(iter(body)) > _AFTER_CRITICAL:
        return ()
    return tuple(key for key in body if key[:1] == "!")


def compose(
    fact: Mapping[str, object],
    *,
    at: Moment,
    prev: Ref | None = None,
    seen: Mapping[LaneRef, int] | None = None,
    private: bytes | None = None,
) -> bytes:
    """Return the bytes of an entry: the fact's keys (`kind` among them) and the writer's.

    Checked by reading them back; `TheirsInvalid` says what the format cannot hold.
    """
    body = dict(fact)
    body["at"] = list(at)
    if prev is not None:
        body["prev"] = str(prev)
    if seen is not None:
        body["seen"] = {str(log): size for log, size in seen.items()}
    if private is not None:
        body["private"] = base64.b64encode(private).decode("ascii")
    data = canonical.encode(body)
    read(body)
    return data


def private_hash(salt: bytes, annex: bytes) -> bytes:
    """Return what `private` says of an annex: SHA-256 over the 16-byte salt and the bytes."""
    return hashlib.sha256(salt + annex).digest()


def may_erase(by: Writer, of: LaneRef) -> bool:
    """Say whether an `annex.erased` of this writer erases what stands beside an entry of that log.

    The site may erase any annex that is there, the hub those of its own entries alone: a site whose
    live parcels lost their names could open for no code of theirs.
    """
    return by is Writer.SITE or of.writer is Writer.HUB


def is_epoch(text: str) -> bool:
    """Say whether `text` is an epoch: `e<counter>-<8 hex>`."""
    return _match_epoch(text) is not None


def _kind(value: object) -> str:
    if type(value) is str and _is_kind(value):
        return value
    if value is None:
        raise TheirsInvalid("entry.no_header", "An entry has a kind and a time.", key="kind")
    raise _bad_header("kind", value)


@lru_cache(maxsize=256)
def _is_kind(value: str) -> bool:
    """Say whether a text is a dotted name; the vocabulary is small and comes again and again."""
    return len(value) <= KIND_LENGTH_MAX and _match_kind(value) is not None


def _at(value: object) -> Moment:
    if value is None:
        raise TheirsInvalid("entry.no_header", "An entry has a kind and a time.", key="at")
    if type(value) is list and len(value) == 2:  # noqa: PLR2004  # boot and monotonic time
        boot, mono_ms = value
        if type(boot) is int and type(mono_ms) is int and boot >= 0 and mono_ms >= 0:
            return Moment(boot, mono_ms)
    raise _bad_header("at", value)


def _ref(key: str, value: object) -> Ref:
    if type(value) is not str:
        raise _bad_header(key, value)
    return Ref.parse(value)


def _door(value: object) -> int | None:
    if value is None or (type(value) is int and value >= 0):
        return value
    raise _bad_header("door", value)


def _seen(value: object) -> dict[LaneRef, int]:
    if type(value) is not dict:
        raise _bad_header("seen", value)
    for size in value.values():
        if type(size) is not int or size < 0:
            raise _bad_header("seen", size)
    return {LaneRef.parse(key): size for key, size in value.items()}


def _private(value: object) -> bytes:
    if type(value) is str:
        try:
            raw = base64.b64decode(value, validate=True)
        except ValueError:
            raise _bad_header("private", value) from None
        if len(raw) == _HASH_BYTES and base64.b64encode(raw) == value.encode("ascii"):
            return raw
    raise _bad_header("private", value)


def _bad_header(key: str, value: object) -> TheirsInvalid:
    return TheirsInvalid(
        "entry.bad_header",
        "Ask the writer of this entry which program wrote it.",
        key=key,
        value=ascii(value)[:80],
    )


def _bad_reference(text: str) -> TheirsInvalid:
    return TheirsInvalid(
        "entry.bad_reference",
        "A reference reads <epoch>:<s|h><u|c|t><index>, e1-9f2c01ab:sc117.",
        value=ascii(text)[:80],
    )
