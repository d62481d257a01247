"""The messages of a session: one CBOR map each, with whole numbers as keys.

Key 0 says which message it is; key n is the n-th field of its type below; a field that has its
default is left out. The encoding is deterministic (RFC 8949 4.2.1), and whoever reads refuses bytes
that differ from their own re-encoding. Only maps, lists, texts, byte
strings, booleans and integers occur; nothing has an indefinite length, a tag or a fraction.

Logs are named by their place in a table that a hello carries: `frame`, `seal`, `annex` and
`checkpoint` speak of the sender's own table; `want`, `have` and `receipt` of the table of whom they
are sent to.

A message type or a key that a newer peer uses and we do not know is ignored (`Read` says so).
Codes of `TheirsInvalid`: `exchange.message_size`, `exchange.message` (with what is wrong).
"""

from collections.abc import Sequence
from typing import Annotated, Final, NamedTuple

import cbor2
import msgspec
from msgspec import Meta

from sync.errors import TheirsInvalid

MESSAGE_BYTES_MAX: Final = 64 * 1024
ORIGINS_MAX: Final = 64
DEPTH_MAX: Final = 4
_TAGS: Final = 0xC0  # RFC 8949, 3.1: kinds 6 (tags) and 7 (floats, simple values)
_BOOLEANS: Final = frozenset({0xF4, 0xF5})
_STRINGS: Final = frozenset({2, 3})
_HEAD_MIN, _HEAD_MAX = 24, 27  # then the number follows in 1, 2, 4 or 8 bytes
KEYS: Final = 24
TAG_BYTES: Final = 8
ERROR_TEXT_MAX: Final = 1024
CREDIT_BYTES: Final = 256 * 1024
"""What a peer may send before it hears more: the memory that one link may take for frames."""

Count = Annotated[int, Meta(ge=0, le=2**53 - 1)]
Place = Annotated[int, Meta(ge=0, lt=ORIGINS_MAX)]
Tag = Annotated[bytes, Meta(min_length=TAG_BYTES, max_length=TAG_BYTES)]
Code = Annotated[str, Meta(max_length=64)]


class Row(msgspec.Struct, frozen=True, array_like=True):
    """One log in a table. Its name is the first `shared` characters of the row before, and `rest`.

    `tag` is the first 8 bytes of the root of `size`.
    """

    shared: Annotated[int, Meta(ge=0, le=255)]
    rest: Annotated[str, Meta(max_length=255)]
    size: Count
    tag: Tag


class Hello(msgspec.Struct, frozen=True, kw_only=True):
    """Who is here and what it holds. A later one may only add rows to the table.

    `major` of another number cannot be spoken with. `instance` names the store (8 bytes), `time_ms`
    is UTC (0: unknown), `nonce` is the connection's. `codecs` can be read; `can` names abilities.
    """

    major: Count
    minor: Count = 0
    instance: Tag
    nonce: Annotated[bytes, Meta(min_length=8, max_length=16)]
    time_ms: Count = 0
    codecs: Annotated[list[Count], Meta(max_length=16)]
    can: Annotated[list[Code], Meta(max_length=32)] = []
    table: Annotated[list[Row], Meta(max_length=ORIGINS_MAX)]


class Wanted(msgspec.Struct, frozen=True, array_like=True):
    """From where on a log is wanted: what the asker holds durably, and the tag of that root.

    `annexes_from`: the first entry whose annex is missing (`size` when none is).
    """

    origin: Place
    size: Count
    tag: Tag
    annexes_from: Count


class Part(msgspec.Struct, frozen=True, array_like=True):
    """An unfinished segment that the asker still has: its first `held` encoded bytes.

    Annexes of its entries before `annexes` are there too.
    """

    origin: Place
    first: Count
    count: Count
    digest: Tag
    held: Count
    annexes: Count


