"""The words on the wire, without a library's types: what is asked, and what was read."""

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final, Protocol, assert_never

READ_COILS: Final = 1
READ_DISCRETE: Final = 2
READ_HOLDING: Final = 3
READ_INPUT: Final = 4
WRITE_COIL: Final = 5
WRITE_REGISTER: Final = 6
WRITE_COILS: Final = 15
WRITE_REGISTERS: Final = 16

BITS: Final = frozenset({READ_COILS, READ_DISCRETE, WRITE_COILS})
READS: Final = frozenset({READ_COILS, READ_DISCRETE, READ_HOLDING, READ_INPUT})
WRITES: Final = frozenset({WRITE_COIL, WRITE_REGISTER, WRITE_COILS, WRITE_REGISTERS})

# SPEC: MODBUS Application Protocol V1.1b3, 6.1 to 6.12: quantities one request may carry.
_COUNT_MAX: Final = {
    READ_COILS: 2000,
    READ_DISCRETE: 2000,
    READ_HOLDING: 125,
    READ_INPUT: 125,
    WRITE_COIL: 1,
    WRITE_REGISTER: 1,
    WRITE_COILS: 1968,
    WRITE_REGISTERS: 123,
}


@dataclass(frozen=True, slots=True)
class Read:
    """Ask for `count` points from the zero-based wire `address`; `function` 1 to 4."""

    function: int
    address: int
    count: int

    def __post_init__(self) -> None:
        if self.function not in READS:
            raise ValueError(f"function {self.function} does not read")
        _check_range(self.function, self.address, self.count)


@dataclass(frozen=True, slots=True)
class Write:
    """Set points from the zero-based wire `address`; `function` 5, 6, 15 or 16.

    `values` are raw 16-bit words for 5, 6 and 16 (5 takes any word: boards use it for timed
    pulses), and 0 or 1 for 15.
    """

    function: int
    address: int
    values: tuple[int, ...]

    def __post_init__(self) -> None:
        if self.function not in WRITES:
            raise ValueError(f"function {self.function} does not write")
        _check_range(self.function, self.address, len(self.values))
        top = 1 if self.function == WRITE_COILS else 0xFFFF
        if not all(0 <= value <= top for value in self.values):
            raise ValueError(f"values must be 0..{top}")


Request = Read | Write


def _check_range(function: int, address: int, count: int) -> None:
    if not 1 <= count <= _COUNT_MAX[function]:
        raise ValueError(f"count must be 1..{_COUNT_MAX[function]}")
    if not 0 <= address <= 0x10000 - count:
        raise ValueError("address must stay within 0..65535")


def request_pdu_bytes(request: Request) -> int:
    """Length of the request without address and checksum, in bytes."""
    match request:
        case Read():
            return 5
        case Write(function=15):
            return 6 + (len(request.values) + 7) // 8
        case Write(function=16):
            return 6 + 2 * len(request.values)
        case Write():
            return 5
        case _:  # pragma: no cover
            assert_never(request)


def answer_pdu_bytes(request: Request) -> int:
    """Length of the good answer without address and checksum, in bytes."""
    match request:
        case Read(function=1 | 2):
            return 2 + (request.count + 7) // 8
        case Read():
            return 2 + 2 * request.count
        case Write():
            return 5
        case _:  # pragma: no cover
            assert_never(request)


@dataclass(frozen=True, slots=True)
class Reading:
    """What a board said: input and output states by channel, true = active (closed, on).

    `values` are its measures in the profile's order, in thousandths; None = broken sensor.
    """

    inputs: tuple[bool, ...]
    outputs: tuple[bool, ...]
    values: tuple[int | None, ...] = ()


class Verdict(Enum):
    """What the bytes received so far amount to."""

    WAIT = auto()  # could still become an answer
    GOOD = auto()
    REFUSED = auto()  # the board's exception
    NOTHING = auto()  # no byte of any use
    OTHER = auto()  # a sound frame, but not of this question
    CORRUPT = auto()  # our answer by its head and length, broken in between: it has come
    GARBAGE = auto()  # anything else: our answer may still be on its way


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict with what belongs to it."""

    verdict: Verdict
    values: tuple[int, ...] = ()
    exception: int = 0


class Codec(Protocol):
    """Makes and reads the frames of one line."""

    def encode(self, unit: int, request: Request) -> tuple[bytes, int]:
        """Return frame and transaction number (0 where the framing has none)."""
        ...

    def judge(self, raw: bytes, echo: bytes, unit: int, request: Request, number: int) -> Judgement:
        """Judge what came so far; `echo` is what the adapter repeats first."""
        ...

    def at_the_end(
        self, raw: bytes, echo: bytes, unit: int, request: Request, number: int
    ) -> Judgement:
        """Judge what came when the time is over: never WAIT."""
        ...


@dataclass(slots=True)
class Counters:
    """What a line has seen since it was made; for health."""

    sent: int = 0
    answered: int = 0
    timeouts: int = 0
    unanswered: int = 0
    nonsense: int = 0
    other_question: int = 0
    refused: int = 0
    refused_late: int = 0
    refused_lost: int = 0
    overloaded: int = 0
    forbidden: int = 0
    strays: int = 0
    connects: int = 0
    link_losses: int = 0
