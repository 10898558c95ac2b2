"""A file read along while it comes."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from provisioner.catalog.arriving import Arriving
from provisioner.catalog.blobs import CHUNK_BYTES, BlobStore
from provisioner.errors import ArtifactError

CONTENT = bytes(range(256)) * (CHUNK_BYTES // 128)


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    store = BlobStore(tmp_path)
    store.prepare()
    return store


async def arrived(store: BlobStore, arriving: Arriving) -> None:
    """Have all of it come, and have its name."""
    hold = store.hold()
    receiver = await asyncio.to_thread(store.receiver, hold, len(CONTENT))
    arriving.begin(await asyncio.to_thread(receiver.open), len(CONTENT))
    await asyncio.to_thread(receiver.write, CONTENT)
    await asyncio.to_thread(receiver.settle, "it")
    await asyncio.to_thread(receiver.close)
    arriving.move()


async def all_of(arriving: Arriving) -> bytes:
    async with arriving.along() as along:
        assert along is not None
        return b"".join([chunk async for chunk in along.chunks()])


async def test_what_has_its_name_already_is_read_along(store: BlobStore) -> None:
    """An index is read for what it says before its download is over."""
    arriving = Arriving()
    await arrived(store, arriving)
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(all_of(arriving))
        await asyncio.sleep(0)
        arriving.end(good=True)
        await arriving.close()
    assert reading.result() == CONTENT


async def test_the_last_octet_waits_for_the_end(store: BlobStore) -> None:
    arriving, got = Arriving(), bytearray()
    await arrived(store, arriving)
    async with arriving.along() as along:
        assert along is not None
        with pytest.raises(ArtifactError, match="not what it should be"):  # noqa: PT012  what came before counts
            async for chunk in along.chunks():
                got += chunk
                if len(got) == len(CONTENT) - 1:
                    arriving.end(good=False)
    assert got == CONTENT[:-1]
    await arriving.close()


@pytest.mark.parametrize("good", [True, False])
async def test_what_was_over_before_its_length_was_known_is_not_read_along(good: bool) -> None:
    arriving = Arriving()
    arriving.end(good=good)
    async with arriving.along() as along:
        assert along is None
