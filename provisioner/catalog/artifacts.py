"""The artefact store: which bootenv has which content, and nothing that is not whole."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256 as sha256_of
from io import BufferedReader
from pathlib import Path
from typing import TypeVar

from provisioner.boot.chunks import ChunkList
from provisioner.boot.files import ServedFile
from provisioner.catalog.blobs import CHUNK_BYTES, BlobStore, Hold, Progress
from provisioner.catalog.bundle import Packing, Pulled, unpack
from provisioner.catalog.context import Stored
from provisioner.errors import ArtifactError, ConflictError, NotFoundError
from provisioner.model.artifact import Blob
from provisioner.model.catalog import Artifact, Bootenv
from provisioner.store.artifacts import ArtifactIndex
from provisioner.uncut import uncut

log = logging.getLogger(__name__)

T = TypeVar("T")
Clock = Callable[[], float]
REREAD_BYTES = 128 << 20
"""What machines boot from is smaller than that, and is read in a fraction of a second; `verify` reads images too."""
LONG = 2
"""Threads for what reads for minutes, or waits for who sends it: in those of the loop machines' files are opened."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is being sent to us: its pieces (about a MiB each), and its length where it was announced."""

    chunks: AsyncIterator[bytes]
    size_bytes: int | None = None


_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}")


