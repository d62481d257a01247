"""A site of the cloud simulation: the real engine and the real uplink's hooks over a `Disk`.

People, doors and sensors are as on `tests.stage`, with what is really inside. A crash may strike
between any two commits; what was not durable is lost. What the process keeps in memory is gone.
"""

from base64 import b64encode
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from gateway.core.inputs import (
    Button,
    CourierAdded,
    EpochBegun,
    FenceLiftAsked,
    Input,
    MapImported,
    Now,
    Persisted,
    ServiceSet,
    SupportChecked,
    SupportOpens,
    Trust,
)
from gateway.core.outputs import Answer, Output, Persist, Pulse
from gateway.core.policy import Settings
from gateway.core.recovery import recover
from gateway.uplink import Kept, Outlets, Uplink
from sync import fold
from sync.codes import CodeKey, staff_secret, staff_tag
from sync.entry import Lane, Writer
from sync.fold import Taken
from sync.origin import Origin, epoch_order
from sync.rows import Annex
from tests.property.histories import bank
from tests.shelf_memory import Private
from tests.simulation.cloud_disk import Disk, Image
from tests.stage import Stage

if TYPE_CHECKING:
    from tests.simulation.cloud import Cloud

OPERATOR = "lockers.example"
WALL_MS = 1_790_000_000_000
GRACE_MS = 61_000


class Gone(Exception):  # noqa: N818  # the name says what is wrong
    """The process that somebody stood before is gone: crashed, or restarted."""


