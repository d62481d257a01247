"""This site's end of mutual TLS: what it shows, whom it believes, by its own clock.

One `Wire` for a process. Its contexts live as long as it does: a renewed certificate is put into
them, and links that are open stay (SECURITY.md 2). A peer's dates are judged at each handshake by
the clock room's time; with a clock that nobody vouches for only what is surely over is refused.
Where a handshake fails for dates alone, or nobody vouches for the clock, the hub's signed time is
asked for over one connection that leaves dates out and still leads to the pinned root.
"""

import asyncio
import secrets
import ssl
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiohttp
import msgspec
from cryptography import x509

from certs import authority, enrol, tls
from certs import trust as documents
from certs.authority import PrivateKey
from certs.errors import CertificateInvalid, CertsError
from gateway import logs, trust
from gateway.clock import Clock
from gateway.core.inputs import Trust
from gateway.errors import GatewayError
from gateway.trust import HubTrust

REQUEST_S: Final = 30.0
CONNECT_S: Final = 10.0
SIGNED_ERROR_MS: Final = 1_000
"""How far off the hub's own clock may be, beside the time that its answer took."""
LATE: Final = "link.certificate"
WORDS: Final = {
    LATE: "our certificate is missing, expired or revoked, says the hub: enrol again, with a new"
    " claim, if it does not renew",
    "link.dates": "the hub's certificate is not valid now by this clock: check both clocks",
    "link.untrusted": "who answers there is not this operator's hub: check the address",
    "link.unreachable": "nobody answers there: check the network",
    "link.unenrolled": "no certificate here fits a key: enrol again, with a new claim",
}
"""What a person is told of a link that does not come up."""
_HOSTNAME: Final = 62  # SPEC: X509_V_ERR_HOSTNAME_MISMATCH of OpenSSL's x509_vfy.h
_OK: Final = 200
_log = logs.get("wire")


class Refusal(GatewayError):  # noqa: N818  # the name says what is wrong
    """The other end said no, or could not be talked to: a stable code, and words for a person."""


