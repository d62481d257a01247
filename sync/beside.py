"""The two files beside a database: the lock of its one owner, and the ballast for a full disk."""

import contextlib
import fcntl
import os
from pathlib import Path
from typing import Final, Self

from sync.errors import StoreFailed

BALLAST_BYTES: Final = 8 * 1024 * 1024
"""Room for about 600 single commits of 13.5 KiB: how the doors that are open now end."""

_ZEROS: Final = bytes(64 * 1024)


class Lock:
    """Held while a store is open; the system takes it back when the process dies."""

    def __init__(self, handle: int) -> None:
        self._handle = handle

    @classmethod
    def take(cls, database: Path) -> Self:
        """Take the lock of a database; `StoreFailed` busy when another process has it."""
        handle = os.open(f"{database}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            raise StoreFailed(
                "busy", "Another gateway runs on this data: stop it first.", path=str(database)
            ) from error
        return cls(handle)

    def release(self) -> None:
        """Let the next owner in."""
        os.close(self._handle)


class Ballast:
    """Some MB of disk that nobody else gets, given back when the disk is full."""

    def __init__(self, database: Path, size: int = BALLAST_BYTES) -> None:
        self._path = Path(f"{database}.ballast")
        self._size = size

    def fill(self) -> bool:
        """Take the room if it is not taken yet; say whether it is."""
        try:
            if self._path.exists() and self._path.stat().st_size >= self._size:
                return True
            handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._write(handle)
                os.fsync(handle)
            finally:
                os.close(handle)
        except OSError:
            # Part of a ballast would leave less room for what matters more: the log itself.
            with contextlib.suppress(OSError):
                self._path.unlink(missing_ok=True)
            return False
        return True

    def release(self) -> bool:
        """Give the room back; say whether there was any."""
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _write(self, handle: int) -> None:
        """Write zeros rather than reserve: not every file system keeps a reservation."""
        left = self._size
        while left > 0:
            left -= os.write(handle, _ZEROS[: min(left, len(_ZEROS))])
