"""The workload of MEASURES.md: one site, 96 compartments on 4 boards, 7 days, 20,000 facts, seeded.

Real entries: the vocabulary, the keys that the writer adds, and the order in which the engine
writes them (gateway/core). Couriers come in rounds and fill compartments one after another;
recipients come one by one, mistype, let doors stand open, leave parcels behind; locks need a second
pulse; boards fall silent; parcels that nobody wants are taken out by support.

`written(seed)` gives them in the order of writing, which is also the order of time.
"""

import heapq
import random
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Final

import msgspec

from sync import canonical, facts, sitemap
from sync.entry import Lane, private_hash

EPOCH: Final = "e1-9f2c01ab"
FACTS: Final = 20_000
DAYS: Final = 7
DAY_MS: Final = 86_400_000
HOUR_MS: Final = 3_600_000
DOORS: Final = 96
BOARDS: Final = 4
ROUNDS: Final = 15
"""Rounds of couriers a day, of 9 to 21 parcels each: compartments are used 2.3 times a day."""


@dataclass(frozen=True, slots=True)
class Written:
    """An entry in its place: lane, index, bytes, and what stands beside the log."""

    lane: Lane
    index: int
    entry: bytes
    fact: facts.AnyFact
    annex: tuple[bytes, bytes] | None = None


@dataclass(slots=True)
class Door:
    """What the generator knows of a compartment."""

    number: int
    size: facts.Size
    last: str | None = None
    parcel: str | None = None
    busy: bool = False
    openings: int = 0


Visit = Iterator[int]
"""Somebody at the site: yields the milliseconds until the next thing they do."""


@dataclass(slots=True)
class Annex:
    """What names a parcel, and what the log says of it."""

    data: bytes
    salt: bytes
    private: str


@dataclass(slots=True)
class Site:
    """The site as a set of visits that write entries."""

    dice: random.Random
    now_ms: int = 41_250
    log: list[Written] = field(default_factory=list)
    sizes: dict[Lane, int] = field(default_factory=lambda: dict.fromkeys(Lane, 0))
    doors: dict[int, Door] = field(default_factory=dict)
    couriers: list[str] = field(default_factory=list)
    counters: dict[str, int] = field(default_factory=dict)
    alarms: int = 0
    _agenda: list[tuple[int, int, Visit]] = field(default_factory=list)
    _number: int = 0

    def run(self, facts_max: int) -> None:
        """Let everybody come until there are enough facts."""
        while len(self.log) < facts_max:
            self.now_ms, _, visit = heapq.heappop(self._agenda)
            self._resume(visit)

    def begin(self, visit: Visit, in_ms: int = 0) -> None:
        """Have somebody come in a while."""
        self._number += 1
        heapq.heappush(self._agenda, (self.now_ms + in_ms, self._number, visit))

    def _resume(self, visit: Visit) -> None:
        wait_ms = next(visit, None)
        if wait_ms is not None:
            self.begin(visit, wait_ms)

    def write(self, fact: facts.AnyFact, annex: Annex | None = None) -> str:
        """Write a fact as `gateway.core.state.State.write` does; return its reference."""
        lane = facts.lane_of(fact)
        index = self.sizes[lane]
        self.sizes[lane] += 1
        entry = facts.to_object(fact) | {"at": [1, self.now_ms]}
        door = self.doors.get(fact.door) if fact.door is not None else None
        ref = f"{EPOCH}:s{lane.letter}{index}"
        if door is not None and lane is Lane.CUSTODY:
            if door.last is not None:
                entry["prev"] = door.last
            door.last = ref
        if annex is not None:
            entry["private"] = annex.private
        beside = (annex.data, annex.salt) if annex is not None else None
        self.log.append(Written(lane, index, canonical.encode(entry), fact, beside))
        return ref

    def noise(self, count: int) -> str:
        """Return base64 of that many bytes that nobody can guess: a hash, a keyed tag."""
        return b64encode(self.dice.randbytes(count)).decode()

    def while_of(self, mean_ms: int, least_ms: int = 0) -> int:
        """Return a waiting time."""
        return least_ms + int(self.dice.expovariate(1 / mean_ms))


# --- the site begins ----------------------------------------------------------------------------


def commission(site: Site) -> None:
    """Write the epoch, the anchor, the map and the couriers' rights."""
    site.write(facts.EpochOpened(site="site/0042", version=1))
    site.write(facts.TimeAnchored(utc_ms=1_790_000_000_123, error_ms=4, source="ntp"))
    each = DOORS // BOARDS
    boards = {
        f"b{n}": sitemap.BoardItem(name=f"b{n}", line="bus0", profile="waveshare-32", unit=n)
        for n in range(1, BOARDS + 1)
    }
    sizes: tuple[facts.Size, ...] = ("S", "M", "S", "L", "S", "M")
    doors = {}
    for number in range(1, DOORS + 1):
        board, channel = f"b{1 + (number - 1) // each}", (number - 1) % each
        point = f"{board}:{channel}"
        doors[number] = sitemap.DoorItem(
            number=number, size=sizes[number % 6], lock=point, switch=point, rail=board,
            occupancy=f"{board}:{channel + 32}",
        )  # fmt: skip
    for item, value in sitemap.items(sitemap.SiteMap(boards=boards, doors=doors)):
        site.write(facts.ConfigSet(item=item, value=value))
    site.doors = {number: Door(number, item.size) for number, item in doors.items()}
    for tenant, label in (("acme", "van 3"), ("acme", "van 7"), ("blitz", "bike"), ("post", "1")):
        site.couriers.append(
            site.write(
                facts.GrantIssued(
                    grant="courier", tenant=tenant, label=label, tag=site.noise(16), key_version=1
                )
            )
        )


