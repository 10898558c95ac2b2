-- DHCP leases by address; a row is replaced when its address goes to another machine
CREATE TABLE lease (
    ip INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    pool TEXT NOT NULL,
    until REAL NOT NULL,
    state TEXT NOT NULL,
    since REAL NOT NULL,
    name TEXT NOT NULL,
    client_id BLOB NOT NULL,
    relay INTEGER NOT NULL,
    circuit_id BLOB NOT NULL,
    remote_id BLOB NOT NULL,
    reason TEXT NOT NULL
);
