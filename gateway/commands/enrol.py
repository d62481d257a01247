"""`locker-gateway enrol`: let a hub govern this site, by a claim that the hub's console made."""

import asyncio
import re
import sys
from datetime import UTC, datetime
from pathlib import Path

import click

from certs import claim as claims
from certs.claim import Invitation
from certs.errors import CertsError
from gateway import continuity, enrolling, local, site
from gateway.commands import _shared as shared
from gateway.core.inputs import AccessTold
from gateway.enrolling import EnrolFailed, Enrolment
from gateway.errors import GatewayError

DATA = "/var/lib/locker-gateway"
_hex = re.compile(r"[0-9a-f]{64}").fullmatch
_url = re.compile(r"https://[A-Za-z0-9.\[\]:-]{1,255}/?").fullmatch


@click.command()
@click.argument("claim")
@click.option("--hub", "url", default="", metavar="URL", help="As https://hub.example:8700.")
@click.option(
    "--root", default="", metavar="FINGERPRINT", help="SHA-256 of the hub's root, 64 hex digits."
)
@click.option(
    "--data",
    "data",
    default=DATA,
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="The site's data folder; an empty one becomes a site.",
)
@shared.as_json
def command(claim: str, url: str, root: str, data: Path, *, as_json: bool) -> None:
    """Let a hub govern this site, by a claim that it made.

    CLAIM is what locker-hub claim create printed: its 26 letters, or the whole text of the QR code,
    which needs no --hub and no --root; - reads it from standard input, where nobody sees it in a
    list of processes. In an empty folder the site is made. What failed or lost power can be given
    again with the same claim.
    """
    local.quiet()
    invitation = read_invitation(_given(claim), url, root)
    done = _enrol(data, invitation)
    ends = datetime.fromtimestamp(done.ends_s, UTC).date().isoformat()
    told = {
        "site": done.known.site, "made": done.made, "hub": done.known.link_url,
        "key_version": done.key_version, "ends_s": done.ends_s, "fetched": done.fetched,
    }  # fmt: skip
    text = (
        f"{done.known.site} is enrolled: links to {done.known.link_url}, certificate until {ends}\n"
        "start the gateway, or start it again"
    )
    if done.fetched:
        came = f"{done.fetched} entries of the lost gateway came; this one begins behind a fence"
        text = f"{came}\n{text}"
    shared.tell(told, text, as_json=as_json)


def read_invitation(claim: str, url: str, root: str) -> Invitation:
    """Return who invites whom. Raises GatewayError `claim.malformed`, `enrol.hub`, `enrol.root`."""
    try:
        read = claims.read(claim)
    except CertsError as error:
        raise GatewayError(error.code, error.remedy) from None
    fingerprint = re.sub(r"[\s:]", "", root).lower()
    if fingerprint and not _hex(fingerprint):
        raise GatewayError("enrol.root", "Give all 64 hex digits of the root's fingerprint")
    if url and not _url(url):
        raise GatewayError("enrol.hub", "Give the hub's address, as https://hub.example:8700")
    found = Invitation(read.claim, fingerprint or read.root, url.rstrip("/") or read.url)
    if not found.url:
        raise GatewayError("enrol.hub", "Give --hub URL, or the whole text of the QR code")
    if not found.root:
        raise GatewayError("enrol.root", "Give --root FINGERPRINT, or the whole text of the QR")
    return found


def _given(claim: str) -> str:
    if claim != "-":
        return claim
    return sys.stdin.read(claims.TEXT_MAX + 1)


def _enrol(data: Path, invitation: Invitation) -> Enrolment:
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    existed = (data / site.IDENTITY).exists()
    try:
        with site.locked(data):
            clock = site.start_clock(data)
            done = asyncio.run(enrolling.enrol_site(data, invitation, clock, _say))
    except EnrolFailed as error:
        if existed:
            _judged(data, error.code)
        raise
    if not continuity.broken(data):  # a replaced one writes only in the epoch that it begins
        _judged(data, "")
    return done


def _judged(data: Path, why: str) -> None:
    """Put the attempt on record, in the site's own log."""
    by = local.whoami()
    asyncio.run(local.noted(data, AccessTold(now=local.nobody(), what="enrol", by=by, why=why)))


def _say(text: str) -> None:
    click.echo(text, err=True)
