"""Several sites and a hub in one thread, from a seed: `run(seed)` plays one history.

Real: engine, book, session, clerk, uplink's hooks, the hub's decisions, signatures. Simulated:
disks, wires, people, time. The same seed gives the same history.

    .venv/bin/python -m tests.simulation.cloud SEED      tells its story
"""

import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any
from unittest.mock import patch

from certs.keys import SigningKey
from gateway import uplink
from sync import entry, facts
from sync.clerk import Hooks
from sync.entry import Writer
from sync.hub import issue
from sync.join import split
from sync.moment import Moment
from sync.origin import Ring
from tests.simulation.checkers import Violated
from tests.simulation.cloud_checks import CloudWatch
from tests.simulation.cloud_disk import Disk, Image
from tests.simulation.cloud_hub import Decide, SiteHub
from tests.simulation.cloud_link import Link, LinkEnd
from tests.simulation.cloud_rights import Carried
from tests.simulation.cloud_site import OPERATOR, CloudSite, Gone

STEPS = 40
FRAME = 256
SEGMENT = 1_024
QUIET_MS = 2_500
ROUNDS = 40


@dataclass(frozen=True)
class Plan:
    """What a planted error changes."""

    fences: bool = True
    ships_early: bool = False
    compares: bool = True
    hub_forgets: bool = False


@dataclass(slots=True)
class CloudReport:
    """One history: how it ended and what was counted."""

    seed: int
    violation: str = ""
    checker: str = ""
    entries: int = 0
    messages: int = 0
    checks: Counter[str] = field(default_factory=Counter)
    struck: Counter[str] = field(default_factory=Counter)
    story: list[str] = field(default_factory=list)


