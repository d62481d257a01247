"""The words of plain pull (FORMATS.md 4): how both ends write and read them. No wire here.

Server and client use the same functions, so that neither can mean something else. Whatever a peer
sent is bounded before it is unpacked, and typed before it is used.

Codes of `TheirsInvalid`: `exchange.query`, `exchange.coding`, `exchange.too_large`,
`exchange.malformed` (JSON that is not the shape asked for), `exchange.page` (lines that are not
entries), `exchange.annex` (an annex that its entry does not name), `exchange.hashes`.
"""

import base64
import re
import sys
import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Final, Literal, NamedTuple, TypeVar, get_args

import msgspec

from certs.keys import decode_base64
from sync import entry as entries
from sync.entry import ANNEX_BYTES_MAX, SALT_BYTES, private_hash
from sync.errors import StoreFailed, SyncError, TheirsInvalid
from sync.frontier import Verdict
from sync.intake import CHUNK_ENTRIES_MAX, Chunk
from sync.merkle import HASH_BYTES
from sync.rows import Annex
from sync.shelf import Item, Log, Shelf

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

T = TypeVar("T")

PAGE_BYTES_MAX: Final = 1 << 20
PAGE_BYTES_DEFAULT: Final = 1 << 18
PAGE_ENTRIES_MAX: Final = CHUNK_ENTRIES_MAX
"""A page fits one POST to the next holder: what was relayed once can always be relayed again."""
BODY_BYTES_MAX: Final = 1 << 20
WAIT_S_MAX: Final = 55
NUMBER_MAX: Final = 2**53 - 1
HASHES_MAX: Final = 64
LOGS_MAX: Final = 4096

Coding = Literal["zstd", "gzip", "identity"]
CODINGS: Final[tuple[Coding, ...]] = get_args(Coding)
"""In the order preferred here: quickest and smallest first."""

_WINDOW: Final[Mapping[int, int]] = {
    zstd.DecompressionParameter.window_log_max: 23  # SPEC: RFC 9659: "zstd" needs no more
}
_PACK_FROM_BYTES: Final = 200
"""Below it the frame's own head costs more than packing saves."""
_LEVEL: Final = 3  # packing must not hold up a small machine's doors

_STATUS: Final = {
    "exchange.body": 400,
    "exchange.query": 400,
    "exchange.no_checkpoint": 404,
    "exchange.no_entry": 404,
    "exchange.no_resource": 404,
    "exchange.no_snapshot": 404,
    "exchange.unknown_origin": 404,
    "exchange.unknown_site": 404,
    "exchange.method": 405,
    "exchange.not_acceptable": 406,
    "exchange.ahead": 409,
    "exchange.beyond": 409,
    "exchange.gap": 409,
    "exchange.pruned": 410,
    "exchange.too_large": 413,
    "exchange.coding": 415,
    "exchange.expectation": 417,
    "exchange.busy": 503,
    "exchange.slow": 503,
}
_UNPROCESSABLE: Final = 422
_UNAVAILABLE: Final = 503
_CONFLICT: Final = 409

_number = re.compile(r"0|[1-9][0-9]{0,15}").fullmatch
_quality = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)").fullmatch
_instance = re.compile(r"[0-9a-f]{16}").fullmatch


class Told(msgspec.Struct, frozen=True):
    """A log as `GET /logs` tells of it. `root` is base64; `cosigned` as in `Log`."""

    origin: Annotated[str, msgspec.Meta(max_length=255)]
    size: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
    root: Annotated[str, msgspec.Meta(max_length=44)]
    vkey: Annotated[str, msgspec.Meta(max_length=320)]
    oldest: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)] = 0
    cosigned: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)] = 0

    @classmethod
    def of(cls, log: Log) -> "Told":
        """Return what is told of a log."""
        root = base64.b64encode(log.root).decode()
        return cls(log.origin, log.size, root, log.vkey, log.oldest, log.cosigned)

    @property
    def head(self) -> bytes:
        """The 32 bytes of `root`; `TheirsInvalid` where it is none."""
        return _hash(self.root)


