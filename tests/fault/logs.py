"""What the tests of the log share: an identity, entries, records, and verifying a database."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sync.entry import Lane, compose, private_hash
from sync.findings import Report
from sync.fsck import verify
from sync.moment import Moment
from sync.reader import LogFile
from sync.roots import Source
from sync.store import Identity, Record, Store

IDENTITY = Identity("lockers.example", "site/0042", "e1-9f2c01ab", bytes(range(32)))
SALT = bytes(range(16))


def entry(number: int, **more: object) -> bytes:
    return compose({"kind": "door.opened", "door": number % 90, **more}, at=Moment(1, number))


def record(index: int, lane: Lane = Lane.CUSTODY, **more: Any) -> Record:
    return Record(lane, index, entry(index, **more))


def private(index: int, annex: bytes) -> Record:
    data = compose(
        {"kind": "parcel.deposited"}, at=Moment(1, index), private=private_hash(SALT, annex)
    )
    return Record(Lane.CUSTODY, index, data, annex, SALT)


def erasure(index: int, of: int) -> Record:
    fact = {"kind": "annex.erased", "by": "test", "of": f"e1-9f2c01ab:sc{of}"}
    return Record(Lane.CUSTODY, index, compose(fact, at=Moment(1, index)))


async def fill(path: Path, records: Iterable[Record], each: int = 1) -> dict[Lane, str]:
    """Append the records, `each` a commit, and return the last checkpoints."""
    waiting = list(records)
    async with await Store.open(path, IDENTITY, ballast_bytes=4096) as store:
        for start in range(0, len(waiting), each):
            await store.append(waiting[start : start + each])
        return {lane: store.checkpoint(lane) for lane in Lane}


def filled(path: Path, records: Iterable[Record], each: int = 1) -> dict[Lane, str]:
    return asyncio.run(fill(path, records, each))


def fsck(path: Path, held: Iterable[str] = ()) -> Report:
    with LogFile.open(path) as file:
        sources = [
            Source(head, file.kept(head), file.stored_nodes(head), file.receipts(head))
            for head in file.heads()
        ]
        return verify(
            sources,
            file.pages(),
            held=list(held),
            strays=file.strays(),
            snapshots=file.snapshots(),
        )


def codes(report: Report) -> set[str]:
    return {finding.code.removeprefix("fsck.") for finding in report.findings}
