"""What is on the CD of one boot."""

from __future__ import annotations

import pytest

from provisioner.boot.medium import Load, Programs, initrd_name, ip_arguments, lay_out, place_of
from provisioner.catalog import iso9660
from provisioner.model.boot import Place

LOAD = Load("Discovery for node17; exit", 10_000, (20_000, 5), "quiet provisioner.token=abc console=ttyS0,115200n8")


def read(head: bytes, name: str) -> str:
    found = iso9660.find(lambda at, length: head[at : at + length], name, len(head))
    return b"".join(head[part.offset : part.offset + part.length] for part in found).decode()


def test_grub_and_isolinux_start_the_same() -> None:
    image = lay_out(LOAD, Programs(b"grub", isolinux=b"i" * 100, ldlinux=b"l"), "amd64")
    assert set(image.places) == {"BOOT/VMLINUZ", initrd_name(0), initrd_name(1)}
    assert read(image.head, "BOOT/GRUB/GRUB.CFG").splitlines() == [
        "search --file --set=root /.disk/info",
        "echo 'provisioner: Discovery for node17_ exit'",
        "if linux /boot/vmlinuz 'quiet' 'provisioner.token=abc' 'console=ttyS0,115200n8'; "
        "then if initrd /boot/initrd0.img /boot/initrd1.img; then boot; fi; fi",
        "exit 1",
    ]
    config = read(image.head, "ISOLINUX/ISOLINUX.CFG").splitlines()
    assert config[-3:] == [
        "  KERNEL /boot/vmlinuz",
        "  INITRD /boot/initrd0.img,/boot/initrd1.img",
        "  APPEND quiet provisioner.token=abc console=ttyS0,115200n8",
    ]


FIRMWARE = {
    "UEFI": (Programs(b"grub"), "amd64", {"BOOTX64 EFI"}),
    "UEFI that wants signatures": (Programs(b"grub", b"shim"), "amd64", {"BOOTX64 EFI", "GRUBX64 EFI"}),
    "UEFI on arm64": (Programs(b"grub", b"shim"), "arm64", {"BOOTAA64EFI", "GRUBAA64EFI"}),
    "BIOS": (Programs(isolinux=b"i" * 100, ldlinux=b"l"), "amd64", set()),
}


@pytest.mark.parametrize(("programs", "arch", "names"), FIRMWARE.values(), ids=FIRMWARE.keys())
def test_loaders_lie_where_firmware_looks(programs: Programs, arch: str, names: set[str]) -> None:
    head = lay_out(Load("t", 1, (), ""), programs, arch).head
    every = {f"{kind}{name}EFI" for kind in ("BOOT", "GRUB") for name in ("X64 ", "AA64")}
    assert {name for name in every if name.encode() in head} == names


def test_an_address_as_the_kernel_reads_it() -> None:
    place = place_of("10.0.8.17/22", "10.0.8.1", ("10.0.8.2", "10.0.8.3"))
    assert place == Place("10.0.8.17", "255.255.252.0", "10.0.8.1", ("10.0.8.2", "10.0.8.3"))
    words = "ip=10.0.8.17::10.0.8.1:255.255.252.0:node17::off nameserver=10.0.8.2 nameserver=10.0.8.3"
    assert ip_arguments(place, "node17") == words
    assert ip_arguments(Place("10.0.8.17", "255.0.0.0"), "n") == "ip=10.0.8.17:::255.0.0.0:n::off"