class Cloud:
    """See above."""

    def __init__(self, seed: int, plan: Plan) -> None:
        self.dice, self.plan = Random(f"cloud {seed}"), plan
        self.now, self.link_ms, self.instances = 0, 0, 0
        self.struck: Counter[str] = Counter()
        self.story: list[str] = []
        self.brought: set[str] = set()
        self.images: dict[int, list[Image]] = {}
        self.hub_images: dict[int, Image] = {}
        self.safe = True
        self.messages = 0
        self.trackings = 0
        self.hubs: dict[int, SiteHub] = {}
        self.watch = CloudWatch(self)
        self.carried = Carried(self, seed)
        self.sites = [self._site(number) for number in range(42, 42 + self.dice.choice((1, 1, 2)))]
        self.safe = False

    def _site(self, number: int) -> CloudSite:
        seeds = {name: bytes([number, name == "hub"]) * 16 for name in ("site", "hub")}
        ring = Ring(
            *(
                SigningKey.from_seed(f"{OPERATOR}/{name}/{number:04d}", seed).vkey
                for name, seed in seeds.items()
            )
        )
        disk = Disk(ring=ring, instance=self.instance())
        for lane in ("urgent", "custody", "telemetry"):
            disk.begin(f"{OPERATOR}/site/{number:04d}/e1-{number:08x}/{lane}", seeds["site"])
        site = CloudSite(self, number, disk, seeds["site"])
        disk.signed = partial(self.watch.signs, site)
        there = Disk(ring=ring, instance=self.instance())
        there.signed = partial(self.watch.signs, None)
        hub = self.hubs[number] = SiteHub(self, site, there, seeds["hub"])
        disk.cosigners = (hub.cosigner.verifier,)
        self.images[number] = [disk.image()]
        self.hub_images[number] = there.image()
        return site

    def instance(self) -> str:
        self.instances += 1
        return f"{self.instances:016x}"

    def say(self, what: str) -> None:
        self.story.append(f"{self.now:>9} {what}")

    # --- a history ------------------------------------------------------------------------------

    def play(self, steps: int) -> None:
        for site in self.sites:
            if self.dice.random() < 0.8:
                contact(self, site)
                self._between(site)
        for _ in range(steps):
            site = self.dice.choice(self.sites)
            names, weights = zip(*ACTS.items(), strict=True)
            (name,) = self.dice.choices(names, weights)
            self.say(f"{site.writer} {name.__name__}")
            try:
                name(self, site)
                self._between(site)
                self.carried.perhaps(site, _visit)
                self._between(site)
            except Gone:
                self.struck["gone"] += 1
            site.busy = False
            self.watch.fits(site)
        self._settle()

    def _between(self, site: CloudSite) -> None:
        if site.up:
            site.busy = False
            site.drain()
            site.outputs.clear()

    def _settle(self) -> None:
        """Everything is up, stock is taken, and the links stay until nobody says anything."""
        self.safe = True
        for site in list(self.sites):
            twins = self.hubs[site.number].sites
            if site is not twins[0]:
                continue
            if len(twins) > 1:
                self._tell_apart(twins)
            self.say(f"{site.writer} settles")
            for number in range(1, ROUNDS):
                if number % 6 == 0 and site.up and site.engine.book.fenced:
                    # Raised in the middle of an epoch, it holds every door: the way out is a new
                    # epoch, which an operator begins.
                    site.crash()
                    site.mark = "restored"
                if not site.up:
                    site.start()
                self.cut(site)
                link = self._dial(site, 1 << 40)
                moved = self._quiet(site, link)
                site.drain()
                if site.engine.book.fenced:
                    site.outputs.clear()
                    # Heard twice, and the hub still cannot say that nothing is missing: a fork.
                    now = [ref for ref in site.engine.book.fences if site.settings.epoch in ref]
                    begun = all(ref.endswith(":su1") for ref in now)
                    site.take_stock(trust=begun and number > 2)
                    continue
                if link.up and moved is False and self._still(site):
                    break
            self.watch.fits(site)
            self.watch.finish(site, self.hubs[site.number])

    def _tell_apart(self, twins: list[CloudSite]) -> None:
        """Both of one disk are at the hub in turns; then somebody takes the copy away."""
        for _ in range(6):
            for site in twins:
                if not site.up:
                    site.start()
                self._quiet(site, self._dial(site, 1 << 40))
                site.drain()
                self.cut(site)
        self.watch.clones(twins)
        while len(twins) > 1:
            gone = twins.pop()
            self.sites = [site for site in self.sites if site is not gone]
            self.cut(gone)
        twins[0].crash()
        twins[0].mark = "restored"

    def _still(self, site: CloudSite) -> bool:
        """Whether another link would bring nothing: asked for twice."""
        before = (site.disk.sizes(), self.hubs[site.number].disk.sizes())
        self.cut(site)
        self._quiet(site, self._dial(site, 1 << 40))
        site.drain()
        return before == (site.disk.sizes(), self.hubs[site.number].disk.sizes())

    # --- links ----------------------------------------------------------------------------------

    def _dial(self, site: CloudSite, left: int, half: str = "") -> Link:
        hub, hooks = self.hubs[site.number], site.uplink
        codecs = self.dice.choice(((0, 1, 2), (0, 1, 2), (0, 1), (0,)))
        shared = {"segment_bytes": SEGMENT}
        at_site = LinkEnd(
            {"side": Writer.SITE, "accepts": hooks._accepts, "codecs": codecs, **shared,
             "memory": site.kept.memory},
            site.disk,
            Hooks(arrived=hooks._arrived, greeted=hooks._greeted, found=hooks._found,
                  holds=self._holds(site)),
            lambda: self.link_ms,
        )  # fmt: skip
        at_hub = LinkEnd(
            {"side": Writer.HUB, "accepts": lambda origin: f"/{site.number:04d}/" in origin,
             **shared},
            hub.disk, hub.hooks(), lambda: self.link_ms,
        )  # fmt: skip
        link = Link(at_site, at_hub, left, half)
        site.links.append(link)
        return link

    def _holds(self, site: CloudSite) -> Callable[[str, int, str], Awaitable[None]]:
        async def holds(origin: str, size: int, instance: str) -> None:
            await site.uplink._holds(origin, size, instance)
            self.watch.acknowledged(site, origin, size, instance, by_hub=True)

        return holds

    def carry(self, site: CloudSite, count: int) -> int:
        """Carry up to so many messages on this site's links, each way in turns by chance."""
        done = 0
        for _ in range(count):
            links = [link for link in site.links if link.up and link.waiting()]
            if not links or not site.up:
                break
            link = self.dice.choice(links)
            to_hub = bool(link.site.out) and (not link.hub.out or self.dice.random() < 0.5)
            link.carry(to_hub)
            done += 1
            self.messages += 1
            if not link.up:
                self.struck["link.cut"] += 1
                self._end(site, link)
            if site.over:
                break
        return done

    def _quiet(self, site: CloudSite, link: Link) -> bool:
        """Carry until nothing is said for a while; return whether anything but hellos was."""
        sizes = (site.disk.sizes(), self.hubs[site.number].disk.sizes())
        quiet = 0
        while quiet < QUIET_MS and link.up and not site.over:
            if self.carry(site, 50):
                quiet = 0
            else:
                site.drain()
                if link not in site.links:
                    break
                self.link_ms += 500
                quiet += 500
                link.site.tick()
                link.hub.tick()
        if link.up and link in site.links and not site.over and link.site.session.peer:
            self.watch.met(site, self.hubs[site.number])
        return sizes != (site.disk.sizes(), self.hubs[site.number].disk.sizes())

    def _end(self, site: CloudSite, link: Link) -> None:
        link.up = False
        site.kept.memory = link.site.session.memory()
        if link in site.links:
            site.links.remove(link)

    def cut(self, site: CloudSite) -> None:
        for link in list(site.links):
            self._end(site, link)

    def danger(self, site: CloudSite) -> None:
        """Between two commits anything may happen: a message arrives, the power goes."""
        if self.safe or not site.busy:
            return
        chance = self.dice.random()
        if chance < 0.01:
            self.struck["crash.site"] += 1
            site.crash()
        elif chance < 0.15 and site.links:
            self.carry(site, self.dice.randrange(1, 8))
            if site.over or site.refold:
                site.drain()


