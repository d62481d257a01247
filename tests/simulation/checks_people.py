"""Checkers of rights: whose code opens what, revocations, and the bound on guessing."""

from typing_extensions import override

from certs.capability import Action
from gateway.core import inputs, outputs
from gateway.core.inputs import Button, Input, Trust
from sync import codes, facts
from tests.simulation.cards import ONCE, Card
from tests.simulation.checkers import Checker
from tests.simulation.disk import Stored
from tests.simulation.tale import ParcelTale

TOKENS = 8
REFILL_MS = 72 * 3_600_000
LONG_PACE_MS = 10_000


class OpensOnlyItsOwn(Checker):
    """A code opens the compartment of its own parcel, and never again once it is consumed."""

    invariant = 4

    @override
    def start(self) -> None:
        self.typed: dict[str, str] = {}
        self.written = 0
        self.before: dict[str, int] = {}

    @override
    def booted(self) -> None:
        self.typed, self.written, self.before = {}, 0, {}

    @override
    def given(self, given: Input) -> None:
        if isinstance(given, inputs.CodeEntered):
            entered = codes.normalise_typed(given.digits)
            if entered is not None and self._known(entered):
                self.typed[given.kiosk] = entered
                self.before[given.kiosk] = self.written

    def _known(self, entered: str) -> bool:
        return any(entered in codes_of(self, parcel) for parcel in self.watch.tale.parcels.values())

    @override
    def put_out(self, output: outputs.Output) -> None:
        if isinstance(output, outputs.Persist):
            self.written = output.upto
        if isinstance(output, outputs.Show) and output.screen.name == "welcome":
            given = self.watch.now_handling
            typed_in = self.before.get(output.kiosk, 0) + 1
            late = isinstance(given, inputs.Persisted) and given.upto <= typed_in
            if not late:  # a screen from before the code was typed, kept back by a stuck disk
                self.typed.pop(output.kiosk, None)

    @override
    def drafted(self, row: Stored) -> None:
        fact = row.fact
        if isinstance(fact, facts.ParcelCollected):
            self._consumed(row, fact)
        if not isinstance(fact, facts.OpenIntended) or fact.purpose != "collect":
            return
        parcel = self.watch.tale.parcels.get(fact.of or "")
        self.check(holds=parcel is not None, why=f"{row.ref} is for no parcel on record")
        assert parcel is not None
        self.check(holds=parcel.door == fact.door, why=f"{row.ref} opens another door: {fact}")
        self.check(holds=not parcel.ended, why=f"{row.ref}: consumed by {parcel.ended}")
        given = self.watch.now_handling
        if fact.again is not None:
            return  # `OnePulse` follows the chain to the first, which is checked here
        if fact.by in self.watch.tale.accepted:
            return  # `CardsHold` knows whose it is
        match given:
            case inputs.CodeEntered():
                typed = codes.normalise_typed(given.digits)
            case inputs.ButtonPressed(button=Button.OPEN_AGAIN):
                typed = self.typed.get(given.kiosk)
            case _:
                typed = None
        right = typed is not None and typed in codes_of(self, parcel)
        self.check(holds=right, why=f"{row.ref}: nobody typed its code; it comes of {given}")

    def _consumed(self, row: Stored, fact: facts.ParcelCollected) -> None:
        door = self.watch.tale.door(fact.door or 0)
        self.check(holds=door.parcel == fact.of, why=f"{row.ref}: in there is {door.parcel}")
        opened = door.opened_since_deposit and not door.open
        self.check(holds=opened, why=f"{row.ref}: never opened, or still open")
        self.check(holds=door.closed_empty is True, why=f"{row.ref}: not seen empty")
        if not fact.by.startswith("support:"):
            passed = self.site.time.now - door.closed_at
            grace = self.site.settings.grace_ms * 99 // 100
            self.check(holds=passed >= grace, why=f"{row.ref}: {passed} ms after closing")


def codes_of(checker: Checker, parcel: ParcelTale) -> tuple[str, ...]:
    """Return every form of a parcel's code that may open it: its own, and one re-issue ahead."""
    known: dict[str, tuple[str, ...]] = checker.watch.__dict__.setdefault("codes_of", {})
    if parcel.ref not in known:
        key, fact = checker.site.settings.code_key, parcel.fact
        own = [key.code(parcel.identity, fact.counter + ahead) for ahead in (0, 1)]
        known[parcel.ref] = tuple(
            form for code in own for form in (code.short(fact.digits), code.long)
        )
    return known[parcel.ref]


