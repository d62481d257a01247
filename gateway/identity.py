"""Who this site is: `identity.json` and the log key of a data folder, as the store wants them.

`DATA/identity.json` holds `operator`, `writer` and `epoch`, written by `init`; `DATA/keys/` is the
key store, where the log key's seed is the file `log`, beside `log-next` while the key changes;
`DATA/site.db` is the log.
"""

from pathlib import Path
from typing import Final

import msgspec

from certs.errors import KeyInvalid
from certs.keys import check_key_name
from certs.keystore import KeyStore, wrapping_key
from gateway.clock import replace_durably
from gateway.errors import GatewayError
from sync.entry import Lane, is_epoch
from sync.errors import TheirsInvalid
from sync.store import Identity

LOG_KEY: Final = "log"
NEXT_LOG_KEY: Final = "log-next"
"""The seed that takes its place: there from before the entry that names it to the overlap's end."""
CREDENTIAL: Final = "locker-gateway.keystore"
"""The systemd credential that wraps the keys on the disk."""
_BYTES_MAX: Final = 4096


class Names(msgspec.Struct, frozen=True):
    """`identity.json`: lockers.example, site/0042, e1-9f2c01ab."""

    operator: str
    writer: str
    epoch: str


def database_of(data_dir: Path) -> Path:
    """Return where the log of a data folder is."""
    return data_dir / "site.db"


def keys_of(data_dir: Path) -> KeyStore:
    """Return the key store of a data folder, with the service's wrapping key where it has one."""
    return KeyStore(data_dir / "keys", wrapping_key(CREDENTIAL))


def check_keys(data_dir: Path) -> None:
    """Refuse to work with keys that others can read: every file's mode, owner and kind.

    Raises what the key store raises (`keystore.mode`, `keystore.owner`, `keystore.kind`).
    """
    keys = keys_of(data_dir)
    for name in keys.names():
        keys.is_wrapped(name)


def load(data_dir: Path) -> Identity:
    """Return the identity that writes this site's log, seed included.

    Raises `TheirsInvalid` `identity.missing` or `identity.invalid`, and what the key store raises.
    """
    names, keys = load_names(data_dir), keys_of(data_dir)
    seed = keys.read(LOG_KEY)
    following = keys.read(NEXT_LOG_KEY) if NEXT_LOG_KEY in keys.names() else None
    return Identity(names.operator, names.writer, names.epoch, seed, following)


def load_names(data_dir: Path) -> Names:
    """Return `identity.json` alone; raises `TheirsInvalid` as `load`."""
    path = data_dir / "identity.json"
    try:
        with path.open("rb") as file:
            data = file.read(_BYTES_MAX + 1)
        if len(data) > _BYTES_MAX:
            raise _invalid(path, "it is too long")
        names = msgspec.json.decode(data, type=Names)
    except FileNotFoundError as error:
        raise TheirsInvalid(
            "identity.missing", "Run init for this data folder first.", path=str(path)
        ) from error
    except (OSError, ValueError, RecursionError) as error:
        raise _invalid(path, str(error)) from error
    if not is_epoch(names.epoch):
        raise _invalid(path, "the epoch reads e<counter>-<8 hex>")
    try:
        check_key_name(f"{names.operator}/{names.writer}/{names.epoch}/{Lane.TELEMETRY}")
    except KeyInvalid as error:
        raise _invalid(path, error.remedy) from error
    return names


def replace(data_dir: Path, **changed: str | int) -> None:
    """Change names in `identity.json`, durably and as a whole: `epoch`, `key_version`."""
    path = data_dir / "identity.json"
    names = load_names(data_dir)
    known = msgspec.json.decode(path.read_bytes()[:_BYTES_MAX], type=dict[str, str | int])
    assert changed.keys() <= known.keys() | {"key_version"}, names
    replace_durably(path, msgspec.json.encode(known | changed) + b"\n", _unwritable)


def _unwritable(path: Path, error: OSError) -> GatewayError:
    return GatewayError(
        "site.unwritable", "Check the disk and the folder's owner", path=path, errno=error.errno
    )


def _invalid(path: Path, reason: str) -> TheirsInvalid:
    return TheirsInvalid(
        "identity.invalid",
        "Put back the file that init wrote.",
        path=str(path),
        reason=reason,
    )
