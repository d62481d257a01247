"""What can be asked for: each is one decision on the book, and one entry in the hub's lanes.

A secret is made here, told once in the answer, and kept nowhere: what is written is its keyed tag.
"""

import secrets
from collections.abc import Callable
from typing import Final

from sync import codes
from sync.book import Book
from sync.hub import api_types as t
from sync.hub import denials, grants, issue, parcels
from sync.hub.api_read import REF, SITE, show, tenant_of
from sync.hub.api_routes import Call, Param, Route, may
from sync.hub.issue import Decision, Desk
from sync.hub.voice import Done

COMMON: Final = ("hub.busy", "request.key", "request.key_reused", "request.key_unsure")
"""What every request for an entry can be refused with."""
NUMBER: Final = Param("number", t.Door, "The compartment.", "path")


async def add_site(call: Call) -> t.SiteShown:
    """Add a site, and begin the hub's lanes for it."""
    body: t.SiteAsked = call.body
    call.caller.need_site(body.site)
    site = await call.hub.add_site(body.site, body.vkey, url=body.url, label=body.label)
    return await show(call.hub, site)


async def rekey_site(call: Call) -> t.SiteShown:
    """Take in the key of a site's new gateway."""
    body: t.RekeyAsked = call.body
    return await show(call.hub, await call.hub.rekey(call.site.site_id, body.vkey))


async def issue_grant(call: Call) -> t.GrantMade:
    """Issue a grant; its secret is in this answer and nowhere else."""
    body: t.GrantAsked = call.body
    call.caller.need("operator" if body.grant == "courier" else "support", "dispatch")
    if body.parcel is not None:
        await need_parcel(call, body.parcel)
    if body.tenant is not None:
        call.caller.need_tenant(body.tenant)
    site_name = call.hub.keys.site_name(call.site.site_id)
    secret = codes.staff_secret(secrets.token_bytes(codes.SECRET_RANDOM_BYTES), site_name)

    def decide(book: Book, desk: Desk) -> Decision:
        tag = codes.staff_tag(desk.key.key, site_name, secret)
        if body.grant == "courier" and body.tenant is not None and body.parcel is None:
            return issue.courier(
                book, desk, tenant=body.tenant, label=body.label, secret_tag=tag,
                until_ms=body.until_ms,
            )  # fmt: skip
        if body.grant == "collect" and body.parcel is not None and body.tenant is None:
            return issue.collect(
                book, desk, parcel=body.parcel, label=body.label, secret_tag=tag,
                until_ms=body.until_ms,
            )  # fmt: skip
        return issue.No("grant.fields", "A courier has a tenant, a collect grant a parcel.")

    done = await decided(call, decide)
    if not done.new:
        return t.GrantMade(ref=done.ref, new=False)
    return t.GrantMade(ref=done.ref, new=True, secret=secret)


async def revoke_grant(call: Call) -> t.Made:
    """Revoke a grant; a capability is put on the list of denials first."""
    by: str = call.body.by
    if call.caller.tenant:
        call.caller.need_tenant(await _grants_tenant(call, call.path["ref"]))
    return made(
        await denials.revoked(
            call.hub, call.site, by, call.path["ref"],
            what=call.what, key=call.key, body=call.raw,
        )
    )  # fmt: skip


async def expect_parcel(call: Call) -> t.Made:
    """Expect a parcel; its annex goes beside the entry."""
    body: t.ExpectedAsked = call.body
    identity = body.parcel.identity
    call.caller.need_tenant(body.parcel.tenant)
    return made(
        await decided(
            call, lambda book, desk: issue.expect(book, desk, identity=identity, size=body.size)
        )
    )


async def end_expectation(call: Call) -> t.Made:
    """Expect a parcel no more."""
    ref = call.path["ref"]
    await need_parcel(call, ref)
    return made(await decided(call, lambda book, desk: issue.unexpect(book, desk, expected=ref)))


async def reserve(call: Call) -> t.Made:
    """Promise a compartment."""
    body: t.ReservationAsked = call.body
    call.caller.need_tenant(body.parcel.tenant)
    return made(
        await decided(
            call,
            lambda book, desk: issue.reserve(
                book, desk, identity=body.parcel.identity, size=body.size, band=body.band,
                until_ms=body.until_ms,
            ),
        )
    )  # fmt: skip


async def cancel_reservation(call: Call) -> t.Made:
    """Take a promise back."""
    body: t.CancelAsked = call.body
    ref = call.path["ref"]
    await need_promise(call, ref, body.parcel)
    return made(await decided(call, lambda book, desk: issue.cancel(book, desk, reservation=ref)))


