"""What can be read: sites, the book of a site, its logs, proofs, codes, news, audit, health."""

import base64
from hashlib import sha256
from typing import Annotated, Any, Final, Literal, get_args

from msgspec import Meta

from sync.capacity import name_of
from sync.entry import LaneRef, Ref
from sync.errors import TheirsInvalid
from sync.hub import api_bank, grants
from sync.hub import api_types as t
from sync.hub.accounts import Caller
from sync.hub.api_codes import show_code
from sync.hub.api_routes import ANY, Call, Param, Route, may
from sync.hub.config import Config
from sync.hub.projections import Projection
from sync.hub.rooms import Hub
from sync.hub.storage import Site
from sync.origin import Origin
from sync.proof import Proof
from sync.records import Stop
from sync.shelf import Log

SITES_PAGE: Final = 100
ENTRIES_PAGE: Final = 500

Part = Literal[
    "compartments", "parcels", "expected", "grants", "reservations", "capacity", "deficits",
    "requests", "claims", "alarms", "conflicts", "bank",
]  # fmt: skip
PARTS: Final[tuple[Part, ...]] = get_args(Part)
TENANTS: Final = frozenset({"parcels", "expected", "grants", "capacity"})
"""What an account of a tenant is told of a book."""


# --- sites ------------------------------------------------------------------------------------


async def list_sites(call: Call) -> t.SitesShown:
    """Return a page of sites, by id."""
    count = call.query["count"]
    found = [one for one in await sites(call) if one.site_id >= call.query["from"]]
    shown = [await show(call.hub, site) for site in found[:count]]
    return t.SitesShown(sites=shown, next=found[count].site_id if len(found) > count else "")


async def sites(call: Call) -> list[Site]:
    """Return the sites that the caller may know of, by id."""
    return [one for one in await call.hub.storage.sites() if call.caller.sees(one.site_id)]


async def show_site(call: Call) -> t.SiteShown:
    """Return one site."""
    return await show(call.hub, call.site)


async def show(hub: Hub, site: Site) -> t.SiteShown:
    """Return a site at a glance: link, logs and lag, what needs a person."""
    projection = await hub.book(site.site_id)
    book, link = projection.book, hub.links.of(site.site_id)
    logs = await projection.shelf.logs()
    return t.SiteShown(
        site=site.site_id,
        name=hub.keys.site_name(site.site_id),
        label=site.label,
        url=site.url,
        enabled=site.enabled,
        epoch=site.epoch,
        key_version=site.key_version,
        fenced=site.fenced,
        vkey=site.vkey,
        hub_vkey=hub.keys.writer(site.site_id).vkey,
        cosigner_vkey=hub.keys.cosigner(site.site_id).vkey,
        link=t.LinkShown(
            up=link.up, bearer=link.bearer, since_ms=link.since_ms, heard_ms=link.heard_ms,
            bytes_in=link.bytes_in, bytes_out=link.bytes_out, connects=link.connects,
            trouble=link.trouble,
        ),
        logs=[_log(log, link.lag.get(log.origin, 0)) for log in logs],
        alarms=len(book.alarms),
        conflicts=len(book.conflicts()),
        deficits=len(book.deficits()),
        forks=len(await hub.storage.forks(site.site_id)),
        stopped=_stopped(projection),
        commissioned=api_bank.commissioned(book),
    )  # fmt: skip


def _log(log: Log, lag: int) -> t.LogShown:
    return t.LogShown(
        log=str(Origin.parse(log.origin).log), origin=log.origin, own=log.own, oldest=log.oldest,
        size=log.size, cosigned=log.cosigned, lag=lag,
    )  # fmt: skip


def _stopped(projection: Projection) -> list[t.StopShown]:
    stops: dict[str, Stop] = projection.book.stopped
    return [
        t.StopShown(log=log, index=stop.index, code=stop.code, evidence=stop.evidence)
        for log, stop in sorted(stops.items())
    ]


# --- the book ---------------------------------------------------------------------------------


