-- what is kept of package mirrors; the content lies in the blob store of the cache
CREATE TABLE mirror (
    mirror TEXT NOT NULL,
    path TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    etag TEXT NOT NULL,
    modified TEXT NOT NULL,
    checked REAL NOT NULL,
    used REAL NOT NULL,
    PRIMARY KEY (mirror, path)
) WITHOUT ROWID;
