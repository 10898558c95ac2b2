"""The artefact store serves what is whole and what it said it is, and nothing else."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from provisioner.boot import chunks
from provisioner.catalog import room
from provisioner.catalog.artifacts import ArtifactStore, Content
from provisioner.errors import ArtifactError, ConflictError, NotFoundError
from provisioner.model.catalog import Artifact, Bootenv, Files, Kind
from provisioner.store.artifacts import ArtifactIndex
from provisioner.store.db import Database
from provisioner.wiring import SiteArtifacts

KERNEL = b"kernel" * 1000
SHA = hashlib.sha256(KERNEL).hexdigest()
NAMES = ("debian-12", "amd64", "vmlinuz")


@pytest.fixture
async def db(tmp_path: Path) -> AsyncIterator[Database]:
    database = Database(tmp_path / "state.db")
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def store(db: Database, tmp_path: Path) -> ArtifactStore:
    return await reopened(db, tmp_path)


async def reopened(db: Database, tmp_path: Path) -> ArtifactStore:
    store = ArtifactStore(tmp_path / "artifacts", ArtifactIndex(db), clock=lambda: 1700000000.0)
    await store.open()
    return store


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "vmlinuz"
    path.write_bytes(KERNEL)
    return path


async def kept(store: ArtifactStore) -> dict[str, int]:
    return await asyncio.to_thread(store.blobs.all)


def bootenv(*artifacts: Artifact) -> Bootenv:
    return Bootenv("debian-12", "Debian 12", Kind.INSTALLER, "debian", {"amd64": Files(artifacts=artifacts)})


LARGE = bytes(chunks.MIN_BYTES) + b"more"
LARGE_SHA = hashlib.sha256(LARGE).hexdigest()
IMAGE = ("debian-12", "amd64", "disk.raw.zst")


async def test_chunks_of_an_image_are_listed_when_it_comes_in(store: ArtifactStore, tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "image").write_bytes, LARGE)
    await store.import_file(IMAGE, tmp_path / "image", "test")
    listed = await store.chunk_list(LARGE_SHA)
    assert listed is not None
    assert (listed.sha256, listed.size_bytes, len(listed.digests)) == (LARGE_SHA, len(LARGE), 5)
    place = tmp_path / "artifacts" / "chunks" / LARGE_SHA
    assert await asyncio.to_thread(place.exists)
    await store.remove("debian-12")
    assert not await asyncio.to_thread(place.exists)
    assert await store.chunk_list(LARGE_SHA) is None


async def test_a_list_that_is_gone_or_damaged_is_made_again(store: ArtifactStore, tmp_path: Path) -> None:
    await asyncio.to_thread((tmp_path / "image").write_bytes, LARGE)
    await store.import_file(IMAGE, tmp_path / "image", "test")
    listed, place = await store.chunk_list(LARGE_SHA), tmp_path / "artifacts" / "chunks" / LARGE_SHA
    await asyncio.to_thread(place.unlink)
    assert await store.chunk_list(LARGE_SHA) == listed
    text = await asyncio.to_thread(place.read_text)
    await asyncio.to_thread(place.write_text, text.replace(text[-9:-1], "00000000"))
    assert await store.chunk_list(LARGE_SHA) != listed
    assert await store.verify() == []
    assert await store.chunk_list(LARGE_SHA) == listed


async def test_small_content_has_no_chunks(store: ArtifactStore, kernel: Path) -> None:
    await store.import_file(NAMES, kernel, "test")
    assert await store.chunk_list(SHA) is None
    assert await store.chunk_list("0" * 64) is None


async def test_what_a_killed_worker_left_is_cleared(store: ArtifactStore, db: Database, tmp_path: Path) -> None:
    def leave() -> None:
        (tmp_path / "artifacts/incoming/import-x").mkdir()
        (tmp_path / "artifacts/incoming/import-x/piece").write_bytes(b"half")
        (tmp_path / "artifacts/incoming/import-y").write_bytes(b"half")

    await asyncio.to_thread(leave)
    await reopened(db, tmp_path)
    assert await asyncio.to_thread(os.listdir, tmp_path / "artifacts/incoming") == []


async def test_an_import_is_served_and_survives_a_restart(
    store: ArtifactStore, db: Database, kernel: Path, tmp_path: Path
) -> None:
    blob = await store.import_file(NAMES, kernel, "file vmlinuz")
    assert (blob.sha256, blob.size_bytes) == (SHA, len(KERNEL))
    served = (await reopened(db, tmp_path)).find("debian-12/amd64/vmlinuz")
    assert served is not None
    assert served.path.read_bytes() == KERNEL
    assert (served.sha256, served.origin) == (SHA, "file vmlinuz")


async def test_equal_content_is_kept_once(store: ArtifactStore, kernel: Path) -> None:
    await store.import_file(NAMES, kernel, "")
    await store.import_file(("debian-12", "amd64", "copy"), kernel, "")
    assert await kept(store) == {SHA: len(KERNEL)}
    await store.remove("debian-12", "amd64", "copy")
    assert await kept(store) == {SHA: len(KERNEL)}
    await store.remove("debian-12")
    assert await kept(store) == {}


async def test_a_new_version_takes_the_place_of_the_old(store: ArtifactStore, kernel: Path) -> None:
    await store.import_file(NAMES, kernel, "")
    kernel.write_bytes(b"newer")
    await store.import_file(NAMES, kernel, "")
    assert list(await kept(store)) == [hashlib.sha256(b"newer").hexdigest()]


async def test_a_wrong_hash_is_not_taken(store: ArtifactStore, kernel: Path) -> None:
    with pytest.raises(ArtifactError, match="should be 0000"):
        await store.import_file(NAMES, kernel, "", sha256="0" * 64)
    assert store.lookup(*NAMES) is None
    assert await kept(store) == {}
    assert list((store.blobs.root / "incoming").iterdir()) == []


async def test_missing_names_what_is_not_there_or_not_what_the_bootenv_pins(store: ArtifactStore, kernel: Path) -> None:
    pinned, wrong, absent = Artifact("vmlinuz", sha256=SHA), Artifact("other", sha256="0" * 64), Artifact("initrd")
    await store.import_file(NAMES, kernel, "")
    await store.import_file(("debian-12", "amd64", "other"), kernel, "")
    assert store.missing(bootenv(pinned, wrong, absent), "amd64") == [wrong, absent]
    assert store.missing(bootenv(pinned), "arm64") == []
    assert list(store.stored(bootenv(pinned, absent), "amd64")) == ["vmlinuz"]


async def test_what_templates_are_told_is_the_very_same_until_something_changes(
    store: ArtifactStore, kernel: Path
) -> None:
    ours = bootenv(Artifact("vmlinuz"))
    nothing = store.stored(ours, "amd64")
    assert (dict(nothing), store.stored(ours, "amd64") is nothing) == ({}, True)
    await store.import_file(NAMES, kernel, "")
    told = store.stored(ours, "amd64")
    assert ([*told], store.stored(ours, "amd64") is told) == (["vmlinuz"], True)
    assert list(store.stored(bootenv(Artifact("initrd")), "amd64")) == []  # the bootenv was read again
    (store.blobs.path(SHA)).write_bytes(b"damaged")
    await store.verify()
    assert dict(store.stored(ours, "amd64")) == {}


async def test_content_that_was_cut_or_deleted_counts_as_missing_after_a_start(
    store: ArtifactStore, db: Database, kernel: Path, tmp_path: Path
) -> None:
    blob = await store.import_file(NAMES, kernel, "")
    path = store.blobs.path(blob.sha256)
    path.chmod(0o640)
    os.truncate(path, 10)
    assert (await reopened(db, tmp_path)).lookup(*NAMES) is None
    path.unlink()
    assert (await reopened(db, tmp_path)).find("debian-12/amd64/vmlinuz") is None


async def test_verify_finds_a_flipped_bit_and_serves_it_no_more(
    store: ArtifactStore, db: Database, kernel: Path, tmp_path: Path
) -> None:
    blob = await store.import_file(NAMES, kernel, "")
    path = store.blobs.path(blob.sha256)
    path.chmod(0o640)
    path.write_bytes(KERNEL[:-1] + b"L")
    assert await store.verify() == [blob]
    assert store.lookup(*NAMES) is None
    assert (await reopened(db, tmp_path)).lookup(*NAMES) is None, "nor after a restart"
    assert await store.import_file(NAMES, kernel, "") == blob
    assert await store.verify() == []
    assert (await reopened(db, tmp_path)).lookup(*NAMES) == blob


async def test_nothing_that_cannot_be_read_now_counts_as_damaged(
    store: ArtifactStore, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = await store.import_file(NAMES, kernel, "")
    monkeypatch.setattr(os, "open", no_descriptor)
    with pytest.raises(ArtifactError, match="Too many open files"):
        await store.verify()
    monkeypatch.undo()
    assert store.lookup(*NAMES) == blob
    assert await store.verify() == []


def no_descriptor(*_: object, **__: object) -> int:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


async def test_what_machines_boot_from_is_read_again_before_it_is_trusted(store: ArtifactStore, kernel: Path) -> None:
    blob = await store.import_file(NAMES, kernel, "")
    shelf = SiteArtifacts(store)
    wanted = bootenv(Artifact("vmlinuz", sha256=SHA), Artifact("initrd", url="http://mirror.example/initrd"))
    there, absent = await shelf.inspect(wanted, "amd64")
    assert (there.name, there.sha256, there.damaged, there.fault) == ("debian-12/amd64/vmlinuz", SHA, False, "")
    assert (absent.origin, absent.fault) == (
        "http://mirror.example/initrd", "missing: run `provisionctl artifacts fetch debian-12`")  # fmt: skip
    path = store.blobs.path(blob.sha256)
    path.chmod(0o640)
    path.write_bytes(KERNEL[:-1] + b"L")
    assert [each.damaged for each in await shelf.inspect(wanted, "amd64")] == [True, False]


def in_use(bootenv: str) -> Sequence[str]:
    return ["node17"] if bootenv == "debian-12" else []


async def test_what_is_in_use_is_not_removed(store: ArtifactStore, kernel: Path) -> None:
    await store.import_file(NAMES, kernel, "")
    store.users = in_use
    with pytest.raises(ConflictError, match="node17"):
        await store.remove("debian-12")
    assert store.lookup(*NAMES) is not None


async def test_what_is_in_use_is_not_replaced(store: ArtifactStore, kernel: Path) -> None:
    other = ("debian-12", "amd64", "initrd")
    await store.import_file(NAMES, kernel, "")
    store.users = in_use
    again = await store.import_file(NAMES, kernel, "the same content")
    await store.import_file(other, kernel, "nothing was there before")
    kernel.write_bytes(b"newer")
    with pytest.raises(ConflictError, match="node17"):
        await store.import_file(NAMES, kernel, "")
    assert store.lookup(*NAMES) == again
    assert await kept(store) == {SHA: len(KERNEL)}, "what was refused is gone, what is in use is there"
    await store.import_file(("rescue", "amd64", "vmlinuz"), kernel, "of a bootenv that nobody boots")


async def test_a_bundle_replaces_nothing_that_is_in_use(store: ArtifactStore, kernel: Path) -> None:
    blob = await store.import_file(NAMES, kernel, "")
    pieces = [piece async for piece in store.bundle([(bootenv(Artifact("vmlinuz")), "amd64")]).chunks()]

    async def arriving() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    store.users = in_use
    assert await store.receive_bundle(arriving()) == [blob]
    store.users = lambda _bootenv: ()
    kernel.write_bytes(b"newer")
    newer = await store.import_file(NAMES, kernel, "")
    store.users = in_use
    with pytest.raises(ConflictError, match="node17"):
        await store.receive_bundle(arriving())
    assert store.lookup(*NAMES) == newer
    assert list(await kept(store)) == [newer.sha256]


async def test_removing_what_is_not_there_says_so(store: ArtifactStore) -> None:
    with pytest.raises(NotFoundError, match="debian-12/amd64"):
        await store.remove("debian-12", "amd64")


SPECIAL = {
    "a directory": lambda path: path.mkdir(),
    "a FIFO (C-B4)": os.mkfifo,
    "nothing there": lambda path: None,
    "a sparse terabyte (C-B4)": lambda path: (path.touch(), os.truncate(path, 1 << 40)),
    "a device (C-B4)": lambda path: path.symlink_to("/dev/zero"),
    "a file of /proc that claims to be empty": lambda path: path.symlink_to("/proc/self/status"),
}


@pytest.mark.parametrize("make", SPECIAL.values(), ids=SPECIAL.keys())
async def test_only_regular_files_of_a_bearable_size_are_taken(store: ArtifactStore, tmp_path: Path, make) -> None:
    make(tmp_path / "odd")
    with pytest.raises(ArtifactError):
        await store.import_file(NAMES, tmp_path / "odd", "")
    assert await kept(store) == {}


async def test_content_that_would_fill_the_disk_is_refused_while_it_comes(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its length was not announced, so nothing could be said before."""
    monkeypatch.setattr(room, "LOOK_EVERY_BYTES", 1)

    async def arriving() -> AsyncIterator[bytes]:
        yield b"first"
        monkeypatch.setattr(room, "KEEP_FREE_BYTES", 1 << 62)
        yield b"second"

    with pytest.raises(ArtifactError, match="MB free"):
        await store.receive(NAMES, Content(arriving()), "")
    assert await kept(store) == {}
    assert await asyncio.to_thread(lambda: list((store.blobs.root / "incoming").iterdir())) == []


@pytest.mark.parametrize("name", ["../etc", "a/b", "", ".hidden", "a\nb", "x" * 200])
async def test_names_that_could_be_paths_are_refused(store: ArtifactStore, kernel: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="part of an artefact's name"):
        await store.import_file(("debian-12", "amd64", name), kernel, "")


async def test_what_a_killed_import_left_is_cleared(db: Database, tmp_path: Path) -> None:
    left = tmp_path / "artifacts" / "incoming" / "import-abc"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    partial = left.with_name("0.part")
    partial.write_bytes(b"half")
    await reopened(db, tmp_path)
    assert not left.exists()
    assert partial.exists()  # a download goes on from there
