"""Base45 (RFC 9285): two bytes become three characters that a QR code packs into alphanumerics.

There is one text for each value: `decode` refuses what `encode` would not write.
"""

from certs.errors import CapabilityInvalid

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ $%*+-./:"
_VALUES = {letter: value for value, letter in enumerate(ALPHABET)}


def encode(data: bytes) -> str:
    """Return the text of `data`: three characters for two bytes, two for a last single one."""
    letters = []
    for start in range(0, len(data), 2):
        pair = data[start : start + 2]
        rest = int.from_bytes(pair, "big")
        for _ in range(len(pair) + 1):
            rest, digit = divmod(rest, 45)
            letters.append(ALPHABET[digit])
    return "".join(letters)


def decode(text: str) -> bytes:
    """Return the bytes of `text`; CapabilityInvalid `base45.malformed` for anything else."""
    data = bytearray()
    for start in range(0, len(text), 3):
        group = text[start : start + 3]
        value = 0
        for letter in reversed(group):
            if letter not in _VALUES:
                raise _malformed("character", start)
            value = value * 45 + _VALUES[letter]
        size = len(group) - 1
        if size == 0 or value >= 256**size:
            raise _malformed("group", start)
        data += value.to_bytes(size, "big")
    return bytes(data)


def _malformed(what: str, at: int) -> CapabilityInvalid:
    return CapabilityInvalid("base45.malformed", "Scan it again, whole", what=what, at=at)
