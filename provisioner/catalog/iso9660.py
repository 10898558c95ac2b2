"""Find a file in an ISO 9660 image by its path (ECMA-119; Rock Ridge names, IEEE P1282). No I/O: reads by callable.

Only the directories on the way are read, so an installer's image of several GiB takes a few kilobytes. Every number in
the image is a stranger's: extents must lie inside of it, directories are bounded, nothing is followed.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from provisioner.errors import ArtifactError

SECTOR = 2048
FIRST_DESCRIPTOR = 16
MAX_DESCRIPTORS = 32
MAX_DIRECTORY_BYTES = 16 * 1024 * 1024
"""With the continuations of its records, which can overlap: a few seconds of reading. Installers' are below one."""
MAX_CONTINUATIONS = 16
DIRECTORY, MULTI_EXTENT = 0x02, 0x80  # ECMA-119 9.1.6

ReadAt = Callable[[int, int], bytes]
"""`read_at(offset, length)`: fewer bytes at the end of the image."""


@dataclass(frozen=True, slots=True)
class Extent:
    """A run of bytes of the image."""

    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class _Record:
    name: str
    extents: tuple[Extent, ...]
    is_directory: bool
    is_link: bool
    goes_on: bool
    """The next record holds more of the same file (files of 4 GiB and more)."""


def find(read_at: ReadAt, path: str, size_bytes: int) -> list[Extent]:
    """Say where the content of the regular file at `path` lies; raise `ArtifactError` where there is none."""
    record = _root(read_at)
    walked = ""
    for part in [part for part in path.split("/") if part]:
        if not record.is_directory:
            raise ArtifactError(f"{walked} is not a directory of the image")
        entries = _directory(read_at, record)
        found = next((entry for entry in entries if _same(entry.name, part)), None)
        if found is None:
            raise ArtifactError(f"there is no {part} in {walked or 'the root'} of the image")
        record, walked = found, f"{walked}/{part}"
    if record.is_directory or record.is_link:
        raise ArtifactError(f"{path} is no regular file of the image")
    for extent in record.extents:
        if extent.offset + extent.length > size_bytes:
            raise ArtifactError(f"{path} ends behind the end of the image: it is cut short or damaged")
    if sum(extent.length for extent in record.extents) > size_bytes:
        raise ArtifactError(f"{path} is larger than the image: it is damaged")
    return list(record.extents)


def is_iso(head: bytes) -> bool:
    """Say whether a file that begins with `head` (36 KiB) is an ISO 9660 image."""
    at = FIRST_DESCRIPTOR * SECTOR
    return head[at + 1 : at + 6] == b"CD001"


def _same(name: str, wanted: str) -> bool:
    """Compare names: exactly, or as plain ISO 9660 spells them (upper case, `;1`, a trailing dot)."""
    return name == wanted or name.partition(";")[0].rstrip(".") == wanted.upper()


def _root(read_at: ReadAt) -> _Record:
    for number in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + MAX_DESCRIPTORS):
        sector = read_at(number * SECTOR, SECTOR)
        if len(sector) < SECTOR or sector[1:6] != b"CD001":
            break
        if sector[0] == 1:  # primary volume descriptor; the root's record is at 156 (ECMA-119 8.4.18)
            return next(_records(read_at, sector[156:190]))
        if sector[0] == 255:
            break
    raise ArtifactError("not an ISO 9660 image: no primary volume descriptor")


def _directory(read_at: ReadAt, directory: _Record) -> Iterator[_Record]:
    read = _bounded(read_at, MAX_DIRECTORY_BYTES)
    for extent in directory.extents:
        content = read(extent.offset, extent.length)
        parts: list[Extent] = []
        for at in range(0, len(content), SECTOR):  # a record never spans sectors (ECMA-119 6.8.1.1)
            for record in _records(read, content[at : at + SECTOR]):
                parts += record.extents
                if not record.goes_on:
                    yield replace(record, extents=tuple(parts))
                    parts = []


def _bounded(read_at: ReadAt, limit: int) -> ReadAt:
    """Read at most so many bytes, in all."""
    left = limit

    def read(offset: int, length: int) -> bytes:
        nonlocal left
        left -= length
        if left < 0:
            raise ArtifactError(f"a directory of more than {limit} bytes in the image: damaged")
        return read_at(offset, length)

    return read


def _records(read_at: ReadAt, sector: bytes) -> Iterator[_Record]:
    """Read directory records (ECMA-119 9.1)."""
    at = 0
    while at < len(sector) and (length := sector[at]):
        record = sector[at : at + length]
        at += length
        if length < 34 or len(record) < length:
            raise ArtifactError(f"a directory record of {length} bytes in the image: damaged")
        start, size = struct.unpack_from("<I4xI", record, 2)
        flags, name_length = record[25], record[32]
        if name_length > length - 33:
            raise ArtifactError("a name that is longer than its directory record in the image: damaged")
        raw = record[33 : 33 + name_length]
        used = record[33 + name_length + (name_length % 2 == 0) :]
        name, is_link = _rock_ridge(read_at, used)
        extents = (Extent(start * SECTOR, size),)
        is_directory, goes_on = bool(flags & DIRECTORY), bool(flags & MULTI_EXTENT)
        yield _Record(name or raw.decode("latin-1"), extents, is_directory, is_link, goes_on)


def _rock_ridge(read_at: ReadAt, area: bytes) -> tuple[str, bool]:
    """Read the real name, and whether it is a symbolic link, from the system use area (IEEE P1281, P1282)."""
    name, is_link = b"", False
    for _ in range(MAX_CONTINUATIONS):
        following = None
        at = 0
        while at + 4 <= len(area) and (length := area[at + 2]) >= 4:
            field = area[at : at + length]
            at += length
            if field[:2] == b"NM" and len(field) >= 5:
                name += field[5:]
            elif field[:2] == b"SL":
                is_link = True
            elif field[:2] == b"CE" and len(field) >= 28:
                block, offset, size = struct.unpack_from("<I4xI4xI", field, 4)
                following = (block * SECTOR + offset, min(size, SECTOR))
        if following is None:
            break
        area = read_at(*following)
    return name.decode("utf-8", "replace"), is_link
