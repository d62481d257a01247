-- The hub's tables, as on PostgreSQL (schema/postgres says what each is for): site_id comes first in
-- every key, no table refers to another, nothing reaches over two sites.

CREATE TABLE about (
    site_id TEXT NOT NULL,
    key     TEXT NOT NULL,
    value   TEXT NOT NULL,
    PRIMARY KEY (site_id, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE site (
    site_id     TEXT    NOT NULL PRIMARY KEY,
    operator    TEXT    NOT NULL,
    label       TEXT    NOT NULL,
    vkey        TEXT    NOT NULL,
    epoch       TEXT    NOT NULL,
    url         TEXT    NOT NULL,
    enabled     INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    key_version INTEGER NOT NULL,
    fenced      INTEGER NOT NULL CHECK (fenced IN (0, 1)),
    created_ms  INTEGER NOT NULL,
    version     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE log (
    site_id  TEXT    NOT NULL,
    origin   TEXT    NOT NULL,
    no       INTEGER NOT NULL CHECK (no > 0),
    own      INTEGER NOT NULL CHECK (own IN (0, 1)),
    vkey     TEXT    NOT NULL,
    oldest   INTEGER NOT NULL DEFAULT 0,
    size     INTEGER NOT NULL DEFAULT 0,
    sealed   INTEGER NOT NULL DEFAULT 0,
    note     TEXT    NOT NULL,
    peaks    BLOB    NOT NULL DEFAULT x'',
    cosigned INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (site_id, origin),
    UNIQUE (site_id, no),
    CHECK (oldest >= 0 AND oldest <= size AND sealed >= 0 AND sealed <= size)
) STRICT, WITHOUT ROWID;

CREATE TABLE entry (
    site_id TEXT    NOT NULL,
    log     INTEGER NOT NULL,
    idx     INTEGER NOT NULL CHECK (idx >= 0),
    leaf    BLOB    NOT NULL CHECK (length(leaf) = 32),
    bytes   BLOB    CHECK (length(bytes) BETWEEN 2 AND 4096),
    PRIMARY KEY (site_id, log, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE annex (
    site_id   TEXT    NOT NULL,
    ref       TEXT    NOT NULL,
    idx       INTEGER NOT NULL,
    private   BLOB    CHECK (length(private) = 32),
    salt      BLOB    CHECK (length(salt) = 16),
    data      BLOB    CHECK (length(data) <= 4096),
    erased_by TEXT,
    PRIMARY KEY (site_id, ref, idx),
    CHECK ((salt IS NULL) = (data IS NULL)),
    CHECK (data IS NULL OR erased_by IS NULL)
) STRICT, WITHOUT ROWID;

CREATE INDEX annex_owed ON annex (site_id, ref, idx) WHERE data IS NULL AND erased_by IS NULL;

CREATE TABLE node (
    site_id TEXT    NOT NULL,
    log     INTEGER NOT NULL,
    level   INTEGER NOT NULL CHECK (level > 0 AND level % 8 = 0),
    idx     INTEGER NOT NULL,
    hash    BLOB    NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (site_id, log, level, idx)
) STRICT, WITHOUT ROWID;

CREATE TABLE checkpoint (
    site_id TEXT    NOT NULL,
    log     INTEGER NOT NULL,
    size    INTEGER NOT NULL CHECK (size >= 0),
    note    TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (site_id, log, size)
) STRICT, WITHOUT ROWID;

CREATE TABLE cosignature (
    site_id  TEXT    NOT NULL,
    log      INTEGER NOT NULL,
    instance TEXT    NOT NULL,
    size     INTEGER NOT NULL,
    note     TEXT    NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (site_id, log, instance)
) STRICT, WITHOUT ROWID;

CREATE TABLE fork (
    site_id TEXT    NOT NULL,
    origin  TEXT    NOT NULL,
    size    INTEGER NOT NULL,
    root    BLOB    NOT NULL CHECK (length(root) = 32),
    note    TEXT    NOT NULL,
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (site_id, origin, size, root)
) STRICT, WITHOUT ROWID;

CREATE TABLE book (
    site_id TEXT    NOT NULL,
    fold    INTEGER NOT NULL,
    lanes   TEXT    NOT NULL,
    data    BLOB    NOT NULL,
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (site_id, fold)
) STRICT;

CREATE TABLE news (
    site_id TEXT    NOT NULL,
    key     TEXT    NOT NULL,
    payload BLOB    NOT NULL,
    state   TEXT    NOT NULL CHECK (state IN ('news', 'confirmed', 'refused')),
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (site_id, key)
) STRICT;

CREATE TABLE audit (
    site_id  TEXT    NOT NULL,
    seq      INTEGER NOT NULL CHECK (seq >= 0),
    code     TEXT    NOT NULL,
    evidence TEXT    NOT NULL,
    at_ms    INTEGER NOT NULL,
    PRIMARY KEY (site_id, seq)
) STRICT, WITHOUT ROWID;
