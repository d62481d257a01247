"""Checkers of doors, pulses and coils: what is commanded, how it ends, and what the book says."""

from collections import Counter

from typing_extensions import override

from gateway.core import inputs, outputs
from gateway.core.inputs import Input
from sync import facts
from sync.book import Book
from sync.custody import Custody
from tests.simulation.checkers import Checker
from tests.simulation.disk import Stored
from tests.simulation.world import Box

COIL_MS_MAX = 1_000
COIL_REST_MS = 2_000
OUTCOME_MS = 240_000
"""Recovery looks for two minutes; a request may wait for its rail, and the disk for itself."""
QUIET_MS = 20_000


class OnePulse(Checker):
    """At most one pulse an intent; an automatic repetition is an intent with its reason."""

    invariant = 2

    @override
    def start(self) -> None:
        self.pulses: Counter[str] = Counter()
        self.clicks: Counter[str] = Counter()

    @override
    def coil(self, box: Box, intent: str, *, on: bool) -> None:
        if on:
            self.clicks[intent] += 1
            self.check(holds=self.clicks[intent] == 1, why=f"{intent} clicks a second time")

    @override
    def put_out(self, output: outputs.Output) -> None:
        if isinstance(output, outputs.Pulse):
            self.pulses[output.intent] += 1
            once = self.pulses[output.intent] == 1
            self.check(holds=once, why=f"{output} for the second time")
            intent = self.watch.kept.intents.get(output.intent)
            over = intent is not None and bool(intent.outcomes)
            self.check(holds=not over, why=f"{output}, whose intent has its outcome already")

    @override
    def drafted(self, row: Stored) -> None:
        fact = row.fact
        if not isinstance(fact, facts.OpenIntended):
            return
        if fact.again is not None:
            before = self.watch.tale.intents.get(fact.again)
            ended = before is not None and bool(before.outcomes)
            same = before is not None and before.fact.door == fact.door
            self.check(holds=ended and same, why=f"{row.ref} repeats {fact.again}, which goes on")
            self.check(holds=fact.why not in {"", "asked"}, why=f"{row.ref} repeats for no reason")
        pending = [
            ref
            for ref, intent in self.watch.tale.intents.items()
            if intent.fact.door == fact.door and not intent.outcomes
        ]
        self.check(holds=not pending, why=f"{row.ref} while {pending} go on at the same door")


class EveryIntentEnds(Checker):
    """Every intent gets one outcome within a bound, across crashes; only `late` may follow one."""

    invariant = 3

    @override
    def start(self) -> None:
        self.open: dict[str, int] = {}
        self.since = 0

    @override
    def drafted(self, row: Stored) -> None:
        fact = row.fact
        if isinstance(fact, facts.OpenEnded):
            intent = self.watch.tale.intents.get(fact.of or "")
            self.check(holds=intent is not None, why=f"{row.ref} ends {fact.of}, no intent")
            assert intent is not None
            first = not intent.outcomes
            after = fact.outcome == "late" and intent.outcomes in (["failed"], ["doubt"])
            why = f"{row.ref} says {fact.outcome} of {fact.of} after {intent.outcomes}"
            self.check(holds=after if fact.outcome == "late" else first, why=why)
        elif isinstance(fact, facts.DoorOpened):
            intent = self.watch.tale.intents.get(fact.of or "")
            opened = intent is not None and intent.outcomes[-1:] in (["opened"], ["late"])
            self.check(holds=opened, why=f"{row.ref} is no outcome of {fact.of}")
        elif isinstance(fact, facts.LockEnded):
            trial = self.watch.tale.trials.get(fact.of or "")
            goes_on = trial is not None and not trial.outcomes
            self.check(holds=goes_on, why=f"{row.ref} ends {fact.of}: {trial}")

    @override
    def durable(self, row: Stored) -> None:
        if isinstance(row.fact, facts.OpenIntended | facts.LockIntended):
            self.open[row.ref] = self.site.time.now
        elif isinstance(row.fact, facts.OpenEnded | facts.LockEnded):
            self.open.pop(row.fact.of or "", None)

    @override
    def booted(self) -> None:
        self.since = self.site.time.now

    @override
    def lost(self) -> None:
        self.since = self.site.time.now

    @override
    def given(self, given: Input) -> None:
        if self.open and self.site.up:
            self._overdue(OUTCOME_MS)

    @override
    def finish(self) -> None:
        self._overdue(OUTCOME_MS)

    def _overdue(self, bound: int) -> None:
        for ref, when in self.open.items():
            passed = self.site.time.now - max(when, self.since)
            self.check(holds=passed < bound, why=f"{ref} has no outcome after {passed} ms")


