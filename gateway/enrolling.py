"""Enrolment: what carries `certs.enrol.Enrolling` over TLS, and makes a site of what it brings.

    log key and TLS key, durable -> trust, time, claim -> the site -> its code key -> certificate
        -> hub.json -> the TLS key takes its name

`trust/hub.json` makes the site enrolled. What lost power is repeated with the same claim: the keys
that the hub was shown are kept, and it answers the same gateway again for an hour. A site that
stands alone keeps its log, its log key and the codes that are out. An empty folder for a site that
the hub knows is a new gateway in the place of a lost one (`replacing`).
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certs import authority, enrol, tls
from certs import trust as documents
from certs.claim import Invitation, claim_id
from certs.errors import CertsError, TrustInvalid
from certs.keys import SigningKey
from gateway import identity, replacing, site, trust, wire
from gateway.clock import Clock
from gateway.errors import GatewayError
from gateway.trust import HubTrust
from sync.errors import SyncError

Say = Callable[[str], None]
_PINNED: Final = "Compare address and fingerprint with the hub's console: another hub answers there"
_REMEDIES: Final = {
    "trust.pin": "Compare the fingerprint with the hub's console: who answers has another root",
    "trust.endorsement": _PINNED,
    "trust.nonce": "Try again: the time was another's",
    "claim.refused": "Ask for another claim (locker-hub claim create): this one is used, over, or"
    " for another site",
    "enrol.answer": "Ask the hub's operator: its answer does not fit this site",
    "link.dates": "Correct the hub's clock: its own certificate is not valid at its own time",
    "link.untrusted": _PINNED,
    "link.certificate": "Try again: the hub hung up",
    "link.unreachable": "Check the address, the network, and that the hub runs; the claim is good"
    " for an hour after it was used here",
}
_SAYS: Final = {
    enrol.Step.TRUST: "asking whom to trust",
    enrol.Step.TIME: "the root is the one that was pinned; asking for the time",
    enrol.Step.ENROL: "showing the claim",
}


class EnrolFailed(GatewayError):  # noqa: N818  # the name says what is wrong
    """Enrolment ended without a site: the code, and what to do."""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What came of it. `made`: the site is new here; `fetched`: entries of a lost gateway."""

    known: HubTrust
    made: bool
    key_version: int
    ends_s: int
    fetched: int = 0


async def enrol_site(data: Path, invitation: Invitation, clock: Clock, say: Say) -> Enrolment:
    """Enrol the site in `data`, or make it. The caller holds its lock.

    Raises EnrolFailed, GatewayError (`trust.*`, `key.version_taken`), KeyStoreBroken.
    """
    exists = (data / site.IDENTITY).exists()
    name = site.load(data).name if exists else ""
    versions = tuple(version for version, _ in site.code_keys(data)) if exists else ()
    log_key = _log_key(data)
    key = trust.next_key(data)
    nonce = secrets.token_bytes(documents.NONCE_BYTES)
    machine = enrol.Enrolling(invitation, key, log_key, nonce, site=name, key_versions=versions)
    try:
        await _carry(machine, invitation.url.rstrip("/"), clock, say, name)
    except (GatewayError, CertsError) as error:
        if error.code == "claim.refused" and (before := _before(data, invitation, versions)):
            return before
        raise _failed(error) from error
    trusted, got = machine.trusted, machine.enrolled
    assert trusted is not None
    assert got is not None
    known = HubTrust.of(trusted, got, invitation.url.rstrip("/"), claim_id(invitation.claim))
    new = tls.Credentials(got.certificate, key)
    fetched = 0
    if not exists:
        say(f"making {got.site}")
        try:
            fetched = await asyncio.to_thread(_make, data, trusted, got, new, machine.utc_ms)
        except (SyncError, CertsError) as error:
            raise EnrolFailed(error.code, error.remedy, **error.evidence) from error
    site.import_code_key(data, got.key_version, got.code_key)
    trust.keep_next(data, got.certificate)
    trust.save(data, known)
    trust.promote(data, new)
    return Enrolment(known, not exists, got.key_version, authority.ends_s(new.leaf), fetched)


def _before(data: Path, invitation: Invitation, versions: tuple[int, ...]) -> Enrolment | None:
    """Return what this claim brought already: power was lost after its last step, before a word."""
    known = trust.load(data)
    if known is None or known.claim != claim_id(invitation.claim):
        return None
    trust.drop_next(data)
    own = trust.pairs(data)
    return Enrolment(known, False, max(versions), authority.ends_s(own[0].leaf)) if own else None


def _make(
    data: Path, trusted: enrol.Trusted, got: enrol.Enrolled, own: tls.Credentials, utc_ms: int
) -> int:
    """Make a site: a new one, or in the place of one that is lost; return what came of its log."""
    context = tls.client(trusted.roots, own, judge=tls.dated(utc_ms, 0))
    name = got.site.removeprefix(f"{got.operator}/site/")
    if not replacing.held(got.link_url, got.site, context):
        site.make(data, operator=got.operator, site=name, told=True)
        return 0
    return replacing.replace(
        data, got.operator, name, got.link_url, got.writer, got.cosigner, got.key_version,
        got.code_key, context,
    ).entries  # fmt: skip


async def _carry(machine: enrol.Enrolling, url: str, clock: Clock, say: Say, name: str) -> None:
    """Carry every question and answer; who is asked is checked as soon as anything is known."""
    while (asked := machine.ask()) is not None:
        step, trusted = machine.step, machine.trusted
        say(_SAYS[step])
        if trusted is None:
            context = tls.unchecked_client()
        elif step is enrol.Step.TIME:
            _same_operator(trusted.operator, name)
            context = tls.client(trusted.roots, dates=False)
        else:
            context = tls.client(trusted.roots, judge=tls.dated(machine.utc_ms, 0))
        began_ms = clock.now().mono_ms
        machine.hear(await wire.ask(asked.method, url + asked.path, context, asked.body))
        if step is enrol.Step.TIME:
            took_ms = clock.now().mono_ms - began_ms
            clock.learn(machine.utc_ms + took_ms // 2, took_ms // 2 + wire.SIGNED_ERROR_MS)


def _same_operator(operator: str, name: str) -> None:
    """Refuse another operator's hub before it is shown the claim."""
    if name and not name.startswith(f"{operator}/site/"):
        raise TrustInvalid(
            "enrol.operator", "Enrol this site at its own operator's hub", got=operator, site=name
        )


def _log_key(data: Path) -> bytes:
    """Return the public log key (32 bytes); a new one is durable before anybody is shown it."""
    keys = identity.keys_of(data)
    if not (data / "keys").exists() or identity.LOG_KEY not in keys.names():
        keys.create(identity.LOG_KEY, secrets.token_bytes(32))
    seed = keys.read(identity.LOG_KEY)
    return SigningKey.from_seed("lockers.example", seed).verifier.public


def _failed(error: GatewayError | CertsError) -> EnrolFailed:
    remedy = _REMEDIES.get(error.code, error.remedy)
    return EnrolFailed(error.code, remedy, **error.evidence)
