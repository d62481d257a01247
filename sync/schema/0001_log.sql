-- The logs of one site: its own lanes of every epoch, and, later, the hub's lanes that it holds.

CREATE TABLE about (
    key   TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- Told to peers, so that they notice when this file was replaced by another one.
INSERT INTO about VALUES ('instance', lower(hex(randomblob(8))));

-- One row a log. `size` and `note` are its latest signed checkpoint, written in the same
-- transaction as the entries below it. `own`: this site signs it. `oldest`: entries before it were
-- pruned, their leaf hashes stay.
CREATE TABLE log (
    id     INTEGER PRIMARY KEY CHECK (id > 0 AND id < 4194304),
    origin TEXT    NOT NULL UNIQUE,
    epoch  TEXT    NOT NULL,
    writer TEXT    NOT NULL CHECK (writer IN ('s', 'h')),
    lane   TEXT    NOT NULL CHECK (lane IN ('u', 'c', 't')),
    own    INTEGER NOT NULL CHECK (own IN (0, 1)),
    vkey   TEXT    NOT NULL,
    oldest INTEGER NOT NULL DEFAULT 0 CHECK (oldest BETWEEN 0 AND size),
    size   INTEGER NOT NULL CHECK (size >= 0),
    note   TEXT    NOT NULL,
    UNIQUE (epoch, writer, lane)
) STRICT;

-- id = log * 2^40 + index: one B-tree, one page a commit, and each log in order. The two virtual
-- columns are for whoever looks with a SQLite shell.
CREATE TABLE entry (
    id    INTEGER PRIMARY KEY,
    leaf  BLOB NOT NULL CHECK (length(leaf) = 32),
    bytes BLOB CHECK (length(bytes) BETWEEN 2 AND 4096),
    log   INTEGER GENERATED ALWAYS AS (id >> 40) VIRTUAL,
    idx   INTEGER GENERATED ALWAYS AS (id & 1099511627775) VIRTUAL
) STRICT;

-- The personal part of an entry, by the entry's id. Erased: the salt is gone too, and `erased_by`
-- names the entry that says so. A row may be marked before its annex ever arrives.
CREATE TABLE annex (
    id        INTEGER PRIMARY KEY,
    salt      BLOB CHECK (length(salt) = 16),
    data      BLOB CHECK (length(data) <= 4096),
    erased_by TEXT,
    CHECK ((salt IS NULL) = (data IS NULL)),
    CHECK ((data IS NULL) = (erased_by IS NOT NULL))
) STRICT;

-- Roots of full subtrees at every eighth level, so that a proof reads a few hundred hashes.
CREATE TABLE node (
    log   INTEGER NOT NULL REFERENCES log (id),
    level INTEGER NOT NULL CHECK (level > 0 AND level % 8 = 0),
    idx   INTEGER NOT NULL,
    hash  BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (log, level, idx)
) STRICT, WITHOUT ROWID;

-- Earlier checkpoints worth keeping: the last one of every 512 entries, and those that a peer has.
CREATE TABLE checkpoint (
    log  INTEGER NOT NULL REFERENCES log (id),
    size INTEGER NOT NULL CHECK (size > 0),
    note TEXT    NOT NULL,
    PRIMARY KEY (log, size)
) STRICT, WITHOUT ROWID;
