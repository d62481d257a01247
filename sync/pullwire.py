"""One reachable peer of plain pull: requests with a deadline, a bound, and a few attempts.

Nothing that a peer says is believed here: an answer is bounded before it is unpacked, and headers,
lines and numbers are held against each other. `sync.pullclient` is what asks.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import aiohttp
import tenacity

from certs.note import NOTE_BYTES_MAX
from sync import pages
from sync.errors import SyncError, TheirsInvalid
from sync.pages import Told, refused

_PAGE_LIMIT: Final = 2 * pages.PAGE_BYTES_MAX
_LOGS_LIMIT: Final = 1 << 21
_JSON_LIMIT: Final = 1 << 14
_OK, _MISSING, _GONE = 200, 404, 410
_TOO_MANY, _SERVER = 429, 500
_TROUBLE: Final = (
    aiohttp.ClientConnectionError,
    aiohttp.ClientPayloadError,
    ConnectionError,
    TimeoutError,
)


class Unreachable(SyncError):  # noqa: N818  # the name says what is wrong
    """The peer does not answer, or says that it cannot just now: code `exchange.unreachable`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one pull spends."""

    connect_s: float = 5.0
    request_s: float = 60.0
    """For a whole answer: on a link of 8 kB/s a page of 256 KiB, packed, takes ten seconds."""
    attempts: int = 4
    pause_s_max: float = 4.0
    entries_max: int = 1 << 20
    """Then the pull ends with `more`: nobody keeps us busy for ever."""


class Fetched(NamedTuple):
    """A page and the size that the peer has."""

    page: pages.Page
    size: int


class Answer(NamedTuple):
    """What came back, its body unpacked."""

    status: int
    headers: Any
    body: bytes


# --- the wire -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Peer:
    """Requests to one peer; `base` ends in `/sync/v1`. Bytes are those of bodies on the wire.

    `takes_zstd` is learnt from its answers: until then bodies go unpacked.
    """

    session: aiohttp.ClientSession
    base: str
    limits: Limits
    bytes_in: int = 0
    bytes_out: int = 0
    takes_zstd: bool = False

    async def ask(
        self, method: str, path: str, limit: int, body: bytes | None = None, **headers: str
    ) -> Answer:
        """Return the peer's answer below 500; `Unreachable` after the last attempt."""
        retrying = tenacity.AsyncRetrying(
            stop=tenacity.stop_after_attempt(self.limits.attempts),
            wait=tenacity.wait_random_exponential(multiplier=0.25, max=self.limits.pause_s_max),
            retry=tenacity.retry_if_exception_type(Unreachable),
            reraise=True,
        )
        async for attempt in retrying:
            with attempt:
                return await self._once(method, path, limit, body, headers)
        raise AssertionError  # reraise: an attempt has returned or raised

    async def _once(
        self, method: str, path: str, limit: int, body: bytes | None, headers: dict[str, str]
    ) -> Answer:
        timeout = aiohttp.ClientTimeout(
            total=self.limits.request_s, sock_connect=self.limits.connect_s
        )
        self.bytes_out += len(body or b"")
        try:
            async with self.session.request(
                method,
                self.base + path,
                data=body,
                headers={"Accept-Encoding": "zstd, gzip"} | headers,
                allow_redirects=False,
                auto_decompress=False,
                timeout=timeout,
            ) as response:
                packed = await self._read(response, limit)
        except _TROUBLE as error:
            raise self._unreachable(cause=type(error).__name__) from error
        except (aiohttp.ClientError, ValueError) as error:
            raise refused(
                "http", "What answers there speaks no HTTP.", cause=type(error).__name__
            ) from error
        if response.status >= _SERVER or response.status == _TOO_MANY:
            raise self._unreachable(status=response.status)
        coding = response.headers.get("Content-Encoding", "").strip().lower()
        self.takes_zstd |= coding == "zstd"
        return Answer(response.status, response.headers, pages.unpack(coding, packed, limit))

    async def _read(self, response: aiohttp.ClientResponse, limit: int) -> bytes:
        data = bytearray()
        while chunk := await response.content.readany():
            self.bytes_in += len(chunk)
            data += chunk
            if len(data) > limit:
                response.close()
                raise refused("too_large", "Answer with less at once.", limit=limit)
        return bytes(data)

    def _unreachable(self, **evidence: object) -> Unreachable:
        remedy = "Check the peer's address and that it runs; we come back."
        return Unreachable("exchange.unreachable", remedy, peer=self.base, **evidence)

    async def logs(self) -> list[Told]:
        """Return what the peer holds, by origin."""
        answer = await self.ask("GET", "/logs", _LOGS_LIMIT)
        return pages.read_logs(expect(answer, _OK).body)

    async def page(
        self, origin: str, first: int, room: int, *, annex: bool = False, wait_s: int = 0
    ) -> Fetched:
        """Return the entries from `first` on, after holding the answer to what it says."""
        query = f"?from={first}&max_bytes={room}" + "&annex=1" * annex
        query += f"&wait={wait_s}" if wait_s else ""
        answer = await self.ask("GET", f"/logs/{origin}/entries{query}", _PAGE_LIMIT)
        if answer.status == _GONE:
            raise _gone(origin, answer)
        headers = expect(answer, _OK).headers
        page = pages.read_page(answer.body, first, annex=annex)
        said = [_number(headers, key) for key in ("Log-From", "Log-Next", "Log-Size")]
        stop = first + len(page.entries)
        if said[:2] != [first, stop] or said[2] < stop or (stop == first and said[2] > first):
            raise refused(
                "page",
                "Log-From, Log-Next and Log-Size say what the page holds.",
                origin=origin,
                asked=first,
                got=len(page.entries),
                said=",".join(map(str, said)),
            )
        return Fetched(page, said[2])

    async def note(self, origin: str, size: int) -> str | None:
        """Return the checkpoint of a size, unverified; None where the peer has none."""
        answer = await self.ask("GET", f"/logs/{origin}/checkpoint?size={size}", NOTE_BYTES_MAX)
        if answer.status == _MISSING:
            return None
        try:
            return expect(answer, _OK).body.decode()
        except UnicodeDecodeError:
            raise refused("note", "A checkpoint is UTF-8 text.", origin=origin) from None

    async def post(self, path: str, body: bytes, **headers: str) -> Answer:
        """Send a body, packed for whoever packs; return the answer whatever its status."""
        packed, extra = body, {}
        if self.takes_zstd:
            used, packed = await asyncio.to_thread(pages.pack, "zstd", body)
            extra = {"Content-Encoding": used} if used != "identity" else {}
        return await self.ask("POST", path, _JSON_LIMIT, packed, **extra, **headers)


def expect(answer: Answer, status: int) -> Answer:
    """Return an answer of that status; any other is a refusal, with the peer's own code."""
    if answer.status != status:
        said: dict[str, Any] = {}
        with suppress(TheirsInvalid):
            said = pages.read_json(answer.body, dict[str, Any])
        code = ascii(said.get("code", ""))[:80]
        raise refused("http", "The peer refuses: see its code.", status=answer.status, cause=code)
    return answer


def _gone(origin: str, answer: Answer) -> TheirsInvalid:
    evidence: object = None
    with suppress(TheirsInvalid):
        evidence = pages.read_json(answer.body, dict[str, Any]).get("evidence")
    where = evidence.get("snapshot", "") if isinstance(evidence, dict) else ""
    return refused(
        "pruned",
        "The peer keeps no entries that old: begin from its snapshot.",
        origin=origin,
        snapshot=ascii(where)[:200],
    )


def _number(headers: Any, key: str) -> int:
    text = headers.get(key, "")
    return pages.read_number({key: text}, key) if len(headers.getall(key, ())) == 1 else -1
