"""Content-addressed files on disk: ROOT/blobs/sha256/HEX, never changed, there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from provisioner.errors import ArtifactError

CHUNK_BYTES = 1024 * 1024
MAX_BYTES = 64 * 1024**3
"""Larger than any installer or image; a sparse file that claims a terabyte is refused before a byte is read."""
KEEP_FREE_BYTES = 256 * 1024 * 1024
"""Left on the disk by an import: leases and machine states are written to the same one."""

Progress = Callable[[int], None]
"""Called with the bytes done so far."""


class BlobStore:
    """Blobs under `root`. Every call blocks: run it in a thread."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._blobs = root / "blobs" / "sha256"
        self._incoming = root / "incoming"

    def prepare(self) -> None:
        """Make the directories, and clear what an import that was cut short has left."""
        try:
            for folder in (self.root, self._blobs.parent, self._blobs, self._incoming):
                folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            for left in self._incoming.glob("import-*"):
                left.unlink(missing_ok=True)
        except OSError as error:
            raise ArtifactError(f"{self.root}: cannot be used as artefact store: {error.strerror}") from error

    def path(self, sha256: str) -> Path:
        """Where the content with this hash lies, if it is there."""
        return self._blobs / sha256

    def partial(self, name: str) -> Path:
        """Where a download may be kept until it is whole; `name` is a hash, not a peer's word."""
        return self._incoming / f"{name}.part"

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Say whether this content is there with its full length."""
        try:
            found = self.path(sha256).lstat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes

    def take(self, source: Path, *, expected: str = "", progress: Progress | None = None) -> tuple[str, int]:
        """Copy a regular file in, hashing as it goes; say hash and size. `expected` is the hash that it must have."""
        with _open_regular(source) as (file, size):
            self._room_for(size)
            with self._scratch() as (copy, place):
                sha256, copied = _copy(file, copy, progress)
                if copied != size:
                    raise ArtifactError(f"{source}: changed while it was read", hint="import it again")
                _check(source, sha256, expected)
                self._settle(copy, place, sha256)
        return sha256, size

    def adopt(self, partial: Path, *, expected: str = "") -> tuple[str, int]:
        """Make a finished download a blob without copying it, hashing it first; it is removed if the hash is wrong."""
        with _open_regular(partial) as (file, size):
            sha256 = _hash(file)
            try:
                _check(partial, sha256, expected)
            except ArtifactError:
                partial.unlink()
                raise
        with partial.open("rb+") as file:
            self._settle(file, partial, sha256)
        return sha256, size

    def verify(self, sha256: str) -> bool:
        """Read a blob again and say whether it still is what its name says."""
        try:
            with _open_regular(self.path(sha256)) as (file, _):
                return _hash(file) == sha256
        except ArtifactError:
            return False

    def remove(self, hashes: Iterable[str]) -> None:
        """Delete blobs. Who is reading one reads on: the file is gone when the last reader closes it."""
        for sha256 in hashes:
            self.path(sha256).unlink(missing_ok=True)

    def all(self) -> dict[str, int]:
        """Every blob with its size."""
        return {path.name: path.stat().st_size for path in self._blobs.iterdir() if len(path.name) == 64}

    @contextlib.contextmanager
    def _scratch(self) -> Iterator[tuple[BinaryIO, Path]]:
        descriptor, name = tempfile.mkstemp(prefix="import-", dir=self._incoming)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file, Path(name)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise ArtifactError(f"{self.root}: the disk is full", hint="free space, then try again") from error
            raise ArtifactError(f"{self.root}: cannot be written: {error.strerror}") from error
        finally:
            Path(name).unlink(missing_ok=True)

    def _settle(self, file: BinaryIO, place: Path, sha256: str) -> None:
        """Give finished content its name: durable before it is visible."""
        file.flush()
        os.fchmod(file.fileno(), 0o440)
        os.fsync(file.fileno())
        place.replace(self.path(sha256))
        folder = os.open(self._blobs, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _room_for(self, size: int) -> None:
        disk = os.statvfs(self._incoming)
        free = disk.f_bavail * disk.f_frsize
        if size + KEEP_FREE_BYTES > free:
            text = f"{self.root}: {size / 1e6:.0f} MB wanted, {free / 1e6:.0f} MB free"
            raise ArtifactError(text, hint=f"{KEEP_FREE_BYTES / 1e6:.0f} MB stay free for the daemon's own state")


@contextlib.contextmanager
def _open_regular(path: Path) -> Iterator[tuple[BinaryIO, int]]:
    """Open a regular file of a bearable size. A FIFO or a device is refused without waiting for it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be opened: {error.strerror}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_BYTES:
        os.close(descriptor)
        regular = stat.S_ISREG(found.st_mode)
        fault = f"{found.st_size} bytes; at most {MAX_BYTES} are taken" if regular else "not a regular file"
        raise ArtifactError(f"{path}: {fault}")
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        yield file, found.st_size


def _copy(source: BinaryIO, target: BinaryIO, progress: Progress | None) -> tuple[str, int]:
    digest, done = hashlib.sha256(), 0
    while chunk := source.read(CHUNK_BYTES):
        digest.update(chunk)
        target.write(chunk)
        done += len(chunk)
        if done > MAX_BYTES:
            raise ArtifactError(f"more than {MAX_BYTES} bytes")
        if progress is not None:
            progress(done)
    return digest.hexdigest(), done


def _hash(source: BinaryIO) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(CHUNK_BYTES):
        digest.update(chunk)
    return digest.hexdigest()


def _check(path: Path, found: str, expected: str) -> None:
    if expected and found != expected:
        text = f"{path}: its SHA-256 is {found}, it should be {expected}"
        raise ArtifactError(text, hint="it is damaged or another version; it was not taken")
