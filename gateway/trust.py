"""The folder of what this site trusts, and the certificate that it shows: `DATA/trust/`.

trust/hub.json         everything public that enrolment brought, and the newest signed documents
trust/device.pem       the certificate in use: the leaf, and what stands between it and the root
trust/device-next.pem  a renewed one that has not worked yet
keys/tls, keys/tls-next  their private keys, in the key store

A key and its certificate cannot be replaced in one step, so they are matched by the key's pin when
they are read: in whatever order power was cut, at least one pair fits. `hub.json` comes last when a
site enrols, and is what makes it enrolled. One process writes here; the calls block.
"""

from pathlib import Path
from typing import Final

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from certs import authority, base45, enrol, tls
from certs import trust as documents
from certs.authority import PrivateKey
from certs.errors import CertificateInvalid, CertsError, TrustInvalid
from certs.keys import Verifier
from gateway import identity
from gateway.clock import replace_durably
from gateway.errors import GatewayError

FOLDER: Final = "trust"
HUB: Final = "hub.json"
DEVICE: Final = "device.pem"
DEVICE_NEXT: Final = "device-next.pem"
KEY: Final = "tls"
KEY_NEXT: Final = "tls-next"
_BYTES_MAX: Final = 128 * 1024


class HubTrust(msgspec.Struct, frozen=True, kw_only=True):
    """`hub.json`. `site` is the full name, `roots` PEM, the documents are signed notes."""

    operator: str
    site: str
    api_url: str
    link_url: str
    renew_url: str
    writer: str
    cosigner: str
    roots: str
    trust_vkey: str
    time_vkey: str
    endorsement: str
    anchors: str
    denials: str
    claim: str = ""
    """The id (`certs.claim.claim_id`) of the claim that brought it."""

    @classmethod
    def of(
        cls, trusted: enrol.Trusted, enrolled: enrol.Enrolled, api_url: str, claim: str = ""
    ) -> "HubTrust":
        """Return what an enrolment brought."""
        return cls(
            operator=enrolled.operator,
            site=enrolled.site,
            api_url=api_url,
            link_url=enrolled.link_url,
            renew_url=enrolled.renew_url,
            writer=enrolled.writer,
            cosigner=enrolled.cosigner,
            roots=authority.pem(*trusted.roots),
            trust_vkey=trusted.endorsement.trust,
            time_vkey=trusted.endorsement.time,
            endorsement=trusted.endorsement.signature,
            anchors=trusted.anchors,
            denials=trusted.denials,
            claim=claim,
        )

    def certificates(self) -> tuple[x509.Certificate, ...]:
        """Return the roots."""
        return authority.from_pem(self.roots)

    def trusted(self) -> enrol.Trusted:
        """Return it as what a `TrustAnswer` proves; raises CertsError if the root denies it."""
        endorsement = documents.Endorsement(self.trust_vkey, self.time_vkey, self.endorsement)
        roots = self.certificates()
        keys = documents.check_endorsement(endorsement, roots, self.operator)
        return enrol.Trusted(self.operator, roots, keys, endorsement, self.anchors, self.denials)

    def denied(self) -> documents.Denials:
        """Return the newest denials: who may sign capabilities, and which are denied."""
        return documents.open_denials(
            self.denials, Verifier.from_vkey(self.trust_vkey), self.operator
        )

    @property
    def uri(self) -> str:
        """Who this site is in a certificate."""
        return authority.SCHEME + self.site

    def took(self, offered: enrol.Trusted) -> "HubTrust":
        """Return it with what is newer of `offered`, which was verified against these roots.

        Raises TrustInvalid `trust.older`, `trust.forked`, `trust.operator`.
        """
        if offered.operator != self.operator:
            raise TrustInvalid("trust.operator", "Ask this site's own hub", got=offered.operator)
        anchors = documents.newer(self.anchors, offered.anchors)
        denials = documents.newer(self.denials, offered.denials)
        given = offered.endorsement
        if not anchors and not denials and given.trust == self.trust_vkey:
            return self
        # All of one answer: what another trust key signed does not verify under this one.
        return msgspec.structs.replace(
            self,
            roots=authority.pem(*offered.roots),
            trust_vkey=given.trust,
            time_vkey=given.time,
            endorsement=given.signature,
            anchors=offered.anchors,
            denials=offered.denials,
        )


def load(data: Path) -> HubTrust | None:
    """Return what this site trusts; None where it is not enrolled.

    Raises GatewayError `trust.unreadable` where the file is not as it was written.
    """
    text = _read(data / FOLDER / HUB)
    if not text:
        return None
    try:
        found = msgspec.json.decode(text, type=HubTrust)
        found.trusted()
        found.denied()
    except (msgspec.MsgspecError, CertsError, ValueError) as error:
        raise GatewayError(
            "trust.unreadable",
            "Put back the trust folder out of a backup, or enrol again with a new claim",
            path=data / FOLDER / HUB,
            cause=type(error).__name__,
        ) from error
    return found


def save(data: Path, known: HubTrust) -> None:
    """Keep it, durably and as a whole."""
    _write(data, HUB, msgspec.json.format(msgspec.json.encode(known), indent=1) + b"\n")


