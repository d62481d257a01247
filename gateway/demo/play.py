"""A short day at the site, as people would live it, through the interfaces that people have."""

import asyncio
import json
import secrets
from typing import Final

from gateway import identity, site
from gateway.clock import Machine
from gateway.demo.cloud import TENANT
from gateway.demo.hands import Kiosk
from gateway.demo.process import DemoFailed
from gateway.demo.record import Record, Seen
from gateway.demo.stage import Stage
from gateway.demo.story import Teller
from sync import codes
from sync.custody import Custody

GRACE_S: Final = 3
"""As in gateway.toml; on a wall it is 60 s."""
REST_S: Final = 3
RS485_DOORS: Final = 16
HOUR_MS: Final = 3_600_000
_QUIET_S: Final = 1.0
_LINK_S: Final = 60.0


def tracking_numbers(count: int) -> list[str]:
    """Return fresh tracking numbers, told apart by their last letter."""
    day = f"PL{secrets.randbelow(10**8):08d}"
    return [f"{day}{chr(ord('A') + place)}" for place in range(count)]


class Day:
    """The scenes. Each leaves the kiosk at its start page."""

    def __init__(self, stage: Stage, kiosk: Kiosk, record: Record, teller: Teller) -> None:
        self.stage = stage
        self.kiosk = kiosk
        self.hands = stage.hands
        self.record = record
        self.tell = teller
        self.waiting: tuple[int, str] | None = None
        self.in_grace: list[tuple[int, int]] = []
        self.forced_s = 0.0

    async def play(self) -> None:
        """Play the whole day."""
        numbers = tracking_numbers(7)
        spare = await self.morning()
        doors = await self.courier(numbers[:6])
        await self.meanwhile(spare, numbers[6])
        await self.pick_up(numbers[0], doors[numbers[0]])
        await self.jammed(numbers[1], doors[numbers[1]])
        await self.forced()
        await self.killed(numbers[3], doors[numbers[3]])
        await self.support(numbers[4], doors[numbers[4]])
        await self.settled()
        await self.link_returns(numbers[6])
        last = numbers[5]
        self.waiting = doors[last], await self.code(last)

    # --- the cloud ------------------------------------------------------------------------------

    async def morning(self) -> str:
        """The link is up: the hub gives a right, and the site hands over rights to compartments."""
        self.tell.title("The link is up: site and hub write in each other's hearing")
        cloud, start = self.stage.cloud, self.record.mark()
        if not await cloud.rights("M", _LINK_S):
            raise DemoFailed("demo.no_rights", "Read the gateway's and the hub's log")
        self.tell.say("hub", "holds rights to compartments, which it may promise without asking")
        spare = await cloud.tell("/grants", grant="courier", tenant=TENANT, label="spare van")
        self.tell.say("hub", f"gives a spare van a courier code: {spare['secret']}")
        await self.record.until("grant.issued", start)
        self.tell.record(self.record.news())
        await cloud.link.cut()
        self.tell.title("The link dies")
        ref: str = spare["ref"]
        return ref

    async def meanwhile(self, spare: str, number: str) -> None:
        """The hub goes on writing: a right ends, a compartment is promised."""
        self.tell.title("Meanwhile at the hub: the site cannot hear it")
        cloud = self.stage.cloud
        await cloud.tell(f"/grants/{spare}/revoke")
        self.tell.say("hub", "revokes the spare van's code")
        promise = await cloud.tell(
            "/reservations", size="M",
            parcel={"tenant": TENANT, "tracking": number},
        )  # fmt: skip
        self.tell.say("hub", f"promises an M compartment to {number}: {promise['ref']}")
        await self.unheard()

    async def unheard(self) -> None:
        """A courier shows a QR that the hub gave out after the link had died."""
        start, until_ms = self.record.mark(), Machine().wall_ms() + HOUR_MS
        given = await self.stage.cloud.tell(
            "/capabilities", action="courier", tenant=TENANT, label="a stranger", until_ms=until_ms
        )
        self.tell.say("hub", f"gives a stranger's van a courier QR, {len(given['text'])} letters")
        self.say("scans the QR; the site has never heard of it, and checks the signature")
        await self.kiosk.show(given["text"])
        await self.kiosk.until("deliver.scan")
        await self.on_record("capability.accepted", start)
        await self.go_home()

    async def link_returns(self, number: str) -> None:
        """Both ends hear what the other wrote, and agree."""
        self.tell.title("The link returns")
        cloud, start = self.stage.cloud, self.record.mark()
        cloud.link.mend()
        await self.on_record("grant.revoked", start)
        await self.on_record("reservation.made", start)
        same = await cloud.agrees(lambda: site.read_book(self.stage.data).canonical(), _LINK_S)
        equal = "equal, byte for byte" if same else "NOT EQUAL"
        self.tell.say("note", f"the book of the site and the hub's book of it are {equal}")
        await self.promised(number)

    async def promised(self, number: str) -> None:
        """The promised parcel comes, and gets the compartment that was kept for it."""
        start = self.record.mark()
        await self.sign_in()
        await self.deposit(number, "M")
        await self.on_record("reservation.closed", start, outcome="used")
        await self.go_home()

    # --- the courier ----------------------------------------------------------------------------

    async def courier(self, numbers: list[str]) -> dict[str, int]:
        """Bring six parcels, one of them by mistake; return the door of each tracking number."""
        self.tell.title("A courier brings six parcels. No network anywhere.")
        await self.sign_in()
        doors = {}
        self.say("somebody ordered a low door: the compartment is chosen by size and reach")
        doors[numbers[0]] = await self.deposit(numbers[0], "S low")
        doors[numbers[1]] = await self.too_small(numbers[1])
        doors[numbers[2]] = await self.deposit(numbers[2], "S")
        await self.take_back(doors[numbers[2]])
        doors[numbers[3]] = await self.deposit(numbers[3], "S")
        doors[numbers[4]] = await self.deposit(numbers[4], "XL")
        doors[numbers[5]] = await self.deposit(numbers[5], "M")
        await self.go_home()
        return doors

    async def sign_in(self) -> None:
        """Type the courier's secret."""
        self.say("presses Deliver")
        await self.kiosk.press("deliver")
        await self.kiosk.until("deliver.enter")
        self.say(f"types the courier code {self.stage.courier}")
        await self.kiosk.secret(self.stage.courier)
        await self.kiosk.until("deliver.scan")

    async def choose(self, number: str, size: str) -> int:
        """Scan and choose a size; return the door that opened, once it really is open."""
        self.say(f"scans {number}")
        await self.kiosk.scan(number)
        await self.kiosk.until("deliver.size")
        self.say(f"chooses size {size.replace(' low', ', a low door')}")
        await self.kiosk.press("size", size)
        return await self.opened("deliver.open")

    async def opened(self, screen: str) -> int:
        """Return the door that the kiosk calls open, once it is and its latch can catch again."""
        door: int = (await self.kiosk.until(screen))["door"]
        await self.hands.see(door, lambda seen: seen["door"] == "open" and not seen["coil_on"])
        return door

    async def store(self, door: int) -> None:
        """Put the parcel in and close; the sensor decides."""
        start = self.record.mark()
        self.say(f"puts the parcel into {door} and pushes the door shut")
        await self.hands.put(door)
        await self.hands.close(door)
        await self.kiosk.until("deliver.scan")
        await self.on_record("parcel.deposited", start, door=door)

    async def deposit(self, number: str, size: str) -> int:
        """Bring one parcel; return its door."""
        door = await self.choose(number, size)
        await self.store(door)
        return door

    async def too_small(self, number: str) -> int:
        """Bring a parcel that does not fit; return the larger door."""
        small = await self.choose(number, "M")
        self.say("presses Does not fit, and pushes the door shut again")
        await self.kiosk.press("too_small")
        await self.kiosk.until("deliver.open", why="parcel.too_small")
        self.kiosk.turn()
        await self.hands.close(small)
        door = await self.opened("deliver.open")
        if door == small:
            raise DemoFailed("demo.not_larger", "Read the gateway's log", door=door)
        await self.store(door)
        return door

    async def take_back(self, door: int) -> None:
        """Take back what was stored by mistake."""
        start = self.record.mark()
        self.say("that one was for another street: presses Take back")
        await self.kiosk.press("mine")
        await self.kiosk.until("deliver.mine")
        self.say(f"chooses door {door}")
        await self.kiosk.press("take_back", str(door))
        await self.opened("deliver.open")
        self.say("takes the parcel out and pushes the door shut")
        self.kiosk.turn()
        await self.hands.take(door)
        await self.hands.close(door)
        await self.kiosk.until("deliver.took")
        await self.on_record("parcel.taken_back", start, door=door)
        await self.kiosk.press("next")
        await self.kiosk.until("deliver.scan")

    # --- recipients -----------------------------------------------------------------------------

    async def code(self, number: str) -> str:
        """Return the code that the recipient's message would bring."""
        said = await self.stage.command("code", "show", f"{TENANT}/{number}/1", "--json")
        short: str = json.loads(said)["short"]
        return short

    async def type_code(self, digits: str, *, refused: str = "") -> None:
        """Press Collect and type; with `refused`, see it refused for that reason."""
        self.say(f"presses Collect and types {digits}")
        await self.kiosk.press("collect")
        await self.kiosk.until("collect.enter")
        await self.kiosk.code(digits)
        if refused:
            await self.kiosk.until("collect.enter", why=refused)

    async def collect(self, door: int) -> None:
        """Take the parcel out of the open door, close it, and see it collected."""
        start = self.record.mark()
        await self.opened("collect.open")
        self.say("takes the parcel out and pushes the door shut")
        self.kiosk.turn()
        await self.hands.take(door)
        await self.hands.close(door)
        await self.kiosk.until("collect.thanks")
        await self.on_record("door.closed", start, door=door)
        await self.go_home()
        self.in_grace.append((door, start))

    async def settled(self) -> None:
        """Let the time for Open again go by; only then is a code used up."""
        for door, start in self.in_grace:
            await self.on_record("parcel.collected", start, door=door)
        self.in_grace.clear()

    async def pick_up(self, number: str, door: int) -> None:
        """Mistyped, wrong, right; the parcel is forgotten at first."""
        self.tell.title("A recipient collects, with two wrong codes first")
        code = await self.code(number)
        start = self.record.mark()
        await self.type_code(_mistyped(code), refused="code.check_digit")
        await self.on_record("code.refused", start, why="code.check_digit")
        self.tell.say("note", "a typing mistake is recognised by the check digit and costs nothing")
        start = self.record.mark()
        await self.type_code(self.wrong(code), refused="code.unknown")
        await self.on_record("code.refused", start, charged=True)
        self.tell.say("note", "a guess costs one of eight tokens, on the disk before the answer")
        await self.type_code(code)
        await self.opened("collect.open")
        start = self.record.mark()
        self.say("pushes the door shut and forgets the parcel inside")
        self.kiosk.turn()
        await self.hands.close(door)
        await self.kiosk.until("collect.left")
        await self.on_record("parcel.left", start, door=door)
        self.say("presses Open again")
        await self.kiosk.press("open_again")
        await self.collect(door)
        self.tell.say("time", f"the {GRACE_S} s for Open again go by (60 s on a wall)")
        await self.settled()

    async def jammed(self, number: str, door: int) -> None:
        """A wedged door: three pulses, a fault, and the code is still good."""
        self.tell.title(f"Door {door} jams")
        code = await self.code(number)
        await self.hands.jam(door)
        self.tell.say("bank", f"ice wedges door {door}")
        before = (await self.hands.door(door))["pulses"]
        start = self.record.mark()
        await self.type_code(code)
        await self.kiosk.until("collect.fault", why="door.no_opening")
        await self.on_record("alarm.raised", start, alarm="door.stuck", door=door)
        await self.on_record("compartment.disabled", start, door=door)
        pulses = (await self.hands.door(door))["pulses"] - before
        self.tell.say("bank", f"the lock got {pulses} pulses, each for an intent of its own")
        await self.go_home()
        await self.hands.unjam(door)
        self.tell.say("bank", f"the ice melts while the lock rests ({REST_S} s; 10 s on a wall)")
        await asyncio.sleep(REST_S + _QUIET_S / 2)
        self.tell.say("note", "the code is still good")
        await self.type_code(code)
        await self.collect(door)
        await self.stage.command("support", "enable", str(door), "--by", "demo")

    async def forced(self) -> None:
        """A door is levered open."""
        door = self.free_door()
        self.tell.title("A door is forced")
        start = self.record.mark()
        loop = asyncio.get_running_loop()
        self.tell.say("bank", f"somebody levers door {door} open")
        began = loop.time()
        await self.hands.force(door)
        await self.record.until("alarm.raised", start, alarm="door.forced", door=door)
        self.forced_s = loop.time() - began
        await self.on_record("door.forced", start, door=door)
        self.tell.say("note", f"signed and on the disk {self.forced_s:.2f} s later")
        await self.hands.close(door)
        await self.on_record("door.closed", start, door=door)
        await self.stage.command("support", "check", str(door), "--empty", "--by", "demo")
        await self.on_record("alarm.cleared", start)

    async def killed(self, number: str, door: int) -> None:
        """SIGKILL between an intent and its outcome; nothing is pulsed again by itself."""
        self.tell.title("The gateway is killed between an intent and its outcome")
        await self.settled()
        code = await self.code(number)
        before = (await self.hands.door(door))["pulses"]
        await self.hands.jam(door)
        self.tell.say("bank", f"door {door} sticks")
        start = self.record.mark()
        await self.type_code(code)
        await self.hands.see(door, lambda seen: seen["pulses"] > before)
        intent = await self.record.until("open.intended", start, door=door)
        if self.record.outcome(intent.ref) is not None:
            raise DemoFailed("demo.too_late", "Try again on a quieter machine", door=door)
        await self.stage.kill_gateway()
        self.tell.record(self.record.news())
        self.tell.say("gateway", f"SIGKILL while the coil of door {door} is on")
        if self.record.outcome(intent.ref) is not None:
            raise DemoFailed("demo.too_late", "Try again on a quieter machine", door=door)
        await self.hands.see(door, lambda seen: not seen["coil_on"])
        self.tell.say("bank", "the board switches the coil off by itself: the pulse was its own")
        await self.stage.start_gateway()
        await self.doubted(intent, before + 1, door)
        await self.hands.unjam(door)
        self.tell.say("note", "the code is still good")
        await self.type_code(code)
        await self.collect(door)

    async def doubted(self, intent: Seen, pulses: int, door: int) -> None:
        """See the intent end in doubt, and the lock left alone."""
        await self.on_record("open.ended", 0, of=intent.ref, outcome="doubt")
        await asyncio.sleep(_QUIET_S)
        if (await self.hands.door(door))["pulses"] != pulses:
            raise DemoFailed("demo.pulsed_again", "This is a bug: report it", door=door)
        self.tell.say(
            "note",
            "nobody saw whether that pulse opened the door: the doubt is on record, and nothing "
            "was pulsed again by itself",
        )

    async def support(self, number: str, door: int) -> None:
        """A recipient calls: somebody at the desk opens one door, for a reason."""
        self.tell.title("A recipient has lost the message and calls support")
        start = self.record.mark()
        await self.stage.command(
            "support", "open", str(door), "--reason", "message lost, name checked",
            "--case", "C-1", "--by", "demo",
        )  # fmt: skip
        await self.on_record("door.opened", start, door=door)
        await self.hands.see(door, lambda seen: not seen["coil_on"])
        self.say(f"takes {number} out of {door} and pushes the door shut")
        await self.hands.take(door)
        await self.hands.close(door)
        await self.on_record("parcel.collected", start, door=door)

    # --- helpers --------------------------------------------------------------------------------

    def say(self, what: str) -> None:
        """Tell what a person does."""
        self.tell.say("person", what)

    async def on_record(self, kind: str, start: int, **keys: object) -> None:
        """Wait until this is durable, and tell what is new on record."""
        await self.record.until(kind, start, **keys)
        self.tell.record(self.record.news())

    async def go_home(self) -> None:
        """Leave the screen for who comes next."""
        await self.kiosk.press("home")
        await self.kiosk.until("welcome")

    def free_door(self) -> int:
        """Return the last free compartment of the RS485 line, the slower one."""
        boxes = site.read_book(self.stage.data).compartments.values()
        free = [
            box.number
            for box in boxes
            if box.number <= RS485_DOORS and box.custody is Custody.FREE and not box.disabled
        ]
        return max(free)

    def wrong(self, code: str) -> str:
        """Return a well-formed code of this site that is nobody's."""
        name = identity.load_names(self.stage.data)
        start = codes.damm_start(f"{name.operator}/{name.writer}")
        while True:
            digits = f"{secrets.randbelow(10 ** (len(code) - 1)):0{len(code) - 1}d}"
            wrong = digits + str(codes.damm(digits, start))
            if wrong != code:
                return wrong


def _mistyped(code: str) -> str:
    """Swap two digits, as people do; a code of equal digits gets one wrong."""
    for place in range(len(code) - 1):
        if code[place] != code[place + 1]:
            return code[:place] + code[place + 1] + code[place] + code[place + 2 :]
    return str((int(code[0]) + 1) % 10) + code[1:]