class CodeStaysGood(Checker):
    """The right code of a parcel on record is never charged, nor called unknown or used."""

    invariant = 4

    @override
    def handled(self, given: Input) -> None:
        if not isinstance(given, inputs.CodeEntered) or not self.site.up:
            return
        entered = codes.normalise_typed(given.digits)
        # Durable and not ended, by an entry that the disk still keeps back either.
        ended = {ref for ref, parcel in self.watch.tale.parcels.items() if parcel.ended}
        live = [p for p in self.watch.kept.parcels.values() if not p.ended and p.ref not in ended]
        mine = [parcel for parcel in live if entered in codes_of(self, parcel)[:2]]
        if not mine or any(self._claimed(parcel) for parcel in mine):
            return
        refused = [row.fact for row in self.watch.drafts if isinstance(row.fact, facts.CodeRefused)]
        bad = [f for f in refused if f.why in {"code.unknown", "code.retired"} or f.charged]
        self.check(holds=not bad, why=f"the code of {mine[0].ref} is refused: {bad}")

    def _claimed(self, parcel: ParcelTale) -> bool:
        return any(
            isinstance(row.fact, facts.ParcelClaimed | facts.AnnexErased)
            and row.fact.of == parcel.ref
            for row in self.watch.tale.rows.values()
        )


class RevokedWins(Checker):
    """After a grant's revocation is on record nothing is opened by it."""

    invariant = 5

    @override
    def drafted(self, row: Stored) -> None:
        fact = row.fact
        tale = self.watch.tale
        known = tale.issued | tale.accepted.keys()
        if isinstance(fact, facts.OpenIntended) and fact.by in known:
            revoked = self._ended(fact.by)
            self.check(holds=not revoked, why=f"{row.ref} is by {fact.by}, which is revoked")

    @override
    def put_out(self, output: outputs.Output) -> None:
        if isinstance(output, outputs.Pulse):
            intent = self.watch.tale.intents[output.intent]
            revoked = self._ended(intent.fact.by)
            self.check(holds=not revoked, why=f"{output} by a grant that is revoked")

    def _ended(self, by: str) -> bool:
        """Return whether a right was revoked, or its capability denied."""
        right = self.watch.tale.accepted.get(by)
        denied = right is not None and right.cti in self.site.cards.denied
        return denied or by in self.watch.tale.revoked


class CardsHold(Checker):
    """A capability does what it says, here, once or until its end, and nothing to a parcel."""

    invariant = 4

    @override
    def start(self) -> None:
        self.shown: dict[str, Card] = {}

    @override
    def booted(self) -> None:
        self.shown = {}

    @override
    def given(self, given: Input) -> None:
        if isinstance(given, inputs.CapabilityScanned):
            known = self.site.cards.all.values()
            self.shown[given.kiosk] = next(one for one in known if one.text == given.text)

    @override
    def drafted(self, row: Stored) -> None:
        fact, given = row.fact, self.watch.now_handling
        match fact:
            case facts.CapabilityAccepted():
                card = self.site.cards.all[fact.cti]
                self.check(holds=card.good, why=f"{row.ref}: it is no capability of this site")
                again = [ref for ref, one in self._rights().items() if one.cti == fact.cti]
                self.check(holds=not again, why=f"{row.ref} after {again}")
            case facts.OpenIntended() if fact.by in self._rights() and fact.again is None:
                self._opens(row, fact, given)
            case facts.CompartmentChecked() if fact.by in self._rights():
                if self._rights()[fact.by].action == "service":
                    parcel = self.watch.tale.door(fact.door or 0).parcel
                    self.check(holds=parcel is None, why=f"{row.ref} says what became of {parcel}")
            case _:
                pass

    def _rights(self) -> dict[str, facts.CapabilityAccepted]:
        return self.watch.tale.accepted

    def _opens(self, row: Stored, fact: facts.OpenIntended, given: Input | None) -> None:
        card = self.site.cards.all[self._rights()[fact.by].cti]
        once = card.action in ONCE and fact.purpose != "take_back"
        used = once and card.cti in self.watch.tale.used
        self.check(holds=not used, why=f"{row.ref}: {card.action.name} was used")
        over = given is not None and fact.purpose != "take_back" and self._is_over(card, given)
        self.check(holds=not over, why=f"{row.ref}: {card.action.name} is over")
        if fact.purpose == "collect":
            self.check(holds=fact.of == card.parcel, why=f"{row.ref}: it is for {card.parcel}")
        if fact.purpose == "support":
            parcel = self.watch.tale.door(fact.door or 0).parcel
            self.check(holds=parcel is None, why=f"{row.ref} opens to {parcel}")
        kiosk = getattr(given, "kiosk", None)
        if kiosk is not None:
            mine = self.shown.get(kiosk) is card
            self.check(holds=mine, why=f"{row.ref}: nobody showed it at {kiosk}; {given}")

    def _is_over(self, card: Card, given: Input) -> bool:
        """Staff's is over when it may be; a recipient's when it surely is."""
        now = given.now
        if now.trust is Trust.FLOOR:
            return False
        far = -now.error_ms if card.action is Action.COLLECT else now.error_ms
        return now.wall_ms + far >= card.ends_ms and card.action is not Action.RETURN