def clockwork(site: Site) -> Visit:
    """Sample health every ten minutes, tie the lanes every hour."""
    counts = dict.fromkeys(("requests", "timeouts", "retries", "crc_errors"), 0)
    disk_kb, ten = 21_400_000, 0
    while True:
        counts["requests"] += site.dice.randint(71_000, 72_200)
        for name, mean in (("timeouts", 0.3), ("retries", 0.3), ("crc_errors", 0.1)):
            counts[name] += int(site.dice.expovariate(1 / mean))
        disk_kb -= site.dice.randint(40, 900)
        held = sum(door.parcel is not None for door in site.doors.values())
        values = {
            "disk_free_kb": disk_kb,
            "disk_free_percent": disk_kb * 100 // 28_000_000,
            "log_kb": 400 + len(site.log) * 9 // 10,
            "memory_kb": 61_000 + site.dice.randint(-300, 300),
            "parcels": held,
            "alarms": site.alarms,
            "doors_disabled": 0,
            "doors_free": DOORS - held,
            "doors_held": held,
            **{f"boards_{name}": count for name, count in counts.items()},
        }
        site.write(facts.HealthSampled(values=values))
        if ten % 6 == 0:
            lanes = {lane.value: (site.sizes[lane], site.noise(32)) for lane in Lane}
            site.write(facts.LanesTied(lanes=lanes))
        ten += 1
        yield 600_000 + site.dice.randint(0, 3)


# --- doors --------------------------------------------------------------------------------------


def opened(site: Site, door: Door, intent: Callable[[int, str | None], str]) -> Iterator[int | str]:
    """Pulse until the door opens, then have it closed; yields waits, at last its intent."""
    door.busy = True
    began, again, attempt = site.now_ms, None, 1
    while True:
        ref = intent(attempt, again)
        if site.dice.random() < 0.96 or attempt == 3:  # at the third, people pull
            break
        yield 3_400 + site.dice.randint(20, 90)
        site.write(
            facts.OpenEnded(of=ref, door=door.number, outcome="failed", why="door.no_opening")
        )
        attempt, again = attempt + 1, ref
    yield 480 + site.dice.randint(0, 420)
    site.write(
        facts.OpenEnded(of=ref, door=door.number, outcome="opened", took_ms=site.now_ms - began)
    )
    site.write(facts.DoorOpened(of=ref, door=door.number))
    door.openings += 1
    open_ms = site.while_of(9_000, 3_000) if site.dice.random() > 0.02 else 75_000
    if open_ms > 60_000:  # Settings.ajar_ms
        yield 60_000 + site.dice.randint(0, 3)
        site.write(facts.DoorAjar(of=ref, door=door.number, open_ms=60_001))
        open_ms -= 60_000
    yield open_ms + 1_000
    yield ref


def intended(
    site: Site, door: Door, fact: facts.OpenIntended, annex: Annex | None = None
) -> Callable[[int, str | None], str]:
    """Return what writes the intent of each attempt."""

    def write(attempt: int, again: str | None) -> str:
        wait = 6_000 if site.dice.random() < 0.05 else 0  # the rail is busy
        return site.write(
            msgspec.structs.replace(
                fact, door=door.number, attempt=attempt, deadline=site.now_ms + 2_000 + wait,
                again=again, why="asked" if attempt == 1 else "no_opening",
            ),
            annex,
        )  # fmt: skip

    return write


def closed(site: Site, door: Door, intent: str, *, occupied: bool) -> None:
    site.write(facts.DoorClosed(of=intent, door=door.number, occupied=occupied))


# --- people -------------------------------------------------------------------------------------


def courier(site: Site, by: str, parcels: int) -> Visit:
    """One round: parcel after parcel, each into a free compartment of its size."""
    for _ in range(parcels):
        sizes = site.dice.choices(facts.SIZES[:3], (5, 3, 2))
        free = [
            door for door in site.doors.values()
            if door.parcel is None and not door.busy and door.size == sizes[0]
        ]  # fmt: skip
        if not free:
            continue
        door = min(free, key=lambda one: (one.openings, one.number))
        yield from deposit(site, by, door)
        yield site.while_of(6_000, 9_000)


