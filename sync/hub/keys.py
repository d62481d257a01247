"""The hub's keys: what signs its lanes, what cosigns, and what the sites' code keys come from.

Secrets of 32 bytes in `DATA/keys`, never one for two uses: `log` (Ed25519, kind 1), `cosigner`
(Ed25519, kind 4), `master` (symmetric); beside them `cli` and `second-factor`, which the doorman
reads. A key's *name* differs by site, its bytes do
not: each site knows this hub under `<operator>/hub/<id>` and `<operator>/hub/<id>/cosigner`
(FORMATS.md 1, 3).
"""

import base64
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import msgspec

from certs.keys import KIND_COSIGNATURE, SigningKey
from certs.keystore import SECRET_BYTES, KeyStore, wrapping_key
from sync import codes
from sync.errors import StoreFailed, TheirsInvalid

LOG: Final = "log"
COSIGNER: Final = "cosigner"
MASTER: Final = "master"
CLI: Final = "cli"
"""The commands on this machine prove themselves by it (`doorman`)."""
FACTOR: Final = "second-factor"
"""What the operators' TOTP keys are derived from."""
CREDENTIAL: Final = "locker-hub.keystore"
"""The systemd credential that wraps the keys on the disk."""
KEYS_KEPT: Final = 8
"""Versions of a code key under which a parcel is still recognised."""


class CodeKeyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What `locker-hub code-key` writes and `locker-gateway key import` reads, as JSON.

    `site` is `<operator>/site/<id>`, `key` base64 of the 32 bytes of K_site.
    """

    site: str
    key_version: int
    key: str


@dataclass(frozen=True, slots=True)
class Keys:
    """The hub's three secrets; none shows in `repr`."""

    operator: str
    log_seed: bytes = field(repr=False)
    cosigner_seed: bytes = field(repr=False)
    master: bytes = field(repr=False)

    @classmethod
    def load(cls, data: Path, operator: str) -> Self:
        """Return the keys of a data folder. Raises what the key store raises."""
        store = keys_of(data)
        return cls(operator, store.read(LOG), store.read(COSIGNER), store.read(MASTER))

    @classmethod
    def make(cls, data: Path, operator: str) -> Self:
        """Make keys where there are none; what an interrupted `init` left is kept.

        Raises KeyStoreBroken.
        """
        store = keys_of(data)
        there = store.names() if (data / "keys").exists() else ()
        for name in (LOG, COSIGNER, MASTER, CLI, FACTOR):
            if name not in there:
                store.create(name, secrets.token_bytes(SECRET_BYTES))
        return cls.load(data, operator)

    def site_name(self, site_id: str) -> str:
        """Return the full name of a site: `<operator>/site/<id>`, which codes are made for."""
        return f"{self.operator}/site/{site_id}"

    def writer(self, site_id: str) -> SigningKey:
        """Return the hub's writer key for a site, `<operator>/hub/<id>`: its vkey is exchanged."""
        return SigningKey.from_seed(f"{self.operator}/hub/{site_id}", self.log_seed)

    def log_key(self, origin: str) -> SigningKey:
        """Return the key that signs checkpoints of one of the hub's logs."""
        return SigningKey.from_seed(origin, self.log_seed)

    def cosigner(self, site_id: str) -> SigningKey:
        """Return the key that cosigns a site's checkpoints."""
        name = f"{self.operator}/hub/{site_id}/cosigner"
        return SigningKey.from_seed(name, self.cosigner_seed, KIND_COSIGNATURE)

    def code_key(self, site_id: str, version: int) -> codes.CodeKey:
        """Return K_site of a site and version. Raises TheirsInvalid (`codes.version`)."""
        return codes.CodeKey.derive(self.master, self.site_name(site_id), version)

    def code_keys(self, site_id: str, version: int) -> tuple[codes.CodeKey, ...]:
        """Return K_site of this version and of the earlier ones, the latest first; bounded."""
        least = max(version - KEYS_KEPT, 0)
        return tuple(self.code_key(site_id, one) for one in range(version, least, -1))

    def code_key_file(self, site_id: str, version: int) -> bytes:
        """Return the file that carries K_site to the site."""
        key = self.code_key(site_id, version)
        told = CodeKeyFile(key.site, version, base64.b64encode(key.key).decode())
        return msgspec.json.encode(told) + b"\n"


def keys_of(data: Path) -> KeyStore:
    """Return the key store of a hub's folder, with the service's wrapping key where it has one."""
    return KeyStore(data / "keys", wrapping_key(CREDENTIAL))


def write_secret(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600; refuses (`hub.file_exists`) to overwrite one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        file = os.open(path, flags, 0o600)
    except FileExistsError:
        raise TheirsInvalid(
            "hub.file_exists", "Name a file that is not there yet.", path=str(path)
        ) from None
    except OSError as error:
        raise StoreFailed("io", "Name a folder that can be written.", path=str(path)) from error
    with os.fdopen(file, "wb") as opened:
        os.fchmod(file, 0o600)
        opened.write(data)
        opened.flush()
        os.fsync(file)
