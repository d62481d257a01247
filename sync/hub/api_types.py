"""What the API takes and gives, as types: OpenAPI and answers come from these alone."""

from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType
from typing_extensions import override

from sync.hub.accounts import Role
from sync.hub.api_asked import *  # noqa: F403  # one vocabulary, in two files
from sync.hub.api_asked import CodeState
from sync.hub.api_bank import BankShown, CommissionedShown


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all answers. Later versions add keys."""


class Refusal(Answer, frozen=True, kw_only=True):
    """Every answer from 400 on: a stable code, what a person can do, what was seen."""

    code: str
    remedy: str
    evidence: dict[str, Any] = {}


class Made(Answer, frozen=True, kw_only=True):
    """The entry that says so. `new` is false where it was said before."""

    ref: str
    new: bool


class GrantMade(Made, frozen=True, kw_only=True):
    """`secret`: 16 digits, told this once and kept nowhere."""

    secret: str | UnsetType = UNSET


class CapabilityMade(Made, frozen=True, kw_only=True):
    """A capability as text and as a picture, told this once and kept nowhere.

    `cti` names it in the log and on the list of denials. `text_base32` is for scanners that type as
    keyboards of another layout would. `svg` is a document, `png` a file in base64.
    """

    cti: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    text_base32: str | UnsetType = UNSET
    svg: str | UnsetType = UNSET
    png: str | UnsetType = UNSET

    @override
    def __repr__(self) -> str:
        """Without what opens doors."""
        return f"CapabilityMade(ref={self.ref!r}, new={self.new!r})"


class DenialsShown(Answer, frozen=True, kw_only=True):
    """Which capabilities are denied, for sites that do not hear this hub.

    `note` is the signed list, `text` the same for a QR code, `svg` that code, null where none is
    large enough (some 60 capabilities): then carry `text` as a file. `left_out`: how many more are
    revoked than a list holds; those stand in their sites' logs alone.
    """

    number: int
    made_s: int
    denied: int
    left_out: int
    note: str
    text: str
    svg: str | None


class LinkShown(Answer, frozen=True, kw_only=True):
    """How the site is connected now, as far as this process knows."""

    up: bool
    bearer: str
    since_ms: int | None
    heard_ms: int | None
    bytes_in: int
    bytes_out: int
    connects: int
    trouble: str


class LogShown(Answer, frozen=True, kw_only=True):
    """One log as held here. `lag`: announced by the site and not held yet."""

    log: str
    origin: str
    own: bool
    oldest: int
    size: int
    cosigned: int
    lag: int


class StopShown(Answer, frozen=True, kw_only=True):
    """A log that the fold cannot take further: at which entry, why, and what it saw."""

    log: str
    index: int
    code: str
    evidence: str


class SiteShown(Answer, frozen=True, kw_only=True):
    """A site at a glance. `fenced`: the hub was restored, and lost entries are not back yet.

    `commissioned` is the last sign-off; null while nobody has signed.
    """

    site: str
    name: str
    label: str
    url: str
    enabled: bool
    epoch: str
    key_version: int
    fenced: bool
    vkey: str
    hub_vkey: str
    cosigner_vkey: str
    link: LinkShown
    logs: list[LogShown]
    alarms: int
    conflicts: int
    deficits: int
    forks: int
    stopped: list[StopShown]
    commissioned: CommissionedShown | None


class SitesShown(Answer, frozen=True, kw_only=True):
    """Sites by id; `next` continues (`from`), empty at the end."""

    sites: list[SiteShown]
    next: str


class CompartmentShown(Answer, frozen=True, kw_only=True):
    """One box. `disabled`: why it is out of service; `cautious`: a newer version restricts it."""

    door: int
    size: str
    band: str
    custody: str
    door_open: bool | None
    disabled: str
    parcel: str | None
    openings: int
    cautious: bool


class ParcelShown(Answer, frozen=True, kw_only=True):
    """A parcel that is there. `parcel` is its identity, null while its annex is not here."""

    ref: str
    door: int
    size: str
    by: str
    counter: int
    digits: int
    key_version: int
    parcel: str | None


class ExpectedShown(Answer, frozen=True, kw_only=True):
    """A parcel to come."""

    ref: str
    size: str | None
    parcel: str | None


class GrantShown(Answer, frozen=True, kw_only=True):
    """A right. `state` is for display: active, revoked, attempted or used.

    `cti` is the id of one that went out as a capability, else empty.
    """

    ref: str
    grant: str
    tenant: str
    label: str
    of: str | None
    until_ms: int | None
    state: str
    cti: str


class ReservationShown(Answer, frozen=True, kw_only=True):
    """A promise that the site has not ended."""

    ref: str
    size: str
    band: str
    until_ms: int | None
    cancelled: bool


class ClassShown(Answer, frozen=True, kw_only=True):
    """One class of compartments: how many there are, and who has rights to how many."""

    kind: str
    compartments: int
    free: int
    site_free: int
    hub_rights: int
    hub_unspent: int


class DeficitShown(Answer, frozen=True, kw_only=True):
    """A class that owes more than it has: `reroute` these promises, the first first."""

    kind: str
    rights: int
    reroute: list[str]


class RequestShown(Answer, frozen=True, kw_only=True):
    """An opening that was asked for and not answered yet."""

    ref: str
    door: int
    by: str
    why: str
    case: str
    until_ms: int


class ClaimShown(Answer, frozen=True, kw_only=True):
    """What somebody said."""

    ref: str
    says: str
    by: str


class AlarmShown(Answer, frozen=True, kw_only=True):
    """An alarm that stands."""

    ref: str
    alarm: str
    door: int | None
    about: str


class ConflictShown(Answer, frozen=True, kw_only=True):
    """Two truths that met."""

    what: str
    ref: str
    other: str
    how: str


class BookShown(Answer, frozen=True, kw_only=True):
    """The book of a site; parts that were not asked for are left out.

    `sha256` (base64) is that of the whole canonical book: equal at both ends when the books are.
    """

    site: str
    sizes: dict[str, int]
    sha256: str
    fenced: bool
    stopped: list[StopShown]
    compartments: list[CompartmentShown] | UnsetType = UNSET
    parcels: list[ParcelShown] | UnsetType = UNSET
    expected: list[ExpectedShown] | UnsetType = UNSET
    grants: list[GrantShown] | UnsetType = UNSET
    reservations: list[ReservationShown] | UnsetType = UNSET
    capacity: list[ClassShown] | UnsetType = UNSET
    deficits: list[DeficitShown] | UnsetType = UNSET
    requests: list[RequestShown] | UnsetType = UNSET
    claims: list[ClaimShown] | UnsetType = UNSET
    alarms: list[AlarmShown] | UnsetType = UNSET
    conflicts: list[ConflictShown] | UnsetType = UNSET
    bank: BankShown | UnsetType = UNSET


class CodeShown(Answer, frozen=True, kw_only=True):
    """A parcel's pick-up code. `state`: `deposited`, `news` (relayed), or `expected`."""

    ref: str
    state: CodeState
    parcel: str
    short: str
    long: str


