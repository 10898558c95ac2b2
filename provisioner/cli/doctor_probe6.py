"""What `doctor` asks by DHCPv6, as a machine would, on the wires that are served, and how that is judged.

The probe is a UDP socket on port 546: what it sends to all servers is heard on this host and on the wire.
"""

from __future__ import annotations

import secrets
import socket
from dataclasses import dataclass
from ipaddress import IPv6Address

from provisioner.cli.doctor_probes import ProbeError, replies, unknown_mac
from provisioner.cli.finding import Finding, Findings, Level
from provisioner.cli.question6 import message_of
from provisioner.dhcp.addresses import by_interface
from provisioner.dhcp.asking import Ask
from provisioner.dhcp.subnets import Dhcp
from provisioner.dhcp.v6.case import CLIENT_PORT, SERVER_PORT
from provisioner.dhcp.v6.link import ALL_AGENTS
from provisioner.dhcp.v6.message import Type, address, decode, encode
from provisioner.dhcp.v6.options import Opt, addresses_in, decode_ia, first
from provisioner.dhcp.v6.subnets import Mode6, Subnet6
from provisioner.errors import ProvisionerError, WireError
from provisioner.model.boot import Arch, Unknown

BY_WHICH_RULE = "the daemon's log says whether it was asked; `provisionctl explain -6 --arch 7` says by which rule"


@dataclass(frozen=True, slots=True)
class Advert:
    """What one DHCPv6 server advertised to a machine that nobody knows; empty where it is nothing."""

    server: str
    ip: str
    url: str


def network6(dhcp: Dhcp, wait_s: float) -> Findings:
    """Ask for an address on each interface that a subnet of IPv6 is served on."""
    subnets = {each.interface: each for each in dhcp.subnets6 if each.interface and each.mode is not Mode6.OFF}
    own = by_interface(socket.AF_INET6)
    for name, subnet in subnets.items():
        try:
            adverts = probe_dhcp6(name, int(Arch.EFI_X64), wait_s)
        except ProvisionerError as error:
            yield Finding(Level.FAIL, "dhcp6", f"{name}: not tested: {error.message}", error.hint)
            continue
        yield from adverts_of(name, adverts, {address(each) for each in own.get(name, ())}, dhcp, subnet)


def adverts_of(interface: str, adverts: list[Advert], ours: set[str], dhcp: Dhcp, subnet: Subnet6) -> Findings:
    """Judge what an unknown machine was advertised on an interface; `ours` are our own addresses there."""
    mine = [advert for advert in adverts if advert.server in ours]
    for advert in adverts:
        if advert not in mine:
            allowed = advert.server in dhcp.allowed_servers
            text = f"{interface}: another DHCPv6 server, {advert.server}, offers {advert.ip or 'no address'}"
            hint = "machines take whichever they like better: switch it off"
            yield Finding(Level.OK if allowed else Level.FAIL, "dhcp6", f"{text}, as it may" if allowed else text, hint)
    wanted = subnet.mode is Mode6.AUTHORITATIVE and subnet.unknown is not Unknown.IGNORE
    if not any(advert.ip for advert in mine):
        said = "as the configuration says that it should" if wanted else "as the configuration has it"
        text = f"{interface}: an unknown machine gets no IPv6 address from us, {said}"
        yield Finding(Level.FAIL if wanted else Level.OK, "dhcp6", text, BY_WHICH_RULE)
        return
    for advert in mine:
        to_boot = advert.url or subnet.unknown is not Unknown.DISCOVER
        text = f"{interface}: {advert.server} offers {advert.ip}, to load {advert.url or 'nothing'}"
        yield Finding(Level.OK if to_boot else Level.FAIL, "dhcp6", text, BY_WHICH_RULE)


def probe_dhcp6(interface: str, arch: int, wait_s: float) -> list[Advert]:
    """Ask for an address as unknown firmware does; give what every server says. Takes `wait_s`, leaves no lease."""
    question = message_of(Ask(unknown_mac(), arch))._replace(xid=secrets.randbits(24))
    found: dict[str, Advert] = {}
    with _client_socket(interface) as sock:
        for data, sender in replies(sock, lambda: _ask(sock, encode(question), interface), wait_s):
            server = address(int(IPv6Address(sender[0].partition("%")[0])))
            if (advert := advert_of(data, question.xid, server)) is not None:
                found[server] = advert
    return list(found.values())


def _client_socket(interface: str) -> socket.socket:
    sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex(interface))
        sock.bind(("::", CLIENT_PORT))
    except OSError as error:
        sock.close()
        hint = "run it as root" if isinstance(error, PermissionError) else "a DHCPv6 client of this host may hold it"
        raise ProbeError(f"{interface}: cannot ask from port 546: {error.strerror or error}", hint=hint) from error
    return sock


def _ask(sock: socket.socket, question: bytes, interface: str) -> None:
    try:
        sock.sendto(question, (ALL_AGENTS, SERVER_PORT, 0, socket.if_nametoindex(interface)))
    except OSError as error:
        hint = f"`ip -6 addr show {interface}`: it needs a link-local address"
        raise ProbeError(f"{interface}: cannot send: {error.strerror or error}", hint=hint) from error


def advert_of(data: bytes, xid: int, server: str) -> Advert | None:
    """Read what a server advertises; None where it is no answer to our question."""
    try:
        message = decode(data)
        if (message.type, message.xid) != (Type.ADVERTISE, xid):
            return None
        block = message.option(Opt.IA_NA)
        given = addresses_in(decode_ia(Opt.IA_NA, block)) if block is not None else []
    except WireError:
        return None
    url = (first(message.options, Opt.BOOT_URL) or b"").decode("ascii", "replace")
    return Advert(server, address(given[0].ip) if given else "", url)
