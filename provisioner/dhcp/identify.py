"""Who sent this packet: firmware, loader or operating system, and on which architecture. No I/O."""

from __future__ import annotations

import re
from typing import NamedTuple

from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import Packet
from provisioner.dhcp.pxe import (
    HTTP_CLIENT,
    IPXE_HTTP,
    IPXE_TFTP,
    PXE_CLIENT,
    arch_of,
    ipxe_settings,
    user_classes,
    uuid_of,
)
from provisioner.model.boot import Arch, Asker, BootClient

HTTP_ARCHES = frozenset(
    {
        Arch.EFI_IA32_HTTP,
        Arch.EFI_X64_HTTP,
        Arch.EFI_BC_HTTP,
        Arch.EFI_ARM32_HTTP,
        Arch.EFI_ARM64_HTTP,
        Arch.X86_BIOS_HTTP,
        Arch.EFI_RISCV32_HTTP,
        Arch.EFI_RISCV64_HTTP,
    }
)


class Lie(NamedTuple):
    """Firmware that says something wrong of itself: when vendor class and architecture are so, read `means`."""

    vendor_class: str
    """Regular expression over the whole of option 60."""
    arch: int
    means: int
    why: str


LIES = (
    Lie(
        r"PXEClient.*",
        Arch.EFI_BC,
        Arch.EFI_X64,
        "x86-64 firmware says EFI byte code (UEFI 2.x errata swapped 7 and 9)",
    ),
    Lie(r"HTTPClient.*", Arch.EFI_BC_HTTP, Arch.EFI_X64_HTTP, "the same for HTTP boot"),
    Lie(r"HTTPClient.*", Arch.EFI_X64, Arch.EFI_X64_HTTP, "asks for a URL with the PXE architecture"),
    Lie(r"HTTPClient.*", Arch.EFI_ARM64, Arch.EFI_ARM64_HTTP, "the same on arm64"),
    Lie(r"HTTPClient.*", Arch.EFI_IA32, Arch.EFI_IA32_HTTP, "the same on ia32"),
    Lie(r"PXEClient:Arch:00011:.*", Arch.X86_BIOS, Arch.EFI_ARM64, "arm64 boards that leave option 93 at zero"),
    Lie(r"PXEClient:Arch:00007:.*", Arch.X86_BIOS, Arch.EFI_X64, "UEFI that leaves option 93 at zero"),
)
"""Corrected in this order, first match. A row stands here because real firmware was seen or is documented to do it."""

_ARCH_IN_CLASS = re.compile(r"(?:PXE|HTTP)Client:Arch:(\d{5})")


class Kind(NamedTuple):
    """What does not depend on the one machine: who asks and on what."""

    asker: Asker
    arch: int | None


def kind_of(vendor_class: bytes, user_class: bytes, arch: bytes | None, ipxe: bytes | None) -> Kind:
    """Say who asks, from options 60, 77, 93 and 175."""
    said = arch_of(arch)
    text = vendor_class.decode("ascii", "replace")
    if said is None and (match := _ARCH_IN_CLASS.match(text)):
        said = int(match[1])
    said = next((lie.means for lie in LIES if lie.arch == said and re.fullmatch(lie.vendor_class, text)), said)
    return Kind(_asker(vendor_class, user_classes(user_class), said, ipxe), said)


def _asker(vendor_class: bytes, classes: tuple[bytes, ...], arch: int | None, ipxe: bytes | None) -> Asker:
    settings = ipxe_settings(ipxe)
    if _has(settings, IPXE_HTTP):
        return Asker.IPXE
    if b"iPXE" in classes:
        # builds that list TFTP but no HTTP cannot load a URL, whatever they call themselves
        return Asker.IPXE_TFTP if _has(settings, IPXE_TFTP) else Asker.IPXE
    if settings:
        return Asker.IPXE_TFTP
    if vendor_class.startswith(HTTP_CLIENT) or arch in HTTP_ARCHES:
        return Asker.HTTP
    if vendor_class.startswith(b"GRUB") or b"GRUB" in classes:
        return Asker.GRUB
    return Asker.PXE if vendor_class.startswith(PXE_CLIENT) else Asker.OS


def _has(settings: dict[int, bytes], feature: int) -> bool:
    return settings.get(feature, b"").strip(b"\0") != b""


def identify(packet: Packet) -> BootClient:
    """Say who sent `packet`."""
    options = packet.options
    kind = kind_of(
        options.get(Opt.VENDOR_CLASS, b""),
        options.get(Opt.USER_CLASS, b""),
        options.get(Opt.CLIENT_ARCH),
        options.get(Opt.IPXE),
    )
    return BootClient(packet.mac, kind.asker, kind.arch, uuid_of(options.get(Opt.CLIENT_UUID)))
