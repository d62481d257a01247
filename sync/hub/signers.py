"""The hub's keys that sites believe by the root's word: who signs capabilities, and denials.

Two seeds of 32 bytes in `DATA/keys`, made when they are first needed: `grants` and `trust`
(Ed25519, kind 1), named `<operator>/grants` and `<operator>/trust`. A site takes the first only
from a list that the second signed, and the second only from its root (`certs.trust`).
"""

import secrets
from pathlib import Path
from typing import Literal

from certs.errors import KeyStoreBroken
from certs.keys import SigningKey
from certs.keystore import SECRET_BYTES
from sync.hub.config import Config
from sync.hub.keys import keys_of


def signing_key(config: Config, use: Literal["grants", "trust"]) -> SigningKey:
    """Return the key of this use, made now in a hub that has none. Raises KeyStoreBroken.

    Reads one small file: less than a millisecond.
    """
    store = keys_of(Path(config.data_dir))
    try:
        seed = store.read(use)
    except KeyStoreBroken as missing:
        if missing.code != "keystore.missing":
            raise
        try:
            store.create(use, secrets.token_bytes(SECRET_BYTES))
        except KeyStoreBroken as error:
            if error.code != "keystore.exists":  # another process of this hub was quicker
                raise
        seed = store.read(use)
    return SigningKey.from_seed(f"{config.operator}/{use}", seed)
