"""Who comes with a capability: people with QR codes, good ones and others, at a single site.

Half of the histories have them (odd seeds). A card is shown when it is new, again when it was used,
when it is over, denied or taken back, and at a site that it was not issued for.
"""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from certs import capability
from certs.capability import Action, Capability
from certs.keys import SigningKey
from gateway.core import inputs
from gateway.core.inputs import Button
from tests.simulation.clocks import EPOCH_MS
from tests.simulation.people import Badge, Courier, Recipient, Slip, Visitor
from tests.stage import GRANTS

if TYPE_CHECKING:
    from gateway.core.screen import Screen
    from tests.simulation.site import Site
    from tests.simulation.world import Box

STRANGER = SigningKey("lockers.example/grants", bytes(32))
HERE, ELSEWHERE = "lockers.example/site/0042", "lockers.example/site/0043"
SHARE = 0.35
"""Of those who come, how many have a card where there are any."""
OLD = 0.4
"""Of those, how many have one that was shown before."""
ENDS_S = (-10, 60, 900, 86_400, 86_400, 86_400)
OFTEN = {
    Action.COURIER: 2, Action.COLLECT: 6, Action.DEPOSIT: 3, Action.RETURN: 3, Action.SERVICE: 3,
}  # fmt: skip
ONCE = {Action.COLLECT, Action.DEPOSIT, Action.RETURN}


@dataclass(slots=True)
class Card:
    """What somebody carries, and what it really is. `parcel` is the one that it collects."""

    text: str
    cti: str
    action: Action
    ends_ms: int
    good: bool = True
    parcel: str = ""


class Cards:
    """All the cards of a history, and which of them the gateway was told to deny."""

    def __init__(self, site: "Site", seed: int) -> None:
        self.site, self.dice = site, Random(f"cards {seed}")
        self.some = seed % 2 == 1
        self.all: dict[str, Card] = {}
        self.denied: set[str] = set()

    def tell(self) -> None:
        """The shell says whom to believe: at a start, and when a list of denials came."""
        told = inputs.TrustTold(
            now=self.site.now(), signers=(GRANTS.verifier,), denied=frozenset(self.denied),
            number=len(self.denied),
        )  # fmt: skip
        self.site.deliver(told)

    def deny(self) -> None:
        """Somebody lost their card."""
        if self.all and self.dice.random() < 0.04:
            self.denied.add(self.dice.choice(list(self.all)))
            self.site.swarm.struck["card_denied"] += 1
            self.tell()
        elif self.dice.random() < 0.01:
            rights = [ref for ref in self.site.watch.tale.accepted if not self._is_denied(ref)]
            if rights:
                self.site.revoke(self.dice.choice(rights))

    def _is_denied(self, ref: str) -> bool:
        return self.site.watch.tale.accepted[ref].cti in self.denied

    def visitor(self, kiosk: str) -> Visitor | None:
        """Return somebody with a card, or None: then somebody comes without."""
        dice = self.dice
        if not self.some or dice.random() >= SHARE:
            return None
        if self.all and dice.random() < OLD:
            card = dice.choice(list(self.all.values()))
            self.site.swarm.struck["card_again"] += 1
        else:
            found = self._issue()
            if found is None:
                return None
            card = found
        match card.action:
            case Action.COLLECT:
                return Delegate(self.site, kiosk, self._slip(card), card)
            case Action.SERVICE:
                return Technician(self.site, kiosk, card)
            case _:
                return Bringer(self.site, kiosk, card, self._batch(card))

    def _slip(self, card: Card) -> Slip:
        return self.site.slips[card.parcel]

    def _batch(self, card: Card) -> list[str]:
        return [self.site.new_parcel() for _ in range(1 if card.action in ONCE else 3)]

    def _issue(self) -> Card | None:
        dice, site = self.dice, self.site
        (action,) = dice.choices(*zip(*OFTEN.items(), strict=True))
        claims: dict[str, Any] = {}
        parcel = ""
        if action is Action.COLLECT:
            waiting = [slip.parcel for slip in site.slips.values() if not slip.got]
            if not waiting:
                return None
            claims["object"] = parcel = dice.choice(waiting)
        elif action is not Action.SERVICE:
            claims["subject"] = "acme"
        if action is Action.DEPOSIT:
            claims["room"] = dice.choice((None, "S", "M"))
        cti = (len(self.all) + 1).to_bytes(8, "big")
        ends_s = (EPOCH_MS + site.time.now) // 1000 + dice.choice(ENDS_S)
        foreign, forged = dice.random() < 0.05, dice.random() < 0.05
        given = Capability(
            audience=ELSEWHERE if foreign else HERE, action=action, cti=cti, not_before_s=0,
            expires_s=ends_s, **claims,
        )  # fmt: skip
        text = capability.to_text(capability.sign(given, STRANGER if forged else GRANTS))
        good = not foreign and not forged
        card = Card(text, cti.hex(), action, ends_s * 1000, good=good, parcel=parcel)
        self.all[card.cti] = card
        site.watch.secret(text)
        return card


