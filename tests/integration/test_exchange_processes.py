"""Pins that real gateway and hub processes agree through a thin link that dies, killed at will.

`EXCHANGE_SEED` plays a run again as far as processes allow: who is killed after what wait, and what
is asked of whom.
"""

import asyncio
import base64
import contextlib
import hashlib
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from certs.note import Checkpoint, parse_note
from gateway import local
from gateway.core.inputs import CourierAdded, CourierRemoved
from gateway.identity import database_of
from gateway.site import read_book
from sync.origin import Origin, Ring
from sync.pullclient import pull
from sync.reader import LogFile
from tests import postgres
from tests.processes import SITE, Duo
from tests.shelf_memory import MemoryShelf

THIN = {"rate": 8_000.0, "rtt_s": 0.6, "up_s": 5.0, "down_s": 5.0}
DOORS = 4
EQUAL_S = 300.0


@dataclass
class Acknowledged:
    """What was said to be done, by the reference in the answer: a grant's label, or what ended."""

    grants: dict[str, str] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)
    other: set[str] = field(default_factory=set)
    asked: int = 0


class Play:
    """People at the site and at the hub, who go on whatever dies."""

    def __init__(self, duo: Duo, seed: int) -> None:
        self.duo, self.seed = duo, seed
        self.site, self.hub = Acknowledged(), Acknowledged()
        self.kills: Counter[str] = Counter()
        self.before: dict[str, int] = {}

    @contextlib.asynccontextmanager
    async def people(self) -> AsyncIterator[None]:
        tasks = [asyncio.create_task(self._couriers()), asyncio.create_task(self._backend())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

    async def kill(self, cycles: int) -> None:
        """Kill one side at a time, never both in one moment; start it again at once."""
        dice = random.Random(f"{self.seed} kills")
        for _ in range(cycles):
            await asyncio.sleep(dice.uniform(0.2, 2.4))
            name = dice.choice(("gateway", "hub"))
            self.kills[name] += 1
            if name == "gateway":
                await self.duo.gateway.killed()
                await self.duo.start_gateway()
            else:
                await self.duo.hub.killed()
                await self.duo.start_hub()

    async def _couriers(self) -> None:
        dice, duo, done = random.Random(f"{self.seed} site"), self.duo, self.site
        while True:
            done.asked += 1
            label = f"s{done.asked}"
            free = sorted(set(done.grants) - done.ended)
            if free and dice.random() < 0.4:
                grant = dice.choice(free)
                if await duo.send(CourierRemoved(**_ME, grant=grant)):
                    done.ended.add(grant)
            else:
                tag = base64.b64encode(dice.randbytes(16)).decode()
                added = CourierAdded(**_ME, tenant="acme", label=label, tag=tag)
                if (answer := await duo.send(added)) is not None:
                    done.grants[answer.ref] = label
            await asyncio.sleep(dice.uniform(0.0, 0.3))

    async def _backend(self) -> None:
        dice, duo, done = random.Random(f"{self.seed} hub"), self.duo, self.hub
        while True:
            done.asked += 1
            path = f"/sites/{SITE}"
            free = sorted(set(done.grants) - done.ended)
            what = dice.random()
            if what < 0.3 and free:
                grant = dice.choice(free)
                if await duo.ask("POST", f"{path}/grants/{grant}/revoke", by="test"):
                    done.ended.add(grant)
            elif what < 0.5:
                door, out = dice.randint(1, DOORS), dice.random() < 0.5
                told = await duo.ask(
                    "POST", f"{path}/compartments/{door}/service", by="test", out=out,
                    why="test" if out else "",
                )  # fmt: skip
                if told and told["ref"]:  # nothing is written where it is so already
                    done.other.add(told["ref"])
            else:
                label = f"h{done.asked}"
                told = await duo.ask(
                    "POST", f"{path}/grants", by="test", grant="courier", tenant="acme",
                    label=label,
                )  # fmt: skip
                if told:
                    done.grants[told["ref"]] = label
            await asyncio.sleep(dice.uniform(0.0, 0.5))

    # --- what must be so at the end -------------------------------------------------------------

    async def settled(self) -> None:
        """The link is up: wait until both books are equal, and check everything."""
        duo = self.duo
        duo.link.steady()
        async with asyncio.timeout(EQUAL_S):
            while not await self._equal():  # noqa: ASYNC110  # two processes: no one event
                await asyncio.sleep(0.5)
        book = read_book(duo.data)
        assert len(book.epochs) == 1, "a kill is no restore"
        assert not book.stopped
        labels = Counter(grant.label for grant in book.couriers.values())
        assert not [label for label, count in labels.items() if count > 1], (
            "an entry is there twice"
        )
        for done in (self.site, self.hub):
            assert len(done.grants) > 5, "nobody was answered"
            for ref, label in done.grants.items():
                assert book.couriers[ref].label == label
            assert all(book.couriers[ref].revoked for ref in done.ended)
        shelf = await self._mirror()
        with LogFile.open(database_of(duo.data)) as log:
            ours = {head.origin: (head.size, _root(head.note)) for head in log.heads() if head.size}
        held = {one.origin: (one.size, one.root) for one in await shelf.logs() if one.size}
        assert held == ours
        assert self.hub.other <= set(_places(shelf))
        assert "verified" in await duo.command("log", "verify")

    async def _equal(self) -> bool:
        told = await self.duo.ask("GET", f"/sites/{SITE}/book?part=alarms")
        ours = hashlib.sha256(read_book(self.duo.data).canonical()).digest()
        return told is not None and told["sha256"] == base64.b64encode(ours).decode()

    async def sizes(self) -> dict[str, int]:
        """Return how many entries of each log the hub's book has taken in."""
        told = await self.duo.ask("GET", f"/sites/{SITE}/book?part=alarms")
        sizes: dict[str, int] = {} if told is None else told["sizes"]
        return sizes

    async def _mirror(self) -> MemoryShelf:
        """Pull all that the hub has: each entry is hashed and each signature checked."""
        duo = self.duo
        shelf = MemoryShelf(ring=Ring(duo.vkey, duo.hub_keys["hub_vkey"]))
        base = f"http://127.0.0.1:{duo.link.target[1]}/sites/{SITE}/sync/v1"
        done = await pull(duo.web, base, shelf, peer="hub")
        while done.more:
            done = await pull(duo.web, base, shelf, peer="hub")
        assert not done.refused
        return shelf


_ME: dict[str, Any] = {"now": local.nobody(), "token": "", "by": "test"}


def _places(shelf: MemoryShelf) -> list[str]:
    """Return the references of all entries of a mirror."""
    return [
        f"{Origin.parse(held.origin).log}{index}"
        for held in shelf.held.values()
        for index in range(len(held.entries))
    ]


def _root(note: str) -> bytes:
    return Checkpoint.parse(parse_note(note)[0]).root


def _seed() -> int:
    return int(os.environ.get("EXCHANGE_SEED", random.SystemRandom().randrange(10**6)))


async def _cycles(folder: Path, cycles: int, storage: str = "") -> Play:
    seed = _seed()
    print(f"EXCHANGE_SEED={seed}")  # pytest shows it with a failure
    async with Duo.open(folder, storage, **THIN) as duo:
        play = Play(duo, seed)
        async with play.people():
            await play.kill(cycles)
            play.before = await play.sizes()
        await play.settled()
        print(play.kills, duo.link.cuts, dict(duo.link.carried), play.before, await play.sizes())
    return play


async def test_both_agree_whatever_is_killed_behind_a_thin_link(tmp_path: Path) -> None:
    play = await _cycles(tmp_path, 20)
    assert sum(play.kills.values()) == 20
    assert play.duo.link.cuts >= 2


async def test_the_same_with_a_hub_on_postgresql(tmp_path: Path) -> None:
    await _cycles(tmp_path, 2, await postgres.fresh())


@pytest.mark.night
async def test_a_thousand_kills(tmp_path: Path) -> None:
    await _cycles(tmp_path, 1_000, "")
