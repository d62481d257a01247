-- Small things that belong to a site, or to the hub itself under '': devices, claims, accounts.
CREATE TABLE record (
    site_id text    NOT NULL,
    kind    text    NOT NULL,
    id      text    NOT NULL,
    data    bytea   NOT NULL CHECK (length(data) <= 65536),
    version bigint  NOT NULL,
    at_ms   bigint  NOT NULL,
    PRIMARY KEY (site_id, kind, id)
);