class ArtifactStore:
    """Artefacts under `root`, with their index in `rows`. Lookups are answered from memory."""

    def __init__(self, root: Path, rows: ArtifactIndex, *, clock: Clock = time.time) -> None:
        self.blobs = BlobStore(root, self.has_content)
        self._rows = rows
        self._clock = clock
        self._index: Mapping[tuple[str, str, str], Blob] = {}
        """Replaced whole with every change (`_go_by`)."""
        self._long = ThreadPoolExecutor(LONG, thread_name_prefix="artifacts")
        self._changing = asyncio.Lock()
        """Held while rows and index change: neither is ahead of the other for a second change."""
        self._told: dict[tuple[str, str], tuple[Bootenv, Mapping[str, Stored]]] = {}
        self.users: Callable[[str], Sequence[str]] = lambda _bootenv: ()
        """Names the machines that boot a bootenv now: under them nothing is removed, or replaced by other content."""

    async def open(self) -> None:
        """Read the index. A row whose content is gone or cut short counts as missing, and is said in the log.

        Content that no row stands for is what a killed import left: it is deleted.
        """
        await _in_thread(self.blobs.prepare)
        rows = await self._rows.load()
        there = await _in_thread(lambda: [blob for blob in rows if self.blobs.has(blob.sha256, blob.size_bytes)])
        self._go_by({_key(blob): blob for blob in there})
        await _in_thread(lambda: self.blobs.sweep(self.blobs.all().keys() - {blob.sha256 for blob in rows}))
        for blob in rows:
            if _key(blob) not in self._index:
                log.error("artifacts.damaged artifact=%s sha256=%s", blob.key, blob.sha256)

    def all(self) -> Sequence[Blob]:
        """Every artefact, by bootenv, architecture and name."""
        return sorted(self._index.values(), key=_key)

    def lookup(self, bootenv: str, arch: str, name: str) -> Blob | None:
        """Find one artefact."""
        return self._index.get((bootenv, arch, name))

    def find(self, key: str) -> ServedFile | None:
        """Find what is served under `artifacts/KEY`; KEY is BOOTENV/ARCH/NAME."""
        parts = key.split("/")
        blob = self.lookup(*parts) if len(parts) == 3 else None
        return None if blob is None else self.served(blob)

    def served(self, blob: Blob) -> ServedFile:
        """Say where a blob lies, for the servers."""
        name = f"artifacts/{blob.key}"
        return ServedFile(name, self.blobs.path(blob.sha256), blob.size_bytes, blob.sha256, blob.origin)

    def has_content(self, sha256: str) -> bool:
        """Say whether any artefact has this content."""
        return any(blob.sha256 == sha256 for blob in self._index.values())

    async def chunk_list(self, sha256: str) -> ChunkList | None:
        """List the chunks of an artefact's content; None where there is no such content, or it is small."""
        if not self.has_content(sha256):
            return None
        return await _in_thread(lambda: self.blobs.chunk_list(sha256))

    def stored(self, bootenv: Bootenv, arch: str) -> Mapping[str, Stored]:
        """What templates are told of the artefacts of one architecture: the same mapping while nothing differs."""
        known = self._told.get((bootenv.name, arch))
        if known is None or known[0] is not bootenv:
            found = {a.name: self.lookup(bootenv.name, arch, a.name) for a in _wanted(bootenv, arch)}
            told = {name: Stored(blob.sha256, blob.size_bytes) for name, blob in found.items() if blob is not None}
            known = self._told[bootenv.name, arch] = bootenv, told
        return known[1]

    def _go_by(self, index: Mapping[tuple[str, str, str], Blob]) -> None:
        """Have this index from now on."""
        self._index = index
        self._told.clear()

    def missing(self, bootenv: Bootenv, arch: str) -> list[Artifact]:
        """List what the store has not, or not with the hash that the bootenv names."""
        return [artifact for artifact in _wanted(bootenv, arch) if not self._has(bootenv, arch, artifact)]

    def _has(self, bootenv: Bootenv, arch: str, artifact: Artifact) -> bool:
        blob = self.lookup(bootenv.name, arch, artifact.name)
        return blob is not None and (artifact.convert != "" or artifact.sha256 in ("", blob.sha256))

    async def import_file(
        self,
        names: tuple[str, str, str],
        path: Path,
        origin: str,
        *,
        sha256: str = "",
        progress: Progress | None = None,
    ) -> Blob:
        """Take a file in as artefact `names` (bootenv, arch, name); `sha256` is the hash that it must have.

        When this returns it is durable, and served under its name from that moment on.
        """
        _check_names(names)
        async with self._holding() as hold:
            taken = partial(self.blobs.take, path, hold, expected=sha256, progress=progress)
            return await self._name(names, *await _in_thread(taken), origin)

    async def receive(self, names: tuple[str, str, str], content: Content, origin: str, *, sha256: str = "") -> Blob:
        """Take an artefact in as it arrives. Nothing of it is kept when it does not arrive whole."""
        _check_names(names)
        async with self._holding() as hold:
            return await self._name(names, *await self._received(names, content, sha256, hold), origin)

    async def _received(
        self, names: tuple[str, str, str], content: Content, sha256: str, hold: Hold
    ) -> tuple[str, int]:
        receiver = await _in_thread(lambda: self.blobs.receiver(hold, content.size_bytes))
        try:
            async for chunk in content.chunks:
                await _in_thread(partial(receiver.write, chunk))
            if content.size_bytes not in (None, receiver.size_bytes):
                raise ArtifactError(f"{receiver.size_bytes} bytes came, {content.size_bytes} were announced")
            if not receiver.size_bytes and not sha256:
                hint = f"look where it comes from; an empty file is taken with its SHA-256, {sha256_of().hexdigest()}"
                raise ArtifactError(f"{'/'.join(names)}: what came is empty", hint=hint)
            return await _in_thread(lambda: receiver.settle("/".join(names), sha256))
        finally:
            await _in_thread(receiver.close)

    async def receive_bundle(self, chunks: AsyncIterator[bytes]) -> Sequence[Blob]:
        """Take in everything that a bundle holds, or nothing of it."""
        source = BufferedReader(Pulled(chunks, asyncio.get_running_loop()), CHUNK_BYTES)
        async with self._holding() as hold:
            items = await self._at_length(lambda: unpack(source, self.blobs, hold))
            for item in items:
                _check_names(item.names)
            now = self._clock()
            blobs = [Blob(*item.names, item.sha256, item.size_bytes, item.origin, now) for item in items]
            await self._put(blobs)
            return blobs

    def bundle(self, bootenvs: Sequence[tuple[Bootenv, str]]) -> Packing:
        """Pack what is in store of these bootenvs and architectures; refuse (`ArtifactError`) what is not complete."""
        lacking = [f"{b.name}/{arch}/{a.name}" for b, arch in bootenvs for a in self.missing(b, arch)]
        if lacking:
            text = f"not in store: {', '.join(lacking[:5])}{' ...' if len(lacking) > 5 else ''}"
            raise ArtifactError(text, hint="`provisionctl artifacts fetch BOOTENV` first")
        names = {(b.name, arch, a.name) for b, arch in bootenvs for a in _wanted(b, arch)}
        return Packing([blob for blob in self.all() if _key(blob) in names], self.blobs.path)

    async def enter(self, names: tuple[str, str, str], sha256: str, size_bytes: int, origin: str) -> Blob:
        """Let a name stand for content that is in the blob store. What it stood for before goes, if nobody else's.

        Raises `ConflictError` where machines boot that now; then the new content goes.
        """
        _check_names(names)
        async with self._holding() as hold:
            await _in_thread(lambda: hold.take(sha256))
            if not await _in_thread(lambda: self.blobs.has(sha256, size_bytes)):
                text = f"{'/'.join(names)}: its content was removed before it had its name"
                raise ArtifactError(text, hint="take it in again")
            return await self._name(names, sha256, size_bytes, origin)

    async def _name(self, names: tuple[str, str, str], sha256: str, size_bytes: int, origin: str) -> Blob:
        blob = Blob(*names, sha256, size_bytes, origin, self._clock())
        await self._put([blob])
        return blob

    async def _put(self, blobs: Sequence[Blob]) -> None:
        """Give content names that somebody holds meanwhile."""
        async with self._changing:
            pairs = [(before, blob) for blob in blobs if (before := self._index.get(_key(blob))) is not None]
            replaced = [before for before, blob in pairs if before.sha256 != blob.sha256]
            self._refuse_in_use(blob.bootenv for blob in replaced)
            with uncut() as whole:
                await whole(self._rows.put(blobs))
                self._go_by({**self._index, **{_key(blob): blob for blob in blobs}})
                await whole(self._sweep({blob.sha256 for blob in replaced}))

    def _refuse_in_use(self, bootenvs: Iterable[str]) -> None:
        for bootenv in dict.fromkeys(bootenvs):
            if users := self.users(bootenv):
                named = f"{', '.join(users[:5])}{' ...' if len(users) > 5 else ''}"
                text = f"{bootenv}: its artefacts are in use by {named}"
                raise ConflictError(text, hint="wait for these machines, or cancel their runs")

    async def remove(self, bootenv: str, arch: str = "", name: str = "") -> Sequence[Blob]:
        """Remove the artefacts of a bootenv, of one architecture, or one of them; say which.

        With any `users` it is refused (`ConflictError`).
        """
        async with self._changing:
            gone = [b for b in self.all() if b.bootenv == bootenv and arch in ("", b.arch) and name in ("", b.name)]
            if not gone:
                what = "/".join(part for part in (bootenv, arch, name) if part)
                raise NotFoundError(f"{what}: no such artefact in store", hint="provisionctl artifacts list")
            self._refuse_in_use([bootenv])
            with uncut() as whole:
                await whole(self._rows.drop(gone))
                self._go_by(_without(self._index, gone))
                await whole(self._sweep({blob.sha256 for blob in gone}))
        return gone

    async def is_whole(self, blob: Blob) -> bool:
        """Say whether an artefact's content is there; of what machines boot from, whether it still has its hash."""
        if blob.size_bytes > REREAD_BYTES:
            return self.blobs.has(blob.sha256, blob.size_bytes)
        return await _in_thread(lambda: self.blobs.verify(blob.sha256))

    async def verify(self) -> Sequence[Blob]:
        """Read all content again; what is damaged is deleted, served no more, and returned."""
        suspect = await self._damaged({blob.sha256 for blob in self._index.values()})
        async with self._changing:
            bad = await self._damaged({sha256 for sha256 in suspect if self.has_content(sha256)})  # it may be new since
            damaged = [blob for blob in self.all() if blob.sha256 in bad]
            for blob in damaged:
                log.error("artifacts.damaged artifact=%s sha256=%s", blob.key, blob.sha256)
            self._go_by(_without(self._index, damaged))  # their rows stay: the next start says that they are missing
        await self._sweep(bad)
        return damaged

    async def _damaged(self, hashes: Set[str]) -> Set[str]:
        return await self._at_length(lambda: {sha256 for sha256 in hashes if not self.blobs.verify(sha256)})

    async def _at_length(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._long, work)

    async def _sweep(self, hashes: Set[str]) -> None:
        """Delete content that no name stands for any more."""
        await _in_thread(lambda: self.blobs.sweep(hashes))

    @contextlib.asynccontextmanager
    async def _holding(self) -> AsyncIterator[Hold]:
        hold = self.blobs.hold()
        try:
            yield hold
        finally:
            await _in_thread(hold.close)


def _wanted(bootenv: Bootenv, arch: str) -> Sequence[Artifact]:
    files = bootenv.arch.get(arch)
    return files.artifacts if files is not None else ()


def _key(blob: Blob) -> tuple[str, str, str]:
    return blob.bootenv, blob.arch, blob.name


def _without(index: Mapping[tuple[str, str, str], Blob], gone: Iterable[Blob]) -> dict[tuple[str, str, str], Blob]:
    names = {_key(blob) for blob in gone}
    return {key: blob for key, blob in index.items() if key not in names}


def _check_names(names: tuple[str, str, str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise ArtifactError(f"{name[:80]!r} cannot be part of an artefact's name", hint="letters, digits and ._+-")


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work)
