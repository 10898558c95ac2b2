"""Make a disk image with GPT, BIOS boot partition, EFI partition and one ext4 root: no loop device, no mount."""

from __future__ import annotations

import struct
import uuid
from dataclasses import dataclass
from pathlib import Path

from provisioner.discovery.build.tools import Say, run
from provisioner.errors import ArtifactError

MIB = 1 << 20
SECTOR = 512
BIOS_MIB, ESP_MIB = 1, 32
"""GRUB's core image has some 130 kB; the EFI partition holds one loader, and FAT16 needs 4,085 clusters."""
_BIOS_AT, _ESP_AT, _ROOT_AT = 1, 1 + BIOS_MIB, 1 + BIOS_MIB + ESP_MIB
_TAIL_MIB = 1
"""Room behind the root for GPT's second table."""
ROOT_PARTITION = 3

_BIOS_BOOT = "21686148-6449-6E6F-744E-656564454649"
_EFI_SYSTEM = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B"
_LINUX = "0FC63DAF-8483-4772-8E79-3D69D8477DE4"

_PREFIX = f"(,gpt{ROOT_PARTITION})/boot/grub"
"""Relative to the disk that GRUB was started from: two disks with this image do not mix up their roots."""
_COMMON = (
    "part_gpt", "ext2", "normal", "linux", "serial", "terminal", "configfile", "echo", "test", "search",
    "search_fs_uuid", "all_video", "gfxterm", "sleep", "reboot", "halt", "minicmd", "ls", "cat",
)  # fmt: skip
_TARGETS = {"i386-pc": ("biosdisk",), "x86_64-efi": ("fat", "efi_gop")}

_KERNEL_SECTOR_AT, _BOOT_DRIVE_AT, _DRIVE_CHECK_AT = 0x5C, 0x64, 0x66
_BOOT_CODE = 440
_BLOCK_LIST_AT = SECTOR - 12
"""Where GRUB's boot.img and diskboot.img keep what an installer fills in (include/grub/i386/pc/boot.h)."""


@dataclass(frozen=True, slots=True)
class Ids:
    """Identifiers of an image, made from its inputs so that the same inputs give the same image."""

    disk: uuid.UUID
    root_partition: uuid.UUID
    root_filesystem: uuid.UUID

    @classmethod
    def of(cls, key: str) -> Ids:
        """Derive them from a build's key."""
        return cls(*(uuid.uuid5(uuid.NAMESPACE_OID, f"{key} {part}") for part in ("disk", "partition", "filesystem")))


def make_image(root: Path, image: Path, ids: Ids, say: Say) -> None:
    """Write `image` from the file tree `root`; its size follows from what is in there."""
    size_mib = _root_mib(root)
    scratch = image.parent
    say(f"file system of {size_mib} MiB")
    filesystem = scratch / "root.ext4"
    seed = f"hash_seed={ids.root_filesystem},root_owner=0:0,nodiscard"
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-m", "1", "-L", "provisioner-root",
         "-U", str(ids.root_filesystem), "-E", seed, "-d", root, filesystem, f"{size_mib}M"],
        env={"E2FSPROGS_FAKE_TIME": "1"})  # fmt: skip
    _partition(image, size_mib, ids)
    _insert(image, filesystem, _ROOT_AT * MIB)
    filesystem.unlink()
    say("boot loaders for BIOS and UEFI")
    _install_bios(image, _grub("i386-pc", scratch))
    _insert(image, _efi_partition(_grub("x86_64-efi", scratch), scratch), _ESP_AT * MIB)


def _root_mib(root: Path) -> int:
    used = int(run(["du", "--summarize", "--block-size=1M", root]).split()[0])
    # inode tables, journal and block groups: 8 % and 40 MiB; the installation stretches it over the disk
    return -(-(used * 108 // 100 + 40) // 4) * 4


def _partition(image: Path, root_mib: int, ids: Ids) -> None:
    with image.open("wb") as file:
        file.truncate((_ROOT_AT + root_mib + _TAIL_MIB) * MIB)
    lines = (
        "label: gpt",
        f"label-id: {ids.disk}",
        f"start={_BIOS_AT}MiB, size={BIOS_MIB}MiB, type={_BIOS_BOOT}, name=provisioner-bios",
        f"start={_ESP_AT}MiB, size={ESP_MIB}MiB, type={_EFI_SYSTEM}, name=provisioner-esp",
        f"start={_ROOT_AT}MiB, size={root_mib}MiB, type={_LINUX}, name=provisioner-root, uuid={ids.root_partition}",
    )
    run(["sfdisk", "--quiet", "--no-reread", image], stdin="\n".join((*lines, "")).encode())


def _grub(target: str, scratch: Path) -> Path:
    folder, out = Path("/usr/lib/grub") / target, scratch / f"grub-{target}"
    run(["grub-mkimage", "--directory", folder, "--format", target, "--prefix", _PREFIX, "--output", out,
         *_TARGETS[target], *_COMMON])  # fmt: skip
    return out


def _install_bios(image: Path, core_file: Path) -> None:
    """Do what grub-install does to a disk: boot.img in sector 0 knows where core.img is, core.img where it goes on."""
    boot = bytearray(Path("/usr/lib/grub/i386-pc/boot.img").read_bytes())
    core = bytearray(core_file.read_bytes())
    sectors = -(-len(core) // SECTOR)
    if sectors * SECTOR > BIOS_MIB * MIB:
        raise ArtifactError(f"GRUB's core image has {len(core)} bytes, more than its partition")
    start = _BIOS_AT * MIB // SECTOR
    struct.pack_into("<Q", boot, _KERNEL_SECTOR_AT, start)
    boot[_BOOT_DRIVE_AT] = 0xFF  # the drive that the BIOS says it started from
    boot[_DRIVE_CHECK_AT : _DRIVE_CHECK_AT + 2] = b"\x90\x90"  # two NOPs: believe the BIOS
    segment = struct.unpack_from("<H", core, _BLOCK_LIST_AT + 10)[0]
    struct.pack_into("<QHH", core, _BLOCK_LIST_AT, start + 1, sectors - 1, segment)
    with image.open("r+b") as file:
        file.write(boot[:_BOOT_CODE])
        file.seek(start * SECTOR)
        file.write(core)


def _efi_partition(loader: Path, scratch: Path) -> Path:
    partition = scratch / "esp.fat"
    with partition.open("wb") as file:
        file.truncate(ESP_MIB * MIB)
    run(["mkfs.vfat", "--invariant", "-F", "16", "-n", "ESP", partition])
    run(["mmd", "-i", partition, "::EFI", "::EFI/BOOT"])
    run(["mcopy", "-i", partition, loader, "::EFI/BOOT/BOOTX64.EFI"])
    return partition


def _insert(image: Path, part: Path, at: int) -> None:
    run(["dd", f"if={part}", f"of={image}", "bs=1M", f"seek={at // MIB}", "conv=notrunc,sparse"])
