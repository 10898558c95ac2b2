-- one row an artefact; its content is the file blobs/sha256/HEX, which several rows may share
CREATE TABLE artifact (
    bootenv TEXT NOT NULL,
    arch TEXT NOT NULL,
    name TEXT NOT NULL,
    sha256 TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    origin TEXT NOT NULL,
    stored_at REAL NOT NULL,
    PRIMARY KEY (bootenv, arch, name)
) WITHOUT ROWID;
CREATE INDEX artifact_sha256 ON artifact (sha256);