class _Shows(Visitor):
    """What everybody with a card does: hold it to the scanner."""

    card: Card

    def show(self) -> None:
        self.site.say(f"the {self.name} at {self.kiosk} shows {self.card.action.name}")
        for _ in range(2 if self.swarm.hit("typed_twice") else 1):
            self.site.deliver(
                inputs.CapabilityScanned(
                    now=self.site.now(), kiosk=self.kiosk, text=self.card.text,
                    salt=self.dice.randbytes(16),
                )
            )  # fmt: skip


class Delegate(Recipient, _Shows):
    """A recipient, or whom they sent: with a card in place of the code."""

    def __init__(self, site: "Site", kiosk: str, slip: Slip, card: Card) -> None:
        super().__init__(site, kiosk, slip)
        self.card = card

    @override
    def begin(self, screen: "Screen") -> bool:
        return self.enter(screen)

    @override
    def enter(self, screen: "Screen") -> bool:
        if self.typed >= 3:
            return False
        self.typed += 1
        if self.typed > 1 and self.swarm.hit("used_code"):
            self.type_code(self.slip.short, f"the code of {self.slip.thing}")  # both at once
        else:
            self.show()
        return True


class Bringer(Courier, _Shows):
    """A courier, or somebody with one parcel: by a card."""

    def __init__(self, site: "Site", kiosk: str, card: Card, batch: list[str]) -> None:
        super().__init__(site, kiosk, Badge("", ""), batch)
        self.card = card

    @override
    def move(self, screen: "Screen") -> bool:
        match screen.name:
            case "welcome" | "deliver.enter" | "capability.refused":
                return self.enter()
            case "deliver.done":
                taking = self.mine and self.swarm.hit("take_back")
                self.press(Button.MINE if taking else Button.HOME)
                return True
            case _:
                return super().move(screen)

    @override
    def enter(self) -> bool:
        self.entered += 1
        if self.entered > 3 or not (self.hand or self.batch):
            return False
        if not self.hand:
            self.hand = self.batch.pop()
        self.show()
        return True

    @override
    def is_mine(self, box: "Box") -> bool:
        tale = self.site.watch.tale
        intent = tale.intents.get(box.cause)
        if intent is None or box.inside or intent.fact.purpose != "deposit":
            return False
        right = tale.accepted.get(intent.fact.by)
        return right is not None and right.cti == self.card.cti


class Technician(_Shows):
    """Comes to look after the machine, and tries what they may not."""

    def __init__(self, site: "Site", kiosk: str, card: Card) -> None:
        super().__init__(site, kiosk)
        self.card = card
        self.shown = 0
        self.patience = site.dice.choice((6, 10, 20))

    @override
    def move(self, screen: "Screen") -> bool:
        box = self.box_of(screen)
        match screen.name:
            case "service.menu":
                full = [box.number for box in self.world.boxes.values() if box.inside]
                doors = full if full and self.dice.random() < 0.6 else (*self.world.boxes, 99)
                self.press(Button.DOOR, str(self.dice.choice(doors)))
            case "service.door":
                deeds = (Button.TEST, Button.EMPTY, Button.EMPTY, Button.OCCUPIED, Button.NEXT)
                flags = (Button.ENABLE, Button.ENABLE, Button.DISABLE)
                self.press(self.dice.choice(deeds if self.dice.random() < 0.8 else flags))
            case "service.opening" | "service.open" if box:
                self.site.time.at(self.dice.randint(200, 8_000), self.shut, box)
            case "service.opening" | "service.open":
                pass
            case "out_of_service":
                return False
            case _:
                self.shown += 1
                if self.shown > 2:
                    return False
                self.show()
        return True
