"""Sample machines that bootenvs are rendered for by `lint`: their hardware, and what their profiles ask for. No I/O.

Together they use every word of the vocabulary of parameters: each layout, encryption, kind of link, both firmwares.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from provisioner.catalog.context import Boot, Stored
from provisioner.catalog.params import Layer
from provisioner.model.catalog import Bootenv
from provisioner.model.facts import Cpu, Disk, Facts, Nic
from provisioner.model.machine import Machine, State
from provisioner.model.net import Mac

GB = 10**9
"""Disks are sold by powers of ten."""
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGk0bWxvT3ZlclRoZVJhY2tBbmRJdElzRmluZSEh ops@example.org"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMIIBszCCAVmgAwIBAgIUc2l0ZS1jYQ==\n-----END CERTIFICATE-----"


def mac(last: int) -> Mac:
    return Mac(f"52:54:00:77:00:{last:02x}")


def nic(number: int, driver: str = "igb", speed: int | None = 1000, link: bool | None = True) -> Nic:
    switch = f"leaf{1 + number % 2}"
    return Nic(f"eth{number}", mac(number + 1), driver, link, speed, f"0000:0{number + 1}:00.0", switch, f"Eth{number}")


def sata(letter: str, size_gb: int = 480, rotational: bool = False) -> Disk:
    number = "abcdefgh".index(letter) + 1
    wwn = f"0x50025388000000{number:02x}"
    return Disk(
        f"sd{letter}", size_gb * GB, f"/dev/disk/by-id/wwn-{wwn}", "HDD8000" if rotational else "SSD480", f"S{number}",
        wwn, rotational, "sata", by_path=f"/dev/disk/by-path/pci-0000:00:1f.2-ata-{number}.0",
    )  # fmt: skip


NVME = Disk(
    "nvme0n1", 960 * GB, "/dev/disk/by-id/nvme-eui.0025388b01000001", "NV960", "N1", "eui.0025388b01000001", False,
    "nvme", by_path="/dev/disk/by-path/pci-0000:03:00.0-nvme-1",
)  # fmt: skip
VDA = Disk("vda", 20 * GB, rotational=True, transport="virtio", by_path="/dev/disk/by-path/pci-0000:00:03.0")
ROUTE = {"to": "10.9.0.0/16", "via": "10.2.0.2"}
PORTS = (nic(0), nic(1, link=False, speed=None), nic(2, "ixgbe", 10_000), nic(3, "ixgbe", 10_000))


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of machine of the fleet."""

    about: str
    facts: Facts
    params: dict[str, Any] = field(default_factory=dict)


def facts(firmware: str, disks: tuple[Disk, ...], nics: tuple[Nic, ...], **more: Any) -> Facts:
    cpu = Cpu("Test CPU", "x86_64", 2, 16, 32)
    return Facts(firmware=firmware, disks=disks, nics=nics, cpu=cpu, memory_bytes=64 << 30, **more)


PEOPLE = {
    "users.root.password": "store:root",
    "users.root.ssh_keys": [KEY],
    "users.accounts": [
        {
            "name": "ann",
            "full_name": "Ann O'Neill; $(reboot)",
            "sudo": True,
            "groups": ["operators"],
            "ssh_keys": [KEY],
        },
        {"name": "bob", "password": "store:ann", "shell": "/bin/sh"},
    ],
}

SITE = {
    "system.without": ["root-password"],
    "users.root.password": "store:admin",
    "mirror.rhel": "http://media.example.org/rhel",
    "mirror.sles": "http://media.example.org/sles",
    "talos.endpoint": "https://cluster.example.org:6443",
    "esxi.modules": ["jumpstrt.gz", "useropts.gz", "features.gz", "k.b00"],
    "esxi.media": "http://media.example.org/esxi-8",
    "windows.source": "\\\\10.0.0.2\\media",
    "windows.source_user": "installer",
    "windows.source_password": "store:admin",
    "windows.disk_numbers": {NVME.by_path: 0, "S1": 1, "S2": 2},
    "suse.registration_code": "store:site",
    "redhat.organization": "12345",
    "redhat.activation_key": "store:site",
} | {
    f"talos.{name}": "store:site"
    for name in ("machine_token", "machine_ca", "cluster_id", "cluster_secret", "cluster_token", "cluster_ca")
}
"""What the site sets for every machine: what one family or another cannot do without."""

