"""Disks: which of a machine's disks a system goes on, and how they are divided. No I/O.

The plan is the same whatever the family: partitions (GPT, numbered, the same on every disk), what each of them holds,
and volumes inside LVM. Templates write it in their installer's dialect.

    plain       bios|esp [boot] [swap] [volumes] root
    lvm         bios|esp boot pv{ [swap] [volumes] root }
    raid1       bios|esp boot [swap] [volumes] root      each but the first an md array over both disks
    raid1-lvm   bios|esp boot pv{ ... }                  the same
    zfs, zfs-*  left to the installer: bios|esp and one pool over all disks
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any

from provisioner.errors import RenderError
from provisioner.fields import parse_size
from provisioner.model.facts import Disk

MIB = 1 << 20
BIOS_MIB = 1
ESP_MIB = 512
BOOT_MIB = 1024
SPARE_MIB = 8
"""Room for both partition tables, alignment and md's superblocks."""
MIN_ROOT_MIB = 1024
MIN_MIB = {"ext4": 16, "btrfs": 128, "xfs": 300}
"""What the smallest of each has: mkfs.xfs(8) refuses less, mkfs.btrfs wants 109 MiB, and ext4 its journal."""
OWN_NAMES = ("root", "swap", "boot", "esp", "bios", "system", "zfs")
"""What partitions and volumes of ours are called, and the volume group."""
OWN_MOUNTS = ("/bin", "/boot", "/dev", "/etc", "/lib", "/lib32", "/lib64", "/proc", "/run", "/sbin", "/sys")
"""Nothing can be mounted there: the kernel or systemd mounts it, or the root has to have it to get as far."""


COUNTS: Mapping[str, tuple[int, int]] = {
    "plain": (1, 1),
    "lvm": (1, 1),
    "raid1": (2, 2),
    "raid1-lvm": (2, 2),
    "zfs": (1, 1),
    "zfs-mirror": (2, 8),
    "zfs-raidz1": (3, 32),
    "zfs-raidz2": (4, 32),
}
"""How many disks each layout takes at the least, which is what it gets where nobody says, and at the most."""


class Role(StrEnum):
    """What a partition is for."""

    BIOS = "bios"  # GRUB's core image on GPT without UEFI
    ESP = "esp"
    BOOT = "boot"
    VOLUME = "volume"  # a file system or swap space
    PV = "pv"
    ZFS = "zfs"


@dataclass(frozen=True, slots=True)
class Volume:
    """A file system, or swap space (`filesystem` is "swap", no mount point). No size: all that is left."""

    name: str
    mount: str
    filesystem: str
    size_mib: int | None = None


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition as every disk of the layout gets it. `array` names the md device where it is one half of a mirror."""

    number: int
    role: Role
    name: str
    size_mib: int | None
    volume: Volume | None = None
    array: str = ""
    encrypted: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Everything about the disks of one system. `volumes` are those inside LVM, or what a pool is to have room for."""

    name: str
    firmware: str
    disks: tuple[Disk, ...]
    partitions: tuple[Partition, ...]
    volumes: tuple[Volume, ...]
    encryption: str

    @property
    def mirror(self) -> bool:
        return self.name in ("raid1", "raid1-lvm", "zfs-mirror")

    @property
    def lvm(self) -> bool:
        return self.name in ("lvm", "raid1-lvm")

    @property
    def zfs(self) -> bool:
        return self.name.startswith("zfs")


def plan(params: Mapping[str, Any], disks: Sequence[Disk], firmware: str, min_bytes: int) -> Layout:
    """Divide a machine's disks as `params` (the group `disk`) say; raise `RenderError` where that cannot be done."""
    name, encryption = params["layout"], params["encryption"]
    chosen = choose(params["select"], disks, _count(name, params["count"]), min_bytes)
    volumes = _volumes(params)
    encrypted = encryption != "none"
    if encrypted and name in ("plain", "raid1") and len(volumes) > 1:
        raise RenderError(
            "disk.encryption: swap and more volumes than the root", hint="disk.layout: lvm holds them all"
        )
    layout = Layout(
        name=name,
        firmware=firmware or "bios",
        disks=tuple(chosen),
        partitions=tuple(_partitions(name, firmware, encrypted, volumes)),
        volumes=volumes if name in ("lvm", "raid1-lvm") or name.startswith("zfs") else (),
        encryption=encryption,
    )
    if layout.zfs:
        _check_pool(params)
    _check_room(layout, volumes)
    return layout


