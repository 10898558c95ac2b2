"""Take one file out of an ISO image or an archive, without root and without unpacking the rest."""

from __future__ import annotations

import contextlib
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, BinaryIO

from provisioner.catalog import iso9660
from provisioner.catalog.blobs import CHUNK_BYTES, MAX_BYTES
from provisioner.catalog.room import Room
from provisioner.errors import ArtifactError

HEAD_BYTES = iso9660.SECTOR * (iso9660.FIRST_DESCRIPTOR + 2)


def extract(container: Path, member: str, target: Path, *, limit: int = MAX_BYTES) -> None:
    """Write the content of the regular file `member` of `container` to `target`. Names in it never become paths."""
    try:
        with container.open("rb") as file, target.open("wb") as out:
            piece = _Piece(member, out, Room(target.parent), limit)
            head = file.read(HEAD_BYTES)
            if iso9660.is_iso(head):
                _from_iso(file, member, piece)
            elif zipfile.is_zipfile(file):
                with _zip_member(file, member) as source:
                    _pour(source, piece)
            else:
                file.seek(0)
                _from_tar(file, member, piece)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise ArtifactError(f"{container.name}: {member} cannot be unpacked: {error}") from error
    except ArtifactError as error:
        raise ArtifactError(f"{container.name}: {error.message}", hint=error.hint) from error


class _Piece:
    """The file that a member becomes, within bounds: a few kilobytes can unpack to petabytes."""

    def __init__(self, member: str, out: BinaryIO, room: Room, limit: int) -> None:
        self._member, self._out, self._room = member, out, room
        self._limit, self._left = limit, limit

    def expect(self, size_bytes: int) -> None:
        """Raise `ArtifactError` where so many bytes more are too many."""
        if size_bytes > self._left:
            raise ArtifactError(f"{self._member} unpacks to more than {self._limit} bytes")

    def write(self, chunk: bytes) -> None:
        """Write what comes next; raise `ArtifactError` where it is too much, or the disk has no room for it."""
        self.expect(len(chunk))
        self._room.take(len(chunk))
        self._out.write(chunk)
        self._left -= len(chunk)


def _from_iso(image: BinaryIO, member: str, piece: _Piece) -> None:
    def read_at(offset: int, length: int) -> bytes:
        image.seek(offset)
        return image.read(length)

    size = image.seek(0, 2)
    extents = iso9660.find(read_at, member, size)
    piece.expect(sum(extent.length for extent in extents))
    for extent in extents:
        image.seek(extent.offset)
        left = extent.length
        while left:
            chunk = image.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise ArtifactError(f"{member} is cut short")
            piece.write(chunk)
            left -= len(chunk)


def _from_tar(file: BinaryIO, member: str, piece: _Piece) -> None:
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for entry in archive:
            if entry.name.removeprefix("./") != member:
                continue
            if not entry.isreg():
                raise ArtifactError(f"{member} is no regular file of the archive")
            source = archive.extractfile(entry)
            assert source is not None
            _pour(source, piece)
            return
    raise ArtifactError(f"there is no {member} in the archive")


@contextlib.contextmanager
def _zip_member(file: BinaryIO, member: str) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(file) as archive:
        entry = next((entry for entry in archive.infolist() if entry.filename == member and not entry.is_dir()), None)
        if entry is None:
            raise ArtifactError(f"there is no {member} in the archive")
        with archive.open(entry) as source:
            yield source


def _pour(source: IO[bytes], piece: _Piece) -> None:
    while chunk := source.read(CHUNK_BYTES):
        piece.write(chunk)
