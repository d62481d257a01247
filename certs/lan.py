"""Trust on the local network: a gateway's own small authority, and how to pair. Pure.

There is no public name on a LAN, so nobody's public authority could vouch for a gateway. It vouches
for itself, and people check: a screen or console of the gateway shows, for ten minutes, the pin of
its key and two one-time secrets.

| Secret | Bits | Travels | Proved by |
| --- | --- | --- | --- |
| pairing secret | 128 | in a QR: `PLG1P:<address:port>:<SPKI pin>:<base32 secret>` | `proof` |
| typed code | 80 | 16 letters of Base32 and a check letter | `proof`, or typed into the page |

A proof binds both ends: HMAC-SHA256(secret, server's pin || pin of the key in the request), each 32
bytes. Who compares six words (48 bits of the same pin) knows that the page comes from the gateway.
Randomness and now come from outside.
"""

import base64
import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from cryptography import x509

from certs import authority
from certs.authority import Authority, PrivateKey, PublicKey
from certs.errors import CertificateInvalid, TrustInvalid

PREFIX: Final = "PLG1P:"
STICKER: Final = "https://"
_MARK: Final = "/#pin="
SECRET_BYTES: Final = 16
CODE_BYTES: Final = 10
TEXT_MAX: Final = 512
WORDS_SHOWN: Final = 6
CA_LEFT_DAYS: Final = 2 * 365
"""An authority with less than two years to go is made anew, with the same key."""
SERVER_DAYS: Final = 365
LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_LOOKALIKES: Final = str.maketrans("018", "OIB")
"""Digits that Base32 does not have, as people type them."""
_secret = re.compile(r"[A-Z2-7]{26}").fullmatch
_code = re.compile(r"[A-Z2-7]{17}").fullmatch
_pin = re.compile(r"[0-9a-f]{64}").fullmatch
_address = re.compile(
    r"(?:\[[0-9A-Fa-f:.]{2,45}(?:%[A-Za-z0-9._-]{1,15})?\]|[A-Za-z0-9.-]{1,253}):[0-9]{1,5}"
).fullmatch
_name = re.compile(r"[a-z0-9][a-z0-9-]{0,31}").fullmatch
_PORT_MAX: Final = 65_535

# Our own list, public domain (CC0): plain words, no two of them one letter apart.
WORDS: Final = """
    album amber ankle apple april apron arena armor arrow atlas attic audio autumn avocado bacon
    badge bagel baker balloon bamboo banana banjo barn basil basket beach beard beaver bell
    berry bicycle bird biscuit blanket bloom boat bonus border bottle bread bridge bucket butter
    button cabin cactus camel camera candle canoe canyon captain carbon carpet carrot castle
    cedar cello cement cherry chess chicken circus citrus clay clever cliff clock cloud coast
    cobra coffee comet copper coral cotton cousin crab cradle crane crayon cricket crown crystal
    cube curtain daisy dancer dawn deer desert desk diamond dinner dolphin donkey dragon drum
    duck eagle earth echo elbow emerald empire engine fabric falcon farmer feather fern fiddle
    finger flame flute forest fossil frog frost galaxy garden garlic giraffe glacier glove gold
    goose grape gravel guitar hammer harbor harp hazel helmet heron hippo hockey honey horse
    hotel husky iceberg igloo indigo island ivory jacket jaguar jelly jewel judge jungle kayak
    kettle kiosk kitchen kite palace panda panther paper peanut pebble pencil penguin pepper
    piano picnic pigeon pilot pirate planet plum poem pollen pony potato prince puzzle pyramid
    quartz queen quilt rabbit radar radio rainbow raven ribbon river robin robot rocket sailor
    salmon sandal satin scarf school scout seal shark sheep shovel silver sketch slipper snail
    spider spoon stone summer sunset swan sweater table teapot temple tennis thunder tiger
    timber tomato tornado tower tractor train trumpet tulip tunnel turkey turtle unicorn valley
    vanilla velvet violin volcano wagon walnut walrus water whale wheat willow window winter
    wolf wombat yacht yellow yogurt zebra zigzag zipper
""".split()  # noqa: SIM905  # 256 words in twenty lines


