"""What can go wrong between a board and the wire, by name. HARDWARE.md 2.2, bus and board part.

No dice: a rate is an exact one. At 300 per mille every reply adds 300 to a count, and each full
thousand is a hit, so ten replies always hold three of them.
"""

from dataclasses import dataclass
from enum import StrEnum

from adapters.simulator import frames
from adapters.simulator.advantech import Adam4100
from adapters.simulator.boards import ILLEGAL_FUNCTION, Board
from adapters.simulator.climate import XyMd02
from adapters.simulator.waveshare import LINKAGE, NORMAL, WaveshareIo8, WaveshareRelay
from adapters.simulator.wirenboard import WirenBoardMr6c

_THOUSAND = 1000


class Damage(StrEnum):
    """What happens to a reply on its way."""

    NONE = "none"
    CORRUPT = "corrupt"
    TRUNCATED = "truncated"

    def apply(self, frame: bytes) -> bytes:
        """Return the frame as it arrives."""
        if self is Damage.CORRUPT:
            return frames.corrupted(frame)
        if self is Damage.TRUNCATED:
            return frames.truncated(frame)
        return frame


@dataclass(frozen=True, slots=True)
class Answer:
    """A reply to be framed and sent `after_ms` later than the turn-around of the line."""

    unit: int
    pdu: bytes
    after_ms: int = 0
    damage: Damage = Damage.NONE


@dataclass(slots=True)
class Active:
    """A fault that is on: its value, and for how many more requests (None: until cleared)."""

    value: int
    left: int | None = None
    sum: int = 0


