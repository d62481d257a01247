"""What a sample says of one taught door. Pure."""

from gateway.commissioning import draft as drafts
from gateway.commissioning.tracks import Sample
from sync.sitemap import DoorItem


def of_door(door: DoorItem, sample: Sample) -> tuple[bool | None, bool | None]:
    """Return (open, occupied) as this door's sensors say it; None where nothing does."""
    is_open = _input(door.switch, door.open_when == "active", sample)
    if not door.occupancy:
        return is_open, None
    if not door.occupied_below:
        return is_open, _input(door.occupancy, door.occupied_when == "active", sample)
    values = sample.values.get(drafts.of(door.occupancy), ())
    number = drafts.channel(door.occupancy)
    value = values[number] if number < len(values) else None
    return is_open, None if value is None else value < door.occupied_below


def _input(point: str, active_is: bool, sample: Sample) -> bool | None:  # noqa: FBT001  # a sense
    inputs = sample.inputs.get(drafts.of(point), ())
    number = drafts.channel(point)
    return inputs[number] is active_is if number < len(inputs) else None
