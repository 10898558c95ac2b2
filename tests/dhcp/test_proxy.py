"""Beside another DHCP server: boot information only, on ports 67 and 4011."""

from __future__ import annotations

import pytest

from provisioner.dhcp.case import Arrival, Reply, Silence, To, Via
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import Packet
from provisioner.dhcp.proxy import is_unfit
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Mode, Reservation
from provisioner.model.boot import BootClient, LoadFile, LocalDisk, NoBoot, Plan, Unknown
from tests.dhcp.clients import (
    BIOS,
    DIRECT,
    HTTP,
    IPXE,
    MAC,
    PROXY_PORT,
    UEFI,
    US,
    ask,
    discover,
    ip,
    packet,
    said,
    site,
    subnet,
)

PLAIN = {Opt.REQUEST_LIST: b"\1\3\6"}


def beside(*known: Reservation, **changes: object) -> Site:
    """A site that is only a proxy."""
    settings: dict[str, object] = {"mode": Mode.PROXY, "pools": (), "router": (), "dns": (), "domain": ""}
    return site(subnet(**(settings | changes)), known=known)


OFFERS: dict[str, tuple[dict[int, bytes], bytes, bytes | None]] = {
    "BIOS is told the file, and to look no further": (BIOS, b"snponly.efi", b"\6\1\x08\xff"),
    "UEFI is told to ask on port 4011": (UEFI, b"", None),
    "UEFI HTTP gets its URL": (HTTP, f"http://{US}:8080/files/snponly.efi".encode(), None),
    "iPXE gets its script": (IPXE, f"http://{US}:8080/boot/{MAC}/script.ipxe".encode(), None),
}


@pytest.mark.parametrize(("client", "name", "vendor"), OFFERS.values(), ids=OFFERS.keys())
def test_offer(client: dict[int, bytes], name: bytes, vendor: bytes | None) -> None:
    found = ask(beside(), discover(options=client))
    reply = said(found)
    assert isinstance(found, Reply)
    assert (reply.type, reply.yiaddr, found.store) == (Type.OFFER, 0, ())
    assert reply.options.get(Opt.BOOT_FILE, b"") == name
    assert reply.options.get(Opt.VENDOR_INFO) == vendor
    assert reply.options[Opt.VENDOR_CLASS] == (b"HTTPClient" if client is HTTP else b"PXEClient")
    assert not {Opt.LEASE_TIME, Opt.SUBNET_MASK, Opt.ROUTER} & reply.options.keys()
    assert found.to == To(Via.BROADCAST, 0xFFFFFFFF, 68)


def test_port_4011_names_the_file() -> None:
    found = ask(beside(), packet(Type.REQUEST, options=UEFI, ciaddr="10.0.0.100"), PROXY_PORT)
    reply = said(found)
    assert isinstance(found, Reply)
    assert (reply.type, reply.yiaddr, reply.siaddr) == (Type.ACK, 0, ip(US))
    assert reply.options[Opt.BOOT_FILE] == b"snponly.efi"
    assert reply.options[Opt.VENDOR_CLASS] == b"PXEClient"
    assert found.to == To(Via.UDP, ip("10.0.0.100"), 4011)


def test_port_4011_answers_where_we_are_the_only_server_too() -> None:
    found = said(ask(site(), packet(Type.REQUEST, options=UEFI, ciaddr="10.0.0.100"), PROXY_PORT))
    assert (found.type, found.yiaddr) == (Type.ACK, 0)
    assert Opt.LEASE_TIME not in found.options


def test_port_4011_answers_to_where_it_was_asked_from() -> None:
    arrival = Arrival("eth0", ip(US), ("10.0.0.55", 68), 4011, unicast=True)
    found = ask(beside(), packet(Type.REQUEST, options=UEFI), arrival)
    assert isinstance(found, Reply)
    assert found.to == To(Via.UDP, ip("10.0.0.55"), 68)


SILENT: dict[str, tuple[Site, Packet, Arrival, str]] = {
    "an operating system": (beside(), discover(options=PLAIN), DIRECT, "does not boot from the network"),
    "a request is the other server's": (
        beside(),
        packet(Type.REQUEST, options=UEFI),
        DIRECT,
        "the other server's business",
    ),
    "a release is the other server's": (beside(), packet(Type.RELEASE), DIRECT, "the other server's business"),
    "unknown machines ignored": (
        beside(unknown=Unknown.IGNORE),
        discover(options=UEFI),
        DIRECT,
        "nobody enrolled the machine, and the subnet boots no such",
    ),
    "a discover on port 4011": (beside(), discover(options=UEFI), PROXY_PORT, "port 4011 answers requests only"),
    "an operating system on port 4011": (
        beside(),
        packet(Type.REQUEST, options=PLAIN),
        PROXY_PORT,
        "does not boot from the network",
    ),
    "an address of elsewhere, by a word of its link on port 4011": (
        beside(),
        packet(Type.REQUEST, options=UEFI, giaddr="10.0.0.9", ciaddr="203.0.113.9"),
        Arrival("eth0", ip(US), ("198.51.100.7", 53), 4011, unicast=True),
        "it has 203.0.113.9, which is not an address of this network",
    ),
    "GRUB reads its server from the other server's ACK": (
        beside(loader={"efi-x64": "grubx64.efi"}),
        discover(options=UEFI),
        DIRECT,
        "grubx64.efi does not work beside another DHCP server: name an iPXE loader",
    ),
    "so does GRUB by the name that UEFI looks for on a disk": (
        beside(loader={"efi-x64": "bootia32.efi"}),
        packet(Type.REQUEST, options=UEFI),
        PROXY_PORT,
        "bootia32.efi does not work beside another DHCP server: name an iPXE loader",
    ),
    "so does shim, which loads GRUB": (
        beside(loader={"efi-x64": "shimx64.efi"}),
        packet(Type.REQUEST, options=UEFI),
        PROXY_PORT,
        "shimx64.efi does not work beside another DHCP server: name an iPXE loader",
    ),
}


