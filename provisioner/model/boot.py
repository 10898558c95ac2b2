"""What asks to boot, and what it is told. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import NamedTuple

from provisioner.model.net import Mac


class Arch(IntEnum):
    """Client system architectures: IANA "Processor Architecture Types" (RFC 5970 section 3.3, DHCP option 93)."""

    X86_BIOS = 0x00
    EFI_IA32 = 0x06
    EFI_X64 = 0x07
    EFI_BC = 0x09  # firmware means x86-64 by it
    EFI_ARM32 = 0x0A
    EFI_ARM64 = 0x0B
    PPC_OPEN_FIRMWARE = 0x0C
    PPC_OPAL = 0x0E
    EFI_IA32_HTTP = 0x0F
    EFI_X64_HTTP = 0x10
    EFI_BC_HTTP = 0x11
    EFI_ARM32_HTTP = 0x12
    EFI_ARM64_HTTP = 0x13
    X86_BIOS_HTTP = 0x14
    EFI_RISCV32 = 0x19
    EFI_RISCV32_HTTP = 0x1A
    EFI_RISCV64 = 0x1B
    EFI_RISCV64_HTTP = 0x1C


class Asker(StrEnum):
    """The program that sent the request."""

    PXE = "pxe"  # a PXE ROM or UEFI's PXE base code: fetches by TFTP
    HTTP = "http"  # UEFI HTTP boot: fetches a URL
    IPXE = "ipxe"  # iPXE that can fetch http:// URLs and run scripts
    IPXE_TFTP = "ipxe-tftp"  # iPXE built without HTTP
    GRUB = "grub"
    OS = "os"  # an operating system or an agent that wants an address and boots nothing


class Unknown(StrEnum):
    """What is done with a machine that nobody enrolled."""

    IGNORE = "ignore"
    QUARANTINE = "quarantine"
    DISCOVER = "discover"


class Trust(StrEnum):
    """Who on a machine trusts the daemon's CA, and is given https:// URLs."""

    UNSAID = ""  # as the profile or the subnet has it; nobody, where none says anything
    NOBODY = "nobody"
    FIRMWARE = "firmware"  # UEFI HTTP boot
    IPXE = "ipxe"  # UEFI HTTP boot, and the iPXE that the machine is given


class BootClient(NamedTuple):
    """Who asks, as far as its request tells. A named tuple, as `dhcp.packet.Packet`: one is made for every request.

    `uuid` is the SMBIOS UUID as Linux prints it (lower case, hyphens), whatever the byte order on the wire; or option
    97 as it came, where nobody had to spell it yet (`dhcp.identify.spelled`): that takes longer than all else of this.
    `secure_boot`: its firmware did not start a loader that nobody signed; no request tells it.
    """

    mac: Mac
    asker: Asker
    arch: int | None = None
    uuid: str | bytes | None = None
    secure_boot: bool = False


@dataclass(frozen=True, slots=True)
class LoadFile:
    """Fetch and start this file. `name` is a key of the table of served files, never a path of ours.

    `direct`: it is what the machine is to run, no loader on the way there; settings of loaders do not concern it.
    """

    name: str
    reason: str
    direct: bool = False


@dataclass(frozen=True, slots=True)
class RunScript:
    """Fetch the machine's own boot script (iPXE or GRUB configuration) over HTTP."""

    reason: str


EFI_FOLDERS = {
    "debian": "shim",
    "ubuntu": "shim",
    "proxmox": "shim",
    "redhat": "shim",
    "centos": "shim",
    "rocky": "shim",
    "almalinux": "shim",
    "fedora": "shim",
    "opensuse": "shim",
    "sles": "shim",
    "BOOT": "boot",
}
"""Where systems put their loader on the EFI partition, and what it is called there; the last is the one for removable
media (UEFI 2.10, 3.5.1.1)."""


@dataclass(frozen=True, slots=True)
class OnDisk:
    """Where the loader is of what is on a machine's disk: the folder below /EFI, and a file of that one alone."""

    folder: str = ""
    mark: str = ""


def efi_mark(machine: str, bootenv: str) -> str:
    """Name the file by which the EFI partition that was made for a machine is told from those of its other disks."""
    return f"/EFI/provisioner/{machine}.{bootenv}"


@dataclass(frozen=True, slots=True)
class LocalDisk:
    """Boot nothing from the network: give an address, no boot file."""

    reason: str


@dataclass(frozen=True, slots=True)
class NoBoot:
    """Give nothing at all: the machine is not ours to answer."""

    reason: str


@dataclass(frozen=True, slots=True)
class Place:
    """The IPv4 address that a machine has without asking for one. `gateway` may be empty."""

    address: str
    netmask: str
    gateway: str = ""
    dns: tuple[str, ...] = ()


Plan = LoadFile | RunScript | LocalDisk | NoBoot