class GivenOnce(Checker):
    """No compartment is given away while occupied, disabled, ajar, in doubt or silent."""

    invariant = 6

    @override
    def start(self) -> None:
        self.silent: dict[str, tuple[int, ...]] = {}

    @override
    def booted(self) -> None:
        self.silent = {}

    @override
    def given(self, given: Input) -> None:
        match given:
            case inputs.DoorSeen():
                self.watch.seen_open[given.door] = given.open
            case inputs.OccupancySeen():
                self.watch.seen_eye[given.door] = given.occupied
            case inputs.BoardSilent():
                self.silent[given.board] = given.doors
                for door in given.doors:
                    self.watch.seen_open.pop(door, None)
                    self.watch.seen_eye.pop(door, None)
            case inputs.BoardBack():
                self.silent.pop(given.board, None)
            case _:
                pass

    @override
    def drafted(self, row: Stored) -> None:
        fact = row.fact
        if isinstance(fact, facts.ParcelDeposited):
            before = self.watch.tale.door(fact.door or 0).parcel
            self.check(holds=before is None, why=f"{row.ref} beside {before}")
        if not isinstance(fact, facts.OpenIntended) or fact.purpose != "deposit":
            return
        number = fact.door or 0
        door = self.watch.tale.door(number)
        claimed = self._claimed(number)
        where = f"{row.ref} gives {number} away"
        self.check(holds=door.parcel is None or claimed, why=f"{where} with {door.parcel} in it")
        self.check(holds=not door.disabled, why=f"{where}: it is disabled")
        self.check(holds=not door.doubted, why=f"{where}: it is in doubt")
        closed = self.watch.seen_open.get(number) is False
        self.check(holds=closed, why=f"{where}: its door is not known to be closed")
        box = self.site.world.boxes[number]
        boards = {box.lock_board, box.switch_board}
        self.check(holds=not boards & set(self.silent), why=f"{where}: {boards} are silent")
        quiet = self.site.time.now - box.changed_at > QUIET_MS
        if quiet and box.honest and not claimed and self.watch.seen_eye.get(number) is not None:
            self.check(holds=not box.inside, why=f"{where}: {box.inside} is inside")

    def _claimed(self, number: int) -> bool:
        parcel = self.watch.tale.door(number).parcel
        return parcel is not None and any(
            isinstance(row.fact, facts.ParcelClaimed) and row.fact.of == parcel
            for row in self.watch.tale.rows.values()
        )


class BookIsTrue(Checker):
    """The book never says *held* when nothing is there, nor *free* when something is.

    Compared where the sensors are truthful and everything has been quiet for a while.
    """

    invariant = 7

    @override
    def start(self) -> None:
        self.book = Book()
        self.blind_until = 0

    @override
    def durable(self, row: Stored) -> None:
        self.book.take(row.log, row.index, row.at, row.fact, row.annex, row.private)

    @override
    def booted(self) -> None:
        self.blind_until = self.site.time.now + QUIET_MS

    @override
    def handled(self, given: Input) -> None:
        if isinstance(given, inputs.BoardBack | inputs.BoardSilent):
            self.blind_until = self.site.time.now + QUIET_MS

    @override
    def look(self) -> None:
        site = self.site
        if (
            not site.up
            or site.installers.bench
            or site.time.now < self.blind_until
            or site.disk.unsynced
            or site.disk.full
        ):
            return
        if site.shell.failed or any(board.dead_since for board in site.world.boards.values()):
            return
        for box in site.world.boxes.values():
            known = self.book.compartments.get(box.number)
            if known is not None and self._comparable(box):
                self._compare(box, known.custody)

    def _comparable(self, box: Box) -> bool:
        quiet = self.site.time.now - box.changed_at > QUIET_MS
        return quiet and box.honest and not box.open and bool(box.item.occupancy)

    def _compare(self, box: Box, custody: Custody) -> None:
        inside = box.inside or "nothing"
        why = f"the book says {box.number} is {custody.value}; {inside} is inside"
        if custody is Custody.HELD:
            self.check(holds=bool(box.inside), why=why)
            slip = self.site.slips.get(self.book.compartments[box.number].parcel or "")
            sure = not box.tampered and not self.site.swarm.struck["lies"]
            if slip is not None and slip.thing and sure:
                right = box.inside == slip.thing
                self.check(holds=right, why=f"{why}, and should be {slip.thing}")
        elif custody is Custody.FREE:
            self.check(holds=not box.inside, why=why)

    @override
    def finish(self) -> None:
        self.look()
        for box in self.site.world.boxes.values():
            custody = self.book.compartments[box.number].custody
            hangs = not box.open and custody in {Custody.DEPOSITING, Custody.COLLECTING}
            if box.switch_lie is None:
                self.check(holds=not hangs, why=f"{box.number} is {custody.value} for ever")


