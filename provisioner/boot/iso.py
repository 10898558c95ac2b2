"""A bootable CD as bytes and places: ISO 9660 (ECMA-119) with El Torito entries for BIOS and UEFI. No I/O.

Small files are part of the head; of large ones only the place is told, so that nobody holds a kernel in memory.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

SECTOR = 2048
PVD, BOOT_RECORD, END, PATH_L, PATH_M, CATALOG, FIRST = range(16, 23)
MOST_BYTES = (1 << 32) - 1
"""Of one file: larger ones would need several extents."""
_DATE = bytes((126, 1, 1, 0, 0, 0, 0))  # 2026-01-01: the same files make the same image
_TEXT_DATE = b"2026010100000000\0"
_X86, _EFI = 0x00, 0xEF
_TABLE_END = 64


@dataclass(frozen=True, slots=True)
class Image:
    """The beginning of the image, where each large file goes, and how long all of it is."""

    head: bytes
    places: Mapping[str, int]
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Loaders:
    """Which of the small files firmware starts: `bios` a program without emulation, `efi` a FAT image. Empty: none."""

    bios: str = ""
    efi: str = ""


@dataclass(slots=True)
class _Folder:
    path: str
    number: int
    parent: int
    sector: int = 0
    names: list[str] = field(default_factory=list)


def lay_out(small: Mapping[str, bytes], large: Mapping[str, int], loaders: Loaders, title: str) -> Image:
    """Plan an image of `small` files (path to content) and `large` ones (path to size).

    Paths are upper case, names of 8 and 3 characters. Raise `ValueError` for what does not fit.
    """
    sizes = {path: len(content) for path, content in small.items()} | dict(large)
    if too_large := [path for path, size in sizes.items() if size > MOST_BYTES]:
        raise ValueError(f"{too_large[0]}: larger than 4 GiB")
    folders = _folders(sizes)
    sectors: dict[str, int] = {}
    free = FIRST + len(folders)
    for folder, sector in zip(folders.values(), range(FIRST, free), strict=True):
        folder.sector = sector
    for path in (*small, *large):
        sectors[path] = free
        free += -(-sizes[path] // SECTOR)
    files = {path: _with_boot_table(content, sectors[path]) if path == loaders.bios else content
             for path, content in small.items()}  # fmt: skip
    head = bytearray(PVD * SECTOR)
    head += _primary(title, free, folders) + _sector(
        b"\0CD001\1EL TORITO SPECIFICATION".ljust(71, b"\0") + _le(CATALOG)
    )
    head += _sector(b"\xffCD001\1") + _path_table(folders, "<") + _path_table(folders, ">")
    head += _catalog(loaders, sectors, sizes)
    for folder in folders.values():
        head += _listing(folder, folders, sectors, sizes)
    for content in files.values():
        head += content.ljust(-(-len(content) // SECTOR) * SECTOR, b"\0")
    return Image(bytes(head), {path: sectors[path] * SECTOR for path in large}, free * SECTOR)


def _folders(paths: Mapping[str, int]) -> dict[str, _Folder]:
    """Number the directories, parents first (ECMA-119 9.4)."""
    named = {"/".join(path.split("/")[:depth]) for path in paths for depth in range(path.count("/") + 1)}
    folders: dict[str, _Folder] = {}
    for path in sorted(named, key=lambda path: (path.count("/") + bool(path), path)):
        parent = folders.get(path.rpartition("/")[0])
        folders[path] = _Folder(path, len(folders) + 1, parent.number if parent else 1)
        if path:
            folders[path.rpartition("/")[0]].names.append(path)
    for path in paths:
        folders[path.rpartition("/")[0]].names.append(path)
    return folders


def _le(number: int) -> bytes:
    return struct.pack("<I", number)


def _both(number: int) -> bytes:
    """Both byte orders, as ECMA-119 7.3.3 wants it."""
    return struct.pack("<I", number) + struct.pack(">I", number)


def _both16(number: int) -> bytes:
    return struct.pack("<H", number) + struct.pack(">H", number)


def _sector(content: bytes) -> bytes:
    if len(content) > SECTOR:
        raise ValueError("a directory of the image holds more than one sector")
    return content.ljust(SECTOR, b"\0")


def _record(name: bytes, sector: int, size: int, *, folder: bool) -> bytes:
    """A directory record (ECMA-119 9.1)."""
    body = _both(sector) + _both(size) + _DATE + bytes((2 if folder else 0, 0, 0)) + _both16(1)
    body += bytes((len(name),)) + name + b"\0" * (len(name) % 2 == 0)
    return bytes((len(body) + 2, 0)) + body


def _listing(
    folder: _Folder, folders: Mapping[str, _Folder], sectors: Mapping[str, int], sizes: Mapping[str, int]
) -> bytes:
    parent = next(one for one in folders.values() if one.number == folder.parent)
    out = _record(b"\0", folder.sector, SECTOR, folder=True) + _record(b"\1", parent.sector, SECTOR, folder=True)
    for path in sorted(folder.names):
        name = path.rpartition("/")[2].encode("ascii")
        if path in folders:
            out += _record(name, folders[path].sector, SECTOR, folder=True)
        else:
            out += _record(name + b";1", sectors[path], sizes[path], folder=False)
    return _sector(out)


def _path_table(folders: Mapping[str, _Folder], order: str) -> bytes:
    return _sector(_path_rows(folders, order))


def _path_rows(folders: Mapping[str, _Folder], order: str) -> bytes:
    out = b""
    for folder in folders.values():
        name = folder.path.rpartition("/")[2].encode("ascii") or b"\0"
        out += struct.pack(f"{order}BBIH", len(name), 0, folder.sector, folder.parent) + name + b"\0" * (len(name) % 2)
    return out


def _primary(title: str, size: int, folders: Mapping[str, _Folder]) -> bytes:
    """The primary volume descriptor (ECMA-119 8.4)."""
    root = folders[""]
    out = b"\1CD001\1\0" + b" " * 32 + title.upper()[:32].encode("ascii").ljust(32) + bytes(8) + _both(size) + bytes(32)
    out += _both16(1) + _both16(1) + _both16(SECTOR) + _both(len(_path_rows(folders, "<")))
    out += _le(PATH_L) + _le(0) + struct.pack(">I", PATH_M) + struct.pack(">I", 0)
    out += _record(b"\0", root.sector, SECTOR, folder=True)
    out += b" " * 128 * 4 + b" " * 37 * 3 + _TEXT_DATE * 2 + b"0" * 16 + b"\0" + b"0" * 16 + b"\0" + b"\1"
    return _sector(out)


def _catalog(loaders: Loaders, sectors: Mapping[str, int], sizes: Mapping[str, int]) -> bytes:
    """The boot catalog (El Torito 1.0, section 2): the first loader is the default, a second has a section."""
    found = [(_X86, 4, loaders.bios)] if loaders.bios else []
    found += [(_EFI, -(-sizes[loaders.efi] // 512), loaders.efi)] if loaders.efi else []
    if not found:
        raise ValueError("an image that no firmware starts")
    entries = [struct.pack("<BBHBBHI20x", 0x88, 0, 0, 0, 0, count, sectors[path]) for _, count, path in found]
    head = struct.pack("<BBH24sHBB", 1, found[0][0], 0, b"PROVISIONER", 0, 0x55, 0xAA)
    check = -sum(struct.unpack("<16H", head)) & 0xFFFF
    out = head[:28] + struct.pack("<H", check) + head[30:] + entries[0]
    for at, entry in enumerate(entries[1:], 1):
        out += struct.pack("<BBH28x", 0x91 if at == len(entries) - 1 else 0x90, found[at][0], 1) + entry
    return _sector(out)


def _with_boot_table(program: bytes, sector: int) -> bytes:
    """Tell isolinux where it lies: the boot information table at offset 8 (mkisofs, -boot-info-table)."""
    if len(program) < _TABLE_END:
        raise ValueError(f"{len(program)} bytes are no isolinux")
    rest = program[_TABLE_END:] + bytes(-len(program) % 4)
    words = struct.unpack(f"<{len(rest) // 4}I", rest)
    table = struct.pack("<IIII40x", PVD, sector, len(program), sum(words) & 0xFFFFFFFF)
    return program[:8] + table + program[_TABLE_END:]
