"""Content-addressed files on disk: ROOT/blobs/sha256/HEX, never changed, there whole or not at all.

Beside each large one lies the list of its chunks, ROOT/chunks/HEX, made while it was hashed (boot/chunks.py).
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from provisioner.boot import chunks
from provisioner.boot.chunks import Chunker, ChunkList
from provisioner.catalog.room import Room, lacking, room_for
from provisioner.durable import sync
from provisioner.errors import ArtifactError, WireError

CHUNK_BYTES = 1024 * 1024
MAX_BYTES = 64 * 1024**3
"""Larger than any installer or image; a sparse file that claims a terabyte is refused before a byte is read."""

PARTIAL_LIFE_S = 7 * 86400.0
"""How long a download that stopped is kept to go on with: it may be of a version that no bootenv names any more."""

Progress = Callable[[int], None]
"""Called with the bytes done so far."""


def _nobody(_sha256: str) -> bool:
    return False


class BlobStore:
    """Blobs under `root`. Every call blocks: run it in a thread, where `named` says whether an index has content."""

    def __init__(self, root: Path, named: Callable[[str], bool] = _nobody) -> None:
        self.root = root
        self._named = named
        self._held: Counter[str] = Counter()
        self._lock = threading.Lock()
        """Held while content is looked at and deleted, so that nobody begins to hold it between the two."""
        self._blobs = root / "blobs" / "sha256"
        self._chunks = root / "chunks"
        self._incoming = root / "incoming"

    def prepare(self) -> None:
        """Make the directories, and clear what an import that was cut short has left."""
        try:
            for folder in (self.root, self._blobs.parent, self._blobs, self._chunks, self._incoming):
                folder.mkdir(parents=True, exist_ok=True, mode=0o750)
            for left in self._incoming.glob("import-*"):
                shutil.rmtree(left) if left.is_dir() else left.unlink(missing_ok=True)
            self.drop_partials(time.time())
        except OSError as error:
            raise ArtifactError(f"{self.root}: cannot be used as artefact store: {error.strerror}") from error

    def path(self, sha256: str) -> Path:
        """Where the content with this hash lies, if it is there."""
        return self._blobs / sha256

    def partial(self, name: str) -> Path:
        """Where a download may be kept until it is whole; `name` is a hash, not a peer's word."""
        return self._incoming / f"{name}.part"

    def drop_partials(self, now: float) -> None:
        """Remove downloads that nobody has gone on with for long."""
        for left in self._incoming.glob("*.part*"):
            with contextlib.suppress(FileNotFoundError):  # another fetch is at its end
                if now - left.stat().st_mtime > PARTIAL_LIFE_S:
                    left.unlink()

    def workplace(self) -> tempfile.TemporaryDirectory[str]:
        """Make a folder for what is to become a blob."""
        return tempfile.TemporaryDirectory(prefix="import-", dir=self._incoming)

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Say whether this content is there with its full length."""
        try:
            found = self.path(sha256).lstat()
        except OSError:
            return False
        return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes

    def take(
        self, source: Path, hold: Hold, *, expected: str = "", progress: Progress | None = None
    ) -> tuple[str, int]:
        """Copy a regular file in, hashing as it goes; say hash and size. `expected` is the hash that it must have."""
        with _open_regular(source) as (file, size), contextlib.closing(self.receiver(hold, size)) as receiver:
            while chunk := file.read(CHUNK_BYTES):
                receiver.write(chunk)
                if progress is not None:
                    progress(receiver.size_bytes)
            if receiver.size_bytes != size:
                raise ArtifactError(f"{source}: changed while it was read", hint="import it again")
            return receiver.settle(str(source), expected)

    def hold(self) -> Hold:
        """Begin to take content in that an index is to name."""
        return Hold(self)

    def receiver(self, hold: Hold, size_bytes: int | None = None) -> Receiver:
        """Begin to take content in piece by piece; `size_bytes` where it is known, to refuse what has no room."""
        return Receiver(self, hold, size_bytes)

    def adopt(self, partial: Path, *, expected: str = "") -> tuple[str, int]:
        """Make a finished download a blob without copying it, hashing it first; it is removed if the hash is wrong."""
        with _open_regular(partial) as (file, size):
            hashed = _hash(file)
            try:
                _check(partial.name, hashed.sha256, expected)
            except ArtifactError:
                partial.unlink()
                raise
        with partial.open("rb+") as file:
            self.settle(file, partial, hashed)
        return hashed.sha256, size

    def verify(self, sha256: str) -> bool:
        """Read a blob again and say whether it still is what its name says. A wrong list of its chunks is made anew.

        Raises `ArtifactError` where it is there and cannot be read: nobody knows then.
        """
        if not self.path(sha256).is_file():
            return False
        try:
            with _open_regular(self.path(sha256)) as (file, _):
                hashed = _hash(file)
        except OSError as error:
            raise ArtifactError(f"{self.path(sha256)}: cannot be read: {error.strerror}") from error
        if hashed.sha256 != sha256:
            return False
        if (listed := hashed.finish()) != self._read_chunks(sha256):
            self._write_chunks(listed)
        return True

    def chunk_list(self, sha256: str) -> ChunkList | None:
        """Read the list of a blob's chunks, or make it where an older version took the blob in; None for small ones.

        Raises `ArtifactError` where the blob is not what its name says.
        """
        if (listed := self._read_chunks(sha256)) is not None:
            return listed
        with _open_regular(self.path(sha256)) as (file, size):
            if size < chunks.MIN_BYTES:
                return None
            listed = _hash(file).finish()
        _check(self.path(sha256).name, listed.sha256, sha256)
        self._write_chunks(listed)
        return listed

    def _read_chunks(self, sha256: str) -> ChunkList | None:
        try:
            listed = chunks.decode((self._chunks / sha256).read_text("ascii", "replace"))
        except (OSError, WireError):
            return None
        return listed if listed.sha256 == sha256 else None

    def _write_chunks(self, listed: ChunkList) -> None:
        """Keep a list. It can be made again at any time: nothing waits for it to be durable."""
        if listed.size_bytes < chunks.MIN_BYTES:
            return
        descriptor, name = tempfile.mkstemp(prefix="import-", dir=self._incoming)
        with os.fdopen(descriptor, "w") as out:
            out.write(listed.encode())
        Path(name).replace(self._chunks / listed.sha256)

    def keep(self, sha256: str) -> None:
        """Have `sweep` spare content until it is let go as often."""
        with self._lock:
            self._held[sha256] += 1

    def let_go(self, hashes: Iterable[str]) -> None:
        """End what `keep` began."""
        with self._lock:
            self._held -= Counter(hashes)

    def sweep(self, hashes: Iterable[str]) -> None:
        """Delete content that no index names and nobody holds. Who is reading it reads on, to the end."""
        for sha256 in hashes:
            with self._lock:
                if not self._held[sha256] and not self._named(sha256):
                    self.path(sha256).unlink(missing_ok=True)
                    (self._chunks / sha256).unlink(missing_ok=True)

    def all(self) -> dict[str, int]:
        """Every blob with its size."""
        return {path.name: path.stat().st_size for path in self._blobs.iterdir() if len(path.name) == 64}

    def settle(self, file: BinaryIO, place: Path, hashed: Chunker) -> None:
        """Give finished content its place: durable before it is visible."""
        self._write_chunks(hashed.finish())
        file.flush()
        os.fchmod(file.fileno(), 0o440)
        os.fsync(file.fileno())
        place.replace(self.path(hashed.sha256))
        sync(self._blobs)

    def scratch(self) -> tuple[BinaryIO, Path]:
        """Open a new file beside the blobs."""
        descriptor, name = tempfile.mkstemp(prefix="import-", dir=self._incoming)
        return os.fdopen(descriptor, "wb"), Path(name)

    def room_for(self, size: int) -> None:
        """Raise `ArtifactError` where this many bytes more would fill the disk."""
        room_for(self._incoming, size)

    def lacking(self, size: int) -> int:
        """Say how many bytes have to go before this many more fit on the disk."""
        return lacking(self._incoming, size)


class Hold:
    """Content on its way to a name: no sweep takes it. With the end of this goes what was given none. Calls block."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._hashes: list[str] = []
        self._closed = False
        self._lock = threading.Lock()

    def take(self, sha256: str) -> None:
        """Hold this content, too, whether it is there already or comes."""
        with self._lock:
            if self._closed:
                raise ArtifactError("it was given up while it was taken in")
            self._store.keep(sha256)
            self._hashes.append(sha256)

    def close(self) -> None:
        """Hold nothing any more."""
        with self._lock:
            self._closed = True
        self._store.let_go(self._hashes)
        self._store.sweep(self._hashes)
        self._hashes = []


