"""Pins that sixteen doors are commissioned in a bounded number of steps; prints the time it takes.

Everything goes through acts, lessons, trials and the map, on a simulated bank in virtual time. A
person takes 20 s a door: sees which one popped, says its number, shuts it. One lock is dead, one
sticks, and one switch is on another door's plug, as on a first day.
"""

from collections import Counter

import msgspec

from gateway import mapfile
from gateway.commissioning import acts, report, view
from gateway.commissioning import draft as drafts
from gateway.commissioning import lesson as lessons
from gateway.commissioning import proof as proofs
from gateway.commissioning.proof import BoardTrial, DoorTrial, Machine
from tests.commission_stage import Stage, bank_of, empty_draft, scanned

DOORS = 16
PERSON_MS = 20_000
PROVE_MS = 2_500
SCAN_MS = 40_000
GOAL_MS = 15 * 60_000


class Script:
    """An installer who does the next thing that the view asks for; every act is a step."""

    def __init__(self, on: Stage) -> None:
        self.on, self.steps = on, Counter[str]()

    def act(self, **act: object) -> None:
        self.steps[str(act["do"])] += 1
        read = acts.read(msgspec.json.encode(act))
        self.on.draft = acts.perform(self.on.draft, read, self.on.now_ms)  # type: ignore[arg-type]

    def next_lock(self) -> str:
        rows = view.view(self.on.draft)["locks"]
        return next((row["lock"] for row in rows if not row["door"] and not row["skipped"]), "")

    def popped(self, before: set[int]) -> int:
        there = {n for n, door in self.on.bank.doors.items() if door.is_open}
        return min(there - before, default=0)

    def teach(self, lock: str) -> None:
        on, before = self.on, {n for n, door in self.on.bank.doors.items() if door.is_open}
        self.steps["try"] += 1
        lesson = on.begin(lock)
        while True:
            on.now_ms += PERSON_MS // 2
            lesson = lessons.seen(lesson, on.sample())
            number = self.popped(before)
            self.steps["popped" if number else "nothing"] += 1
            if number:
                lesson = on.shut(lessons.popped(lesson, number), number)
                on.now_ms += PERSON_MS // 2
                on.draft = drafts.taught(on.draft, lesson, on.now_ms)
                return
            lesson = lessons.nothing(lesson)
            if len(lesson.attempts) > 2:
                self.act(do="skip", lock=lock)
                return
            self.steps["again"] += 1
            lesson = on.again(lesson)

    def prove(self) -> None:
        self.steps["prove"] += 1
        trials = []
        for number, door in sorted(self.on.draft.doors.items()):
            lesson = self.on.begin(door.lock)
            while lesson.attempts[-1].took_ms is None and len(lesson.attempts) < 3:
                lesson = self.on.again(lesson)
            took, pulses = lesson.attempts[-1].took_ms, len(lesson.attempts)
            self.on.bank.person.close(number)
            self.on.now_ms += PROVE_MS
            trial = DoorTrial(number=number, attempts=pulses, took_ms=took, switch_back=True)
            trials.append(trial)
        boards = [BoardTrial(name=name, asked=64) for name in self.on.draft.boards]
        machine = Machine(flush_us=900, clock="trusted", hub="none")
        proof = proofs.judge(
            drafts.site_map(self.on.draft), by="installer:anna", at_ms=self.on.now_ms,
            doors=trials, boards=boards, machine=machine,
        )  # fmt: skip
        self.on.draft = drafts.proved(self.on.draft, proof)


def test_sixteen_doors_are_commissioned_in_a_bounded_number_of_steps() -> None:
    change: dict[int, dict[str, object]] = {
        4: {"sticky": 2}, 7: {"door": "io-1:7"}, 8: {"door": "io-1:6"},
        16: {"door_open_is": "inactive"},
    }  # fmt: skip
    on = Stage(bank_of(DOORS, boards=2, change=change), empty_draft(), now_ms=0)
    on.bank.inject_door(11, "coil_open")
    script = Script(on)
    on.now_ms += SCAN_MS
    on.draft = scanned(on.draft, 2)
    script.steps["scan"] += 1
    script.act(do="adopt_all")
    while lock := script.next_lock():
        script.teach(lock)
    for number in on.draft.doors:
        on.now_ms += 2000
        script.act(
            do="place", number=number, column=1 + (number - 1) // 8, row=1 + (number - 1) % 8
        )
    script.act(do="doors", numbers=sorted(on.draft.doors), size="M", rail="left")
    script.prove()
    shown = view.view(on.draft)
    assert [step["done"] for step in shown["steps"]] == [True, True, True, True, False]
    assert on.draft.skipped == ("io-2:2",)
    site = drafts.site_map(on.draft)
    mapfile.check(site)
    assert sorted(site.doors) == [n for n in range(1, 17) if n != 11]
    assert (site.doors[7].switch, site.doors[16].open_when) == ("io-1:7", "inactive")
    assert on.draft.proof is not None
    data = report.encode(on.draft.proof, on.draft, site="yard")
    assert report.decode(data).passed
    steps = sum(script.steps.values())
    spent_s = on.now_ms // 1000
    print(
        f"commissioning of {DOORS} doors: {steps} steps, {spent_s // 60} min {spent_s % 60} s"
        f" with a person at 20 s a door (goal {GOAL_MS // 60_000} min); {dict(script.steps)}"
    )
    assert steps <= 3 * DOORS + 16
