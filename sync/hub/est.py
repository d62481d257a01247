"""Enrolment and renewal over HTTP, in the shape of EST (RFC 7030), and whom a gateway may trust.

Shapes and paths are those of `certs.enrol`. On the API's listener, for anybody: `cacerts`, `trust`,
`time`, `simpleenroll`. Behind a client certificate: `simplereenroll`, and a site's `trust`.

Enrolment in this order, so that lost power never burns a claim without a way on: everything that
can be refused is looked at, the claim is burnt for these two keys, then site, code key and device
are taken in; each of these steps may be done again, and the same request does so for an hour.
"""

import asyncio
import base64
from typing import Final

import msgspec
from aiohttp import hdrs, web

from certs import authority, enrol
from certs.authority import PublicKey
from certs.enrol import CACERTS, ENROL, RENEW, TIME, TRUST, EnrolAnswer
from certs.errors import CertsError
from certs.keys import Verifier
from certs.trust import NONCE_BYTES
from sync.errors import SyncError, TheirsInvalid
from sync.hub import claims, denials, logs
from sync.hub.accounts import Budget
from sync.hub.authority import HubAuthority
from sync.hub.devices import Device
from sync.hub.peers import Pace
from sync.hub.registry import KEYS_MAX
from sync.hub.rooms import Hub
from sync.hub.storage import Site

DEVICE: Final = web.RequestKey("device", Device)
"""Who asks, once the gate let them in."""
SITE_TRUST: Final = "/sites/{site}/trust"
BODY_S: Final = 10.0
AT_ONCE_MAX: Final = 16
"""Enrolments at once, and renewals."""
TRIED_EACH: Final = 10
TRIED_ALL: Final = 1_200
"""Enrolments in a minute that burn no claim: from one address, and in all."""
RENEWED_EACH: Final = 24
RENEWED_ALL: Final = 100_000
"""Renewals in an hour: of one device, and in all. Each is a line of the audit."""
HOUR_MS: Final = 3_600_000
ASKED_EACH: Final = 120
ASKED_ALL: Final = 12_000
"""Times and lists that are told in a minute."""
VERSION_MAX: Final = 65_535
VERSIONS_MAX: Final = 64
_NONCE_HEX: Final = 2 * NONCE_BYTES

_log = logs.get("est")