class EntryShown(Answer, frozen=True, kw_only=True):
    """A stored entry; `entry` is its text, whose UTF-8 bytes are what the log hashes."""

    ref: str
    index: int
    entry: str


class EntriesShown(Answer, frozen=True, kw_only=True):
    """A page of a log: ask again from `next`; all is read when it equals `size`."""

    log: str
    origin: str
    next: int
    size: int
    entries: list[EntryShown]


class ProofShown(Answer, frozen=True, kw_only=True):
    """`proof` is a c2sp.org/tlog-proof@v1 of `entry`, checkable with the log's vkey alone."""

    ref: str
    entry: str
    proof: str


class Relayed(Answer, frozen=True, kw_only=True):
    """What became of a receipt: `news` until the log confirms it."""

    ref: str
    state: Literal["news", "confirmed"]
    new: bool


class NewsShown(Answer, frozen=True, kw_only=True):
    """A relayed deposit that the log has not confirmed."""

    site: str
    ref: str
    door: int | None
    size: str
    parcel: str
    at_ms: int


class NewsPage(Answer, frozen=True, kw_only=True):
    """All news of the sites asked for."""

    news: list[NewsShown]


class AuditShown(Answer, frozen=True, kw_only=True):
    """One line of a site's audit."""

    seq: int
    code: str
    evidence: dict[str, Any]
    at_ms: int


class AuditPage(Answer, frozen=True, kw_only=True):
    """Lines from `from` on; ask again from `next`."""

    lines: list[AuditShown]
    next: int


class Health(Answer, frozen=True, kw_only=True):
    """What the hub says of itself. `peers`: how callers are known, in this version."""

    ok: bool
    operator: str
    instance: str
    storage: str
    listen: str
    peers: str
    sites: int
    fenced: list[str]
    books: int


class OpeningShown(Answer, frozen=True, kw_only=True):
    """A door that waits for a second person; `limit`: whose requests were too many a minute."""

    id: str
    door: int
    by: str
    why: str
    case: str
    asked_ms: int
    ends_ms: int
    limit: Literal["account", "site", "all"]


class OpeningsShown(Answer, frozen=True, kw_only=True):
    """All that wait at a site."""

    openings: list[OpeningShown]


class AccountShown(Answer, frozen=True, kw_only=True):
    """An account. `sites` empty: all of them. `ended_ms`: when somebody ended it."""

    name: str
    role: Role
    sites: list[str]
    tenant: str
    by: str
    made_ms: int
    ends_ms: int
    ended_ms: int | None


class AccountsShown(Answer, frozen=True, kw_only=True):
    """All accounts, by name; those that ended too."""

    accounts: list[AccountShown]


class AccountMade(Answer, frozen=True, kw_only=True):
    """`token`, and for an operator `otpauth`: told this once and kept nowhere."""

    account: AccountShown
    token: str
    otpauth: str
