"""One simulated site: the engine, its shell, its world and its people, on one timeline."""

from base64 import b64encode
from collections import Counter
from random import Random
from typing import Any, Protocol

from gateway.core import inputs, outputs
from gateway.core.inputs import Input, Now, Recovered
from gateway.core.policy import Settings
from gateway.core.recovery import recover
from gateway.core.screen import Screen
from sync import codes, facts
from sync.holdings import identity_of
from tests.simulation.cards import Cards
from tests.simulation.checkers import Violated, Watch
from tests.simulation.checks_doors import DOORS
from tests.simulation.checks_log import LOG
from tests.simulation.checks_maps import MAPS
from tests.simulation.checks_people import PEOPLE
from tests.simulation.clocks import Clocks, Timeline
from tests.simulation.disk import Disk, Stored, Transaction
from tests.simulation.installers import Installers
from tests.simulation.people import Badge, Courier, Guesser, Recipient, Slip, Street, Visitor
from tests.simulation.shell import Shell
from tests.simulation.swarm import Swarm
from tests.simulation.world import Board, Box, World, small_bank

OPERATOR, WRITER, EPOCH = "lockers.example", "site/0042", "e1-9f2c01ab"
KIOSKS = ("left", "right")
HOUR_MS = 3_600_000


class Heart(Protocol):
    """What the simulation needs of an engine."""

    def handle(self, given: Input, /) -> list[outputs.Output]: ...


class Plan:
    """How a site is built. A planted error overrides one of these."""

    shell: type[Shell] = Shell

    def recover(
        self, entries: list[Recovered], settings: Settings, now: Now
    ) -> tuple[Heart, list[outputs.Output]]:
        """Start the engine."""
        return recover(entries, settings, now)


