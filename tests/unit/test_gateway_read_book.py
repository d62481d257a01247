"""Pins from what a book is read: the newest snapshot that fits, never from a log half pruned."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gateway import site
from gateway.errors import GatewayError
from sync import canonical, facts, fold, sitemap
from sync.book import Book
from sync.entry import LaneRef
from sync.rows import Head, Taken
from tests.property.histories import bank

E1, E1U, E2, E2U = "e1-0000000a:sc", "e1-0000000a:su", "e2-0000000a:sc", "e2-0000000a:su"
PARENT = "lockers.example/site/0042/e1-0000000a/custody"


def written(fact: facts.AnyFact, at: int = 1) -> bytes:
    return canonical.encode(facts.to_object(fact) | {"at": [1, at]})


@dataclass
class Disk:
    """Logs, how much of each is pruned, and snapshots: what `site.read_book` reads."""

    held: dict[str, list[bytes]]
    oldest: dict[str, int] = field(default_factory=dict)
    kept: list[Taken] = field(default_factory=list)

    def heads(self) -> list[Head]:
        return [
            Head(at, log, LaneRef.parse(log), True, "", self.oldest.get(log, 0), len(held), "")
            for at, (log, held) in enumerate(self.held.items())
        ]

    def records(self, head: Head, first: int) -> Iterator[Any]:
        log = str(head.log)
        for index in range(max(first, head.oldest), head.size):
            yield SimpleNamespace(index=index, entry=self.held[log][index], annex=None, salt=None)

    def snapshots(self) -> list[Taken]:
        return self.kept

    def annexes(self) -> Iterator[tuple[str, tuple[bytes, bytes]]]:
        return iter(())

    def snapshot(self, **sizes: int) -> None:
        """Keep the book of the first so many entries of each log, as it was then."""
        logs = {"e1u": E1U, "e1": E1, "e2u": E2U, "e2": E2}
        book = Book()
        for short, log in logs.items():
            for index in range(sizes.get(short, 0)):
                book.take(*fold.read(log, index, self.held[log][index]))
        data = book.canonical()
        self.kept.append(Taken(0, sha256(data).digest(), "{}", data))

    def read(self, monkeypatch: pytest.MonkeyPatch) -> Book:
        @contextmanager
        def opened(_: Path) -> Iterator[Disk]:
            yield self

        monkeypatch.setattr(site, "LogFile", SimpleNamespace(open=opened))
        return site.read_book(Path("data"))


def disk() -> Disk:
    """A restored site: e2 began after entry 4 of e1, and what e1 had lost has come back since."""
    bare = bank("S", "S")
    items = [facts.ConfigSet(item=item, value=value) for item, value in sitemap.items(bare)]
    lost = facts.CompartmentDoubted(door=1, why="x")
    first = [written(fact, at) for at, fact in enumerate(items)]
    began = facts.EpochOpened(site="site/0042", version=1, parents={PARENT: (len(first), "")})
    return Disk(
        {
            E1U: [written(facts.EpochOpened(site="site/0042", version=1))],
            E1: [*first, written(lost)],
            E2U: [written(began)],
            E2: [written(facts.CompartmentChecked(door=2, by="ada", occupied=False))],
        }
    )


def test_the_newest_snapshot_and_what_came_after(monkeypatch: pytest.MonkeyPatch) -> None:
    held = disk()
    expected = held.read(monkeypatch).canonical()
    held.snapshot(e1u=1, e1=2)
    held.oldest = {E1: 2}
    assert held.read(monkeypatch).canonical() == expected


def test_lost_entries_that_came_back_are_folded_from_the_snapshot_before_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held = disk()
    expected = held.read(monkeypatch).canonical()
    held.snapshot(e1u=1, e1=2)
    held.snapshot(e1u=1, e1=len(held.held[E1]) - 1, e2u=1, e2=1)
    held.oldest = {E1: 2}
    assert held.read(monkeypatch).canonical() == expected


def test_what_is_pruned_is_never_folded_as_if_it_had_not_been(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Folded from a log whose beginning is gone, the book would be empty, and every door free."""
    held = disk()
    held.snapshot(e1u=1, e1=len(held.held[E1]) - 1, e2u=1, e2=1)
    held.oldest = {E1: 2}
    book = held.read(monkeypatch)
    assert (book.stale, sorted(book.map.doors)) == (True, [1, 2])
    held.snapshot(e1u=1, e1=1)
    held.kept.reverse()
    assert held.read(monkeypatch).map.doors, "one that is older than what is pruned does not do"


@pytest.mark.parametrize("wrong", ["bytes", "shape"])
def test_a_snapshot_that_cannot_be_read_is_none(
    wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bent on the disk, or written by a version whose book has other fields."""
    held = disk()
    expected = held.read(monkeypatch).canonical()
    held.snapshot(e1u=1, e1=2)
    known = held.kept[0]
    other = known.book.replace(b'{"anchor"', b'{"afresh":1,"anchor"')
    digest = known.sha256 if wrong == "bytes" else sha256(other).digest()
    held.kept = [known._replace(book=other, sha256=digest)]
    assert held.read(monkeypatch).canonical() == expected
    held.oldest = {E1: 2}
    with pytest.raises(GatewayError, match=r"site\.book_lost"):
        held.read(monkeypatch)