class GuessingBounded(Checker):
    """Guesses cost tokens before they are answered, and nothing but true time refills them.

    The bucket here counts every well-formed short miss that was looked at, by true time. With it
    empty no short code opens anything, and of long ones one is looked at in ten seconds.
    """

    invariant = 12

    @override
    def start(self) -> None:
        self.level = TOKENS * REFILL_MS
        self.at = 0
        self.long_at = -LONG_PACE_MS

    def _refill(self) -> None:
        now = self.site.time.now
        passed = (now - self.at) * 101 // 100
        self.level = min(TOKENS * REFILL_MS, self.level + passed)
        self.at = now

    @override
    def given(self, given: Input) -> None:
        self._refill()
        self.owed = self._is_miss(given)

    def _is_miss(self, given: Input) -> bool:
        if not isinstance(given, inputs.CodeEntered):
            return False
        entered = codes.normalise_typed(given.digits)
        key = self.site.settings.code_key
        if entered is None or len(entered) not in {9, 16}:
            return False
        if not codes.check_digit_fits(entered, key.site):
            return False
        return not any(
            entered in codes_of(self, parcel) for parcel in self.watch.tale.parcels.values()
        )

    @override
    def drafted(self, row: Stored) -> None:
        fact = row.fact
        if isinstance(fact, facts.CodeRefused) and fact.charged:
            self.check(
                holds=self.level >= REFILL_MS, why=f"{row.ref} spends a token of an empty bucket"
            )
            self.level -= REFILL_MS
        given = self.watch.now_handling
        if isinstance(fact, facts.OpenIntended) and isinstance(given, inputs.CodeEntered):
            entered = codes.normalise_typed(given.digits) or ""
            if len(entered) < 16:
                empty = self.level < REFILL_MS
                self.check(holds=not empty, why=f"{row.ref}: a short code, and the bucket is empty")

    @override
    def handled(self, given: Input) -> None:
        """A miss that was looked at is on record by now, before its answer can be shown."""
        if not self.owed or not self.site.up or self.site.shell.failed:
            return
        assert isinstance(given, inputs.CodeEntered)
        long = len(codes.normalise_typed(given.digits) or "") == 16
        refused = [row.fact for row in self.watch.drafts if isinstance(row.fact, facts.CodeRefused)]
        charged = any(fact.charged for fact in refused)
        unknown = any(fact.why == "code.unknown" for fact in refused)
        if unknown and not charged:
            self.check(holds=long, why="a short miss was looked at, and cost nothing")
            passed = self.site.time.now - self.long_at
            self.check(holds=passed >= LONG_PACE_MS * 99 // 100, why="long misses come too fast")
            self.long_at = self.site.time.now

    @override
    def lost(self) -> None:
        """A charge that was never durable: its answer was never shown, it is lost with it."""
        self.start()
        for row in self.site.disk.rows:
            fact = row.fact
            if isinstance(fact, facts.CodeRefused) and fact.charged:
                when = self.watch.drafted_at[row.ref]
                passed = (when - self.at) * 101 // 100
                self.level = min(TOKENS * REFILL_MS, self.level + passed) - REFILL_MS
                self.at = when


PEOPLE: tuple[type[Checker], ...] = (
    OpensOnlyItsOwn, CodeStaysGood, RevokedWins, CardsHold, GuessingBounded,
)  # fmt: skip
