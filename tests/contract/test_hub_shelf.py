"""Pins that the hub's shelves keep what every shelf promises, in each storage."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from certs.keys import SigningKey
from certs.note import Checkpoint, sign_checkpoint
from sync.entry import Lane
from sync.hub.storage import Storage
from sync.merkle import EMPTY_ROOT
from sync.rows import Annex, Record
from sync.shelf import Shelf
from tests.contract.shelves import COSIGNER, HUB, Holder, ring
from tests.contract.test_shelf_contract import *  # noqa: F403  # the same tests, other holders
from tests.hubs import STORAGES, opened, url_of


def sign(checkpoint: Checkpoint) -> str:
    return sign_checkpoint(checkpoint, SigningKey.from_seed(checkpoint.origin, HUB.seed))


def shelf_of(storage: Storage) -> Shelf:
    return storage.shelf("0042", ring(), cosigners=[COSIGNER.verifier], sign=sign)


async def append(storage: Storage, records: Sequence[Record]) -> None:
    """Append as the hub does: commit, then sign, then seal."""
    for lane in sorted({one.lane for one in records}):
        mine = [one for one in records if one.lane is lane]
        origin = HUB.origin(lane)
        annexes = {
            one.index: Annex(one.salt, one.annex, None) for one in mine if one.annex is not None
        }
        done = await storage.append(
            "0042", origin, mine[0].index, [one.entry for one in mine], annexes
        )
        await storage.seal("0042", origin, sign(done))


@pytest.fixture(params=STORAGES)  # type: ignore[no-redef]  # in place of the imported one
async def holder(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Holder]:
    url = await url_of(request.param, tmp_path)
    open_now = [await opened(url)]
    for lane in Lane:
        origin = HUB.origin(lane)
        note = sign(Checkpoint(origin, 0, EMPTY_ROOT))
        await open_now[-1].begin("0042", origin, HUB.key(lane).vkey, note)

    async def write(records: Sequence[Record]) -> None:
        await append(open_now[-1], records)

    async def reopen() -> Shelf:
        await open_now[-1].close()
        open_now.append(await opened(url))
        return shelf_of(open_now[-1])

    yield Holder(shelf_of(open_now[-1]), HUB, write, reopen)
    await open_now[-1].close()
