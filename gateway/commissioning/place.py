"""What the bench needs of the site around it."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway import config
from gateway.core.inputs import Command, Now
from gateway.core.outputs import Answer
from sync.book import Book


@dataclass(frozen=True, slots=True)
class Place:
    """What the bench needs of the site. All is called on the event loop.

    `ask` has the engine decide. `book` raises GatewayError `site.closed` between two lives; `apart`
    keeps people at kiosks away from now on. `machine` measures what a proof says of disk, clock and
    link. `lines` are those of the configuration.
    """

    site: str
    now: Callable[[], Now]
    ask: Callable[[Command], Awaitable[Answer]]
    tell: Callable[[str, str, str], None]
    book: Callable[[], Book]
    apart: Callable[[str], None]
    machine: Callable[[], Awaitable[dict[str, Any]]]
    lines: Mapping[str, config.Line]
