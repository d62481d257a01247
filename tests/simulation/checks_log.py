"""Checkers of the log: durable first, one history, one book, nothing secret, everything bounded."""

import re
from random import Random

from typing_extensions import override

from gateway.core import inputs, outputs
from gateway.core.inputs import Input
from sync import facts
from sync.book import Book
from tests.simulation.checkers import Checker
from tests.simulation.disk import Stored, read
from tests.simulation.world import Box

MINUTE_MS = 60_000


BRINGS = ("deposit", "take_back")
PURPOSES = {
    "collect": ("collect",), "courier": BRINGS, "deposit": BRINGS, "return": BRINGS,
    "service": ("support",),
}  # fmt: skip
"""What a door may be opened for, by what a capability gives."""


class IntentFirst(Checker):
    """No pulse without a durable intent that names its authority; no coil on from the bench either.

    No parcel is on record behind a lock that an installer tries.
    """

    invariant = 1

    @override
    def coil(self, box: Box, intent: str, *, on: bool) -> None:
        kept = self.watch.kept
        if not on or intent in kept.intents:
            return
        trial = kept.trials.get(intent)
        self.check(holds=trial is not None, why=f"{intent} clicks, and is not durable")
        assert trial is not None
        fact, board = trial.fact, self.site.world.map.boards[box.lock_board]
        there = (fact.line, fact.unit) == (board.line, board.unit)
        same = there and fact.lock.partition(":")[2] == box.item.lock.partition(":")[2]
        self.check(holds=same, why=f"{fact} is not the lock {box.item.lock}")
        late = self.site.clocks.mono() > fact.deadline
        lawful = fact.by.startswith("installer:") and not late and not trial.outcomes
        self.check(holds=lawful, why=f"{intent} clicks, {trial.outcomes}, late: {late}, {fact}")
        parcel = kept.door(box.number).parcel
        self.check(holds=parcel is None, why=f"{intent} tries the lock of {parcel}")

    @override
    def put_out(self, output: outputs.Output) -> None:
        if not isinstance(output, outputs.Pulse):
            return
        kept = self.watch.kept
        intent = kept.intents.get(output.intent)
        self.check(holds=intent is not None, why=f"pulse of {output.intent}, which is not durable")
        assert intent is not None
        fact = intent.fact
        self.check(holds=fact.door == output.door, why=f"{output} is not the door of {fact}")
        if fact.by == "code":
            parcel = kept.parcels.get(fact.of or "")
            lawful = parcel is not None and parcel.door == fact.door
        elif fact.by.startswith("support:"):
            lawful = self.watch.now_handling is not None and fact.purpose == "support"
        elif fact.by in kept.accepted:
            lawful = fact.purpose in PURPOSES.get(kept.accepted[fact.by].action, ())
        else:
            lawful = fact.by in kept.issued
        self.check(holds=lawful, why=f"{output} has no authority: {fact}")


PROOFS: dict[str, tuple[type[facts.Fact], ...]] = {
    "collect.thanks": (facts.DoorClosed, facts.OpenEnded),
    "collect.left": (facts.ParcelLeft,),
    "collect.open": (facts.DoorOpened, facts.DoorForced, facts.DoorAjar),
    "deliver.took": (facts.ParcelTakenBack,),
    "deliver.scan": (facts.ParcelDeposited,),
}
"""What must be durable about a door before a screen about it is shown: any of these."""


class AckLasts(Checker):
    """What a person or a command was told is durable when told, and still there at the end."""

    invariant = 8

    @override
    def start(self) -> None:
        self.told: set[str] = set()
        self.of_door: dict[tuple[int, type[facts.Fact]], str] = {}

    @override
    def durable(self, row: Stored) -> None:
        if row.fact is not None and row.fact.door is not None:
            self.of_door[row.fact.door, type(row.fact)] = row.ref

    @override
    def put_out(self, output: outputs.Output) -> None:
        if isinstance(output, outputs.Answer) and output.ref:
            self.check(holds=output.ref in self.watch.kept.rows, why=f"{output} is not durable")
            self.told.add(output.ref)
        if not isinstance(output, outputs.Show) or output.screen.door is None:
            return
        proofs = PROOFS.get(output.screen.name)
        if proofs is not None and not output.screen.why:
            door = output.screen.door
            found = [self.of_door[door, kind] for kind in proofs if (door, kind) in self.of_door]
            if output.screen.name == "collect.open" and self.watch.seen_open.get(door):
                return
            self.check(holds=bool(found), why=f"{output} before anything of it is durable")
            self.told.update(found)

    @override
    def finish(self) -> None:
        kept = {row.ref for row in self.site.disk.rows}
        self.check(holds=self.told <= kept, why=f"lost: {sorted(self.told - kept)}")


