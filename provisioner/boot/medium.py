"""What is on the CD of one machine's boot: kernel, initrds, their arguments, and loaders for its firmware. No I/O."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass

from provisioner.boot import fat, iso
from provisioner.boot.script import plain
from provisioner.model.boot import Place


@dataclass(frozen=True, slots=True)
class EfiNames:
    """UEFI's loaders of an architecture: under which names firmware and shim look for them, and which we serve."""

    first: str
    second: str
    grub: str
    shim: str


EFI: Mapping[str, EfiNames] = {
    "amd64": EfiNames("EFI/BOOT/BOOTX64.EFI", "EFI/BOOT/GRUBX64.EFI", "gcdx64.efi", "shimx64.efi"),
    "arm64": EfiNames("EFI/BOOT/BOOTAA64.EFI", "EFI/BOOT/GRUBAA64.EFI", "gcdaa64.efi", "shimaa64.efi"),
}
BIOS_IMAGE = "ipxe.iso"
"""Where isolinux is taken from: it is on iPXE's own CD, beside the program that it starts there."""
BIOS_FILES = ("isolinux.bin", "ldlinux.c32")

_KERNEL, _EFI_IMAGE, _ISOLINUX = "BOOT/VMLINUZ", "BOOT/EFI.IMG", "ISOLINUX/ISOLINUX.BIN"


@dataclass(frozen=True, slots=True)
class Programs:
    """The loaders of one medium; empty where there is none. `shim` only for firmware that wants signatures."""

    grub: bytes = b""
    shim: bytes = b""
    isolinux: bytes = b""
    ldlinux: bytes = b""


@dataclass(frozen=True, slots=True)
class Load:
    """What is started: sizes of kernel and initrds in bytes, and the kernel's command line."""

    title: str
    kernel_bytes: int
    initrd_bytes: tuple[int, ...]
    args: str


def initrd_name(number: int) -> str:
    """Name an initrd on the medium."""
    return f"BOOT/INITRD{number}.IMG"


def lay_out(load: Load, programs: Programs, arch: str) -> iso.Image:
    """Plan the medium. Kernel and initrds are its large files: `BOOT/VMLINUZ` and those of `initrd_name`."""
    names = [initrd_name(number) for number in range(len(load.initrd_bytes))]
    small = {".DISK/INFO": b"provisioner\n"}
    if programs.grub:
        small |= {"BOOT/GRUB/GRUB.CFG": _grub(load, names).encode(), _EFI_IMAGE: _efi_image(programs, arch)}
    if programs.isolinux:
        config = _isolinux(load, names).encode()
        small |= {
            _ISOLINUX: programs.isolinux, "ISOLINUX/LDLINUX.C32": programs.ldlinux, "ISOLINUX/ISOLINUX.CFG": config,
        }  # fmt: skip
    large = {_KERNEL: load.kernel_bytes} | dict(zip(names, load.initrd_bytes, strict=True))
    loaders = iso.Loaders(_ISOLINUX if programs.isolinux else "", _EFI_IMAGE if programs.grub else "")
    return iso.lay_out(small, large, loaders, "provisioner")


def _efi_image(programs: Programs, arch: str) -> bytes:
    names = EFI[arch]
    if programs.shim:
        return fat.image({names.first: programs.shim, names.second: programs.grub})
    return fat.image({names.first: programs.grub})


def _grub(load: Load, initrds: list[str]) -> str:
    args = " ".join(f"'{argument}'" for argument in load.args.split())
    paths = " ".join(f"/{name.lower()}" for name in initrds)
    return (
        "search --file --set=root /.disk/info\n"
        f"echo 'provisioner: {plain(load.title)}'\n"
        f"if linux /{_KERNEL.lower()} {args}; then if {f'initrd {paths}' if paths else 'true'}; then boot; fi; fi\n"
        "exit 1\n"
    )


def _isolinux(load: Load, initrds: list[str]) -> str:
    lines = ["DEFAULT provisioner", "PROMPT 0", f"SAY provisioner: {plain(load.title)}", "LABEL provisioner"]
    lines.append(f"  KERNEL /{_KERNEL.lower()}")
    if initrds:
        lines.append("  INITRD " + ",".join(f"/{name.lower()}" for name in initrds))
    return "\n".join((*lines, f"  APPEND {load.args}")) + "\n"


def ip_arguments(place: Place, hostname: str) -> str:
    """Write an address as the kernel's documentation has it (admin-guide/nfs/nfsroot, `ip=`), and name servers."""
    words = [f"ip={place.address}::{place.gateway}:{place.netmask}:{hostname}::off"]
    return " ".join([*words, *(f"nameserver={server}" for server in place.dns)])


def place_of(interface: str, gateway: str, dns: tuple[str, ...]) -> Place:
    """Make a place of an address with its prefix length, such as 10.0.8.17/22."""
    found = ipaddress.IPv4Interface(interface)
    return Place(str(found.ip), str(found.netmask), gateway, dns)
