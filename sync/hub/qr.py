"""QR codes of our texts: for a file, a page, a terminal.

Error correction M and a quiet zone of 4, as ISO/IEC 18004 asks: they are printed on paper, or shown
on scratched telephones. Base45 keeps to the 45 characters of the alphanumeric mode, so a capability
is a code of version 9 or so, of 53 by 53 modules.
"""

import io
from typing import Final

import segno

QUIET: Final = 4
SCALE: Final = 8
"""Pixels a module: a PNG of version 9 is 488 pixels wide."""


def code_of(text: str) -> segno.QRCode:
    """Return the QR code of a text, the smallest that holds it.

    Raises ValueError where none does: 3,391 characters of Base45, or 2,331 bytes.
    """
    return segno.make_qr(text, error="m")


def fits(text: str) -> bool:
    """Say whether one QR code can hold the text."""
    try:
        code_of(text)
    except ValueError:
        return False
    return True


def png(text: str) -> bytes:
    """Return a PNG file."""
    out = io.BytesIO()
    code_of(text).save(out, kind="png", scale=SCALE, border=QUIET)
    return out.getvalue()


def svg(text: str) -> str:
    """Return an SVG document, dark on white."""
    out = io.BytesIO()
    code_of(text).save(out, kind="svg", scale=SCALE, border=QUIET, light="#fff", xmldecl=False)
    return out.getvalue().decode()


def terminal(text: str) -> str:
    """Return lines of half blocks, light on dark: most scanners read both."""
    out = io.StringIO()
    code_of(text).terminal(out, border=QUIET, compact=True)
    return out.getvalue()
