"""The sticker of a gateway, drawn: for a file or a terminal. What is on it: `certs.lan.Sticker`."""

import io
from html import escape
from pathlib import Path
from typing import Final

import segno

from certs import lan
from certs.lan import Sticker
from gateway.errors import GatewayError

QUIET: Final = 4
SCALE: Final = 8
_LINE: Final = 22
_WIDE: Final = 15.0
"""How wide a letter of the smaller lines is, at most."""


def write(path: Path, made: Sticker, site: str) -> None:
    """Draw it into a file: SVG with the words, or PNG of the QR alone.

    Raises GatewayError `sticker.kind`, `sticker.unwritable`.
    """
    match path.suffix.lower():
        case ".svg":
            drawn = svg(made, site).encode()
        case ".png":
            drawn = png(made)
        case _:
            raise GatewayError("sticker.kind", "Name a file that ends in .svg or .png", path=path)
    try:
        path.write_bytes(drawn)
    except OSError as error:
        raise GatewayError(
            "sticker.unwritable", "Choose another place", path=path, errno=error.errno
        ) from error


def png(made: Sticker) -> bytes:
    """Return the QR as PNG."""
    out = io.BytesIO()
    _code(made).save(out, kind="png", scale=SCALE, border=QUIET)
    return out.getvalue()


def svg(made: Sticker, site: str) -> str:
    """Return the QR, and below it what people read: site, address, words. Dark on white."""
    code = _code(made)
    side = code.symbol_size(scale=SCALE, border=QUIET)[0]
    words = lan.words_of(made.pin)
    lines = [f"Locker {site}", made.address, " ".join(words[:3]), " ".join(words[3:])]
    width = max(side, round(_WIDE * max(map(len, lines))))
    height = side + _LINE * len(lines) + _LINE
    shown = "".join(
        f'<text x="{width // 2}" y="{side + _LINE * (n + 1)}">{escape(line)}</text>'
        for n, line in enumerate(lines)
    )
    drawn = code.svg_inline(scale=SCALE, border=QUIET, light="#fff")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><rect width="{width}" height="{height}" fill="#fff"/>'
        f'<g transform="translate({(width - side) // 2})">{drawn}</g>'
        f'<g font-family="sans-serif" font-size="18" text-anchor="middle">{shown}</g></svg>\n'
    )


def terminal(made: Sticker) -> str:
    """Return lines of half blocks."""
    out = io.StringIO()
    _code(made).terminal(out, border=QUIET, compact=True)
    return out.getvalue()


def _code(made: Sticker) -> segno.QRCode:
    return segno.make_qr(made.text(), error="m")
