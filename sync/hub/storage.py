"""The hub's storage: what it keeps, as values, and the port that SQLite and PostgreSQL satisfy.

Everything belongs to one site; nothing here reaches over two. So the rows can be dealt out by site
over several databases, and a site that is moved takes all of its rows with it.

Codes: `hub.moved` (`Moved`: somebody else was quicker), `hub.site_exists`, `hub.no_site`,
`hub.no_log`, `hub.bad_entry`, `hub.bad_note` (`OursBroken`: a bug of the hub), `store.*`
(`StoreFailed`), and those of `sync.shelf` for what comes from others.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal, Protocol

import msgspec

from certs.keys import Verifier
from certs.note import Checkpoint
from sync.errors import SyncError
from sync.origin import Ring
from sync.rows import Annex
from sync.shelf import Shelf

APPEND_ENTRIES_MAX: Final = 512
"""How many entries of the hub's own one commit takes."""

Sign = Callable[[Checkpoint], str]
"""Signs a checkpoint of an own log; returns the note."""
Clock = Callable[[], int]
"""UTC in milliseconds, for the columns that tell people when. No decision rests on it."""
NewsState = Literal["news", "confirmed", "refused"]


class Moved(SyncError):  # noqa: N818  # the name says what happened
    """A compare-and-set missed: read again and decide again. Evidence: what stands there now."""

    def __init__(self, **evidence: object) -> None:
        super().__init__("hub.moved", "Somebody else wrote first: read again.", **evidence)


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A site that this hub governs.

    `vkey` is the site's writer key (named `<operator>/site/<site_id>`); a site whose gateway was
    replaced has several, separated by a space, the newest last (`vkeys`). `url` is where the
    site can be pulled, empty where it dials out. `epoch` is the hub's own epoch for it. `fenced`:
    the hub was restored and writes nothing here until its lost lanes are back. `version` counts
    the changes.
    """

    site_id: str
    operator: str
    label: str
    vkey: str
    epoch: str
    created_ms: int
    url: str = ""
    enabled: bool = True
    key_version: int = 1
    fenced: bool = False
    version: int = 0

    @property
    def vkeys(self) -> list[str]:
        """The site's writer keys, the newest last: what an older one signed stays good."""
        return self.vkey.split()


class Receipt(msgspec.Struct, frozen=True):
    """A checkpoint with a cosignature, and the instance of the store that gave it."""

    size: int
    note: str
    instance: str
    at_ms: int


class Fork(msgspec.Struct, frozen=True):
    """Evidence: a signed checkpoint that this hub's log does not lead to."""

    origin: str
    size: int
    root: bytes
    note: str
    at_ms: int


class Snapshot(msgspec.Struct, frozen=True):
    """A folded book: by which rules, up to which sizes (by log), and its bytes (the fold's own)."""

    fold: int
    lanes: Mapping[str, int]
    data: bytes
    at_ms: int


class News(msgspec.Struct, frozen=True):
    """What somebody told about this site and its log has not confirmed yet."""

    key: str
    payload: bytes
    state: NewsState
    at_ms: int


class Audit(msgspec.Struct, frozen=True):
    """Something a person should be able to look up: a conflict, a refusal, who did what."""

    seq: int
    code: str
    evidence: Mapping[str, object]
    at_ms: int


class Record(msgspec.Struct, frozen=True):
    """A small thing of one kind, by its id: a device, a claim, an account. `version` counts."""

    kind: str
    id: str
    data: bytes
    version: int
    at_ms: int


class HubShelf(Shelf, Protocol):
    """A site's shelf at the hub, with what only the hub asks."""

    async def annexes_from(self, origin: str) -> int:
        """Return the first index whose annex is neither held nor erased; the size if none is.

        Computed from what is stored: what to ask the site for.
        """


