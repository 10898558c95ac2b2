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
from provisioner.errors import ArtifactError

HEAD_BYTES = iso9660.SECTOR * (iso9660.FIRST_DESCRIPTOR + 2)


def extract(container: Path, member: str, target: Path, *, limit: int = MAX_BYTES) -> None:
    """Write the content of the regular file `member` of `container` to `target`. Names in it never become paths."""
    try:
        with container.open("rb") as file, target.open("wb") as out:
            head = file.read(HEAD_BYTES)
            if iso9660.is_iso(head):
                _from_iso(file, member, out, limit)
            elif zipfile.is_zipfile(file):
                with _zip_member(file, member) as source:
                    _pour(source, out, limit)
            else:
                file.seek(0)
                _from_tar(file, member, out, limit)
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, RuntimeError, NotImplementedError) as error:
        raise ArtifactError(f"{container.name}: {member} cannot be unpacked: {error}") from error
    except ArtifactError as error:
        raise ArtifactError(f"{container.name}: {error.message}", hint=error.hint) from error


def _from_iso(image: BinaryIO, member: str, out: BinaryIO, limit: int) -> None:
    def read_at(offset: int, length: int) -> bytes:
        image.seek(offset)
        return image.read(length)

    size = image.seek(0, 2)
    extents = iso9660.find(read_at, member, size)
    if sum(extent.length for extent in extents) > limit:
        raise ArtifactError(f"{member} unpacks to more than {limit} bytes")
    for extent in extents:
        image.seek(extent.offset)
        left = extent.length
        while left:
            chunk = image.read(min(left, CHUNK_BYTES))
            if not chunk:
                raise ArtifactError(f"{member} is cut short")
            out.write(chunk)
            left -= len(chunk)


def _from_tar(file: BinaryIO, member: str, out: BinaryIO, limit: int) -> None:
    with tarfile.open(fileobj=file, mode="r:*") as archive:
        for entry in archive:
            if entry.name.removeprefix("./") != member:
                continue
            if not entry.isreg():
                raise ArtifactError(f"{member} is no regular file of the archive")
            source = archive.extractfile(entry)
            assert source is not None
            _pour(source, out, limit)
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


def _pour(source: IO[bytes], out: BinaryIO, limit: int) -> None:
    """Copy, within bounds: a few kilobytes can unpack to petabytes."""
    while chunk := source.read(CHUNK_BYTES):
        if out.tell() + len(chunk) > limit:
            raise ArtifactError(f"unpacks to more than {limit} bytes")
        out.write(chunk)
