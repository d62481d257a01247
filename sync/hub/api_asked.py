"""What the API takes, as types: decoding, OpenAPI and refusals come from these alone."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from sync.fact import Size
from sync.hub.accounts import DAYS, DAYS_MAX, Role

__all__ = [
    "AccountAsked",
    "Band",
    "Body",
    "By",
    "ByAsked",
    "CancelAsked",
    "CapabilityAsked",
    "ClaimAsked",
    "ClearAsked",
    "CodeState",
    "Count",
    "Door",
    "ExpectedAsked",
    "FoldAsked",
    "GrantAsked",
    "HandBackAsked",
    "OpenAsked",
    "ParcelNamed",
    "RefText",
    "RekeyAsked",
    "RelayAsked",
    "ReservationAsked",
    "ServiceAsked",
    "SiteAsked",
    "SiteName",
    "Tenant",
    "Text",
    "UtcMs",
]

By = Annotated[
    str,
    Meta(
        pattern=r"^(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9@._-]{1,64}$",
        description="Who is on record: the account (so too where it is left out), or the account, "
        "a dot and who asked there: `desk.anna`. No person's name, and not digits alone.",
    ),
]
Text = Annotated[str, Meta(min_length=1, max_length=64)]
Band = Annotated[str, Meta(pattern=r"^[a-z0-9-]{0,32}$")]
Tenant = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")]
UtcMs = Annotated[int, Meta(ge=0, lt=2**53, description="UTC, milliseconds since 1970.")]
RefText = Annotated[str, Meta(pattern=r"^e[1-9][0-9]{0,9}-[0-9a-f]{8}:[sh][uct][0-9]{1,15}$")]
Count = Annotated[int, Meta(ge=1, le=3_084)]
CodeState = Literal["deposited", "news", "expected"]
SiteName = Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")]
Door = Annotated[int, Meta(ge=0, lt=2**31)]


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all requests: a key that is not known is refused."""


class ParcelNamed(Body, frozen=True, kw_only=True):
    """A parcel's identity: `<tenant>/<TRACKING>/<piece>`."""

    tenant: Tenant
    tracking: Annotated[str, Meta(pattern=r"^[A-Za-z0-9]{1,64}$")]
    piece: Annotated[int, Meta(ge=1, le=9_999)] = 1

    @property
    def identity(self) -> str:
        """The one form that codes are derived from."""
        return f"{self.tenant}/{self.tracking.upper()}/{self.piece}"


class SiteAsked(Body, frozen=True, kw_only=True):
    """Add a site: its id, its writer's vkey, and its URL where the hub can pull it."""

    site: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")]
    vkey: Annotated[str, Meta(max_length=400)]
    url: Annotated[str, Meta(max_length=512)] = ""
    label: Annotated[str, Meta(max_length=64)] = ""


class RekeyAsked(Body, frozen=True, kw_only=True):
    """The writer's vkey of a gateway that replaces a lost one."""

    vkey: Annotated[str, Meta(max_length=400)]


class GrantAsked(Body, frozen=True, kw_only=True):
    """A right: `courier` of a `tenant`, or `collect` of one `parcel` (its reference)."""

    by: By = ""
    grant: Literal["courier", "collect"]
    label: Text
    tenant: Tenant | None = None
    parcel: RefText | None = None
    until_ms: UtcMs | None = None


class CapabilityAsked(Body, frozen=True, kw_only=True):
    """A right as a QR code, from `from_ms` (now) until `until_ms`.

    `courier`, `deposit` and `return` need a `tenant`. `collect` needs as `object` the entry of a
    parcel that is there or expected, `return` may have one; `reservation` needs the entry of a
    promise, and of a tenant's account its `parcel` too. `room` is the class of a `deposit`: `M`, or
    `M cold`.
    """

    by: By = ""
    action: Literal["collect", "deposit", "return", "courier", "service", "install", "reservation"]
    label: Text
    until_ms: UtcMs
    from_ms: UtcMs | None = None
    object: RefText | None = None
    tenant: Tenant | None = None
    room: Annotated[str, Meta(pattern=r"^(S|M|L|XL)( [a-z0-9-]{1,16})?$")] | None = None
    parcel: ParcelNamed | None = None


class ByAsked(Body, frozen=True, kw_only=True):
    """Who asks; the path says what for."""

    by: By = ""


class CancelAsked(Body, frozen=True, kw_only=True):
    """Whose promise it is: an account of a tenant has to say."""

    by: By = ""
    parcel: ParcelNamed | None = None


class AccountAsked(Body, frozen=True, kw_only=True):
    """An account: `sites` empty for all, a `tenant` for dispatch and nobody else."""

    by: By = ""
    name: Annotated[str, Meta(pattern=r"^[a-z0-9-]{1,32}$")]
    role: Role
    sites: Annotated[list[SiteName], Meta(max_length=1_000)] = []
    tenant: Tenant = ""
    days: Annotated[int, Meta(ge=1, le=DAYS_MAX)] = DAYS


class ExpectedAsked(Body, frozen=True, kw_only=True):
    """A parcel to come, and the size it needs where that is known."""

    by: By = ""
    parcel: ParcelNamed
    size: Size | None = None


class ReservationAsked(Body, frozen=True, kw_only=True):
    """A compartment of this class for this parcel, until `until_ms` or until cancelled."""

    by: By = ""
    parcel: ParcelNamed
    size: Size
    band: Band = ""
    until_ms: UtcMs | None = None


class HandBackAsked(Body, frozen=True, kw_only=True):
    """Rights that the hub does not need go back to the site."""

    by: By = ""
    size: Size
    count: Count
    band: Band = ""


class ServiceAsked(Body, frozen=True, kw_only=True):
    """`out`: take it out of service (with `why`); else back in."""

    by: By = ""
    out: bool
    why: Annotated[str, Meta(max_length=64)] = ""


class OpenAsked(Body, frozen=True, kw_only=True):
    """Open this door until `until_ms`, at most five minutes from now; `case` names the record."""

    by: By = ""
    why: Text
    case: Text
    until_ms: UtcMs


class ClaimAsked(Body, frozen=True, kw_only=True):
    """What somebody says happened to a parcel."""

    by: By = ""
    parcel: ParcelNamed
    says: Literal["deposited", "collected", "returned", "lost"]


class ClearAsked(Body, frozen=True, kw_only=True):
    """Alarms that were dealt with."""

    by: By = ""
    raises: Annotated[list[RefText], Meta(min_length=1, max_length=64)]


class FoldAsked(Body, frozen=True, kw_only=True):
    """The rules that every replica is to fold by from now on."""

    by: By = ""
    version: Annotated[int, Meta(ge=1, lt=2**31)]


class RelayAsked(Body, frozen=True, kw_only=True):
    """A deposit receipt: the entry's text, a proof or a checkpoint, and the parcel it names."""

    entry: Annotated[str, Meta(min_length=2, max_length=4_096)]
    parcel: ParcelNamed
    proof: Annotated[str, Meta(max_length=32_768)] = ""
    checkpoint: Annotated[str, Meta(max_length=16_384)] = ""
