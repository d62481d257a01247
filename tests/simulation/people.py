"""The people of a history: recipients, couriers, guessers, thieves, vandals and support.

Each looks at the screen and at the doors, and does one thing at a time. Most are honest and in a
hurry; the swarm decides who mistypes, walks away, lies, or leaves a door open.
"""

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from typing_extensions import override

from gateway.core import inputs
from gateway.core.inputs import Button
from sync.facts import SIZES
from sync.sitemap import SiteMap

if TYPE_CHECKING:
    from gateway.core.screen import Screen
    from tests.simulation.site import Site
    from tests.simulation.world import Box


@dataclass(slots=True)
class Slip:
    """What a recipient was told: the code of one parcel, short and long."""

    parcel: str
    thing: str
    short: str
    long: str
    tries: int = 0
    got: bool = False


@dataclass(slots=True)
class Badge:
    """What a courier carries."""

    grant: str
    secret: str


class Visitor:
    """Somebody at a kiosk. `act` does the next thing and plans the one after."""

    patience = 30

    def __init__(self, site: "Site", kiosk: str) -> None:
        self.site, self.kiosk = site, kiosk
        self.dice, self.swarm, self.world = site.dice, site.swarm, site.world
        self.name = type(self).__name__.lower()

    def act(self) -> None:
        """Do one thing, then wait a little; leave when patience is over or the business is done."""
        self.patience -= 1
        apart = self.swarm.quiet or self.site.installers.bench
        if apart or self.patience <= 0 or self.swarm.hit("walks_away"):
            self.leave()
            return
        if self.swarm.hit("wrong_button"):
            self.press(self.dice.choice(list(Button)), self.dice.choice(("", "1", "M", "S low")))
        elif not self.move(self.site.screens[self.kiosk]):
            self.leave()
            return
        self.site.time.at(self.dice.randint(300, self.slowness), self.act)

    slowness = 5_000

    def move(self, screen: "Screen") -> bool:
        """Do what this screen asks for; False when there is nothing left to do here."""
        raise AssertionError

    def leave(self) -> None:
        """Step aside; doors stay as they are until somebody pushes them shut."""
        self.site.left(self.kiosk)

    # --- hands --------------------------------------------------------------------------------

    def press(self, button: Button, argument: str = "") -> None:
        self.site.say(f"the {self.name} at {self.kiosk} presses {button.value} {argument}")
        self.site.deliver(
            inputs.ButtonPressed(
                now=self.site.now(), kiosk=self.kiosk, button=button, argument=argument
            )
        )

    def type_code(self, digits: str, why: str) -> None:
        self.site.say(f"the {self.name} at {self.kiosk} types {why}")
        for _ in range(2 if self.swarm.hit("typed_twice") else 1):
            self.site.deliver(
                inputs.CodeEntered(now=self.site.now(), kiosk=self.kiosk, digits=digits)
            )

    def box_of(self, screen: "Screen") -> "Box | None":
        """Return the compartment this screen speaks of, if its door is really open."""
        box = self.world.boxes.get(screen.door or 0)
        return box if box is not None and box.open else None

    def shut(self, box: "Box") -> None:
        """Push the door shut, or leave it to whoever comes by."""
        if self.swarm.hit("left_ajar"):
            self.site.time.at(self.dice.randint(5_000, 900_000), self.site.passer_by, box)
        else:
            self.world.shut(box)


