"""Is this disk still the one that wrote last? And, where that is not proved, another epoch.

Three witnesses (FORMATS.md 4, Fence): a *mark* left by whoever restored a backup, a *witness file*
beside the database that remembers how far it had come, and the *peer* that knows more of us than we
do (told by the uplink, which leaves a mark too). Any of them begins a new epoch behind a fence: a
restored book revives used codes whose doors may hold a stranger's parcel by now.

DATA/restored      the mark: why, in one word
DATA/witness.json  instance and boot of the database, written after it; never before it
DATA/former-keys   writer keys from before this gateway was replaced (public)
"""

import base64
import hashlib
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from certs.errors import CertsError
from certs.keys import Verifier
from certs.note import Checkpoint, open_checkpoint
from gateway import identity
from gateway.clock import replace_durably
from gateway.errors import GatewayError
from gateway.identity import database_of
from sync import database, lookup
from sync.entry import Lane
from sync.merkle import root_at
from sync.origin import Origin, epoch_order
from sync.reader import LogFile

MARK: Final = "restored"
WITNESS: Final = "witness.json"
FORMER: Final = "former-keys"
WHYS: Final = ("restored", "rolled_back", "overtaken", "forked", "replaced")
"""A backup, or a peer that knows more of this epoch, of a later one, another one; a new gateway."""


class Witness(msgspec.Struct, frozen=True):
    """How far the database beside it had come: which store, its last counted start, its sizes."""

    instance: str
    boot: int
    sizes: dict[str, int] = {}  # msgspec copies it


def mark(data: Path, why: str, after: int = 0) -> None:
    """Have the next start begin a new epoch behind a fence. Durable when this returns.

    The first reason stays. `after` is the highest counter of an epoch that somebody saw of us.
    """
    assert why in WHYS
    if (data / MARK).exists():
        return
    replace_durably(data / MARK, f"{why} {after}\n".encode(), _unwritable)


def clear_mark(data: Path) -> None:
    """The new epoch is in the log: nothing is left to do."""
    (data / MARK).unlink(missing_ok=True)


def broken(data: Path) -> str:
    """Return why continuity is not proved, or nothing. Reads the database, writes nothing."""
    marked = _read(data / MARK).decode("ascii", "replace").split()
    if marked:
        return marked[0] if marked[0] in WHYS else "restored"
    witness = read_witness(data)
    if witness is None or not database_of(data).exists():
        return ""
    with database.opened_read_only(database_of(data)) as connection:
        about = lookup.about(connection)
    with LogFile.open(database_of(data)) as log:
        sizes = {head.origin: head.size for head in log.heads() if head.own}
    behind = any(sizes.get(origin, 0) < size for origin, size in witness.sizes.items())
    same = about.get("instance") == witness.instance
    return "" if same and int(about.get("boot", "0")) >= witness.boot and not behind else "restored"


def read_witness(data: Path) -> Witness | None:
    """Return what the witness file remembers; None when there is none that can be read."""
    try:
        return msgspec.json.decode(_read(data / WITNESS), type=Witness)
    except msgspec.MsgspecError:
        return None


def write_witness(data: Path, witness: Witness) -> None:
    """Remember how far the database has come; only what is durable in it already."""
    replace_durably(data / WITNESS, msgspec.json.encode(witness) + b"\n", _unwritable)


def parents(data: Path, folded: Mapping[str, int]) -> dict[str, tuple[int, str]]:
    """Return what an epoch that begins now follows, as `epoch.opened` names parents.

    {origin: (size, base64 root)}: the own logs that are not empty, from the last epoch on that
    wrote of custody. Earlier ones are named by that epoch's own first entry. A log of which the
    book has folded nothing is no parent: one of a clone, begun on a history that is not ours, waits
    for ever.
    """
    found = {}
    with LogFile.open(database_of(data)) as log:
        own = [head for head in log.heads() if head.own and folded.get(str(head.log), 0)]
        wrote = [epoch_order(one.log.epoch) for one in own if one.log.lane is Lane.CUSTODY]
        last = max(wrote, default=(0, ""))
        for head in own:
            if epoch_order(head.log.epoch) >= last:
                root = Checkpoint.parse(head.note.partition("\n\n")[0] + "\n").root
                found[head.origin] = (head.size, base64.b64encode(root).decode())
    return found