@dataclass(frozen=True, slots=True)
class Offer:
    """What the QR of a gateway carries: where it is, its key's pin, the one-time secret."""

    address: str
    pin: str
    secret: bytes = field(repr=False)

    def text(self) -> str:
        """Return the text of the QR code."""
        letters = base64.b32encode(self.secret).decode().rstrip("=")
        return f"{PREFIX}{self.address}:{self.pin}:{letters}"


def read_offer(text: str) -> Offer:
    """Return the offer in a QR code's text; TrustInvalid `pairing.malformed`."""
    stripped = text.strip()
    parts = stripped.removeprefix(PREFIX).rsplit(":", 2)
    if len(text) > TEXT_MAX or not stripped.startswith(PREFIX) or len(parts) != 3:  # noqa: PLR2004
        raise _malformed("shape")
    address, pin, letters = parts
    check_address(address)
    if not _pin(pin):
        raise _malformed("pin")
    if not _secret(letters):
        raise _malformed("secret")
    offer = Offer(address, pin, base64.b32decode(letters + "======"))
    if offer.text() != stripped:
        raise _malformed("secret")  # the last letter has bits that belong to nothing
    return offer


@dataclass(frozen=True, slots=True)
class Sticker:
    """What is printed on a gateway for good: where it is, and its key's pin. No secret.

    A telephone's camera opens the page. What follows # stays in the browser.
    """

    address: str
    pin: str

    def text(self) -> str:
        """Return the text of the QR code."""
        return f"{STICKER}{self.address}{_MARK}{self.pin}"


def read_sticker(text: str) -> Sticker:
    """Return what a sticker's QR code says; TrustInvalid `pairing.malformed`."""
    address, mark, pin = text.strip().removeprefix(STICKER).partition(_MARK)
    if len(text) > TEXT_MAX or not text.strip().startswith(STICKER) or not mark:
        raise _malformed("shape")
    if not _pin(pin):
        raise _malformed("pin")
    return Sticker(check_address(address), pin)


def check_address(address: str) -> str:
    """Return `host:port` or `[v6]:port` as it is; TrustInvalid `pairing.malformed`.

    A link-local address may name the interface by which this computer has it: `[fe80::1%eth0]`.
    """
    if not _address(address) or not 0 < int(address.rpartition(":")[2]) <= _PORT_MAX:
        raise _malformed("address")
    return address


def check_pin(pin: str) -> str:
    """Return a pin of 64 hex digits, any case, spaces and colons taken out; `pairing.malformed`."""
    bare = re.sub(r"[\s:]", "", pin).lower()
    if not _pin(bare):
        raise _malformed("pin")
    return bare


# --- the code that people type --------------------------------------------------------------------


def write_code(secret: bytes) -> str:
    """Return the letters of a typed code (10 bytes): four by four, and the check letter."""
    letters = base64.b32encode(secret).decode()
    groups = [letters[at : at + 4] for at in range(0, len(letters), 4)]
    return "-".join([*groups, LETTERS[_check(letters)]])


def read_code(text: str) -> bytes:
    """Return the 10 bytes of a typed code: any case, spaced, 0 for O, 1 for I, 8 for B.

    Raises TrustInvalid `pairing.typed`: a letter is missing, or the check letter does not fit. Any
    one wrong letter and any two swapped ones are found, so a slip of the finger is no wrong try.
    """
    letters = re.sub(r"[\s-]", "", text[:TEXT_MAX]).upper().translate(_LOOKALIKES)
    if len(text) > TEXT_MAX or not _code(letters) or LETTERS[_check(letters[:-1])] != letters[-1]:
        raise TrustInvalid("pairing.typed", "Type the 17 letters again, as they are shown")
    return base64.b32decode(letters[:-1])


def _check(letters: str) -> int:
    """Return a sum in GF(32): each place has a weight of its own, a power of x."""
    total = 0
    for letter in letters:
        total ^= LETTERS.index(letter)
        total = total << 1 ^ (0b100101 if total & 16 else 0)  # times x, modulo x^5 + x^2 + 1
    return total


# --- proofs and words -----------------------------------------------------------------------------


