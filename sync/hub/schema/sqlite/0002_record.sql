-- Small things that belong to a site, or to the hub itself under '': devices, claims, accounts.
CREATE TABLE record (
    site_id TEXT    NOT NULL,
    kind    TEXT    NOT NULL,
    id      TEXT    NOT NULL,
    data    BLOB    NOT NULL CHECK (length(data) <= 65536),
    version INTEGER NOT NULL,
    at_ms   INTEGER NOT NULL,
    PRIMARY KEY (site_id, kind, id)
) STRICT, WITHOUT ROWID;
