"""A small FAT file system as bytes: what UEFI firmware starts a loader from on a CD (UEFI 2.10 section 13.3). No I/O.

FAT16 with clusters of one sector, short names only. Made for a loader or two: everything is in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

SECTOR = 512
ROOT_ENTRIES = 512
ROOT_SECTORS = ROOT_ENTRIES * 32 // SECTOR
LEAST_CLUSTERS, MOST_CLUSTERS = 4096, 65_500
"""Between these it is FAT16, and nothing else (Microsoft's FAT specification, section 3.5)."""
_DIRECTORY, _FILE, _END = 0x10, 0x20, 0xFFFF
_DATE = (46 << 9) | (1 << 5) | 1  # 2026-01-01: the same files make the same image


@dataclass(slots=True)
class _Directory:
    files: dict[str, bytes] = field(default_factory=dict)
    folders: dict[str, _Directory] = field(default_factory=dict)


def image(files: Mapping[str, bytes]) -> bytes:
    """Write a file system that holds `files` (paths such as EFI/BOOT/BOOTX64.EFI); `ValueError` beyond 32 MB."""
    if sum(map(len, files.values())) > MOST_CLUSTERS * SECTOR:
        raise ValueError(f"more than the {MOST_CLUSTERS * SECTOR} bytes that fit on a FAT16 of small clusters")
    root = _Directory()
    for path, content in files.items():
        *folders, name = path.split("/")
        at = root
        for folder in folders:
            at = at.folders.setdefault(folder, _Directory())
        at.files[name] = content
    data = _Data()
    entries = data.entries(root)
    count = max(len(data.fat) - 2, LEAST_CLUSTERS)
    fat_sectors = -(-(count + 2) * 2 // SECTOR)
    total = 1 + 2 * fat_sectors + ROOT_SECTORS + count
    fat = struct.pack(f"<{len(data.fat)}H", *data.fat).ljust(fat_sectors * SECTOR, b"\0")
    clusters = b"".join(data.clusters).ljust(count * SECTOR, b"\0")
    return _boot_sector(total, fat_sectors) + fat * 2 + entries.ljust(ROOT_SECTORS * SECTOR, b"\0") + clusters


class _Data:
    """The data region: clusters, and the table that chains them."""

    def __init__(self) -> None:
        self.fat = [0xFFF8, _END]
        self.clusters: list[bytes] = []

    def entries(self, directory: _Directory, own: int = 0, parent: int = 0) -> bytes:
        """Write what is in a directory; return its entries."""
        out = b""
        if own:
            out += _entry(b".".ljust(11), _DIRECTORY, own, 0) + _entry(b"..".ljust(11), _DIRECTORY, parent, 0)
        for name, folder in directory.folders.items():
            first = self._store(b"\0" * SECTOR)  # sixteen entries are plenty
            content = self.entries(folder, first, own)
            if len(content) > SECTOR:
                raise ValueError(f"{name}: more entries than one sector holds")
            self.clusters[first - 2] = content.ljust(SECTOR, b"\0")
            out += _entry(_short(name), _DIRECTORY, first, 0)
        for name, content in directory.files.items():
            out += _entry(_short(name), _FILE, self._store(content) if content else 0, len(content))
        return out

    def _store(self, content: bytes) -> int:
        first = len(self.fat)
        parts = [content[at : at + SECTOR].ljust(SECTOR, b"\0") for at in range(0, len(content), SECTOR)]
        self.clusters += parts
        self.fat += [*range(first + 1, first + len(parts)), _END]
        return first


def _entry(name: bytes, kind: int, first: int, size: int) -> bytes:
    return name + struct.pack("<B10xHHHI", kind, 0, _DATE, first, size)


def _short(name: str) -> bytes:
    stem, _, suffix = name.upper().partition(".")
    if not stem or len(stem) > 8 or len(suffix) > 3:
        raise ValueError(f"{name}: not a name of 8 and 3 characters")
    return stem.encode("ascii").ljust(8) + suffix.encode("ascii").ljust(3)


def _boot_sector(total: int, fat_sectors: int) -> bytes:
    small, large = (total, 0) if total < 0x10000 else (0, total)
    fixed = struct.pack(
        "<3s8sHBHBHHBHHHII", b"\xeb\x3c\x90", b"PROVISON", SECTOR, 1, 1, 2, ROOT_ENTRIES, small, 0xF8,
        fat_sectors, 32, 2, 0, large,
    )  # fmt: skip
    rest = struct.pack("<BBBI11s8s", 0x80, 0, 0x29, 0x50524F56, b"NO NAME    ", b"FAT16   ")
    return (fixed + rest).ljust(SECTOR - 2, b"\0") + b"\x55\xaa"
