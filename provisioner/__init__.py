"""A bare-metal provisioning daemon: from the loading dock to a running workload."""
