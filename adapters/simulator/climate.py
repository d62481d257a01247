"""XY-MD02 temperature and humidity sensor on a line of locker boards. HARDWARE.md 1.11, [B] T1."""

from typing import ClassVar

from adapters.simulator.boards import Board, Point

_TEMPERATURE, _HUMIDITY, _ADDRESS, _BAUD = 1, 2, 0x0101, 0x0102
_FAULT_WORD = 0xFFFF


class XyMd02(Board):
    """FC04 register 1 = tenths of a degree (signed), 2 = tenths of a per cent.

    Faults: `broken` answers 0xFFFF; `clone` is the look-alike that counts in hundredths.
    """

    model: ClassVar[str] = "xy-md02"
    functions: ClassVar[frozenset[int]] = frozenset((0x03, 0x04, 0x06))

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        self.temperature_decidegree = 215
        self.humidity_permille = 480
        self.broken = False
        self.clone = False
        self.input_words[_TEMPERATURE] = Point(lambda: self._word(self.temperature_decidegree))
        self.input_words[_HUMIDITY] = Point(lambda: self._word(self.humidity_permille))
        self.holding[_ADDRESS] = Point(lambda: self.unit, self._readdress, range(1, 248))
        self.holding[_BAUD] = self.cell(_BAUD, 0, range(3))

    def _word(self, tenths: int) -> int:
        if self.broken:
            return _FAULT_WORD
        return (tenths * (10 if self.clone else 1)) & 0xFFFF

    def _readdress(self, unit: int, _now_ms: int) -> None:
        self.unit = unit