def deposit(site: Site, by: str, door: Door) -> Visit:
    """Put one parcel into a compartment."""
    number = site.dice.randrange(10**18)
    data = canonical.encode({"tenant": "acme", "tracking": f"JD{number:018d}", "piece": 1})
    salt = site.dice.randbytes(16)
    annex = Annex(data, salt, b64encode(private_hash(salt, data)).decode())
    intent = facts.OpenIntended(
        purpose="deposit", by=by, of=by, attempt=1, deadline=0, size=door.size
    )
    root = None
    for step in opened(site, door, intended(site, door, intent, annex)):
        if isinstance(step, str):
            root = step
        else:
            yield step
    assert root is not None
    closed(site, door, root, occupied=True)
    door.parcel = site.write(
        facts.ParcelDeposited(
            of=root, door=door.number, by=by, size=door.size, digits=9, counter=0, key_version=1,
            tag=site.noise(12), basis="sensor",
        ),
        annex,
    )  # fmt: skip
    door.busy = False
    site.begin(recipient(site, door), _until_fetched(site))


def _until_fetched(site: Site) -> int:
    """Return when the recipient comes: within hours mostly, after days sometimes, by day."""
    wait = site.while_of(4 * HOUR_MS, HOUR_MS // 4)
    clock = (site.now_ms + wait) % DAY_MS
    return wait + (7 * HOUR_MS if clock < 6 * HOUR_MS else 0)


def recipient(site: Site, door: Door) -> Visit:
    """Type the code, perhaps wrongly at first; take the parcel, or leave it and come back."""
    if site.dice.random() < 0.16:
        charged = site.dice.random() < 0.01
        why = "code.unknown" if charged else "code.check_digit"
        level = 7 * 259_200_000 - site.dice.randint(0, 10**6) if charged else None
        site.write(facts.CodeRefused(form="short", why=why, charged=charged, level_ms=level))
        yield site.while_of(8_000, 4_000)
    fact = facts.OpenIntended(purpose="collect", by="code", of=door.parcel, attempt=1, deadline=0)
    if site.dice.random() < 0.02:  # nobody wants it: support takes it out
        fact = facts.OpenIntended(
            purpose="support", by="support:ann", of=door.parcel, attempt=1, deadline=0,
            case=f"T-{site.dice.randrange(10_000)}: expired",
        )  # fmt: skip
    left = site.dice.random() < 0.03
    for step in opened(site, door, intended(site, door, fact)):
        if isinstance(step, str):
            closed(site, door, step, occupied=left)
        else:
            yield step
    if left:
        site.write(facts.ParcelLeft(of=door.parcel, door=door.number))
        door.busy = False
        site.begin(recipient(site, door), site.while_of(HOUR_MS, 20_000))
        return
    if fact.purpose == "collect":
        yield 60_000 + site.dice.randint(0, 3)  # Settings.grace_ms
    site.write(facts.ParcelCollected(of=door.parcel, door=door.number, by=fact.by, basis="sensor"))
    door.parcel, door.busy = None, False


def trouble(site: Site) -> Visit:
    """Boards fall silent and come back; now and then somebody forces a door."""
    while True:
        yield site.while_of(3 * HOUR_MS)
        silent = site.dice.random() < 0.8
        if silent:
            about = f"b{site.dice.randint(1, BOARDS)}"
            raised = site.write(facts.AlarmRaised(alarm="board.silent", about=about))
            door = None
        else:
            idle = [one for one in site.doors.values() if not one.busy and one.parcel is None]
            door = site.dice.choice(idle)
            door.busy = True
            site.write(facts.DoorForced(door=door.number))
            raised = site.write(facts.AlarmRaised(alarm="door.forced", door=door.number))
        site.alarms += 1
        yield site.while_of(240_000, 5_000)
        if door is not None:
            site.write(facts.DoorClosed(door=door.number, occupied=False))
            yield site.while_of(HOUR_MS)
            site.write(facts.CompartmentChecked(door=door.number, by="support:ann", occupied=False))
            door.busy = False
        number = door.number if door is not None else None
        site.write(facts.AlarmCleared(raises=(raised,), door=number))
        site.alarms -= 1


def round_of_days(site: Site) -> Visit:
    """Send the couriers, by day."""
    while True:
        yield 15 * HOUR_MS // ROUNDS + site.dice.randint(-900_000, 900_000)
        if site.now_ms % DAY_MS < 6 * HOUR_MS:
            yield 6 * HOUR_MS - site.now_ms % DAY_MS
        by = site.dice.choice(site.couriers)
        site.begin(courier(site, by, site.dice.randint(9, 21)))


# --- what benches and tests take ----------------------------------------------------------------


@cache
def written(seed: int = 42, facts_max: int = FACTS) -> tuple[Written, ...]:
    """Return the first `facts_max` entries of the site, in the order of writing."""
    site = Site(random.Random(seed))  # a workload, no secret
    commission(site)
    site.begin(clockwork(site), 5_000)
    site.begin(trouble(site))
    site.begin(round_of_days(site))
    site.run(facts_max)
    return tuple(site.log)


def by_lane(items: Sequence[Written]) -> dict[Lane, list[Written]]:
    """Return the entries lane by lane, in index order."""
    return {lane: [item for item in items if item.lane is lane] for lane in Lane}


def backlog(count: int, seed: int = 42) -> tuple[Written, ...]:
    """Return `count` consecutive entries of the middle of the week: what one outage leaves."""
    items = written(seed)
    start = (len(items) - count) // 2
    return items[start : start + count]
