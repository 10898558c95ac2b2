"""Which kernel modules go into the discovery system."""

from __future__ import annotations

import pytest

from provisioner.discovery.build.modules import choose, dependencies, patterns
from provisioner.discovery.build.ramdisk import MODULE_LISTS, RAMDISK
from provisioner.errors import WireError

DEP = """kernel/drivers/net/virtio_net.ko: kernel/drivers/net/net_failover.ko kernel/drivers/virtio/virtio.ko
kernel/drivers/net/net_failover.ko: kernel/net/core/failover.ko
kernel/net/core/failover.ko:
kernel/drivers/virtio/virtio.ko:
kernel/drivers/scsi/sd_mod.ko.xz: kernel/drivers/scsi/scsi_mod.ko.xz
kernel/drivers/scsi/scsi_mod.ko.xz:
kernel/drivers/scsi/bnx2i/bnx2i.ko.xz: kernel/drivers/scsi/scsi_mod.ko.xz
updates/dkms/special.ko:
"""
VIRTIO = ("kernel/drivers/net/net_failover.ko", "kernel/drivers/net/virtio_net.ko", "kernel/drivers/virtio/virtio.ko",
          "kernel/net/core/failover.ko")  # fmt: skip

CASES = {
    "one module and all that it needs": (["drivers/net/virtio_net"], VIRTIO),
    "a folder": (
        ["drivers/scsi"],
        ("kernel/drivers/scsi/bnx2i/bnx2i.ko.xz", "kernel/drivers/scsi/scsi_mod.ko.xz",
         "kernel/drivers/scsi/sd_mod.ko.xz"),
    ),
    "left out by a pattern": (
        ["drivers/scsi", "!drivers/scsi/bnx2*"],
        ("kernel/drivers/scsi/scsi_mod.ko.xz", "kernel/drivers/scsi/sd_mod.ko.xz"),
    ),
    "left out, but needed by another": (
        ["drivers/scsi/sd_mod", "!drivers/scsi/scsi_mod"],
        ("kernel/drivers/scsi/scsi_mod.ko.xz", "kernel/drivers/scsi/sd_mod.ko.xz"),
    ),
    "what this kernel does not have": (["drivers/net/tulip"], ()),
    "half a name is no match": (["drivers/net/virtio"], ()),
}  # fmt: skip


@pytest.mark.parametrize(("wanted", "chosen"), CASES.values(), ids=CASES.keys())
def test_choose(wanted: list[str], chosen: tuple[str, ...]) -> None:
    assert choose(dependencies(DEP), wanted) == chosen


def test_modules_that_need_each_other_end() -> None:
    assert choose({"kernel/a.ko": ("kernel/b.ko",), "kernel/b.ko": ("kernel/a.ko",)}, ["a"]) == (
        "kernel/a.ko",
        "kernel/b.ko",
    )


def test_a_line_without_a_colon_is_refused() -> None:
    with pytest.raises(WireError, match="line 2"):
        dependencies("a.ko:\nb.ko\n")


def test_comments_and_blank_lines() -> None:
    assert patterns("# all\n\ndrivers/net  # wired\n!drivers/net/can\n") == ("drivers/net", "!drivers/net/can")


@pytest.mark.parametrize("name", sorted(set(MODULE_LISTS.values())))
def test_every_shipped_list_has_network_disks_and_bmc(name: str) -> None:
    wanted = patterns((RAMDISK / name).read_text())
    for part in ("drivers/net/virtio_net", "drivers/block/virtio_blk", "drivers/char/ipmi", "fs/efivarfs"):
        assert any(line.startswith(part) for line in wanted)


JOBS_WANT = (
    *("fs/btrfs/btrfs", "fs/ext4/ext4", "fs/fat/vfat", "fs/xfs/xfs"),
    *("drivers/md/dm-mod", "drivers/md/dm-crypt", "drivers/md/raid1"),
)
CONTROLLERS = (
    *("drivers/ata/ahci", "drivers/block/mtip32xx/mtip32xx", "drivers/nvme/host/nvme", "drivers/pci/controller/vmd"),
    *("drivers/scsi/mpt3sas/mpt3sas", "drivers/ufs/host/ufshcd-pci", "drivers/usb/storage/uas"),
)


@pytest.mark.parametrize("name", sorted(set(MODULE_LISTS.values())))
def test_every_shipped_list_has_what_jobs_want(name: str) -> None:
    table: dict[str, tuple[str, ...]] = {f"kernel/{module}.ko": () for module in JOBS_WANT}
    assert choose(table, patterns((RAMDISK / name).read_text())) == tuple(sorted(table))


def test_the_list_for_all_hardware_has_every_kind_of_disk_controller() -> None:
    table: dict[str, tuple[str, ...]] = {f"kernel/{module}.ko.xz": () for module in CONTROLLERS}
    assert choose(table, patterns((RAMDISK / "modules.list").read_text())) == tuple(sorted(table))
