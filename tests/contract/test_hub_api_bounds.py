"""Pins what surrounds the hub's API: who may ask, how much, twice, and what is never told."""

import io
import json
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from aiohttp.test_utils import TestClient, TestServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sync.errors import StoreFailed
from sync.hub import api, audit, logs
from sync.hub.api import ROUTES
from sync.hub.api_routes import Route
from sync.hub.audit import Auditor
from sync.hub.config import Api
from sync.hub.doorman import Everybody
from tests.hub_stage import BY, IDENTITY, KEYS, PARCEL, Stage, stage
from tests.hubs import STORAGES, url_of

S = "/sites/0042"
CLAIM = BY | {"parcel": PARCEL, "says": "lost"}
JSON = {"Content-Type": "application/json"}
PATH = {"site": "0042", "number": "1", "id": "0" * 16, "name": "nobody"}


@pytest.fixture(params=STORAGES)
async def hub(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, await url_of(request.param, tmp_path)) as made:
        yield made


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage(tmp_path, await url_of("sqlite", tmp_path)) as made:
        yield made


# --- who may ask, and how -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "host", ["hub.example", "127.0.0.1.evil.example", "[::2]:80", "", "a b", "127.0.0.1@evil:80"]
)
async def test_only_loopback_names_are_answered(small: Stage, host: str) -> None:
    await small.refused("GET", "/health", "request.host", 403, headers={"Host": host})


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:80", "[::1]:8700", "LOCALHOST:1"])
async def test_every_loopback_name_is_answered(small: Stage, host: str) -> None:
    status, told = await small.call("GET", "/health", headers={"Host": host})
    assert (status, told["ok"]) == (200, True)


async def test_a_page_of_a_browser_is_refused(small: Stage) -> None:
    origin = {"Origin": "http://127.0.0.1:8700"}
    await small.refused("GET", "/health", "request.origin", 403, headers=origin)
    plain = {"Content-Type": "text/plain"}
    body = json.dumps(CLAIM).encode()
    path = f"{S}/claims"
    await small.refused("POST", path, "request.media_type", 415, headers=plain, data=body)


async def test_health_says_who_may_ask(small: Stage) -> None:
    told = await small.get("/health")
    assert told["listen"] == "127.0.0.1:8700, links 127.0.0.1:8701, renewal 127.0.0.1:8702"
    assert told["peers"] == "authenticated: certificates, accounts"
    assert told["storage"] == "sqlite"


async def test_bodies_and_pages_have_a_size(tmp_path: Path) -> None:
    small_api = Api(body_bytes_max=4_096, page_max=2)
    async with stage(tmp_path, await url_of("sqlite", tmp_path), api=small_api) as hub:
        big = json.dumps(CLAIM | {"stray": "x" * 5_000}).encode()
        path = f"{S}/claims"
        await hub.refused("POST", path, "request.too_large", 413, data=big)
        page = await hub.get(f"{S}/entries", log="e1-0000abcd:sc")
        assert (page["next"], len(page["entries"])) == (2, 2)


async def test_what_was_sent_is_not_in_the_refusal(small: Stage) -> None:
    for body in (
        CLAIM | {"says": "4839205170661234"},
        CLAIM | {"by": "4839205170661234"},
        CLAIM | {"parcel": PARCEL | {"tracking": "4839205170661234 "}},
    ):
        told = await small.refused("POST", f"{S}/claims", "request.body", 400, body)
        assert "4839205170661234" not in json.dumps(told)
        assert "$." in told["evidence"]["reason"]


async def test_other_methods_and_paths_are_refused(small: Stage) -> None:
    await small.refused("DELETE", S, "request.method", 405)
    await small.refused("GET", "/nothing", "request.path", 404)
    await small.refused("GET", "/sites/%00", "hub.unknown_site", 404)


async def test_too_many_at_once_are_turned_away(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "REQUESTS_MAX", 0)
    async with TestClient(TestServer(api.make_app(small.hub, Everybody()))) as client:
        answer = await client.get("/api/v1/health")
        assert (answer.status, (await answer.json())["code"]) == (503, "request.busy")


