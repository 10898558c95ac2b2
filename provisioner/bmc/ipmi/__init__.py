"""IPMI 2.0 over LAN: pyghmi's session in a worker process (its only home), our own verbs above it."""
