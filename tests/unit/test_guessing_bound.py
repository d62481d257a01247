"""The guessing bound of FORMATS.md 6, shown by an attacker against the real engine over years.

P <= N G / 10^d + N L / 10^15 a year, where N is two codes a compartment, G what the engine charged
and L how many long forms it looked at with an empty bucket. The attacker has three keypads, the
power switch and the wall clock, never tires, and is as quick as a keypad can be.
"""

from bisect import bisect_left
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from gateway.core import policy
from gateway.core.inputs import Button
from gateway.core.outputs import Pulse
from sync.codes import LONG_DIGITS, Code, check_digit_fits, digits_for
from sync.custody import Custody
from sync.sitemap import BoardItem, DoorItem, SiteMap
from tests.stage import KEY, SETTINGS, Stage

HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS + 6 * HOUR_MS
YEARS = 2
STEP_MS = 6 * HOUR_MS
BOUND = 1e-4
KEYPADS = ("main", "left", "right")
USED = 4
"""Doors that honest people use here; the others only make the bank as large as it is."""


def bank(compartments: int) -> SiteMap:
    doors = {
        number: DoorItem(
            number=number, size="S", rail="r", lock=f"b:{number}", switch=f"b:{number}",
            occupancy=f"b:{number}",
        )
        for number in range(1, compartments + 1)
    }  # fmt: skip
    board = BoardItem(name="b", line="bus", profile="waveshare-rtu-relay-8", unit=1)
    return SiteMap(boards={"b": board}, doors=doors)


@dataclass
class Siege:
    """A site under attack. `true_ms` is real time: it goes on while the machine is off."""

    compartments: int
    dice: Random
    true_ms: int = 0
    charged: list[int] = field(default_factory=list)
    long_seen: list[int] = field(default_factory=list)
    tried: int = 0
    served: int = 0

    def __post_init__(self) -> None:
        settings = replace(SETTINGS, kiosks=KEYPADS)
        self.stage = Stage(settings=settings, map=bank(self.compartments))
        self.digits = digits_for(self.compartments)

    # --- time ---------------------------------------------------------------------------------

    def wait(self, ms: int) -> None:
        self.true_ms += ms
        self.stage.after(ms)

    def restart(self) -> None:
        off_ms = self.dice.choice((0, 1_000, 60_000))
        self.true_ms += off_ms
        # Whatever the wall clock says afterwards: years ahead, or back.
        self.stage.wall += self.dice.choice((0, 10 * YEAR_MS, -5 * YEAR_MS))
        self.stage.restart(off_ms=off_ms)
        held = tuple(n for n in range(1, USED + 1) if self.stage.engine.book.compartments[n].parcel)
        for number in range(1, USED + 1):
            self.stage.door(number, is_open=False)
            self.stage.occupancy(number, occupied=number in held)

    @property
    def tokens(self) -> int:
        return policy.tokens(self.stage.engine.book, self.stage.now.at)

    # --- the attacker -------------------------------------------------------------------------

    def guess(self, digits: int, kiosk: str) -> str:
        """Enter a well-formed code that is nobody's; return why it was refused."""
        while True:
            self.tried += 1
            body = f"{self.tried * 7_919 % 10**digits:0{digits}d}"
            typed = next(
                body + str(last)
                for last in range(10)
                if check_digit_fits(body + str(last), KEY.site)
            )
            if not any(typed in (code.long, code.short(self.digits)) for code in self.live()):
                break
        had = self.tokens
        self.stage.enter(typed, kiosk)
        why = self.stage.screen(kiosk).why
        if why == "code.unknown" and had:
            assert self.tokens == had - 1
            self.charged.append(self.true_ms)
        elif why == "code.unknown":
            assert digits == LONG_DIGITS
            self.long_seen.append(self.true_ms)
        return why

    def live(self) -> list[Code]:
        parcels = self.stage.engine.book.live()
        return [KEY.code(known.identity or "", known.counter) for known in parcels]

    def attack(self) -> None:
        """Spend every token there is, by short or long forms, at whichever keypad."""
        kiosk = self.dice.choice(KEYPADS)
        while self.tokens:
            self.guess(self.dice.choice((self.digits, self.digits, LONG_DIGITS)), kiosk)
        assert self.guess(self.digits, kiosk) == "code.long_needed"

    def burst(self) -> None:
        """Hammer long forms at all keypads, once a second each, with a restart in between."""
        for second in range(60):
            for kiosk in KEYPADS:
                self.guess(LONG_DIGITS, kiosk)
            if second == 30 and self.dice.random() < 0.5:
                self.restart()
            self.wait(1_000)

    # --- honest people ------------------------------------------------------------------------

    def honest(self) -> None:
        """A deposit and a pick-up by the long form, while the bucket is empty."""
        stage = self.stage
        for kiosk in KEYPADS:
            stage.press(Button.HOME, kiosk=kiosk)
        self.wait(10_000)
        tracking = f"HONEST{self.served}"
        door = stage.deposit(tracking)
        stage.home()
        assert self.tokens == 0
        self.wait(10_000)
        stage.outputs.clear()
        stage.enter(stage.code(tracking, long=True))
        assert stage.last(Pulse).door == door
        assert self.tokens == 0  # a right code refills nothing
        stage.opens()
        stage.shut(door, occupied=False)
        self.wait(60_000)
        assert stage.box(door).custody is Custody.FREE
        self.served += 1

    def run(self) -> None:
        while self.true_ms < YEARS * YEAR_MS:
            self.attack()
            self.stage.outputs.clear()
            chance = self.dice.random()
            if chance < 0.01:
                self.restart()
            elif chance < 0.02:
                self.burst()
            elif chance < 0.03:
                self.honest()
            self.wait(STEP_MS)


