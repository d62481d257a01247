"""What the hub says about a site, and what became of it: sets and sums that need no order.

Every rule here holds whichever of the two writers' entries is folded first (FORMATS.md 5):

- A *revocation* counts from the moment it is seen, before its grant too. Attempts and uses are
  facts that it does not undo; where both are there the conflict is surfaced, and judged by what the
  site had *seen*.
- A *promise* stands until the site's own entry ends it; the sums are `sync.capacity`.
- A *request* stands until the site answers it.
- A *service flag* and a *setting* are causal registers (`sync.join`). Of two concurrent flags *out
  of service* wins; of two concurrent settings the one made on the spot.
- A *claim* stands beside the facts; a fact wins, and a difference is surfaced.

An end that arrives before its beginning waits in `ends`, under what it ends; one that arrives after
is spent on it. When the entry itself is folded, whatever it turns out to be, nothing waits for it
any more (`begun`). So nothing is remembered for ever only because it once might have come in
another order, and an end of the wrong kind of thing does nothing in either order.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from sync import facts
from sync.capacity import Escrow, Reservation, name_of
from sync.join import Register, Write, has_seen, is_ref, ref_order, split
from sync.records import Alarm, Claim, Conflict, Expected, Grant, Request, Use

CLAIMS_MAX: Final = 1_000
"""Claims kept: the latest. The largest of a set of references is the same in any order."""
NAMED_MAX: Final = 4_096
"""Entries of the hub kept by which a capability may name a parcel: the latest. As for the claims,
so many of them are the book; in memory there may be twice as many, until they are put in order."""
FORGOTTEN_MS: Final = 30 * 86_400_000
"""So long after its end a capability is forgotten: until then it is known as used, or revoked."""
ONCE: Final = frozenset({"collect", "deposit", "return", "reservation"})
"""Kinds of rights that are good for one use; of the others nobody counts."""

Scalar = facts.Scalar


@dataclass(slots=True)
class Rights:
    """The part of the book that both writers build. `known` says whether an entry is folded."""

    couriers: dict[str, Grant] = field(default_factory=dict)
    collects: dict[str, Grant] = field(default_factory=dict)
    others: dict[str, Grant] = field(default_factory=dict)
    named: dict[str, str] = field(default_factory=dict)
    revoked: dict[str, str] = field(default_factory=dict)
    uses: dict[str, Use] = field(default_factory=dict)
    escrow: Escrow = field(default_factory=Escrow)
    expected: dict[str, Expected] = field(default_factory=dict)
    requests: dict[str, Request] = field(default_factory=dict)
    claims: dict[str, Claim] = field(default_factory=dict)
    service: dict[int, Register[str]] = field(default_factory=dict)
    settings: dict[str, Register[Scalar]] = field(default_factory=dict)
    alarms: dict[str, Alarm] = field(default_factory=dict)
    fences: dict[str, str] = field(default_factory=dict)
    decommissioned: dict[str, str] = field(default_factory=dict)
    forgotten_ms: int = 0
    ends: dict[str, list[str]] = field(default_factory=dict)
    cautious: dict[str, str] = field(default_factory=dict)

    def bare(self) -> "Rights":
        """Return the same without what annexes add."""
        expected = {ref: replace(one, identity=None) for ref, one in self.expected.items()}
        return replace(self, expected=expected, named=_latest(self.named))

    # --- grants -------------------------------------------------------------------------------

    def issue(self, ref: str, fact: facts.GrantIssued) -> None:
        """A right begins, unless its revocation was seen before: then it begins revoked."""
        grant = Grant(
            ref, fact.grant, fact.tenant, fact.label, fact.tag, fact.key_version, fact.of,
            fact.until_ms, revoked=ref in self.revoked, cti=fact.cti or "",
        )  # fmt: skip
        if fact.grant in {"courier", "collect"} or grant.cti:
            self._of_kind(fact.grant)[ref] = grant
        self._judge(grant.cti)

    def accept(self, ref: str, fact: facts.CapabilityAccepted) -> None:
        """A capability becomes a right of the site's own log."""
        of = fact.of if fact.of is not None and is_ref(fact.of) else None
        self._of_kind(fact.action)[ref] = Grant(
            ref, fact.action, fact.tenant, "", "", 0, of, fact.until_ms,
            revoked=ref in self.revoked, cti=fact.cti, room=fact.room,
        )  # fmt: skip
        self._judge(fact.cti)

    def forget(self, utc_ms: int) -> None:
        """Forget the accepted capabilities that ended long before this moment.

        The site's custody log alone decides when, by two anchors that follow each other, so it is
        the same for every reader. One that ends
        no later than the last one forgotten (`forgotten_ms`) was over long ago: whatever a clock
        may say afterwards, it is not accepted a second time.
        """
        for gone in self._forget(":s", utc_ms):
            self.forgotten_ms = max(self.forgotten_ms, gone.until_ms or 0)
            self.uses.pop(gone.ref, None)

    def forget_issued(self, log: str, utc_ms: int) -> None:
        """Forget the capabilities that this log of the hub gave out and that ended long before.

        Its own anchors decide, by the clock that their ends were set by: one log, one order. What
        was revoked of them is over as well, for every site that knows what time it is by the hub.
        """
        self._forget(log, utc_ms)

    def _forget(self, where: str, utc_ms: int) -> list[Grant]:
        found = []
        for kind in self._kinds:
            for ref, one in list(kind.items()):
                ends_ms = one.until_ms
                if not one.cti or where not in ref or ends_ms is None:
                    continue
                if ends_ms + FORGOTTEN_MS < utc_ms:
                    found.append(kind.pop(ref))
                    self.revoked.pop(ref, None)
        for gone in found:
            self._judge(gone.cti)
        return found

    def of_cti(self, cti: str) -> list[Grant]:
        """Return what is known of a capability: what the hub wrote of it, what was accepted."""
        if not cti:
            return []
        return [one for kind in self._kinds for one in kind.values() if one.cti == cti]

    def accepted(self, cti: str) -> Grant | None:
        """Return the right that this capability became here, or None.

        A restored site may have accepted it again: then the first one by reference.
        """
        own = [one for one in self.of_cti(cti) if _is_own(one.ref)]
        return min(own, key=lambda one: ref_order(one.ref), default=None)

    def find(self, ref: str) -> Grant | None:
        """Return the right with this reference, of whatever kind."""
        return next((kind[ref] for kind in self._kinds if ref in kind), None)

    def is_used(self, grant: Grant) -> bool:
        """Return whether a right that is good for one use has had it, here or as a capability."""
        same = {one.ref for one in self.of_cti(grant.cti)} | {grant.ref}
        uses = [self.uses[ref] for ref in same if ref in self.uses]
        return grant.grant in ONCE and any(use.used is not None for use in uses)

    def name(self, ref: str, tag: str) -> None:
        """The entry `ref` of the hub speaks of the parcel with this keyed tag."""
        self.named[ref] = tag
        if len(self.named) > 2 * NAMED_MAX:
            self.named = _latest(self.named)

    @property
    def _kinds(self) -> tuple[dict[str, Grant], ...]:
        return self.couriers, self.collects, self.others

    def _of_kind(self, kind: str) -> dict[str, Grant]:
        return {"courier": self.couriers, "collect": self.collects}.get(kind, self.others)

    def _judge(self, cti: str) -> None:
        """Say of what a capability became here whether anything of that capability is revoked."""
        same = self.of_cti(cti)
        revoked = any(one.ref in self.revoked for one in same)
        for one in same:
            if _is_own(one.ref):
                one.revoked = revoked

    def revoke(self, ref: str, grant: str, *, known: bool) -> None:
        """A right ends. Of several revocations the first by reference is kept.

        Of a right that is forgotten none is: whatever came first, nothing is left of either.
        """
        right = self.find(grant)
        if right is None and known:
            return
        first = self.revoked.get(grant)
        if first is None or ref_order(ref) < ref_order(first):
            self.revoked[grant] = ref
        if right is not None:
            right.revoked = True
            self._judge(right.cti)

    def attempt(self, grant: str, intent: str, seen: dict[str, int]) -> None:
        """A door is opened for a grant (the site's custody lane: one order)."""
        use = self.uses.setdefault(grant, Use())
        use.attempt, use.seen = intent, seen

    def use(self, grant: str, by: str) -> None:
        """A grant that works once did its work."""
        self.uses.setdefault(grant, Use()).used = by

    def claimed(self, grant: str, by: str) -> None:
        """A grant opened its door, and nothing tells whether it did its work."""
        self.uses.setdefault(grant, Use()).claimed = by

    def state_of(self, grant: str) -> str:
        """Return `active`, `revoked`, `attempted` or `used`: for display, never to decide."""
        use = self.uses.get(grant)
        if use is not None and use.used is not None:
            return "used"
        if use is not None and grant in self.collects:
            return "attempted"
        return "revoked" if grant in self.revoked else "active"

    def used_revoked(self) -> list[Conflict]:
        """Return the grants that were used although a revocation is on record."""
        found, became = [], self._became()
        for grant, revocation in sorted(self.revoked.items()):
            known = self.find(grant)
            use = self.uses.get(grant) or self.uses.get(became.get(known.cti, "") if known else "")
            if use is None or use.attempt is None:
                continue
            log, index = split(revocation)
            seen = has_seen(use.seen, log, index)
            done = use.used or use.claimed
            if seen or done is not None:
                how = "known" if seen else "in_flight"
                at = done or use.attempt
                found.append(Conflict("grant.used_revoked", at, revocation, how))
        return found

    def _became(self) -> dict[str, str]:
        """Return the first right here of every capability, by its cti."""
        own = (one for kind in self._kinds for one in kind.values() if one.cti and _is_own(one.ref))
        found: dict[str, str] = {}
        for one in sorted(own, key=lambda right: ref_order(right.ref)):
            found.setdefault(one.cti, one.ref)
        return found

    # --- promises, requests, expectations -----------------------------------------------------

    def promise(self, ref: str, fact: facts.ReservationMade) -> None:
        """The hub spends a right, unless the site has ended this promise already."""
        made = Reservation(
            ref, fact.size, fact.band, fact.tag, fact.key_version, fact.until_ms,
            cancelled=self._is_over("cancelled", ref),
        )  # fmt: skip
        if self._is_over("promise", ref):
            self.escrow.unheard.pop(ref, None)
            self.escrow.add(self.escrow.ended, made.kind)
        else:
            self.escrow.promises[ref] = made

    def cancel(self, of: str, *, known: bool) -> None:
        """The hub takes a promise back; its right stays behind it until the site ends it."""
        if of in self.escrow.promises:
            self.escrow.promises[of].cancelled = True
        elif not known:
            self._wait("cancelled", of)

    def end_promise(self, of: str, kind: str, *, known: bool) -> None:
        """The site ends a promise and its right: once, however often it says so.

        A restored site may end again what it had ended before; counted twice, the right of another
        promise would be gone. The class is the promise's own, whatever this entry says; until it is
        heard (the site kept it for a capability's sake) it is what the entry says.
        """
        made = self.escrow.promises.pop(of, None)
        if made is not None:
            self.escrow.add(self.escrow.ended, made.kind)
        elif not known:
            self._wait("promise", of)
            self.escrow.unheard.setdefault(of, kind)

    def move(self, fact: facts.CapacityTransferred, *, by_hub: bool) -> None:
        """Rights go from one end to the other."""
        escrow = self.escrow
        sums = escrow.handed_back if by_hub else escrow.to_hub
        escrow.add(sums, name_of(fact.size, fact.band), fact.count)

    def ask(self, ref: str, fact: facts.OpenRequested) -> None:
        """Support asks for a door, unless the site has answered already."""
        if fact.door is not None and not self._is_over("request", ref):
            self.requests[ref] = Request(
                ref, fact.door, fact.by, fact.why, fact.case, fact.until_ms, fact.second
            )  # fmt: skip

    def answer(self, of: str, *, known: bool) -> None:
        """The site answers what the hub asked."""
        self._end("request", self.requests, of, known=known)

    def expect(self, ref: str, fact: facts.ParcelExpected, identity: str | None) -> None:
        """The hub expects a parcel, unless it was heard before that it does not any more."""
        if not self._is_over("expected", ref):
            self.expected[ref] = Expected(ref, fact.tag, fact.key_version, fact.size, identity)

    def unexpect(self, of: str, *, known: bool) -> None:
        """The hub expects this parcel no more."""
        self._end("expected", self.expected, of, known=known)

    def begun(self, ref: str) -> None:
        """The entry is folded: nothing waits for it any more."""
        self.ends.pop(ref, None)
        self.escrow.unheard.pop(ref, None)
        if ref in self.revoked and self.find(ref) is None:
            del self.revoked[ref]

    def _is_over(self, what: str, ref: str) -> bool:
        return what in self.ends.get(ref, ())

    def _end(self, what: str, standing: dict[str, Any], of: str, *, known: bool) -> None:
        if standing.pop(of, None) is None and not known:
            self._wait(what, of)

    def _wait(self, what: str, of: str) -> None:
        self.ends[of] = sorted({what, *self.ends.get(of, ())})

    # --- registers, claims, alarms, fences ----------------------------------------------------

    def set_service(self, door: int, write: Write[str]) -> str:
        """Take a service flag in; return why the compartment is out of service, or nothing."""
        self.service.setdefault(door, Register()).put(write)
        return self.out_of_service(door)

    def out_of_service(self, door: int) -> str:
        """Return why: of two concurrent flags the one that takes it out wins."""
        register = self.service.get(door)
        whys = register.standing() if register else {}
        return next((whys[voice] for voice in sorted(whys) if whys[voice]), "")

    def setting(self, key: str) -> Scalar | None:
        """Return a setting: what was set on the spot until a version of the hub has seen it."""
        register = self.settings.get(key)
        values = register.standing() if register else {}
        return values.get("s", values.get("h"))

    def claim(self, claim: Claim) -> None:
        """Somebody says what happened."""
        self.claims[claim.ref] = claim
        if len(self.claims) > CLAIMS_MAX:
            del self.claims[min(self.claims, key=ref_order)]

    def raise_alarm(self, alarm: Alarm) -> None:
        """An alarm stands, unless a clear that names it was folded before."""
        if not self._is_over("alarm", alarm.ref):
            self.alarms[alarm.ref] = alarm

    def clear_alarms(self, raises: tuple[str, ...], known: Callable[[str], bool]) -> None:
        """The raises named end; a raise that the clear has not seen stays."""
        for raised in raises:
            self._end("alarm", self.alarms, raised, known=known(raised))

    def set_fence(self, ref: str, why: str) -> None:
        """A fence stands, unless its lifting was folded before: a later epoch may lift it."""
        if not self._is_over("fence", ref):
            self.fences[ref] = why

    def lift_fence(self, of: str, *, known: bool) -> None:
        """The fence ends."""
        self._end("fence", self.fences, of, known=known)

    def decommission(self, ref: str) -> None:
        """The site says that this is the last entry of its epoch."""
        self.decommissioned.setdefault(ref.partition(":")[0], ref)

    def restrict(self, ref: str, *names: str | None) -> None:
        """Treat what `ref` names with caution; of several that ask so the first is kept."""
        for name in names:
            if name is not None:
                self.cautious[name] = min(ref, self.cautious.get(name, ref), key=ref_order)


def _latest(named: dict[str, str]) -> dict[str, str]:
    """Return the latest of them by reference, which are the same in whatever order they came."""
    return {ref: named[ref] for ref in sorted(named, key=ref_order)[-NAMED_MAX:]}


def _is_own(ref: str) -> bool:
    """Return whether an entry is the site's."""
    return ":s" in ref
