"""What a route of the API is: a row of a table, from which server and OpenAPI are both made.

Each row says who may ask it (`roles`, by SECURITY.md 1). A row that names no role is nobody's.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import msgspec

from sync.hub.accounts import ROLES, Caller, Role
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
    caller: Caller = field(kw_only=True)

    @property
    def site(self) -> Site:
        """The site that the path names."""
        assert self.site_known is not None, "this route has {site} in its path"
        return self.site_known

    @property
    def by(self) -> str:
        """Who is on record for it: the account, and whom it names behind it."""
        return getattr(self.body, "by", None) or self.caller.name

    @property
    def account(self) -> str:
        """Whose secret asked; in the development mode whoever is on record."""
        return self.caller.account or self.by


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
    """One method of one path. `refusals` are the codes that it can answer, beside the common.

    `noted`: each request is a line of the audit, where no entry of the hub's says it.
    """

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
    roles: frozenset[str] = frozenset()
    noted: bool = False

    @property
    def full(self) -> str:
        """The whole path."""
        return BASE + self.path


def may(*roles: Role) -> frozenset[str]:
    """Return the roles of a row."""
    return frozenset(roles)


ANY: Final = may(*ROLES)
"""Every account, and no stranger."""
