"""The data folder of a site: where things are, who it is, and its engine out of the log.

DATA/identity.json   who this site is (no secret)        DATA/keys/log, code   0600
DATA/site.db         the signed log                      DATA/clock.json       boot, saved clock
DATA/gateway.lock    held by whoever works on this site  DATA/control.sock     while it runs
"""

import fcntl
import os
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Final

import msgspec

from gateway import continuity, identity, rotating, wiping
from gateway.clock import Clock, replace_durably
from gateway.core.engine import Engine
from gateway.core.inputs import EpochBegun, Persisted, PersistFailed, Recovered
from gateway.core.outputs import Answer, Output, Persist
from gateway.core.policy import Settings
from gateway.core.recovery import take_up
from gateway.errors import Busy, GatewayError
from gateway.journal import records
from gateway.ports import StorePort
from sync import entry, fold
from sync.book import Book
from sync.codes import CodeKey
from sync.errors import StoreFailed, TheirsInvalid
from sync.moment import Moment
from sync.reader import LogFile
from sync.records import Parcel
from sync.rows import Taken
from sync.store import Identity

IDENTITY: Final = "identity.json"
CODE_KEY: Final = "code"
LOCK: Final = "gateway.lock"
CLOCK: Final = "clock.json"
_OPERATOR = re.compile(r"[a-z0-9]([a-z0-9.-]{0,62}[a-z0-9])?")
_SITE = re.compile(r"[a-z0-9-]{1,32}")
ANCHOR_ERROR_MS_MAX: Final = 86_400_000
"""An anchor that may be a day wrong does not raise the clock's floor."""


@dataclass(frozen=True, slots=True)
class Who:
    """Who a site is: the names and log key it signs with, and its code key with its version."""

    identity: Identity = field(repr=False)
    key_version: int
    code_key: bytes = field(repr=False)
    older: tuple[tuple[int, bytes], ...] = field(default=(), repr=False)

    @property
    def name(self) -> str:
        """`<operator>/<writer>`, which codes and QRs are made for."""
        return f"{self.identity.operator}/{self.identity.writer}"


class _Names(msgspec.Struct, frozen=True):
    """`identity.json` as `init` writes it: `gateway.identity.Names` and the code key's version."""

    operator: str
    writer: str
    epoch: str
    key_version: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] = 1


def load(data: Path) -> Who:
    """Return who the site in `data` is. Raises SyncError (`identity.missing`), CertsError.

    GatewayError `site.decommissioned` where it has ended; a wipe that was cut goes on first.
    """
    check_alive(data)
    who = identity.load(data)
    try:
        names = msgspec.json.decode((data / IDENTITY).read_bytes(), type=_Names)
    except msgspec.MsgspecError as error:
        raise TheirsInvalid(
            "identity.invalid", "Put back the file that init wrote.", reason=str(error)
        ) from error
    known = dict(code_keys(data))
    if names.key_version not in known:
        raise TheirsInvalid(
            "key.missing", "Import the code key of this version.", key_version=names.key_version
        )
    current = known.pop(names.key_version)
    return Who(who, names.key_version, current, tuple(sorted(known.items())))


def code_keys(data: Path) -> list[tuple[int, bytes]]:
    """Return every code key of this site: the one that `init` made, and those imported since."""
    keys = identity.keys_of(data)
    versions = {1: CODE_KEY} if CODE_KEY in keys.names() else {}
    for name in keys.names():
        word, _, number = name.partition("-")
        if word == CODE_KEY and number.isdigit():
            versions[int(number)] = name
    return [(version, keys.read(name)) for version, name in sorted(versions.items())]


def check_alive(data: Path) -> None:
    """Refuse a site that has ended (`site.decommissioned`); a wipe that was cut goes on first."""
    if wiping.is_under_way(data) or wiping.is_over(data):
        with locked(data):
            pass


def import_code_key(data: Path, version: int, key: bytes) -> None:
    """Take a code key in and derive new codes with it; live parcels keep their version.

    Raises GatewayError `key.version_taken` when something here was derived with another key of that
    version. The key is durable before the name that points at it.
    """
    known = dict(code_keys(data))
    if known.get(version) == key:
        identity.replace(data, key_version=version)
        return
    if version in known and _was_used(data, version):
        raise GatewayError(
            "key.version_taken",
            "Have the hub give out its key under a higher version",
            key_version=version,
        )
    keys = identity.keys_of(data)
    name = f"{CODE_KEY}-{version}"
    (keys.replace if name in keys.names() else keys.create)(name, key)
    identity.replace(data, key_version=version)


