"""What the engine asks of the shell, as values.

`Pulse`, `Show`, `Answer` and `PairingOpened` are kept inside the engine until everything written
before them is durable; the shell may act on whatever it is given, at once and in order.
"""

from dataclasses import dataclass, field

from gateway.core.screen import Screen
from sync.entry import Lane


@dataclass(frozen=True, slots=True)
class Draft:
    """One entry to store: exact bytes, and the annex with its salt where there is one."""

    lane: Lane
    index: int
    entry: bytes
    annex: bytes | None = field(default=None, repr=False)
    salt: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Erase:
    """Wipe the annex of `ref`, in the same commit as the entry that says so."""

    ref: str


@dataclass(frozen=True, slots=True)
class Persist:
    """Store these entries together. `upto` is the number to report in `Persisted`.

    `snapshot` is (SHA-256, bytes) of the canonical book whose `snapshot.taken` is among the drafts:
    kept in the same commit.
    """

    upto: int
    drafts: tuple[Draft, ...]
    erase: tuple[Erase, ...] = ()
    snapshot: tuple[bytes, bytes] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Pulse:
    """Pulse one lock once, for `ms`, not later than `deadline` (monotonic ms)."""

    intent: str
    door: int
    ms: int
    deadline: int


@dataclass(frozen=True, slots=True)
class Poll:
    """Watch this door closely until `until` (monotonic ms), and tell its state now in any case."""

    door: int
    until: int


@dataclass(frozen=True, slots=True)
class AllOff:
    """Switch all lock coils off and read them back."""


@dataclass(frozen=True, slots=True)
class Show:
    """Put this screen on a kiosk."""

    kiosk: str
    screen: Screen


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer to a `Command`. `code` is empty for yes, else why not; `evidence` explains."""

    token: str
    code: str = ""
    ref: str = ""
    evidence: tuple[tuple[str, str | int], ...] = ()


@dataclass(frozen=True, slots=True)
class WakeAt:
    """Send `TimePassed` at this moment (monotonic ms). A later `WakeAt` replaces an earlier one."""

    mono_ms: int


@dataclass(frozen=True, slots=True)
class PairingOpened:
    """An installer with the right to showed it at this kiosk: let one device pair for a while.

    `by` is the entry that says so.
    """

    kiosk: str
    by: str


Output = Persist | Pulse | Poll | AllOff | Show | Answer | WakeAt | PairingOpened
