"""Loaders of other architectures come out of Debian's packages, and nothing on the host changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisioner.boot.loaders import find_loaders
from provisioner.boot.packages import fetch, fetched
from provisioner.errors import ArtifactError


def test_an_architecture_without_packages_is_said(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="riscv64"):
        fetch("riscv64", tmp_path)


def test_nothing_was_fetched(tmp_path: Path) -> None:
    assert fetched(tmp_path / "absent") == {}


@pytest.mark.peer
@pytest.mark.slow
def test_arm64(tmp_path: Path) -> None:
    fetch("arm64", tmp_path)
    found = {loader.name: loader for loader in find_loaders(fetched=fetched(tmp_path))}
    assert found["grubaa64.efi"].origin.startswith("grub-efi-arm64-signed ")
    assert found["shimaa64.efi"].origin.startswith("shim-signed ")
    assert found["grubaa64.efi"].path.read_bytes()[:2] == b"MZ"
    assert {path.name for path in tmp_path.iterdir()} == {"arm64"}
