"""The statements that both databases understand, with `$1` marks. Each names its site.

`ABOUT` rows stand under the site ''. The one statement over several sites is `SITES`, which lists
them. What differs (growing a log, merging annexes, spans of hashes) stands with its database.
"""

from typing import Final

ABOUT_SITE: Final = ""

ABOUT: Final = "SELECT value FROM about WHERE site_id = $1 AND key = $2"
PUT_ABOUT: Final = (
    "INSERT INTO about (site_id, key, value) VALUES ($1, $2, $3)"
    " ON CONFLICT (site_id, key) DO UPDATE SET value = excluded.value"
)
OFFER_ABOUT: Final = (
    "INSERT INTO about (site_id, key, value) VALUES ($1, $2, $3)"
    " ON CONFLICT (site_id, key) DO NOTHING"
)

_SITE: Final = (
    "site_id, operator, label, vkey, epoch, created_ms, url, enabled, key_version, fenced, version"
)
SITES: Final = f"SELECT {_SITE} FROM site ORDER BY site_id"  # noqa: S608  # our own constant
SITE: Final = f"SELECT {_SITE} FROM site WHERE site_id = $1"  # noqa: S608  # our own constant
ADD_SITE: Final = (
    f"INSERT INTO site ({_SITE}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"  # noqa: S608  # our own constant
    " ON CONFLICT (site_id) DO NOTHING"
)
UPDATE_SITE: Final = (
    "UPDATE site SET operator = $2, label = $3, vkey = $4, epoch = $5, created_ms = $6, url = $7,"
    " enabled = $8, key_version = $9, fenced = $10, version = $11 + 1"
    " WHERE site_id = $1 AND version = $11"
)

_LOG: Final = "origin, no, own, vkey, oldest, size, sealed, note, peaks, cosigned"
LOGS: Final = f"SELECT {_LOG} FROM log WHERE site_id = $1 ORDER BY origin"  # noqa: S608  # our own
LOG: Final = f"SELECT {_LOG} FROM log WHERE site_id = $1 AND origin = $2"  # noqa: S608  # our own
# The number is by compare-and-set too: two that take the same one meet in the key.
BEGIN_LOG: Final = (
    "INSERT INTO log (site_id, origin, no, own, vkey, note)"
    " SELECT $1, $2, coalesce(max(no), 0) + 1, CAST($3 AS BOOLEAN), $4, $5"
    " FROM log WHERE site_id = $1 ON CONFLICT DO NOTHING"
)
DISOWN_LOG: Final = "UPDATE log SET own = $3 WHERE site_id = $1 AND origin = $2"
SEAL_LOG: Final = (
    "UPDATE log SET sealed = $3, note = $4"
    " WHERE site_id = $1 AND origin = $2 AND (sealed < $3 OR note = '') AND size >= $3"
)
NOTE_COSIGNED: Final = (
    "UPDATE log SET cosigned = $3 WHERE site_id = $1 AND origin = $2 AND cosigned < $3"
)

LEAVES: Final = (
    "SELECT leaf FROM entry WHERE site_id = $1 AND log = $2 AND idx >= $3 AND idx < $4 ORDER BY idx"
)
LENGTHS: Final = (
    "SELECT length(bytes) FROM entry"
    " WHERE site_id = $1 AND log = $2 AND idx >= $3 AND idx < $4 ORDER BY idx"
)
READ: Final = (
    "SELECT idx, bytes FROM entry WHERE site_id = $1 AND log = $2 AND idx >= $3 AND idx < $4"
    " AND bytes IS NOT NULL ORDER BY idx"
)

CHECKPOINT: Final = "SELECT note FROM checkpoint WHERE site_id = $1 AND log = $2 AND size = $3"
CHECKPOINT_UP_TO: Final = (
    "SELECT max(size) FROM checkpoint WHERE site_id = $1 AND log = $2 AND size > $3 AND size <= $4"
)
CHECKPOINT_AFTER: Final = (
    "SELECT min(size) FROM checkpoint WHERE site_id = $1 AND log = $2 AND size > $3"
)
KEEP_CHECKPOINT: Final = (
    "INSERT INTO checkpoint (site_id, log, size, note, at_ms) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (site_id, log, size) DO NOTHING"
)

