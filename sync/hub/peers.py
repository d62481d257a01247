"""Who is connected by which certificate, how to end that at once, and how often one may ask.

All of it is memory of one process. The registry (`devices`) says who may; here is who does.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sync.places import network_of

ADDRESSES_MAX: Final = 4_096
POLITE_S: Final = 0.5
"""So long a link may take to end politely; then it is cut off."""


class Peers:
    """The requests that are being answered, by the pin and the site of who asks (backends: "")."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str], set[asyncio.Transport]] = {}

    @contextmanager
    def asking(self, pin: str, site_id: str, transport: asyncio.Transport | None) -> Iterator[None]:
        """Hold a connection while a request of it is answered."""
        if transport is None:
            yield
            return
        held = self._open.setdefault((pin, site_id), set())
        held.add(transport)
        try:
            yield
        finally:
            held.discard(transport)
            if not held:
                self._open.pop((pin, site_id), None)

    def open(self) -> tuple[tuple[str, str], ...]:
        """Return (pin, site) of everybody who is being answered."""
        return tuple(self._open)

    def cut(self, pin: str, stop: asyncio.Event | None) -> None:
        """End what a pin has open: a link politely first, half a second later in any case."""
        if stop is not None:
            stop.set()
        held = [one for (known, _), these in self._open.items() if known == pin for one in these]
        loop = asyncio.get_running_loop()
        for transport in held:
            loop.call_later(POLITE_S, transport.abort)


class Pace:
    """How often one address, and all together, may do something: so many a minute, refilled.

    Bounded: of more addresses than that the one that asked longest ago is forgotten.
    """

    def __init__(self, each: int, together: int) -> None:
        self._each, self._together = each, together
        self._spent: OrderedDict[str, tuple[int, int]] = OrderedDict()
        self._all = (0, 0)

    def may(self, address: str) -> bool:
        """Say whether an address may go on; nothing is counted."""
        now_ms = _now_ms()
        each = _left(self._spent.get(network_of(address), (0, now_ms)), self._each, now_ms)
        return each < self._each and _left(self._all, self._together, now_ms) < self._together

    def count(self, address: str) -> None:
        """Count one."""
        now_ms, place = _now_ms(), network_of(address)
        spent = _left(self._spent.get(place, (0, now_ms)), self._each, now_ms)
        self._spent[place] = (spent + 1, now_ms)
        self._spent.move_to_end(place)
        if len(self._spent) > ADDRESSES_MAX:
            self._spent.popitem(last=False)
        self._all = (_left(self._all, self._together, now_ms) + 1, now_ms)

    def forgive(self, address: str) -> None:
        """Take one back: it was good."""
        place, (spent, at_ms) = network_of(address), self._all
        if place in self._spent:
            each, each_ms = self._spent[place]
            self._spent[place] = (max(0, each - 1), each_ms)
        self._all = (max(0, spent - 1), at_ms)


def _left(was: tuple[int, int], minute: int, now_ms: int) -> int:
    """Return what counts still of what was spent then."""
    spent, at_ms = was
    return max(0, spent - (now_ms - at_ms) * minute // 60_000)


def _now_ms() -> int:
    return int(asyncio.get_running_loop().time() * 1_000)
