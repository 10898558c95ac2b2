"""TFTP: read-only, with blksize, tsize, timeout and windowsize (RFC 1350, 2347, 2348, 2349, 7440)."""
