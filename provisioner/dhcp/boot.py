"""A plan put into DHCP's words: which file or URL this client is told, in which field. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from provisioner.dhcp.packet import address
from provisioner.dhcp.pxe import HTTP_CLIENT
from provisioner.model.boot import Asker, BootClient, LoadFile, LocalDisk, NoBoot, Plan, RunScript


class Boot(NamedTuple):
    """What a client is told to fetch. Without `name` it gets an address and boots nothing from us."""

    name: bytes = b""
    siaddr: int = 0
    vendor_class: bytes = b""
    per_machine: bool = False
    """`name` holds the machine's own address: not worth remembering for others."""
    reason: str = ""


class Where(NamedTuple):
    """Our side as this client reaches it."""

    us: int
    http_port: int


def boot_of(client: BootClient, plan: Plan, where: Where, loader: Mapping[int, str]) -> Boot | None:
    """Translate `plan` for who asks; None: say nothing at all. `loader` overrides the plan's, by architecture."""
    match plan:
        case NoBoot():
            return None
        case LocalDisk():
            return Boot(reason=plan.reason)
        case LoadFile():
            return _load(client, plan, where, loader)
        case RunScript():
            return _script(client, plan, where)


def _load(client: BootClient, plan: LoadFile, where: Where, loader: Mapping[int, str]) -> Boot:
    name = loader.get(client.arch, plan.name) if client.arch is not None else plan.name
    if client.asker is Asker.OS:
        return Boot(reason="boots nothing from the network")
    if client.asker is Asker.HTTP:
        url = f"http://{address(where.us)}:{where.http_port}/files/{name}"
        return Boot(url.encode("ascii"), where.us, HTTP_CLIENT, reason=plan.reason)
    return Boot(name.encode("ascii"), where.us, reason=plan.reason)


def _script(client: BootClient, plan: RunScript, where: Where) -> Boot:
    if client.asker is not Asker.IPXE:
        return Boot(reason=f"{client.asker} runs no scripts")
    url = f"http://{address(where.us)}:{where.http_port}/boot/{client.mac}/script.ipxe"
    return Boot(url.encode("ascii"), where.us, per_machine=True, reason=plan.reason)
