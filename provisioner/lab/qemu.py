"""The command line of a lab machine's QEMU. No I/O."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from provisioner.lab.accel import Accelerator
from provisioner.lab.builds import BUILDS
from provisioner.lab.hardware import BootChoice, Firmware, Identity
from provisioner.model.bmc import BootTarget

MIB = 1 << 20
NIC_SLOT = 0x10
"""Where the first network port is on PCI, for a boot entry that names it."""
SETTLE_MS = 5000
"""Before it boots: OVMF's HTTP boot fails at once while its link-local address is still looked for on the link."""

OWN_ORDER = ("disk", "nic", "cd")
DEVICE = {BootTarget.DISK: "disk", BootTarget.PXE: "nic", BootTarget.HTTP: "nic", BootTarget.CD: "cd"}


@dataclass(frozen=True, slots=True)
class Files:
    """Where one machine keeps what outlives a power cycle, and its sockets."""

    root: Path

    @property
    def disk(self) -> Path:
        return self.root / "disk.raw"

    def more_disks(self, identity: Identity) -> list[Path]:
        """Its disks after the first."""
        return [self.root / f"disk{number}.raw" for number in range(1, identity.disks)]

    @property
    def variables(self) -> Path:
        return self.root / "nvram.fd"

    @property
    def cd(self) -> Path:
        """The image in the CD drive."""
        return self.root / "cd.iso"

    @property
    def trusted(self) -> Path:
        """The CAs that its firmware trusts, as EFI signature lists; it trusts none where there is no such file."""
        return self.root / "cacerts.esl"

    @property
    def serial_log(self) -> Path:
        """What the guest printed, across power cycles. QEMU's own log repeats what its reader was too busy for."""
        return self.root / "console.log"

    @property
    def kcs(self) -> Path:
        """Where the machine's BMC listens for the guest. QEMU 7.2 crashes when this line is an inherited one."""
        return self.root / "kcs.sock"

    @property
    def qemu_log(self) -> Path:
        return self.root / "qemu.log"


@dataclass(frozen=True, slots=True)
class Lines:
    """QEMU's ends of two socket pairs, as file descriptors that it inherits."""

    qmp: int
    serial: int


@dataclass(frozen=True, slots=True)
class Setup:
    """What of a machine the rack decides."""

    tap: str
    accelerator: Accelerator
    has_cd: bool = False
    """There is an image in the CD drive."""
    has_trust: bool = False
    """There are CAs that its firmware is to trust."""


def boot_order(choice: BootChoice) -> dict[str, int]:
    """The boot index of each device, by its id, when `choice` shall come first."""
    first = DEVICE.get(choice.target, "")
    order = sorted(OWN_ORDER, key=lambda device: device != first)
    return {device: index for index, device in enumerate(order)}


def command_line(identity: Identity, files: Files, lines: Lines, setup: Setup, choice: BootChoice) -> list[str]:
    """The argument vector. QEMU stands still until told to go on (-S)."""
    order, build = boot_order(choice), BUILDS[identity.firmware]
    name, cpu = ("tcg", build.cpu) if build.cpu else (setup.accelerator.name, setup.accelerator.cpu)
    return [
        build.program, "-S", "-action", "reboot=shutdown", "-name", identity.name,
        "-machine", f"{build.machine},accel={name}", "-cpu", cpu,
        "-smp", str(identity.cpus), "-m", str(identity.memory_bytes // MIB),
        "-nodefaults", "-display", "none", "-no-user-config",
        *_label(identity), *_firmware(identity, files), *_trust(files, setup),
        "-device", "virtio-rng-pci",
        "-netdev", f"tap,id=net0,ifname={setup.tap},script=no,downscript=no",
        "-device", f"virtio-net-pci,id=nic,netdev=net0,mac={identity.macs[0]},bootindex={order['nic']}"
        + (",romfile=" if identity.firmware.is_uefi else "")
        + (f",addr={NIC_SLOT:#x}" if identity.firmware is Firmware.UEFI_HTTP6 else ""),
        "-drive", f"if=none,id=disk0,file={files.disk},format=raw,cache=unsafe,discard=unmap,detect-zeroes=unmap",
        "-device", f"virtio-blk-pci,id=disk,drive=disk0,serial={identity.serial}-D0,bootindex={order['disk']}",
        *_more(identity, files, setup),
        "-drive", "if=none,id=cd0,media=cdrom" + (f",file={files.cd},format=raw,readonly=on" if setup.has_cd else ""),
        *build.extra, "-device", f"{build.cd},id=cd,drive=cd0,bootindex={order['cd']}",
        "-chardev", f"socket,id=serial0,fd={lines.serial}",
        *build.serial, *(_kcs(files) if build.has_kcs else ()),
        "-chardev", f"socket,id=qmp0,fd={lines.qmp}", "-mon", "chardev=qmp0,mode=control",
    ]  # fmt: skip


def more_tap(tap: str, number: int) -> str:
    """Name the tap of a machine's port after the first."""
    return f"{tap}x{number}"


def _more(identity: Identity, files: Files, setup: Setup) -> list[str]:
    """Disks and ports after the first: there, but nothing boots from them."""
    words = []
    for number, disk in enumerate(files.more_disks(identity), 1):
        words += ["-drive", f"if=none,id=disk{number},file={disk},format=raw,cache=unsafe,discard=unmap"]
        words += ["-device", f"virtio-blk-pci,drive=disk{number},serial={identity.serial}-D{number}"]
    for number, mac in enumerate(identity.macs[1:], 1):
        words += ["-netdev", f"tap,id=net{number},ifname={more_tap(setup.tap, number)},script=no,downscript=no"]
        words += ["-device", f"virtio-net-pci,netdev=net{number},mac={mac},romfile="]
    return words


def _label(identity: Identity) -> list[str]:
    system = (
        f"type=1,manufacturer={identity.vendor},product={identity.model},serial={identity.serial},uuid={identity.uuid}"
    )
    chassis = f"type=3,manufacturer={identity.vendor},serial={identity.serial}"
    return ["-uuid", identity.uuid, "-smbios", system, "-smbios", chassis]


def _kcs(files: Files) -> list[str]:
    return [
        "-chardev", f"socket,id=kcs0,path={files.kcs},reconnect=1",
        "-device", "ipmi-bmc-extern,id=bmc0,chardev=kcs0", "-device", "isa-ipmi-kcs,bmc=bmc0",
    ]  # fmt: skip


def _trust(files: Files, setup: Setup) -> list[str]:
    """OVMF's `OvmfPkg/RUNTIME_CONFIG.md`, TLS."""
    return ["-fw_cfg", f"name=etc/edk2/https/cacerts,file={files.trusted}"] if setup.has_trust else []


def _firmware(identity: Identity, files: Files) -> list[str]:
    build = BUILDS[identity.firmware]
    if build.flash is None:
        return []
    flash = [
        "-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={build.flash.code}",
        "-drive", f"if=pflash,unit=1,format=raw,file={files.variables}",
    ]  # fmt: skip
    if identity.firmware is Firmware.UEFI_HTTP6:
        flash += ["-boot", f"menu=on,splash-time={SETTLE_MS}"]
    return flash + [word for name in build.hidden for word in ("-fw_cfg", f"name=opt/org.tianocore/{name},string=n")]