ANNEXES: Final = (
    "SELECT ref, idx, private, salt, data, erased_by FROM annex"
    " WHERE site_id = $1 AND ref = $2 AND idx >= $3 AND idx <= $4 ORDER BY idx"
)
ANNEX_OWED: Final = (
    "SELECT min(idx) FROM annex"
    " WHERE site_id = $1 AND ref = $2 AND data IS NULL AND erased_by IS NULL"
)
MERGE_ANNEX: Final = (
    " ON CONFLICT (site_id, ref, idx) DO UPDATE SET"
    " private = coalesce(annex.private, excluded.private),"
    " salt = CASE WHEN annex.erased_by IS NULL AND excluded.erased_by IS NULL"
    " THEN coalesce(annex.salt, excluded.salt) END,"
    " data = CASE WHEN annex.erased_by IS NULL AND excluded.erased_by IS NULL"
    " THEN coalesce(annex.data, excluded.data) END,"
    " erased_by = coalesce(annex.erased_by, excluded.erased_by)"
)

KEEP_COSIGNATURE: Final = (
    "INSERT INTO cosignature (site_id, log, instance, size, note, at_ms)"
    " VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (site_id, log, instance) DO UPDATE"
    " SET size = excluded.size, note = excluded.note, at_ms = excluded.at_ms"
    " WHERE cosignature.size <= excluded.size"
)
COSIGNATURE: Final = (
    "SELECT size, note, instance, at_ms FROM cosignature WHERE site_id = $1 AND log = $2"
    " ORDER BY size DESC, at_ms DESC LIMIT 1"
)

KEEP_FORK: Final = (
    "INSERT INTO fork (site_id, origin, size, root, note, at_ms) VALUES ($1, $2, $3, $4, $5, $6)"
    " ON CONFLICT (site_id, origin, size, root) DO NOTHING"
)
FORKS: Final = (
    "SELECT origin, size, root, note, at_ms FROM fork WHERE site_id = $1"
    " ORDER BY origin, size, root"
)

KEEP_BOOK: Final = (
    "INSERT INTO book (site_id, fold, lanes, data, at_ms) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (site_id, fold) DO UPDATE"
    " SET lanes = excluded.lanes, data = excluded.data, at_ms = excluded.at_ms"
)
BOOK: Final = "SELECT fold, lanes, data, at_ms FROM book WHERE site_id = $1 AND fold = $2"

PUT_NEWS: Final = (
    "INSERT INTO news (site_id, key, payload, state, at_ms) VALUES ($1, $2, $3, 'news', $4)"
    " ON CONFLICT (site_id, key) DO NOTHING"
)
SETTLE_NEWS: Final = "UPDATE news SET state = $3, payload = $4 WHERE site_id = $1 AND key = $2"
ERASING: Final = frozenset({SETTLE_NEWS})
"""What takes a name out of a row: SQLite then empties its WAL too."""
NEWS: Final = (
    "SELECT key, payload, state, at_ms FROM news WHERE site_id = $1 AND state = $2"
    " ORDER BY at_ms, key"
)

ADD_RECORD: Final = (
    "INSERT INTO record (site_id, kind, id, data, version, at_ms) VALUES ($1, $2, $3, $4, 0, $5)"
    " ON CONFLICT (site_id, kind, id) DO NOTHING"
)
CHANGE_RECORD: Final = (
    "UPDATE record SET data = $4, version = $5 + 1, at_ms = $6"
    " WHERE site_id = $1 AND kind = $2 AND id = $3 AND version = $5"
)
DROP_RECORD: Final = "DELETE FROM record WHERE site_id = $1 AND kind = $2 AND id = $3"
RECORD: Final = (
    "SELECT kind, id, data, version, at_ms FROM record WHERE site_id = $1 AND kind = $2 AND id = $3"
)
RECORDS: Final = (
    "SELECT kind, id, data, version, at_ms FROM record"
    " WHERE site_id = $1 AND kind = $2 AND id > $3 ORDER BY id LIMIT 1000"
)

AUDIT_NEXT: Final = "SELECT coalesce(max(seq) + 1, 0) FROM audit WHERE site_id = $1"
PUT_AUDIT: Final = (
    "INSERT INTO audit (site_id, seq, code, evidence, at_ms) VALUES ($1, $2, $3, $4, $5)"
    " ON CONFLICT (site_id, seq) DO NOTHING"
)
AUDITED: Final = (
    "SELECT seq, code, evidence, at_ms FROM audit"
    " WHERE site_id = $1 AND seq >= $2 AND seq < $3 ORDER BY seq"
)
