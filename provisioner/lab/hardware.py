"""What a simulated BMC finds in its machine: who it is, and what can be done to it. No I/O."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from provisioner.lab.console import Console
from provisioner.model.bmc import BootTarget, Power
from provisioner.model.net import Mac

GIB = 1 << 30


class Firmware(StrEnum):
    """How a lab machine boots from the network."""

    BIOS = "bios"  # SeaBIOS, the NIC's own iPXE
    UEFI_PXE = "uefi-pxe"  # OVMF, its own PXE
    UEFI_HTTP = "uefi-http"  # OVMF, its own HTTP boot
    UEFI_PXE6 = "uefi-pxe6"  # OVMF, its own PXE over IPv6
    UEFI_HTTP6 = "uefi-http6"  # OVMF, its own HTTP boot over IPv6
    UEFI_SECURE = "uefi-secure"  # OVMF with Secure Boot enforced and Microsoft's keys, its own PXE
    UEFI_SECURE_HTTP = "uefi-secure-http"  # the same, its own HTTP boot
    UEFI_ARM64 = "uefi-arm64"  # AAVMF on an arm64 board, its own PXE

    @property
    def is_ipv6(self) -> bool:
        return self in (Firmware.UEFI_PXE6, Firmware.UEFI_HTTP6)

    @property
    def is_http(self) -> bool:
        return self in (Firmware.UEFI_HTTP, Firmware.UEFI_HTTP6, Firmware.UEFI_SECURE_HTTP)

    @property
    def is_uefi(self) -> bool:
        return self is not Firmware.BIOS


@dataclass(frozen=True, slots=True)
class Identity:
    """What is printed on the machine's label and kept in its SMBIOS tables. `uuid` as Linux prints it."""

    name: str
    uuid: str
    serial: str
    macs: tuple[Mac, ...]
    firmware: Firmware = Firmware.BIOS
    vendor: str = "Provisioner"
    model: str = "Virtual Rack Machine"
    cpus: int = 1
    memory_bytes: int = GIB
    disk_bytes: int = 8 * GIB
    disks: int = 1


@dataclass(frozen=True, slots=True)
class BootChoice:
    """What the next boot tries first. `NONE` is the machine's own order: disk, network, CD. `uri` only with HTTP."""

    target: BootTarget = BootTarget.NONE
    uri: str = ""


OWN_ORDER = BootChoice()


@dataclass(frozen=True, slots=True)
class Medium:
    """What is in the CD drive: an image at a URL, or nothing."""

    uri: str = ""


NO_MEDIUM = Medium()


class Hardware(Protocol):
    """A machine as its BMC holds it. Calls raise `LabError`; each returns when the effect began, not when it ended."""

    identity: Identity
    console: Console
    on_boot: Callable[[BootChoice], BootChoice]
    """Called as a boot begins, whoever caused it, with what it tries first; answers what the next one shall try."""

    @property
    def power(self) -> Power: ...

    @property
    def targets(self) -> frozenset[BootTarget]:
        """What this machine's firmware can be told to boot."""
        ...

    async def choose(self, choice: BootChoice) -> None:
        """The next boot tries this first, whether the BMC or the guest starts it."""
        ...

    async def insert(self, medium: Medium) -> None:
        """Change what is in the CD drive."""
        ...

    async def power_on(self) -> None: ...
    async def power_off(self) -> None: ...
    async def reset(self) -> None: ...
    async def press_button(self) -> None:
        """The ACPI power button: the guest decides what it does."""
        ...

    async def interrupt(self) -> None:
        """Raise a non-maskable interrupt."""
        ...

    async def run(self) -> None:
        """Be plugged in, until cancelled."""
        ...
