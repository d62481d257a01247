"""Custody: who holds what is in a compartment. THE TABLE, with its theory above it.

A compartment is always in exactly one of six states. The site's custody lane is one order, so every
reader of the same facts comes to the same state; nobody needs a clock to do it.

- `free`: empty on record. The only state in which a compartment can be given away.
- `depositing`: given to a courier; a parcel may or may not be inside yet.
- `held`: a parcel is inside, on record, and waits for its recipient.
- `collecting`: a door holding a parcel was commanded to open, and what is inside is not judged
  again yet: it may be gone, so the book does not say *held*; it may be there, so not *free*.
- `claimed`: its recipient had it open and shut again, and nothing can tell whether it is empty.
- `doubt`: the site cannot know. Not given away; a parcel on record here is still its recipient's.

Four ideas carry the table:

1. *Opening is not taking.* An intent alone moves a compartment only into a state in which nothing
   is promised (`depositing`, `collecting`). What is true is said by evidence once the door is shut.
2. *Failure puts back* (`BACK`). A door that did not open leaves the state that the intent found, so
   a code stays good and an emptied compartment does not become a full one.
3. *Evidence outranks record.* What a truthful sensor contradicts becomes `doubt`, never silence.
4. *Doubt ends by looking.* By a person who says what is inside, or by the owner's own code, which
   opens the own parcel whatever the book thinks of it, and then the shut door is judged again.

A pair that is not in the table cannot happen to a correct writer: reading one is an error of its
writer, and is refused rather than guessed at.
"""

from enum import StrEnum
from typing import Final, Literal

from sync import facts
from sync.errors import TheirsInvalid


class Custody(StrEnum):
    """The state of one compartment."""

    FREE = "free"
    DEPOSITING = "depositing"
    HELD = "held"
    COLLECTING = "collecting"
    CLAIMED = "claimed"
    DOUBT = "doubt"


FREE, DEPOSITING, HELD, COLLECTING, CLAIMED, DOUBT = Custody

BACK: Final = "back"
"""The state in which the intent found the compartment."""

TABLE: dict[Custody, dict[str, Custody | Literal["back"]]] = {
    FREE: {
        "intended.deposit": DEPOSITING,
        "intended.support": FREE,
        "ended.opened": FREE,
        "ended.failed": FREE,
        "late.deposit": DEPOSITING,
        "late.collect": FREE,
        "late.take_back": FREE,
        "late.support": FREE,
        "ended.doubt.occupied": DOUBT,
        "ended.doubt.empty": FREE,
        "ended.doubt.unknown": FREE,
        "closed.occupied": DOUBT,
        "closed.empty": FREE,
        "closed.unknown": FREE,
        "forced": DOUBT,
        "doubted": DOUBT,
        "checked.empty": FREE,
        "checked.occupied": DOUBT,
    },
    DEPOSITING: {
        "intended.deposit": DEPOSITING,
        "ended.opened": DEPOSITING,
        "ended.failed": BACK,
        "late.deposit": DEPOSITING,
        "ended.doubt.occupied": DEPOSITING,  # and, in the same commit, the parcel is put on record
        "ended.doubt.empty": FREE,
        "ended.doubt.unknown": DOUBT,
        "deposited": HELD,
        "closed.occupied": DEPOSITING,  # likewise
        "closed.empty": FREE,
        "closed.unknown": DEPOSITING,  # the courier is asked
        "forced": DOUBT,
        "doubted": DOUBT,
        "checked.empty": FREE,
        "checked.occupied": DOUBT,
    },
    HELD: {
        "intended.collect": COLLECTING,
        "intended.take_back": COLLECTING,
        "intended.support": COLLECTING,
        "late.collect": COLLECTING,  # a door that gave way after its last attempt was given up
        "late.take_back": COLLECTING,
        "late.support": COLLECTING,
        "late.deposit": DOUBT,
        "closed.occupied": HELD,
        "closed.empty": DOUBT,
        "closed.unknown": HELD,
        "forced": DOUBT,
        "doubted": DOUBT,
        "checked.occupied": HELD,
        "checked.empty": FREE,
    },
    COLLECTING: {
        "intended.collect": COLLECTING,  # the next attempt, or a re-opening inside the grace
        "intended.take_back": COLLECTING,
        "intended.support": COLLECTING,
        "ended.opened": COLLECTING,
        "ended.failed": BACK,
        "late.collect": COLLECTING,
        "late.take_back": COLLECTING,
        "late.support": COLLECTING,
        "ended.doubt.occupied": HELD,
        "ended.doubt.empty": DOUBT,
        "ended.doubt.unknown": DOUBT,
        "closed.occupied": COLLECTING,  # and, in the same commit, it is put on record as left
        "closed.empty": COLLECTING,  # until the grace for re-opening is over
        "closed.unknown": COLLECTING,  # likewise
        "forced": DOUBT,  # open again inside the grace with nobody's code: a stranger may be in
        "left": HELD,
        "collected": FREE,
        "claimed": CLAIMED,
        "taken_back": FREE,
        "doubted": DOUBT,
        "checked.occupied": HELD,
        "checked.empty": FREE,
    },
    CLAIMED: {
        "intended.collect": COLLECTING,  # the same code, for fifteen minutes
        "intended.deposit": DEPOSITING,  # the next courier looks, and says so
        "intended.support": CLAIMED,
        "ended.opened": CLAIMED,
        "ended.failed": CLAIMED,
        "late.collect": COLLECTING,
        "late.deposit": DEPOSITING,
        "late.support": CLAIMED,
        "ended.doubt.occupied": DOUBT,
        "ended.doubt.empty": CLAIMED,
        "ended.doubt.unknown": CLAIMED,
        "closed.occupied": DOUBT,
        "closed.empty": CLAIMED,
        "closed.unknown": CLAIMED,
        "forced": DOUBT,
        "doubted": DOUBT,
        "checked.empty": FREE,
        "checked.occupied": DOUBT,
    },
    DOUBT: {
        "intended.collect": COLLECTING,
        "intended.take_back": COLLECTING,
        "intended.support": DOUBT,
        "ended.opened": DOUBT,
        "ended.failed": DOUBT,
        "late.collect": COLLECTING,
        "late.take_back": COLLECTING,
        "late.deposit": DOUBT,
        "late.support": DOUBT,
        "ended.doubt.occupied": DOUBT,
        "ended.doubt.empty": DOUBT,
        "ended.doubt.unknown": DOUBT,
        "closed.occupied": DOUBT,
        "closed.empty": DOUBT,  # or `free`, where no parcel is on record: see `step`
        "closed.unknown": DOUBT,
        "forced": DOUBT,
        "doubted": DOUBT,
        "checked.empty": FREE,
        "checked.occupied": DOUBT,  # or `held`, where a parcel is on record: see `step`
    },
}

