"""What the first boot of an image is told, and what goes into it."""

from __future__ import annotations

from provisioner.lab.images import gpt
from provisioner.lab.images.debian import Options, grub_config


def test_grub_names_the_root_by_its_partition() -> None:
    ids = gpt.Ids.of("k")
    config = grub_config("6.1.0-1-cloud-amd64", ids)
    assert f"root=PARTUUID={ids.root_partition} ro" in config
    assert "initrd /boot/initrd.img-6.1.0-1-cloud-amd64" in config


def test_default_options_are_small() -> None:
    assert Options().kernel == "cloud"
