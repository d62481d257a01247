"""The book: what the site holds, folded from entries, and nothing else.

The same set of entries gives the same book, byte for byte (`canonical`), whatever the order,
duplication or delay in which they came. No rule here reads a clock. How that comes about:

- Entries of one log are folded in index order; early ones wait, known ones are ignored.
- The site's custody logs are one order: epoch after epoch, each from where its parents end
  (`epoch.opened`). What the hub writes, and the urgent lanes, commute with it (`sync.rights`).
- An entry of an older epoch that comes after a later one was begun (the lost suffix of a restored
  site) cannot be folded in its place any more. It makes the book `stale`: whoever keeps the entries
  folds them all again.
- An entry that the fold cannot take stops its log here, and only here (`stopped`): it is stored,
  relayed and shown, and every other log goes on, a later epoch of the same site too.
- A key that begins with `!` and that this version does not know makes what the entry names
  `cautious`: no right to it is used, no compartment of it is given away.

Two histories of one door meet in the first days of a restored epoch: what its table cannot explain
is *doubt* there, until somebody has seen what is inside (`Compartment.sure`).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, NamedTuple, Self

from sync import bookpage, facts
from sync.capacity import name_of
from sync.entry import Lane, Writer
from sync.errors import SyncError, TheirsInvalid
from sync.holdings import Holdings, identity_of
from sync.join import Register, Write, is_ref, log_order, split
from sync.records import Alarm, Annex, At, Claim, Epoch, Stop
from sync.rights import Rights
from sync.views import Views

FOLD: Final = 1
"""The rules of this fold. Others take effect by an entry of the hub (`fold.switched`)."""
TRANSFER_MAX: Final = 3_084
"""Compartments of the largest site: no transfer is larger."""

_AT_A_DOOR: Final = frozenset(
    {
        facts.OpenIntended, facts.OpenEnded, facts.DoorOpened, facts.DoorClosed, facts.DoorForced,
        facts.DoorAjar, facts.DoorProved, facts.ParcelDeposited, facts.ParcelCollected,
        facts.ParcelClaimed, facts.ParcelLeft, facts.ParcelTakenBack, facts.CompartmentDoubted,
        facts.CompartmentChecked,
    }
)  # fmt: skip
"""Kinds that say what happened at a door, and nothing else: nearly every entry of a site."""

Seen = Mapping[str, int]
Named = tuple[str | None, int | None]
"""What an entry with a critical key names: (reference, door)."""


class Item(NamedTuple):
    """An entry as the fold wants it. `fact` is None for a kind this version does not know.

    `annex` and `private` (base64) come from beside the entry. `critical` is given where the entry
    has critical keys. `broken` stands for a fact that could not be read.
    """

    at: At
    fact: facts.AnyFact | None
    annex: Annex | None = None
    private: str | None = None
    seen: Seen | None = None
    critical: Named | None = None
    broken: SyncError | None = None


@dataclass(slots=True)
class Book(Views):
    """The folded state. Read its fields; change it only through `take`."""

    sizes: dict[str, int] = field(default_factory=dict)
    epochs: dict[str, Epoch] = field(default_factory=dict)
    holdings: Holdings = field(default_factory=Holdings)
    rights: Rights = field(default_factory=Rights)
    stopped: dict[str, Stop] = field(default_factory=dict)
    guard_level_ms: int | None = None
    guard_witnessed_ms: int = 0
    witnessed_ms: int = 0
    last_at: At = (0, 0)
    anchor: tuple[At, int, int] | None = None
    stale: bool = False
    _newest: str = ""
    _waiting: dict[str, dict[int, Item]] = field(default_factory=dict)

    def take(  # noqa: PLR0917  # the parts of a stored entry, in their order
        self,
        log: str,
        index: int,
        at: At,
        fact: facts.AnyFact | None,
        annex: Annex | None = None,
        private: str | None = None,
        seen: Seen | None = None,
        critical: Named | None = None,
        broken: SyncError | None = None,
    ) -> None:
        """Fold the entry `index` of `log` (`<epoch>:<s|h><u|c|t>`) as soon as it is its turn.

        Never raises for what an entry says: one that cannot follow what the book holds stops its
        log at itself (`stopped`), with `custody.impossible`, `book.unknown`, `book.map_malformed`,
        `book.wrong_lane`, `book.wrong_writer`, `book.malformed` or `fact.malformed`.
        """
        if index < self.sizes.get(log, 0) or log in self.stopped:
            return
        item = Item(at, fact, annex, private, seen, critical, broken)
        self._waiting.setdefault(log, {})[index] = item
        self._advance(log)
        if self._waiting and log.endswith((":su", ":sc")):
            custody = [other for other in self._waiting if other.endswith(":sc") and other != log]
            for other in sorted(custody, key=log_order):
                self._advance(other)

    # --- bytes --------------------------------------------------------------------------------

    def canonical(self) -> bytes:
        """Return the book as bytes that are equal exactly when two books are equal.

        They are what a snapshot holds; nothing personal is in them, and no words of a library's
        error (the evidence of a stop), which another version may word otherwise.
        """
        compartments, parcels, retired = bookpage.bare(self.holdings)
        return bookpage.Page(
            sizes={log: size for log, size in self.sizes.items() if size},
            epochs=self.epochs,
            map=self.map,
            reading=self.holdings.reader,
            compartments=compartments,
            parcels=parcels,
            retired=retired,
            counters=self.counters,
            rights=self.rights.bare(),
            stopped={log: replace(stop, evidence="") for log, stop in self.stopped.items()},
            guard=(self.guard_level_ms, self.guard_witnessed_ms, self.witnessed_ms),
            last_at=self.last_at,
            anchor=self.anchor,
            trials=self.trials,
            commissioned=self.commissioned,
        ).encoded()

    @classmethod
    def restored(cls, data: bytes, annexes: Iterable[tuple[str, Annex]] = ()) -> Self:
        """Return the book that `canonical` wrote, with the annexes (entry, annex) beside it.

        `TheirsInvalid` `book.bad_snapshot` where `data` is none. Annexes of entries that are folded
        later come with them.
        """
        page = bookpage.Page.parse(data)
        beside = dict(annexes)
        for ref in page.rights.expected.keys() & beside.keys():
            page.rights.expected[ref].identity = identity_of(beside[ref])
        custody = [log for log in (*page.sizes, *page.stopped) if log.endswith(":sc")]
        level_ms, at_ms, witnessed_ms = page.guard
        return cls(
            sizes=page.sizes,
            epochs=page.epochs,
            holdings=bookpage.holdings_of(page, beside),
            rights=page.rights,
            stopped=page.stopped,
            guard_level_ms=level_ms,
            guard_witnessed_ms=at_ms,
            witnessed_ms=witnessed_ms,
            last_at=page.last_at,
            anchor=page.anchor,
            _newest=max(custody, key=log_order, default=""),
        )

    # --- order --------------------------------------------------------------------------------

    def _advance(self, log: str) -> None:
        waiting = self._waiting[log]
        while (size := self.sizes.get(log, 0)) in waiting:
            if log.endswith(":sc") and log != self._newest and not self._may_begin(log):
                return
            item = waiting.pop(size)
            try:
                if item.broken is not None:
                    raise item.broken
                self._fold(log, size, item)
            except SyncError as error:
                self.stopped[log] = Stop(size, error.code, str(error.evidence)[:200])
                waiting.clear()
                break
            self.sizes[log] = size + 1
        if not waiting:
            del self._waiting[log]

    def _may_begin(self, log: str) -> bool:
        """Return whether it is this custody log's turn in the succession of epochs.

        A log whose turn it would be, but for a later one that was begun (or tried: it may have
        stopped for want of these entries), makes the book stale. One that has to wait does not:
        folded again it would wait again. A parent that stopped is as far as it will ever come: the
        next epoch follows it, its doors in doubt where what is missing would have explained them.
        """
        order = log_order(log)
        epoch = self.epochs.get(log.partition(":")[0])
        if order[0] > 1 and (
            epoch is None
            or any(
                self.sizes.get(parent, 0) < size and parent not in self.stopped
                for parent, size in epoch.parents.items()
            )
        ):
            return False
        if self._newest and log_order(self._newest) > order:
            self.stale = True
            return False
        self._newest = log
        return True

    # --- the fold -----------------------------------------------------------------------------

    def _fold(self, log: str, index: int, item: Item) -> None:
        ref, fact, voice = f"{log}{index}", item.fact, log.partition(":")[2]
        if (
            fact is not None
            and fact.door is not None
            and voice == "sc"
            and type(fact) in _AT_A_DOOR
        ):
            self.holdings.fold_door(ref, item.at, fact, item.annex)
            self._use_rights(ref, fact, item.seen or {})
        elif fact is not None:
            if voice[1] != facts.lane_of(fact).letter:
                raise _refused("wrong_lane", kind=facts.kind_of(fact), entry=ref)
            if not facts.may_write(Writer(voice[0]), fact):
                raise _refused("wrong_writer", kind=facts.kind_of(fact), entry=ref)
            self._fold_either(log, index, fact, item.seen or {})
            if voice[0] == "h":
                self._fold_hub(ref, fact, item.annex)
            else:
                self._fold_site(ref, item, fact)
        if voice == "sc":
            self._witness(item.at)
            if isinstance(fact, facts.CodeRefused) and fact.charged:
                self.guard_level_ms = fact.level_ms
                self.guard_witnessed_ms = self.witnessed_ms
        if item.private is not None and voice[0] == "s":
            self.holders.setdefault(item.private, []).append(ref)
        if item.critical is not None:
            of, door = item.critical
            self.rights.restrict(ref, ref, of, None if door is None else str(door))
        self.rights.begun(ref)

    def _fold_either(self, log: str, index: int, fact: facts.AnyFact, seen: Seen) -> None:  # noqa: C901  # a line a kind
        """Take what both writers may say."""
        ref, rights = f"{log}{index}", self.rights
        match fact:
            case facts.GrantIssued():
                rights.issue(ref, fact)
            case facts.GrantRevoked(of=str(grant)):
                rights.revoke(ref, grant, known=self.known(grant))
            case facts.AlarmCleared():
                rights.clear_alarms(fact.raises, self.known)
            case facts.CapacityTransferred():
                if not 0 < fact.count <= TRANSFER_MAX:
                    raise _refused("malformed", kind="capacity.transferred", count=fact.count)
                rights.move(fact, by_hub=":h" in log)
            case facts.ConfigSet(item="setting"):
                self._set(log, index, fact, seen)
            case facts.AnnexErased() if ":s" in log or ":h" in (fact.of or ""):
                # As `entry.may_erase` has it: what the hub says of a site's annex changes nothing.
                self.holdings.erase(fact)
                if fact.of in rights.expected:
                    rights.expected[fact.of].identity = None
            case facts.CompartmentDisabled(door=int(door)):
                self._flag(door, Write(log, index, fact.why or "asked", dict(seen)))
            case facts.CompartmentEnabled(door=int(door)):
                self._flag(door, Write(log, index, "", dict(seen)))
            case _:
                pass

    def _fold_hub(  # noqa: C901  # a line a kind
        self, ref: str, fact: facts.AnyFact, annex: Annex | None
    ) -> None:
        """Take what only the hub says."""
        rights = self.rights
        match fact:
            case facts.ReservationMade():
                rights.promise(ref, fact)
                rights.name(ref, fact.tag)
            case facts.ReservationCancelled(of=str(of)):
                rights.cancel(of, known=self.known(of))
            case facts.OpenRequested():
                rights.ask(ref, fact)
            case facts.TimeAnchored():
                rights.forget_issued(split(ref)[0], fact.utc_ms - fact.error_ms)
            case facts.ClaimMade():
                rights.claim(Claim(ref, fact.tag, fact.says, fact.by))
            case facts.ParcelExpected():
                rights.name(ref, fact.tag)
                if fact.tag not in self.counters:
                    rights.expect(ref, fact, identity_of(annex))
            case facts.ExpectationEnded(of=str(of)):
                rights.unexpect(of, known=self.known(of))
            case facts.FoldSwitched() if fact.version > FOLD:
                raise _refused("newer_fold", version=fact.version, known=FOLD)
            case facts.ConfigSet() if fact.item != "setting":
                raise _refused("wrong_writer", kind="config.set", item=fact.item, entry=ref)
            case _:
                pass

    def _fold_site(  # noqa: C901, PLR0912  # a line a kind
        self, ref: str, item: Item, fact: facts.AnyFact
    ) -> None:
        """Take what only the site says."""
        rights = self.rights
        match fact:
            case facts.EpochOpened():
                began = Epoch(fact.why, _custody(fact.parents))
                self.epochs.setdefault(ref.partition(":")[0], began)
            case facts.FenceSet():
                rights.set_fence(ref, fact.why)
            case facts.FenceLifted(of=str(of)):
                rights.lift_fence(of, known=self.known(of))
            case facts.AlarmRaised():
                rights.raise_alarm(Alarm(ref, fact.alarm, fact.door, fact.about))
            case facts.ReservationClosed(of=str(of)) | facts.CapacityReleased(of=str(of)):
                kind = name_of(fact.size, fact.band)
                rights.end_promise(of, kind, known=self.known(of))
            case facts.RequestDeclined(of=str(of)):
                rights.answer(of, known=self.known(of))
            case facts.ConfigSet() if fact.item != "setting":
                self.holdings.configure(fact)
                for door in self.map.doors:
                    self.compartments[door].disabled = rights.out_of_service(door)
            case facts.TimeAnchored():
                before, self.anchor = self.anchor, (item.at, fact.utc_ms, fact.error_ms)
                if before is not None:  # a clock that is wrong for a moment ends nothing
                    rights.forget(min(before[1] - before[2], fact.utc_ms - fact.error_ms))
            case facts.CapabilityAccepted():
                rights.accept(ref, fact)
            case facts.SiteDecommissioned():
                rights.decommission(ref)
            case facts.LockIntended() | facts.LockEnded() | facts.SiteCommissioned():
                self.holdings.install(ref, item.at, fact)
                if fact.door in self.compartments:
                    self.compartments[fact.door].last = ref
            case _ if fact.door is not None and facts.lane_of(fact) is Lane.CUSTODY:
                self.holdings.fold_door(ref, item.at, fact, item.annex)
            case _:
                pass

    def _use_rights(self, ref: str, fact: facts.AnyFact, seen: Seen) -> None:
        """Take what a thing that happened at a door means for the right that it happened by."""
        rights = self.rights
        match fact:
            case facts.OpenIntended():
                if fact.asked is not None:
                    rights.answer(fact.asked, known=self.known(fact.asked))
                if is_ref(fact.by):
                    rights.attempt(fact.by, ref, dict(seen))
            case facts.ParcelCollected() if is_ref(fact.by):
                rights.use(fact.by, ref)
            case facts.ParcelClaimed() if is_ref(fact.by):
                rights.claimed(fact.by, ref)
            case facts.ParcelDeposited():
                if ":s" in fact.by and fact.by in rights.others:
                    rights.use(fact.by, ref)
                over = [one.ref for one in rights.expected.values() if one.tag == fact.tag]
                for gone in over:
                    del rights.expected[gone]
            case _:
                pass

    def _flag(self, door: int, write: Write[str]) -> None:
        why = self.rights.set_service(door, write)
        if door in self.compartments:
            self.compartments[door].disabled = why

    def _set(self, log: str, index: int, fact: facts.ConfigSet, seen: Seen) -> None:
        key, value = fact.value.get("key"), fact.value.get("value")
        if not isinstance(key, str) or value is None:
            raise _refused("malformed", kind="config.set", item="setting")
        register = self.rights.settings.setdefault(key, Register())
        register.put(Write(log, index, value, dict(seen)))

    def _witness(self, at: At) -> None:
        """Add the monotonic time this entry proves to have passed: within one boot only."""
        boot, mono = self.last_at
        if at[0] == boot and at[1] > mono:
            self.witnessed_ms += at[1] - mono
        self.last_at = at


def _custody(parents: dict[str, tuple[int, str]]) -> dict[str, int]:
    """Return the sizes of the custody logs among an epoch's parents, as references name logs."""
    found = {}
    for name, (size, _) in parents.items():
        epoch, _, lane = name.rpartition("/")
        if lane == Lane.CUSTODY.value:
            found[f"{epoch.rpartition('/')[2]}:sc"] = size
    return found


def _refused(what: str, **evidence: object) -> TheirsInvalid:
    remedy = "Stop folding this log here and show the entry to its writer's maintainers."
    return TheirsInvalid(f"book.{what}", remedy, **evidence)
