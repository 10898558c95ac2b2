"""Write a newc cpio archive, the format of a Linux initramfs (buffer-format.rst of the kernel). No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

_BLOCK = 4
_DIRECTORY, _REGULAR, _SYMLINK, _CHARACTER = 0o040000, 0o100000, 0o120000, 0o020000


@dataclass(frozen=True, slots=True)
class File:
    """A regular file; `data` is all of it."""

    data: bytes
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link."""

    target: str


@dataclass(frozen=True, slots=True)
class Device:
    """A character device, such as /dev/console, which the kernel opens before anything is mounted."""

    major: int
    minor: int
    mode: int = 0o600


Entry = File | Link | Device
Tree = Mapping[str, Entry]
"""Path without a leading slash -> what is there. Directories follow from the paths."""


def archive(tree: Tree, directories: tuple[str, ...] = ()) -> Iterator[bytes]:
    """Yield the archive of `tree` and of the empty `directories`: all owned by root, all times 0, sorted by path."""
    inode = 0
    paths = sorted(set(tree) | _parents(tree) | set(directories) | {str(p) for d in directories for p in _above(d)})
    for inode, path in enumerate(paths, start=1):
        entry = tree.get(path)
        if isinstance(entry, File):
            yield _record(path, inode, _REGULAR | entry.mode, entry.data)
        elif isinstance(entry, Link):
            yield _record(path, inode, _SYMLINK | 0o777, entry.target.encode())
        elif isinstance(entry, Device):
            yield _record(path, inode, _CHARACTER | entry.mode, b"", (entry.major, entry.minor))
        else:
            yield _record(path, inode, _DIRECTORY | 0o755, b"", links=2)
    yield _record("TRAILER!!!", 0, 0, b"")


def _above(path: str) -> list[PurePosixPath]:
    return [p for p in PurePosixPath(path).parents if str(p) != "."]


def _parents(tree: Tree) -> set[str]:
    return {str(parent) for path in tree for parent in _above(path)}


def _record(
    path: str, inode: int, mode: int, data: bytes, device: tuple[int, int] = (0, 0), *, links: int = 1
) -> bytes:
    name = path.encode() + b"\0"
    fields = (inode, mode, 0, 0, links, 0, len(data), 0, 0, *device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _BLOCK)
