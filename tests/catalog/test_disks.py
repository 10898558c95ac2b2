"""Which disks a system goes on, and how they are divided."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from provisioner.catalog.disks import Layout, check_names, choose, plan
from provisioner.errors import RenderError
from provisioner.model.facts import Disk

GB = 10**9
NVME = Disk("nvme0n1", 480 * GB, "/dev/disk/by-id/nvme-eui.1", "SSDPE2", "S1", "eui.1", False, "nvme")
SATA_A = Disk("sda", 240 * GB, "/dev/disk/by-id/wwn-0x5002", "SSD240", "S2", "0x5002", False, "sata")
SATA_B = Disk("sdb", 240 * GB, "/dev/disk/by-id/wwn-0x5003", "SSD240", "S3", "0x5003", False, "sata")
HDD = Disk(
    "sdc", 8000 * GB, "/dev/disk/by-id/wwn-0x5004", "HDD8T", "S4", "0x5004", True, "sata",
    by_path="/dev/disk/by-path/pci-0000:00:1f.2-ata-3.0",
)  # fmt: skip
STICK = Disk("sdd", 16 * GB, "", "Stick", "S5", "", False, "usb")
DISKS = (HDD, NVME, SATA_A, SATA_B, STICK)
DEFAULTS: dict[str, Any] = {
    "layout": "plain",
    "count": None,
    "select": {"order": "smallest"},
    "filesystem": "ext4",
    "swap": "0",
    "root_size": None,
    "volumes": [],
    "encryption": "none",
}

CHOSEN: dict[str, tuple[dict[str, Any], int, list[str]]] = {
    "the smallest that is no stick": ({}, 1, ["sda"]),
    "two for a mirror": ({}, 2, ["sda", "sdb"]),
    "the largest": ({"order": "largest"}, 1, ["sdc"]),
    "the first as the machine counts": ({"order": "first"}, 1, ["sdc"]),
    "by transport": ({"transport": "nvme"}, 1, ["nvme0n1"]),
    "a stick when it is asked for": ({"transport": "usb"}, 1, ["sdd"]),
    "by its own name": ({"path": "/dev/disk/by-id/*5003"}, 1, ["sdb"]),
    "by where it is attached": ({"path": "/dev/disk/by-path/pci-*-ata-3.0"}, 1, ["sdc"]),
    "by name": ({"path": "/dev/sdc"}, 1, ["sdc"]),
    "by serial number": ({"serial": "S3"}, 1, ["sdb"]),
    "by WWN": ({"wwn": "0x5004"}, 1, ["sdc"]),
    "by model": ({"model": "SSD*"}, 2, ["sda", "sdb"]),
    "what turns": ({"rotational": True}, 1, ["sdc"]),
    "what does not turn, the largest": ({"rotational": False, "order": "largest"}, 1, ["nvme0n1"]),
    "by size": ({"min_size": "300GB", "max_size": "1TB"}, 1, ["nvme0n1"]),
}


@pytest.mark.parametrize(("select", "count", "names"), CHOSEN.values(), ids=CHOSEN.keys())
def test_chooses(select: dict[str, Any], count: int, names: list[str]) -> None:
    assert [disk.name for disk in choose(select, DISKS, count, 4 * GB)] == names


def test_says_why_no_disk_fits() -> None:
    with pytest.raises(RenderError) as caught:
        choose({"transport": "nvme", "min_size": "1TB"}, DISKS, 1, 4 * GB)
    text = str(caught.value)
    for part in (
        "1 disk(s) are wanted, 0 fit",
        "sdc: transport is sata",
        "nvme0n1: 457763 MiB is below min_size",
        "sdd: a USB disk",
    ):
        assert part in text


def test_a_machine_without_disks() -> None:
    with pytest.raises(RenderError, match="it has none"):
        choose({}, (), 1, 0)


BARE_A, BARE_B = replace(SATA_A, path=""), replace(SATA_B, path="", serial="")
NAMES: dict[str, tuple[dict[str, Any], tuple[Disk, ...], bool, bool]] = {
    "a stable name": ({}, (SATA_A, BARE_B), False, True),
    "a name of this start": ({}, (BARE_A, SATA_B), False, False),
    "with a serial number, which an installer does not see": ({"serial": "S2"}, (BARE_A, SATA_B), False, False),
    "with a serial number, which a job looks for": ({"serial": "S2"}, (BARE_A, SATA_B), True, True),
    "with neither": ({"order": "first"}, (BARE_B, SATA_A), True, False),
    "named by hand": ({"path": "/dev/sdb"}, (BARE_B, SATA_A), False, True),
    "found by a pattern": ({"path": "/dev/sdb*"}, (BARE_B, SATA_A), False, False),
    "the only disk": ({}, (BARE_B,), False, True),
}


@pytest.mark.parametrize(("select", "disks", "by_serial", "lasts"), NAMES.values(), ids=NAMES.keys())
def test_a_disk_is_the_same_after_the_next_start(
    select: dict[str, Any], disks: tuple[Disk, ...], by_serial: bool, lasts: bool
) -> None:
    layout = plan(DEFAULTS | {"select": select}, disks, "uefi", 0)
    with nullcontext() if lasts else pytest.raises(RenderError, match="has no name that lasts"):
        check_names(layout, select, disks, by_serial=by_serial)


def shape(layout: Layout) -> list[str]:
    """Write a layout down shortly: number, name, size, array, encryption."""
    return [
        f"{part.number} {part.name} {part.size_mib or 'rest'}"
        + (f" {part.array}" if part.array else "")
        + (" encrypted" if part.encrypted else "")
        for part in layout.partitions
    ] + [f"{volume.name} {volume.size_mib or 'rest'}" for volume in layout.volumes]


VAR = {"name": "var", "mount": "/var", "size": "20GiB"}
SHAPES: dict[str, tuple[dict[str, Any], str, list[str]]] = {
    "plain, BIOS": ({}, "bios", ["1 bios 1", "2 root rest"]),
    "plain, UEFI, with swap and a volume": (
        {"swap": "4GiB", "volumes": [VAR]},
        "uefi",
        ["1 esp 512", "2 swap 4096", "3 var 20480", "4 root rest"],
    ),
    "LVM": (
        {"layout": "lvm", "swap": "1GB"},
        "uefi",
        ["1 esp 512", "2 boot 1024", "3 system rest", "swap 954", "root rest"],
    ),
    "mirror": ({"layout": "raid1"}, "bios", ["1 bios 1", "2 boot 1024 md0", "3 root rest md1"]),
    "LVM on a mirror": (
        {"layout": "raid1-lvm", "root_size": "50GiB"},
        "uefi",
        ["1 esp 512", "2 boot 1024 md0", "3 system rest md1", "root 51200"],
    ),
    "plain, encrypted": ({"encryption": "passphrase"}, "uefi", ["1 esp 512", "2 boot 1024", "3 root rest encrypted"]),
    "LVM, encrypted": (
        {"layout": "lvm", "encryption": "tpm", "swap": "1GiB"},
        "uefi",
        ["1 esp 512", "2 boot 1024", "3 system rest encrypted", "swap 1024", "root rest"],
    ),
    "ZFS": ({"layout": "zfs-mirror"}, "uefi", ["1 esp 512", "2 zfs rest", "root rest"]),
    "ZFS of a size, with swap": (
        {"layout": "zfs", "root_size": "50GiB", "swap": "2GiB"},
        "bios",
        ["1 bios 1", "2 zfs rest", "swap 2048", "root 51200"],
    ),
}


@pytest.mark.parametrize(("params", "firmware", "parts"), SHAPES.values(), ids=SHAPES.keys())
def test_divides(params: dict[str, Any], firmware: str, parts: list[str]) -> None:
    assert shape(plan(DEFAULTS | params, DISKS, firmware, 4 * GB)) == parts


def test_a_mirror_lies_on_two_disks() -> None:
    layout = plan(DEFAULTS | {"layout": "raid1"}, DISKS, "bios", 0)
    assert (layout.mirror, layout.lvm, layout.zfs) == (True, False, False)
    assert len(layout.disks) == 2


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "more than the disk holds": (
        {"volumes": [VAR | {"size": "300GB"}]},
        "the layout needs 287647 MiB, the smallest of sda has 228881",
    ),
    "a mount point twice": ({"volumes": [VAR, VAR | {"name": "v2"}]}, "/var is taken"),
    "a name twice": ({"volumes": [VAR, VAR | {"mount": "/srv"}]}, "names are taken"),
    "the root again": ({"volumes": [VAR | {"name": "root"}]}, "names are taken"),
    **{
        f"a name of ours: {name}": ({"layout": "lvm", "volumes": [VAR | {"name": name}]}, f"names are taken: {name}")
        for name in ("boot", "swap", "esp", "bios", "system", "zfs")
    },
    **{
        f"a place that is none: {mount}": ({"volumes": [VAR | {"mount": mount}]}, f"{mount} is taken")
        for mount in ("/boot", "/boot/efi", "/boot/x", "/etc", "/etc/ssh", "/proc", "/sys", "/dev/shm", "/run", "/lib")
    },
    **{
        f"a way and no place: {mount}": ({"volumes": [VAR | {"mount": mount}]}, f"{mount}: write it without . and ..")
        for mount in ("/..", "/../x", "/srv/./x", "/srv/..")
    },
    "a volume without a size": ({"volumes": [VAR | {"size": "0"}]}, "0 MiB for /var (ext4), at least 16"),
    "a volume that forgot its unit": (
        {"volumes": [VAR | {"size": "20", "filesystem": "xfs"}]},
        "1 MiB for /var (xfs), at least 300 (a size without a unit is in octets)",
    ),
    "a root that forgot its unit": ({"root_size": "40"}, "1 MiB for / (ext4), at least 1024"),
    "a root of nothing": ({"root_size": "0"}, "0 MiB for / (ext4), at least 1024"),
    "encrypted partitions beside the root": ({"encryption": "passphrase", "swap": "1GiB"}, "disk.layout: lvm"),
    **{
        f"not enough disks: {name}": (
            {"layout": name, "select": {"order": "smallest", "path": f"/dev/sd{disks}"}},
            f"{least} disk(s) are wanted, {least - 1} fit",
        )
        for name, disks, least in (("zfs-mirror", "a", 2), ("zfs-raidz1", "[ab]", 3), ("zfs-raidz2", "[abc]", 4))
    },
    "fewer disks than the level takes": (
        {"layout": "zfs-raidz2", "count": 3},
        "disk.count: 3; disk.layout: zfs-raidz2 takes 4 to 32 disks",
    ),
    "more disks than a plain system goes on": ({"count": 2}, "disk.count: 2; disk.layout: plain takes 1 disk(s)"),
    "volumes of a pool": ({"layout": "zfs", "volumes": [VAR]}, "zfs leaves disk.volumes to its installer"),
    "a file system beside ZFS": ({"layout": "zfs", "filesystem": "xfs"}, "zfs leaves disk.filesystem to its installer"),
    "a pool that is encrypted": ({"layout": "zfs", "encryption": "tpm"}, "zfs leaves disk.encryption to its installer"),
    "a pool larger than its disk": ({"layout": "zfs", "root_size": "300GB"}, "the layout needs 286"),
    "one disk for a mirror": ({"layout": "raid1", "select": {"transport": "nvme"}}, "2 disk(s) are wanted, 1 fit"),
}


@pytest.mark.parametrize(("params", "says"), WRONG.values(), ids=WRONG.keys())
def test_refuses(params: dict[str, Any], says: str) -> None:
    with pytest.raises(RenderError) as caught:
        plan(DEFAULTS | params, DISKS, "uefi", 4 * GB)
    assert says in str(caught.value)
