"""What may go out as a capability: the decide for rights that a site has never heard of. Pure.

A capability (FORMATS.md 7) is a QR code that opens by itself at one site: the site needs to know
only who signs. So what it says is decided here, on the book of that site, before it is signed, and
`grant.issued` with its `cti` is in the log before anybody holds it: `granted` returns both, made
from the same values, or `No`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from certs.capability import Action, Capability
from certs.errors import CapabilityInvalid
from certs.trust import NUMBER_MAX
from sync import facts
from sync.book import Book
from sync.hub.issue import (
    COLLECTS_MAX,
    Desk,
    No,
    Say,
    Statement,
    wrong_end,
    wrong_text,
)
from sync.hub.parcels import tenant_of
from sync.records import Grant
from sync.rights import Rights

_DAY_MS: Final = 86_400_000
EARLY_MS: Final = 5 * 60_000
"""One that is good from now on begins so much earlier: the site's clock may be behind the hub's."""
STANDING_MAX: Final = 1_000
"""Capabilities of one site that are neither revoked nor over."""

_ONE_PARCEL_MS: Final = 90 * _DAY_MS
LASTS_MS: Final[Mapping[Action, int]] = MappingProxyType(
    {
        # One parcel's way: longer than any carrier stores or announces one.
        Action.COLLECT: _ONE_PARCEL_MS,
        Action.DEPOSIT: _ONE_PARCEL_MS,
        Action.RETURN: _ONE_PARCEL_MS,
        Action.RESERVATION: _ONE_PARCEL_MS,
        # A year's contract, and a month to hand out the next one.
        Action.COURIER: 400 * _DAY_MS,
        # Who may test doors is asked again for each job: the device it is on may be lost by then.
        Action.SERVICE: 30 * _DAY_MS,
        Action.INSTALL: 30 * _DAY_MS,
    }
)
"""How far from now the end of a capability may be."""

_FIELDS: Final[Mapping[Action, tuple[frozenset[str], frozenset[str]]]] = MappingProxyType(
    {
        Action.COLLECT: (frozenset({"object"}), frozenset()),
        Action.DEPOSIT: (frozenset({"tenant"}), frozenset({"room"})),
        Action.RETURN: (frozenset({"tenant"}), frozenset({"object"})),
        Action.COURIER: (frozenset({"tenant"}), frozenset()),
        Action.SERVICE: (frozenset(), frozenset()),
        Action.INSTALL: (frozenset(), frozenset()),
        Action.RESERVATION: (frozenset({"object"}), frozenset()),
    }
)
"""What each action needs to be told, and what it may be told besides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A capability that somebody wants; times are UTC in milliseconds.

    `object` is the entry of a parcel (collect, return) or of a promise (reservation), `room` the
    class of a deposit (`M`, or `M cold`). `from_ms` None is now.
    """

    action: Action
    label: str
    until_ms: int
    from_ms: int | None = None
    object: str | None = None
    tenant: str | None = None
    room: str | None = None


@dataclass(frozen=True, slots=True)
class Granted:
    """What to write, and what to sign once it is written."""

    say: Say
    capability: Capability


def granted(book: Book, desk: Desk, asked: Asked, *, cti: bytes) -> Granted | No:
    """Decide what is asked for; `cti` are the 8 random bytes that name it.

    Refusals: `grant.fields`, `request.text`, `request.secret`, `request.until`, `grant.too_long`,
    `grant.too_many`, `grant.cti_taken`, `parcel.unknown`, `reservation.unknown`,
    `reservation.over`, `capability.malformed` (a name that no capability can carry).
    """
    wrong = (
        _wrong_fields(asked)
        or wrong_text(desk, label=asked.label)
        or _wrong_times(desk, asked)
        or _too_many(book, desk)
    )
    if wrong:
        return wrong
    if book.rights.of_cti(cti.hex()):
        return No("grant.cti_taken", "Ask again: another id is made.")
    about = _about(book, desk, asked)
    if isinstance(about, No):
        return about
    begins_ms = desk.now_ms - EARLY_MS if asked.from_ms is None else asked.from_ms
    try:
        capability = Capability(
            audience=desk.key.site,
            action=asked.action,
            cti=cti,
            not_before_s=begins_ms // 1_000,
            expires_s=asked.until_ms // 1_000,
            object=asked.object,
            subject=asked.tenant,
            room=about.room,
        )
    except CapabilityInvalid as error:
        return No(error.code, "Write it as FORMATS.md 7 says.", dict(error.evidence))
    fact = facts.GrantIssued(
        grant=asked.action.name.lower(),
        tenant=about.tenant,
        label=asked.label,
        tag="",
        key_version=desk.key.version,
        of=asked.object,
        until_ms=asked.until_ms,
        cti=cti.hex(),
    )
    return Granted(Say((Statement(fact),)), capability)


# --- what it is about ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _About:
    tenant: str = ""
    room: str | None = None


def _about(book: Book, desk: Desk, asked: Asked) -> _About | No:
    """Return whose parcels it is about, and which class; or why its object will not do."""
    match asked.action, asked.object:
        case Action.COLLECT, str(ref):
            return _collect(book, ref)
        case Action.RETURN, str(ref):
            gone = any(one.ref == ref for one in book.retired)
            if not gone and _tag_of(book, ref) is None:
                return _unknown(ref)
        case Action.RESERVATION, str(ref):
            return _promised(book, desk, ref)
        case _:
            pass
    return _About(asked.tenant or "", asked.room)


def _collect(book: Book, ref: str) -> _About | No:
    tag = _tag_of(book, ref)
    if tag is None:
        return _unknown(ref)
    # The parcel goes by its deposit, and by every entry of the hub that spoke of it.
    names = {ref, *(name for name, other in book.rights.named.items() if other == tag)}
    names |= {one.ref for one in book.parcels.values() if one.tag == tag}
    delegates = {
        one.cti or one.ref
        for one in book.rights.collects.values()
        if one.of in names and not one.revoked
    }
    if len(delegates) >= COLLECTS_MAX:
        return No("grant.too_many", "Revoke one of its grants first.", {"collects": len(delegates)})
    here = next((one for one in book.parcels.values() if one.tag == tag), None)
    if here is not None:
        return _About(tenant_of(book, here))
    expected = book.rights.expected[ref]
    return _About((expected.identity or "/").partition("/")[0])


def _tag_of(book: Book, ref: str) -> str | None:
    """Return the keyed tag of a parcel that is there or expected, by any entry that names it."""
    if ref in book.parcels:
        return book.parcels[ref].tag
    if ref in book.rights.expected:
        return book.rights.expected[ref].tag
    named = book.rights.named.get(ref)
    return named if any(one.tag == named for one in book.parcels.values()) else None


def _promised(book: Book, desk: Desk, ref: str) -> _About | No:
    promise = book.rights.escrow.promises.get(ref)
    if promise is None:
        return No(
            "reservation.unknown",
            "Take a reference from the book: the site may have ended this promise already.",
            {"reservation": ref},
        )
    if promise.cancelled or (promise.until_ms is not None and promise.until_ms <= desk.now_ms):
        return No("reservation.over", "Reserve again.", {"reservation": ref})
    return _About(room=f"{promise.size} {promise.band}".rstrip())


# --- what makes no sense ------------------------------------------------------------------------


def _wrong_fields(asked: Asked) -> No | None:
    needed, besides = _FIELDS[asked.action]
    given = {name for name in ("object", "tenant", "room") if getattr(asked, name) is not None}
    if needed <= given <= needed | besides:
        return None
    return No(
        "grant.fields",
        "Say exactly what this action needs: see the description of the API.",
        {
            "action": asked.action.name.lower(),
            "missing": ", ".join(sorted(needed - given)),
            "stray": ", ".join(sorted(given - needed - besides)),
        },
    )


def _wrong_times(desk: Desk, asked: Asked) -> No | None:
    wrong = wrong_end(desk, asked.until_ms)
    if wrong:
        return wrong
    if asked.from_ms is not None and asked.from_ms >= asked.until_ms:
        return No("request.until", "Let it end after it begins.", {"now_ms": desk.now_ms})
    latest = desk.now_ms + LASTS_MS[asked.action]
    if asked.until_ms > latest:
        return No(
            "grant.too_long", "Let it end sooner, and issue another then.", {"latest_ms": latest}
        )
    return None


def _too_many(book: Book, desk: Desk) -> No | None:
    standing = sum(
        bool(one.cti) and not one.revoked and (one.until_ms or 0) > desk.now_ms
        for one in issued(book.rights)
    )
    if standing < STANDING_MAX:
        return None
    return No("grant.too_many", "Revoke grants that nobody uses.", {"capabilities": standing})


def _unknown(ref: str) -> No:
    return No(
        "parcel.unknown", "Name a parcel that is there or expected at this site.", {"parcel": ref}
    )


# --- what is known of them ----------------------------------------------------------------------


def issued(rights: Rights) -> list[Grant]:
    """Return the grants on record, each right once.

    A capability that was shown at the site is a right of the site's log too; that one counts only
    where no entry of the hub speaks of it.
    """
    by_cti = {one.cti for one in _all(rights) if one.cti and ":h" in one.ref}
    return [one for one in _all(rights) if ":h" in one.ref or one.cti not in by_cti]


def state_of(rights: Rights, grant: Grant) -> str:
    """Return `active`, `revoked`, `attempted` or `used`, for display.

    What a capability did stands under the right that it became at the site.
    """
    accepted = rights.accepted(grant.cti)
    state = rights.state_of(accepted.ref if accepted else grant.ref)
    return "revoked" if state == "active" and grant.revoked else state


def denied(rights: Rights, ref: str = "") -> dict[str, int]:
    """Return a site's revoked capabilities, and the one of `ref`: the end (UTC s) by cti."""
    return {
        one.cti: NUMBER_MAX if one.until_ms is None else one.until_ms // 1_000
        for one in _all(rights)
        if one.cti and (one.revoked or one.ref == ref)
    }


def _all(rights: Rights) -> Iterator[Grant]:
    for kind in (rights.couriers, rights.collects, rights.others):
        yield from kind.values()
