"""A hub behind a real listener, a site beside it, a client that holds answers to the OpenAPI."""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from sync.hub.api import ROUTES, make_app
from sync.hub.clock import Clock
from sync.hub.config import Config
from sync.hub.doorman import Door, Everybody
from sync.hub.keys import Keys
from sync.hub.openapi import describe
from sync.hub.projections import Projection
from sync.hub.rooms import Hub, assembled
from tests.hub_site import FakeSite
from tests.hubs import NOW_MS, opened
from tests.schema import problems

DESCRIBED = describe(ROUTES)
KEYS = Keys("lockers.example", bytes([1]) * 32, bytes([2]) * 32, bytes([3]) * 32)
BY = {"by": "ops"}
PARCEL = {"tenant": "acme", "tracking": "JD0146", "piece": 1}
IDENTITY = "acme/JD0146/1"


@dataclass
class Stage:
    """`told` holds every answer, for whoever looks for a secret in them."""

    hub: Hub
    site: FakeSite
    client: Any
    told: list[str] = field(default_factory=list)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
    ) -> tuple[int, Any]:
        """Ask, hold the answer to its description, and return status and body."""
        given = dict(headers or {})
        if data is not None:
            given.setdefault("Content-Type", "application/json")
        answer: ClientResponse = await self.client.request(
            method, f"/api/v1{path}", json=body, data=data, headers=given
        )
        text = await answer.text()
        self.told.append(text)
        told = json.loads(text)
        assert answer.content_type == "application/json"
        check(method, path.partition("?")[0], answer.status, told)
        return answer.status, told

    async def get(self, path: str, **query: Any) -> Any:
        words = "&".join(f"{key.rstrip('_')}={value}" for key, value in query.items())
        status, told = await self.call("GET", f"{path}?{words}" if words else path)
        assert status == 200, told
        return told

    async def post(self, path: str, _key: str = "", **body: Any) -> Any:
        headers = {"Idempotency-Key": _key} if _key else {}
        status, told = await self.call("POST", path, BY | body, headers=headers)
        assert status in {200, 201}, told
        if "new" in told and path != "/relay":
            assert (status == 201) == told["new"]
        return told

    async def refused(
        self, method: str, path: str, code: str, status: int, body: Any = None, **more: Any
    ) -> Any:
        got, told = await self.call(method, path, body, **more)
        assert (got, told.get("code")) == (status, code), told
        assert told["remedy"]
        return told

    async def push(self, *, annexes: bool = True) -> None:
        """The link brings what the site wrote."""
        await self.site.push(await self.hub.shelf("0042"), annexes=annexes)
        await self.hub.arrived("0042")

    async def book(self) -> Projection:
        return await self.hub.book("0042")


def check(method: str, path: str, status: int, told: Any) -> None:
    """Assert that an answer is as the description says."""
    for known, operations in DESCRIBED["paths"].items():
        shape = re.sub(r"\{\w+\}", "[^/]+", known.removeprefix("/api/v1"))
        if re.fullmatch(shape, path) and method.lower() in operations:
            responses = operations[method.lower()]["responses"]
            response = responses.get(str(status), responses.get("default"))
            schema = response["content"]["application/json"]["schema"]
            assert problems(told, schema, DESCRIBED["components"]["schemas"]) == []
            return
    assert status >= 400, f"{method} {path} is not described"


def config(folder: Path, url: str = "", **other: Any) -> Config:
    return Config(data_dir=str(folder), operator="lockers.example", storage=url, **other)


def clock() -> Clock:
    """Half past nothing, for ever: what a test asks for is in the future or is not."""
    return Clock(lambda: NOW_MS * 1_000_000, lambda: 0)


@asynccontextmanager
async def stage(
    folder: Path, url: str, *, door: Callable[[Hub], Door] | None = None, **other: Any
) -> AsyncIterator[Stage]:
    """A hub on that storage with the site 0042, which has opened its log and told its map."""
    storage = await opened(url)
    try:
        hub = assembled(config(folder, url, **other), KEYS, storage, clock())
        site = FakeSite(KEYS.code_key("0042", 1))
        await hub.add_site("0042", site.vkey)
        site.opens()
        async with TestClient(
            TestServer(make_app(hub, door(hub) if door else Everybody()))
        ) as client:
            made = Stage(hub, site, client)
            await made.push()
            yield made
    finally:
        await storage.close()
