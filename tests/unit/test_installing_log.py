"""Pins an installer's hour in the log: codecs, verifying, snapshots, and a reader of version 1."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest

from gateway.core.inputs import Command, LockTold, LockTried, SiteSigned
from gateway.core.outputs import Answer, Persist
from sync import canonical, facts, fold, segment, sitemap
from sync.book import Book
from sync.entry import Lane, parse
from sync.facts import Scalar, Size
from sync.fold import Taken
from sync.holdings import Holdings
from sync.rows import Record
from sync.sitemap import DoorItem, LineItem, MapReader, SiteMap
from tests.fault.logs import IDENTITY, filled, fsck
from tests.stage import SETTINGS, Stage, small_map

NEW = (facts.LockIntended, facts.LockEnded, facts.SiteCommissioned)


def larger() -> SiteMap:
    """The small map with everything that version 1 did not know."""
    site = small_map()
    doors = {
        number: msgspec.structs.replace(
            door, column=number, row=1, rows=2, heated=True, cooled=True, open_ms=180, bounce_ms=12
        )
        for number, door in site.doors.items()
    }
    doors[5] = DoorItem(
        number=5, size="M", lock="relays:5", switch="doors:5", rail="left", occupancy="sensors:5",
        occupied_below=90_000,
    )  # fmt: skip
    lines = {
        "bus": LineItem(name="bus", serial="/dev/ttyS1", baud=19_200, parity="E"),
        "hall": LineItem(name="hall", tcp="10.0.0.7", framing="rtu"),
    }
    return SiteMap(boards=site.boards, doors=doors, lines=lines)


def hour() -> Stage:
    """A parcel comes; locks are tried, one without an end; a restart; a sign-off; a pick-up."""
    stage = Stage(settings=replace(SETTINGS, epoch=IDENTITY.epoch))

    def ask(kind: type[Command], **more: Any) -> Answer:
        stage.send(kind(now=stage.now, token="t", by="installer:anna", **more))
        answer: Answer = stage.last(Answer)
        assert not answer.code
        return answer

    door = stage.deposit()
    stage.home()
    empty = next(number for number in stage.map.doors if number != door)
    first = ask(LockTried, lock=f"relays:{empty}", line="bus", unit=1, ms=400)
    ask(LockTold, of=first.ref, outcome="opened", took_ms=180)
    ask(LockTried, lock="new:1", line="rs485-1", unit=7, ms=400)
    stage.restart()
    ask(SiteSigned, map=larger(), report="A" * 43 + "=", passed=5, failed=0)
    stage.map = larger()
    stage.see_all(occupied=(door,))
    stage.enter(stage.code())
    stage.shut(stage.opens(), occupied=False)
    stage.after(61_000)
    ask(LockTried, lock="relays:5", line="bus", unit=1, ms=400)
    return stage


@pytest.fixture(scope="module")
def played() -> Stage:
    return hour()


def records(stage: Stage) -> list[Record]:
    drafts = [one for out in stage.outputs if isinstance(out, Persist) for one in out.drafts]
    return [Record(one.lane, one.index, one.entry, one.annex, one.salt) for one in drafts]


@pytest.mark.parametrize("codec", segment.CODECS)
def test_every_codec_carries_it(played: Stage, codec: int) -> None:
    entries = [one.entry for one in records(played) if one.lane is Lane.CUSTODY]
    kinds = {parse(entry).kind for entry in entries}
    assert kinds >= {"lock.intended", "lock.ended", "site.commissioned", "config.set"}
    data = segment.encode(codec, entries)
    assert segment.decode(codec, data, len(entries)) == entries


def test_a_log_with_it_is_in_order(played: Stage, tmp_path: Path) -> None:
    filled(tmp_path / "site.db", records(played), 7)
    assert fsck(tmp_path / "site.db").ok


def test_a_snapshot_anywhere_and_what_follows_is_the_book_of_all(played: Stage) -> None:
    annexes = [(f"{log}{index}", annex) for log, index, _, _, annex, *_ in played.log if annex]
    for cut in range(len(played.log) + 1):
        book = Book.restored(fold.fold(played.log[:cut]).canonical(), annexes)
        for entry in played.log[cut:]:
            book.take(*entry)
        assert book.canonical() == played.engine.book.canonical(), cut


def test_a_map_is_on_the_disk_with_its_sign_off_or_not_at_all(played: Stage) -> None:
    """Whatever a power cut leaves of the commits, no half of a map is among it."""
    kept: list[list[dict[str, Any]]] = [
        [canonical.decode(draft.entry) for draft in out.drafts]
        for out in played.outputs
        if isinstance(out, Persist)
    ]
    [signed] = [one for one in kept if any(entry["kind"] == "site.commissioned" for entry in one)]
    kinds = [entry["item"] for entry in signed if entry["kind"] == "config.set"]
    assert kinds == ["map", "line", "line", *["board"] * 3, *["door"] * 5]
    assert signed[-1]["kind"] == "site.commissioned"


def test_an_end_of_nothing_ends_nothing(played: Stage) -> None:
    """As some other writer may have it: neither stops the book."""
    book = fold.fold(played.log)
    going_on = dict(book.trials)
    assert len(going_on) == 1
    log = f"{IDENTITY.epoch}:sc"
    for of in (None, f"{log}0"):
        fact = facts.LockEnded(of=of, outcome="doubt")
        book.take(log, book.sizes[log], (9, 9), fact)
    assert (book.trials, book.stopped) == (going_on, {})


# --- version 1, as it was written -----------------------------------------------------------------


class FirstHead(msgspec.Struct, frozen=True, kw_only=True):
    boards: int
    doors: int


class FirstBoard(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    line: str
    profile: str
    unit: int


class FirstDoor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    number: int
    size: Size
    lock: str
    switch: str
    rail: str
    reach: Literal["low", "middle", "high"] = "middle"
    open_when: Literal["active", "inactive"] = "inactive"
    occupancy: str = ""
    occupied_when: Literal["active", "inactive"] = "active"
    pulse_ms: int = 400
    band: str = ""


class FirstMap(msgspec.Struct, frozen=True):
    boards: dict[str, FirstBoard] = {}
    doors: dict[int, FirstDoor] = {}


class FirstReader(msgspec.Struct):
    head: FirstHead | None = None
    boards: dict[str, FirstBoard] = {}
    doors: dict[int, FirstDoor] = {}

    def add(self, item: str, value: dict[str, Scalar]) -> FirstMap | None:
        if item == "map":
            self.head = msgspec.convert(value, FirstHead)
            self.boards, self.doors = {}, {}
        elif item == "board":
            board = msgspec.convert(value, FirstBoard)
            self.boards |= {board.name: board} if self.head else {}
        elif item == "door":
            door = msgspec.convert(value, FirstDoor)
            self.doors |= {door.number: door} if self.head else {}
        head = self.head
        if head is None or (len(self.boards), len(self.doors)) != (head.boards, head.doors):
            return None
        whole = FirstMap(boards=self.boards, doors=self.doors)
        self.head, self.boards, self.doors = None, {}, {}
        return whole


def _as_version_1(entry: Taken) -> Taken:
    """Kinds that it does not know are entries that say nothing to it."""
    log, index, at, fact, *rest = entry
    return (log, index, at, None if isinstance(fact, NEW) else fact, *rest)  # type: ignore[return-value]  # the same tuple


def test_version_1_reads_such_a_log_to_its_end(played: Stage) -> None:
    reader: Any = FirstReader()
    book = Book(holdings=Holdings(reader=reader))
    for entry in played.log:
        book.take(*_as_version_1(entry))
    assert book.stopped == {}
    assert book.sizes == played.engine.book.sizes
    assert set(book.map.doors) == set(larger().doors)
    places = {number: (one.custody, one.parcel) for number, one in book.compartments.items()}
    now = played.engine.book.compartments
    assert places == {number: (one.custody, one.parcel) for number, one in now.items()}
    assert book.map.doors[5].occupancy == "sensors:5"


def test_what_version_1_wrote_is_the_same_map_with_no_lines() -> None:
    told = [(item, dict(value)) for item, value in sitemap.items(small_map())]
    assert told[0] == ("map", {"boards": 3, "doors": 4})
    new = MapReader()
    assert [new.add(item, value) for item, value in told][-1] == small_map()
