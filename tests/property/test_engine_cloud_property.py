"""A hub that says anything at any time, beside people, boards, crashes and restores: what holds.

No crash; no pulse without its right; no compartment of the hub's given to a walk-in; nothing said
twice by a restart; behind a fence no code opens a door that nothing proves.
"""

from base64 import b64encode
from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from typing_extensions import override

from gateway.core import fence
from gateway.core.inputs import (
    DoorsWitnessed,
    FenceLiftAsked,
    FenceRaised,
    HistorySettled,
    SnapshotAsked,
    Trust,
)
from gateway.core.outputs import Persist, Pulse
from gateway.core.recovery import recover
from sync import facts
from sync.book import Book
from sync.codes import staff_secret, staff_tag
from sync.custody import Custody
from tests.crowd import Action, Watched, act, everybody
from tests.stage import HUB, KEY

FRIEND = staff_secret(bytes(range(32, 48)), KEY.site)
TAG = b64encode(staff_tag(KEY.key, KEY.site, FRIEND)).decode()


@dataclass
class Linked(Watched):
    """A watched stage with a hub and a clock."""

    @override
    def _judge(self, pulse: Pulse) -> None:
        durable = {f"{log}{index}": fact for log, index, _, fact, *_ in self.log}
        intent = durable[pulse.intent]
        assert isinstance(intent, facts.OpenIntended)
        book = self.engine.book
        if intent.purpose == "collect":
            assert not fence.holds(self.engine.state, pulse.door)
            if intent.by != "code":
                assert intent.by in book.rights.collects
                assert intent.by not in book.rights.revoked
                self.pulsed.add(pulse.intent)
                return
        if intent.purpose == "deposit":
            assert not book.fenced
        super()._judge(pulse)


def _say(stage: Linked, *said: facts.AnyFact, send: bool = True) -> None:
    stage.hub(*said, send=send)


def _of(stage: Linked, place: int, lane: str = "c") -> str:
    return f"{HUB}:h{lane}{place}"


def _ask(stage: Linked, door: int, within: int) -> None:
    until = stage.now.wall_ms + within
    _say(stage, facts.OpenRequested(door=door, by="ada", why="w", case="c", until_ms=until))


def _promise(stage: Linked, size: Any, text: str, within: int | None) -> None:
    until = None if within is None else stage.now.wall_ms + within
    escrow = stage.engine.book.rights.escrow
    if escrow.hub_free(size) > 0:  # an honest hub: it spends what it holds
        stage.promise(size, text, until_ms=until)


def _friend(stage: Linked) -> None:
    for parcel in list(stage.engine.book.parcels)[:1]:
        grant = facts.GrantIssued(
            grant="collect", tenant="acme", label="x", tag=TAG, key_version=1, of=parcel
        )
        _say(stage, grant)


def _share(stage: Linked, share: int, floor: int) -> None:
    for key, value in (("capacity.share", share), ("capacity.floor", floor)):
        _say(stage, facts.ConfigSet(item="setting", value={"key": key, "value": value}))


def _flag(stage: Linked, door: int, out: bool, knows: bool) -> None:  # drawn
    own = f"{stage.settings.epoch}:sc"
    seen = {own: stage.engine.book.sizes.get(own, 0)} if knows else None
    fact: facts.AnyFact = facts.CompartmentEnabled(door=door, by="hub")
    if out:
        fact = facts.CompartmentDisabled(door=door, by="hub", why="w")
    stage.hub(fact, seen=seen)


def _clock(stage: Linked, trust: Trust) -> None:
    stage.trust = trust


def _restore(stage: Linked, keep: int) -> None:
    stage.quick_disk()
    stage.next_epoch(fence="restored", keep=max(SET_UP, len(stage.log) - keep))
    stage.told = {log: size for log, size in stage.engine.book.sizes.items() if ":h" in log}


def _lift(stage: Linked, trust: bool) -> None:  # drawn
    stage.send(FenceLiftAsked(now=stage.now, token="l", by="ada", trust_history=trust))


