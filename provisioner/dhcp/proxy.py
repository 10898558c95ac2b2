"""Beside another DHCP server: boot information only, and port 4011 (PXE 2.1 sections 2.2.3 and 2.2.5). No I/O."""

from __future__ import annotations

import re

from provisioner.dhcp.boot import NOTHING
from provisioner.dhcp.case import Case, Reply, Silence, holding
from provisioner.dhcp.options import Opt, Type, number_of
from provisioner.dhcp.packet import address
from provisioner.dhcp.reply import ask_plan, destination, reply
from provisioner.dhcp.topology import Net
from provisioner.model.boot import Arch, Asker, Unknown

_UNFIT = re.compile(
    rb"grub|pxegrub|shim|gcd"  # as GRUB, shim and distributions call them
    rb"|core\."  # grub-mknetdir
    rb"|(?:boot|bootnet|net)(?:ia32|x64|arm|aa64|ia64|riscv\d+|loongarch\d+)(?![a-z0-9])"  # UEFI 2.10 section 3.5.1.1
)
"""Loaders (by the start of their name) that read their server from the other server's ACK and then look there."""


def is_unfit(name: bytes) -> bool:
    """Say whether a loader is known to fail beside another DHCP server."""
    return _UNFIT.match(name.lower().rpartition(b"/")[2]) is not None


def proxy_offer(case: Case, net: Net) -> Reply | Silence:
    """Give boot information only (PXE 2.1 section 2.2.3)."""
    if case.packet.type != Type.DISCOVER:
        _hear(case)
        return Silence("the other server's business")
    refusal = _refusal(case, net)
    if refusal is not None:
        return refusal
    if case.kind.asker is Asker.PXE and case.kind.arch != Arch.X86_BIOS:
        # UEFI ignores a file name here and asks again on port 4011 (what EDK2 calls BINL)
        case.boot, case.reason = NOTHING, "asks again on port 4011"
    return reply(case, net, int(Type.OFFER), 0)


def boot_server(case: Case, net: Net) -> Reply | Silence:
    """Name the boot file to a client that already has its address (PXE 2.1 section 2.2.5)."""
    if case.packet.type not in (Type.REQUEST, Type.INFORM):
        return Silence("port 4011 answers requests only")
    to = destination(case, 0).ip
    if (case.packet.ciaddr or not case.arrival.unicast) and holding(case.nets, to) is None:
        return Silence(f"it has {address(to)}, which is not an address of this network")
    _hear(case)
    refusal = _refusal(case, net)
    return reply(case, net, int(Type.ACK), 0) if refusal is None else refusal


def _hear(case: Case) -> None:
    """Note the address that the other server gave, one of this link: it is what the machine fetches its files from."""
    packet = case.packet
    if packet.type in (Type.REQUEST, Type.INFORM):
        ip = packet.ciaddr or number_of(packet.options, Opt.REQUESTED_ADDRESS, 4) or 0
        if holding(case.nets, ip) is not None:
            case.site.claims.put(ip, case.key)
    elif packet.type in (Type.RELEASE, Type.DECLINE):
        case.site.claims.drop(case.key)


def _refusal(case: Case, net: Net) -> Silence | None:
    if case.kind.asker in (Asker.OS, Asker.GRUB):
        return Silence("does not boot from the network")
    if case.known is None and net.config.unknown is not Unknown.DISCOVER:
        return Silence("nobody enrolled the machine, and the subnet boots no such")
    if not ask_plan(case, net) or not case.boot.name:
        return Silence(f"nothing to boot: {case.reason}")
    if net.proxy and is_unfit(case.boot.name):
        return Silence(f"{case.boot.name.decode()} does not work beside another DHCP server: name an iPXE loader")
    return None