def take_denials(data: Path, text: str) -> HubTrust:
    """Take in what a visitor's device carried: `PLG1D:` and Base45 of the signed denials.

    Returns what this site trusts from now on; the same one where nothing in it is newer. Raises
    TrustInvalid `trust.older`, `trust.forked`, `trust.malformed`, NoteInvalid, GatewayError
    `trust.not_enrolled`.
    """
    known = load(data)
    if known is None:
        raise GatewayError("trust.not_enrolled", "Enrol this site first")
    try:
        note = base45.decode(text.strip().removeprefix(documents.PREFIX_DENIALS)).decode()
    except (CertsError, UnicodeDecodeError):
        raise TrustInvalid("trust.malformed", "Scan it again", what="text") from None
    documents.open_denials(note, Verifier.from_vkey(known.trust_vkey), known.operator)
    if documents.newer(known.denials, note):
        known = msgspec.structs.replace(known, denials=note)
        save(data, known)
    return known


# --- keys and certificates ------------------------------------------------------------------------


def pairs(data: Path) -> list[tls.Credentials]:
    """Return the certificates that a key here fits: the one in use, then one that is to be tried.

    The first is there whenever a site is enrolled, unless its keys are of another day than its
    certificate: then it must enrol again.
    """
    keys = [key for name in (KEY, KEY_NEXT) if (key := _key(data, name)) is not None]
    known = {_pin(key): key for key in keys}
    found: list[tls.Credentials] = []
    for name in (DEVICE, DEVICE_NEXT):
        chain = _read(data / FOLDER / name).decode("ascii", "replace")
        try:
            leaf = authority.from_pem(chain)[0]
            key = known[authority.pin_of(authority.public_key(leaf))]
        except (CertsError, IndexError, KeyError):
            continue
        if all(one.chain != chain for one in found):
            found.append(tls.Credentials(chain, key))
    return found


def next_key(data: Path) -> PrivateKey:
    """Return the key to ask a certificate for: a new one, durable before it is shown to anybody.

    One that was asked for and is not in use yet is asked for again: the hub may know it by now.
    """
    keys = identity.keys_of(data)
    names = keys.names() if (data / "keys").exists() else ()
    left = _key(data, KEY_NEXT)
    used = _key(data, KEY)
    if left is not None and (used is None or _pin(left) != _pin(used)):
        return left
    key = ec.generate_private_key(ec.SECP256R1())
    (keys.replace if KEY_NEXT in names else keys.create)(KEY_NEXT, authority.key_bytes(key))
    return key


def keep_next(data: Path, chain: str) -> None:
    """Keep the certificate of the next key beside the one in use, until it has worked once."""
    _write(data, DEVICE_NEXT, chain.encode())


def drop_next(data: Path) -> None:
    """Forget a next certificate and its key: in use by now, or not to be had."""
    (data / FOLDER / DEVICE_NEXT).unlink(missing_ok=True)
    if (data / "keys").exists():
        identity.keys_of(data).remove(KEY_NEXT)


def promote(data: Path, new: tls.Credentials) -> None:
    """Use a certificate that has worked from now on; its key is durable already.

    From the first step on it fits the next key, from the second on the present one.
    """
    _write(data, DEVICE, new.chain.encode())
    keys = identity.keys_of(data)
    secret = authority.key_bytes(new.key)
    (keys.replace if KEY in keys.names() else keys.create)(KEY, secret)
    drop_next(data)


def share_left(leaf: x509.Certificate, now_s: int) -> int:
    """Return how much of a certificate's life is left, in percent."""
    begins_s, ends_s = authority.begins_s(leaf), authority.ends_s(leaf)
    return max(0, min(100, (ends_s - now_s) * 100 // max(1, ends_s - begins_s)))


def jitter(leaf: x509.Certificate) -> float:
    """Return this certificate's own jitter, 0 to 1: a start changes nothing about it."""
    return int(authority.fingerprint_of(leaf)[:8], 16) / 2**32


def carried(note: str) -> str:
    """Return the text by which a visitor's device carries signed denials in."""
    return documents.PREFIX_DENIALS + base45.encode(note.encode())


# --- parts ----------------------------------------------------------------------------------------


def _pin(key: PrivateKey) -> str:
    return authority.pin_of(key.public_key())


def _key(data: Path, name: str) -> PrivateKey | None:
    """Return a key; None where there is none, or one that was being taken away."""
    keys = identity.keys_of(data)
    if not (data / "keys").exists() or name not in keys.names():
        return None
    try:
        return authority.key_from(keys.read(name, size=None))
    except CertificateInvalid:
        return None


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_BYTES_MAX)
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise GatewayError(
            "trust.unreadable", "Check the disk and the folder's owner", path=path,
            errno=error.errno,
        ) from error  # fmt: skip


def _write(data: Path, name: str, content: bytes) -> None:
    folder = data / FOLDER
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    replace_durably(folder / name, content, _unwritable)


def _unwritable(path: Path, error: OSError) -> GatewayError:
    return GatewayError(
        "site.unwritable", "Check the disk and the folder's owner", path=path, errno=error.errno
    )