class Est:
    """The handlers over one hub that has an authority."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._enrolling = asyncio.Semaphore(AT_ONCE_MAX)
        self._renewing = asyncio.Semaphore(AT_ONCE_MAX)
        self._tried = Pace(TRIED_EACH, TRIED_ALL)
        self._renewed = Budget(RENEWED_EACH, RENEWED_ALL, HOUR_MS)
        self._asked = Pace(ASKED_EACH, ASKED_ALL)

    def public(self) -> list[web.RouteDef]:
        """Return what anybody may ask: no client certificate, no token."""
        return [
            web.get(CACERTS, self._cacerts, allow_head=False),
            web.get(TRUST, self._trust, allow_head=False),
            web.get(TIME, self._time, allow_head=False),
            web.post(ENROL, self._enrol),
        ]

    def renewal(self) -> list[web.RouteDef]:
        """Return what a device renews by."""
        return [web.post(RENEW, self._renew)]

    def inside(self) -> list[web.RouteDef]:
        """Return what a device asks of its own site, beside the logs."""
        return [web.get(SITE_TRUST, self._told, allow_head=False)]

    # --- asked by anybody -----------------------------------------------------------------------

    async def _cacerts(self, request: web.Request) -> web.Response:
        self._pace(request)
        # SPEC: RFC 7030 4.1.3: certs-only PKCS #7, in base64.
        body = base64.encodebytes(_authority(self._hub).cacerts())
        return web.Response(
            body=body,
            headers={
                hdrs.CONTENT_TYPE: "application/pkcs7-mime; smime-type=certs-only",
                hdrs.CONTENT_TRANSFER_ENCODING: "base64",
                hdrs.CACHE_CONTROL: "no-store",
            },
        )

    async def _trust(self, request: web.Request) -> web.Response:
        self._pace(request)
        return await self._told(request)

    async def _told(self, _request: web.Request) -> web.Response:
        # By devices not paced: a thousand of them may stand behind one address.
        known = _authority(self._hub)
        return _answered(known.trust_answer(await denials.note(self._hub)))

    async def _time(self, request: web.Request) -> web.Response:
        self._pace(request)
        told = request.query.getall("nonce", [])
        try:
            nonce = bytes.fromhex(told[0]) if len(told) == 1 else b""
        except ValueError:
            nonce = b""
        if len(nonce) != NONCE_BYTES or len(told[0]) != _NONCE_HEX:
            raise TheirsInvalid("request.query", "Send nonce: 32 hex digits.", name="nonce")
        text = _authority(self._hub).sign_time(nonce, self._hub.clock.utc_ms())
        return web.Response(text=text, headers={hdrs.CACHE_CONTROL: "no-store"})

    # --- enrolment ------------------------------------------------------------------------------

    async def _enrol(self, request: web.Request) -> web.Response:
        address = request.remote or ""
        if not self._tried.may(address):
            raise _often()
        # Counted before its body comes: who sends slowly has no more tries at once than in a row.
        self._tried.count(address)
        body = await _body(request)
        if self._enrolling.locked():
            raise TheirsInvalid("request.busy", "Ask again in a moment.", limit=AT_ONCE_MAX)
        async with self._enrolling:
            try:
                answer, again = await enrolled(self._hub, body)
            except (SyncError, CertsError) as error:
                await refused(self._hub, "enrol", error, address=address)
                if error.code == "claim.refused":  # which of the reasons it is, is told to nobody
                    raise TheirsInvalid(error.code, error.remedy) from None
                raise
        if not again:
            self._tried.forgive(address)
        return _answered(answer)

    async def _renew(self, request: web.Request) -> web.Response:
        device = request.get(DEVICE)
        if device is None:
            raise TheirsInvalid("device.unknown", "Renew with a gateway's certificate.")
        body = await _body(request)
        if self._renewing.locked():
            raise TheirsInvalid("request.busy", "Ask again in a moment.", limit=AT_ONCE_MAX)
        async with self._renewing:
            try:
                name = f"{device.site_id} {device.device_id}"
                if not self._renewed.take(name, self._hub.clock.utc_ms()):
                    raise _often(device.site_id)
                return _answered(await renewed(self._hub, device, body))
            except (SyncError, CertsError) as error:
                await refused(self._hub, "renew", error, site_id=device.site_id)
                raise

    def _pace(self, request: web.Request) -> None:
        address = request.remote or ""
        if not self._asked.may(address):
            raise _often()
        self._asked.count(address)


async def enrolled(hub: Hub, body: bytes) -> tuple[EnrolAnswer, bool]:
    """Burn the claim that a request proves, and take its gateway in; say whether that was before.

    Raises TrustInvalid `enrol.request`, CertificateInvalid, `TheirsInvalid` `claim.refused`,
    `claim.other_site`, `claim.site_ended`, `site.keys`.
    """
    request, csr, proof, log_key = enrol.read_request(body)
    key = authority.read_csr(csr)
    pin = authority.pin_of(key)
    claim = await hub.claims.check(request.claim_id, csr, log_key, proof, pin)
    site_id = hub.claims.site_of(claim)
    name = hub.keys.site_name(site_id)
    if request.site not in {"", name}:
        raise TheirsInvalid(
            "claim.other_site",
            "Make a claim for this very site.",
            site=site_id,
            asked=request.site[:80],
        )
    _check_versions(request.key_versions)
    vkey = Verifier(name, log_key).vkey
    known = await hub.storage.site(site_id)
    if known is not None and vkey not in known.vkeys and len(known.vkeys) >= KEYS_MAX:
        raise TheirsInvalid("site.keys", "Ask why this site was replaced so often.", site=site_id)
    claims.check_ended(known, revives=hub.claims.revives(claim))
    burnt = await hub.claims.burn(claim, pin, log_key)
    site = await _taken_in(hub, site_id, vkey)
    if not site.enabled:
        site = await hub.registry.revive(site_id)
        told = {"claim": burnt.id, "by": burnt.by}
        await hub.storage.audit(site_id, "site.revived", told)
        _log.warning("site.revived", site=site_id)
    site = await hub.registry.use_key_version(site_id, _version(site, request.key_versions))
    now_ms = hub.clock.utc_ms()
    chain = _authority(hub).issue_device(key, site_id, now_ms // 1_000)
    device = Device(
        site_id=site_id, device_id=pin[:16], pin=pin, enabled=True, vkey=vkey,
        issued_ms=now_ms, ends_s=_ends_s(chain),
    )  # fmt: skip
    replaced = await hub.devices.enrol(device, again=burnt.again)
    enrolled_as = {"pin": pin[:16], "claim": burnt.id, "by": burnt.by, "again": burnt.again}
    await hub.storage.audit(site_id, "device.enrolled", enrolled_as)
    for one in replaced:
        await hub.storage.audit(site_id, "device.replaced", {"pin": one.pin[:16], "by": pin[:16]})
    await hub.cut()
    _log.warning("device.enrolled", site=site_id, pin=pin[:16], replaced=len(replaced))
    return _answer(hub, site, chain), burnt.again


async def renewed(hub: Hub, device: Device, body: bytes) -> EnrolAnswer:
    """Give a device that may connect a certificate for another key.

    Raises TrustInvalid `enrol.request`, CertificateInvalid, `TheirsInvalid` `device.key_known`.
    """
    _request, csr = enrol.read_renewal(body)
    key: PublicKey = authority.read_csr(csr)
    site = await hub.registry.get(device.site_id)
    chain = _authority(hub).issue_device(key, site.site_id, hub.clock.utc_ms() // 1_000)
    pin = authority.pin_of(key)
    await hub.devices.renew(device, pin, _ends_s(chain))
    told = {"pin": pin[:16], "with": device.pin[:16], "device": device.device_id}
    await hub.storage.audit(site.site_id, "device.renewed", told)
    return _answer(hub, site, chain)


async def refused(
    hub: Hub, what: str, error: SyncError | CertsError, *, site_id: str = "", address: str = ""
) -> None:
    """Write a refusal down, as often as it may be said; never what was sent."""
    site_id = site_id or str(error.evidence.get("site", ""))
    # What anybody on the network can bring about has a budget of its own: it hides nothing else.
    budget = site_id or f"/{what} {error.code}"
    if not hub.links.may_say(budget, hub.clock.utc_ms()):
        return
    seen = {name: str(value)[:80] for name, value in error.evidence.items() if name != "site"}
    told = {"what": what} | seen | ({"address": address} if address else {})
    _log.warning("access.refused", what=what, code=error.code, site=site_id)
    await hub.storage.audit(site_id, error.code, told)


# --- parts ----------------------------------------------------------------------------------------


async def _taken_in(hub: Hub, site_id: str, vkey: str) -> Site:
    known = await hub.storage.site(site_id)
    if known is None:
        try:
            return await hub.add_site(site_id, vkey)
        except SyncError as error:
            if error.code != "hub.site_exists":
                raise
            known = await hub.registry.get(site_id)
    return known if vkey in known.vkeys else await hub.rekey(site_id, vkey)


def _check_versions(versions: tuple[int, ...]) -> None:
    if len(versions) > VERSIONS_MAX or any(not 1 <= one < VERSION_MAX for one in versions):
        raise TheirsInvalid("enrol.request", "Send the versions of the code key.")


def _version(site: Site, in_use: tuple[int, ...]) -> int:
    """Return the version of K_site to hand out.

    Above all that are in use there: whether those came from this hub, nobody can tell.
    """
    return max([site.key_version, *(one + 1 for one in in_use)])


def _answer(hub: Hub, site: Site, chain: str) -> EnrolAnswer:
    code_key = hub.keys.code_key(site.site_id, site.key_version)
    return EnrolAnswer(
        operator=hub.keys.operator,
        site=hub.keys.site_name(site.site_id),
        certificate=chain,
        link_url=hub.url("link"),
        renew_url=hub.url("renew"),
        writer=hub.keys.writer(site.site_id).vkey,
        cosigner=hub.keys.cosigner(site.site_id).vkey,
        key_version=site.key_version,
        code_key=base64.b64encode(code_key.key).decode(),
    )


def _authority(hub: Hub) -> HubAuthority:
    assert hub.authority is not None, "these routes are served with an authority alone"
    return hub.authority


def _ends_s(chain: str) -> int:
    return authority.ends_s(authority.from_pem(chain)[0])


async def _body(request: web.Request) -> bytes:
    """Return the whole body: bounded, and in time."""
    told = bytearray()
    try:
        async with asyncio.timeout(BODY_S):
            async for part in request.content.iter_any():
                told += part
                if len(told) > enrol.BODY_BYTES_MAX:
                    raise TheirsInvalid("request.too_large", "Send the request alone.")
    except TimeoutError:
        raise TheirsInvalid("request.slow", "Send the whole request at once.") from None
    except web.RequestPayloadError:
        raise TheirsInvalid("request.body", "Send the JSON object of this path.") from None
    return bytes(told)


def _answered(answer: msgspec.Struct) -> web.Response:
    return web.Response(
        body=msgspec.json.encode(answer),
        content_type="application/json",
        headers={hdrs.CACHE_CONTROL: "no-store", "X-Content-Type-Options": "nosniff"},
    )


def _often(site_id: str = "") -> TheirsInvalid:
    return TheirsInvalid("request.often", "Ask again in a minute.", site=site_id)
