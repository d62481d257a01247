"""Service of a site that is in use: its trends, and the bundle for whoever helps from afar.

The log is read beside the gateway, read-only, in slices; after each the reader rests as long as the
slice took, for pick-ups share the interpreter. A reading that was cut off goes on where it stopped,
and later ones read only what is new.
"""

import asyncio
import platform
import sqlite3
import ssl
from collections.abc import Callable, Mapping
from dataclasses import asdict
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any, Final

from gateway import bundle, doctor, health, identity, mapfile, wear
from gateway.config import Config
from gateway.errors import GatewayError, Overloaded
from gateway.trends import Trends
from gateway.wired import Known
from sync import fold
from sync.entry import Writer
from sync.reader import LogFile
from sync.sitemap import SiteMap

SLICE: Final = 2000
FRESH_S: Final = 60.0
"""So old a reading is told again without looking."""
READ_S: Final = 20.0
"""Longer than this nobody waits: whoever asks again has the rest."""
DISTRIBUTIONS: Final = ("parcel-locker-gateway", "aiohttp", "cryptography", "msgspec", "pymodbus")


class LogReading:
    """The trends of one data folder, as far as they are read. Its calls block, one at a time."""

    def __init__(self, data: Path) -> None:
        self.trends = Trends()
        self._database = identity.database_of(data)

    def read_on(self, site: SiteMap, most: int | None = None) -> bool:
        """Read at most so many entries more; say whether none is left."""
        left = most
        with LogFile.open(self._database) as log:
            own = [head for head in log.heads() if head.log.writer is Writer.SITE]
            for head in sorted(own, key=lambda head: fold.turn(str(head.log))):
                name = str(head.log)
                for record in islice(log.records(head, self.trends.sizes.get(name, 0)), left):
                    self.trends.take(name, record.index, record.entry, site)
                    left = None if left is None else left - 1
                if left == 0:
                    return False
        return True


class Upkeep:
    """What the site of `data` says of its wear. `known` returns what its book says now.

    Without a configuration its bundle has neither settings nor what the doctor finds.
    """

    def __init__(self, config: Config | None, data: Path, known: Callable[[], Known]) -> None:
        self._config, self._data, self._known = config, data, known
        self._reading = LogReading(data)
        self._one = asyncio.Lock()
        self._read_at: float | None = None
        self._report: dict[str, Any] | None = None
        self._examined: tuple[float, list[dict[str, Any]]] | None = None

    async def trends(self, door: int | None = None) -> dict[str, Any]:
        """Return the report, or what it says of one door; at most a minute old.

        Raises GatewayError `door.unknown`, Overloaded `trends.reading` while a long log is being
        read for the first time.
        """
        async with self._one:
            site = self._known().map
            if door is not None and door not in site.doors:
                raise GatewayError("door.unknown", "Take a number from the map", door=door)
            await self._refresh(site)
            if door is not None:
                return await asyncio.to_thread(wear.report, self._reading.trends, site, only=door)
            if self._report is None:
                self._report = await asyncio.to_thread(wear.report, self._reading.trends, site)
            return self._report

    async def _refresh(self, site: SiteMap) -> None:
        """Read what is new, at most once a minute."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self._read_at is not None and began - self._read_at < FRESH_S:
            return
        while True:
            at = loop.time()
            if await asyncio.to_thread(self._reading.read_on, site, SLICE):
                break
            if loop.time() - began > READ_S:
                raise Overloaded(
                    "trends.reading", "Ask again", entries=self._reading.trends.entries
                )
            await asyncio.sleep(loop.time() - at)
        self._read_at, self._report = loop.time(), None

    async def parts(self) -> list[tuple[str, Any]]:
        """Return what the bundle has beside the status, in the order in which it matters."""
        parts: list[tuple[str, Any]] = [("versions", await asyncio.to_thread(versions))]
        if self._config is not None:
            parts.append(("config", bundle.settings(self._config)))
        database = identity.database_of(self._data)
        parts.append(("machine", await asyncio.to_thread(health.machine, self._data, database)))
        known = self._known()
        if self._config is not None:
            parts.append(("doctor", await self._examine(self._config, known)))
        signed = known.commissioned
        parts.append(("commissioned", None if signed is None else asdict(signed)))
        parts.append(("trends", await self._summary(known.map)))
        parts.append(("map", mapfile.write(known.map)))
        return parts

    async def _examine(self, config: Config, known: Known) -> list[dict[str, Any]]:
        """Return what the doctor finds, at most once a minute: it flushes the disk too."""
        now = asyncio.get_running_loop().time()
        async with self._one:
            if self._examined is None or now - self._examined[0] >= FRESH_S:
                found = await asyncio.to_thread(doctor.examine, config, known)
                self._examined = now, [asdict(one) for one in found]
            return self._examined[1]

    async def _summary(self, site: SiteMap) -> Mapping[str, Any]:
        """Return the trends as far as a bundle has room."""
        try:
            async with self._one:
                await self._refresh(site)
                return await asyncio.to_thread(
                    wear.report, self._reading.trends, site, rows_max=bundle.TREND_DOORS
                )
        except GatewayError as error:
            return {"code": error.code, "remedy": error.remedy}


def versions() -> dict[str, str]:
    """Return which programs run here."""
    return {
        **{name: metadata.version(name) for name in DISTRIBUTIONS},
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "openssl": ssl.OPENSSL_VERSION,
        "kernel": platform.release(),
        "machine": platform.machine(),
    }
