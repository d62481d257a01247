-- The hub's tables. site_id comes first in every key, no table refers to another, and there is no
-- serial, trigger or transaction over two sites: the tables can be dealt out by site_id as they are
-- (Citus: create_distributed_table('entry', 'site_id') and so on; or PARTITION BY HASH (site_id)).

-- The store's name (instance) and the schema's version, under site_id ''.
CREATE TABLE about (
    site_id text NOT NULL,
    key     text NOT NULL,
    value   text NOT NULL,
    PRIMARY KEY (site_id, key)
);

-- The sites this hub governs. vkey: the site's writer key. epoch: the hub's own for this site.
-- version counts the changes, each a compare-and-set.
CREATE TABLE site (
    site_id     text    NOT NULL PRIMARY KEY,
    operator    text    NOT NULL,
    label       text    NOT NULL,
    vkey        text    NOT NULL,
    epoch       text    NOT NULL,
    url         text    NOT NULL,
    enabled     boolean NOT NULL,
    key_version integer NOT NULL,
    fenced      boolean NOT NULL,
    created_ms  bigint  NOT NULL,
    version     bigint  NOT NULL
);

-- One row a log. size entries are durable, the first `sealed` of them signed (note) and told to
-- others; in a log that the hub does not write (own) both are always equal. no: a short name for
-- the rows of its entries. peaks: what the next entry is appended to. cosigned: receipts held.
CREATE TABLE log (
    site_id  text    NOT NULL,
    origin   text    NOT NULL,
    no       integer NOT NULL CHECK (no > 0),
    own      boolean NOT NULL,
    vkey     text    NOT NULL,
    oldest   bigint  NOT NULL DEFAULT 0,
    size     bigint  NOT NULL DEFAULT 0,
    sealed   bigint  NOT NULL DEFAULT 0,
    note     text    NOT NULL,
    peaks    bytea   NOT NULL DEFAULT '',
    cosigned bigint  NOT NULL DEFAULT 0,
    PRIMARY KEY (site_id, origin),
    UNIQUE (site_id, no),
    CHECK (oldest >= 0 AND oldest <= size AND sealed >= 0 AND sealed <= size)
);

CREATE TABLE entry (
    site_id text    NOT NULL,
    log     integer NOT NULL,
    idx     bigint  NOT NULL CHECK (idx >= 0),
    leaf    bytea   NOT NULL CHECK (length(leaf) = 32),
    bytes   bytea   CHECK (length(bytes) BETWEEN 2 AND 4096),
    PRIMARY KEY (site_id, log, idx)
);

-- The personal part of entry idx of the log ref (e1-9f2c01ab:sc). private: what the entry says of
-- it; with no data and no erased_by it is owed. An erasure may come before entry and annex.
CREATE TABLE annex (
    site_id   text   NOT NULL,
    ref       text   NOT NULL,
    idx       bigint NOT NULL,
    private   bytea  CHECK (length(private) = 32),
    salt      bytea  CHECK (length(salt) = 16),
    data      bytea  CHECK (length(data) <= 4096),
    erased_by text,
    PRIMARY KEY (site_id, ref, idx),
    CHECK ((salt IS NULL) = (data IS NULL)),
    CHECK (data IS NULL OR erased_by IS NULL)
);

CREATE INDEX annex_owed ON annex (site_id, ref, idx) WHERE data IS NULL AND erased_by IS NULL;

-- Roots of full subtrees at every eighth level, so that a proof reads a few hundred hashes.
CREATE TABLE node (
    site_id text    NOT NULL,
    log     integer NOT NULL,
    level   integer NOT NULL CHECK (level > 0 AND level % 8 = 0),
    idx     bigint  NOT NULL,
    hash    bytea   NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (site_id, log, level, idx)
);

-- Every signed checkpoint that was received or made: where a relayed segment may end, and when the
-- entries below it came.
CREATE TABLE checkpoint (
    site_id text    NOT NULL,
    log     integer NOT NULL,
    size    bigint  NOT NULL CHECK (size >= 0),
    note    text    NOT NULL,
    at_ms   bigint  NOT NULL,
    PRIMARY KEY (site_id, log, size)
);

-- The latest receipt of each hub store: a checkpoint with its cosignature.
CREATE TABLE cosignature (
    site_id  text    NOT NULL,
    log      integer NOT NULL,
    instance text    NOT NULL,
    size     bigint  NOT NULL,
    note     text    NOT NULL,
    at_ms    bigint  NOT NULL,
    PRIMARY KEY (site_id, log, instance)
);

-- Checkpoints that were signed and that this hub's log does not lead to.
CREATE TABLE fork (
    site_id text   NOT NULL,
    origin  text   NOT NULL,
    size    bigint NOT NULL,
    root    bytea  NOT NULL CHECK (length(root) = 32),
    note    text   NOT NULL,
    at_ms   bigint NOT NULL,
    PRIMARY KEY (site_id, origin, size, root)
);

-- The latest folded book of each set of rules: computed, and worth not computing again.
CREATE TABLE book (
    site_id text    NOT NULL,
    fold    integer NOT NULL,
    lanes   text    NOT NULL,
    data    bytea   NOT NULL,
    at_ms   bigint  NOT NULL,
    PRIMARY KEY (site_id, fold)
);

-- What somebody told before the log did (deposit receipts).
CREATE TABLE news (
    site_id text   NOT NULL,
    key     text   NOT NULL,
    payload bytea  NOT NULL,
    state   text   NOT NULL CHECK (state IN ('news', 'confirmed', 'refused')),
    at_ms   bigint NOT NULL,
    PRIMARY KEY (site_id, key)
);

CREATE TABLE audit (
    site_id  text   NOT NULL,
    seq      bigint NOT NULL CHECK (seq >= 0),
    code     text   NOT NULL,
    evidence text   NOT NULL,
    at_ms    bigint NOT NULL,
    PRIMARY KEY (site_id, seq)
);
