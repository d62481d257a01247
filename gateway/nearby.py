"""What a gateway says of itself on its network (zeroconf), and what is believed of others. Pure.

A gateway announces `_locker-gateway._tcp.local.` under its site's id. Its TXT record has:

| Key | What |
| --- | --- |
| `txtvers` | 1 |
| `site` | the site's id, `0042` |
| `version` | of the software |
| `state` | `new` (no map yet), `ready`, `commissioning`, `trouble` |
| `fingerprint` | the first eight hex digits of its LAN key's pin, which are its first four words |

All of that may be read by anybody on the network, and is: nothing here is a secret, and nothing
opens anything. Nor does anything here prove anything: anybody may announce what they like. Who
talks to a gateway pairs first, and compares the whole pin, or six words.

What others announce is read strictly, and within bounds: it becomes plain text for a terminal, with
addresses that a gateway or a board can have, or it is left out.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, cast

import msgspec

from certs import lan

SERVICE: Final = "_locker-gateway._tcp.local."
BOARDS: Final = "_modbus._tcp.local."
State = Literal["new", "ready", "commissioning", "trouble"]
STATES: Final[tuple[State, ...]] = ("new", "ready", "commissioning", "trouble")
UNKNOWN: Final = "unknown"
FINGERPRINT_DIGITS: Final = 8

TXT_BYTES_MAX: Final = 1300
"""SPEC: RFC 6763 6.2: a TXT record of more should not be."""
PAIRS_MAX: Final = 32
NAME_MAX: Final = 63
ADDRESSES_MAX: Final = 8
PORT_MAX: Final = 65_535
_PRINTABLE_KEY: Final = re.compile(rb"[\x20-\x3c\x3e-\x7e]{1,32}")
_site = re.compile(r"[a-z0-9][a-z0-9-]{0,31}").fullmatch
_version = re.compile(r"[A-Za-z0-9][A-Za-z0-9.+-]{0,31}").fullmatch
_fingerprint = re.compile(rf"[0-9a-f]{{{FINGERPRINT_DIGITS}}}").fullmatch
_scoped = re.compile(r"[A-Za-z0-9._-]{1,15}").fullmatch

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Said:
    """What one gateway says of itself."""

    site: str
    version: str
    state: State
    pin: str
    port: int

    @property
    def text(self) -> dict[str, str]:
        """Its TXT record."""
        return {
            "txtvers": "1",
            "site": self.site,
            "version": self.version,
            "state": self.state,
            "fingerprint": self.fingerprint,
        }

    @property
    def fingerprint(self) -> str:
        """The beginning of the pin, enough to tell gateways apart and too little to trust one."""
        return self.pin[:FINGERPRINT_DIGITS]

    @property
    def name(self) -> str:
        """The instance name it would like; another one takes it where it is taken."""
        return f"{self.site}.{SERVICE}"

    @property
    def host(self) -> str:
        """A host name of its own. The machine's may be announced by another program already."""
        return f"locker-{self.fingerprint}.local."


def state_of(status: Mapping[str, object]) -> State:
    """Return what is said of a site whose `locker-gateway status` is this."""
    if status.get("commissioning"):
        return "commissioning"
    doors, health = status.get("doors"), status.get("health")
    if doors is None:
        return "trouble"  # no life: a full disk, or a moment between two
    if not doors:
        return "new"
    return "ready" if isinstance(health, Mapping) and health.get("ok") else "trouble"


# --- where ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Interface:
    """An address of this computer: its interface's number, and the network it is in."""

    index: int
    address: ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True)
class Places:
    """On which interfaces to speak (addresses of IPv4, numbers for IPv6), and where one is."""

    speak: tuple[str | int, ...] = ()
    addresses: tuple[str, ...] = ()

    @property
    def both(self) -> bool:
        """Whether IPv6 is among them."""
        return any(isinstance(one, int) for one in self.speak)


def places(host: str, here: Iterable[Interface]) -> Places:
    """Return where who listens on `host` is found: there, or on each interface if on any address.

    Loopback only where it is listened on, and by IPv4: multicast does not work on `::1`.
    """
    wanted = ipaddress.ip_address(host)
    speak: dict[str | int, None] = {}
    addresses: dict[str, None] = {}
    for one in here:
        found = one.address.ip
        deaf = found.is_loopback and isinstance(found, ipaddress.IPv6Address)
        if deaf or not _listens(wanted, found) or len(addresses) >= ADDRESSES_MAX:
            continue
        speak[str(found) if isinstance(found, ipaddress.IPv4Address) else one.index] = None
        addresses[str(found)] = None
    return Places(tuple(speak), tuple(addresses))


def _listens(wanted: Address, found: Address) -> bool:
    """Say whether who listens on the one is reached by the other. `[::]` hears IPv4 too."""
    if not wanted.is_unspecified:
        return found == wanted
    both = isinstance(wanted, ipaddress.IPv6Address)
    return not found.is_loopback and (both or found.version == wanted.version)


def is_loopback(host: str) -> bool:
    """Say whether an address is this computer's own, for itself."""
    return ipaddress.ip_address(host).is_loopback


# --- what others say ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Records:
    """What was heard of one instance, as it came."""

    name: str
    port: int | None
    text: bytes
    addresses: Sequence[str]


