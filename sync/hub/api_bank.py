"""The bank of a site as the API shows it: its lines, boards and doors, and who signed it off."""

import msgspec

from sync.book import Book


class LineShown(msgspec.Struct, frozen=True, kw_only=True):
    """A line that the site's map names; one that its own configuration names is not here."""

    name: str
    serial: str
    tcp: str
    framing: str
    baud: int
    parity: str
    stop_bits: int


class BoardShown(msgspec.Struct, frozen=True, kw_only=True):
    """A controller board."""

    name: str
    line: str
    profile: str
    unit: int


class DoorShown(msgspec.Struct, frozen=True, kw_only=True):
    """A door as it was taught. `column` 0: it has no place in the picture."""

    door: int
    size: str
    reach: str
    lock: str
    switch: str
    occupancy: str
    rail: str
    heated: bool
    cooled: bool
    open_ms: int
    column: int
    row: int
    rows: int


class CommissionedShown(msgspec.Struct, frozen=True, kw_only=True):
    """The last sign-off. `report` is the base64 SHA-256 of the report that the site keeps."""

    ref: str
    by: str
    boards: int
    doors: int
    passed: int
    failed: int
    report: str
    audit: bool


class BankShown(msgspec.Struct, frozen=True, kw_only=True):
    """The bank. `commissioned` is null while nobody has signed this site off."""

    lines: list[LineShown]
    boards: list[BoardShown]
    doors: list[DoorShown]
    commissioned: CommissionedShown | None


def bank(book: Book) -> BankShown:
    """Return the bank that a book describes, everything by name or number."""
    site = book.map
    lines = [site.lines[name] for name in sorted(site.lines)]
    return BankShown(
        lines=[msgspec.convert(line, LineShown, from_attributes=True) for line in lines],
        boards=[
            msgspec.convert(site.boards[name], BoardShown, from_attributes=True)
            for name in sorted(site.boards)
        ],
        doors=[
            msgspec.convert(
                msgspec.structs.asdict(site.doors[number]) | {"door": number}, DoorShown
            )
            for number in sorted(site.doors)
        ],
        commissioned=commissioned(book),
    )


def commissioned(book: Book) -> CommissionedShown | None:
    """Return the last sign-off of a site."""
    last = book.commissioned
    return None if last is None else msgspec.convert(last, CommissionedShown, from_attributes=True)
