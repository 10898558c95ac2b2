-- by how many seconds the wall clock was set while the daemon ran: at its next start leases are moved by as much
CREATE TABLE clock_set (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seconds REAL NOT NULL
);
