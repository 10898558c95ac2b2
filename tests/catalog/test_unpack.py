"""Files come out of images and archives as they went in, and hostile ones write nothing elsewhere."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provisioner.catalog import iso9660, room
from provisioner.catalog.unpack import extract
from provisioner.errors import ArtifactError

KERNEL = bytes(range(256)) * 5000
LONG = "a-rather-long-name_of-an-initrd.with.dots.img"


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What an installer's medium holds."""
    root = tmp_path_factory.mktemp("tree")
    (root / "casper").mkdir()
    (root / "casper" / "vmlinuz").write_bytes(KERNEL)
    (root / "casper" / LONG).write_bytes(b"initrd")
    (root / "casper" / "empty").write_bytes(b"")
    (root / "casper" / "link").symlink_to("/etc/passwd")
    for number in range(400):  # a directory of several sectors
        (root / "casper" / f"filesystem.{number:04}.manifest-of-some-length").write_bytes(b"%d" % number)
    deep = root / "a" / "b" / "c" / "d" / "e" / "f" / "g" / "h" / "i"
    deep.mkdir(parents=True)
    (deep / "file").write_bytes(b"deep")
    return root


Make = Callable[[Path, Path], None]


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, timeout=300)


def _xorriso(tree: Path, out: Path) -> None:
    _run("xorriso", "-as", "mkisofs", "-quiet", "-r", "-J", "-o", str(out), str(tree))


def _genisoimage(tree: Path, out: Path) -> None:
    _run("genisoimage", "-quiet", "-R", "-o", str(out), str(tree))


def _tar(compression: str) -> Make:
    return lambda tree, out: _run("tar", f"--{compression}", "-cf", str(out), "-C", str(tree), ".")


