"""Certificates: a private root, an issuing authority under it, and what both issue. Pure.

Now, serial numbers and keys come from outside. All keys are ECDSA P-256: browsers and TPMs do not
do Ed25519 certificates. Who somebody is stands in a URI:

| URI                                            | who                                      |
| ---------------------------------------------- | ---------------------------------------- |
| `locker://lockers.example/site/0042`           | the gateway of a site                    |
| `locker://lockers.example/hub`                 | the hub                                  |
| `locker://lockers.example/backend/NAME`        | a backend that pulls                     |
| `locker://lockers.example/site/0042/lan`       | the gateway towards its own LAN          |
| `locker://lockers.example/site/0042/NAME`      | an installer who was paired with it      |

What a certificate says of *now* is never the whole answer: the registry authorises at each
connection. No certificate outlives its issuer.
"""

import datetime as dt
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from certs.errors import CertificateInvalid

DAY_S = 86_400
ROOT_DAYS = 20 * 365
ISSUING_DAYS = 4 * 365
DEVICE_DAYS = 365
INSTALLER_DAYS = 30
BACKDATE_S = 300
"""A certificate begins five minutes ago: clocks differ a little."""
CSR_BYTES_MAX = 2_048
PEM_BYTES_MAX = 32 * 1024
CHAIN_MAX = 16
SCHEME = "locker://"
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH

_uri = re.compile(r"locker://[!-~]{1,200}").fullmatch
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)

PrivateKey = ec.EllipticCurvePrivateKey
PublicKey = ec.EllipticCurvePublicKey


