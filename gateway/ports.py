"""What this site needs of its boards, its log and its machine: small protocols, held structurally.

`tests/contract` ships a double of each and runs the same tests against the double and the real one.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from sync.entry import Lane
from sync.store import Record


class ReadingPort(Protocol):
    """One look at a board: input and output bits by channel, true = active."""

    @property
    def inputs(self) -> tuple[bool, ...]:
        """Input bits; empty for a board without inputs."""
        ...

    @property
    def outputs(self) -> tuple[bool, ...]:
        """Output bits; empty for a board without outputs."""
        ...

    @property
    def values(self) -> tuple[int | None, ...]:
        """What it measures, in thousandths; None for a broken sensor; empty where not asked for."""
        ...


class BoardPort(Protocol):
    """A controller board. Every call may raise `adapters.errors.AdapterError`.

    The error's `sent` says whether the board may have acted on it.
    """

    async def start(self) -> None:
        """All lock coils off, read back; what the profile demands is checked."""

    async def pulse(self, channel: int, ms: int, *, deadline: float) -> object:
        """Pulse a coil once; return when it is over.

        `deadline` is on the event loop's clock: after it nothing is sent.
        """

    async def read(self, *, urgent: bool = False, measures: bool = False) -> ReadingPort:
        """Read inputs and outputs, with `measures` what it measures too.

        `urgent` goes before idle polling of the same line.
        """
        ...

    async def all_off(self) -> None:
        """All lock coils off, read back."""


class StorePort(Protocol):
    """The durable log, as the journal needs it."""

    @property
    def sizes(self) -> Mapping[Lane, int]:
        """Durable size by lane."""
        ...

    async def append(self, records: Sequence[Record], *, snapshot: bytes | None = None) -> None:
        """Return when the records are durable, and the book whose hash one of them states.

        Raises `sync.errors.StoreFailed`.
        """

    async def close(self) -> None:
        """Finish what is under way and close."""


class BenchPort(Protocol):
    """Commissioning, as the page, the socket and the command line use it.

    `by` is who asks, `installer:<name>` or `support:<name>`. Refusals are `GatewayError`s.
    """

    async def view(
        self, by: str, *, after: int | None = None, wait_s: float = 0
    ) -> Mapping[str, Any]:
        """Return how it stands; with `after` when it is no longer at that tick, or time is up."""
        ...

    async def act(self, by: str, body: bytes) -> Mapping[str, Any]:
        """Do what the JSON object asks, or begin it; return how it stands then."""
        ...

    def report(self) -> bytes:
        """Return the last signed report; GatewayError `report.none`."""
        ...

    def report_page(self, lang: str) -> str:
        """Return it as one HTML file."""
        ...

    def map_text(self) -> str:
        """Return the site's map as TOML; GatewayError `map.none`."""
        ...


class UpkeepPort(Protocol):
    """What a site in use says of its wear, and the parts of a bundle beside its status."""

    async def trends(self, door: int | None = None) -> dict[str, Any]:
        """Return the report of `gateway.wear`, at most a minute old. Raises GatewayError."""
        ...

    async def parts(self) -> list[tuple[str, Any]]:
        """Return (name, value), what matters most at the beginning."""
        ...
