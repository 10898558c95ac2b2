-- SSH host keys of BMCs, pinned when a console was opened there for the first time
CREATE TABLE host_key (
    host TEXT NOT NULL,
    port INTEGER NOT NULL,
    fingerprint TEXT NOT NULL,
    PRIMARY KEY (host, port)
) WITHOUT ROWID;