class Want(msgspec.Struct, frozen=True, kw_only=True):
    """What to send, from now on: these logs, those they grow by, and no others.

    `credit` are the bytes that may be under way; `frame_bytes` bounds the data of a frame,
    `segment_bytes` the entries of a segment where its sender can choose.
    """

    logs: Annotated[list[Wanted], Meta(max_length=ORIGINS_MAX)]
    credit: Annotated[int, Meta(ge=8192, le=1 << 30)]
    frame_bytes: Annotated[int, Meta(ge=256, le=32 * 1024)] = 4096
    segment_bytes: Annotated[int, Meta(ge=1024, le=1 << 20)] = 64 * 1024
    parts: Annotated[list[Part], Meta(max_length=ORIGINS_MAX)] = []
    annexes: bool = False
    snapshot: bool = False


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """A slice of an encoded segment: entries [first, first + count) of a log.

    `digest` is the first 8 bytes of SHA-256 over the whole encoded segment of `total` bytes; a
    slice that is all of it leaves both out. With `count` 0 it continues the open segment of its
    log.
    """

    origin: Place
    offset: Count = 0
    data: Annotated[bytes, Meta(min_length=1, max_length=32 * 1024)]
    first: Count = 0
    count: Annotated[int, Meta(ge=0, le=512)] = 0
    codec: Annotated[int, Meta(ge=0, le=255)] = 0
    total: Count = 0
    digest: Annotated[bytes, Meta(max_length=TAG_BYTES)] = b""


class Seal(msgspec.Struct, frozen=True, kw_only=True):
    """Ends a segment: the log's own signature over its checkpoint of `size`.

    The receiver writes the checkpoint from its own tree and the entries.
    """

    origin: Place
    size: Count
    key_id: Annotated[bytes, Meta(min_length=4, max_length=4)]
    signature: Annotated[bytes, Meta(min_length=64, max_length=64)]


class Annexed(msgspec.Struct, frozen=True, kw_only=True):
    """The annex of an entry, before the seal of its segment, or when a `want` lacks it.

    `also` are earlier entries that have the same: an intent and the deposit that it led to.
    """

    origin: Place
    index: Count
    salt: Annotated[bytes, Meta(min_length=16, max_length=16)]
    data: Annotated[bytes, Meta(max_length=4096)]
    also: Annotated[list[Count], Meta(max_length=512)] = []


class Have(msgspec.Struct, frozen=True, kw_only=True):
    """What has become durable since the last one, as (place, size), and new credit.

    `received` counts the bytes of all frames, annexes and seals taken on this connection.
    """

    received: Count
    credit: Count = CREDIT_BYTES
    sizes: Annotated[list[tuple[Place, Count]], Meta(max_length=ORIGINS_MAX)] = []


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """Cosignature lines (each with its newline) for the checkpoint of `size`, by this store."""

    origin: Place
    size: Count
    lines: Annotated[str, Meta(min_length=1, max_length=4096)]
    instance: Tag


class Trouble(msgspec.Struct, frozen=True, kw_only=True):
    """An error. With an `origin` it stops one log; without, the link ends."""

    code: Code
    text: Annotated[str, Meta(max_length=ERROR_TEXT_MAX)] = ""
    origin: Annotated[str, Meta(max_length=255)] = ""


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """A slice of the latest snapshot."""

    sha256: Annotated[bytes, Meta(min_length=32, max_length=32)]
    offset: Count = 0
    total: Count
    data: Annotated[bytes, Meta(min_length=1, max_length=32 * 1024)]


class Signed(msgspec.Struct, frozen=True, kw_only=True):
    """The receiver's own signature (its lines) over a log of which it holds less, or another."""

    origin: Place
    size: Count
    root: Annotated[bytes, Meta(min_length=32, max_length=32)]
    lines: Annotated[str, Meta(min_length=1, max_length=4096)]


Message = Hello | Want | Frame | Seal | Annexed | Have | Receipt | Trouble | Piece | Signed
_TYPES: Final[tuple[type[Message], ...]] = (
    Hello,
    Want,
    Frame,
    Seal,
    Annexed,
    Have,
    Receipt,
    Trouble,
    Piece,
    Signed,
)


class Read(NamedTuple):
    """A message, or None for a type that is not known here; and how many keys were ignored."""

    message: Message | None
    ignored: int