class CloudSite(Stage):
    """See above. `inside` is what is really behind each door: a tracking number."""

    def __init__(
        self, cloud: "Cloud", number: int, disk: Disk, seed: bytes, *, clone: bool = False
    ) -> None:
        self.cloud, self.number, self.disk, self.seed = cloud, number, disk, seed
        self.writer = f"site/{number:04d}"
        self.key = CodeKey(f"{OPERATOR}/{self.writer}", 1, bytes([number % 251]) * 32)
        self.secret = staff_secret(bytes(range(16)), self.key.site)
        self.settings = Settings(
            governed=True,
            operator=OPERATOR,
            writer=self.writer,
            epoch=f"e1-{number:08x}",
            code_key=self.key,
        )
        self.map = bank("S", "S", "M", "L")
        self.slow_disk = False
        self.boot_count, self.mono, self.wall = 0, 0, 0
        self.offset_ms, self.trust = 0, Trust.SYNCED
        self.log, self.facts, self.outputs, self.unwritten = [], [], [], []
        self.inside: dict[int, str] = {}
        self.codes: dict[str, str] = {}
        self.mark = ""
        self.up = self.unnoticed = self.blind = self.was_told = False
        self.over = self.began = ""
        self.after_epoch = 0
        self.posted: list[Input] = []
        self.refold = False
        self.kept = Kept()
        self.links: list[Any] = []
        self.busy = False
        if clone:
            self.blind = self.unnoticed = True
            self._epoch_of_disk()
        self.start()

    # --- the process ----------------------------------------------------------------------------

    @property
    @override
    def now(self) -> Now:
        return Now(self.wall + self.mono, self.mono, self.boot_count, self.trust, 500)

    def start(self) -> None:
        """Start the process: another epoch where the disk is marked, then the engine."""
        self.boot_count += 1
        self.up, self.over, self.posted, self.refold = True, "", [], False
        self.mono = 1_000
        self.wall = WALL_MS + self.cloud.now - self.mono + self.offset_ms
        if self.mark or not self.disk.own():
            self._next_epoch()
        self._take_up()
        why, self.mark = self.mark, ""
        if not self.engine.book.sizes.get(f"{self.settings.epoch}:su"):
            fence = "" if not self.cloud.plan.fences else why
            self.send(
                EpochBegun(
                    now=self.now, token="begin", by="init", site=self.writer,
                    parents=self._parents(), why=why, fence=fence,
                )
            )  # fmt: skip
            refused = [code for code in self.answered() if code]
            self.cloud.watch.check(
                "10_epoch_begins", holds=not refused, why=f"{self.writer} {why}: {refused}"
            )
            self.began = why
            self.cloud.watch.began(self, why)
        if not self.engine.book.map.doors:
            self.send(MapImported(now=self.now, token="map", by="t", map=self.map))
        if not self.engine.book.couriers:
            tag = b64encode(staff_tag(self.key.key, self.key.site, self.secret)).decode()
            self.send(
                CourierAdded(
                    now=self.now, token="c", by="t", tenant="acme", label="van", tag=tag
                )
            )  # fmt: skip
        self.tell_trust()
        self.see_all(occupied=tuple(sorted(self.inside)))

    def tell_trust(self) -> None:
        """The shell says who may sign capabilities, and which are denied."""
        self.trusts(*sorted(self.cloud.carried.denied.get(self.number, ())))

    def _next_epoch(self) -> None:
        for origin in self.disk.own():
            self.disk.disown(origin)
        mine = [Origin.parse(one).epoch for one in self.disk.held if f"/{self.writer}/" in one]
        counter = 1 + max([self.after_epoch, *(epoch_order(epoch)[0] for epoch in mine)])
        self.after_epoch = 0
        epoch = f"e{counter}-{self.cloud.dice.randrange(1 << 32):08x}"
        self.settings = replace(self.settings, epoch=epoch)
        for lane in ("urgent", "custody", "telemetry"):
            self.disk.begin(f"{OPERATOR}/{self.writer}/{epoch}/{lane}", self.seed)

    def _parents(self) -> dict[str, tuple[int, str]]:
        """What the next epoch follows, as `gateway.continuity.parents` finds it."""
        mine = f"/{self.writer}/"
        folded = self.engine.book.sizes
        own = {
            one: held
            for one, held in self.disk.held.items()
            if mine in one and held.entries and folded.get(str(Origin.parse(one).log), 0)
        }  # fmt: skip
        wrote = [_epoch(origin) for origin in own if origin.endswith("/custody")]
        last = max(wrote, default=(0, ""))
        return {
            origin: (len(held.entries), b64encode(held.log().root).decode())
            for origin, held in sorted(own.items())
            if _epoch(origin) >= last
        }

    def _take_up(self) -> None:
        self.engine, _ = recover(self.entries(), self.settings, self.now)
        self.unwritten.clear()
        self.outputs.clear()
        outlets = Outlets(
            post=self.posted.append, trouble=lambda *_: None, epoch_over=self._epoch_over,
            history_back=self._history_back, snapshot=_no_snapshot,
            cloned=lambda: self.began == "overtaken",
        )  # fmt: skip
        clock: Any = _Clock(self)
        store: Any = Seen(self.disk, f"{OPERATOR}/{self.writer}/{self.settings.epoch}")
        self.uplink = Uplink("http://hub", self.key.site, store, clock, outlets, self.kept)

    def entries(self) -> list[Taken]:
        """Every stored entry as the book takes it, logs in the order in which none waits."""
        return read_all(self.disk)

    async def _epoch_over(self, why: str, after: int) -> None:
        self.over, self.after_epoch = self.over or why, max(after, self.after_epoch)

    def _history_back(self) -> None:
        self.refold = True

    def crash(self) -> None:
        """The process dies; nothing that was not durable is left."""
        self.up = False
        self.unwritten.clear()
        self.cloud.cut(self)
        if self.busy:
            raise Gone

    def restore(self, image: Image, *, marked: bool) -> None:
        """The disk is an earlier one, or a copy."""
        self.up = False
        self.cloud.cut(self)
        self.disk.put_back(image, self.cloud.instance())
        self._epoch_of_disk()
        self.mark = "restored" if marked else ""
        self.unnoticed = not marked
        self.blind |= not marked
        self.kept = Kept()

    def _epoch_of_disk(self) -> None:
        self.settings = replace(self.settings, epoch=Origin.parse(self.disk.own()[0]).epoch)

    # --- the disk -------------------------------------------------------------------------------

    @override
    def flush(self) -> list[Output]:
        outputs: list[Output] = []
        while self.unwritten:
            if not self.cloud.plan.ships_early:
                self.cloud.danger(self)
            persist = self.unwritten.pop(0)
            before = self.disk.sizes()
            self._write(persist)
            if self.cloud.plan.ships_early and self.busy and self.cloud.dice.random() < 0.05:
                for origin in self.disk.own():
                    self.disk.forget_to(before[origin], origin)
                self.crash()
            self.cloud.watch.durable(self, persist)
            more = self.engine.handle(Persisted(now=self.now, upto=persist.upto))
            self._take(more)
            outputs += more
            self.cloud.danger(self)
        return outputs

    @override
    def _take(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Pulse):
                self.cloud.watch.pulse(self, output)
        super()._take(outputs)

    def _write(self, persist: Persist) -> None:
        lanes: dict[str, list[bytes | Private]] = {}
        for draft in persist.drafts:
            lane = f"{OPERATOR}/{self.writer}/{self.settings.epoch}/{draft.lane.value}"
            data: bytes | Private = draft.entry
            if draft.annex is not None:
                data = Private(draft.entry, Annex(draft.salt, draft.annex, None))
            lanes.setdefault(lane, []).append(data)
        logs = [self.disk.write(origin, *data) for origin, data in lanes.items()]
        for link in self.links:
            for log in logs:
                link.site.grown(log)

    # --- the link -------------------------------------------------------------------------------

    def drain(self) -> None:
        """Do what the uplink has told: inputs, another epoch, the whole book anew."""
        if self.over:
            self.cloud.watch.noticed(self, self.over)
            self.mark, self.unnoticed = self.over, False
            self.cloud.cut(self)
            self.start()
            self._gone()
        if self.refold:
            self.refold = False
            self._take_up()
            self.tell_trust()
            self.see_all(occupied=tuple(sorted(self.inside)))
            self._gone()
        while self.posted and self.up:
            self.send(self.posted.pop(0))

    def _gone(self) -> None:
        if self.busy:
            raise Gone

    # --- people ---------------------------------------------------------------------------------

    def new_pulse(self, before: int) -> Pulse | None:
        pulses = self.pulses()
        return pulses[-1] if len(pulses) > before else None

    def deliver(self, tracking: str, size: str) -> None:
        """A courier brings a parcel."""
        self.home()
        self.login(self.secret)
        self.scan(tracking)
        before = len(self.pulses())
        self.press(Button.SIZE, size)
        pulse = self.new_pulse(before)
        if pulse is None:
            self.home()
            return
        door = pulse.door
        self.cloud.watch.given(self, door, tracking)
        self.inside[door] = tracking
        self.cloud.brought.add(tracking)
        self.codes[tracking] = self.key.code(f"acme/{tracking}/1", 0).short(8)
        self.opens()
        self.shut(door, occupied=True)
        self.home()

    def fetch(self, tracking: str) -> None:
        """Somebody types the code of this parcel, whether it is still here or not."""
        before = len(self.pulses())
        self.enter(self.codes[tracking])
        pulse = self.new_pulse(before)
        if pulse is None:
            self.home()
            return
        self.cloud.watch.opened(self, pulse.door, tracking)
        self.inside.pop(pulse.door, None)
        self.opens()
        self.shut(pulse.door, occupied=False)
        self.after(GRACE_MS)

    def look_into(self, door: int) -> None:
        """Support opens a door with somebody on site, who says what is inside.

        A parcel that is not the one on record goes out (`deploy/runbooks/restore.md`): *occupied*
        would make its door good for the code of the other (seed 1035).
        """
        before = len(self.pulses())
        self.send(
            SupportOpens(now=self.now, token="o", by="ada", door=door, reason="stock", case="c")
        )
        if self.new_pulse(before) is not None:
            self.opens()
            if self._is_of_another(door):
                self.inside.pop(door)
            self.shut(door, occupied=door in self.inside)
        elif self._is_of_another(door):
            return  # nobody saw what is behind it
        self.send(
            SupportChecked(
                now=self.now, token="k", by="ada", door=door, occupied=door in self.inside
            )
        )
        self.after(5_000)

    def _is_of_another(self, door: int) -> bool:
        """Return whether the label inside is not that of the parcel on record."""
        known = self.engine.book.parcel_in(door)
        if known is None or door not in self.inside:
            return False
        return known.identity is None or known.identity.split("/")[1] != self.inside[door]

    def take_stock(self, *, trust: bool = False) -> None:
        """Somebody looks into every door, and asks for the fence to be lifted.

        Where the hub can say no more (two histories of one log), an operator answers for it.
        """
        for door in sorted(self.map.doors):
            if self.engine.book.fenced:
                self.after(25_000)
                self.look_into(door)
        if self.engine.book.fenced:
            self.send(FenceLiftAsked(now=self.now, token="f", by="ada", trust_history=trust))

    def flag(self, door: int, *, enabled: bool) -> None:
        self.send(
            ServiceSet(now=self.now, token="s", by="ada", door=door, enabled=enabled, reason="r")
        )

    def answered(self) -> list[str]:
        return [output.code for output in self.outputs if isinstance(output, Answer)]