class EveryOpeningLogged(Checker):
    """No door that was seen to open stays unlogged."""

    invariant = 7

    @override
    def start(self) -> None:
        self.was: dict[int, bool | None] = {}

    @override
    def booted(self) -> None:
        self.was = {}

    @override
    def given(self, given: Input) -> None:
        if isinstance(given, inputs.BoardSilent):
            for door in given.doors:
                self.was.pop(door, None)

    @override
    def handled(self, given: Input) -> None:
        if not isinstance(given, inputs.DoorSeen) or not self.site.up or self.site.shell.failed:
            return
        before, self.was[given.door] = self.was.get(given.door), given.open
        if given.open and before is not True and self.watch.tale.rows:
            logged = self.watch.tale.door(given.door).open
            known = given.door in self.site.world.boxes and self._mapped()
            if known:
                self.check(holds=logged, why=f"door {given.door} opened, and no entry says so")

    def _mapped(self) -> bool:
        return any(isinstance(row.fact, facts.ConfigSet) for row in self.watch.kept.rows.values())


class CoilRests(Checker):
    """On no longer than the cap, off no shorter than the rest, one coil a rail, off at start."""

    invariant = 13

    @override
    def start(self) -> None:
        self.since: dict[int, int] = {}
        self.ended: dict[int, int] = {}

    @override
    def handled(self, given: Input) -> None:
        """After a start, a stop and a full disk every coil that hears it is off."""
        if isinstance(given, inputs.PersistFailed):
            self._all_off()

    @override
    def booted(self) -> None:
        self._all_off()

    def _all_off(self) -> None:
        world = self.site.world
        on = [b.number for b in world.boxes.values() if b.coil_on and world.alive(b.lock_board)]
        self.check(holds=not on, why=f"the coils {on} are on")

    @override
    def coil(self, box: Box, intent: str, *, on: bool) -> None:
        now = self.site.time.now
        if on:
            self.since[box.number] = now
            rail = self.site.world.rails[box.item.rail]
            self.check(holds=rail <= 1, why=f"{rail} coils on at {box.item.rail}, {intent}")
            rested = now - self.ended.get(box.number, -COIL_REST_MS)
            self.check(holds=rested >= COIL_REST_MS, why=f"{box.number} rested {rested} ms")
        else:
            self.ended[box.number] = now
            lasted = now - self.since[box.number]
            self.check(holds=lasted <= COIL_MS_MAX, why=f"coil {box.number} on for {lasted} ms")


class DeadlineKept(Checker):
    """No pulse after its deadline; what opens because of an earlier pulse is late, not forced."""

    invariant = 17
    LATE_MS = 55_000

    @override
    def start(self) -> None:
        self.acted: dict[str, tuple[int, int]] = {}

    @override
    def coil(self, box: Box, intent: str, *, on: bool) -> None:
        if on:
            self.acted[intent] = (self.site.time.now, self.site.clocks.boot)

    @override
    def put_out(self, output: outputs.Output) -> None:
        if isinstance(output, outputs.Pulse):
            mono = self.site.clocks.mono()
            self.check(holds=mono <= output.deadline, why=f"{output} at {mono}")
            intent = self.watch.kept.intents.get(output.intent)
            same = intent is None or intent.fact.deadline == output.deadline
            self.check(holds=same, why=f"{output} is not the deadline on record")

    @override
    def drafted(self, row: Stored) -> None:
        if not isinstance(row.fact, facts.DoorForced):
            return
        box = self.site.world.boxes[row.fact.door or 0]
        sent, boot = self.acted.get(box.cause, (0, -1))
        if boot != self.site.clocks.boot or not box.open or not box.honest:
            self.count += 1
            return
        passed = self.site.time.now - sent
        why = f"{row.ref} says forced; {box.cause} did it, {passed} ms ago"
        self.check(holds=passed > self.LATE_MS, why=why)


DOORS: tuple[type[Checker], ...] = (
    OnePulse, EveryIntentEnds, GivenOnce, BookIsTrue, EveryOpeningLogged, CoilRests, DeadlineKept,
)  # fmt: skip
