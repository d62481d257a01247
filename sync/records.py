"""What the book keeps on record: plain values, each with the entry that it came from.

What an annex adds (an identity, an annex) is beside the record and not part of the book's bytes, so
an erased annex changes nothing that is compared.
"""

from dataclasses import dataclass, field
from typing import Literal

from sync.custody import Custody
from sync.fact import Outcome, Purpose, Size

At = tuple[int, int]
"""(boot, monotonic milliseconds)."""
Annex = tuple[bytes, bytes]
"""What names a parcel, beside its entry: (annex, salt)."""


@dataclass(slots=True)
class Intent:
    """The latest commanded opening of a compartment, until what it was for is judged."""

    ref: str
    purpose: Purpose
    by: str
    of: str | None
    attempt: int
    deadline: int
    at: At
    again: str | None
    size: Size | None
    asked: str | None = None
    reservation: str | None = None
    annex: Annex | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Commissioned:
    """The last time somebody signed this site off: as `site.commissioned`, by its entry."""

    ref: str
    at: At
    by: str
    boards: int
    doors: int
    passed: int
    failed: int
    report: str
    audit: bool = False


@dataclass(slots=True)
class Parcel:
    """A parcel on record. `identity` is `<tenant>/<TRACKING>/<piece>`, None once erased."""

    ref: str
    door: int
    by: str
    size: Size
    digits: int
    counter: int
    key_version: int
    tag: str
    at: At
    identity: str | None = None


@dataclass(slots=True)
class Compartment:
    """One box: custody, door and service as last written, openings counted, latest entry.

    `disabled` says why it is out of service, whoever took it out. `proved` is the epoch in which
    it was last shown that the door hides nothing: behind a fence nothing else counts. `sure` is the
    epoch in which somebody last saw what is inside.
    """

    number: int
    custody: Custody = Custody.FREE
    before: Custody = Custody.FREE
    parcel: str | None = None
    intent: Intent | None = None
    door_open: bool | None = None
    disabled: str = ""
    openings: int = 0
    claimed_at: At | None = None
    last: str | None = None
    proved: str = ""
    sure: str = ""


@dataclass(slots=True)
class Grant:
    """A right of the kind `grant`: `courier`, or `collect` for the parcel `of`.

    One that is a capability has its `cti`, and no secret; `room` is the class it was given for.
    """

    ref: str
    grant: str
    tenant: str
    label: str
    tag: str
    key_version: int
    of: str | None = None
    until_ms: int | None = None
    revoked: bool = False
    cti: str = ""
    room: str = ""


@dataclass(slots=True, frozen=True)
class Retired:
    """A parcel that is gone: its code still counts as known, and does not open.

    `tags` stand for its code where the identity that it was derived from has been erased.
    """

    ref: str
    identity: str | None
    digits: int
    counter: int
    key_version: int
    tags: tuple[str, ...] = ()


@dataclass(slots=True)
class Alarm:
    """An alarm that stands."""

    ref: str
    alarm: str
    door: int | None
    about: str


@dataclass(slots=True)
class Expected:
    """A parcel that the hub expects; `identity` as for a parcel."""

    ref: str
    tag: str
    key_version: int
    size: Size | None
    identity: str | None = None


@dataclass(slots=True)
class Request:
    """An opening that support asks for at the hub, not answered yet by the site."""

    ref: str
    door: int
    by: str
    why: str
    case: str
    until_ms: int
    second: str = ""


@dataclass(slots=True, frozen=True)
class Claim:
    """What somebody says happened to the parcel with this keyed tag."""

    ref: str
    tag: str
    says: str
    by: str


@dataclass(slots=True)
class Use:
    """What a grant did: its latest attempt, with what the site had then seen, and its use.

    `claimed`: its door was opened and closed, and nothing tells whether the parcel is gone.
    """

    attempt: str | None = None
    seen: dict[str, int] = field(default_factory=dict)
    used: str | None = None
    claimed: str | None = None


@dataclass(slots=True, frozen=True)
class Epoch:
    """An epoch of the site, as its first entry says: the custody logs before it, and their sizes.

    Keyed as references name logs: {"e1-9f2c01ab:sc": 117}.
    """

    why: str
    parents: dict[str, int]


@dataclass(slots=True, frozen=True)
class Stop:
    """A log that the fold cannot take further: at which entry, and why (a stable code)."""

    index: int
    code: str
    evidence: str


@dataclass(slots=True, frozen=True)
class Conflict:
    """Two truths that met: which (`what`), about which entry, against which, and how it came.

    `how`: `known` (the site had seen the other: a fault of the gateway), `in_flight` (it could not
    have), or the word of a claim that the facts contradict.
    """

    what: Literal["grant.used_revoked", "claim.contradicted"]
    ref: str
    other: str
    how: str