# --- what happens ---------------------------------------------------------------------------------


def _visit(cloud: Cloud, site: CloudSite, do: Callable[[], None]) -> None:
    """Somebody stands before the locker; time passes while they do."""
    if not site.up:
        return
    lag = cloud.now - (site.now.wall_ms - site.offset_ms - 1_790_000_000_000)
    site.outputs.clear()
    site.busy = True
    if lag > 0:
        site.after(lag)
    before = site.mono
    try:
        do()
    finally:
        cloud.now += max(site.mono - before, 0)


def deliver(cloud: Cloud, site: CloudSite) -> None:
    """A walk-in or a promised parcel."""
    waiting = [
        tracking
        for number, _, tracking in cloud.watch.promised.values()
        if number == site.number and tracking not in cloud.brought
    ]
    if waiting and cloud.dice.random() < 0.6:
        tracking = cloud.dice.choice(waiting)
    else:
        tracking = _tracking(cloud)
    size = cloud.dice.choice(("S", "S", "M", "L"))
    _visit(cloud, site, partial(site.deliver, tracking, size))
    _backup(cloud, site)


def _backup(cloud: Cloud, site: CloudSite) -> None:
    """Now and then the disk is copied while parcels lie behind doors."""
    if cloud.dice.random() < 0.3:
        cloud.images[site.number] = [*cloud.images[site.number][-3:], site.disk.image()]


def _tracking(cloud: Cloud) -> str:
    cloud.trackings += 1
    return f"AB{cloud.trackings}"


def fetch(cloud: Cloud, site: CloudSite) -> None:
    """A code is typed: of a parcel that is here, or an old one."""
    here = sorted(set(site.inside.values()))
    gone = sorted(set(site.codes) - set(here))
    likely = 0.4 if site.engine.book.fenced else 0.75
    some = here if here and (not gone or cloud.dice.random() < likely) else gone
    if some:
        _visit(cloud, site, partial(site.fetch, cloud.dice.choice(some)))


def support(cloud: Cloud, site: CloudSite) -> None:
    door = cloud.dice.randrange(1, 5)
    if site.engine.book.fenced:
        _visit(cloud, site, site.take_stock)
    elif cloud.dice.random() < 0.5:
        _visit(cloud, site, partial(site.flag, door, enabled=cloud.dice.random() < 0.5))
    else:
        _visit(cloud, site, partial(site.look_into, door))


def wait(cloud: Cloud, site: CloudSite) -> None:
    cloud.now += cloud.dice.choice((1_000, 60_000, 300_000))


def hub_says(cloud: Cloud, site: CloudSite) -> None:
    """Somebody asks something of the hub; now and then two processes at once."""
    hub, dice = cloud.hubs[site.number], cloud.dice
    decide, tracking = _deed(cloud, hub, dice)
    process, race = dice.randrange(2), dice.random() < 0.2
    if race:
        hub.processes[process].refresh()
        other, of_other = _deed(cloud, hub, dice)
        _said(cloud, site, hub.say(other, 1 - process), of_other)
    _said(cloud, site, hub.say(decide, process, stale=race), tracking)


