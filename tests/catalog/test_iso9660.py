"""Files of an image are found, and whatever is wrong with an image is an `ArtifactError`."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.catalog.iso9660 import (
    DIRECTORY,
    MAX_DIRECTORY_BYTES,
    MULTI_EXTENT,
    SECTOR,
    Extent,
    ReadAt,
    find,
    is_iso,
)
from provisioner.errors import ArtifactError

ROOT, BOOT = 20, 21


def record(name: bytes, start: int, size: int, flags: int = 0, more: bytes = b"") -> bytes:
    body = struct.pack("<I", start) + struct.pack(">I", start) + struct.pack("<I", size) + struct.pack(">I", size)
    body += bytes(7) + bytes((flags, 0, 0)) + bytes(4) + bytes((len(name),)) + name + bytes(1 - len(name) % 2) + more
    return bytes((len(body) + 2, 0)) + body


def image(*sectors: tuple[int, bytes]) -> ReadAt:
    data = bytearray(30 * SECTOR)
    for number, content in sectors:
        data[number * SECTOR : number * SECTOR + len(content)] = content
    return lambda offset, length: bytes(data[offset : offset + length])


DESCRIPTOR = b"\x01CD001\x01".ljust(156, b"\0") + record(b"\0", ROOT, SECTOR, DIRECTORY)
GOOD = image(
    (16, DESCRIPTOR),
    (ROOT, record(b"BOOT", BOOT, SECTOR, DIRECTORY) + record(b"README.;1", 25, 100)),
    (BOOT, record(b"VMLINUZ.;1", 26, 2000) + record(b"BIG.;1", 27, 10**9)),
)
SIZE = 30 * SECTOR


def test_a_file_is_found_by_its_path() -> None:
    assert find(GOOD, "boot/vmlinuz", SIZE) == [Extent(26 * SECTOR, 2000)]
    assert find(GOOD, "readme", SIZE) == [Extent(25 * SECTOR, 100)]


@pytest.mark.parametrize(
    ("path", "said"),
    {
        "there is no such file": ("boot/initrd", "there is no initrd"),
        "a file on the way": ("readme/x", "is not a directory"),
        "a directory": ("boot", "no regular file"),
        "cut short": ("boot/big", "ends behind the end"),
    }.values(),
)
def test_what_is_not_there_is_said(path: str, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        find(GOOD, path, SIZE)


def test_a_file_that_has_the_same_extent_over_and_over_is_refused() -> None:
    """A megabyte of records could name gigabytes: extents of one file never overlap, so they fit into the image."""
    part = record(b"BIG.;1", 25, 2 * SECTOR, MULTI_EXTENT)
    assert len(part) * 20 < SECTOR
    lying = image((16, DESCRIPTOR), (ROOT, part * 20 + record(b"BIG.;1", 25, 1)))
    with pytest.raises(ArtifactError, match="big is larger than the image"):
        find(lying, "big", SIZE)


@pytest.mark.parametrize("sectors", [(), ((16, b"\xffCD001"),), ((16, b"\x02CD001"), (17, b"junk"))])
def test_what_is_no_image_is_refused(sectors: tuple[tuple[int, bytes], ...]) -> None:
    with pytest.raises(ArtifactError, match="no primary volume descriptor"):
        find(image(*sectors), "x", SIZE)


def test_damaged_directories_are_refused() -> None:
    huge = DESCRIPTOR[:156] + record(b"\0", ROOT, 2**31, DIRECTORY)
    with pytest.raises(ArtifactError, match="damaged"):
        find(image((16, huge)), "x", SIZE)
    with pytest.raises(ArtifactError, match="damaged"):
        find(image((16, DESCRIPTOR), (ROOT, b"\x05abcd")), "x", SIZE)


def test_directories_are_bounded_in_all() -> None:
    """Each piece is small, but a megabyte of records can name the same ones over and over."""
    part = record(b"BOOT", BOOT, 8 * 1024 * 1024, DIRECTORY | MULTI_EXTENT)
    many = part * 3 + record(b"BOOT", BOOT, SECTOR, DIRECTORY)
    with pytest.raises(ArtifactError, match="a directory of more than 16777216 bytes in the image: damaged"):
        find(image((16, DESCRIPTOR), (ROOT, many)), "boot/x", SIZE)


def test_continuations_count_with_their_directory() -> None:
    """Rock Ridge goes on elsewhere (CE), and that again: here in a sector that leads to itself."""
    goes_on = b"CE\x1c\x01" + b"".join(struct.pack("<I", n) + struct.pack(">I", n) for n in (25, 0, SECTOR))
    entry = record(b"X", 26, 1, more=goes_on)
    sector = entry * (SECTOR // len(entry))
    assert len(sector) // len(entry) * 17 * SECTOR * 20 > MAX_DIRECTORY_BYTES
    wide = DESCRIPTOR[:156] + record(b"\0", ROOT, 20 * SECTOR, DIRECTORY)
    reads: list[int] = []
    lying = image((16, wide), (25, goes_on))

    def read_at(offset: int, length: int) -> bytes:
        if ROOT * SECTOR <= offset < (ROOT + 1) * SECTOR:
            return sector.ljust(SECTOR, b"\0") * (length // SECTOR)
        reads.append(length)
        return lying(offset, length)

    with pytest.raises(ArtifactError, match="a directory of more than 16777216 bytes in the image: damaged"):
        find(read_at, "absent", SIZE)
    assert sum(reads) <= MAX_DIRECTORY_BYTES + 16 * SECTOR


@given(st.binary(max_size=200))
def test_any_directory_is_read_or_refused(content: bytes) -> None:
    try:
        find(image((16, DESCRIPTOR), (ROOT, content)), "x", SIZE)
    except ArtifactError:
        return


def test_an_image_is_known_by_its_head() -> None:
    assert is_iso(bytes(16 * SECTOR) + b"\x01CD001" + bytes(10))
    assert not is_iso(bytes(40000))
