"""Rights that go out as QR codes, and the list of those that are denied.

The entry comes first, then the signature: whoever holds a capability, the log knows of it. What is
signed is told in one answer and kept nowhere; asked again with the same `Idempotency-Key` the hub
tells the entry alone. Revoke that one, and issue another.
"""

import asyncio
import base64
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from certs import capability
from certs.capability import CTI_BYTES, Action, Capability
from sync.book import Book
from sync.hub import api_types as t
from sync.hub import denials, grants, qr
from sync.hub.api_read import SITE
from sync.hub.api_routes import ANY, Call, Route, may
from sync.hub.api_write import COMMON, need_parcel, need_promise
from sync.hub.issue import Decision, Desk, No
from sync.hub.rooms import Hub
from sync.hub.signers import signing_key
from sync.hub.storage import Site

GIVES: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "collect": may("support", "dispatch"),
        "return": may("support", "dispatch"),
        "courier": may("operator", "dispatch"),
        "deposit": may("operator", "dispatch"),
        "reservation": may("operator", "dispatch"),
        "service": may("operator"),
        "install": may("operator"),
    }
)
"""Whose each action is to give. Operators open no door, so what opens a held one is not theirs."""


async def issue_capability(call: Call) -> t.CapabilityMade:
    """Issue a capability; it is in this answer and nowhere else."""
    asked: t.CapabilityAsked = call.body
    call.caller.need(*GIVES[asked.action])
    if asked.tenant is not None:
        call.caller.need_tenant(asked.tenant)
    if asked.action == "reservation" and asked.object is not None:
        await need_promise(call, asked.object, asked.parcel)
    elif asked.object is not None:
        await need_parcel(call, asked.object)
    return await issue(call.hub, call.site, call.body, what=call.what, key=call.key, raw=call.raw)


async def issue(
    hub: Hub, site: Site, asked: t.CapabilityAsked, *, what: str, key: str = "", raw: bytes = b""
) -> t.CapabilityMade:
    """Have a capability decided, written and signed.

    Raises `Refused` as `grants.granted` refuses and as the auditor does, `Busy`, `StoreFailed`,
    KeyStoreBroken.
    """
    signer = signing_key(hub.config, "grants")  # no entry where nothing could be signed
    cti = secrets.token_bytes(CTI_BYTES)
    wanted = grants.Asked(
        action=Action[asked.action.upper()],
        label=asked.label,
        until_ms=asked.until_ms,
        from_ms=asked.from_ms,
        object=asked.object,
        tenant=asked.tenant,
        room=asked.room,
    )
    decided: list[Capability] = []  # the last one is of the book that was written on

    def decide(book: Book, desk: Desk) -> Decision:
        found = grants.granted(book, desk, wanted, cti=cti)
        if isinstance(found, No):
            return found
        decided.append(found.capability)
        return found.say

    done = await hub.auditor.decided(
        site.site_id, what, asked.by, lambda: hub.voice.say(site, asked.by, decide),
        key=key, body=raw,
    )  # fmt: skip
    if not done.new:
        return t.CapabilityMade(ref=done.ref, new=False)
    data = capability.sign(decided[-1], signer)
    text = capability.to_text(data)
    svg, png = await asyncio.to_thread(_drawn, text)  # some 20 ms: nobody else waits for it
    return t.CapabilityMade(
        ref=done.ref,
        new=True,
        cti=cti.hex(),
        text=text,
        text_base32=capability.to_text(data, base32=True),
        svg=svg,
        png=base64.b64encode(png).decode(),
    )


async def show_denials(call: Call) -> t.DenialsShown:
    """Return the list of now."""
    return await shown(call.hub)


async def shown(hub: Hub) -> t.DenialsShown:
    """Return the list of now in every form. Raises `Busy`, `StoreFailed`, KeyStoreBroken."""
    known = await denials.current(hub)
    note = denials.signed(hub, known)
    text = denials.carried(note)
    return t.DenialsShown(
        number=known.number,
        made_s=known.made_s,
        denied=len(known.denied),
        left_out=known.left_out,
        note=note,
        text=text,
        svg=await asyncio.to_thread(_drawn_if_it_fits, text),
    )


def _drawn(text: str) -> tuple[str, bytes]:
    code = qr.code_of(text)
    return qr.svg(code), qr.png(code)


def _drawn_if_it_fits(text: str) -> str | None:
    code = qr.fitting(text)
    return None if code is None else qr.svg(code)


ROUTES: Final = (
    Route(
        "POST", "/sites/{site}/capabilities", "issueCapability",
        "Issue a right as a QR code, which the site accepts unheard. It is told once.",
        issue_capability, t.CapabilityMade, t.CapabilityAsked, (SITE,), keyed=True,
        refusals=(*COMMON, "capability.malformed", "grant.cti_taken", "grant.fields",
                  "grant.too_long", "grant.too_many", "parcel.unknown", "request.secret",
                  "request.text", "request.until", "reservation.over", "reservation.unknown"),
        roles=may("operator", "support", "dispatch"),
    ),
    Route(
        "GET", "/denials", "showDenials",
        "The signed list of denied capabilities, as any visitor's device may carry it to a site.",
        show_denials, t.DenialsShown, refusals=("hub.busy",),
        roles=ANY,
    ),
)  # fmt: skip
