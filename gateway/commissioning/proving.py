"""The job that proves a bank: every lock opened, every door shut again, every board asked at speed.

A door that may hold something is looked at and left shut: the engine refuses its intent, and what
its sensor says is compared with the record. One lock after the other; then whoever is there shuts
what stands open, and is waited for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

import msgspec

from adapters import scan, trouble
from adapters.errors import AdapterError
from adapters.profiles import load
from gateway.commissioning import convert, points
from gateway.commissioning import draft as drafts
from gateway.commissioning import proof as proofs
from gateway.commissioning.draft import Board, Draft
from gateway.commissioning.findings import Finding
from gateway.commissioning.hold import Hold, Job
from gateway.commissioning.lesson import Sample
from gateway.commissioning.proof import LEFT, BoardTrial, DoorTrial, Machine, Record
from gateway.commissioning.rig import Rig
from gateway.commissioning.teaching import LOOK_S, Pulser
from gateway.core.inputs import Trust
from gateway.errors import GatewayError
from sync.book import Book
from sync.sitemap import DoorItem

ATTEMPTS: Final = 3
WATCH_MS: Final = 3_000
STILL_MS: Final = 1_000
CLOSE_MS: Final = 10 * 60_000
"""So long whoever shuts the doors is waited for: 410 doors are a walk."""
TIMES: Final = 32


class Prover:
    """One installer's proof. `book` raises GatewayError between two lives."""

    def __init__(
        self,
        hold: Hold,
        rig: Rig,
        pulser: Pulser,
        machine: Callable[[], Awaitable[dict[str, Any]]],
        book: Callable[[], Book],
        *,
        by: str,
    ) -> None:
        self._hold, self._rig, self._pulser = hold, rig, pulser
        self._machine, self._book, self._by = machine, book, by

    async def prove(self, job: Job, wanted: tuple[int, ...] | None) -> None:
        """Try these doors, or all; then every board, and the machine. Puts the proof in the draft.

        Raises GatewayError `map.*` where the draft is no map yet, `door.unknown`.
        """
        draft = self._draft()
        site = drafts.site_map(draft)
        numbers = sorted(site.doors) if wanted is None else sorted(set(wanted))
        unknown = next((number for number in numbers if number not in site.doors), None)
        if unknown is not None:
            raise GatewayError("door.unknown", "Look at the doors there are", door=unknown)
        trials = {n: trial for n, trial in draft.trials.items() if n not in numbers}
        self._hold.trials = trials
        total = len(numbers) + len(site.boards)
        for done, number in enumerate(numbers):
            if job.stop.is_set():
                raise GatewayError("commission.stopped", "Begin it again")
            self._hold.progress(done, total, f"door {number}")
            trials[number] = await self._door(site.doors[number])
            self._hold.touch()
        await self._shut(job, trials, numbers)
        boards, findings = [], list[Finding]()
        for done, name in enumerate(sorted(site.boards), len(numbers)):
            self._hold.progress(done, total, name)
            trial, found = await self._board(draft, draft.boards[name])
            boards.append(trial)
            findings += found
        self._hold.progress(total, total, "")
        book = self._book()
        proof = proofs.judge(
            site, by=self._by, at_ms=self._rig.wall_ms(), doors=trials.values(), boards=boards,
            machine=_machine(await self._machine()), findings=findings,
            before=book.map if book.map.doors else None,
            records=_records(book) if book.map.doors else (),
        )  # fmt: skip
        wall_ms = self._rig.wall_ms()
        await self._hold.change(lambda draft: drafts.proved(draft, proof, wall_ms))

    # --- a door -----------------------------------------------------------------------------------

    async def _door(self, door: DoorItem) -> DoorTrial:
        """Open one door, at most three pulses; say why it did not open."""
        at_ms = self._rig.wall_ms()
        is_open, occupied = points.of_door(door, (await self._look())[-1])
        trial = DoorTrial(number=door.number, attempts=0, occupied=occupied, at_ms=at_ms)
        if is_open is not False:
            code = "teach.open_before" if is_open else "board.silent"
            return _but(trial, code=code)
        if occupied:  # whatever the record says: something is inside
            return _but(trial, code="door.occupied", switch_back=True)
        for attempt in range(1, ATTEMPTS + 1):
            code, took_ms = await self._pulse(door)
            trial = _but(trial, attempts=attempt, code=code, took_ms=took_ms)
            if took_ms is not None or code:
                break
        if trial.code in LEFT:
            return _but(trial, attempts=0, switch_back=True)
        if trial.took_ms is None and not trial.code:
            return _but(trial, code="proof.not_opened")
        return trial

    async def _pulse(self, door: DoorItem) -> tuple[str, int | None]:
        """Pulse once and watch; return (why it was not sent, when the door moved)."""
        draft = self._draft()
        try:
            await self._pulser.ready(draft, door.lock)
            await self._rig.rest(door.lock)
            intent = await self._pulser.intend(draft, door.lock, door.pulse_ms, self._by)
        except GatewayError as error:
            return error.code, None
        began_ms = self._rig.now_ms()
        pulsing = asyncio.create_task(self._pulser.pulse(draft, door.lock, door.pulse_ms, intent))
        took_ms = None
        try:
            while self._rig.now_ms() - began_ms < WATCH_MS:
                opened = [one.at_ms for one in await self._look() if points.of_door(door, one)[0]]
                if opened:
                    took_ms = opened[0] - began_ms
                    break
                await asyncio.sleep(LOOK_S)
        finally:
            code = await pulsing  # it ends by itself, its coil off
            await self._pulser.tell(intent, "" if took_ms is not None else code, took_ms, self._by)
        return ("" if took_ms is not None else code), took_ms

    async def _shut(self, job: Job, trials: dict[int, DoorTrial], numbers: list[int]) -> None:
        """Wait until every door that opened is shut and still, or nobody wants to wait."""
        waiting = {n for n in numbers if trials[n].took_ms is not None}
        since: dict[int, int] = {}
        until_ms = self._rig.now_ms() + CLOSE_MS
        while waiting and not job.stop.is_set() and self._rig.now_ms() < until_ms:
            sample = (await self._look())[-1]
            for number in sorted(waiting):
                is_open, occupied = points.of_door(self._draft().doors[number], sample)
                if is_open is not False:
                    since.pop(number, None)
                    continue
                if sample.at_ms - since.setdefault(number, sample.at_ms) >= STILL_MS:
                    trials[number] = _but(trials[number], switch_back=True, occupied=occupied)
                    waiting.discard(number)
                    self._hold.touch()
            await asyncio.sleep(LOOK_S)
        for number in waiting:
            trials[number] = _but(trials[number], switch_back=False)

    # --- a board ----------------------------------------------------------------------------------

    async def _board(self, draft: Draft, board: Board) -> tuple[BoardTrial, tuple[Finding, ...]]:
        """Ask one board again and again, short and long questions, at the line's speed."""
        line = draft.lines[board.line]
        about = f"{board.line}/{board.unit}"
        try:
            opened = await self._rig.line(line)
            pattern = await scan.stress(opened, board.unit, load(board.kind.profile), times=TIMES)
        except AdapterError as error:
            return BoardTrial(name=board.name, asked=1, failed={error.code: 1}), ()
        asked = sum(tally.asked for tally in pattern.tallies)
        broken = sum(tally.broken for tally in pattern.tallies)
        silent = asked - broken - sum(tally.good for tally in pattern.tallies)
        failed = {code: n for code, n in (("broken", broken), ("silent", silent)) if n}
        corrected = self._rig.corrected(board.name)
        found = convert.findings(trouble.patterns(about, {board.unit: pattern}))
        return (BoardTrial(name=board.name, asked=asked, failed=failed, corrected=corrected), found)

    # --- parts ------------------------------------------------------------------------------------

    def _draft(self) -> Draft:
        assert self._hold.draft is not None  # no job begins without one
        return self._hold.draft

    async def _look(self) -> tuple[Sample, ...]:
        draft = self._draft()
        boards = {name: board.item for name, board in draft.boards.items()}
        return await self._rig.look(boards, draft.lines)


def _but(trial: DoorTrial, **fields: object) -> DoorTrial:
    return msgspec.structs.replace(trial, **fields)


def _machine(told: dict[str, Any]) -> Machine:
    up = told.get("hub_up")
    return Machine(
        flush_us=told.get("flush_us"),
        clock="untrusted" if told.get("clock") == Trust.FLOOR.value else "trusted",
        hub="none" if up is None else "up" if up else "down",
    )


def _records(book: Book) -> list[Record]:
    return [
        Record(
            number=number, custody=one.custody.value, disabled=bool(one.disabled),
            fenced=book.fenced,
        )
        for number, one in sorted(book.compartments.items())
        if number in book.map.doors
    ]  # fmt: skip
