"""The sign-off: a draft becomes the site's map, and its proof a report whose hash is in the log."""

import asyncio
from base64 import b64decode, b64encode
from hashlib import sha256
from importlib import metadata
from typing import Final

from gateway import logs, mapfile
from gateway.commissioning import draft as drafts
from gateway.commissioning import report
from gateway.commissioning.draft import Draft
from gateway.commissioning.keeping import Shelf
from gateway.commissioning.place import Place
from gateway.commissioning.teaching import refused
from gateway.core.inputs import SiteSigned
from gateway.errors import GatewayError
from sync.book import Book
from sync.custody import Custody
from sync.sitemap import LineItem

DISTRIBUTION: Final = "parcel-locker-gateway"

_log = logs.get("bench")


class Signer:
    """Signs a draft once, and has what was signed last."""

    def __init__(self, place: Place, shelf: Shelf) -> None:
        self._place, self._shelf = place, shelf

    async def sign(self, draft: Draft, by: str) -> None:
        """Have the engine take map and proof in one turn. The report is durable before.

        Raises GatewayError `commission.map_moved`, `commission.unproved`, `commission.disk`,
        `map.*`, and the engine's.
        """
        if draft.base != drafts.base_of(self._place.book().map):
            remedy = "Cancel this draft, and begin again from the map that stands now"
            raise GatewayError("commission.map_moved", remedy)
        proof = draft.proof
        if proof is None:
            raise GatewayError("commission.unproved", "Prove the doors first")
        site = drafts.site_map(draft)
        mapfile.check(site)
        data = report.encode(
            proof, draft, site=self._place.site, software=metadata.version(DISTRIBUTION)
        )
        await asyncio.to_thread(self._shelf.keep_report, data)
        answer = await self._place.ask(
            SiteSigned(
                now=self._place.now(), token="", by=by, map=site, audit=proof.audit,
                report=b64encode(sha256(data).digest()).decode(),
                passed=proof.count("passed"), failed=proof.count("failed"),
            )
        )  # fmt: skip
        if answer.code:
            raise refused(answer)
        _log.info("site.commissioned", by=by, entry=answer.ref, doors=len(site.doors))

    def report(self) -> bytes:
        """Return the last signed report; GatewayError `report.none`."""
        last = self._place.book().commissioned
        if last is None:
            raise GatewayError("report.none", "Prove and sign this site first")
        return self._shelf.report(b64decode(last.report))

    def report_page(self, lang: str) -> str:
        """Return it as one HTML file."""
        last = self._place.book().commissioned
        return report.page(self.report(), lang, ref="" if last is None else last.ref)

    def map_text(self) -> str:
        """Return the site's map as TOML; GatewayError `map.none`."""
        site = self._place.book().map
        if not site.doors:
            raise GatewayError("map.none", "Teach the doors and sign, or import a map first")
        return mapfile.write(site)


def held_units(book: Book, line: LineItem) -> frozenset[int]:
    """Return the boards of this line behind whose locks something may be: they keep their numbers.

    By the line's name or its place. An engine that finds a lock under another number knows nothing
    of its parcel.
    """
    site = book.map
    names = {
        name
        for name, one in site.lines.items()
        if name == line.name or (one.serial, one.tcp) == (line.serial, line.tcp)
    } | {line.name}
    held = {
        door.lock.partition(":")[0]
        for number, door in site.doors.items()
        if book.compartments[number].custody is not Custody.FREE
    }
    boards = site.boards.values()
    return frozenset(one.unit for one in boards if one.name in held and one.line in names)
