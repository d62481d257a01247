"""Temperature and humidity sensors on a line of locker boards. HARDWARE.md 1.11, [B] T1."""

from typing import ClassVar

from adapters.simulator.boards import Board, Point

_FAULT_WORD = 0xFFFF


class ClimateSensor(Board):
    """What they share: two words in `scale` steps a tenth. `broken` answers 0xFFFF. [M]."""

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        self.temperature_decidegree = 215
        self.humidity_permille = 480
        self.broken = False
        self.scale = 1

    def temperature(self) -> int:
        """Return the word of the temperature, signed."""
        return self._word(self.temperature_decidegree)

    def humidity(self) -> int:
        """Return the word of the humidity."""
        return self._word(self.humidity_permille)

    def _word(self, tenths: int) -> int:
        return _FAULT_WORD if self.broken else tenths * self.scale & 0xFFFF


class XyMd02(ClimateSensor):
    """XY-MD01/02: FC04 register 1 = tenths of a degree (signed), 2 = tenths of a per cent.

    `clone` is the look-alike that counts in hundredths. A new number or rate counts at once. [M]
    """

    model: ClassVar[str] = "xy-md02"
    functions: ClassVar[frozenset[int]] = frozenset((0x03, 0x04, 0x06))
    address: ClassVar[int] = 0x0101
    bauds: ClassVar[tuple[int, ...]] = (9600, 14400, 19200)

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        self._rate = self.bauds.index(9600 if baud not in self.bauds else baud)
        self.input_words[1] = Point(self.temperature)
        self.input_words[2] = Point(self.humidity)
        self.holding[self.address] = Point(lambda: self.unit, self._readdress, range(1, 248))
        self.holding[self.address + 1] = Point(
            lambda: self._rate, self._set_rate, range(len(self.bauds))
        )

    @property
    def clone(self) -> bool:
        """Whether it counts ten times finer than its label says."""
        return self.scale != 1

    @clone.setter
    def clone(self, finer: bool) -> None:
        self.scale = 10 if finer else 1

    def _readdress(self, unit: int, _now_ms: int) -> None:
        self.unit = unit

    def _set_rate(self, code: int, _now_ms: int) -> None:
        self._rate, self.baud = code, self.bauds[code]


class Md02(XyMd02):
    """The clone: hundredths, and registers of its own for address and rate. [B] T1."""

    model: ClassVar[str] = "md02"
    address: ClassVar[int] = 0x0100
    bauds: ClassVar[tuple[int, ...]] = (2400, 4800, 9600)

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        self.clone = True


class Shtc3(ClimateSensor):
    """The SHTC3 clone: FC03, register 0 = humidity, 1 = temperature, tenths. [B] T1."""

    model: ClassVar[str] = "shtc3"
    functions: ClassVar[frozenset[int]] = frozenset((0x03,))

    def __init__(self, unit: int = 1, *, baud: int | None = None) -> None:
        super().__init__(unit, baud=baud)
        self.holding[0] = Point(self.humidity)
        self.holding[1] = Point(self.temperature)
