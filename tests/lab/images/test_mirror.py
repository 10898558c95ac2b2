"""A partial mirror: what installs from packages ask for is in it, and packages stay what they were."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from provisioner.discovery.build import apt
from provisioner.lab.images import ar, mirror
from tests.shipped import catalogue

BOOTENV = "debian-12-packages"


def test_everything_that_the_bootenv_installs_is_in_it() -> None:
    given = catalogue().resolve(catalogue().bootenv(BOOTENV)).values["bootstrap"]
    wanted = {*given["packages"], *given["base"]}
    assert wanted <= set(mirror.SYSTEM)


def test_the_release_names_the_index_and_its_suite() -> None:
    said = mirror.release_of(b"Package: x\n")
    assert f" {hashlib.sha256(b'Package: x' + bytes([10])).hexdigest()} 11 Packages\n" in said
    assert "Codename: bookworm\n" in said, "by which mmdebstrap finds what is essential"


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """A package as Debian has them, with an epoch."""
    tree = tmp_path / "tree"
    (tree / "DEBIAN").mkdir(parents=True)
    (tree / "DEBIAN/control").write_text(
        "Package: x\nVersion: 1:2\nArchitecture: all\nMaintainer: a <a@b.invalid>\nDescription: y\n"
    )
    (tree / "usr").mkdir()
    (tree / "usr/x").write_text("contents\n" * 100)
    package = tmp_path / "x_1%3a2_all.deb"
    said(["dpkg-deb", "-Zxz", "--root-owner-group", "--build", str(tree), str(package)])
    return package


@pytest.mark.peer
def test_a_package_that_was_packed_anew_holds_the_same(tmp_path: Path, before: Path) -> None:
    (tmp_path / "out").mkdir()
    after = mirror.repack(before, tmp_path / "out")
    assert after.name == "x_1-2_all.deb"
    assert said(["dpkg-deb", "--contents", str(after)]) == said(["dpkg-deb", "--contents", str(before)])
    assert [name for name, _ in ar.read(after.read_bytes())] == ["debian-binary", "control.tar.zst", "data.tar.zst"]
    entry = mirror.entry_of(after).splitlines()
    assert entry[:2] == ["Package: x", "Version: 1:2"]
    assert entry[-3:] == [
        "Filename: ./x_1-2_all.deb",
        f"Size: {after.stat().st_size}",
        f"SHA256: {hashlib.sha256(after.read_bytes()).hexdigest()}",
    ]


@pytest.mark.peer
@pytest.mark.slow
def test_apt_takes_packages_from_it(tmp_path: Path, before: Path) -> None:
    root = tmp_path / "mirror"
    root.mkdir()
    (root / "Packages").write_text(mirror.entry_of(mirror.repack(before, root)))
    (root / "Release").write_text(mirror.release_of((root / "Packages").read_bytes()))
    archive = apt.with_sources("amd64", tmp_path / "apt", [f"deb [trusted=yes] file:{root} ./"])
    assert archive.resolve(["x"]) == (apt.Package("x", "1:2", "all"),)
    (fetched,) = archive.fetch(["x"], tmp_path / "fetched")
    assert apt.name_and_version(fetched) == ("x", "1:2")


def said(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