class Recipient(Visitor):
    """Comes with a slip. What is on it may have been used before."""

    def __init__(self, site: "Site", kiosk: str, slip: Slip) -> None:
        super().__init__(site, kiosk)
        self.slip = slip
        self.slip.tries += 1
        self.typed = 0
        self.opened = 0
        self.patience = 25

    @override
    def move(self, screen: "Screen") -> bool:
        box = self.box_of(screen)
        stays = True
        match screen.name:
            case "collect.enter":
                stays = self.enter(screen)
            case "collect.open" | "collect.ajar" | "collect.opening" | "collect.pull" if box:
                stays = self.at_door(box)
            case "collect.checking" | "collect.opening" | "collect.pull" | "collect.open":
                pass
            case "collect.thanks" | "collect.left" | "collect.unsure":
                stays = self.after(screen)
            case "collect.fault" | "help":
                stays = self.swarm.hit("again")
                if stays:
                    self.press(Button.RETRY)
            case "out_of_service":
                stays = False
            case "welcome":
                stays = self.begin(screen)
            case _:
                self.press(self.dice.choice((Button.HOME, Button.STAY)))
        return stays

    def begin(self, screen: "Screen") -> bool:
        if self.typed:
            return False
        if self.dice.random() < 0.1:
            return self.enter(screen)
        self.press(Button.COLLECT)
        return True

    def enter(self, screen: "Screen") -> bool:
        if self.typed >= 4:
            return False
        self.typed += 1
        if self.swarm.hit("garbage"):
            text = self.dice.choice(("", "12", "abc", "1" * 64, "٣٤٥", "1234-5678 90", "0" * 16))
            self.type_code(text, "something that is no code")
        elif self.swarm.hit("mistyped"):
            place = self.dice.randrange(len(self.slip.short))
            digit = (int(self.slip.short[place]) + self.dice.randint(1, 9)) % 10
            typed = f"{self.slip.short[:place]}{digit}{self.slip.short[place + 1 :]}"
            self.type_code(typed, "the code with one digit wrong")
        elif screen.why in {"code.long_needed", "code.wait"} or self.dice.random() < 0.1:
            self.type_code(self.slip.long, f"the long code of {self.slip.thing}")
        else:
            self.type_code(self.slip.short, f"the code of {self.slip.thing}")
        return True

    def at_door(self, box: "Box") -> bool:
        self.opened += 1
        if self.opened == 1 and self.swarm.hit("pushed_shut"):
            self.world.shut(box)
        elif box.inside and not self.swarm.hit("left_behind"):
            if self.world.take(box) == self.slip.thing:
                self.slip.got = True
            self.site.time.at(self.dice.randint(200, 8_000), self.shut, box)
        else:
            self.shut(box)
        return True

    def after(self, screen: "Screen") -> bool:
        wants = screen.name == "collect.left" and not self.slip.got
        if (wants and self.opened < 4) or self.swarm.hit("again"):
            self.press(Button.OPEN_AGAIN)
            return True
        return self.dice.random() < 0.3