def _deed(cloud: Cloud, hub: SiteHub, dice: Random) -> tuple[Decide, str]:
    book = hub.processes[0].book
    kind = dice.choices(
        ("reserve", "cancel", "hand_back", "expect", "courier", "collect", "revoke", "service",
         "ask", "claim", "clear"),
        (12, 7, 1, 1, 1, 2, 2, 5, 2, 1, 1),
    )[0]  # fmt: skip
    tracking = _tracking(cloud)
    named, tag = f"acme/{tracking}/1", dice.randbytes(12)
    promises = sorted(book.rights.escrow.promises)
    refs = sorted({*book.couriers, *book.rights.collects})
    door = dice.randrange(1, 5)
    until = hub.utc_ms() + 3_600_000
    ways = {
        "reserve": partial(
            issue.reserve, identity=named, size=dice.choice(("S", "S", "M", "L")), band="",
            until_ms=until,
        ),
        "cancel": partial(issue.cancel, reservation=dice.choice(promises or ["x"])),
        "hand_back": partial(issue.hand_back, size="S", band="", count=1),
        "expect": partial(issue.expect, identity=named, size=None),
        "courier": partial(
            issue.courier, tenant="acme", label="v", secret_tag=tag, until_ms=None
        ),
        "collect": partial(
            issue.collect, parcel=dice.choice(sorted(book.parcels) or ["x"]), label="v",
            secret_tag=tag, until_ms=None,
        ),
        "revoke": partial(issue.revoke, grant=dice.choice(refs or ["x"])),
        "service": partial(issue.service, door=door, out=dice.random() < 0.6, why="asked"),
        "ask": partial(
            issue.ask_open, door=door, why="w", case="c", until_ms=hub.utc_ms() + 200_000
        ),
        "claim": partial(issue.claim, identity=named, says="collected"),
        "clear": partial(issue.clear_alarms, raises=tuple(sorted(book.alarms)[:2])),
    }  # fmt: skip
    return ways[kind], tracking if kind == "reserve" else ""


def _said(cloud: Cloud, site: CloudSite, ref: str, tracking: str) -> None:
    """Note what was promised and taken back, by the entry that says so."""
    if not ref:
        return
    cloud.struck["hub.said"] += 1
    for promise in read_back(cloud, site, ref):
        if tracking and promise[1] == "made":
            cloud.watch.promised[ref] = (site.number, promise[2], tracking)
        elif promise[1] == "cancelled":
            cloud.watch.cancelled.add(promise[2])


def read_back(cloud: Cloud, site: CloudSite, ref: str) -> list[tuple[str, str, str]]:
    """What the entry that was written says of a promise."""
    hub = cloud.hubs[site.number]
    log, index = split(ref)
    lane = {"u": "urgent", "c": "custody"}[log[-1]]
    held = hub.disk.held[hub.origin(lane)].entries
    found: list[tuple[str, str, str]] = []
    for at in range(index, min(index + 1, len(held))):
        fact = facts.from_entry(entry.parse(held[at]))
        if isinstance(fact, facts.ReservationMade):
            found.append((f"{log}{at}", "made", fact.size))
        elif isinstance(fact, facts.ReservationCancelled):
            found.append((f"{log}{at}", "cancelled", str(fact.of)))
    return found


def dial(cloud: Cloud, site: CloudSite) -> None:
    """A link comes up: for so many bytes, or until something else ends it."""
    if site.up and len(site.links) < 2:
        left = cloud.dice.choice((cloud.dice.randrange(1, 6_000), 1 << 40, 1 << 40))
        half = cloud.dice.choice(("", "", "", "", "hub", "site"))
        cloud._dial(site, left, half)
    carry(cloud, site)


def carry(cloud: Cloud, site: CloudSite) -> None:
    cloud.link_ms += cloud.dice.choice((10, 600, 3_000))
    for link in list(site.links):
        link.site.tick()
        link.hub.tick()
    cloud.carry(site, cloud.dice.randrange(1, 60))


def contact(cloud: Cloud, site: CloudSite) -> None:
    """A link that lives until nobody says anything."""
    if site.up:
        link = cloud._dial(site, 1 << 40)
        cloud._quiet(site, link)


def cut(cloud: Cloud, site: CloudSite) -> None:
    cloud.cut(site)


def crash(cloud: Cloud, site: CloudSite) -> None:
    """The site's process dies, and comes back."""
    cloud.struck["crash.site"] += 1
    site.crash()
    site.start()


