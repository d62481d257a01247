"""Anybody doing anything: random actions for property tests, on a stage that watches each pulse.

`Watched` asserts, at the moment a pulse leaves the engine, that its intent is durable, names its
authority, has not been pulsed before, and is inside its deadline. `strangers` know no code and no
secret; `everybody` adds couriers, recipients, support, boards, the disk and the power switch;
`installers` adds whoever tries locks and signs maps.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import msgspec
from hypothesis import strategies as st
from typing_extensions import override

from gateway.core.inputs import (
    AnnexEraseAsked,
    BenchAsked,
    BoardBack,
    BoardSilent,
    Button,
    CourierRemoved,
    LockTold,
    LockTried,
    MapImported,
    Persisted,
    PulseDone,
    ServiceSet,
    SiteSigned,
    StaffCodeEntered,
    SupportChecked,
    SupportOpens,
)
from gateway.core.outputs import Answer, Output, Pulse
from sync import facts
from sync.sitemap import DoorItem, LineItem, SiteMap
from tests.stage import SECRET, Stage, small_map

Action = Callable[["Watched"], object]


@dataclass
class Watched(Stage):
    """A stage on which no pulse leaves without its durable, signed authority."""

    pulsed: set[str] = field(default_factory=set)

    @override
    def _take(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Pulse):
                self._judge(output)
            elif isinstance(output, Answer) and output.token == "lock" and not output.code:
                self._judge_lock(output)
        super()._take(outputs)

    def _judge(self, pulse: Pulse) -> None:
        durable = {f"{log}{index}": fact for log, index, _, fact, *_ in self.log}
        intent = durable.get(pulse.intent)
        assert isinstance(intent, facts.OpenIntended), "no pulse before its intent is durable"
        assert intent.door == pulse.door
        assert pulse.intent not in self.pulsed, "one pulse an intent"
        assert self.mono <= pulse.deadline == intent.deadline
        self.pulsed.add(pulse.intent)
        couriers = self.engine.book.couriers
        if intent.purpose == "collect":
            assert intent.by == "code"
            assert isinstance(durable[str(intent.of)], facts.ParcelDeposited)
        elif intent.purpose == "support":
            assert intent.by.startswith("support:")
        else:
            assert intent.by in couriers
            assert not couriers[intent.by].revoked

    def _judge_lock(self, answer: Answer) -> None:
        """The bench would pulse now: the intent is durable, and nobody's parcel is behind it."""
        durable = {f"{log}{index}": fact for log, index, _, fact, *_ in self.log}
        intent = durable.get(answer.ref)
        assert isinstance(intent, facts.LockIntended), "no coil on before its intent is durable"
        assert dict(answer.evidence)["deadline"] == intent.deadline
        assert intent.by == "installer:anna"
        said = [fact for fact in durable.values() if fact is not None and fact.door == intent.door]
        came = [one for one in said if isinstance(one, facts.ParcelDeposited)]
        left = [
            one
            for one in said
            if isinstance(one, facts.ParcelCollected | facts.ParcelTakenBack)
            or (isinstance(one, facts.CompartmentChecked) and not one.occupied)
        ]
        assert intent.door is None or len(left) >= len(came), "a parcel is behind this lock"

    def flush_one(self) -> None:
        """The disk gets one `Persist` further."""
        if self.unwritten:
            persist = self.unwritten.pop(0)
            self._store(persist)
            self._take(self.engine.handle(Persisted(now=self.now, upto=persist.upto)))

    def quick_disk(self) -> None:
        self.slow_disk = False
        self.flush()

    def slow(self) -> None:
        self.slow_disk = True


doors = st.integers(0, 5)
digits = st.one_of(
    st.text(max_size=70),
    st.text("0123456789 -", max_size=20),
    st.integers(0, 10**9 - 1).map(lambda number: f"{number:09d}"),
    st.integers(0, 10**16 - 1).map(lambda number: f"{number:016d}"),
)
tracking = st.one_of(st.text(max_size=70), st.sampled_from(["AB1", "AB2", "ab1", "JD0146"]))
arguments = st.one_of(st.sampled_from(["S", "M", "L", "XL", "S low", "1", "2", "3"]), st.text())


def act(*strategies: Any, do: Callable[..., object]) -> st.SearchStrategy[Action]:
    """Return a strategy of actions: `do(stage, *drawn)`."""
    return st.tuples(*strategies).map(lambda drawn: lambda stage: do(stage, *drawn))


