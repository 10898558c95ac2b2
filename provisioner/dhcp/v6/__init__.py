"""DHCPv6 and what belongs to it."""
