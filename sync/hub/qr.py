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

    Raises ValueError where none does: 3,391 characters of Base45, or 2,331 bytes. Finding the mask
    is half of the work: whoever wants two pictures makes the code once.
    """
    return segno.make_qr(text, error="m")


def fitting(text: str) -> segno.QRCode | None:
    """Return the QR code of a text; None where no code can hold it."""
    try:
        return code_of(text)
    except ValueError:
        return None


def png(shown: str | segno.QRCode) -> bytes:
    """Return a PNG file."""
    out = io.BytesIO()
    _code(shown).save(out, kind="png", scale=SCALE, border=QUIET)
    return out.getvalue()


def svg(shown: str | segno.QRCode) -> str:
    """Return an SVG document, dark on white."""
    out = io.BytesIO()
    _code(shown).save(out, kind="svg", scale=SCALE, border=QUIET, light="#fff", xmldecl=False)
    return out.getvalue().decode()


def terminal(shown: str | segno.QRCode) -> str:
    """Return lines of half blocks, light on dark: most scanners read both."""
    out = io.StringIO()
    _code(shown).terminal(out, border=QUIET, compact=True)
    return out.getvalue()


def _code(shown: str | segno.QRCode) -> segno.QRCode:
    return code_of(shown) if isinstance(shown, str) else shown