_KEYS = (
    act(digits, do=lambda stage, typed: stage.enter(typed)),
    act(
        digits,
        do=lambda stage, typed: stage.send(
            StaffCodeEntered(now=stage.now, kiosk="main", digits=typed)
        ),
    ),
    act(tracking, do=lambda stage, text: stage.scan(text)),
    act(
        st.sampled_from(Button),
        arguments,
        do=lambda stage, button, argument: stage.press(button, argument),
    ),
    act(st.sampled_from([0, 1, 400, 1_000, 3_000, 20_000, 61_000, 400_000]), do=Stage.after),
)
_DISK = (
    act(do=Watched.slow),
    act(do=Watched.flush_one),
    act(do=Watched.quick_disk),
)


def _board(stage: Watched, name: str, back: bool) -> None:  # a drawn flag
    kind = BoardBack if back else BoardSilent
    stage.send(kind(now=stage.now, board=name, doors=(1, 2, 3, 4)))


def _end(stage: Watched, result: Any) -> None:
    if stage.pulses():
        pulse = stage.last(Pulse)
        stage.send(
            PulseDone(now=stage.now, intent=pulse.intent, door=pulse.door, result=result, why="x")
        )


def _support(stage: Watched, door: int) -> None:
    stage.send(SupportOpens(now=stage.now, token="s", by="ada", door=door, reason="r", case="c"))


def _check(stage: Watched, door: int, occupied: bool) -> None:  # a drawn flag
    stage.send(SupportChecked(now=stage.now, token="k", by="ada", door=door, occupied=occupied))


def _service(stage: Watched, door: int, enabled: bool) -> None:  # a drawn flag
    stage.send(
        ServiceSet(now=stage.now, token="v", by="ada", door=door, enabled=enabled, reason="r")
    )


def _erase(stage: Watched, index: int) -> None:
    ref = f"{stage.settings.epoch}:sc{index}"
    stage.send(AnnexEraseAsked(now=stage.now, token="e", by="ada", ref=ref))


def _import(stage: Watched, sensors: bool) -> None:  # a drawn flag
    site = small_map(sensors=sensors)
    stage.send(MapImported(now=stage.now, token="m", by="ada", map=site))


# --- an installer -----------------------------------------------------------------------------


def _ask(stage: Watched, kind: type[Any], token: str, **more: Any) -> None:
    stage.send(kind(now=stage.now, token=token, by="installer:anna", **more))


def _try(stage: Watched, lock: str, ms: int) -> None:
    _ask(stage, LockTried, "lock", lock=lock, line="bus", unit=1, ms=ms)


def _tell(stage: Watched, outcome: Any, index: int) -> None:
    going_on = [*stage.engine.book.trials, "e1-00000001:sc0"]
    _ask(stage, LockTold, "told", of=going_on[index % len(going_on)], outcome=outcome)


def bank_of(door: int, changed: dict[str, Any], lines: bool) -> SiteMap:  # a drawn flag
    """The small map with one door otherwise, one more (door 5), or one left out."""
    site = small_map()
    doors = dict(site.doors)
    if not changed:
        doors.pop(door, None)
    else:
        like = doors.get(door, DoorItem(number=5, size="M", lock="relays:5", switch="", rail="new"))
        doors[like.number] = msgspec.structs.replace(like, **changed)
    more = {"bus": LineItem(name="bus", tcp="10.0.0.7")} if lines else {}
    return SiteMap(boards=site.boards, doors=doors, lines=more)


def _sign(stage: Watched, site: SiteMap) -> None:
    _ask(stage, SiteSigned, "signed", map=site, report="r", passed=len(site.doors), failed=0)


_CHANGES = st.sampled_from(
    [{}, {"column": 1, "row": 2}, {"size": "L"}, {"rail": "new"}, {"lock": "relays:7"},
     {"switch": "doors:7"}, {"occupancy": ""}, {"lock": "relays:2"}]
)  # fmt: skip
maps = st.builds(bank_of, doors, _CHANGES, st.booleans())
_LOCKS = st.sampled_from([*(f"relays:{n}" for n in range(1, 6)), "new:1", "new:2"])
_INSTALLER = (
    act(do=lambda stage: _ask(stage, BenchAsked, "bench")),
    act(_LOCKS, st.sampled_from([0, 400, 400, 400, 1_000, 1_001]), do=_try),
    act(_LOCKS, st.just(400), do=_try),
    act(st.sampled_from(["pulsed", "opened", "failed", "doubt"]), st.integers(0, 3), do=_tell),
    act(maps, do=_sign),
)


