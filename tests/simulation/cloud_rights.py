"""Capabilities in the histories of sites and a hub: given out, shown, shown again, denied, revoked.

Somebody stands before a locker with a QR code that this site has heard of or not. What a checker
says is told from the stored entries and from what is really behind the doors, not from the book.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from random import Random
from typing import TYPE_CHECKING, Any

from certs import capability
from certs.capability import Action, Capability
from gateway.core.inputs import Button, CapabilityScanned, ParcelScanned
from sync import entry, facts
from sync.moment import Moment
from tests.simulation.cloud_site import GRACE_MS, OPERATOR, WALL_MS, CloudSite, read_all
from tests.stage import GRANTS

if TYPE_CHECKING:
    from tests.simulation.cloud import Cloud

CHANCE = 0.6
ENDS_MS = (-1_000, 200_000, 3_600_000, 3_600_000)
OFTEN = {Action.COURIER: 1, Action.COLLECT: 3, Action.RETURN: 1, Action.RESERVATION: 6}
ONCE = {Action.COLLECT, Action.RETURN, Action.RESERVATION}


@dataclass(slots=True)
class Card:
    """What somebody carries: the text, and what it says."""

    text: str
    cti: str
    action: Action
    number: int
    ends_ms: int
    grant: str
    tracking: str = ""
    object: str = ""


class Carried:
    """Everybody's QR codes. `denied` is the list of each site, as its shell has it."""

    def __init__(self, cloud: "Cloud", seed: int) -> None:
        self.cloud, self.dice = cloud, Random(f"rights {seed}")
        self.cards: list[Card] = []
        self.shown = 0
        self.some = seed % 2 == 1  # the other histories have typed secrets only
        self.denied: dict[int, set[str]] = {}

    def perhaps(self, site: CloudSite, visit: Callable[..., None]) -> None:
        """Now and then: somebody gets one, shows one, or one is taken back."""
        dice = self.dice
        if not self.some or dice.random() >= CHANCE:
            return
        deeds = (self.issue, None, self.deny, self.revoke)
        deed = dice.choices(deeds, (5, 9, 1, 1))[0]
        if deed is not None:
            deed(site)
        elif self.cards and site.up:
            fresh = [card for card in self.cards[-4:] if card.number == site.number]
            some = dice.choice(fresh if fresh and dice.random() < 0.7 else self.cards)
            self.cloud.say(f"{site.writer} is shown {some.action.name} {some.cti}")
            visit(self.cloud, site, partial(self.show, site, some))

    # --- at the hub -----------------------------------------------------------------------------

    def issue(self, site: CloudSite) -> None:
        """The hub gives a right out; the site hears of the grant when a link comes, or never."""
        dice, cloud = self.dice, self.cloud
        (action,) = dice.choices(*zip(*OFTEN.items(), strict=True))
        more = self._about(site, action)
        if more is None:
            return
        claims, about = more
        number = len(self.cards) + 1
        ends_ms = WALL_MS + cloud.now + dice.choice(ENDS_MS)
        given = Capability(
            audience=f"{OPERATOR}/{site.writer}", action=action, cti=number.to_bytes(8, "big"),
            not_before_s=0, expires_s=ends_ms // 1000, **claims,
        )  # fmt: skip
        text = capability.to_text(capability.sign(given, GRANTS))
        grant = self._says(
            site,
            facts.GrantIssued(
                grant=action.name.lower(), tenant="acme", label="", tag="", key_version=0,
                until_ms=ends_ms // 1000 * 1000, cti=given.cti.hex(),
            ),
        )  # fmt: skip
        ends_ms = ends_ms // 1000 * 1000
        self.cards.append(Card(text, given.cti.hex(), action, site.number, ends_ms, grant, **about))

    def _about(
        self, site: CloudSite, action: Action
    ) -> tuple[dict[str, Any], dict[str, str]] | None:
        if action is Action.COURIER:
            return {"subject": "acme"}, {}
        if action is Action.RETURN:
            return {"subject": "acme", "room": self.dice.choice((None, "S", "M"))}, {}
        if action is Action.COLLECT:
            named = sorted((one.ref, one.identity) for one in site.engine.book.live())
            told = [(ref, text) for ref, text in named if text and text.split("/")[1] in site.codes]
            if not told:
                return None
            ref, text = self.dice.choice(told)
            return {"object": ref}, {"tracking": text.split("/")[1]}
        promised = [
            (ref, size, tracking)
            for ref, (number, size, tracking) in sorted(self.cloud.watch.promised.items())
            if number == site.number and tracking not in self.cloud.brought
        ]
        if not promised:
            return None
        ref, size, tracking = self.dice.choice(promised)
        claims = {"object": ref, "room": size, "subject": "acme"}
        return claims, {"tracking": tracking, "object": ref}

    def _says(self, site: CloudSite, fact: Any) -> str:
        hub = self.cloud.hubs[site.number]
        log = hub.origin(facts.lane_of(fact).value)
        size = len(hub.disk.held[log].entries)
        data = entry.compose(facts.to_object(fact), at=Moment(1, self.cloud.now))
        hub.write(facts.lane_of(fact).value, size, [data])
        return f"{hub.epoch}:h{facts.lane_of(fact).letter}{size}"

    def deny(self, site: CloudSite) -> None:
        """A list of denials comes in, on a link or with a visitor."""
        for card in self.cards[-3:]:
            self.denied.setdefault(site.number, set()).add(card.cti)
            self.cloud.struck["rights.denied"] += 1
        for one in self.cloud.sites:
            if one.number == site.number and one.up:  # the twin of a clone hears it too (seed 1121)
                one.tell_trust()

    def revoke(self, site: CloudSite) -> None:
        """The hub ends a right; the site hears of it when a link comes."""
        mine = [card for card in self.cards if card.number == site.number]
        if mine:
            card = self.dice.choice(mine)
            self._says(site, facts.GrantRevoked(of=card.grant, by="ada"))
            self.cloud.struck["rights.revoked"] += 1

    # --- at the locker --------------------------------------------------------------------------

    def show(self, site: CloudSite, card: Card) -> None:
        """Somebody holds a QR code to the scanner, and does what follows."""
        why = self._refusable(site, card)
        site.home()
        before = len(site.pulses())
        site.send(CapabilityScanned(now=site.now, kiosk="main", text=card.text, salt=bytes(16)))
        tracking = card.tracking or f"R{card.cti.upper()}"
        if card.action is Action.COURIER:
            self.shown += 1
            tracking = f"QR{self.shown}"
        if card.action is not Action.COLLECT:
            self._bring(site, tracking, before)
        pulse = site.new_pulse(before)
        self.cloud.watch.check(
            "07_refused", holds=not (why and pulse),
            why=f"{site.writer} opens for {card.action.name} {card.cti}: {why}",
        )  # fmt: skip
        if pulse is None:
            site.home()
            return
        self.cloud.struck[f"rights.{card.action.name.lower()}"] += 1
        if card.action is Action.COLLECT:
            self._take_out(site, card, pulse.door)
            return
        heard = card.action is not Action.RESERVATION or site.engine.book.known(card.object)
        self._put_in(site, tracking, pulse.door)
        if card.action is Action.RESERVATION:
            self.cloud.struck[f"rights.{'heard' if heard else 'unheard'}"] += 1
            self.cloud.watch.check(
                "11_charged", holds=self._is_ended(site, card.object),
                why=f"{site.writer} kept the promise {card.object}, and does not say so",
            )  # fmt: skip

    def _is_ended(self, site: CloudSite, promise: str) -> bool:
        ends = (facts.ReservationClosed, facts.CapacityReleased)
        return any(isinstance(one[3], ends) and one[3].of == promise for one in read_all(site.disk))

    def _bring(self, site: CloudSite, tracking: str, before: int) -> None:
        if site.screen().name == "deliver.scan" and tracking not in self.cloud.brought:
            site.send(ParcelScanned(now=site.now, kiosk="main", tracking=tracking, salt=bytes(16)))
        if len(site.pulses()) == before and site.screen().name == "deliver.size":
            site.press(Button.SIZE, "S")

    def _take_out(self, site: CloudSite, card: Card, door: int) -> None:
        self.cloud.watch.opened(site, door, card.tracking)
        site.inside.pop(door, None)
        site.opens()
        site.shut(door, occupied=False)
        site.after(GRACE_MS)

    def _put_in(self, site: CloudSite, tracking: str, door: int) -> None:
        self.cloud.watch.given(site, door, tracking)
        site.inside[door] = tracking
        self.cloud.brought.add(tracking)
        site.codes[tracking] = site.key.code(f"acme/{tracking}/1", 0).short(8)
        site.opens()
        site.shut(door, occupied=True)
        site.home()

    def _refusable(self, site: CloudSite, card: Card) -> str:
        """Return why this card must open nothing, as its words and the stored entries tell."""
        if card.number != site.number:
            return "it is another site's"
        if card.cti in self.denied.get(site.number, ()):
            return "it is denied"
        if site.now.wall_ms - site.now.error_ms >= card.ends_ms:
            return "it is over"
        stored = [(f"{one[0]}{one[1]}", one[3]) for one in read_all(site.disk)]
        stored = [one for one in stored if one[0].partition(":")[0] not in self._unread(site)]
        own = {
            ref
            for ref, fact in stored
            if isinstance(fact, facts.CapabilityAccepted) and fact.cti == card.cti
        }
        issued = {ref for ref, fact in stored if getattr(fact, "cti", None) == card.cti}
        done = (facts.ParcelCollected, facts.ParcelDeposited)
        for _, fact in stored:
            if isinstance(fact, facts.GrantRevoked) and fact.of in issued:
                return "it is revoked"
            if card.action in ONCE and isinstance(fact, done) and fact.by in own:
                return "it was used"
        return ""

    def _unread(self, site: CloudSite) -> set[str]:
        """Epochs of which something is stored that the book has not folded: it knows no better."""
        sizes = site.engine.book.sizes
        found = {}
        for one in read_all(site.disk):
            found[one[0]] = one[1] + 1
        return {log.partition(":")[0] for log, size in found.items() if sizes.get(log, 0) < size}
