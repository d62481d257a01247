"""Pins plain pull as the table of FORMATS.md 4 has it: each resource, header, refusal, bound."""

import asyncio
import gzip
import json
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from aiohttp import web
from backports import zstd

from certs.note import Checkpoint, cosign, open_checkpoint, sign_checkpoint
from sync import pages, proof
from sync.errors import StoreFailed, TheirsInvalid
from sync.intake import Chunk
from sync.merkle import Tree, leaf_hash, verify_consistency
from sync.pages import BODY_BYTES_MAX, choose_coding
from sync.pull import Bounds, make_routes
from sync.shelf import Item, Log, Shelf
from tests.pull_server import (
    COSIGNER,
    CUSTODY,
    HUB_SEED,
    NOW_S,
    ORDERS,
    URGENT,
    Ask,
    Got,
    asking,
    hub_shelf,
    served,
    serving,
    site_shelf,
    verifier,
)
from tests.shelf_memory import MemoryShelf, entry, private

LOG = f"/logs/{CUSTODY}"
LIMIT_S = 20.0


@pytest.fixture
def shelf() -> MemoryShelf:
    shelf = site_shelf(CUSTODY, URGENT)
    shelf.write(CUSTODY, *(entry(number) for number in range(40)), private(b"caf\xc3\xa9", 40))
    return shelf


@pytest.fixture
async def ask(shelf: MemoryShelf) -> AsyncIterator[Ask]:
    async with asyncio.timeout(LIMIT_S), serving(shelf) as base, asking(base) as asked:
        yield asked


def refused(got: Got, status: int, code: str) -> dict[str, Any]:
    """Assert a refusal with its code, and return what it says."""
    body: dict[str, Any] = json.loads(got.body)
    assert (got.status, body["code"]) == (status, f"exchange.{code}"), body
    assert got.headers["Content-Type"].startswith("application/json")
    assert body["remedy"]
    assert isinstance(body["evidence"], dict)
    return body


def entries_of(shelf: MemoryShelf, first: int, stop: int) -> bytes:
    return b"".join(data + b"\n" for data in shelf.held[CUSTODY].entries[first:stop])


# --- reading --------------------------------------------------------------------------------------


async def test_the_list_names_each_log_with_its_head_and_this_store(
    shelf: MemoryShelf, ask: Ask
) -> None:
    got = await ask("GET", "/logs")
    custody, urgent = json.loads(got.body)
    log = await shelf.log(CUSTODY)
    assert log is not None
    assert custody["origin"] == CUSTODY
    assert (custody["size"], custody["oldest"], custody["vkey"]) == (41, 0, log.vkey)
    assert pages.read_logs(got.body)[0].head == log.root
    assert (urgent["origin"], urgent["size"]) == (URGENT, 0)
    assert got.headers["Store-Instance"] == shelf.instance


@pytest.mark.parametrize(
    "origin", [CUSTODY, CUSTODY.replace("/", "%2F"), CUSTODY.replace("/", "%2f")]
)
async def test_an_origin_is_written_with_slashes_or_escaped(ask: Ask, origin: str) -> None:
    for resource in ("entries", "checkpoint", "proof?index=0", "peaks", "consistency?from=1"):
        got = await ask("GET", f"/logs/{origin}/{resource}")
        assert got.status == 200, resource


async def test_entries_come_as_stored_with_the_cursor_of_the_next_page(
    shelf: MemoryShelf, ask: Ask
) -> None:
    got = await ask("GET", f"{LOG}/entries?from=10&max_bytes=200")
    assert got.headers["Content-Type"] == "application/x-ndjson"
    first, following, size = (int(got.headers[f"Log-{key}"]) for key in ("From", "Next", "Size"))
    assert (first, size) == (10, 41)
    assert 10 < following < 41
    assert got.body == entries_of(shelf, 10, following)
    assert len(got.body) <= 200
    rest = await ask("GET", f"{LOG}/entries?from={following}")
    assert rest.body == entries_of(shelf, following, 41)
    assert (await ask("GET", f"{LOG}/entries")).headers["Log-From"] == "0"


