"""What is in the machine, seen through its BMC (DSP0268: Processor, Memory, EthernetInterface, Storage, firmware)."""

from __future__ import annotations

from collections.abc import AsyncIterator

from provisioner.bmc.redfish.answers import Resource, number_of
from provisioner.bmc.redfish.board import Board, last
from provisioner.errors import BmcUnsupported, ConfigError
from provisioner.model.board import Component, Dimm, Inventory
from provisioner.model.facts import Cpu, Disk, Facts, Nic
from provisioner.model.net import parse_mac

MIB, GIB = 1 << 20, 1 << 30


class InventoryVerbs(Board):
    """The parts of the machine. What a board does not list is left empty."""

    async def inventory(self) -> Inventory:
        """Read systems, processors, memory, ports, drives and firmware. Some boards tell only while it is on."""
        system = await self.system()
        dimms = [_dimm(one) for one in await self._listed(system, "Memory")]
        summary = system.table("MemorySummary").get("TotalSystemMemoryGiB")
        facts = Facts(
            vendor=system.text("Manufacturer"),
            product=system.text("Model"),
            serial=system.text("SerialNumber"),
            uuid=system.text("UUID").lower(),
            firmware={"UEFI": "uefi", "Legacy": "bios"}.get(system.text("Boot", "BootSourceOverrideMode"), ""),
            firmware_version=system.text("BiosVersion"),
            cpu=_cpu(system, await self._listed(system, "Processors")),
            memory_bytes=sum(dimm.size_bytes for dimm in dimms) or int(_whole(summary) * GIB),
            disks=tuple([disk async for disk in self._disks(system)]),
            nics=tuple(nic for one in await self._listed(system, "EthernetInterfaces") if (nic := _nic(one))),
            source="redfish",
        )
        present = tuple(dimm for dimm in dimms if dimm.size_bytes)
        return Inventory(facts, present, await self.firmware())

    async def firmware(self) -> tuple[Component, ...]:
        """Return the firmware inventory."""
        update = (await self.root()).link("UpdateService")
        path = (await self.get(update)).link("FirmwareInventory") if update else ""
        if not path:
            return ()
        return tuple(_component(one) for one in await self.each(path))

    async def _listed(self, parent: Resource, key: str) -> list[Resource]:
        path = parent.link(key)
        try:
            return await self.each(path) if path else []
        except BmcUnsupported:
            return []

    async def _disks(self, system: Resource) -> AsyncIterator[Disk]:
        for storage in await self._listed(system, "Storage"):
            for path in storage.members("Drives"):
                for drive in await self._readable(path):
                    if disk := _disk(drive):
                        yield disk
        if not system.link("Storage"):
            for simple in await self._listed(system, "SimpleStorage"):
                for one in simple.rows("Devices"):
                    if disk := _disk(one):
                        yield disk


def _cpu(system: Resource, processors: list[Resource]) -> Cpu:
    cpus = [one for one in processors if one.text("ProcessorType") in ("CPU", "") and _is_there(one)]
    if not cpus:
        summary = Resource("", system.table("ProcessorSummary"))
        return Cpu(model=summary.text("Model"), sockets=int(_whole(summary.data.get("Count"))))
    return Cpu(
        model=cpus[0].text("Model"),
        architecture={"x86": "x86_64", "x86-64": "x86_64", "ARM": "aarch64"}.get(
            cpus[0].text("ProcessorArchitecture"), cpus[0].text("ProcessorArchitecture")
        ),
        sockets=len(cpus),
        cores=sum(int(_whole(one.data.get("TotalCores"))) for one in cpus),
        threads=sum(int(_whole(one.data.get("TotalThreads"))) for one in cpus),
    )


def _dimm(one: Resource) -> Dimm:
    return Dimm(
        slot=one.text("DeviceLocator") or one.text("Name"),
        size_bytes=int(_whole(one.data.get("CapacityMiB")) * MIB) if _is_there(one) else 0,
        kind=one.text("MemoryDeviceType"),
        speed_mhz=int(_whole(one.data.get("OperatingSpeedMhz"))),
        vendor=one.text("Manufacturer"),
        serial=one.text("SerialNumber"),
    )


def _nic(one: Resource) -> Nic | None:
    try:
        mac = parse_mac(one.text("MACAddress") or one.text("PermanentMACAddress"))
    except ConfigError:
        return None
    link = {"LinkUp": True, "LinkDown": False, "NoLink": False}.get(one.text("LinkStatus"))
    return Nic(
        name=one.text("Id") or one.text("Name"),
        mac=mac,
        link=link,
        speed_mbps=int(_whole(one.data.get("SpeedMbps"))) or None,
    )


def _disk(drive: Resource) -> Disk | None:
    size = int(_whole(drive.data.get("CapacityBytes")))
    if not size or not _is_there(drive):
        return None
    return Disk(
        name=drive.text("Name") or last(drive.path),
        size_bytes=size,
        model=drive.text("Model"),
        serial=drive.text("SerialNumber"),
        rotational=drive.text("MediaType") == "HDD",
        transport=drive.text("Protocol").lower(),
    )


def _component(one: Resource) -> Component:
    return Component(
        name=one.text("Name"),
        version=one.text("Version"),
        id=one.text("Id"),
        updateable=one.data.get("Updateable") is True,
    )


def _is_there(one: Resource) -> bool:
    return one.text("Status", "State") not in ("Absent", "Disabled")


def _whole(value: object) -> float:
    """Read a number that cannot be negative; 0 for anything else."""
    return max(number_of(value) or 0.0, 0.0)
