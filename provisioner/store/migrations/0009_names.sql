-- records that are in the DNS, or (done = 0) may be: written before the update is sent, taken away after it is gone
CREATE TABLE dns_record (
    address BLOB NOT NULL,
    name TEXT NOT NULL,
    kind INTEGER NOT NULL,
    identifier BLOB NOT NULL,
    done INTEGER NOT NULL,
    PRIMARY KEY (address, name)
) WITHOUT ROWID;
