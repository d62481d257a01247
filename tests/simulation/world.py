"""The physical truth: compartments with their doors, latches and sensors, coils, rails and boards.

Nothing here knows the gateway. What happens to a coil, a door or a parcel is told to `witness`, who
compares it with what the site believes.
"""

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from sync.facts import SIZES
from sync.sitemap import BoardItem, DoorItem, Reach, SiteMap
from tests.simulation.clocks import Timeline
from tests.simulation.swarm import Swarm


class Witness(Protocol):
    """Who is told what really happens."""

    def coil(self, box: "Box", intent: str, *, on: bool) -> None: ...
    def swung(self, box: "Box") -> None: ...
    def changed(self, box: "Box", what: str) -> None: ...


@dataclass(slots=True)
class Box:
    """One compartment as it really is. Times are true milliseconds."""

    number: int
    item: DoorItem
    open: bool = False
    inside: str = ""
    changed_at: int = -1_000_000
    opened_at: int = -1_000_000
    cause: str = ""
    """Why the door is open: the intent that opened it, `force`, `key` or `rebound`."""
    stubborn: int = 0
    jammed: bool = False
    burnt: bool = False
    switch_lie: bool | None = None
    eye_lie: bool | None = None
    thin: bool = False
    honest: bool = True
    """Its sensors have told the truth so far."""
    coil_on: bool = False
    coil_off_at: int = -1_000_000
    tampered: bool = False
    """Something happened here while the gateway was down."""

    @property
    def lock_board(self) -> str:
        return self.item.lock.partition(":")[0]

    @property
    def switch_board(self) -> str:
        return self.item.switch.partition(":")[0]

    @property
    def eye_board(self) -> str:
        return self.item.occupancy.partition(":")[0]

    def switch(self) -> bool:
        """Return what the door switch says."""
        return self.open if self.switch_lie is None else self.switch_lie

    def eye(self) -> bool:
        """Return what the occupancy sensor says."""
        if self.eye_lie is not None:
            return self.eye_lie
        return bool(self.inside) and not self.thin


@dataclass(slots=True)
class Board:
    """A controller board: dead since a true moment, or alive."""

    name: str
    doors: tuple[int, ...] = ()
    dead_since: int | None = None
    told_silent: bool = False


