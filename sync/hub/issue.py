"""The hub's small decide: what it may write in its lanes for a site, given the site's book.

Pure. Each function takes the book as folded now and what the hub knows besides (`Desk`), and
returns `Say` (facts of one lane, with their annexes), `Known` (it is so already, by that entry) or
`No` (a stable code, the evidence, what a person can do). Whoever calls appends by compare-and-set
and decides again on a newer book where somebody else wrote meanwhile; a decision that was taken on
an old book is never written. Nothing here opens a door: only the site's own intent does.

What spends a right to a compartment (`reserve`, `hand_back`) rests on the book of the hub's *own*
lanes being whole: refused while the hub is fenced (restored from a backup, its lost entries not yet
back) or while one of its own lanes stopped in the fold.
"""

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from sync import canonical, codes, facts
from sync.book import FOLD, Book
from sync.capacity import name_of
from sync.codes import CodeKey
from sync.entry import Lane
from sync.fact import Fact, Size
from sync.facts import lane_of
from sync.hub.parcels import annex_of, parcel_tag, tags_of, tenant_of
from sync.records import Grant

OPEN_MS_MAX: Final = 5 * 60_000
"""How far ahead support may ask for a door: whoever asks is on the telephone with who is there."""
COURIERS_MAX: Final = 1_000
COLLECTS_MAX: Final = 4
"""Delegates of one parcel."""
EXPECTED_MAX: Final = 20_000
PROMISES_MAX: Final = 3_084
REQUESTS_MAX: Final = 16
"""Openings asked for and not answered: support helps at a few doors, not at a bank."""
CLEARED_MAX: Final = 64
TEXT_MAX: Final = 64

Says = Literal["deposited", "collected", "returned", "lost"]

_tenant = re.compile(r"[a-z0-9-]{1,32}").fullmatch
_band = re.compile(r"[a-z0-9-]{0,32}").fullmatch
_long_codes = re.compile(r"(?<!\d)\d{16}(?!\d)").findall
_control = re.compile(r"[\x00-\x1f\x7f]").search


@dataclass(frozen=True, slots=True)
class Desk:
    """What the hub knows beside the book: who asks, when (UTC), the site's code key, the fence."""

    by: str
    now_ms: int
    key: CodeKey = field(repr=False)
    fenced: bool = False
    earlier: tuple[CodeKey, ...] = field(default=(), repr=False)
    """The key's earlier versions: parcels that are known by them are the same parcels."""

    def tags(self, identity: str) -> frozenset[str]:
        """Return every keyed tag that this parcel may be known by."""
        return tags_of((self.key, *self.earlier), identity)


class Statement(msgspec.Struct, frozen=True):
    """A fact to write; `annex` names the parcel; `seen`: it says what of the site it had read."""

    fact: Fact
    annex: bytes | None = None
    seen: bool = False


class Expectation(msgspec.Struct, frozen=True):
    """An entry `parcel.expected` of the hub's as stored: its tag, and what its annex is by now."""

    ref: str
    tag: str
    identity: str | None
    erased_by: str | None


class Say(msgspec.Struct, frozen=True):
    """Write these, in this order; all stand in one lane."""

    statements: tuple[Statement, ...]

    @property
    def lane(self) -> Lane:
        """The lane of all of them."""
        return lane_of(self.statements[0].fact)


class Known(msgspec.Struct, frozen=True):
    """It is so already: by the entry `ref` (empty where no single entry says it)."""

    ref: str


class No(msgspec.Struct, frozen=True):
    """A refusal: stable code, what a person can do, what was seen."""

    code: str
    remedy: str
    evidence: Mapping[str, object] = {}  # msgspec copies it


Decision = Say | Known | No


# --- grants -----------------------------------------------------------------------------------


def courier(
    book: Book, desk: Desk, *, tenant: str, label: str, secret_tag: bytes, until_ms: int | None
) -> Decision:
    """Give a courier the right to deliver: `secret_tag` is the keyed tag of the typed secret."""
    if not _tenant(tenant):
        return _no("grant.tenant", "A tenant is 1 to 32 of a-z, 0-9 and dash.")
    wrong = wrong_text(desk, label=label) or wrong_end(desk, until_ms)
    if wrong:
        return wrong
    active = [one for one in book.couriers.values() if not one.revoked and not one.cti]
    if len(active) >= COURIERS_MAX:
        return _no("grant.too_many", "Revoke grants that nobody uses.", couriers=len(active))
    if _taken(book, secret_tag):
        return _no("grant.secret_taken", "Ask again: another secret is made.")
    return _say(
        facts.GrantIssued(
            grant="courier", tenant=tenant, label=label, tag=_base64(secret_tag),
            key_version=desk.key.version, until_ms=until_ms,
        )
    )  # fmt: skip


