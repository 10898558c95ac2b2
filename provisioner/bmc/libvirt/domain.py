"""A domain's XML: what it boots, and what it is made of (libvirt.org/formatdomain.html). No I/O.

libvirt knows an order of devices, not an override: what was asked for stands in the domain's metadata, and the order of
its devices follows from it. Whatever order the domain had is kept there, too, and put back when the override ends.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

from provisioner.errors import BmcUnsupported, ConfigError, WireError
from provisioner.model.bmc import BootOverride, BootTarget
from provisioner.model.facts import Cpu, Disk, Facts, Nic
from provisioner.model.net import parse_mac

NAMESPACE = "urn:provisioner:boot:1"
_BOOT = f"{{{NAMESPACE}}}boot"
NOTHING = BootOverride(BootTarget.NONE, once=False)
MAX_XML = 1 << 20

FIRST = {BootTarget.PXE: "interface", BootTarget.DISK: "disk", BootTarget.CD: "cdrom"}
"""The kind of device that a target puts first."""

KINDS = ("disk", "interface", "cdrom")
"""The order of kinds where nothing else was asked for."""

_OLD_NAMES = {"hd": "disk", "network": "interface", "cdrom": "cdrom"}
_UNITS = {"b": 1, "bytes": 1, "KB": 1000, "k": 1 << 10, "KiB": 1 << 10, "MB": 10**6, "M": 1 << 20, "MiB": 1 << 20,
          "GB": 10**9, "G": 1 << 30, "GiB": 1 << 30}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bootable:
    """A device that can boot: its kind, its name in QEMU (empty while the domain is off), its place (0: none)."""

    kind: str
    alias: str
    order: int


def parse(text: str) -> ET.Element:
    """Read a domain; raise `WireError`."""
    if len(text) > MAX_XML or "<!DOCTYPE" in text:
        raise WireError("not a domain: too long, or with a document type")
    try:
        root = ET.fromstring(text)  # noqa: S314 - no document type, so no entities
    except ET.ParseError as error:
        raise WireError(f"not XML: {error}") from error
    if root.tag != "domain":
        raise WireError(f"not a domain: <{root.tag[:40]}>")
    return root


def override_of(domain: ET.Element) -> BootOverride:
    """Read what was asked for."""
    held = domain.find(f"metadata/{_BOOT}")
    if held is None:
        return NOTHING
    try:
        return BootOverride(BootTarget(held.get("target", "")), once=held.get("once") == "yes")
    except ValueError as error:
        raise WireError(f"boot override {held.get('target')!r} has no meaning to us") from error


def is_spent(domain: ET.Element, running: ET.Element) -> bool:
    """Say whether a domain's machine runs that was started with the override in its definition."""
    asked, began = domain.find(f"metadata/{_BOOT}"), running.find(f"metadata/{_BOOT}")
    if asked is None or began is None or running.get("id") is None:  # what does not run is shown as it is defined
        return False
    return bool(asked.get("mark")) and asked.get("mark") == began.get("mark")


def set_override(domain: ET.Element, wanted: BootOverride, mark: str = "") -> None:
    """Write what is asked for into a domain's definition; raise `BmcUnsupported` for what it has no device for.

    `mark` tells this time from every other: a machine that is started takes it along.
    """
    own = own_order(domain)
    metadata = domain.find("metadata")
    if metadata is not None and (held := metadata.find(_BOOT)) is not None:
        metadata.remove(held)
    if wanted.target is BootTarget.NONE:
        put_order(domain, own)
        return
    first = FIRST.get(wanted.target)
    if first is None:
        raise BmcUnsupported(f"libvirt cannot boot {wanted.target}", hint="nothing was done")
    if not any(_kind(device) == first for device in _devices(domain)):
        raise BmcUnsupported(f"the domain has no {first} to boot from", hint="nothing was done")
    after = domain.find(f"metadata/{_BOOT}")
    assert after is None
    metadata = metadata if metadata is not None else ET.SubElement(domain, "metadata")
    once = "yes" if wanted.once else "no"
    ET.SubElement(metadata, _BOOT, target=wanted.target, once=once, own=" ".join(own), mark=mark)
    put_order(domain, [first, *(kind for kind in own if kind != first)])


