"""Read and write ar archives, the outer form of a .deb (deb(5)). No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from provisioner.errors import WireError

_MAGIC = b"!<arch>\n"
_HEADER = 60
"""Octets before each member: name 16, time 12, owner 6, group 6, mode 8, size 10, end 2."""
_END = b"`\n"


def read(archive: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (name, contents) of each member; raise `WireError` where it is no ar archive or was cut off."""
    if not archive.startswith(_MAGIC):
        raise WireError(f"no ar archive: begins with {archive[:8]!r}")
    at = len(_MAGIC)
    while at < len(archive):
        head = archive[at : at + _HEADER]
        if head[-2:] != _END or not head[48:58].strip().isdigit():
            raise WireError(f"ar archive: no member's header at byte {at}")
        name, size = head[:16].decode("ascii", "replace").rstrip().removesuffix("/"), int(head[48:58])
        at += _HEADER
        if at + size > len(archive):
            raise WireError(f"ar archive: {name} has {size} bytes, {len(archive) - at} are there")
        yield name, archive[at : at + size]
        at += size + size % 2


def write(members: Iterable[tuple[str, bytes]]) -> bytes:
    """Make an archive of members (name of at most 16 characters, contents), all root's and of time 0."""
    return _MAGIC + b"".join(_member(name, data) for name, data in members)


def _member(name: str, data: bytes) -> bytes:
    head = b"%-16s%-12d%-6d%-6d%-8s%-10d" % (name.encode("ascii"), 0, 0, 0, b"100644", len(data)) + _END
    return head + data + b"\n" * (len(data) % 2)