OWNED = frozenset({HELD, COLLECTING, CLAIMED, DOUBT})
"""States in which a compartment may hold a parcel on record."""


def event_of(fact: facts.Fact, purpose: str = "") -> str | None:  # noqa: PLR0911  # a table
    """Return the table's word for a fact, or None when it says nothing of custody.

    `purpose` is that of the intent an `open.ended` answers.
    """
    match fact:
        case facts.OpenIntended():
            return f"intended.{fact.purpose}"
        case facts.OpenEnded(outcome="doubt"):
            return f"ended.doubt.{_evidence(fact.occupied)}"
        case facts.OpenEnded(outcome="late"):
            return f"late.{purpose}"
        case facts.OpenEnded():
            return f"ended.{fact.outcome}"
        case facts.DoorClosed():
            return f"closed.{_evidence(fact.occupied)}"
        case facts.CompartmentChecked():
            return f"checked.{_evidence(fact.occupied)}"
        case _:
            return _SIMPLE.get(type(fact))


_SIMPLE: dict[type[facts.Fact], str] = {
    facts.DoorForced: "forced",
    facts.ParcelDeposited: "deposited",
    facts.ParcelCollected: "collected",
    facts.ParcelClaimed: "claimed",
    facts.ParcelLeft: "left",
    facts.ParcelTakenBack: "taken_back",
    facts.CompartmentDoubted: "doubted",
}


def _evidence(occupied: bool | None) -> str:  # noqa: FBT001  # three-valued: the evidence itself
    if occupied is None:
        return "unknown"
    return "occupied" if occupied else "empty"


def step(state: Custody, event: str, *, before: Custody, parcel_on_record: bool) -> Custody:
    """Return the state after an event, or refuse the pair with `custody.impossible`.

    `before` is the state in which the latest intent for this compartment found it.
    """
    after = TABLE[state].get(event)
    if after is None:
        raise TheirsInvalid(
            "custody.impossible",
            "Stop folding this log here and show the entry to its writer's maintainers.",
            state=state.value,
            event=event,
        )
    if event == "checked.occupied" and parcel_on_record:
        return HELD
    if state is DOUBT and event == "closed.empty" and not parcel_on_record:
        return FREE  # nobody's parcel is missed, and the sensor says that nothing is there
    return before if after == BACK else after
