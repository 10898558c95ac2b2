"""Files of other DHCP servers: what their leases and reservations were, so that a switch-over loses no address."""
