"""Histories of one site and its hub: plausible ones, played by two holders, and arbitrary ones.

`Pair` is two holders and what is really in the compartments. Each acts only on what it has folded;
`hear` carries entries over, as many as the history wants. The site keeps the rules of the escrow
(`sync.capacity`); the real engine does so elsewhere. `owed` is the truth that no holder can see.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import strategies as st

from sync import facts, fold, sitemap
from sync.book import Book
from sync.capacity import Reservation
from sync.custody import Custody
from sync.entry import Writer
from sync.fact import Size
from sync.fold import Taken
from sync.rights import FORGOTTEN_MS
from tests.stage import small_map

CLASSES: tuple[Size, ...] = ("S", "M", "L")
WHY = "w"


def bank(*sizes: Size) -> sitemap.SiteMap:
    """A site with one compartment of each of these sizes."""
    like = small_map()
    doors = {}
    for number, size in enumerate(sizes, 1):
        one = like.doors[1]
        doors[number] = sitemap.DoorItem(
            number=number, size=size, rail=one.rail, lock=f"relays:{number}", switch=one.switch,
            occupancy=one.occupancy,
        )  # fmt: skip
    return sitemap.SiteMap(boards=like.boards, doors=doors)


def taken(log: str, index: int, mono: int, fact: Any, **beside: Any) -> Taken:
    """An entry as the book takes it."""
    return (
        log, index, (1, mono), fact, None, None, beside.get("seen"), beside.get("critical"), None
    )  # fmt: skip


def lock(place: str, door: int | None) -> facts.LockIntended:
    """An installer is about to pulse a lock."""
    return facts.LockIntended(
        lock=place, line="bus", unit=1, by="installer:anna", ms=400, deadline=1, door=door
    )


def signed(doors: int, *, audit: bool) -> facts.SiteCommissioned:
    """An installer signs a site off."""
    return facts.SiteCommissioned(
        by="installer:anna", boards=3, doors=doors, passed=doors, failed=0, report="r", audit=audit
    )


@dataclass
class Holder:
    """One end: every log that it holds, its book, and the epoch that it writes in."""

    voice: str
    epoch: str
    held: dict[str, list[Taken]] = field(default_factory=dict)
    book: Book = field(default_factory=Book)

    def write(self, fact: Any, letter: str = "", **beside: Any) -> str:
        """Put a fact at the end of its own log; return its reference."""
        log = f"{self.epoch}:{self.voice}{letter or facts.lane_of(fact).letter}"
        index = len(self.held.get(log, ()))
        mono = 10 * (1 + sum(map(len, self.held.values())))
        self.take(taken(log, index, mono, fact, **beside))
        return f"{log}{index}"

    def take(self, entry: Taken) -> None:
        """Store an entry, fold it, and fold all of them where it came late."""
        self.held.setdefault(entry[0], []).append(entry)
        self.book.take(*entry)
        if self.book.stale:
            self.book = whole(self.entries())

    def entries(self) -> list[Taken]:
        return [entry for log in self.held.values() for entry in log]

    def seen(self) -> dict[str, int]:
        """Sizes read of the other writer's logs."""
        return {
            log: size for log, size in self.book.sizes.items() if f":{self.voice}" not in log
        }  # fmt: skip

    def hear(self, other: "Holder", count: int = 10**9) -> None:
        """Take in up to `count` entries that the other holds and this one does not."""
        for log in sorted(other.held, key=fold.turn):
            known = len(self.held.get(log, ()))
            for entry in other.held[log][known : known + count]:
                self.take(entry)
                count -= 1


def whole(entries: Sequence[Taken]) -> Book:
    """The book of all these entries, folded as whoever keeps them folds them anew."""
    return fold.fold(sorted(entries, key=lambda entry: (fold.turn(entry[0]), entry[1])))


