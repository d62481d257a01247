"""Reads a clean QR code out of a PNG of ours: ISO/IEC 18004 the other way round, without repair.

Only the table of blocks is the library's that draws them: numbers of the standard, nothing else.
"""

import struct
import zlib
from collections.abc import Callable
from typing import Any

from segno import consts

SCALE = 8
LETTERS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
MASKS: tuple[Callable[[int, int], bool], ...] = (
    lambda r, c: (r + c) % 2 == 0,
    lambda r, c: r % 2 == 0,
    lambda r, c: c % 3 == 0,
    lambda r, c: (r + c) % 3 == 0,
    lambda r, c: (r // 2 + c // 3) % 2 == 0,
    lambda r, c: r * c % 2 + r * c % 3 == 0,
    lambda r, c: (r * c % 2 + r * c % 3) % 2 == 0,
    lambda r, c: ((r + c) % 2 + r * c % 3) % 2 == 0,
)
LEVELS = {0b01: "L", 0b00: "M", 0b11: "Q", 0b10: "H"}
Matrix = list[list[bool]]


def read(png: bytes) -> str:
    """Return the text of a code in alphanumeric or byte mode."""
    dots = matrix_of(png)
    size = len(dots)
    version = (size - 17) // 4
    told = sum(dots[8][at] << (4 - place) for place, at in enumerate((0, 1, 2, 3, 4))) ^ 0b10101
    level, mask = LEVELS[told >> 3], MASKS[told & 7]
    ours = _functions(version, size)
    bits = [dots[r][c] ^ mask(r, c) for r, c in _way(size) if (r, c) not in ours]
    words = [_number(bits[at : at + 8]) for at in range(0, len(bits) - 7, 8)]
    data = _sorted_out(words, version, level)
    return _letters([bool(word >> (7 - at) & 1) for word in data for at in range(8)], version)


def matrix_of(png: bytes) -> Matrix:
    """Return the dots, dark is True, of a picture with nothing but a code in a quiet zone of 4."""
    rows = _pixels(png)
    small = [row[SCALE // 2 :: SCALE] for row in rows[SCALE // 2 :: SCALE]]
    assert not any(any(row) for row in (*small[:4], *small[-4:])), "a quiet zone"
    return [row[4:-4] for row in small[4:-4]]


def _pixels(png: bytes) -> Matrix:
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, packed, width, depth = 8, b"", 0, 0
    palette = b""
    while at < len(png):
        length, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + length]
        assert (
            zlib.crc32(kind + body)
            == struct.unpack(">I", png[at + 8 + length : at + 12 + length])[0]
        )
        if kind == b"IHDR":
            width, _, depth, colour = struct.unpack(">IIBB", body[:10])
            assert (depth, colour) in {(1, 0), (1, 3)}
        elif kind == b"PLTE":
            palette = body
        elif kind == b"IDAT":
            packed += body
        at += 12 + length
    dark = 0 if not palette or palette[0] < palette[3] else 1
    stride = (width + 7) // 8
    raw, rows, line = zlib.decompress(packed), [], bytes(stride)
    for start in range(0, len(raw), stride + 1):
        assert raw[start] in {0, 2}, "a line as it is, or its difference to the one above"
        told = raw[start + 1 : start + 1 + stride]
        above = line if raw[start] else bytes(stride)
        line = bytes((one + other) % 256 for one, other in zip(told, above, strict=True))
        rows.append([line[c // 8] >> (7 - c % 8) & 1 == dark for c in range(width)])
    return rows


def _functions(version: int, size: int) -> set[tuple[int, int]]:
    """Return the dots that carry no data."""
    found = {(r, c) for r in range(9) for c in range(9)}
    found |= {(r, c) for r in range(9) for c in range(size - 8, size)}
    found |= {(c, r) for r, c in found}
    found |= {(6, c) for c in range(size)} | {(r, 6) for r in range(size)}
    if version >= 7:
        block = {(r, c) for r in range(6) for c in range(size - 11, size - 8)}
        found |= block | {(c, r) for r, c in block}
    centres = _alignment(version, size)
    for row in centres:
        for column in centres:
            if (row, column) not in {(6, 6), (6, size - 7), (size - 7, 6)}:
                found |= {(row + r, column + c) for r in range(-2, 3) for c in range(-2, 3)}
    return found


def _alignment(version: int, size: int) -> list[int]:
    if version == 1:
        return []
    count = version // 7 + 2
    step = 26 if version == 32 else (version * 4 + count * 2 + 1) // (count * 2 - 2) * 2
    return [6, *sorted(size - 7 - at * step for at in range(count - 1))]


def _way(size: int) -> list[tuple[int, int]]:
    """Return all dots in the order of the data: pairs of columns, up and down."""
    found, up = [], True
    pairs = [(c, c - 1) for c in (*range(size - 1, 6, -2), *range(5, 0, -2))]
    for right, left in pairs:
        rows = range(size - 1, -1, -1) if up else range(size)
        found += [(r, c) for r in rows for c in (right, left)]
        up = not up
    return found


def _sorted_out(words: list[int], version: int, level: str) -> list[int]:
    """Return the data words: blocks are dealt out one word at a time."""
    every: Any = consts.ECC
    table = every[version][getattr(consts, f"ERROR_LEVEL_{level}")]
    lengths = [one.num_data for one in table for _ in range(one.num_blocks)]
    blocks: list[list[int]] = [[] for _ in lengths]
    at = 0
    for place in range(max(lengths)):
        for block, length in zip(blocks, lengths, strict=True):
            if place < length:
                block.append(words[at])
                at += 1
    return [word for block in blocks for word in block]


def _letters(bits: list[bool], version: int) -> str:
    if _number(bits[:4]) == 0b0100:
        width = 8 if version <= 9 else 16
        count, at = _number(bits[4 : 4 + width]), 4 + width
        return bytes(_number(bits[at + 8 * n : at + 8 * n + 8]) for n in range(count)).decode()
    assert _number(bits[:4]) == 0b0010, "alphanumeric mode"
    width = 9 if version <= 9 else 11 if version <= 26 else 13
    count, at, text = _number(bits[4 : 4 + width]), 4 + width, ""
    while len(text) + 1 < count:
        first, second = divmod(_number(bits[at : at + 11]), 45)
        text, at = text + LETTERS[first] + LETTERS[second], at + 11
    return text + LETTERS[_number(bits[at : at + 6])] if len(text) < count else text


def _number(bits: list[bool]) -> int:
    return sum(bit << (len(bits) - 1 - place) for place, bit in enumerate(bits))
