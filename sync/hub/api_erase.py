"""Erasure at the hub: the name of a parcel that it expected, once nobody needs it there."""

from typing import Final

from sync import entry as entries
from sync import facts
from sync.book import Book
from sync.entry import Ref, Writer
from sync.errors import TheirsInvalid
from sync.holdings import identity_of
from sync.hub import api_types as t
from sync.hub import issue
from sync.hub.api_read import REF, SITE
from sync.hub.api_routes import Call, Route, may
from sync.hub.api_write import COMMON, decided, made
from sync.hub.issue import Decision, Desk
from sync.hub.projections import annex_in


async def erase_annex(call: Call) -> t.Made:
    """Write that the annex is gone; the storage erases it in the same transaction."""
    named = await _named(call)

    def decide(book: Book, desk: Desk) -> Decision:
        return issue.erase(book, desk, named=named)

    return made(await decided(call, decide))


async def _named(call: Call) -> issue.Expectation:
    """Return the expectation that the path names; `TheirsInvalid` `annex.unknown`."""
    ref = call.path["ref"]
    projection = await call.hub.book(call.site.site_id)
    parsed = Ref.parse(ref)
    origin = projection.origins.get(str(parsed.log))
    if parsed.writer is Writer.HUB and origin is not None:
        for item in await projection.shelf.read(origin, parsed.index, parsed.index + 1):
            fact = facts.from_entry(entries.parse(item.entry))
            if isinstance(fact, facts.ParcelExpected) and item.annex is not None:
                identity = identity_of(annex_in(item))
                return issue.Expectation(ref, fact.tag, identity, item.annex.erased_by)
    raise TheirsInvalid(
        "annex.unknown", "Name a parcel that this hub expected; the site erases its own.", ref=ref
    )


ROUTES: Final = (
    Route(
        "POST", "/sites/{site}/annexes/{ref}/erase", "eraseAnnex",
        "Forget who a parcel was that this hub expected; refused while it is awaited or there.",
        erase_annex, t.Made, t.ByAsked, (SITE, REF), keyed=True,
        refusals=(*COMMON, "annex.unknown", "annex.live"),
        roles=may("operator"),
    ),
)  # fmt: skip