class Gateway(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway that is announced: nothing of it is proved. `far` is in networks not ours."""

    site: str
    state: str
    addresses: tuple[str, ...]
    far: tuple[str, ...]
    port: int
    version: str
    fingerprint: str
    name: str

    @property
    def words(self) -> tuple[str, ...]:
        """The first four of the six words that people compare."""
        return tuple(lan.WORDS[byte] for byte in bytes.fromhex(self.fingerprint))

    @property
    def address(self) -> str:
        """Host and port, as `locker-gateway pair` takes them."""
        host = (self.addresses + self.far)[0]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"


class Board(msgspec.Struct, frozen=True):
    """A board on Modbus TCP that announces itself."""

    host: str
    port: int
    name: str


def gateway(heard: Records, here: Iterable[Interface], *, loopback: bool = False) -> Gateway | None:
    """Return the gateway that these records tell of; None where they tell of none."""
    text = read_text(heard.text)
    near, far = usable(heard.addresses, here, loopback=loopback)
    site, fingerprint = text.get("site", ""), text.get("fingerprint", "")
    version, state = text.get("version", ""), text.get("state", "")
    if not _site(site) or not _fingerprint(fingerprint) or not _port(heard.port) or not near + far:
        return None
    return Gateway(
        site=site,
        state=state if state in STATES else UNKNOWN,
        addresses=near,
        far=far,
        port=cast("int", heard.port),
        version=version if _version(version) else "",
        fingerprint=fingerprint,
        name=instance(heard.name, SERVICE),
    )


def board(heard: Records, here: Iterable[Interface], *, loopback: bool = False) -> Board | None:
    """Return the board that these records tell of; None where they tell of none."""
    near, far = usable(heard.addresses, here, loopback=loopback)
    if not _port(heard.port) or not near + far:
        return None
    return Board((near + far)[0], cast("int", heard.port), instance(heard.name, BOARDS))


def read_text(data: bytes) -> dict[str, str]:
    """Return the pairs of a TXT record, as plain text. SPEC: RFC 6763 6.4: the first one counts."""
    found: dict[str, str] = {}
    rest = data[:TXT_BYTES_MAX]
    while rest and len(found) < PAIRS_MAX:
        pair, rest = rest[1 : 1 + rest[0]], rest[1 + rest[0] :]
        key, _, value = pair.partition(b"=")
        if _PRINTABLE_KEY.fullmatch(key):
            found.setdefault(key.decode("ascii").lower(), plain(value.decode("utf-8", "replace")))
    return found


def plain(text: str, limit: int = NAME_MAX) -> str:
    """Return text that is safe in a terminal: what cannot be printed is a question mark.

    That is whatever Unicode calls a control or a format character: colours, and ways to turn the
    direction of a line, among them.
    """
    return "".join(one if one.isprintable() else "?" for one in text[:limit])


def instance(name: str, kind: str) -> str:
    """Return an instance's own name, without the kind of service."""
    return plain(name.removesuffix(kind).removesuffix("."))


def usable(
    given: Iterable[str], here: Iterable[Interface], *, loopback: bool = False
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the addresses in networks of this computer, and private ones of other networks.

    The latter are those behind a reflector of multicast. A public address that is not on one of our
    networks is nobody's on this LAN. Loopback is us, not them, unless asked for on loopback.
    """
    networks = [one.address.network for one in here]
    near: dict[str, None] = {}
    far: dict[str, None] = {}
    for text in given:
        address = _address(text)
        if (
            address is None
            or _is_nobody(address, networks)
            or len(near) + len(far) >= ADDRESSES_MAX
        ):
            continue
        if address.is_loopback:
            near |= {text: None} if loopback else {}
        elif address.is_link_local and address.version == 6:  # noqa: PLR2004
            near |= {text: None} if "%" in text else {}  # without an interface it is nowhere
        elif any(_within(address, network) for network in networks):
            near[text] = None
        elif address.is_private and not address.is_link_local:
            far[text] = None
    return tuple(sorted(near, key=_v4_first)), tuple(sorted(far, key=_v4_first))


def _v4_first(text: str) -> tuple[bool, str]:
    return ":" in text, text


def _address(text: str) -> Address | None:
    """Return an address in the one way in which it is written."""
    bare, scoped, scope = text.partition("%")
    try:
        found = ipaddress.ip_address(bare)
    except ValueError:
        return None
    return found if str(found) == bare and (not scoped or _scoped(scope)) else None


def _is_nobody(address: Address, networks: Iterable[Network]) -> bool:
    """Say whether no computer can have it: groups, any and all, reserved, and mapped ones."""
    if address.is_multicast or address.is_unspecified:
        return True
    if isinstance(address, ipaddress.IPv6Address):
        return address.ipv4_mapped is not None
    ends = {end for network in networks for end in _ends(network)}
    return address.is_reserved or address in ends


def _ends(network: Network) -> tuple[Address, ...]:
    """Return the network's own and its broadcast address, where it has them."""
    if isinstance(network, ipaddress.IPv6Network) or network.prefixlen >= 31:  # noqa: PLR2004
        return ()
    return network.network_address, network.broadcast_address


def _within(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network and network.prefixlen > 0


def _port(port: int | None) -> bool:
    return port is not None and 0 < port <= PORT_MAX