class PushedAnnex(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The annex of a pushed entry; `salt` is base64."""

    index: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
    annex: str
    salt: Annotated[str, msgspec.Meta(max_length=24)]


class Push(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `POST /logs/{origin}/entries`; `first` is its key `from`."""

    first: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)] = msgspec.field(name="from")
    entries: Annotated[tuple[str, ...], msgspec.Meta(max_length=CHUNK_ENTRIES_MAX)]
    checkpoint: str
    annexes: Annotated[tuple[PushedAnnex, ...], msgspec.Meta(max_length=CHUNK_ENTRIES_MAX)] = ()


class Sized(msgspec.Struct, frozen=True):
    """How far a holder is: what a push is answered with, and a conflict."""

    size: Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]


class Line(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of a page with `annex=1`."""

    entry: str
    annex: str | None = None
    salt: str | None = None


class Page(NamedTuple):
    """Entries read off the wire, and the annexes that came with them, by index."""

    entries: tuple[bytes, ...]
    annexes: tuple[tuple[int, Annex], ...]


class Found(NamedTuple):
    """Two histories of one log: what it is, and the note that their side signed or relays."""

    verdict: Verdict
    origin: str
    ours: int
    theirs: int
    note: str


class Refusal(NamedTuple):
    """A log that was left where it was, and why."""

    origin: str
    error: TheirsInvalid


# --- a request's query and headers ----------------------------------------------------------------


def read_number(query: Mapping[str, str], key: str, default: int | None = None) -> int:
    """Return a whole number of the query, 0 to 2^53 - 1; without a default it must be there."""
    text = query.get(key)
    if text is None and default is not None:
        return default
    number = int(text) if text is not None and _number(text) else NUMBER_MAX + 1
    if number > NUMBER_MAX:
        raise refused(
            "query", f"`{key}` is a whole number from 0.", key=key, value=ascii(text)[:40]
        )
    return number


def choose_coding(header: str) -> Coding | None:
    """Return the coding that an Accept-Encoding header likes best; None if it wants none of ours.

    SPEC: RFC 9110 12.5.3: quality decides, `*` stands for what is not named, and identity is
    acceptable unless excluded. Among equals the order of `CODINGS`. What is not understood of the
    header is passed over.
    """
    qualities: dict[str, float] = {}
    for part in header.lower().split(","):
        name, _, parameters = part.partition(";")
        mark, _, value = parameters.strip().partition("=")
        if mark and (mark.strip() != "q" or not _quality(value.strip())):
            continue
        qualities.setdefault(name.strip(), float(value.strip()) if mark else 1.0)
    others = qualities.get("*")

    def quality(coding: Coding) -> float:
        # Identity is what is left: below whatever is named, unless it is named itself.
        unnamed = 0.0 if coding != "identity" else 0.0001
        return qualities.get(coding, unnamed if others is None else others)

    best = max(CODINGS, key=quality)
    return best if quality(best) > 0 else None


def read_instance(header: str) -> str:
    """Return the store's name of a `Store-Instance` header, empty if it has none."""
    if header and not _instance(header):
        raise refused("query", "Store-Instance is 16 hex digits.", value=ascii(header)[:40])
    return header


# --- bodies ---------------------------------------------------------------------------------------


def pack(coding: Coding, data: bytes) -> tuple[Coding, bytes]:
    """Return (coding used, bytes): what packing does not make smaller stays as it is."""
    packed = data
    if len(data) >= _PACK_FROM_BYTES and coding == "zstd":
        packed = zstd.compress(data, level=_LEVEL)
    elif len(data) >= _PACK_FROM_BYTES and coding == "gzip":
        packer = zlib.compressobj(6, zlib.DEFLATED, 31)
        packed = packer.compress(data) + packer.flush()
    return (coding, packed) if len(packed) < len(data) else ("identity", data)


def unpack(coding: str, data: bytes, limit: int) -> bytes:
    """Return the bytes of a body, at most `limit` of them whatever it claims."""
    if coding in {"", "identity"}:
        plain, whole = data[: limit + 1], True
    elif coding == "zstd":
        plain, whole = _unpack_zstd(data, limit)
    elif coding in {"gzip", "x-gzip"}:
        plain, whole = _unpack_gzip(data, limit)
    else:
        raise refused("coding", "Use zstd, gzip or none.", coding=ascii(coding)[:40])
    if len(plain) > limit:
        raise refused("too_large", "Send less at once.", limit=limit)
    if not whole:
        raise refused("coding", "Send one whole frame and nothing after it.", coding=coding)
    return plain


def _unpack_zstd(data: bytes, limit: int) -> tuple[bytes, bool]:
    reader = zstd.ZstdDecompressor(options=_WINDOW)
    try:
        plain = reader.decompress(data, max_length=limit + 1)
    except zstd.ZstdError:
        return b"", False
    return plain, reader.eof and not reader.unused_data


def _unpack_gzip(data: bytes, limit: int) -> tuple[bytes, bool]:
    reader = zlib.decompressobj(31)
    try:
        plain = reader.decompress(data, limit + 1)
    except zlib.error:
        return b"", False
    return plain, reader.eof and not reader.unused_data


def read_json(data: bytes, kind: type[T]) -> T:
    """Return the value that `data` writes; `exchange.malformed` for another shape."""
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise refused(
            "malformed", "Send the JSON that this resource describes.", reason=str(error)[:200]
        ) from None


def read_logs(data: bytes) -> list[Told]:
    """Return what `GET /logs` tells, by origin; `exchange.malformed` for another shape."""
    told = read_json(data, list[Told])
    origins = {log.origin for log in told}
    if len(told) > LOGS_MAX or len(origins) < len(told):
        raise refused("malformed", "Each log once, 4,096 at most.", logs=len(told))
    for log in told:
        _hash(log.root)
    return sorted(told, key=lambda log: log.origin)


def write_hashes(hashes: Iterable[bytes]) -> bytes:
    """Return one base64 hash a line."""
    return b"".join(base64.b64encode(one) + b"\n" for one in hashes)


def refusal(error: SyncError) -> tuple[int, dict[str, object]]:
    """Return the status and the body of a refusal; a conflict says `size` beside it."""
    unavailable = isinstance(error, StoreFailed)
    status = _UNAVAILABLE if unavailable else _STATUS.get(error.code, _UNPROCESSABLE)
    evidence = {
        key: value if isinstance(value, int) else str(value)[:300]
        for key, value in error.evidence.items()
    }
    body: dict[str, object] = {"code": error.code, "remedy": error.remedy, "evidence": evidence}
    return status, body | ({"size": evidence.get("size", 0)} if status == _CONFLICT else {})


def read_hashes(data: bytes) -> list[bytes]:
    """Return the hashes of lines; `exchange.hashes` for anything else."""
    lines = data.split(b"\n")
    if lines.pop() or len(lines) > HASHES_MAX:
        raise refused("hashes", "One base64 hash a line, each line with its end.", lines=len(lines))
    return [_hash(line.decode("latin-1")) for line in lines]


# --- pages of entries -----------------------------------------------------------------------------


def write_line(item: Item, *, annex: bool) -> bytes:
    """Return an entry's line with its end: its bytes, or with `annex` an object of texts."""
    if not annex:
        return item.entry + b"\n"
    text, salt = _texts(item) or (None, None)
    line = Line(entry=item.entry.decode(), annex=text, salt=salt)
    return msgspec.json.encode(line, order="sorted") + b"\n"


def read_page(data: bytes, first: int, *, annex: bool) -> Page:
    """Return the entries of a page that begins at `first`; each annex matches its entry.

    The entries themselves are looked at by `sync.intake.accept`, before any is stored.
    """
    lines = data.split(b"\n")  # never splitlines: that breaks at U+2028 too
    if lines.pop():
        raise refused("page", "The last line has no end: fetch the page again.", first=first)
    if not annex:
        return Page(tuple(lines), ())
    found, annexes = [], []
    for index, line in enumerate(lines, first):
        read = read_json(line, Line)
        found.append(read.entry.encode())
        if read.annex is not None or read.salt is not None:
            annexes.append((index, _annex(index, found[-1], read.annex, read.salt)))
    return Page(tuple(found), tuple(annexes))


def write_push(items: Sequence[Item], note: str) -> bytes:
    """Return the body that pushes `items`, which lead to the checkpoint `note`."""
    annexes = tuple(
        PushedAnnex(item.index, *texts) for item in items if (texts := _texts(item)) is not None
    )
    push: dict[str, object] = {
        "from": items[0].index,
        "entries": [item.entry.decode() for item in items],
        "checkpoint": note,
    }
    return msgspec.json.encode(push | ({"annexes": annexes} if annexes else {}))


def read_push(data: bytes) -> tuple[Push, tuple[bytes, ...], tuple[tuple[int, Annex], ...]]:
    """Return (body, entries, annexes by index); each annex belongs to an entry of the body."""
    push = read_json(data, Push)
    pushed = tuple(text.encode() for text in push.entries)
    annexes = []
    for one in push.annexes:
        if not 0 <= one.index - push.first < len(pushed):
            raise refused("annex", "Send an annex with its entry.", index=one.index)
        named = pushed[one.index - push.first]
        annexes.append((one.index, _annex(one.index, named, one.annex, one.salt)))
    return push, pushed, tuple(annexes)


def _texts(item: Item) -> tuple[str, str] | None:
    """Return (annex, salt) as plain pull writes them; None without one, or where it is no text."""
    beside = item.annex
    if beside is None or beside.data is None or beside.salt is None:
        return None
    try:
        return beside.data.decode(), base64.b64encode(beside.salt).decode()
    except UnicodeDecodeError:  # FORMATS.md 4 writes texts only: a session or a file carries bytes
        return None


def _annex(index: int, entry: bytes, annex: str | None, salt: str | None) -> Annex:
    """Return the annex, if it is the one that the entry's `private` names."""
    raw = decode_base64(salt or "")
    data = (annex or "").encode()
    if annex is None or raw is None or len(raw) != SALT_BYTES or len(data) > ANNEX_BYTES_MAX:
        raise refused("annex", "An annex comes with its salt of 16 bytes.", index=index)
    try:
        named = entries.parse(entry).private
    except TheirsInvalid as error:
        raise refused("entry", error.remedy, index=index, cause=error.code) from None
    if named != private_hash(raw, data):
        raise refused("annex", "This annex is not the one that the entry names.", index=index)
    return Annex(raw, data, None)


def _hash(text: str) -> bytes:
    raw = decode_base64(text)
    if raw is None or len(raw) != HASH_BYTES:
        raise refused("hashes", "A hash is 32 bytes in base64.", value=ascii(text)[:60])
    return raw


def refused(what: str, remedy: str, **evidence: object) -> TheirsInvalid:
    """Return the refusal `exchange.<what>`."""
    return TheirsInvalid(f"exchange.{what}", remedy, **evidence)


async def knows(shelf: Shelf, origin: str) -> bool:
    """Say whether the shelf could take in this log: it holds it, or knows its writer.

    A chunk that no key ever signed is asked for its refusal: who it is comes before what it says.
    """
    if await shelf.log(origin) is not None:
        return True
    code = ""
    try:
        await shelf.extend(Chunk(origin, 0, (), ""))
    except TheirsInvalid as error:
        code = error.code
    return code not in {"exchange.unknown_origin", "origin.malformed"}