def collect(
    book: Book, desk: Desk, *, parcel: str, label: str, secret_tag: bytes, until_ms: int | None
) -> Decision:
    """Let somebody else collect one parcel that is there, once, with a secret of their own."""
    here = book.parcels.get(parcel)
    if here is None:
        return _no("parcel.unknown", "Name the deposit of a parcel that is there.", parcel=parcel)
    wrong = wrong_text(desk, label=label) or wrong_end(desk, until_ms)
    if wrong:
        return wrong
    rights = [one for one in book.rights.collects.values() if one.of == parcel and not one.revoked]
    delegates = {one.cti or one.ref for one in rights}
    if len(delegates) >= COLLECTS_MAX:
        return _no("grant.too_many", "Revoke one of its grants first.", collects=len(delegates))
    if _taken(book, secret_tag):
        return _no("grant.secret_taken", "Ask again: another secret is made.")
    return _say(
        facts.GrantIssued(
            grant="collect", of=parcel, tenant=tenant_of(book, here), label=label,
            tag=_base64(secret_tag), key_version=desk.key.version, until_ms=until_ms,
        )
    )  # fmt: skip


def revoke(book: Book, desk: Desk, *, grant: str) -> Decision:
    """End a grant. Whoever sees this refuses it, whatever the door did before."""
    if grant in book.rights.revoked:
        return Known(book.rights.revoked[grant])
    if not any(grant in kind for kind in (book.couriers, book.rights.collects, book.rights.others)):
        return _no("grant.unknown", "Take a reference from the book's grants.", grant=grant)
    return _say(facts.GrantRevoked(of=grant, by=desk.by))


# --- parcels and promises ---------------------------------------------------------------------


def expect(book: Book, desk: Desk, *, identity: str, size: Size | None) -> Decision:
    """Tell the site of a parcel to come. `identity` is as `codes.parcel_identity` gives it."""
    tags = desk.tags(identity)
    known = next((one.ref for one in book.rights.expected.values() if one.tag in tags), None)
    if known is not None:
        return Known(known)
    if any(one.tag in tags for one in book.parcels.values()):
        return _no("parcel.here", "It is in a compartment already: look in the book.")
    if not tags.isdisjoint(book.counters):
        return _no("parcel.was_here", "It was here before: give the next one another piece number.")
    if len(book.rights.expected) >= EXPECTED_MAX:
        return _no("parcel.too_many", "Wait for deliveries.", expected=len(book.rights.expected))
    tag = parcel_tag(desk.key, identity)
    fact = facts.ParcelExpected(tag=tag, key_version=desk.key.version, size=size)
    return Say((Statement(fact, annex_of(identity)),))


def unexpect(book: Book, desk: Desk, *, expected: str) -> Decision:
    """Expect a parcel no more: it will never come. Its name can be erased after that."""
    if expected not in book.rights.expected:
        return _no(
            "expected.unknown", "Take a reference from the book: it may have come already.",
            expected=expected,
        )  # fmt: skip
    return _say(facts.ExpectationEnded(of=expected, by=desk.by))


def reserve(
    book: Book, desk: Desk, *, identity: str, size: Size, band: str, until_ms: int | None
) -> Decision:
    """Promise a compartment of a class to a parcel: one unspent right of the hub goes with it."""
    wrong = _wrong_band(band) or wrong_end(desk, until_ms) or _unsure(book, desk)
    if wrong:
        return wrong
    tags, kind, escrow = desk.tags(identity), name_of(size, band), book.rights.escrow
    for promise in escrow.promises.values():
        if promise.tag in tags and not promise.cancelled:
            if promise.kind == kind:
                return Known(promise.ref)
            return _no(
                "reservation.other_class", "Cancel the other promise first.", ref=promise.ref
            )
    if any(one.tag in tags for one in book.parcels.values()):
        return _no("parcel.here", "It is in a compartment already: look in the book.")
    if escrow.hub_free(kind) <= 0 or len(escrow.promises) >= PROMISES_MAX:
        return _no_right(book, kind)
    return _say(
        facts.ReservationMade(
            size=size,
            band=band,
            tag=parcel_tag(desk.key, identity),
            key_version=desk.key.version,
            until_ms=until_ms,
        )
    )