def _was_used(data: Path, version: int) -> bool:
    if not identity.database_of(data).exists():
        return False
    book = read_book(data)
    parcels = {one.key_version for one in book.parcels.values()}
    retired = {one.key_version for one in book.retired}
    return version in parcels | retired | {one.key_version for one in book.couriers.values()}


def make(data: Path, *, operator: str, site: str, told: bool = False) -> Who:
    """Make keys, names and the first epoch of a new site; refuses an existing one (`site.exists`).

    The log itself is begun by whoever opens the store. `identity.json` comes last: a site that lost
    power before it is none, and is made anew over what was left. `told`: a log key that is there is
    kept, for a hub was told of it.
    """
    check_alive(data)
    if (data / IDENTITY).exists() or identity.database_of(data).exists():
        raise GatewayError("site.exists", "Choose another folder: a site is made once", data=data)
    if not _OPERATOR.fullmatch(operator) or not _SITE.fullmatch(site):
        raise GatewayError(
            "site.name",
            "Operator: a name like lockers.example; site: 1 to 32 of a-z, 0-9 and dash",
        )
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    keys = identity.keys_of(data)
    left = keys.names() if (data / "keys").exists() else ()
    for name in (identity.LOG_KEY, CODE_KEY):
        if told and name in left and name == identity.LOG_KEY:
            continue
        (keys.replace if name in left else keys.create)(name, secrets.token_bytes(32))
    epoch = f"e1-{secrets.token_hex(4)}"
    names = _Names(operator, f"site/{site}", epoch, 1)
    replace_durably(data / IDENTITY, msgspec.json.encode(names) + b"\n", _unwritable)
    return load(data)


def _unwritable(path: Path, error: OSError) -> GatewayError:
    return GatewayError(
        "site.unwritable", "Check the disk and the folder's owner", path=path, errno=error.errno
    )


def settings(
    who: Who, kiosks: tuple[str, ...] = ("main",), *, governed: bool = False, **times: int
) -> Settings:
    """Return the engine's settings of a site; `times` where they differ from the defaults."""
    return Settings(
        operator=who.identity.operator,
        writer=who.identity.writer,
        epoch=who.identity.epoch,
        code_key=code_key(who),
        kiosks=kiosks,
        governed=governed,
        older_keys=older_keys(who),
        **times,
    )


def code_key(who: Who) -> CodeKey:
    """Return K_site as the engine and the operator's commands use it."""
    return CodeKey(who.name, who.key_version, who.code_key)


def older_keys(who: Who) -> tuple[CodeKey, ...]:
    """Return the code keys of earlier versions, which live parcels may still need."""
    return tuple(CodeKey(who.name, version, key) for version, key in who.older)


