"""Installers on the bench: they take the boards, try locks by their place, sign maps, give back.

A quarter of the histories have them; they have their own dice, so all others are as they were.
While the bench has the boards, the site's life has none: it hears of no door, and people at kiosks
are kept apart. What an installer was about to do dies with the process.
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

import msgspec

from gateway.core import inputs
from gateway.core.outputs import Answer
from sync.facts import SIZES
from sync.sitemap import DoorItem, LineItem, SiteMap
from tests.simulation.world import Box

if TYPE_CHECKING:
    from tests.simulation.site import Site

SHARE = 0.25
COMES = 0.15
"""Of the moments at which something may go wrong at a site that has installers."""
DOORS_MAX = 14
COIL_REST_MS = 2_000
REPORT = "A" * 43 + "="
BY = "installer:anna"


class Installers:
    """Whoever commissions this site. `bench` says whether the boards are theirs."""

    def __init__(self, site: "Site", seed: int) -> None:
        self.site, self.dice = site, Random(f"installers {seed}")
        self.some = self.dice.random() < SHARE
        self.bench = False
        self.acts = 0

    # --- the bench ----------------------------------------------------------------------------

    def come(self) -> None:
        """Perhaps somebody comes and asks for the boards."""
        if not self.bench and self.dice.random() < COMES:
            token = self.site.command(inputs.BenchAsked, by=BY)
            self._later(token, self._may)

    def _may(self, answer: Answer) -> None:
        if not answer.code and not self.site.swarm.quiet:
            self.site.swarm.struck["bench_taken"] += 1
            self.site.crash("lends its boards to an installer", self.dice.randint(20, 400))
            self.bench, self.acts = True, self.dice.randint(2, 12)

    def begin(self) -> None:
        """The life without boards has begun."""
        self._soon(300, 4_000, self._work)

    def give_back(self) -> None:
        """The boards are the site's again."""
        if self.bench:
            self.site.crash("has its boards back", self.dice.randint(20, 400))

    def _work(self) -> None:
        """Do one thing; when all is done, give the boards back."""
        self.acts -= 1
        what = self.dice.random()
        if self.site.swarm.quiet or self.acts < 0:
            self.give_back()
        elif what < 0.65:
            self._try()
        else:
            self._sign()

    def _go_on(self) -> None:
        """Go on soon, or lay the phone aside for some minutes."""
        long = self.dice.random() < 0.15
        self._soon(*((60_000, 600_000) if long else (200, 6_000)), self._work)

    def _soon(self, least: int, most: int, deed: Callable[..., None], *args: object) -> None:
        self.site.shell.soon(self.dice.randint(least, most), deed, *args)

    def _later(self, token: str, deed: Callable[..., None], *args: object) -> None:
        """Do it with the answer to a command, when that is there."""
        answer = self.site.answers.get(token)
        if answer is None:
            self._soon(20, 200, self._later, token, deed, *args)
        else:
            deed(answer, *args)

    # --- locks --------------------------------------------------------------------------------

    def _try(self) -> None:
        """Have an intent put on the disk, for any lock that is wired: in the map or not yet."""
        box, ms = self.dice.choice(self.site.world.all()), self.dice.choice((200, 400, 1_000))
        board = self.site.world.map.boards[box.lock_board]
        lock = box.item.lock
        if self.dice.random() < 0.2:
            lock = f"adopted{lock}"  # a draft may call a board as it likes
        token = self.site.command(
            inputs.LockTried, by=BY, lock=lock, line=board.line, unit=board.unit, ms=ms
        )
        self._later(token, self.tried, box, ms)

    def tried(self, answer: Answer, box: Box, ms: int) -> None:
        """Pulse, where the answer says that the intent is durable and its time has not passed."""
        if answer.code:
            self._go_on()
            return
        rest = box.coil_off_at + COIL_REST_MS - self.site.time.now
        if box.coil_on or self.site.world.rails[box.item.rail] or rest > 0:
            self._soon(max(rest, 50), max(rest, 50), self.tried, answer, box, ms)
            return
        late = self.site.clocks.mono() > int(dict(answer.evidence)["deadline"])
        silent = not self.site.world.alive(box.lock_board)
        if not late and not silent:
            self.site.swarm.struck["lock_tried"] += 1
            self.site.say(f"*click* {answer.ref} at door {box.number}, from the bench")
            self.site.world.energise(box, ms, answer.ref)
            if self.dice.random() < 0.1:
                self.site.time.at(self.dice.randint(0, 1_500), self.site.crash, "is killed")
        self.site.time.at(self.dice.randint(3_000, 9_000), self._shut, box)
        if self.dice.random() < 0.1:
            self._go_on()  # never told
        else:
            failed = "bus.late" if late else "board.silent" if silent else ""
            self._soon(ms + 50, ms + 4_000, self._tell, answer.ref, box, failed)

    def _shut(self, box: Box) -> None:
        if self.dice.random() < 0.8:
            self.site.world.shut(box)

    def _tell(self, ref: str, box: Box, failed: str) -> None:
        if failed:
            outcome = "failed"
        elif box.open and self.site.world.visible(box):
            outcome = "opened"
        else:
            outcome = self.dice.choice(("pulsed", "doubt"))
        took_ms = 180 if outcome == "opened" else None
        self.site.command(
            inputs.LockTold, by=BY, of=ref, outcome=outcome, why=failed, took_ms=took_ms
        )
        self._go_on()

    # --- the sign-off ---------------------------------------------------------------------------

    def _sign(self) -> None:
        """Sign a map: the same again, or what was built and wired meanwhile."""
        site = self.site.world.map
        wanted = self.dice.choice((self._same, self._place, self._add, self._move, self._drop))
        signed = wanted(site)
        bad = self.dice.randint(0, 1)
        self.site.swarm.struck[f"signed{wanted.__name__}"] += 1
        token = self.site.command(
            inputs.SiteSigned, by=BY, map=signed, report=REPORT,
            passed=len(signed.doors) - bad, failed=bad, audit=signed is site,
        )  # fmt: skip
        self._later(token, self._signed)

    def _signed(self, _: Answer) -> None:
        if self.dice.random() < 0.5:
            self.give_back()
        else:
            self._go_on()

    def _same(self, site: SiteMap) -> SiteMap:
        return site

    def _with(self, site: SiteMap, *doors: DoorItem) -> SiteMap:
        lines = site.lines
        if self.dice.random() < 0.5:
            lines = {"bus": LineItem(name="bus", tcp=f"10.0.0.{self.dice.randint(1, 250)}")}
        changed = {door.number: door for door in doors}
        return SiteMap(boards=site.boards, doors=site.doors | changed, lines=lines)

    def _place(self, site: SiteMap) -> SiteMap:
        """Put some doors into the picture; correct a size."""
        doors = self.dice.sample(list(site.doors.values()), 2)
        size = self.dice.choice(SIZES)
        placed = [
            msgspec.structs.replace(door, column=1 + at, row=door.number % 8 + 1, heated=True)
            for at, door in enumerate(doors)
        ]
        return self._with(site, msgspec.structs.replace(placed[0], size=size), *placed[1:])

    def _add(self, site: SiteMap) -> SiteMap:
        """Build in another compartment."""
        number = max(site.doors) + 1
        if number > DOORS_MAX:
            return site
        model = self.dice.choice(list(site.doors.values()))
        lock, switch = model.lock.partition(":")[0], model.switch.partition(":")[0]
        door = DoorItem(
            number=number, size=self.dice.choice(SIZES), rail=model.rail, open_ms=180,
            lock=f"{lock}:{number}", switch=f"{switch}:{number}",
            occupancy=f"{switch}:{number + 20}",
        )  # fmt: skip
        self.site.world.build(door)
        return self._with(site, door)

    def _move(self, site: SiteMap) -> SiteMap:
        """Wire a door to other channels of its boards: an empty one, or one with a parcel."""
        door = self.dice.choice(list(site.doors.values()))
        lock, _, channel = door.lock.partition(":")
        other = int(channel) + 40 if int(channel) < 40 else int(channel) - 40
        switch = f"{door.switch.partition(':')[0]}:{other}"
        return self._with(
            site, msgspec.structs.replace(door, lock=f"{lock}:{other}", switch=switch)
        )

    def _drop(self, site: SiteMap) -> SiteMap:
        """Leave out a door that has a parcel."""
        held = [door for door, told in self.site.watch.tale.doors.items() if told.parcel]
        if not held:
            return site
        gone = self.dice.choice(held)
        left = {number: door for number, door in site.doors.items() if number != gone}
        return SiteMap(boards=site.boards, doors=left, lines=site.lines)