async def show_book(call: Call) -> t.BookShown:
    """Return the book of a site, or the parts of it that were asked for.

    Who a parcel is stands in an annex: only who may read those is told it (`Caller.names`). An
    account of a tenant is told what is its tenant's, and the capacity; nothing else.
    """
    projection = await call.hub.book(call.site.site_id)
    book = projection.book
    asked: tuple[Part, ...] = tuple(call.query["part"]) or PARTS
    if call.caller.tenant:
        asked = tuple(one for one in asked if one in TENANTS)
    parts: dict[str, Any] = {}
    if "compartments" in asked:
        parts["compartments"] = _compartments(projection, call.query["door"])
    if "parcels" in asked:
        parts["parcels"] = await _parcels(projection, call.query["door"], call.caller)
    if "expected" in asked:
        parts["expected"] = [
            t.ExpectedShown(ref=one.ref, size=one.size, parcel=identity)
            for one in list(book.rights.expected.values())  # it may change while names are read
            for identity in await _named(projection, one.ref, call.caller)
        ]
    if "bank" in asked:
        parts["bank"] = api_bank.bank(book)
    if "grants" in asked:
        parts["grants"] = _grants(projection, call.query["state"], call.caller)
    parts |= {name: value for name, value in _rights(projection).items() if name in asked}
    return t.BookShown(
        site=call.site.site_id,
        sizes={log: size for log, size in sorted(book.sizes.items()) if size},
        sha256=base64.b64encode(sha256(book.canonical()).digest()).decode(),
        fenced=book.fenced,
        stopped=_stopped(projection),
        **parts,
    )


def _compartments(projection: Projection, door: int | None) -> list[t.CompartmentShown]:
    book = projection.book
    return [
        t.CompartmentShown(
            door=number, size=item.size, band=item.band, custody=book.compartments[number].custody,
            door_open=book.compartments[number].door_open,
            disabled=book.compartments[number].disabled,
            parcel=book.compartments[number].parcel,
            openings=book.compartments[number].openings, cautious=book.cautious(number),
        )
        for number, item in sorted(book.map.doors.items())
        if door in {None, number}
    ]  # fmt: skip


async def _named(projection: Projection, ref: str, caller: Caller) -> tuple[str | None, ...]:
    """Return who a parcel is, as this caller may know it; nothing where it is another tenant's."""
    identity = await projection.identity(ref)
    if caller.names(tenant_of(identity)):
        return (identity,)
    return () if caller.tenant else (None,)


async def _parcels(projection: Projection, door: int | None, caller: Caller) -> list[t.ParcelShown]:
    return [
        t.ParcelShown(
            ref=one.ref, door=one.door, size=one.size, by=one.by, counter=one.counter,
            digits=one.digits, key_version=one.key_version, parcel=identity,
        )
        for one in projection.book.live()
        if door in {None, one.door}
        for identity in await _named(projection, one.ref, caller)
    ]  # fmt: skip


def tenant_of(identity: str | None) -> str:
    """Return whose parcel it is; empty where nobody knows."""
    return (identity or "").partition("/")[0]


def _grants(projection: Projection, state: str | None, caller: Caller) -> list[t.GrantShown]:
    rights = projection.book.rights
    shown = [
        t.GrantShown(
            ref=one.ref, grant=one.grant, tenant=one.tenant, label=one.label, of=one.of,
            until_ms=one.until_ms, state=grants.state_of(rights, one), cti=one.cti,
        )
        for one in grants.issued(rights)
    ]  # fmt: skip
    return [
        one for one in shown if state in {None, one.state} and caller.tenant in {"", one.tenant}
    ]


def _rights(projection: Projection) -> dict[str, Any]:
    book = projection.book
    rights = book.rights
    return {
        "reservations": [
            t.ReservationShown(
                ref=one.ref, size=one.size, band=one.band, until_ms=one.until_ms,
                cancelled=one.cancelled,
            )
            for one in rights.escrow.promises.values()
        ],
        "capacity": _capacity(projection),
        "deficits": [
            t.DeficitShown(kind=one.kind, rights=one.rights, reroute=list(one.reroute))
            for one in book.deficits()
        ],
        "requests": [
            t.RequestShown(
                ref=one.ref, door=one.door, by=one.by, why=one.why, case=one.case,
                until_ms=one.until_ms,
            )
            for one in rights.requests.values()
        ],
        "claims": [
            t.ClaimShown(ref=one.ref, says=one.says, by=one.by) for one in rights.claims.values()
        ],
        "alarms": [
            t.AlarmShown(ref=one.ref, alarm=one.alarm, door=one.door, about=one.about)
            for one in book.alarms.values()
        ],
        "conflicts": [
            t.ConflictShown(what=one.what, ref=one.ref, other=one.other, how=one.how)
            for one in book.conflicts()
        ],
    }  # fmt: skip