async def test_a_page_has_one_entry_at_least_and_512_at_most(shelf: MemoryShelf, ask: Ask) -> None:
    got = await ask("GET", f"{LOG}/entries?from=3&max_bytes=1")
    assert got.body == entries_of(shelf, 3, 4)
    shelf.write(CUSTODY, *(entry(number) for number in range(1000)))
    got = await ask("GET", f"{LOG}/entries?from=3&max_bytes=99999999")
    assert got.headers["Log-Next"] == "515"


async def test_a_relayed_log_is_cut_where_a_checkpoint_exists(shelf: MemoryShelf) -> None:
    hub = hub_shelf()
    for stop in (7, 20, 41):
        held = (await hub.log(CUSTODY)) or None
        first = held.size if held else 0
        note = await shelf.note(CUSTODY, stop)
        data = tuple(item.entry for item in await shelf.read(CUSTODY, first, stop))
        await hub.extend(Chunk(CUSTODY, first, data, note or ""))
    async with serving(hub) as base, asking(base) as ask:
        got = await ask("GET", f"{LOG}/entries?max_bytes=500")
        assert got.headers["Log-Next"] == "7"
        for size, status in ((7, 200), (8, 404), (41, 200)):
            got = await ask("GET", f"{LOG}/checkpoint?size={size}")
            assert got.status == status
        got = await ask("GET", f"{LOG}/proof?index=3&size=8")
        refused(got, 404, "no_checkpoint")


async def test_annexes_come_beside_their_entries_until_they_are_erased(
    shelf: MemoryShelf, ask: Ask
) -> None:
    got = await ask("GET", f"{LOG}/entries?from=39&annex=1")
    without, having = map(json.loads, got.body.splitlines())
    assert set(without) == {"entry"}
    assert (having["annex"], having["salt"]) == ("caf\u00e9", "AAECAwQFBgcICQoLDA0ODw==")
    assert having["entry"].encode() == shelf.held[CUSTODY].entries[40]
    page = pages.read_page(got.body, 39, annex=True)
    assert page.annexes == ((40, shelf.held[CUSTODY].annexes[40]),)
    assert b"salt" not in (await ask("GET", f"{LOG}/entries?from=39&annex=0")).body
    shelf.erase(CUSTODY, 40)
    again = await ask("GET", f"{LOG}/entries?from=40&annex=1")
    assert set(json.loads(again.body)) == {"entry"}
    assert again.headers["ETag"] != got.headers["ETag"]


@pytest.mark.parametrize(
    ("accepts", "coding"),
    [
        (None, None), ("", None), ("zstd", "zstd"), ("gzip", "gzip"), ("gzip, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"), ("zstd;q=0, *", "gzip"), ("br", None), ("*", "zstd"),
        ("gzip;q=0.1, identity;q=0.9", None), ("GZIP;Q=1", "gzip"),
        ("zstd;q=nonsense, gzip", "gzip"),
        ("deflate, gzip;q=1.000, br", "gzip"),
    ],
)  # fmt: skip
async def test_the_coding_is_the_one_liked_best(
    shelf: MemoryShelf, ask: Ask, accepts: str | None, coding: str | None
) -> None:
    headers = {} if accepts is None else {"Accept-Encoding": accepts}
    got = await ask("GET", f"{LOG}/entries", headers=headers)
    assert got.headers.get("Content-Encoding") == coding
    undo = {"zstd": zstd.decompress, "gzip": gzip.decompress}.get(coding or "", bytes)
    assert undo(got.body) == entries_of(shelf, 0, 41)
    assert got.headers["Vary"] == "Accept-Encoding"