FLEET: dict[str, Kind] = {
    "bios-vm": Kind("a small virtual machine, all defaults", facts("bios", (VDA,), (nic(0, "virtio_net", None),))),
    "bios-server": Kind(
        "two SATA disks, the second one wanted, root's password",
        facts("bios", (sata("a", 8000, True), sata("b")), PORTS[:2], vendor="Testcraft", product="T1"),
        {"disk.select": {"rotational": False}, "users.root.password": "store:root", "kernel.consoles": ["ttyS1,57600"]},
    ),
    "uefi-nvme": Kind(
        "UEFI, one NVMe disk, people and keys, serial console, kernel arguments",
        facts("uefi", (NVME,), PORTS),
        PEOPLE | {"kernel.consoles": ["tty0", "ttyS0,115200n8"], "kernel.args": ["mitigations=off", "iommu=pt"]},
    ),
    "uefi-site": Kind(
        "what a site sets: domain, time, proxy, certificates, packages",
        facts("uefi", (sata("a"), NVME), PORTS),
        {
            "system.domain": "dc1.example.org",
            "system.keyboard": "de",
            "time.zone": "Europe/Vienna",
            "time.ntp": ["ntp1.example.org", "10.0.0.2"],
            "proxy.http": "http://proxy.example.org:3128",
            "certificates.trusted": [CERTIFICATE],
            "packages.install": ["tmux"],
            "users.root.ssh_keys": [KEY],
            "disk.select": {"transport": "nvme"},
        },
    ),
    "bios-hooks": Kind(
        "scripts of the site, with everything in them that quoting gets wrong",
        facts("bios", (sata("a"),), PORTS[:1]),
        {
            "hooks.late": ["echo \"it's\" '$(late)' >/root/late.log\ncat <<'END'\n{{ not.a.template }} <&> ]]>\nEND\n"],
            "hooks.first_boot": ["touch /root/first-boot\n"],
        },
    ),
    "uefi-small": Kind("UEFI, all defaults", facts("uefi", (sata("a"),), PORTS[:1])),
    "uefi-root-keys": Kind(
        "keys for root, a password hash",
        facts("uefi", (NVME,), PORTS),
        {"users.root.ssh_keys": [KEY], "users.root.password": "store:root", "time.ntp": ["10.0.0.2"]},
    ),
    "uefi-vlan": Kind(
        "a static address on a VLAN of the port that netboots",
        facts("uefi", (sata("a"), sata("b")), PORTS),
        {
            "net.interfaces": [{"match": {"boot": True}, "dhcp": False}],
            "net.vlans": [{"id": 42, "link": "nic0", "addresses": ["10.42.0.17/24"], "gateway": "10.42.0.1"}],
            "disk.select": {"path": "*-ata-2.0"},
        },
    ),
    "uefi-bond": Kind(
        "two ports, one of them in waiting, an address by DHCP",
        facts("uefi", (NVME,), PORTS),
        {
            "net.interfaces": [],
            "net.bonds": [{"name": "bond0", "match": {"driver": "ixgbe"}, "mode": "active-backup", "mtu": 9000}],
        },
    ),
    "uefi-storage": Kind(
        "many disks: the system on the one that the serial number says",
        facts("uefi", (*(sata(letter, 8000, True) for letter in "cdefgh"), sata("a"), sata("b")), PORTS),
        {"disk.select": {"serial": "S2"}},
    ),
    "uefi-static": Kind(
        "a static address on the port that has 10 Gbit/s on leaf1",
        facts("uefi", (NVME,), PORTS),
        {
            "net.interfaces": [
                {
                    "match": {"min_speed": 10_000, "lldp_switch": "leaf1"},
                    "addresses": ["10.20.0.17/24"],
                    "gateway": "10.20.0.1",
                }
            ],
            "net.dns.servers": ["10.20.0.2", "10.20.0.3"],
            "net.dns.search": ["dc1.example.org"],
        },
    ),
    "uefi-bond-vlan": Kind(
        "two 10 Gbit/s ports bonded, the address on a VLAN, a second network with a route",
        facts("uefi", (NVME,), PORTS),
        {
            "net.interfaces": [
                {"match": {"boot": True}, "addresses": ["10.1.0.17/24"], "routes": [ROUTE | {"via": "10.1.0.2"}]}
            ],
            "net.bonds": [{"name": "bond0", "match": {"driver": "ixgbe", "link": True}, "dhcp": False, "mtu": 9000}],
            "net.vlans": [{"id": 42, "link": "bond0", "addresses": ["10.42.0.17/24"], "gateway": "10.42.0.1"}],
            "net.dns.servers": ["10.42.0.2"],
        },
    ),
    "bios-raid1-lvm": Kind(
        "LVM on a mirror, XFS, swap, a volume for /var, another locale",
        facts("bios", (sata("a"), sata("b")), PORTS),
        {
            "disk.layout": "raid1-lvm",
            "system.locale": "de_AT.UTF-8",
            "disk.filesystem": "xfs",
            "disk.swap": "4GiB",
            "disk.root_size": "40GiB",
            "disk.volumes": [{"name": "var", "mount": "/var", "size": "50GiB", "filesystem": "ext4"}],
        },
    ),
    "uefi-luks": Kind(
        "encrypted LVM, opened by a passphrase",
        facts("uefi", (NVME,), PORTS),
        {"disk.layout": "lvm", "disk.encryption": "passphrase", "disk.passphrase": "store:disk", "disk.swap": "2GiB"},
    ),
    "uefi-tpm": Kind(
        "encrypted root, opened by the TPM",
        facts("uefi", (NVME,), PORTS, tpm="2.0"),
        {"disk.encryption": "tpm", "disk.passphrase": "store:disk"},
    ),
    "uefi-raid1": Kind("a mirror without LVM", facts("uefi", (sata("a"), sata("b")), PORTS), {"disk.layout": "raid1"}),
    "uefi-ipv6": Kind(
        "IPv4 and IPv6 on one port, with routes and name servers of both, LACP, and a VLAN without an address",
        facts("uefi", (NVME,), PORTS),
        {
            "net.interfaces": [
                {
                    "match": {"boot": True},
                    "addresses": ["10.1.0.17/24", "fd00:1::17/64"],
                    "gateway": "fd00:1::1",
                    "routes": [
                        {"to": "10.9.0.0/16", "via": "10.1.0.2"},
                        {"to": "fd00:9::/48", "via": "fd00:1::2"},
                        {"to": "fd00:a::/48", "via": "fd00:1::2"},
                    ],
                }
            ],
            "net.bonds": [
                {
                    "name": "bond0",
                    "match": {"pci": "0000:0[34]:*"},
                    "count": 2,
                    "mode": "802.3ad",
                    "lacp_rate": "slow",
                    "hash_policy": "layer2+3",
                    "addresses": ["fd00:2::17/64"],
                    "routes": [{"to": "fd00:b::/48", "via": "fd00:2::2"}],
                }
            ],
            "net.vlans": [{"id": 7, "link": "bond0", "dhcp": False, "mtu": 1400}],
            "net.dns.servers": ["fd00:1::53", "10.1.0.53"],
            "net.dns.search": ["dc1.example.org", "example.org"],
        },
    ),
    "uefi-words": Kind(
        "what few ask for: another keyboard, a port that has a name, passwords over SSH, packages taken out",
        facts("uefi", (sata("a"), sata("b"), NVME), PORTS),
        {
            "system.hostname": "web1",
            "system.keyboard": "de",
            "net.interfaces": [{"name": "lan0", "match": {"boot": True}}],
            "ssh.passwords": True,
            "users.root.password": "store:root",
            "proxy.https": "http://secure-proxy.example.org:3129",
            "proxy.except": ["*.example.org", "10.0.0.0/8"],
            "packages.install": ["tmux"],
            "packages.remove": ["nano", "vim-tiny"],
            "disk.select": {
                "transport": "sata",
                "model": "SSD*",
                "min_size": "100GB",
                "max_size": "1TB",
                "order": "first",
            },
        },
    ),
    "uefi-ports": Kind(
        "every way to tell one port or disk from the others, and all that a port, a bond and a VLAN can have",
        facts("uefi", (sata("a"), sata("b", 8000, True), NVME), PORTS),
        {
            "disk.select": {"serial": "N*", "wwn": "eui.*", "path": "*nvme*"},
            "net.interfaces": [
                {"match": {"mac": mac(1), "link": True, "max_speed": 1000}, "mtu": 1500, "dhcp": True},
                {
                    "match": {"pci": "0000:02:*", "driver": "igb", "name": "eth1", "lldp_port": "Eth1"},
                    "addresses": ["10.2.0.17/24"],
                },
            ],
            "net.bonds": [
                {
                    "name": "bond0",
                    "match": {"min_speed": 10_000},
                    "mode": "balance-xor",
                    "addresses": ["10.3.0.17/24"],
                    "gateway": "10.3.0.1",
                }
            ],
            "net.vlans": [
                {
                    "id": 42,
                    "link": "bond0",
                    "addresses": ["10.42.0.17/24"],
                    "routes": [{"to": "10.43.0.0/16", "via": "10.42.0.1"}],
                }
            ],
        },
    ),
    "uefi-on-link": Kind(
        "single addresses of IPv4 and IPv6, with routers outside of them",
        facts("uefi", (NVME,), PORTS[:1]),
        {
            "net.interfaces": [
                {
                    "match": {"boot": True},
                    "addresses": ["203.0.113.17/32", "2001:db8:1::17/128"],
                    "gateway": "198.51.100.1",
                    "routes": [
                        {"to": "10.9.0.0/16", "via": "198.51.100.2"},
                        {"to": "::/0", "via": "fe80::1"},
                        {"to": "2001:db8:9::/48", "via": "2001:db8::1"},
                    ],
                }
            ],
            "net.dns.servers": ["198.51.100.53"],
        },
    ),
    "bios-routes": Kind(
        "static addresses on two ports, a large MTU, a route",
        facts("bios", (sata("a"),), PORTS),
        {
            "net.interfaces": [
                {"match": {"boot": True}, "addresses": ["10.1.0.17/24"], "gateway": "10.1.0.1"},
                {"match": {"driver": "ixgbe"}, "mtu": 9000, "addresses": ["10.2.0.17/24"], "routes": [ROUTE]},
            ],
            "net.dns.servers": ["10.1.0.2"],
        },
    ),
    "uefi-swap": Kind(
        "swap, the second serial port, kernel arguments",
        facts("uefi", (NVME,), PORTS[:1]),
        {"disk.swap": "2GiB", "kernel.consoles": ["tty0", "ttyS1,57600n8"], "kernel.args": ["mitigations=off"]},
    ),
    "uefi-zfs": Kind("ZFS on one of two disks", facts("uefi", (sata("a"), sata("b")), PORTS), {"disk.layout": "zfs"}),
    "bios-zfs-mirror": Kind(
        "ZFS, mirrored on two disks among others, of a size, with keys for root",
        facts("bios", (*(sata(letter, 8000, True) for letter in "cd"), sata("a"), sata("b")), PORTS),
        {"disk.layout": "zfs-mirror", "disk.root_size": "100GiB", "users.root.ssh_keys": [KEY]},
    ),
    "bios-zfs-raidz": Kind(
        "ZFS over all four disks, one of which may fail",
        facts("bios", tuple(sata(letter) for letter in "abcd"), PORTS[:1]),
        {"disk.layout": "zfs-raidz1", "disk.count": 4},
    ),
}


