"""The bench: where an installer works at this site's boards, one at a time, one job at a time.

While it is open it owns every line, and this site's life has no boards (`wanted`, `beside`): the
kiosks are out of service. The draft is one file, durable before an act is answered; the map changes
in one turn of the engine at `sign`, so whatever is cancelled, cut off or done twice leaves the old
map or the new one. No coil is switched on before the engine has put its intent on the disk.

What is learned is decided in the pure rooms beside this one; here are lines, tasks and time.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from adapters.errors import AdapterError
from gateway import config, logs, mapfile
from gateway.bank import known
from gateway.commissioning import acts, draft as drafts, jobs, report, view
from gateway.commissioning.draft import Draft
from gateway.commissioning.keeping import Shelf
from gateway.commissioning.rig import Rig, as_gateway
from gateway.core.inputs import BenchAsked, Command, Now, SiteSigned
from gateway.core.outputs import Answer
from gateway.errors import GatewayError
from sync.book import Book

APART: Final = "site.commissioning"
IDLE_MS: Final = 15 * 60_000
"""An installer whose phone has died must not keep a site out of service."""
IDLE_LOOK_S: Final = 5.0
LEND_S: Final = 20.0
"""A life ends within two seconds, and the next one begins as a start does."""

_log = logs.get("bench")


@dataclass(frozen=True, slots=True)
class Place:
    """What the bench needs of the site. All is called on the event loop.

    `ask` has the engine decide. `book` raises GatewayError `site.closed` between two lives.
    `machine` measures what a proof says of disk, clock and link. `lines` are the configuration's.
    """

    site: str
    now: Callable[[], Now]
    ask: Callable[[Command], Awaitable[Answer]]
    tell: Callable[[str, str, str], None]
    book: Callable[[], Book]
    machine: Callable[[], Awaitable[dict[str, object]]]
    lines: Mapping[str, config.Line]