FIT = {
    "snponly.efi": True,
    "ipxe-arm64.efi": True,
    "netboot.xyz.efi": True,
    "bootstrap.efi": True,
    "undionly.kpxe": True,
    "http://10.0.0.1:8080/files/snponly.efi": True,
    "grubx64.efi": False,
    "grubnetx64.efi.signed": False,
    "pxegrub2": False,
    "boot/grub/x86_64-efi/core.efi": False,
    "core.0": False,
    "shimaa64.efi": False,
    "gcdx64.efi": False,
    "BOOTX64.EFI": False,
    "bootia32.efi": False,
    "bootarm.efi": False,
    "bootaa64.efi": False,
    "bootriscv64.efi": False,
    "bootloongarch64.efi": False,
    "bootnetx64.efi": False,
    "netx64.efi": False,
    "http://10.0.0.1:8080/files/bootia32.efi": False,
}


@pytest.mark.parametrize(("name", "fit"), FIT.items(), ids=FIT.keys())
def test_what_works_beside_another_server(name: str, fit: bool) -> None:
    assert is_unfit(name.encode()) is not fit


@pytest.mark.parametrize(("here", "question", "arrival", "reason"), SILENT.values(), ids=SILENT.keys())
def test_silence(here: Site, question: Packet, arrival: Arrival, reason: str) -> None:
    assert ask(here, question, arrival) == Silence(reason)


def test_the_address_that_the_other_server_gave_is_known() -> None:
    here = beside()
    for question, arrival, address in (
        (packet(Type.REQUEST, options=UEFI | {Opt.REQUESTED_ADDRESS: b"\x0a\0\0\x64"}), DIRECT, "10.0.0.100"),
        (packet(Type.REQUEST, options=UEFI, ciaddr="10.0.0.101"), PROXY_PORT, "10.0.0.101"),
        (packet(Type.INFORM, options=PLAIN, ciaddr="10.0.0.102"), DIRECT, "10.0.0.102"),
    ):
        ask(here, question, arrival)
        assert here.claims.get(ip(address)) == bytes.fromhex(MAC.replace(":", ""))
    assert here.claims.get(ip("10.0.0.101")) is None, "a machine has one address"
    ask(here, packet(Type.RELEASE, ciaddr="10.0.0.102"))
    assert here.claims.get(ip("10.0.0.102")) is None


def test_grub_is_offered_where_we_are_the_only_server() -> None:
    here = site(subnet(loader={"efi-x64": "grubx64.efi"}))
    assert said(ask(here, discover(options=UEFI))).options[Opt.BOOT_FILE] == b"grubx64.efi"


def test_a_known_machine_is_booted_where_unknown_ones_are_ignored() -> None:
    here = beside(Reservation(mac=MAC), unknown=Unknown.IGNORE)
    assert said(ask(here, discover(options=BIOS))).options[Opt.BOOT_FILE] == b"snponly.efi"


def local(_: BootClient) -> Plan:
    return LocalDisk("node1 is installed")


def nothing(_: BootClient) -> Plan:
    return NoBoot("not ours")


@pytest.mark.parametrize("plan", [local, nothing])
def test_nothing_to_boot_is_silence(plan: object) -> None:
    here = beside()
    here.decide = plan  # type: ignore[assignment]
    found = ask(here, discover(options=BIOS))
    assert isinstance(found, Silence)
    assert found.reason.startswith("nothing to boot: n")


def test_a_subnet_becomes_a_proxy_while_we_serve() -> None:
    from provisioner.dhcp.topology import Net

    here = site()
    assert said(ask(here, discover(options=BIOS))).yiaddr == ip("10.0.0.100")
    here.set_net(Net(subnet(mode=Mode.PROXY)))
    assert said(ask(here, discover(options=BIOS))).yiaddr == 0


def test_the_plan_is_asked_again_for_the_same_client() -> None:
    plans: list[Plan] = [LoadFile("one.efi", ""), LoadFile("two.efi", ""), LocalDisk("installed")]
    here = site(decide=lambda _: plans.pop(0))
    told = [said(ask(here, discover(options=UEFI))).options.get(Opt.BOOT_FILE) for _ in range(3)]
    assert told == [b"one.efi", b"two.efi", None]