@dataclass(slots=True)
class World:
    """All of it."""

    time: Timeline
    dice: Random
    swarm: Swarm
    map: SiteMap
    witness: Witness
    boxes: dict[int, Box] = field(default_factory=dict)
    built: dict[int, Box] = field(default_factory=dict)
    """Compartments that are wired, and in no map yet."""
    boards: dict[str, Board] = field(default_factory=dict)
    rails: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.boxes = {number: Box(number, item) for number, item in self.map.doors.items()}
        self.boards = {name: Board(name) for name in self.map.boards}
        self._wire()

    def _wire(self) -> None:
        doors: dict[str, list[int]] = {name: [] for name in self.boards}
        for box in self.boxes.values():
            for board in sorted({box.lock_board, box.switch_board, box.eye_board} - {""}):
                doors[board].append(box.number)
        for name, numbers in doors.items():
            self.boards[name].doors = tuple(numbers)

    # --- what an installer does -----------------------------------------------------------------

    def build(self, item: DoorItem) -> None:
        """A compartment is built in and wired."""
        self.built.setdefault(item.number, Box(item.number, item)).item = item

    def mapped(self, site: SiteMap) -> None:
        """This map is the site's from now on: what it says is what was built and wired."""
        self.map = site
        for number, item in site.doors.items():
            if number not in self.boxes:
                self.boxes[number] = self.built.pop(number)
            self.boxes[number].item = item
        self._wire()

    def all(self) -> list[Box]:
        """Return every compartment that is wired."""
        return [*self.boxes.values(), *self.built.values()]

    # --- coils --------------------------------------------------------------------------------

    def energise(self, box: Box, ms: int, intent: str) -> None:
        """Switch a lock coil on for `ms`; the latch may give way."""
        box.coil_on = True
        self.rails[box.item.rail] += 1
        self.witness.coil(box, intent, on=True)
        self.time.at(ms, self._off, box, intent, box.coil_off_at)
        if box.open or box.jammed or box.burnt:
            return
        if box.stubborn:
            box.stubborn -= 1
            return
        late = self.swarm.hit("acts_late")
        delay = self.dice.randint(5_000, 50_000) if late else self.dice.randint(40, 300)
        self.time.at(delay, self._gives_way, box, intent, box.opened_at)

    def _gives_way(self, box: Box, intent: str, opened_at: int) -> None:
        """The latch lets go, unless the door has been opened (and latched again) since."""
        if box.opened_at == opened_at:
            self.swing_open(box, intent)

    def all_off(self) -> None:
        """Switch off the coils of every board that hears it."""
        for box in self.all():
            if box.coil_on and self.alive(box.lock_board):
                self._off(box, "", box.coil_off_at)

    def power_cut(self) -> None:
        """No coil has current any more."""
        for box in self.all():
            if box.coil_on:
                self._off(box, "", box.coil_off_at)

    def _off(self, box: Box, intent: str, was: int) -> None:
        if box.coil_on and box.coil_off_at == was:
            box.coil_on = False
            box.coil_off_at = self.time.now
            self.rails[box.item.rail] -= 1
            self.witness.coil(box, intent, on=False)

    # --- doors and what is behind them ----------------------------------------------------------

    def swing_open(self, box: Box, cause: str) -> None:
        """The door opens."""
        if box.open:
            return
        box.open = True
        box.cause = cause
        box.opened_at = box.changed_at = self.time.now
        self.witness.swung(box)
        self.witness.changed(box, f"door {box.number} swings open ({cause})")

    def shut(self, box: Box) -> None:
        """Somebody pushes the door shut; it may spring back, its latch may be worse than before."""
        if not box.open:
            return
        box.open = False
        box.changed_at = self.time.now
        if self.swarm.hit("sticky"):
            box.stubborn = self.dice.randint(1, 3)
        if self.swarm.hit("jammed"):
            box.jammed = True
        if self.swarm.hit("coil_open"):
            box.burnt = True
        if self.swarm.hit("rebound"):
            self.time.at(self.dice.randint(100, 950), self.swing_open, box, "rebound")
        self.witness.changed(box, f"door {box.number} is pushed shut")

    def put(self, box: Box, parcel: str, *, thin: bool = False) -> None:
        """Somebody puts a thing into an open compartment."""
        assert box.open
        box.inside, box.changed_at = parcel, self.time.now
        if thin:
            box.thin, box.honest = True, False
        self.witness.changed(box, f"{parcel} is put into {box.number}")

    def take(self, box: Box) -> str:
        """Somebody takes out whatever is inside an open compartment."""
        assert box.open
        taken, box.inside, box.changed_at = box.inside, "", self.time.now
        box.thin = False
        self.witness.changed(box, f"{taken} is taken out of {box.number}")
        return taken

    def alive(self, board: str) -> bool:
        """Say whether a board answers."""
        return self.boards[board].dead_since is None

    def visible(self, box: Box) -> bool:
        """Say whether the door's switch can be read."""
        return self.alive(box.switch_board)

    def wear(self) -> str:
        """Let a sensor begin to lie, or stop; return what happened, in words."""
        box = self.dice.choice(list(self.boxes.values()))
        if box.switch_lie is not None or box.eye_lie is not None:
            box.switch_lie = box.eye_lie = None
            self.witness.changed(box, "its sensors tell the truth again")
            return f"the sensors of {box.number} are cleaned"
        for fault, lie in (("switch_stuck_open", True), ("switch_stuck_closed", False)):
            if self.swarm.hit(fault):
                box.switch_lie, box.honest = lie, False
                self.witness.changed(box, "its switch begins to lie")
                return f"the door switch of {box.number} is stuck ({'open' if lie else 'closed'})"
        if self.swarm.hit("dust"):
            box.eye_lie, box.honest = True, False
            self.witness.changed(box, "its eye begins to lie")
            return f"dust on the eye of {box.number}: it says occupied"
        return ""


def small_bank(dice: Random, swarm: Swarm) -> SiteMap:
    """Return a bank of 3 to 10 doors on 1 to 3 boards, with one or several rails."""
    doors = dice.randint(3, 10)
    boards = dice.randint(1, 3)
    split = dice.random() < 0.3
    one_rail = dice.random() < 0.5
    reaches: tuple[Reach, ...] = ("low", "middle", "high")
    items: dict[int, DoorItem] = {}
    for number in range(1, doors + 1):
        lock = f"b{number % boards}"
        inputs = f"i{number % boards}" if split else lock
        items[number] = DoorItem(
            number=number,
            size=dice.choice((*SIZES, "S", "M")),
            lock=f"{lock}:{number}",
            switch=f"{inputs}:{number}",
            rail="r0" if one_rail else f"r-{lock}",
            reach=dice.choice(reaches),
            occupancy="" if swarm.hit("no_sensor") else f"{inputs}:{number + 20}",
            pulse_ms=dice.choice((300, 400, 500)),
        )
    names = {name.partition(":")[0] for item in items.values() for name in (item.lock, item.switch)}
    return SiteMap(
        boards={
            name: BoardItem(name=name, line="bus", profile="simulated", unit=unit)
            for unit, name in enumerate(sorted(names), 1)
        },
        doors=items,
    )
