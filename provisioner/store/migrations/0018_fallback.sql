-- subnets in which we are only the proxy of another DHCP server, and of which
CREATE TABLE dhcp_fallback (subnet TEXT PRIMARY KEY, server TEXT NOT NULL) STRICT, WITHOUT ROWID;
