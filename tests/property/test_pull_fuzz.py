"""Pins that no request breaks plain pull: no 500, no hang, refusals are JSON, the store whole."""

import asyncio
import gzip
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from certs.note import cosign, open_cosignatures
from sync import pages
from sync.errors import TheirsInvalid
from sync.pages import BODY_BYTES_MAX, CODINGS, choose_coding
from sync.pull import Bounds
from sync.rows import Annex
from sync.shelf import Item
from tests.property.mutations import spoilt
from tests.property.test_fuzz_listeners import (
    NO_REQUEST,
    TOKENS,
    answered,
    ascii_expect,
    request,
    still_answers,
    tell,
)
from tests.pull_server import (
    COSIGNER,
    CUSTODY,
    NOW_S,
    ORDERS,
    hub_shelf,
    serving,
    site_shelf,
)
from tests.shelf_memory import MemoryShelf, entry, private

T = TypeVar("T")
LIMIT_S = 30.0
LOG = f"/sync/v1/logs/{CUSTODY}"
ORDER = f"/sync/v1/logs/{ORDERS}"


def a_site() -> MemoryShelf:
    shelf = site_shelf()
    shelf.write(CUSTODY, *(entry(at) for at in range(20)), private(b"acme/1/1", 20))
    shelf.prune(CUSTODY, 2)
    return shelf


def a_hub() -> MemoryShelf:
    shelf = hub_shelf(ORDERS)
    shelf.write(ORDERS, entry(1), private(b"acme/2/1", 2), entry(3))
    return shelf


SITE, HUB = a_site(), a_hub()
NOTE = SITE.held[CUSTODY].sign(21)
RECEIPT = (NOTE + cosign(NOTE, COSIGNER, NOW_S)).encode()
_ORDERS = HUB.held[ORDERS]
PUSH = pages.write_push(
    [Item(at, data, _ORDERS.annexes.get(at)) for at, data in enumerate(_ORDERS.entries)],
    _ORDERS.sign(3),
)
GOOD = request("GET /sync/v1/logs HTTP/1.1")
REQUESTS = [
    GOOD,
    request(f"GET {LOG}/entries?from=3&max_bytes=100&wait=1&annex=1 HTTP/1.1"),
    request(f"GET {LOG}/entries HTTP/1.1", b"", "Accept-Encoding: zstd;q=0.5, gzip"),
    request(f"GET {LOG}/entries?from=9 HTTP/1.1", b"", 'If-None-Match: W/"x", "y"'),
    request(f"GET {LOG.replace('/', '%2F')}/checkpoint?size=7 HTTP/1.1"),
    request(f"GET {LOG}/proof?index=3&size=9 HTTP/1.1"),
    request(f"HEAD {LOG}/peaks?size=13 HTTP/1.1"),
    request(f"GET {LOG}/consistency?from=3&to=9 HTTP/1.1"),
    request("GET /sync/v1/snapshots/latest HTTP/1.0"),
    request(f"POST {LOG}/cosignatures HTTP/1.1", RECEIPT, "Store-Instance: 00112233445566aa"),
    request(f"POST {ORDER}/entries HTTP/1.1", PUSH),
    request(f"POST {ORDER}/entries HTTP/1.1", gzip.compress(PUSH), "Content-Encoding: gzip"),
    request(f"POST {ORDER}/entries HTTP/1.1", zstd.compress(PUSH), "Content-Encoding: zstd"),
    request(f"POST {ORDER}/entries HTTP/1.1", PUSH, "Expect: 100-continue"),
]  # fmt: skip
MORE = [
    b"?from=", b"&from=1", b"from=-1", b"size=9007199254740993", b"annex=2", b"wait=999999",
    b"max_bytes=0", b"/entries", b"/logs/", b"%2e%2e%2f", b'"entries":[', b'"from":-1,',
    b'"from":9007199254740991,', b'"checkpoint":""', b'"annexes":[{}],', b"identity;q=0",
    b"Accept-Encoding: *;q=0\r\n", b'If-None-Match: W/"', b"Store-Instance: x\r\n",
    b"Content-Encoding: zstd, gzip\r\n", b"Content-Encoding: deflate\r\n",
    "\u2014".encode(), b"\\ud800",
]  # fmt: skip


