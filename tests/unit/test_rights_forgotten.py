"""Capabilities that ended long ago leave the book, the same in whatever order two writers come."""

from itertools import permutations

import pytest

from sync import facts, fold
from sync.book import Book
from sync.fold import Taken
from sync.rights import FORGOTTEN_MS
from tests.property.histories import Pair, bank, taken

SITE, URGENT = "e1-0000000a:sc", "e1-0000000a:su"
HUB, LOUD, NEXT = "e1-0000000b:hc", "e1-0000000b:hu", "e2-0000000b:hc"
LATE = FORGOTTEN_MS + 10_000


def issued(log: str, index: int, cti: str = "aa", until_ms: int | None = 9) -> Taken:
    fact = facts.GrantIssued(
        grant="courier", tenant="a", label="", tag="", key_version=0, cti=cti, until_ms=until_ms
    )
    return taken(log, index, 1, fact)


def accepted(index: int, cti: str = "aa", until_ms: int = 9) -> Taken:
    fact = facts.CapabilityAccepted(
        cti=cti, action="courier", kid="", until_ms=until_ms, clock="synced"
    )
    return taken(SITE, index, 1, fact)


def anchored(log: str, index: int, utc_ms: int = LATE) -> Taken:
    return taken(log, index, 1, facts.TimeAnchored(utc_ms=utc_ms, error_ms=1, source="x"))


def revoked(log: str, index: int, of: str) -> Taken:
    return taken(log, index, 1, facts.GrantRevoked(of=of, by="ada"))


def in_every_order(*entries: Taken) -> Book:
    """The book of these entries, which is the same however they come."""
    books = []
    for order in permutations(entries):
        book = Book()
        for entry in order:
            book.take(*entry)
        books.append(book)
    assert len({book.canonical() for book in books}) == 1
    assert Book.restored(books[0].canonical()).canonical() == books[0].canonical()
    return books[0]


def test_the_hubs_own_anchors_end_what_it_gave_out() -> None:
    entries = [issued(HUB, at, f"{at:016x}") for at in range(5_000)]
    book = fold.fold([*entries, issued(HUB, 5_000, "ab", LATE), anchored(HUB, 5_001)])
    assert list(book.couriers) == [f"{HUB}5000"]
    book = fold.fold([*entries, anchored(HUB, 5_000, FORGOTTEN_MS + 9)])
    assert len(book.couriers) == 5_000


def test_another_log_forgets_nothing_of_this_one() -> None:
    """Two epochs of the hub have no order: each ends its own."""
    book = in_every_order(issued(HUB, 0), anchored(NEXT, 0), anchored(SITE, 0))
    assert list(book.couriers) == [f"{HUB}0"]


def test_what_has_no_end_or_no_capability_stays() -> None:
    typed = facts.GrantIssued(
        grant="courier", tenant="a", label="", tag="x", key_version=1, until_ms=1
    )
    book = in_every_order(issued(HUB, 0, until_ms=None), taken(HUB, 1, 1, typed), anchored(HUB, 2))
    assert len(book.couriers) == 2


def test_a_revocation_of_a_forgotten_one_is_forgotten_whichever_came_first() -> None:
    book = in_every_order(issued(HUB, 0), anchored(HUB, 1), revoked(LOUD, 0, f"{HUB}0"))
    assert (book.couriers, book.rights.revoked) == ({}, {})
    site = accepted(0), anchored(SITE, 1), anchored(SITE, 2)
    book = in_every_order(*site, revoked(URGENT, 0, f"{SITE}0"))
    assert (book.couriers, book.rights.revoked, book.rights.forgotten_ms) == ({}, {}, 9)


def test_a_revocation_of_what_is_no_right_waits_for_nothing() -> None:
    book = in_every_order(anchored(HUB, 0), revoked(LOUD, 0, f"{HUB}0"))
    assert book.rights.revoked == {}
    book = in_every_order(revoked(LOUD, 0, f"{HUB}7"))
    assert list(book.rights.revoked) == [f"{HUB}7"]


@pytest.mark.parametrize("forgets", [False, True])
def test_what_a_capability_became_is_revoked_as_long_as_that_is_known(forgets: bool) -> None:
    """Of two rights of one capability (a restored site) one is forgotten: no order shows in it."""
    first = (accepted(0), accepted(1, until_ms=LATE))
    last = (anchored(SITE, 2), anchored(SITE, 3)) if forgets else ()
    book = in_every_order(*first, *last, revoked(URGENT, 0, f"{SITE}0"))
    assert [one.revoked for one in book.couriers.values()] == ([False] if forgets else [True, True])


def test_a_site_that_hears_late_has_the_book_of_one_that_heard_in_time() -> None:
    book = in_every_order(
        issued(HUB, 0), anchored(HUB, 1), revoked(LOUD, 0, f"{HUB}0"), accepted(0, until_ms=LATE)
    )
    assert [one.ref for one in book.couriers.values()] == [f"{SITE}0"]


def test_what_a_capability_did_before_it_was_revoked_is_a_conflict_of_its_grant() -> None:
    book = fold.fold([issued(HUB, 0), accepted(0), accepted(1), revoked(LOUD, 0, f"{HUB}0")])
    book.rights.attempt(f"{SITE}0", f"{SITE}2", {})
    book.rights.use(f"{SITE}0", f"{SITE}3")
    (found,) = book.conflicts()
    assert (found.ref, found.other, found.how) == (f"{SITE}3", f"{LOUD}0", "in_flight")


def test_a_deposit_by_a_right_of_the_hubs_uses_nothing_in_either_order() -> None:
    """What a site may not name as the right of a deposit, a broken one might."""
    stage = Pair(map=bank("S"))
    right = stage.hub.write(
        facts.GrantIssued(grant="deposit", tenant="a", label="", tag="", key_version=0, cti="aa")
    )
    intent = stage.site.write(
        facts.OpenIntended(door=1, purpose="deposit", by=right, attempt=1, deadline=1, size="S")
    )
    stage.site.write(facts.DoorOpened(of=intent, door=1))
    stage.site.write(facts.DoorClosed(door=1, occupied=True))
    stage.site.write(
        facts.ParcelDeposited(
            of=intent, door=1, by=right, size="S", digits=8, counter=0, key_version=1, tag="t",
            basis="sensor",
        )
    )  # fmt: skip
    stage.hub.hear(stage.site)
    stage.site.hear(stage.hub)
    assert stage.hub.book.canonical() == stage.site.book.canonical()
    assert stage.site.book.rights.state_of(right) != "used"
