"""What is known of a machine's hardware. No I/O.

Facts come from the discovery system (`discovery/facts.py` decodes them) or out of band from a BMC;
`source` and `observed_at` travel with them.
"""

from __future__ import annotations

from dataclasses import dataclass

from provisioner.model.net import Mac


@dataclass(frozen=True, slots=True)
class Cpu:
    """The processors together: `model` of the first, sockets, cores and threads in all."""

    model: str = ""
    architecture: str = ""
    sockets: int = 0
    cores: int = 0
    threads: int = 0


@dataclass(frozen=True, slots=True)
class Disk:
    """A whole block device that can hold a system. `path` is its own /dev/disk/by-id/... name where it has one."""

    name: str
    size_bytes: int
    path: str = ""
    model: str = ""
    serial: str = ""
    wwn: str = ""
    rotational: bool = False
    transport: str = ""
    holds: str = ""
    """What lies on it now, in a few words ("gpt, 3 partitions, ext4"), empty when blank."""
    sector_bytes: int = 512
    """What it is addressed by: 4096 on what is sold as 4Kn."""
    by_path: str = ""
    """The /dev/disk/by-path/... name: where it is attached, the same in all machines that are built alike."""


@dataclass(frozen=True, slots=True)
class Nic:
    """A network port. `link` is the carrier as seen by the discovery system; None where it was not read."""

    name: str
    mac: Mac
    driver: str = ""
    link: bool | None = None
    speed_mbps: int | None = None
    pci: str = ""
    lldp_switch: str = ""
    lldp_port: str = ""
    relay: str = ""
    """Address of the relay that its last request came through."""
    circuit_id: str = ""
    """The switch port as that relay names it (option 82): text where it is printable, else 0x and hex."""
    remote_id: str = ""
    usb: bool = False
    """It is on the USB bus, as are adapters, which move about, and what BMCs show their machines, alike on all."""


@dataclass(frozen=True, slots=True)
class SwitchPort:
    """Where a machine's request came from, as its relay says; `name` is what the port's rule calls the machine."""

    relay: str
    circuit_id: str = ""
    remote_id: str = ""
    name: str = ""


@dataclass(frozen=True, slots=True)
class BmcSeen:
    """The BMC as the machine itself sees it over its local interface (KCS)."""

    address: str = ""
    mac: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """One machine's hardware, as last observed."""

    vendor: str = ""
    product: str = ""
    serial: str = ""
    uuid: str = ""
    firmware: str = ""
    """"bios" or "uefi"."""
    firmware_version: str = ""
    secure_boot: bool | None = None
    cpu: Cpu = Cpu()
    memory_bytes: int = 0
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    bmc: BmcSeen = BmcSeen()
    tpm: str = ""
    virtual: bool | None = None
    """A guest of a hypervisor, as the processor says; None where it was not read."""
    source: str = "discovery"
    observed_at: float = 0.0

    def ports(self, booted: str = "") -> tuple[Mac, ...]:
        """List the ports that tell a machine from others: those on the USB bus do not, but for the one it booted by."""
        return tuple(nic.mac for nic in self.nics if not nic.usb or nic.mac == booted)
