"""Who sent this packet: firmware, loader or operating system, and on which architecture. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple

from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import Packet, room_of
from provisioner.dhcp.pxe import (
    HTTP_CLIENT,
    IPXE_HTTP,
    IPXE_TFTP,
    PXE_CLIENT,
    UUID_OCTETS,
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


_CLIENT_UUID = int(Opt.CLIENT_UUID)
_new = tuple.__new__

Signature = tuple[bytes | None, bytes | None, bytes | None, bytes | None, bytes | None, bytes | None]
"""Options 60, 77, 93, 175, 55 and 57: what does not depend on the one machine, only on its firmware."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """A kind of client. Compared by identity: made once for a signature and kept, it keys what is derived from it."""

    asker: Asker
    arch: int | None
    wanted: bytes | None
    """The parameter request list, None where there is none."""
    room: int
    """Bytes that a reply may have."""
    wants_name: bool
    """A host name would be welcome."""


def signature_of(packet: Packet) -> Signature:
    """Take out of a packet what its kind follows from."""
    get = packet.options.get
    return get(60), get(77), get(93), get(175), get(55), get(57)


def kind_of(signature: Signature) -> Kind:
    """Say what kind of client has this signature."""
    vendor_class, user_class, arch, ipxe, wanted, size = signature
    said = arch_of(arch)
    text = (vendor_class or b"").decode("ascii", "replace")
    if said is None and (match := _ARCH_IN_CLASS.match(text)):
        said = int(match[1])
    said = next((lie.means for lie in LIES if lie.arch == said and re.fullmatch(lie.vendor_class, text)), said)
    asker = _asker(vendor_class or b"", user_classes(user_class or b""), said, ipxe)
    return Kind(asker, said, wanted, room_of(size), wanted is None or Opt.HOST_NAME in wanted)


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
    """Say who sent `packet`, all of it spelled."""
    client = client_of(packet, kind_of(signature_of(packet)))
    return client._replace(uuid=spelled(client))


def client_of(packet: Packet, kind: Kind) -> BootClient:
    """Name the one machine, whose kind is known; its UUID is not spelled."""
    mac = packet.chaddr.hex(":") or packet.mac  # as `Packet.mac`: a call less for what nearly all are
    uuid = packet.options.get(_CLIENT_UUID)
    if uuid is not None and len(uuid) != UUID_OCTETS:
        uuid = None  # it is none, and would be remembered at any length
    return _new(BootClient, (mac, kind.asker, kind.arch, uuid, False))  # the last: no request tells it


def spelled(client: BootClient) -> str | None:
    """Spell the UUID of a client; None where it has none that identifies a machine."""
    uuid = client.uuid
    return uuid_of(uuid) if isinstance(uuid, bytes) else uuid
