"""A pull-through cache of package mirrors: what was fetched once is given again, also when the mirror is away.

Packages are kept by content, for as long as the index that was given last says so; indexes are asked for again at every
use. A package has a hash that an index says it has. A file is seen whole or not at all; the least recently used go when
it or its disk is full.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TypeVar

import aiohttp

from provisioner.boot.files import ServedFile
from provisioner.catalog.arriving import Along, Arriving
from provisioner.catalog.blobs import BlobStore, Hold, Receiver
from provisioner.catalog.indexsums import IndexSums
from provisioner.catalog.upstream import Passing, Sources, Upstreams, gathered, reason_of
from provisioner.clock import SteadyClock
from provisioner.errors import ArtifactError, FullError, NotFoundError, StoreError
from provisioner.model.mirror import CacheStanding, Kept, hash_in, is_index, never_changes
from provisioner.services import cause
from provisioner.store.mirror import MirrorIndex

log = logging.getLogger(__name__)

T = TypeVar("T")
_Result = Kept | ArtifactError | NotFoundError

FRESH_S = 10.0
"""An index that was confirmed so long ago is not asked for again: a rack that installs asks often."""
DOWNLOADS = 16
USED_EVERY_S = 600.0
"""How exactly it is remembered when a file was used last."""
PASSED = 64
"""At once, of files for which there is no room: each client has one of its own from the mirror."""
LOW_WATER = 0.9
"""A full cache is emptied to this share, so that not every file that comes evicts one."""


class MirrorCache:
    """Files of mirrors below `root`; `run` has to be running for anything to be fetched."""

    def __init__(
        self, root: Path, rows: MirrorIndex, sources: Sources, *, clock: Callable[[], float] | None = None
    ) -> None:
        self._blobs = BlobStore(root, self._is_kept)
        self._sums = IndexSums(root / "sums", self._blobs.path)
        self._rows, self._sources, self._clock = rows, sources, clock or SteadyClock().now
        self._kept: dict[tuple[str, str], Kept] = {}
        """What was used last is the last."""
        self._names: Counter[str] = Counter()
        """How many of them have which content."""
        self._size_bytes = 0
        self._under_way: dict[tuple[str, str], tuple[asyncio.Task[_Result], Arriving]] = {}
        self._turns, self._passing = asyncio.Semaphore(DOWNLOADS), asyncio.Semaphore(PASSED)
        self._group: asyncio.TaskGroup | None = None
        self._upstreams = Upstreams(sources)
        self._unkept: tuple[int, str] | None = None
        """How large a file was for which there was no room, and why; None again once one of its size was kept."""

    async def open(self) -> None:
        """Read what is kept; forget what is gone, and delete what nobody knows."""
        await _in_thread(self._blobs.prepare)
        rows = await self._rows.load()
        there = await _in_thread(lambda: {row for row in rows if self._blobs.has(row.sha256, row.size_bytes)})
        now = self._clock()
        for row in sorted(there, key=lambda row: row.used):  # the clock may have been set back since: nothing is fresh
            self._set(replace(row, checked=0.0, used=min(row.used, now)))
        await self._rows.drop([row for row in rows if row not in there])
        await _in_thread(lambda: self._blobs.sweep(self._blobs.all()))
        indexes = {row.sha256 for row in there if is_index(row.path)}
        await _in_thread(lambda: self._sums.prepare(indexes))

    async def run(self) -> None:
        """Fetch what is asked for, until this is cancelled."""
        async with self._upstreams, asyncio.TaskGroup() as self._group:
            await asyncio.get_running_loop().create_future()

    @property
    def names(self) -> frozenset[str]:
        """The mirrors that there are."""
        return frozenset(self._sources.upstreams)

    @property
    def size_bytes(self) -> int:
        """How much is kept."""
        return self._size_bytes

    @property
    def standing(self) -> CacheStanding:
        """How it stands."""
        return CacheStanding(self.size_bytes, self._sources.limit_bytes, self._unkept[1] if self._unkept else "")

    async def get(self, mirror: str, path: str) -> ServedFile:
        """Find a file of a mirror, fetching it where need be; raise `NotFoundError` or `ArtifactError`.

        `FullError` says that there is no room for it: `passing` gives it all the same.
        """
        if mirror not in self._sources.upstreams:
            raise NotFoundError(f"there is no mirror {mirror[:40]!r}", hint="mirror.upstreams of the configuration")
        key, now = (mirror, path), self._clock()
        kept = self._kept.get(key)
        if kept is None or not await self._good(kept, now):
            kept = await self._fetched(key)
        self._sums.given(kept)
        if now - kept.used > USED_EVERY_S:
            kept = replace(kept, used=now)
            if (still := self._kept.get(key)) is not None and still.sha256 == kept.sha256:
                self._set(kept)
                await self._rows.put([kept])
        return ServedFile(f"mirror/{mirror}/{path}", self._blobs.path(kept.sha256), kept.size_bytes, kept.sha256)

    async def _good(self, kept: Kept, now: float) -> bool:
        """Say whether what is kept can be given without asking."""
        if self._sources.offline or now - kept.checked < FRESH_S:
            return True
        return never_changes(kept.path) and await self._sums.newest(kept.mirror, kept.path) in ("", kept.sha256)

    async def _fetched(self, key: tuple[str, str]) -> Kept:
        """Wait for the one download of a file, which goes on when whoever asked first is gone."""
        if self._sources.offline:
            raise NotFoundError(f"{key[0]}/{key[1]}: not kept, and mirror.offline is set")
        if self._group is None:
            raise ArtifactError("the cache does not run")
        if key not in self._under_way:
            arriving = Arriving()
            task = self._group.create_task(self._ask(key, arriving), name=f"mirror {key[1]}")
            task.add_done_callback(lambda _: self._under_way.pop(key, None))
            self._under_way[key] = task, arriving
        result = await asyncio.shield(self._under_way[key][0])
        if isinstance(result, Kept):
            return result
        raise result

    @contextlib.asynccontextmanager
    async def arriving(self, mirror: str, path: str) -> AsyncIterator[Along | None]:
        """Read along a download that is under way; None where none is, or none that says how long it is."""
        under_way = self._under_way.get((mirror, path))
        if under_way is None:
            yield None
            return
        async with under_way[1].along() as along:
            yield along

    @contextlib.asynccontextmanager
    async def passing(self, mirror: str, path: str) -> AsyncIterator[Passing]:
        """Ask a mirror for a file that is given on and not kept; raise `NotFoundError` or `ArtifactError`."""
        async with self._passing, contextlib.AsyncExitStack() as stack:
            expected = await self._expected(mirror, path)
            try:
                answer = await stack.enter_async_context(self._upstreams.ask(mirror, path))
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                raise ArtifactError(f"mirror {mirror}: {reason_of(error)}") from error
            yield Passing(answer, f"{mirror}/{path}", expected)

    async def _ask(self, key: tuple[str, str], arriving: Arriving) -> _Result:
        """Ask the mirror; what is kept stands in for a mirror that is away. Raises nothing: its group goes on."""
        result = None
        try:
            async with self._turns:
                result = await self._download(key, arriving)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = reason_of(error)
            if (kept := self._kept.get(key)) is None:
                return ArtifactError(f"mirror {key[0]}: {reason}", hint="is it reachable from here?")
            log.warning("mirror.stale mirror=%s path=%s: %s", *key, reason)
            return kept
        except (ArtifactError, NotFoundError) as error:
            kept = self._kept.get(key)
            if kept is None or not isinstance(error, FullError) or never_changes(key[1]):  # that one is out of date
                return error
            log.warning("mirror.stale mirror=%s path=%s: %s", *key, error)
            return kept
        except Exception as error:  # of this file alone
            if not isinstance(error, StoreError):
                log.exception("mirror.bug mirror=%s path=%s", *key)
            return ArtifactError(f"mirror {key[0]}: {cause(error)}")
        finally:
            arriving.end(good=result is not None)
            await arriving.close()
        return result

    async def _download(self, key: tuple[str, str], arriving: Arriving) -> Kept:
        """Have what is kept confirmed, or fetch a file; its content is held until it is entered, whoever makes room."""
        async with self._holding() as hold:
            new = await self._answered(key, self._kept.get(key), arriving, hold)
            if new is None and (kept := self._kept.get(key)) is not None:
                return await self._enter(replace(kept, checked=self._clock()))
            if new is None:  # what was confirmed has gone meanwhile, for another's room
                new = await self._answered(key, None, arriving, hold)
            assert new is not None
            await self._make_room(new)
            await self._enter(new)
        if self._unkept is not None and new.size_bytes >= self._unkept[0]:
            self._unkept = None
        if is_index(new.path):
            await self._sums.learn(new)
        log.info("mirror.fetched mirror=%s path=%s bytes=%d", *key, new.size_bytes)
        return new

    async def _answered(self, key: tuple[str, str], kept: Kept | None, arriving: Arriving, hold: Hold) -> Kept | None:
        """Ask the mirror for a file, but for what is `kept`; None where that still holds."""
        mirror, path = key
        conditions = kept if kept is not None and not never_changes(path) else None
        async with contextlib.AsyncExitStack() as stack:
            try:
                answer = await stack.enter_async_context(self._upstreams.ask(mirror, path, conditions))
            except NotFoundError:
                if kept is not None:
                    await self._forget([kept])
                raise
            now = self._clock()
            if answer.status == 304:
                return None
            expected = await self._expected(mirror, path)
            with self._noting(answer, f"{mirror}/{path}"):
                sha256, size = await self._receive(answer, f"{mirror}/{path}", expected, arriving, hold)
            return Kept(mirror, path, sha256, size, _header(answer, "ETag"), _header(answer, "Last-Modified"), now, now)

    async def _expected(self, mirror: str, path: str) -> tuple[str, ...]:
        """What the SHA-256 of a file may be; empty where nothing says so."""
        return (hash_in(path),) if hash_in(path) else await self._sums.named(mirror, path)

    async def _receive(
        self, answer: aiohttp.ClientResponse, what: str, expected: tuple[str, ...], arriving: Arriving, hold: Hold
    ) -> tuple[str, int]:
        length = answer.content_length
        self._check_size(what, length or 0)
        receiver = await self._with_room(length or 0, lambda: self._blobs.receiver(hold, length))
        try:
            if length:
                arriving.begin(await _in_thread(receiver.open), length)
            async for chunk in gathered(answer.content):
                self._check_size(what, receiver.size_bytes + len(chunk))
                await self._with_room(len(chunk), partial(receiver.write, chunk))
                arriving.move()
            if length is not None and receiver.size_bytes != length:
                raise aiohttp.ClientPayloadError(f"ended after {receiver.size_bytes} of {length} bytes")
            return await self._settle(receiver, what, expected)
        finally:
            await _in_thread(receiver.close)

    def _check_size(self, what: str, size_bytes: int) -> None:
        """Refuse a file that alone is more than is kept: nothing else would be left."""
        if size_bytes > self._sources.limit_bytes:
            raise FullError(f"{what}: {size_bytes} bytes are more than mirror.max_gib keeps")

    @contextlib.contextmanager
    def _noting(self, answer: aiohttp.ClientResponse, what: str) -> Iterator[None]:
        """Note, and tell once, that there is no room for a file."""
        try:
            yield
        except FullError as error:
            if self._unkept is None:
                log.warning("mirror.unkept %s is passed on, and so is all that has no room: %s", what, error)
            self._unkept = answer.content_length or answer.content.total_bytes, str(error)
            raise

    async def _settle(self, receiver: Receiver, what: str, expected: tuple[str, ...]) -> tuple[str, int]:
        try:
            return await _in_thread(lambda: receiver.settle(what, *expected))
        except ArtifactError as error:
            log.error("mirror.damaged %s", error)
            raise

    async def _enter(self, kept: Kept) -> Kept:
        before = self._set(kept)
        await self._rows.put([kept])
        if before is not None and before.sha256 != kept.sha256:
            await self._sweep({before.sha256})
        return kept

    async def _forget(self, rows: list[Kept]) -> None:
        for row in rows:
            self._uncount(self._kept.pop((row.mirror, row.path), None))
            self._sums.gone(row)
        await self._rows.drop(rows)
        await self._sweep({row.sha256 for row in rows})

    def _set(self, kept: Kept) -> Kept | None:
        """Have this under its path from now on; return what was there."""
        self._size_bytes += 0 if kept.sha256 in self._names else kept.size_bytes
        self._names[kept.sha256] += 1
        before = self._kept.pop((kept.mirror, kept.path), None)
        self._kept[kept.mirror, kept.path] = kept
        self._uncount(before)
        self._sums.given(kept)
        return before

    def _uncount(self, gone: Kept | None) -> None:
        if gone is not None:
            self._names[gone.sha256] -= 1
            if not self._names[gone.sha256]:
                del self._names[gone.sha256]
                self._size_bytes -= gone.size_bytes

    def _is_kept(self, sha256: str) -> bool:
        """Say whether a file has this content. Asked in threads."""
        return sha256 in self._names

    async def _sweep(self, hashes: set[str]) -> None:
        """Delete content that no file has any more, with what it says as an index."""
        await _in_thread(lambda: _remove(self._blobs, self._sums, hashes))

    @contextlib.asynccontextmanager
    async def _holding(self) -> AsyncIterator[Hold]:
        hold = self._blobs.hold()
        try:
            yield hold
        finally:
            await _in_thread(hold.close)

    async def _make_room(self, new: Kept) -> None:
        """Let the least recently used files go, where one more is too much."""
        limit, size = self._sources.limit_bytes, self.size_bytes + new.size_bytes
        if size > limit:
            await self._let_go(size - int(limit * LOW_WATER))

    async def _with_room(self, size_bytes: int, work: Callable[[], T]) -> T:
        """Do what takes this much of the disk. Where that is full, the least recently used files go if it helps."""
        try:
            return await _in_thread(work)
        except FullError:
            lacking = await _in_thread(lambda: self._blobs.lacking(size_bytes))
            if lacking > self.size_bytes:
                raise
            if lacking:  # else another download has made room meanwhile
                await self._let_go(lacking + int(self.size_bytes * (1 - LOW_WATER)))
            return await _in_thread(work)

    async def _let_go(self, size_bytes: int) -> None:
        """Let the least recently used files go until this much is free of them."""
        gone: list[Kept] = []
        for kept in self._kept.values():
            if size_bytes <= 0:
                break
            gone.append(kept)
            size_bytes -= kept.size_bytes
        log.info("mirror.evicted files=%d bytes=%d", len(gone), sum(kept.size_bytes for kept in gone))
        await self._forget(gone)


def _remove(blobs: BlobStore, sums: IndexSums, hashes: set[str]) -> None:
    blobs.sweep(hashes)
    sums.forget(sha256 for sha256 in hashes if not blobs.path(sha256).exists())


def _header(answer: aiohttp.ClientResponse, name: str) -> str:
    return str(answer.headers.get(name, ""))[:200]


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, work)