def most_in_a_year(moments: list[int]) -> int:
    """The most of these moments in any window of one year."""
    return max(bisect_left(moments, start + YEAR_MS) - place for place, start in enumerate(moments))


@pytest.mark.parametrize("compartments", [30, 308, 3084])
def test_the_chance_of_a_stranger_stays_under_the_bound(compartments: int) -> None:
    siege = Siege(compartments, Random(compartments))
    siege.run()
    codes = 2 * compartments
    guesses = most_in_a_year(siege.charged)
    pace_ms = min(
        later - sooner for sooner, later in zip(siege.long_seen, siege.long_seen[1:], strict=False)
    )
    long_forms = YEAR_MS / pace_ms
    chance = codes * guesses / 10**siege.digits + codes * long_forms / 10**LONG_DIGITS
    assert guesses > 100  # he did try
    assert len(siege.long_seen) > 50
    assert siege.served > 5
    assert pace_ms >= 10_000
    assert chance <= BOUND


def test_no_compartment_has_more_than_two_codes() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    opened = []
    for counter in range(6):
        stage.restart()
        stage.see_all(occupied=(door,))
        stage.outputs.clear()
        stage.enter(stage.code(counter=counter))
        opened.append(any(isinstance(output, Pulse) for output in stage.outputs))
        stage.after(300_000)
    assert opened == [True, True, False, False, False, False]


def test_the_digits_of_a_bank_are_the_fewest_that_keep_the_bound() -> None:
    year = policy.TOKENS + YEAR_MS // policy.REFILL_MS + 1
    long_forms = YEAR_MS // policy.LONG_PACE_MS
    for compartments in (1, 30, 31, 308, 309, 3084):
        codes, digits = 2 * compartments, digits_for(compartments)
        by_long = codes * long_forms / 10**LONG_DIGITS
        assert codes * year / 10**digits + by_long <= BOUND
        if digits > 8:
            assert codes * year / 10 ** (digits - 1) > BOUND * 0.8
