"""Pins the hub's voice: no right is spent twice, no number signed twice, whoever else writes."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sync import facts
from sync.book import FOLD
from sync.entry import Lane
from sync.errors import StoreFailed, TheirsInvalid
from sync.fold import read
from sync.hub import issue, projections
from sync.hub.projections import Projection
from sync.hub.rooms import Hub, assembled
from sync.hub.storage import Moved, Snapshot
from sync.hub.voice import Busy, Done, Refused
from sync.intake import Chunk
from tests.hub_site import FakeSite
from tests.hub_stage import IDENTITY, KEYS, PARCEL, Stage, clock, config, stage
from tests.hubs import STORAGES, opened, url_of

S = "/sites/0042"


@pytest.fixture(params=STORAGES)
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, await url_of(request.param, tmp_path)) as made:
        yield made


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, await url_of("sqlite", tmp_path)) as made:
        yield made


async def reserves(hub: Hub, tracking: str) -> Done:
    site = await hub.registry.get("0042")
    return await hub.voice.say(
        site,
        "ops",
        lambda book, desk: issue.reserve(
            book, desk, identity=f"acme/{tracking}/1", size="M", band="", until_ms=None
        ),
    )


async def origin_of(hub: Stage, lane: Lane = Lane.CUSTODY) -> str:
    return hub.hub.voice.origin(await hub.hub.registry.get("0042"), lane)


# --- two writers --------------------------------------------------------------------------------


async def test_two_hubs_on_one_storage_spend_each_right_once(hub: Stage) -> None:
    """Plant: two hub processes appending the same number."""
    hub.site.gives("M", 5)
    await hub.push()
    other = assembled(config(Path("/unused")), KEYS, hub.hub.storage, clock())
    asked = [reserves(one, f"N{n}") for n in range(6) for one in (hub.hub, other)]
    ended = await asyncio.gather(*asked, return_exceptions=True)
    made = [one for one in ended if isinstance(one, Done) and one.new]
    known = [one for one in ended if isinstance(one, Done) and not one.new]
    no = [one.code for one in ended if isinstance(one, Refused)]
    assert (len(made), len(known), no) == (5, 5, ["capacity.none"] * 2)
    assert len({one.ref for one in made}) == 5
    escrow = (await hub.book()).book.rights.escrow
    assert (len(escrow.promises), escrow.hub_free("M")) == (5, 0)
    shelf = await hub.hub.shelf("0042")
    log = await shelf.log(await origin_of(hub))
    assert log is not None
    items = await shelf.read(log.origin, 0, log.size)
    kinds = [b"reservation.made" in one.entry for one in items]
    assert kinds.count(True) == 5


async def test_two_processes_on_one_database_spend_a_right_once(tmp_path: Path) -> None:
    url = await url_of("postgres", tmp_path)
    async with stage(tmp_path, url) as hub:
        hub.site.gives("M", 1)
        await hub.push()
        storage = await opened(url)
        try:
            other = assembled(config(tmp_path, url), KEYS, storage, clock())
            ended = await asyncio.gather(
                reserves(hub.hub, "N1"), reserves(other, "N2"), return_exceptions=True
            )
        finally:
            await storage.close()
        assert sorted(type(one).__name__ for one in ended) == ["Done", "Refused"]


async def test_two_processes_that_add_one_site_choose_one_epoch(hub: Stage) -> None:
    other = assembled(config(Path("/unused")), KEYS, hub.hub.storage, clock())
    vkey = FakeSite(KEYS.code_key("0043", 1), site_id="0043").vkey
    sites = await asyncio.gather(*(one.add_site("0043", vkey) for one in (hub.hub, other) * 3))
    assert len({one.epoch for one in sites}) == 1
    for one in (hub.hub, other):
        logs = await (await one.shelf("0043")).logs()
        assert [log.size for log in logs] == [0, 1]
        assert not await one.storage.unsealed("0043")


async def test_a_site_that_another_process_adds_meanwhile_is_that_site_or_refused(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry, storage = small.hub.registry, small.hub.storage
    site, known = storage.site, await small.hub.registry.get("0042")

    async def not_yet(site_id: str) -> Any:
        monkeypatch.setattr(storage, "site", site)
        return None

    monkeypatch.setattr(storage, "site", not_yet)
    assert await registry.add("0042", small.site.vkey) == known
    monkeypatch.setattr(storage, "site", not_yet)
    other = FakeSite(small.site.key, seed=bytes(32)).vkey
    with pytest.raises(TheirsInvalid, match=r"hub\.site_exists"):
        await registry.add("0042", other)

    async def fails(_site: Any) -> None:
        raise StoreFailed("full")

    monkeypatch.setattr(storage, "site", not_yet)
    monkeypatch.setattr(storage, "add_site", fails)
    with pytest.raises(StoreFailed):
        await registry.add("0042", small.site.vkey)


async def test_a_miss_is_decided_again_on_the_newer_book(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A right that somebody else spends between the decision and the append is not spent again."""
    small.site.gives("M", 1)
    await small.push()
    other = assembled(config(Path("/unused")), KEYS, small.hub.storage, clock())
    append = small.hub.storage.append
    turns = 0

    async def late(*args: Any, **more: Any) -> Any:
        nonlocal turns
        turns += 1
        if turns == 1:
            await reserves(other, "N1")
        return await append(*args, **more)

    monkeypatch.setattr(small.hub.storage, "append", late)
    with pytest.raises(Refused, match=r"capacity\.none"):
        await reserves(small.hub, "N2")
    assert turns == 2, "the first append missed; the second decision was no"