@dataclass(frozen=True, slots=True)
class Authority:
    """Who issues: a certificate, its key, and what stands between it and its root."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)
    above: tuple[x509.Certificate, ...] = ()

    @property
    def chain(self) -> tuple[x509.Certificate, ...]:
        """What a peer that knows only the root must be shown after the leaf."""
        return (self.certificate, *self.above)


# --- making ---------------------------------------------------------------------------------------


def make_root(key: PrivateKey, operator: str, *, now_s: int, serial: int) -> x509.Certificate:
    """Return a root: signs issuing authorities, for twenty years."""
    name = _name(operator, "root")
    builder = _begun(name, name, key.public_key(), now_s, now_s + ROOT_DAYS * DAY_S, serial)
    return _signed(_authority(builder, key.public_key(), 1), key, key.public_key())


def make_issuing(
    root: Authority, key: PublicKey, operator: str, *, now_s: int, serial: int
) -> x509.Certificate:
    """Return an issuing authority under a root: signs leaves, for four years."""
    end_s = _end(now_s, now_s + ISSUING_DAYS * DAY_S, root.certificate)
    name, above = _name(operator, f"issuing {serial % 10_000:04d}"), root.certificate.subject
    builder = _begun(name, above, key, now_s, end_s, serial)
    return _signed(_authority(builder, key, 0), root.key, root.key.public_key())


def cross_sign(
    old: Authority, new_root: x509.Certificate, *, now_s: int, serial: int
) -> x509.Certificate:
    """Return the new root as the old one vouches for it: who missed the rotation still chains."""
    key = public_key(new_root)
    end_s = _end(now_s, ends_s(new_root), old.certificate)
    above = old.certificate.subject
    builder = _begun(new_root.subject, above, key, now_s, end_s, serial)
    return _signed(_authority(builder, key, 1), old.key, old.key.public_key())


def issue(
    authority: Authority,
    key: PublicKey,
    uri: str,
    *,
    now_s: int,
    days: int,
    serial: int,
    usages: Sequence[ObjectIdentifier] = (CLIENT,),
    hosts: Iterable[str] = (),
) -> x509.Certificate:
    """Return a leaf for `uri` and `hosts` (names or addresses); it never outlives its issuer.

    Raises CertificateInvalid `authority.expired`, `certificate.name` (a URI or host that no
    certificate may carry).
    """
    if not _uri(uri):
        raise CertificateInvalid("certificate.name", "Use a name of this operator", uri=uri[:64])
    issuer = authority.certificate
    end_s = _end(now_s, now_s + days * DAY_S, issuer)
    common = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, uri.removeprefix(SCHEME)[-64:])])
    names = [x509.UniformResourceIdentifier(uri), *(_host(one) for one in hosts)]
    builder = (
        _begun(common, issuer.subject, key, now_s, end_s, serial)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage(list(usages)), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
    )
    return _signed(builder, authority.key, public_key(issuer))


def make_csr(key: PrivateKey) -> bytes:
    """Return a request (PKCS #10, DER) that proves possession of `key`; it names nobody."""
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return request.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def read_csr(data: bytes) -> PublicKey:
    """Return the key that a request asks a certificate for.

    Names in it are ignored: who it is for is decided by whoever issues. Raises CertificateInvalid
    `csr.malformed`, `csr.key` (not P-256), `csr.signature`.
    """
    if len(data) > CSR_BYTES_MAX:
        raise CertificateInvalid("csr.malformed", "Send a PKCS #10 request", length=len(data))
    try:
        request = x509.load_der_x509_csr(data)
        key = request.public_key()
    except Exception as error:  # noqa: BLE001  # whatever the parser makes of foreign bytes
        raise CertificateInvalid(
            "csr.malformed", "Send a PKCS #10 request", cause=type(error).__name__
        ) from None
    # The curve first: the signature of a foreign kind of key may take long to check.
    _check_curve(key, "csr.key")
    assert isinstance(key, ec.EllipticCurvePublicKey)
    sound = False
    with suppress(Exception):  # of another kind than its key, or of none that is known
        sound = request.is_signature_valid
    if not sound:
        raise CertificateInvalid("csr.signature", "Sign the request with its own key")
    return key


# --- reading --------------------------------------------------------------------------------------


def site_uri(operator: str, site_id: str) -> str:
    """Return the URI of a site's gateway."""
    return f"{SCHEME}{operator}/site/{site_id}"


def hub_uri(operator: str) -> str:
    """Return the URI of an operator's hub."""
    return f"{SCHEME}{operator}/hub"


def backend_uri(operator: str, name: str) -> str:
    """Return the URI of a backend that pulls."""
    return f"{SCHEME}{operator}/backend/{name}"


def uri_of(certificate: x509.Certificate) -> str:
    """Return who a certificate is for; CertificateInvalid `certificate.name` unless one URI is."""
    names = _extension(certificate, x509.SubjectAlternativeName)
    uris = names.get_values_for_type(x509.UniformResourceIdentifier) if names is not None else []
    if len(uris) != 1 or not _uri(uris[0]):
        raise CertificateInvalid("certificate.name", "Use a certificate of this operator")
    return uris[0]


def is_authority(certificate: x509.Certificate) -> bool:
    """Say whether a certificate may sign others."""
    limits = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    return bool(limits is not None and limits.ca and usage is not None and usage.key_cert_sign)


def allows(certificate: x509.Certificate, usage: ObjectIdentifier) -> bool:
    """Say whether a leaf names a usage (CLIENT, SERVER)."""
    usages = _extension(certificate, x509.ExtendedKeyUsage)
    return usages is not None and usage in usages


def spki_of(key: PublicKey) -> bytes:
    """Return the SubjectPublicKeyInfo (DER): what a pin is made of."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def pin_of(key: PublicKey) -> str:
    """Return the pin of a key: SHA-256 of its SPKI as 64 hex digits."""
    return hashlib.sha256(spki_of(key)).hexdigest()


def fingerprint_of(certificate: x509.Certificate) -> str:
    """Return the fingerprint that people compare: SHA-256 of the DER as 64 hex digits."""
    return certificate.fingerprint(hashes.SHA256()).hex()


def public_key(certificate: x509.Certificate) -> PublicKey:
    """Return a certificate's P-256 key; CertificateInvalid `certificate.key`."""
    try:
        key = certificate.public_key()
    except Exception:  # noqa: BLE001  # whatever the parser makes of foreign bytes
        raise CertificateInvalid("certificate.key", "Use a P-256 key") from None
    _check_curve(key, "certificate.key")
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def ends_s(certificate: x509.Certificate) -> int:
    """Return the POSIX second at which a certificate ends."""
    return int(certificate.not_valid_after_utc.timestamp())


def begins_s(certificate: x509.Certificate) -> int:
    """Return the POSIX second at which a certificate begins."""
    return int(certificate.not_valid_before_utc.timestamp())


def renews_s(certificate: x509.Certificate, jitter: float = 0.0) -> int:
    """Return when to renew: after a third of its life, and up to a tenth more (`jitter` 0 to 1)."""
    life = ends_s(certificate) - begins_s(certificate)
    return begins_s(certificate) + life // 3 + int(life * jitter / 10)


def pem(*certificates: x509.Certificate) -> str:
    """Return certificates as PEM, in this order."""
    encoded = (one.public_bytes(serialization.Encoding.PEM) for one in certificates)
    return b"".join(encoded).decode()


def from_pem(text: str) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM text, 1 to 16, all of P-256 keys.

    Raises CertificateInvalid `certificate.malformed`, `certificate.key`.
    """
    if len(text) > PEM_BYTES_MAX:
        raise CertificateInvalid("certificate.malformed", "Send fewer", length=len(text))
    try:
        found = tuple(x509.load_pem_x509_certificates(text.encode()))
    except Exception as error:  # noqa: BLE001  # whatever the parser makes of foreign bytes
        raise CertificateInvalid(
            "certificate.malformed", "Send PEM certificates", cause=type(error).__name__
        ) from None
    if len(found) > CHAIN_MAX:
        raise CertificateInvalid("certificate.malformed", "Send fewer", count=len(found))
    for one in found:
        public_key(one)
    return found


def from_der(data: bytes) -> x509.Certificate:
    """Return the certificate of DER; CertificateInvalid `certificate.malformed`, `.key`."""
    try:
        found = x509.load_der_x509_certificate(data)
    except Exception as error:  # noqa: BLE001  # whatever the parser makes of foreign bytes
        raise CertificateInvalid(
            "certificate.malformed", "Send a certificate", cause=type(error).__name__
        ) from None
    public_key(found)
    return found


def key_bytes(key: PrivateKey) -> bytes:
    """Return a private key for the key store: PKCS #8, DER."""
    return key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def key_from(data: bytes) -> PrivateKey:
    """Return the private key that `key_bytes` wrote; CertificateInvalid `certificate.key`."""
    try:
        key = serialization.load_der_private_key(data, None)
    except Exception:  # noqa: BLE001  # its text may say something of the bytes
        raise CertificateInvalid("certificate.key", "Restore the key, or make a new one") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateInvalid("certificate.key", "Use a P-256 key")
    return key


def issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Say whether `issuer` signed `certificate`, in name and deed."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, UnsupportedAlgorithm, ValueError, TypeError):
        return False
    return True


# --- parts ----------------------------------------------------------------------------------------


def _name(operator: str, what: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, operator),
            x509.NameAttribute(NameOID.COMMON_NAME, f"{operator} {what}"[:64]),
        ]
    )


