-- what was seen of each verb by each driver on each kind of board: the latest word
CREATE TABLE evidence (
    driver TEXT NOT NULL,
    vendor TEXT NOT NULL,
    model TEXT NOT NULL,
    firmware TEXT NOT NULL,
    verb TEXT NOT NULL,
    at REAL NOT NULL,
    body BLOB NOT NULL,
    PRIMARY KEY (driver, vendor, model, firmware, verb)
) WITHOUT ROWID;