class Courier(Visitor):
    """Comes with a badge and a batch."""

    slowness = 4_000

    def __init__(self, site: "Site", kiosk: str, badge: Badge, batch: list[str]) -> None:
        super().__init__(site, kiosk)
        self.badge, self.batch = badge, batch
        self.hand = ""
        self.mine: list[str] = []
        self.patience = 20 + 8 * len(batch)
        self.entered = 0
        self.taking = False
        self.closing: Box | None = None

    @override
    def move(self, screen: "Screen") -> bool:
        box = self.box_of(screen)
        match screen.name:
            case "welcome":
                if not self.hand and not self.batch:
                    return False
                self.press(Button.DELIVER)
            case "deliver.enter":
                return self.enter()
            case "deliver.scan":
                return self.scan()
            case "deliver.again":
                another = self.dice.random() < 0.5
                self.press(Button.ANOTHER_PIECE if another else Button.NO)
                self.hand = self.hand if another else ""
            case "deliver.size":
                self.choose(screen)
            case "deliver.check":
                empty = box is None or not box.inside
                self.press(Button.YES if empty != self.swarm.hit("lies") else Button.NO)
            case "deliver.open" | "deliver.ajar" | "deliver.opening" | "deliver.pull" if box:
                self.at_door(box)
            case "deliver.opening" | "deliver.pull" | "deliver.open" | "collect.checking":
                pass
            case "deliver.confirm":
                inside = not self.hand
                self.press(Button.YES if inside != self.swarm.hit("lies") else Button.NO)
            case "deliver.empty":
                self.press(self.dice.choice((Button.RETRY, Button.TOO_SMALL, Button.NEXT)))
            case "deliver.fault":
                self.press(self.dice.choice((Button.RETRY, Button.RETRY, Button.NEXT)))
            case "deliver.mine":
                self.pick_mine(screen)
            case "deliver.took":
                self.press(Button.NEXT)
            case "out_of_service":
                return False
            case _:
                self.press(self.dice.choice((Button.HOME, Button.STAY, Button.NEXT)))
        return True

    def enter(self) -> bool:
        self.entered += 1
        if self.entered > 4:
            return False
        secret = self.badge.secret
        if self.swarm.hit("wrong_secret"):
            secret = self.dice.choice((secret[:-1], secret[::-1], "", self.site.fits("7" * 15)))
        self.site.say(f"the courier at {self.kiosk} types a secret")
        self.site.deliver(
            inputs.StaffCodeEntered(now=self.site.now(), kiosk=self.kiosk, digits=secret)
        )
        return True

    def scan(self) -> bool:
        if self.hand and self.hand in self.mine:
            self.hand = ""
        if self.mine and self.swarm.hit("take_back"):
            self.press(Button.MINE)
            return True
        if not self.hand:
            if not self.batch:
                self.press(Button.HOME)
                return False
            self.hand = self.batch.pop()
        number = self.hand.partition("#")[0]
        if self.swarm.hit("same_number") and self.site.numbers:
            number = self.dice.choice(self.site.numbers)
        if self.swarm.hit("garbage"):
            number = self.dice.choice(("", "?", "X" * 65, "a b", "ÄÖ"))
        self.site.say(f"the courier at {self.kiosk} scans a parcel")
        salt = self.dice.randbytes(16)
        self.site.deliver(
            inputs.ParcelScanned(now=self.site.now(), kiosk=self.kiosk, tracking=number, salt=salt)
        )
        return True

    def choose(self, screen: "Screen") -> None:
        free = [size for size, count in screen.sizes if count]
        if not free and self.dice.random() < 0.7:
            self.press(Button.HOME)
            return
        if self.swarm.hit("revoked_meanwhile"):
            self.site.time.at(self.dice.randint(5, 5_000), self.site.revoke, self.badge.grant)
        size = self.dice.choice(free or SIZES)
        self.press(Button.SIZE, f"{size} low" if self.dice.random() < 0.15 else size)

    def at_door(self, box: "Box") -> None:
        if box is self.closing:
            self.closing = None  # once more than once: somebody else had it open again
            return
        self.closing = box
        if self.taking and box.inside:
            self.taking = False
            self.batch.append(self.world.take(box))
        elif self.hand and not box.inside and self.swarm.hit("too_small"):
            self.press(Button.TOO_SMALL)
        elif self.hand and self.is_mine(box) and not self.swarm.hit("nothing_put"):
            self.world.put(box, self.hand, thin=self.swarm.hit("thin_parcel"))
            self.mine.append(self.hand)
            self.hand = ""
        self.site.time.at(self.dice.randint(200, 6_000), self.shut, box)

    def is_mine(self, box: "Box") -> bool:
        """Return whether this empty compartment was opened for this courier: they see which."""
        intent = self.site.watch.tale.intents.get(box.cause)
        if intent is None or box.inside:
            return False
        return intent.fact.purpose == "deposit" and intent.fact.by == self.badge.grant

    def pick_mine(self, screen: "Screen") -> None:
        if screen.doors and self.dice.random() < 0.9:
            self.taking = True
            self.press(Button.TAKE_BACK, str(self.dice.choice(screen.doors)))
        else:
            self.press(Button.NEXT)


class Guesser(Visitor):
    """Tries codes that fit the check digit, and now and then one that is really somebody's."""

    slowness = 3_000

    def __init__(self, site: "Site", kiosk: str) -> None:
        super().__init__(site, kiosk)
        self.patience = site.dice.choice((6, 20, 60))

    @override
    def move(self, screen: "Screen") -> bool:
        if screen.name == "out_of_service":
            return False
        if screen.name == "collect.open":
            box = self.box_of(screen)
            if box is not None and box.inside:
                self.world.take(box)
            return True
        if screen.name != "collect.enter" and self.dice.random() < 0.8:
            self.press(Button.COLLECT if screen.name == "welcome" else Button.HOME)
            return True
        slips = [slip for slip in self.site.slips.values() if not slip.got]
        if slips and self.dice.random() < 0.04:
            slip = self.dice.choice(slips)
            self.type_code(slip.short, f"a lucky guess of {slip.thing}")
            return True
        length = 15 if screen.why == "code.long_needed" and self.dice.random() < 0.5 else 8
        guess = "".join(self.dice.choices("0123456789", k=length))
        self.type_code(self.site.fits(guess), "a guess")
        return True