@pytest.fixture(autouse=True)
def no_handler_failed(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Assert at the end that no handler raised; the library tells of requests that were none."""
    caplog.set_level(logging.ERROR)
    yield
    told = [
        record.getMessage()
        for record in caplog.get_records("call")
        if not isinstance((record.exc_info or (None, None))[1], NO_REQUEST)
    ]
    assert told == []


def unharmed(shelf: MemoryShelf) -> None:
    """Assert that the shelf holds what it held, and of the hub only what the hub has signed."""
    site = shelf.held[CUSTODY]
    assert (site.entries, site.annexes) == (SITE.held[CUSTODY].entries, SITE.held[CUSTODY].annexes)
    assert set(shelf.held) <= {CUSTODY, ORDERS}
    if ORDERS in shelf.held:
        heard = shelf.held[ORDERS]
        assert heard.entries == _ORDERS.entries[: len(heard.entries)]
        assert heard.notes[len(heard.entries)] == _ORDERS.sign(len(heard.entries))
        assert all(_ORDERS.annexes[at] == annex for at, annex in heard.annexes.items())
    for _, note, _ in shelf.receipts:  # lines of keys nobody knows are ignored, as C2SP says
        assert note.partition("\n\n")[0] == NOTE.partition("\n\n")[0]
        assert open_cosignatures(note, [COSIGNER.verifier])


def refusals_are_json(answer: bytes) -> None:
    """Assert that a whole answer of ours that refuses says why, as JSON."""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = int(head.split(b" ")[1]) if head.startswith(b"HTTP/") else 0
    if status < 400 or b"application/json" not in head or b"Content-Length" not in head:
        return
    length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])
    if len(body) >= length > 0:
        said = json.loads(body[:length])
        assert {"code", "remedy", "evidence"} <= set(said)
        assert said["code"].startswith(("exchange.", "origin."))


ONE = spoilt(REQUESTS, TOKENS + MORE) | st.sampled_from(REQUESTS)


@given(st.lists(ONE | st.builds(bytes.__add__, ONE, ONE), min_size=1, max_size=6))
async def test_any_bytes_on_the_port(sent: list[bytes]) -> None:
    shelf = a_site()
    bounds = Bounds(deadline_s=2, look_s=0.05)
    async with asyncio.timeout(LIMIT_S), serving(shelf, bounds=bounds) as base:
        port = int(base.rpartition(":")[2].partition("/")[0])
        for answer in await asyncio.gather(*(tell(port, ascii_expect(data)) for data in sent)):
            answered(answer)
            refusals_are_json(answer)
        await still_answers(port, GOOD)
    unharmed(shelf)


QUERIES = st.lists(
    st.tuples(
        st.sampled_from(["from", "to", "size", "index", "max_bytes", "wait", "annex", "other"]),
        st.integers(-2, 25).map(str)
        | st.integers(-(2**70), 2**70).map(str)
        | st.text(max_size=5)
        | st.sampled_from(["1e3", "0x1", "01", "+1", "\u0663", " 1", "1 ", "1.0", "NaN"]),
    ).filter(lambda one: one[0] != "wait" or one[1] in {"0", "1", "x"}),
    max_size=4,
)


@given(
    st.sampled_from(["entries", "checkpoint", "proof", "peaks", "consistency", "cosignatures", ""]),
    st.sampled_from([CUSTODY, ORDERS, "x", "", "/", "..", "%00", "a" * 300]),
    QUERIES,
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "DELETE"]),
)
async def test_any_query_of_any_resource_is_answered_by_the_rules(
    resource: str, origin: str, query: list[tuple[str, str]], method: str
) -> None:
    shelf = a_site()
    async with (
        asyncio.timeout(LIMIT_S),
        serving(shelf) as base,
        aiohttp.ClientSession() as session,
        session.request(method, f"{base}/logs/{origin}/{resource}", params=query) as answer,
    ):
        body = await answer.read()
    assert answer.status in {200, 204, 400, 404, 405, 409, 410, 413, 422}
    if answer.status >= 400 and method != "HEAD":
        said = json.loads(body)
        assert said["code"].startswith(("exchange.", "origin."))
        assert len(body) < 2000
    if answer.status == 200 and resource == "entries" and method == "GET":
        first, following, size = (
            int(answer.headers[f"Log-{key}"]) for key in ("From", "Next", "Size")
        )
        held = shelf.held[CUSTODY].entries
        assert 2 <= first <= following <= size == len(held)
        assert body.count(b"\n") == following - first
    unharmed(shelf)


BODIES = spoilt([PUSH, RECEIPT, NOTE.encode()], MORE) | st.binary(max_size=200)


@given(BODIES, st.sampled_from(["entries", "cosignatures"]), st.sampled_from([CUSTODY, ORDERS]))
async def test_any_body_is_taken_whole_or_refused_whole(
    body: bytes, resource: str, origin: str
) -> None:

    shelf = a_site()
    async with (
        asyncio.timeout(LIMIT_S),
        serving(shelf) as base,
        aiohttp.ClientSession() as session,
        session.post(f"{base}/logs/{origin}/{resource}", data=body) as answer,
    ):
        said = await answer.read()
    assert answer.status in {200, 204, 404, 409, 422}
    if answer.status >= 400:
        assert json.loads(said)["code"].startswith(("exchange.", "origin."))
    else:
        assert (len(shelf.held[ORDERS].entries) if resource == "entries" else 21) in {3, 21}
    unharmed(shelf)


# --- the words, without a wire --------------------------------------------------------------------


def attempt(read: Callable[[], T]) -> tuple[T | None, str]:
    """Return (what was read, "") or (None, the code of the refusal)."""
    try:
        return read(), ""
    except TheirsInvalid as error:
        return None, error.code


@given(st.binary(max_size=400), st.integers(0, 50), st.booleans())
def test_any_page_is_read_or_refused(data: bytes, first: int, annex: bool) -> None:
    page, code = attempt(lambda: pages.read_page(data, first, annex=annex))
    assert code.startswith("exchange.") or page is not None
    assert page is None or len(page.entries) == data.count(b"\n")


ANNEXES = st.none() | st.binary(max_size=60) | st.text(max_size=60).map(str.encode)


@given(st.lists(ANNEXES, max_size=6), st.integers(0, 1000), st.booleans())
def test_a_page_and_a_push_say_what_was_stored(
    annexes: list[bytes | None], first: int, annex: bool
) -> None:
    items = []
    for index, data in enumerate(annexes, first):
        made = private(data or b"", index)
        beside = made.annex if data is not None else Annex(None, None, "e1-00000001:sc0")
        items.append(Item(index, made.entry, beside))
    page = pages.read_page(
        b"".join(pages.write_line(one, annex=annex) for one in items), first, annex=annex
    )
    assert page.entries == tuple(item.entry for item in items)
    told = tuple((item.index, item.annex) for item in items if _is_text(item.annex))
    assert page.annexes == (told if annex else ())
    if items:
        push, entries, besides = pages.read_push(pages.write_push(items, "note"))
        assert (push.first, push.checkpoint, entries, besides) == (
            first,
            "note",
            page.entries,
            told,
        )


def _is_text(annex: Annex | None) -> bool:
    try:
        return annex is not None and annex.data is not None and annex.data.decode() is not None
    except UnicodeDecodeError:
        return False


@given(st.binary(max_size=2000), st.sampled_from(CODINGS), st.integers(0, 3000))
def test_what_is_packed_is_unpacked_within_its_limit(data: bytes, coding: Any, limit: int) -> None:
    used, packed = pages.pack(coding, data)
    assert len(packed) <= len(data)
    plain, code = attempt(lambda: pages.unpack(used, packed, limit))
    assert plain == data if len(data) <= limit else code == "exchange.too_large"


@given(
    spoilt([zstd.compress(b"0" * 9000), gzip.compress(b"0" * 9000)]) | st.binary(max_size=99),
    st.sampled_from([*CODINGS, "br", "", "x-gzip", "zstd, gzip"]),
)
def test_any_packed_bytes_give_at_most_the_limit(data: bytes, coding: str) -> None:
    plain, code = attempt(lambda: pages.unpack(coding, data, 5000))
    assert code in {"exchange.coding", "exchange.too_large"} or len(plain or b"") <= 5000


@pytest.mark.parametrize("size", [1 << 28, 1 << 22])
def test_bombs_cost_no_more_than_the_limit(size: int) -> None:
    for coding, bomb in (
        ("zstd", zstd.compress(bytes(size))),
        ("gzip", gzip.compress(bytes(1 << 22))),
    ):
        with pytest.raises(TheirsInvalid, match=r"exchange\.too_large"):
            pages.unpack(coding, bomb, BODY_BYTES_MAX)
    window: Mapping[int, int] = {
        zstd.CompressionParameter.window_log: 27,
        zstd.CompressionParameter.content_size_flag: 0,
    }
    packer = zstd.ZstdCompressor(options=window)
    wide = packer.compress(bytes(1000)) + packer.flush()
    with pytest.raises(TheirsInvalid, match=r"exchange\.coding"):
        pages.unpack("zstd", wide, BODY_BYTES_MAX)


PARTS = ["zstd", "gzip", "identity", "*", "br", "GZIP", ";q=0", ";q=1", ";q=0.5", ";q=2", ",", ";"]
HEADERS = st.text(max_size=60) | st.lists(st.sampled_from(PARTS), max_size=8).map("".join)


@given(HEADERS)
def test_any_accept_encoding_gives_a_coding_or_none(header: str) -> None:
    assert choose_coding(header) in {*CODINGS, None}
    assert choose_coding(f"{header},*;q=0,identity") in {*CODINGS, None}


@given(
    st.binary(max_size=200) | st.lists(st.binary(min_size=32, max_size=32)).map(pages.write_hashes)
)
def test_hashes_are_read_or_refused(data: bytes) -> None:
    hashes, code = attempt(lambda: pages.read_hashes(data))
    assert code == "exchange.hashes" or pages.write_hashes(hashes or ()) == data


@given(
    st.binary(max_size=300)
    | spoilt([b'[{"origin":"x","size":1,"root":"%s","vkey":"x"}]' % (b"A" * 43 + b"=")])
)
def test_a_list_of_logs_is_read_or_refused(data: bytes) -> None:
    told, code = attempt(lambda: pages.read_logs(data))
    assert code in {"exchange.malformed", "exchange.hashes"} or told is not None
    assert all(len(log.head) == 32 for log in told or ())


def test_a_handler_that_raises_would_be_seen(caplog: pytest.LogCaptureFixture) -> None:
    # What the fixture above looks for: planted, so that its silence means something.
    shelf = a_site()
    shelf.fail_next("logs", ZeroDivisionError())

    async def broken() -> bytes:
        async with serving(shelf) as base:
            return await tell(int(base.rpartition(":")[2].partition("/")[0]), GOOD, 1)

    assert b" 500 " in asyncio.run(broken()).split(b"\r\n")[0]
    assert any("ZeroDivisionError" in str(record.exc_info) for record in caplog.records)
    caplog.clear()
    assert web.HTTPInternalServerError.status_code == 500
