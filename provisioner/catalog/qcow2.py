"""Read disk images in QEMU's qcow2 format, versions 2 and 3 (docs/interop/qcow2.rst of QEMU). No I/O of its own.

A qcow2 image can name other files that its content comes from: a stranger's image could read any file of the machine
that opens it. Nothing of the kind is followed here; such an image is refused, and so is everything that is not known.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from provisioner.errors import ArtifactError

MAGIC = b"QFI\xfb"
MAX_SIZE = 4 * 1024**4
"""Of the disk inside: what is not used of it costs nothing."""
MAX_L1_BYTES = 32 * 1024 * 1024  # QEMU's own limit (QCOW_MAX_L1_SIZE)
_HEAD = struct.Struct(">4sIQIIQIIQQIIQ")
_V3 = struct.Struct(">QQQII")
_DIRTY, _COMPRESSION = 1 << 0, 1 << 3
_OFFSET = 0x00FF_FFFF_FFFF_FE00
_ZERO, _COMPRESSED = 1 << 0, 1 << 62

ReadAt = Callable[[int, int], bytes]
"""`read_at(offset, length)`: at most so many bytes from there."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an image says of itself."""

    size_bytes: int
    cluster_bits: int
    l1_entries: int
    l1_offset: int

    @property
    def cluster(self) -> int:
        """Bytes of a cluster."""
        return 1 << self.cluster_bits


def is_qcow2(head: bytes) -> bool:
    """Say whether a file that begins like this is such an image."""
    return head.startswith(MAGIC)


def decode_header(raw: bytes) -> Header:
    """Read a header; raise `ArtifactError` for what is none, and for every image that needs more than itself."""
    if len(raw) < _HEAD.size or not is_qcow2(raw):
        raise ArtifactError("not a qcow2 image")
    _, version, backing, _, bits, size, crypt, l1_entries, l1_offset, *_ = _HEAD.unpack_from(raw)
    if version not in (2, 3):
        raise ArtifactError(f"qcow2 version {version} is not known")
    if backing:
        raise ArtifactError("the image takes content from another file (backing file)", hint=_FLATTEN)
    if crypt:
        raise ArtifactError("the image is encrypted", hint=_FLATTEN)
    if version == 3:
        _check_features(raw)
    if not 9 <= bits <= 21 or size > MAX_SIZE:
        raise ArtifactError(f"clusters of 2^{bits} bytes, a disk of {size} bytes")
    needed = -(-size // (1 << (2 * bits - 3)))
    if l1_entries < needed or l1_entries * 8 > MAX_L1_BYTES:
        raise ArtifactError(f"a table of {l1_entries} entries for {size} bytes")
    return Header(size, bits, needed, l1_offset)


def _check_features(raw: bytes) -> None:
    if len(raw) < _HEAD.size + _V3.size:
        raise ArtifactError("the header is cut short")
    features = _V3.unpack_from(raw, _HEAD.size)[0]
    if unknown := features & ~(_DIRTY | _COMPRESSION):
        raise ArtifactError(f"the image needs features {unknown:#x} (data in another file, say)", hint=_FLATTEN)
    if features & _COMPRESSION:
        raise ArtifactError("the image is packed with zstd inside", hint=_FLATTEN)


_FLATTEN = "qemu-img convert -f qcow2 -O raw makes one file of it, on a machine that may read all of them"


def content(header: Header, read_at: ReadAt) -> Iterator[bytes]:
    """Yield the disk from its beginning to its end, a cluster at a time; the last one is cut to the disk's size."""
    zeros, per_table = bytes(header.cluster), header.cluster // 8
    l1 = struct.unpack(f">{header.l1_entries}Q", _exactly(read_at, header.l1_offset, header.l1_entries * 8))
    left = header.size_bytes
    for entry in l1:
        table: tuple[int, ...] = ()
        if offset := entry & _OFFSET:
            table = struct.unpack(f">{per_table}Q", _exactly(read_at, offset, header.cluster))
        for index in range(per_table):
            if not left:
                return
            data = _cluster(header, table[index], read_at) if table else b""
            count = min(header.cluster, left)
            yield (data or zeros)[:count]
            left -= count


def _cluster(header: Header, entry: int, read_at: ReadAt) -> bytes:
    """One cluster; empty where it is all zeros."""
    if entry & _COMPRESSED:
        return _inflated(header, entry, read_at)
    offset = entry & _OFFSET
    if entry & _ZERO or not offset:
        return b""
    data = read_at(offset, header.cluster)
    if not data:
        raise ArtifactError(f"a cluster at {offset} lies behind the end of the image: it is cut short")
    return data.ljust(header.cluster, b"\0")  # an image may end inside its last cluster


def _inflated(header: Header, entry: int, read_at: ReadAt) -> bytes:
    split = 62 - (header.cluster_bits - 8)
    offset = entry & ((1 << split) - 1)
    sectors = ((entry & (_COMPRESSED - 1)) >> split) + 1
    packed = read_at(offset, sectors * 512 - (offset & 511))
    try:
        data = zlib.decompressobj(-12).decompress(packed, header.cluster)
    except zlib.error as error:
        raise ArtifactError(f"a packed cluster at {offset} cannot be read: {error}") from error
    if len(data) != header.cluster:
        raise ArtifactError(f"a packed cluster at {offset} has {len(data)} bytes")
    return data


def _exactly(read_at: ReadAt, offset: int, length: int) -> bytes:
    found = read_at(offset, length)
    if len(found) != length:
        raise ArtifactError(f"a table at {offset} is cut short")
    return found
