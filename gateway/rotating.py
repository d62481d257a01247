"""Another log key for this site, and never a moment in which nobody could verify.

    seed `log-next` -> entry `key.rotated` -> two signature lines on every checkpoint -> ...
    ... -> the overlap is over -> an epoch that the new key alone signs; the old key is a former one

A log keeps for good the key that began it: whoever holds its vkey can always check it, and reads in
it which key comes after. So the overlap ends with an epoch, as every change of who signs does; no
fence stands there, for continuity is proved. It ends when the hub has the entry and seven days are
over; at once where no hub governs the site and somebody asked for that.

Each step is durable before the next one, and done again after a power cut. The seed is in the key
store before the entry that names it; `DATA/rotation.json` says how far the end has come.
"""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from certs.keys import SigningKey, Verifier
from gateway import continuity, identity
from gateway.clock import replace_durably
from gateway.core.inputs import Now, Trust
from gateway.errors import GatewayError
from gateway.identity import LOG_KEY, NEXT_LOG_KEY
from sync import entry as entries
from sync import facts
from sync.entry import Lane, Ref, Writer
from sync.reader import LogFile
from sync.rows import Head

ROTATION: Final = "rotation.json"
OVERLAP_MS: Final = 7 * 86_400_000
"""So long both keys sign: a hub, a stick or an auditor that comes once a week has heard of it."""
_SEED_BYTES: Final = 32


class Rotation(msgspec.Struct, frozen=True):
    """`rotation.json`: the new writer vkey, the entry that names it, and when it was written.

    `since_ms` is UTC; 0 while no clock could tell. `at_once`: it ends with the next start.
    """

    vkey: str
    entry: str
    since_ms: int = 0
    at_once: bool = False
    ending: bool = False


def standing(data: Path) -> Rotation | None:
    """Return the key change that is under way, or None. Raises GatewayError `rotation.invalid`."""
    try:
        return msgspec.json.decode((data / ROTATION).read_bytes(), type=Rotation)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise GatewayError(
            "rotation.invalid",
            "Remove the file: it is made again out of the log",
            path=data / ROTATION,
            reason=str(error),
        ) from error


def prepare(data: Path) -> str:
    """Have a seed for the next log key in the key store; return its writer vkey. Durable then.

    One that an interrupted command left is used. Raises GatewayError `key.rotating` while an
    earlier change is under way, and what the key store raises.
    """
    if standing(data) is not None:
        raise GatewayError("key.rotating", "Wait until the change that is under way has ended")
    keys = identity.keys_of(data)
    if NEXT_LOG_KEY not in keys.names():
        keys.create(NEXT_LOG_KEY, secrets.token_bytes(_SEED_BYTES))
    return _vkey(data, NEXT_LOG_KEY)


def begun(data: Path, ref: str, now: Now, *, at_once: bool = False) -> Rotation:
    """Remember that the entry `ref` names the next key. `at_once` only where no hub governs."""
    since_ms = 0 if now.trust is Trust.FLOOR else now.wall_ms + now.error_ms
    made = Rotation(_vkey(data, NEXT_LOG_KEY), ref, since_ms, at_once=at_once)
    _write(data, made)
    return made


def waits_for(data: Path, now: Now) -> str:
    """Return what the end of the overlap waits for: `none`, `hub`, `days`; "" when it is due.

    `none`: no key change is under way. Reads the disk.
    """
    found = standing(data)
    if found is None:
        return "none"
    if found.at_once and not is_governed(data):
        return ""
    if not found.since_ms:
        if now.trust is not Trust.FLOOR:
            begun(data, found.entry, now, at_once=found.at_once)
        return "days"
    if now.trust is Trust.FLOOR or now.wall_ms - now.error_ms < found.since_ms + OVERLAP_MS:
        return "days"
    return "" if not is_governed(data) or has_receipt(data, Ref.parse(found.entry)) else "hub"


def is_governed(data: Path) -> bool:
    """Return whether a hub has to do with this site: enrolled, heard, or receipted."""
    if (data / "trust" / "hub.json").exists():
        return True
    with LogFile.open(identity.database_of(data)) as log:
        return any(head.log.writer is Writer.HUB or log.receipts(head) for head in log.heads())


def end(data: Path) -> None:
    """End the overlap: the next key is the key, in a new epoch. Nobody has the store open."""
    found = standing(data)
    assert found is not None, "asked only when it is due"
    _write(data, msgspec.structs.replace(found, ending=True))
    resume(data)


def resume(data: Path) -> None:
    """Bring to an end what a power cut interrupted. Called by whoever has just locked the site."""
    keys, found = identity.keys_of(data), standing(data)
    if found is None:
        if (data / "keys" / NEXT_LOG_KEY).exists():
            _find_again(data)
        return
    if not found.ending:
        return
    if NEXT_LOG_KEY in keys.names():
        following = keys.read(NEXT_LOG_KEY)
        if keys.read(LOG_KEY) != following:
            continuity.keep_former_key(data, _vkey(data, LOG_KEY))
            continuity.begin_epoch(data)
            keys.replace(LOG_KEY, following)
    keys.remove(NEXT_LOG_KEY)
    _forget(data)


def named_keys(database: Path, use: str = "log") -> Iterator[tuple[Head, int, facts.KeyRotated]]:
    """Yield every `key.rotated` of this use in the site's own logs: log, index and fact."""
    with LogFile.open(database) as log:
        for head in log.heads():
            if head.log.writer is not Writer.SITE or head.log.lane is not Lane.CUSTODY:
                continue
            for record in log.records(head, head.oldest):
                if b'"kind":"key.rotated"' not in record.entry:
                    continue
                fact = facts.from_entry(entries.parse(record.entry))
                if isinstance(fact, facts.KeyRotated) and fact.use == use:
                    yield head, record.index, fact


def writers(database: Path, first: Verifier) -> frozenset[bytes]:
    """Return the public keys that may write as this site, for one who knows only `first`.

    A key counts when the log of one that counts names it. Of logs that were verified before.
    """
    known, named = {first.public}, list(named_keys(database))
    for _ in named:
        for head, _, fact in named:
            if Verifier.from_vkey(head.vkey).public in known:
                known.add(Verifier.from_vkey(fact.vkey).public)
    return frozenset(known)


def _find_again(data: Path) -> None:
    """Power was cut between the entry and its file. Without an entry the seed waits for its use."""
    if not identity.database_of(data).exists():
        return
    vkey = _vkey(data, NEXT_LOG_KEY)
    for head, index, fact in named_keys(identity.database_of(data)):
        if fact.vkey == vkey:
            _write(data, Rotation(vkey, f"{head.log}{index}"))


def has_receipt(data: Path, wanted: Ref) -> bool:
    """Return whether a hub cosigned a checkpoint that covers the entry."""
    with LogFile.open(identity.database_of(data)) as log:
        heads = [head for head in log.heads() if head.log == wanted.log]
        return any(one.size > wanted.index for head in heads for one in log.receipts(head))


def _vkey(data: Path, name: str) -> str:
    names = identity.load_names(data)
    seed = identity.keys_of(data).read(name)
    return SigningKey.from_seed(f"{names.operator}/{names.writer}", seed).vkey


def _write(data: Path, rotation: Rotation) -> None:
    replace_durably(data / ROTATION, msgspec.json.encode(rotation) + b"\n", _unwritable)


def _forget(data: Path) -> None:
    (data / ROTATION).unlink()
    folder = os.open(data, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _unwritable(path: Path, error: OSError) -> GatewayError:
    return GatewayError(
        "site.unwritable", "Check the disk and the folder's owner", path=path, errno=error.errno
    )