class SameBook(Checker):
    """The same entries give the same book, whatever the order and however often they come."""

    invariant = 9

    @override
    def booted(self) -> None:
        if self.site.disk.rows and self.site.dice.random() < 0.3:
            self._compare(Random(len(self.site.disk.rows)), None)

    @override
    def finish(self) -> None:
        engine = self.site.engine
        book = engine.state.book if engine is not None else None  # type: ignore[attr-defined]
        if not self.site.disk.unsynced:
            self._compare(Random(self.site.inputs), book)

    def _compare(self, dice: Random, book: Book | None) -> None:
        rows = [read(row.log, row.index, row.entry, row.annex) for row in self.site.disk.rows]
        straight = Book()
        for row in rows:
            straight.take(row.log, row.index, row.at, row.fact, row.annex, row.private)
        twice = [*rows, *dice.sample(rows, len(rows) // 3)]
        dice.shuffle(twice)
        shuffled = Book()
        for row in twice:
            shuffled.take(row.log, row.index, row.at, row.fact, row.annex, row.private)
        one = straight.canonical()
        self.check(holds=one == shuffled.canonical(), why="the order of arrival shows in the book")
        if book is not None:
            self.check(holds=one == book.canonical(), why="the engine's book is not its log's")


class OneHistory(Checker):
    """Nothing durable is written again, nothing is left out, each entry has its place and time."""

    invariant = 10

    @override
    def drafted(self, row: Stored) -> None:
        disk = self.site.disk
        waiting = sum(other.log == row.log for asked in disk.unsynced for other in asked.rows)
        first = disk.sizes[row.log]
        self.check(
            holds=first <= row.index < first + waiting,
            why=f"{row.ref} is drafted; durable are {first}, waiting {waiting}",
        )
        given = self.watch.now_handling
        right = given is None or row.at == given.now.at or not self.watch.site.up
        self.check(holds=right, why=f"{row.ref} is dated {row.at}")
        fact = row.fact
        if fact is not None and fact.door is not None and not isinstance(fact, facts.URGENT):
            prev = re.search(rb'"prev":"([^"]*)"', row.entry)
            last = self.watch.tale.door(fact.door).last
            named = prev[1].decode() if prev else None
            self.check(holds=named == last, why=f"{row.ref} follows {last}, and says {named}")


class NoSecrets(Checker):
    """No entry, screen or answer shows a code, a secret or a tracking number."""

    invariant = 14
    _digits = re.compile(r"[0-9]{9,}")

    @override
    def drafted(self, row: Stored) -> None:
        self._search(row.entry.decode())

    @override
    def put_out(self, output: outputs.Output) -> None:
        if isinstance(output, outputs.Show | outputs.Answer):
            self._search(repr(output))

    def _search(self, text: str) -> None:
        found = [run for run in self._digits.findall(text) if run in self.watch.secrets]
        self.check(holds=not found and "CANARY" not in text, why=f"a secret is in {text}")


class Bounded(Checker):
    """Nothing the engine keeps beside its book grows with time."""

    invariant = 16
    LIMIT = 100

    @override
    def handled(self, given: Input) -> None:
        if self.site.inputs % 16 or self.site.engine is None:
            return
        for name, value in vars(self.site.engine.state).items():  # type: ignore[attr-defined]
            if name not in {"book", "settings", "retired_tags"} and hasattr(value, "__len__"):
                self.check(holds=len(value) <= self.LIMIT, why=f"{name} holds {len(value)}")


class Answered(Checker):
    """Every local command is answered, unless the process ends first."""

    invariant = 0

    @override
    def start(self) -> None:
        self.waiting: dict[str, int] = {}

    @override
    def given(self, given: Input) -> None:
        if isinstance(given, inputs.Command):
            self.waiting[given.token] = self.site.time.now
        if self.waiting and self.site.inputs % 4 == 0:
            self._overdue()

    @override
    def put_out(self, output: outputs.Output) -> None:
        if isinstance(output, outputs.Answer):
            self.check(holds=output.token in self.waiting, why=f"{output} answers nobody")
            del self.waiting[output.token]

    @override
    def booted(self) -> None:
        self.waiting.clear()

    @override
    def finish(self) -> None:
        self._overdue()

    def _overdue(self) -> None:
        since = self.site.time.now - 3 * MINUTE_MS
        late = [token for token, asked in self.waiting.items() if asked < since]
        self.check(holds=not late, why=f"no answer to {late}")


LOG: tuple[type[Checker], ...] = (
    IntentFirst, AckLasts, SameBook, OneHistory, NoSecrets, Bounded, Answered,
)  # fmt: skip
