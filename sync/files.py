"""The file bearer (FORMATS.md 4): segments, seals, annexes and receipts in one file, on a stick.

    PLG-SYNC/1
    {"is":"log","origin":...}
    {"is":"segment","first":0,"count":512,"codec":2,"bytes":1234,"note":"<checkpoint>"} 1234 bytes
    {"is":"annexes","bytes":88} lines {"annex":<base64>,"index":7,"salt":<base64>}
    {"is":"receipt","instance":"<16 hex>","note":"<checkpoint and cosignature>"}
    {"is":"end","sha256":"<64 hex, of all before this line>"}

Each header is one line of JSON; the bytes that it counts follow it, and 0A after them. What a file
says is believed as little as what a peer says: each segment stands under its own signed checkpoint,
so a torn file gives all that is whole in it, and nothing of the rest.

Codes of `TheirsInvalid`: `exchange.file_unknown` (no such file, or a later version),
`exchange.file_torn` (it ends too early), `exchange.file_malformed`, `exchange.file_altered` (whole,
but not as it was written); and those of `sync.segment` and `sync.intake` in `Loaded.refused`.
"""

import asyncio
import hashlib
import os
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Annotated, Final

import msgspec

from certs.errors import CertsError
from certs.keys import Verifier
from certs.note import NOTE_BYTES_MAX, open_checkpoint
from sync import segment
from sync.entry import ANNEX_BYTES_MAX, SALT_BYTES
from sync.errors import StoreFailed, TheirsInvalid
from sync.frontier import Verdict
from sync.intake import Chunk
from sync.pages import NUMBER_MAX, Found, Refusal, knows
from sync.rows import Annex
from sync.shelf import Item, Log, Shelf

MAGIC: Final = b"PLG-SYNC/1\n"
SUFFIX: Final = ".part"
_HEADER_BYTES_MAX: Final = 2 * NOTE_BYTES_MAX
_PAYLOAD_BYTES_MAX: Final = 2 * segment.LIMIT
_ANNEXES_AT_ONCE: Final = 64
_Number = Annotated[int, msgspec.Meta(ge=0, le=NUMBER_MAX)]
_Length = Annotated[int, msgspec.Meta(ge=0, le=_PAYLOAD_BYTES_MAX)]

Cosign = Callable[[Log], Awaitable[str | None]]
"""Returns the checkpoint of a log held here, with our cosignature line; None: no receipt."""


class _Head(msgspec.Struct, frozen=True, tag_field="is", forbid_unknown_fields=True):
    """A header line; its kind stands in `is`."""


class _LogHead(_Head, frozen=True, tag="log"):
    origin: Annotated[str, msgspec.Meta(max_length=255)]


class _Segment(_Head, frozen=True, tag="segment"):
    first: _Number
    count: _Number
    codec: _Number
    bytes: _Length
    note: str


class _Annexes(_Head, frozen=True, tag="annexes"):
    bytes: _Length


class _Receipt(_Head, frozen=True, tag="receipt"):
    note: str
    instance: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]


class _End(_Head, frozen=True, tag="end"):
    sha256: str


class _AnnexLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    annex: Annotated[bytes, msgspec.Meta(max_length=ANNEX_BYTES_MAX)]
    index: _Number
    salt: Annotated[bytes, msgspec.Meta(min_length=SALT_BYTES, max_length=SALT_BYTES)]


_AnyHead = _LogHead | _Segment | _Annexes | _Receipt | _End
_heads: Final[msgspec.json.Decoder[_AnyHead]] = msgspec.json.Decoder(_AnyHead)
_annex_lines = msgspec.json.Decoder(_AnnexLine)


@dataclass(frozen=True, slots=True)
class Exported:
    """What a file holds."""

    logs: int
    entries: int
    annexes: int
    receipts: int
    bytes: int


@dataclass(slots=True)
class Loaded:
    """What a file brought; `refused` are logs of which the rest was left, and why."""

    entries: int = 0
    annexes: int = 0
    receipts: int = 0
    found: list[Found] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


# --- writing --------------------------------------------------------------------------------------


