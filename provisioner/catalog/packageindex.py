"""Read the hashes of packages out of a mirror's index, Debian's Packages or RPM's primary.xml, in a process of its own.

    python -m provisioner.catalog.packageindex INDEX OUTPUT

OUTPUT gets a line `PATH SHA256` for each package, in the order of paths. An index of 60,000 packages takes seconds
of processor time and is a stranger's: the daemon neither waits for it nor is hurt by it.
"""

from __future__ import annotations

import bz2
import ctypes
import gzip
import lzma
import mmap
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, cast
from xml.etree import ElementTree

MAX_BYTES = 2 * 1024**3
"""Of an unpacked index; Debian's whole main has 60 MB."""
MAX_MEMORY = 1024**3
MAX_SECONDS = 120
_PR_SET_PDEATHSIG = 1
_HEX = re.compile(r"[0-9a-f]{64}")
_MAGIC: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"\xfd7zXZ": lzma.open, b"BZh": bz2.open}
_ZSTD = b"\x28\xb5\x2f\xfd"


def packages(lines: Iterable[bytes]) -> Iterator[tuple[str, str]]:
    """Read `Filename` and `SHA256` of the stanzas of a Packages file."""
    name = digest = ""
    for line in lines:
        if line.startswith(b"Filename:"):
            name = line[9:].strip().decode("utf-8", "replace").removeprefix("./")
        elif line.startswith(b"SHA256:"):
            digest = line[7:].strip().decode("ascii", "replace").lower()
        elif not line.strip():
            yield from _pair(name, digest)
            name = digest = ""
    yield from _pair(name, digest)


def rpms(file: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Read location and SHA-256 of the packages of a primary.xml."""
    for _, element in ElementTree.iterparse(file):  # noqa: S314  a process with limits; expat ends entity bombs itself
        if element.tag.rpartition("}")[2] != "package":
            continue
        found = {child.tag.rpartition("}")[2]: child for child in element}
        location, checksum = found.get("location"), found.get("checksum")
        if location is not None and checksum is not None and checksum.get("type") == "sha256":
            yield from _pair(location.get("href", ""), (checksum.text or "").strip().lower())
        element.clear()


def _pair(name: str, digest: str) -> Iterator[tuple[str, str]]:
    if name and " " not in name and "\n" not in name and _HEX.fullmatch(digest):
        yield name, digest


def read(index: Path) -> Iterator[tuple[str, str]]:
    """Read an index, however it is packed; what is none has no packages."""
    with ExitStack() as stack:
        file = _Bounded(_open(index, stack))
        head = file.peek()
        if head.lstrip().startswith(b"<"):
            yield from rpms(cast("IO[bytes]", file))
        else:
            yield from packages(file)


def _open(index: Path, stack: ExitStack) -> IO[bytes]:
    with index.open("rb") as file:
        head = file.read(6)
    for magic, opener in _MAGIC.items():
        if head.startswith(magic):
            return cast("IO[bytes]", stack.enter_context(opener(index, "rb")))
    if head.startswith(_ZSTD) and (program := shutil.which("zstd")):
        process = stack.enter_context(subprocess.Popen([program, "-dcq", str(index)], stdout=subprocess.PIPE))
        assert process.stdout is not None
        return process.stdout
    return stack.enter_context(index.open("rb"))


class _Bounded:
    """A file that ends with an error where it grows beyond all measure."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._ahead, self._left = file, b"", MAX_BYTES

    def peek(self) -> bytes:
        """Look at the beginning."""
        self._ahead = self._file.read(256)
        return self._ahead

    def read(self, size: int = -1) -> bytes:
        """Read on."""
        given = self._ahead or self._file.read(size)
        self._ahead = b""
        self._left -= len(given)
        if self._left < 0:
            raise ValueError(f"unpacks to more than {MAX_BYTES} bytes")
        return given

    def __iter__(self) -> Iterator[bytes]:
        rest = b""
        while chunk := self.read(1 << 20):
            *lines, rest = (rest + chunk).split(b"\n")
            yield from lines
        yield rest


def write(pairs: Iterable[tuple[str, str]], output: Path) -> None:
    """Write what was found, in order and in one step."""
    found: dict[bytes, str] = {}
    for name, digest in pairs:
        found.setdefault(name.encode(), digest)
    beside = output.with_name(f"{output.name}.{os.getpid()}")
    with beside.open("wb") as out:
        out.write(b"\n")  # an empty file cannot be mapped
        out.writelines(b"%s %s\n" % (name, found[name].encode()) for name in sorted(found))
    beside.replace(output)


def look_up(sums: Path, name: str) -> str:
    """Find the SHA-256 of a package in a file that `write` made; empty where it is not there. Blocks, for a moment."""
    wanted = name.encode()
    with sums.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        low, high = 0, len(content)
        while low < high:
            middle = (low + high) // 2
            begin, end = max(low, content.rfind(b"\n", low, middle) + 1), content.find(b"\n", middle)
            found, _, digest = content[begin:end].partition(b" ")
            if found == wanted:
                return digest.decode()
            low, high = (end + 1, high) if found < wanted else (low, begin)
    return ""


def main(argv: list[str]) -> int:
    """Do it, within limits. Dies with the process that started it."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    index, output = (Path(word) for word in argv)
    faults: tuple[Any, ...] = (OSError, EOFError, ValueError, lzma.LZMAError, ElementTree.ParseError, MemoryError)
    try:
        write(read(index), output)
    except faults as error:
        sys.stderr.write(f"{index.name}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
