"""Requirement 7: a capability works once or in its time, no other ever; no text breaks a site."""

from dataclasses import dataclass
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st
from typing_extensions import override

from certs.capability import Action, from_text, to_text
from certs.keys import SigningKey
from gateway.core.inputs import Button, Trust
from gateway.core.outputs import PairingOpened, Pulse
from sync import facts
from sync.rights import ONCE
from tests.crowd import Watched, act
from tests.stage import GRANTS, HUB, Stage, qr

OTHER = SigningKey("lockers.example/grants", bytes(32))
ELSEWHERE = "lockers.example/site/0043"
ENDED = {"collect": facts.ParcelCollected}


@dataclass
class Shown(Watched):
    """A stage on which every pulse by a capability is judged against the log."""

    @override
    def _judge(self, pulse: Pulse) -> None:
        log = [(f"{one[0]}{one[1]}", one[3]) for one in self.log]
        durable = dict(log)
        intent = durable[pulse.intent]
        assert isinstance(intent, facts.OpenIntended)
        right = durable.get(intent.by)
        if not isinstance(right, facts.CapabilityAccepted):
            super()._judge(pulse)
            return
        state = self.engine.state
        self.pulsed.add(pulse.intent)
        assert right.cti not in state.denied
        assert not any(one.revoked for one in state.book.rights.of_cti(right.cti))
        if intent.purpose == "support":
            assert right.action == "service"
            assert state.compartment(pulse.door).parcel is None
            return
        assert (right.action == "collect") == (intent.purpose == "collect")
        if right.action in ONCE and intent.purpose in {"collect", "deposit"}:
            done = ENDED.get(right.action, facts.ParcelDeposited)
            before = [ref for ref, _ in log].index(pulse.intent)
            used = [at for at, (_, fact) in enumerate(log) if isinstance(fact, done)
                    and fact.by == intent.by]  # fmt: skip
            assert not any(at < before for at in used), "used before, and its door opens again"


def _start() -> Shown:
    stage = Shown(trust=Trust.SYNCED, error_ms=50)
    stage.trusts()
    return stage


def _object(stage: Stage, kind: int) -> str | None:
    parcels = list(stage.engine.book.parcels)
    return (parcels[-1] if parcels else None) if kind else f"{HUB}:hc{kind}"


def _show(stage: Stage, action: Action, cti: int, named: int, room: str | None) -> None:
    about = _object(stage, named) if action in {Action.COLLECT, Action.RESERVATION} else None
    if action is Action.RESERVATION:
        about, room = f"{HUB}:hc{cti}", room or "S"
    subject = "acme" if action in {Action.COURIER, Action.DEPOSIT, Action.RETURN} else None
    stage.shows(qr(action, cti=cti, object=about, room=room, subject=subject))


def _opens(stage: Stage, occupied: bool) -> None:  # drawn
    if stage.pulses():
        door = stage.opens()
        stage.shut(door, occupied=occupied)


_ACTIONS = (
    act(
        st.sampled_from(Action), st.integers(1, 6), st.integers(0, 1),
        st.sampled_from([None, "S", "M"]), do=_show,
    ),
    act(st.booleans(), do=_opens),
    act(st.sampled_from(["AB1", "AB2"]), do=lambda stage, text: stage.scan(text)),
    act(
        st.sampled_from(Button), st.sampled_from(["S", "M", "1", "2", "3"]),
        do=lambda stage, button, argument: stage.press(button, argument),
    ),
    act(st.sampled_from([1_000, 61_000, 400_000]), do=Stage.after),
    act(do=lambda stage: stage.deposit("AB3")),
    act(do=lambda stage: (stage.restart(), stage.trusts(), stage.see_all())),
    act(st.integers(1, 6), do=lambda stage, cti: stage.trusts(f"{cti:016x}")),
    act(do=lambda stage: stage.trusts()),
)  # fmt: skip


def _plays(stage: Shown, deeds: list[Any]) -> None:
    for deed in deeds:
        try:
            deed(stage)
        except StopIteration:
            continue  # the stage looks for a pulse or a screen that there is not


@given(st.lists(st.one_of(*_ACTIONS), min_size=4, max_size=25))
def test_a_capability_works_once_or_in_its_time_whatever_happens(deeds: list[Any]) -> None:
    stage = _start()
    _plays(stage, deeds)
    stage.quick_disk()
    assert not stage.engine.book.stopped
    ctis = [fact.cti for fact in stage.recorded(facts.CapabilityAccepted)]
    assert len(ctis) == len(set(ctis)), "accepted once: from then on it is a right of this log"


def _flipped(text: str, at: int, bit: int) -> str:
    data = bytearray(from_text(text))
    data[at % len(data)] ^= 1 << bit
    return to_text(bytes(data))


_BAD = st.one_of(
    st.tuples(st.sampled_from(Action), st.integers(0, 400), st.integers(0, 7)).map(
        lambda drawn: _flipped(qr(drawn[0], subject="acme", room="S"), drawn[1], drawn[2])
    ),
    st.sampled_from(Action).map(lambda one: qr(one, subject="acme", room="S", key=OTHER)),
    st.sampled_from(Action).map(lambda one: qr(one, subject="acme", room="S", audience=ELSEWHERE)),
    st.sampled_from(Action).map(
        lambda one: qr(one, subject="acme", room="S", since_s=-90_000, within_s=-3_600)
    ),
    st.text(max_size=400),
    st.text(max_size=400).map(lambda text: "PLG1:" + text),
    st.binary(max_size=520).map(to_text),
    st.binary(max_size=520).map(lambda data: to_text(data, base32=True)),
)  # fmt: skip


@given(st.lists(_BAD, min_size=1, max_size=8))
@example(["PLG1:" + "9" * 900])
def test_expired_foreign_altered_and_meaningless_ones_never_open_anything(texts: list[str]) -> None:
    stage = _start()
    stage.deposit()
    stage.home()
    before = len(stage.pulses())
    for text in texts:
        stage.shows(text)
        assert stage.screen().name == "capability.refused"
        session = stage.engine.state.sessions["main"]
        assert (session.courier, session.service) == (None, None)
    assert len(stage.pulses()) == before
    assert not stage.recorded(facts.CapabilityAccepted)
    assert not [one for one in stage.outputs if isinstance(one, PairingOpened)]
    assert not stage.recorded(facts.CodeRefused)


@given(st.sampled_from(Action), st.sampled_from(Action))
def test_a_right_of_one_kind_does_nothing_of_another(first: Action, second: Action) -> None:
    stage = _start()
    stage.deposit()
    stage.home()
    _show(stage, first, 1, 1, None)
    stage.home()
    before = len(stage.pulses())
    if first is not second and stage.recorded(facts.CapabilityAccepted):
        _show(stage, second, 1, 1, None)
        assert stage.screen().why in {"capability.malformed", "capability.used"}
        assert len(stage.pulses()) == before


def test_the_key_of_the_stage_is_not_the_other() -> None:
    assert GRANTS.verifier != OTHER.verifier