class Receiver:
    """Content on its way in: nothing can be seen of it until `settle`. Every call blocks."""

    def __init__(self, store: BlobStore, hold: Hold, size_bytes: int | None) -> None:
        if size_bytes is not None and size_bytes > MAX_BYTES:
            raise ArtifactError(f"{size_bytes} bytes; at most {MAX_BYTES} are taken")
        store.room_for(size_bytes or 0)
        self._store, self._hold = store, hold
        self._hashed = Chunker()
        self._file, self._place = store.scratch()
        self._room = Room(self._place.parent)

    @property
    def size_bytes(self) -> int:
        """What was written so far."""
        return self._hashed.size_bytes

    def write(self, chunk: bytes) -> None:
        """Take the next piece."""
        if self.size_bytes + len(chunk) > MAX_BYTES:
            raise ArtifactError(f"more than {MAX_BYTES} bytes")
        self._room.take(len(chunk))
        self._hashed.update(chunk)
        try:
            self._file.write(chunk)
        except OSError as error:
            raise self._refusal(error) from error

    def open(self) -> int:
        """Open what has come so far for reading; a descriptor that the caller closes."""
        return os.open(self._place, os.O_RDONLY | os.O_CLOEXEC)

    def settle(self, what: str, *expected: str) -> tuple[str, int]:
        """Make it a blob, durably; say hash and size. `what` names it where the hash is none of the expected ones."""
        sha256 = self._hashed.sha256
        _check(what, sha256, *expected)
        self._hold.take(sha256)
        try:
            self._store.settle(self._file, self._place, self._hashed)
        except OSError as error:
            raise self._refusal(error) from error
        return sha256, self.size_bytes

    def close(self) -> None:
        """Forget what was not settled."""
        with contextlib.suppress(OSError):
            self._file.close()
        self._place.unlink(missing_ok=True)

    def _refusal(self, error: OSError) -> ArtifactError:
        if error.errno == errno.ENOSPC:
            return ArtifactError(f"{self._store.root}: the disk is full", hint="free space, then try again")
        return ArtifactError(f"{self._store.root}: cannot be written: {error.strerror}")


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


def _hash(source: BinaryIO) -> Chunker:
    hashed = Chunker()
    while chunk := source.read(CHUNK_BYTES):
        hashed.update(chunk)
    return hashed


def _check(what: str, found: str, *expected: str) -> None:
    if any(expected) and found not in expected:
        text = f"{what}: its SHA-256 is {found}, it should be {expected[0]}"
        raise ArtifactError(text, hint="it is damaged or another version; it was not taken")