@dataclass(slots=True)
class Street:
    """Who comes by without using a kiosk."""

    site: "Site"
    opened: set[int] = field(default_factory=set)

    def vandal(self) -> None:
        """Force a door; perhaps take what is inside, perhaps push it shut again."""
        site, box = self.site, self.somewhere()
        full = [box for box in site.world.boxes.values() if box.inside]
        if full and not site.up:
            box = site.dice.choice(full)  # a dark locker is worth a visit
        if box.open:
            return
        site.world.swing_open(box, "force")
        if box.inside and site.dice.random() < (0.5 if site.up else 0.9):
            site.time.at(site.dice.randint(300, 4_000), self._rob, box)
        if site.dice.random() < 0.7:
            site.time.at(site.dice.randint(4_100, 60_000), site.world.shut, box)
        else:
            site.time.at(site.dice.randint(60_000, 900_000), site.passer_by, box)

    def _rob(self, box: "Box") -> None:
        if box.open and box.inside:
            self.site.world.take(box)
            self.site.swarm.struck["robbed"] += 1

    def somewhere(self) -> "Box":
        """Return any compartment, often one that is being used."""
        boxes, dice = self.site.world.boxes, self.site.dice
        shown = [screen.door for screen in self.site.screens.values() if screen.door in boxes]
        if shown and dice.random() < 0.4:
            return boxes[dice.choice(shown) or 0]
        lately = self.site.time.now - 60_000
        busy = [box for box in boxes.values() if box.changed_at > lately]
        return dice.choice(busy if busy and dice.random() < 0.5 else list(boxes.values()))

    def nonsense(self) -> None:
        """Something that no healthy part of this machine sends."""
        site, dice = self.site, self.site.dice
        now = site.now()
        match dice.randrange(10):
            case 0:
                site.deliver(inputs.DoorSeen(now=now, door=99, open=True))
            case 1:
                site.deliver(inputs.OccupancySeen(now=now, door=99, occupied=True))
            case 2:
                done = inputs.PulseDone(now=now, intent="e1-9f2c01ab:sc0", door=1, result="done")
                site.deliver(dice.choice((done, replace(done, door=99))))
            case 3:
                press = inputs.ButtonPressed(now=now, kiosk="nobody", button=Button.COLLECT)
                site.deliver(press)
            case 4:
                site.command(inputs.SupportOpens, door=99, reason="x", case="y")
            case 5:
                site.command(inputs.ServiceSet, door=1, enabled=True, reason="\n" * 4_000)
            case 6:
                site.command(inputs.CourierRemoved, grant="e1-9f2c01ab:sc0")
            case 7:
                site.command(inputs.EpochBegun, site="site/0043")
            case 8:
                site.command(inputs.MapImported, map=SiteMap())
            case _:
                site.command(inputs.SupportChecked, door=99, occupied=False)
                site.command(inputs.AnnexEraseAsked, ref="e1-9f2c01ab:sc0")

    def ajar(self) -> "list[Box]":
        """Return the doors that stand open with something inside."""
        return [box for box in self.site.world.boxes.values() if box.open and box.inside]

    def thief(self) -> None:
        """Take something out of a door that stands open."""
        self.site.world.take(self.site.dice.choice(self.ajar()))

    def support(self) -> None:
        """Somebody with access to the machine helps: opens, looks, takes out of service."""
        site, dice = self.site, self.site.dice
        box = self.somewhere()
        number = box.number
        kind = dice.random()
        if kind < 0.4:
            site.command(
                inputs.SupportOpens, door=number, reason="customer calls", case=f"case-{number}"
            )
            site.time.at(dice.randint(4_000, 30_000), self._support_at_door, box)
        elif kind < 0.7:
            occupied = bool(box.inside) != site.swarm.hit("lies")
            site.command(inputs.SupportChecked, door=number, occupied=occupied)
        elif site.swarm.hit("out_of_service"):
            site.command(inputs.ServiceSet, door=number, enabled=False, reason="cleaning")
        else:
            box.jammed = box.burnt = False
            box.stubborn = 0
            site.command(inputs.ServiceSet, door=number, enabled=True, reason="repaired")

    def _support_at_door(self, box: "Box") -> None:
        if not box.open:
            return
        if box.inside and self.site.dice.random() < 0.3:
            self.site.world.take(box)
        self.site.time.at(self.site.dice.randint(500, 60_000), self.site.world.shut, box)