async def hand_back(call: Call) -> t.Made:
    """Give unspent rights back to the site."""
    body: t.HandBackAsked = call.body
    return made(
        await decided(
            call,
            lambda book, desk: issue.hand_back(
                book, desk, size=body.size, band=body.band, count=body.count
            ),
        )
    )


async def set_service(call: Call) -> t.Made:
    """Take a compartment out of service, or back."""
    body: t.ServiceAsked = call.body
    door = call.path["number"]
    return made(
        await decided(
            call,
            lambda book, desk: issue.service(book, desk, door=door, out=body.out, why=body.why),
        )
    )


async def make_claim(call: Call) -> t.Made:
    """Write down what somebody says."""
    body: t.ClaimAsked = call.body
    call.caller.need_tenant(body.parcel.tenant)
    return made(
        await decided(
            call,
            lambda book, desk: issue.claim(
                book, desk, identity=body.parcel.identity, says=body.says
            ),
        )
    )


async def clear_alarms(call: Call) -> t.Made:
    """End alarms."""
    body: t.ClearAsked = call.body
    raises = tuple(body.raises)
    return made(
        await decided(call, lambda book, desk: issue.clear_alarms(book, desk, raises=raises))
    )


async def switch_fold(call: Call) -> t.Made:
    """Switch the rules of the fold."""
    version = call.body.version
    return made(
        await decided(call, lambda book, desk: issue.switch_fold(book, desk, version=version))
    )


async def relay(call: Call) -> t.Relayed:
    """Take a deposit receipt that somebody carried here."""
    body: t.RelayAsked = call.body
    call.caller.need_tenant(body.parcel.tenant)
    told = await call.hub.relay.take(
        body.entry, body.parcel.identity, note=body.checkpoint, proof_text=body.proof,
        seen=call.caller.need_site,
    )  # fmt: skip
    return t.Relayed(ref=told.ref, state="confirmed" if told.confirmed else "news", new=told.new)


async def need_promise(call: Call, ref: str, parcel: t.ParcelNamed | None) -> None:
    """Refuse (`access.scope`) a tenant's account a promise that is not its own parcel's.

    A promise names its parcel by a keyed tag alone, so the account says which parcel it is.
    """
    if not call.caller.tenant:
        return
    call.caller.need_tenant(None if parcel is None else parcel.tenant)
    assert parcel is not None, "no tenant is nobody's"
    promises = (await call.hub.book(call.site.site_id)).book.rights.escrow.promises
    keys = call.hub.keys.code_keys(call.site.site_id, call.site.key_version)
    if ref in promises and promises[ref].tag not in parcels.tags_of(keys, parcel.identity):
        call.caller.need_tenant(None)


async def need_parcel(call: Call, ref: str) -> None:
    """Refuse (`access.scope`) a parcel that is not known to be the caller's tenant's."""
    if call.caller.tenant:
        identity = await (await call.hub.book(call.site.site_id)).identity(ref)
        call.caller.need_tenant(tenant_of(identity))


async def _grants_tenant(call: Call, ref: str) -> str | None:
    """Return whose a grant is, None where there is none."""
    rights = (await call.hub.book(call.site.site_id)).book.rights
    return next((one.tenant for one in grants.issued(rights) if one.ref == ref), None)


async def decided(call: Call, decide: Callable[[Book, Desk], Decision]) -> Done:
    """Have it decided and written, and written down who asked."""
    by: str = call.body.by
    return await call.hub.auditor.decided(
        call.site.site_id,
        call.what,
        by,
        lambda: call.hub.voice.say(call.site, by, decide),
        key=call.key,
        body=call.raw,
    )


def made(done: Done) -> t.Made:
    """Return the answer that tells a decision's entry."""
    return t.Made(ref=done.ref, new=done.new)