async def test_who_accepts_nothing_of_ours_is_told_so(ask: Ask) -> None:
    for accepts in ("identity;q=0", "*;q=0", "br, identity;q=0.0"):
        got = await ask("GET", "/logs", headers={"Accept-Encoding": accepts})
        refused(got, 406, "not_acceptable")
    assert choose_coding("*;q=0, gzip") == "gzip"


async def test_what_is_held_already_is_not_sent_again(shelf: MemoryShelf, ask: Ask) -> None:
    for path in ("/logs", f"{LOG}/entries?from=2", f"{LOG}/checkpoint", f"{LOG}/peaks"):
        tag = (await ask("GET", path)).headers["ETag"]
        for held in (tag, f'"x", {tag}', f"W/{tag}", "*"):
            got = await ask("GET", path, headers={"If-None-Match": held})
            assert (got.status, got.body) == (304, b""), (path, held)
            assert got.headers["ETag"] == tag
        got = await ask("GET", path, headers={"If-None-Match": '"other"'})
        assert got.status == 200
    tag = (await ask("GET", f"{LOG}/entries?from=2")).headers["ETag"]
    packed = await ask("GET", f"{LOG}/entries", headers={"Accept-Encoding": "gzip"})
    plain = await ask("GET", f"{LOG}/entries", headers={"If-None-Match": packed.headers["ETag"]})
    assert plain.status == 200
    shelf.write(CUSTODY, entry(99))
    got = await ask("GET", f"{LOG}/entries?from=2", headers={"If-None-Match": tag})
    assert got.status == 200


async def test_a_long_poll_answers_when_something_comes(shelf: MemoryShelf, ask: Ask) -> None:
    waiting = asyncio.ensure_future(ask("GET", f"{LOG}/entries?from=41&wait=55"))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    shelf.write(CUSTODY, entry(41))
    got = await waiting
    assert (got.body, got.headers["Log-Next"]) == (entry(41) + b"\n", "42")
    got = await ask("GET", f"{LOG}/entries?from=0&wait=55")
    assert got.headers["Log-Next"] == "42"


async def test_a_long_poll_ends_with_nothing(ask: Ask) -> None:
    began = time.monotonic()
    got = await ask("GET", f"{LOG}/entries?from=41&wait=1")
    assert time.monotonic() - began >= 1
    assert (got.status, got.body) == (200, b"")
    assert [got.headers[f"Log-{key}"] for key in ("From", "Next", "Size")] == ["41"] * 3


async def test_long_polls_are_bounded_and_those_whose_peer_left_are_let_go(
    shelf: MemoryShelf,
) -> None:
    bounds = Bounds(polls_max=2, look_s=0.05)
    async with asyncio.timeout(LIMIT_S), serving(shelf, bounds=bounds) as base:
        path = f"{LOG}/entries?from=41&wait=55"
        async with asking(base) as ask:
            polls = [asyncio.ensure_future(ask("GET", path)) for _ in range(2)]
            await asyncio.sleep(0.2)
            got = await ask("GET", path)
            refused(got, 503, "busy")
            assert got.headers["Retry-After"]
            assert (await ask("GET", f"{LOG}/entries?from=41")).status == 200
            for poll in polls:
                poll.cancel()
            await asyncio.gather(*polls, return_exceptions=True)
        await asyncio.sleep(0.3)
        async with asking(base) as ask:
            assert (await ask("GET", f"{LOG}/entries?from=41&wait=1")).status == 200


async def test_what_is_beyond_and_what_was_pruned_is_refused_with_where_to_go(
    shelf: MemoryShelf, ask: Ask
) -> None:
    body = refused(await ask("GET", f"{LOG}/entries?from=42"), 409, "beyond")
    assert body["size"] == 41
    shelf.prune(CUSTODY, 5)
    body = refused(await ask("GET", f"{LOG}/entries?from=4"), 410, "pruned")
    assert body["evidence"] == {
        "oldest": 5, "size": 41, "snapshot": "/sync/v1/snapshots/latest"
    }  # fmt: skip
    assert (await ask("GET", f"{LOG}/entries?from=5")).body == entries_of(shelf, 5, 41)
    assert (await ask("GET", f"{LOG}/proof?index=4")).status == 200


