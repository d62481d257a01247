"""Plain pull, the asking side (FORMATS.md 4): make a shelf and a reachable peer hold the same.

`pull` may be stopped anywhere and called again: it asks what the peer has, fetches what lacks here,
pushes what lacks there, and stores nothing that a signed checkpoint does not cover. What a peer
answers is bounded before it is read and checked before it is used.

Connection errors and answers of 5xx are tried again a few times, then `Unreachable`. An answer that
is wrong is `TheirsInvalid` `exchange.*`: of the peer as a whole it is raised, of one log it stands
in `Summary.refused`, and the other logs go on. `StoreFailed` goes through.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp

from certs.errors import CertsError
from certs.keys import Verifier
from certs.note import Checkpoint, open_checkpoint
from sync import entry as entries
from sync import pages
from sync.errors import TheirsInvalid
from sync.frontier import EMPTY, Head, Verdict, compare
from sync.intake import CHUNK_BYTES_MAX, CHUNK_ENTRIES_MAX, Chunk
from sync.origin import Origin
from sync.pages import Found, Refusal, Told, refused
from sync.pullwire import Limits, Peer, Unreachable, expect
from sync.rows import Annex
from sync.shelf import Item, Log, Shelf

__all__ = ["Cosign", "Found", "Limits", "Refusal", "Summary", "Unreachable", "pull", "watch"]

Cosign = Callable[[Log], Awaitable[str | None]]
"""Returns the checkpoint of a log just stored, with our cosignature line; None: no receipt."""

PAGE_BYTES: Final = pages.PAGE_BYTES_DEFAULT
PUSH_BYTES: Final = pages.PAGE_BYTES_DEFAULT
_FINDINGS: Final = {Verdict.FORK, Verdict.ROLLED_BACK, Verdict.PEER_ROLLED_BACK}
_OK, _NO_CONTENT, _CONFLICT = 200, 204, 409


@dataclass(slots=True)
class Summary:
    """What a pull did. Bytes are those of bodies as they crossed the wire."""

    pulled: int = 0
    pushed: int = 0
    annexes: int = 0
    receipts: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    more: bool = False
    found: list[Found] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)


async def pull(
    session: aiohttp.ClientSession,
    base_url: str,
    shelf: Shelf,
    *,
    peer: str = "",
    annexes: bool = True,
    push: bool = True,
    cosign: Cosign | None = None,
    limits: Limits | None = None,
) -> Summary:
    """Exchange with the peer at `base_url` (it ends in `/sync/v1`) until both hold the same.

    `peer` is the writer that answers there, as in `site/0042`: of its own logs it must know all.
    `cosign` gives the receipts, posted under this shelf's instance. Raises `Unreachable`,
    `TheirsInvalid` when the list of logs is none, and `StoreFailed`.
    """
    bounds = limits or Limits()
    done = Summary()
    wire = Peer(session, base_url.rstrip("/"), bounds)
    run = _Run(wire, shelf, peer, annexes, push, cosign, bounds, done)
    told = {log.origin: log for log in await wire.logs()}
    mine = {log.origin: log for log in await shelf.logs()}
    for origin in sorted(told.keys() | mine.keys()):
        try:
            await run.settle(origin, mine.get(origin), told.get(origin))
        except TheirsInvalid as error:
            done.refused.append(Refusal(origin, error))
    done.bytes_in, done.bytes_out = wire.bytes_in, wire.bytes_out
    return done


async def watch(
    session: aiohttp.ClientSession, base_url: str, origin: str, size: int, wait_s: int
) -> int:
    """Return the peer's size of a log, waiting up to `wait_s` (55 at most) until it is beyond."""
    wait_s = min(wait_s, pages.WAIT_S_MAX)
    limits = Limits(request_s=wait_s + 15.0, attempts=1)
    wire = Peer(session, base_url.rstrip("/"), limits)
    return (await wire.page(origin, size, 1, wait_s=wait_s)).size