def check_names(layout: Layout, select: Mapping[str, Any], disks: Sequence[Disk], *, by_serial: bool) -> None:
    """Raise `RenderError` where a chosen disk may be another one after the next start: disks count as they appear.

    `by_serial`: whoever writes looks for the serial number too. A disk that was named by hand is believed to stay, and
    where all disks are taken there is no other.
    """
    if len(layout.disks) == len(disks):
        return
    for disk in layout.disks:
        by_hand = select.get("path") in (disk.name, f"/dev/{disk.name}")
        if not (disk.path or by_hand or (by_serial and disk.serial)):
            raise RenderError(
                f"disk.select: {disk.name} has no name that lasts: another disk may be called so after the next start",
                hint=f"discover it again, or disk.select.path: /dev/{disk.name} where it is known to stay that one",
            )


def _count(name: str, wanted: int | None) -> int:
    """Say how many disks a layout goes on; raise `RenderError` where it cannot go on as many as are wanted."""
    least, most = COUNTS[name]
    if wanted is not None and not least <= wanted <= most:
        takes = f"{least} to {most} disks" if most > least else f"{least} disk(s)"
        raise RenderError(f"disk.count: {wanted}; disk.layout: {name} takes {takes}")
    return wanted or least


def choose(select: Mapping[str, Any], disks: Sequence[Disk], count: int, min_bytes: int) -> list[Disk]:
    """Pick `count` disks by what they are; raise `RenderError` that says why each of the others was left out."""
    reasons = {disk.name: _unfit(select, disk, min_bytes) for disk in disks}
    fit = [disk for disk in disks if not reasons[disk.name]]
    order = select.get("order", "smallest")
    if order != "first":
        fit.sort(key=lambda disk: disk.size_bytes, reverse=order == "largest")
    if len(fit) < count:
        left_out = "; ".join(f"{name}: {reason}" for name, reason in reasons.items() if reason) or "it has none"
        raise RenderError(f"{count} disk(s) are wanted, {len(fit)} fit: {left_out}", hint="see disk.select")
    return fit[:count]


def _unfit(select: Mapping[str, Any], disk: Disk, min_bytes: int) -> str:
    """Say why a disk is not taken, empty where it fits."""
    if disk.size_bytes < min_bytes:
        return f"{disk.size_bytes // MIB} MiB, {min_bytes // MIB} are needed"
    if disk.transport == "usb" and select.get("transport") != "usb":
        return "a USB disk, which is only taken when asked for"
    names = (disk.path, disk.by_path, disk.name, f"/dev/{disk.name}")
    if "path" in select and not any(fnmatchcase(name, select["path"]) for name in names):
        return f"path is {' or '.join(filter(None, names[:2])) or disk.name}"
    for key, value in (
        ("model", disk.model),
        ("serial", disk.serial),
        ("wwn", disk.wwn),
        ("transport", disk.transport),
    ):
        if key in select and not fnmatchcase(value, select[key]):
            return f"{key} is {value or 'not known'}"
    if select.get("rotational", disk.rotational) is not disk.rotational:
        return f"rotational is {str(disk.rotational).lower()}"
    return _unfit_size(select, disk)


def _unfit_size(select: Mapping[str, Any], disk: Disk) -> str:
    low, high = (parse_size(select[key]) if key in select else None for key in ("min_size", "max_size"))
    if low is not None and disk.size_bytes < low:
        return f"{disk.size_bytes // MIB} MiB is below min_size"
    if high is not None and disk.size_bytes > high:
        return f"{disk.size_bytes // MIB} MiB is above max_size"
    return ""