SET_UP = 12
"""Entries at least that a backup has: epoch, map, courier, settings."""
_DOORS = st.integers(0, 5)
_NUMBERS = st.sampled_from(["AB1", "AB2", "AB3"])
_PLACES = st.integers(0, 12)
_HUB = (
    act(_DOORS, st.sampled_from([-1, 0, 1_000, 60_000]), do=_ask),
    act(
        st.sampled_from(["S", "S", "M"]), _NUMBERS, st.sampled_from([None, 1_000, 60_000]),
        do=_promise,
    ),
    act(
        _PLACES,
        do=lambda stage, place: _say(
            stage, facts.ReservationCancelled(of=_of(stage, place), by="x")
        ),
    ),
    act(_PLACES, do=lambda stage, at: _say(stage, facts.GrantRevoked(of=_of(stage, at), by="x"))),
    act(do=lambda stage: _say(stage, facts.GrantRevoked(of=stage.courier, by="x"))),
    act(do=_friend),
    act(do=lambda stage: stage.enter(FRIEND)),
    act(st.integers(0, 3), st.integers(0, 2), do=_share),
    act(_DOORS, st.booleans(), st.booleans(), do=_flag),
    act(
        st.sampled_from(["deposited", "collected", "lost"]), st.sampled_from(["x", "tag"]),
        do=lambda stage, says, tag: _say(stage, facts.ClaimMade(tag=tag, says=says, by="shop")),
    ),
    act(st.sampled_from(Trust), do=_clock),
    act(do=lambda stage: stage.send(SnapshotAsked(now=stage.now))),
)  # fmt: skip
_FENCE = (
    act(st.integers(0, 30), do=_restore),
    act(do=lambda stage: stage.send(FenceRaised(now=stage.now, why="x"))),
    act(st.booleans(), do=_lift),
    act(do=lambda stage: stage.send(HistorySettled(now=stage.now, by="hub/0042"))),
    act(
        st.sets(_DOORS).map(sorted).map(tuple),
        do=lambda stage, doors: stage.send(
            DoorsWitnessed(now=stage.now, unopened=doors, why="relay.counter")
        ),
    ),
)
_hub = st.lists(st.one_of(*_HUB), min_size=5, max_size=20)
_fenced = st.lists(st.one_of(*_HUB, *_FENCE), min_size=5, max_size=20)


def play(people: list[Action], cloud: list[Any]) -> Linked:
    """Let both go on, one after the other; return the stage with everything durable."""
    stage = Linked(trust=Trust.SYNCED)
    _share(stage, 2, 0)
    for place in range(max(len(people), len(cloud))):
        for actions in (people, cloud):
            if place < len(actions):
                actions[place](stage)
    stage.quick_disk()
    return stage


@given(people=everybody, cloud=_hub)
def test_anything_from_the_hub_at_any_time_keeps_the_promises(
    people: list[Action], cloud: list[Any]
) -> None:
    stage = play(people, cloud)
    book = stage.engine.book
    assert not book.stopped
    for fact in stage.recorded(facts.ReservationClosed):
        assert (fact.outcome == "used") == (fact.parcel is not None)
    ended = [fact.of for fact in stage.facts if isinstance(fact, _ENDS)]
    assert len(ended) == len(set(ended)), "a promise is ended once"
    answers = [f.of for f in stage.recorded(facts.RequestDeclined)]
    assert len(answers) == len(set(answers))
    for kind in ("S", "M", "L"):
        assert book.rights.escrow.hub_rights(kind) >= 0


_ENDS = (facts.ReservationClosed, facts.CapacityReleased)


@given(people=everybody, cloud=_fenced)
def test_a_restart_continues_what_the_hub_is_owed_and_says_nothing_twice(
    people: list[Action], cloud: list[Any]
) -> None:
    stage = play(people, cloud)
    stage.after(10 * 60_000)
    engine, outputs = recover(stage.log, stage.settings, stage.now)
    assert not [output for output in outputs if isinstance(output, Persist)]
    assert engine.book.canonical() == stage.engine.book.canonical()
    assert Book.restored(engine.book.canonical()).canonical() == engine.book.canonical()
    ended = [fact.of for fact in stage.facts if isinstance(fact, _ENDS)]
    stage.restart()
    stage.see_all()
    again = [fact.of for fact in stage.facts if isinstance(fact, _ENDS)][len(ended) :]
    assert not set(again) & set(ended) or stage.settings.epoch != "e1-00000001"


@given(people=everybody, cloud=_fenced)
def test_behind_a_fence_nothing_is_given_and_only_proved_doors_open(
    people: list[Action], cloud: list[Any]
) -> None:
    stage = play(people, cloud)
    stage.next_epoch(fence="restored")
    stage.see_all()
    stage.facts = []
    stage.login()
    stage.scan("AB1")
    stage.after(60_000)
    given_away = (facts.ParcelDeposited, facts.CapacityTransferred, *_ENDS)
    assert not [fact for fact in stage.facts if isinstance(fact, given_away)]
    for door, compartment in stage.engine.book.compartments.items():
        if compartment.custody is Custody.HELD:
            assert fence.holds(stage.engine.state, door) == (
                compartment.proved != stage.settings.epoch
            )