async def test_an_own_logs_checkpoint_of_any_size_is_signed_anew(
    shelf: MemoryShelf, ask: Ask
) -> None:
    for size in (0, 1, 17, 41):
        got = await ask("GET", f"{LOG}/checkpoint?size={size}")
        assert got.headers["Content-Type"].startswith("text/plain")
        said = open_checkpoint(got.body, verifier(shelf, CUSTODY))
        assert (said.size, said.root) == (size, await shelf.root(CUSTODY, size))
    latest = (await ask("GET", f"{LOG}/checkpoint")).body
    assert open_checkpoint(latest, verifier(shelf, CUSTODY)).size == 41
    refused(await ask("GET", f"{LOG}/checkpoint?size=42"), 404, "no_checkpoint")


async def test_proofs_peaks_and_consistency_lead_to_the_signed_root(
    shelf: MemoryShelf, ask: Ask
) -> None:
    for query, size in (("index=7", 41), ("index=7&size=20", 20), ("index=19&size=20", 20)):
        got = await ask("GET", f"{LOG}/proof?{query}")
        at = int(query.partition("&")[0][6:])
        data = shelf.held[CUSTODY].entries[at]
        shown = proof.check(data, got.body, verifier(shelf, CUSTODY))
        assert (shown.index, shown.checkpoint.size) == (at, size)
    refused(await ask("GET", f"{LOG}/proof?index=41"), 404, "no_entry")
    refused(await ask("GET", f"{LOG}/proof?index=3&size=42"), 404, "no_checkpoint")
    for size in (0, 1, 13, 41):
        peaks = pages.read_hashes((await ask("GET", f"{LOG}/peaks?size={size}")).body)
        assert Tree.from_peaks(size, peaks).root() == await shelf.root(CUSTODY, size)
        got = await ask("GET", f"{LOG}/consistency?from={size}&to=41")
        old, new = await shelf.root(CUSTODY, size), await shelf.root(CUSTODY, 41)
        assert old is not None
        assert new is not None
        verify_consistency(size, old, 41, new, pages.read_hashes(got.body))
    body = refused(await ask("GET", f"{LOG}/peaks?size=42"), 409, "beyond")
    assert body["size"] == 41
    refused(await ask("GET", f"{LOG}/consistency?from=1&to=42"), 409, "beyond")
    refused(await ask("GET", f"{LOG}/consistency?from=5&to=4"), 400, "query")


async def test_the_snapshot_is_what_the_mount_gives(shelf: MemoryShelf, ask: Ask) -> None:
    refused(await ask("GET", "/snapshots/latest"), 404, "no_snapshot")

    async def newest(request: web.Request) -> bytes | None:
        return b'{"fold":1}'

    async with serving(shelf, newest) as base, asking(base) as other:
        got = await other("GET", "/snapshots/latest")
        assert (got.status, got.body) == (200, b'{"fold":1}')


@pytest.mark.parametrize(
    "path",
    [
        f"{LOG}/entries?from=-1", f"{LOG}/entries?from=1.0", f"{LOG}/entries?from=",
        f"{LOG}/entries?from=01", f"{LOG}/entries?from=1&from=2", f"{LOG}/entries?wait=x",
        f"{LOG}/entries?annex=2", f"{LOG}/entries?max_bytes=%00", f"{LOG}/proof",
        f"{LOG}/entries?from=9007199254740992", f"{LOG}/entries?from=%D9%A1", f"{LOG}/consistency",
        f"{LOG}/checkpoint?size=", f"{LOG}/peaks?size=%20", f"{LOG}/entries?from=" + "9" * 5000,
    ],
)  # fmt: skip
async def test_a_query_that_is_none_is_named(ask: Ask, path: str) -> None:
    body = refused(await ask("GET", path), 400, "query")
    assert body["evidence"]["key"]
    assert len(str(body)) < 400