class Storage(Protocol):
    """The hub's storage. Made by `sync.hub.opening.open_storage`, ended by `close`.

    Every call may raise `StoreFailed`: `busy` (too much waits, or the database is out of reach for
    longer than the retries last: nothing is known to have happened, and asking again is safe),
    `full` (nothing was half done), `io` (this storage is dead: open a new one), `torn`.
    """

    @property
    def instance(self) -> str:
        """16 hex digits that name this store (`Shelf.instance`)."""

    async def renew_instance(self) -> str:
        """Give this store another name: part of restoring it from a backup, or copying it."""

    async def sites(self) -> tuple[Site, ...]:
        """Return all sites, by id."""

    async def site(self, site_id: str) -> Site | None:
        """Return one site, or None."""

    async def add_site(self, site: Site) -> None:
        """Add a site; the same one again is nothing, another of its id `hub.site_exists`."""

    async def update_site(self, site: Site) -> Site:
        """Change a site that was read at `site.version`; return it at its next version.

        Raises `Moved` when it was changed meanwhile, `hub.no_site` when there is none.
        """

    def shelf(
        self,
        site_id: str,
        ring: Ring,
        *,
        cosigners: Sequence[Verifier] = (),
        sign: Sign | None = None,
    ) -> HubShelf:
        """Return the shelf of a site.

        `ring`: the writers whose logs may begin here. `cosigners`: whose receipts are believed.
        With `sign`, `note` answers any size of an own log, and `cut` ends where it fits best.
        """

    # --- the hub's own lanes ------------------------------------------------------------------

    async def begin(self, site_id: str, origin: str, vkey: str, note: str) -> None:
        """Begin an own log with its signed checkpoint of size 0; nothing if it has begun."""

    async def disown(self, site_id: str, origin: str) -> None:
        """Write this own log no more: its epoch has ended. What is lost of it may come back."""

    async def append(
        self,
        site_id: str,
        origin: str,
        size: int,
        entries: Sequence[bytes],
        annexes: Mapping[int, Annex] | None = None,
    ) -> Checkpoint:
        """Make entries [size, size + n) of an own log durable, all or none, if it has `size` now.

        `annexes`: by index, of exactly those entries that have `private`. Returns what to sign and
        `seal`: until then nobody is told of these entries. Raises `Moved` with the real `size`.
        """

    async def seal(self, site_id: str, origin: str, note: str) -> None:
        """Keep the signed checkpoint of what was appended, and tell from now on up to its size.

        May be repeated, and may come late: the told size never goes back. `hub.bad_note` unless the
        log's key signed exactly what is stored.
        """

    async def unsealed(self, site_id: str) -> tuple[Checkpoint, ...]:
        """Return the own logs that hold more than is signed: a crash came between. Seal them."""

    # --- beside the logs ----------------------------------------------------------------------

    async def keep_cosignature(self, site_id: str, origin: str, note: str) -> None:
        """Keep the checkpoint that this hub cosigned, signature lines and all."""

    async def cosignature(self, site_id: str, origin: str) -> Receipt | None:
        """Return the receipt of the largest size, from this store or another one."""

    async def keep_fork(self, site_id: str, origin: str, note: str) -> bool:
        """Keep a verified checkpoint as evidence of a fork; say whether it is new."""

    async def forks(self, site_id: str) -> tuple[Fork, ...]:
        """Return all evidence of forks, by log and size."""

    async def keep_book(self, site_id: str, snapshot: Snapshot) -> None:
        """Keep a folded book, in place of the last one of its rules."""

    async def latest_book(self, site_id: str, fold: int) -> Snapshot | None:
        """Return the kept book of these rules, or None."""

    async def put_news(self, site_id: str, key: str, payload: bytes) -> bool:
        """Keep what somebody told, once by `key`; say whether it is new."""

    async def settle_news(self, site_id: str, key: str, state: NewsState, payload: bytes) -> None:
        """Say what became of it; `payload` takes the place of what was kept, and names nobody."""

    async def news(self, site_id: str, state: NewsState = "news") -> tuple[News, ...]:
        """Return what was told and is in this state, oldest first."""

    async def add_record(self, site_id: str, kind: str, name: str, data: bytes) -> bool:
        """Keep a record of at most 64 KiB; False, and nothing done, where there is one already.

        `site_id` is empty for what belongs to the hub itself.
        """

    async def record(self, site_id: str, kind: str, name: str) -> Record | None:
        """Return one record, or None."""

    async def records(self, site_id: str, kind: str) -> tuple[Record, ...]:
        """Return all records of a kind, by id."""

    async def change_record(self, site_id: str, known: Record, data: bytes) -> Record:
        """Put `data` in the place of a record that was read as `known`; return it as it is now.

        Raises `Moved` when it was changed or dropped meanwhile.
        """

    async def drop_record(self, site_id: str, kind: str, name: str) -> bool:
        """Forget a record; say whether there was one."""

    async def audit(self, site_id: str, code: str, evidence: Mapping[str, object]) -> int:
        """Write one line of the site's audit; return its number, from 0 with no gap."""

    async def audited(self, site_id: str, start: int, count: int) -> tuple[Audit, ...]:
        """Return at most `count` lines from `start`."""

    async def close(self) -> None:
        """Write what waits, then let go. May be called twice."""