async def test_what_another_process_left_unsigned_does_not_stop_this_one(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It committed, and died before it signed, just when this one was about to append."""
    small.site.gives("M", 1)
    await small.push()
    other = assembled(config(Path("/unused")), KEYS, small.hub.storage, clock())
    append, seal = small.hub.storage.append, small.hub.storage.seal
    turns = 0

    async def dies(*_args: Any) -> None:
        raise StoreFailed("io")

    async def late(*args: Any, **more: Any) -> Any:
        nonlocal turns
        turns += 1
        if turns == 1:
            monkeypatch.setattr(small.hub.storage, "seal", dies)
            with pytest.raises(StoreFailed):
                await reserves(other, "N1")
            monkeypatch.setattr(small.hub.storage, "seal", seal)
        return await append(*args, **more)

    monkeypatch.setattr(small.hub.storage, "append", late)
    with pytest.raises(Refused, match=r"capacity\.none"):
        await reserves(small.hub, "N2")
    assert len((await small.book()).book.rights.escrow.promises) == 1


async def test_after_so_many_misses_the_hub_is_busy(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never(*_args: Any, **_more: Any) -> Any:
        raise Moved(size=0)

    monkeypatch.setattr(small.hub.storage, "append", never)
    body = {"by": "ops", "parcel": PARCEL, "says": "lost"}
    told = await small.refused("POST", f"{S}/claims", "hub.busy", 503, body)
    assert told["evidence"] == {"attempts": 8}
    with pytest.raises(Busy):
        await reserves_claim(small)


async def reserves_claim(hub: Stage) -> Done:
    site = await hub.hub.registry.get("0042")
    return await hub.hub.voice.say(
        site, "ops", lambda book, desk: issue.claim(book, desk, identity=IDENTITY, says="lost")
    )


# --- a crash between commit and signature -------------------------------------------------------


async def test_what_was_committed_and_not_signed_is_signed_and_not_said_again(
    hub: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.site.gives("M", 1)
    await hub.push()
    seal = hub.hub.storage.seal

    async def dies(*_args: Any) -> None:
        raise StoreFailed("io")

    monkeypatch.setattr(hub.hub.storage, "seal", dies)
    with pytest.raises(StoreFailed):
        await reserves(hub.hub, "N1")
    monkeypatch.setattr(hub.hub.storage, "seal", seal)
    shelf = await hub.hub.shelf("0042")
    log = await shelf.log(await origin_of(hub))
    assert log is not None
    assert log.size == 0, "nobody was told"
    done = await reserves(hub.hub, "N1")
    assert not done.new
    with pytest.raises(Refused, match=r"capacity\.none"):
        await reserves(hub.hub, "N2")


async def test_a_restored_hub_signs_nothing_that_was_left_unsigned(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lost hub may have signed another entry of that number."""

    async def dies(*_args: Any) -> None:
        raise StoreFailed("io")

    with monkeypatch.context() as patched:
        patched.setattr(small.hub.storage, "seal", dies)
        with pytest.raises(StoreFailed):
            await reserves_claim(small)
    old = await origin_of(small)
    await small.hub.restored()
    await reserves_claim(small)
    held = await (await small.hub.shelf("0042")).log(old)
    assert held is not None
    assert (held.size, held.own) == (0, False)
    assert await origin_of(small) != old


@pytest.mark.parametrize("unsigned", [False, True])
async def test_a_hub_restored_from_a_backup_is_healed_with_its_own_entries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, unsigned: bool
) -> None:
    """The gateway holds the hub's signed lanes; a promise made after the backup counts again."""

    async def dies(*_args: Any) -> None:
        raise StoreFailed("io")

    async with stage(tmp_path / "old", await url_of("sqlite", tmp_path / "old")) as hub:
        hub.site.gives("M", 3)
        await hub.push()
        await reserves(hub.hub, "N1")
        if unsigned:
            with monkeypatch.context() as patched:
                patched.setattr(hub.hub.storage, "seal", dies)
                with pytest.raises(StoreFailed):
                    await reserves(hub.hub, "N2")
    await asyncio.to_thread(shutil.copytree, tmp_path / "old", tmp_path / "new")
    held: list[Chunk] = []
    storage = await opened(f"sqlite://{tmp_path}/old/hub.db")
    try:
        lost = assembled(config(tmp_path), KEYS, storage, clock())
        await reserves(lost, "N2")
        await reserves(lost, "N3")
        shelf = await lost.shelf("0042")
        for log in await shelf.logs():
            if log.own:
                items = await shelf.read(log.origin, 0, log.size)
                held.append(Chunk(log.origin, 0, tuple(one.entry for one in items), log.note))
    finally:
        await storage.close()

    storage = await opened(f"sqlite://{tmp_path}/new/hub.db")
    try:
        back = assembled(config(tmp_path), KEYS, storage, clock())
        await back.restored()
        for tracking in ("N2", "N4"):
            with pytest.raises(Refused, match=r"hub\.fenced"):
                await reserves(back, tracking)
        shelf = await back.shelf("0042")
        for chunk in held:
            await shelf.extend(chunk)
        await back.arrived("0042")
        await back.heal("0042")
        assert not (await reserves(back, "N3")).new
        with pytest.raises(Refused, match=r"capacity\.none"):
            await reserves(back, "N4")
        book = (await back.book("0042")).book
        assert (len(book.rights.escrow.promises), book.stopped) == (3, {})
    finally:
        await storage.close()


