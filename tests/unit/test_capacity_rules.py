"""Escrow, rule by rule: what spends a right, what gives it back, and what a deficit names."""

import pytest

from sync import facts, fold
from sync.book import TRANSFER_MAX, Book
from sync.capacity import Deficit, name_of
from tests.property.histories import Holder, Pair, bank, taken

S = "S"


def rights(stage: Pair) -> tuple[int, int]:
    """What each end may give away of the small ones."""
    return stage.hub.book.rights.escrow.hub_free(S), stage.site.book.site_free(S)


def begun() -> Pair:
    """The hub has one right to a small compartment and has spent it on a promise."""
    stage = Pair(map=bank("S", "S", "S", "L"))
    stage.act("promise", 0)
    stage.site.hear(stage.hub)
    return stage


PROMISE = "e1-0000000b:hc0"


def test_names_of_classes() -> None:
    assert (name_of("M", ""), name_of("M", "chilled")) == ("M", "M/chilled")


def test_a_transfer_moves_what_both_may_spend() -> None:
    stage = Pair(map=bank("S", "S", "S", "L"))
    assert rights(stage) == (1, 2)
    stage.site.write(facts.CapacityTransferred(size="S", count=2))
    assert rights(stage) == (1, 0)
    stage.hub.hear(stage.site)
    assert rights(stage) == (3, 0)
    stage.hub.write(facts.CapacityTransferred(size="S", count=2))
    assert rights(stage) == (1, 0)
    stage.site.hear(stage.hub)
    assert rights(stage) == (1, 2)


@pytest.mark.parametrize("count", [0, -1, TRANSFER_MAX + 1])
@pytest.mark.parametrize("by", ["site", "hub"])
def test_a_transfer_of_nothing_or_of_more_than_a_site_has_stops_its_log(
    by: str, count: int
) -> None:
    stage = Pair()
    writer: Holder = getattr(stage, by)
    writer.write(facts.CapacityTransferred(size="S", count=count))
    assert [stop.code for stop in writer.book.stopped.values()] == ["book.malformed"]


def test_a_promise_spends_a_right_and_its_parcel_ends_both() -> None:
    stage = begun()
    assert rights(stage) == (0, 2)
    stage.act("keep_promise", 0)
    assert rights(stage) == (0, 2), "a compartment being filled for it is the right itself"
    stage.act("finish", 0)
    stage.hub.hear(stage.site)
    assert rights(stage) == (0, 2)
    assert stage.hub.book.rights.escrow.hub_rights(S) == 0
    assert not stage.hub.book.rights.escrow.promises


def test_a_cancelled_promise_keeps_its_right_until_the_site_releases_it() -> None:
    stage = begun()
    stage.act("cancel", 0)
    stage.site.hear(stage.hub)
    assert rights(stage) == (0, 2)
    stage.act("end_promise", 1)
    assert rights(stage) == (0, 3)
    stage.hub.hear(stage.site)
    assert rights(stage) == (0, 3), "the right is the site's again, not the hub's"


def test_a_promise_that_the_site_has_not_heard_of_is_kept() -> None:
    stage = Pair(map=bank("S", "L"))
    stage.act("promise", 0)
    stage.act("keep_promise", 0)
    assert stage.site.book.site_free(S) == -1, "on the safe side until the promise is heard of"
    stage.act("finish", 0)
    stage.act("to_site", 9)
    assert (stage.site.book.site_free(S), stage.site.book.rights.ends) == (0, {})
    assert not stage.site.book.rights.escrow.promises


def test_a_right_is_charged_for_the_compartment_taken() -> None:
    """A small parcel in a large compartment: the right to the small one is the site's again."""
    stage = Pair(map=bank("S", "M", "M"))
    stage.act("promise", 0)
    stage.act("to_site", 9)
    stage.site.write(facts.CompartmentDisabled(door=1, by="ada", why="hinge"))
    assert (stage.site.book.site_free("S"), stage.site.book.site_free("M")) == (-1, 1)
    stage.act("keep_promise", 0)
    assert stage.filling.keys() == {2}
    stage.act("finish", 0)
    assert (stage.site.book.site_free("S"), stage.site.book.site_free("M")) == (0, 0)


@pytest.mark.parametrize(
    "again",
    [
        facts.ReservationClosed(of=PROMISE, outcome="void", size="S"),
        facts.CapacityReleased(of=PROMISE, size="S"),
    ],
)
def test_a_promise_ends_once_however_often_it_is_said(again: facts.AnyFact) -> None:
    """A restored site says it again: another promise's right must not go with it."""
    stage = begun()
    stage.site.write(facts.ReservationClosed(of=PROMISE, outcome="expired", size="S"))
    stage.site.write(again)
    escrow = stage.site.book.rights.escrow
    assert (escrow.ended, escrow.hub_rights(S)) == ({"S": 1}, 0)


def test_what_ends_is_the_class_promised_whatever_the_end_says() -> None:
    stage = begun()
    stage.site.write(facts.ReservationClosed(of=PROMISE, outcome="void", size="L", band="cold"))
    assert stage.site.book.rights.escrow.ended == {"S": 1}


def test_an_end_of_what_was_no_promise_changes_no_sum_in_either_order() -> None:
    claim = taken("e1-0000000b:hc", 0, 1, facts.ClaimMade(tag="t", says="lost", by="a"))
    end = taken("e1-0000000a:sc", 0, 1, facts.CapacityReleased(of=PROMISE, size="S"))
    books = [fold.fold(order) for order in ([claim, end], [end, claim])]
    assert books[0].canonical() == books[1].canonical()
    assert books[0].rights.escrow.ended == {}


# --- deficits -----------------------------------------------------------------------------------


def test_a_deficit_names_the_youngest_promises() -> None:
    stage = Pair(map=bank("S", "S", "S", "L"))
    stage.site.write(facts.CapacityTransferred(size="S", count=2))
    stage.hub.hear(stage.site)
    for _ in range(3):
        stage.act("promise", 0)
    stage.site.hear(stage.hub)
    assert stage.site.book.deficits() == ()
    for door in (1, 2):
        stage.site.write(facts.CompartmentDisabled(door=door, by="ada", why="hinge"))
    owed = tuple(f"e1-0000000b:hc{index}" for index in range(3))
    assert stage.site.book.deficits() == (Deficit("S", 2, owed[1:]),)
    stage.hub.write(facts.ReservationCancelled(of=owed[0], by="ada"))
    stage.site.hear(stage.hub)
    assert stage.site.book.deficits() == (Deficit("S", 2, owed[2:]),)


def test_rights_that_nothing_stands_on_are_a_deficit_without_names() -> None:
    stage = Pair(map=bank("S", "L"))
    stage.site.write(facts.CompartmentDisabled(door=1, by="ada", why="hinge"))
    assert stage.site.book.deficits() == (Deficit("S", 1, ()),)
    assert stage.site.book.site_free("S") == -1


def test_a_newer_entry_about_a_door_takes_it_out_of_what_is_free() -> None:
    stage = Pair(map=bank("S", "S", "L"))
    stage.hub.write(None, "c", critical=(None, 1))
    stage.site.hear(stage.hub)
    book = stage.site.book
    assert (book.cautious(1), book.cautious(2)) == (True, False)
    assert (book.free()["S"], book.site_free("S")) == (1, 0)


def test_nothing_is_free_before_there_is_a_map() -> None:
    assert (Book().free(), Book().site_free("S"), Book().deficits()) == ({}, 0, ())
