"""Builds the discovery system from the running distribution's packages: no chroot, no root."""
