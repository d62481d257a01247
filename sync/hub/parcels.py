"""A parcel's name, as it stands in the log: by a keyed tag, and in an annex beside it. Pure."""

import base64
from collections.abc import Iterable
from typing import Any

from sync import canonical, codes
from sync.book import Book
from sync.codes import CodeKey
from sync.records import Parcel


def parcel_tag(key: CodeKey, identity: str) -> str:
    """Return the keyed tag that stands for a parcel in the log (base64 of 12 bytes)."""
    return base64.b64encode(codes.parcel_tag(key.key, key.site, identity)).decode("ascii")


def tags_of(keys: Iterable[CodeKey], identity: str) -> frozenset[str]:
    """Return the keyed tags of a parcel under several versions of a key."""
    return frozenset(parcel_tag(key, identity) for key in keys)


def annex_of(identity: str) -> bytes:
    """Return the annex that names a parcel, as the gateway writes it too."""
    tenant, tracking, piece = identity.split("/")
    named: dict[str, Any] = {"tenant": tenant, "tracking": tracking, "piece": int(piece)}
    return canonical.encode(named)


def tenant_of(book: Book, parcel: Parcel) -> str:
    """Return whose parcel it is; empty where its name was erased."""
    by = book.couriers.get(parcel.by)
    return by.tenant if by else (parcel.identity or "/").partition("/")[0]
