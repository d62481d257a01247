"""One compartment as it hangs in the cabinet: lock, spring, door, switch, parcel, sensor.

A coil that is on long enough lets the latch go; the spring then pushes the door open; the switch
chatters; only a person shuts it, and pushing it shut latches it again. HARDWARE.md section 2.
"""

from typing import Literal, NamedTuple

from adapters.simulator.errors import ActionRefused
from adapters.simulator.wiring import CompartmentSpec

Cause = Literal["pulse", "forced", "rebound"]
_REBOUND_MS = 150
_OPENINGS_KEPT = 1000
_BOUNCES = 4
DOOR_FAULTS = {
    "sticky": (3, "opens at the VALUE-th pulse, or when pulled while the coil is on"),
    "jam": (1, "does not open, whatever the lock does"),
    "coil_open": (1, "the coil is broken: the latch never lets go"),
    "energise_to_lock": (1, "latched only while the coil is on: the spring opens when it goes off"),
    "weak_supply": (600, "the coil needs VALUE ms more to let go"),
    "bounce": (80, "the door switch chatters for VALUE ms"),
    "switch_stuck_open": (1, "the door switch always says open"),
    "switch_stuck_closed": (1, "the door switch always says closed"),
    "falls_shut": (2000, "the door shuts and locks by itself VALUE ms after it opened"),
    "sensor_always": (1, "dust on the sensor: always occupied"),
    "sensor_blind": (1, "a thin envelope: never occupied"),
}
"""Faults of a compartment: default value and meaning."""


class Opening(NamedTuple):
    """The door really opened."""

    at_ms: int
    cause: Cause


