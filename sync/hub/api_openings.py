"""Asking for a door, and the second person where many are asked for: support's, and nobody else's.

There is no way to ask for more than one door at a time.
"""

from typing import Annotated, Final

from msgspec import Meta

from sync.hub import api_types as t
from sync.hub import openings
from sync.hub.api_read import SITE
from sync.hub.api_routes import Call, Param, Route, may
from sync.hub.api_write import COMMON, NUMBER, made
from sync.hub.dual import Opening
from sync.hub.voice import Done


async def ask_open(call: Call) -> t.Made:
    """Ask the site to open a door."""
    body: t.OpenAsked = call.body

    async def decide() -> Done:
        return await openings.ask(
            call.hub, call.site, account=call.account, by=call.by, door=call.path["number"],
            why=body.why, case=body.case, until_ms=body.until_ms,
        )  # fmt: skip

    return made(await _once(call, decide))


async def list_openings(call: Call) -> t.OpeningsShown:
    """Return what waits for a second person."""
    return t.OpeningsShown(
        openings=[shown(one) for one in await openings.waiting(call.hub, call.site.site_id)]
    )


def shown(one: Opening) -> t.OpeningShown:
    """Return a request that waits, as it is told."""
    return t.OpeningShown(
        id=one.id, door=one.door, by=one.by, why=one.why, case=one.case,
        asked_ms=one.asked_ms, ends_ms=one.ends_ms, limit=one.over,
    )  # fmt: skip


async def approve_opening(call: Call) -> t.Made:
    """Approve what another account asked for."""

    async def decide() -> Done:
        return await openings.approve(
            call.hub, call.site, account=call.account, by=call.by, opening_id=call.path["id"]
        )

    return made(await _once(call, decide))


async def _once(call: Call, decide: openings.Deciding) -> Done:
    return await call.hub.auditor.decided(
        call.site.site_id, call.what, call.by, decide, key=call.key, body=call.raw
    )


_ID: Final = Param(
    "id", Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")], "What the refusal named.", "path"
)

ROUTES: Final = (
    Route(
        "POST", "/sites/{site}/compartments/{number}/open", "askOpen",
        "Ask the site to open one door within five minutes; the site decides.", ask_open, t.Made,
        t.OpenAsked, (SITE, NUMBER), keyed=True, roles=may("support"),
        refusals=(*COMMON, "door.unknown", "open.until", "open.asked", "open.too_many",
                  "open.second_person", "request.secret", "request.text"),
    ),
    Route(
        "GET", "/sites/{site}/openings", "listOpenings",
        "Doors that were asked for too fast, and wait for a second person.", list_openings,
        t.OpeningsShown, params=(SITE,), roles=may("support"),
    ),
    Route(
        "POST", "/sites/{site}/openings/{id}/approve", "approveOpening",
        "Be the second person: ask the site for the door that another account asked for.",
        approve_opening, t.Made, t.ByAsked, (SITE, _ID), keyed=True, roles=may("support"),
        refusals=(*COMMON, "approval.unknown", "approval.own", "approval.under_way",
                  "door.unknown", "open.asked", "open.too_many"),
    ),
)  # fmt: skip
