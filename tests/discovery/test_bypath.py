"""Disks by where they are attached: what udev calls them, and nothing where it cannot be known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisioner.discovery.bypath import KEYS, by_path
from tests.discovery.shell import run

PORT = "/devices/pci0000:00/0000:00:1c.0/0000:02:00.0"
AHCI = "/devices/pci0000:00/0000:00:1f.2/ata3/host2/target2:{0}:{1}/2:{0}:{1}:0"
HBA = f"{PORT}/host0/port-0:0"
JBOD = f"{HBA}/expander-0:0/port-0:0:4/end_device-0:0:4/target0:0:4/0:0:4:0"
VMD = "/devices/pci0000:16/0000:16:05.5/pci10000:00/10000:00:02.0/10000:01:00.0/nvme/nvme0"
STICK = "/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2.4/1-2.4:1.0/host6/target6:0:0/6:0:0:0"
SAS = {"num_phys": "1", "phy_identifier": "5", "sas_address": "0x5000c500a1b2c3d5"}
ADDRESS = "0x500304801e2d3c3f"

NAMES = {
    "SATA": (AHCI.format(0, 0), {"port_no": "3"}, "pci-0000:00:1f.2-ata-3.0"),
    "SATA behind a port multiplier": (AHCI.format(2, 0), {"port_no": "3"}, "pci-0000:00:1f.2-ata-3.2.0"),
    "SATA without the port's number": (AHCI.format(0, 0), {}, ""),
    "NVMe behind a bridge": (f"{PORT}/nvme/nvme0", {"nsid": "1"}, "pci-0000:02:00.0-nvme-1"),
    "NVMe behind Intel's VMD": (VMD, {"nsid": "1"}, "pci-0000:16:05.5-pci-10000:01:00.0-nvme-1"),
    "NVMe by several paths": ("/devices/virtual/nvme-subsystem/nvme-subsys0", {"nsid": "1"}, ""),
    "a virtual disk": ("/devices/pci0000:00/0000:00:03.0/virtio0", {}, "pci-0000:00:03.0"),
    "a virtual SCSI disk": (
        "/devices/pci0000:00/0000:00:05.0/virtio1/host2/target2:0:1/2:0:1:0",
        {"first_host": "2"},
        "pci-0000:00:05.0-scsi-0:0:1:0",
    ),
    "a volume of a RAID controller": (
        f"{PORT}/host1/target1:2:0/1:2:0:0",
        {"first_host": "0"},
        "pci-0000:02:00.0-scsi-1:2:0:0",
    ),
    "SAS": (f"{HBA}/end_device-0:0/target0:0:0/0:0:0:0", SAS, "pci-0000:02:00.0-sas-phy5-lun-0"),
    "SAS behind an expander": (
        JBOD,
        SAS | {"expander_address": ADDRESS},
        f"pci-0000:02:00.0-sas-exp{ADDRESS}-phy5-lun-0",
    ),
    "SAS by two lanes": (JBOD, SAS | {"num_phys": "2"}, "pci-0000:02:00.0-sas-0x5000c500a1b2c3d5-lun-0"),
    "a unit of SAS that has an address": (f"{HBA}/end_device-0:0/target0:0:0/0:0:0:256", SAS, ""),
    "SAS behind who knows what": (JBOD, SAS | {"expander_address": "../.."}, ""),
    "a stick": (STICK, {"first_host": "6"}, "pci-0000:00:14.0-usb-0:2.4:1.0-scsi-0:0:0:0"),
    "Fibre Channel": (f"{PORT}/host7/rport-7:0-1/target7:0:0/7:0:0:0", {"first_host": "7"}, ""),
    "a card": ("/devices/pci0000:00/0000:00:1a.0/mmc_host/mmc0/mmc0:0001", {}, ""),
    "a board's own bus": ("/devices/platform/soc/fe340000.mmc/mmc_host/mmc0/mmc0:0001", {}, ""),
    "a report of an older discovery system": ("", {}, ""),
}


@pytest.mark.parametrize(("device", "told", "name"), NAMES.values(), ids=NAMES.keys())
def test_a_disk_is_called_as_udev_calls_it(device: str, told: dict[str, str], name: str) -> None:
    expected = f"/dev/disk/by-path/{name}" if name else ""
    assert by_path(dict.fromkeys(KEYS, "") | {"device_path": device} | told) == expected


EXPANDER = "pci0000:00/0000:02:00.0/host0/port-0:0/expander-0:0"
WAYS = {
    "SATA": (
        "pci0000:00/0000:00:1f.2/ata3/host2/target2:0:0/2:0:0:0",
        {"pci0000:00/0000:00:1f.2/ata3/ata_port/ata3/port_no": "3"},
        "pci-0000:00:1f.2-ata-3.0",
    ),
    "SAS behind an expander": (
        "pci0000:00/0000:02:00.0/host0/port-0:0/expander-0:0/port-0:0:4/end_device-0:0:4/target0:0:4/0:0:4:0",
        {
            "pci0000:00/0000:02:00.0/host0/port-0:0/sas_port/port-0:0/num_phys": "4",
            f"{EXPANDER}/sas_device/expander-0:0/sas_address": "0x500304801e2d3c3f",
            f"{EXPANDER}/port-0:0:4/sas_port/port-0:0:4/num_phys": "1",
            f"{EXPANDER}/port-0:0:4/end_device-0:0:4/sas_device/end_device-0:0:4/phy_identifier": "5",
            f"{EXPANDER}/port-0:0:4/end_device-0:0:4/sas_device/end_device-0:0:4/sas_address": "0x5000c500a1b2c3d5",
        },
        "pci-0000:02:00.0-sas-exp0x500304801e2d3c3f-phy5-lun-0",
    ),
    "the second of two hosts of a controller": (
        "pci0000:00/0000:02:00.0/host10/target10:2:0/10:2:0:0",
        {"pci0000:00/0000:02:00.0/host9/uevent": ""},
        "pci-0000:02:00.0-scsi-1:2:0:0",
    ),
}


@pytest.mark.parametrize(("device", "files", "name"), WAYS.values(), ids=WAYS.keys())
def test_where_a_disk_is_attached_is_told(tmp_path: Path, device: str, files: dict[str, str], name: str) -> None:
    (tmp_path / "devices" / device).mkdir(parents=True)
    for path, text in files.items():
        (tmp_path / "devices" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "devices" / path).write_text(f"{text}\n")
    script = f". $PROVISIONER_LIB/facts.sh; way_to {tmp_path}/devices/{device} | json_object"
    told = json.loads(run(script, tmp_path, part="lib.sh").stdout)
    assert by_path(dict.fromkeys(KEYS, "") | told) == f"/dev/disk/by-path/{name}"


@given(st.fixed_dictionaries({key: st.text("/0123:.-hostataend_devicepci", max_size=60) for key in KEYS}))
def test_whatever_is_told_it_is_a_name_in_that_folder_or_none(told: dict[str, str]) -> None:
    name = by_path(told)
    assert not name or (name.startswith("/dev/disk/by-path/pci-") and name.count("/") == 4 and ".." not in name)
