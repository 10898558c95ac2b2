"""Packets as clients send them, and a site to answer them, for the tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from scapy.layers.dhcp import BOOTP
from scapy.layers.inet import UDP
from scapy.utils import rdpcap

from provisioner.dhcp.answer import answer
from provisioner.dhcp.case import Arrival, Reply, Silence
from provisioner.dhcp.options import Opt, Type
from provisioner.dhcp.packet import Packet, decode
from provisioner.dhcp.site import Site
from provisioner.dhcp.subnets import Reservation, Subnet
from provisioner.dhcp.topology import Net
from provisioner.model.boot import Asker, BootClient, LoadFile, Plan, RunScript

CAPTURES = Path(__file__).parent / "captures"
NOW = 1_800_000_000.0
US = "10.0.0.1"
MAC, OTHER_MAC = "52:54:00:00:00:01", "52:54:00:00:00:02"
PXE_CLASS = b"PXEClient:Arch:00007:UNDI:003000"
PXE_LIST = bytes((1, 3, 6, 12, 15, 43, 54, 60, 66, 67, 97))
UEFI = {Opt.VENDOR_CLASS: PXE_CLASS, Opt.CLIENT_ARCH: b"\0\7", Opt.REQUEST_LIST: PXE_LIST}
BIOS = {Opt.VENDOR_CLASS: b"PXEClient:Arch:00000:UNDI:002001", Opt.CLIENT_ARCH: b"\0\0", Opt.REQUEST_LIST: PXE_LIST}
HTTP = {Opt.VENDOR_CLASS: b"HTTPClient:Arch:00016:UNDI:003000", Opt.CLIENT_ARCH: b"\0\x10", Opt.REQUEST_LIST: PXE_LIST}
IPXE = UEFI | {Opt.USER_CLASS: b"iPXE", Opt.IPXE: b"\x13\1\1", Opt.REQUEST_LIST: bytes((*PXE_LIST, 175))}


def ip(text: str) -> int:
    """Read an address."""
    return int(IPv4Address(text))


def packet(kind: int, mac: str = MAC, options: Mapping[int, bytes] | None = None, **fields: Any) -> Packet:
    """A client's packet. Header addresses may be given as text."""
    found: dict[int, bytes] = {Opt.MESSAGE_TYPE: bytes((kind,))} if kind else {}
    values = {name: ip(value) if isinstance(value, str) else value for name, value in fields.items()}
    base = Packet(
        op=1,
        htype=1,
        hops=0,
        xid=0x1234,
        secs=0,
        flags=0,
        ciaddr=0,
        yiaddr=0,
        siaddr=0,
        giaddr=0,
        chaddr=bytes.fromhex(mac.replace(":", "")),
        sname=bytes(64),
        file=bytes(128),
        type=kind,
        options=found | {int(code): value for code, value in (options or {}).items()},
    )
    return base._replace(**values)


def discover(mac: str = MAC, options: Mapping[int, bytes] | None = None, **fields: Any) -> Packet:
    """A DHCPDISCOVER."""
    return packet(Type.DISCOVER, mac, options, **fields)


def request(
    wanted: str = "",
    mac: str = MAC,
    options: Mapping[int, bytes] | None = None,
    server: str = "",
    **fields: Any,
) -> Packet:
    """A DHCPREQUEST: with `server` SELECTING, with only `wanted` INIT-REBOOT, with `ciaddr` RENEWING."""
    found = dict(options or {})
    if wanted:
        found[Opt.REQUESTED_ADDRESS] = IPv4Address(wanted).packed
    if server:
        found[Opt.SERVER_ID] = IPv4Address(server).packed
    return packet(Type.REQUEST, mac, found, **fields)


def chain(client: BootClient) -> Plan:
    """The usual plan: a loader for firmware, the script for iPXE."""
    return RunScript("discovery") if client.asker is Asker.IPXE else LoadFile("snponly.efi", "chain to iPXE")


def subnet(**changes: Any) -> Subnet:
    """The subnet of the tables: 10.0.0.0/24 on eth0, ten addresses."""
    base = {
        "network": "10.0.0.0/24",
        "interface": "eth0",
        "pools": ("10.0.0.100-10.0.0.109",),
        "router": ("10.0.0.1",),
        "dns": ("10.0.0.2", "10.0.0.3"),
        "domain": "rack.example",
        "known_spare": 0,
    }
    return Subnet(**{**base, **changes})


def site(
    *subnets: Subnet, known: tuple[Reservation, ...] = (), decide: Callable[[BootClient], Plan] = chain, **settings: Any
) -> Site:
    """A site with these subnets (one as above when none are given)."""
    found = Site(decide, **settings)
    found.addresses = {"eth0": (ip(US),)}
    found.ours = frozenset({ip(US)})
    for each in subnets or (subnet(),):
        found.set_net(Net(each))
    for reservation in known:
        found.set_reservation(reservation)
    return found


DIRECT = Arrival("eth0", ip(US))
UNICAST = Arrival("eth0", ip(US), ("10.0.0.100", 68), unicast=True)
PROXY_PORT = Arrival("eth0", ip(US), ("10.0.0.100", 4011), 4011, unicast=True)


def ask(where: Site, question: Packet, arrival: Arrival = DIRECT, now: float = NOW) -> Reply | Silence:
    """Answer a packet as it would come over the wire: encoded and decoded again."""
    from provisioner.dhcp.packet import encode

    return answer(decode(encode(question)), arrival, where, now)


def said(found: Reply | Silence) -> Packet:
    """Decode a reply."""
    assert isinstance(found, Reply), found
    return decode(found.data)


def acquire(where: Site, mac: str = MAC, options: Mapping[int, bytes] | None = None, now: float = NOW) -> str:
    """Go through DISCOVER and REQUEST; the address."""
    offered = said(ask(where, discover(mac, options), now=now)).yiaddr
    text = str(IPv4Address(offered))
    acked = said(ask(where, request(text, mac, options, server=US), now=now))
    assert acked.type == Type.ACK
    assert acked.yiaddr == offered
    return text


def captured(name: str) -> Iterator[bytes]:
    """The DHCP messages of a capture, in order."""
    for frame in rdpcap(str(CAPTURES / f"{name}.pcap")):
        if BOOTP in frame:
            yield bytes(frame[UDP].payload)
