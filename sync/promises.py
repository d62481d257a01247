"""What the hub asks of a site, and rights to compartments that go from one end to the other.

Part of the vocabulary (`sync.facts`). The hub writes in its own lanes for the site; the site
answers in its own. Nothing here opens a door: only the site's own intent does.
"""

from typing import Literal

from sync.fact import Fact, Size

__all__ = [
    "CapacityReleased",
    "CapacityTransferred",
    "ClaimMade",
    "ExpectationEnded",
    "FoldSwitched",
    "OpenRequested",
    "ParcelExpected",
    "RequestDeclined",
    "ReservationCancelled",
    "ReservationClosed",
    "ReservationMade",
]


class ParcelExpected(Fact, frozen=True, kw_only=True, tag="parcel.expected"):
    """The hub expects a parcel here: `tag` is the keyed tag of its identity, the annex names it."""

    tag: str
    key_version: int
    size: Size | None = None


class ExpectationEnded(Fact, frozen=True, kw_only=True, tag="expectation.ended"):
    """The parcel of the hub's entry `of` is not expected any more. Its name may be erased then."""

    by: str


class ClaimMade(Fact, frozen=True, kw_only=True, tag="claim.made"):
    """Somebody (`by`) says what happened to the parcel `tag`; a fact of the site wins over it."""

    tag: str
    says: Literal["deposited", "collected", "returned", "lost"]
    by: str


class OpenRequested(Fact, frozen=True, kw_only=True, tag="open.requested"):
    """Support asks for one door, until `until_ms` (UTC) and no later; `by` an account of the hub.

    `second` is another account that agreed, where more doors are asked for than one may open alone.
    The site answers with an intent of its own (`asked`), or with `request.declined`.
    """

    by: str
    why: str
    case: str
    until_ms: int
    second: str = ""


class RequestDeclined(Fact, frozen=True, kw_only=True, tag="request.declined"):
    """The site does not do what the hub's entry `of` asks, and says `why` (a stable code)."""

    why: str


class ReservationMade(Fact, frozen=True, kw_only=True, tag="reservation.made"):
    """The hub promises a compartment of (size, band) to the parcel `tag`: it spends one right.

    It keeps until cancelled, or until the site finds that `until_ms` (UTC) has passed.
    """

    size: Size
    tag: str
    key_version: int
    band: str = ""
    until_ms: int | None = None


class ReservationCancelled(Fact, frozen=True, kw_only=True, tag="reservation.cancelled"):
    """The promise `of` is taken back. Its right goes to the site, by the site's own release."""

    by: str


class ReservationClosed(Fact, frozen=True, kw_only=True, tag="reservation.closed"):
    """The site has ended the promise `of`, and its right: `used` by `parcel`, `expired`, `void`."""

    outcome: Literal["used", "expired", "void"]
    size: Size
    band: str = ""
    parcel: str | None = None


class CapacityTransferred(Fact, frozen=True, kw_only=True, tag="capacity.transferred"):
    """Rights to `count` compartments of (size, band) go to the other end: site to hub, or back."""

    size: Size
    count: int
    band: str = ""


class CapacityReleased(Fact, frozen=True, kw_only=True, tag="capacity.released"):
    """The right behind the cancelled promise `of` is the site's again: nothing stands on it."""

    size: Size
    band: str = ""


class FoldSwitched(Fact, frozen=True, kw_only=True, tag="fold.switched"):
    """From the sizes `lanes` (log: size) on, every replica folds by the rules `version`."""

    version: int
    lanes: dict[str, int]
