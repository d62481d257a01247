"""The site's shell as the simulation plays it: journal, boards and kiosks around the engine.

It lives as long as the process: whatever it had planned ends with a crash (`life`). A pulse that a
board has taken goes on without it. While an installer has the boards it hears nothing of them.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gateway.core import inputs, outputs
from tests.simulation.world import Board, Box

if TYPE_CHECKING:
    from tests.simulation.site import Site

COIL_REST_MS = 2_000
COIL_MS_MAX = 1_000


class Shell:
    """One life of the process around the engine."""

    def __init__(self, site: "Site") -> None:
        self.site = site
        self.time, self.dice, self.swarm = site.time, site.dice, site.swarm
        self.dead = False
        self.failed = False
        self.wake_at: int | None = None
        self.told: dict[int, tuple[bool | None, bool | None]] = {}

    def soon(self, delay: int, deed: Callable[..., None], *args: Any) -> None:
        """Plan a deed that dies with this process."""
        self.time.at(delay, self._if_alive, deed, args)

    def _if_alive(self, deed: Callable[..., None], args: tuple[Any, ...]) -> None:
        if not self.dead:
            deed(*args)

    def perform(self, output: outputs.Output) -> None:
        """Do what the engine asks."""
        match output:
            case outputs.Persist():
                if not self.failed:
                    self.site.drafted(self.site.disk.offer(output))
                    self.flush()
            case outputs.Pulse():
                self.soon(self.dice.randint(3, 60), self.pulse, output)
            case outputs.Poll():
                self.soon(self.dice.randint(10, 60), self.tell, output.door, True)
            case outputs.AllOff():
                self.site.world.all_off()
            case outputs.Show():
                self.site.screens[output.kiosk] = output.screen
                self.site.say(f"{output.kiosk} shows {output.screen}")
            case outputs.Answer():
                self.site.answered(output)
            case outputs.PairingOpened():
                pass
            case outputs.WakeAt():
                self.wake_at = output.mono_ms
                delay = self.site.clocks.true_of(output.mono_ms) - self.time.now
                self.soon(delay, self.wake, output.mono_ms)

    def wake(self, mono: int) -> None:
        """The moment asked for has come, if no later `WakeAt` replaced it."""
        if self.wake_at == mono:
            if self.site.clocks.mono() < mono:
                self.soon(1, self.wake, mono)
                return
            self.wake_at = None
            self.site.deliver(inputs.TimePassed(now=self.site.now()))

    # --- journal ------------------------------------------------------------------------------

    def flush(self) -> None:
        """Begin a flush of whatever has arrived, unless one is running."""
        if not self.site.disk.begin_flush():
            return
        delay = self.dice.randint(1, 25)
        if self.swarm.hit("flush_slow"):
            delay = self.dice.randint(50, 900)
        if self.swarm.hit("flush_stuck"):
            delay = self.dice.randint(1_000, 9_000)
        self.soon(delay, self._flushed)

    def _flushed(self) -> None:
        disk = self.site.disk
        if disk.full:
            disk.fail_flush()
            self.failed = True
            self.site.say("the disk is full: nothing more becomes durable")
            self.site.lost()
            self.site.deliver(inputs.PersistFailed(now=self.site.now(), reason="full"))
            self.soon(self.dice.randint(200, 6_000), self.site.crash, "is restarted", 500)
            return
        upto, rows = disk.end_flush()
        self.site.durable(rows)
        self.site.deliver(inputs.Persisted(now=self.site.now(), upto=upto))
        if not self.dead:
            self.flush()

    # --- boards -------------------------------------------------------------------------------

    def pulse(self, pulse: outputs.Pulse) -> None:
        """Send a pulse, or say that it was not sent; afterwards tell how it ended."""
        site = self.site
        if site.installers.bench:
            self.end(pulse, 1, "not_sent", "board.silent")
            return
        box = site.world.boxes[pulse.door]
        board = site.world.boards[box.lock_board]
        rest = box.coil_off_at + COIL_REST_MS - self.time.now
        if site.clocks.mono() > pulse.deadline:
            self.end(pulse, 1, "not_sent", "bus.late")
        elif board.told_silent or self.swarm.hit("pulse_not_sent"):
            self.end(pulse, self.dice.randint(1, 300), "not_sent", "board.silent")
        elif box.coil_on or rest > 0:
            self.soon(max(rest, 50), self.pulse, pulse)
        elif board.dead_since is not None or self.swarm.hit("unanswered_idle"):
            self.end(pulse, self.dice.randint(600, 1_300), "unanswered")
        elif self.swarm.hit("unanswered_acted"):
            self.time.at(self.dice.randint(0, 100), self.energise, pulse)
            self.end(pulse, self.dice.randint(900, 1_500), "unanswered")
        else:
            self.energise(pulse)
            self.end(pulse, pulse.ms + self.dice.randint(2, 80), "done")

    def energise(self, pulse: outputs.Pulse) -> None:
        """The board acts."""
        self.site.say(f"*click* {pulse.intent} at door {pulse.door}")
        box = self.site.world.boxes[pulse.door]
        self.site.world.energise(box, min(pulse.ms, COIL_MS_MAX), pulse.intent)

    def end(
        self, pulse: outputs.Pulse, delay: int, result: inputs.PulseResult, why: str = ""
    ) -> None:
        """Tell the engine how a pulse ended, sometimes much later."""
        if self.swarm.hit("answer_late"):
            delay += self.dice.randint(500, 6_000)
        self.soon(delay, self._ended, pulse, result, why)

    def _ended(self, pulse: outputs.Pulse, result: inputs.PulseResult, why: str) -> None:
        self.site.say(f"pulse of {pulse.intent} at door {pulse.door}: {result} {why}")
        self.site.deliver(
            inputs.PulseDone(
                now=self.site.now(), intent=pulse.intent, door=pulse.door, result=result, why=why
            )
        )

    def moved(self, box: Box) -> None:
        """Something changed at a door: it will be seen at one of the next polls."""
        if self.site.installers.bench or box.number not in self.site.world.boxes:
            return
        delay = self.dice.randint(30, 300)
        if self.swarm.hit("telling_late"):
            delay = self.dice.randint(500, 2_500)
        self.soon(delay, self.tell, box.number, False)
        if self.swarm.hit("bounce") and self.site.world.visible(box):
            self.soon(delay + 40, self._flicker, box)

    def _flicker(self, box: Box) -> None:
        if self.site.world.visible(box):
            for shown in (not box.switch(), box.switch()):
                self.say_door(box, shown)

    def tell(self, number: int, always: bool) -> None:
        """Tell the engine what the sensors of a door say, if that is new or was asked for."""
        if self.site.installers.bench:
            return
        world = self.site.world
        box = world.boxes[number]
        door, eye = self.told.get(number, (None, None))
        if world.visible(box) and (always or box.switch() is not door):
            self.say_door(box, box.switch())
        if self.dead or not box.item.occupancy or not world.alive(box.eye_board):
            return
        if always or box.eye() is not eye:
            self.told[number] = (self.told.get(number, (None, None))[0], box.eye())
            self.site.deliver(
                inputs.OccupancySeen(now=self.site.now(), door=number, occupied=box.eye())
            )

    def say_door(self, box: Box, shown: bool) -> None:
        """Tell the engine what the switch of a door says."""
        self.told[box.number] = (shown, self.told.get(box.number, (None, None))[1])
        self.site.deliver(inputs.DoorSeen(now=self.site.now(), door=box.number, open=shown))

    def begin(self) -> None:
        """The doors of every board are told once after a start."""
        for board in self.site.world.boards.values():
            board.told_silent = False
            self.soon(self.dice.randint(20, 400), self.tell_board, board)
            if board.dead_since is not None:
                self.soon(3_200, self.silent, board)

    def tell_board(self, board: Board) -> None:
        """Tell everything a board sees."""
        if board.dead_since is None:
            for number in board.doors:
                if not self.dead:
                    self.tell(number, True)

    def silent(self, board: Board) -> None:
        """A board has not answered for three seconds."""
        if board.dead_since is None or board.told_silent or self.site.installers.bench:
            return
        board.told_silent = True
        self.site.deliver(
            inputs.BoardSilent(now=self.site.now(), board=board.name, doors=board.doors)
        )

    def back(self, board: Board) -> None:
        """A board answers again: all its coils off, and its doors are told."""
        if self.site.installers.bench:
            return
        if board.told_silent:
            board.told_silent = False
            self.site.deliver(
                inputs.BoardBack(now=self.site.now(), board=board.name, doors=board.doors)
            )
        self.tell_board(board)
