"""Pins how an installer takes compartments out of service, and whose flags are not theirs."""

import pytest

from gateway.core.inputs import DoorServiced, ServiceSet
from gateway.core.outputs import Answer
from gateway.core.technician import REASON
from sync import facts
from tests.stage import Stage


def ask(stage: Stage, *, enabled: bool, door: int = 3, reason: str = "") -> Answer:
    stage.send(
        DoorServiced(now=stage.now, token="t", by="anna", door=door, enabled=enabled, reason=reason)
    )
    answer: Answer = stage.last(Answer)
    return answer


def support(stage: Stage, *, enabled: bool, reason: str = "police") -> None:
    stage.send(
        ServiceSet(now=stage.now, token="s", by="ada", door=3, enabled=enabled, reason=reason)
    )


def flags(stage: Stage) -> list[tuple[str, str]]:
    """(by, why) of every flag on record."""
    return [
        (fact.by, getattr(fact, "why", ""))
        for fact in stage.facts
        if isinstance(fact, facts.CompartmentDisabled | facts.CompartmentEnabled)
    ]


def test_out_with_a_reason_and_back_and_the_record_names_the_installer() -> None:
    stage = Stage()
    answer = ask(stage, enabled=False, reason="bent hinge")
    assert (answer.code, bool(answer.ref)) == ("", True)
    assert stage.engine.book.compartments[3].disabled == "installer: bent hinge"
    assert ask(stage, enabled=True).code == ""
    assert stage.engine.book.compartments[3].disabled == ""
    assert flags(stage) == [("installer:anna", "installer: bent hinge"), ("installer:anna", "")]


def test_without_a_reason_it_says_that_it_was_asked() -> None:
    stage = Stage()
    ask(stage, enabled=False)
    assert stage.engine.book.compartments[3].disabled == "installer: asked"


def test_what_is_so_already_is_not_written_again() -> None:
    stage = Stage()
    assert ask(stage, enabled=True) == Answer("t", evidence=(("door", 3),))
    ask(stage, enabled=False, reason="hinge")
    assert ask(stage, enabled=False, reason="another") == Answer("t", evidence=(("door", 3),))
    assert len(flags(stage)) == 1


def test_a_door_that_the_site_found_stuck_comes_back_when_it_is_repaired() -> None:
    stage = Stage()
    stage.engine.state.write(facts.CompartmentDisabled(door=3, by="site", why="door.stuck"))
    assert ask(stage, enabled=True).code == ""
    assert stage.engine.book.compartments[3].disabled == ""


@pytest.mark.parametrize("why", ["police", REASON, "asked"])
def test_what_somebody_else_took_out_stays_out(why: str) -> None:
    stage = Stage()
    support(stage, enabled=False, reason=why)
    # Neither back, nor out again for a reason of their own, after which it would be theirs.
    for enabled in (True, False, True):
        answer = ask(stage, enabled=enabled, reason="mine")
        assert (answer.code, dict(answer.evidence)["why"]) == ("service.others", why)
    assert stage.engine.book.compartments[3].disabled == why
    support(stage, enabled=True)
    assert ask(stage, enabled=False, reason="mine").code == ""


def test_what_the_hub_took_out_stays_out() -> None:
    stage = Stage()
    stage.hub(facts.CompartmentDisabled(door=3, by="op", why="recall"))
    assert ask(stage, enabled=True).code == "service.others"
    assert ask(stage, enabled=False).code == "service.others"
    assert stage.engine.book.compartments[3].disabled == "recall"


def test_what_the_hub_and_an_installer_took_out_at_once_stays_out() -> None:
    stage = Stage()
    ask(stage, enabled=False, reason="hinge")
    stage.hub(facts.CompartmentDisabled(door=3, by="op", why="recall"))  # it had not heard of ours
    assert ask(stage, enabled=True).code == "service.others"


def test_a_parcel_inside_stays_collectable() -> None:
    stage = Stage()
    door = stage.deposit()
    stage.home()
    assert ask(stage, enabled=False, door=door, reason="hinge").code == ""
    stage.enter(stage.code())
    assert stage.recorded(facts.OpenIntended)[-1].purpose == "collect"


@pytest.mark.parametrize("door", [0, 9])
def test_an_unknown_door(door: int) -> None:
    assert ask(Stage(), enabled=False, door=door).code == "door.unknown"


def test_a_reason_that_no_entry_should_hold_is_refused() -> None:
    assert ask(Stage(), enabled=False, reason="x" * 201).code == "command.malformed"
    assert ask(Stage(), enabled=False, reason="a\nb").code == "command.malformed"