async def test_an_entry_that_would_be_too_long_is_refused(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(issue, "TEXT_MAX", 10_000)
    site = await small.hub.registry.get("0042")
    with pytest.raises(Refused, match=r"request\.too_long"):
        await small.hub.voice.say(
            site, "ops", lambda b, d: issue.service(b, d, door=1, out=True, why="x" * 5_000)
        )


# --- the books in memory ------------------------------------------------------------------------


async def test_a_bounded_number_of_books_is_held(tmp_path: Path) -> None:
    url = await url_of("sqlite", tmp_path)
    storage = await opened(url)
    try:
        chosen = config(tmp_path, url)
        hub = assembled(replace_books(chosen, held_max=2), KEYS, storage, clock())
        for name in ("0042", "0043", "0044"):
            await hub.add_site(name, FakeSite(KEYS.code_key(name, 1), site_id=name).vkey)
        assert hub.projections.held == 2
        assert (await hub.book("0042")).book.sizes
    finally:
        await storage.close()


def replace_books(chosen: Any, **books: int) -> Any:
    changed = msgspec.structs.replace(chosen.books, **books)
    return msgspec.structs.replace(chosen, books=changed)


async def test_a_kept_book_and_its_suffix_are_the_book(
    hub: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(projections, "KEEP_EVERY", 5)
    hub.site.deposits(IDENTITY, 1)
    await hub.push()
    whole = (await hub.book()).book.canonical()
    assert await hub.hub.storage.latest_book("0042", FOLD) is not None
    monkeypatch.setattr(projections, "KEEP_EVERY", 10_000)
    hub.site.deposits("acme/N2/1", 2)
    await hub.push()
    hub.hub.projections.forget("0042")
    again = (await hub.book()).book
    fresh = Projection("0042", await hub.hub.shelf("0042"))
    await fresh.refresh()
    assert again.canonical() == fresh.book.canonical() != whole
    parcels = (await hub.get(f"{S}/book", part="parcels"))["parcels"]
    assert [one["parcel"] for one in parcels] == [IDENTITY, "acme/N2/1"]


async def test_a_kept_book_that_is_none_is_left_aside(hub: Stage) -> None:
    hub.site.deposits(IDENTITY, 1)
    await hub.push()
    whole = (await hub.book()).book.canonical()
    await hub.hub.storage.keep_book("0042", Snapshot(FOLD, {}, b"{}", 1))
    hub.hub.projections.forget("0042")
    assert (await hub.book()).book.canonical() == whole


async def test_a_suffix_of_an_older_epoch_makes_the_book_anew(hub: Stage) -> None:
    """A site restored from a backup opens an epoch; what it had lost comes back after that."""
    lost = hub.site.written[Lane.CUSTODY][:]
    hub.site.deposits(IDENTITY, 1)
    size = len(lost)
    restored = FakeSite(hub.site.key, epoch="e2-0000abce")
    parents = {hub.site.origin(Lane.CUSTODY): (size, "")}
    restored.write(facts.EpochOpened(site="site/0042", version=1, parents=parents, why="restored"))
    restored.write(facts.CompartmentDisabled(door=3, by="installer", why="wet"))
    shelf = await hub.hub.shelf("0042")
    await restored.push(shelf)
    assert (await hub.book()).book.compartments[3].disabled == "wet"
    assert not (await hub.book()).book.parcels
    await hub.push()
    book = (await hub.book()).book
    assert not book.stale
    assert book.sizes["e1-0000abcd:sc"] == len(hub.site.written[Lane.CUSTODY])
    assert [one.identity for one in book.live()] == [IDENTITY]


async def test_the_order_in_which_links_bring_things_changes_nothing(hub: Stage) -> None:
    await hub.post(f"{S}/expected", parcel=PARCEL)
    hub.site.deposits(IDENTITY, 1)
    await hub.push()
    book = (await hub.book()).book
    fresh = type(book)()
    shelf = await hub.hub.shelf("0042")
    for log in reversed(await shelf.logs()):
        ref = "e1-0000abcd:s" if "/site/" in log.origin else None
        name = ref or str(next(k for k in book.sizes if ":h" in k)).rpartition(":")[0] + ":h"
        lane = log.origin.rpartition("/")[2][0]
        for item in reversed(await shelf.read(log.origin, 0, log.size)):
            fresh.take(*read(f"{name}{lane}", item.index, item.entry))
    assert fresh.canonical() == book.canonical()
