"""What bsdinstall is told: its preamble is run here as it runs it, with the programs that it asks about disks."""

from __future__ import annotations

import base64
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from provisioner.catalog import proving
from provisioner.catalog.fleet import FLEET, PORTS, SITE, VDA, Sample, facts, machine, sata
from provisioner.catalog.params import Layer
from provisioner.errors import RenderError
from provisioner.model.facts import Disk
from tests.shipped import catalogue

DISKS = tuple(sata(letter) for letter in "abcd")
GEOM = "".join(
    f"Geom name: ada{at}\nProviders:\n1. Name: ada{at}\n   Mediasize: 480\n   ident: {serial}\n   rotationrate: 0\n\n"
    for at, serial in enumerate(("S3", "S1", "S4", "S2", "S9", "S9"))
)
PROGRAMS = {"geom": f"cat <<'END'\n{GEOM}END", "sysctl": "echo cd0 md0 vtbd0", "zpool": ":", "gpart": ":"}
SHOWN = "; set | grep -E '^ZFSBOOT_[A-Z_]+=' | tr -d \"'\" | sort"


def told(params: dict[str, Any], disks: tuple[Disk, ...] = DISKS) -> list[str]:
    """The file, split where bsdinstall splits it: `split -p '^#!.*'`."""
    one = replace(machine("bios-vm"), facts=facts("bios", disks, PORTS))
    layers = (Layer("global", "site", SITE), Layer("machine", "m", params))
    made = proving.files(catalogue(), catalogue().bootenv("freebsd-14-installer"), Sample("x", one, layers))
    text = next(file.text for file in made if file.name == "installerconfig")
    return re.split(r"(?m)^(?=#!)", text)


def preamble(place: Path, text: str) -> tuple[int, dict[str, str], str]:
    """Run the first part; return its status, what it set, and what it printed."""
    for name, content in PROGRAMS.items():
        (place / name).write_text(f"#!/bin/sh\n{content}\n")
        (place / name).chmod(0o700)
    (place / "preamble").write_text(text)
    env = {"PATH": f"{place}:/usr/bin:/bin"}
    line = ["sh", "-ec", f". {place}/preamble{SHOWN}"]
    done = subprocess.run(line, env=env, capture_output=True, text=True, check=False)
    pairs = (line.partition("=")[::2] for line in done.stdout.splitlines() if line.startswith("ZFSBOOT_"))
    return done.returncode, {key.removeprefix("ZFSBOOT_"): value for key, value in pairs}, done.stdout + done.stderr


POOLS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "one disk, as nobody asks for anything": (
        {"disk.select": {"serial": "S2"}},
        {"DISKS": "ada3", "VDEV_TYPE": "stripe", "SWAP_SIZE": "0"},
    ),
    "a mirror of three, with swap, of a size": (
        {"disk.layout": "zfs-mirror", "disk.count": 3, "disk.swap": "2GiB", "disk.root_size": "40GiB"},
        {"DISKS": "ada1 ada3 ada0", "VDEV_TYPE": "mirror", "SWAP_SIZE": "2048m", "POOL_SIZE": "40960m"},
    ),
    "RAID-Z": (
        {"disk.layout": "zfs-raidz1"},
        {"DISKS": "ada1 ada3 ada0", "VDEV_TYPE": "raidz1", "SWAP_SIZE": "0"},
    ),
    "RAID-Z2": (
        {"disk.layout": "zfs-raidz2"},
        {"DISKS": "ada1 ada3 ada0 ada2", "VDEV_TYPE": "raidz2", "SWAP_SIZE": "0"},
    ),
}


@pytest.mark.parametrize(("params", "variables"), POOLS.values(), ids=POOLS.keys())
def test_pools(tmp_path: Path, params: dict[str, Any], variables: dict[str, str]) -> None:
    assert preamble(tmp_path, told(params)[0])[:2] == (0, {"POOL_NAME": "zroot"} | variables)