@contextmanager
def locked(data: Path) -> Iterator[None]:
    """Work on this site alone; Busy (`site.busy`) when another process does.

    What a power cut interrupted is brought to an end first: a wipe (`site.decommissioned` is raised
    then, as after any), the end of a key change.
    """
    if wiping.is_over(data):
        wiping.refuse(data)
    try:
        handle = os.open(data / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise _unwritable(data / LOCK, error) from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise Busy("site.busy", "Stop the other gateway or command first", data=data) from error
        wiping.refuse(data)
        rotating.resume(data)
        yield
    finally:
        os.close(handle)


def entries(data: Path) -> Iterator[Recovered]:
    """Yield every stored entry as the book wants it, logs in the order in which none waits."""
    with LogFile.open(identity.database_of(data)) as log:
        yield from _entries(log, {})


def _entries(log: LogFile, sizes: Mapping[str, int]) -> Iterator[Recovered]:
    """Yield the entries from `sizes` (by log) on."""
    for head in sorted(log.heads(), key=lambda head: fold.turn(str(head.log))):
        for record in log.records(head, sizes.get(str(head.log), 0)):
            annex = None
            if record.annex is not None and record.salt is not None:
                annex = (record.annex, record.salt)
            yield fold.read(str(head.log), record.index, record.entry, annex)


def read_book(data: Path) -> Book:
    """Return the book as it is durable now, running gateway or not; nothing is written.

    From a snapshot and what came after it; from the one before, or from the first entry, where that
    does not do (an older epoch's entries came back since, or another version wrote it). What was
    pruned cannot be folded again: then the latest snapshot counts, stale as its book is, and
    `GatewayError` `site.book_lost` where there is none that can be read.
    """
    with LogFile.open(identity.database_of(data)) as log:
        late = None
        for snapshot in reversed(log.snapshots()):
            book = _resumed(log, snapshot)
            if book is not None and not book.stale:
                return book
            late = late or book
        if not any(head.oldest for head in log.heads()):
            return fold.fold(_entries(log, {}))
    if late is None:
        raise GatewayError(
            "site.book_lost",
            "No snapshot of the book can be read, and older entries are pruned: start the version"
            " that ran here last, or replace this gateway from its hub",
            data=data,
        )
    return late


def _resumed(log: LogFile, snapshot: Taken) -> Book | None:
    """Return the book of a snapshot and all that came after; None where that cannot be had."""
    if sha256(snapshot.book).digest() != snapshot.sha256:
        return None
    try:
        book = Book.restored(snapshot.book, log.annexes())
    except TheirsInvalid:
        return None
    if any(book.sizes.get(str(head.log), 0) < head.oldest for head in log.heads()):
        return None  # an older one: what came after it is pruned
    for taken in _entries(log, book.sizes):
        book.take(*taken)
    return book


def start_clock(data: Path) -> Clock:
    """Count a boot and return its clock, above everything that the log proves."""
    last_boot, database = 0, identity.database_of(data)
    if database.exists():
        with LogFile.open(database) as log:
            for head in log.heads():
                if head.own and head.size:
                    last = next(log.records(head, head.size - 1), None)
                    if last is not None:
                        at: Moment = entry.parse(last.entry).at
                        last_boot = max(last_boot, at.boot)
    return Clock.start(data / CLOCK, last_boot=last_boot)


def replayed(data: Path, chosen: Settings, clock: Clock) -> tuple[Engine, list[Output]]:
    """Recover the engine from the log; the clock's floor rises to what the log proves."""
    engine, outputs = take_up(read_book(data), chosen, clock.now())
    anchor = engine.state.book.anchor
    if anchor is not None and anchor[2] <= ANCHOR_ERROR_MS_MAX:
        (boot, mono_ms), utc_ms, error_ms = anchor
        last_boot, last_ms = engine.state.book.last_at
        since_ms = last_ms - mono_ms if last_boot == boot else 0
        clock.raise_floor(utc_ms + since_ms - error_ms)
    return engine, outputs


async def settle(
    engine: Engine, outputs: list[Output], store: StorePort, clock: Clock
) -> list[Answer]:
    """Store what the engine wrote, without boards or screens, until nothing waits; return answers.

    For commands while no gateway runs: only `Persist` and `Answer` are acted on.
    """
    answers = []
    while outputs:
        answers += [output for output in outputs if isinstance(output, Answer)]
        written = [output for output in outputs if isinstance(output, Persist)]
        outputs = []
        if written:
            snapshot = next((one.snapshot[1] for one in written if one.snapshot), None)
            try:
                await store.append(records(written), snapshot=snapshot)
            except StoreFailed as error:
                outputs = engine.handle(PersistFailed(now=clock.now(), reason=error.reason))
            else:
                outputs = engine.handle(Persisted(now=clock.now(), upto=written[-1].upto))
    return answers


async def begin_log(engine: Engine, store: StorePort, clock: Clock, data: Path) -> Answer:
    """Write the first entry of this epoch; return the engine's answer.

    A later epoch names its parents and the book that it begins with, and stands behind a fence
    where continuity is not proved.
    """
    names = identity.load_names(data)
    why, book = continuity.broken(data), engine.book
    parents = continuity.parents(data, book.sizes)
    begun = EpochBegun(
        now=clock.now(),
        token="",
        by="init",
        site=names.writer,
        parents=parents,
        why=why,
        snapshot=continuity.digest(book.canonical()) if parents else "",
        fence=why,
    )
    answers = await settle(engine, engine.handle(begun), store, clock)
    return answers[0]


def needs_beginning(engine: Engine) -> bool:
    """Return whether this epoch has no entry yet."""
    return not engine.book.sizes.get(f"{engine.state.settings.epoch}:su")


def parcel_of(book: Book, name: str) -> Parcel | None:
    """Return the live parcel that `name` means: its reference or its identity; None if none."""
    return next((known for known in book.live() if name in {known.ref, known.identity}), None)
