"""What loaders ask for when they look for their configuration."""

from __future__ import annotations

import pytest

from provisioner.boot.names import machine_file
from provisioner.boot.script import Dialect
from provisioner.model.net import Mac

MAC = Mac("52:54:00:77:00:17")

CASES: dict[str, tuple[str, tuple[Dialect, Mac | None] | None]] = {
    "Debian's signed GRUB": ("grub/grub.cfg", (Dialect.GRUB_TFTP, None)),
    "the installer's build of it": ("debian-installer/amd64/grub/grub.cfg", (Dialect.GRUB_TFTP, None)),
    "Red Hat's": ("EFI/redhat/grub.cfg", (Dialect.GRUB_TFTP, None)),
    "grub-mknetdir": ("boot/grub/grub.cfg", (Dialect.GRUB_TFTP, None)),
    "a GRUB that tells its MAC": ("grub/grub.cfg-01-52-54-00-77-00-17", (Dialect.GRUB_TFTP, MAC)),
    "beside the loader": ("grub.cfg", (Dialect.GRUB_TFTP, None)),
    "PXELINUX": ("pxelinux.cfg/01-52-54-00-77-00-17", (Dialect.PXELINUX, MAC)),
    "PXELINUX by address is not answered": ("pxelinux.cfg/0A4D0011", None),
    "PXELINUX by default is not answered": ("pxelinux.cfg/default", None),
    "half a MAC": ("pxelinux.cfg/01-52-54-00", None),
    "a module": ("grub/x86_64-efi/http.mod", None),
    "a loader": ("snponly.efi", None),
}


@pytest.mark.parametrize(("name", "found"), CASES.values(), ids=CASES.keys())
def test_machine_file(name: str, found: tuple[Dialect, Mac | None] | None) -> None:
    assert machine_file(name) == found