def cancel(book: Book, desk: Desk, *, reservation: str) -> Decision:
    """Take a promise back. Its right is *not* free again: only the site's own release ends it."""
    promise = book.rights.escrow.promises.get(reservation)
    if promise is None:
        return _no(
            "reservation.unknown",
            "Take a reference from the book: the site may have ended this promise already.",
            reservation=reservation,
        )
    if promise.cancelled:
        return Known(reservation)
    return _say(facts.ReservationCancelled(of=reservation, by=desk.by))


def hand_back(book: Book, desk: Desk, *, size: Size, band: str, count: int) -> Decision:
    """Give unspent rights back to the site, so that walk-ins can use the compartments."""
    wrong = _wrong_band(band) or _unsure(book, desk)
    if wrong:
        return wrong
    kind = name_of(size, band)
    if not 0 < count <= book.rights.escrow.hub_free(kind):
        return _no_right(book, kind)
    return _say(facts.CapacityTransferred(size=size, band=band, count=count))


def erase(book: Book, desk: Desk, *, named: Expectation) -> Decision:
    """Forget who an expected parcel was: the annex of the hub's own entry, and nothing else.

    Refused while the parcel is still expected, or is there: the site needs its name until then.
    """
    if named.erased_by is not None:
        return Known(named.erased_by)
    tags = {named.tag} if named.identity is None else {named.tag, *desk.tags(named.identity)}
    if named.ref in book.rights.expected or any(one.tag in tags for one in book.parcels.values()):
        return _no(
            "annex.live", "Wait until it was collected, or end its expectation.", ref=named.ref
        )
    return _say(facts.AnnexErased(of=named.ref, by=desk.by))


# --- compartments -----------------------------------------------------------------------------


def service(book: Book, desk: Desk, *, door: int, out: bool, why: str) -> Decision:
    """Take a compartment out of service, or back; it says what of the site it had read."""
    if door not in book.map.doors:
        return _no("door.unknown", "Take a number from the site's map.", door=door)
    wrong = wrong_text(desk, why=why) if out else None
    if wrong:
        return wrong
    register = book.rights.service.get(door)
    standing = register.standing() if register else {}
    if out:
        if standing.get("h") == why:
            return Known(_flag_ref(book, door))
        return Say(
            (Statement(facts.CompartmentDisabled(door=door, by=desk.by, why=why), seen=True),)
        )
    if not any(standing.values()):
        return Known(_flag_ref(book, door))
    return Say((Statement(facts.CompartmentEnabled(door=door, by=desk.by), seen=True),))


def ask_open(
    book: Book, desk: Desk, *, door: int, why: str, case: str, until_ms: int, second: str = ""
) -> Decision:
    """Ask the site to open one door, now; it decides, answers, and forgets it after `until_ms`.

    `second`: who approved it, where the hub asked for a second person.
    """
    if door not in book.map.doors:
        return _no("door.unknown", "Take a number from the site's map.", door=door)
    wrong = wrong_text(desk, why=why, case=case)
    if wrong:
        return wrong
    if not desk.now_ms < until_ms <= desk.now_ms + OPEN_MS_MAX:
        return _no(
            "open.until", "Ask for a door until five minutes from now, no later.",
            now_ms=desk.now_ms, until_ms=until_ms,
        )  # fmt: skip
    waiting = [one for one in book.rights.requests.values() if one.until_ms >= desk.now_ms]
    same = next((one.ref for one in waiting if one.door == door), None)
    if same is not None:
        return _no("open.asked", "Wait for the site's answer to the last request.", ref=same)
    if len(waiting) >= REQUESTS_MAX:
        return _no("open.too_many", "Wait for the site's answers.", waiting=len(waiting))
    return _say(
        facts.OpenRequested(
            door=door, by=desk.by, why=why, case=case, until_ms=until_ms, second=second
        )
    )


# --- words ------------------------------------------------------------------------------------


