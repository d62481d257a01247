"""SSL contexts: TLS 1.3 only, this operator's roots only, keys that never lie in a PEM file.

Whose dates count: the hub's contexts leave them to OpenSSL and the machine's clock. A gateway's
clock may be wrong for years, and must not lock it out: its contexts leave dates out (`judge`) and
have the peer's leaf looked at after the handshake, by the clock room's own time, before a byte is
sent. Everything else OpenSSL checks as ever: chain, usage, name, possession.
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typing_extensions import override

from certs import authority
from certs.authority import PrivateKey
from certs.errors import CertificateInvalid

NO_CHECK_TIME: Final = 0x200000
"""SPEC: X509_V_FLAG_NO_CHECK_TIME of OpenSSL's x509_vfy.h; Python has no name for it."""
_NOT_YET_VALID: Final = 9
_EXPIRED: Final = 10
_UNSPECIFIED: Final = 1
_BY_DATES: Final = {"certificate.expired": _EXPIRED, "certificate.not_yet": _NOT_YET_VALID}
_CAUSES_MAX: Final = 16

Judge = Callable[[x509.Certificate], None]
"""Raises CertificateInvalid when a peer's leaf must not be believed now."""
Clients = Literal["none", "optional", "required"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A certificate with its key. `chain`, PEM: the leaf, then what stands under the root."""

    chain: str
    key: PrivateKey = field(repr=False)

    @property
    def leaf(self) -> x509.Certificate:
        """Return the leaf."""
        return authority.from_pem(self.chain)[0]


def new_key() -> PrivateKey:
    """Return a new P-256 key."""
    return ec.generate_private_key(ec.SECP256R1())


def new_serial() -> int:
    """Return a serial number: 127 random bits, never 0 (RFC 5280 4.1.2.2)."""
    return int.from_bytes(os.urandom(16), "big") >> 1 | 1


def server(
    own: Credentials,
    roots: Iterable[x509.Certificate] = (),
    *,
    clients: Clients = "none",
    dates: bool = True,
    judge: Judge | None = None,
) -> ssl.SSLContext:
    """Return a server's context. `clients`: whether a client shows a certificate of `roots`.

    `dates` False leaves expiry to the registry (the renewal listener); `judge` leaves it to that.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = {
        "none": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED,
    }[clients]  # fmt: skip
    # A session taken up again would be one whose certificate nobody looked at.
    context.num_tickets = 0
    _prepare(context, roots, dates=dates, judge=judge)
    use(context, own)
    return context


def client(
    roots: Iterable[x509.Certificate],
    own: Credentials | None = None,
    *,
    dates: bool = True,
    judge: Judge | None = None,
) -> ssl.SSLContext:
    """Return a client's context: the server must chain to `roots` and be called what we dialled."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _prepare(context, roots, dates=dates, judge=judge)
    if own is not None:
        use(context, own)
    return context


def unchecked_client() -> ssl.SSLContext:
    """Return a context that believes anybody: for the one answer that proves itself."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def use(context: ssl.SSLContext, own: Credentials) -> None:
    """Show this certificate from now on; connections that are open stay.

    Raises CertificateInvalid `certificate.key` (of another key), `certificate.malformed`; then the
    context shows what it showed before.
    """
    # OpenSSL takes a certificate first and drops the old key when it finds that they do not fit:
    # so here they are compared, and tried on a context that nobody uses.
    if authority.public_key(own.leaf) != own.key.public_key():
        raise CertificateInvalid("certificate.key", "Renew it: the certificate is not of this key")
    key = own.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    # Python reads keys from files only; these never reach a disk.
    chain = authority.pem(*authority.from_pem(own.chain)).encode()
    with _in_memory(chain) as chain_path, _in_memory(key) as key_path:
        try:
            for one in (ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), context):
                one.load_cert_chain(chain_path, key_path)
        except ssl.SSLError as error:
            raise CertificateInvalid("certificate.malformed", "Renew it") from error


def peer_of(ssl_object: Any) -> x509.Certificate | None:
    """Return the leaf that the peer showed and proved, or None.

    Raises CertificateInvalid where nobody checked the peer and it showed something odd.
    """
    der = ssl_object.getpeercert(binary_form=True) if ssl_object is not None else None
    return authority.from_der(der) if der else None


def cut(transport: asyncio.BaseTransport | None) -> None:
    """End a connection at once, whatever it is doing; one that has ended already is left alone."""
    if isinstance(transport, asyncio.WriteTransport):
        # Before Python 3.11.3 a TLS transport that was closed twice has lost what it would ask.
        with suppress(AttributeError):
            transport.abort()


def by_dates(error: BaseException) -> bool:
    """Say whether a handshake failed for the dates of a certificate alone."""
    for _ in range(_CAUSES_MAX):
        code = getattr(error, "verify_code", None)  # aiohttp's own error of this type has none
        if isinstance(error, ssl.SSLCertVerificationError) and code is not None:
            return code in {_NOT_YET_VALID, _EXPIRED}
        cause = error.__cause__ or error.__context__
        if cause is None:
            return False
        error = cause
    return False


def dated(now_ms: int, error_ms: int) -> Judge:
    """Return a judge that goes by one moment: refuses what is surely over, or has surely not begun.

    Raises CertificateInvalid `certificate.expired`, `certificate.not_yet`.
    """

    def judge(leaf: x509.Certificate) -> None:
        if now_ms - error_ms >= authority.ends_s(leaf) * 1000:
            raise CertificateInvalid("certificate.expired", "Renew it at the other end")
        if now_ms + error_ms < authority.begins_s(leaf) * 1000:
            raise CertificateInvalid("certificate.not_yet", "Correct the clock of either end")

    return judge


def _prepare(
    context: ssl.SSLContext,
    roots: Iterable[x509.Certificate],
    *,
    dates: bool,
    judge: Judge | None,
) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_ecdh_curve("prime256v1")
    context.options |= ssl.OP_NO_TICKET
    context.hostname_checks_common_name = False  # names are alternative names, never a CN
    known = "".join(authority.pem(one) for one in roots)
    if known:
        context.load_verify_locations(cadata=known)
    if not dates or judge is not None:
        context.verify_flags = ssl.VerifyFlags(int(context.verify_flags) | NO_CHECK_TIME)
    if judge is not None:
        context.sslobject_class, context.sslsocket_class = _judged_by(judge)


def _judged_by(judge: Judge) -> tuple[type[ssl.SSLObject], type[ssl.SSLSocket]]:
    """Return the types of connections whose handshake ends with a look at the peer's leaf.

    Two, because asyncio makes objects and everything else makes sockets.
    """

    def look(ssl_object: Any) -> None:
        try:
            leaf = peer_of(ssl_object)
            if leaf is not None:
                judge(leaf)
        except CertificateInvalid as error:
            refusal = ssl.SSLCertVerificationError(str(error))
            refusal.verify_code = _BY_DATES.get(error.code, _UNSPECIFIED)
            refusal.verify_message = error.code
            raise refusal from error

    class JudgedObject(ssl.SSLObject):
        @override
        def do_handshake(self) -> None:
            super().do_handshake()
            look(self)

    class JudgedSocket(ssl.SSLSocket):
        @override
        def do_handshake(self, block: bool = False) -> None:
            super().do_handshake(block)
            look(self)

    return JudgedObject, JudgedSocket


@contextmanager
def _in_memory(data: bytes) -> Iterator[str]:
    """Lend a path to a file that is only memory."""
    file = os.memfd_create("key", os.MFD_CLOEXEC)
    try:
        os.write(file, data)
        yield f"/proc/self/fd/{file}"
    finally:
        os.close(file)
