"""A site on a stage: the real engine, driven by hand, its disk as quick or slow as a test wants.

`stage.deposit()` and friends play what people and boards do; `stage.facts` is what went on record,
`stage.screens` what a kiosk showed. Nothing here decides anything.
"""

from base64 import b64encode
from dataclasses import dataclass, field, replace
from typing import Any

from certs import capability
from certs.capability import Action, Capability
from certs.keys import SigningKey, Verifier
from gateway.core.engine import Engine
from gateway.core.inputs import (
    Button,
    ButtonPressed,
    CapabilityScanned,
    CodeEntered,
    CourierAdded,
    DoorSeen,
    EntriesArrived,
    EpochBegun,
    Input,
    MapImported,
    Now,
    OccupancySeen,
    ParcelScanned,
    Persisted,
    PulseDone,
    Recovered,
    StaffCodeEntered,
    TimePassed,
    Trust,
    TrustTold,
)
from gateway.core.outputs import Answer, Output, Persist, Pulse, Show
from gateway.core.policy import Settings
from gateway.core.recovery import recover
from gateway.core.screen import Screen
from sync import canonical, fold
from sync import facts as vocabulary
from sync.codes import CodeKey, parcel_tag, staff_secret, staff_tag
from sync.join import log_order
from sync.records import Compartment
from sync.sitemap import BoardItem, DoorItem, SiteMap

KEY = CodeKey("lockers.example/site/0042", 1, bytes(range(32)))
SECRET = staff_secret(bytes(range(16)), KEY.site)
TRACKING = "JD014600006281230704"
HUB = "e1-0000000b"
GRANTS = SigningKey("lockers.example/grants", bytes(range(64, 96)))
SETTINGS = Settings(
    operator="lockers.example", writer="site/0042", epoch="e1-00000001", code_key=KEY
)


def qr(
    action: Action,
    *,
    cti: int = 1,
    within_s: int = 86_400,
    since_s: int = -60,
    key: SigningKey = GRANTS,
    **more: Any,
) -> str:
    """A capability of the hub for the stage's site, as a QR code; times count from its day 0."""
    day_s = 1_790_000_000
    claims: dict[str, Any] = {"audience": "lockers.example/site/0042"} | more
    given = Capability(
        action=action, cti=cti.to_bytes(8, "big"), not_before_s=day_s + since_s,
        expires_s=day_s + within_s, **claims,
    )  # fmt: skip
    return capability.to_text(capability.sign(given, key))


def small_map(*, sensors: bool = True) -> SiteMap:
    """Two small doors on one rail, a medium and a large one on another; door 2 is low."""
    doors = {}
    for number, size, reach, rail in (
        (1, "S", "middle", "left"),
        (2, "S", "low", "left"),
        (3, "M", "middle", "right"),
        (4, "L", "middle", "right"),
    ):
        doors[number] = DoorItem(
            number=number,
            size=size,  # type: ignore[arg-type]  # a literal table
            reach=reach,  # type: ignore[arg-type]
            rail=rail,
            lock=f"relays:{number}",
            switch=f"doors:{number}",
            occupancy=f"sensors:{number}" if sensors else "",
        )
    boards = {
        name: BoardItem(name=name, line="bus", profile="waveshare-rtu-relay-8", unit=unit)
        for unit, name in enumerate(("relays", "doors", "sensors"), 1)
    }
    return SiteMap(boards=boards, doors=doors)