def claim(book: Book, desk: Desk, *, identity: str, says: Says) -> Decision:
    """Write down what somebody says happened to a parcel; the site's facts win over it."""
    tags = desk.tags(identity)
    for known in book.rights.claims.values():
        if known.tag in tags and (known.says, known.by) == (says, desk.by):
            return Known(known.ref)
    # The tag that the site knows the parcel by, where it knows it.
    here = (one.tag for one in book.parcels.values() if one.tag in tags)
    tag = next(here, parcel_tag(desk.key, identity))
    return _say(facts.ClaimMade(tag=tag, says=says, by=desk.by))


def clear_alarms(book: Book, _desk: Desk, *, raises: tuple[str, ...]) -> Decision:
    """End alarms that stand; one that is raised meanwhile stays."""
    if not 0 < len(raises) <= CLEARED_MAX:
        return _no("alarm.none", f"Name 1 to {CLEARED_MAX} alarms.", named=len(raises))
    unknown = [one for one in raises if one not in book.alarms]
    if unknown:
        return _no("alarm.unknown", "Name alarms that stand.", unknown=unknown[0][:40])
    return _say(facts.AlarmCleared(raises=tuple(dict.fromkeys(raises))))


def switch_fold(book: Book, _desk: Desk, *, version: int) -> Decision:
    """Have every replica fold by rules `version` from the sizes of now on."""
    if version != FOLD:
        return _no(
            "fold.unknown", "Install the version that knows these rules, at the hub first.",
            version=version, known=FOLD,
        )  # fmt: skip
    sizes = {log: size for log, size in sorted(book.sizes.items()) if size}
    return _say(facts.FoldSwitched(version=version, lanes=sizes))


def _say(fact: Fact) -> Say:
    return Say((Statement(fact),))


def _no(code: str, remedy: str, **evidence: object) -> No:
    return No(code, remedy, evidence)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _taken(book: Book, secret_tag: bytes) -> bool:
    tag = _base64(secret_tag)
    rights: list[Grant] = [*book.couriers.values(), *book.rights.collects.values()]
    return any(one.tag == tag for one in rights)


def wrong_text(desk: Desk, **texts: str) -> No | None:
    """Refuse a text that is empty, too long or no text, and one that holds a code of this site."""
    for name, text in texts.items():
        if not 0 < len(text) <= TEXT_MAX or _control(text) or not text.isprintable():
            return _no(
                "request.text", f"Write 1 to {TEXT_MAX} characters, no control characters.",
                field=name, characters=len(text),
            )  # fmt: skip
        if any(codes.check_digit_fits(found, desk.key.site) for found in _long_codes(text)):
            return _no("request.secret", "Do not write codes or secrets here.", field=name)
    return None


def _wrong_band(band: str) -> No | None:
    return None if _band(band) else _no("request.band", "A band is up to 32 of a-z, 0-9 and dash.")


def wrong_end(desk: Desk, until_ms: int | None) -> No | None:
    """Refuse an end that has passed; None is no end."""
    if until_ms is None or desk.now_ms < until_ms <= canonical.NUMBER_MAX:
        return None
    return _no("request.until", "Name an end that is yet to come.", now_ms=desk.now_ms)


def _unsure(book: Book, desk: Desk) -> No | None:
    """Say why nothing that spends a right may be written."""
    if desk.fenced:
        return _no(
            "hub.fenced",
            "Wait until the site's link has brought back what this hub lost in the restore.",
        )
    own = [log for log in sorted(book.stopped) if ":h" in log]
    if own:
        stop = book.stopped[own[0]]
        return _no(
            "hub.lane_stopped", "Show this entry to the hub's maintainers.",
            log=own[0], index=stop.index, cause=stop.code,
        )  # fmt: skip
    return None


def _no_right(book: Book, kind: str) -> No:
    escrow = book.rights.escrow
    return _no(
        "capacity.none",
        "The site has transferred no more rights of this class: ask for another class or bank.",
        kind=kind,
        rights=escrow.hub_rights(kind),
        unspent=escrow.hub_free(kind),
    )


def _flag_ref(book: Book, door: int) -> str:
    """Return the entry that says how this compartment's service stands, or nothing."""
    register = book.rights.service.get(door)
    write = (register.latest.get("h") or register.latest.get("s")) if register else None
    return f"{write.log}{write.index}" if write else ""
