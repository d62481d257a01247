"""The custody table: whole, closed, and what each kind of evidence may and may not do."""

import pytest

from sync import facts
from sync.custody import BACK, OWNED, TABLE, Custody, event_of, step
from sync.errors import TheirsInvalid

PURPOSES = ("collect", "deposit", "take_back", "support")
EVENTS = sorted({event for row in TABLE.values() for event in row})
INTENT = facts.OpenIntended(purpose="collect", by="c", attempt=1, deadline=1)
PAIRS = [(state, event) for state in Custody for event in EVENTS]


def after(
    state: Custody, event: str, *, before: Custody = Custody.FREE, parcel: bool = True
) -> Custody:
    return step(state, event, before=before, parcel_on_record=parcel)


def test_every_state_has_a_row() -> None:
    assert set(TABLE) == set(Custody)


@pytest.mark.parametrize(("state", "event"), PAIRS)
def test_what_is_not_in_the_table_is_refused_and_what_is_leads_to_a_state(
    state: Custody, event: str
) -> None:
    if event in TABLE[state]:
        assert after(state, event) in Custody
        return
    with pytest.raises(TheirsInvalid) as refused:
        after(state, event)
    assert refused.value.code == "custody.impossible"
    assert refused.value.evidence == {"state": state.value, "event": event}


@pytest.mark.parametrize("state", Custody)
def test_evidence_of_the_sensor_can_always_be_written_where_doors_close(state: Custody) -> None:
    assert {"closed.occupied", "closed.empty", "closed.unknown"} <= set(TABLE[state])
    assert {"checked.occupied", "checked.empty", "forced", "doubted"} <= set(TABLE[state])


@pytest.mark.parametrize("state", Custody)
def test_a_forced_or_doubted_door_is_always_doubt(state: Custody) -> None:
    assert TABLE[state]["forced"] is Custody.DOUBT
    assert TABLE[state]["doubted"] is Custody.DOUBT


@pytest.mark.parametrize("state", Custody)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_intent_promises_nothing(state: Custody, purpose: str) -> None:
    reached = TABLE[state].get(f"intended.{purpose}")
    if reached is not None and reached is not state:
        assert reached in {Custody.DEPOSITING, Custody.COLLECTING}


@pytest.mark.parametrize("state", Custody)
@pytest.mark.parametrize("purpose", PURPOSES)
def test_an_intent_that_is_possible_can_end_in_every_way(state: Custody, purpose: str) -> None:
    reached = TABLE[state].get(f"intended.{purpose}")
    if isinstance(reached, Custody):
        ends = {"opened", "failed", "doubt.occupied", "doubt.empty", "doubt.unknown"}
        assert {f"ended.{end}" for end in ends} <= set(TABLE[reached])


@pytest.mark.parametrize("state", [Custody.FREE, Custody.HELD, Custody.CLAIMED, Custody.DOUBT])
@pytest.mark.parametrize("purpose", PURPOSES)
def test_a_door_that_did_not_open_changes_nothing(state: Custody, purpose: str) -> None:
    if f"intended.{purpose}" in TABLE[state]:
        reached = after(state, f"intended.{purpose}")
        assert after(reached, "ended.failed", before=state) is state


@pytest.mark.parametrize("state", Custody)
def test_only_evidence_or_a_person_makes_a_compartment_free(state: Custody) -> None:
    freeing = {event for event, to in TABLE[state].items() if to is Custody.FREE}
    told = {"collected", "taken_back", "checked.empty", "closed.empty", "ended.doubt.empty"}
    assert freeing <= told or state is Custody.FREE


@pytest.mark.parametrize("state", sorted(OWNED))
def test_never_free_by_evidence_that_something_is_inside(state: Custody) -> None:
    for event, to in TABLE[state].items():
        if event.endswith(".occupied"):
            assert to is not Custody.FREE


def test_never_held_by_evidence_that_nothing_is_inside() -> None:
    for state, row in TABLE.items():
        for event, to in row.items():
            if event.endswith(".empty"):
                assert to is not Custody.HELD, (state, event)


@pytest.mark.parametrize("state", [state for state in Custody if state is not Custody.FREE])
def test_a_deposit_is_never_intended_where_something_may_be(state: Custody) -> None:
    given = "intended.deposit" in TABLE[state]
    assert given == (state in {Custody.DEPOSITING, Custody.CLAIMED})


def test_back_is_the_state_the_intent_found() -> None:
    assert TABLE[Custody.COLLECTING]["ended.failed"] == BACK
    for before in (Custody.HELD, Custody.CLAIMED, Custody.DOUBT, Custody.COLLECTING):
        assert after(Custody.COLLECTING, "ended.failed", before=before) is before


def test_what_a_person_sees_inside_is_the_parcel_on_record() -> None:
    assert after(Custody.DOUBT, "checked.occupied") is Custody.HELD
    assert after(Custody.DOUBT, "checked.occupied", parcel=False) is Custody.DOUBT


def test_doubt_about_nobodys_parcel_ends_when_the_sensor_sees_nothing() -> None:
    assert after(Custody.DOUBT, "closed.empty", parcel=False) is Custody.FREE
    assert after(Custody.DOUBT, "closed.empty") is Custody.DOUBT


@pytest.mark.parametrize(
    ("fact", "purpose", "event"),
    [
        (INTENT, "", "intended.collect"),
        (facts.OpenEnded(outcome="opened"), "collect", "ended.opened"),
        (facts.OpenEnded(outcome="failed"), "collect", "ended.failed"),
        (facts.OpenEnded(outcome="late"), "deposit", "late.deposit"),
        (facts.OpenEnded(outcome="doubt"), "deposit", "ended.doubt.unknown"),
        (facts.OpenEnded(outcome="doubt", occupied=True), "deposit", "ended.doubt.occupied"),
        (facts.OpenEnded(outcome="doubt", occupied=False), "deposit", "ended.doubt.empty"),
        (facts.DoorClosed(occupied=False), "", "closed.empty"),
        (facts.CompartmentChecked(by="x", occupied=True), "", "checked.occupied"),
        (facts.DoorForced(), "", "forced"),
        (facts.ParcelLeft(), "", "left"),
        (facts.DoorOpened(), "", None),
        (facts.DoorAjar(open_ms=60_000), "", None),
        (facts.CompartmentDisabled(by="x", why="y"), "", None),
    ],
)  # fmt: skip
def test_facts_in_the_words_of_the_table(fact: facts.Fact, purpose: str, event: str | None) -> None:
    assert event_of(fact, purpose) == event
    assert event is None or event in EVENTS