class Door:
    """A compartment's mechanics. `coil` and the hands move it; `advance` lets time pass."""

    def __init__(self, spec: CompartmentSpec) -> None:
        self.spec = spec
        self.is_open = False
        self.latched = True
        self.parcel = spec.parcel
        self.coil_on = False
        self.openings: list[Opening] = []
        self.openings_total = 0
        self.faults: dict[str, int] = {}
        if spec.sticky > 1:
            self.faults["sticky"] = spec.sticky
        self._attempts = 0
        self._pulled_until = -1
        self._switch_open = False
        self._events: list[tuple[int, str]] = []

    # -- what the sensors show

    @property
    def shows_open(self) -> bool:
        """Return what the door switch says."""
        if "switch_stuck_open" in self.faults:
            return True
        return self._switch_open and "switch_stuck_closed" not in self.faults

    @property
    def shows_occupied(self) -> bool:
        """Return what the occupancy sensor says."""
        if "sensor_always" in self.faults:
            return True
        return self.parcel and "sensor_blind" not in self.faults

    @property
    def locked(self) -> bool:
        """Say whether the door is shut and held by its latch."""
        return self._held and not self.is_open

    @property
    def _held(self) -> bool:
        return self.coil_on if "energise_to_lock" in self.faults else self.latched

    # -- time and the coil

    def next_at(self) -> int | None:
        """Return when something moves by itself, or None."""
        return min(self._events)[0] if self._events else None

    def advance(self, now_ms: int) -> bool:
        """Let everything happen that is due by now; say whether anything did."""
        happened = False
        while self._events and min(self._events)[0] <= now_ms:
            event = min(self._events)
            self._events.remove(event)
            self._happen(*event)
            happened = True
        return happened

    def coil(self, on: bool, now_ms: int) -> None:  # noqa: FBT001  # a state
        """Give or take the lock's current."""
        self.advance(now_ms)
        went_off = self.coil_on and not on
        self.coil_on = on
        if "energise_to_lock" in self.faults:
            if went_off and "coil_open" not in self.faults:
                self._release(now_ms)
        elif not on:
            self._forget("release")
            if not self.is_open and not self._expects("spring", "rebound"):
                self.latched = True
        elif "coil_open" not in self.faults:
            needs = self.spec.min_pulse_ms + self.faults.get("weak_supply", 0)
            self._events.append((now_ms + needs, "release"))

    def _happen(self, at_ms: int, event: str) -> None:
        match event:
            case "release":
                self._release(at_ms)
            case "spring" | "rebound":
                self._open(at_ms, "pulse" if event == "spring" else "rebound")
            case "shut":
                self._shut(at_ms)
            case _:
                self._switch_open = event == "shows open"

    def _release(self, at_ms: int) -> None:
        self.latched = False
        self._attempts += 1
        if self.is_open or "jam" in self.faults:
            return
        if at_ms <= self._pulled_until:
            self._open(at_ms, "pulse")
        elif self._attempts >= self.faults.get("sticky", 1):
            self._events.append((at_ms + self.spec.open_ms, "spring"))

    def _open(self, at_ms: int, cause: Cause) -> None:
        self.is_open, self.latched, self._attempts, self._pulled_until = True, False, 0, -1
        self._forget("spring", "rebound")
        self.openings_total += 1
        self.openings = [*self.openings[1 - _OPENINGS_KEPT :], Opening(at_ms, cause)]
        self._chatter(at_ms)
        if "falls_shut" in self.faults:
            self._events.append((at_ms + self.faults["falls_shut"], "shut"))

    def _shut(self, at_ms: int) -> None:
        self.is_open = False
        self.latched = not self.coil_on
        self._forget("shut", "rebound")
        self._chatter(at_ms)
        if self.coil_on and not self.faults.keys() & {"coil_open", "energise_to_lock"}:
            # The latch cannot catch while the coil holds it back: the spring opens again.
            self._events.append((at_ms + self.spec.open_ms, "spring"))

    def _chatter(self, at_ms: int) -> None:
        """Let the switch follow the door, there and back a few times for as long as it bounces."""
        self._forget("shows open", "shows closed")
        lasts = self.faults.get("bounce", self.spec.bounce_ms)
        for step in range(_BOUNCES + 1):
            shows_open = self.is_open == (step % 2 == 0)
            event = "shows open" if shows_open else "shows closed"
            if lasts >= _BOUNCES or step == _BOUNCES:
                self._events.append((at_ms + lasts * step // _BOUNCES, event))
        self.advance(at_ms)

    def _forget(self, *events: str) -> None:
        self._events = [event for event in self._events if event[1] not in events]

    def _expects(self, *events: str) -> bool:
        return any(event in events for _, event in self._events)

    # -- hands

    def close(self, now_ms: int) -> None:
        """Push the door shut; nothing happens when it is."""
        self.advance(now_ms)
        if self.is_open or self._expects("rebound"):
            self._shut(now_ms)

    def slam(self, now_ms: int) -> None:
        """Slam the door: it touches the frame, does not latch, and comes back."""
        self.advance(now_ms)
        if self.is_open:
            self._forget("shut")
            self.is_open = False
            self._chatter(now_ms)
            self._events.append((now_ms + _REBOUND_MS, "rebound"))

    def pull(self, now_ms: int, hold_ms: int = 0) -> bool:
        """Pull at the door, for `hold_ms` if it does not give at once; say whether it is open."""
        self.advance(now_ms)
        if not self.is_open and not self._held and "jam" not in self.faults:
            self._open(now_ms, "pulse")
        elif not self.is_open:
            self._pulled_until = now_ms + hold_ms
        return self.is_open

    def force(self, now_ms: int) -> None:
        """Lever the door open, locked or not."""
        self.advance(now_ms)
        if not self.is_open:
            self._open(now_ms, "forced")

    def put(self, now_ms: int) -> None:
        """Lay a parcel in. Raises ActionRefused when the door is shut or one is inside."""
        self._reach_in(now_ms)
        if self.parcel:
            raise ActionRefused("bank.occupied", "take the parcel out", door=self.spec.number)
        self.parcel = True

    def take(self, now_ms: int) -> None:
        """Take the parcel out. Raises ActionRefused when the door is shut or there is none."""
        self._reach_in(now_ms)
        if not self.parcel:
            raise ActionRefused("bank.empty", "put a parcel in first", door=self.spec.number)
        self.parcel = False

    def _reach_in(self, now_ms: int) -> None:
        self.advance(now_ms)
        if not self.is_open:
            raise ActionRefused("bank.door_closed", "open the door first", door=self.spec.number)