@dataclass
class Pair:
    """A site, its hub, what is really inside, and every entry that was ever written."""

    map: sitemap.SiteMap = field(default_factory=lambda: bank("S", "S", "M", "L"))
    floor: int = 0
    site: Holder = field(default_factory=lambda: Holder("s", "e1-0000000a"))
    hub: Holder = field(default_factory=lambda: Holder("h", "e1-0000000b"))
    inside: set[int] = field(default_factory=set)
    filling: dict[int, Reservation | None] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    lost: list[Taken] = field(default_factory=list)
    epochs: int = 1

    def __post_init__(self) -> None:
        self.site.write(facts.EpochOpened(site="site/0042", version=1))
        for item, value in sitemap.items(self.map):
            self.site.write(facts.ConfigSet(item=item, value=value))
        self.hub.write(facts.EpochOpened(site="hub/0042", version=1))
        for kind in CLASSES[:2]:
            if self.spare(kind) >= 1:
                self.site.write(facts.CapacityTransferred(size=kind, count=1))
        self.hub.hear(self.site)

    # --- the truth ----------------------------------------------------------------------------

    def everything(self) -> list[Taken]:
        """Every entry that was ever written, once; the lost ones too."""
        found = {(entry[0], entry[1]): entry for entry in self.lost}
        for holder in (self.hub, self.site):
            found |= {(entry[0], entry[1]): entry for entry in holder.entries()}
        return list(found.values())

    def owed(self) -> Counter[str]:
        """By class: parcels inside, doors being filled, and promises that nothing has ended."""
        owed: Counter[str] = Counter()
        kind_of = {number: str(item.size) for number, item in self.map.doors.items()}
        for door in self.inside | set(self.filling):
            owed[kind_of[door]] += 1
        promised = {promise.ref for promise in self.filling.values() if promise}
        for promise in self.hub.book.rights.escrow.promises.values():
            if promise.ref not in self.done | promised and not promise.cancelled:
                owed[promise.kind] += 1
        return owed

    def fits(self) -> bool:
        """Invariant 11: reservations and parcels never exceed compartments, class by class."""
        has = Counter(str(item.size) for item in self.map.doors.values())
        return all(count <= has[kind] for kind, count in self.owed().items())

    # --- the site -----------------------------------------------------------------------------

    def free_door(self, kind: str) -> int | None:
        book = self.site.book
        for door in sorted(self.map.doors):
            one = book.compartments[door]
            if (
                book.kind_of(door) == kind
                and one.custody is Custody.FREE
                and not one.disabled
                and not book.cautious(door)
                and door not in self.inside | set(self.filling)
            ):
                return door
        return None

    def spare(self, kind: str) -> int:
        """What the site may give away of a class: behind a fence nothing."""
        return 0 if self.site.book.fenced else self.site.book.site_free(kind) - self.floor

    def begin(self, door: int, promise: Reservation | None) -> None:
        """A deposit is begun: its door is commanded to open."""
        self.site.write(
            facts.OpenIntended(
                door=door, purpose="deposit", by="g", attempt=1, deadline=1,
                reservation=promise.ref if promise else None,
            ),
            seen=self.site.seen(),
        )  # fmt: skip
        self.filling[door] = promise

    def walk_in(self, arg: int) -> None:
        kind = CLASSES[arg % 3]
        door = self.free_door(kind)
        if door is not None and self.spare(kind) >= 1:
            self.begin(door, None)

    def keep_promise(self, arg: int) -> None:
        """The parcel of a promise arrives; the site may not have heard of the promise yet."""
        made = self.hub.book.rights.escrow.promises
        known = [one for one in made.values() if one.ref not in self.done]
        busy = {promise.ref for promise in self.filling.values() if promise}
        if not known or self.site.book.fenced:
            return
        promise = known[arg % len(known)]
        heard = self.site.book.rights.escrow.promises.get(promise.ref)
        if promise.ref in busy or (heard is not None and heard.cancelled):
            return
        if heard is None and (self.site.book.known(promise.ref) or promise.cancelled):
            return
        door = self.free_door(promise.kind)
        if door is not None:
            self.begin(door, promise)
            return
        larger = CLASSES[min(CLASSES.index(promise.size) + 1, 2)]
        door = self.free_door(larger)
        if door is not None and larger != promise.size and self.spare(larger) >= 1:
            self.begin(door, promise)

    def finish(self, arg: int) -> None:
        """A deposit that was begun is done, or its door never opened."""
        if not self.filling:
            return
        door = sorted(self.filling)[arg % len(self.filling)]
        promise = self.filling.pop(door)
        intent = self.site.book.compartments[door].intent
        if intent is None or self.site.book.compartments[door].custody is not Custody.DEPOSITING:
            return  # a restore came between: whoever looks at the doors will find it empty
        if arg % 4 == 3:
            self.site.write(facts.OpenEnded(of=intent.ref, door=door, outcome="failed"))
            return
        self.site.write(facts.OpenEnded(of=intent.ref, door=door, outcome="opened"))
        self.site.write(facts.DoorOpened(of=intent.ref, door=door))
        self.site.write(facts.DoorClosed(door=door, occupied=True))
        self.inside.add(door)
        parcel = self.site.write(
            facts.ParcelDeposited(
                of=intent.ref, door=door, by="g", size="S", digits=8, counter=arg, key_version=1,
                tag=f"t{arg % 5}", basis="sensor",
            )
        )  # fmt: skip
        if promise is not None:
            self.done.add(promise.ref)
            self.site.write(
                facts.ReservationClosed(
                    of=promise.ref, outcome="used", size=promise.size, parcel=parcel
                )
            )

    def collect(self, arg: int) -> None:
        """A parcel is fetched, by its code or by a right that works once."""
        book = self.site.book
        here = [one for one in book.parcels.values() if one.door in self.inside]
        here = [one for one in here if book.compartments[one.door].custody is Custody.HELD]
        here = [one for one in here if not book.fenced_door(one.door)]
        if not here:
            return
        parcel = here[arg % len(here)]
        rights = [one.ref for one in book.rights.collects.values() if one.of == parcel.ref]
        rights = [ref for ref in rights if ref not in book.rights.revoked]
        by = rights[0] if rights and arg % 2 else "code"
        door = parcel.door
        intent = self.site.write(
            facts.OpenIntended(
                of=parcel.ref, door=door, purpose="collect", by=by, attempt=1, deadline=1
            ),
            seen=self.site.seen(),
        )
        self.site.write(facts.DoorOpened(of=intent, door=door))
        self.site.write(facts.DoorClosed(door=door, occupied=False))
        self.site.write(facts.ParcelCollected(of=parcel.ref, door=door, by=by, basis="sensor"))
        self.inside.discard(door)

    def end_promise(self, arg: int) -> None:
        """The site releases a promise that was taken back, or finds one expired."""
        busy = {promise.ref for promise in self.filling.values() if promise}
        made = self.site.book.rights.escrow.promises
        mine = [one for one in made.values() if one.ref not in busy]
        if not mine or self.site.book.fenced:
            return
        one = mine[arg % len(mine)]
        if one.cancelled:
            self.site.write(facts.CapacityReleased(of=one.ref, size=one.size, band=one.band))
        elif arg % 3 == 0:
            self.site.write(
                facts.ReservationClosed(of=one.ref, outcome="expired", size=one.size)
            )  # fmt: skip
        else:
            return
        self.done.add(one.ref)

    def accept(self, arg: int) -> None:
        """A capability is shown that nobody here heard of, or one that was shown before."""
        action = ("courier", "return", "reservation")[arg % 3]
        if self.site.book.rights.accepted(f"{arg:016x}") is None:
            self.site.write(
                facts.CapabilityAccepted(
                    cti=f"{arg:016x}", action=action, kid="00000000", until_ms=arg,
                    clock="synced", of=self._unheard(arg), room=CLASSES[arg % 3],
                )
            )  # fmt: skip

    def _unheard(self, arg: int) -> str | None:
        """A promise that the hub has made, heard of here or not."""
        made = [ref for ref in self.hub.book.rights.escrow.promises if ":h" in ref]
        return made[arg % len(made)] if made else None

    def keep_unheard(self, arg: int) -> None:
        """A parcel came for a promise that a capability alone told of."""
        known, escrow = self.site.book.unheard(), self.site.book.rights.escrow
        for ref, one in list(known.items())[:1]:
            self.done.add(ref)
            size = one.size if arg % 5 else CLASSES[arg % 3]  # a wrong word on its class
            self.site.write(facts.ReservationClosed(of=ref, outcome="used", size=size))
            assert ref in escrow.unheard

    def anchor(self, arg: int) -> None:
        """Time passes: what ended long ago is forgotten."""
        utc_ms = arg + (FORGOTTEN_MS if arg % 2 else 0)
        self.site.write(facts.TimeAnchored(utc_ms=utc_ms, error_ms=1, source="ntp"))

    def grant_cti(self, arg: int) -> None:
        """The hub says which capability it has signed, and may take it back at once."""
        ref = self.hub.write(
            facts.GrantIssued(
                grant="courier", tenant="t", label="", tag="", key_version=0, cti=f"{arg:016x}"
            )
        )
        if arg % 3 == 0:
            self.hub.write(facts.GrantRevoked(of=ref, by="ada"))

    def transfer(self, arg: int) -> None:
        kind = CLASSES[arg % 3]
        count = min(self.spare(kind), 1 + arg % 2)
        if count > 0:
            self.site.write(facts.CapacityTransferred(size=kind, count=count))

    def answer(self, arg: int) -> None:
        """The site does what support asks, or says why not."""
        asked = list(self.site.book.rights.requests.values())
        if not asked:
            return
        one = asked[arg % len(asked)]
        if arg % 2 or self.site.book.compartments[one.door].custody is not Custody.FREE:
            self.site.write(facts.RequestDeclined(of=one.ref, door=one.door, why=WHY))
            return
        intent = facts.OpenIntended(
            door=one.door, purpose="support", by=f"support:{one.by}", attempt=1, deadline=1,
            asked=one.ref,
        )  # fmt: skip
        self.site.write(intent, seen=self.site.seen())

    def alarm(self, arg: int) -> None:
        standing = sorted(self.site.book.alarms)
        if arg % 2 and standing:
            self.site.write(facts.AlarmCleared(raises=(standing[0],)))
        else:
            self.site.write(facts.AlarmRaised(alarm="door.ajar", door=1 + arg % 4))

    def install(self, arg: int) -> None:
        """An installer tries a lock, tells of it, or signs the site off with a map of lines."""
        going_on = sorted(self.site.book.trials)
        if arg % 3 == 0:
            lines = {"bus": sitemap.LineItem(name="bus", tcp=f"10.0.0.{arg}")} if arg % 2 else {}
            self.map = sitemap.SiteMap(self.map.boards, self.map.doors, lines)
            for item, value in sitemap.items(self.map):
                self.site.write(facts.ConfigSet(item=item, value=value))
            self.site.write(signed(len(self.map.doors), audit=arg % 4 == 0))
        elif arg % 3 == 1 and going_on:
            self.site.write(facts.LockEnded(of=going_on[0], outcome="opened", took_ms=arg))
        else:
            door = arg % (1 + len(self.map.doors)) or None
            self.site.write(lock(f"relays:{door or 99}", door))

    def restore(self, arg: int) -> None:
        """The site's disk is an earlier one; a new epoch begins behind a fence."""
        if self.epochs > 2:
            return
        self.epochs += 1
        self.filling = {}
        self.lost += self.site.entries()
        keep = {}
        for log, entries in self.site.held.items():
            least = len(self.map.boards) + len(self.map.doors) + 1 if log.endswith(":sc") else 1
            of_log = 10**9 if f":{self.site.voice}" not in log else least + arg % 23
            keep[log] = entries[: of_log if log.startswith(self.site.epoch) else 10**9]
        epoch = f"e{self.epochs}-0000000a"
        self.site = Holder("s", epoch, keep, whole([one for log in keep.values() for one in log]))
        parents = {
            f"lockers.example/site/0042/{log.partition(':')[0]}/{lane}": (len(entries), "")
            for log, entries in keep.items()
            for lane in ("urgent", "custody", "telemetry")
            if f":s{lane[0]}" in log
        }
        self.site.write(
            facts.EpochOpened(site="site/0042", version=1, parents=parents, why="restored")
        )
        self.site.write(facts.FenceSet(why="restored"))

    def lift(self, _arg: int) -> None:
        """What was lost is back as far as the hub has it, and somebody looks into every door."""
        if not self.site.book.fenced:
            return
        self.site.hear(self.hub)
        for door in sorted(self.map.doors):
            self.site.write(
                facts.CompartmentChecked(door=door, by="ada", occupied=door in self.inside)
            )
        for fence in sorted(self.site.book.fences):
            self.site.write(facts.FenceLifted(of=fence, by="ada"))

    # --- the hub ------------------------------------------------------------------------------

    def promise(self, arg: int) -> None:
        kind = CLASSES[arg % 3]
        if self.hub.book.rights.escrow.hub_free(kind) >= 1:
            self.hub.write(facts.ReservationMade(size=kind, tag=f"t{arg % 5}", key_version=1))

    def cancel(self, arg: int) -> None:
        made = self.hub.book.rights.escrow.promises
        standing = [one.ref for one in made.values() if not one.cancelled]
        if standing:
            self.hub.write(
                facts.ReservationCancelled(of=standing[arg % len(standing)], by="ada")
            )  # fmt: skip

    def hand_back(self, arg: int) -> None:
        kind = CLASSES[arg % 3]
        if self.hub.book.rights.escrow.hub_free(kind) >= 1:
            self.hub.write(facts.CapacityTransferred(size=kind, count=1))

    def ask(self, arg: int) -> None:
        door = 1 + arg % len(self.map.doors)
        self.hub.write(
            facts.OpenRequested(door=door, by="ada", why=WHY, case="c", until_ms=1_000 + arg)
        )

    def expect(self, arg: int) -> None:
        if arg % 2:
            self.hub.write(facts.ParcelExpected(tag=f"t{arg % 5}", key_version=1))
        else:
            self.hub.write(facts.ClaimMade(tag=f"t{arg % 5}", says="collected", by="acme"))

    # --- both ---------------------------------------------------------------------------------

    def grant(self, arg: int) -> None:
        by = self.hub if arg % 3 else self.site
        parcels = sorted(by.book.parcels)
        if parcels and arg % 2:
            fact = facts.GrantIssued(
                of=parcels[arg % len(parcels)], grant="collect", tenant="a", label="x",
                tag=f"g{arg}", key_version=1,
            )  # fmt: skip
        else:
            fact = facts.GrantIssued(
                grant="courier", tenant="a", label="x", tag=f"g{arg}", key_version=1
            )
        by.write(fact)

    def revoke(self, arg: int) -> None:
        by = self.hub if arg % 3 else self.site
        rights = by.book.rights
        known = sorted({*rights.couriers, *rights.collects} - set(rights.revoked))
        if known:
            by.write(facts.GrantRevoked(of=known[arg % len(known)], by="ada"))

    def flag(self, arg: int) -> None:
        by = self.hub if arg % 2 else self.site
        door = 1 + arg // 2 % 2
        fact: facts.AnyFact = facts.CompartmentEnabled(door=door, by="ada")
        if not by.book.rights.out_of_service(door):
            fact = facts.CompartmentDisabled(door=door, by="ada", why=WHY)
        by.write(fact, seen=by.seen())

    def set(self, arg: int) -> None:
        by = self.hub if arg % 2 else self.site
        value: dict[str, Any] = {"key": f"k{arg % 3}", "value": arg}
        by.write(facts.ConfigSet(item="setting", value=value), seen=by.seen())

    def clear(self, arg: int) -> None:
        by = self.hub if arg % 2 else self.site
        standing = sorted(by.book.alarms)
        if standing:
            by.write(facts.AlarmCleared(raises=tuple(standing[: 1 + arg % 2])))

    def newer(self, arg: int) -> None:
        """A newer version writes: a kind that this one does not know, which may restrict a door."""
        by = self.hub if arg % 2 else self.site
        by.write(None, "c" if arg % 3 else "t", critical=(None, 4) if arg % 5 == 0 else None)

    def to_hub(self, arg: int) -> None:
        self.hub.hear(self.site, 1 + arg)

    def to_site(self, arg: int) -> None:
        self.site.hear(self.hub, 1 + arg)

    def act(self, name: str, arg: int) -> None:
        """Do one thing by name."""
        getattr(self, name)(arg)


