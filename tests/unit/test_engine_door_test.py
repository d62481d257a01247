"""Pins what an installer's test of a door opens: empty compartments, never one with a parcel."""

import pytest

from gateway.core.inputs import BoardSilent, DoorTested, FenceRaised, ServiceSet
from gateway.core.outputs import Answer, Pulse
from sync import facts
from sync.custody import Custody
from tests.stage import Stage


def try_door(stage: Stage, door: int) -> None:
    stage.send(DoorTested(now=stage.now, token="t", by="anna", door=door))


def refusal(stage: Stage, door: int) -> str:
    stage.outputs.clear()
    try_door(stage, door)
    assert not [output for output in stage.outputs if isinstance(output, Pulse)]
    return str(stage.last(Answer).code)


def test_an_empty_compartment_opens_and_the_record_names_the_installer() -> None:
    stage = Stage()
    try_door(stage, 3)
    pulse = stage.last(Pulse)
    assert pulse.door == 3
    intent = stage.recorded(facts.OpenIntended)[-1]
    assert (intent.purpose, intent.by, intent.case, intent.of) == (
        "support", "installer:anna", "test", None,
    )  # fmt: skip
    assert stage.engine.book.compartments[3].custody is Custody.FREE


def test_a_compartment_with_a_parcel_stays_shut_in_service_or_not() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    assert refusal(stage, door) == "door.occupied"
    stage.send(
        ServiceSet(now=stage.now, token="s", by="ada", door=door, enabled=False, reason="stuck")
    )
    assert refusal(stage, door) == "door.occupied"


def test_what_the_sensor_sees_counts_as_somebodys() -> None:
    stage = Stage()

    stage.engine.state.look(4).occupied = True
    assert refusal(stage, 4) == "door.occupied"


def test_a_doubt_is_looked_into_only_out_of_service() -> None:
    stage = Stage()
    stage.engine.book.compartments[2].custody = Custody.DOUBT
    assert refusal(stage, 2) == "door.occupied"
    stage.engine.book.compartments[2].disabled = "door.stuck"
    try_door(stage, 2)
    assert stage.last(Pulse).door == 2


@pytest.mark.parametrize("door", [0, 9])
def test_an_unknown_door(door: int) -> None:
    assert refusal(Stage(), door) == "door.unknown"


def test_behind_a_fence_nobody_knows_what_is_empty() -> None:
    stage = Stage()
    stage.send(FenceRaised(now=stage.now, why="clone.seen"))
    assert refusal(stage, 1) == "door.occupied"


def test_a_door_that_nobody_sees_is_not_tried() -> None:
    stage = Stage()
    stage.send(BoardSilent(now=stage.now, board="relays", doors=(1, 2, 3, 4)))
    assert refusal(stage, 1) == "door.silent"
