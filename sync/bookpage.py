"""The book as bytes, and back: what a snapshot holds, and what two ends compare.

Nothing personal is in them: identities and annexes are put beside the records again from the
annexes that are kept (`annexes`), so an erased one stays erased in a restored book.
"""

import base64
import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from sync.errors import TheirsInvalid
from sync.holdings import RETIRED_MAX, Holdings, identity_of
from sync.records import Annex, At, Commissioned, Compartment, Epoch, Parcel, Retired, Stop
from sync.rights import Rights
from sync.sitemap import MapReader, SiteMap

LATER = {
    (): frozenset({"others", "named", "decommissioned", "forgotten_ms"}),
    ("escrow",): frozenset({"unheard"}),
    ("couriers", "*"): frozenset({"cti", "room"}),
    ("collects", "*"): frozenset({"cti", "room"}),
    ("others", "*"): frozenset({"room"}),
    ("requests", "*"): frozenset({"second"}),
}
"""Fields of the rights that the first version did not have, by where they stand. Empty they are
left out: a book without them has the bytes that it always had, so an older snapshot can still be
read, whatever was pruned behind it."""


_LATER_HERE = (("map", "lines"), ("reading", "lines"), ("", "trials"), ("", "commissioned"))
"""The same of the page itself and of its map: (where, field)."""


class Page(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Every field of the book that is compared."""

    sizes: dict[str, int]
    epochs: dict[str, Epoch]
    map: SiteMap
    reading: MapReader
    compartments: list[Compartment]
    parcels: list[Parcel]
    retired: list[Retired]
    counters: dict[str, int]
    rights: Rights
    stopped: dict[str, Stop]
    guard: tuple[int | None, int, int]
    last_at: At
    anchor: tuple[At, int, int] | None
    trials: dict[str, str] = {}  # msgspec copies it
    commissioned: Commissioned | None = None

    def encoded(self) -> bytes:
        """Return the page, keys sorted, without anything personal."""
        built = msgspec.to_builtins(self, str_keys=True)
        _leave_out(built["rights"])
        for place, name in _LATER_HERE:
            held = built[place] if place else built
            if not held.get(name, True):
                del held[name]
        return msgspec.json.encode(built, order="sorted")

    @classmethod
    def parse(cls, data: bytes) -> "Page":
        """Return the page that `data` writes; `TheirsInvalid` `book.bad_snapshot`."""
        try:
            page = msgspec.json.decode(data, type=cls)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise TheirsInvalid(
                "book.bad_snapshot",
                "Take another snapshot, or fold the whole log.",
                reason=str(error)[:200],
            ) from error
        if page.encoded() != data:
            raise TheirsInvalid("book.bad_snapshot", "Its bytes are not as a book writes them.")
        return page


def bare(holdings: Holdings) -> tuple[list[Compartment], list[Parcel], list[Retired]]:
    """Return compartments, parcels and retired parcels without what annexes add, sorted."""
    compartments = []
    for number in sorted(holdings.compartments):
        one = holdings.compartments[number]
        if one.intent is not None and one.intent.annex is not None:
            one = replace(one, intent=replace(one.intent, annex=None))
        compartments.append(one)
    parcels = [replace(one, identity=None) for one in holdings.parcels.values()]
    retired = [replace(one, identity=None) for one in holdings.retired]
    return compartments, parcels, retired


def holdings_of(page: Page, beside: Mapping[str, Annex]) -> Holdings:
    """Return what the page holds, with identities out of the annexes kept, by entry."""
    known = {ref: identity_of(annex) for ref, annex in beside.items()}
    holders: dict[str, list[str]] = {}
    for ref, (annex, salt) in beside.items():
        private = base64.b64encode(hashlib.sha256(salt + annex).digest()).decode()
        holders.setdefault(private, []).append(ref)
    for one in page.compartments:
        if one.intent is not None:
            one.intent.annex = beside.get(one.intent.ref)
    return Holdings(
        map=page.map,
        compartments={one.number: one for one in page.compartments},
        parcels={one.ref: replace(one, identity=known.get(one.ref)) for one in page.parcels},
        retired=deque(
            (replace(one, identity=known.get(one.ref)) for one in page.retired),
            maxlen=RETIRED_MAX,
        ),
        counters=page.counters,
        holders=holders,
        reader=page.reading,
        trials=page.trials,
        commissioned=page.commissioned,
    )


def _leave_out(rights: dict[str, Any]) -> None:
    """Take out of the rights what is empty of `LATER`."""
    for path, names in LATER.items():
        places = [rights]
        for step in path:
            if step == "*":
                places = [one for place in places for one in place.values()]
            else:
                places = [place[step] for place in places if step in place]
        for place in places:
            for name in names:
                if not place.get(name, True):
                    del place[name]
