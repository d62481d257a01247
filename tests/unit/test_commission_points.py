"""Pins what a look says of a taught door: open and occupied, by bit or by distance, or nothing."""

import pytest

from gateway.commissioning import points
from gateway.commissioning.tracks import Sample
from sync.sitemap import DoorItem

SEEN = Sample(at_ms=0, inputs={"io-1": (True, False)}, values={"sensor-1": (250_000, None)})


def door(
    switch: str = "io-1:0", occupancy: str = "", below: int = 0, sense: str = "active"
) -> DoorItem:
    return DoorItem(
        number=1, size="M", lock="io-1:0", switch=switch, rail="main", open_when="active",
        occupancy=occupancy, occupied_below=below, occupied_when=sense,  # type: ignore[arg-type]
    )  # fmt: skip


@pytest.mark.parametrize(
    ("of", "said"),
    [
        (door(), (True, None)),
        (door(switch="io-1:1"), (False, None)),
        (door(switch="io-1:2"), (None, None)),
        (door(switch="gone:0"), (None, None)),
        (door(occupancy="io-1:1"), (True, False)),
        (door(occupancy="io-1:1", sense="inactive"), (True, True)),
        (door(occupancy="sensor-1:0", below=300_000), (True, True)),
        (door(occupancy="sensor-1:0", below=250_000), (True, False)),
        (door(occupancy="sensor-1:1", below=300_000), (True, None)),
        (door(occupancy="sensor-1:2", below=300_000), (True, None)),
        (door(occupancy="gone:0", below=300_000), (True, None)),
    ],
)
def test_a_door_says_what_its_points_say(
    of: DoorItem, said: tuple[bool | None, bool | None]
) -> None:
    assert points.of_door(of, SEEN) == said
