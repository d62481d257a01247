"""A segment of a log as bytes on the wire: three codecs behind one door (FORMATS.md 4).

Codec 0 is JSON lines (each entry and 0A), 1 the same under zstd, 2 columns: the length of the raw
bytes as a number of seven bits a byte, the raw bytes, and the columns under zstd. A zstd frame
states its content size, and nothing follows it.

`encode` is deterministic for one version of zstd; whoever resumes a segment keeps the bytes that it
sent, as two versions may write two different frames for one content.

Codes of `TheirsInvalid`: `exchange.codec` (no such codec), `exchange.bomb` (states or reaches more
than the limit), `exchange.segment` (malformed, another count, or not what `canonical` writes).
"""

import sys
from collections.abc import Sequence
from typing import Final, cast

from sync import canonical, columns
from sync.errors import TheirsInvalid

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CODECS: Final = (0, 1, 2)
LINES, LINES_ZSTD, COLUMNS = CODECS
SEGMENT_ENTRIES: Final = 512
SEGMENT_BYTES: Final = 64 * 1024
"""Where a sender cuts its own logs: so many entries, or so many bytes of them."""
LIMIT: Final = (1 << 20) + canonical.BYTES_MAX
"""What a segment may inflate to. Relayed logs are cut where a signed checkpoint stands."""

_LEVEL: Final = 19
_WINDOW_LOG_MAX: Final = 21
_REMEDY: Final = "Send the segment again, or in another codec."


def encode(codec: int, entries: Sequence[bytes]) -> bytes:
    """Return canonical entries as a segment; `TheirsInvalid` `exchange.codec`."""
    if codec == COLUMNS:
        packed, raw = columns.pack(entries)
        return _length(len(raw)) + raw + _deflated(packed)
    lines = b"".join(entry + b"\n" for entry in entries)
    if codec == LINES:
        return lines
    if codec == LINES_ZSTD:
        return _deflated(lines)
    raise _unknown(codec)


def decode(codec: int, data: bytes, count: int, *, limit: int = LIMIT) -> list[bytes]:
    """Return the `count` entries of a segment, exactly as stored, or refuse; see the codes."""
    if not 0 <= count <= SEGMENT_ENTRIES:
        raise _malformed("count")
    if codec == COLUMNS:
        symbols, raw = split(data, limit)
        entries = columns.unpack(symbols, raw, count, limit)
    elif codec == LINES:
        entries = _lines(data, limit)
    elif codec == LINES_ZSTD:
        entries = _lines(_inflated(data, limit), limit)
    else:
        raise _unknown(codec)
    if len(entries) != count:
        raise _malformed("count")
    if canonical.decode_many(entries) is None:
        raise _malformed("not canonical")
    return entries


def split(data: bytes, limit: int) -> tuple[bytes, bytes]:
    """Return what a segment of codec 2 holds: (columns, raw); refuses as `decode` does."""
    length, begin = _length_of(data)
    raw = data[begin : begin + length]
    if len(raw) != length:
        raise _malformed("length")
    return _inflated(data[begin + length :], limit), raw


def _lines(data: bytes, limit: int) -> list[bytes]:
    if len(data) > limit:
        raise _bomb(len(data), limit)
    if data and not data.endswith(b"\n"):
        raise _malformed("last line has no end")
    return data.split(b"\n")[:-1]


def _deflated(data: bytes) -> bytes:
    return zstd.compress(data, level=_LEVEL)


def _inflated(data: bytes, limit: int) -> bytes:
    """Return the content of one zstd frame that says how long it is, and keeps its word."""
    try:
        info = zstd.get_frame_info(data)
        size = cast("int | None", info.decompressed_size)  # as documented, not as typed
        if size is None or info.dictionary_id != 0:
            raise _malformed("frame without its size, or with a dictionary")
        if size > limit:
            raise _bomb(size, limit)
        options: dict[int, int] = {zstd.DecompressionParameter.window_log_max: _WINDOW_LOG_MAX}
        inflater = zstd.ZstdDecompressor(options=options)
        content = inflater.decompress(data, max_length=size + 1)
    except zstd.ZstdError as error:
        raise _malformed(str(error)) from error
    if not inflater.eof or len(content) != size or inflater.unused_data:
        raise _malformed("frame and size differ")
    return content


def _length(length: int) -> bytes:
    out = bytearray()
    while length > 127:  # noqa: PLR2004  # seven bits a byte
        out.append(length & 127 | 128)
        length >>= 7
    out.append(length)
    return bytes(out)


def _length_of(data: bytes) -> tuple[int, int]:
    """Return (length, where what it counts begins)."""
    length = 0
    for place, byte in enumerate(data[:4]):
        length |= (byte & 127) << 7 * place
        if byte < 128:  # noqa: PLR2004  # the top bit is off
            return length, place + 1
    raise _malformed("length")


def _unknown(codec: int) -> TheirsInvalid:
    return TheirsInvalid("exchange.codec", "Use a codec that both ends named.", codec=codec)


def _bomb(size: int, limit: int) -> TheirsInvalid:
    return TheirsInvalid("exchange.bomb", "Send smaller segments.", size=size, limit=limit)


def _malformed(reason: str) -> TheirsInvalid:
    return TheirsInvalid("exchange.segment", _REMEDY, reason=reason[:80])
