-- what was applied from a directory of declarations, the newest last; the catalogue's files lie in `folder`
CREATE TABLE declaration (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    revision TEXT NOT NULL,
    folder TEXT NOT NULL,
    document BLOB NOT NULL
);