# --- one pull -------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Run:
    """One pull: what is settled, log by log."""

    wire: Peer
    shelf: Shelf
    peer: str
    annexes: bool
    push: bool
    cosign: Cosign | None
    limits: Limits
    done: Summary

    async def settle(self, origin: str, mine: Log | None, told: Told | None) -> None:
        """Compare a log at both ends, then move what one of them lacks."""
        name = Origin.parse(origin)  # from here on it may stand in a path
        if mine is None and not await pages.knows(self.shelf, origin):
            raise refused("unknown_origin", "Configure this writer's key, if it is ours.")
        here = EMPTY if mine is None else Head.of(mine.size, mine.root)
        there = EMPTY if told is None else Head.of(told.size, told.head)
        root = await self.shelf.root(origin, there.size) if mine is not None else None
        verdict = compare(
            here,
            there,
            lambda _: root,
            own=mine is not None and mine.own,
            peers_own=name.writer == self.peer,
        )
        if mine is not None and told is not None and verdict in _FINDINGS:
            await self._find(verdict, mine, told)
        if told is not None and verdict in {Verdict.I_LACK, Verdict.ROLLED_BACK}:
            await self._fetch(mine, told)
        behind = verdict in {Verdict.THEY_LACK, Verdict.PEER_ROLLED_BACK}
        if mine is not None and behind and self.push:
            await self._push(mine, there.size)
        if told is not None and verdict is not Verdict.FORK:
            await self._mend(mine, told)
            await self._give_receipt(origin, told)

    # --- two histories -------------------------------------------------------------------------

    async def _find(self, verdict: Verdict, mine: Log, told: Told) -> None:
        """Report what the comparison says, once a signature shows that the peer did not make it up.

        A peer that lost entries of its own claims nothing that a signature would have to show.
        """
        note = ""
        if verdict is not Verdict.PEER_ROLLED_BACK:
            note = await self._signed(mine, told.size)
            if Checkpoint.parse(note.partition("\n\n")[0] + "\n").root != told.head:
                raise refused("root", "Log list and checkpoint differ.", size=told.size)
        self.done.found.append(Found(verdict, mine.origin, mine.size, told.size, note))

    async def _signed(self, mine: Log, size: int) -> str:
        """Return the peer's checkpoint of a size of a log that we hold, verified."""
        note = await self.wire.note(mine.origin, size)
        if note is None:
            raise refused("no_checkpoint", "Show the signed checkpoint.", size=size)
        try:
            said = open_checkpoint(note, Verifier.from_vkey(mine.vkey))
        except CertsError as error:
            raise refused("note", "Show the checkpoint that the log's key signed.") from error
        if said.size != size:
            raise refused("size", "Show the checkpoint of this size.", asked=size, got=said.size)
        return note

    # --- fetching ------------------------------------------------------------------------------

    async def _fetch(self, mine: Log | None, told: Told) -> None:
        size = 0 if mine is None else mine.size
        while size < told.size:
            if self.done.pulled >= self.limits.entries_max:
                self.done.more = True
                return
            chunk, annexes = await self._chunk(told.origin, size)
            try:
                log = await self.shelf.extend(chunk)
            except TheirsInvalid as error:
                if mine is None or not await self._explains(error, mine):
                    raise
                return
            self.done.pulled += log.size - size
            await self._put(told.origin, annexes)
            size = log.size

    async def _explains(self, error: TheirsInvalid, mine: Log) -> bool:
        """Say whether a refused chunk is a finding: known already, or a fork that is proved here.

        Two checkpoints of one size, both signed, with different roots: no transfer makes those.
        """
        if error.code == "exchange.own":
            return True  # reported as rolled back; the rest is for a restore to decide
        if error.code != "exchange.root" or mine.size == 0:
            return False
        now = await self.shelf.log(mine.origin)
        if now is None or (note := await self.wire.note(now.origin, now.size)) is None:
            return False
        note = await self._signed(now, now.size)
        if Checkpoint.parse(note.partition("\n\n")[0] + "\n").root == now.root:
            return False
        self.done.found.append(Found(Verdict.FORK, now.origin, now.size, now.size, note))
        return True

    async def _chunk(self, origin: str, first: int) -> tuple[Chunk, list[tuple[int, Annex]]]:
        """Return entries from `first` up to a size that a checkpoint of the peer's ends at."""
        held: list[bytes] = []
        beside: list[tuple[int, Annex]] = []
        while True:
            at = first + len(held)
            page, size = await self.wire.page(origin, at, PAGE_BYTES, annex=self.annexes)
            held += page.entries[: CHUNK_ENTRIES_MAX - len(held)]
            stop = first + len(held)
            beside += [(index, annex) for index, annex in page.annexes if index < stop]
            if held and (note := await self.wire.note(origin, stop)) is not None:
                return Chunk(origin, first, tuple(held), note), beside
            full = len(held) >= CHUNK_ENTRIES_MAX or sum(map(len, held)) >= CHUNK_BYTES_MAX
            if full or not page.entries or size == stop:
                raise refused(
                    "no_checkpoint",
                    "Entries are told only up to a signed checkpoint.",
                    origin=origin,
                    size=stop,
                )

    async def _put(self, origin: str, annexes: Sequence[tuple[int, Annex]]) -> None:
        if annexes:
            self.done.annexes += await self.shelf.put_annexes(origin, annexes)

    async def _mend(self, mine: Log | None, told: Told) -> None:
        """Fetch the annexes that a pull before this one had no time for: those of its last chunk.

        They follow their entries, so a power cut may come between.
        """
        if mine is None or mine.own or not self.annexes:
            return
        first = max(mine.oldest, mine.size - CHUNK_ENTRIES_MAX)
        missing = [
            item.index
            for item in await self.shelf.read(mine.origin, first, min(mine.size, told.size))
            if item.annex is None and entries.parse(item.entry).private is not None
        ]
        at = missing[0] if missing and missing[0] >= told.oldest else told.size
        while missing and at <= missing[-1]:
            page, _ = await self.wire.page(mine.origin, at, PAGE_BYTES, annex=True)
            if not page.entries:
                return
            await self._put(mine.origin, [one for one in page.annexes if one[0] in missing])
            at += len(page.entries)

    # --- giving --------------------------------------------------------------------------------

    async def _push(self, mine: Log, start: int) -> None:
        """Send what the peer lacks, to where it says it stands after each answer."""
        if start < mine.oldest:
            raise refused("pruned", "Entries that old are not kept here.", oldest=mine.oldest)
        path = f"/logs/{mine.origin}/entries"
        while start < mine.size:
            count = await self.shelf.cut(mine.origin, start, CHUNK_ENTRIES_MAX, PUSH_BYTES)
            items = await self.shelf.read(mine.origin, start, start + count)
            note = await self.shelf.note(mine.origin, start + count)
            if not items or note is None:
                return  # pruned since we asked
            if not self.annexes:
                items = [Item(item.index, item.entry) for item in items]
            answer = await self.wire.post(path, pages.write_push(items, note))
            if answer.status == _CONFLICT:
                size = pages.read_json(answer.body, pages.Sized).size
                sent = 0
            else:
                size = pages.read_json(expect(answer, _OK).body, pages.Sized).size
                sent = min(size - start, count)
            if size <= start:
                raise refused("page", "No progress: the peer's sizes differ.", size=size)
            self.done.pushed += sent
            start = size

    async def _give_receipt(self, origin: str, told: Told) -> None:
        log = await self.shelf.log(origin)
        if self.cosign is None or log is None or log.own or log.size <= told.cosigned:
            return
        note = await self.cosign(log)
        if note is not None:
            instance = {"Store-Instance": self.shelf.instance}
            path = f"/logs/{origin}/cosignatures"
            expect(await self.wire.post(path, note.encode(), **instance), _NO_CONTENT)
            self.done.receipts += 1