class Site:
    """Everything of one history."""

    def __init__(self, seed: int, plan: Plan, *, tell: bool) -> None:
        self.dice = Random(seed)
        self.swarm = Swarm(Random(f"swarm {seed}"))
        self.plan = plan
        self.telling = tell
        self.story: list[str] = []
        self.time = Timeline()
        self.clocks = Clocks(self.time, self.dice, self.swarm)
        key = codes.CodeKey(f"{OPERATOR}/{WRITER}", 1, self.dice.randbytes(32))
        kiosks = KIOSKS[: self.dice.randint(1, 2)]
        self.settings = Settings(
            operator=OPERATOR, writer=WRITER, epoch=EPOCH, code_key=key, kiosks=kiosks
        )
        self.disk = Disk(EPOCH)
        self.maps = 0
        self.inputs = 0
        self.commands = 0
        self.kinds: Counter[str] = Counter()
        self.screens: dict[str, Screen] = {}
        self.answers: dict[str, outputs.Answer] = {}
        self.visitors: dict[str, Visitor | None] = dict.fromkeys(kiosks)
        self.badges: dict[str, Badge] = {}
        self.slips: dict[str, Slip] = {}
        self.numbers: list[str] = []
        self.street = Street(self)
        self.cards = Cards(self, seed)
        self.installers = Installers(self, seed)
        self.engine: Heart | None = None
        self.shell = plan.shell(self)
        self.shell.dead = True
        self.booted_at = 0
        self.idle_until = 0
        self.watch = Watch(self, (*LOG, *DOORS, *PEOPLE, *MAPS))
        self.world = World(
            self.time, self.dice, self.swarm, small_bank(self.dice, self.swarm), self.watch
        )
        self._secrets = [
            codes.staff_secret(self.dice.randbytes(16), key.site)
            for _ in range(self.dice.randint(1, 3))
        ]
        self.watch.secret(*self._secrets)

    # --- what everybody uses ---------------------------------------------------------------------

    @property
    def up(self) -> bool:
        """Say whether the gateway's process runs."""
        return self.engine is not None

    def now(self) -> Now:
        """Return the moment as the gateway knows it."""
        return self.clocks.now()

    def say(self, line: str) -> None:
        """Add a line to the story."""
        if self.telling:
            self.story.append(f"{self.time.now / 1000:10.3f}  {line}")

    def fits(self, digits: str) -> str:
        """Return digits with this site's check digit behind them."""
        start = codes.damm_start(self.settings.code_key.site)
        return f"{digits}{codes.damm(digits, start)}"

    def deliver(self, given: Input) -> None:
        """Give the engine one input, and do what it asks, unless the process dies in between."""
        engine = self.engine
        if engine is None:
            return
        self.inputs += 1
        self.kinds[type(given).__name__] += 1
        if self.telling and not isinstance(given, inputs.CodeEntered | inputs.StaffCodeEntered):
            self.say(f"  > {_brief(given)}")
        self.watch.given(given)
        try:
            asked = engine.handle(given)
        except Exception as error:
            raise Violated("no_bug", f"{type(error).__name__}: {error}") from error
        self.carry_out(asked)
        self.watch.handled(given)

    def carry_out(self, asked: list[outputs.Output]) -> None:
        """Do what the engine asks, in order; the process may die between any two of them."""
        life = self.shell
        for output in asked:
            if self.swarm.hit("crash"):
                self.crash("is killed")
            if life.dead:
                return
            self.say(f"    < {_brief(output)}")
            self.watch.put_out(output)
            life.perform(output)
            if isinstance(output, outputs.Pulse) and self.swarm.hit("crash_at_pulse"):
                self.time.at(self.dice.randint(0, 1_500), self.crash, "is killed")

    def command(self, kind: type[inputs.Command], **more: Any) -> str:
        """Give a local command; return its token."""
        self.commands += 1
        token = f"t{self.commands}"
        told = {name: value for name, value in more.items() if name != "map"}
        self.say(f"command {kind.__name__} {told or ''}")
        self.deliver(kind(now=self.now(), token=token, **{"by": "sam"} | more))
        return token

    def answered(self, answer: outputs.Answer) -> None:
        """A command was answered."""
        self.answers[answer.token] = answer

    # --- log ------------------------------------------------------------------------------------

    def drafted(self, asked: Transaction) -> None:
        """The engine has written entries that are not durable yet."""
        for row in asked.rows:
            self.say(f"      {row.ref} {row.entry.decode()}")
        self.watch.drafted(asked)

    def durable(self, rows: list[Stored]) -> None:
        """These entries are durable: couriers hear of their badges, recipients of their codes."""
        key = self.settings.code_key
        for row in rows:
            match row.fact:
                case facts.GrantIssued(tag=tag):
                    for secret in self._secrets:
                        if b64encode(codes.staff_tag(key.key, key.site, secret)).decode() == tag:
                            self.badges[row.ref] = Badge(row.ref, secret)
                case facts.ParcelDeposited(digits=digits, counter=counter):
                    identity = identity_of(row.annex)
                    assert identity is not None
                    again = self.swarm.hit("reissued")
                    code = key.code(identity, counter + (1 if again else 0))
                    thing = self.world.boxes[row.fact.door or 0].inside
                    self.slips[row.ref] = Slip(row.ref, thing, code.short(digits), code.long)
                    self.watch.secret(code.short(digits), code.long)
                case _:
                    pass
        self.watch.durable(rows)
        for site in self.watch.kept.maps[self.maps :]:
            self.maps += 1
            self.world.mapped(site)

    def lost(self) -> None:
        """Whatever was not durable is gone."""
        self.watch.lost()

    # --- life and death of the process ------------------------------------------------------------

    def crash(self, how: str, downtime: int | None = None) -> None:
        """Stop the process at once; a power cut stops the boards too. It will start again."""
        if not self.up:
            return
        power = downtime is None and self.swarm.hit("power_cut")
        self.say(f"*** the gateway {'loses its power' if power else how}")
        self.engine = None
        self.shell.dead = True
        if downtime is None:
            downtime = self.dice.randint(500, 40_000)
            if self.swarm.hit("long_outage"):
                downtime = self.dice.randint(600_000, 5 * HOUR_MS)
        survived = self.disk.crash(self.dice)
        self.watch.lost()
        self.durable(survived)
        self.installers.bench = False
        if power:
            self.world.power_cut()
        if self.swarm.hit("forced_when_down"):
            self.time.at(downtime // 2, self.street.vandal)
        self.time.at(downtime, self.boot, power)

    def boot(self, power: bool) -> None:
        """Start the process: replay what is durable, then go on."""
        if self.engine is not None:
            return
        self.clocks.start(machine=power)
        self.booted_at = self.time.now
        self.say(f"*** the gateway starts (boot {self.clocks.boot})")
        self.shell = life = self.plan.shell(self)
        self.screens = dict.fromkeys(self.settings.kiosks, Screen("welcome"))
        self.world.all_off()
        self.watch.booted()
        try:
            self.engine, asked = self.plan.recover(self.disk.recovered(), self.settings, self.now())
        except Exception as error:
            raise Violated("no_bug", f"at start: {type(error).__name__}: {error}") from error
        self.carry_out(asked)
        self._prepare()
        self.cards.tell()
        self.deliver(inputs.ClockAnchored(now=self.now(), source="ntp"))
        if life.dead:
            return
        if self.swarm.hit("silent_after_start") and not self.installers.bench:
            self.silence(self.dice.choice(list(self.world.boards.values())))
        if self.installers.bench:
            self.installers.begin()
        else:
            life.begin()
        life.soon(HOUR_MS, self._hourly)

    def _prepare(self) -> None:
        """Whatever of the site is not on record yet: its epoch, its map, its couriers."""
        kinds = {type(row.fact) for row in self.disk.rows}
        if facts.EpochOpened not in kinds:
            self.command(inputs.EpochBegun, site=WRITER)
        if facts.ConfigSet not in kinds:
            self.command(inputs.MapImported, map=self.world.map)
        for number, secret in enumerate(self._secrets):
            if not any(badge.secret == secret for badge in self.badges.values()):
                key = self.settings.code_key
                tag = b64encode(codes.staff_tag(key.key, key.site, secret)).decode()
                self.command(inputs.CourierAdded, tenant="acme", label=f"van {number}", tag=tag)

    def _hourly(self) -> None:
        lanes = {"urgent": (self.disk.sizes[f"{EPOCH}:su"], b64encode(bytes(32)).decode())}
        self.deliver(inputs.LanesMeasured(now=self.now(), lanes=lanes))
        self.deliver(inputs.HealthMeasured(now=self.now(), values={"doors": 3}))
        self.shell.soon(HOUR_MS, self._hourly)

    # --- people and mischief ----------------------------------------------------------------------

    def left(self, kiosk: str) -> None:
        """Somebody has left a kiosk."""
        self.visitors[kiosk] = None

    def passer_by(self, box: Box) -> None:
        """Somebody sees an open door and pushes it shut; thieves come earlier."""
        if box.open and box.inside and self.swarm.hit("thief"):
            self.world.take(box)
        self.world.shut(box)

    def arrive(self) -> None:
        """Somebody comes to a kiosk that is free."""
        free = [kiosk for kiosk, visitor in self.visitors.items() if visitor is None]
        if free and self.up and not self.swarm.quiet and not self.installers.bench:
            kiosk = self.dice.choice(free)
            visitor = self._visitor(kiosk)
            if visitor is not None:
                self.visitors[kiosk] = visitor
                self.say(f"a {visitor.name} comes to {kiosk}")
                self.time.at(self.dice.randint(100, 3_000), visitor.act)
        gap = self.dice.randint(500, 40_000)
        if self.dice.random() < 0.05:
            gap = self.dice.randint(60_000, 4 * HOUR_MS)
            self.idle_until = self.time.now + gap
        self.time.at(gap, self.arrive)

    def _visitor(self, kiosk: str) -> Visitor | None:
        if self.swarm.hit("guesser"):
            return Guesser(self, kiosk)
        somebody = self.cards.visitor(kiosk)
        if somebody is not None:
            return somebody
        waiting = [slip for slip in self.slips.values() if not slip.got and slip.tries < 6]
        if self.swarm.hit("used_code"):
            waiting = [slip for slip in self.slips.values() if slip.got] or waiting
        if waiting and self.dice.random() < 0.65:
            return Recipient(self, kiosk, self.dice.choice(waiting))
        if not self.badges:
            return None
        batch = [self.new_parcel() for _ in range(self.dice.randint(1, 4))]
        return Courier(self, kiosk, self.dice.choice(list(self.badges.values())), batch)

    def new_parcel(self) -> str:
        """Return a parcel that nobody has seen yet: its number, and which thing it is."""
        number = f"CANARY{self.dice.randint(10**9, 10**10 - 1)}"
        self.numbers.append(number)
        self.watch.secret(number)
        return f"{number}#{len(self.numbers)}"

    def mischief(self) -> None:
        """Once in a while something goes wrong, or stops going wrong."""
        self.watch.look()
        if self.up and not self.swarm.quiet:
            self._mischief()
        soon = (2_000, 25_000) if self.time.now >= self.idle_until else (60_000, 1_200_000)
        self.time.at(self.dice.randint(*soon), self.mischief)

    def _mischief(self) -> None:
        swarm, dice = self.swarm, self.dice
        if swarm.hit("crash"):
            self.crash("is killed")
        if swarm.hit("board_silent"):
            box = self.street.somewhere()
            self.silence(self.world.boards[dice.choice((box.lock_board, box.switch_board))])
        if swarm.hit("disk_full") and not self.disk.full:
            self.say("the disk is full")
            self.disk.full = True
            self.time.at(dice.randint(500, 300_000), self.disk_has_space)
        if swarm.hit("forced"):
            self.street.vandal()
        if self.street.ajar() and swarm.hit("thief"):
            self.street.thief()
        if swarm.hit("support"):
            self.street.support()
        if swarm.hit("nonsense"):
            self.street.nonsense()
        if swarm.hit("remapped") and not self.installers.bench:
            self.command(inputs.MapImported, map=self.world.map)
        if len(self.badges) > 1 and swarm.hit("revoked"):
            self.revoke(dice.choice(list(self.badges)))
        if self.cards.some:
            self.cards.deny()
        if self.installers.some:
            self.installers.come()
        for line in (self.world.wear(), self.clocks.disturb()):
            if line:
                self.say(line)
        if dice.random() < 0.02:
            alarm = dice.choice(("disk.low", "clock.floor"))
            standing = dice.random() < 0.5
            self.deliver(inputs.Trouble(now=self.now(), alarm=alarm, standing=standing))
        if self.slips and dice.random() < 0.02:
            self.command(inputs.AnnexEraseAsked, ref=dice.choice(list(self.slips)))
        if dice.random() < 0.03:
            self.deliver(inputs.ClockAnchored(now=self.now(), source="ntp"))

    def silence(self, board: Board) -> None:
        """A board stops answering, for a moment or for minutes."""
        if board.dead_since is None:
            self.say(f"board {board.name} falls silent")
            board.dead_since = self.time.now
            self.shell.soon(self.dice.randint(3_000, 3_600), self.shell.silent, board)
            self.time.at(self.dice.randint(500, 400_000), self.board_back, board.name)

    def revoke(self, grant: str) -> None:
        """End a courier's right."""
        self.command(inputs.CourierRemoved, grant=grant)

    def board_back(self, name: str) -> None:
        """A board answers again."""
        board = self.world.boards[name]
        if board.dead_since is not None:
            self.say(f"board {name} is back")
            board.dead_since = None
            self.shell.soon(self.dice.randint(10, 200), self.shell.back, board)

    def disk_has_space(self) -> None:
        """Somebody has made room on the disk."""
        self.disk.full = False

    # --- the end --------------------------------------------------------------------------------

    def settle(self) -> None:
        """Everybody goes home, what is broken is mended, and time passes."""
        self.say("--- everybody goes home")
        self.swarm.quiet = True
        self.disk_has_space()
        for name in self.world.boards:
            self.board_back(name)
        self.installers.give_back()
        if not self.up:
            self.boot(power=False)
        for box in self.world.boxes.values():
            if box.open and self.dice.random() < 0.8:
                self.time.at(self.dice.randint(1_000, 90_000), self.world.shut, box)


def _brief(value: object) -> str:
    text = repr(value)
    return text if len(text) < 300 else f"{text[:300]}..."
