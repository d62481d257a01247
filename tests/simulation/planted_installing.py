"""Errors planted in what an installer does: see `planted`."""

from typing import Any

from typing_extensions import override

from gateway.core import installing, recovery, service
from gateway.core.inputs import LockTried, Now, Recovered
from gateway.core.outputs import Answer, Output
from gateway.core.policy import Settings
from gateway.core.state import State
from sync import facts
from sync.sitemap import DoorItem, SiteMap, items
from tests.simulation.installers import Installers
from tests.simulation.planting import Planted
from tests.simulation.site import Heart, Plan


def _answer_at_once(state: State, wish: LockTried) -> None:
    effects, state._effects = state._effects, []
    _TRIED(state, wish)
    for effect in state._effects:
        state.at_once(effect)
    state._effects = effects


_TRIED = installing.tried


def _pulse_at_once(self: Installers, token: str, deed: Any, *args: object) -> None:
    """The bench does not wait for the answer: what would be the intent's reference is known."""
    engine: Any = self.site.engine
    if deed == self.tried and engine is not None and token not in self.site.answers:
        going_on = list(engine.state.book.trials)
        if going_on:
            deadline = self.site.clocks.mono() + 2_000
            deed(Answer(token, "", going_on[-1], (("deadline", deadline),)), *args)
            return
    _LATER(self, token, deed, *args)


_LATER = Installers._later


def _map_in_two_turns(state: State, wanted: SiteMap) -> str:
    written = [facts.ConfigSet(item=item, value=value) for item, value in items(wanted)]
    half = len(written) // 2
    refs = [state.write(one) for one in written[:half]]
    for output in state.hand_over():
        state.at_once(output)
    refs += [state.write(one) for one in written[half:]]
    return refs[0]


def _nothing_inside(state: State, door: int) -> bool:
    return False


def _stays(state: State, wish: Any) -> int:
    return 0


def _by_its_name(state: State, wish: LockTried, door: DoorItem) -> bool:
    return door.lock == wish.lock


def _waits_for_ever(state: State, ref: str) -> None:
    """Nobody told, so nothing is put on record."""


class _Forgetful(Plan):
    @override
    def recover(
        self, entries: list[Recovered], settings: Settings, now: Now
    ) -> tuple[Heart, list[Output]]:
        engine, asked = recovery.recover(entries, settings, now)
        engine.state.timers.pop(("trials", 0), None)
        return engine, asked


INSTALLING: tuple[Planted, ...] = (
    Planted(
        "a lock is answered for before its intent is durable",
        ("01_intent_first", "08_ack_lasts"),
        patches=((installing, "tried", _answer_at_once),),
    ),
    Planted(
        "the bench pulses before it is answered",
        ("01_intent_first",),
        patches=((Installers, "_later", _pulse_at_once),),
    ),
    Planted(
        "a signed map is written in two turns",
        ("00_map_is_whole",),
        patches=((service, "write_map", _map_in_two_turns),),
    ),
    Planted(
        "a lock is tried with a parcel behind it",
        ("01_intent_first",),
        patches=((service, "may_hold", _nothing_inside),),
    ),
    Planted(
        "a lock is known by its name only",
        ("01_intent_first",),
        patches=((installing, "_may_be", _by_its_name),),
    ),
    Planted(
        "a door is moved with a parcel in it",
        ("00_map_is_whole",),
        patches=((installing, "_moved", _stays),),
    ),
    Planted("a lock that was tried is forgotten at boot", ("03_every_intent_ends",), _Forgetful),
    Planted(
        "a lock that nobody told of is waited for",
        ("03_every_intent_ends",),
        patches=((installing, "untold", _waits_for_ever),),
    ),
)
