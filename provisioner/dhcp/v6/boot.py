"""A plan put into DHCPv6's words: a URL, and for whom it is (RFC 5970; UEFI 2.10 section 24.7). No I/O."""

from __future__ import annotations

from provisioner.boot.files import url_path
from provisioner.boot.plan import by_https
from provisioner.dhcp.boot import reason_of
from provisioner.dhcp.pxe import HTTP_CLIENT
from provisioner.dhcp.v6.case import Case6, our_address
from provisioner.dhcp.v6.message import address
from provisioner.dhcp.v6.net import Net6
from provisioner.dhcp.v6.options import Opt, Options, VendorClass, encode_vendor_class
from provisioner.model.boot import Asker, BootClient, LoadFile, LocalDisk, NoBoot, Plan, RunScript, Trust, Unknown

NO_ADDRESS = "no global IPv6 address of ours on that link: set server_address"


def client_of(case: Case6) -> BootClient:
    """Name the one machine. Of the UUIDs that its DUID may mean, the one that is on record, else the likelier."""
    known, uuids = case.known, case.who.uuids
    uuid = known.uuid if known is not None and known.uuid in uuids else next(iter(uuids), None)
    return BootClient(case.who.mac, case.kind.asker, case.kind.arch, uuid)


def boot_options(case: Case6, net: Net6, plan: Plan | None = None) -> Options | None:
    """Ask what the machine boots; None: it gets no answer at all. The reason is in `case.reason`.

    `plan`: what was said of it already, for another subnet on its link.
    """
    if case.known is None and net.config.unknown is Unknown.QUARANTINE:
        case.reason = "unknown machine in quarantine"
        return ()
    if plan is None:
        case.plan = plan = case.site.decide(client_of(case))
    case.reason = plan.reason
    return None if isinstance(plan, NoBoot) else _in_options(case, net, plan)


def _in_options(case: Case6, net: Net6, plan: Plan) -> Options:
    us = our_address(case, net)
    if isinstance(plan, LocalDisk) or not case.kind.boots:
        return ()
    if not us:
        case.reason = NO_ADDRESS
        return ()
    url = url_of(case, net, plan, address(us))
    if not url:
        return ()
    case.reason = reason_of(plan, url.encode("ascii"))
    found: list[tuple[int, bytes]] = [(Opt.BOOT_URL, url.encode("ascii"))]
    if net.parameters and Opt.BOOT_PARAMETERS in case.kind.wanted:
        found.append((Opt.BOOT_PARAMETERS, net.parameters))
    if case.kind.asker is Asker.HTTP:
        found.append((Opt.VENDOR_CLASS, encode_vendor_class(VendorClass(case.kind.enterprise, (HTTP_CLIENT,)))))
    return tuple(found)


def url_of(case: Case6, net: Net6, plan: Plan, us: str) -> str:
    """Say where the client fetches what it is to load; empty for what it cannot load."""
    http = f"http://[{us}]:{net.config.http_port or case.site.http_port}"
    if by_https(case.kind.asker, case.known.https if case.known is not None else Trust.UNSAID, net.config.https):
        http = f"https://[{us}]:{case.site.tls_port}"
    match plan, case.kind.asker:
        case RunScript(), Asker.IPXE:
            return f"{http}/boot/{case.who.mac}/script.ipxe"
        case LoadFile(), Asker.HTTP:
            return f"{http}/{url_path(loader_of(case, net, plan))}"
        case LoadFile(), _:
            return f"tftp://[{us}]/{loader_of(case, net, plan)}"
    return ""


def loader_of(case: Case6, net: Net6, plan: LoadFile) -> str:
    """Name the loader: the one that the machine or its subnet has for this architecture, else the plan's."""
    if plan.direct:
        return plan.name
    arch = -1 if case.kind.arch is None else case.kind.arch
    name = net.loader.get(arch, plan.name)
    return case.known.loader.get(arch, name) if case.known is not None else name
