"""Pins that a plain pull makes two shelves equal, resumes anywhere, and believes no peer."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from backports import zstd

from certs.keys import SigningKey
from certs.note import Checkpoint, sign_checkpoint
from sync import pages
from sync.errors import StoreFailed, TheirsInvalid
from sync.frontier import Verdict
from sync.merkle import leaf_hash
from sync.pullclient import Limits, Summary, Unreachable, pull, watch
from sync.shelf import Shelf
from tests.pull_server import (
    CUSTODY,
    ORDERS,
    QUICK,
    SITE_SEED,
    URGENT,
    hub_shelf,
    served,
    serving,
    sign_receipt,
    site_shelf,
)
from tests.shelf_memory import MemoryShelf, entry, private

LIMIT_S = 30.0


@pytest.fixture
def site() -> MemoryShelf:
    shelf = site_shelf(CUSTODY, URGENT)
    shelf.write(CUSTODY, *(entry(number) for number in range(1500)), private(b"acme/1/1", 1500))
    shelf.write(URGENT, entry(1, "epoch.opened"))
    return shelf


@pytest.fixture
def hub() -> MemoryShelf:
    shelf = hub_shelf(ORDERS)
    shelf.write(ORDERS, entry(1), private(b"acme/2/1", 2), *(entry(at) for at in range(3, 700)))
    return shelf


async def pulled(base: str, shelf: Shelf, **more: Any) -> Summary:
    async with asyncio.timeout(LIMIT_S), aiohttp.ClientSession() as session:
        return await pull(session, base, shelf, **({"limits": QUICK} | more))


def equal(one: MemoryShelf, other: MemoryShelf) -> bool:
    def held(shelf: MemoryShelf) -> Any:
        return {name: (log.entries, log.annexes) for name, log in shelf.held.items() if log.entries}

    return bool(held(one) == held(other))


async def test_one_pull_makes_both_equal_and_the_next_has_nothing_to_do(
    site: MemoryShelf, hub: MemoryShelf
) -> None:
    async with serving(site) as base:
        done = await pulled(base, hub, peer="site/0042", cosign=sign_receipt)
        assert (done.pulled, done.pushed, done.annexes, done.receipts) == (1502, 699, 1, 2)
        assert (done.found, done.refused, done.more) == ([], [], False)
        assert equal(site, hub)
        assert {(origin, instance) for origin, _, instance in site.receipts} == {
            (CUSTODY, hub.instance), (URGENT, hub.instance)
        }  # fmt: skip
        assert done.bytes_in < 20_000, "zstd was asked for"
        again = await pulled(base, hub, peer="site/0042", cosign=sign_receipt)
        assert (again.pulled, again.pushed, again.annexes, again.receipts) == (0, 0, 0, 0)
        site.write(CUSTODY, entry(9))
        hub.write(ORDERS, entry(9))
        later = await pulled(base, hub, peer="site/0042", cosign=sign_receipt)
        assert (later.pulled, later.pushed, later.receipts) == (1, 1, 1)
        assert equal(site, hub)


async def test_a_fresh_store_gets_everything_back_without_giving(
    site: MemoryShelf, hub: MemoryShelf
) -> None:
    async with serving(site) as base:
        await pulled(base, hub)
    fresh = hub_shelf()
    async with serving(hub) as base:
        done = await pulled(base, fresh, push=False)
    assert (done.pulled, done.pushed) == (1502 + 699, 0)
    assert equal(fresh, hub)


@pytest.mark.parametrize("call", ["extend", "put_annexes"])
@pytest.mark.parametrize("nth", [0, 1, 2])
async def test_a_pull_that_broke_anywhere_is_taken_up_again(
    site: MemoryShelf, hub: MemoryShelf, call: str, nth: int
) -> None:
    site.write(CUSTODY, private(b"acme/3/1", 1501), *(entry(at) for at in range(700)))
    site.write(CUSTODY, private(b"acme/4/1", 9999))
    calm = getattr(hub, call)
    calls = 0

    async def breaking(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == nth + 1:
            raise StoreFailed("io")
        return await calm(*arguments)

    setattr(hub, call, breaking)
    async with serving(site) as base:
        broke = 0
        for _ in range(4):
            try:
                await pulled(base, hub)
            except StoreFailed:
                broke += 1
    assert broke == (calls > nth)
    assert equal(site, hub)


async def test_what_was_relayed_can_be_relayed_again(site: MemoryShelf, hub: MemoryShelf) -> None:
    site.write(CUSTODY, *(entry(at, note="x" * 3900) for at in range(300)))
    async with serving(site) as base:
        await pulled(base, hub)
    second, third = hub_shelf(), hub_shelf()
    async with serving(hub) as base:
        await pulled(base, second)
    async with serving(third) as base:
        done = await pulled(base, second)
    assert done.refused == []
    assert equal(third, site)


async def test_a_site_that_was_rolled_back_is_noticed_from_both_ends(
    site: MemoryShelf, hub: MemoryShelf
) -> None:
    async with serving(site) as base:
        await pulled(base, hub)
    whole = site.held[CUSTODY].notes[1501]
    site.forget_to(1000, CUSTODY)
    async with serving(site) as base:
        done = await pulled(base, hub, peer="site/0042")
        (found,) = done.found
        assert found[:4] == (Verdict.PEER_ROLLED_BACK, CUSTODY, 1501, 1000)
    async with serving(hub) as base:
        done = await pulled(base, site, peer="hub/0042")
        (found,) = done.found
        assert found == (Verdict.ROLLED_BACK, CUSTODY, 1000, 1501, whole)
        assert site.held[CUSTODY].entries == hub.held[CUSTODY].entries[:1000]


@pytest.mark.parametrize("more", [0, 5, -5])
async def test_a_fork_is_found_with_a_signed_note_and_nothing_moves(
    site: MemoryShelf, hub: MemoryShelf, more: int
) -> None:
    async with serving(site) as base:
        await pulled(base, hub)
    site.forget_to(1400, CUSTODY)
    site.write(CUSTODY, *(entry(at, "door.closed") for at in range(101 + more)))
    before = repr(hub.held[CUSTODY])
    async with serving(site) as base:
        done = await pulled(base, hub)
    (found,) = done.found
    assert (found.verdict, found.origin, found.ours) == (Verdict.FORK, CUSTODY, 1501)
    held = site.held[CUSTODY]
    assert found.note == held.sign(found.theirs)
    assert repr(hub.held[CUSTODY]) == before


async def test_a_writer_nobody_knows_is_left_and_named(site: MemoryShelf) -> None:
    stranger = "lockers.example/site/0077/e1-00000001/custody"
    site.begin(stranger, bytes(32))
    site.write(stranger, entry(1))
    hub = hub_shelf()
    async with serving(site) as base:
        done = await pulled(base, hub)
        assert [(one.origin, one.error.code) for one in done.refused] == [
            (stranger, "exchange.unknown_origin")
        ]
        assert CUSTODY in hub.held
        assert stranger not in hub.held
        site.prune(CUSTODY, 3)
        fresh = hub_shelf()
        done = await pulled(base, fresh)
        assert "exchange.pruned" in {one.error.code for one in done.refused}


async def test_a_pull_has_an_end_even_of_a_log_that_has_none(site: MemoryShelf) -> None:
    hub = hub_shelf()
    async with serving(site) as base:
        bounds = Limits(entries_max=600, attempts=1)
        done = await pulled(base, hub, limits=bounds)
        assert done.more
        assert 600 <= done.pulled <= 1112
        for _ in range(3):
            await pulled(base, hub, limits=bounds)
    assert equal(site, hub)


async def test_watching_waits_for_the_next_entry(site: MemoryShelf) -> None:
    async with asyncio.timeout(LIMIT_S), serving(site) as base, aiohttp.ClientSession() as session:
        assert await watch(session, base, CUSTODY, 7, 50) == 1501
        waiting = asyncio.create_task(watch(session, base, CUSTODY, 1501, 50))
        await asyncio.sleep(0.1)
        assert not waiting.done()
        site.write(CUSTODY, entry(3))
        assert await waiting == 1502


async def test_a_peer_that_comes_back_is_asked_again_and_one_that_does_not_is_named(
    site: MemoryShelf,
) -> None:
    for _ in range(2):
        site.fail_next("read", StoreFailed("busy"))
    hub = hub_shelf()
    async with serving(site) as base:
        assert (await pulled(base, hub)).pulled == 1502
    with pytest.raises(Unreachable) as caught:
        await pulled(base, hub)
    assert caught.value.code == "exchange.unreachable"
    assert caught.value.evidence["cause"] == "ClientConnectorError"


# --- peers that lie -------------------------------------------------------------------------------

Twist = Callable[[web.Request, web.Response], Awaitable[web.StreamResponse]]


async def lied_to(site: MemoryShelf, hub: MemoryShelf, where: str, twist: Twist) -> Summary:
    """Pull through a proxy that twists every answer whose path ends in `where`."""

    async with serving(site) as honest:

        async def relay(request: web.Request) -> web.StreamResponse:
            data = await request.read()
            async with aiohttp.ClientSession() as session:
                url = honest + str(request.rel_url).partition("/sync/v1")[2]
                async with session.request(request.method, url, data=data) as answer:
                    body = await answer.read()
                    response = web.Response(status=answer.status, body=body)
                    for key in ("Log-From", "Log-Next", "Log-Size", "Content-Type"):
                        if key in answer.headers:
                            response.headers[key] = answer.headers[key]
            return await twist(request, response) if request.path.endswith(where) else response

        async with served([web.route("*", "/{rest:.*}", relay)]) as address:
            return await pulled(f"{address}/sync/v1", hub)


def header(**values: str) -> Twist:
    async def twist(_: web.Request, response: web.Response) -> web.StreamResponse:
        for key, value in values.items():
            response.headers[key.replace("_", "-")] = value
        return response

    return twist


def body(change: Callable[[bytes], bytes], **headers: str) -> Twist:
    async def twist(_: web.Request, response: web.Response) -> web.StreamResponse:
        assert isinstance(response.body, bytes)
        response.body = change(response.body)
        for key, value in headers.items():
            response.headers[key.replace("_", "-")] = value
        return response

    return twist


def swap(old: bytes, new: bytes) -> Twist:
    return body(lambda data: data.replace(old, new))


async def endless(request: web.Request, _: web.Response) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Log-From": "0", "Log-Next": "1", "Log-Size": "1"})
    await response.prepare(request)
    while True:
        await response.write(b"{}" * 30_000)


async def elsewhere(_: web.Request, __: web.Response) -> web.StreamResponse:
    raise web.HTTPFound("http://127.0.0.1:9/")


BOMB = zstd.compress(b"0" * (1 << 28))
FORGED = sign_checkpoint(
    Checkpoint(CUSTODY, 512, leaf_hash(b"")), SigningKey.from_seed(CUSTODY, SITE_SEED)
)

LIES: dict[str, tuple[str, Twist, str]] = {
    "log-from": ("entries", header(Log_From="1"), "exchange.page"),
    "log-next": ("entries", header(Log_Next="100"), "exchange.page"),
    "log-next negative": ("entries", header(Log_Next="-1"), "exchange.query"),
    "log-size": ("entries", header(Log_Size="3"), "exchange.page"),
    "log-size huge": ("entries", header(Log_Size="9" * 40), "exchange.query"),
    "nothing of something": ("entries", body(lambda _: b"", Log_Next="0"), "exchange.page"),
    "no last end": ("entries", body(lambda data: data[:-1]), "exchange.page"),
    "one line less": ("entries", body(lambda data: data[data.index(b"\n") + 1 :]), "exchange.page"),
    "no json": ("entries", body(lambda data: b"x" + data), "exchange.malformed"),
    "bytes": ("entries", body(lambda data: data.replace(b"{", b"\xff", 1)), "exchange.malformed"),
    "another entry": ("entries", swap(b"[1,7]", b"[1,8]"), "exchange.root"),
    "no entry": ("entries", swap(b"[1,7]", b"null"), "exchange.entry"),
    "endless": ("entries", endless, "exchange.too_large"),
    "bomb": ("entries", body(lambda _: BOMB, Content_Encoding="zstd"), "exchange.too_large"),
    "no zstd": ("entries", body(lambda _: b"x", Content_Encoding="zstd"), "exchange.coding"),
    "br": ("entries", body(lambda _: b"x", Content_Encoding="br"), "exchange.coding"),
    "redirect": ("entries", elsewhere, "exchange.http"),
    "no checkpoint": ("checkpoint", body(lambda _: b""), "exchange.note"),
    "no utf8": ("checkpoint", body(lambda _: b"\xff"), "exchange.note"),
    "note of another size": ("checkpoint", swap(b"\n512\n", b"\n513\n"), "exchange.note"),
    "note endless": ("checkpoint", body(lambda data: data * 999), "exchange.too_large"),
    "forged root": ("checkpoint", body(lambda _: FORGED.encode()), "exchange.root"),
    "logs no json": ("logs", body(lambda _: b"["), "exchange.malformed"),
    "logs deep": ("logs", body(lambda _: b"[" * 99_999), "exchange.malformed"),
    "logs twice": ("logs", body(lambda data: data[:-1] + b"," + data[1:]), "exchange.malformed"),
    "logs endless": ("logs", endless, "exchange.too_large"),
    "logs no hash": ("logs", swap(b'=","vkey', b'!","vkey'), "exchange.hashes"),
    "logs a path": ("logs", swap(b"lockers", b"../../x"), "origin.malformed"),
    "logs negative": ("logs", swap(b'"size":1501', b'"size":-1'), "exchange.malformed"),
    "logs larger": ("logs", swap(b'"size":1501', b'"size":9001'), "exchange.no_checkpoint"),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
async def test_a_lie_is_refused_with_its_code_and_nothing_of_it_is_stored(
    site: MemoryShelf, name: str
) -> None:
    site.forget_to(0, URGENT)
    hub = hub_shelf()
    where, twist, code = LIES[name]
    try:
        done = await lied_to(site, hub, where, twist)
    except TheirsInvalid as error:
        refusals = [error]
    else:
        refusals = [one.error for one in done.refused]
        assert done.found == []
    assert code in {error.code for error in refusals}
    assert all(error.remedy and len(str(error)) < 1000 for error in refusals)
    held = hub.held[CUSTODY].entries if CUSTODY in hub.held else []
    assert held == site.held[CUSTODY].entries[: len(held)]
    async with serving(site) as base:
        await pulled(base, hub)
    assert equal(site, hub)


async def test_a_fork_that_is_only_claimed_is_no_finding(site: MemoryShelf) -> None:
    hub = hub_shelf()
    async with serving(site) as base:
        await pulled(base, hub)
        right = json.loads(msgspec.json.encode(pages.Told.of(site.held[CUSTODY].log())))

    def claim(data: bytes) -> bytes:
        return data.replace(right["root"].encode(), b"A" * 43 + b"=")

    done = await lied_to(site, hub, "logs", body(claim))
    assert done.found == []
    assert [one.error.code for one in done.refused] == ["exchange.root"]
    own = hub_shelf()
    own.held[CUSTODY] = site_shelf(CUSTODY).held[CUSTODY]
    done = await lied_to(site, own, "checkpoint", body(lambda _: FORGED.encode()))
    assert (done.found, done.refused[0].error.code) == ([], "exchange.size")


@pytest.mark.parametrize("said", [b"SSH-2.0-OpenSSH_9.6\r\n", b""])
async def test_what_answers_there_need_not_speak_http(said: bytes) -> None:
    gone = asyncio.Event()
    talking: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await reader.read(100)
            writer.write(said)
            if not said:
                await gone.wait()
            writer.close()
            await writer.wait_closed()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talking.add(asyncio.get_running_loop().create_task(talk(reader, writer)))

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        limits = Limits(request_s=0.3, attempts=2, pause_s_max=0.01)
        with pytest.raises((TheirsInvalid, Unreachable), match=r"^exchange\."):
            await pulled(f"http://127.0.0.1:{port}/sync/v1", hub_shelf(), limits=limits)
        gone.set()
        await asyncio.gather(*talking)
