"""Who may connect to this hub, over the API: claims, devices, backends. An operator's.

A claim is in one answer and nowhere else. What is switched off here is cut off now.
"""

import base64
import binascii
from typing import Annotated, Final

from msgspec import Meta

from certs import authority, claim
from certs.errors import CertificateInvalid
from sync.hub import ca, claims, devices
from sync.hub.api_asked import Body
from sync.hub.api_read import SITE
from sync.hub.api_routes import Call, Param, Route, may
from sync.hub.api_types import Answer
from sync.hub.authority import HubAuthority
from sync.hub.rooms import Hub

SiteId = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")]
Pin = Annotated[str, Meta(pattern=r"^[0-9a-f]{8,64}$")]


class InvitationAsked(Body, frozen=True, kw_only=True):
    """For which site a gateway may enrol: known, new, or (`again`) one that has ended."""

    by: str = ""
    site: SiteId
    hours: Annotated[int, Meta(ge=1, le=claims.HOURS_MAX)] = claims.HOURS_MAX
    again: bool = False


class InvitationMade(Answer, frozen=True, kw_only=True):
    """A claim, told this once: `letters` to type, `text` for a QR code."""

    id: str
    site: str
    ends_ms: int
    letters: str
    text: str
    root: str
    url: str


class InvitationShown(Answer, frozen=True, kw_only=True):
    """A claim without what makes it one."""

    id: str
    site: str
    state: str
    made_ms: int
    ends_ms: int
    by: str
    used_ms: int


class InvitationsShown(Answer, frozen=True, kw_only=True):
    """The claims of the last day."""

    invitations: list[InvitationShown]


class DeviceShown(Answer, frozen=True, kw_only=True):
    """A gateway's key: its pin, until when its certificate is, when it was heard last."""

    device: str
    pin: str
    enabled: bool
    retired: bool
    connected: bool
    vkey: str
    issued_ms: int
    ends_ms: int
    last_seen_ms: int | None
    why: str


class DevicesShown(Answer, frozen=True, kw_only=True):
    """The devices of a site."""

    site: str
    devices: list[DeviceShown]


class RevokeAsked(Body, frozen=True, kw_only=True):
    """Which device: the first digits of a pin, or none of them for all of the site."""

    by: str = ""
    pin: Pin | None = None


class EnableAsked(Body, frozen=True, kw_only=True):
    """Which device: the first digits of its pin."""

    by: str = ""
    pin: Pin


class BackendAsked(Body, frozen=True, kw_only=True):
    """A backend that pulls. `csr` is base64 of its request (PKCS #10, DER)."""

    by: str = ""
    name: SiteId
    csr: Annotated[str, Meta(max_length=4_096)]
    sites: Annotated[list[SiteId], Meta(min_length=1, max_length=1_000)]


class BackendMade(Answer, frozen=True, kw_only=True):
    """Its certificate with what is between it and the root, and the root: PEM."""

    name: str
    pin: str
    certificate: str
    roots: str
    url: str


class BackendShown(Answer, frozen=True, kw_only=True):
    """A backend's key."""

    name: str
    pin: str
    sites: list[str]
    issued_ms: int
    ends_ms: int
    last_seen_ms: int | None


class BackendsShown(Answer, frozen=True, kw_only=True):
    """All backends."""

    backends: list[BackendShown]


class EndAsked(Body, frozen=True, kw_only=True):
    """Who ends it."""

    by: str = ""


# --- claims ---------------------------------------------------------------------------------------


async def invite(
    hub: Hub, site_id: str, hours: int, by: str, *, again: bool = False
) -> InvitationMade:
    """Make a claim, and tell it this once."""
    known = _with_authority(hub)
    made = await hub.claims.create(site_id, hours=hours, by=by, revives=again)
    url = hub.url("api")
    told = claim.Invitation(made.claim, known.fingerprint, url)
    told_of = {"claim": made.id, "site": site_id, "by": by} | ({"again": True} if again else {})
    await hub.storage.audit("", "claim.made", told_of)
    return InvitationMade(
        id=made.id, site=site_id, ends_ms=made.ends_ms, letters=claim.write(made.claim),
        text=told.text(), root=known.fingerprint, url=url,
    )  # fmt: skip


