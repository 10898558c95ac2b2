-- runs of workflows: what was pinned when it began, and beside it one row for each machine, written as it moves
CREATE TABLE flow (
    id TEXT PRIMARY KEY,
    key TEXT UNIQUE,
    created REAL NOT NULL,
    document BLOB NOT NULL
) WITHOUT ROWID;

CREATE TABLE flow_member (
    flow TEXT NOT NULL,
    position INTEGER NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (flow, position)
) WITHOUT ROWID;

-- what each try of a step printed, in pieces by the place where they begin
CREATE TABLE flow_output (
    flow TEXT NOT NULL,
    machine TEXT NOT NULL,
    fence INTEGER NOT NULL,
    place INTEGER NOT NULL,
    text BLOB NOT NULL,
    PRIMARY KEY (flow, machine, fence, place)
) WITHOUT ROWID;