def encode(message: Message) -> bytes:
    """Return the one way to write the message."""
    number = _TYPES.index(type(message))
    body: dict[int, object] = {0: number}
    for key, field in enumerate(msgspec.structs.fields(message), 1):
        value = getattr(message, field.name)
        if field.required or value != _default(field):
            body[key] = msgspec.to_builtins(value, builtin_types=(bytes,))
    return cbor2.dumps(body, canonical=True)


def decode(data: bytes) -> Read:
    """Return what was sent; `TheirsInvalid` as above."""
    if len(data) > MESSAGE_BYTES_MAX:
        raise TheirsInvalid(
            "exchange.message_size", "Send smaller frames.", bytes=len(data), most=MESSAGE_BYTES_MAX
        )
    body = _body(data)
    number = body.pop(0, None)
    if type(number) is not int or number < 0:
        raise _malformed("type")
    if number >= len(_TYPES):
        return Read(None, len(body))
    kind = _TYPES[number]
    fields = msgspec.structs.fields(kind)
    named = {field.name: body.pop(key) for key, field in enumerate(fields, 1) if key in body}
    try:
        message = msgspec.convert(named, kind, builtin_types=(bytes,))
    except msgspec.ValidationError as error:
        raise _malformed(str(error)[:200]) from error
    return Read(message, len(body))


def table(rows: Sequence[Row]) -> list[str]:
    """Return the names in a table; `TheirsInvalid` `exchange.message` for one that is no name."""
    names: list[str] = []
    before = ""
    for row in rows:
        if row.shared > len(before) or len(before := before[: row.shared] + row.rest) > 255:  # noqa: PLR2004  # a key name
            raise _malformed("table")
        names.append(before)
    if len(set(names)) != len(names):
        raise _malformed("table")
    return names


def row(before: str, name: str, size: int, tag: bytes) -> Row:
    """Return the row of a name that stands after the name `before` (empty for the first)."""
    shared = 0
    for mine, theirs in zip(before, name, strict=False):
        if mine != theirs:
            break
        shared += 1
    return Row(shared, name[shared:], size, tag)


def _default(field: msgspec.structs.FieldInfo) -> object:
    factory = field.default_factory
    return field.default if factory is msgspec.NODEFAULT else factory()


def _body(data: bytes) -> dict[object, object]:
    """Return the map that the bytes are, if they are the one way to write it."""
    if data[:1] < b"\xa1" or data[:1] > b"\xb8":
        raise _malformed("map")
    _check_plain(data)
    try:
        body = cbor2.loads(
            data, max_depth=DEPTH_MAX + 1, allow_indefinite=False, allow_duplicate_keys=False
        )
        _check(body, DEPTH_MAX)
        again = cbor2.dumps(body, canonical=True)
    except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError) as error:
        raise _malformed(type(error).__name__) from error
    if again != data or type(body) is not dict:
        raise _malformed("not deterministic")
    if any(type(key) is not int or not 0 <= key < KEYS for key in body):
        raise _malformed("key")
    return dict(body)


def _check_plain(data: bytes) -> None:
    """Refuse all but numbers, strings, arrays, maps and booleans, before a decoder sees them.

    cbor2 gives tags a meaning: a regular expression of 64 KiB keeps it compiling for a minute.
    """
    at, end = 0, len(data)
    while at < end:
        head = data[at]
        at += 1
        if head in _BOOLEANS:
            continue
        kind, size = head >> 5, head & 31
        if head >= _TAGS or size > _HEAD_MAX:
            raise _malformed("kind")
        if size >= _HEAD_MIN:
            wide = 1 << (size - _HEAD_MIN)
            at, size = at + wide, int.from_bytes(data[at : at + wide], "big")
        if kind in _STRINGS:
            at += size


def _check(value: object, depth: int) -> None:
    """ValueError for depth, or for an array or map as a key."""
    kind = type(value)
    if kind is dict or kind is list:
        if depth == 0:
            raise ValueError("depth")
        for member in [*value, *value.values()] if isinstance(value, dict) else value:  # type: ignore[attr-defined]  # said by `kind`
            _check(member, depth - 1)
    elif kind not in {int, bool, bytes, str}:
        raise ValueError("key")


def _malformed(what: str) -> TheirsInvalid:
    return TheirsInvalid(
        "exchange.message", "A message is deterministic CBOR of the known form.", what=what
    )
