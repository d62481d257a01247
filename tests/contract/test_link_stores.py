"""Pins the carrier between the real stores: a gateway's database and a hub's, closed and opened."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, cast

import pytest

from certs.keys import SigningKey
from certs.note import Checkpoint, sign_checkpoint
from sync.entry import Lane, Writer, compose, private_hash
from sync.exchange import Memory
from sync.hub.storage import Storage
from sync.merkle import EMPTY_ROOT
from sync.moment import Moment
from sync.rows import Annex, Record
from sync.shelf import Shelf
from tests.contract.shelves import COSIGNER, HUB, SITE, Holder, ring, store
from tests.contract.test_link_websocket import Side, dial, serving, until, wire
from tests.hubs import opened, url_of

SALT = bytes(range(16))
CUSTODY = SITE.origin(Lane.CUSTODY)
HUB_CUSTODY = HUB.origin(Lane.CUSTODY)


def _sign(checkpoint: Checkpoint) -> str:
    return sign_checkpoint(checkpoint, SigningKey.from_seed(checkpoint.origin, HUB.seed))


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Holder]:
    (tmp_path / "site").mkdir()
    async with store(tmp_path / "site") as holder:
        yield holder


@pytest.fixture
async def storage(tmp_path: Path) -> AsyncIterator[Storage]:
    made = await opened(await url_of("sqlite", tmp_path))
    for lane in Lane:
        origin = HUB.origin(lane)
        note = _sign(Checkpoint(origin, 0, EMPTY_ROOT))
        await made.begin("0042", origin, HUB.key(lane).vkey, note)
    yield made
    await made.close()


def deposits(first: int, count: int) -> list[Record]:
    """Return entries of the site's custody lane, every fifth with an annex."""
    records = []
    for index in range(first, first + count):
        annex = b"parcel %d" % index if index % 5 == 0 else None
        fact = {"kind": "parcel.expected", "tag": f"t{index}", "door": index % 96}
        private = None if annex is None else private_hash(SALT, annex)
        data = compose(fact, at=Moment(1, index), private=private)
        records.append(Record(Lane.CUSTODY, index, data, annex, annex and SALT))
    return records


def side(writer: Writer, shelf: Shelf, **more: Any) -> Side:
    return Side(writer, cast("Any", shelf), more=more, cosigner=COSIGNER)


async def size_of(shelf: Shelf, origin: str) -> int:
    log = await shelf.log(origin)
    return 0 if log is None else log.size


async def test_two_real_stores_agree_over_a_link_that_dies(site: Holder, storage: Storage) -> None:
    hub_shelf = storage.shelf("0042", ring(), cosigners=[COSIGNER.verifier], sign=_sign)
    here, there = side(Writer.SITE, site.shelf), side(Writer.HUB, hub_shelf)
    await site.write(deposits(0, 1_200))
    entry = compose({"kind": "compartment.enabled", "door": 3}, at=Moment(1, 1))
    done = await storage.append("0042", HUB_CUSTODY, 0, [entry], {})
    await storage.seal("0042", HUB_CUSTODY, _sign(done))
    async with serving(there) as port, wire(port, 9_000) as shaky:
        first = await dial(here, shaky)
        assert first.reason == "gone"
        assert 0 <= await size_of(hub_shelf, CUSTODY) < 1_200
        link = asyncio.ensure_future(dial(here, shaky))
        await until(lambda: here.holds.get(CUSTODY) == 1_200)
        await site.write(deposits(1_200, 3))
        await until(lambda: here.holds.get(CUSTODY) == 1_203)
        await until(lambda: there.holds.get(HUB_CUSTODY) == 1)
        async with asyncio.timeout(30):
            while (log := await site.shelf.log(CUSTODY)) is None or log.cosigned < 1_203:  # noqa: ASYNC110  # a receipt is one of many events
                await asyncio.sleep(0.02)
        here.stop.set()
        assert (await link).reason == "stopped"
    for origin in (CUSTODY, HUB_CUSTODY):
        mine, theirs = await site.shelf.log(origin), await hub_shelf.log(origin)
        assert mine is not None
        assert theirs is not None
        assert (mine.size, mine.root) == (theirs.size, theirs.root)
    items = await hub_shelf.read(CUSTODY, 0, 1_203)
    assert items == await site.shelf.read(CUSTODY, 0, 1_203)
    assert items[5].annex == Annex(SALT, b"parcel 5", None)
    assert sum(count for origin, _, count in there.arrived if origin == CUSTODY) == 1_203
    assert not here.found
    assert not there.found


async def test_a_store_that_was_closed_goes_on_where_it_was(site: Holder, storage: Storage) -> None:
    hub_shelf = storage.shelf("0042", ring(), cosigners=[COSIGNER.verifier], sign=_sign)
    await site.write(deposits(0, 40))
    for expected in (40, 60):
        here, there = side(Writer.SITE, site.shelf), side(Writer.HUB, hub_shelf)
        async with serving(there) as port:
            link = asyncio.ensure_future(dial(here, port))
            await until(lambda: here.holds.get(CUSTODY) == expected)  # noqa: B023  # run in this turn
            here.stop.set()
            summary = await link
        assert summary.counters.entries_out == (40 if expected == 40 else 20)
        assert summary.memory == Memory()
        assert site.reopen is not None
        if expected == 40:
            site.shelf = await site.reopen()
            await site.write(deposits(40, 20))
