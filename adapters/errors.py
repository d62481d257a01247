# ruff: noqa: N818  # the names say what happened; "Error" behind each would say nothing more
"""What can go wrong between us and a board, as types with stable codes.

Every error carries `code`, `evidence`, `remedy` (what a person can do) and `sent`: whether the
board may have acted although nobody can tell. A door command that failed with `sent` is *doubt*.
"""


class AdapterError(Exception):
    """Base of all trouble with lines, boards and profiles."""

    code: str = "adapters.error"
    remedy: str = "Report this with the log around it"

    def __init__(
        self, code: str = "", remedy: str = "", *, sent: bool = False, **evidence: object
    ) -> None:
        self.code = code or type(self).code
        self.remedy = remedy or type(self).remedy
        self.sent = sent
        self.evidence = evidence
        facts = ", ".join(f"{key}={value}" for key, value in evidence.items())
        super().__init__(f"{self.code}: {self.remedy}" + (f" ({facts})" if facts else ""))


class ProfileInvalid(AdapterError):
    """A profile file that must not be used: `line` and `reason` are in the evidence."""

    code = "profile.invalid"
    remedy = "Correct the profile file at this line"


class LatencyRefused(AdapterError):
    """The timer of a USB adapter may not be set by this user, or does not hold."""

    code = "adapter.latency_refused"
    remedy = "Install the udev rule of deploy/udev, or write 1 into this file as root"


class AddressRefused(AdapterError):
    """A board that is not given a number or rate: the code says which step refused.

    `sent`: something was written, so the board may be under its old or its new number.
    """

    code = "address.refused"


class BusError(AdapterError):
    """Base of what a line can answer instead of values."""

    code = "bus.error"


class LinkDown(BusError):
    """The serial device or the TCP peer is not there."""

    code = "bus.link_down"
    remedy = "Check the cable, the adapter, the power and the address; it reconnects by itself"


class TimedOut(BusError):
    """A read was sent and nothing came back in time."""

    code = "bus.timed_out"
    remedy = "Check the board's power, its unit number, baud rate and the A/B wires"


class Unanswered(TimedOut):
    """A write was sent and nothing came back: nobody knows whether the board acted."""

    code = "bus.unanswered"
    remedy = "Look at the door: the board may or may not have acted"


class UnitLost(BusError):
    """The unit has been silent for long; nothing is sent until its next probe is due."""

    code = "bus.unit_lost"
    remedy = "Check the board's power and wiring; it is probed again by itself"


class Nonsense(BusError):
    """Bytes came that are no frame: bad checksum, too short, or a line that never rests."""

    code = "bus.nonsense"
    remedy = "Check termination, A/B wires, baud rate and parity, and for two boards on one number"


class OtherQuestion(BusError):
    """A sound frame came that answers something we did not ask."""

    code = "bus.other_question"
    remedy = "Check for a second master and for two boards on one unit number"


class Refused(BusError):
    """The board answered with a Modbus exception; `exception` is in the evidence."""

    code = "bus.refused"
    remedy = "Check that the profile matches the board and its firmware"


class Late(BusError):
    """The deadline passed before the request could be sent. It was not sent, and will not be."""

    code = "bus.late"
    remedy = "Ask again if it is still wanted"


class Overloaded(BusError):
    """The queue of the line is full. Nothing was taken."""

    code = "bus.overloaded"
    remedy = "Ask less often, or spread the boards over more lines"


class Closed(BusError):
    """The line was closed before the request could be sent."""

    code = "bus.closed"
    remedy = "Open the line first"


class Forbidden(BusError):
    """A request that must never reach a board, whoever asks."""

    code = "bus.forbidden"
    remedy = "Nothing: this protects a lock; use the board's own actions"


class BoardError(AdapterError):
    """Base of what a board refuses or cannot prove."""

    code = "board.error"


class CapExceeded(BoardError):
    """A longer pulse than any lock coil may get, or one shorter than the board can give."""

    code = "board.cap_exceeded"
    remedy = "Ask for a pulse inside the limits of the profile"


class Resting(BoardError):
    """The coil was on a moment ago and must cool down."""

    code = "board.resting"
    remedy = "Wait until the coil has rested"


class NoSuchChannel(BoardError):
    """The board has no such output."""

    code = "board.no_such_channel"
    remedy = "Channels count from 0; check the number of outputs in the profile"


class RailBusy(BoardError):
    """Another coil on the same power rail kept it beyond the deadline. Nothing was sent."""

    code = "board.rail_busy"
    remedy = "Ask again; one coil is on at a time"


class Mismatch(BoardError):
    """The read-back contradicts what was commanded."""

    code = "board.mismatch"
    remedy = "Check the board and its relays before anybody relies on this door"


class NotReady(BoardError):
    """The board could not be brought into its safe state, so no lock is driven through it."""

    code = "board.not_ready"
    remedy = "Check the board's settings against its profile"


class StuckOn(BoardError):
    """A coil could not be shown to be off. Take its power away."""

    code = "board.stuck_on"
    remedy = "Switch off the power of this lock rail now, then look at the relay"