@dataclass
class Stage:
    """One engine, its log and its audience."""

    settings: Settings = SETTINGS
    map: SiteMap = field(default_factory=small_map)
    slow_disk: bool = False
    mono: int = 1_000
    boot: int = 1
    wall: int = 1_790_000_000_000
    log: list[Recovered] = field(default_factory=list)
    facts: list[Any] = field(default_factory=list)
    outputs: list[Output] = field(default_factory=list)
    unwritten: list[Persist] = field(default_factory=list)
    trust: Trust = Trust.FLOOR
    error_ms: int = 0
    told: dict[str, int] = field(default_factory=dict)
    floor_ms: int = 0

    def __post_init__(self) -> None:
        self.engine, _ = recover([], self.settings, self.now)
        self.send(EpochBegun(now=self.now, token="begin", by="test", site="site/0042"))
        if self.map.doors:
            self.send(MapImported(now=self.now, token="map", by="test", map=self.map))
        tag = b64encode(staff_tag(KEY.key, KEY.site, SECRET)).decode()
        self.send(
            CourierAdded(
                now=self.now, token="courier", by="test", tenant="acme", label="van 7", tag=tag
            )
        )
        self.courier = self.last(Answer).ref
        self.see_all()

    # --- time and the disk --------------------------------------------------------------------

    @property
    def now(self) -> Now:
        wall = self.wall + self.mono
        return Now(wall, self.mono, self.boot, self.trust, self.error_ms, self.floor_ms)

    def send(self, happened: Input) -> list[Output]:
        """Hand in one input and, unless the disk is slow, what the disk says of it."""
        outputs = self.engine.handle(happened)
        self._take(outputs)
        if not self.slow_disk:
            outputs = outputs + self.flush()
        return outputs

    def flush(self) -> list[Output]:
        """Make durable what was written."""
        outputs: list[Output] = []
        while self.unwritten:
            persist = self.unwritten.pop(0)
            self._store(persist)
            more = self.engine.handle(Persisted(now=self.now, upto=persist.upto))
            self._take(more)
            outputs += more
        return outputs

    def _take(self, outputs: list[Output]) -> None:
        self.outputs += outputs
        self.unwritten += [output for output in outputs if isinstance(output, Persist)]

    def _store(self, persist: Persist) -> None:
        for draft in persist.drafts:
            beside = (draft.annex, draft.salt) if draft.annex and draft.salt else None
            log = f"{self.settings.epoch}:s{draft.lane.letter}"
            taken = fold.read(log, draft.index, draft.entry, beside)
            self.log.append(taken)
            self.facts.append(taken[3])

    def after(self, ms: int) -> list[Output]:
        """Let time pass, waking the engine at each of its timers."""
        outputs: list[Output] = []
        end = self.mono + ms
        while True:
            due = min(self.engine.state.timers.values(), default=end + 1)
            if due > end:
                break
            self.mono = max(self.mono, due)
            outputs += self.send(TimePassed(now=self.now))
        self.mono = end
        return outputs + self.send(TimePassed(now=self.now))

    def restart(self, *, off_ms: int = 5_000) -> list[Output]:
        """Lose everything that is not durable, start again, see nothing yet."""
        self.unwritten.clear()
        self.boot += 1
        self.wall += self.mono + off_ms
        self.mono = 1_000
        self.engine, outputs = recover(self.log, self.settings, self.now)
        self.outputs += outputs
        return outputs

    def see_all(self, *, occupied: tuple[int, ...] = (), is_open: tuple[int, ...] = ()) -> None:
        """Tell the state of every door, as the boards do after a start."""
        for number, item in self.map.doors.items():
            self.door(number, is_open=number in is_open)
            if item.occupancy:
                self.occupancy(number, occupied=number in occupied)

    # --- the hub and other epochs -------------------------------------------------------------

    def hub(
        self,
        *said: vocabulary.AnyFact,
        send: bool = True,
        seen: dict[str, int] | None = None,
        critical: bool = False,
    ) -> list[str]:
        """The hub writes these in its lanes, and they arrive together; return their references."""
        keys: dict[str, Any] = ({"seen": seen} if seen else {}) | ({"!new": 1} if critical else {})
        came, refs = [], []
        for fact in said:
            log = f"{HUB}:h{vocabulary.lane_of(fact).letter}"
            index = self.told.get(log, 0)
            self.told[log] = index + 1
            entry = canonical.encode(vocabulary.to_object(fact) | {"at": [1, 1]} | keys)
            came.append(fold.read(log, index, entry))
            refs.append(f"{log}{index}")
        self.log += came  # durable first
        if send:
            self.send(EntriesArrived(now=self.now, entries=tuple(came)))
        return refs

    def promise(self, size: str = "S", tracking: str = TRACKING, **more: Any) -> str:
        """The hub promises a compartment to a parcel."""
        tag = b64encode(parcel_tag(KEY.key, KEY.site, f"acme/{tracking}/1")).decode()
        made = vocabulary.ReservationMade(size=size, tag=tag, key_version=1, **more)  # type: ignore[arg-type]  # a size
        return self.hub(made)[0]

    def next_epoch(self, *, fence: str = "", keep: int | None = None) -> None:
        """Start again in a later epoch; `keep` entries of the log are left (a restored backup)."""
        self.log = self.log[:keep]
        at, *_ = self.settings.epoch[1:].partition("-")
        book = fold.fold(self.log)
        before = max((log for log in book.sizes if log.endswith(":sc")), key=log_order)[:-3]
        self.settings = replace(self.settings, epoch=f"e{int(at) + 1}-00000001")
        self.restart()
        origin = f"{self.settings.operator}/{self.settings.writer}/{before}/custody"
        parents = {origin: (book.sizes[f"{before}:sc"], "")}
        self.send(
            EpochBegun(
                now=self.now, token="epoch", by="test", site="site/0042", parents=parents,
                why=fence, fence=fence,
            )
        )  # fmt: skip

    # --- boards -------------------------------------------------------------------------------

    def door(self, number: int, *, is_open: bool) -> list[Output]:
        return self.send(DoorSeen(now=self.now, door=number, open=is_open))

    def occupancy(self, number: int, *, occupied: bool) -> list[Output]:
        return self.send(OccupancySeen(now=self.now, door=number, occupied=occupied))

    def pulse_done(self, result: Any = "done", why: str = "") -> list[Output]:
        """End the latest pulse."""
        pulse = self.last(Pulse)
        return self.send(
            PulseDone(now=self.now, intent=pulse.intent, door=pulse.door, result=result, why=why)
        )

    def opens(self) -> int:
        """The latest pulse opens its door; return which."""
        door: int = self.last(Pulse).door
        self.after(400)
        self.pulse_done()
        self.after(100)
        self.door(door, is_open=True)
        return door

    def shut(self, door: int, *, occupied: bool | None) -> None:
        """Somebody closes the door; a second later it counts."""
        self.after(2_000)
        if occupied is not None:
            self.occupancy(door, occupied=occupied)
        self.door(door, is_open=False)
        self.after(self.settings.stable_ms)

    # --- people -------------------------------------------------------------------------------

    def press(self, button: Button, argument: str = "", kiosk: str = "main") -> list[Output]:
        return self.send(ButtonPressed(now=self.now, kiosk=kiosk, button=button, argument=argument))

    def login(self, secret: str = SECRET) -> list[Output]:
        self.press(Button.DELIVER)
        return self.send(StaffCodeEntered(now=self.now, kiosk="main", digits=secret))

    def scan(self, tracking: str = TRACKING) -> list[Output]:
        return self.send(
            ParcelScanned(now=self.now, kiosk="main", tracking=tracking, salt=bytes(16))
        )

    def trusts(self, *denied: str, signers: tuple[Verifier, ...] = (GRANTS.verifier,)) -> None:
        """The shell says who may sign capabilities, and which are denied."""
        told = TrustTold(now=self.now, signers=signers, denied=frozenset(denied), number=1)
        self.send(told)

    def shows(self, text: str, kiosk: str = "main") -> list[Output]:
        """Somebody holds a QR code to the scanner."""
        return self.send(
            CapabilityScanned(now=self.now, kiosk=kiosk, text=text, salt=bytes(range(16)))
        )

    def deposit(self, tracking: str = TRACKING, size: str = "S") -> int:
        """A whole deposit by a courier; return the compartment."""
        if self.engine.state.sessions["main"].courier is None:
            self.login()
        self.scan(tracking)
        self.press(Button.SIZE, size)
        door = self.opens()
        self.shut(door, occupied=True if self.map.doors[door].occupancy else None)
        if not self.map.doors[door].occupancy:
            self.press(Button.YES)
        return door

    def enter(self, digits: str, kiosk: str = "main") -> list[Output]:
        return self.send(CodeEntered(now=self.now, kiosk=kiosk, digits=digits))

    def code(self, tracking: str = TRACKING, counter: int = 0, *, long: bool = False) -> str:
        code = KEY.code(f"acme/{tracking}/1", counter)
        return code.long if long else code.short(8)

    def home(self) -> None:
        self.press(Button.HOME)

    # --- looking ------------------------------------------------------------------------------

    def last(self, kind: type[Any]) -> Any:
        return next(output for output in reversed(self.outputs) if isinstance(output, kind))

    def pulses(self) -> list[Pulse]:
        return [output for output in self.outputs if isinstance(output, Pulse)]

    def screen(self, kiosk: str = "main") -> Screen:
        return next(
            output.screen
            for output in reversed(self.outputs)
            if isinstance(output, Show) and output.kiosk == kiosk
        )

    def box(self, door: int) -> Compartment:
        return self.engine.state.book.compartments[door]

    def recorded(self, kind: type[Any]) -> list[Any]:
        return [fact for fact in self.facts if isinstance(fact, kind)]


__all__ = ["Engine", "Stage"]