async def test_a_failing_store_is_said_and_not_explained(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails() -> Any:
        raise StoreFailed("busy")

    monkeypatch.setattr(small.hub.storage, "sites", fails)
    await small.refused("GET", "/health", "store.busy", 503)

    async def full() -> Any:
        raise StoreFailed("full")

    monkeypatch.setattr(small.hub.storage, "sites", full)
    await small.refused("GET", "/health", "store.full", 507)


# --- any bytes ----------------------------------------------------------------------------------

_plain = st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.floats()
_value = st.recursive(
    _plain,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=6,
)
_fields = st.dictionaries(
    st.sampled_from(
        [
            "by", "grant", "label", "tenant", "parcel", "until_ms", "size", "band", "count", "out",
            "why", "case", "says", "raises", "version", "entry", "proof", "checkpoint", "site",
            "vkey", "url",
        ]
    ),
    _value | st.just(PARCEL) | st.just("ops") | st.just("M"),
    max_size=8,
)  # fmt: skip
POSTS = [route for route in ROUTES if route.method == "POST"]
DECISIONS = [route for route in POSTS if route.keyed]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    route=st.sampled_from(POSTS),
    body=st.binary(max_size=80) | _fields.map(lambda value: json.dumps(value).encode()),
)
async def test_whatever_is_sent_is_answered_and_described(
    small: Stage, route: Route, body: bytes
) -> None:
    path = route.path.format(**PATH | {"ref": "e1-0000abcd:sc1"})
    status, told = await small.call("POST", path, data=body)
    assert status < 500, told
    assert status < 300 or told["code"]
    site = await small.hub.registry.get("0042")
    assert not await small.hub.storage.unsealed(site.site_id)
    assert not (await small.book()).book.stopped


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(path=st.text(alphabet="abcé/%:.-_?=&{}019", max_size=40))
async def test_whatever_path_is_asked_has_an_answer(small: Stage, path: str) -> None:
    async with small.client.get(f"/api/v1/{path}".split("#", maxsplit=1)[0]) as answer:
        assert answer.status < 500
        told = await answer.json()
        assert answer.status < 400 or told.keys() == {"code", "remedy", "evidence"}


# --- twice --------------------------------------------------------------------------------------


async def test_the_same_key_is_one_request(hub: Stage) -> None:
    body = {"grant": "courier", "tenant": "acme", "label": "route 7"}
    first = await hub.post(f"{S}/grants", _key="k-1", **body)
    again = await hub.post(f"{S}/grants", _key="k-1", **body)
    assert (again["ref"], again["new"]) == (first["ref"], False)
    assert "secret" not in again, "it was told once"
    # Another process, or this one after a restart, knows it too.
    hub.hub.auditor = Auditor(hub.hub.storage)
    again = await hub.post(f"{S}/grants", _key="k-1", **body)
    assert (again["ref"], again["new"]) == (first["ref"], False)
    other = await hub.post(f"{S}/grants", _key="k-2", **body)
    assert other["ref"] != first["ref"]
    headers = {"Idempotency-Key": "k-1"}
    changed = BY | body | {"label": "route 8"}
    path = f"{S}/grants"
    await hub.refused("POST", path, "request.key_reused", 409, changed, headers=headers)


