"""The agent's shell code and disks: which one a job takes, when all are there, what becomes of each in an erase."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.catalog.golden import files
from tests.discovery.shell import run

TWO_DISKS = """
sleep() { :; }
whole_disks() { printf '/dev/sda\\n/dev/sdb\\n'; }
disk_serial_number() { case $1 in /dev/sda) echo DATA1 ;; *) echo BOOT1 ;; esac; }
disk_wwid() { echo "t10.ATA     SSD 2                                   $(disk_serial_number $1)"; }
"""
FOUND = {
    "its stable name": ("/dev/disk/by-id/ata-SSD_2_BOOT1 BOOT1", "/dev/sdb"),
    "its serial number alone": ("BOOT1", "/dev/sdb"),
    "another device since the disk was chosen": ("/dev/sda BOOT1", "/dev/sdb"),
    "the same device": ("/dev/sda DATA1", "/dev/sda"),
    "a device that says nothing of itself": ("/dev/sda ''", "/dev/sda"),
    "another disk of that name": ("/dev/disk/by-id/ata-SSD_2_BOOT1 DATA1", ""),
}


@pytest.mark.parametrize(("wish", "device"), FOUND.values(), ids=FOUND.keys())
def test_the_disk_that_was_chosen_is_found_whatever_the_kernel_calls_it_now(
    tmp_path: Path, wish: str, device: str
) -> None:
    assert run(f"{TWO_DISKS}\nfind_disk {wish}", tmp_path).stdout.decode().strip() == device


def test_a_disk_with_two_ports_is_one_disk(tmp_path: Path) -> None:
    same = "disk_wwid() { echo naa.5000c500aaaaaaaa; }\ndisk_serial_number() { case $1 in *c) ;; *) echo S1 ;; esac; }"
    devices = "printf '/dev/sd%s\\n' a b c c"
    assert run(f"{same}\n{devices} | first_paths", tmp_path).stdout.decode().split() == [
        "/dev/sda",
        "/dev/sdc",
        "/dev/sdc",
    ]


MISSING = """
sleep() { :; }
whole_disks() { echo /dev/sda; }
disk_serial_number() { echo S1; }
disk_wwid() { :; }
disk_summary() { :; }
"""


def test_a_package_install_ends_at_the_first_disk_that_is_missing(tmp_path: Path) -> None:
    """Before it erases the others: a status that is lost in a substitution among arguments would not end it."""
    job = {name: text for name, _, text in files("debian-12-packages", "uefi-raid1")}["job.sh"]
    looks = job[job.index("step prepare 0") : job.index("step prepare 2")]
    done = run(f"{MISSING}\n{looks}", tmp_path)
    assert (done.returncode, done.stdout.count(b"taking")) == (1, 0)
    assert b"is not in this machine; there are: /dev/sda" in done.stderr


LATE = """
whole_disks() { [ ! -e $work/late ] || echo /dev/sdb; }
sleep() { : >$work/late; }
"""


def test_a_disk_that_is_still_spinning_up_is_waited_for(tmp_path: Path) -> None:
    assert run(f"{LATE}\nfind_disk /dev/sdb", tmp_path).stdout.decode().strip() == "/dev/sdb"


WAITS = {
    "a port of the board: a second after the last": (0, 0, 1),
    "two more, a second after each other": (2, 0, 3),
    "a controller that starts its disks one after the other": (4, "0x010700", 9),
    "an NVMe disk that is not live yet": (0, "connecting", 3),
}
BOARD = """
passed=0
ls() {{ echo /sys/class/nvme/nvme0; return 2; }}  # of the kinds of ports some are not there
cat() {{
    case "$*" in
        */class) echo {shown} ;;
        */state) if [ $passed -lt 3 ]; then echo {shown}; else echo live; fi ;;
    esac
}}
find() {{ seq 0 $(($passed < {after} ? $passed : {after})); }}
sleep() {{ passed=$((passed + 1)); }}
wait_for_disks
echo $passed
"""


@pytest.mark.parametrize(("after", "shown", "seconds"), WAITS.values(), ids=WAITS.keys())
def test_disks_are_waited_for(tmp_path: Path, after: int, shown: str, seconds: int) -> None:
    done = run("set +e\n" + BOARD.format(after=after, shown=shown), tmp_path, part="hardware.sh")
    assert done.stdout.decode().strip() == str(seconds), done.stderr


ERASES = {
    "all": ("/dev/sda disk 0 0 1", 0, "erased: /dev/sda"),
    "and a stick": ("/dev/sda disk 0 0 1\n/dev/sdb disk 1 0 1", 0,
                    "erased: /dev/sda; left as they are: /dev/sdb (removable)"),
    "but what is write-protected, and what has failed": (
        "/dev/sda disk 0 0 1\n/dev/sdb disk 0 1 1\n/dev/sdc disk 0 0 0", 1,
        "failed: erased: /dev/sda; not erased, since they cannot be written: "
        "/dev/sdb (write-protected), /dev/sdc (not ready)"),
    "not what an eMMC keeps for firmware": ("/dev/mmcblk0 disk 0 0 1\n/dev/mmcblk0boot0 disk 0 1 1", 0,
                                            "erased: /dev/mmcblk0"),
    "none, since there is none": ("/dev/sr0 rom 1 0 1", 1, "failed: no disk found: nothing was erased"),
}  # fmt: skip


@pytest.mark.parametrize(("listed", "status", "said"), ERASES.values(), ids=ERASES.keys())
def test_an_erase_says_of_every_disk_what_became_of_it(tmp_path: Path, listed: str, status: int, said: str) -> None:
    job = {name: text for name, _, text in files("discovery", "uefi-small")}["erase"].replace(
        ". /usr/lib/provisioner/job.sh",
        f"lsblk() {{ printf '{listed}\\n'; }}\nerase_disk() {{ :; }}\ncheck_erased() {{ :; }}\ndisk_summary() {{ :; }}",
    )
    done = run(job, tmp_path)
    assert (done.returncode, (done.stdout + done.stderr).decode().splitlines()[-1]) == (status, said)


CLOUD = """label: gpt
1: start=264192, size=16384, uuid=0F0F0F0F-0000-4000-8000-00000000000A
14: start=2048, size=6144
15: start=8192, size=253952
"""
MBR = """label: dos
label-id: 0x1234ABCD
1: start=2048, size=8192, type=c
2: start=10240, size=8192, type=83
"""
TABLES = {
    "GPT whose root is the first, and lies last": (CLOUD, "1", "0f0f0f0f-0000-4000-8000-00000000000a", 36),
    "MBR": (MBR, "2", "1234abcd-02", 11),
}
GROW = """
PATH=/usr/sbin:/usr/bin
blockdev() { :; }
number=$(grow_last $state/disk)
echo "$number"
partition_id $state/disk $number
renew_partition $state/disk $number
"""


@pytest.mark.parametrize(("table", "number", "old", "length"), TABLES.values(), ids=TABLES.keys())
def test_the_last_partition_fills_the_disk_and_gets_an_identifier_of_its_own(
    tmp_path: Path, table: str, number: str, old: str, length: int
) -> None:
    disk = tmp_path / "disk"
    with disk.open("wb") as file:
        file.truncate(192 << 20)
    subprocess.run(["sfdisk", "-q", disk], input=table.encode(), check=True)
    with disk.open("ab") as file:
        file.truncate(256 << 20)
    done = run(GROW, tmp_path)
    found, was, now = done.stdout.decode().split()
    assert (found, was, len(now)) == (number, old, length), done.stderr
    assert now != was
    made = json.loads(subprocess.run(["sfdisk", "--json", disk], capture_output=True, check=True).stdout)
    last = max(made["partitiontable"]["partitions"], key=lambda part: part["start"])
    assert last["start"] + last["size"] > (254 << 20) // 512


def test_a_system_finds_its_root_by_the_new_identifier_with_its_next_kernel_too(tmp_path: Path) -> None:
    names = ("etc/fstab", "etc/default/grub.d/40-force-partuuid.cfg", "boot/grub2/grub.cfg")
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("root=PARTUUID=1234abcd-02 ro\n")
    run(f"root={tmp_path}\nreplace_id 1234abcd-02 5678abcd-02", tmp_path)
    assert {(tmp_path / name).read_text() for name in names} == {"root=PARTUUID=5678abcd-02 ro\n"}


def test_the_serial_number_of_a_scsi_disk_is_told(tmp_path: Path) -> None:
    """BusyBox's tr knows no class of what can be printed: it takes its name for a set of letters."""
    (tmp_path / "vpd_pg80").write_bytes(b"\x00\x80\x00\x08   BOOT1")
    done = run(f". $PROVISIONER_LIB/facts.sh; disk_serial {tmp_path}", tmp_path, part="lib.sh")
    assert done.stdout.decode().strip() == "BOOT1"