def own_order(domain: ET.Element) -> list[str]:
    """Return the order of kinds that the domain has by itself."""
    held = domain.find(f"metadata/{_BOOT}")
    if held is not None and held.get("own") is not None:
        return [kind for kind in held.get("own", "").split() if kind in KINDS]
    old = [_OLD_NAMES[name] for boot in domain.findall("os/boot") if (name := boot.get("dev", "")) in _OLD_NAMES]
    placed = sorted((one for one in bootable(domain) if one.order), key=lambda one: one.order)
    return list(dict.fromkeys(old or [one.kind for one in placed])) or ["disk"]


def put_order(domain: ET.Element, kinds: list[str]) -> None:
    """Number the devices by kind; kinds that are not named do not boot."""
    system = domain.find("os")
    if system is not None:
        for boot in system.findall("boot"):
            system.remove(boot)
    place = 0
    for device in _devices(domain):
        for boot in device.findall("boot"):
            device.remove(boot)
    for kind in kinds:
        for device in _devices(domain):
            if _kind(device) == kind:
                place += 1
                ET.SubElement(device, "boot", order=str(place))


def bootable(domain: ET.Element) -> list[Bootable]:
    """Return the devices that can boot, as they stand."""
    found = []
    for device in _devices(domain):
        alias, boot = device.find("alias"), device.find("boot")
        order = boot.get("order", "") if boot is not None else ""
        name = alias.get("name", "") if alias is not None else ""
        found.append(Bootable(_kind(device), name, int(order) if order.isdecimal() else 0))
    return found


def _devices(domain: ET.Element) -> list[ET.Element]:
    devices = domain.find("devices")
    return [one for one in devices if _kind(one)] if devices is not None else []


def _kind(device: ET.Element) -> str:
    if device.tag == "interface":
        return "interface"
    if device.tag == "disk":
        return {"disk": "disk", "cdrom": "cdrom", "lun": "disk"}.get(device.get("device", "disk"), "")
    return ""


def facts_of(domain: ET.Element) -> Facts:
    """Return what the domain is made of."""
    vcpus = domain.findtext("vcpu", "0").strip()
    system = domain.find("os/type")
    return Facts(
        vendor="libvirt",
        product=system.get("machine", "") if system is not None else "",
        uuid=domain.findtext("uuid", "").strip().lower(),
        firmware="uefi" if domain.find("os/loader") is not None else "bios",
        cpu=Cpu(
            architecture=system.get("arch", "") if system is not None else "",
            sockets=1,
            cores=int(vcpus) if vcpus.isdecimal() else 0,
            threads=int(vcpus) if vcpus.isdecimal() else 0,
        ),
        memory_bytes=_memory(domain.find("memory")),
        disks=tuple(_disk(one) for one in _devices(domain) if _kind(one) == "disk"),
        nics=tuple(nic for one in _devices(domain) if _kind(one) == "interface" and (nic := _nic(one))),
        source="libvirt",
    )


def _memory(memory: ET.Element | None) -> int:
    if memory is None or not (memory.text or "").strip().isdecimal():
        return 0
    return int((memory.text or "0").strip()) * _UNITS.get(memory.get("unit", "KiB"), 1 << 10)


def _disk(device: ET.Element) -> Disk:
    target = device.find("target")
    name = target.get("dev", "") if target is not None else ""
    return Disk(
        name, 0, serial=device.findtext("serial", ""), transport=target.get("bus", "") if target is not None else ""
    )


def _nic(device: ET.Element) -> Nic | None:
    mac, target = device.find("mac"), device.find("target")
    try:
        address = parse_mac(mac.get("address", "") if mac is not None else "")
    except ConfigError:
        return None
    return Nic(target.get("dev", "") if target is not None else "", address)
