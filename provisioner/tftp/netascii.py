"""Network ASCII as TFTP's netascii mode wants it (RFC 764, RFC 1350 section 1). No I/O."""

from __future__ import annotations

MAX_BYTES = 256 * 1024
"""Converted in one go, which takes up to 5 ms, and kept in memory. It is for texts: nobody boots in netascii."""


def to_netascii(content: bytes) -> bytes:
    """Write line feeds as CR LF and bare carriage returns as CR NUL."""
    return content.replace(b"\r", b"\r\0").replace(b"\n", b"\r\n")
