"""Loaders are found where packages put them, and kept where no upgrade changes them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from provisioner.boot.files import MADE_OF, FileTable
from provisioner.boot.loaders import Loader, Loaders, find_loaders, install, package_versions
from provisioner.boot.plan import LOADERS
from provisioner.errors import ArtifactError


@pytest.fixture
def packaged(tmp_path: Path) -> list[Loader]:
    (tmp_path / "usr").mkdir()
    (tmp_path / "usr" / "snponly.efi").write_bytes(b"packaged")
    return [
        Loader("snponly.efi", str(tmp_path / "usr" / "snponly.efi"), "base-files", "a package that is everywhere"),
        Loader("absent.efi", str(tmp_path / "usr" / "absent.efi"), "no-such-package", "not installed"),
    ]


def test_what_is_there_is_found_with_its_version(packaged: list[Loader]) -> None:
    (loader,) = find_loaders(known=packaged)
    assert (loader.name, loader.size_bytes) == ("snponly.efi", 8)
    assert loader.origin == f"base-files {package_versions(['base-files'])['base-files']}"


def test_the_operators_file_stands_for_the_packages(packaged: list[Loader], tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "snponly.efi").write_bytes(b"my own build")
    (mine / "sub").mkdir()
    (loader,) = find_loaders([mine], packaged)
    assert loader.path == mine / "snponly.efi"
    assert loader.origin == str(mine)


def test_loaders_are_kept_apart_from_the_packages(packaged: list[Loader], tmp_path: Path) -> None:
    (kept,) = install(find_loaders(known=packaged), tmp_path / "state" / "loaders")
    Path(packaged[0].path).write_bytes(b"upgraded in place")
    assert kept.path.read_bytes() == b"packaged"
    (newer,) = install(find_loaders(known=packaged), tmp_path / "state" / "loaders")
    assert newer.path.read_bytes() == b"upgraded in place"
    assert not kept.path.exists()


def test_an_operators_files_beside_the_copies_are_left_alone(packaged: list[Loader], tmp_path: Path) -> None:
    folder = tmp_path / "state" / "loaders"
    (kept,) = install(find_loaders(known=packaged), folder)
    (folder / "pxelinux.cfg").mkdir()
    (folder / "mine.efi").write_bytes(b"an operator's")
    (folder / f".{kept.sha256}").write_bytes(b"a copy that was cut short")
    install([], folder)
    assert sorted(path.name for path in folder.iterdir()) == ["mine.efi", "pxelinux.cfg"]


def test_a_directory_that_cannot_be_written_is_an_error(packaged: list[Loader], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ArtifactError, match="file"):
        install(find_loaders(known=packaged), tmp_path / "file" / "loaders")


async def test_a_start_without_room_serves_what_was_found(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    mine, copies = tmp_path / "mine", tmp_path / "state" / "loaders"
    mine.mkdir()
    (mine / "snponly.efi").write_bytes(b"my own build")
    sha256 = hashlib.sha256(b"my own build").hexdigest()
    (copies / f".{sha256}").mkdir(parents=True)  # no copy can be written
    loaders = Loaders(table := FileTable(), tmp_path / "state", [mine])
    await loaders.open()
    served = table.served("snponly.efi")
    assert served is not None
    assert served.path == mine / "snponly.efi"
    assert caplog.messages == [f"loaders.uncopied error={copies}: loaders cannot be kept here: Is a directory"]


def test_of_a_copy_that_does_not_fit_nothing_is_left(packaged: list[Loader], tmp_path: Path) -> None:
    (found,) = find_loaders(known=packaged)
    folder = tmp_path / "state"
    broken = replace(found, path=Path("/proc/self/mem"))  # fails on the way, as a write does where there is no room
    with pytest.raises(ArtifactError):
        install([broken], folder)
    assert list(folder.iterdir()) == []


@pytest.mark.peer
def test_debians_packages_serve_what_a_plan_names() -> None:
    found = {loader.name for loader in find_loaders()}
    named = {part for name in LOADERS.values() for part in MADE_OF.get(name, (name,))}
    assert {name for name in named if not name.endswith("aa64.efi")} <= found