def test_the_only_disk_needs_no_serial_number(tmp_path: Path) -> None:
    assert preamble(tmp_path, told({}, (VDA,))[0])[1]["DISKS"] == "vtbd0"


LOST = {"none has its serial number": ("S7", "0 disks are that"), "two have it": ("S9", "2 disks are that")}


@pytest.mark.parametrize(("serial", "said"), LOST.values(), ids=LOST.keys())
def test_nothing_is_erased_where_a_disk_is_not_told_from_others(tmp_path: Path, serial: str, said: str) -> None:
    disks = (replace(DISKS[0], serial=serial), DISKS[1])
    status, variables, printed = preamble(tmp_path, told({"disk.select": {"serial": serial}}, disks)[0])
    assert (status, variables, said in printed) == (1, {}, True)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a disk without a serial number among others": ({"disk.select": {"path": "*ff"}}, "disk.select: FreeBSD's"),
    "too few disks": ({"disk.layout": "zfs-raidz2", "disk.select": {"serial": "S[1-3]"}}, "4 disk(s) are wanted"),
    "an encrypted pool": (
        {"disk.encryption": "passphrase", "disk.passphrase": "store:disk"},
        "disk.layout: zfs leaves disk.encryption to its installer",
    ),
    "a layout that it has not": ({"disk.layout": "raid1"}, "cannot do disk.layout: raid1; it can do zfs, zfs-mirror"),
    "a console that it has not": ({"kernel.consoles": ["hvc0"]}, "kernel.consoles: FreeBSD has no hvc0"),
}


@pytest.mark.parametrize(("params", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_what_it_cannot_be_told_is_refused(params: dict[str, Any], why: str) -> None:
    bare = replace(DISKS[0], name="sdz", path="/dev/disk/by-id/wwn-0x50025388000000ff", serial="")
    with pytest.raises(RenderError) as caught:
        told(params, (*DISKS, bare))
    assert why in f"{caught.value} {caught.value.faults}"


def test_whatever_is_in_a_script_there_are_two_parts_of_the_file_and_both_are_shell() -> None:
    hook = "#!/bin/sh\necho one\n#!/not/a/start\n"
    parts = told({"hooks.late": [hook], "hooks.first_boot": [hook], "system.hostname": "web1"})
    assert [part.partition("\n")[0][:12] for part in parts] == ["# shellcheck", "#!/bin/sh"]
    for part in parts:
        subprocess.run(["sh", "-n"], input=part, text=True, check=True)
    packed = [base64.b64decode(text).decode() for text in re.findall(r"(?m)^unpack \S+ [0-7]+ (\S+)$", parts[1])]
    assert packed[2:] == [hook, hook]
    for script in packed[:2]:
        subprocess.run(["sh", "-n"], input=script, text=True, check=True)


ROUTES = {
    "inet 203.0.113.17/32": "rc \"ifconfig_$port\" 'inet 203.0.113.17/32'",
    "IPv6": "rc \"ifconfig_${port}_ipv6\" 'inet6 2001:db8:1::17 prefixlen 128'",
    "a router on the link": "rc route_p1 '-host 198.51.100.1 -interface'\" $port\"",
    "one of IPv6": "rc ipv6_route_p3 '-host 2001:db8::1 -interface'\" $port\"",
    "the default route": "rc defaultrouter 198.51.100.1",
    "that of IPv6": 'rc ipv6_defaultrouter fe80::1"%$port"',
    "a route": "rc route_p4 '-net 10.9.0.0/16 198.51.100.2'",
    "the order of those of IPv4": "rc static_routes 'p1 p2 p4'",
    "the order of those of IPv6": "rc ipv6_static_routes 'p3 p5'",
}


@pytest.mark.parametrize("line", ROUTES.values(), ids=ROUTES.keys())
def test_routers_beyond_single_addresses(line: str) -> None:
    params = {"net.interfaces": FLEET["uefi-on-link"].params["net.interfaces"]}
    assert f"\n{line}\n" in told(params)[1]
