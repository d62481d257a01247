"""The book as bytes: what is in them, what is beside them, and what is refused."""

import base64
import hashlib
import json

import msgspec
import pytest

from gateway.core.inputs import Button
from sync import canonical, facts, fold, sitemap
from sync.book import Book
from sync.errors import TheirsInvalid
from tests.property.histories import Pair, bank, taken
from tests.stage import Stage, small_map

SITE, HUB = "e1-00000001:sc", "e1-0000000b:hc"
ANNEX = canonical.encode({"tenant": "acme", "tracking": "AB1", "piece": 1})
SALT = bytes(16)


def a_day() -> tuple[Book, list[tuple[str, tuple[bytes, bytes]]]]:
    """A book with a parcel that is here, one that is gone, and the annexes kept beside it."""
    stage = Stage()
    door = stage.deposit("AB1")
    stage.deposit("AB2")
    stage.home()
    stage.enter(stage.code("AB1"))
    stage.opens()
    stage.shut(door, occupied=False)
    stage.after(60_000)
    annexes = [(f"{log}{index}", annex) for log, index, _, _, annex, *_ in stage.log if annex]
    return stage.engine.book, annexes


def test_a_restored_book_is_the_book_with_what_the_annexes_kept_name() -> None:
    book, annexes = a_day()
    again = Book.restored(book.canonical(), annexes)
    assert again.canonical() == book.canonical()
    assert [one.identity for one in again.live()] == [one.identity for one in book.live()]
    assert [one.identity for one in again.retired] == ["acme/AB1/1"]
    assert again.holders == book.holders
    assert Book.restored(book.canonical()).live()[0].identity is None


def test_a_deposit_under_way_keeps_its_annex_across_a_restore() -> None:
    stage = Stage()
    stage.login()
    stage.scan("AB7")
    stage.press(Button.SIZE, "S")
    annexes = [(f"{log}{index}", annex) for log, index, _, _, annex, *_ in stage.log if annex]
    again = Book.restored(stage.engine.book.canonical(), annexes)
    intents = [one.intent for one in again.compartments.values() if one.intent]
    assert [one.annex for one in intents] == [annexes[0][1]]


def test_an_expected_parcel_is_named_again() -> None:
    book = Book()
    fact = facts.ParcelExpected(tag="t", key_version=1)
    book.take(HUB, 0, (1, 1), fact, (ANNEX, SALT))
    assert book.rights.expected[f"{HUB}0"].identity == "acme/AB1/1"
    assert b"acme" not in book.canonical()
    again = Book.restored(book.canonical(), [(f"{HUB}0", (ANNEX, SALT))])
    assert again.rights == book.rights


def test_an_erased_annex_is_forgotten_by_what_was_expected() -> None:
    book = Book()
    book.take(HUB, 0, (1, 1), facts.ParcelExpected(tag="t", key_version=1), (ANNEX, SALT))
    book.take(SITE, 0, (1, 1), facts.AnnexErased(of=f"{HUB}0", by="ada"))
    assert book.rights.expected[f"{HUB}0"].identity is None


@pytest.mark.parametrize("annex", [b"", b"\xff", b"{}", b'{"tenant":"acme"}', b"[1]"])
def test_an_annex_that_names_no_parcel_stops_nothing(annex: bytes) -> None:
    """What is beside the entry is its writer's word: it must not decide what is folded."""
    book = Book()
    book.take(HUB, 0, (1, 1), facts.ParcelExpected(tag="t", key_version=1), (annex, SALT))
    assert (book.stopped, book.sizes) == ({}, {HUB: 1})
    assert book.rights.expected[f"{HUB}0"].identity is None
    again = Book.restored(book.canonical(), [(f"{HUB}0", (annex, SALT))])
    private = base64.b64encode(hashlib.sha256(SALT + annex).digest()).decode()
    assert again.holders == {private: [f"{HUB}0"]}


def test_half_a_map_is_in_the_bytes() -> None:
    """A book kept in the middle of an import goes on as the whole one does."""
    items = [facts.ConfigSet(item=item, value=value) for item, value in sitemap.items(small_map())]
    for cut in range(len(items) + 1):
        book, whole = Book(), Book()
        for index, fact in enumerate(items):
            whole.take(SITE, index, (1, index), fact)
            book.take(SITE, index, (1, index), fact)
            if index == cut:
                book = Book.restored(book.canonical())
        assert book.canonical() == whole.canonical()
        assert book.map == small_map()


def test_an_item_outside_a_map_changes_none() -> None:
    book = Pair(map=bank("S")).site.book
    more = sitemap.items(bank("S", "M"))[-1]
    before = book.map
    book.take("e1-0000000a:sc", book.sizes["e1-0000000a:sc"], (1, 1),
              facts.ConfigSet(item=more[0], value=more[1]))  # fmt: skip
    assert (book.map, book.free()) == (before, {"S": 1})
    assert book.stopped == {}


def test_why_a_log_stopped_is_told_in_no_librarys_words() -> None:
    """Two versions may word an error differently: both books must still be equal."""
    book = Book()
    book.take(*fold.read(SITE, 0, b'{"at":[1,2],"kind":"alarm.raised"}'))
    assert "alarm" in book.stopped[SITE].evidence
    assert json.loads(book.canonical())["stopped"][SITE] == {
        "index": 0, "code": "fact.malformed", "evidence": "",
    }  # fmt: skip
    again = Book.restored(book.canonical())
    assert again.canonical() == book.canonical()
    again.take(*taken(SITE, 0, 1, facts.DoorForced(door=1)))
    assert again.stopped.keys() == {SITE}


def test_a_restored_book_knows_which_epoch_it_is_in() -> None:
    stage = Pair()
    stage.act("restore", 1)
    stage.site.write(None, "c")
    again = Book.restored(stage.site.book.canonical())
    log = "e1-0000000a:sc"
    again.take(*taken(log, again.sizes[log], 1, None))
    assert again.stale


@pytest.mark.parametrize("data", [b"", b"{}", b"[" * 100_000, b"\xff", b'{"sizes":{}}'])
def test_bytes_that_are_no_book_are_refused(data: bytes) -> None:
    with pytest.raises(TheirsInvalid) as refused:
        Book.restored(data)
    assert refused.value.code == "book.bad_snapshot"


def test_a_book_written_otherwise_than_we_write_it_is_refused() -> None:
    data = Book().canonical()
    other = msgspec.json.format(data, indent=1)
    with pytest.raises(TheirsInvalid) as refused:
        Book.restored(other)
    assert refused.value.code == "book.bad_snapshot"