async def test_what_is_not_there_and_what_cannot_be_done_is_json_too(ask: Ask) -> None:
    for path in ("", "/", "/nothing", "/logs/", "/logs/x", f"{LOG}/", f"{LOG}/entries/"):
        refused(await ask("GET", path), 404, "no_resource")
    for path in (f"/logs/{ORDERS}x/entries", "/logs/x/checkpoint", "/logs/%00/proof?index=0"):
        refused(await ask("GET", path), 404, "unknown_origin")
    for method, path, allowed in (
        ("POST", "/logs", "GET, HEAD"),
        ("DELETE", f"{LOG}/entries", "GET, HEAD, POST"),
        ("GET", f"{LOG}/cosignatures", "POST"),
        ("PATCH", f"{LOG}/peaks", "GET, HEAD"),
    ):
        got = await ask(method, path)
        refused(got, 405, "method")
        assert got.headers["Allow"] == allowed
    got = await ask("HEAD", f"{LOG}/entries?from=40")
    assert (got.status, got.headers["Log-Next"], got.body) == (200, "41", b"")


async def test_a_disk_that_refuses_is_503_and_said_with_its_code(
    shelf: MemoryShelf, ask: Ask
) -> None:
    shelf.fail_next("read", StoreFailed("io"))
    got = await ask("GET", f"{LOG}/entries")
    assert (got.status, json.loads(got.body)["code"]) == (503, "store.io")


# --- cosignatures ---------------------------------------------------------------------------------


async def test_a_cosignature_is_kept_as_receipt(shelf: MemoryShelf, ask: Ask) -> None:
    note = (await ask("GET", f"{LOG}/checkpoint?size=30")).body.decode()
    signed = note + cosign(note, COSIGNER, NOW_S)
    headers = {"Store-Instance": "00112233445566aa"}
    for _ in range(2):
        got = await ask("POST", f"{LOG}/cosignatures", data=signed, headers=headers)
        assert (got.status, got.body) == (204, b"")
    assert shelf.receipts[0] == (CUSTODY, signed, "00112233445566aa")
    assert json.loads((await ask("GET", "/logs")).body)[0]["cosigned"] == 30


async def test_a_cosignature_that_is_none_is_refused(shelf: MemoryShelf, ask: Ask) -> None:
    note = (await ask("GET", f"{LOG}/checkpoint")).body.decode()
    good = note + cosign(note, COSIGNER, NOW_S)
    path = f"{LOG}/cosignatures"
    refused(await ask("POST", path, data=note), 422, "receipt")
    refused(await ask("POST", path, data=b"\xff"), 422, "receipt")
    refused(await ask("POST", path, data=b""), 422, "receipt")
    refused(await ask("POST", path, data=good[:-9] + "AAAAAAA=\n"), 422, "receipt")
    refused(await ask("POST", path, data=b"x" * 20_000), 413, "too_large")
    refused(await ask("POST", "/logs/x/cosignatures", data=good), 404, "unknown_origin")
    bad = {"Store-Instance": "../x"}
    refused(await ask("POST", path, data=good, headers=bad), 400, "query")
    shelf.forget_to(30)
    assert refused(await ask("POST", path, data=good), 409, "ahead")["size"] == 30
    assert shelf.receipts == []


# --- entries of somebody else ---------------------------------------------------------------------


@pytest.fixture
def orders() -> MemoryShelf:
    hub = hub_shelf(ORDERS)
    hub.write(ORDERS, entry(1), private(b"acme/1/1", 2), entry(3), entry(4))
    return hub


