"""The answers for Proxmox VE's own installer: disks are told from others by what they are, or it is refused."""

from __future__ import annotations

import json
import subprocess
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.catalog import proving
from provisioner.catalog.fleet import NVME, PORTS, SITE, Sample, facts, machine, sata
from provisioner.catalog.params import Layer
from provisioner.errors import RenderError
from provisioner.model.facts import Disk
from tests.shipped import catalogue

HDDS = tuple(sata(letter, 8000, True) for letter in "cdefgh")
SSDS = (sata("a"), sata("b"))
LAN = {"match": {"boot": True}, "addresses": ["10.1.0.17/24"], "gateway": "10.1.0.1"}
DNS = {"net.dns.servers": ["10.1.0.2"]}


def answer(disks: tuple[Disk, ...], params: dict[str, Any]) -> dict[str, Any]:
    """Everything that the installer is told."""
    one = replace(machine("uefi-small"), facts=facts("uefi", disks, PORTS))
    layers = (Layer("global", "site", SITE | {"users.root.password": "store:root"}), Layer("machine", "m", params))
    made = proving.files(catalogue(), catalogue().bootenv("proxmox-9"), Sample("x", one, layers))
    return tomllib.loads(next(file.text for file in made if file.name == "answer.toml"))


DISKS: dict[str, tuple[tuple[Disk, ...], dict[str, Any], dict[str, Any]]] = {
    "the only one": ((NVME,), {}, {"filesystem": "ext4", "lvm": {"swapsize": 0}, "disk-list": ["nvme0n1"]}),
    "one of many": (
        (*HDDS, *SSDS),
        {"disk.layout": "zfs"},
        {
            "filesystem": "zfs",
            "zfs": {"raid": "raid0", "ashift": 12, "compress": "on"},
            "filter-match": "any",
            "filter": {"ID_WWN": "0x5002538800000001"},
        },
    ),
    "one by its serial number": (
        (*HDDS, replace(SSDS[0], wwn="")),
        {"disk.select": {"serial": "S1"}},
        {
            "filesystem": "ext4",
            "lvm": {"swapsize": 0},
            "filter-match": "any",
            "filter": {"ID_SERIAL_SHORT": "S1"},
        },
    ),
    "a volume of a controller": (
        (*HDDS, replace(SSDS[0], wwn="0x600508b1001c0000000000000000000a")),
        {"disk.select": {"serial": "S1"}},
        {
            "filesystem": "ext4",
            "lvm": {"swapsize": 0},
            "filter-match": "any",
            "filter": {"ID_WWN_WITH_EXTENSION": "0x600508b1001c0000000000000000000a"},
        },
    ),
    "three of many": (
        (*HDDS, *SSDS, NVME),
        {"disk.layout": "zfs-mirror", "disk.count": 3, "disk.root_size": "20.5GiB"},
        {
            "filesystem": "zfs",
            "zfs": {"raid": "raid1", "ashift": 12, "compress": "on", "hdsize": 22},
            "filter-match": "any",
            "filter": {
                "ID_WWN": "0x5002538800000001",
                "ID_WWN_WITH_EXTENSION": "0x5002538800000002",
                "ID_SERIAL_SHORT": "N1",
            },
        },
    ),
    "all of many": (
        HDDS,
        {"disk.layout": "zfs-raidz2", "disk.count": 6},
        {
            "filesystem": "zfs",
            "zfs": {"raid": "raidz-2", "ashift": 12, "compress": "on"},
            "disk-list": ["sdc", "sdd", "sde", "sdf", "sdg", "sdh"],
        },
    ),
    "LVM of sizes": (
        (NVME,),
        {"disk.filesystem": "xfs", "disk.root_size": "40GiB", "disk.swap": "2GB"},
        {"filesystem": "xfs", "lvm": {"swapsize": 2, "maxroot": 40}, "disk-list": ["nvme0n1"]},
    ),
}