def start(cloud: Cloud, site: CloudSite) -> None:
    if not site.up:
        site.start()


def hub_crash(cloud: Cloud, site: CloudSite) -> None:
    cloud.struck["crash.hub"] += 1
    hub = cloud.hubs[site.number]
    hub.crash()
    if cloud.plan.hub_forgets:
        for origin, size in hub.disk.sizes().items():
            hub.disk.forget_to(max(0, size - 3), origin) if "/site/" in origin else None
    cloud.watch.kept(site, by_hub=True)


def back_up(cloud: Cloud, site: CloudSite) -> None:
    cloud.images[site.number].append(site.disk.image())
    cloud.hub_images[site.number] = cloud.hubs[site.number].disk.image()


def restore(cloud: Cloud, site: CloudSite) -> None:
    """The site's disk is an earlier one: whoever put it back says so, or does not."""
    marked = cloud.dice.random() < 0.6
    cloud.struck[f"restore.{'marked' if marked else 'unmarked'}"] += 1
    site.restore(cloud.dice.choice(cloud.images[site.number]), marked=marked)
    site.start()


def clone(cloud: Cloud, site: CloudSite) -> None:
    """The card is copied, and both are in use."""
    twins = cloud.hubs[site.number].sites
    if len(twins) > 1 or not site.up:
        return
    cloud.struck["clone"] += 1
    site.was_told = False
    disk = Disk(ring=site.disk.ring, cosigners=site.disk.cosigners)
    disk.put_back(site.disk.image(), cloud.instance())
    twin = CloudSite(cloud, site.number, disk, site.seed, clone=True)
    disk.signed = partial(cloud.watch.signs, twin)
    site.blind = site.unnoticed = True
    twins.append(twin)
    cloud.sites.append(twin)


def newer(cloud: Cloud, site: CloudSite) -> None:
    """A newer hub writes what this version does not know, and restricts a door by it."""
    hub, dice = cloud.hubs[site.number], cloud.dice
    fact: dict[str, Any] = {"kind": "drone.landed", "bay": dice.randrange(9)}
    if dice.random() < 0.5:
        fact |= {"!bay": 1, "door": dice.randrange(1, 5)}
    size = len(hub.disk.held[hub.origin("custody")].entries)
    hub.write("custody", size, [entry.compose(fact, at=Moment(1, cloud.now))])
    cloud.struck["newer"] += 1


def hub_restore(cloud: Cloud, site: CloudSite) -> None:
    cloud.struck["restore.hub"] += 1
    cloud.hubs[site.number].restore(cloud.hub_images[site.number])


def clock(cloud: Cloud, site: CloudSite) -> None:
    """A clock goes wrong: it is hours off, or stands at its floor."""
    cloud.struck["clock"] += 1
    site.offset_ms = cloud.dice.choice((0, -7_200_000, 7_200_000))
    if site.up:
        site.crash()
        site.start()


ACTS: dict[Callable[[Cloud, CloudSite], None], float] = {
    deliver: 24, fetch: 16, support: 8, wait: 2, hub_says: 30, dial: 16, carry: 16, contact: 6,
    cut: 4, crash: 3, start: 6, hub_crash: 2, back_up: 3, restore: 2, hub_restore: 1, clock: 1,
    clone: 0.3, newer: 1,
}  # fmt: skip


class _Quiet:
    """A log that nobody reads."""

    def info(self, *_: object, **__: object) -> None:
        """Say nothing."""

    warning = error = info


def run(seed: int, steps: int = STEPS, *, plan: Plan | None = None) -> CloudReport:
    """Play the history of a seed to its end, or to the first violation."""
    report = CloudReport(seed)
    cloud = None
    try:
        with patch.object(uplink, "_log", _Quiet()):
            cloud = Cloud(seed, plan or Plan())
            cloud.play(steps)
    except Violated as violated:
        report.checker, report.violation = violated.checker, str(violated)
    if cloud is not None:
        report.checks, report.struck = cloud.watch.count, cloud.struck
        report.story, report.messages = cloud.story, cloud.messages
        report.entries = sum(sum(site.disk.sizes().values()) for site in cloud.sites)
    return report


if __name__ == "__main__":
    told = run(int(sys.argv[1]))
    sys.stdout.write("\n".join([*told.story, told.violation or "held", str(told.struck), ""]))


__all__ = ["Cloud", "CloudReport", "Plan", "run"]
