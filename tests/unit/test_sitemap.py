"""The site's map as items: written, gathered, replaced whole, and never seen by halves."""

import msgspec
import pytest

from sync import sitemap
from sync.facts import Scalar
from sync.sitemap import MapReader, SiteMap
from tests.stage import small_map


def gather(reader: MapReader, items: list[tuple[str, dict[str, Scalar]]]) -> list[SiteMap | None]:
    return [reader.add(item, value) for item, value in items]


def test_a_map_is_written_and_read_back() -> None:
    site = small_map()
    told = gather(MapReader(), sitemap.items(site))
    assert told[:-1] == [None] * (len(told) - 1)
    assert told[-1] == site


def test_defaults_are_left_out_and_come_back() -> None:
    _, value = sitemap.items(small_map())[-1]
    assert "pulse_ms" not in value
    assert "open_when" not in value


def test_items_come_in_one_order() -> None:
    site = small_map()
    backwards = SiteMap(
        boards=dict(reversed(site.boards.items())), doors=dict(reversed(site.doors.items()))
    )
    assert sitemap.items(backwards) == sitemap.items(site)


def test_a_new_head_begins_a_new_map() -> None:
    reader = MapReader()
    items = sitemap.items(small_map())
    gather(reader, items[:-1])
    assert gather(reader, items)[-1] == small_map()


def test_an_item_without_a_head_is_of_no_map() -> None:
    reader = MapReader()
    items = sitemap.items(small_map())
    assert gather(reader, items[1:]) == [None] * (len(items) - 1)
    assert gather(reader, items)[-1] is not None
    assert reader.add(*items[1]) is None


def test_an_empty_map_is_whole_at_once() -> None:
    assert gather(MapReader(), sitemap.items(SiteMap())) == [SiteMap()]


def test_items_of_a_later_version_are_ignored() -> None:
    reader = MapReader()
    items = sitemap.items(small_map())
    assert gather(reader, [*items[:2], ("colour", {"of": "doors"}), *items[2:]])[-1] == small_map()


@pytest.mark.parametrize(
    ("item", "value"),
    [
        ("map", {"boards": 1}),
        ("board", {"name": "a", "line": "bus", "profile": "p", "unit": "one"}),
        ("door", {"number": 1, "size": "XXL", "lock": "a:0", "switch": "a:1", "rail": "r"}),
    ],
)
def test_a_malformed_item_is_refused(item: str, value: dict[str, Scalar]) -> None:
    with pytest.raises(msgspec.ValidationError):
        MapReader().add(item, value)
