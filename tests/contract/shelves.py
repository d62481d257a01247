"""The holders that `test_shelf_contract` runs against: add a line to `SHELVES`, and it is one more.

A factory gets an empty folder and lends a `Holder`: a shelf that writes the lanes of one voice
(`own`) and knows the keys of both voices, `SITE` and `HUB`, and of the cosigner `COSIGNER`.

    @asynccontextmanager
    async def mine(folder: Path) -> AsyncIterator[Holder]: ...

    SHELVES["mine"] = mine

A factory that cannot run here calls `pytest.skip` with the reason.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from certs.keys import KIND_COSIGNATURE, SigningKey
from sync.commit import Identity
from sync.entry import Lane
from sync.origin import Ring
from sync.rows import Annex, Record
from sync.shelf import Shelf
from sync.store import Store
from tests.shelf_memory import MemoryShelf, Private

SITE: Final = Identity("lockers.example", "site/0042", "e2-00000002", bytes(range(32)))
HUB: Final = Identity("lockers.example", "hub/0042", "e1-0000000a", bytes(range(32, 64)))
STRANGER: Final = Identity("lockers.example", "hub/0077", "e1-0000000b", bytes(32))
COSIGNER: Final = SigningKey.from_seed(
    "lockers.example/hub/0042/cosigner", bytes(range(64, 96)), KIND_COSIGNATURE
)
IMPOSTOR: Final = SigningKey.from_seed(COSIGNER.name, bytes(32), KIND_COSIGNATURE)


def ring() -> Ring:
    """Return the keys of both voices, by the names of their writers."""
    return Ring(
        *(
            SigningKey.from_seed(f"{who.operator}/{who.writer}", who.seed).vkey
            for who in (SITE, HUB)
        )
    )


@dataclass
class Holder:
    """A shelf under test. `write` appends to own lanes, durably and signed, when it returns.

    `reopen` ends the shelf and gives one that reads what the first left; None where nothing lasts.
    `erases`: entries of kind `annex.erased` are obeyed.
    """

    shelf: Shelf
    own: Identity
    write: Callable[[Sequence[Record]], Awaitable[None]]
    reopen: Callable[[], Awaitable[Shelf]] | None = None
    erases: bool = True

    @property
    def other(self) -> Identity:
        """The voice whose lanes are taken in here."""
        return HUB if self.own is SITE else SITE


Factory = Callable[[Path], AbstractAsyncContextManager[Holder]]


@asynccontextmanager
async def memory(folder: Path) -> AsyncIterator[Holder]:
    """The shelf that other tests use, which knows no erasing entry."""
    shelf = MemoryShelf(ring=ring(), cosigners=[COSIGNER.verifier])
    for lane in Lane:
        shelf.begin(SITE.origin(lane), SITE.seed)

    async def write(records: Sequence[Record]) -> None:
        for one in records:
            data: bytes | Private = one.entry
            if one.annex is not None:
                data = Private(one.entry, Annex(one.salt, one.annex, None))
            shelf.write(SITE.origin(one.lane), data)

    yield Holder(shelf, SITE, write, erases=False)


@asynccontextmanager
async def store(folder: Path) -> AsyncIterator[Holder]:
    """A gateway's database."""
    path = folder / "site.db"

    async def opened() -> Store:
        return await Store.open(
            path, SITE, ring=ring(), cosigners=[COSIGNER.verifier], ballast_bytes=4096
        )

    made = [await opened()]

    async def write(records: Sequence[Record]) -> None:
        await made[-1].append(records)

    async def reopen() -> Shelf:
        await made[-1].close()
        made.append(await opened())
        return made[-1]

    try:
        yield Holder(made[0], SITE, write, reopen)
    finally:
        await made[-1].close()


SHELVES: Final[dict[str, Factory]] = {"store": store, "memory": memory}
