"""Decode what the discovery system reports. No I/O.

The report is text from a machine that may be broken or hostile: every field is checked on its own, and what has the
wrong type, range or shape is left out, so that one bad board never hides the rest. Size and depth of the JSON are
bounded by the caller.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Iterator
from typing import Any

from provisioner.discovery.bypath import KEYS, by_path
from provisioner.discovery.identity import meaningful
from provisioner.errors import ConfigError, WireError
from provisioner.model.facts import BmcSeen, Cpu, Disk, Facts, Nic
from provisioner.model.net import Mac, parse_mac
from provisioner.model.uuids import real_uuid

FORMAT = 1
"""The report's own version. The agent's side is `ramdisk/facts.sh`."""

MAX_TEXT = 256
MAX_PATH = 1024  # a disk behind two expanders has some 200
MAX_DISKS = 512  # a head with two full JBODs has some 200
MAX_NICS = 256  # a DPU with its virtual functions shows more than 100
MAX_PARTITIONS = 128
MAX_COUNT = 1 << 20
MAX_BYTES = 1 << 60
MAX_SECTOR = 1 << 16

_MIB = 1 << 20
_USB = re.compile(r"[0-9]{1,3}-[0-9.]{1,32}:[0-9.]{1,16}")
"""An interface of a device on the USB bus."""
_PCI = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_VIRTUAL_DISK = re.compile(r"(ram|zram|loop|nbd|fd|sr|dm-|md)[0-9]|mmcblk[0-9]+(boot|rpmb)")
_DEVICE_NAME = re.compile(r"[A-Za-z0-9_!.-]{1,32}")
_DIMM = re.compile(r"^\s*Size: (\d+) (MB|GB|TB)$", re.MULTILINE)
_DIMM_UNIT = {"MB": 1 << 20, "GB": 1 << 30, "TB": 1 << 40}
_NAA = re.compile(r"naa\.([0-9a-f]{16,32})")
_T10_ATA = re.compile(r"t10\.ATA {5}(.{40})(.{1,20})")
"""Model and serial number, of fixed widths: what a SATA disk without a WWN is told apart by (libata, as SAT says)."""
_UDEV_NAME = re.compile(r"[0-9A-Za-z#+.:=@_-]+")


def decode_facts(raw: bytes, now: float) -> Facts:
    """Read a report; raise `WireError` where it is not one at all."""
    try:
        report = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise WireError(f"facts are not JSON: {str(error)[:120]}") from error
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise WireError(f"facts are not a report of format {FORMAT}", hint="build the discovery system again")
    return _facts(report, now)


def _facts(report: dict[str, Any], now: float) -> Facts:
    dmi, firmware = _part(report, "dmi"), _part(report, "firmware")
    kind = _text(firmware, "type")
    return Facts(
        vendor=meaningful(_text(dmi, "sys_vendor")) or meaningful(_text(dmi, "board_vendor")),
        product=meaningful(_text(dmi, "product_name")) or meaningful(_text(dmi, "board_name")),
        serial=_serial(dmi),
        uuid=real_uuid(_text(dmi, "product_uuid")),
        firmware=kind if kind in ("bios", "uefi") else "",
        firmware_version=_firmware_version(dmi),
        secure_boot={"0": False, "1": True}.get(_text(firmware, "secure_boot"), False if kind == "uefi" else None),
        cpu=_cpu(_part(report, "cpu")),
        memory_bytes=_memory(report),
        disks=tuple(_disks(report)),
        nics=tuple(_nics(report)),
        bmc=_bmc(_text(report, "ipmi_lan", limit=65536)),
        tpm={"1": "1.2", "2": "2.0"}.get(_text(_part(report, "tpm"), "tpm_version_major"), ""),
        virtual={"0": False, "1": True}.get(_text(_part(report, "cpu"), "hypervisor")),
        observed_at=now,
    )


def _serial(dmi: dict[str, Any]) -> str:
    """The machine's serial number; a chassis or a board lends its own where the maker left the machine's blank."""
    candidates = (meaningful(_text(dmi, key)) for key in ("product_serial", "chassis_serial", "board_serial"))
    return next((serial for serial in candidates if serial), "")


def _firmware_version(dmi: dict[str, Any]) -> str:
    version, date = meaningful(_text(dmi, "bios_version")), meaningful(_text(dmi, "bios_date"))
    return f"{version} ({date})" if version and date else version


def _cpu(cpu: dict[str, Any]) -> Cpu:
    return Cpu(
        model=" ".join(_text(cpu, "model").split()),
        architecture=_text(cpu, "architecture"),
        sockets=_number(cpu, "sockets", MAX_COUNT),
        cores=_number(cpu, "cores", MAX_COUNT),
        threads=_number(cpu, "threads", MAX_COUNT),
    )


def _memory(report: dict[str, Any]) -> int:
    """What is plugged in, as SMBIOS says, where that fits what the kernel counts; else what the kernel counts."""
    counted = _number(_part(report, "memory"), "total_kb", MAX_BYTES >> 10) << 10
    sizes = _DIMM.findall(_text(report, "memory_devices", limit=65536))
    plugged = sum(int(size[:12]) * _DIMM_UNIT[unit] for size, unit in sizes[:MAX_DISKS])
    # firmware and kernel keep up to a quarter of a small machine for themselves; far more means that SMBIOS is wrong
    return plugged if counted <= plugged <= counted + max(counted // 3, 512 * _MIB) else counted


def _disks(report: dict[str, Any]) -> Iterator[Disk]:
    """List the disks, each once: one with two ports, or behind two controllers, is in a report by each of its paths."""
    seen: set[tuple[str, str]] = set()
    for disk in _devices(report):
        identity = (disk.wwn, disk.serial)
        if not all(identity) or identity not in seen:
            seen.add(identity)
            yield disk


def _devices(report: dict[str, Any]) -> Iterator[Disk]:
    details = {_text(item, "name"): item for item in _items(report, "disks", MAX_DISKS)}
    listed = _items(_part(report, "lsblk"), "blockdevices", MAX_DISKS)
    for item in sorted(listed, key=lambda item: _text(item, "name")):
        name, size = _text(item, "name"), _number(item, "size", MAX_BYTES)
        if _text(item, "type") == "disk" and size and _DEVICE_NAME.fullmatch(name) and not _VIRTUAL_DISK.match(name):
            yield _disk(name, size, item, details.get(name, {}))


def _disk(name: str, size: int, item: dict[str, Any], detail: dict[str, Any]) -> Disk:
    serial = _first(detail, "serial", "unit_serial") or meaningful(_text(item, "serial"))
    wwid = _text(detail, "wwid") or _text(detail, "device_wwid") or _text(item, "wwn")
    transport = _text(item, "tran") or _text(detail, "bus")
    return Disk(
        name=name,
        size_bytes=size,
        path=_stable_path(transport, serial, wwid, _text(detail, "card")),
        model=_first(detail, "model") or meaningful(_text(item, "model")),
        serial=serial,
        wwn=_wwn(wwid),
        rotational=_truth(item.get("rota")),
        transport=transport,
        holds=_holds(item),
        sector_bytes=_number(item, "log-sec", MAX_SECTOR) or 512,
        by_path=by_path({key: _text(detail, key, limit=MAX_PATH) for key in KEYS}),
    )


def _stable_path(transport: str, serial: str, wwid: str, card: str) -> str:
    """The name that udev will give the disk in an installed system (60-persistent-storage.rules)."""
    name = ""
    if match := _NAA.fullmatch(wwid):
        name = f"wwn-0x{match[1]}"
    elif (match := _T10_ATA.fullmatch(wwid)) and match[1].strip():
        name = "ata-" + "_".join(f"{match[1]} {match[2]}".split())
    elif transport == "nvme" and re.fullmatch(r"(eui|uuid|nvme)\.[0-9A-Za-z.-]{8,160}", wwid):
        name = f"nvme-{wwid}"
    elif transport == "virtio" and re.fullmatch(r"[0-9A-Za-z._-]{1,20}", serial):
        name = f"virtio-{serial}"
    elif transport == "mmc" and card and serial:
        name = f"mmc-{card}_{serial}"
    return f"/dev/disk/by-id/{name}" if _UDEV_NAME.fullmatch(name) else ""


def _wwn(wwid: str) -> str:
    if match := _NAA.fullmatch(wwid):
        return f"0x{match[1]}"
    return wwid if re.fullmatch(r"(0x|eui\.|uuid\.)[0-9a-f-]{8,64}", wwid) else ""


def _holds(item: dict[str, Any]) -> str:
    """What lies on a disk: its partition table, how many partitions, which file systems."""
    parts = _items(item, "children", MAX_PARTITIONS)
    table = _text(item, "pttype", limit=16)
    kinds = sorted({kind for part in (item, *parts) if (kind := _text(part, "fstype", limit=32))})
    words = [table, f"{len(parts)} partition{'s' if len(parts) != 1 else ''}" if parts else "", *kinds]
    return ", ".join(word for word in words if word)


def _nics(report: dict[str, Any]) -> Iterator[Nic]:
    for item in _items(report, "nics", MAX_NICS):
        mac, name = _mac(_text(item, "address")), _text(item, "name", limit=32)
        if mac is not None and name:
            speed = _number(item, "speed", 10_000_000)
            yield Nic(
                name=name,
                mac=mac,
                driver=_text(item, "driver", limit=64),
                link={"1": True, "0": False}.get(_text(item, "carrier")),
                speed_mbps=speed or None,
                pci=next((a for key in ("bus_address", "parent_address") if _PCI.fullmatch(a := _text(item, key))), ""),
                usb=_USB.fullmatch(_text(item, "bus_address")) is not None,
            )


def _mac(text: str) -> Mac | None:
    """A station's own address: not zero, not a group address."""
    try:
        mac = parse_mac(text)
    except ConfigError:
        return None
    return None if mac == "00:00:00:00:00:00" or int(mac[:2], 16) & 1 else mac


