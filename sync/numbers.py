"""Numbers as short bytes: a symbol for how large, bits for which one; columns of them.

A number below 16 is its own symbol. A larger one has the symbol 11 + its length in bits, and its
bits after the first go into a string of bits beside the symbols: nobody can guess those, so they
are kept from whatever compresses the symbols. A column is nothing (all zeros), or its symbols, or
the gaps between what is not zero, and that: its form says which.
"""

from collections.abc import Sequence
from typing import Final

_PLAIN: Final = 16
_SHIFT: Final = 11
_LENGTH_MAX: Final = 80
"""Bits of a number: the difference of two that fit an entry, and room."""
_ONE: Final = b"\1"
_ZEROS, _DENSE, _SPARSE = range(3)


def zigzag(number: int) -> int:
    """Return 0, 1, 2, 3, 4 for 0, -1, 1, -2, 2."""
    return number * 2 if number >= 0 else -number * 2 - 1


def unzigzag(code: int) -> int:
    """Return what `zigzag` was given."""
    return -(code + 1) // 2 if code & 1 else code // 2


class Sink:
    """Where numbers are written: symbols, and bits beside them."""

    def __init__(self) -> None:
        self._symbols = bytearray()
        self._bits: list[str] = []

    def number(self, number: int) -> None:
        """Write one number, not negative."""
        self.numbers((number,))

    def numbers(self, numbers: Sequence[int]) -> None:
        """Write numbers, none negative."""
        symbols, bits = self._symbols, self._bits
        if not numbers or max(numbers) < _PLAIN:
            symbols += bytes(numbers)
            return
        for number in numbers:
            if number < _PLAIN:
                symbols.append(number)
            else:
                digits = f"{number:b}"
                symbols.append(_SHIFT + len(digits))
                bits.append(digits[1:])

    def columns(self, columns: Sequence[Sequence[int]]) -> None:
        """Write columns: first how each one is written."""
        places = [
            [place for place, number in enumerate(column) if number] if any(column) else []
            for column in columns
        ]
        forms = [
            _ZEROS if not there else _SPARSE if len(there) * 3 < len(column) else _DENSE
            for there, column in zip(places, columns, strict=True)
        ]
        self._symbols += bytes(forms)
        for form, there, column in zip(forms, places, columns, strict=True):
            if form == _DENSE:
                self.numbers(column)
            elif form == _SPARSE:
                self.number(len(there))
                self.numbers([b - a - 1 for a, b in zip([-1, *there], there, strict=False)])
                self.numbers([column[place] - 1 for place in there])

    def text(self, text: bytes) -> None:
        """Write text that holds no 0A; one ends it."""
        self._symbols += text + b"\n"

    def finish(self) -> tuple[bytes, bytes]:
        """Return (symbols, bits); the last byte of the bits is filled with zeros."""
        digits = "".join(self._bits)
        length = (len(digits) + 7) // 8
        return bytes(self._symbols), int(digits.ljust(8 * length, "0") or "0", 2).to_bytes(length)


class Source:
    """Where numbers are read. `ValueError` or `IndexError` when there is no such number."""

    def __init__(self, symbols: bytes, bits: bytes) -> None:
        """Take symbols, and bytes that begin with their bits."""
        self._symbols = symbols
        self._at = 0
        self._bits = f"{int.from_bytes(_ONE + bits):b}"
        self._bit = 1

    def number(self) -> int:
        """Return the next number."""
        return self.numbers(1)[0]

    def numbers(self, count: int) -> list[int]:
        """Return that many numbers."""
        end = self._at + count
        if end > len(self._symbols):
            raise ValueError("columns end early")
        numbers = list(self._symbols[self._at : end])
        self._at = end
        if numbers and max(numbers) >= _PLAIN:
            for place, symbol in enumerate(numbers):
                if symbol >= _PLAIN:
                    numbers[place] = self._long(symbol - _SHIFT)
        return numbers

    def text(self, longest: int) -> bytes:
        """Return the next text."""
        end = self._symbols.index(b"\n", self._at, self._at + longest + 1)
        text, self._at = self._symbols[self._at : end], end + 1
        return text

    def columns(self, counts: Sequence[int]) -> list[list[int] | None]:
        """Return columns of so many numbers; None for zeros."""
        forms = self.numbers(len(counts))
        return [self._column(form, count) for form, count in zip(forms, counts, strict=True)]

    def _column(self, form: int, count: int) -> list[int] | None:
        if form == _ZEROS:
            return None
        if form == _DENSE:
            return self.numbers(count)
        if form != _SPARSE:
            raise ValueError("no such form of a column")
        length = self.number()
        gaps, values = self.numbers(length), self.numbers(length)
        numbers, place = [0] * count, -1
        for gap, value in zip(gaps, values, strict=True):
            place += gap + 1
            numbers[place] = value + 1
        return numbers

    def _long(self, length: int) -> int:
        start, self._bit = self._bit, self._bit + length - 1
        if length > _LENGTH_MAX or self._bit > len(self._bits):
            raise ValueError("bits end early")
        return int("1" + self._bits[start : self._bit], 2)

    def end(self) -> int:
        """Return how many bytes the bits were; `ValueError` unless all symbols were read."""
        if self._at != len(self._symbols):
            raise ValueError("more symbols than the entries need")
        return (self._bit + 6) // 8
