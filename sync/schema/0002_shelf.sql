-- What a site holds besides its own lanes: others' logs, receipts, annexes to come, snapshots.

-- Entries whose `private` is known and whose annex has neither come nor been erased.
CREATE TABLE awaited (id INTEGER PRIMARY KEY) STRICT;

-- Entries below the `oldest` of their log whose bytes stay: something that lives cites them.
CREATE TABLE spared (id INTEGER PRIMARY KEY) STRICT;

-- Erasures of entries in logs that are not here yet; they become marks when the log begins.
CREATE TABLE foretold (
    epoch  TEXT    NOT NULL,
    writer TEXT    NOT NULL,
    lane   TEXT    NOT NULL,
    idx    INTEGER NOT NULL CHECK (idx >= 0 AND idx < 1099511627776),
    by     TEXT    NOT NULL,
    PRIMARY KEY (epoch, writer, lane, idx)
) STRICT, WITHOUT ROWID;

-- The largest checkpoint of a log that a store of the hub has cosigned, by the instance of that
-- store. `vkey` is the cosigner's; `turn` rises with each receipt, so that old instances can go.
CREATE TABLE receipt (
    log      INTEGER NOT NULL REFERENCES log (id),
    instance TEXT    NOT NULL CHECK (length(instance) = 16),
    size     INTEGER NOT NULL CHECK (size >= 0),
    note     TEXT    NOT NULL,
    vkey     TEXT    NOT NULL,
    turn     INTEGER NOT NULL,
    PRIMARY KEY (log, instance)
) STRICT, WITHOUT ROWID;

-- The canonical book at `lanes` (JSON, log: size), with the `snapshot.taken` that signs its hash.
CREATE TABLE snapshot (
    turn   INTEGER PRIMARY KEY,
    entry  INTEGER NOT NULL UNIQUE,
    sha256 BLOB    NOT NULL CHECK (length(sha256) = 32),
    lanes  TEXT    NOT NULL,
    book   BLOB    NOT NULL
) STRICT;
