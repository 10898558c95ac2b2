"""Bundles: all of one or nothing, whatever is in it."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.catalog.blobs import BlobStore
from provisioner.catalog.bundle import Item, Packing, decode_manifest, unpack
from provisioner.errors import ArtifactError
from provisioner.model.artifact import Blob

CONTENTS = {"vmlinuz": b"kernel" * 300, "initrd.img": b"initrd", "copy": b"initrd", "empty": b""}


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


ITEMS: list[dict[str, Any]] = [
    {
        "bootenv": "testos",
        "arch": "amd64",
        "name": name,
        "sha256": sha(content),
        "size_bytes": len(content),
        "origin": "x",
    }
    for name, content in CONTENTS.items()
]


@pytest.fixture
def store(tmp_path: Path) -> BlobStore:
    store = BlobStore(tmp_path / "artifacts")
    store.prepare()
    return store


def taken(source: Any, store: BlobStore) -> tuple[Item, ...]:
    with closing(store.hold()) as hold:
        items = unpack(source, store, hold)
        assert store.all().keys() >= {item.sha256 for item in items}
        return items


def packed(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in members:
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def manifest(items: list[dict[str, Any]], version: int = 1) -> tuple[str, bytes]:
    return "manifest.json", json.dumps({"format": version, "artifacts": items}).encode()


def blobs(*contents: bytes) -> list[tuple[str, bytes]]:
    return [(f"blobs/sha256/{sha(content)}", content) for content in contents]


GOOD = [manifest(ITEMS), *blobs(*dict.fromkeys(CONTENTS.values()))]


def test_everything_of_a_bundle_is_taken(store: BlobStore) -> None:
    with closing(store.hold()) as hold:
        items = unpack(io.BytesIO(packed(GOOD)), store, hold)
        assert [item.name for item in items] == list(CONTENTS)
        assert store.all() == {sha(content): len(content) for content in CONTENTS.values()}
    assert store.all() == {}, "nobody gave it names"


async def test_what_is_packed_is_what_tar_reads(store: BlobStore, tmp_path: Path) -> None:
    for content in CONTENTS.values():
        (tmp_path / sha(content)).write_bytes(content)
    packing = Packing(
        [Blob("testos", "amd64", name, sha(c), len(c), "x", 0.0) for name, c in CONTENTS.items()], tmp_path.joinpath
    )
    raw = b"".join([chunk async for chunk in packing.chunks()])
    assert len(raw) == packing.size_bytes
    with tarfile.open(fileobj=io.BytesIO(raw)) as archive:
        found = {entry.name: archive.extractfile(entry) for entry in archive}
        assert next(iter(found)) == "manifest.json"
        assert {file.read() for name, file in found.items() if file is not None and name != "manifest.json"} == set(
            CONTENTS.values()
        )


async def test_damaged_content_is_not_packed(tmp_path: Path) -> None:
    (tmp_path / sha(b"good")).write_bytes(b"evil")
    packing = Packing([Blob("testos", "amd64", "a", sha(b"good"), 4, "x", 0.0)], tmp_path.joinpath)
    with pytest.raises(ArtifactError, match="is damaged in the store"):
        [chunk async for chunk in packing.chunks()]


def of_type(kind: bytes) -> bytes:
    """A good bundle, but its second entry is of another type."""
    out = bytearray(packed(GOOD))
    at = 512 + -(-len(GOOD[0][1]) // 512) * 512
    entry = tarfile.TarInfo.frombuf(bytes(out[at : at + 512]), "utf-8", "strict")
    entry.type, entry.linkname = kind, "/etc/shadow" if kind == tarfile.SYMTYPE else ""
    out[at : at + 512] = entry.tobuf(tarfile.GNU_FORMAT)
    return bytes(out)


TYPES = {
    "a link": tarfile.SYMTYPE,
    "a directory": tarfile.DIRTYPE,
    "a device": tarfile.CHRTYPE,
    "a pax header": tarfile.XHDTYPE,
    "a pax header for all": tarfile.XGLTYPE,
    "Solaris' pax header": tarfile.SOLARIS_XHDTYPE,
    "a long name": tarfile.GNUTYPE_LONGNAME,
    "a long link": tarfile.GNUTYPE_LONGLINK,
    "a file with holes": tarfile.GNUTYPE_SPARSE,
}


@pytest.mark.parametrize("kind", TYPES.values(), ids=TYPES.keys())
def test_only_plain_files_are_in_a_bundle(store: BlobStore, kind: bytes) -> None:
    with pytest.raises(ArtifactError, match="is no plain file"):
        taken(io.BytesIO(of_type(kind)), store)
    assert store.all() == {}


class Endless(io.RawIOBase):
    """A header that says it goes on for a gigabyte, and does. Counts what was read of it."""

    def __init__(self, head: bytes) -> None:
        self._head, self.given = head, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        piece, self._head = self._head[:size], self._head[size:]
        self.given += size
        return piece.ljust(size, b"x")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_long_header_is_refused_before_it_is_read(store: BlobStore, kind: bytes) -> None:
    entry = tarfile.TarInfo("header")
    entry.type, entry.size = kind, 64 << 20
    source = Endless(entry.tobuf(tarfile.GNU_FORMAT))
    with pytest.raises(ArtifactError, match="is no plain file"):
        taken(source, store)
    assert source.given <= 1 << 20


def changed(**values: Any) -> list[dict[str, Any]]:
    return [*ITEMS[:-1], {**ITEMS[-1], **values}]


BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "the bundle"),
    "no archive": (lambda: b"#!/bin/sh\n" * 200, "the bundle"),
    "no manifest": (lambda: packed(GOOD[1:]), "does not begin with manifest.json"),
    "another format": (lambda: packed([manifest(ITEMS, 2), *GOOD[1:]]), "its format is 2"),
    "a content less": (lambda: packed(GOOD[:-1]), "are missing"),
    "a content more": (lambda: packed([*GOOD, *blobs(b"more")]), "not in its manifest"),
    "a content twice": (lambda: packed([*GOOD, GOOD[1]]), "there twice"),
    "another content under this hash": (
        lambda: packed([*GOOD[:2], (GOOD[2][0], b"evil!!"), *GOOD[3:]]),
        "its SHA-256 is",
    ),
    "a path instead of a hash": (lambda: packed([*GOOD, ("../../etc/passwd", b"root")]), "not in its manifest"),
    "cut short": (lambda: packed(GOOD)[:1500], "the bundle"),
    "a manifest with a key that nobody knows": (
        lambda: packed([manifest(changed(more=1)), *GOOD[1:]]),
        "its manifest cannot be read",
    ),
    "a hash that is none": (lambda: packed([manifest(changed(sha256="../x")), *GOOD[1:]]), "no good hash"),
    "a size that is none": (lambda: packed([manifest(changed(size_bytes=-1)), *GOOD[1:]]), "no good hash or size"),
    "an artefact twice": (lambda: packed([manifest([*ITEMS, ITEMS[0]]), *GOOD[1:]]), "an artefact twice"),
}


@pytest.mark.parametrize(("raw", "said"), BAD.values(), ids=BAD.keys())
def test_a_bundle_with_one_fault_leaves_nothing(store: BlobStore, raw: Callable[[], bytes], said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        taken(io.BytesIO(raw()), store)
    assert store.all() == {}


def test_a_refused_bundle_takes_nothing_away(tmp_path: Path) -> None:
    store = BlobStore(tmp_path / "artifacts", named=sha(b"initrd").__eq__)
    store.prepare()
    (tmp_path / "initrd").write_bytes(b"initrd")
    with closing(store.hold()) as hold:
        store.take(tmp_path / "initrd", hold)
    with pytest.raises(ArtifactError):
        taken(io.BytesIO(packed([*GOOD, *blobs(b"more")])), store)
    assert store.all() == {sha(b"initrd"): 6}


@given(st.binary(max_size=400))
def test_any_bytes_are_a_manifest_or_refused(raw: bytes) -> None:
    try:
        decode_manifest(raw)
    except ArtifactError:
        return
