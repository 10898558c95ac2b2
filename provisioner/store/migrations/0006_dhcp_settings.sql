-- what operators said of DHCP over the API: reservations by hardware address, subnets by name
CREATE TABLE dhcp_setting (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    document BLOB NOT NULL,
    PRIMARY KEY (kind, name)
) WITHOUT ROWID;
