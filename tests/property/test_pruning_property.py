"""Pins the rule of pruning: no word is forgotten, and less is always as allowed as more."""

from hypothesis import given
from hypothesis import strategies as st

from sync.pruning import Bound, Case, bounds, furthest, refusals

SIZES = st.integers(0, 40)
HUBS = st.sampled_from(["", "00000000000000a1", "00000000000000a2"])
CASES = st.builds(
    Case,
    own=st.booleans(),
    size=SIZES,
    cosigned=SIZES,
    receipts=st.dictionaries(HUBS.filter(bool), SIZES),
    hub=HUBS,
    older=SIZES,
    snapshot=SIZES,
)


@given(CASES, SIZES)
def test_what_may_go_is_with_the_hub_that_is_there_old_and_in_a_snapshot(
    case: Case, upto: int
) -> None:
    if not refusals(case, upto) and upto:
        assert case.own
        assert upto <= min(case.size, case.cosigned, case.older, case.snapshot)
        assert upto <= case.receipts[case.hub]


@given(CASES, SIZES)
def test_the_words_are_those_whose_bounds_are_passed(case: Case, upto: int) -> None:
    words = refusals(case, upto)
    assert set(words) == {word for word in Bound if bounds(case)[word] < upto}
    assert (not words) == (upto <= furthest(case))


@given(CASES, SIZES, SIZES)
def test_less_is_as_allowed_as_more(case: Case, upto: int, less: int) -> None:
    if less <= upto:
        assert set(refusals(case, less)) <= set(refusals(case, upto))
