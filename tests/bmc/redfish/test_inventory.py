"""What is in the machine, from resources in the shapes that boards give them."""

from __future__ import annotations

from typing import Any

from provisioner.bmc.redfish.driver import Redfish
from provisioner.model.board import Component, Dimm
from provisioner.model.facts import Cpu, Disk, Nic
from provisioner.model.net import Mac
from tests.bmc.redfish.service import SYSTEM, Service

PARTS: dict[str, dict[str, Any]] = {
    "Processors/1": {"ProcessorType": "CPU", "Model": "Xeon", "ProcessorArchitecture": "x86", "TotalCores": 8,
                     "TotalThreads": 16},
    "Processors/2": {"ProcessorType": "CPU", "Status": {"State": "Absent"}},
    "Processors/G": {"ProcessorType": "GPU", "TotalCores": 999},
    "Memory/A1": {"DeviceLocator": "A1", "CapacityMiB": 16384, "MemoryDeviceType": "DDR5", "OperatingSpeedMhz": 4800,
                  "Manufacturer": "M", "SerialNumber": "S"},
    "Memory/A2": {"DeviceLocator": "A2", "CapacityMiB": None, "Status": {"State": "Absent"}},
    "EthernetInterfaces/1": {"Id": "1", "MACAddress": "52:54:00:AA:BB:CC", "LinkStatus": "LinkUp", "SpeedMbps": 25000},
    "EthernetInterfaces/2": {"Id": "2", "MACAddress": "not available"},
    "Storage/S": {"Drives": [{"@odata.id": f"{SYSTEM}/Drives/D1"}, {"@odata.id": f"{SYSTEM}/Drives/D2"}]},
    "Drives/D1": {"Name": "Disk 1", "CapacityBytes": 960197124096, "Model": "PM", "SerialNumber": "X",
                  "MediaType": "SSD", "Protocol": "NVMe"},
    "Drives/D2": {"Name": "Bay 2", "CapacityBytes": 0},
}  # fmt: skip


def furnish(board: Service, parts: dict[str, dict[str, Any]]) -> None:
    """Put parts below the system, with a collection for each kind that the system links to."""
    for name, data in parts.items():
        kind = name.partition("/")[0]
        path = f"{SYSTEM}/{name}"
        board.resources[path] = data
        if kind != "Drives":
            collection = board.resources.setdefault(f"{SYSTEM}/{kind}", {"Members": []})
            collection["Members"].append({"@odata.id": path})
            board.system[kind] = {"@odata.id": f"{SYSTEM}/{kind}"}


async def test_inventory(board: Service, bmc: Redfish) -> None:
    furnish(board, PARTS)
    board.resources["/redfish/v1/"]["UpdateService"] = {"@odata.id": "/redfish/v1/UpdateService"}
    board.resources["/redfish/v1/UpdateService"] = {"FirmwareInventory": {"@odata.id": "/redfish/v1/Fw"}}
    board.resources["/redfish/v1/Fw"] = {
        "Members": [{"@odata.id": "/f", "Id": "BIOS", "Name": "System BIOS", "Version": "2.1", "Updateable": True}]
    }
    found = await bmc.inventory()
    assert found.facts.cpu == Cpu("Xeon", "x86_64", sockets=1, cores=8, threads=16)
    assert found.facts.memory_bytes == 16 << 30
    assert found.facts.nics == (Nic("1", Mac("52:54:00:aa:bb:cc"), link=True, speed_mbps=25000),)
    assert found.facts.disks == (Disk("Disk 1", 960197124096, model="PM", serial="X", transport="nvme"),)
    assert (found.facts.serial, found.facts.source) == ("S1", "redfish")
    assert found.dimms == (Dimm("A1", 16 << 30, "DDR5", 4800, "M", "S"),)
    assert found.firmware == (Component("System BIOS", "2.1", "BIOS", updateable=True),)


async def test_a_board_that_only_sums_up(board: Service, bmc: Redfish) -> None:
    board.system["ProcessorSummary"] = {"Count": 2, "Model": "Xeon"}
    board.system["MemorySummary"] = {"TotalSystemMemoryGiB": 64}
    board.system["SimpleStorage"] = {"@odata.id": "/redfish/v1/Simple"}
    board.resources["/redfish/v1/Simple"] = {
        "Members": [{"@odata.id": "/s", "Devices": [{"Name": "sda", "CapacityBytes": 1000}, {"Name": "none"}]}]
    }
    found = (await bmc.inventory()).facts
    assert found.cpu == Cpu("Xeon", sockets=2)
    assert found.memory_bytes == 64 << 30
    assert [disk.name for disk in found.disks] == ["sda"]


async def test_a_number_that_is_none(board: Service, bmc: Redfish) -> None:
    board.system["MemorySummary"] = {"TotalSystemMemoryGiB": float("inf")}
    assert (await bmc.inventory()).facts.memory_bytes == 0


async def test_a_board_that_says_nothing(bmc: Redfish) -> None:
    found = await bmc.inventory()
    assert found.facts.cpu == Cpu()
    assert (found.dimms, found.firmware, found.facts.disks) == ((), (), ())