async def push_of(hub: MemoryShelf, first: int, stop: int) -> bytes:
    note = await hub.note(ORDERS, stop)
    assert note is not None
    return pages.write_push(await hub.read(ORDERS, first, stop), note)


PUSH = f"/logs/{ORDERS}/entries"


async def test_pushed_entries_are_stored_once_however_often_they_come(
    shelf: MemoryShelf, orders: MemoryShelf, ask: Ask
) -> None:
    for first, stop, size in ((0, 2, 2), (0, 2, 2), (1, 3, 3), (0, 2, 3), (3, 4, 4), (0, 4, 4)):
        got = await ask("POST", PUSH, data=await push_of(orders, first, stop))
        assert (got.status, json.loads(got.body)) == (200, {"size": size})
    assert shelf.held[ORDERS].entries == orders.held[ORDERS].entries
    assert shelf.held[ORDERS].annexes == orders.held[ORDERS].annexes
    assert (await ask("GET", f"/logs/{ORDERS}/proof?index=1")).status == 200


async def test_whoever_decides_hears_of_what_is_new_and_only_of_that(
    shelf: MemoryShelf, orders: MemoryShelf
) -> None:
    heard: list[tuple[str, int, list[Item]]] = []

    async def arrived(_: web.Request, origin: str, first: int, items: Sequence[Item]) -> None:
        assert len(shelf.held[ORDERS].entries) == first + len(items), "stored before it is told"
        heard.append((origin, first, list(items)))

    async with serving(shelf, arrived=arrived) as base, asking(base) as ask:
        for first, stop in ((0, 2), (0, 2), (1, 4), (0, 3), (0, 4)):
            assert (await ask("POST", PUSH, data=await push_of(orders, first, stop))).status == 200
        refused(await ask("POST", PUSH, data=b"{"), 422, "malformed")
    assert [(origin, first, len(items)) for origin, first, items in heard] == [
        (ORDERS, 0, 2), (ORDERS, 2, 2)
    ]  # fmt: skip
    assert [item for *_, items in heard for item in items] == await orders.read(ORDERS, 0, 4)


async def test_what_is_being_stored_when_the_deadline_comes_is_stored_and_told(
    shelf: MemoryShelf, orders: MemoryShelf
) -> None:
    heard, extend = asyncio.Event(), shelf.extend

    async def slowly(chunk: Chunk) -> Log:
        await asyncio.sleep(0.6)
        return await extend(chunk)

    async def arrived(*_: object) -> None:
        heard.set()

    shelf.extend = slowly  # type: ignore[method-assign]
    bounds = Bounds(deadline_s=1.0)
    known = await push_of(orders, 0, 2)
    async with asyncio.timeout(LIMIT_S), serving(shelf, arrived=arrived, bounds=bounds) as base:
        async with asking(base) as ask:  # two slow steps: is the writer known, and the storing
            refused(await ask("POST", PUSH, data=known), 503, "slow")
        await heard.wait()
    assert len(shelf.held[ORDERS].entries) == 2


@pytest.mark.parametrize("coding", ["gzip", "zstd", "deflate"])
async def test_a_packed_body_is_unpacked(orders: MemoryShelf, ask: Ask, coding: str) -> None:
    body = await push_of(orders, 0, 4)
    packed = {"gzip": gzip.compress(body), "zstd": zstd.compress(body)}
    packed["deflate"] = zlib.compress(body)
    headers = {"Content-Encoding": coding}
    got = await ask("POST", PUSH, data=packed[coding], headers=headers)
    assert got.status == 200


