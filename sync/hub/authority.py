"""The hub as an authority: what it issues, what it signs of trust, and who it is itself.

All that is public stands in one file, `DATA/ca/trust.json`: it is put in place whole, so there is
never half a rotation. `root.pem`, `issuing.pem` and `tls.pem` beside it are copies for people and
for openssl. Keys are in the key store: `root`, `issuing`, `tls` (PKCS #8), `trust`, `time`,
`grants` (Ed25519 seeds). A key that is to come waits there as `root-next`, `issuing-next` or
`tls-next`: which of the two counts is what the certificate says.

`sync.hub.ca` makes and changes all this; here it is read and used.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs7

from certs import authority, tls, trust
from certs.authority import Authority, PrivateKey, PublicKey
from certs.enrol import TrustAnswer
from certs.errors import KeyStoreBroken
from certs.keys import SigningKey
from certs.keystore import KeyStore
from certs.trust import Endorsement
from sync.errors import StoreFailed, TheirsInvalid
from sync.hub.keys import keys_of

FOLDER: Final = "ca"
FILE: Final = "trust.json"
FILE_BYTES_MAX: Final = 1 << 20
ROOT, ISSUING, TLS = "root", "issuing", "tls"
TRUST, TIME, GRANTS = "trust", "time", "grants"
NEXT: Final = "-next"


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What `trust.json` holds: nothing secret. Certificates are PEM, `anchors` is a signed note.

    `roots`: the newest last. `issuing`: the issuing authority, then the new roots as the older ones
    vouch for them. `number` is that of the anchors. `signatures`: the roots' words for the vkeys.
    """

    operator: str
    number: int
    made_s: int
    hosts: tuple[str, ...]
    roots: str
    issuing: str
    tls: str
    trust_vkey: str
    time_vkey: str
    signatures: str
    anchors: str


@dataclass(frozen=True, slots=True)
class HubAuthority:
    """A hub's authority as it stands now: a value. After a rotation it is loaded anew."""

    state: State
    roots: tuple[x509.Certificate, ...]
    """The newest last."""
    issuing: Authority = field(repr=False)
    trust: SigningKey = field(repr=False)
    time: SigningKey = field(repr=False)
    grants: SigningKey = field(repr=False)
    """Signs capabilities."""
    _tls_key: PrivateKey = field(repr=False)

    @classmethod
    def load(cls, data: Path) -> Self | None:
        """Return the authority of a data folder; None where `locker-hub ca init` never ended.

        Raises KeyStoreBroken, CertificateInvalid, `TheirsInvalid` `authority.malformed`.
        """
        state = read(data)
        if state is None:
            return None
        store = keys_of(data)
        issuing, *above = authority.from_pem(state.issuing)
        own = authority.from_pem(state.tls)[0]
        return cls(
            state=state,
            roots=authority.from_pem(state.roots),
            issuing=Authority(issuing, key_of(store, ISSUING, issuing), tuple(above)),
            trust=seed_of(store, state.operator, TRUST),
            time=seed_of(store, state.operator, TIME),
            grants=seed_of(store, state.operator, GRANTS),
            _tls_key=key_of(store, TLS, own),
        )

    @property
    def operator(self) -> str:
        """Whose sites these are."""
        return self.state.operator

    @property
    def root(self) -> x509.Certificate:
        """The newest root."""
        return self.roots[-1]

    @property
    def fingerprint(self) -> str:
        """The newest root's fingerprint, which people compare: 64 hex digits."""
        return authority.fingerprint_of(self.root)

    @property
    def host(self) -> str:
        """The first name in the hub's own certificate: what gateways dial where nothing else says.

        An IPv6 address stands in brackets.
        """
        first = self.state.hosts[0]
        return f"[{first}]" if ":" in first else first

    def credentials(self) -> tls.Credentials:
        """Return what the hub shows, as a server and as a client."""
        return tls.Credentials(self.state.tls, self._tls_key)

    def issue_device(self, key: PublicKey, site_id: str, now_s: int) -> str:
        """Return a gateway's certificate for a year, with what is between it and the root: PEM.

        It has a host's name too, SITE.OPERATOR: without one no curl believes a gateway's listener.
        """
        uri, host = authority.site_uri(self.operator, site_id), f"{site_id}.{self.operator}"
        return self._issued(key, uri, now_s, (authority.CLIENT, authority.SERVER), host)

    def issue_backend(self, key: PublicKey, name: str, now_s: int) -> str:
        """Return the certificate of a backend that pulls, as `issue_device`."""
        uri = authority.backend_uri(self.operator, name)
        return self._issued(key, uri, now_s, (authority.CLIENT,))

    def trust_answer(self, denials: str) -> TrustAnswer:
        """Return whom this operator's sites trust; `denials` is the newest list, a signed note."""
        state = self.state
        return TrustAnswer(
            operator=state.operator,
            roots=state.roots,
            trust_vkey=state.trust_vkey,
            time_vkey=state.time_vkey,
            endorsement=state.signatures,
            anchors=state.anchors,
            denials=denials,
        )

    def sign_time(self, nonce: bytes, utc_ms: int) -> str:
        """Return the hub's word on now, for a nonce of 16 bytes."""
        return trust.sign_time(self.operator, nonce, utc_ms, self.time)

    def cacerts(self) -> bytes:
        """Return roots and issuing authority as EST answers them: PKCS #7, certs-only, DER."""
        known = [*self.roots, *self.issuing.chain]
        return pkcs7.serialize_certificates(known, serialization.Encoding.DER)

    def endorsement(self) -> Endorsement:
        """Return the roots' word for the trust key and the time key."""
        state = self.state
        return Endorsement(state.trust_vkey, state.time_vkey, state.signatures)

    def _issued(
        self,
        key: PublicKey,
        uri: str,
        now_s: int,
        usages: tuple[x509.ObjectIdentifier, ...],
        *hosts: str,
    ) -> str:
        leaf = authority.issue(
            self.issuing, key, uri, now_s=now_s, days=authority.DEVICE_DAYS,
            serial=tls.new_serial(), usages=usages, hosts=hosts,
        )  # fmt: skip
        return authority.pem(leaf, *self.issuing.chain)