def proof(secret: bytes, server_pin: str, own_pin: str) -> bytes:
    """Return what proves a secret to the server of this pin, for the request of that one."""
    return hmac.digest(secret, bytes.fromhex(server_pin) + bytes.fromhex(own_pin), "sha256")


def proves(secret: bytes, server_pin: str, own_pin: str, given: bytes) -> bool:
    """Say whether `given` is the proof, in constant time."""
    return hmac.compare_digest(proof(secret, server_pin, own_pin), given)


def words_of(pin: str) -> tuple[str, ...]:
    """Return the six words that people compare: the first 48 bits of a pin."""
    return tuple(WORDS[byte] for byte in bytes.fromhex(pin)[:WORDS_SHOWN])


# --- certificates ---------------------------------------------------------------------------------


def lan_uri(operator: str, site_id: str) -> str:
    """Return the URI of a gateway towards its LAN."""
    return f"{authority.site_uri(operator, site_id)}/lan"


def check_name(name: str) -> str:
    """Return an installer's name: 1 to 32 of a-z, 0-9 and dash; TrustInvalid `pairing.name`."""
    if not _name(name) or name == "lan":
        raise TrustInvalid("pairing.name", "Use 1 to 32 of a-z, 0-9 and dash; `lan` is taken")
    return name


def make_ca(
    key: PrivateKey, operator: str, site_id: str, *, now_s: int, serial: int
) -> x509.Certificate:
    """Return the authority of a gateway's LAN, for twenty years, under a name of its own."""
    return authority.make_root(key, f"{site_id}.{operator}"[:64], now_s=now_s, serial=serial)


def ca_is_stale(certificate: x509.Certificate, now_s: int) -> bool:
    """Say whether to make the authority's certificate anew: made by a wrong clock, or old."""
    left_s = authority.ends_s(certificate) - now_s
    return now_s < authority.begins_s(certificate) or left_s < CA_LEFT_DAYS * authority.DAY_S


def issue_server(
    ca: Authority, key: PublicKey, uri: str, hosts: Iterable[str], *, now_s: int, serial: int
) -> x509.Certificate:
    """Return the certificate that the gateway shows on its LAN, under these names and addresses."""
    return authority.issue(
        ca, key, uri, now_s=now_s, days=SERVER_DAYS, serial=serial,
        usages=(authority.SERVER,), hosts=hosts,
    )  # fmt: skip


def server_is_stale(
    certificate: x509.Certificate, ca: x509.Certificate, hosts: Iterable[str], now_s: int
) -> bool:
    """Say whether to issue the server's certificate anew: old, or for other names or issuer."""
    early = now_s < authority.begins_s(certificate)
    late = now_s >= authority.renews_s(certificate)
    other = hosts_of(certificate) != set(hosts) or not authority.issued_by(certificate, ca)
    return early or late or other


def hosts_of(certificate: x509.Certificate) -> set[str]:
    """Return the names and addresses that a server's certificate is good for."""
    kind = x509.SubjectAlternativeName
    names = certificate.extensions.get_extension_for_class(kind).value
    addresses = names.get_values_for_type(x509.IPAddress)
    return {*names.get_values_for_type(x509.DNSName), *(str(one) for one in addresses)}


def issue_installer(
    ca: Authority, key: PublicKey, site_uri: str, name: str, *, now_s: int, serial: int
) -> x509.Certificate:
    """Return an installer's certificate, for thirty days."""
    uri, days = f"{site_uri}/{check_name(name)}", authority.INSTALLER_DAYS
    return authority.issue(ca, key, uri, now_s=now_s, days=days, serial=serial)


def installer_of(certificate: x509.Certificate, site_uri: str) -> str:
    """Return whose certificate this is; CertificateInvalid `certificate.name` if no installer's."""
    site, _, name = authority.uri_of(certificate).rpartition("/")
    if site != site_uri or not _name(name) or name == "lan":
        raise CertificateInvalid("certificate.name", "Pair this device with this gateway")
    return name


def _malformed(what: str) -> TrustInvalid:
    return TrustInvalid("pairing.malformed", "Scan the QR again: it begins with PLG1P", what=what)
