-- machines as documents beside the columns that are searched; the newest state is what the conductor starts from
CREATE TABLE machine (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    generation INTEGER NOT NULL,
    document BLOB NOT NULL
) WITHOUT ROWID;

-- the outbox: every transition, in order, written in the transaction that made it
CREATE TABLE event (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    machine TEXT NOT NULL,
    document BLOB NOT NULL
);
CREATE INDEX event_machine ON event (machine, seq);

-- runs that have ended; the one under way is in its machine's document
CREATE TABLE run (
    id TEXT PRIMARY KEY,
    machine TEXT NOT NULL,
    started REAL NOT NULL,
    document BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX run_machine ON run (machine, started);

-- answers to intents that were already accepted, by idempotency key
CREATE TABLE intent (
    key TEXT PRIMARY KEY,
    machine TEXT NOT NULL,
    run TEXT NOT NULL,
    at REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE secret (
    id TEXT PRIMARY KEY,
    sealed BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE ticket (
    digest TEXT PRIMARY KEY,
    machine TEXT NOT NULL,
    run TEXT NOT NULL,
    purpose TEXT NOT NULL,
    expires REAL NOT NULL,
    used REAL,
    document BLOB NOT NULL
) WITHOUT ROWID;
CREATE INDEX ticket_run ON ticket (run);

-- what proves a machine to be itself while a run or a discovery expects it; only the SHA-256 of the secret is kept
CREATE TABLE token (
    digest TEXT PRIMARY KEY,
    purpose TEXT NOT NULL,
    mac TEXT NOT NULL,
    machine TEXT NOT NULL,
    run TEXT NOT NULL,
    address TEXT NOT NULL,
    expires REAL NOT NULL
) WITHOUT ROWID;

CREATE TABLE trace (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    mac TEXT,
    machine TEXT NOT NULL,
    run TEXT NOT NULL,
    channel TEXT NOT NULL,
    event TEXT NOT NULL,
    text TEXT NOT NULL,
    ok INTEGER NOT NULL
);
CREATE INDEX trace_machine ON trace (machine, seq);
CREATE INDEX trace_mac ON trace (mac, seq);
