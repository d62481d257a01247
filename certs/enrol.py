"""Enrolment and renewal as a machine: what to ask next, what an answer proves. Pure.

    machine = Enrolling(...)
    while (ask := machine.ask()) is not None:
        machine.hear(await carry(ask))
    machine.enrolled

A carrier sends each `Ask` over TLS 1.3. The first one is asked of a server that nobody has checked
yet: its answer is believed because the pinned root's fingerprint fits and the root endorses the
rest. Everything after that goes to a server that chains to this root, without regard to dates until
the signed time is known (SECURITY.md 2). Shapes are JSON, paths those of EST (RFC 7030).
"""

import base64
import itertools
import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal, TypeVar, assert_never

import msgspec
from cryptography import x509
from cryptography.x509.oid import ObjectIdentifier
from typing_extensions import override

from certs import authority, claim, trust
from certs.authority import PrivateKey
from certs.errors import CertsError, KeyInvalid, TrustInvalid
from certs.keys import KIND_COSIGNATURE, KIND_NOTE, Verifier, decode_base64

EST: Final = "/.well-known/est"
CACERTS: Final = f"{EST}/cacerts"
TRUST: Final = f"{EST}/trust"
TIME: Final = f"{EST}/time"
ENROL: Final = f"{EST}/simpleenroll"
RENEW: Final = f"{EST}/simplereenroll"
BODY_BYTES_MAX: Final = 64 * 1024
KEY_VERSION_MAX: Final = 0xFFFF  # FORMATS.md 6: a uint16
KEY_VERSIONS_MAX: Final = 64
_claim_id = re.compile(r"[0-9a-f]{16}").fullmatch
_site = re.compile(r"[a-z0-9.-]{1,64}/site/[a-z0-9-]{1,32}").fullmatch


class TrustAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """`GET /trust`: whom this operator's sites trust. `roots` is PEM, the rest signed notes."""

    operator: str
    roots: str
    trust_vkey: str
    time_vkey: str
    endorsement: str
    anchors: str
    denials: str


class EnrolRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /simpleenroll`. All but `claim_id` base64; `log_key` is the log's raw public key.

    `site` is the full name of a site that exists already and wants to be governed, else empty;
    `key_versions` the versions of its code key that are in use there.
    """

    claim_id: str
    csr: str
    proof: str
    log_key: str
    site: str = ""
    key_versions: tuple[int, ...] = ()

    @override
    def __repr__(self) -> str:
        """Show neither request nor proof."""
        return f"EnrolRequest(claim_id={self.claim_id[:16]!r}, site={self.site[:98]!r})"


class RenewRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`POST /simplereenroll`, over TLS with the certificate that is to be renewed."""

    csr: str
    key_versions: tuple[int, ...] = ()


class EnrolAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What both are answered. `certificate` is PEM: the leaf and what is between it and the root.

    `code_key` is base64 of K_site under `key_version`; it is never in a log or an error.
    """

    operator: str
    site: str
    certificate: str
    link_url: str
    renew_url: str
    writer: str
    cosigner: str
    key_version: int
    code_key: str

    @override
    def __repr__(self) -> str:
        """Show no key."""
        return f"EnrolAnswer(site={self.site!r}, key_version={self.key_version})"


@dataclass(frozen=True, slots=True)
class Trusted:
    """What a `TrustAnswer` proves: roots, keys, and both documents, as values and as notes."""

    operator: str
    roots: tuple[x509.Certificate, ...]
    keys: trust.Keys
    endorsement: trust.Endorsement
    anchors: str
    denials: str


@dataclass(frozen=True, slots=True)
class Enrolled:
    """What enrolment brought: who this site is, its certificate, and the hub's keys."""

    operator: str
    site: str
    certificate: str
    link_url: str
    renew_url: str
    writer: str
    cosigner: str
    key_version: int
    code_key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Ask:
    """One request: `pinned` says whether the server must chain to the roots known by now."""

    method: Literal["GET", "POST"]
    path: str
    body: bytes = field(default=b"", repr=False)
    pinned: bool = True


class Step(StrEnum):
    """Where an enrolment stands."""

    TRUST = "trust"
    TIME = "time"
    ENROL = "enrol"
    DONE = "done"


class Enrolling:
    """One enrolment of one gateway. `key` is its new TLS key, `nonce` 16 random bytes.

    `hear` raises TrustInvalid, NoteInvalid, CertificateInvalid: then nothing has been believed.
    """

    def __init__(
        self,
        invitation: claim.Invitation,
        key: PrivateKey,
        log_key: bytes,
        nonce: bytes,
        *,
        site: str = "",
        key_versions: tuple[int, ...] = (),
    ) -> None:
        self.step = Step.TRUST
        self.trusted: Trusted | None = None
        self.utc_ms = 0
        self.enrolled: Enrolled | None = None
        self._invitation, self._key, self._log_key = invitation, key, log_key
        self._nonce, self._site, self._versions = nonce, site, key_versions
        self._body = b""

    def ask(self) -> Ask | None:
        """Return what to ask now; None when all is done."""
        match self.step:
            case Step.TRUST:
                return Ask("GET", TRUST, pinned=False)
            case Step.TIME:
                return Ask("GET", f"{TIME}?nonce={self._nonce.hex()}")
            case Step.ENROL:
                # Asked again, it is the same to the byte: a lost answer can be had once more.
                self._body = self._body or msgspec.json.encode(self._request())
                return Ask("POST", ENROL, self._body)
            case Step.DONE:
                return None
            case _:
                assert_never(self.step)

    def hear(self, answer: bytes) -> None:
        """Take the answer to the last `Ask`."""
        match self.step:
            case Step.TRUST:
                self.trusted = open_trust(answer, pinned=self._invitation.root)
                self.step = Step.TIME
            case Step.TIME:
                assert self.trusted is not None
                known = self.trusted
                text = _text(answer)
                self.utc_ms = trust.open_time(text, known.keys.time, known.operator, self._nonce)
                self.step = Step.ENROL
            case Step.ENROL:
                assert self.trusted is not None
                self.enrolled = open_answer(
                    answer, self.trusted, self._key, self._site, now_s=self.utc_ms // 1000
                )
                self.step = Step.DONE
            case Step.DONE:
                raise TrustInvalid("enrol.over", "Begin another enrolment")
            case _:
                assert_never(self.step)

    def _request(self) -> EnrolRequest:
        secret, csr = self._invitation.claim, authority.make_csr(self._key)
        return EnrolRequest(
            claim_id=claim.claim_id(secret),
            csr=_b64(csr),
            proof=_b64(claim.proof(secret, csr, self._log_key)),
            log_key=_b64(self._log_key),
            site=self._site,
            key_versions=self._versions,
        )


def open_trust(
    answer: bytes, *, pinned: str = "", known: tuple[x509.Certificate, ...] = ()
) -> Trusted:
    """Return what a `TrustAnswer` proves to somebody who knows a root's fingerprint, or roots.

    Raises TrustInvalid `trust.pin` (another root), `trust.endorsement`, `trust.malformed`,
    NoteInvalid, CertificateInvalid.
    """
    told = _decode(answer, TrustAnswer)
    offered = authority.from_pem(told.roots)
    own = {authority.fingerprint_of(one) for one in known} | ({pinned} if pinned else set())
    believed = tuple(one for one in offered if authority.fingerprint_of(one) in own)
    if not believed:
        raise TrustInvalid(
            "trust.pin",
            "Compare the root's fingerprint with the hub's console",
            seen=authority.fingerprint_of(offered[0])[:16],
        )
    endorsement = trust.Endorsement(told.trust_vkey, told.time_vkey, told.endorsement)
    keys = trust.check_endorsement(endorsement, believed, told.operator)
    anchors = trust.open_anchors(told.anchors, keys.trust, told.operator)
    trust.open_denials(told.denials, keys.trust, told.operator)
    return Trusted(
        told.operator, anchors.certificates(), keys, endorsement, told.anchors, told.denials
    )


def open_answer(
    answer: bytes, trusted: Trusted, key: PrivateKey, site: str = "", *, now_s: int
) -> Enrolled:
    """Return what an `EnrolAnswer` brings, checked: for our key and site, chained to our roots.

    Raises TrustInvalid `enrol.answer` with what is wrong, CertificateInvalid.
    """
    told = _decode(answer, EnrolAnswer)
    prefix = f"{trusted.operator}/site/"
    ours = not site or told.site == site
    if told.operator != trusted.operator or not ours or not _site(told.site):
        raise _wrong("site")
    if not told.site.startswith(prefix):
        raise _wrong("site")
    check_leaf(told.certificate, trusted.roots, key, authority.SCHEME + told.site, now_s=now_s)
    hub = f"{told.operator}/hub/{told.site.removeprefix(prefix)}"
    _check_vkey(told.writer, hub, KIND_NOTE)
    _check_vkey(told.cosigner, f"{hub}/cosigner", KIND_COSIGNATURE)
    code_key = decode_base64(told.code_key)
    if code_key is None or len(code_key) != 32 or not _versions((told.key_version,)):  # noqa: PLR2004  # K_site
        raise _wrong("code_key")
    if not claim.is_url(told.link_url) or not claim.is_url(told.renew_url):
        raise _wrong("url")
    return Enrolled(
        told.operator, told.site, told.certificate, told.link_url, told.renew_url, told.writer,
        told.cosigner, told.key_version, code_key,
    )  # fmt: skip


def check_leaf(
    pem: str,
    roots: tuple[x509.Certificate, ...],
    key: PrivateKey,
    uri: str,
    *,
    now_s: int,
    usage: ObjectIdentifier = authority.CLIENT,
) -> x509.Certificate:
    """Return the leaf of a chain that leads to one of `roots`, for this key and name, in time.

    Raises TrustInvalid `enrol.answer` with what is wrong, CertificateInvalid.
    """
    chain = authority.from_pem(pem)
    leaf = chain[0]
    if authority.pin_of(authority.public_key(leaf)) != authority.pin_of(key.public_key()):
        raise _wrong("key")
    if authority.uri_of(leaf) != uri:
        raise _wrong("name")
    if not authority.begins_s(leaf) <= now_s < authority.ends_s(leaf):
        raise _wrong("dates")
    if authority.is_authority(leaf) or not authority.allows(leaf, usage):
        raise _wrong("usage")
    for below, above in itertools.pairwise(chain):
        if not authority.is_authority(above) or not authority.issued_by(below, above):
            raise _wrong("chain")
    if not any(authority.issued_by(chain[-1], root) for root in roots):
        raise _wrong("chain")
    return leaf


def read_request(body: bytes) -> tuple[EnrolRequest, bytes, bytes, bytes]:
    """Return a request with its CSR, proof and log key as bytes; TrustInvalid `enrol.request`."""
    request = _decode(body, EnrolRequest, "enrol.request")
    parts = [decode_base64(one) for one in (request.csr, request.proof, request.log_key)]
    csr, given, log_key = parts
    if csr is None or given is None or log_key is None or len(log_key) != 32:  # noqa: PLR2004  # Ed25519
        raise TrustInvalid("enrol.request", "Send the fields as base64")
    if not _claim_id(request.claim_id) or (request.site and not _site(request.site)):
        raise TrustInvalid("enrol.request", "Send the claim's id, and a site's full name or none")
    _check_versions(request.key_versions)
    return request, csr, given, log_key


def read_renewal(body: bytes) -> tuple[RenewRequest, bytes]:
    """Return a request for renewal and its CSR; TrustInvalid `enrol.request`."""
    request = _decode(body, RenewRequest, "enrol.request")
    csr = decode_base64(request.csr)
    if csr is None:
        raise TrustInvalid("enrol.request", "Send the fields as base64")
    _check_versions(request.key_versions)
    return request, csr


def renewal(key: PrivateKey, key_versions: tuple[int, ...] = ()) -> bytes:
    """Return the body that asks to renew with a new key."""
    csr = _b64(authority.make_csr(key))
    return msgspec.json.encode(RenewRequest(csr=csr, key_versions=key_versions))


def _check_vkey(vkey: str, name: str, kind: int) -> None:
    try:
        known = Verifier.from_vkey(vkey)
    except KeyInvalid:
        raise _wrong("vkey") from None
    if (known.name, known.kind) != (name, kind):
        raise _wrong("vkey")


def _versions(versions: tuple[int, ...]) -> bool:
    sound = all(1 <= one <= KEY_VERSION_MAX for one in versions)
    return sound and len(versions) <= KEY_VERSIONS_MAX


def _check_versions(versions: tuple[int, ...]) -> None:
    if not _versions(versions):
        raise TrustInvalid("enrol.request", "Send at most 64 versions, 1 to 65,535")


_T = TypeVar("_T")


def _decode(body: bytes, kind: type[_T], code: str = "trust.malformed") -> _T:
    if len(body) > BODY_BYTES_MAX:
        raise TrustInvalid(code, "Send less", length=len(body))
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
        # The library's words would tell what was sent; a key may be in it.
        raise TrustInvalid(code, "Ask again, or ask the other end's maintainers") from None


def _text(answer: bytes) -> str:
    try:
        return answer.decode()
    except UnicodeDecodeError:
        raise TrustInvalid("trust.malformed", "Ask the hub again", what="text") from None


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _wrong(what: str) -> CertsError:
    return TrustInvalid(
        "enrol.answer", "Ask the hub's operator: its answer does not fit", what=what
    )