def _capacity(projection: Projection) -> list[t.ClassShown]:
    book, escrow = projection.book, projection.book.rights.escrow
    doors = [name_of(item.size, item.band) for item in book.map.doors.values()]
    free = book.free()
    return [
        t.ClassShown(
            kind=kind, compartments=doors.count(kind), free=free[kind],
            site_free=book.site_free(kind), hub_rights=escrow.hub_rights(kind),
            hub_unspent=escrow.hub_free(kind),
        )
        for kind in sorted({*doors, *escrow.to_hub})
    ]  # fmt: skip


# --- logs -------------------------------------------------------------------------------------


async def list_entries(call: Call) -> t.EntriesShown:
    """Return a page of one log, each entry's text exactly as it is stored."""
    ref = LaneRef.parse(call.query["log"])
    shelf, log = await _held(call, ref)
    start = call.query["from"]
    if start > log.size:
        raise TheirsInvalid("hub.beyond", "Ask from a smaller index.", size=log.size)
    if start < log.oldest:
        raise TheirsInvalid("hub.pruned", "Ask from the oldest kept index.", oldest=log.oldest)
    stop = min(start + min(call.query["count"], call.hub.config.api.page_max), log.size)
    items = await shelf.read(log.origin, start, stop)
    entries = [
        t.EntryShown(ref=f"{ref}{item.index}", index=item.index, entry=item.entry.decode())
        for item in items
    ]
    return t.EntriesShown(
        log=str(ref), origin=log.origin, next=stop, size=log.size, entries=entries
    )


async def show_proof(call: Call) -> t.ProofShown:
    """Return a proof that an entry stands in its log, with this hub's cosignature if it has one."""
    ref = Ref.parse(call.path["ref"])
    shelf, log = await _held(call, ref.log)
    items = await shelf.read(log.origin, ref.index, ref.index + 1) if ref.index < log.size else []
    if not items:
        raise TheirsInvalid("hub.unknown_entry", "Take a reference from the entries.", ref=str(ref))
    size, note = log.size, log.note
    cosigned = await call.hub.storage.cosignature(call.site.site_id, log.origin)
    if cosigned is not None and ref.index < cosigned.size <= log.size:
        size, note = cosigned.size, cosigned.note
    hashes = await shelf.inclusion(log.origin, ref.index, size)
    proof = Proof(ref.index, tuple(hashes), note)
    return t.ProofShown(ref=str(ref), entry=items[0].entry.decode(), proof=proof.text())


async def _held(call: Call, ref: LaneRef) -> tuple[Any, Log]:
    shelf = call.hub.registry.shelf_of(call.site)
    voice = "site" if ref.writer.value == "s" else "hub"
    writer = f"{voice}/{call.site.site_id}"
    log = await shelf.log(str(Origin(call.site.operator, writer, ref.epoch, ref.lane)))
    if log is None:
        raise TheirsInvalid("hub.unknown_log", "Take a log from the site's logs.", log=str(ref))
    return shelf, log


# --- news, audit, health ----------------------------------------------------------------------


async def list_news(call: Call) -> t.NewsPage:
    """Return what was relayed and no log has confirmed yet."""
    one = call.query["site"]
    if one:
        call.caller.need_site(one)
    found = []
    for site in [await call.hub.registry.get(one)] if one else await sites(call):
        for news, deposit in await call.hub.relay.unconfirmed(site):
            fact = deposit.fact
            if not call.caller.names(tenant_of(deposit.identity)):
                continue
            found.append(
                t.NewsShown(
                    site=site.site_id, ref=deposit.ref, door=fact.door, size=fact.size,
                    parcel=deposit.identity, at_ms=news.at_ms,
                )
            )  # fmt: skip
    return t.NewsPage(news=found)


async def list_audit(call: Call) -> t.AuditPage:
    """Return lines of a site's audit."""
    return await audit_page(call, call.site.site_id)


async def audit_page(call: Call, site_id: str) -> t.AuditPage:
    """Return lines of an audit; that of no site is the hub's own."""
    start = call.query["from"]
    lines = await call.hub.auditor.lines(site_id, start, call.query["count"])
    shown = [
        t.AuditShown(seq=one.seq, code=one.code, evidence=dict(one.evidence), at_ms=one.at_ms)
        for one in lines
    ]
    return t.AuditPage(lines=shown, next=lines[-1].seq + 1 if lines else start)


PLAIN: Final = "not authenticated: development, plain"
"""What a hub says of its peers where everybody is let in."""


