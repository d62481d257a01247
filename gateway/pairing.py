"""The installer's side of pairing: pin, prove, keep the certificate; then ask over mutual TLS.

There is no name to check on a LAN, so the gateway's key itself is pinned: after each handshake, and
before a byte is sent, the key that was proved is compared with the one that the QR (or a person)
told. What was paired is kept in `$XDG_CONFIG_HOME/locker-gateway/<site>/` (`~/.config/...`), 0600:

    gateway.json      where it is, its pin, our name
    certificate.pem   ours, for thirty days
    keys/installer    its private key
"""

import base64
import http.client
import os
import re
import socket
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from certs import authority, lan, tls
from certs.errors import CertsError
from certs.keystore import KeyStore
from gateway.clock import replace_durably
from gateway.errors import GatewayError

KEY: Final = "installer"
CONNECT_S: Final = 5.0
ANSWER_S: Final = 40.0
ANSWER_BYTES_MAX: Final = 1024 * 1024
_site = re.compile(r"[A-Za-z0-9.-]{1,64}/site/([a-z0-9-]{1,32})").fullmatch
_folder = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}").fullmatch


class Kept(msgspec.Struct, frozen=True):
    """`gateway.json`: one gateway that we are paired with."""

    address: str
    pin: str
    site: str
    name: str


class _Paired(msgspec.Struct, frozen=True):
    """What a gateway answers to a proof."""

    name: str
    site: str
    certificate: str
    ends_s: int


class _No(msgspec.Struct, frozen=True):
    code: str
    remedy: str
    evidence: dict[str, str] = {}


@dataclass(frozen=True, slots=True)
class Gateway:
    """One gateway that can be asked. `own` is None before pairing."""

    address: str
    pin: str
    own: tls.Credentials | None = field(default=None, repr=False)

    def ask(self, method: str, path: str, body: object = None) -> dict[str, Any]:
        """Return the JSON that it answers.

        Raises GatewayError: `pair.unreachable`, `pair.other_key` (nothing was sent),
        `pair.shut_out`, `pair.unanswered`, and the code of the gateway's refusal.
        """
        try:
            connection = self._connect()
        except OSError as error:
            raise _unreachable(self.address, error) from error
        try:
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            data = None if body is None else msgspec.json.encode(body)
            connection.request(method, path, body=data, headers=headers)
            answer = connection.getresponse()
            told = msgspec.json.decode(answer.read(ANSWER_BYTES_MAX), type=dict[str, Any])
            status = answer.status
        except (http.client.RemoteDisconnected, ConnectionError, ssl.SSLError) as error:
            # TLS 1.3 tells a client late, and by hanging up, that its certificate was refused.
            raise GatewayError(
                "pair.shut_out",
                "The certificate is missing, expired or of another gateway: pair again",
                address=self.address,
            ) from error
        except (OSError, http.client.HTTPException, msgspec.MsgspecError, ValueError) as error:
            raise GatewayError(
                "pair.unanswered", "Look at the gateway's log", cause=type(error).__name__
            ) from error
        finally:
            connection.close()
        if status >= 400:  # noqa: PLR2004  # HTTP's own border of errors
            raise _refusal(told)
        return told

    def shown(self) -> str:
        """Return the pin of the key that is proved at this address, whosever it is.

        Raises GatewayError `pair.unreachable`. Nothing is sent.
        """
        try:
            secure = self._shake_hands()
        except OSError as error:
            raise _unreachable(self.address, error) from error
        try:
            return _pin_of(secure)
        finally:
            secure.close()

    def _connect(self) -> http.client.HTTPConnection:
        """Shake hands and compare the key; GatewayError `pair.other_key`, OSError."""
        secure = self._shake_hands()
        if _pin_of(secure) != self.pin:
            secure.close()
            raise GatewayError(
                "pair.other_key",
                "Nothing was sent: this is not the gateway of the QR, or somebody is in between",
                address=self.address,
            )
        secure.settimeout(ANSWER_S)
        host, port = self._end
        connection = http.client.HTTPConnection(host, port, timeout=ANSWER_S)
        connection.sock = secure
        return connection

    @property
    def _end(self) -> tuple[str, int]:
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)

    def _shake_hands(self) -> ssl.SSLSocket:
        context = tls.unchecked_client()
        if self.own is not None:
            tls.use(context, self.own)
        wire = socket.create_connection(self._end, CONNECT_S)
        try:
            return context.wrap_socket(wire, server_hostname=self._end[0])
        except OSError:
            wire.close()
            raise


