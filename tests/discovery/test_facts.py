"""Reports of the discovery system: real ones, broken ones, hostile ones."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.discovery import bypath, facts
from provisioner.discovery.build.ramdisk import RAMDISK
from provisioner.discovery.facts import decode_facts
from provisioner.errors import WireError
from provisioner.model.facts import Cpu, Disk, Facts, Nic
from provisioner.model.net import parse_mac

DATA = Path(__file__).parent / "data"
NOW = 1_700_000_000.0


def decode(**parts: Any) -> Facts:
    return decode_facts(json.dumps({"format": 1, **parts}).encode(), NOW)


def disk(**detail: Any) -> Disk:
    item = {"name": "sda", "type": "disk", "size": 100, **detail.pop("lsblk", {})}
    facts = decode(lsblk={"blockdevices": [item]}, disks=[{"name": "sda", **detail}])
    return facts.disks[0]


def test_nothing_known_is_nothing_known() -> None:
    assert decode() == Facts(observed_at=NOW)


NO_REPORT = {
    "no JSON": b"{",
    "no object": b"[]",
    "another format": b'{"format": 2}',
    "no UTF-8": b"\xff\xfe{",
    "too deep for the parser": b"[" * 100_000,
    "a number with too many digits": b'{"format": ' + b"9" * 5000 + b"}",
}


@pytest.mark.parametrize("raw", NO_REPORT.values(), ids=NO_REPORT.keys())
def test_what_is_no_report(raw: bytes) -> None:
    with pytest.raises(WireError):
        decode_facts(raw, NOW)


NVME_WWID = f"nvme.144d-{'53' * 20}-{'41' * 40}-00000001"
DISKS = {
    "a virtio disk": (
        {"serial": "S-1", "lsblk": {"tran": "virtio", "rota": True}},
        Disk("sda", 100, "/dev/disk/by-id/virtio-S-1", serial="S-1", rotational=True, transport="virtio"),
    ),
    "a SAS disk by its NAA name": (
        {"device_wwid": "naa.5000c500a1b2c3d4", "unit_serial": "ZA1", "model": "ST16000", "lsblk": {"tran": "sas"}},
        Disk("sda", 100, "/dev/disk/by-id/wwn-0x5000c500a1b2c3d4", "ST16000", "ZA1", "0x5000c500a1b2c3d4",
             transport="sas"),
    ),
    "an NVMe disk by its EUI": (
        {"wwid": "eui.0025385b71b00e1c", "unit_serial": "S4", "lsblk": {"tran": "nvme"}},
        Disk("sda", 100, "/dev/disk/by-id/nvme-eui.0025385b71b00e1c", serial="S4", wwn="eui.0025385b71b00e1c",
             transport="nvme"),
    ),
    "an NVMe disk that is told apart by its maker, serial number and model": (
        {"wwid": NVME_WWID, "unit_serial": "S4", "lsblk": {"tran": "nvme"}},
        Disk("sda", 100, f"/dev/disk/by-id/nvme-{NVME_WWID}", serial="S4", transport="nvme"),
    ),
    "a SATA disk without a WWN": (
        {"device_wwid": f"t10.ATA     {'DELLBOSS VD':40}{'BOOT 1':>20}", "unit_serial": "BOOT 1",
         "model": "DELLBOSS VD", "lsblk": {"tran": "sata"}},
        Disk("sda", 100, "/dev/disk/by-id/ata-DELLBOSS_VD_BOOT_1", "DELLBOSS VD", "BOOT 1", transport="sata"),
    ),
    "a SATA disk whose model udev writes in another way": (
        {"device_wwid": f"t10.ATA     {'A/B %':40}{'1':20}", "lsblk": {"tran": "sata"}},
        Disk("sda", 100, transport="sata"),
    ),
    "an eMMC": (
        {"card": "DG4064", "unit_serial": "0x1f2e3d4c", "bus": "mmc"},
        Disk("sda", 100, "/dev/disk/by-id/mmc-DG4064_0x1f2e3d4c", serial="0x1f2e3d4c", transport="mmc"),
    ),
    "a serial that is no file name": (
        {"serial": "../../etc", "lsblk": {"tran": "virtio"}},
        Disk("sda", 100, "", serial="../../etc", transport="virtio"),
    ),
    "what it holds": (
        {"lsblk": {"pttype": "gpt", "children": [{"fstype": "vfat"}, {"fstype": "ext4"}, {"fstype": None}]}},
        Disk("sda", 100, holds="gpt, 3 partitions, ext4, vfat"),
    ),
    "a file system without partitions": ({"lsblk": {"fstype": "xfs"}}, Disk("sda", 100, holds="xfs")),
    "where it is attached": (
        {"device_path": "/devices/pci0000:00/0000:03:00.0/nvme/nvme0", "nsid": "1"},
        Disk("sda", 100, by_path="/dev/disk/by-path/pci-0000:03:00.0-nvme-1"),
    ),
    "sectors of 4096 bytes": ({"lsblk": {"log-sec": 4096}}, Disk("sda", 100, sector_bytes=4096)),
    "numbers as text, from an older lsblk": (
        {"lsblk": {"size": "8589934592", "rota": "1"}},
        Disk("sda", 1 << 33, rotational=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("detail", "expected"), DISKS.values(), ids=DISKS.keys())
def test_disks(detail: dict[str, Any], expected: Disk) -> None:
    assert disk(**json.loads(json.dumps(detail))) == expected


NO_DISK = {
    "a CD drive": {"name": "sr0", "type": "rom", "size": 1},
    "a RAM disk": {"name": "ram0", "type": "disk", "size": 1},
    "an empty card reader": {"name": "sdb", "type": "disk", "size": 0},
    "what an eMMC keeps for firmware": {"name": "mmcblk0boot0", "type": "disk", "size": 1},
    "a negative size": {"name": "sdb", "type": "disk", "size": -1},
    "an impossible size": {"name": "sdb", "type": "disk", "size": 1 << 70},
    "a size that is true": {"name": "sdb", "type": "disk", "size": True},
    "a name with a slash": {"name": "../sda", "type": "disk", "size": 1},
    "no object": "sda",
}


@pytest.mark.parametrize("item", NO_DISK.values(), ids=NO_DISK.keys())
def test_what_is_no_disk(item: object) -> None:
    assert decode(lsblk={"blockdevices": [item]}).disks == ()


PATHS = {
    "one disk by two paths": ([("S1", "naa.5000c500aaaaaaaa"), ("S1", "naa.5000c500aaaaaaaa")], ["sda"]),
    "two disks that have one WWN": ([("S1", "naa.5000c500aaaaaaaa"), ("S2", "naa.5000c500aaaaaaaa")], ["sda", "sdb"]),
    "two disks that say nothing of themselves": ([("", ""), ("", "")], ["sda", "sdb"]),
}


@pytest.mark.parametrize(("devices", "names"), PATHS.values(), ids=PATHS.keys())
def test_a_disk_is_listed_once(devices: list[tuple[str, str]], names: list[str]) -> None:
    listed = [{"name": f"sd{letter}", "type": "disk", "size": 100} for letter in "ab"]
    details = [
        {"name": item["name"], "unit_serial": serial, "device_wwid": wwid}
        for item, (serial, wwid) in zip(listed, devices, strict=True)
    ]
    assert [disk.name for disk in decode(lsblk={"blockdevices": listed}, disks=details).disks] == names


NICS = {
    "a port with link": (
        {"address": "52:54:00:77:00:01", "carrier": "1", "speed": "25000", "driver": "ice",
         "bus_address": "0000:3b:00.0"},
        Nic("e", parse_mac("52:54:00:77:00:01"), "ice", True, 25000, "0000:3b:00.0"),
    ),
    "a port that is down says neither": (
        {"address": "52:54:00:77:00:01"},
        Nic("e", parse_mac("52:54:00:77:00:01")),
    ),
    "what a BMC shows its machine, on the USB bus": (
        {"address": "02:00:00:00:00:02", "driver": "cdc_ether", "bus_address": "1-14:2.0", "parent_address": "1-14"},
        Nic("e", parse_mac("02:00:00:00:00:02"), "cdc_ether", usb=True),
    ),
    "virtio: the parent is on PCI, speed unknown": (
        {"address": "52:54:00:77:00:01", "carrier": "0", "speed": "-1", "bus_address": "virtio0",
         "parent_address": "0000:00:02.0"},
        Nic("e", parse_mac("52:54:00:77:00:01"), "", False, None, "0000:00:02.0"),
    ),
    "an address of zeros": ({"address": "00:00:00:00:00:00"}, None),
    "a group address": ({"address": "01:00:5e:00:00:01"}, None),
    "InfiniBand": ({"address": "80:00:02:08:fe:80:00:00:00:00:00:00:00:02:c9:03:00:00:00:01"}, None),
    "no text": ({"address": 5}, None),
}  # fmt: skip


@pytest.mark.parametrize(("item", "expected"), NICS.values(), ids=NICS.keys())
def test_nics(item: dict[str, Any], expected: Nic | None) -> None:
    assert decode(nics=[{"name": "e", **item}]).nics == ((expected,) if expected else ())


GIB = 1 << 30
MEMORY = {
    "modules that are plugged in": ("16300000", "Size: 8 GB\n\tSize: 8 GB\n", 16 * GIB),
    "empty slots do not count": ("8000000", "Size: 8 GB\n\tSize: No Module Installed\n", 8 * GIB),
    "SMBIOS says less than the kernel counts": ("8000000", "Size: 1 GB\n", 8000000 << 10),
    "SMBIOS says absurdly much": ("8000000", "Size: 900 TB\n", 8000000 << 10),
    "in megabytes": ("995368", "Size: 1024 MB\n", GIB),
    "SMBIOS is silent": ("995368", "", 995368 << 10),
    "nobody says anything": ("much", "Size: lots GB", 0),
}


@pytest.mark.parametrize(("counted", "devices", "expected"), MEMORY.values(), ids=MEMORY.keys())
def test_memory(counted: str, devices: str, expected: int) -> None:
    assert decode(memory={"total_kb": counted}, memory_devices=devices).memory_bytes == expected


LAN = """Set in Progress         : Set Complete
IP Address Source       : DHCP Address
IP Address              : 10.0.9.17
Subnet Mask             : 255.255.255.0
MAC Address             : 52:54:00:aa:bb:cc
"""
BMCS = {
    "as ipmitool prints it": (LAN, ("10.0.9.17", "52:54:00:aa:bb:cc")),
    "no address yet": (LAN.replace("10.0.9.17", "0.0.0.0"), ("", "52:54:00:aa:bb:cc")),
    "no address at all": ("IP Address : <script>\nMAC Address : x\n", ("", "")),
    "no BMC": ("", ("", "")),
}


@pytest.mark.parametrize(("lan", "expected"), BMCS.values(), ids=BMCS.keys())
def test_bmc(lan: str, expected: tuple[str, str]) -> None:
    bmc = decode(ipmi_lan=lan).bmc
    assert (bmc.address, bmc.mac) == expected


def test_serial_number_of_the_chassis_where_the_system_has_none() -> None:
    dmi = {"product_serial": "To be filled by O.E.M.", "chassis_serial": "CH7", "board_serial": "B1"}
    assert decode(dmi=dmi).serial == "CH7"


def test_control_characters_do_not_reach_a_terminal() -> None:
    assert decode(dmi={"sys_vendor": "A\x1b[31mB\x07"}).vendor == "A[31mB"


def test_secure_boot_is_unknown_by_bios_and_off_where_firmware_has_no_variable() -> None:
    firmware = [{"type": "bios"}, {"type": "uefi"}, {"type": "uefi", "secure_boot": "1"}, {"type": "?"}]
    assert [decode(firmware=f).secure_boot for f in firmware] == [None, False, True, None]


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)
KEYS = ("dmi", "firmware", "cpu", "memory", "memory_devices", "nics", "disks", "lsblk", "tpm", "ipmi_lan", "boot")
NAMES = ("name", "type", "size", "address", "carrier", "speed", "serial", "wwid", "fstype", "children", "blockdevices",
         "product_uuid", "product_serial", "total_kb", "sockets", "tran", "rota")  # fmt: skip
ITEM = st.dictionaries(st.sampled_from(NAMES), ANY_JSON)
SHAPED = st.dictionaries(st.sampled_from(KEYS), ANY_JSON | ITEM | st.lists(ITEM, max_size=3))


@pytest.mark.slow
@pytest.mark.timeout(600)
@given(SHAPED)
def test_any_report_gives_facts(parts: dict[str, Any]) -> None:
    facts = decode(**parts)
    assert isinstance(facts, Facts)
    assert facts.memory_bytes >= 0
    assert all(d.size_bytes > 0 for d in facts.disks)
    hash(facts)


@given(st.binary(max_size=200))
def test_any_bytes_give_facts_or_a_wire_error(raw: bytes) -> None:
    with contextlib.suppress(WireError):
        decode_facts(raw, NOW)


def test_what_a_machine_is_asked_is_read() -> None:
    """An `ipmitool` more is ten seconds of each start, and what nobody reads nobody misses either."""
    script = re.sub(r"\\\n\s*", "", (RAMDISK / "facts.sh").read_text())
    told = {word for line in re.findall(r"attributes \S+ ([a-z_ ]+)", script) for word in line.split()}
    told |= set(re.findall(r"""(?:print |printf |\\n)['"]?([a-z_]+) (?:%|"|/)""", script))
    told |= {column.lower() for column in re.findall(r"--output ([A-Z,-]+)", script)[0].split(",")}
    told |= set(re.findall(r'"([a-z_]+)": ', script))
    assert {"sys_vendor", "threads", "cores", "driver", "device_path", "log-sec", "ipmi_lan", "nsid"} <= told
    readers = "".join(Path(module.__file__ or "").read_text() for module in (facts, bypath))
    assert sorted(word for word in told if f'"{word}"' not in readers) == []


GOLDEN = {
    "lab-bios": Facts(
        vendor="Lab", product="Virtual One", serial="LAB0001", uuid="4c4c4544-0042-3510-8051-b7c04f4e3132",
        firmware="bios", firmware_version="1.16.2-debian-1.16.2-1 (04/01/2014)",
        cpu=Cpu("QEMU TCG CPU version 2.5+", "x86_64", 1, 2, 2), memory_bytes=GIB, virtual=True,
        disks=(Disk("vda", 8 * GIB, "/dev/disk/by-id/virtio-RIGDISK0", serial="RIGDISK0", rotational=True,
                    transport="virtio"),),
        nics=(Nic("eth0", parse_mac("52:54:00:77:00:01"), "virtio_net", True, None, "0000:00:01.0"),), observed_at=NOW,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("name", "facts"), GOLDEN.items(), ids=GOLDEN.keys())
def test_reports_of_real_runs(name: str, facts: Facts) -> None:
    assert decode_facts((DATA / f"{name}.json").read_bytes(), NOW) == facts
