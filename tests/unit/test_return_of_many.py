"""Thirty days without a link, then everybody at once: in order, spread out, at a bounded rate.

Requirement 13 of the security design. One site's month is carried by a real session; a thousand
sites' dialling is played by their real policy in virtual time.
"""

import random
from collections import Counter

import pytest

from sync.redial import AN_HOUR, FREE, Redial
from tests.pair import SITE, both, fill, log_of, meet
from tests.shelf_memory import entry

SITES = 1_000
HOUR_MS = 3_600_000
MONTH_MS = 30 * 24 * HOUR_MS
WITHIN_MS = 25 * 60_000
"""Four attempts an hour, each up to five minutes later: so long until the last one is back."""


def dialled(site: int, hub_back_ms: int) -> list[int]:
    """When one site dials that lost its hub at 0, until the hub is back."""
    redial, dice, now = Redial(random.Random(site).randrange), [0], 0
    while dice[-1] < hub_back_ms:
        now = dice[-1]
        redial.tried(now, progress=now == 0)
        dice.append(now + max(1, redial.wait_ms(now)))
    return dice[1:]


@pytest.mark.parametrize("outage_ms", [12 * HOUR_MS, MONTH_MS], ids=["12 hours", "30 days"])
def test_a_thousand_sites_come_back_spread_out_and_nobody_stays_away(outage_ms: int) -> None:
    dials = [dialled(site, outage_ms) for site in range(SITES if outage_ms < MONTH_MS else 100)]
    back = [times[-1] - outage_ms for times in dials]
    assert max(back) <= WITHIN_MS
    a_second = Counter(moment // 1_000 for moment in back)
    # Evenly spread over twenty minutes it would be one a second; chance makes it a few.
    assert max(a_second.values()) <= 12, a_second.most_common(3)
    for times in dials:
        hours = Counter(moment // HOUR_MS for moment in times[FREE + 1 :] if moment < outage_ms)
        assert max(hours.values()) <= AN_HOUR + 1  # a border of the clock's hours may cut a gap


def test_planted_without_dice_they_all_come_in_one_second() -> None:
    """The measure above has teeth: the same policy with dice that always say the least."""

    def together(outage_ms: int) -> list[int]:
        redial, now = Redial(lambda count: count - 1), 0
        while now < outage_ms:
            redial.tried(now, progress=now == 0)
            now += max(1, redial.wait_ms(now))
        return [now // 1_000]

    seconds = Counter(second for _ in range(100) for second in together(12 * HOUR_MS))
    assert max(seconds.values()) == 100


def test_a_month_is_caught_up_in_order_with_the_alarm_first_and_nothing_twice() -> None:
    site, hub = both()
    fill(site, custody=3_000, telemetry=720)
    site.shelf.write(log_of(SITE, "urgent"), entry(0, "alarm.raised"))
    meet(site, hub)
    sizes = {log_of(SITE, "custody"): 0, log_of(SITE, "telemetry"): 0, log_of(SITE, "urgent"): 0}
    order = []
    for origin, first, count in hub.arrived:
        if origin in sizes:
            assert first == sizes[origin], "a gap, or something twice"
            sizes[origin] = first + count
            order.append(origin)
    assert sizes == {
        log_of(SITE, "custody"): 3_000,
        log_of(SITE, "telemetry"): 720,
        log_of(SITE, "urgent"): 1,
    }
    # One segment of another lane may be on its way when the alarm is read from the disk.
    assert log_of(SITE, "urgent") in order[:2]
