"""What one call takes in, and another removes or takes in as well, at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from provisioner.catalog.artifacts import ArtifactStore, Content
from provisioner.catalog.blobs import CHUNK_BYTES
from provisioner.catalog.bundle import Packing
from provisioner.errors import ArtifactError
from provisioner.model.artifact import Blob
from provisioner.store.db import Database, T, Work
from tests.catalog.test_artifacts import KERNEL, LARGE, LARGE_SHA, NAMES, SHA, kept, reopened


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ArtifactStore]:
    db = Database(tmp_path / "state.db")
    await db.open()
    yield await reopened(db, tmp_path)
    await db.close()


def packed(tmp_path: Path) -> Packing:
    """A bundle of the kernel under another name, and of a large image."""
    contents = {SHA: KERNEL, LARGE_SHA: LARGE}
    for digest, content in contents.items():
        (tmp_path / digest).write_bytes(content)
    blobs = [Blob("rescue", "amd64", f"file{at}", d, len(c), "x", 0.0) for at, (d, c) in enumerate(contents.items())]
    return Packing(blobs, tmp_path.joinpath)


class Upload:
    """A bundle that stands still amid its second content until `go_on` is set; with a `fault` it ends there."""

    def __init__(self, packing: Packing, fault: Exception | None = None) -> None:
        self._packing, self._fault = packing, fault
        self.stands, self.go_on = asyncio.Event(), asyncio.Event()

    async def chunks(self) -> AsyncIterator[bytes]:
        large = 0
        async for chunk in self._packing.chunks():
            large += len(chunk) == CHUNK_BYTES
            if large == 3:
                self.stands.set()
                await self.go_on.wait()
                if self._fault is not None:
                    raise self._fault
            yield chunk


async def one(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def test_a_bundle_that_was_cut_takes_nothing_that_another_has_stored(
    store: ArtifactStore, tmp_path: Path
) -> None:
    upload = Upload(await asyncio.to_thread(packed, tmp_path), ConnectionResetError("gone"))
    async with asyncio.TaskGroup() as group:
        first = group.create_task(refused(store.receive_bundle(upload.chunks())))
        await upload.stands.wait()
        await store.receive(NAMES, Content(one(KERNEL), len(KERNEL)), "test")
        upload.go_on.set()
    assert "gone" in first.result()
    assert await kept(store) == {SHA: len(KERNEL)}


async def refused(call: Coroutine[Any, Any, object]) -> str:
    with pytest.raises(ArtifactError) as caught:
        await call
    return str(caught.value)


async def test_what_a_bundle_brings_stays_though_another_name_of_it_goes_meanwhile(
    store: ArtifactStore, tmp_path: Path
) -> None:
    upload = Upload(await asyncio.to_thread(packed, tmp_path))
    await store.receive(NAMES, Content(one(KERNEL), len(KERNEL)), "test")
    async with asyncio.TaskGroup() as group:
        group.create_task(store.receive_bundle(upload.chunks()))
        await upload.stands.wait()
        await store.remove("debian-12")
        upload.go_on.set()
    assert await kept(store) == {SHA: len(KERNEL), LARGE_SHA: len(LARGE)}


async def test_nothing_is_named_that_was_removed_before_it_had_its_name(store: ArtifactStore) -> None:
    """Content that the fetch worker has brought, another process, that holds nothing here."""
    await store.receive(NAMES, Content(one(KERNEL), len(KERNEL)), "test")
    await store.remove("debian-12")
    with pytest.raises(ArtifactError, match="was removed before it had its name"):
        await store.enter(NAMES, SHA, len(KERNEL), "test")
    assert store.all() == []


async def test_an_upload_that_stands_still_keeps_no_file_from_being_opened(
    store: ArtifactStore, tmp_path: Path
) -> None:
    upload = Upload(await asyncio.to_thread(packed, tmp_path))
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
    async with asyncio.TaskGroup() as group:
        group.create_task(store.receive_bundle(upload.chunks()))
        await upload.stands.wait()
        await store.receive(NAMES, Content(one(KERNEL), len(KERNEL)), "test")
        upload.go_on.set()
    assert [blob.key for blob in store.all()] == ["debian-12/amd64/vmlinuz", "rescue/amd64/file0", "rescue/amd64/file1"]


class CutDatabase(Database):
    """A store whose asker is cancelled at each write, before it is committed."""

    asker: asyncio.Task[Any] | None = None

    def submit(self, work: Work[T]) -> asyncio.Future[T]:
        if self.asker is not None:
            asyncio.get_running_loop().call_soon(self.asker.cancel)
        return super().submit(work)


async def test_what_was_written_holds_though_who_asked_has_gone(tmp_path: Path) -> None:
    db = CutDatabase(tmp_path / "state.db")
    await db.open()
    store = await reopened(db, tmp_path)

    async def cut(request: Coroutine[Any, Any, object]) -> None:
        async with asyncio.TaskGroup() as group:
            db.asker = group.create_task(request)
        assert db.asker.cancelled()

    await cut(store.receive(NAMES, Content(one(KERNEL), len(KERNEL)), "test"))
    assert store.lookup(*NAMES) == (await reopened(db, tmp_path)).lookup(*NAMES) is not None
    assert await kept(store) == {SHA: len(KERNEL)}
    await cut(store.remove("debian-12"))
    assert store.lookup(*NAMES) is None
    assert await kept(store) == {}
    assert (await reopened(db, tmp_path)).lookup(*NAMES) is None
    await db.close()
