"""A simulated bank in virtual time, with hands: what lessons and whole commissionings are tried on.

Nothing waits: a lesson is driven by samples every 40 ms of the bank's own time, as the bench does.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from adapters.simulator.bank import Bank
from adapters.simulator.wiring import (
    BoardSpec,
    CompartmentSpec,
    LineSpec,
    Wiring,
    checked,
    terminal,
)
from gateway.commissioning import acts
from gateway.commissioning import draft as drafts
from gateway.commissioning import lesson as lessons
from gateway.commissioning.draft import Draft, FoundBoard, Kind, Match
from gateway.commissioning.lesson import Lesson, Sample
from sync.sitemap import LineItem

IO = "waveshare-rtu-io-8ch"
STEP_MS = 40
LINE = LineItem(name="", serial="/dev/serial/by-id/usb-one", baud=9600)


def io_kind() -> Kind:
    return Kind(profile=IO, title="Waveshare IO 8CH", outputs=8, inputs=8, settable=True)


def bank_of(
    doors: int, *, boards: int = 0, change: dict[int, dict[str, object]] | None = None
) -> Bank:
    """A bank of so many doors on IO boards of 8, wired in order; `change` bends single doors."""
    count = boards or -(-doors // 8)
    specs = [BoardSpec(name=f"io-{one}", line="line", profile=IO, unit=one) for one in
             range(1, count + 1)]  # fmt: skip
    compartments = []
    for number in range(1, doors + 1):
        place = f"io-{1 + (number - 1) // 8}:{(number - 1) % 8}"
        told: dict[str, object] = {"lock": place, "door": place}
        told |= (change or {}).get(number, {})
        compartments.append(CompartmentSpec(number=number, **told))  # type: ignore[arg-type]
    wiring = Wiring(
        line=(LineSpec(name="line"),), board=tuple(specs), compartment=tuple(compartments)
    )
    return Bank(checked(wiring))


def empty_draft() -> Draft:
    return drafts.begun("installer:anna", 1000)


def scanned(draft: Draft, boards: int) -> Draft:
    rows = [
        FoundBoard(unit=unit, matches=(Match(kind=io_kind(), confidence="certain"),))
        for unit in range(1, boards + 1)
    ]
    return drafts.found(draft, LINE, rows)


def adopted(boards: int) -> Draft:
    return acts.perform(scanned(empty_draft(), boards), acts.AdoptAll(), 1000)


@dataclass
class Stage:
    """A draft before a bank, at the bank's time. `silent` boards are left out of samples."""

    bank: Bank
    draft: Draft
    now_ms: int = 10_000
    distances: dict[str, tuple[int | None, ...]] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)

    def sample(self) -> Sample:
        self.bank.advance(self.now_ms)
        inputs = {
            name: self._inputs(station.board.unit)
            for name, station in self.bank.stations.items()
            if name not in self.silent
        }
        return Sample(at_ms=self.now_ms, inputs=inputs, values=dict(self.distances))

    def _inputs(self, unit: int) -> tuple[bool, ...]:
        pdu = self._ask(unit, bytes((2, 0, 0, 0, 8)))
        return tuple(bool(pdu[2] >> bit & 1) for bit in range(8))

    def _ask(self, unit: int, pdu: bytes) -> bytes:
        (answer,) = self.bank.request("line", unit, pdu, self.now_ms)
        assert answer.pdu is not None
        return answer.pdu

    def coil(self, lock: str, *, on: bool) -> None:
        at = terminal(lock)
        unit = self.bank.stations[at.board].board.unit
        self._ask(unit, bytes((5, 0, at.channel, 0xFF if on else 0, 0)))

    # --- a lesson

    def ticks(self, for_ms: int) -> Iterator[Sample]:
        until = self.now_ms + for_ms
        while self.now_ms < until:
            self.now_ms += STEP_MS
            yield self.sample()

    def watch(self, lesson: Lesson, for_ms: int, *, until: Callable[[Lesson], bool]) -> Lesson:
        for sample in self.ticks(for_ms):
            lesson = lessons.seen(lesson, sample)
            if until(lesson):
                break
        return lesson

    def begin(self, lock: str, ms: int | None = None) -> Lesson:
        return self.pulse(drafts.teach(self.draft, lock, self.sample(), ms=ms))

    def pulse(self, lesson: Lesson) -> Lesson:
        """Coil on and off again, with looks meanwhile; then watch until a person is asked."""
        ms, began = lesson.pulse_ms, self.now_ms
        self.coil(lesson.lock, on=True)
        while self.now_ms + STEP_MS < began + ms:
            self.now_ms += STEP_MS
            lesson = lessons.seen(lesson, self.sample())
        self.now_ms = began + ms
        self.coil(lesson.lock, on=False)
        lesson = lessons.pulsed(lesson, at_ms=began, ms=ms)
        return self.watch(lesson, 6000, until=lambda one: one.phase != "watching")

    def again(self, lesson: Lesson) -> Lesson:
        lesson = lessons.seen(lesson, self.sample())
        self.now_ms += 1000
        return self.pulse(lessons.again(lesson))

    def shut(self, lesson: Lesson, number: int, for_ms: int = 3000) -> Lesson:
        self.now_ms += STEP_MS
        self.bank.advance(self.now_ms)
        self.bank.person.close(number)
        return self.watch(lesson, for_ms, until=lambda one: one.phase == "done")

    def put_and_take(self, lesson: Lesson, number: int) -> Lesson:
        for hand in (self.bank.person.put, self.bank.person.take):
            self.now_ms += STEP_MS
            self.bank.advance(self.now_ms)
            hand(number)
            lesson = self.watch(lesson, 800, until=lambda _: False)
        return lesson

    def teach(self, lock: str, number: int, *, senses: bool = False) -> Lesson:
        """A whole lesson that goes well; the draft has the door then."""
        lesson = lessons.popped(self.begin(lock), number)
        if senses:
            lesson = self.put_and_take(lesson, number)
        lesson = self.shut(lesson, number)
        self.draft = drafts.taught(self.draft, lesson, self.now_ms)
        return lesson