NAMED = {
    "by its file system's identifier": ("UUID=5f5f / ext4 defaults 0 1\n", False),
    "by its partition's": ("PARTUUID=5f50 / ext4 defaults 0 1\n", True),
}
FILESYSTEM = """
mount() { :; }
umount() { :; }
blkid() { case "$*" in *TYPE*) echo ext4 ;; *) echo 5f5f ;; esac; }
e2fsck() { return 1; }
tune2fs() { echo "$@"; }
"""


@pytest.mark.parametrize(("fstab", "renewed"), NAMED.values(), ids=NAMED.keys())
def test_a_file_system_gets_an_identifier_of_its_own_where_nothing_names_it(
    tmp_path: Path, fstab: str, renewed: bool
) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_text(fstab)
    done = run(f"{FILESYSTEM}\nroot={tmp_path}\nrenew_filesystem /dev/vda3", tmp_path)
    assert (done.returncode, done.stdout.decode()) == (0, "-U random /dev/vda3\n" if renewed else ""), done.stderr


def test_a_file_system_that_may_be_named_keeps_its_identifier(tmp_path: Path) -> None:
    """A file that cannot be read may name it: a system whose root nobody finds would be the price."""
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/fstab").write_text("PARTUUID=5f50 / ext4 defaults 0 1\n")
    done = run(f"{FILESYSTEM}\ngrep() {{ return 2; }}\nroot={tmp_path}\nrenew_filesystem /dev/vda3", tmp_path)
    assert (done.returncode != 0, done.stdout) == (True, b"")