class Reflections:
    """What a line without its 120 ohm does to answers: the longer and faster, the more are broken.

    No dice: each byte adds to a count, at 9600 baud SHARE per mille and faster in proportion, and
    each full thousand breaks the answer that filled it.
    """

    SHARE = 4
    BAUD = 9600

    def __init__(self) -> None:
        self._sum = 0

    def apply(self, frame: bytes, baud: int) -> bytes:
        """Return the answer as it arrives."""
        hits, self._sum = divmod(self._sum + len(frame) * self.SHARE * baud // self.BAUD, _THOUSAND)
        return frames.corrupted(frame) if hits else frame


RATES = {"lossy": 300, "corrupt": 1000, "truncated": 1000}
"""Faults that strike a share of the replies, with the share (per mille) meant by default."""
ANSWERING = {
    "deaf": (1, "hears nothing and does nothing"),
    "mute": (1, "acts, but the reply is lost"),
    "late": (700, "the reply comes this many ms late: into the next question"),
    "slow": (40, "this many ms of extra turn-around"),
    "lossy": (300, "this share of replies is lost, per mille; the board acted"),
    "corrupt": (1000, "this share of replies has a wrong bit, per mille"),
    "truncated": (1000, "this share of replies loses its end, per mille"),
    "exception": (4, "answers every request with this exception code and does nothing"),
}
"""Faults of hearing and answering: default value and meaning."""
STATES = {
    "linkage": (1, "IO 8CH: every input drives its output"),
    "watchdog": (1, "WB-MR6C: trips into its safe state now"),
    "ascii": (1, "ADAM 41xx: speaks its text protocol, as from the factory; deaf to Modbus"),
    "firmware_v1": (1, "old or AT-command firmware: no Modbus at all"),
    "flash_zero": (1, "Waveshare: a timed pulse of zero stays on"),
    "welded": (0, "the contact of channel VALUE never opens; read-back says on"),
    "contact_open": (0, "the contact of channel VALUE never closes; read-back says on"),
    "sensor_broken": (1, "XY-MD02 answers 0xFFFF"),
    "clone_scale": (1, "XY-MD02 counts ten times finer than its label says"),
}
"""Faults inside a board: default value and meaning."""
BOARD_FAULTS = ANSWERING | STATES


class UnknownFault(ValueError):  # noqa: N818  # named like the other refusals of this house
    """No such fault, or not on a board of this make."""


class Station:
    """A board as the line meets it: the board, and what is wrong with its hearing and answering."""

    def __init__(self, board: Board, name: str = "") -> None:
        self.board = board
        self.name = name or board.model
        self.active: dict[str, Active] = {}
        self.requests = 0
        self.replies = 0

    def inject(
        self, fault: str, now_ms: int, value: int | None = None, count: int | None = None
    ) -> None:
        """Turn a fault on. `value` None takes the default; `count` bounds it to requests.

        Only faults of answering take a `count`; faults inside a board last until cleared.
        Raises UnknownFault for a name that is not in BOARD_FAULTS or does not fit the make.
        """
        if fault not in BOARD_FAULTS:
            raise UnknownFault(fault)
        chosen = BOARD_FAULTS[fault][0] if value is None else value
        if fault in STATES:
            self._set_state(fault, chosen, now_ms, on=True)
        self.active[fault] = Active(chosen, count if fault in ANSWERING else None)

    def clear(self, fault: str, now_ms: int) -> None:
        """Turn a fault off again; nothing happens when it was not on."""
        active = self.active.pop(fault, None)
        if active is not None and fault in STATES:
            self._set_state(fault, active.value, now_ms, on=False)

    def answer(self, unit: int, pdu: bytes, now_ms: int) -> Answer | None:
        """Give a request to the board and return its reply with what happens to it, or None."""
        self.board.advance(now_ms)
        if unit not in (0, self.board.unit):
            return None
        self.requests += 1
        struck = {name: self._strikes(name) for name in list(self.active)}
        if struck.get("deaf"):
            return None
        if struck.get("exception") and unit and pdu and self.board.powered:
            code = bytes((pdu[0] | 0x80, struck["exception"] or ILLEGAL_FUNCTION))
            return self._reply(unit, code, struck)
        heard = self.board.hear(unit, pdu, now_ms)
        if heard is None or struck.get("mute") or struck.get("lossy"):
            return None
        return self._reply(*heard, struck)

    def answer_text(self, text: bytes, now_ms: int) -> bytes | None:
        """Give a line of text to the board; its answer, or None where it speaks none."""
        self.board.advance(now_ms)
        return None if "deaf" in self.active else self.board.hear_ascii(text)

    def _reply(self, unit: int, pdu: bytes, struck: dict[str, int]) -> Answer:
        self.replies += 1
        damage = Damage.NONE
        if struck.get("truncated"):
            damage = Damage.TRUNCATED
        elif struck.get("corrupt"):
            damage = Damage.CORRUPT
        return Answer(unit, pdu, struck.get("late", 0) + struck.get("slow", 0), damage)

    def _strikes(self, name: str) -> int:
        """Return the value of an active fault if it strikes this request, else 0."""
        active = self.active[name]
        if active.left is not None:
            if active.left <= 1:
                del self.active[name]
            active.left -= 1
        if name not in RATES:
            return active.value
        active.sum += active.value
        hit, active.sum = divmod(active.sum, _THOUSAND)
        return hit

    def _set_state(self, fault: str, value: int, now_ms: int, *, on: bool) -> None:
        board = self.board
        if fault == "firmware_v1" or (fault == "ascii" and isinstance(board, Adam4100)):
            board.speaks_modbus = not on
        elif fault in ("welded", "contact_open"):
            self._set_contact(fault, value, now_ms, on=on)
        elif fault == "linkage" and isinstance(board, WaveshareIo8):
            for channel in range(board.outputs_count):
                board.set_mode(channel, LINKAGE if on else NORMAL, now_ms)
        elif fault == "watchdog" and isinstance(board, WirenBoardMr6c):
            if on:
                board.trip(now_ms)
        elif fault == "flash_zero" and isinstance(board, WaveshareRelay):
            board.flash_zero_latches = on
        elif fault in ("sensor_broken", "clone_scale") and isinstance(board, XyMd02):
            setattr(board, "broken" if fault == "sensor_broken" else "clone", on)
        else:
            raise UnknownFault(f"{fault} on {board.model}")

    def _set_contact(self, fault: str, channel: int, now_ms: int, *, on: bool) -> None:
        contacts = self.board.contacts
        if not 0 <= channel < len(contacts):
            raise UnknownFault(f"{fault} on channel {channel}")
        chosen = contacts.welded if fault == "welded" else contacts.broken
        if on:
            chosen.add(channel)
        else:
            chosen.discard(channel)
        contacts.settle(now_ms)
