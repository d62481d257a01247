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
IDENTIFY: Final = 43
MEI_DEVICE: Final = 14  # the one kind of function 43 that is ever asked
PDU_MAX: Final = 253

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


@dataclass(frozen=True, slots=True)
class Identify:
    """Ask a device who it is, from object `object_id` on. Nothing can be set by it.

    SPEC: MODBUS Application Protocol V1.1b3, 6.21. `code` 1: the basic objects (vendor, product,
    version). The values of the answer are its bytes from "more follows" on.
    """

    object_id: int = 0
    code: int = 1

    def __post_init__(self) -> None:
        if self.object_id not in range(256) or self.code not in _CODES:
            raise ValueError("objects are 0..255, codes 1..4")

    @property
    def function(self) -> int:
        """The function code."""
        return IDENTIFY


Request = Read | Write | Identify
_CODES: Final = frozenset({1, 2, 3, 4})
_IDENTITY_HEAD: Final = 7  # function, kind, code, conformity, more, next, number of objects


def _check_range(function: int, address: int, count: int) -> None:
    if not 1 <= count <= _COUNT_MAX[function]:
        raise ValueError(f"count must be 1..{_COUNT_MAX[function]}")
    if not 0 <= address <= 0x10000 - count:
        raise ValueError("address must stay within 0..65535")


def request_pdu_bytes(request: Request) -> int:
    """Length of the request without address and checksum, in bytes."""
    match request:
        case Identify():
            return 4
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
    """Length of the good answer without address and checksum, in bytes; the longest one."""
    match request:
        case Identify():
            return PDU_MAX
        case Read(function=1 | 2):
            return 2 + (request.count + 7) // 8
        case Read():
            return 2 + 2 * request.count
        case Write():
            return 5
        case _:  # pragma: no cover
            assert_never(request)


def identity_bytes(pdu: bytes) -> int:
    """Length of the identification that `pdu` begins, as far as its bytes tell already.

    More than `len(pdu)` while something is missing; more than PDU_MAX: it is none.
    """
    length = _IDENTITY_HEAD
    if len(pdu) < length:
        return length
    for _ in range(pdu[_IDENTITY_HEAD - 1]):
        if len(pdu) < length + 2 or length > PDU_MAX:
            return length + 2
        length += 2 + pdu[length + 1]
    return length


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