def next_epoch(known: list[str]) -> str:
    """Return a new epoch after all known ones: counter up, eight random hex digits."""
    counter = max((epoch_order(epoch)[0] for epoch in known), default=0) + 1
    return f"e{counter}-{secrets.token_hex(4)}"


def compare(data: Path, told: Mapping[str, tuple[int, bytes]]) -> tuple[str, int, str] | None:
    """Return why this epoch is over if a peer holds this of us, the latest counter, and which log.

    `told` is {origin: (size, root)}. None where it holds what we hold, or less of it. A table is
    not signed: have the checkpoint of that log shown (`is_ours`) before anything ends. Blocks.
    """
    names = identity.load_names(data)
    ours = f"{names.operator}/{names.writer}/"
    if not database_of(data).exists():
        return None
    with LogFile.open(database_of(data)) as log:
        heads = {head.origin: head for head in log.heads()}
        for origin in sorted(told):
            size, root = told[origin]
            if not size or not origin.startswith(ours):
                continue
            epoch, head = Origin.parse(origin).epoch, heads.get(origin)
            if epoch_order(epoch) > epoch_order(names.epoch):
                return "overtaken", epoch_order(epoch)[0], origin
            if epoch != names.epoch:
                continue
            if head is None or size > head.size:
                return "rolled_back", 0, origin
            if root_at(size, log.nodes(head)) != root:
                return "forked", 0, origin
    return None


def is_ours(data: Path, note: str, origin: str, size: int, root: bytes) -> bool:
    """Say whether a key of our own logs signed this head of a log. Blocks."""
    signer = Origin.parse(origin).signer
    with LogFile.open(database_of(data)) as log:
        own = [head for head in log.heads() if head.own]
    public = {
        Verifier.from_vkey(head.vkey).public
        for head in own
        if Origin.parse(head.origin).signer == signer
    }
    try:
        said = open_checkpoint(note, *(Verifier(origin, one) for one in sorted(public)))
    except CertsError:
        return False
    return said == Checkpoint(origin, size, root)


def begin_epoch(data: Path) -> str:
    """Give the site a new epoch in `identity.json`, unless its epoch has nothing in it yet.

    A crash between this and the epoch's first entry leaves an empty epoch: it is used then.
    """
    names = identity.load_names(data)
    if not database_of(data).exists():
        return names.epoch
    with LogFile.open(database_of(data)) as log:
        own = {head.log: head.size for head in log.heads() if head.own}
    used = any(size for ref, size in own.items() if ref.epoch == names.epoch)
    if not used:
        return names.epoch
    seen = _read(data / MARK).decode("ascii", "replace").split()[1:]
    after = [f"e{counter}-00000000" for counter in seen if counter.isdigit()]
    epoch = next_epoch([ref.epoch for ref in own] + [names.epoch, *after])
    identity.replace(data, epoch=epoch)
    return epoch


def digest(book: bytes) -> str:
    """Return the base64 SHA-256 of a canonical book, as `epoch.opened` and snapshots name it."""
    return base64.b64encode(hashlib.sha256(book).digest()).decode()


def former_keys(data: Path) -> list[str]:
    """Return the writer keys that this site had before it was replaced, one vkey a line."""
    return _read(data / FORMER).decode("ascii", "replace").split()


def keep_former_key(data: Path, vkey: str) -> None:
    """Remember a key of this site's writer: what it signed stays good."""
    kept = sorted({*former_keys(data), vkey})
    replace_durably(data / FORMER, "".join(f"{line}\n" for line in kept).encode(), _unwritable)


def lanes(names: identity.Names) -> list[str]:
    """Return the origins of a site's lanes in its present epoch."""
    return [f"{names.operator}/{names.writer}/{names.epoch}/{lane}" for lane in Lane]


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()[:4096]
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise GatewayError(
            "site.unreadable", "Check the disk and the folder's owner", path=path, errno=error.errno
        ) from error


def _unwritable(path: Path, error: OSError) -> GatewayError:
    return GatewayError(
        "site.unwritable", "Check the disk and the folder's owner", path=path, errno=error.errno
    )
