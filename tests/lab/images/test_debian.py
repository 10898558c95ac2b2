"""What the first boot of an image is told, and what goes into it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from provisioner.lab.images import gpt
from provisioner.lab.images.debian import OVERLAY, Options, grub_config


def test_grub_names_the_root_by_its_partition() -> None:
    ids = gpt.Ids.of("k")
    config = grub_config("6.1.0-1-cloud-amd64", ids)
    assert f"root=PARTUUID={ids.root_partition} ro" in config
    assert "initrd /boot/initrd.img-6.1.0-1-cloud-amd64" in config


def test_default_options_are_small() -> None:
    assert Options().kernel == "cloud"


def test_what_goes_into_every_image_is_executable_where_it_runs() -> None:
    script = OVERLAY / "usr/lib/provisioner/phone-home"
    assert os.access(script, os.X_OK)
    subprocess.run(["sh", "-n", script], check=True)


@pytest.mark.parametrize("unit", sorted((OVERLAY / "etc/systemd/system").glob("*.service")), ids=lambda u: u.name)
def test_units_name_only_what_exists(unit: Path) -> None:
    ours = [word for word in unit.read_text().split() if "/usr/lib/provisioner/" in word]
    for word in ours:
        assert (OVERLAY / word.partition("=")[2].lstrip("/")).exists(), word