def _end(now_s: int, wanted_s: int, issuer: x509.Certificate) -> int:
    """Return when something ends that may not outlive its issuer."""
    end_s = min(wanted_s, ends_s(issuer))
    if end_s <= now_s:
        raise CertificateInvalid("authority.expired", "Rotate the authority that signs it first")
    return end_s


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except Exception:  # noqa: BLE001  # doubled, unreadable or of unknown names: as if there were none
        return None


def _begun(  # noqa: PLR0917  # the fields of a certificate, in their order
    subject: x509.Name, issuer: x509.Name, key: PublicKey, now_s: int, end_s: int, serial: int
) -> x509.CertificateBuilder:
    utc = dt.UTC
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(dt.datetime.fromtimestamp(max(0, now_s - BACKDATE_S), utc))
        .not_valid_after(dt.datetime.fromtimestamp(end_s, utc))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority(
    builder: x509.CertificateBuilder, _key: PublicKey, depth: int
) -> x509.CertificateBuilder:
    return builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=depth), critical=True
    ).add_extension(_usage(signs=False), critical=True)


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=not signs,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def _signed(
    builder: x509.CertificateBuilder, key: PrivateKey, public: PublicKey
) -> x509.Certificate:
    known = x509.AuthorityKeyIdentifier.from_issuer_public_key(public)
    return builder.add_extension(known, critical=False).sign(key, hashes.SHA256())


def _host(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name.strip("[]")))
    except ValueError:
        pass
    try:
        return x509.DNSName(name)
    except ValueError:
        raise CertificateInvalid(
            "certificate.name", "Name a host in ASCII, or an address", host=name[:64]
        ) from None


def _check_curve(key: object, code: str) -> None:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise CertificateInvalid(code, "Use an ECDSA key on P-256")