async def export(
    shelf: Shelf,
    path: Path,
    *,
    since: Mapping[str, int] | None = None,
    annexes: bool = True,
    cosign: Cosign | None = None,
    codec: int = segment.COLUMNS,
) -> Exported:
    """Write what the shelf holds beyond the sizes `since` (origin: size), whole or not at all.

    The file has mode 0600, as annexes name parcels, and is durable when this returns. `cosign`
    gives the receipts for others' logs, under this shelf's instance. Raises `StoreFailed`.
    """
    part = path.with_name(path.name + SUFFIX)
    try:
        with _opened_new(part) as file:
            writer = _Writer(file, codec)
            for log in await shelf.logs():
                await writer.log(shelf, log, (since or {}).get(log.origin, 0), annexes=annexes)
                if cosign is not None and not log.own and (note := await cosign(log)) is not None:
                    writer.receipt(log.origin, note, shelf.instance)
            await asyncio.to_thread(writer.finish)
        await asyncio.to_thread(_settle, part, path)
    except OSError as error:
        raise StoreFailed(
            "io", "Check the stick and the room on it.", path=str(path), errno=error.errno
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return writer.done()


class _Writer:
    """The file as it grows, and the hash of it."""

    def __init__(self, file: IO[bytes], codec: int) -> None:
        self._file, self._codec = file, codec
        self._hash = hashlib.sha256()
        self._origin = ""
        self._logs = self._entries = self._annexes = self._receipts = self._bytes = 0
        self._write(MAGIC)

    async def log(self, shelf: Shelf, log: Log, since: int, *, annexes: bool) -> None:
        """Write a log from `since` on, or from its oldest kept entry."""
        first = max(since, log.oldest)
        while first < log.size:
            count = await shelf.cut(
                log.origin, first, segment.SEGMENT_ENTRIES, segment.SEGMENT_BYTES
            )
            items = await shelf.read(log.origin, first, first + count)
            note = await shelf.note(log.origin, first + count)
            if len(items) != count or note is None:
                return  # pruned since we asked
            self._begin(log.origin)
            data = segment.encode(self._codec, [item.entry for item in items])
            head = _Segment(first=first, count=count, codec=self._codec, bytes=len(data), note=note)
            await asyncio.to_thread(self._record, head, data)
            self._entries += count
            if annexes:
                await asyncio.to_thread(self._beside, items)
            first += count

    def receipt(self, origin: str, note: str, instance: str) -> None:
        """Write a receipt of the log."""
        self._begin(origin)
        self._record(_Receipt(note=note, instance=instance))
        self._receipts += 1

    def finish(self) -> None:
        """Write the end and let the disk have it."""
        self._record(_End(sha256=self._hash.hexdigest()))
        self._file.flush()
        os.fsync(self._file.fileno())

    def done(self) -> Exported:
        """Return what was written."""
        return Exported(self._logs, self._entries, self._annexes, self._receipts, self._bytes)

    def _begin(self, origin: str) -> None:
        if origin != self._origin:
            self._record(_LogHead(origin=origin))
            self._origin = origin
            self._logs += 1

    def _beside(self, items: list[Item]) -> None:
        lines = [
            msgspec.json.encode(_AnnexLine(annex=beside.data, index=item.index, salt=beside.salt))
            for item in items
            if (beside := item.annex) is not None
            and beside.data is not None
            and beside.salt is not None
        ]
        for at in range(0, len(lines), _ANNEXES_AT_ONCE):
            some = lines[at : at + _ANNEXES_AT_ONCE]
            data = b"".join(line + b"\n" for line in some)
            self._record(_Annexes(bytes=len(data)), data)
            self._annexes += len(some)

    def _record(self, head: _Head, data: bytes | None = None) -> None:
        self._write(msgspec.json.encode(head) + b"\n")
        if data is not None:
            self._write(data + b"\n")

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self._bytes += len(data)


def _opened_new(path: Path) -> IO[bytes]:
    path.unlink(missing_ok=True)
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")


def _settle(part: Path, path: Path) -> None:
    """Give the file its name, durably."""
    part.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


# --- reading --------------------------------------------------------------------------------------


async def load(shelf: Shelf, path: Path) -> Loaded:
    """Take in what the file holds and the shelf does not; as often as you like.

    Raises `TheirsInvalid` `exchange.file_*` at the first place where the file is broken (evidence:
    `offset`, and `entries` taken before it) and `StoreFailed`. A log that cannot be taken in is
    left, the others go on.
    """
    done = Loaded()
    try:
        with path.open("rb") as file:
            await _Loading(shelf, _Reader(file, done), done).run()
    except OSError as error:
        raise TheirsInvalid(
            "exchange.file_unknown", "Check the path.", path=str(path), errno=error.errno
        ) from error
    return done


class _Reader:
    """The file from front to back, never more than a record of it at once."""

    def __init__(self, file: IO[bytes], done: Loaded) -> None:
        self._file, self._done = file, done
        self._hash = hashlib.sha256()
        self.offset = 0

    def begin(self) -> None:
        magic = self._file.read(len(MAGIC))
        if magic != MAGIC:
            raise self.refused("unknown", "This is no file of ours, or of a later version.")
        self._pass(magic)

    def head(self) -> _AnyHead:
        line = self._file.readline(_HEADER_BYTES_MAX)
        if not line.endswith(b"\n"):
            raise self.refused(
                "torn" if len(line) < _HEADER_BYTES_MAX else "malformed",
                "Export it again, and wait until the stick may be pulled.",
            )
        before = self._hash.hexdigest()
        try:
            head = _heads.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self.refused("malformed", "Export it again.", reason=str(error)[:200]) from None
        self._pass(line)
        if isinstance(head, _End):
            if self._file.read(1):
                raise self.refused("malformed", "Nothing follows the end.")
            if head.sha256 != before:
                raise self.refused("altered", "What was in order is stored; export it again.")
        return head

    def payload(self, length: int) -> bytes:
        data = self._file.read(length + 1)
        if len(data) <= length:
            raise self.refused("torn", "Export it again, and wait until the stick may be pulled.")
        if data[-1:] != b"\n":
            raise self.refused("malformed", "Export it again.", reason="length of a record")
        self._pass(data)
        return data[:-1]

    def annexes(self, length: int) -> list[tuple[int, Annex]]:
        lines = self.payload(length).split(b"\n")
        try:
            found = [_annex_lines.decode(line) for line in lines[:-1]]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise self.refused("malformed", "Export it again.", reason=str(error)[:200]) from None
        if lines[-1] or len(found) > _ANNEXES_AT_ONCE:
            raise self.refused("malformed", "Export it again.", reason="annexes")
        return [(one.index, Annex(one.salt, one.annex, None)) for one in found]

    def refused(self, what: str, remedy: str, **evidence: object) -> TheirsInvalid:
        return TheirsInvalid(
            f"exchange.file_{what}",
            remedy,
            offset=self.offset,
            entries=self._done.entries,
            **evidence,
        )

    def _pass(self, data: bytes) -> None:
        self._hash.update(data)
        self.offset += len(data)


class _Loading:
    """A file on its way into a shelf, record by record."""

    def __init__(self, shelf: Shelf, reader: _Reader, done: Loaded) -> None:
        self._shelf, self._reader, self._done = shelf, reader, done
        self._origin = ""
        self._left = True
        """The log of the moment is not taken in: its records are passed over."""
        self._own = False

    async def run(self) -> None:
        read = self._reader
        await asyncio.to_thread(read.begin)
        while not isinstance(head := await asyncio.to_thread(read.head), _End):
            if isinstance(head, _LogHead):
                self._origin, self._left, self._own = head.origin, False, False
            elif not self._origin:
                raise read.refused("malformed", "A log is named before its records.")
            try:
                await self._take(head)
            except TheirsInvalid as error:
                if error.code.startswith("exchange.file_"):
                    raise
                self._left = True
                self._done.refused.append(Refusal(self._origin, error))

    async def _take(self, head: _LogHead | _Segment | _Annexes | _Receipt) -> None:
        if isinstance(head, _LogHead):
            if not await knows(self._shelf, head.origin):
                remedy = "Configure this writer's key, if it is ours."
                raise TheirsInvalid("exchange.unknown_origin", remedy, origin=head.origin)
        elif isinstance(head, _Segment):
            data = await asyncio.to_thread(self._reader.payload, head.bytes)
            if not self._left:
                await self._take_segment(head, data)
        elif isinstance(head, _Annexes):
            annexes = await asyncio.to_thread(self._reader.annexes, head.bytes)
            if not self._left and not self._own:
                self._done.annexes += await self._shelf.put_annexes(self._origin, annexes)
        elif not self._left:
            await self._shelf.receive_receipt(self._origin, head.note, head.instance)
            self._done.receipts += 1

    async def _take_segment(self, head: _Segment, data: bytes) -> None:
        before = await self._shelf.log(self._origin)
        if before is not None and before.own:
            self._own = True
            await self._compare(before, head)
            return
        entries = await asyncio.to_thread(segment.decode, head.codec, data, head.count)
        chunk = Chunk(self._origin, head.first, tuple(entries), head.note)
        log = await self._shelf.extend(chunk)
        self._done.entries += log.size - (0 if before is None else before.size)

    async def _compare(self, log: Log, head: _Segment) -> None:
        """Look at our own log as somebody else holds it: more than we have, or another history."""
        try:
            said = open_checkpoint(head.note, Verifier.from_vkey(log.vkey))
        except CertsError as error:
            remedy = "This is no checkpoint of ours."
            raise TheirsInvalid("exchange.note", remedy, cause=error.code) from error
        root = await self._shelf.root(self._origin, said.size)
        if root == said.root:
            return
        verdict = Verdict.ROLLED_BACK if root is None else Verdict.FORK
        if self._done.found and self._done.found[-1].origin == self._origin:
            self._done.found.pop()  # this one says more
        self._done.found.append(Found(verdict, self._origin, log.size, said.size, head.note))
        self._left = verdict is Verdict.FORK