STEPS = (
    "walk_in", "keep_promise", "finish", "finish", "collect", "end_promise", "transfer", "transfer",
    "answer", "alarm", "restore", "lift", "promise", "promise", "cancel", "hand_back", "ask",
    "expect", "grant", "revoke", "flag", "set", "clear", "newer", "to_hub", "to_hub", "to_site",
    "to_site", "accept", "keep_unheard", "anchor", "grant_cti", "install", "install",
)  # fmt: skip
ESCROW = (
    "walk_in", "keep_promise", "finish", "collect", "end_promise", "transfer", "promise", "cancel",
    "hand_back", "to_hub", "to_site", "restore", "lift", "flag",
)  # fmt: skip


def steps(names: Sequence[str] = STEPS, most: int = 60) -> st.SearchStrategy[list[tuple[str, int]]]:
    """A strategy of histories: what is tried, one after another."""
    return st.lists(st.tuples(st.sampled_from(names), st.integers(0, 59)), max_size=most)


def played(history: Sequence[tuple[str, int]], **pair: Any) -> Pair:
    """Play a history; what cannot be done at its moment is left out."""
    stage = Pair(**pair)
    for name, arg in history:
        stage.act(name, arg)
    return stage


# --- any entries at all -------------------------------------------------------------------------

LOGS = (
    "e1-0000000a:su", "e1-0000000a:sc", "e1-0000000a:st", "e2-0000000a:su", "e2-0000000a:sc",
    "e2-0000000c:sc", "e2-0000000c:su", "e1-0000000a:hu", "e1-0000000b:hc", "e1-0000000c:hc",
    "e2-0000000b:hc", "e2-0000000b:hu",
)  # fmt: skip
_refs = st.builds("{}{}".format, st.sampled_from(LOGS), st.integers(0, 5))
_sizes = st.dictionaries(st.sampled_from(LOGS), st.integers(0, 6), max_size=3)
_parents = st.dictionaries(
    st.sampled_from(["o/site/1/e1-0000000a/custody", "o/site/1/e2-0000000a/custody", "x/y"]),
    st.tuples(st.integers(0, 4), st.just("")), max_size=2,
)  # fmt: skip
_doors = st.integers(1, 3)
_text = st.sampled_from(["", "a", "b"])
_size = st.sampled_from(CLASSES)
_LINES = {"bus": sitemap.LineItem(name="bus", serial="/dev/ttyS1")}
_map_items = sitemap.items(msgspec.structs.replace(bank("S", "M"), lines=_LINES))
_config = st.one_of(
    st.sampled_from([facts.ConfigSet(item=item, value=value) for item, value in _map_items]),
    st.builds(
        lambda key, value: facts.ConfigSet(item="setting", value={"key": key, "value": value}),
        _text, st.one_of(st.integers(0, 3), _text, st.booleans()),
    ),
    st.just(facts.ConfigSet(item="setting", value={})),
)  # fmt: skip


