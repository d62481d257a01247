"""Pins the hub's small records on every storage: kept once, changed by compare-and-set, told."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sync.hub.storage import Moved, Record, Storage
from tests.contract.test_hub_storage import ID, refused
from tests.hubs import NOW_MS, STORAGES, opened, url_of


@pytest.fixture(params=STORAGES)
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    storage = await opened(await url_of(request.param, tmp_path))
    yield storage
    await storage.close()


async def test_a_record_is_kept_once_changed_by_compare_and_set_and_forgotten(
    storage: Storage,
) -> None:
    """The hub's own records (no site) and those of each site are apart, and so are the kinds."""
    for site_id in ("", ID):
        assert await storage.record(site_id, "device", "a") is None
        assert await storage.add_record(site_id, "device", "a", b"one")
        assert not await storage.add_record(site_id, "device", "a", b"two"), "the first one stays"
        kept = await storage.record(site_id, "device", "a")
        assert kept == Record("device", "a", b"one", 0, NOW_MS)
        changed = await storage.change_record(site_id, kept, b"three")
        assert (changed.data, changed.version) == (b"three", 1)
        assert await storage.record(site_id, "device", "a") == changed
        moved = await refused(storage.change_record(site_id, kept, b"late"), Moved, "hub.moved")
        assert moved.evidence["id"] == "a"
        assert await storage.record(site_id, "device", "a") == changed
    assert await storage.record("", "claim", "a") is None
    assert await storage.drop_record("", "device", "a")
    assert not await storage.drop_record("", "device", "a")
    assert await storage.record(ID, "device", "a") is not None, "another's is not touched"
    gone = Record("device", "a", b"one", 0, NOW_MS)
    await refused(storage.change_record("", gone, b"late"), Moved, "hub.moved")


async def test_records_are_told_by_id_however_many_there_are(storage: Storage) -> None:
    names = [f"{number:04d}" for number in range(1_100)]
    for name in reversed(names):
        assert await storage.add_record(ID, "claim", name, name.encode())
    await storage.add_record(ID, "device", "0000", b"")
    await storage.add_record("", "claim", "0000", b"")
    found = await storage.records(ID, "claim")
    assert [(one.id, one.data) for one in found] == [(name, name.encode()) for name in names]
    assert await storage.records("0043", "claim") == ()


async def test_of_two_who_change_a_record_at_once_one_is_told(storage: Storage) -> None:
    await storage.add_record("", "claim", "a", b"open")
    kept = await storage.record("", "claim", "a")
    assert kept is not None
    told = await asyncio.gather(
        *(storage.change_record("", kept, b"used %d" % who) for who in range(8)),
        return_exceptions=True,
    )
    assert sum(isinstance(one, Record) for one in told) == 1
    assert sum(isinstance(one, Moved) for one in told) == 7
