"""What the hub has promised, and what this site may still give away without asking it.

`sync.capacity` has the theory. Here is the site's side of it: which promise a parcel comes for,
whether its class still has room for it (the oldest promises first), and when a promise ends.
"""

from base64 import b64encode
from collections import Counter
from dataclasses import dataclass

from gateway.core import clocks
from gateway.core.state import State
from sync import codes, facts
from sync.capacity import Escrow, Reservation
from sync.custody import Custody
from sync.join import ref_order
from sync.records import Parcel

BAND_MAX = 64
"""Characters of a climate band that are written again: a longer one is no class of any site."""


@dataclass(frozen=True, slots=True)
class Room:
    """What can be given away now, by class. Made once for a choice: it looks at every door.

    `free` are compartments free on record, `filling` deposits under way that keep a promise of
    their class, `sure` those of them that took a free compartment. One that took a *claimed*
    compartment frees nothing for a walk-in: if it fails, that compartment is claimed again.
    `made` are the promises that stand.
    """

    escrow: Escrow
    free: Counter[str]
    filling: Counter[str]
    sure: Counter[str]
    made: Counter[str]

    def own(self, kind: str) -> int:
        """Return how many free compartments of a class the site may give to walk-ins.

        Promises beyond the hub's rights (a hub out of a backup) count too: they were made.
        """
        owed = max(self.escrow.hub_rights(kind), self.made[kind])
        return self.free[kind] + self.sure[kind] - owed

    def keeps(self, promise: Reservation) -> bool:
        """Return whether its class has room for a promise: the oldest come first."""
        kind = promise.kind
        owed = {one.ref for one in self.escrow.oldest_first(kind)} | {promise.ref}
        first = sorted(owed, key=ref_order)[: max(0, self.free[kind] + self.filling[kind])]
        return promise.ref in first


def room(state: State) -> Room:
    """Count what there is."""
    book = state.book
    escrow = book.rights.escrow
    filling: Counter[str] = Counter()
    sure: Counter[str] = Counter()
    promises = standing(state)
    for door in book.map.doors if promises else ():
        compartment = book.compartments[door]
        if compartment.custody is Custody.DEPOSITING and compartment.intent is not None:
            promise = promises.get(compartment.intent.reservation or "")
            kind = book.kind_of(door)
            if promise is not None and promise.kind == kind:
                filling[kind] += 1
                sure[kind] += compartment.before is Custody.FREE
    made = Counter(promise.kind for promise in promises.values())
    return Room(escrow, book.free(), filling, sure, made)


def standing(state: State) -> dict[str, Reservation]:
    """Return the promises that stand: those heard of, and those that a capability told of.

    One of the latter that surely is over and that nobody is filling stands no more; its entry, when
    it is heard, ends as every other.
    """
    told = state.book.unheard()
    live = {
        ref: one
        for ref, one in told.items()
        if _stands(state, ref) or not clocks.surely_over(state.now, one.until_ms or 0)
    }
    return live | state.book.rights.escrow.promises


def given(state: State, ref: str) -> Reservation | None:
    """Return the promise that a capability names, heard of or not: kept by nobody, not over."""
    promise = standing(state).get(ref)
    if promise is None or promise.cancelled or ref in state.book.rights.cautious:
        return None
    return None if _stands(state, ref) else promise


def match(state: State, identity: str) -> Reservation | None:
    """Return the promise that a parcel comes for: open, not taken back, nobody filling it."""
    promises = state.book.rights.escrow.promises
    for ref in sorted(promises, key=ref_order):
        promise, key = promises[ref], state.key(promises[ref].key_version)
        if promise.cancelled or key is None or ref in state.book.rights.cautious:
            continue
        tag = b64encode(codes.parcel_tag(key.key, key.site, identity)).decode()
        if tag == promise.tag and not _stands(state, ref):
            return promise
    return None


def _stands(state: State, ref: str) -> bool:
    """Return whether a courier may be putting the promised parcel in at this moment."""
    return any(
        opening.purpose == "deposit" and opening.reservation == ref
        for opening in state.openings.values()
    )


def used(state: State, ref: str, parcel: str, told: Reservation | None = None) -> None:
    """The promised parcel is in: the promise ends, and its right, wherever the parcel lies.

    `told`: what a capability says of a promise that was not heard of yet. It ends all the same.
    """
    promise = state.book.rights.escrow.promises.get(ref) or told
    if promise is not None:
        _close(state, promise, "used", parcel)


def _close(state: State, promise: Reservation, outcome: str, parcel: str | None = None) -> None:
    state.write(
        facts.ReservationClosed(
            of=promise.ref,
            outcome=outcome,  # type: ignore[arg-type]  # one of its three words
            size=promise.size,
            band=promise.band[:BAND_MAX],
            parcel=parcel,
        )
    )


def settle(state: State) -> None:
    """End the promises that are over: kept by a parcel that is here, taken back, or too old.

    One that a courier is filling at this moment waits until that is judged.
    """
    promises = state.book.rights.escrow.promises
    for ref in sorted(promises, key=ref_order):
        promise = promises[ref]
        if _stands(state, ref):
            continue
        parcel = _parcel_of(state, promise)
        if parcel is not None:
            _close(state, promise, "used", parcel)
        elif promise.cancelled:
            band = promise.band[:BAND_MAX]
            state.write(facts.CapacityReleased(of=ref, size=promise.size, band=band))
        elif promise.until_ms is not None and clocks.surely_past(state.now, promise.until_ms):
            _close(state, promise, "expired")


def ends(state: State) -> list[int]:
    """Return the monotonic moments at which promises run out, as the clock tells it now."""
    promises = state.book.rights.escrow.promises
    return [
        moment
        for ref, promise in promises.items()
        if promise.until_ms is not None and not _stands(state, ref)
        for moment in clocks.moment_past(state.now, promise.until_ms)
    ]


def tags(state: State, parcel: Parcel) -> set[str]:
    """Return a parcel's keyed tags: its own, and by every other key of this site."""
    known = {parcel.tag: parcel.key_version}
    for version in state.keys:
        if version != parcel.key_version and parcel.identity is not None:
            known[_tag(state, parcel, version)] = version
    return set(known)


def _tag(state: State, parcel: Parcel, version: int) -> str:
    """Return a parcel's keyed tag by another key than its own; both it and its name are here."""
    made = state.other_tags.get((parcel.ref, version))
    if made is None:
        key = state.keys[version]
        made = b64encode(codes.parcel_tag(key.key, key.site, parcel.identity or "")).decode()
        state.other_tags[parcel.ref, version] = made
    return made


def _parcel_of(state: State, promise: Reservation) -> str | None:
    """Return the live parcel that a promise is for."""
    version = promise.key_version
    for parcel in state.book.parcels.values():
        tag: str | None = parcel.tag
        if parcel.key_version != version:
            makes = version in state.keys and parcel.identity is not None
            tag = _tag(state, parcel, version) if makes else None
        if tag == promise.tag:
            return parcel.ref
    return None