class Wire:
    """What this process shows and believes. `trust` is None where the site is not enrolled."""

    def __init__(self, data: Path, clock: Clock) -> None:
        self.data, self.clock = data, clock
        self.trust: HubTrust | None = trust.load(data)
        self.shown: tls.Credentials | None = None
        self.client: ssl.SSLContext | None = None
        self.server: ssl.SSLContext | None = None
        known = trust.pairs(data) if self.trust is not None else []
        if known:
            self.show(known[0])

    @property
    def leaf(self) -> x509.Certificate | None:
        """The certificate that is shown."""
        return None if self.shown is None else self.shown.leaf

    def show(self, own: tls.Credentials) -> None:
        """Show this certificate from now on, in links and to those who come."""
        roots = self.known().certificates()
        if self.client is None or self.server is None:
            self.client = tls.client(roots, own, judge=self.judge_hub)
            self.server = tls.server(own, roots, clients="required", judge=self.judge_dates)
        else:
            tls.use(self.client, own)
            tls.use(self.server, own)
        self.shown = own

    def known(self) -> HubTrust:
        """Return what this site trusts; GatewayError `trust.not_enrolled`."""
        if self.trust is None:
            raise GatewayError("trust.not_enrolled", "Enrol this site first")
        return self.trust

    def take(self, known: HubTrust) -> None:
        """Trust this from now on; it is durable already.

        A new root is believed at once; one that is gone is dropped by the listener at a restart.
        """
        changed = self.trust is None or self.trust.roots != known.roots
        self.trust = known
        if changed and self.shown is not None:
            roots = known.certificates()
            self.client = tls.client(roots, self.shown, judge=self.judge_hub)
            if self.server is not None:
                self.server.load_verify_locations(cadata=known.roots)

    async def read_again(self) -> HubTrust:
        """Return what is durable now: others of this process write there too."""
        known = await asyncio.to_thread(trust.load, self.data)
        if known is None:
            raise GatewayError("trust.not_enrolled", "Enrol this site first")
        self.trust = known
        return known

    # --- judging --------------------------------------------------------------------------------

    def judge_dates(self, leaf: x509.Certificate) -> None:
        """Refuse what is surely over or has surely not begun, by this clock and its floor."""
        now = self.clock.now()
        earliest = max(now.wall_ms - now.error_ms, now.floor_ms)
        latest = max(now.wall_ms + now.error_ms, earliest)
        tls.dated((earliest + latest) // 2, (latest - earliest) // 2)(leaf)

    def judge_hub(self, leaf: x509.Certificate) -> None:
        """Refuse whoever is not this operator's hub, too: sites have certificates of servers."""
        try:
            said = authority.uri_of(leaf)
        except CertificateInvalid:
            said = ""
        if said != authority.hub_uri(self.known().operator):
            refusal = ssl.SSLCertVerificationError("certificate.name")
            refusal.verify_code = _HOSTNAME
            refusal.verify_message = "certificate.name"
            raise refusal
        self.judge_dates(leaf)

    def is_welcome(self, peer: x509.Certificate | None, backends: Collection[str] = ()) -> bool:
        """Say whether somebody who came is this operator's hub, or one of these backends of it."""
        operator = self.known().operator
        try:
            said = "" if peer is None else authority.uri_of(peer)
        except CertificateInvalid:
            return False
        named = (authority.backend_uri(operator, name) for name in backends)
        return said in {authority.hub_uri(operator), *named}

    # --- asking ---------------------------------------------------------------------------------

    async def ask(
        self, method: str, url: str, body: bytes = b"", *, own: tls.Credentials | None = None
    ) -> bytes:
        """Return an answer of the hub, asked with the certificate shown (or `own`).

        Raises Refusal: the hub's own code, or one of `WORDS`.
        """
        if own is None:
            context = self.client
        else:
            context = tls.client(self.known().certificates(), own, judge=self.judge_hub)
        if context is None:
            raise refused("link.unenrolled", url)
        return await ask(method, url, context, body)

    async def learn_time(self) -> bool:
        """Ask for the signed time, and believe it; say whether the clock knows better now.

        Raises Refusal, CertsError.
        """
        known, nonce = self.known(), secrets.token_bytes(documents.NONCE_BYTES)
        began_ms = self.clock.now().mono_ms
        url = f"{known.api_url}{enrol.TIME}?nonce={nonce.hex()}"
        context = tls.client(known.certificates(), dates=False)
        said = (await ask("GET", url, context)).decode("utf-8", "replace")
        took_ms = self.clock.now().mono_ms - began_ms
        utc_ms = documents.open_time(said, known.trusted().keys.time, known.operator, nonce)
        learned = self.clock.learn(utc_ms + took_ms // 2, took_ms // 2 + SIGNED_ERROR_MS)
        _log.info("clock.learned", taken=learned, disputed=self.clock.disputed or None)
        return learned

    @property
    def needs_time(self) -> bool:
        """Whether nobody vouches for the clock."""
        return self.clock.now().trust is Trust.FLOOR

    async def refresh(self) -> bool:
        """Ask whom to trust, and take what is newer; say whether anything changed.

        Raises Refusal, CertsError: then what was trusted before still is.
        """
        answer = await self.ask("GET", f"{site_url(self.known())}/trust")
        # A visitor may have carried a newer list in meanwhile.
        known = await self.read_again()
        offered = enrol.open_trust(answer, known=known.certificates())
        taken = known.took(offered)
        if taken is known:
            return False
        await asyncio.to_thread(trust.save, self.data, taken)
        self.take(taken)
        return True

    def read_answer(self, answer: bytes, key: PrivateKey) -> enrol.Enrolled:
        """Return what a renewal brings, checked. Raises CertsError."""
        known = self.known()
        now_s = self.clock.now().wall_ms // 1000
        return enrol.open_answer(answer, known.trusted(), key, known.site, now_s=now_s)


def site_url(known: HubTrust) -> str:
    """Return where the hub serves this site."""
    return f"{known.link_url.rstrip('/')}/sites/{known.site.rpartition('/')[2]}"


# --- one request ----------------------------------------------------------------------------------


async def ask(method: str, url: str, context: ssl.SSLContext, body: bytes = b"") -> bytes:
    """Return the body of a good answer. Raises Refusal: the other end's own code, or `WORDS`."""
    headers = {"Content-Type": "application/json"} if body else {}
    try:
        async with (
            _session() as session,
            session.request(
                method, url, ssl=context, data=body or None, headers=headers, allow_redirects=False
            ) as response,
        ):
            said = await _read(response)
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        raise refused(reason_of(error), url, cause=type(error).__name__) from error
    if len(said) > enrol.BODY_BYTES_MAX:
        raise Refusal("link.answer", "Ask the hub's operator: its answer is too long", hub=url)
    if response.status != _OK:
        raise _told_no(response.status, said)
    return said


@asynccontextmanager
async def _session() -> AsyncIterator[aiohttp.ClientSession]:
    # A connection of its own: who is believed is decided anew in each handshake. It is kept until
    # the session ends, because only that waits until a connection has said goodbye.
    limits = aiohttp.ClientTimeout(total=REQUEST_S, sock_connect=CONNECT_S)
    async with aiohttp.ClientSession(timeout=limits) as session:
        yield session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Return the body, or one byte more of it than we take."""
    said = bytearray()
    while len(said) <= enrol.BODY_BYTES_MAX and (chunk := await response.content.readany()):
        said += chunk
    return bytes(said)


def reason_of(error: BaseException) -> str:
    """Return why a connection failed, as one of `WORDS`.

    In TLS 1.3 a client is told only after its own handshake that its certificate was refused: it
    sees an alert, or a server that hangs up at once.
    """
    if tls.by_dates(error):
        return "link.dates"
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError | ssl.CertificateError):
            return "link.untrusted"
        if isinstance(cause, ssl.SSLError):
            return LATE if "ALERT" in str(getattr(cause, "reason", "")) else "link.untrusted"
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, aiohttp.ClientConnectorError | TimeoutError):
        return "link.unreachable"
    gone = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError, ConnectionError)
    return LATE if isinstance(error, gone) else "link.unreachable"


def refused(code: str, url: str, **evidence: Any) -> Refusal:
    """Return a refusal in words."""
    return Refusal(code, WORDS[code], hub=url.partition("?")[0], **evidence)


class _No(msgspec.Struct):
    """A refusal as the hub writes it."""

    code: str
    remedy: str = ""


def _told_no(status: int, said: bytes) -> Refusal:
    try:
        no = msgspec.json.decode(said, type=_No)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        no = _No("link.answer", "Ask the hub's operator: it answers something else")
    code = "".join(
        mark for mark in no.code[:64] if mark.isascii() and (mark.isalnum() or mark in "._")
    )
    remedy = "".join(mark if mark.isprintable() else " " for mark in no.remedy[:200])
    return Refusal(code or "link.answer", remedy, status=status)


def explain(error: GatewayError | CertsError) -> str:
    """Return what a person reads of a link that does not come up."""
    return WORDS.get(error.code, error.remedy)
