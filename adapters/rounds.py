"""Where a scan looks, in which order: the likely first. Pure.

A round is one setting of the port with the units to ask at it. What answers in one round is not
asked again in a later one: a board has one rate, and one number means one board.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from adapters.profile import Profile

Parity = Literal["N", "E", "O"]
Depth = Literal["quick", "full"]
QUICK_UNITS: Final = tuple(range(1, 33))
FEW_UNITS: Final = (1, 2, 3)  # for rates nobody leaves the factory with
NAMED_UNITS: Final = (1, 2, 3, 4)  # for the text protocol, whose boards leave the factory as 1
ALL_UNITS: Final = tuple(range(1, 256))  # the reserved 248 to 255 too: relay boards use them
RATES: Final = (9600, 19200, 115200, 38400, 57600, 4800, 2400)
FORMATS: Final[tuple[tuple[Parity, Literal[1, 2]], ...]] = (
    ("N", 1),
    ("E", 1),
    ("N", 2),
    ("O", 1),
)
WAIT_MS_MIN: Final = 60


@dataclass(frozen=True, slots=True)
class Round:
    """One setting of the port, and whom to ask at it. `names`: in the ADAM text protocol."""

    baud: int
    parity: Parity
    stop: Literal[1, 2]
    units: tuple[int, ...]
    wait_ms: int
    names: bool = False


def plan(depth: Depth, profiles: Iterable[Profile]) -> tuple[Round, ...]:
    """Plan a scan of a serial line.

    quick: the factory settings of these profiles on units 1 to 32, the text protocol, and the usual
    rates on the first few units. full: after that the whole matrix, units 1 to 255.
    """
    serial = [profile for profile in profiles if "rtu" in profile.link.framings]
    wait_ms = max([WAIT_MS_MIN, *(profile.timing.probe_timeout_ms for profile in serial)])
    rounds = list(_factory(serial, wait_ms))
    rounds.append(Round(9600, "N", 1, NAMED_UNITS, wait_ms, names=True))
    known = {(made.baud, made.parity, made.stop) for made in rounds}
    rare = [baud for baud in RATES if (baud, "N", 1) not in known]
    rounds += [Round(baud, "N", 1, FEW_UNITS, wait_ms) for baud in rare]
    return (*rounds, *_matrix(rounds, wait_ms)) if depth == "full" else tuple(rounds)


def only(rounds: Iterable[Round], low: int, high: int) -> tuple[Round, ...]:
    """Return these rounds for the units `low` to `high` alone; those are asked at every setting."""
    units = tuple(range(low, high + 1))
    return tuple(
        Round(made.baud, made.parity, made.stop, units, made.wait_ms, made.names) for made in rounds
    )


def _factory(profiles: list[Profile], wait_ms: int) -> Iterator[Round]:
    """Each factory setting once, the commonest first; its units with those of its profiles."""
    counts: dict[tuple[int, Parity, Literal[1, 2]], set[int]] = {}
    often: dict[tuple[int, Parity, Literal[1, 2]], int] = {}
    for profile in profiles:
        setting = (profile.link.baud, profile.link.parity, profile.link.stop)
        counts.setdefault(setting, set()).add(profile.link.unit)
        often[setting] = often.get(setting, 0) + 1
    for setting in sorted(counts, key=lambda one: (-often[one], one)):
        own = tuple(sorted(counts[setting] - set(QUICK_UNITS)))
        yield Round(*setting, QUICK_UNITS + own, wait_ms)


def _matrix(done: list[Round], wait_ms: int) -> Iterator[Round]:
    """Every rate and format with the units that were not asked at it yet."""
    for parity, stop in FORMATS:
        for baud in RATES:
            asked = {
                unit
                for made in done
                if (made.baud, made.parity, made.stop, made.names) == (baud, parity, stop, False)
                for unit in made.units
            }
            units = tuple(unit for unit in ALL_UNITS if unit not in asked)
            yield Round(baud, parity, stop, units, wait_ms)
