"""qcow2 images: what qemu-img made is read the same, and nothing outside of an image is ever read."""

from __future__ import annotations

import hashlib
import os
import resource
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.catalog import convert, qcow2, room
from provisioner.errors import ArtifactError

MIB = 1 << 20
SIZE = 3 * MIB + 512


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """A disk with a beginning that does not pack, an end that does, and nothing between."""
    disk = tmp_path / "disk.raw"
    with disk.open("wb") as file:
        file.write(os.urandom(700_000))
        file.seek(2 * MIB)
        file.write(b"text " * 50_000)
        file.truncate(SIZE)
    return disk


def qemu_img(*words: str | Path) -> None:
    subprocess.run(["qemu-img", *map(str, words)], check=True, capture_output=True)


KINDS = {
    "version 3": ["-o", "compat=1.1"],
    "version 2": ["-o", "compat=0.10"],
    "small clusters": ["-o", "cluster_size=512"],
    "large clusters": ["-o", "cluster_size=2M"],
    "packed": ["-c"],
    "packed, small clusters": ["-c", "-o", "cluster_size=4k"],
}


@pytest.mark.peer
@pytest.mark.parametrize("options", KINDS.values(), ids=KINDS.keys())
def test_what_qemu_img_made_is_read_the_same(disk: Path, tmp_path: Path, options: list[str]) -> None:
    image, packed = tmp_path / "disk.qcow2", tmp_path / "disk.raw.zst"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", *options, disk, image)
    assert convert.is_qcow2(image)
    convert.to_zstd(image, packed)
    raw = subprocess.run(["zstd", "-dcq", packed], check=True, capture_output=True).stdout
    assert hashlib.sha256(raw).digest() == hashlib.sha256(disk.read_bytes()).digest()


@pytest.mark.peer
def test_what_would_fill_the_disk_is_not_converted(disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = tmp_path / "disk.qcow2"
    qemu_img("convert", "-f", "raw", "-O", "qcow2", disk, image)
    monkeypatch.setattr(room, "KEEP_FREE_BYTES", 1 << 62)
    with pytest.raises(ArtifactError, match="MB free"):
        convert.to_zstd(image, tmp_path / "out.zst")


OTHERS = {
    "a backing file": ["-b", "secret", "-F", "raw"],
    "data in another file": ["-o", "data_file=outside,data_file_raw=on"],
    # AES: for LUKS qemu-img measures the machine's speed first, which a virtual machine's clock may refuse it
    "an encrypted one": ["--object", "secret,id=s0,data=pass", "-o", "encrypt.format=aes,encrypt.key-secret=s0"],
    "subclusters": ["-o", "extended_l2=on,cluster_size=64k"],
}


@pytest.mark.peer
@pytest.mark.parametrize("options", OTHERS.values(), ids=OTHERS.keys())
def test_what_needs_more_than_itself_is_refused(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "secret").write_bytes(b"root:x:0" * 4096)
    subprocess.run(
        ["qemu-img", "create", "-f", "qcow2", *options, "disk.qcow2", "1M"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    with pytest.raises(ArtifactError) as refused:
        convert.to_zstd(tmp_path / "disk.qcow2", tmp_path / "out.zst")
    assert "qemu-img convert" in refused.value.hint
    assert not (tmp_path / "out.zst").exists()


def header(**changes: int) -> bytes:
    fields = {
        "version": 3, "backing": 0, "backing_size": 0, "bits": 16, "size": MIB, "crypt": 0, "l1": 1, "l1_offset": 512,
        "refcount": 0, "clusters": 0, "snapshots": 0, "snapshot_offset": 0,
    } | {name: value for name, value in changes.items() if name != "features"}  # fmt: skip
    return struct.pack(">4sIQIIQIIQQIIQ", qcow2.MAGIC, *fields.values()) + struct.pack(
        ">QQQII", changes.get("features", 0), 0, 0, 4, 104
    )


BAD = {
    "another version": (header(version=4), "version 4"),
    "a backing file": (header(backing=600), "backing file"),
    "zstd inside": (header(features=1 << 3), "zstd"),
    "a feature nobody knows": (header(features=1 << 40), "features 0x10000000000"),
    "clusters that are none": (header(bits=40), "clusters of"),
    "a disk beyond all measure": (header(size=1 << 62), "a disk of"),
    "a table that is too small": (header(size=1 << 40), "a table of"),
    "a table beyond all measure": (header(l1=1 << 31), "a table of"),
    "cut short": (header()[:80], "cut short"),
    "something else": (b"#!/bin/sh\n" * 20, "not a qcow2"),
}


@pytest.mark.parametrize(("raw", "said"), BAD.values(), ids=BAD.keys())
def test_headers_that_are_refused(raw: bytes, said: str) -> None:
    with pytest.raises(ArtifactError, match=said):
        qcow2.decode_header(raw)


def mapped(cluster: int) -> bytes:
    """An image in clusters of 512 bytes: header, table of tables, table. Its disk is one cluster, at `cluster`."""
    return (
        header(bits=9, size=512).ljust(512, b"\0")
        + struct.pack(">64Q", 1024, *[0] * 63)
        + (struct.pack(">64Q", cluster, *[0] * 63))
    )


def disk_of(raw: bytes) -> bytes:
    return b"".join(qcow2.content(qcow2.decode_header(raw), lambda offset, length: raw[offset : offset + length]))


def test_a_disk_whose_clusters_are_missing_is_refused() -> None:
    """An image that was cut short is no disk of zeros; only its last cluster may be short."""
    whole = mapped(1536) + b"x" * 512
    assert disk_of(whole) == b"x" * 512
    assert disk_of(whole[:-100]) == b"x" * 412 + bytes(100)
    for cut in (whole[:1536], mapped(1 << 40)):
        with pytest.raises(ArtifactError, match="lies behind the end of the image: it is cut short"):
            disk_of(cut)


@pytest.mark.parametrize("offset", [1 << 63, (1 << 64) - 512, (1 << 63) - 512])
def test_places_beyond_any_file_are_refused(tmp_path: Path, offset: int) -> None:
    (tmp_path / "disk.qcow2").write_bytes(header(l1_offset=offset))
    with pytest.raises(ArtifactError, match=rf"{offset}"):
        convert.to_zstd(tmp_path / "disk.qcow2", tmp_path / "out.zst")


def test_the_packer_has_the_memory_it_wants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What bounds whoever reads a stranger's image does not bound zstd, which takes more with each processor."""
    program = tmp_path / "zstd"
    program.write_text(f"#!/bin/sh\ncat >{tmp_path}/disk\nulimit -v >{tmp_path}/limit\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "disk.qcow2").write_bytes(mapped(0))
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 46, hard))
    try:
        convert.to_zstd(tmp_path / "disk.qcow2", tmp_path / "out.zst")
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    assert (tmp_path / "disk").read_bytes() == bytes(512)
    assert (tmp_path / "limit").read_text().strip() == ("unlimited" if hard < 0 else str(hard >> 10))


@given(st.binary(max_size=4096), st.integers(0, 3))
def test_any_bytes_are_a_disk_or_an_artifact_error(tail: bytes, version: int) -> None:
    raw = header(version=version, bits=9, size=8192) + tail
    try:
        found = qcow2.decode_header(raw)
        size = sum(len(data) for data in qcow2.content(found, lambda offset, length: raw[offset : offset + length]))
    except ArtifactError:
        return
    assert size == found.size_bytes
