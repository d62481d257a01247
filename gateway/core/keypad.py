"""What typed digits mean: whose code, or why refused, and what a refusal costs (FORMATS.md 6).

Never charged: wrong length, wrong check digit, a code of a live or retired parcel. Charged: a
well-formed entry that matches nothing; the token is spent in the commit that logs the miss, before
the answer is shown. With an empty bucket short codes are not looked at any more and long ones only
every ten seconds, all keypads of the site together.
"""

import hmac
from base64 import b64decode, b64encode
from dataclasses import dataclass
from typing import Literal

from gateway.core import grants, policy, quota
from gateway.core.state import State
from sync import codes, facts
from sync.custody import Custody
from sync.records import Grant, Parcel, Retired

Form = Literal["short", "long", "staff"]
LONG = codes.LONG_DIGITS + 1
STAFF_PACE_MS = 10_000
"""After a wrong staff secret, all keypads of the site together: 1e15 secrets, 3e6 tries a year."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A stable code, and seconds to wait where that is why."""

    why: str
    wait_s: int = 0


@dataclass(frozen=True, slots=True)
class Found:
    """The parcel that may be collected, and by what right: `code`, or a grant's reference."""

    parcel: Parcel
    by: str


def collector(state: State, typed: str) -> Found | Refused:  # noqa: PLR0911  # the order of checks
    """Return the live parcel whose code this is, or that a grant opens, or why not."""
    entered = codes.normalise_typed(typed)
    if entered is None or len(entered) not in _lengths(state):
        return _uncharged(state, "short", "code.length")
    if not codes.check_digit_fits(entered, state.settings.code_key.site):
        return _uncharged(state, _form(entered), "code.check_digit")
    tokens = policy.tokens(state.book, state.now.at)
    if tokens == 0:
        if len(entered) != LONG:
            return _uncharged(state, "short", "code.long_needed")
        if state.mono < state.long_after_ms:
            return Refused("code.wait", -(-(state.long_after_ms - state.mono) // 1000))
        state.long_after_ms = state.mono + policy.LONG_PACE_MS
    parcel = _live(state, entered)
    if parcel is not None:
        return Found(parcel, "code")
    granted = _granted(state, entered)
    if granted is not None:
        return granted
    if _is_retired(state, entered):
        return _uncharged(state, _form(entered), "code.retired")
    return _charged(state, entered, spend=tokens > 0)


def _granted(state: State, entered: str) -> Found | Refused | None:
    """Return what a typed secret of 16 digits opens, if it is that of a right to collect."""
    if len(entered) != LONG:
        return None
    tags, why = _staff_tags(state, entered), ""
    for grant in state.book.rights.collects.values():
        if not _is_tag(tags.get(grant.key_version), grant.tag):
            continue
        why = grant_refusal(state, grant) or capped(state, grant)
        if not why:
            return Found(state.book.parcels[grant.of or ""], grant.ref)
    return _uncharged(state, "long", why) if why else None


def capped(state: State, grant: Grant) -> str:
    """Return why a right of the hub's to collect is held back: too many were used lately."""
    many = grants.is_hubs(grant.ref, grant) and quota.occupied_reached(state, quota.HUB)
    return "support.occupied" if many else ""


def grant_refusal(state: State, grant: Grant) -> str:
    """Return why a right to collect cannot be used now, or nothing."""
    parcel = state.book.parcels.get(grant.of or "")
    late = grants.late(state, grant)
    if grant.revoked or grants.ended(state, grant.ref):
        return "code.revoked"
    if state.book.rights.is_used(grant) or parcel is None:
        return "code.retired"
    if grant.ref in state.book.rights.cautious:
        return "door.cautious"
    if late:
        return "clock.untrusted" if late == "untrusted" else "code.expired"
    return "" if _collectable(state, parcel) else "code.retired"


def _is_tag(made: str | None, known: str) -> bool:
    """Compare in full time. What a hub wrote need not be ASCII, and a missing key matches none."""
    return made is not None and hmac.compare_digest(made.encode(), known.encode())


def _staff_tags(state: State, entered: str) -> dict[int, str]:
    """Return the keyed tag of a typed secret, by the version of the key."""
    return {
        version: b64encode(codes.staff_tag(key.key, key.site, entered)).decode()
        for version, key in state.keys.items()
    }


def _lengths(state: State) -> set[int]:
    """Return the lengths accepted: the long form, and d + 1 of every live d."""
    live = {parcel.digits + 1 for parcel in state.book.parcels.values()}
    return {LONG, digits(state) + 1} | live


def digits(state: State) -> int:
    """Return d of this site: fixed by its number of compartments."""
    return codes.digits_for(max(1, len(state.book.map.doors)))


def _form(entered: str) -> Form:
    return "long" if len(entered) == LONG else "short"


def _live(state: State, entered: str) -> Parcel | None:
    """Compare with every live parcel; a re-issue (counter + 1) not heard of here counts too."""
    for ahead in (0, 1):
        found = [
            parcel
            for parcel in state.book.parcels.values()
            if _is_code_of(state, parcel, ahead, entered)
        ]
        for parcel in found:
            if _collectable(state, parcel):
                return parcel
    return None


def _is_code_of(state: State, parcel: Parcel, ahead: int, entered: str) -> bool:
    """Whether this is the parcel's code. The check digit of `entered` was found to fit."""
    key = state.key(parcel.key_version)
    if parcel.identity is None or key is None:
        return False
    digits = key.digits(parcel.identity, parcel.counter + ahead)
    if len(entered) != LONG:
        digits = digits[: parcel.digits]
    return hmac.compare_digest(digits, entered[:-1])


def _collectable(state: State, parcel: Parcel) -> bool:
    """Return whether this parcel can still be asked for: what is claimed can, for a while.

    Doubt makes no exception: a courier may have put another parcel in since.
    """
    compartment = state.compartment(parcel.door)
    if compartment.claimed_at is None or compartment.custody is Custody.HELD:
        return True
    if compartment.custody in {Custody.DEPOSITING, Custody.DOUBT}:
        return False
    boot, mono = compartment.claimed_at
    since = mono if boot == state.now.boot else state.started_ms
    return state.mono - since <= state.settings.claimed_ms


def _is_retired(state: State, entered: str) -> bool:
    """Return whether this is the code of a parcel that is gone."""
    known = {gone.ref: gone for gone in state.book.retired}
    tags = state.retired_tags
    for ref in tags.keys() - known.keys():
        del tags[ref]
    for ref in known.keys() - tags.keys():
        tags[ref] = tags_of(state, known[ref])
    if any(_is_code_of(state, parcel, 0, entered) for parcel in state.book.parcels.values()):
        return True  # claimed, and its time is over
    wanted = {
        version: codes.retired_tag(key.key, key.site, entered)
        for version, key in state.keys.items()
    }
    return any(
        hmac.compare_digest(wanted[known[ref].key_version], tag)
        for ref, both in tags.items()
        if known[ref].key_version in wanted
        for tag in both
    )


def tags_of(state: State, gone: Retired) -> tuple[bytes, ...]:
    """Return the keyed tags of a retired code, short and long; the erased brought theirs along."""
    key = state.key(gone.key_version)
    if gone.identity is None:
        return tuple(b64decode(tag) for tag in gone.tags)
    if key is None:
        return ()
    code = key.code(gone.identity, gone.counter)
    both = code.short(gone.digits), code.long
    return tuple(codes.retired_tag(key.key, key.site, typed) for typed in both)


def _uncharged(state: State, form: Form, why: str) -> Refused:
    """Refuse at no cost; the first goes on record at once, more of them together a little later."""
    if ("refusals", "") in state.timers:
        state.uncharged += 1
        state.uncharged_why, state.uncharged_form = why, form
    else:
        state.write(facts.CodeRefused(form=form, why=why))
        state.timers["refusals", ""] = state.mono + state.settings.refusals_ms
    return Refused(why)


def write_uncharged(state: State) -> None:
    """Put the refusals counted since the last one on record together."""
    if state.uncharged:
        state.write(
            facts.CodeRefused(
                form=state.uncharged_form, why=state.uncharged_why, count=state.uncharged
            )
        )
        state.uncharged = 0


def _charged(state: State, entered: str, *, spend: bool) -> Refused:
    level = policy.bucket_ms(state.book, state.now.at) - (policy.REFILL_MS if spend else 0)
    state.write(
        facts.CodeRefused(
            form=_form(entered),
            why="code.unknown",
            charged=spend,
            level_ms=level if spend else None,
        )
    )
    return Refused("code.unknown")


def courier(state: State, typed: str) -> Grant | Refused:
    """Return the courier whose secret this is, or why not."""
    entered, key = codes.normalise_typed(typed), state.settings.code_key
    if entered is None or len(entered) != LONG:
        return _uncharged(state, "staff", "staff.length")
    if not codes.check_digit_fits(entered, key.site):
        return _uncharged(state, "staff", "staff.check_digit")
    if state.mono < state.staff_after_ms:
        return Refused("staff.wait", -(-(state.staff_after_ms - state.mono) // 1000))
    tags, why = _staff_tags(state, entered), "staff.unknown"
    for known in state.book.couriers.values():
        if _is_tag(tags.get(known.key_version), known.tag):
            why = courier_refusal(state, known)
            if not why:
                return known
    state.staff_after_ms = state.mono + STAFF_PACE_MS
    state.write(facts.CodeRefused(form="staff", why=why))
    return Refused(why)


def courier_refusal(state: State, known: Grant) -> str:
    """Return why a courier's right cannot be used now, or nothing."""
    late = grants.late(state, known)
    if known.revoked or grants.ended(state, known.ref):
        return "staff.revoked"
    if known.ref in state.book.rights.cautious:
        return "staff.cautious"
    if late:
        return "clock.untrusted" if late == "untrusted" else "staff.expired"
    return ""


def next_counter(state: State, identity: str, tag: str) -> int:
    """Return the counter for a deposit: above all used, and its short code equals no live one."""
    key, count = state.settings.code_key, digits(state)
    taken = set()
    for parcel in state.book.parcels.values():
        its = state.key(parcel.key_version)
        if parcel.identity is not None and its is not None:
            for ahead in (0, 1):
                code = its.code(parcel.identity, parcel.counter + ahead)
                taken.add(code.short(parcel.digits))
    counter = state.book.counters.get(tag, -1) + 1
    while key.code(identity, counter).short(count) in taken:
        counter += 1
    return counter
