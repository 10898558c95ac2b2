"""Discovery: the system that runs in memory on a machine, what it reports, and what we make of it."""
