-- IPv6 leases: an address has 16 octets; client_id is the association as RFC 4361 writes it (255, IAID, DUID)
CREATE TABLE lease6 (
    ip BLOB PRIMARY KEY,
    key BLOB NOT NULL,
    pool TEXT NOT NULL,
    until REAL NOT NULL,
    state TEXT NOT NULL,
    since REAL NOT NULL,
    name TEXT NOT NULL,
    client_id BLOB NOT NULL,
    relay BLOB NOT NULL,
    circuit_id BLOB NOT NULL,
    remote_id BLOB NOT NULL,
    reason TEXT NOT NULL
) WITHOUT ROWID;

-- what clients know this server by: one row, made once
CREATE TABLE server_duid (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    duid BLOB NOT NULL
);
