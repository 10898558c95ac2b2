"""What each kind of lab machine is built of: its emulator, its firmware, what is soldered on its board. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from provisioner.lab.accel import QEMU
from provisioner.lab.hardware import Firmware

_OVMF = Path("/usr/share/OVMF")
_AAVMF = Path("/usr/share/AAVMF")
PXE4, PXE6 = "IPv4PXESupport", "IPv6PXESupport"


@dataclass(frozen=True, slots=True)
class Flash:
    """UEFI firmware: its code, and the variables that a new machine starts with."""

    code: Path
    variables: Path
    package: str


@dataclass(frozen=True, slots=True)
class Build:
    """One kind of machine."""

    program: str = QEMU
    package: str = "qemu-system-x86"
    machine: str = "q35,graphics=off"
    cpu: str = ""
    """Empty: what the accelerator says; else it is emulated, whatever the host's processor."""
    flash: Flash | None = None
    hidden: tuple[str, ...] = ()
    """Ways to boot that its firmware is not to offer: OVMF waits 70 s for PXEv4 and 20 s for PXEv6."""
    extra: tuple[str, ...] = ()
    serial: tuple[str, ...] = ("-device", "isa-serial,chardev=serial0")
    cd: str = "ide-cd"
    has_kcs: bool = True
    """The guest sees its BMC over KCS, which is on an ISA bus."""


# the variables of the .ms file hold Microsoft's keys, and only firmware in SMM may write them
_SECURE = Build(
    machine="q35,graphics=off,smm=on",
    flash=Flash(_OVMF / "OVMF_CODE_4M.secboot.fd", _OVMF / "OVMF_VARS_4M.ms.fd", "ovmf"),
    extra=("-global", "driver=cfi.pflash01,property=secure,value=on", "-global", "ICH9-LPC.disable_s3=1"),
)
_UEFI = Build(flash=Flash(_OVMF / "OVMF_CODE_4M.fd", _OVMF / "OVMF_VARS_4M.fd", "ovmf"), hidden=(PXE4, PXE6))

BUILDS: Mapping[Firmware, Build] = {
    Firmware.BIOS: Build(),
    Firmware.UEFI_PXE: replace(_UEFI, hidden=(PXE6,)),
    Firmware.UEFI_HTTP: _UEFI,
    Firmware.UEFI_PXE6: replace(_UEFI, hidden=(PXE4,)),
    Firmware.UEFI_HTTP6: _UEFI,
    Firmware.UEFI_SECURE: replace(_SECURE, hidden=(PXE6,)),
    Firmware.UEFI_SECURE_HTTP: replace(_SECURE, hidden=(PXE4, PXE6)),
    Firmware.UEFI_ARM64: Build(
        program="qemu-system-aarch64",
        package="qemu-system-arm",
        machine="virt",
        cpu="cortex-a57",
        flash=Flash(_AAVMF / "AAVMF_CODE.fd", _AAVMF / "AAVMF_VARS.fd", "qemu-efi-aarch64"),
        hidden=(PXE6,),
        extra=("-device", "virtio-scsi-pci"),
        serial=("-serial", "chardev:serial0"),
        cd="scsi-cd",
        has_kcs=False,
    ),
}
