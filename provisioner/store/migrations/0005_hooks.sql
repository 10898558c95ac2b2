-- how far each webhook has delivered: every event up to the cursor, and those of `ahead`
CREATE TABLE hook (
    name TEXT PRIMARY KEY,
    cursor INTEGER NOT NULL,
    ahead BLOB NOT NULL
) WITHOUT ROWID;
