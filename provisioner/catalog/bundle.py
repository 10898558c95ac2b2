"""Bundles: artefacts of chosen bootenvs in one file, for sites that no vendor's server can be reached from.

A bundle is a tar archive: `manifest.json` first, then each content once as `blobs/sha256/HEX`. Nothing in it counts
until it was hashed, and either all of it is taken or nothing.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import re
import tarfile
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import IO, Any, Self

import msgspec

from provisioner.catalog.blobs import CHUNK_BYTES, MAX_BYTES, BlobStore, Hold
from provisioner.errors import ArtifactError
from provisioner.model.artifact import Blob

MANIFEST = "manifest.json"
BLOBS = "blobs/sha256/"
FORMAT = 1
MAX_MANIFEST_BYTES = 4 * 1024 * 1024
_BLOCK = tarfile.BLOCKSIZE
_HEX = re.compile(r"[0-9a-f]{64}")
_END = bytes(2 * _BLOCK)


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An artefact of a bundle."""

    bootenv: str
    arch: str
    name: str
    sha256: str
    size_bytes: int
    origin: str = ""

    @property
    def names(self) -> tuple[str, str, str]:
        """What it is called in the store."""
        return self.bootenv, self.arch, self.name


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a bundle holds."""

    format: int
    artifacts: tuple[Item, ...]


class Packing:
    """A bundle on its way out: its length is known before its content is read."""

    def __init__(self, blobs: Sequence[Blob], path: Callable[[str], Path]) -> None:
        items = tuple(Item(b.bootenv, b.arch, b.name, b.sha256, b.size_bytes, b.origin) for b in blobs)
        self._head = msgspec.json.format(msgspec.json.encode(Manifest(FORMAT, items))) + b"\n"
        self._contents = {blob.sha256: blob.size_bytes for blob in blobs}
        self._path = path
        members = [len(self._head), *self._contents.values()]
        self.size_bytes = sum(_BLOCK + size + _padding(size) for size in members) + len(_END)

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bundle's bytes. Raises `ArtifactError` where content is not what the store says."""
        yield _header(MANIFEST, len(self._head)) + self._head + bytes(_padding(len(self._head)))
        loop = asyncio.get_running_loop()
        for sha256, size in self._contents.items():
            yield _header(BLOBS + sha256, size)
            digest = hashlib.sha256()
            file = await loop.run_in_executor(None, self._path(sha256).open, "rb")
            try:
                while chunk := await loop.run_in_executor(None, file.read, CHUNK_BYTES):
                    await loop.run_in_executor(None, digest.update, chunk)
                    yield chunk
            finally:
                await loop.run_in_executor(None, file.close)
            if digest.hexdigest() != sha256:
                raise ArtifactError(f"{sha256} is damaged in the store", hint="`provisionctl artifacts verify`")
            yield bytes(_padding(size))
        yield _END


class _Plain(tarfile.TarInfo):
    """An entry of a bundle: a plain file and nothing else.

    tarfile takes headers that say more of the next entry (pax, long names, holes) whole into memory, of whatever size a
    stranger's file gives them; ours have none.
    """

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        entry = super().frombuf(buf, encoding, errors)
        if entry.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise ArtifactError(f"{entry.name[:100]!r} is no plain file", hint="is it a bundle of artefacts?")
        return entry


def unpack(source: IO[bytes], blobs: BlobStore, hold: Hold) -> tuple[Item, ...]:
    """Take the content of a bundle into the blob store, and say what it is; `hold` has it until it is named. Blocks.

    Raises `ArtifactError` when anything is wrong, and then nothing of it is to be kept.
    """
    try:
        return _unpack(source, blobs, hold)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ArtifactError(f"the bundle cannot be read: {error}; nothing of it was kept") from error
    except ArtifactError as error:
        raise ArtifactError(
            f"the bundle is refused: {error.message}; nothing of it was kept", hint=error.hint
        ) from error


def _unpack(source: IO[bytes], blobs: BlobStore, hold: Hold) -> tuple[Item, ...]:
    with tarfile.open(fileobj=source, mode="r|", bufsize=CHUNK_BYTES, tarinfo=_Plain) as archive:
        entries = iter(archive)
        first = next(entries, None)
        if first is None or first.name != MANIFEST or first.size > MAX_MANIFEST_BYTES:
            raise ArtifactError(f"it does not begin with {MANIFEST}", hint="is it a bundle of artefacts?")
        items = decode_manifest(_content(archive, first).read())
        wanted = {item.sha256: item.size_bytes for item in items}
        blobs.room_for(sum(wanted.values()))
        for entry in entries:
            sha256 = entry.name.removeprefix(BLOBS)
            if wanted.get(sha256) != entry.size:
                raise ArtifactError(f"{entry.name[:100]!r} is not in its manifest, or is there twice")
            _take(_content(archive, entry), sha256, blobs, hold)
            del wanted[sha256]
    if wanted:
        raise ArtifactError(f"{len(wanted)} of its {len(items)} artefacts are missing", hint="it was cut short")
    return items


def _content(archive: tarfile.TarFile, entry: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(entry)
    assert content is not None
    return content


def _take(content: IO[bytes], sha256: str, blobs: BlobStore, hold: Hold) -> None:
    receiver = blobs.receiver(hold)
    try:
        while chunk := content.read(CHUNK_BYTES):
            receiver.write(chunk)
        receiver.settle(sha256, sha256)
    finally:
        receiver.close()


_manifests = msgspec.json.Decoder(Manifest)


def decode_manifest(raw: bytes) -> tuple[Item, ...]:
    """Read a manifest; raise `ArtifactError` for whatever is none."""
    try:
        manifest = _manifests.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"its manifest cannot be read: {error}") from error
    if manifest.format != FORMAT:
        raise ArtifactError(f"its format is {manifest.format}, {FORMAT} is read", hint="it was made by another version")
    sizes: dict[str, int] = {}
    for item in manifest.artifacts:
        if not _HEX.fullmatch(item.sha256) or not 0 <= item.size_bytes <= MAX_BYTES:
            raise ArtifactError(f"{item.name[:100]!r} has no good hash or size in its manifest")
        if sizes.setdefault(item.sha256, item.size_bytes) != item.size_bytes:
            raise ArtifactError(f"{item.sha256} has two sizes in its manifest")
    if len({item.names for item in manifest.artifacts}) != len(manifest.artifacts):
        raise ArtifactError("its manifest names an artefact twice")
    return manifest.artifacts


class Pulled(io.RawIOBase):
    """What arrives on the loop, as a file that another thread reads."""

    def __init__(self, chunks: AsyncIterator[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._chunks, self._loop = chunks, loop
        self._left = b""

    def readable(self) -> bool:
        """It is there to be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Read what there is; raises what the loop's side raised."""
        if not self._left:
            self._left = asyncio.run_coroutine_threadsafe(self._next(), self._loop).result()
        count = min(len(buffer), len(self._left))
        buffer[:count], self._left = self._left[:count], self._left[count:]
        return count

    async def _next(self) -> bytes:
        return await anext(self._chunks, b"")


def _header(name: str, size: int) -> bytes:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry.tobuf(tarfile.GNU_FORMAT)


def _padding(size: int) -> int:
    return -size % _BLOCK