async def health(call: Call) -> t.Health:
    """Return what the hub says of itself."""
    hub = call.hub
    known = await sites(call)
    return t.Health(
        ok=True,
        operator=hub.config.operator,
        instance=hub.storage.instance,
        storage=hub.config.storage_url.partition(":")[0],
        listen=listening(hub.config),
        peers=PLAIN if hub.config.development.plain else "authenticated: certificates, accounts",
        sites=len(known),
        fenced=[one.site_id for one in known if one.fenced],
        books=hub.projections.held,
    )


def listening(config: Config) -> str:
    """Return where the API is served, and why nowhere else."""
    if config.development.plain:
        return f"{config.api.listen}, plain: development, nobody is authenticated"
    return f"{config.api.listen}, links {config.link_at.listen}, renewal {config.renew_at.listen}"


_Index = Annotated[int, Meta(ge=0, lt=2**53)]
_Page = Annotated[int, Meta(ge=1, le=1_000)]
_Log = Annotated[str, Meta(pattern=r"^e[1-9][0-9]{0,9}-[0-9a-f]{8}:[sh][uct]$")]
_Site = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")]

SITE: Final = Param("site", _Site, "The site's id, as 0042.", "path")
AUDIT_PAGE: Final = (
    Param("from", _Index, "First line.", default=0),
    Param("count", _Page, "At most.", default=ENTRIES_PAGE),
)
REF: Final = Param("ref", t.RefText, "An entry, as e1-9f2c01ab:sc117.", "path")
DOOR: Final = Param("door", t.Door | None, "Only this compartment.", default=None)

ROUTES: Final = (
    Route(
        "GET", "/sites", "listSites", "Sites by id, with link, lag and what needs a person.",
        list_sites, t.SitesShown,
        params=(
            Param("from", _Site | Literal[""], "First id of the page.", default=""),
            Param("count", Annotated[int, Meta(ge=1, le=SITES_PAGE)], "At most.",
                  default=SITES_PAGE),
        ),
        roles=may("operator", "support", "auditor"),
    ),
    Route("GET", "/sites/{site}", "showSite", "One site.", show_site, t.SiteShown, params=(SITE,),
          roles=may("operator", "support", "auditor")),
    Route(
        "GET", "/sites/{site}/book", "showBook", "What the site holds, folded from all logs.",
        show_book, t.BookShown,
        params=(
            SITE, DOOR,
            Param("part", Part, "Only these parts; may be repeated.", default=(), many=True),
            Param("state", Literal["active", "revoked", "attempted", "used"] | None,
                  "Only grants in this state.", default=None),
        ),
        roles=ANY,
    ),
    Route(
        "GET", "/sites/{site}/parcels/{ref}/code", "showCode",
        "The pick-up code of a parcel: deposited, relayed, or expected and never there before.",
        show_code, t.CodeShown, params=(SITE, REF),
        refusals=("parcel.unknown", "parcel.no_identity", "parcel.was_here", "site.no_map"),
        roles=may("support", "dispatch"), noted=True,
    ),
    Route(
        "GET", "/sites/{site}/entries", "listEntries", "A page of one log.", list_entries,
        t.EntriesShown,
        params=(
            SITE,
            Param("log", _Log, "Which log, as e1-9f2c01ab:sc."),
            Param("from", _Index, "First index.", default=0),
            Param("count", _Page, "At most.", default=ENTRIES_PAGE),
        ),
        refusals=("hub.unknown_log", "hub.beyond", "hub.pruned"),
        roles=may("auditor"),
    ),
    Route(
        "GET", "/sites/{site}/proofs/{ref}", "showProof",
        "A proof that an entry is in its log, checkable without this hub.", show_proof,
        t.ProofShown, params=(SITE, REF), refusals=("hub.unknown_log", "hub.unknown_entry"),
        roles=may("auditor"),
    ),
    Route(
        "GET", "/sites/{site}/audit", "listAudit", "Who asked for what, and what came of it.",
        list_audit, t.AuditPage, params=(SITE, *AUDIT_PAGE), roles=may("auditor", "operator"),
    ),
    Route(
        "GET", "/news", "listNews", "Relayed deposits that no log has confirmed yet.", list_news,
        t.NewsPage, params=(Param("site", _Site | None, "Only of this site.", default=None),),
        roles=may("support", "dispatch"),
    ),
    Route("GET", "/health", "showHealth", "What the hub says of itself.", health, t.Health,
          roles=ANY),
)  # fmt: skip
