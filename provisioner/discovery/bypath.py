"""Where a disk is attached, in the words of udev: its name in /dev/disk/by-path (systemd's path_id). No I/O.

Machines of one kind have it in common, as they have no serial number and no WWN. What has no such name in an installed
system, or one that is not known here (Fibre Channel, iSCSI, what hangs on no PCI bus), gets none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

KEYS = (
    "device_path",
    "nsid",
    "port_no",
    "first_host",
    "num_phys",
    "phy_identifier",
    "sas_address",
    "expander_address",
)
"""What a report says of it, raw: the device's folder below /sys, and what stands in files on the way there."""

PLAIN_LUNS = 256
"""Units below are numbered as they are; those above by an address, which is no disk's."""
_ADDRESS = r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]"
_ROUTE = re.compile(rf"/devices((?:/pci[0-9a-f]{{4,8}}:[0-9a-f]{{2}}(?:/{_ADDRESS})+)+)/(.+)")
_LAST_OF_DOMAIN = re.compile(rf"/({_ADDRESS})(?=/pci|$)")
"""A controller has the others behind it in a domain of its own (Intel's VMD), and is named with them."""
_UNIT = re.compile(r"/host([0-9]{1,9})/(?:.*/)?[0-9]+:([0-9]{1,9}):([0-9]{1,9}):([0-9]{1,3})$")
_USB = re.compile(r"/[0-9]+-([0-9.]+:[0-9.]+)/host")
_SAS_ADDRESS = re.compile(r"0x[0-9a-f]{16}")


def by_path(told: Mapping[str, str]) -> str:
    """Name a disk by where it is attached; empty where there is no such name. `told` has a text for each of `KEYS`."""
    route = _ROUTE.fullmatch(told["device_path"])
    unit = _unit(f"/{route[2]}", told) if route is not None else None
    if route is None or unit is None:
        return ""
    controllers = "".join(f"-pci-{address}" for address in _LAST_OF_DOMAIN.findall(route[1]))
    return f"/dev/disk/by-path/{controllers[1:]}{unit}"


def _unit(behind: str, told: Mapping[str, str]) -> str | None:
    """Name what is behind a controller; None where that is not known."""
    if re.fullmatch(r"/virtio[0-9]+", behind):
        return ""
    if re.fullmatch(r"/nvme/nvme[0-9]+", behind):
        return f"-nvme-{told['nsid']}" if told["nsid"].isdecimal() else None
    unit = _UNIT.search(behind)
    if unit is None or "/rport-" in behind or "/session" in behind:
        return None
    return _scsi(behind, [int(number) for number in unit.groups()], told)


def _scsi(behind: str, unit: Sequence[int], told: Mapping[str, str]) -> str | None:
    host, channel, target, lun = unit
    if "/end_device-" in behind:
        return _sas(lun, told)
    if re.match(r"/ata[0-9]+/", behind):
        # behind a port multiplier each has a channel of its own
        number = f"{channel}.0" if channel else str(target)
        return f"-ata-{told['port_no']}.{number}" if told["port_no"].isdecimal() else None
    if not told["first_host"].isdecimal():
        return None
    usb = _USB.search(behind)
    return f"{f'-usb-0:{usb[1]}' if usb else ''}-scsi-{host - int(told['first_host'])}:{channel}:{target}:{lun}"


def _sas(lun: int, told: Mapping[str, str]) -> str | None:
    phy, expander, address = told["phy_identifier"], told["expander_address"], told["sas_address"]
    if lun >= PLAIN_LUNS:
        return None
    if told["num_phys"] != "1":
        return f"-sas-{address}-lun-{lun}" if _SAS_ADDRESS.fullmatch(address) else None
    if not phy.isdecimal() or not (expander == "" or _SAS_ADDRESS.fullmatch(expander)):
        return None
    return f"-sas-{f'exp{expander}-' if expander else ''}phy{phy}-lun-{lun}"
