"""Pick-up codes: derived at the hub as the site derives them, when somebody asks, never stored."""

from sync.book import Book
from sync.codes import Code, digits_for
from sync.errors import TheirsInvalid
from sync.hub import api_types as t
from sync.hub import parcels
from sync.hub.api_routes import Call


async def show_code(call: Call) -> t.CodeShown:
    """Return the code of a parcel that is there, was relayed, or is expected for the first time.

    An expected parcel's code is told only while its identity was never deposited at this site: any
    other takes a counter that only the site knows (FORMATS.md 6).
    """
    told = await _told(call)
    call.caller.need_tenant(told.parcel.partition("/")[0])
    return told


async def _told(call: Call) -> t.CodeShown:
    ref = call.path["ref"]
    projection = await call.hub.book(call.site.site_id)
    here = projection.book.parcels.get(ref)
    if here is not None:
        identity = await projection.identity(ref)
        if identity is None:
            raise TheirsInvalid(
                "parcel.no_identity",
                "Wait until its annex is here, or relay its receipt; an erased one has no code.",
                ref=ref,
            )
        key = call.hub.keys.code_key(call.site.site_id, here.key_version)
        code = key.code(identity, here.counter)
        return _shown(ref, "deposited", identity, code, here.digits)
    for _, deposit in await call.hub.relay.unconfirmed(call.site):
        if deposit.ref == ref:
            fact = deposit.fact
            key = call.hub.keys.code_key(call.site.site_id, fact.key_version)
            code = key.code(deposit.identity, fact.counter)
            return _shown(ref, "news", deposit.identity, code, fact.digits)
    return await _expected(call, ref, projection.book)


async def _expected(call: Call, ref: str, book: Book) -> t.CodeShown:
    expected = book.rights.expected.get(ref)
    if expected is None:
        raise TheirsInvalid(
            "parcel.unknown", "Name a parcel that is there, was relayed or is expected.", ref=ref
        )
    if not book.map.doors:
        raise TheirsInvalid("site.no_map", "Wait until the site has told its map.")
    identity = await (await call.hub.book(call.site.site_id)).identity(ref)
    if identity is None:
        raise TheirsInvalid("parcel.no_identity", "Its annex was erased.", ref=ref)
    key = call.hub.keys.code_key(call.site.site_id, expected.key_version)
    tags = parcels.tags_of(
        call.hub.keys.code_keys(call.site.site_id, call.site.key_version), identity
    )
    told = [one.identity for _, one in await call.hub.relay.unconfirmed(call.site)]
    if not tags.isdisjoint(book.counters) or identity in told:
        raise TheirsInvalid("parcel.was_here", "Wait until the hub hears of the deposit.", ref=ref)
    code = key.code(identity, 0)
    return _shown(ref, "expected", identity, code, digits_for(len(book.map.doors)))


def _shown(ref: str, state: t.CodeState, identity: str, code: Code, digits: int) -> t.CodeShown:
    return t.CodeShown(
        ref=ref, state=state, parcel=identity, short=code.short(digits), long=code.long
    )
