"""What a route of the API is: a row of a table, from which server and OpenAPI are both made."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from sync.hub.api_types import Answer, Body
from sync.hub.rooms import Hub
from sync.hub.storage import Site

BASE: Final = "/api/v1"


@dataclass(frozen=True, slots=True)
class Call:
    """A request, checked: `what` it asks (the route's name), of which site, with which values."""

    hub: Hub
    what: str
    path: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Any = None
    raw: bytes = field(default=b"", repr=False)
    key: str = field(default="", repr=False)
    site_known: Site | None = None

    @property
    def site(self) -> Site:
        """The site that the path names."""
        assert self.site_known is not None, "this route has {site} in its path"
        return self.site_known


@dataclass(frozen=True, slots=True)
class Param:
    """A value of the path or the query. Of the query it may be left out, and is `default` then."""

    name: str
    type: Any
    text: str
    where: Literal["path", "query"] = "query"
    default: Any = msgspec.UNSET
    many: bool = False


Handler = Callable[[Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `refusals` are the codes that it can answer, beside the common."""

    method: Literal["GET", "POST"]
    path: str
    name: str
    text: str
    handler: Handler
    answer: type[Answer]
    body: type[Body] | None = None
    params: tuple[Param, ...] = ()
    refusals: tuple[str, ...] = ()
    keyed: bool = False

    @property
    def full(self) -> str:
        """The whole path."""
        return BASE + self.path
