"""Swarm faults: each history switches some faults off and weights the others wildly.

A fault has a base chance for one opportunity. Runs with few faults, weighted high, reach places
that a run with a little of everything never does.
"""

from collections import Counter
from random import Random

BASE: dict[str, float] = {
    # machine and disk
    "crash": 0.006,  # between two outputs, or at any event
    "crash_at_pulse": 0.03,
    "silent_after_start": 0.1,
    "power_cut": 0.4,  # of crashes: the monotonic clock begins anew
    "long_outage": 0.15,  # of crashes: hours, not seconds
    "flush_slow": 0.05,
    "flush_stuck": 0.008,
    "disk_full": 0.02,
    "clock_drift": 0.5,
    "clock_wrong": 0.3,
    "clock_jump": 0.1,
    "clock_stands": 0.04,
    # boards and wires
    "board_silent": 0.02,
    "pulse_not_sent": 0.04,
    "unanswered_acted": 0.06,
    "unanswered_idle": 0.05,
    "answer_late": 0.04,
    "telling_late": 0.03,
    "acts_late": 0.06,  # the latch gives way long after its pulse
    # locks, doors, sensors
    "sticky": 0.12,
    "jammed": 0.02,
    "coil_open": 0.01,
    "rebound": 0.05,
    "bounce": 0.06,
    "switch_stuck_open": 0.006,
    "switch_stuck_closed": 0.006,
    "dust": 0.01,
    "thin_parcel": 0.04,
    "no_sensor": 0.25,
    "sensor_flickers": 0.01,
    # people
    "mistyped": 0.15,
    "garbage": 0.05,
    "typed_twice": 0.06,
    "used_code": 0.08,
    "left_ajar": 0.06,
    "left_behind": 0.12,
    "pushed_shut": 0.15,
    "again": 0.15,
    "walks_away": 0.03,
    "thief": 0.15,
    "nothing_put": 0.06,
    "too_small": 0.08,
    "take_back": 0.08,
    "lies": 0.08,
    "wrong_button": 0.05,
    "same_number": 0.06,
    "wrong_secret": 0.06,
    "forced": 0.12,
    "forced_when_down": 0.15,
    "guesser": 0.08,
    "support": 0.15,
    "revoked": 0.02,
    "revoked_meanwhile": 0.04,
    "out_of_service": 0.15,
    "remapped": 0.02,
    "reissued": 0.06,
    "nonsense": 0.03,
}


class Swarm:
    """The faults of one history, with a count of how often each struck."""

    def __init__(self, dice: Random) -> None:
        self._dice = dice
        self.struck: Counter[str] = Counter()
        off = dice.choice((0.2, 0.5, 0.5, 0.8, 0.95))
        self._chance = {
            name: 0.0 if dice.random() < off else min(0.8, base * dice.choice((0.3, 1, 1, 3, 8)))
            for name, base in BASE.items()
        }
        self.quiet = False

    def hit(self, name: str) -> bool:
        """Say whether this fault strikes at this opportunity, and count it."""
        chance = self._chance[name]
        if chance == 0.0 or self.quiet or self._dice.random() >= chance:
            return False
        self.struck[name] += 1
        return True