def _pin_of(secure: ssl.SSLSocket) -> str:
    """Return the pin of the key that the other end proved; nothing where it proved none of ours."""
    try:
        leaf = tls.peer_of(secure)
        return "" if leaf is None else authority.pin_of(authority.public_key(leaf))
    except CertsError:
        return ""


def _unreachable(address: str, error: OSError) -> GatewayError:
    return GatewayError(
        "pair.unreachable",
        "Check address and network; does this gateway have [installer] listen?",
        address=address,
        cause=type(error).__name__,
    )


def pair(address: str, pin: str, secret: bytes, *, folder: Path, name: str = "") -> Kept:
    """Pair by a one-time secret (of the QR, or typed); keep and return what came of it.

    `name` is what to call this gateway here; its site's id otherwise. Raises GatewayError as
    `Gateway.ask`, and `pair.name`, `pair.name_taken`.
    """
    key = tls.new_key()
    csr = authority.make_csr(key)
    proof = lan.proof(secret, pin, authority.pin_of(key.public_key()))
    body = {"csr": base64.b64encode(csr).decode(), "proof": base64.b64encode(proof).decode()}
    told = Gateway(address, pin).ask("POST", "/pair/certificate", body)
    try:
        paired = msgspec.convert(told, _Paired)
        leaf = authority.from_pem(paired.certificate)[0]
        ours = authority.pin_of(authority.public_key(leaf)) == authority.pin_of(key.public_key())
        site = _site(paired.site)
    except (msgspec.ValidationError, CertsError, IndexError):
        ours, site, paired = False, None, _Paired("", "", "", 0)
    if not ours or site is None:
        raise GatewayError("pair.unanswered", "Look at the gateway's log", cause="certificate")
    kept = Kept(address, pin, paired.site, paired.name)
    _keep(folder / (name or site[1]), kept, paired.certificate, authority.key_bytes(key))
    return kept


def _keep(folder: Path, kept: Kept, certificate: str, key: bytes) -> None:
    before = folder / "gateway.json"
    if before.exists() and _kept(before).pin != kept.pin:
        raise GatewayError(
            "pair.name_taken", "Choose another name for this gateway: --as NAME", name=folder.name
        )
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = KeyStore(folder / "keys")
    known = (folder / "keys").is_dir() and KEY in keys.names()
    (keys.replace if known else keys.create)(KEY, key)
    replace_durably(folder / "certificate.pem", certificate.encode(), _unwritable)
    replace_durably(before, msgspec.json.encode(kept) + b"\n", _unwritable)


def load(folder: Path) -> tuple[Kept, Gateway]:
    """Return a gateway that was paired, ready to be asked; GatewayError `pair.unknown`."""
    file = folder / "gateway.json"
    if not file.exists():
        raise GatewayError("pair.unknown", "Pair first: locker-gateway pair", site=folder.name)
    kept = _kept(file)
    chain = (folder / "certificate.pem").read_text("ascii")
    key = authority.key_from(KeyStore(folder / "keys").read(KEY, size=None))
    return kept, Gateway(kept.address, kept.pin, tls.Credentials(chain, key))


def home(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder of everything that is paired."""
    base = environment.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "locker-gateway"


def folder_of(name: str) -> Path:
    """Return the folder of one gateway; GatewayError `pair.name`."""
    if not _folder(name):
        raise GatewayError("pair.name", "Use 1 to 64 of a-z, 0-9, dot and dash")
    return home() / name


def _kept(file: Path) -> Kept:
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=Kept)
        lan.check_address(kept.address)
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, CertsError) as error:
        raise GatewayError(
            "pair.invalid", "Remove this folder and pair again", path=file
        ) from error
    return kept


def _refusal(told: dict[str, Any]) -> GatewayError:
    try:
        no = msgspec.convert(told, _No)
    except msgspec.ValidationError:
        return GatewayError("pair.unanswered", "Look at the gateway's log", cause="refusal")
    return GatewayError(no.code, no.remedy, **no.evidence)


def _unwritable(path: Path, error: OSError) -> GatewayError:
    return GatewayError(
        "pair.unwritable", "Check the disk and the folder's owner", path=path, errno=error.errno
    )
