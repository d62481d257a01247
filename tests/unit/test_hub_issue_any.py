"""Pins that no order of decisions and answers lets the hub promise more than it has rights to."""

from hypothesis import given
from hypothesis import strategies as st

from sync import facts
from sync.hub import issue
from sync.hub.issue import Say
from tests.unit.test_hub_issue import DESK, Stage, reserve

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["give", "reserve", "cancel", "release", "close", "hand_back"]),
        st.integers(0, 3),
    ),
    max_size=25,
)


@given(STEPS)
def test_promises_and_unspent_rights_never_exceed_what_was_given(
    steps: list[tuple[str, int]],
) -> None:
    stage = Stage()
    promises: list[str] = []
    ended: set[str] = set()
    given_away = 0
    for what, place in steps:
        mine = promises[place % len(promises)] if promises else ""
        book, escrow = stage.book, stage.book.rights.escrow
        free_before = escrow.hub_free("M")
        match what:
            case "give":
                stage.site.gives("M", place + 1)
                given_away += place + 1
                stage.fold()
            case "reserve":
                decision = reserve(book, identity=f"acme/N{len(promises)}/1")
                assert isinstance(decision, Say) == (free_before > 0)
                if isinstance(decision, Say):
                    promises.append(stage.say(decision))
                    assert escrow.hub_free("M") == free_before - 1
            case "cancel" if mine and mine not in ended:
                decision = issue.cancel(book, DESK, reservation=mine)
                if isinstance(decision, Say):
                    stage.say(decision)
                assert escrow.hub_free("M") == free_before, "a cancel gives the hub nothing back"
            case "release" | "close" if mine and mine not in ended:
                if what == "release":
                    stage.site.write(facts.CapacityReleased(of=mine, size="M"))
                else:
                    stage.site.write(facts.ReservationClosed(of=mine, size="M", outcome="expired"))
                ended.add(mine)
                stage.fold()
                assert escrow.hub_free("M") == free_before
            case "hand_back":
                decision = issue.hand_back(book, DESK, size="M", band="", count=place + 1)
                assert isinstance(decision, Say) == (place + 1 <= free_before)
                if isinstance(decision, Say):
                    stage.say(decision)
                    given_away -= place + 1
            case _:
                pass
        standing = len(promises) - len(ended)
        assert escrow.hub_free("M") >= 0
        assert escrow.hub_free("M") + standing == escrow.hub_rights("M")
        assert escrow.hub_rights("M") == given_away - len(ended)
        assert not stage.book.stopped