ROUTES: Final = (
    Route(
        "POST", "/sites", "addSite", "Add a site; the same one again changes nothing.", add_site,
        t.SiteShown, t.SiteAsked,
        refusals=("site.id", "site.vkey", "site.url", "site.label", "hub.site_exists"),
        roles=may("operator"), noted=True,
    ),
    Route(
        "POST", "/sites/{site}/rekey", "rekeySite",
        "Take in the key of a gateway that replaces a lost one; the older ones stay good.",
        rekey_site, t.SiteShown, t.RekeyAsked, (SITE,), refusals=("site.vkey", "site.keys"),
        roles=may("operator"), noted=True,
    ),
    Route(
        "POST", "/sites/{site}/grants", "issueGrant",
        "Issue a grant: a courier's, or for one parcel. The secret is told once.", issue_grant,
        t.GrantMade, t.GrantAsked, (SITE,), keyed=True,
        refusals=(*COMMON, "grant.fields", "grant.tenant", "grant.too_many",
                  "grant.secret_taken", "parcel.unknown", "request.secret", "request.text",
                  "request.until"),
        roles=may("operator", "support", "dispatch"),
    ),
    Route(
        "POST", "/sites/{site}/grants/{ref}/revoke", "revokeGrant",
        "Revoke a grant: whoever sees it refuses the grant.", revoke_grant, t.Made, t.ByAsked,
        (SITE, REF), keyed=True, refusals=(*COMMON, "grant.unknown"),
        roles=may("operator", "support", "dispatch"),
    ),
    Route(
        "POST", "/sites/{site}/expected", "expectParcel", "Tell the site of a parcel to come.",
        expect_parcel, t.Made, t.ExpectedAsked, (SITE,), keyed=True,
        refusals=(*COMMON, "parcel.here", "parcel.was_here", "parcel.too_many"),
        roles=may("dispatch"),
    ),
    Route(
        "POST", "/sites/{site}/expected/{ref}/end", "endExpectation",
        "Expect a parcel no more: it will never come.", end_expectation, t.Made, t.ByAsked,
        (SITE, REF), keyed=True, refusals=(*COMMON, "expected.unknown"),
        roles=may("dispatch"),
    ),
    Route(
        "POST", "/sites/{site}/reservations", "reserve",
        "Promise a compartment: it spends one of the rights that the site transferred.", reserve,
        t.Made, t.ReservationAsked, (SITE,), keyed=True,
        refusals=(*COMMON, "capacity.none", "reservation.other_class", "parcel.here",
                  "hub.fenced", "hub.lane_stopped", "request.until", "request.band"),
        roles=may("dispatch"),
    ),
    Route(
        "POST", "/sites/{site}/reservations/{ref}/cancel", "cancelReservation",
        "Take a promise back. Its right returns by the site's own release.", cancel_reservation,
        t.Made, t.CancelAsked, (SITE, REF), keyed=True, refusals=(*COMMON, "reservation.unknown"),
        roles=may("dispatch"),
    ),
    Route(
        "POST", "/sites/{site}/capacity/hand-back", "handBack",
        "Give unspent rights back to the site.", hand_back, t.Made, t.HandBackAsked, (SITE,),
        keyed=True,
        refusals=(*COMMON, "capacity.none", "hub.fenced", "hub.lane_stopped", "request.band"),
        roles=may("operator"),
    ),
    Route(
        "POST", "/sites/{site}/compartments/{number}/service", "setService",
        "Take a compartment out of service, or back in.", set_service, t.Made, t.ServiceAsked,
        (SITE, NUMBER), keyed=True,
        refusals=(*COMMON, "door.unknown", "request.secret", "request.text"),
        roles=may("operator", "support"),
    ),
    Route(
        "POST", "/sites/{site}/claims", "makeClaim",
        "Write down what somebody says happened to a parcel.", make_claim, t.Made, t.ClaimAsked,
        (SITE,), keyed=True, refusals=COMMON,
        roles=may("support", "dispatch"),
    ),
    Route(
        "POST", "/sites/{site}/alarms/clear", "clearAlarms", "End alarms that were dealt with.",
        clear_alarms, t.Made, t.ClearAsked, (SITE,), keyed=True,
        refusals=(*COMMON, "alarm.none", "alarm.unknown"),
        roles=may("support"),
    ),
    Route(
        "POST", "/sites/{site}/fold", "switchFold",
        "Have every replica fold by these rules from the sizes of now on.", switch_fold, t.Made,
        t.FoldAsked, (SITE,), keyed=True, refusals=(*COMMON, "fold.unknown"),
        roles=may("operator"),
    ),
    Route(
        "POST", "/relay", "relay",
        "Take a deposit receipt that a phone carried here; it is news until the log confirms it.",
        relay, t.Relayed, t.RelayAsked,
        refusals=(
            "relay.evidence", "relay.form", "relay.signature", "relay.proof",
            "relay.proof_needed", "relay.not_a_deposit", "relay.parcel", "relay.fork",
            "relay.too_many",
        ),
        roles=may("dispatch"),
    ),
)  # fmt: skip
