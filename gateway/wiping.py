"""The end of a data folder: everything overwritten, unlinked and gone, and one file that says so.

    decommissioning.json  written durably first: from here on only the wipe goes on, after any cut
    keys, then all the rest: overwritten with zeros, flushed, unlinked, the folders flushed
    decommissioned.json   the same file under its last name: final checkpoints, no secret, no name

Flash memory may keep old copies of a block that no program can reach: where that matters, wrap the
keys with a credential of the machine, and the copies are worth nothing (`key seal`).
"""

import os
import stat
from pathlib import Path
from typing import Final

import msgspec

from gateway.clock import replace_durably
from gateway.errors import GatewayError

WIPING: Final = "decommissioning.json"
WIPED: Final = "decommissioned.json"
_KEPT: Final = frozenset({WIPING, WIPED})
_FIRST: Final = "keys"
_BLOCK: Final = 1 << 20


class Last(msgspec.Struct, frozen=True):
    """What is left of a site: its name, its last entry, and {origin: last signed checkpoint}."""

    site: str
    entry: str
    checkpoints: dict[str, str]


def begin(data: Path, last: Last) -> None:
    """Say durably that this folder is to be wiped: from here on nothing else is done with it."""
    replace_durably(data / WIPING, msgspec.json.encode(last) + b"\n", _unwritable)


def is_under_way(data: Path) -> bool:
    """Return whether a wipe has begun and not ended."""
    return (data / WIPING).exists()


def is_over(data: Path) -> bool:
    """Return whether this folder was a site that is no more."""
    return (data / WIPED).exists()


def refuse(data: Path) -> None:
    """Go on with a wipe that was cut; raise GatewayError `site.decommissioned` after any."""
    finish(data)
    if is_over(data):
        raise GatewayError(
            "site.decommissioned",
            "This site has ended and its keys are gone. Choose another folder, or remove this one",
            data=data,
        )


def finish(data: Path) -> None:
    """Wipe what a begun wipe has left; nothing where none has begun. Nobody works on the site."""
    if not is_under_way(data):
        return
    try:
        _wipe_folder(data / _FIRST)
        for path in sorted(data.iterdir()):
            if path.name not in _KEPT:
                _wipe(path)
        _flush(data)
        (data / WIPING).replace(data / WIPED)
        _flush(data)
    except OSError as error:
        raise _unwritable(Path(error.filename or data), error) from error


def _wipe(path: Path) -> None:
    mode = path.lstat().st_mode
    if stat.S_ISDIR(mode):
        _wipe_folder(path)
        path.rmdir()
        return
    if stat.S_ISREG(mode):
        _overwrite(path)
    path.unlink()


def _wipe_folder(folder: Path) -> None:
    if not folder.is_dir() or folder.is_symlink():
        return
    for path in sorted(folder.iterdir()):
        _wipe(path)
    _flush(folder)


def _overwrite(path: Path) -> None:
    path.chmod(0o600)
    with path.open("r+b", buffering=0) as file:
        left = os.fstat(file.fileno()).st_size
        while left:
            left -= file.write(bytes(min(left, _BLOCK)))
        os.fsync(file.fileno())


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _unwritable(path: Path, error: OSError) -> GatewayError:
    return GatewayError(
        "site.unwritable", "Check the disk and the folder's owner", path=path, errno=error.errno
    )
