-- keys of rollouts and workflow runs, and of what is ordered of them, beside those of machines; kept as long
CREATE TABLE intent_of_all (
    key TEXT PRIMARY KEY,
    subject TEXT NOT NULL,
    run TEXT NOT NULL,
    at REAL NOT NULL,
    request TEXT NOT NULL
) WITHOUT ROWID;
INSERT INTO intent_of_all SELECT key, machine, run, at, request FROM intent;
INSERT OR IGNORE INTO intent_of_all SELECT key, id, '', created, 'rollout' FROM rollout WHERE key IS NOT NULL;
INSERT OR IGNORE INTO intent_of_all SELECT key, id, '', created, 'workflow-run' FROM flow WHERE key IS NOT NULL;
DROP TABLE intent;
ALTER TABLE intent_of_all RENAME TO intent;

CREATE TABLE rollout_unkeyed (id TEXT PRIMARY KEY, created REAL NOT NULL, document BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO rollout_unkeyed SELECT id, created, document FROM rollout;
DROP TABLE rollout;
ALTER TABLE rollout_unkeyed RENAME TO rollout;

CREATE TABLE flow_unkeyed (id TEXT PRIMARY KEY, created REAL NOT NULL, document BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO flow_unkeyed SELECT id, created, document FROM flow;
DROP TABLE flow;
ALTER TABLE flow_unkeyed RENAME TO flow;
