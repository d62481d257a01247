"""Opening the hub's storage: one URL says which."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from sync.errors import TheirsInvalid
from sync.hub.ledger import Ledger
from sync.hub.sqlite import SqliteDatabase
from sync.hub.storage import Clock, Storage
from sync.hub.tables import Database


async def open_storage(url: str, now_ms: Clock) -> Storage:
    """Open the storage that `url` names, made if it is not there; its schema is brought up to date.

    `sqlite:///var/lib/hub/hub.db` (an absolute path) needs nothing installed; one process owns it.
    `postgresql://user@host/database` needs the extra `postgres`; several processes may share it.
    `now_ms` gives UTC in milliseconds, for columns that only people read.

    Raises `StoreFailed` (busy, foreign, newer, torn, full, io), `TheirsInvalid` `hub.bad_url` and
    `hub.no_driver`. No password is ever in an error.
    """
    database = await _opened(url)
    try:
        return await Ledger.open(database, now_ms)
    except BaseException:
        await database.close()
        raise


async def _opened(url: str) -> Database:
    scheme = url.partition(":")[0]
    if scheme == "sqlite":
        parts = urlsplit(url)
        path = Path(unquote(parts.path))
        if parts.netloc or parts.query or parts.fragment or path.name in {"", ".."}:
            raise _bad_url("A file is named by its absolute path: sqlite:///var/lib/hub/hub.db")
        return await SqliteDatabase.open(path)
    if scheme in {"postgresql", "postgres"}:
        try:
            # An extra: a hub on SQLite does without the driver.
            from sync.hub.postgres import PostgresDatabase  # noqa: PLC0415  # see above
        except ModuleNotFoundError as error:
            raise TheirsInvalid(
                "hub.no_driver", "Install parcel-locker-gateway[postgres].", missing=error.name
            ) from error
        return await PostgresDatabase.open(url)
    raise _bad_url("The storage is sqlite:///path or postgresql://...")


def _bad_url(remedy: str) -> TheirsInvalid:
    return TheirsInvalid("hub.bad_url", remedy)
