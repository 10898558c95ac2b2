-- one bootenv onto many machines: what was asked for, and beside it one row for each machine, written as it moves
CREATE TABLE rollout (
    id TEXT PRIMARY KEY,
    key TEXT UNIQUE,
    created REAL NOT NULL,
    document BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE rollout_member (
    rollout TEXT NOT NULL,
    position INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (rollout, position)
) WITHOUT ROWID;