async def test_a_key_whose_end_is_unknown_does_nothing(
    small: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(*_args: Any) -> None:
        raise StoreFailed("io")

    key = {"Idempotency-Key": "k"}
    path = f"{S}/claims"
    with monkeypatch.context() as patched:
        patched.setattr(small.hub.storage, "seal", dies)
        await small.refused("POST", path, "store.io", 500, CLAIM, headers=key)
    await small.refused("POST", path, "request.key_unsure", 409, CLAIM, headers=key)
    assert (await small.post(path, parcel=PARCEL, says="lost"))["new"] is False


async def test_a_refused_request_leaves_its_key_free(small: Stage) -> None:
    key = {"Idempotency-Key": "k"}
    body = BY | {"parcel": PARCEL, "size": "M"}
    path = f"{S}/reservations"
    await small.refused("POST", path, "capacity.none", 409, body, headers=key)
    await small.refused("POST", path, "capacity.none", 409, body, headers=key)
    small.site.gives("M", 1)
    await small.push()
    assert (await small.post(path, _key="k", parcel=PARCEL, size="M"))["new"]


@pytest.mark.parametrize("key", ["", "x" * 65, "a b", "é"])
async def test_a_key_is_a_word(small: Stage, key: str) -> None:
    headers = {"Idempotency-Key": key}
    path = f"{S}/claims"
    await small.refused("POST", path, "request.key", 400, CLAIM, headers=headers)


async def test_keys_have_a_bound(small: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "KEYS_MAX", 2)
    for place in range(4):
        await small.post(
            f"{S}/claims", _key=f"k{place}", parcel=PARCEL | {"piece": place + 1}, says="lost"
        )
    path, body = f"{S}/claims", CLAIM | {"parcel": PARCEL | {"piece": 9}}
    latest = {"Idempotency-Key": "k3"}
    await small.refused("POST", path, "request.key_reused", 409, body, headers=latest)
    assert (await small.post(path, _key="k0", parcel=PARCEL | {"piece": 9}, says="lost"))["new"]


async def test_the_audit_is_found_again_whatever_its_length(small: Stage) -> None:
    for place in range(7):
        assert await Auditor(small.hub.storage)._end("0042") == place
        await small.hub.storage.audit("0042", "x.y", {})
    monkey = Auditor(small.hub.storage)
    assert (await monkey._site("0042")).next == 0


async def test_sites_have_a_bound_too(small: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit, "SITES_MAX", 1)
    auditor = Auditor(small.hub.storage)
    for name in ("0042", "0043"):
        await auditor._site(name)
    assert list(auditor._sites) == ["0043"]


async def test_who_asked_and_what_came_of_it_is_written_down(hub: Stage) -> None:
    """Refusals too: by their codes."""
    made = await hub.post(f"{S}/claims", parcel=PARCEL, says="lost")
    body = BY | {"parcel": PARCEL, "size": "M"}
    await hub.refused("POST", f"{S}/reservations", "capacity.none", 409, body)
    page = await hub.get(f"{S}/audit")
    done, no = page["lines"]
    assert (done["code"], done["evidence"]) == (
        "api.done", {"what": "makeClaim", "by": "ops", "ref": made["ref"]},
    )  # fmt: skip
    assert no["code"] == "capacity.none"
    assert no["evidence"]["what"] == "reserve"
    assert page["next"] == 2
    assert (await hub.get(f"{S}/audit", from_=1, count=1))["lines"] == [no]
    assert await hub.get(f"{S}/audit", from_=2) == {"lines": [], "next": 2}


# --- what is never told -------------------------------------------------------------------------


@pytest.fixture
def lines() -> Iterator[io.StringIO]:
    """Every line that this process logs, from debug on."""
    stream = io.StringIO()
    logs.configure("json", "debug", stream)
    yield stream
    logging.getLogger("aiohttp.server").handlers.clear()
    structlog.reset_defaults()


async def test_no_secret_is_in_a_log_line_an_answer_or_the_database(
    tmp_path: Path, lines: io.StringIO
) -> None:
    """Plant: a secret in a log line."""
    async with stage(tmp_path, await url_of("sqlite", tmp_path)) as hub:
        made = await hub.post(f"{S}/grants", _key="k", grant="courier", tenant="acme", label="x")
        secret = made["secret"]
        hub.told.clear()
        await hub.post(f"{S}/grants", _key="k", grant="courier", tenant="acme", label="x")
        ref = hub.site.deposits(IDENTITY, 1)
        await hub.push()
        code = KEYS.code_key("0042", 1).code(IDENTITY, 0)
        # What is wrong is not repeated either.
        for path in (f"{S}/parcels/{secret}/code", f"/sites/{secret}", f"/{code.long}"):
            async with hub.client.get(f"/api/v1{path}") as answer:
                hub.told.append(str(answer.headers))
        for body in ({"by": secret}, {"parcel": {"tracking": code.long}}, {"entry": secret}):
            for route in POSTS:
                path = route.path.format(**PATH | {"ref": ref})
                await hub.call("POST", path, body)
        for path in ("/health", "/sites", S, f"{S}/book", f"{S}/audit"):
            await hub.get(path)
        answers = (
            "".join(hub.told)
            .replace(f'"site":"{secret}"', "")
            .replace(json.dumps(secret)[1:-1] + '"}', "")
        )
        seeds = [KEYS.log_seed.hex(), KEYS.master.hex(), KEYS.cosigner_seed.hex()]
        said = lines.getvalue()
        for word in (secret, code.long, code.short(8), *seeds):
            assert word not in said
        assert code.long not in answers
    assert "JD0146" not in said
    files = sorted(tmp_path.glob("hub.db*"))  # noqa: ASYNC240  # nobody waits for this loop
    database = b"".join(path.read_bytes() for path in files)
    assert secret.encode() not in database
    assert code.long.encode() not in database


def test_what_a_careless_call_would_log_is_taken_out(lines: io.StringIO) -> None:
    log = logs.get("test")
    log.info(
        "x.y", secret="s1", tracking="JD1", code="1234567890", code_ok="a.b", url="http://u:p@h",
        text="typed 1705002428138763 and 170 500 242 5", key="AbC", raw=b"x", none=None, n=5,
        long_text="y" * 600,
    )  # fmt: skip
    told = json.loads(lines.getvalue())
    hidden = {"secret", "tracking", "code", "url", "key", "raw", "long_text"}
    assert {name for name, value in told.items() if value == logs.REDACTED} == hidden
    assert told["text"] == f"typed {logs.REDACTED} and {logs.REDACTED}"
    assert (told["n"], told["code_ok"]) == (5, "a.b")
    assert "none" not in told
    log.info("x.z", words="y" * 600)
    assert len(json.loads(lines.getvalue().splitlines()[1])["words"]) == 512


def test_what_the_server_complains_of_is_a_word(lines: io.StringIO) -> None:
    server = logging.getLogger("aiohttp.server")
    try:
        int("1705002428138763x")
    except ValueError:
        server.exception("Error handling request 1705002428138763")
    assert "1705002428138763" not in lines.getvalue()
    assert json.loads(lines.getvalue())["error"] == "ValueError"