async def test_the_checks_come_in_the_order_of_the_format(
    shelf: MemoryShelf, orders: MemoryShelf, ask: Ask
) -> None:
    huge = b"{" * BODY_BYTES_MAX
    unknown = f"/logs/{ORDERS.replace('0042', '0077')}/entries"
    refused(await ask("POST", unknown, data=BytesIO(huge + b"{")), 413, "too_large")
    refused(await ask("POST", unknown, data=huge), 404, "unknown_origin")
    refused(await ask("POST", "/logs/x/entries", data=b"{"), 404, "unknown_origin")
    refused(await ask("POST", PUSH, data=b"{"), 422, "malformed")
    assert (
        refused(await ask("POST", PUSH, data=await push_of(orders, 2, 4)), 409, "gap")["size"] == 0
    )
    assert (await ask("POST", PUSH, data=await push_of(orders, 0, 2))).status == 200
    other = hub_shelf(ORDERS)
    other.write(ORDERS, entry(1), entry(9))
    refused(await ask("POST", PUSH, data=await push_of(other, 0, 2)), 422, "differs")
    assert shelf.held[ORDERS].entries == orders.held[ORDERS].entries[:2]


async def test_our_own_log_is_written_by_nobody_else(shelf: MemoryShelf, ask: Ask) -> None:
    note = await shelf.note(CUSTODY, 41)
    assert note is not None
    body = pages.write_push(await shelf.read(CUSTODY, 40, 41), note)
    refused(await ask("POST", f"{LOG}/entries", data=body), 422, "own")


async def test_every_part_of_a_push_that_is_wrong_is_named(
    shelf: MemoryShelf, orders: MemoryShelf, ask: Ask
) -> None:
    good = json.loads(await push_of(orders, 0, 2))
    before = repr(shelf.held)
    annex = good["annexes"][0]
    for wrong, code in [
        ({"from": -1}, "malformed"), ({"from": "0"}, "malformed"), ({"from": 0.5}, "malformed"),
        ({"entries": {}}, "malformed"), ({"entries": [1]}, "malformed"),
        ({"entries": ["{}"] * 513}, "malformed"), ({"checkpoint": None}, "malformed"),
        ({"more": 1}, "malformed"), ({"entries": ["{}", "{}"], "annexes": []}, "entry"),
        ({"entries": good["entries"][:1], "annexes": []}, "size"),
        ({"entries": good["entries"][::-1], "annexes": []}, "root"),
        ({"entries": ["{}", "{}"]}, "entry"), ({"checkpoint": ""}, "note"),
        ({"checkpoint": shelf.held[CUSTODY].notes[41]}, "note"),
        *(
            ({"annexes": [annex | other]}, "annex")
            for other in (
                {"index": 0}, {"index": 2}, {"annex": "x"}, {"salt": ""}, {"annex": "x" * 5000}
            )
        ),
    ]:  # fmt: skip
        body = json.dumps(good | wrong).encode()
        refused(await ask("POST", PUSH, data=body), 422, code)
    assert repr(shelf.held) == before
    assert (await ask("POST", PUSH, data=json.dumps(good).encode())).status == 200


async def test_a_body_is_bounded_before_and_after_it_is_unpacked(ask: Ask) -> None:
    bomb = zstd.compress(b"0" * (1 << 28))
    assert len(bomb) < BODY_BYTES_MAX
    for coding, data in (("zstd", bomb), ("gzip", gzip.compress(b"0" * (1 << 24)))):
        got = await ask("POST", PUSH, data=data, headers={"Content-Encoding": coding})
        refused(got, 413, "too_large")

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"0" * 65536

    with suppress(ConnectionError):  # closed while we still sent: the answer may be lost
        refused(await ask("POST", PUSH, data=endless()), 413, "too_large")


async def test_codings_and_expectations_that_are_none_of_ours(
    orders: MemoryShelf, ask: Ask
) -> None:
    body = await push_of(orders, 0, 2)
    for coding in ("gzip, zstd", "x"):  # what the library cannot unpack, "br", it refuses itself
        got = await ask("POST", PUSH, data=body, headers={"Content-Encoding": coding})
        refused(got, 415, "coding")
    got = await ask("POST", PUSH, data=body, headers={"Content-Encoding": "gzip"})
    refused(got, 400, "body")
    got = await ask("POST", PUSH, data=body, headers={"Expect": "the-unexpected"})
    refused(got, 417, "expectation")
    got = await ask("POST", PUSH, data=body, headers={"Expect": "100-continue"})
    assert got.status == 200