def _login(stage: Watched) -> None:
    stage.press(Button.DELIVER)
    stage.send(StaffCodeEntered(now=stage.now, kiosk="main", digits=SECRET))


def _deliver(stage: Watched, text: str, size: str) -> None:
    """A courier up to the pulse: what the door then does is left to the other actions."""
    _login(stage)
    stage.scan(text)
    stage.press(Button.SIZE, size)


def _collect(stage: Watched, text: str, counter: int, long: bool) -> None:  # drawn
    stage.home()
    stage.enter(stage.code(text, counter, long=long))


def _swing(stage: Watched, occupied: bool | None, wait_ms: int) -> None:  # drawn
    """The latest pulse opens its door, if there was one, and somebody shuts it again."""
    if stage.pulses():
        stage.shut(stage.opens(), occupied=occupied)
        stage.after(wait_ms)


def _both(first: st.SearchStrategy[Action], then: st.SearchStrategy[Action]) -> Any:
    return st.tuples(first, then).map(lambda two: lambda stage: (two[0](stage), two[1](stage)))


_NUMBERS = st.sampled_from(["AB1", "AB2", "AB3"])
_DELIVER = act(_NUMBERS, st.sampled_from(["S", "M", "L"]), do=_deliver)
_COLLECT = act(_NUMBERS, st.sampled_from([0, 0, 0, 1, 2]), st.booleans(), do=_collect)
_SWING = act(
    st.sampled_from([True, False, False, None]), st.sampled_from([0, 30_000, 61_000]), do=_swing
)


def _slow_disk(stage: Watched, wanted: Action, wait_ms: int) -> None:
    """Somebody asks for a door while the disk stands still for a while."""
    stage.slow()
    wanted(stage)
    stage.after(wait_ms)
    stage.quick_disk()


_KNOWING = (
    act(st.one_of(_DELIVER, _COLLECT), st.sampled_from([500, 2_500, 5_000]), do=_slow_disk),
    act(do=_login),
    _DELIVER,
    _COLLECT,
    _SWING,
    _both(_DELIVER, act(do=lambda stage: _swing(stage, occupied=True, wait_ms=0))),
    _both(_DELIVER, _SWING),
    _both(_COLLECT, _SWING),
    _both(_COLLECT, _SWING),
    act(doors, st.booleans(), do=lambda stage, door, is_open: stage.door(door, is_open=is_open)),
    act(doors, st.booleans(), do=lambda stage, door, full: stage.occupancy(door, occupied=full)),
    act(st.sampled_from(["done", "done", "not_sent", "unanswered"]), do=_end),
    act(st.sampled_from(["doors", "relays", "sensors"]), st.booleans(), do=_board),
    act(doors, do=_support),
    act(doors, st.booleans(), do=_check),
    act(doors, st.booleans(), do=_service),
    act(st.integers(0, 60), do=_erase),
    act(st.booleans(), do=_import),
    act(
        do=lambda stage: stage.send(
            CourierRemoved(now=stage.now, token="r", by="ada", grant=stage.courier)
        )
    ),
    act(do=lambda stage: stage.restart()),
    act(st.sets(st.integers(1, 4)), do=lambda stage, full: stage.see_all(occupied=tuple(full))),
)
_AT_THE_BOARDS = (
    *_INSTALLER,
    _both(act(do=lambda stage: stage.restart()), act(_LOCKS, st.just(400), do=_try)),
    _both(_DELIVER, act(do=lambda stage: _swing(stage, occupied=True, wait_ms=0))),
    _both(_COLLECT, _SWING),
)

strangers = st.lists(st.one_of(*_KEYS, *_DISK), max_size=40)
installers = st.lists(
    st.one_of(*_INSTALLER, *_AT_THE_BOARDS, *_KEYS, *_DISK, *_KNOWING), min_size=20, max_size=60
)
everybody = st.lists(st.one_of(*_KEYS, *_DISK, *_KNOWING), min_size=20, max_size=60)


def play(actions: list[Action], stage: Watched | None = None) -> Watched:
    """Do what they do, one after the other; return the stage with everything durable."""
    stage = stage or Watched()
    for action in actions:
        action(stage)
    stage.quick_disk()
    return stage