@pytest.mark.parametrize(("disks", "params", "told"), DISKS.values(), ids=DISKS.keys())
def test_disks(disks: tuple[Disk, ...], params: dict[str, Any], told: dict[str, Any]) -> None:
    assert answer(disks, params)["disk-setup"] == told


REFUSED: dict[str, tuple[tuple[Disk, ...], dict[str, Any], str]] = {
    "too few disks for the level": ((*SSDS,), {"disk.layout": "zfs-raidz1"}, r"3 disk\(s\) are wanted, 2 fit"),
    "four disks among others": (
        HDDS,
        {"disk.layout": "zfs-raidz1", "disk.count": 4},
        "disk.count: Proxmox VE's installer can be told 3 disks among others",
    ),
    "a disk that nothing tells from the others": (
        (*HDDS, *(replace(disk, wwn="") for disk in SSDS)),
        {"disk.layout": "zfs-mirror"},
        "by another of its properties (WWN, serial number), and sdb has none that is left",
    ),
    "swap beside a pool": (SSDS, {"disk.layout": "zfs", "disk.swap": "1GiB"}, "disk.swap with disk.layout: zfs"),
    "a static address without a name server": ((NVME,), {"net.interfaces": [LAN]}, "net.dns.servers"),
    "DHCP on another port": ((NVME,), {"net.interfaces": [{"match": {"driver": "ixgbe"}}]}, "net.interfaces: "),
    "no address": (
        (NVME,),
        {
            "net.interfaces": [
                {"match": {"boot": True}, "dhcp": False},
                {"match": {"driver": "ixgbe"}, "addresses": ["10.1.0.17/24"]},
            ]
        },
        "neither DHCP nor",
    ),
    "a keyboard that it has not": ((NVME,), {"system.keyboard": "ru"}, "system.keyboard: "),
}


@pytest.mark.parametrize(("disks", "params", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_it_cannot_be_told_is_refused(disks: tuple[Disk, ...], params: dict[str, Any], why: str) -> None:
    with pytest.raises(RenderError) as caught:
        answer(disks, params)
    assert why.replace("\\", "") in f"{caught.value} {caught.value.faults}"


def test_an_address_and_the_name() -> None:
    told = answer((NVME,), {"net.interfaces": [LAN], "system.domain": "example.org", "system.keyboard": "gb"} | DNS)
    assert told["network"] == {
        "source": "from-answer",
        "cidr": "10.1.0.17/24",
        "gateway": "10.1.0.1",
        "dns": "10.1.0.2",
        "filter": {"ID_NET_NAME_MAC": "enx525400770001"},
    }
    assert (told["global"]["fqdn"], told["global"]["keyboard"]) == ("node17.example.org", "en-gb")


def test_what_fails_at_the_first_start_is_told(tmp_path: Path) -> None:
    """Up to what changes the system; the rest of the script is a command that fails."""
    one = replace(machine("uefi-small"), facts=facts("uefi", (NVME,), PORTS))
    layers = (Layer("global", "site", SITE | {"users.root.password": "store:root"}),)
    made = proving.files(catalogue(), catalogue().bootenv("proxmox-9"), Sample("x", one, layers))
    text = next(file.text for file in made if file.name == "first-boot.sh")
    head, trap, _ = text.partition("\ntrap tell_end EXIT\n")
    (tmp_path / "curl").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >{tmp_path}/told\n')
    (tmp_path / "curl").chmod(0o700)
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TMPDIR": str(tmp_path)}
    done = subprocess.run(["sh"], input=f"{head}{trap}set -eu\n(exit 4)\n", env=env, text=True, check=False)
    told = (tmp_path / "told").read_text().splitlines()
    assert (done.returncode, told[-1]) == (4, "http://10.77.0.1:8080/agent/v1/hook-failed")
    assert json.loads(told[-2]) == {"hook": "first-boot.sh", "status": 4, "output": ""}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["curl", "told"]