async def invitations(hub: Hub) -> InvitationsShown:
    """Return the claims of the last day."""
    return InvitationsShown(invitations=[_invitation(one) for one in await hub.claims.shown()])


async def uninvite(hub: Hub, name: str, by: str) -> InvitationShown:
    """End a claim."""
    ended = _invitation(await hub.claims.end(name))
    await hub.storage.audit("", "claim.ended", {"claim": name, "site": ended.site, "by": by})
    return ended


# --- devices --------------------------------------------------------------------------------------


async def of_site(hub: Hub, site_id: str) -> DevicesShown:
    """Return the devices of a site."""
    await hub.registry.get(site_id)
    return _devices(hub, site_id, await hub.devices.of(site_id))


async def revoke(hub: Hub, site_id: str, pin: str, by: str) -> DevicesShown:
    """Switch off a device, or all of a site; what it has open ends now."""
    await hub.registry.get(site_id)
    await hub.revoke(site_id, pin, by)
    return await of_site(hub, site_id)


async def enable(hub: Hub, site_id: str, pin: str, by: str) -> DevicesShown:
    """Let a device in again."""
    await hub.registry.get(site_id)
    for one in await hub.devices.enable(site_id, pin):
        await hub.storage.audit(site_id, "device.enabled", {"pin": one.pin[:16], "by": by})
    return await of_site(hub, site_id)


# --- backends -------------------------------------------------------------------------------------


