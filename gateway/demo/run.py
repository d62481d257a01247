"""The demo from beginning to end: set up, play, stay, stop, verify, count."""

import asyncio
import contextlib
import json
import shutil
import signal
import sys
import tempfile
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final

from gateway import site
from gateway.demo.cloud import TENANT
from gateway.demo.hands import Kiosk
from gateway.demo.play import GRACE_S, REST_S, Day, tracking_numbers
from gateway.demo.process import DemoFailed
from gateway.demo.record import Counts, Record, counts, unintended, unlogged
from gateway.demo.stage import Invoke, Stage
from gateway.demo.story import Teller
from gateway.errors import GatewayError

INTERRUPTED: Final = 130
_WATCH_S: Final = 0.5
_AGREE_S: Final = 30.0
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Demo:
    """One run. `play`: play the day; `stay`: stay up until stopped; `as_json`: see `run`."""

    def __init__(
        self, data: Path | None, *, play: bool, stay: bool, as_json: bool, invoke: Invoke
    ) -> None:
        self.play = play
        self.stay = stay
        self.as_json = as_json
        self.temporary = data is None
        self.failed = False
        self.data = Path(tempfile.mkdtemp(prefix="locker-demo-")) if data is None else data
        self._invoke = invoke
        self._json_out = sys.stdout  # commands run here have their standard output caught
        self._main: asyncio.Task[Any] | None = None
        self._stopped: asyncio.Event | None = None

    async def run(self) -> int:
        """Return the exit status; 0: all went as it should. Raises GatewayError.

        With `as_json` the story goes to stderr and the counts to stdout, one object last; with
        `stay` too, the addresses come first.
        """
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._main = asyncio.current_task()
        for number in _SIGNALS:
            loop.add_signal_handler(number, self.stop)
        tell = Teller(sys.stderr if self.as_json else sys.stdout, lambda: loop.time() - began)
        self._greet(tell)
        try:
            status = await self._on_stage(tell)
        except asyncio.CancelledError:
            tell.plain("\nBroken off. Everything is stopped.")
            status = INTERRUPTED
        except BaseException:
            self.failed = True
            if (logs := self.data / "demo").is_dir():
                tell.plain(f"\nSomething failed. The logs are in {logs}")
            raise
        return status

    def forget(self) -> None:
        """Remove a temporary folder, unless something failed. Call it when `run` is over."""
        if self.temporary and not self.failed:
            shutil.rmtree(self.data, ignore_errors=True)

    def stop(self) -> None:
        """End the stay, or break the day off."""
        if self._stopped is not None and not self._stopped.is_set():
            self._stopped.set()
        elif self._main is not None:
            self._main.cancel()

    def _greet(self, tell: Teller) -> None:
        tell.title("A locker site on this machine: 32 doors, a gateway, a kiosk, a hub")
        tell.plain(
            "Doors 1 to 16 hang on one RS485 line (9600 baud, six boards), doors 17 to 32 on"
        )
        tell.plain(
            "three Modbus TCP boards. Times are seconds since the start. To fit a day into a"
        )
        tell.plain(f"minute, the wait for Open again is {GRACE_S} s and a lock rests {REST_S} s.")
        tell.plain(f"Data: {self.data}" + (" (removed at the end)" if self.temporary else ""))
        tell.title("Setting up")

    async def _on_stage(self, tell: Teller) -> int:
        shell = partial(_say_command, tell)
        async with Stage(self.data, shell=shell, invoke=self._invoke) as stage:
            record = Record(stage.database)
            kiosk = Kiosk(stage.session, stage.kiosk_url, tell.screen)
            watching = asyncio.create_task(kiosk.watch())
            try:
                day = Day(stage, kiosk, record, tell)
                self._tell_places(stage, day, tell, first=True)
                if self.play:
                    await day.play()
                    tell.title("The day is over")
                if self.stay:
                    if self.play:
                        self._tell_places(stage, day, tell, first=False)
                    await self._stay(stage, tell)
            finally:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            return await self._end(stage, record, tell)

    def _tell_places(self, stage: Stage, day: Day, tell: Teller, *, first: bool) -> None:
        """Say where everything is and what to try there."""
        [tracking] = tracking_numbers(1)
        if first and self.stay and self.as_json:
            places = {
                "kiosk": stage.kiosk_url,
                "bank": stage.hands.url,
                "courier_code": stage.courier,
                "tracking": tracking,
                "data": str(stage.data),
            }
            self._print(places)
        tell.plain()
        tell.plain(f"  Kiosk     {stage.kiosk_url}")
        tell.plain(f"  Boards    {stage.hands.url}  (put parcels in, close, force and jam doors)")
        tell.plain(f"  Deliver   courier code {stage.courier}, tracking number {tracking}")
        tell.plain(
            f"  Its code  locker-gateway code show {TENANT}/{tracking}/1 --data {stage.data}"
        )
        if day.waiting is not None:
            door, code = day.waiting
            tell.plain(f"  Collect   code {code} opens door {door}")

    def _print(self, told: dict[str, Any]) -> None:
        self._json_out.write(json.dumps(told) + "\n")
        self._json_out.flush()

    async def _stay(self, stage: Stage, tell: Teller) -> None:
        """Stay up until somebody stops it; raise when a process ends by itself."""
        tell.plain("\nEverything stays up. Ctrl-C stops it.")
        self._stopped = asyncio.Event()
        while not self._stopped.is_set():
            stage.check()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_WATCH_S):
                    await self._stopped.wait()
        tell.title("Stopping")

    async def _end(self, stage: Stage, record: Record, tell: Teller) -> int:
        """Let both ends agree, stop the gateway, look at the bank, verify the log, count."""
        link = await _exchanged(stage)
        exited = await stage.stop_gateway()
        bank = await stage.hands.state()
        record.read()
        tell.record(record.news())
        verified = await _verified(stage, tell)
        day = counts(record.entries, record.total)
        missing = unlogged(record.entries, bank["doors"])
        wrong = [
            text
            for text, bad in (
                (f"the gateway ended with status {exited}", exited != 0),
                ("the log did not verify", not verified),
                (f"{missing} openings are not on record", missing),
                ("a lock was pulsed without an intent", unintended(record.entries, bank["doors"])),
                ("a coil is still on", any(door["coil_on"] for door in bank["doors"])),
                ("site and hub hold different books", not link["books_equal"]),
            )
            if bad
        ]
        _tell_counts(day, tell, verified=verified, missing=missing)
        tell.plain(
            f"  {link['entries_synced']:>5}  entries held at both ends, for"
            f" {link['bytes_on_wire']} bytes on the wire; the link died {link['link_cuts']} times"
        )
        if self.as_json:
            said = asdict(day) | {"log_verified": verified, "doors_opened_unlogged": missing}
            self._print(said | link)
        if wrong:
            raise DemoFailed("demo.wrong", f"Read the logs in {stage.folder}", what=wrong)
        return 0