def _zip(tree: Path, out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(tree.rglob("*")):
            if file.is_file() and not file.is_symlink():
                archive.write(file, file.relative_to(tree))


MAKERS: dict[str, Make] = {
    "xorriso's ISO": _xorriso,
    "genisoimage's ISO": _genisoimage,
    "tar.gz": _tar("gzip"),
    "tar.xz": _tar("xz"),
    "zip": _zip,
}
MEMBERS = {
    "casper/vmlinuz": KERNEL,
    f"casper/{LONG}": b"initrd",
    "casper/empty": b"",
    "casper/filesystem.0399.manifest-of-some-length": b"399",
    "a/b/c/d/e/f/g/h/i/file": b"deep",
}


@pytest.mark.peer
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_members_come_out_whole(tree: Path, tmp_path: Path, make: Make) -> None:
    make(tree, tmp_path / "container")
    for member, content in MEMBERS.items():
        if member.startswith("a/") and make is _genisoimage:
            continue  # genisoimage moves what is deeper than eight levels elsewhere
        extract(tmp_path / "container", member, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == content


@pytest.mark.peer
@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
@pytest.mark.parametrize("member", ["casper/absent", "absent/vmlinuz", "casper", "casper/vmlinuz/x", "casper/link"])
def test_what_is_no_regular_file_is_refused(tree: Path, tmp_path: Path, make: Make, member: str) -> None:
    make(tree, tmp_path / "container")
    with pytest.raises(ArtifactError, match="container"):
        extract(tmp_path / "container", member, tmp_path / "out")


@pytest.mark.peer
def test_plain_iso_names(tree: Path, tmp_path: Path) -> None:
    _run(
        "genisoimage", "-quiet", "-o", str(tmp_path / "plain"), "-graft-points", f"images/vmlinuz={tree}/casper/vmlinuz"
    )
    extract(tmp_path / "plain", "images/vmlinuz", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == KERNEL


@pytest.mark.peer
@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_file_of_more_than_4_gib(tmp_path: Path) -> None:
    """It has several extents, which no byte of 32-bit sizes can say in one."""
    tree = tmp_path / "tree"
    tree.mkdir()
    with (tree / "big.squashfs").open("wb") as file:
        file.truncate((4 << 30) + 5)
        file.seek((4 << 30) - 3)
        file.write(b"boundary")
    image = tmp_path / "image"
    make = ["xorriso", "-as", "mkisofs", "-quiet", "-r", "-iso-level", "3", "-o", "-", str(tree)]
    with subprocess.Popen(make, stdout=subprocess.PIPE) as maker:
        # what is zero stays a hole: 4 GiB of them on a disk take longer than all the rest
        write = ["dd", f"of={image}", "bs=1M", "iflag=fullblock", "conv=sparse"]
        subprocess.run(write, stdin=maker.stdout, check=True, capture_output=True, timeout=300)
    assert maker.returncode == 0
    with image.open("rb") as file:

        def read_at(offset: int, length: int) -> bytes:
            file.seek(offset)
            return file.read(length)

        extents = iso9660.find(read_at, "big.squashfs", image.stat().st_size)
        assert sum(extent.length for extent in extents) == (4 << 30) + 5
        assert len(extents) > 1
        at, joined = (4 << 30) - 3, b""
        for extent in extents:
            if at < extent.length:
                joined += read_at(extent.offset + max(at, 0), min(extent.length - max(at, 0), 8 - len(joined)))
            at -= extent.length
        assert joined == b"boundary"


def test_a_truncated_image_is_refused(tree: Path, tmp_path: Path) -> None:
    if shutil.which("xorriso") is None:
        pytest.fail("xorriso is not installed")
    _xorriso(tree, tmp_path / "whole")
    content = (tmp_path / "whole").read_bytes()
    (tmp_path / "cut").write_bytes(content[: len(content) // 2])
    with pytest.raises(ArtifactError):
        extract(tmp_path / "cut", "casper/vmlinuz", tmp_path / "out")


def hostile_tar(path: Path, name: str, kind: bytes, target: str = "") -> None:
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type, entry.linkname, entry.size = kind, target, 4 if kind == tarfile.REGTYPE else 0
        archive.addfile(entry, io.BytesIO(b"evil"))


HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "a parent": ("../../evil", tarfile.REGTYPE, ""),
    "absolute": ("/tmp/evil", tarfile.REGTYPE, ""),
    "a symbolic link": ("vmlinuz", tarfile.SYMTYPE, "/etc/passwd"),
    "a hard link": ("vmlinuz", tarfile.LNKTYPE, "/etc/passwd"),
    "a device": ("vmlinuz", tarfile.CHRTYPE, ""),
    "a FIFO": ("vmlinuz", tarfile.FIFOTYPE, ""),
}


@pytest.mark.parametrize(("name", "kind", "target"), HOSTILE.values(), ids=HOSTILE.keys())
def test_hostile_members_are_refused(tmp_path: Path, name: str, kind: bytes, target: str) -> None:
    """C-B5: nothing is written but the file that was asked for, and only from a regular member of that name."""
    hostile_tar(tmp_path / "evil.tar", name, kind, target)
    before = set(tmp_path.rglob("*"))
    with pytest.raises(ArtifactError):
        extract(tmp_path / "evil.tar", "vmlinuz", tmp_path / "out")
    assert set(tmp_path.rglob("*")) - before <= {tmp_path / "out"}


@pytest.mark.slow
def test_a_bomb_ends_at_the_limit(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "bomb.tar.xz", "w:xz") as archive:
        entry = tarfile.TarInfo("vmlinuz")
        entry.size = 50 << 20
        archive.addfile(entry, io.BytesIO(bytes(50 << 20)))
    with pytest.raises(ArtifactError, match="more than"):
        extract(tmp_path / "bomb.tar.xz", "vmlinuz", tmp_path / "out", limit=1 << 20)
    assert (tmp_path / "out").stat().st_size <= 1 << 20


def image(directory: bytes) -> bytes:
    """A small image whose root directory has this content, in sector 18."""
    volume = bytearray(iso9660.SECTOR)
    volume[0:6] = b"\1CD001"
    volume[156:190] = record(b"\0", 18, len(directory) or 1, flags=2)[:34]
    return bytes(16 * iso9660.SECTOR) + bytes(volume) + b"\xffCD001".ljust(iso9660.SECTOR, b"\0") + directory


def record(name: bytes, sector: int, size: int, *, flags: int = 0) -> bytes:
    body = bytes([0]) + sector.to_bytes(4, "little") * 2 + size.to_bytes(4, "little") * 2
    body += bytes(7) + bytes([flags]) + bytes(6) + bytes([len(name)]) + name
    body += b"\0" * (len(body) % 2 == 0)
    return bytes([len(body) + 1]) + body


@pytest.mark.slow
@settings(max_examples=300)
@given(
    st.binary(max_size=4096)
    | st.lists(st.binary(max_size=60)).map(lambda names: b"".join(record(n[:60], 5, 5) for n in names))
)
def test_any_directory(directory: bytes) -> None:
    content = image(directory)
    try:
        extents = iso9660.find(lambda at, length: content[at : at + length], "vmlinuz", len(content))
    except ArtifactError:
        return
    assert all(extent.offset + extent.length <= len(content) for extent in extents)


def test_a_file_of_an_iso_ends_at_the_limit(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(image(record(b"VMLINUZ", 0, 16384)))
    extract(tmp_path / "image", "vmlinuz", tmp_path / "out", limit=16384)
    assert (tmp_path / "out").stat().st_size == 16384
    with pytest.raises(ArtifactError, match="image: vmlinuz unpacks to more than 16383 bytes"):
        extract(tmp_path / "image", "vmlinuz", tmp_path / "out", limit=16383)
    assert not (tmp_path / "out").stat().st_size


def _iso(out: Path) -> None:
    out.write_bytes(image(record(b"VMLINUZ", 0, 16384)))


def _gz(out: Path) -> None:
    with tarfile.open(out, "w:gz") as archive:
        entry = tarfile.TarInfo("vmlinuz")
        entry.size = 16384
        archive.addfile(entry, io.BytesIO(bytes(16384)))


def _deflated(out: Path) -> None:
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("vmlinuz", bytes(16384))


@pytest.mark.parametrize("make", [_iso, _gz, _deflated])
def test_what_would_fill_the_disk_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "container")
    extract(tmp_path / "container", "vmlinuz", tmp_path / "out")
    monkeypatch.setattr(room, "KEEP_FREE_BYTES", 1 << 62)
    with pytest.raises(ArtifactError, match=r"container: .* MB free"):
        extract(tmp_path / "container", "vmlinuz", tmp_path / "out")
    assert not (tmp_path / "out").stat().st_size


def test_a_directory_that_holds_itself_ends() -> None:
    content = image(record(b"LOOP", 18, 2048, flags=2))
    with pytest.raises(ArtifactError):
        iso9660.find(lambda at, length: content[at : at + length], "loop/" * 50 + "x", len(content))
