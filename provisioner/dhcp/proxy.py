"""Beside another DHCP server: boot information only, and port 4011 (PXE 2.1 sections 2.2.3 and 2.2.5). No I/O."""

from __future__ import annotations

from provisioner.dhcp.boot import Boot
from provisioner.dhcp.case import Case, Reply, Silence
from provisioner.dhcp.options import Type
from provisioner.dhcp.reply import boot_for, reply
from provisioner.dhcp.topology import Net
from provisioner.model.boot import Arch, Asker, Unknown

UNFIT_BEHIND_PROXY = ("grub", "shim", "bootx64", "bootaa64", "bootnetx64")
"""Loaders (by the start of their name) that read their server from the other server's ACK and then look there."""


def proxy_offer(case: Case, net: Net) -> Reply | Silence:
    """Give boot information only (PXE 2.1 section 2.2.3)."""
    if case.packet.type != Type.DISCOVER:
        return Silence("the other server's business")
    found = _proxy_boot(case, net)
    if isinstance(found, Silence):
        return found
    case.boot = found
    if case.client.asker is Asker.PXE and case.client.arch != Arch.X86_BIOS:
        # UEFI ignores a file name here and asks again on port 4011 (what EDK2 calls BINL)
        case.boot = Boot(siaddr=found.siaddr, reason="asks again on port 4011")
    return reply(case, net, Type.OFFER, 0)


def boot_server(case: Case, net: Net) -> Reply | Silence:
    """Name the boot file to a client that already has its address (PXE 2.1 section 2.2.5)."""
    if case.packet.type not in (Type.REQUEST, Type.INFORM):
        return Silence("port 4011 answers requests only")
    found = _proxy_boot(case, net)
    if isinstance(found, Silence):
        return found
    case.boot = found
    return reply(case, net, Type.ACK, 0)


def _proxy_boot(case: Case, net: Net) -> Boot | Silence:
    if case.client.asker in (Asker.OS, Asker.GRUB):
        return Silence("does not boot from the network")
    if case.known is None and net.config.unknown is not Unknown.DISCOVER:
        return Silence("nobody enrolled the machine, and the subnet boots no such")
    boot = boot_for(case, net)
    if boot is None or not boot.name:
        return Silence("nothing to boot: " + (boot.reason if boot else "the plan is to give this machine nothing"))
    if net.proxy and boot.name.lower().startswith(tuple(name.encode() for name in UNFIT_BEHIND_PROXY)):
        return Silence(f"{boot.name.decode()} does not work beside another DHCP server: name an iPXE loader")
    return boot