def _say_command(tell: Teller, line: str) -> None:
    tell.say("shell", f"$ {line}")


async def _exchanged(stage: Stage) -> dict[str, Any]:
    """Return what the link carried, and whether both ends came to hold the same book."""
    cloud = stage.cloud
    equal = await cloud.agrees(lambda: site.read_book(stage.data).canonical(), _AGREE_S)
    book = await cloud.book()
    return {
        "link_cuts": cloud.link.cuts,
        "entries_synced": sum(book["sizes"].values()),
        "bytes_on_wire": cloud.link.bytes,
        "books_equal": equal,
        "conflicts_surfaced": len(book["conflicts"]),
    }


async def _verified(stage: Stage, tell: Teller) -> bool:
    try:
        said = await stage.command("log", "verify")
    except GatewayError as failed:
        tell.plain(str(failed))
        return False
    tell.say("shell", said.strip().splitlines()[-1])
    return True


def _tell_counts(day: Counts, tell: Teller, *, verified: bool, missing: int) -> None:
    tell.title("Read back from the signed log")
    rows = (
        (day.deposits, "parcels deposited"),
        (day.pickups, "parcels collected"),
        (day.refused, "codes refused"),
        (day.faults, "alarms about a door"),
        (day.crashes, "crashes between an intent and its outcome"),
        (day.entries, f"entries in all, {'verified' if verified else 'NOT VERIFIED'}"),
        (missing, "doors opened that are not on record"),
    )
    for number, what in rows:
        tell.plain(f"  {number:>5}  {what}")
