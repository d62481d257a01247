"""The gateway's own authority towards its LAN, and the certificate that it shows there.

keys/lan, keys/lan-tls     private keys, in the key store; made when the listener first starts
trust/lan.pem              the authority's certificate
trust/lan-tls.pem          the server's certificate

Both keys stay for the life of a gateway, so that pins and words stay; certificates are made anew
from the same keys: when they age, when the machine's addresses change, when a wrong clock made
them. The calls block.
"""

import fcntl
import ipaddress
import socket
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from cryptography import x509

from certs import authority, lan, tls
from certs.authority import Authority, PrivateKey
from certs.errors import CertificateInvalid
from gateway import identity
from gateway.clock import replace_durably
from gateway.errors import GatewayError

CA_KEY: Final = "lan"
TLS_KEY: Final = "lan-tls"
CA_FILE: Final = "lan.pem"
TLS_FILE: Final = "lan-tls.pem"
_SIOCGIFADDR: Final = 0x8915  # SPEC: netdevice(7)
_NAME_BYTES: Final = 15


class Lan:
    """The authority and the server of one data folder. `renew` first."""

    def __init__(self, data: Path) -> None:
        names = identity.load_names(data)
        self.operator, self.site_id = names.operator, names.writer.removeprefix("site/")
        self.uri = authority.site_uri(self.operator, self.site_id)
        self._keys = identity.keys_of(data)
        self._folder = data / "trust"
        self._ca_key, self._tls_key = self._key(CA_KEY), self._key(TLS_KEY)
        self.pin = authority.pin_of(self._tls_key.public_key())
        self.ca: Authority
        self.own: tls.Credentials
        self.hosts: frozenset[str] = frozenset()

    def renew(self, hosts: Iterable[str], now_s: int) -> bool:
        """Make what is missing or stale; say whether there is another certificate to show."""
        self.hosts = frozenset(hosts)
        ca = self._kept(CA_FILE, self._ca_key)
        if ca is None or lan.ca_is_stale(ca, now_s):
            ca = lan.make_ca(
                self._ca_key, self.operator, self.site_id, now_s=now_s, serial=tls.new_serial()
            )
            self._keep(CA_FILE, ca)
        self.ca = Authority(ca, self._ca_key)
        leaf = self._kept(TLS_FILE, self._tls_key)
        stale = leaf is None or lan.server_is_stale(leaf, ca, self.hosts, now_s)
        if leaf is None or stale:
            leaf = lan.issue_server(
                self.ca, self._tls_key.public_key(), f"{self.uri}/lan", sorted(self.hosts),
                now_s=now_s, serial=tls.new_serial(),
            )  # fmt: skip
            self._keep(TLS_FILE, leaf)
        self.own = tls.Credentials(authority.pem(leaf, ca), self._tls_key)
        return stale

    def issue(self, key: authority.PublicKey, name: str, now_s: int) -> x509.Certificate:
        """Return a certificate for an installer."""
        serial = tls.new_serial()
        return lan.issue_installer(self.ca, key, self.uri, name, now_s=now_s, serial=serial)

    def _key(self, name: str) -> PrivateKey:
        if name not in self._keys.names():
            self._keys.create(name, authority.key_bytes(tls.new_key()))
        return authority.key_from(self._keys.read(name, size=None))

    def _kept(self, name: str, key: PrivateKey) -> x509.Certificate | None:
        """Return the certificate of a file, if it is one of this key."""
        try:
            found = authority.from_pem((self._folder / name).read_text("ascii"))
        except (FileNotFoundError, UnicodeDecodeError, CertificateInvalid):
            return None
        wanted = authority.pin_of(key.public_key())
        same = len(found) == 1 and authority.pin_of(authority.public_key(found[0])) == wanted
        return found[0] if same else None

    def _keep(self, name: str, certificate: x509.Certificate) -> None:
        self._folder.mkdir(mode=0o700, exist_ok=True)
        path = self._folder / name
        replace_durably(path, authority.pem(certificate).encode(), _unwritable)


def hosts_here(listen: str, names: Iterable[str]) -> list[str]:
    """Return what this machine may be called: the names given, its own, then its addresses.

    `listen` is the host that is listened on; where it is one address, no other counts.
    """
    own = listen.strip("[]")
    if not ipaddress.ip_address(own).is_unspecified:
        return list(dict.fromkeys([*names, str(ipaddress.ip_address(own))]))
    host = socket.gethostname()
    local = [host, f"{host}.local"] if _is_name(host) else []
    return list(dict.fromkeys([*names, *_addresses(), *local, "localhost", "127.0.0.1"]))


def _addresses() -> list[str]:
    """Return the IPv4 address of each interface that is up, loopback left out."""
    found = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            asked = struct.pack("256s", name.encode()[:_NAME_BYTES])
            try:
                told = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, asked)
            except OSError:
                continue  # an interface without an address
            address = socket.inet_ntoa(told[20:24])
            if not ipaddress.ip_address(address).is_loopback:
                found.append(address)
    return found


def _is_name(host: str) -> bool:
    return bool(host) and host.isascii() and all(one.isalnum() or one in "-." for one in host)


def _unwritable(path: Path, error: OSError) -> GatewayError:
    return GatewayError(
        "lan.unwritable", "Check the disk and the folder's owner", path=path, errno=error.errno
    )