def _volumes(params: Mapping[str, Any]) -> tuple[Volume, ...]:
    """List what has to be made, the root last: it takes what is left."""
    filesystem = params["filesystem"]
    volumes = []
    if swap := _mib(params["swap"]):
        volumes.append(Volume("swap", "", "swap", swap))
    for item in params["volumes"]:
        size = _mib(item["size"])
        _check_mount(item["mount"], [volume.mount for volume in volumes])
        volumes.append(Volume(item["name"], item["mount"], item.get("filesystem", filesystem), size))
    names = [item["name"] for item in params["volumes"]]
    if taken := sorted({name for name in names if name in OWN_NAMES or names.count(name) > 1}):
        own = ", ".join(OWN_NAMES)
        raise RenderError(f"disk.volumes: names are taken: {', '.join(taken)}", hint=f"each once, and none of {own}")
    root_size = _mib(params["root_size"]) if params["root_size"] else None
    root = Volume("root", "/", filesystem, root_size)
    for volume in (*volumes, root):
        least = MIN_ROOT_MIB if volume is root else MIN_MIB.get(volume.filesystem, 0)
        if volume.size_mib is not None and volume.size_mib < least:
            what = f"{volume.mount or volume.name} ({volume.filesystem})"
            raise RenderError(
                f"disk.*: {volume.size_mib} MiB for {what}, at least {least}", hint="a size without a unit is in octets"
            )
    return (*volumes, root)


def _check_mount(mount: str, others: Sequence[str]) -> None:
    """Raise `RenderError` where a volume cannot be mounted there."""
    parts = mount.split("/")[1:]
    if mount in others or f"/{parts[0]}" in OWN_MOUNTS:
        raise RenderError(f"disk.volumes: {mount} is taken", hint=f"each once, and nothing in {', '.join(OWN_MOUNTS)}")
    if "." in parts or ".." in parts:
        raise RenderError(f"disk.volumes: {mount}: write it without . and ..")


def _check_pool(params: Mapping[str, Any]) -> None:
    """Raise `RenderError` for what no installer can be told of a pool."""
    wanted = ["volumes"] if params["volumes"] else []
    wanted += ["encryption"] if params["encryption"] != "none" else []
    wanted += ["filesystem"] if params["filesystem"] != "ext4" else []
    if wanted:
        raise RenderError(
            f"disk.layout: {params['layout']} leaves {', '.join(f'disk.{key}' for key in wanted)} to its installer"
        )


def _mib(text: str) -> int:
    """Read a size, rounded up to whole MiB."""
    size = parse_size(text)
    assert size is not None, "the parameter's schema lets nothing else pass"
    return -(-size // MIB)


def _partitions(name: str, firmware: str, encrypted: bool, volumes: Sequence[Volume]) -> list[Partition]:
    uefi = firmware == "uefi"
    first = Partition(1, Role.ESP, "esp", ESP_MIB) if uefi else Partition(1, Role.BIOS, "bios", BIOS_MIB)
    if name.startswith("zfs"):
        return [first, Partition(2, Role.ZFS, "zfs", None)]
    made = (
        [(Role.BOOT, "boot", BOOT_MIB, Volume("boot", "/boot", "ext4", BOOT_MIB))]
        if encrypted or name != "plain"
        else []
    )
    slots: list[tuple[Role, str, int | None, Volume | None]] = [*made]
    if name in ("lvm", "raid1-lvm"):
        slots.append((Role.PV, "system", None, None))
    else:
        slots += [(Role.VOLUME, volume.name, volume.size_mib, volume) for volume in volumes]
    mirror = name in ("raid1", "raid1-lvm")
    return [
        first,
        *(
            Partition(
                number,
                role,
                label,
                size,
                volume,
                array=f"md{number - 2}" if mirror else "",
                encrypted=encrypted and role is not Role.BOOT,
            )
            for number, (role, label, size, volume) in enumerate(slots, 2)
        ),
    ]


def _check_room(layout: Layout, volumes: Sequence[Volume]) -> None:
    """Raise `RenderError` where what is wanted does not fit on the smallest disk."""
    fixed = sum(part.size_mib or 0 for part in layout.partitions if part.role is not Role.VOLUME) + SPARE_MIB
    wanted = fixed + sum(MIN_ROOT_MIB if volume.size_mib is None else volume.size_mib for volume in volumes)
    smallest = min(disk.size_bytes for disk in layout.disks) // MIB
    if wanted > smallest:
        names = ", ".join(disk.name for disk in layout.disks)
        raise RenderError(f"the layout needs {wanted} MiB, the smallest of {names} has {smallest}", hint="see disk.*")
