"""The real discovery system at work on a block device: facts, installing, refusing, erasing, a daemon that dies."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import lzma
import random
import shutil
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from provisioner.catalog.load import Catalog
from provisioner.catalog.params import Layer
from provisioner.catalog.system import Secrets, describe
from provisioner.discovery.build import cache
from provisioner.discovery.facts import decode_facts
from provisioner.lab.images import gpt
from provisioner.model.facts import Disk, Facts, Nic
from provisioner.model.net import Mac
from tests.discovery.guest import ADDRESS, MAC, SERIAL, StandIn, discovery_system, run_guest
from tests.lab.disks import GETENT

pytestmark = [pytest.mark.lab, pytest.mark.timeout(900)]

MIB = 1 << 20
DISK_MIB = 256
IDS = gpt.Ids.of("test")
CATALOG = Catalog.load()
"""Loaded before any loop runs: it reads files."""
RENDERER = CATALOG.content.renderer
ASKED = {
    "system.domain": "lab",
    "time.zone": "Europe/Vienna",
    "time.ntp": ["10.0.2.4"],
    "disk.swap": "8MiB",
    "kernel.args": ["mitigations=off"],
    "kernel.consoles": ["tty0", "ttyS1,57600"],
    "net.dns.servers": ["10.0.2.3"],
    "net.dns.search": ["lab"],
    "proxy.https": "http://10.0.2.5:3128",
}
PROGRAMS = (
    *("awk", "cat", "chmod", "chown", "cut", "fallocate", "grep", "id", "ln", "mkdir", "mkswap", "mount", "mv", "rm"),
    *("sed", "sh", "umount"),
)
"""Of BusyBox, in an image that is as small as can be."""
HOME_URL = f"http://{ADDRESS}/agent/v1/phone-home"


@pytest.fixture(scope="module")
def system() -> cache.Manifest:
    return discovery_system()


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A whole disk as small as can be, with what an installation touches and some bytes that do not compress."""
    place = tmp_path_factory.mktemp("image")
    root = place / "root"
    for folder in (
        "etc",
        "boot/grub",
        "usr/lib",
        "usr/share/zoneinfo/Europe",
        "bin",
        "dev",
        "proc",
        "sys",
        "run",
        "root",
    ):
        (root / folder).mkdir(parents=True)
    shutil.copy("/bin/busybox", root / "bin/busybox")
    for program in PROGRAMS:
        (root / "bin" / program).symlink_to("busybox")
    (root / "bin/getent").write_bytes(GETENT)
    (root / "bin/getent").chmod(0o755)
    (root / "etc/passwd").write_text("root:x:0:0::/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    (root / "usr/share/zoneinfo/Europe/Vienna").write_text("TZif2")
    (root / "etc/fstab").write_text(f"PARTUUID={IDS.root_partition} / ext4 defaults 0 1\n")
    (root / "boot/grub/grub.cfg").write_text(
        f"serial --unit=0 --speed=115200\nlinux /vmlinuz root=PARTUUID={IDS.root_partition} ro console=ttyS0\n"
    )
    (root / "usr/lib/blob").write_bytes(
        b"".join(hashlib.sha512(bytes([n % 256, n // 256])).digest() for n in range(65536))
    )
    gpt.make_image(root, place / "disk.raw", IDS, lambda line: None)
    subprocess.run(["zstd", "-q", "-1", place / "disk.raw"], check=True)
    return (place / "disk.raw.zst").read_bytes()


def blank(place: Path, size_mib: int = DISK_MIB) -> Path:
    """An empty disk."""
    disk = place / "disk.raw"
    with disk.open("wb") as file:
        file.truncate(size_mib * MIB)
    return disk


def asked() -> dict[str, Any]:
    """The system that is to be."""
    declared = CATALOG.content.declarations
    params = declared.resolve([declared.checked(Layer("machine", "machine node17", ASKED))]).values
    disk = Disk("vda", 10 * 10**9, f"/dev/disk/by-id/virtio-{SERIAL}")
    facts = Facts(firmware="bios", disks=(disk,), nics=(Nic("eth0", Mac(MAC)),))
    return describe(CATALOG.bootenv("debian-12"), "node17", facts, Mac(MAC), params, Secrets("seed"))


def install_job(image: bytes, sha256: str = "", name: str = "disk.raw.zst") -> str:
    """The job as the daemon renders it."""
    context: dict[str, Any] = {
        "artifacts": {
            name: {
                "url": f"http://{ADDRESS}/files/{name}",
                "sha256": sha256 or hashlib.sha256(image).hexdigest(),
                "size_bytes": len(image),
            }
        },
        "system": asked(),
        "params": {"bootstrap": {}},
        "bootenv": {"name": "debian-12", "image": name},
        "machine": {"id": "7b1f"},
        "urls": {"base": f"http://{ADDRESS}", "host": ADDRESS, "phone_home": HOME_URL, "sources": {}},
        "agent": {"phone_home_token": "it's a secret", "steps": []},
    }
    return RENDERER.render("agent/image.sh.j2", context)


def partitions(disk: Path) -> list[dict[str, Any]]:
    """The partition table as sfdisk reads it; none where there is none."""
    done = subprocess.run(["sfdisk", "--json", disk], capture_output=True, check=False)
    found: list[dict[str, Any]] = (
        json.loads(done.stdout)["partitiontable"]["partitions"] if done.returncode == 0 else []
    )
    return found


def root_of(disk: Path) -> Path:
    """The root partition as a file of its own."""
    part = partitions(disk)[-1]
    file = disk.with_suffix(".ext4")
    with disk.open("rb") as source:
        source.seek(part["start"] * 512)
        file.write_bytes(source.read(part["size"] * 512))
    return file


def debugfs(filesystem: Path, command: str) -> str:
    return subprocess.run(["debugfs", "-R", command, filesystem], capture_output=True, check=True, text=True).stdout


def check_installed(disk: Path) -> None:
    """Everything that the job does, read back from the disk."""
    root = root_of(disk)
    subprocess.run(["e2fsck", "-f", "-n", root], check=True, capture_output=True)
    size = int(debugfs(root, "stats").split("Block count:")[1].split()[0]) * 4096
    assert size > (DISK_MIB - 40) * MIB, "the file system fills the disk"
    assert f"Filesystem UUID:          {IDS.root_filesystem}" not in debugfs(root, "stats"), "so has the file system"
    own = partitions(disk)[-1]["uuid"].lower()
    assert own != str(IDS.root_partition), "the partition has an identifier of its own"
    assert debugfs(root, "cat /etc/fstab").startswith(f"PARTUUID={own} ")
    assert f"root=PARTUUID={own} " in debugfs(root, "cat /boot/grub/grub.cfg")
    assert debugfs(root, "cat /etc/hostname") == "node17\n"
    assert "127.0.1.1 node17.lab node17" in debugfs(root, "cat /etc/hosts")
    network = debugfs(root, "cat /etc/systemd/network/30-provisioner-nic0.network")
    assert f"PermanentMACAddress={MAC}\n" in network
    assert "DNS=10.0.2.3\nDomains=lab\n" in network
    assert debugfs(root, "cat /boot/grub/grub.cfg").splitlines() == [
        "serial --unit=1 --speed=57600",
        f"linux /vmlinuz root=PARTUUID={own} ro mitigations=off console=tty0 console=ttyS1,57600",
    ]
    assert "/swapfile none swap sw 0 0\n" in debugfs(root, "cat /etc/fstab")
    assert "Mode:  0600" in debugfs(root, "stat /swapfile")
    assert "zoneinfo/Europe/Vienna" in debugfs(root, "stat /etc/localtime")
    assert "NTP=10.0.2.4\n" in debugfs(root, "cat /etc/systemd/timesyncd.conf.d/provisioner.conf")
    assert "PasswordAuthentication no\n" in debugfs(root, "cat /etc/ssh/sshd_config.d/10-provisioner.conf")
    assert "https_proxy=http://10.0.2.5:3128\n" in debugfs(root, "cat /etc/environment")
    assert "provisioner-settings" not in debugfs(root, "ls /root")
    assert debugfs(root, "cat /etc/provisioner/url") == f"{HOME_URL}\n"
    assert debugfs(root, "cat /etc/provisioner/authorization") == "Authorization: Bearer it's a secret\n"
    assert "Mode:  0600" in debugfs(root, "stat /etc/provisioner/authorization")
    assert "ExecStart=/bin/sh /etc/provisioner/phone-home\n" in debugfs(
        root, "cat /etc/systemd/system/provisioner-phone-home.service"
    )


async def test_a_machine_reports_and_is_installed_though_the_daemon_dies_and_comes_back(
    system: cache.Manifest, image: bytes, tmp_path: Path
) -> None:
    disk = blank(tmp_path)
    daemon = StandIn({"j1": install_job(image)}, {"disk.raw.zst": image}, die_after=len(image) // 2, away_s=3.0)
    screen = await run_guest(system, disk, daemon, cpus=2)
    assert daemon.deaths == 1
    assert [said["status"] for said in daemon.done.values()] == [0], screen
    assert "broke off at byte" in screen
    check_installed(disk)
    facts = decode_facts(json.dumps(daemon.facts).encode(), 0.0)
    assert (facts.firmware, facts.virtual, facts.nics[0].mac, facts.cpu.threads) == ("bios", True, MAC, 2)
    assert (facts.disks[0].serial, facts.disks[0].size_bytes) == (SERIAL, DISK_MIB * MIB)
    percents = [said["percent"] for said in daemon.progress]
    assert percents == sorted(percents)
    assert "system written to /dev/vda" in daemon.log
    assert "secret" not in screen, "tokens are never shown"


EMPTY, PARTED, NO_PARTITIONS = "nothing but zeroes", "partitions", "no partitions"
Story = dict[str, tuple[str, int, str, str]]


def state_of(disk: Path) -> str:
    """What is to be found on a disk."""
    if partitions(disk):
        return PARTED
    return NO_PARTITIONS if any(disk.read_bytes()) else EMPTY


def written(how: str, name: str, sha256: str, size_bytes: int, where: str = "/dev/vda") -> str:
    """A job that writes a file in one of the ways that our jobs have."""
    return f". /usr/lib/provisioner/job.sh\n{how} http://{ADDRESS}/files/{name} {sha256} {size_bytes} {where}\n"


def story(image: bytes, packed: dict[str, bytes]) -> Story:
    """Jobs in order: the script, its status, what it says, and what is then on the disk."""
    good, bad, size, own = hashlib.sha256(image).hexdigest(), "0" * 64, len(image), str(IDS.root_partition).upper()
    pipe, onto = "through_pipe", "/dev/vda onto_disk /dev/vda; settle /dev/vda"
    right = written(pipe, "disk.raw.zst", good, size, onto) + "sfdisk --dump /dev/vda"
    wrong, cut = written(pipe, "disk.raw.zst", bad, size, onto), written(pipe, "cut.zst", good, size, onto)
    told: Story = {
        "one that memory does not hold": (right, 0, own, PARTED),
        "erased": (RENDERER.render("agent/erase.sh.j2", {}), 0, "", EMPTY),
        "a wrong image": (install_job(image, bad), 1, "wrong hash, nothing was written", EMPTY),
        "a wrong one that memory does not hold": (wrong, 1, "wrong hash, the disk was wiped", NO_PARTITIONS),
        "one that is cut": (cut, 1, "could not be written, the disk was wiped", NO_PARTITIONS),
    }
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in packed.items()}
    for name, content in packed.items():
        script = written("erase_disk /dev/vda; write_image", name, digests[name], len(content))
        script += f"head -c {len(packed['disk.raw'])} /dev/vda | sha256sum\n"
        told[name] = (script, 0, digests["disk.raw"], NO_PARTITIONS)
    return told


async def test_what_is_written_and_what_is_left(system: cache.Manifest, image: bytes, tmp_path: Path) -> None:
    """All in one boot. The daemon goes away in the middle of the first image that memory does not hold."""
    raw = random.Random(17).randbytes(3 * MIB) + bytes(8 * MIB) + random.Random(18).randbytes(3 * MIB)
    packed = {"disk.raw": raw, "disk.raw.gz": gzip.compress(raw, 1), "disk.raw.xz": lzma.compress(raw, preset=0)}
    disk, told = blank(tmp_path), story(image, packed)
    jobs = {f"j{number}": script for number, (script, _, _, _) in enumerate(told.values())}
    files = {"disk.raw.zst": image, "cut.zst": image[:-100_000], **packed}
    daemon = StandIn(jobs, files, die_after=len(image) // 2, away_s=1.0, look=lambda: state_of(disk))
    screen = await run_guest(system, disk, daemon, memory_mib=1024)
    assert daemon.deaths == 1
    for (what, (_, status, words, state)), job in zip(told.items(), jobs, strict=True):
        assert (daemon.done[job]["status"], daemon.looked[job]) == (status, state), (what, screen)
        assert words in daemon.done[job]["message"], (what, daemon.done[job])


def archive() -> bytes:
    """A system as small as can be: BusyBox for its shell, a GRUB that says how it was called, and cloud-init's name."""
    says = b'#!/bin/sh\nprintf "%s\\n" "$*" >>/boot/called\n'
    files = {
        "bin/busybox": Path("/bin/busybox").read_bytes(),
        "usr/sbin/grub-install": says,
        "usr/sbin/grub-mkconfig": says,
        "usr/bin/cloud-init": b"#!/bin/sh\n",
        "usr/bin/getent": GETENT,
        "etc/passwd": b"root:x:0:0::/root:/bin/sh\n",
        "usr/share/zoneinfo/Europe/Vienna": b"TZif2",
    }
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name in ("bin", "usr/sbin", "usr/bin", "etc", "root", "run", "proc", "sys", "dev", "boot"):
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(entry)
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = len(content), 0o755
            tar.addfile(entry, io.BytesIO(content))
        for name in PROGRAMS:
            entry = tarfile.TarInfo(f"bin/{name}")
            entry.type, entry.linkname = tarfile.SYMTYPE, "busybox"
            tar.addfile(entry)
    return out.getvalue()


async def test_a_system_out_of_an_archive(system: cache.Manifest, tmp_path: Path) -> None:
    tar, disk = archive(), blank(tmp_path, 512)
    job = install_job(tar, name="root.tar.gz")
    url = f"http://{ADDRESS}/files/root.tar.gz"
    wrong = f". /usr/lib/provisioner/job.sh\nwrite_root {url} {'0' * 64} {len(tar)} /dev/vda\n"
    daemon = StandIn({"right": job, "wrong": wrong}, {"root.tar.gz": tar})
    screen = await run_guest(system, disk, daemon)
    assert {job: said["status"] for job, said in daemon.done.items()} == {"right": 0, "wrong": 1}, screen
    assert "nothing was written" in daemon.done["wrong"]["message"]
    assert [part["size"] for part in partitions(disk)][:2] == [2048, 524288]
    root = root_of(disk)
    subprocess.run(["e2fsck", "-f", "-n", root], check=True, capture_output=True)
    assert debugfs(root, "cat /boot/called").splitlines() == ["--target=i386-pc /dev/vda", "-o /boot/grub/grub.cfg"]
    assert " / ext4 errors=remount-ro 0 1\n" in debugfs(root, "cat /etc/fstab")
    seed = "/var/lib/cloud/seed/nocloud"
    assert debugfs(root, f"cat {seed}/meta-data") == "instance-id: 7b1f\nlocal-hostname: node17\n"
    assert debugfs(root, f"cat {seed}/user-data").startswith("#cloud-config\n")
    assert "Mode:  0600" in debugfs(root, f"stat {seed}/user-data")


OVER = "one whose run is over is killed, with all that it started"
JOBS = {
    "a failing command ends the job": ("false\necho on", 1, ""),
    "a status of its own": ("exit 7", 7, ""),
    "its last lines are the message": ("seq 100; echo the end; exit 3", 3, "the end"),
    "binary output": ("head -c 3000 /dev/urandom; echo; echo fine; false", 1, "fine"),
    "a disk that is not there": (
        ". /usr/lib/provisioner/job.sh\nfind_disk /dev/sdz",
        1,
        "disk '/dev/sdz' is not in this machine; there are: /dev/vda",
    ),
    "an artefact that is not there": (
        f". /usr/lib/provisioner/job.sh\nwrite_image http://{ADDRESS}/files/none 0 1 /dev/vda",
        1,
        "HTTP 404",
    ),
    "the right disk by its serial number": (f". /usr/lib/provisioner/job.sh\nfind_disk {SERIAL}", 0, "/dev/vda"),
    OVER: ("(while sleep 1; do date >/dev/vda; done) & echo $! >/run/writer; sleep 600", 137, ""),
    "nothing of it goes on": ("if kill -0 $(cat /run/writer); then exit 1; fi", 0, ""),
    "the only disk": (". /usr/lib/provisioner/job.sh\nfind_disk ''", 0, "/dev/vda"),
}


async def test_how_jobs_end(system: cache.Manifest, tmp_path: Path) -> None:
    """All in one boot: what a job says is what the daemon hears."""
    jobs = {f"j{number}": script for number, (script, _, _) in enumerate(JOBS.values())}
    daemon = StandIn(jobs, over=frozenset({f"j{list(JOBS).index(OVER)}"}))
    screen = await run_guest(system, blank(tmp_path), daemon)
    assert "the run of this job is over: it is stopped" in screen
    for (what, (_, status, message)), said in zip(JOBS.items(), daemon.done.values(), strict=True):
        assert said["status"] == status, (what, screen)
        assert message in said["message"], (what, said)