async def add_backend(
    hub: Hub, name: str, csr: bytes, sites: tuple[str, ...], by: str
) -> BackendMade:
    """Issue a backend's certificate and register its key for these sites, reading only."""
    known = _with_authority(hub)
    for site_id in sites:
        await hub.registry.get(site_id)
    key = authority.read_csr(csr)
    now_ms = hub.clock.utc_ms()
    chain = known.issue_backend(key, name, now_ms // 1_000)
    ends_s = authority.ends_s(authority.from_pem(chain)[0])
    pin = authority.pin_of(key)
    made = devices.Backend(
        name=name, pin=pin, sites=tuple(sorted(set(sites))), issued_ms=now_ms, ends_s=ends_s
    )
    await hub.devices.add_backend(made)
    told = {"name": name, "pin": pin[:16], "sites": ",".join(made.sites)[:200], "by": by}
    await hub.storage.audit("", "backend.added", told)
    return BackendMade(
        name=name, pin=pin, certificate=chain, roots=known.state.roots, url=hub.url("link")
    )


async def backends(hub: Hub) -> BackendsShown:
    """Return all backends."""
    return BackendsShown(
        backends=[
            BackendShown(
                name=one.name, pin=one.pin, sites=list(one.sites), issued_ms=one.issued_ms,
                ends_ms=one.ends_s * 1_000, last_seen_ms=one.last_seen_ms or None,
            )
            for one in await hub.devices.backends()
        ]
    )  # fmt: skip


async def end_backend(hub: Hub, name: str, by: str) -> BackendsShown:
    """Forget a backend; what it has open ends now."""
    await hub.devices.end_backend(name)
    await hub.storage.audit("", "backend.ended", {"name": name, "by": by})
    await hub.cut()
    return await backends(hub)


# --- parts ----------------------------------------------------------------------------------------


def _with_authority(hub: Hub) -> HubAuthority:
    if hub.authority is None:
        raise ca.no_authority(hub.data)
    return hub.authority


def _invitation(one: claims.Shown) -> InvitationShown:
    return InvitationShown(
        id=one.id, site=one.site, state=one.state, made_ms=one.made_ms, ends_ms=one.ends_ms,
        by=one.by, used_ms=one.used_ms,
    )  # fmt: skip


def _devices(hub: Hub, site_id: str, found: tuple[devices.Device, ...]) -> DevicesShown:
    connected = {pin for pin, site in hub.peers.open() if site == site_id}
    return DevicesShown(
        site=site_id,
        devices=[
            DeviceShown(
                device=one.device_id, pin=one.pin, enabled=one.enabled, retired=one.retired > 0,
                connected=one.pin in connected, vkey=one.vkey, issued_ms=one.issued_ms,
                ends_ms=one.ends_s * 1_000, last_seen_ms=one.last_seen_ms or None, why=one.why,
            )
            for one in found
        ],
    )  # fmt: skip


def _csr(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise CertificateInvalid("csr.malformed", "Send base64 of a PKCS #10 request") from None


async def _invite(call: Call) -> InvitationMade:
    call.caller.need_site(call.body.site)
    asked: InvitationAsked = call.body
    return await invite(call.hub, asked.site, asked.hours, call.by, again=asked.again)


async def _invitations(call: Call) -> InvitationsShown:
    call.caller.need_all_sites()
    return await invitations(call.hub)


async def _uninvite(call: Call) -> InvitationShown:
    call.caller.need_all_sites()
    return await uninvite(call.hub, call.path["id"], call.by)


async def _of_site(call: Call) -> DevicesShown:
    return await of_site(call.hub, call.site.site_id)


async def _revoke(call: Call) -> DevicesShown:
    return await revoke(call.hub, call.site.site_id, call.body.pin or "", call.by)


async def _enable(call: Call) -> DevicesShown:
    return await enable(call.hub, call.site.site_id, call.body.pin, call.by)


async def _add_backend(call: Call) -> BackendMade:
    body: BackendAsked = call.body
    call.caller.need_all_sites()
    return await add_backend(call.hub, body.name, _csr(body.csr), tuple(body.sites), call.by)


async def _backends(call: Call) -> BackendsShown:
    call.caller.need_all_sites()
    return await backends(call.hub)


async def _end_backend(call: Call) -> BackendsShown:
    call.caller.need_all_sites()
    return await end_backend(call.hub, call.path["name"], call.by)


_ID: Final = Param("id", Annotated[str, Meta(pattern=r"^[0-9a-f]{16}$")], "Which claim.", "path")
_NAME: Final = Param("name", SiteId, "Which backend.", "path")
_OPERATOR: Final = may("operator")

ROUTES: Final = (
    Route(
        "POST", "/invitations", "inviteGateway",
        "Make a one-time claim by which a gateway enrols as one site. It is told once.",
        _invite, InvitationMade, InvitationAsked, roles=_OPERATOR,
        refusals=("hub.no_authority", "claim.many", "claim.site_ended"),
    ),
    Route(
        "GET", "/invitations", "listInvitations", "The claims of the last day, without the claims.",
        _invitations, InvitationsShown, roles=_OPERATOR,
    ),
    Route(
        "POST", "/invitations/{id}/end", "endInvitation", "End a claim: nobody enrols by it.",
        _uninvite, InvitationShown, EndAsked, (_ID,), roles=_OPERATOR,
        refusals=("claim.unknown",),
    ),
    Route(
        "GET", "/sites/{site}/devices", "listDevices", "Which keys speak for a site.",
        _of_site, DevicesShown, params=(SITE,), roles=may("operator", "support"),
    ),
    Route(
        "POST", "/sites/{site}/devices/revoke", "revokeDevice",
        "Switch a gateway off: its link ends now, and the next is refused.",
        _revoke, DevicesShown, RevokeAsked, (SITE,), roles=_OPERATOR,
        refusals=("device.unknown",),
    ),
    Route(
        "POST", "/sites/{site}/devices/enable", "enableDevice", "Let a gateway in again.",
        _enable, DevicesShown, EnableAsked, (SITE,), roles=_OPERATOR,
        refusals=("device.unknown",),
    ),
    Route(
        "GET", "/backends", "listBackends", "Which backends pull, and what.",
        _backends, BackendsShown, roles=_OPERATOR,
    ),
    Route(
        "POST", "/backends", "addBackend",
        "Issue a certificate by which a backend pulls these sites, reading only.",
        _add_backend, BackendMade, BackendAsked, roles=_OPERATOR,
        refusals=("hub.no_authority", "csr.malformed", "csr.key", "csr.signature"),
    ),
    Route(
        "POST", "/backends/{name}/end", "endBackend", "Forget a backend: it is cut off now.",
        _end_backend, BackendsShown, EndAsked, (_NAME,), roles=_OPERATOR,
        refusals=("backend.unknown",),
    ),
)  # fmt: skip
