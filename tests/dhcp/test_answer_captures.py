"""Captures of real firmware and clients, answered: what each of their packets gets."""

from __future__ import annotations

import pytest

from provisioner.dhcp.case import Arrival, Reply
from provisioner.dhcp.options import Opt
from provisioner.dhcp.packet import BOOTREQUEST, Packet, address, decode
from provisioner.dhcp.site import Site
from provisioner.model.boot import Arch, Asker, BootClient, LoadFile, Plan, RunScript
from tests.dhcp.clients import ask, captured, ip, said, site, subnet

US = "10.77.0.1"
FIRMWARE, SYSTEM = "10.77.0.100", "10.77.0.150"
"""What the captures' own server gave, and the clients therefore ask us for."""
LOADERS: dict[int | None, str] = {
    Arch.X86_BIOS: "undionly.kpxe",
    Arch.EFI_X64: "snponly.efi",
    Arch.EFI_X64_HTTP: "snponly.efi",
    Arch.EFI_ARM64: "snponly-arm64.efi",
}
URL = f"http://{US}:8080/files/snponly.efi"
SCRIPT = f"http://{US}:8080/boot/52:54:00:77:00:01/script.ipxe"

Told = tuple[str, str, str]
"""Event, address and boot file of an answer."""


def firmware(*files: str) -> list[Told]:
    """Firmware that is offered its address with these files, and given it with the last."""
    return [*(("dhcp.offer", FIRMWARE, file) for file in files), ("dhcp.ack", FIRMWARE, files[-1])]


SYSTEM_DORA = [("dhcp.offer", SYSTEM, ""), ("dhcp.ack", SYSTEM, "")]
CAPTURED: dict[str, tuple[tuple[str, ...], str, list[Told]]] = {
    "BIOS with QEMU's iPXE ROM, which asks twice": (("bios-ipxe-rom-tcg",), FIRMWARE, firmware(SCRIPT, SCRIPT)),
    "a plain BIOS ROM, which asks twice, then iPXE": (
        ("bios-plain-pxe",),
        FIRMWARE,
        firmware("undionly.kpxe", "undionly.kpxe") + firmware(SCRIPT),
    ),
    "UEFI with QEMU's iPXE ROM": (("uefi-ipxe-rom",), FIRMWARE, firmware(SCRIPT)),
    "OVMF by PXE, then iPXE": (("ovmf-pxe4",), FIRMWARE, firmware("snponly.efi") + firmware(SCRIPT)),
    "OVMF by PXE in vain, then by HTTP, then iPXE": (
        ("ovmf-http4",),
        FIRMWARE,
        firmware(*("snponly.efi",) * 4, URL) + firmware(SCRIPT),
    ),
    "arm64 firmware": (("aavmf-pxe4",), FIRMWARE, firmware("snponly-arm64.efi")),
    "OVMF with Secure Boot, by TFTP": (("sb-tftp",), FIRMWARE, firmware("snponly.efi")),
    "OVMF with Secure Boot, by HTTP": (("sb-http",), FIRMWARE, firmware(URL)),
    "OVMF with Secure Boot, before it refuses the loader": (("sb-unsigned",), FIRMWARE, firmware("snponly.efi")),
    "dhclient: new, started again, gone": (
        ("dhclient-dora", "dhclient-init-reboot", "dhclient-release"),
        SYSTEM,
        [*SYSTEM_DORA, ("dhcp.ack", SYSTEM, ""), ("dhcp.release", "", "")],
    ),
    "dhclient started again, and we have no record of it": (
        ("dhclient-init-reboot",),
        SYSTEM,
        [("dhcp.nak", "0.0.0.0", "")],
    ),
    "udhcpc": (("udhcpc-dora-release",), SYSTEM, SYSTEM_DORA),
}


def by_arch(client: BootClient) -> Plan:
    """A loader for each kind of firmware, the script for iPXE."""
    if client.asker is Asker.IPXE:
        return RunScript("discovery")
    return LoadFile(LOADERS.get(client.arch, ""), "chain to iPXE")


def answered(where: Site, question: Packet) -> Told:
    """Give event, address and boot file of an answer, after a look at what every reply has to carry."""
    arrival = Arrival("eth0", ip(US), unicast=bool(question.ciaddr))
    found = ask(where, question, arrival)
    if not isinstance(found, Reply):
        return found.event, "", ""
    reply = said(found)
    assert (reply.xid, reply.chaddr, reply.options[Opt.SERVER_ID]) == (
        question.xid,
        question.chaddr,
        ip(US).to_bytes(4, "big"),
    )
    for code in (Opt.CLIENT_ID, Opt.CLIENT_UUID):
        assert reply.options.get(code) == question.options.get(code)
    for_http = question.options.get(Opt.VENDOR_CLASS, b"").startswith(b"HTTPClient")
    assert reply.options.get(Opt.VENDOR_CLASS) == (b"HTTPClient" if for_http else None)
    name = reply.options.get(Opt.BOOT_FILE, reply.file.rstrip(b"\0")).decode()
    assert reply.siaddr == (ip(US) if name else 0)
    return found.event, address(reply.yiaddr), name


@pytest.mark.parametrize(("names", "pool", "expected"), CAPTURED.values(), ids=CAPTURED.keys())
def test_captured_clients_are_served(names: tuple[str, ...], pool: str, expected: list[Told]) -> None:
    here = site(subnet(network="10.77.0.0/24", pools=(pool,), router=(US,)), decide=by_arch)
    here.addresses, here.ours = {"eth0": (ip(US),)}, frozenset({ip(US)})
    asked = [each for name in names for each in map(decode, captured(name)) if each.op == BOOTREQUEST]
    assert [answered(here, each) for each in asked] == expected
