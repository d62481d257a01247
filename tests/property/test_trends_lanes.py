"""Pins that trends do not depend on which lane of a log is read first, and that they add up."""

from hypothesis import given
from hypothesis import strategies as st

from gateway import wear
from gateway.trends import Trends
from sync.entry import compose
from sync.moment import Moment
from sync.sitemap import DoorItem, SiteMap

SITE = SiteMap(
    doors={
        n: DoorItem(number=n, size="M", lock=f"locks:{n}", switch=f"e:{n}", rail="a")
        for n in (1, 2)
    }
)
LANES = {"alarm.raised": "u", "health.sampled": "t"}

outcomes = st.sampled_from(["opened", "failed", "doubt", "late"])
whys = st.sampled_from(["", "door.no_opening", "door.late"])
happenings = st.one_of(
    st.fixed_dictionaries(
        {"kind": st.just("open.intended"), "door": st.integers(1, 2), "attempt": st.integers(1, 3)}
    ),
    st.fixed_dictionaries(
        {
            "kind": st.just("open.ended"), "door": st.integers(1, 2), "outcome": outcomes,
            "why": whys, "took_ms": st.integers(0, 5000),
            "of": st.integers(0, 40).map(lambda index: f"e1-9f2c01ab:sc{index}"),
        }
    ),
    st.fixed_dictionaries({"kind": st.just("alarm.raised"), "alarm": st.sampled_from("abc")}),
    st.fixed_dictionaries(
        {
            "kind": st.just("health.sampled"),
            "values": st.dictionaries(
                st.sampled_from(["line_a_answered", "line_a_timeouts", "line_b_nonsense"]),
                st.integers(0, 99),
            ),
        }
    ),
)  # fmt: skip


def written(said: list[dict[str, object]]) -> list[tuple[str, int, bytes]]:
    sizes: dict[str, int] = {}
    entries = []
    for number, fact in enumerate(said):
        log = f"e1-9f2c01ab:s{LANES.get(str(fact['kind']), 'c')}"
        index = sizes.get(log, 0)
        sizes[log] = index + 1
        entries.append((log, index, compose(fact, at=Moment(1, number))))
    return entries


@given(st.lists(happenings, max_size=40), st.permutations(["u", "t", "c"]))
def test_lanes_may_be_read_in_any_order(said: list[dict[str, object]], order: list[str]) -> None:
    entries = written(said)
    one, other = Trends(), Trends()
    for entry in entries:
        one.take(*entry, SITE)
    for entry in sorted(entries, key=lambda entry: order.index(entry[0][-1])):
        other.take(*entry, SITE)
    assert wear.report(one, SITE) == wear.report(other, SITE)


@given(st.lists(happenings, max_size=60))
def test_what_is_counted_adds_up(said: list[dict[str, object]]) -> None:
    trends = Trends()
    for entry in written(said):
        trends.take(*entry, SITE)
    told = wear.report(trends, SITE)
    ends = sum(fact["kind"] == "open.ended" for fact in said)
    rows = told["doors"]
    assert sum(r["opened"] + r["doubts"] + sum(r["failed"].values()) for r in rows) == ends
    assert sum(row["pulses"] for row in rows) == sum(row["cycles"] for row in rows) <= ends
