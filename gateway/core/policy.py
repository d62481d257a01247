"""The numbers of this site and their reasons, and the guessing policy (FORMATS.md 6).

The bucket: 8 tokens a site, one back per 72 h. What refills it is *witnessed* time, the monotonic
milliseconds that entries of one boot prove to have passed, so no wall clock, jump or restart can
refill it; time spent switched off counts for nothing, which errs on the safe side.
"""

from dataclasses import dataclass

from sync.book import Book
from sync.codes import CodeKey

TOKENS = 8
REFILL_MS = 72 * 3_600_000
FULL_MS = TOKENS * REFILL_MS
LONG_PACE_MS = 10_000
"""One long entry in ten seconds, all keypads of the site together, while the bucket is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Who this site is, its code key, and its timing. Times are milliseconds."""

    operator: str
    writer: str
    epoch: str
    code_key: CodeKey  # the newest: what is deposited from now on
    older_keys: tuple[CodeKey, ...] = ()  # a live parcel keeps the version it came with
    kiosks: tuple[str, ...] = ("main",)
    governed: bool = False  # a hub is configured, whether or not anything was heard of it
    command_ms: int = 2_000  # a door command not sent by then is refused, never sent late
    answer_ms: int = 1_500  # beyond deadline and pulse: a `PulseDone` not here by then never comes
    window_ms: int = 3_000  # after the pulse, an opening is this command's (HARDWARE.md 2.1)
    attempts: int = 3  # pulses for one request; then a rest, so that no coil is cooked
    rest_ms: int = 10_000
    rail_gap_ms: int = 100  # between two pulses on one power rail
    rail_wait_ms: int = 6_000  # a command may queue this long for its rail
    late_ms: int = 60_000  # after giving up, an opening is still `late` of that intent
    stable_ms: int = 1_000  # a door is closed when it stayed closed this long: doors rebound
    grace_ms: int = 60_000  # people push doors shut to see whether they lock
    claimed_ms: int = 900_000  # the same code re-opens where nothing tells full from empty
    ajar_ms: int = 60_000
    ajar_alarm_ms: int = 300_000
    ask_ms: int = 120_000  # an unanswered question about a parcel ends in doubt
    recover_ms: int = 120_000  # by then an intent from before a crash has an outcome
    screen_ms: int = 60_000  # an idle screen goes home; couriers work with both hands
    courier_ms: int = 120_000
    pairing_ms: int = 300_000  # six words to compare and 17 letters to type, on another device
    result_ms: int = 20_000
    warn_ms: int = 20_000  # EN 301 549 / WCAG 2.2.1: twenty seconds to ask for more time
    refusals_ms: int = 60_000  # uncharged refusals are counted together for this long
    support_doors_per_minute: int = 3
    occupied_per_hour: int = 30  # doors with a parcel, for one authority of the hub


def witnessed_ms(book: Book, at: tuple[int, int]) -> int:
    """Return the monotonic time that the log proves up to `at`."""
    boot, mono = book.last_at
    return book.witnessed_ms + (max(0, at[1] - mono) if at[0] == boot else 0)


def bucket_ms(book: Book, at: tuple[int, int]) -> int:
    """Return what the bucket holds, in milliseconds of refill; `REFILL_MS` is one token."""
    if book.guard_level_ms is None:
        return FULL_MS
    return min(FULL_MS, book.guard_level_ms + witnessed_ms(book, at) - book.guard_witnessed_ms)


def tokens(book: Book, at: tuple[int, int]) -> int:
    """Return the whole tokens in the bucket."""
    return bucket_ms(book, at) // REFILL_MS
