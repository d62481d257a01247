"""The book as bytes: what is in them, what is beside them, and what is refused."""

import base64
import hashlib
import json
from pathlib import Path

import msgspec
import pytest

from gateway.core.inputs import Button
from sync import canonical, facts, fold, sitemap
from sync.book import Book
from sync.errors import TheirsInvalid
from sync.rights import FORGOTTEN_MS, NAMED_MAX, Rights
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


NEW_WORDS = (
    "others",
    "named",
    "decommissioned",
    "forgotten_ms",
    "unheard",
    "cti",
    "room",
    "second",
)
CORPUS = Path(__file__).parents[1] / "vectors" / "corpus"


def corpus_book(names: tuple[str, ...] = ("begin", "custody", "urgent")) -> Book:
    """The entries of the golden corpus, each file as the start of its log."""
    book = Book()
    for name in names:
        log = "e1-0000000a:su" if name == "urgent" else "e1-0000000a:sc"
        first = book.sizes.get(log, 0)
        for index, line in enumerate((CORPUS / f"{name}.ndjson").read_bytes().splitlines()):
            book.take(*fold.read(log, first + index, line))
    return book


def test_a_book_of_before_has_the_bytes_that_it_had() -> None:
    """A book without capabilities is written without any field of theirs, and is read again."""
    for book, digest in (
        (
            corpus_book(("begin",)),
            "9745406743bc61c6618ce3ee7c5414f3a0fb91da83020c87b7900e1f00e82804",
        ),
        (corpus_book(), "3b240d0711d4be820dfd46e8a99598e8fa252ad7710deffe60416f1e3e351895"),
    ):
        data = book.canonical()
        assert hashlib.sha256(data).hexdigest() == digest, "as the version before wrote it"
        rights = json.loads(data)["rights"]
        for words in (rights, rights["escrow"], *rights["couriers"].values()):
            assert not set(NEW_WORDS) & set(words)
        assert Book.restored(data).canonical() == data


def test_a_field_left_out_is_left_out_only_where_it_was_not_before() -> None:
    """What people call a setting or an alarm is theirs, whatever it is called."""
    book = Book()
    fact = facts.ConfigSet(item="setting", value={"key": "room", "value": 0})
    book.take("e1-0000000a:hc", 0, (1, 1), fact)
    data = book.canonical()
    assert "room" in json.loads(data)["rights"]["settings"]
    assert Book.restored(data).canonical() == data


def test_every_later_field_is_there_once_it_says_something_and_survives() -> None:
    book = Book()
    hub, site = "e1-0000000b:hc", "e1-0000000a:sc"
    said: list[facts.AnyFact] = [
        facts.ParcelExpected(tag="t", key_version=1),
        facts.GrantIssued(grant="courier", tenant="t", label="", tag="", key_version=0, cti="ab"),
        facts.OpenRequested(door=1, by="a", why="w", case="c", until_ms=5, second="b"),
    ]
    done: list[facts.AnyFact] = [
        facts.CapabilityAccepted(cti="ac", action="courier", kid="", until_ms=1, clock=""),
        facts.TimeAnchored(utc_ms=FORGOTTEN_MS + 9, error_ms=0, source="x"),
        facts.TimeAnchored(utc_ms=FORGOTTEN_MS + 9, error_ms=0, source="x"),
        facts.CapabilityAccepted(
            cti="ad", action="return", kid="", until_ms=2**53 - 1, clock="", room="M"
        ),
        facts.ReservationClosed(of=f"{hub}77", outcome="used", size="S"),
        facts.SiteDecommissioned(by="a", why="w"),
    ]
    for log, entries in ((hub, said), (site, done)):
        for index, fact in enumerate(entries):
            book.take(log, index, (1, index), fact)
    text = book.canonical()
    for word in NEW_WORDS:
        assert f'"{word}":'.encode() in text, word
    assert Book.restored(text).canonical() == text


def test_names_of_parcels_are_kept_up_to_a_bound_whatever_their_order() -> None:
    refs = [f"e1-0000000b:hc{index}" for index in range(3 * NAMED_MAX)]
    kept = []
    for order in (refs, list(reversed(refs))):
        rights = Rights()
        for ref in order:
            rights.name(ref, "t")
        assert len(rights.named) <= 2 * NAMED_MAX
        kept.append(rights.bare().named)
    assert kept[0] == kept[1] == dict.fromkeys(refs[-NAMED_MAX:], "t")
