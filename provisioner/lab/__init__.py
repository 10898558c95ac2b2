"""The virtual rack: a network namespace, QEMU machines with real firmware, and simulated BMCs that drive them."""