def _b(kind: Callable[..., Any], **given: Any) -> st.SearchStrategy[Any]:
    return st.builds(kind, **given)


def _deposited(door: int, tag: str, by: str) -> facts.ParcelDeposited:
    return facts.ParcelDeposited(
        door=door, by=by, size="S", digits=8, counter=1, key_version=1, tag=tag, basis="sensor"
    )


_grants = st.sampled_from(["courier", "collect", "roof"])
_ctis = st.sampled_from(["00000000000000aa", "00000000000000ab"])
_actions = st.sampled_from(["collect", "return", "courier", "service", "reservation"])
_utc = st.one_of(st.integers(0, 9), st.integers(FORGOTTEN_MS, FORGOTTEN_MS + 9))
_any_ref = st.one_of(_refs, st.sampled_from(["code", "x"]))
anything = st.one_of(
    st.none(),
    _config,
    _b(facts.EpochOpened, site=_text, version=st.just(1), parents=_parents),
    _b(facts.FenceSet, why=_text),
    _b(facts.FenceLifted, of=_refs, by=_text),
    _b(facts.AlarmRaised, alarm=_text, door=_doors),
    _b(facts.AlarmCleared, raises=st.lists(_any_ref, max_size=2).map(tuple)),
    _b(facts.GrantIssued, grant=_grants, tenant=_text, label=_text, tag=_text,
       key_version=st.just(1), of=_refs),
    _b(facts.GrantIssued, grant=_actions, tenant=_text, label=_text, tag=st.just(""),
       key_version=st.just(0), cti=_ctis, until_ms=st.one_of(st.none(), st.integers(0, 9))),
    _b(facts.CapabilityAccepted, cti=_ctis, action=_actions, kid=_text, until_ms=st.integers(0, 9),
       clock=_text, of=st.one_of(st.none(), _any_ref),
       room=st.sampled_from(["", "S", "M cold", "x"])),
    _b(facts.CapabilityRefused, why=_text),
    _b(facts.AccessJudged, what=_text, by=_text),
    _b(facts.KeyRotated, use=st.just("code"), key_version=st.just(2)),
    _b(facts.SiteDecommissioned, by=_text, why=_text),
    _b(facts.GrantRevoked, of=_refs, by=_text),
    _b(facts.OpenIntended, door=_doors, purpose=st.sampled_from(["deposit", "collect", "support"]),
       by=_any_ref, attempt=st.just(1), deadline=st.just(1), of=_refs,
       asked=st.one_of(st.none(), _any_ref), reservation=st.one_of(st.none(), _refs)),
    _b(facts.OpenEnded, of=_refs, door=_doors, outcome=st.sampled_from(["opened", "failed"])),
    _b(facts.DoorForced, door=_doors),
    _b(facts.DoorClosed, door=_doors, occupied=st.one_of(st.none(), st.booleans())),
    _b(facts.DoorProved, door=_doors, why=_text),
    st.builds(_deposited, _doors, _text, _any_ref),
    _b(facts.ParcelCollected, of=_refs, door=_doors, by=_any_ref, basis=st.just("sensor")),
    _b(facts.CompartmentDisabled, door=_doors, by=_text, why=_text),
    _b(facts.CompartmentEnabled, door=_doors, by=_text),
    _b(facts.CompartmentChecked, door=_doors, by=_text, occupied=st.booleans()),
    _b(facts.AnnexErased, of=_refs, by=_text),
    _b(facts.TimeAnchored, utc_ms=_utc, error_ms=st.just(1), source=_text),
    _b(facts.CodeRefused, form=st.just("short"), why=_text, charged=st.booleans(),
       level_ms=st.integers(0, 5)),
    _b(facts.ParcelExpected, tag=_text, key_version=st.just(1)),
    _b(facts.ExpectationEnded, of=_refs, by=_text),
    _b(facts.ClaimMade, tag=_text, says=st.sampled_from(["deposited", "lost"]), by=_text),
    _b(facts.OpenRequested, door=st.one_of(st.none(), _doors), by=_text, why=_text, case=_text,
       until_ms=st.just(5), second=_text),
    _b(facts.RequestDeclined, of=_refs, why=_text),
    _b(facts.ReservationMade, size=_size, tag=_text, key_version=st.just(1), band=_text),
    _b(facts.ReservationCancelled, of=_refs, by=_text),
    _b(facts.ReservationClosed, of=_refs, outcome=st.just("void"), size=_size, band=_text),
    _b(facts.CapacityReleased, of=_refs, size=_size, band=_text),
    _b(facts.CapacityTransferred, size=_size, count=st.integers(0, 3), band=_text),
    _b(facts.FoldSwitched, version=st.integers(1, 2), lanes=st.just({})),
    _b(facts.HealthSampled, values=st.just({"n": 1})),
    st.builds(lock, _text, st.one_of(st.none(), _doors)),
    _b(facts.LockEnded, of=st.one_of(st.none(), _refs), outcome=st.just("doubt"), why=_text),
    st.builds(lambda audit: signed(2, audit=audit), st.booleans()),
)  # fmt: skip
_critical = st.one_of(
    st.none(), st.tuples(st.one_of(st.none(), _refs), st.one_of(st.none(), _doors))
)


@st.composite
def any_logs(draw: st.DrawFn) -> list[Taken]:
    """Any entries in any logs: mostly where they belong, now and then where they do not."""
    found: list[Taken] = []
    sizes: Counter[str] = Counter()
    if draw(st.booleans()):
        for item, value in _map_items:
            log = "e1-0000000a:sc"
            found.append(taken(log, sizes[log], 1, facts.ConfigSet(item=item, value=value)))
            sizes[log] += 1
    for fact, choice, seen, critical, mono in draw(
        st.lists(st.tuples(anything, st.integers(0, 29), _sizes, _critical, st.integers(0, 9)),
                 max_size=24)
    ):  # fmt: skip
        fits = [
            log
            for log in LOGS
            if fact is None
            or (facts.lane_of(fact).letter == log[-1] and facts.may_write(Writer(log[-2]), fact))
        ]
        log = (fits or LOGS)[choice % len(fits or LOGS)] if choice < 29 else LOGS[choice % 12]
        found.append(taken(log, sizes[log], mono, fact, seen=seen, critical=critical))
        sizes[log] += 1
    return found
