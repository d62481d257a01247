"""Opens the hub's storages for tests: SQLite always, PostgreSQL where there is a server.

`STORAGES` are the names to parametrise with; `url_of` gives one's URL, or skips with the reason.
"""

from pathlib import Path

from sync.hub.opening import open_storage
from sync.hub.storage import Storage
from tests import postgres

STORAGES = ("dealt", "postgres", "sqlite")
"""`dealt` is PostgreSQL with every table partitioned by hash of site_id."""

NOW_MS = 1_800_000_000_000


async def url_of(name: str, folder: Path) -> str:
    if name == "sqlite":
        return f"sqlite://{folder}/hub.db"
    return await postgres.fresh(dealt=name == "dealt")


async def opened(url: str) -> Storage:
    return await open_storage(url, lambda: NOW_MS)