def _bmc(lan: str) -> BmcSeen:
    """Read `ipmitool lan print`. A BMC without an address of its own says 0.0.0.0."""
    found = dict(re.findall(r"^(IP Address|MAC Address)\s*: (\S{1,64})\s*$", lan, re.MULTILINE))
    return BmcSeen(_address(found.get("IP Address", "")), _mac(found.get("MAC Address", "")) or "")


def _address(text: str) -> str:
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return ""
    return "" if address.is_unspecified else str(address)


def _part(value: dict[str, Any], key: str) -> dict[str, Any]:
    found = value.get(key)
    return found if isinstance(found, dict) else {}


def _items(value: dict[str, Any], key: str, most: int) -> list[dict[str, Any]]:
    found = value.get(key)
    return [item for item in found[:most] if isinstance(item, dict)] if isinstance(found, list) else []


def _text(value: dict[str, Any], key: str, *, limit: int = MAX_TEXT) -> str:
    """A text of printable ASCII, tabs and line ends; empty where it is anything else or too long to be meant."""
    found = value.get(key)
    if not isinstance(found, str) or len(found) > limit:
        return ""
    return "".join(char for char in found if " " <= char <= "~" or char in "\t\n").strip()


def _first(value: dict[str, Any], *keys: str) -> str:
    return next((text for key in keys if (text := meaningful(_text(value, key)))), "")


def _number(value: dict[str, Any], key: str, most: int) -> int:
    """A whole number from 0 to `most`, as a number or in digits; 0 where it is anything else."""
    found = value.get(key)
    if isinstance(found, str) and re.fullmatch(r"[0-9]{1,20}", found):
        found = int(found)
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 <= found <= most else 0


def _truth(value: object) -> bool:
    return value is True or value == "1"
