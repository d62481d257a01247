"""Pins erasure at the hub: an expected parcel's name leaves the disk, the proofs stay good."""

from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg  # type: ignore[import-untyped]  # it has no stubs
import pytest

from certs.keys import Verifier
from sync import entry as entries
from sync import facts, proof
from sync.entry import Writer, may_erase
from tests.hub_stage import BY, KEYS, Stage, stage
from tests.hubs import STORAGES, url_of

S = "/sites/0042"
CANARY = "CANARY7Q"
NAMED = {"tenant": "acme", "tracking": CANARY, "piece": 1}
IDENTITY = f"acme/{CANARY}/1"


@pytest.fixture(params=STORAGES)
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, await url_of(request.param, tmp_path)) as made:
        yield made


def collects(hub: Stage, parcel: str, door: int) -> None:
    """Somebody opens the door with the code and takes the parcel."""
    intent = hub.site.write(
        facts.OpenIntended(
            door=door, of=parcel, purpose="collect", by="code", attempt=1, deadline=1_000
        )
    )
    hub.site.write(facts.OpenEnded(door=door, of=intent, outcome="opened"))
    hub.site.write(facts.DoorOpened(door=door, of=intent))
    hub.site.write(facts.DoorClosed(door=door, occupied=False))
    hub.site.write(facts.ParcelCollected(door=door, of=parcel, by="code", basis="sensor"))


async def on_disk(hub: Stage) -> bytes:
    """Everything the hub keeps: the files, or each row of each table."""
    url = hub.hub.config.storage_url
    if url.startswith("sqlite"):
        return b"".join(one.read_bytes() for one in Path(url[9:]).parent.glob("hub.db*"))
    connection = await asyncpg.connect(url)
    try:
        tables = [
            row["relname"]
            for row in await connection.fetch(
                "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p')"
                " AND relnamespace = current_schema()::regnamespace"
            )
        ]
        kept = [
            value
            for table in tables
            for row in await connection.fetch(f'SELECT * FROM "{table}"')
            for value in row.values()
        ]
    finally:
        await connection.close()
    return b"\n".join(one if isinstance(one, bytes) else str(one).encode() for one in kept)


async def test_an_expected_parcels_name_goes_when_nobody_needs_it_any_more(hub: Stage) -> None:
    made = await hub.post(f"{S}/expected", parcel=NAMED, size="M")
    path = f"{S}/annexes/{made['ref']}/erase"
    await hub.refused("POST", path, "annex.live", 409, BY)
    parcel = hub.site.deposits("acme/OTHER/1", 2)
    await hub.push()
    await hub.refused("POST", path, "annex.live", 409, BY)
    assert CANARY.encode() in await on_disk(hub)

    there = hub.site.deposits(IDENTITY, 3)
    await hub.push(annexes=False)  # the site's own annex has not come: it is the site's to erase
    await hub.refused("POST", path, "annex.live", 409, BY)
    collects(hub, there, 3)
    await hub.push(annexes=False)
    before = await hub.get(f"{S}/proofs/{made['ref']}")

    erased = await hub.post(path)
    assert await hub.post(path) == {"ref": erased["ref"], "new": False}
    assert CANARY.encode() not in await on_disk(hub)
    hub.hub.projections.forget("0042")
    projection = await hub.book()
    assert await projection.identity(made["ref"]) is None
    assert (projection.book.stopped, parcel in projection.book.parcels) == ({}, True)
    after = await hub.get(f"{S}/proofs/{made['ref']}")
    for told in (before, after):
        parsed = proof.Proof.parse(told["proof"])
        origin = hub.hub.voice.origin(await hub.hub.registry.get("0042"), entries.Lane.CUSTODY)
        key = Verifier.from_vkey(KEYS.log_key(origin).vkey)
        assert proof.check(told["entry"].encode(), parsed, key).checkpoint.origin == origin


async def test_a_parcel_that_never_comes_is_expected_no_more_and_its_name_goes(hub: Stage) -> None:
    made = await hub.post(f"{S}/expected", parcel=NAMED, size="M")
    path = f"{S}/annexes/{made['ref']}/erase"
    await hub.refused("POST", path, "annex.live", 409, BY)
    assert (await hub.post(f"{S}/expected/{made['ref']}/end"))["new"]
    await hub.refused("POST", f"{S}/expected/{made['ref']}/end", "expected.unknown", 404, BY)
    assert (await hub.get(f"{S}/book", part="expected"))["expected"] == []
    await hub.post(path)
    assert CANARY.encode() not in await on_disk(hub)
    assert (await hub.post(f"{S}/expected", parcel=NAMED))["new"], "it may be expected again"


async def test_the_hub_erases_nothing_that_it_did_not_write(hub: Stage) -> None:
    parcel = hub.site.deposits(IDENTITY, 1)
    await hub.push()
    grant = await hub.post(f"{S}/grants", grant="courier", tenant="acme", label="route 7")
    for ref in (parcel, grant["ref"], "e9-00000001:hc0"):
        await hub.refused("POST", f"{S}/annexes/{ref}/erase", "annex.unknown", 404, BY)


async def test_settled_news_name_nobody(hub: Stage) -> None:
    ref = hub.site.deposits(IDENTITY, 1)
    entry = hub.site.written[entries.Lane.CUSTODY][-1].decode()
    told = {"entry": entry, "parcel": NAMED, "proof": hub.site.proof(ref)}
    status, answer = await hub.call("POST", "/relay", told)
    assert (status, answer["state"]) == (200, "news")
    assert CANARY.encode() in await on_disk(hub)
    await hub.push(annexes=False)
    assert (await hub.get("/news"))["news"] == []
    assert CANARY.encode() not in await on_disk(hub)
    [settled] = await hub.hub.storage.news("0042", "confirmed")
    assert entry.encode()[:20] in settled.payload.replace(b'\\"', b'"')


def test_who_may_erase_what() -> None:
    ours, theirs = (entries.LaneRef.parse(f"e1-00000001:{one}c") for one in "hs")
    assert may_erase(Writer.SITE, ours)
    assert may_erase(Writer.SITE, theirs)
    assert may_erase(Writer.HUB, ours)
    assert not may_erase(Writer.HUB, theirs)
