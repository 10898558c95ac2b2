"""What the first boot of an image is told, and what goes into it."""

from __future__ import annotations

import subprocess
from pathlib import Path

from provisioner.lab.images import gpt
from provisioner.lab.images.debian import MERGE, Options, grub_config


def test_grub_names_the_root_by_its_partition() -> None:
    ids = gpt.Ids.of("k")
    config = grub_config("6.1.0-1-cloud-amd64", ids)
    assert f"root=PARTUUID={ids.root_partition} ro" in config
    assert "initrd /boot/initrd.img-6.1.0-1-cloud-amd64" in config


def test_default_options_are_small() -> None:
    assert Options().kernel == "cloud"


def test_a_system_is_merged_from_its_beginning_and_without_perl(tmp_path: Path) -> None:
    subprocess.run(["sh", "-euc", MERGE, "sh", tmp_path], check=True)
    assert {name: str((tmp_path / name).readlink()) for name in ("bin", "lib64")} == {
        "bin": "usr/bin", "lib64": "usr/lib64"
    }  # fmt: skip
    assert (tmp_path / "lib64").is_dir()
    pinned = (tmp_path / "etc/apt/preferences.d/no-usrmerge").read_text()
    assert pinned == "Package: usrmerge\nPin: release *\nPin-Priority: -1\n"