def _epoch(origin: str) -> tuple[int, str]:
    return epoch_order(Origin.parse(origin).epoch)


class _Clock:
    """The site's time as the uplink asks for it."""

    def __init__(self, site: CloudSite) -> None:
        self.site = site

    def now(self) -> Now:
        return self.site.now


class Seen:
    """A disk as the uplink sees the site's store: `checkpoint` names the present epoch."""

    def __init__(self, disk: Disk, epoch: str) -> None:
        self.disk, self.epoch = disk, epoch

    async def log(self, origin: str) -> Any:
        return await self.disk.log(origin)

    def checkpoint(self, lane: Lane) -> str:
        origin = f"{self.epoch}/{lane.value}"
        return self.disk.held[origin].log().note


async def _no_snapshot() -> None:
    return None


def read_all(disk: Disk) -> list[Taken]:
    """Every entry of a disk as the book takes it, in the order in which none waits."""
    logs = {str(Origin.parse(origin).log): held for origin, held in disk.held.items()}
    found = []
    for ref in sorted(logs, key=fold.turn):
        held = logs[ref]
        for index, data in enumerate(held.entries):
            annex = held.annexes.get(index)
            beside = None
            if annex is not None and annex.data is not None and annex.salt is not None:
                beside = (annex.data, annex.salt)
            found.append(fold.read(ref, index, data, beside))
    return found


__all__ = ["CloudSite", "Gone", "Writer", "read_all"]