# --- bounds and mounts ----------------------------------------------------------------------------


async def test_a_request_that_takes_too_long_ends_and_too_many_are_turned_away(
    shelf: MemoryShelf,
) -> None:
    held = asyncio.Event()

    async def slow(request: web.Request) -> Shelf:
        await held.wait()
        return shelf

    bounds = Bounds(deadline_s=0.5, requests_max=2)
    routes = make_routes(slow, bounds=bounds)
    async with asyncio.timeout(LIMIT_S), served(routes) as base, asking(base) as ask:
        asked = [asyncio.ensure_future(ask("GET", "/sync/v1/logs")) for _ in range(2)]
        await asyncio.sleep(0.1)
        refused(await ask("GET", "/sync/v1/logs"), 503, "busy")
        for got in await asyncio.gather(*asked):
            refused(got, 503, "slow")
        held.set()
        assert (await ask("GET", "/sync/v1/logs")).status == 200


async def test_a_peer_that_does_not_take_its_answer_is_left(shelf: MemoryShelf) -> None:
    shelf.write(CUSTODY, *(entry(at, note="x" * 4000) for at in range(250)))
    bounds = Bounds(deadline_s=0.5)
    async with asyncio.timeout(LIMIT_S), serving(shelf, bounds=bounds) as base:
        port = int(base.rpartition(":")[2].partition("/")[0])
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 10)
        for _ in range(8):
            writer.write(
                f"GET /sync/v1{LOG}/entries?from=41&max_bytes=1048576 HTTP/1.1\r\n"
                "Host: x\r\n\r\n".encode()
            )
        await asyncio.sleep(1.5)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(8 << 20)
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_a_hub_mounts_it_once_for_each_site(shelf: MemoryShelf) -> None:
    shelves = {"0042": shelf, "0043": hub_shelf(ORDERS)}

    async def of_site(request: web.Request) -> Shelf:
        if (found := shelves.get(request.match_info["site"])) is None:
            raise TheirsInvalid("exchange.unknown_site", "No such site here.")
        return found

    routes = make_routes(of_site, prefix="/sites/{site}/sync/v1")
    async with served(routes) as base, asking(base) as ask:
        assert (
            json.loads((await ask("GET", "/sites/0042/sync/v1/logs")).body)[0]["origin"] == CUSTODY
        )
        assert (
            json.loads((await ask("GET", "/sites/0043/sync/v1/logs")).body)[0]["origin"] == ORDERS
        )
        refused(await ask("GET", "/sites/9/sync/v1/logs"), 404, "unknown_site")
        shelf.prune(CUSTODY, 5)
        got = await ask("GET", f"/sites/0042/sync/v1{LOG}/entries")
        where = refused(got, 410, "pruned")["evidence"]["snapshot"]
        assert where == "/sites/0042/sync/v1/snapshots/latest"


def test_a_root_that_a_second_note_denies_is_no_second_history(orders: MemoryShelf) -> None:
    # What the shelf of the tests promises beyond `accept`: one signed root a size.
    shelf = site_shelf()
    held = orders.held[ORDERS]
    assert held.key is not None
    lie = sign_checkpoint(Checkpoint(ORDERS, 2, leaf_hash(b"")), held.key)
    data = tuple(held.entries[:2])

    async def told() -> None:
        await shelf.extend(Chunk(ORDERS, 0, data, await orders.note(ORDERS, 2) or ""))
        with pytest.raises(TheirsInvalid, match=r"exchange\.root"):
            await shelf.extend(Chunk(ORDERS, 0, data, lie))

    asyncio.run(told())
    assert held.verifier.public != HUB_SEED
