"""What a package install looks at before it erases a disk: volume groups of LVM on disks that it leaves as they are."""

from __future__ import annotations

import subprocess

import pytest

from tests.catalog.golden import FOLDER

DISKS = ("/dev/sda", "/dev/nvme0n1")
SEEN = {
    "no volume group": ("", ""),
    "one on a disk that is erased": ("  /dev/sda3", ""),
    "on a whole disk, and on a partition of an NVMe disk": ("  /dev/sda\n  /dev/nvme0n1p3", ""),
    "one on another disk": ("  /dev/sda3\n  /dev/sdb2", "/dev/sdb2"),
    "on a disk whose name begins like one that is erased": ("  /dev/sdaa3", "/dev/sdaa3"),
    "on another namespace": ("  /dev/nvme0n11p1", "/dev/nvme0n11p1"),
    "in a RAID that is not among them": ("  /dev/md127", "/dev/md127"),
}

STUB = """set -eu -o pipefail
box=/toolbox
chroot() { [ -z "$SEEN" ] || printf '%s\\n' "$SEEN"; return 5; }
fail() { echo "refused: $*"; exit 1; }
"""
"""LVM tells of damaged devices by its status, too: what it names is what counts."""


@pytest.mark.parametrize(("devices", "refused"), SEEN.values(), ids=SEEN.keys())
def test_a_volume_group_of_the_same_name_elsewhere_stops_it_before_the_erase(devices: str, refused: str) -> None:
    job = (FOLDER / "debian-12-packages" / "uefi-luks.txt").read_text()
    begin = job.index("# LVM sees every disk")
    look = job[begin : job.index("step erase 8", begin)]
    ran = subprocess.run(
        ["busybox", "sh", "-c", f"{STUB}{look}echo erased", "job", *DISKS],
        env={"SEEN": devices, "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if refused:
        assert (ran.returncode, ran.stdout.startswith(f"refused: {refused}, which is not to be erased")) == (1, True)
    else:
        assert (ran.returncode, ran.stdout) == (0, "erased\n")