def read(data: Path) -> State | None:
    """Return what `trust.json` of a data folder holds; None where there is none.

    Raises `TheirsInvalid` `authority.malformed`, `StoreFailed` io.
    """
    file = data / FOLDER / FILE
    try:
        with file.open("rb") as opened:
            told = opened.read(FILE_BYTES_MAX)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreFailed(
            "io", "Check the disk and the folder's owner.", path=str(file), errno=error.errno
        ) from error
    try:
        return msgspec.json.decode(told, type=State)
    except msgspec.MsgspecError:
        raise TheirsInvalid(
            "authority.malformed", "Restore DATA/ca from a backup.", path=str(file)
        ) from None


def key_of(store: KeyStore, name: str, certificate: x509.Certificate) -> PrivateKey:
    """Return the key of a certificate: the one in use, or the one that was about to be."""
    pin = authority.pin_of(authority.public_key(certificate))
    held = frozenset(store.names())
    for one in (name, name + NEXT):
        if one in held:
            key = authority.key_from(store.read(one, size=None))
            if authority.pin_of(key.public_key()) == pin:
                return key
    raise KeyStoreBroken(
        "keystore.missing", "Restore the key that this certificate was made for.", name=name
    )


def seed_of(store: KeyStore, operator: str, name: str) -> SigningKey:
    """Return one of the Ed25519 keys, called `OPERATOR/NAME`."""
    return SigningKey.from_seed(f"{operator}/{name}", store.read(name))


def grouped(fingerprint: str) -> str:
    """Return a fingerprint as people compare it: sixteen groups of four."""
    return " ".join(fingerprint[at : at + 4] for at in range(0, len(fingerprint), 4))


def digest(state: State) -> str:
    """Return what tells one state from another: for whoever looks whether it changed."""
    return hashlib.sha256(msgspec.json.encode(state)).hexdigest()