PLAIN = ("bios-vm", "uefi-nvme", "uefi-storage")
"""Hardware that profiles and roles of a site are tried on: one small disk, one NVMe disk, many disks."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One machine to render for, and what is set for it beside what the catalogue says."""

    name: str
    machine: Machine
    layers: tuple[Layer, ...]


def machine(name: str) -> Machine:
    """The machine of one kind."""
    kind = FLEET[name]
    return Machine(
        "m-17", "node17", State.READY, macs=tuple(nic.mac for nic in kind.facts.nics), profile=name, facts=kind.facts
    )


def layers(name: str) -> list[Layer]:
    """What the site and its hardware profile set."""
    return [Layer("global", "a sample site", SITE), Layer("profile", f"profile {name}", FLEET[name].params)]


def samples(values: Mapping[tuple[str, str], Layer]) -> list[Sample]:
    """Every sample machine, then each profile and role that `values` hold, on hardware of three kinds."""
    found = [Sample(name, machine(name), tuple(layers(name))) for name in FLEET]
    for (layer, name), given in sorted(values.items()):
        if name:
            site = Layer("global", "a sample site", SITE)
            found += [Sample(f"{layer} {name} on {kind}", machine(kind), (site, given)) for kind in PLAIN]
    return found


def boot(who: Machine, bootenv: Bootenv, arch: str = "amd64") -> Boot:
    """One boot of a machine, with every artefact in store."""
    files = bootenv.arch.get(arch)
    stored = {artifact.name: Stored("5e" * 32, 123_456_789) for artifact in files.artifacts} if files else {}
    return Boot(
        base="http://10.77.0.1:8080",
        mac=who.macs[0],
        arch=arch,
        firmware=who.facts.firmware if who.facts else "",
        address="10.77.0.117",
        token="AGENT-TOKEN",  # noqa: S106  a stand-in
        ticket="TICKET",
        phone_home="HOME-TOKEN",
        artifacts=stored,
    )
