"""One checker for each invariant of ARCHITECTURE.md that applies to a single site.

They watch what goes in and out of the engine, the entries as bytes, and the physical world. None
looks at the engine's own bookkeeping, except where its own size or its book is what is checked.
Each counts how often it had something to check.
"""

from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

from gateway.core import outputs
from gateway.core.inputs import Input
from tests.simulation.disk import Stored, Transaction
from tests.simulation.tale import Tale
from tests.simulation.world import Box

if TYPE_CHECKING:
    from tests.simulation.site import Site


class Violated(Exception):  # noqa: N818  # the name says what is wrong
    """An invariant does not hold: which checker says so, and why."""

    def __init__(self, checker: str, why: str) -> None:
        super().__init__(f"{checker}: {why}")
        self.checker = checker


class Checker:
    """A checker overrides what it wants to be told. `invariant` is its number."""

    invariant = 0

    def __init__(self, watch: "Watch") -> None:
        self.watch, self.site = watch, watch.site
        self.count = 0
        self.start()

    def start(self) -> None:
        """Set up what this checker remembers."""

    @property
    def name(self) -> str:
        """Return the checker's name in the counts."""
        words = "".join(f"_{c.lower()}" if c.isupper() else c for c in type(self).__name__)
        return f"{self.invariant:02d}{words}"

    def check(self, *, holds: bool, why: str) -> None:
        """Count one check, and stop the history when it fails."""
        self.count += 1
        if not holds:
            raise Violated(self.name, why)

    def given(self, given: Input) -> None:
        """The engine is about to handle an input."""

    def handled(self, given: Input) -> None:
        """The engine has handled it, and its outputs are carried out."""

    def put_out(self, output: outputs.Output) -> None:
        """The engine asks for something."""

    def drafted(self, row: Stored) -> None:
        """The engine has written an entry; it is not durable yet."""

    def durable(self, row: Stored) -> None:
        """An entry is durable."""

    def lost(self) -> None:
        """What was not durable is lost; `watch.tale` is told anew."""

    def booted(self) -> None:
        """The process starts."""

    def coil(self, box: Box, intent: str, *, on: bool) -> None:
        """A coil is really on, or off."""

    def look(self) -> None:
        """A moment to compare the book with the world."""

    def finish(self) -> None:
        """Everybody went home and time has passed."""


class Watch:
    """Tells every checker what happens, and keeps what several of them need."""

    def __init__(self, site: "Site", kinds: Iterable[type[Checker]]) -> None:
        self.site = site
        self.drafted_at: dict[str, int] = {}
        self.tale = Tale(self.drafted_at)
        self.kept = Tale(self.drafted_at)
        self.secrets: set[str] = set()
        self.now_handling: Input | None = None
        self.drafts: list[Stored] = []
        self.seen_open: dict[int, bool] = {}
        self.seen_eye: dict[int, bool] = {}
        self.checkers = [kind(self) for kind in kinds]
        self._calls = {
            name: [
                getattr(checker, name)
                for checker in self.checkers
                if getattr(type(checker), name) is not getattr(Checker, name)
            ]
            for name in (
                "given", "handled", "put_out", "drafted", "durable", "lost", "booted", "coil",
                "look", "finish",
            )
        }  # fmt: skip

    def counts(self) -> Counter[str]:
        """Return how often each checker had something to check."""
        return Counter({checker.name: checker.count for checker in self.checkers})

    def secret(self, *texts: str) -> None:
        """Remember what must never be shown or written."""
        self.secrets.update(texts)

    # --- the engine -----------------------------------------------------------------------------

    def given(self, given: Input) -> None:
        self.now_handling = given
        self.drafts = []
        for tell in self._calls["given"]:
            tell(given)

    def handled(self, given: Input) -> None:
        for tell in self._calls["handled"]:
            tell(given)

    def put_out(self, output: outputs.Output) -> None:
        for tell in self._calls["put_out"]:
            tell(output)

    def drafted(self, asked: Transaction) -> None:
        for row in asked.rows:
            self.drafted_at[row.ref] = self.site.time.now
            for tell in self._calls["drafted"]:
                tell(row)
            self.tale.tell((row,))
            self.drafts.append(row)

    def durable(self, rows: list[Stored]) -> None:
        for row in rows:
            self.kept.tell((row,))
            for tell in self._calls["durable"]:
                tell(row)

    def lost(self) -> None:
        self.tale = Tale(self.drafted_at)
        self.tale.tell(self.site.disk.rows)
        for tell in self._calls["lost"]:
            tell()

    def booted(self) -> None:
        self.tale = Tale(self.drafted_at)
        self.tale.tell(self.site.disk.rows)
        self.seen_open, self.seen_eye = {}, {}
        for tell in self._calls["booted"]:
            tell()

    # --- the world ------------------------------------------------------------------------------

    def coil(self, box: Box, intent: str, *, on: bool) -> None:
        for tell in self._calls["coil"]:
            tell(box, intent, on=on)

    def swung(self, box: Box) -> None:
        """A door has really opened."""

    def changed(self, box: Box, what: str) -> None:
        self.site.say(what)
        seen = self.site.up and not self.site.installers.bench and self.site.world.visible(box)
        box.tampered |= not seen
        self.site.shell.moved(box)

    def look(self) -> None:
        for tell in self._calls["look"]:
            tell()

    def finish(self) -> None:
        for tell in self._calls["finish"]:
            tell()
