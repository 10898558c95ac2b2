"""Names of machines in somebody's DNS server, kept by dynamic updates (RFC 2136)."""
