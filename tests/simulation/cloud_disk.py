"""Durable disks of the cloud simulation: real signed logs in memory, which can be copied and lost.

A `Disk` is a shelf (`tests.shelf_memory`). An `Image` is a backup or a copied card: put back, it is
another store with the same logs.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from typing_extensions import override

from certs.keys import SigningKey, Verifier
from sync.rows import Annex
from sync.shelf import Log
from tests.shelf_memory import Held, MemoryShelf, Private, _append


class Moved(Exception):  # noqa: N818  # as the hub's storage names it
    """Somebody else appended first."""


class _Log(NamedTuple):
    verifier: Verifier
    key: SigningKey | None
    entries: tuple[bytes, ...]
    annexes: dict[int, Annex]
    notes: dict[int, str]
    cosigned: int


Image = dict[str, _Log]
Told = Callable[[str, int, bytes], None]


class Disk(MemoryShelf):
    """The logs of one site at one holder. `signed(origin, size, root)` hears of each signature."""

    signed: Told | None = None

    def image(self) -> Image:
        """Return a backup: everything that is durable now."""
        return {
            origin: _Log(
                held.verifier, held.key, tuple(held.entries), dict(held.annexes), dict(held.notes),
                held.cosigned,
            )
            for origin, held in self.held.items()
        }  # fmt: skip

    def put_back(self, image: Image, instance: str) -> None:
        """Become the store of an image, under another instance."""
        self.held, self.instance = {}, instance
        for origin, log in image.items():
            held = Held(origin, log.verifier, log.key, cosigned=log.cosigned)
            held.annexes, held.notes = dict(log.annexes), dict(log.notes)
            for data in log.entries:
                _append(held, data)
            self.held[origin] = held

    def disown(self, origin: str) -> None:
        """This log is of an earlier epoch: what is lost of it may come from others."""
        self.held[origin].key = None

    def own(self) -> list[str]:
        """Return the origins that are written here."""
        return sorted(origin for origin, held in self.held.items() if held.key is not None)

    def append(self, origin: str, size: int, *entries: bytes | Private) -> Log:
        """Append where the log has exactly this size; `Moved` where it has not."""
        if len(self.held[origin].entries) != size:
            raise Moved
        return self.write(origin, *entries)

    @override
    def write(self, origin: str, *data: bytes | Private) -> Log:
        log = super().write(origin, *data)
        if self.signed is not None:
            self.signed(origin, log.size, log.root)
        return log

    def sizes(self) -> dict[str, int]:
        """Return how much of each log is held."""
        return {origin: len(held.entries) for origin, held in self.held.items()}

    def overwrite(self, origin: str, size: int, entries: Sequence[bytes | Private]) -> Log:
        """Append at a number whoever holds it already: the error that compare-and-set prevents."""
        held = self.held[origin]
        again = Held(origin, held.verifier, held.key, annexes=held.annexes)
        for data in held.entries[:size]:
            _append(again, data)
        again.notes = {at: note for at, note in held.notes.items() if at <= size}
        self.held[origin] = again
        return self.write(origin, *entries)
